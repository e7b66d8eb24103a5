"""The one place that writes rows, and the whole argument for exactly-once.

A Delta commit may carry `txn` actions: (application id, version) pairs that become visible in the same atomic step as
its rows. The platform keeps all progress there. But a `txn` fences nothing by itself: a fresh handle may commit the same
pair again and double the rows (delta-rs#2580). What does fence is the *snapshot*: a commit is refused when another one
with the same application id has landed after the snapshot its handle holds. So `commit` reads the progress from a
handle, decides by it what is still missing, and commits through that same handle. Whoever lost the race starts again
from the new snapshot and finds the work done.

Every commit also moves the table's own token, so that any two commits to a table meet: an anti-join against the
snapshot can never miss a row that lands in between.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

import polars as pl
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from analytics_platform.errors import CommitConflict, OffsetGap, ProgressLost
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.adopt import adopt
from analytics_platform.lake.files import Pinned, Snapshot
from analytics_platform.lake.table import Lake, TableSpec

TOKEN = "token"  # noqa: S105 - a counter of commits
"""The application id of a table's own counter of commits."""

_TRIES = 20
_MARK = "mark"
"""The name under which a commit's metadata tells it from all others, for the moment after an error."""


@dataclass(frozen=True, slots=True)
class Move:
    """A step of progress: what `app_id` stands for has been taken in from `range.start` up to `range.end`.

    `fresh` says that the caller knows why nothing is stored for it yet; otherwise a table that has forgotten it stops.
    """

    app_id: str
    range: OffsetRange
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to a table.

    With `replaces` (a predicate in SQL) the rows that match it are replaced by `rows` in one atomic step; every one of
    `rows` must match it. Its bounds on timestamps must be whole milliseconds: files record their minimum and maximum
    cut to that, and would be skipped wrongly by a finer bound.
    """

    rows: pl.DataFrame
    replaces: str | None = None
    replaces_all: bool = False
    """Whether `rows` are the whole table from now on."""
    adopts: Snapshot | None = None
    """Files of another table of this lake that are the whole table from now on, columns included; `rows` are none."""
    progress: Mapping[str, int] = field(default_factory=dict)
    """Further application ids and their versions, recorded as they are."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """For audit: it vanishes when the log is cleaned up, so nothing may rest on it."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What came of it."""

    moves: tuple[Move, ...]
    """What this call moved; empty when everything was there already."""
    version: int
    change: Change | None
    """What was written; `None` when nothing was."""


def commit(
    lake: Lake,
    spec: TableSpec,
    make: Callable[[Pinned, tuple[Move, ...]], Change | None],
    moves: Sequence[Move] = (),
    *,
    always: bool = False,
    recast: bool = False,
) -> Committed:
    """Compare progress, make the missing rows, and commit both together, through one handle.

    `make` gets the snapshot and what is left of `moves` after trimming what the table has already. It must be a
    function of those two alone, for it is called again after a lost race. It returns `None` to leave the table alone,
    which it may only when there is nothing left to move: a commit without rows still moves its progress.
    When moves were asked for and the table has them all, `make` is not called unless `always`.
    With `recast` the table's columns may be others than the spec's: what `make` returns adopts files that have these.

    Durable on return: the rows and the progress, together.
    If it dies halfway: either both stand or neither; calling again does what is missing.

    Raises:
        ProgressLost: nothing is stored for a move that is not `fresh`.
        OffsetGap: a move starts after what is stored.
        CommitConflict: other writers won twenty times.
    """
    lost = ""
    for attempt in range(_TRIES):
        table = (lake.newest(spec) if recast else None) or lake.ensure(spec)
        left = _left(spec, table, moves)
        if moves and not left and not always:
            lake.sync(spec, table.version())
            return Committed((), table.version(), None)
        pinned = table.version()
        try:
            change = make(Pinned(table), left)
        except FileNotFoundError as error:  # an erasure took the files that only this version named: look at the newest
            lake.forget(spec)
            found = lake.newest(spec)
            if found is None or found.version() == pinned:
                raise
            lost = str(error).splitlines()[0]
            continue
        if change is None:
            lake.sync(spec, table.version())
            return Committed((), table.version(), None)
        before, mark = table.version(), uuid4().hex
        progress = {move.app_id: move.range.end for move in left} | dict(change.progress)
        progress[TOKEN] = (table.transaction_version(TOKEN) or 0) + 1
        try:
            _write(table, change, progress, mark, spec)
        except FileNotFoundError as error:  # files to adopt were swept meanwhile: see what `make` says now
            lost = str(error).splitlines()[0]
            lake.forget(spec)
            continue
        except CommitFailedError as error:
            lost = str(error).splitlines()[0]
            lake.forget(spec)
            time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 6)))  # noqa: S311 - spreads writers, guards nothing
            continue
        except Exception:  # deltalake also raises bare ones; and an error does not mean "not written": look
            lake.forget(spec)
            found = lake.newest(spec)
            if found is None or not _holds(found, mark, found.version() - before):
                raise
            table = found
        lake.sync(spec, table.version())
        return Committed(left, table.version(), change)
    raise CommitConflict(spec.title, _TRIES, lost)


def _holds(table: DeltaTable, mark: str, newest: int) -> bool:
    """Whether one of the newest commits of a table is ours; progress cannot tell, another writer may have moved it."""
    return newest > 0 and any(info.get(_MARK) == mark for info in table.history(newest))


def _left(spec: TableSpec, table: DeltaTable, moves: Sequence[Move]) -> tuple[Move, ...]:
    left = []
    for move in moves:
        have = table.transaction_version(move.app_id)
        if have is None:
            if not move.fresh:
                raise ProgressLost(spec.title, move.app_id)
            left.append(move)  # also one that goes nowhere: from now on the partition is known
            continue
        if have < move.range.start:
            raise OffsetGap(spec.title, move.app_id, have, move.range.start)
        if have < move.range.end:
            left.append(replace(move, range=replace(move.range, start=have)))
    return tuple(left)


def _write(table: DeltaTable, change: Change, progress: Mapping[str, int], mark: str, spec: TableSpec) -> None:
    properties = CommitProperties(
        custom_metadata={**change.metadata, _MARK: mark},
        app_transactions=[Transaction(name, version) for name, version in sorted(progress.items())],
        # 0 would fail on any other commit, also a compaction's; version races alone are retried, conflicts are not.
        max_commit_retries=50,
    )
    if change.adopts is not None:
        adopt(table, change.adopts, properties)
        return
    # Columns that only the table has (from a newer contract, say) are written as null.
    rows = change.rows.select(
        pl.col(name).cast(kind) if name in change.rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in pl.Schema(table.schema().to_arrow()).items()
    )
    writer = _without_statistics(rows.schema, spec.private)
    if change.replaces is None and not change.replaces_all:
        write_deltalake(table, rows, mode="append", writer_properties=writer, commit_properties=properties)
    else:
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=change.replaces,
            writer_properties=writer,
            commit_properties=properties,
        )


def _without_statistics(schema: pl.Schema, private: Sequence[str]) -> WriterProperties:
    """How to write files whose footers keep no minimum and maximum of the private columns.

    Parts of nested columns cannot be named one by one (deltalake 1.6), so where anything is private no nested column
    has statistics.
    """
    if not private:
        return WriterProperties()
    open_columns = [name for name, kind in schema.items() if name not in private and not kind.is_nested()]
    return WriterProperties(
        default_column_properties=ColumnProperties(statistics_enabled="NONE"),
        column_properties={name: ColumnProperties(statistics_enabled="PAGE") for name in open_columns},
    )
