"""What a contract says of time: how late its events may come, and who has to have come how far."""

import re
from datetime import timedelta

from analytics_platform.contract.complaint import shown
from analytics_platform.contract.model import Watermark
from analytics_platform.contract.source import Node
from analytics_platform.contract.vendor import check_keys

_MOST_SOURCES = 16
"""Each of them costs two numbers in the table's log and about a millisecond per micro-batch."""
_DURATION = re.compile(r"(0|[1-9][0-9]{0,5})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=366)


def watermark_of(node: Node) -> Watermark | None:
    """The watermark of an event type, if its contract declares one."""
    if node.value is None or not check_keys(node, ("allowedLateness",), ("sources", "idleAfter")):
        return None
    lateness = duration_of(node["allowedLateness"]) or timedelta(0)
    sources = _sources(node["sources"])
    if node["idleAfter"].value is None:
        return Watermark(lateness, sources)
    idle = duration_of(node["idleAfter"])
    if idle == timedelta(0):
        node["idleAfter"].refuse("is longer than nothing, as in 15m")
    return Watermark(lateness, sources, idle or timedelta(minutes=1))


def duration_of(node: Node) -> timedelta | None:
    """A duration of at most a year, which may be 0s; None with a complaint where it is none."""
    match = _DURATION.fullmatch(node.text)
    found = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None
    if found is None or found > _LONGEST:
        if node.value is not None:
            node.refuse(f"is a duration of at most {_LONGEST.days}d, as in 6h")
        return None
    return found


def _sources(node: Node) -> tuple[str, ...]:
    sources: list[str] = []
    for item in node:
        if not item.text:
            item.refuse("is the source of events, as the envelope names it")
        elif item.text in sources:
            item.refuse("is each source once", f"{shown(item.value)} a second time")
        sources.append(item.text)
    if node.value is not None and not 0 < len(sources) <= _MOST_SOURCES:
        node.refuse(f"is a list of 1 to {_MOST_SOURCES} sources")
    return tuple(sources)
