"""Which windows of a mart a changed history touches: those that end after the earliest instant that it says anew.

A mart whose contract says `asOf` joins reference tables with history as of a time inside its windows, so what is valid
from an instant on is nothing to a window that ended before. Every version names the commit that brought it (and where
one ends earlier than before, another begins there), so what is new since a mart was computed can be asked for.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import polars as pl

from analytics_platform import history, window
from analytics_platform.contract.model import MartContract
from analytics_platform.contract.schema import INSTANT
from analytics_platform.gold.source import ReferenceInput, Sources
from analytics_platform.gold.table import kind

_MOST_COMMITS = 2**62
_END = datetime(9999, 12, 31, tzinfo=UTC)


def applied(sources: Sources, mart: MartContract) -> tuple[dict[str, int], dict[str, int]]:
    """What a mart records of its reference tables: what makes it start over, and what goes on by itself."""
    fixed, moving = {}, {}
    for name, item in sources.references.items():
        if mart.window.as_of and item.history:
            moving[f"reference:{name}"] = item.commits
            fixed[f"rewrites:reference.{name}"] = item.rewrites
        else:
            fixed[f"reference:{name}"] = item.commits
    return fixed, moving


def touched(sources: Sources, mart: MartContract, have: Mapping[str, int | None]) -> Sequence[pl.Series]:
    """Starts (UTC) of the windows with rows that a change of a history since `have` may concern."""
    known = [
        _earliest(item, have[f"reference:{name}"] or 0)
        for name, item in sources.references.items()
        if mart.window.as_of and item.history
    ]
    changed = [at for at in known if at is not None]
    return _from(min(changed), sources, mart) if changed else []


def _earliest(item: ReferenceInput, seen: int) -> datetime | None:
    """From when on a table says something else than it did after `seen` commits; None where it says the same."""
    if item.snapshot is None or item.commits == seen:
        return None
    near = item.snapshot.touching(history.COMMIT, [(seen + 1, _MOST_COMMITS)]).scan()
    found = near.filter(pl.col(history.COMMIT) > seen).select(pl.col(history.FROM).min()).collect().item()
    return found if isinstance(found, datetime) else None


def _from(at: datetime, sources: Sources, mart: MartContract) -> Sequence[pl.Series]:
    """Starts of the windows with rows, beginning with the first that the instant falls into."""
    first = window.starts(pl.Series([at], dtype=INSTANT), mart.window)[0]
    found = []
    for item in sources.silver:
        near = item.snapshot.touching(item.time_field, [(first, _END)]).scan()
        times = near.select(item.time_field).filter(pl.col(item.time_field) >= first).unique().collect().to_series()
        found.append(window.starts(times, mart.window))
    for below in sources.marts:
        if below.snapshot is not None:
            column, cut = below.mart.window.column, below.mart.window
            ((begin, _),) = window.bounds([(first, first)], cut.timezone, kind(below.mart))
            # East of UTC there is no name for the day after the last instant.
            spans = [(begin, _END if isinstance(begin, datetime) else date.max)]
            values = below.snapshot.touching(column, spans).scan().select(pl.col(column).unique()).collect().to_series()
            starts = window.begins(values, cut)
            found.append(window.starts(starts.filter(starts >= first), mart.window))
    return [starts.filter(starts >= first) for starts in found]
