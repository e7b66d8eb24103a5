"""Where a field of the envelope stands in a record, and in which form.

    place  = [form] spot *("|" spot)        the first spot that holds something counts
    form   = "traceparent:" | "uri:"        none: the value as it is
    spot   = name | "data:" name | "header:" name

`traceparent:` takes the trace id out of a W3C traceparent (Trace Context, section 3.2), `uri:` the version at the end of
a URI. `|` and `uri:` are not for contracts: the readings of CloudEvents are written with them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from analytics_platform import duck

HEADER = "header:"
"""Begins the place of a field that comes from a header of the record, not from its value."""
DATA = "data:"
"""Begins the place of a field that stands in the payload, wherever that stands."""

# Section 3.2.2: version 00 ends after the flags, later ones may go on after a dash, ff is none, nor are ids of zeros.
# No look-around, and `.` stops at a line's end: these are read by DuckDB and by Python, and must mean one thing.
_TRACEPARENT = "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
_NO_TRACEPARENT = "ff.*|00.{53}.+|.{3}0{32}.*|.{36}0{16}.*"
_NUMBER = "(?:0|[1-9][0-9]*)"
_VERSION = rf"(?:.*[/:#=])?v?({_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-[0-9A-Za-z.-]+?)?(?:\+[0-9A-Za-z.-]+?)?)(?:\.json)?"
_VERSIONED = re.compile(_VERSION)


class Form(StrEnum):
    """How a field's value is written at its place."""

    PLAIN = ""
    TRACEPARENT = "traceparent:"
    URI = "uri:"


@dataclass(frozen=True, slots=True)
class Spot:
    """One name to look at."""

    name: str
    header: bool = False
    data: bool = False

    def __str__(self) -> str:
        """As reasons name it."""
        return f"header {self.name}" if self.header else self.name


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a field stands."""

    form: Form
    spots: tuple[Spot, ...]

    def __str__(self) -> str:
        """As reasons name it."""
        return " or ".join(map(str, self.spots))


@lru_cache(maxsize=4096)
def place(text: str) -> Place:
    """Read a place."""
    form = next((form for form in (Form.TRACEPARENT, Form.URI) if text.startswith(form)), Form.PLAIN)
    return Place(form, tuple(_spot(one) for one in text.removeprefix(form).split("|")))


def _spot(text: str) -> Spot:
    if text.startswith(HEADER):
        return Spot(text.removeprefix(HEADER), header=True)
    return Spot(text.removeprefix(DATA), data=text.startswith(DATA))


@lru_cache(maxsize=4096)
def version_in(uri: str) -> str | None:
    """The version with which a URI ends, as in `https://example.com/orders/1.2.0`, `…/v1.2.0.json`; None without one."""
    found = _VERSIONED.fullmatch(uri)
    return None if found is None else found[1]


def plain_sql(form: Form, sql: str) -> str:
    """The field's value out of what stands at its place, in DuckDB's SQL; null or empty where that has not its form."""
    if form is Form.TRACEPARENT:
        return f"substr({sql}, 4, 32)"
    if form is Form.URI:
        return f"regexp_extract({sql}, {duck.literal(f'^(?:{_VERSION})$')}, 1)"
    return sql


def malformed_sql(form: Form, sql: str) -> str | None:
    """The condition that what stands there, if anything, has not its form; None where every text has it."""
    if form is Form.TRACEPARENT:
        good, bad = duck.literal(_TRACEPARENT), duck.literal(_NO_TRACEPARENT)
        return f"coalesce(NOT regexp_full_match({sql}, {good}) OR regexp_full_match({sql}, {bad}), false)"
    return None
