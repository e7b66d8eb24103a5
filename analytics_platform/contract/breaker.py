"""What a contract says of bad records: which share is too much, and what happens then."""

import re
from datetime import timedelta

from analytics_platform.contract.model import Breaker
from analytics_platform.contract.source import Node
from analytics_platform.contract.vendor import check_keys

WINDOW, MIN_ROWS = timedelta(minutes=15), 100
"""What holds where a contract that halts says nothing."""

_OF_HALT = ("window", "minRows", "resume")
_DURATION = re.compile(r"([1-9][0-9]{0,3})([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_LONGEST = timedelta(days=1)


def quarantine_of(node: Node) -> tuple[float | None, Breaker | None]:
    """The share above which is warned, and what halts the event type, if anything."""
    if node.value is None or not check_keys(node, ("maxBadRatio",), ("onExceed", *_OF_HALT)):
        return None, None
    share = _share(node["maxBadRatio"])
    action = _one_of(node["onExceed"], ("warn", "halt"))
    if action != "halt":
        for key in _OF_HALT:
            if node[key].value is not None:
                node[key].refuse("is given only beside onExceed: halt")
        return share, None
    resume = _one_of(node["resume"], ("manual", "auto"))
    breaker = Breaker(share or 0.0, _window(node["window"]), _min_rows(node["minRows"]), resume == "auto")
    return share, breaker


def _share(node: Node) -> float | None:
    share = node.value
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        if share is not None:
            node.refuse("is a number from 0 to 1")
        return None
    return float(share)


def _one_of(node: Node, allowed: tuple[str, str]) -> str:
    """The first of those allowed where nothing is said."""
    if node.value is not None and node.value not in allowed:
        node.refuse(f"is {' or '.join(allowed)}")
    return allowed[0] if node.value is None else node.text


def _window(node: Node) -> timedelta:
    if node.value is None:
        return WINDOW
    match = _DURATION.fullmatch(node.text)
    window = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None
    if window is None or window > _LONGEST:
        node.refuse("is a duration of at most a day, as in 15m")
        return WINDOW
    return window


def _min_rows(node: Node) -> int:
    rows = node.value
    if rows is None:
        return MIN_ROWS
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        node.refuse("is a whole number above 0")
        return MIN_ROWS
    return rows
