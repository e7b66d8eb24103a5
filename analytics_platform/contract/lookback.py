"""Inputs of a mart of which a window also sees rows from before it: for each row of another the latest of them, as of then."""

from collections.abc import Mapping
from datetime import timedelta

from analytics_platform.contract.source import Node
from analytics_platform.contract.vendor import check_keys
from analytics_platform.contract.watermark import duration_of

MOST_WINDOWS = 400
"""A row makes so many windows be computed again, at most."""


def time_field(node: Node) -> Node:
    """The timestamp by which rows of an input fall into windows, where it stands alone or beside a `lookback`."""
    return node["field"] if isinstance(node.value, dict) else node


def lookbacks_of(time_fields: Node, size: timedelta, step: timedelta) -> Mapping[str, timedelta]:
    """How far each input with a `lookback` is seen back, by its name; complains of what cannot be one.

    Args:
        time_fields: A mapping of inputs, or nothing.
        size: Of the windows.
        step: From one of their starts to the next.
    """
    found = {}
    for name in time_fields.keys:
        node = time_fields[name]
        if not isinstance(node.value, dict) or not check_keys(node, ("field", "lookback")):
            continue
        lookback = duration_of(node["lookback"])
        if lookback == timedelta(0):
            node["lookback"].refuse("is longer than nothing, as in 3h")
        elif lookback is not None and (size + lookback) // step >= MOST_WINDOWS:
            node["lookback"].refuse(f"is shorter: with it a row counts in more than {MOST_WINDOWS} windows")
        found[name] = lookback or timedelta(hours=1)
    return found


def refuse_lookbacks(time_fields: Node) -> None:
    """Complain of every lookback of a mart whose windows begin and end with their rows."""
    for name in time_fields.keys:
        if isinstance(time_fields[name].value, dict):
            time_fields[name].refuse("is the timestamp alone: a session has no rows from before it began", "a lookback")
