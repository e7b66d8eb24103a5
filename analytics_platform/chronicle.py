"""Reference tables that follow a topic: the versions of each key, made of the changes that silver has.

    silver.<name>: one row per record ── keys of the new ones ──> reference.<name>: one row per key and version

The table is a function of its silver table, as a mart is, and records how far it has read that: offsets by partition,
the count of rewrites, the contract. New offsets mean: the versions of their keys are made anew, of what stands there
and what is new. Anything else that differs means: all of them, from all of silver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from analytics_platform import history, reference, silver
from analytics_platform.contract.keyed import DELETED
from analytics_platform.contract.model import Domain, ReferenceContract
from analytics_platform.duck import literal
from analytics_platform.errors import SchemaChanged
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.commit import TOKEN, Change, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot, merged, overlap_sql
from analytics_platform.lake.table import Lake, TableSpec

MOST_RANGES = 64
"""Places of replaced rows are covered by no more ranges of offsets for each partition, so that predicates stay short."""

_SEEN = "silver"
"""The application id that holds the count of silver's rewrites that the versions have seen."""
_CONTRACT = "contract"

Logs = Mapping[str, tuple[Log, Sequence[int]]]
Place = tuple[str, int]
"""A log's id and a partition."""


@dataclass(frozen=True, slots=True)
class _State:
    """How far silver is, beside what the versions have read of it."""

    changes: Snapshot
    ends: Mapping[Place, int]
    apps: Mapping[Place, str]
    have: Mapping[Place, int | None]
    fixed: Mapping[str, int]
    starts_over: bool

    @property
    def progress(self) -> dict[str, int]:
        return {**self.fixed, **{self.apps[place]: end for place, end in self.ends.items()}}

    @property
    def news(self) -> pl.Expr:
        """Whether a row of silver is not yet among the versions."""
        spans = {place: (self.have[place] or 0, end) for place, end in self.ends.items()}
        return _at({place: [span] for place, span in spans.items()})


def follow_all(lake: Lake, domain: Domain, logs: Logs) -> Mapping[str, SchemaChanged | None]:
    """Bring every reference table that follows a topic up to silver; by name, why it stayed as it was, if it did.

    Args:
        lake: Where the tables are.
        domain: Whose tables.
        logs: The log and partitions of each topic; topics that are left out count as unchanged, unless silver was
            rewritten.

    Durable on return: the versions, and how far silver was read for them.
    If it dies halfway: each table is as it was or up to date; the next call does the rest.
    """
    found: dict[str, SchemaChanged | None] = {}
    for contract in domain.followed:
        try:
            follow(lake, domain, contract, logs)
        except SchemaChanged as error:
            found[contract.name] = error
        else:
            found[contract.name] = None
    return found


def follow(lake: Lake, domain: Domain, contract: ReferenceContract, logs: Logs) -> None:
    """Bring one reference table up to its silver table, see `follow_all`."""
    versions = domain.versions_of(contract.name)
    below, topic = silver.spec(versions), versions[0].topic

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        del left
        state = _state(lake, below, table, contract, topic=topic, logs=logs)
        if state is None or (not state.starts_over and state.have == state.ends):
            return None
        return _made_anew(table, contract, state) if state.starts_over else _gone_on(table, contract, state)

    if lake.newest(below) is not None:
        commit(lake, reference.spec(contract), change)


def _state(
    lake: Lake, below: TableSpec, table: Pinned, contract: ReferenceContract, *, topic: str, logs: Logs
) -> _State | None:
    found = lake.newest(below)
    if found is None:
        return None
    fixed = {
        _SEEN: found.transaction_version(silver.REWRITES) or 0,
        _CONTRACT: int(contract.header.digest[:15], 16),
    }
    starts_over = any(table.progress(name) != number for name, number in fixed.items())
    changes = Snapshot.of(found)
    apps = _apps(topic, changes, logs, everything=starts_over)
    ends = {place: end for place, app in apps.items() if (end := found.transaction_version(app)) is not None}
    have = {place: table.progress(apps[place]) for place in ends}
    return _State(changes, ends, apps, have, fixed, starts_over)


def _apps(topic: str, changes: Snapshot, logs: Logs, *, everything: bool) -> dict[Place, str]:
    """The application ids of a topic's partitions: those told, and where all is read those that have rows."""
    log, partitions = logs.get(topic, (Log(topic, ""), ()))
    known = {(log.id, partition): log.app_id(partition) for partition in partitions}
    if everything:
        places = changes.scan().select("_topic_id", "_partition").unique().collect()
        known |= {(log_id, number): Log(topic, log_id).app_id(number) for log_id, number in places.iter_rows()}
    return known


def _made_anew(table: Pinned, contract: ReferenceContract, state: _State) -> Change:
    """All versions, from all of silver. What silver has beyond the ends that were read waits for the next time."""
    rows = state.changes.scan().filter(_at({place: [(0, end)] for place, end in state.ends.items()})).collect()
    changes = _changes(table, contract, rows)
    standing = pl.DataFrame(schema=reference.spec(contract).schema)
    progress = state.progress | {reference.REWRITES: (table.progress(reference.REWRITES) or 0) + 1}
    known = history.versions(standing, changes, contract.primary_key, silver.ORDER)
    return Change(known, replaces_all=True, progress=progress)


def _gone_on(table: Pinned, contract: ReferenceContract, state: _State) -> Change:
    """The versions of the keys that changed, in place of those that stand there and end otherwise now."""
    spans = [(state.have[place] or 0, end) for place, end in state.ends.items()]
    rows = state.changes.touching("_offset", spans).scan().filter(state.news).collect()
    columns = list(reference.spec(contract).schema)
    if rows.is_empty():
        return Change(pl.DataFrame(schema=reference.spec(contract).schema), progress=state.progress)
    snapshot = table.snapshot()
    changes = _changes(table, contract, rows)
    standing = history.of_keys(snapshot.scan(), changes.select(contract.primary_key)).select(columns)
    known = history.versions(standing, changes, contract.primary_key, silver.ORDER)
    same = [*silver.PLACE, history.FROM, history.TO]
    gone = standing.join(known, on=same, how="anti", nulls_equal=True)
    new = known.join(standing, on=same, how="anti", nulls_equal=True)
    if gone.is_empty():
        return Change(new, progress=state.progress)
    cover = _cover(pl.concat([gone.select(silver.PLACE), new.select(silver.PLACE)]))
    reached = snapshot.touching("_offset", [span for spans in cover.values() for span in spans]).scan()
    others = reached.filter(_at(cover)).join(gone.lazy().select(silver.PLACE), on=silver.PLACE, how="anti").collect()
    rows = pl.concat([others, new], how="diagonal")
    return Change(rows, replaces=_sql(cover), progress=state.progress)


def _changes(table: Pinned, contract: ReferenceContract, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of silver as `history.versions` takes them."""
    names = [name for name in reference.spec(contract).schema if name not in {history.FROM, history.TO, history.COMMIT}]
    return rows.select(
        *names,
        pl.col("occurred_at").alias(history.FROM),
        pl.lit((table.progress(TOKEN) or 0) + 1, pl.Int64()).alias(history.COMMIT),
        pl.col(DELETED).alias(history.DELETED),
    )


def _cover(places: pl.DataFrame) -> dict[Place, list[tuple[int, int]]]:
    """Ranges of offsets that hold some places, few for each partition; they may hold others, too."""
    found = {}
    for (log_id, partition), group in places.group_by("_topic_id", "_partition"):
        offsets = group["_offset"].unique().sort()
        spans = merged([(offset, offset + 1) for offset in offsets], most=MOST_RANGES)
        found[str(log_id), int(str(partition))] = spans
    return found


def _at(spans: Mapping[Place, Sequence[tuple[int, int]]]) -> pl.Expr:
    """Whether a row stood at one of some places in Kafka."""
    found = [
        (pl.col("_topic_id") == log_id)
        & (pl.col("_partition") == partition)
        & pl.any_horizontal((pl.col("_offset") >= start) & (pl.col("_offset") < end) for start, end in ranges)
        for (log_id, partition), ranges in spans.items()
        if ranges
    ]
    return pl.any_horizontal(found) if found else pl.lit(value=False)


def _sql(spans: Mapping[Place, Sequence[tuple[int, int]]]) -> str:
    """The same as `_at` as a predicate; it names nothing but places."""
    parts = [
        f"(_topic_id = {literal(log_id)} AND _partition = {partition} AND {overlap_sql('_offset', ranges)})"
        for (log_id, partition), ranges in sorted(spans.items())
    ]
    return "(" + " OR ".join(parts) + ")"
