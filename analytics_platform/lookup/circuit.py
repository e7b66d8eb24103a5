"""When a service is left alone: the circuit breaker of M. Nygard, Release It! (2nd edition, 5.2)."""

from datetime import timedelta


class Circuit:
    """Whether a service may be asked. For one thread at a time.

    Closed, it lets every question through; after so many failures in a row it is open, and lets none; after a pause it
    is half open, and lets one through, whose end closes or opens it.
    """

    def __init__(self, failures: int, pause: timedelta) -> None:
        """Closed."""
        self._most, self._pause_s = failures, pause.total_seconds()
        self._failures, self._until = 0, 0.0
        self.probing = False
        """Whether it is half open, and the one question is on its way."""
        self.opened = 0
        """How often it went from closed to open."""

    @property
    def is_open(self) -> bool:
        """Whether it is open or half open."""
        return self._failures >= self._most

    def admits(self, now: float) -> bool:
        """Whether a question may be asked; who is told so must ask, and say how it ended."""
        if self.probing or self.refuses(now):
            return False
        self.probing = self.is_open
        return True

    def refuses(self, now: float) -> bool:
        """Whether it is open: nothing is asked before the pause has passed."""
        return self.is_open and not self.probing and now < self._until

    def succeeded(self) -> None:
        """A question was answered."""
        self._failures, self.probing = 0, False

    def failed(self, now: float) -> None:
        """A question was not answered."""
        was_open = self.is_open
        self._failures += 1
        self.probing = False
        if self.is_open:
            self._until = now + self._pause_s
            self.opened += not was_open
