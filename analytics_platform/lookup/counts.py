"""How a lookup fared."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of keys, unless said otherwise; `asked` is the sum of the next four."""

    asked: int = 0
    """Each key once per micro-batch."""
    unaskable: int = 0
    """Not found without asking: a part was null or too long."""
    hits: int = 0
    """Found in the cache."""
    negative_hits: int = 0
    """Remembered by the cache to be nowhere."""
    misses: int = 0
    """Not in the cache."""
    stale: int = 0
    """Served though expired, because the service did not answer."""
    unavailable: int = 0
    """Without an answer."""
    failures: int = 0
    """Questions, not keys, that failed as a whole."""
    opened: int = 0
    """How often the circuit breaker opened."""
    why: Mapping[str, int] = field(default_factory=dict)
    """What questions failed of, and how many of each."""
