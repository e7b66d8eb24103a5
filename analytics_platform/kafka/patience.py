"""Questions to somebody who may never finish answering."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


class Patience:
    """Asks one question after another and waits for each only so long. For one thread at a time.

    HTTP clients have timeouts for each read, not for an answer: one that trickles in would never end. Nothing can
    interrupt it either, so it is left to a thread of its own, and nothing else is asked before that has ended.
    """

    def __init__(self, seconds: float) -> None:
        """Ask nothing yet."""
        self._seconds = seconds
        self._last: Future[Any] | None = None

    def ask(self, question: Callable[[], _Answer]) -> _Answer:
        """The answer of a question; what it raises is raised.

        Raises:
            TimeoutError: there is no whole answer yet, of it or of the one before.
        """
        if self._last is not None and not self._comes(self._last):
            raise TimeoutError("an earlier answer still trickles in")
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
                answer.set_exception(error)

        self._last = answer
        Thread(target=run, name="question", daemon=True).start()  # whose end no process waits for
        if not self._comes(answer):
            raise TimeoutError(f"no whole answer within {self._seconds:g} s")
        return answer.result()

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do some work once no question is open: now, or when the last answer ends."""
        if self._last is None:
            work()
        else:
            self._last.add_done_callback(lambda _answer: work())

    def _comes(self, answer: Future[Any]) -> bool:
        return bool(wait([answer], self._seconds).done)
