"""What a domain's dashboard shows beside what every dashboard shows, and how things are drawn at all."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How rows become marks."""

    LINE = "line"
    BAR = "bar"
    POINT = "point"


class Aggregate(StrEnum):
    """How rows with the same x (and by) become one."""

    SUM = "sum"
    MEAN = "mean"
    MEDIAN = "median"
    MIN = "min"
    MAX = "max"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a map's points lie: a reference table whose key is the panel's x."""

    table: str
    """Name of the reference table; its key is one column."""
    key: str
    latitude: str
    """The column with degrees north."""
    longitude: str
    """The column with degrees east."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One declared picture."""

    title: str
    table: str
    """`gold.<mart>` or `silver.<event>` of the same domain."""
    x: str
    y: str
    by: str | None
    aggregate: Aggregate | None
    """None where `x` and `by` identify a row."""
    kind: Kind | None
    """None is a line over time or numbers and bars over texts."""
    last: int | None
    """Only the newest so many values of `x`."""
    place: Place | None
    """Set for a map."""
