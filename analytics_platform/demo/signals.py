"""Being told to stop: SIGINT, SIGTERM or a closed terminal, looked at where stopping is safe."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Told to stop while something was waited for."""


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Within, the signals only make the function true; so processes that are just being started are never lost.

    Signals can only be caught on the main thread; elsewhere the function stays false.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
