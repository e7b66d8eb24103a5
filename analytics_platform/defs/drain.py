"""Ending a burst between two micro-batches when its process is told to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def draining() -> Iterator[threading.Event]:
    """Within, the first SIGINT or SIGTERM only sets the event; a second one interrupts at once.

    Dagster turns both signals, and "Terminate" in its UI, into an exception raised wherever the code happens to be.
    That would be safe (any step may die), but would throw away a batch that has been read and the sums of the burst.
    Signals can only be caught on the main thread; elsewhere the event is never set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
