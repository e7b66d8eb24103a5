"""What becomes of a mart whose windows are sessions, when rows are new.

Its sessions are found by their key, but a predicate may name nothing but the window's column. So what is replaced is a
slice of time around the starts that come and go, and the rows of other sessions that stand in it are written again as
they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics_platform import watermark, window
from analytics_platform.contract.model import Domain, MartContract, Session
from analytics_platform.contract.schema import FINALITY, INSTANT, WATERMARK, polars_schema, schema_of
from analytics_platform.gold import session
from analytics_platform.gold.finality import Finality, said_of
from analytics_platform.gold.rows import rows_of
from analytics_platform.gold.session import AT, FIRST, LAST
from analytics_platform.gold.source import Input, Sources
from analytics_platform.gold.table import inside
from analytics_platform.lake.commit import Change
from analytics_platform.lake.files import Snapshot, merged, overlap_sql

_MS, _US = timedelta(milliseconds=1), timedelta(microseconds=1)
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What to write, and where."""

    rows: pl.DataFrame
    """Those of the sessions that changed, and those that stand beside them."""
    sessions: int
    """How many changed."""
    starts: pl.Series | None = None
    """When sessions start that are there now, and those that are no more; None where all may be."""
    replaces: str | None = None
    """Which part of the table the rows replace; None for all of it, or where there are none."""
    differing: tuple[int, int] = (0, 0)
    """How many rows of the table it leaves out, and how many it adds, where a rebuild asks that."""

    def change(self, progress: Mapping[str, int]) -> Change:
        """What to commit."""
        return Change(self.rows, self.replaces, replaces_all=self.starts is None, progress=progress)


@dataclass(frozen=True, slots=True)
class Read:
    """What a mart is computed from."""

    sources: Sources
    final: Finality
    """How far its time has come."""
    standing: Snapshot
    """Its table."""


def recomputed(
    domain: Domain,
    mart: MartContract,
    read: Read,
    have: Mapping[str, int | None] | None,
) -> Recomputed:
    """The sessions that hold rows which a mart has not seen, and those that have become final.

    Args:
        domain: Of the mart.
        mart: Whose windows are sessions.
        read: What it is computed from now.
        have: What it was computed from; None where it starts over.

    Raises:
        MartBroken: Its SQL fails, or its result does not fit its contract.
    """
    cut = _session_of(mart)
    touched = None if have is None else _touched(mart, read, have)
    if touched is None:
        found = session.all_of(read.sources.silver, cut)
        return Recomputed(_rows(domain, mart, read, found, None), found.height)
    if touched.is_empty():
        return Recomputed(pl.DataFrame(schema=read.standing.schema), 0, touched[FIRST])
    spans, column, standing = session.spans_of(touched), mart.window.column, read.standing
    rows = _rows(domain, mart, read, touched, spans)
    near = standing.touching(column, spans).scan().filter(inside(column, spans)).select(*cut.by, column).collect()
    gone = session.owned(near, column, touched, cut).select(*cut.by, column)
    starts = pl.concat([touched[FIRST], gone[column]]).unique().sort()
    slices = merged([(start, start + _MS) for start in starts.dt.truncate("1ms").to_list()], most=window.MOST_RANGES)
    beside = standing.touching(column, slices).scan().filter(inside(column, slices)).collect()
    kept = beside.join(gone, on=[*cut.by, column], how="anti").select(rows.columns)
    return Recomputed(pl.concat([rows, kept]), touched.height, starts, overlap_sql(column, slices))


def _touched(mart: MartContract, read: Read, have: Mapping[str, int | None]) -> pl.DataFrame | None:
    """The sessions to compute again; None for all."""
    cut, inputs, final = _session_of(mart), read.sources.silver, read.final
    closing: list[window.Span] = []
    before = watermark.instant(have[watermark.AT])
    if final.watermark is not None and final.watermark != before:
        if before is None:
            return None
        # Those that are final by now and were not: their last rows are of this time.
        settles = final.settles + cut.gap
        closing = merged([(_less(before, settles + 2 * _US), _less(final.watermark, settles))])
    parts = []
    for item in inputs:
        rows = [item.unseen(have)]
        if closing:
            rows.append(
                item.snapshot.touching(item.time_field, closing).scan().filter(inside(item.time_field, closing))
            )
        parts += [row.select(*cut.by, pl.col(item.time_field).alias(AT)) for row in rows if row is not None]
    if not parts:
        return session.around(inputs, cut, pl.DataFrame(schema=_schema(mart)))
    seeds = session.times(parts)
    return None if window.at_the_end(seeds[AT]) else session.around(inputs, cut, seeds)


def _rows(
    domain: Domain, mart: MartContract, read: Read, sessions: pl.DataFrame, spans: Sequence[window.Span] | None
) -> pl.DataFrame:
    """The mart's rows of some sessions, which lie within some ranges, with the columns that say how final each is."""
    cut, column, final = _session_of(mart), mart.window.column, read.final
    rows = rows_of(domain, mart, read.sources, spans, sessions=sessions)
    late = _late(mart, read.sources.silver, final, sessions, spans)
    settled = session.ended(sessions, cut) + final.settles
    is_final = pl.lit(value=False) if final.watermark is None else pl.lit(settled <= final.watermark)
    keyed = sessions.with_columns(is_final.alias("_final")).join(late, on=[*cut.by, FIRST], how="left")
    said = keyed.select(*cut.by, pl.col(FIRST).alias(column), *said_of("_final", "_came", "_late"))
    found = rows.join(said, on=[*cut.by, column], how="left", maintain_order="left")
    return found.cast(schema_of(FINALITY))  # type: ignore[arg-type]


def _late(
    mart: MartContract,
    inputs: Sequence[Input],
    final: Finality,
    sessions: pl.DataFrame,
    spans: Sequence[window.Span] | None,
) -> pl.DataFrame:
    """How many rows came into each session after that was final, as it is now: its key, `_first`, `_late`, and `_came`."""
    cut, found = _session_of(mart), []
    judged = {witness.name for witness in final.witnesses}
    for item in inputs:
        if item.name not in judged or WATERMARK.name not in item.snapshot.schema:
            continue
        near = item.snapshot if spans is None else item.snapshot.touching(item.time_field, spans)
        met, at = pl.col(WATERMARK.name), pl.col(item.time_field)
        rows = near.scan().filter(met > at).select(*cut.by, at.alias(AT), "_ingested_at", WATERMARK.name).drop_nulls()
        few = rows.collect().filter(met - pl.col(AT) > cut.gap + final.settles)
        mine = session.owned(few, AT, sessions, cut)
        found.append(mine.filter(pl.col(LAST) + cut.gap + _US + final.settles <= met))
    none = pl.DataFrame(schema={**_schema(mart), FIRST: INSTANT, "_ingested_at": INSTANT, WATERMARK.name: INSTANT})
    counted = pl.concat([none, *(part.select(none.columns) for part in found)])
    return counted.group_by(*cut.by, FIRST).agg(
        pl.len().cast(pl.Int64).alias("_late"),
        pl.max_horizontal("_ingested_at", WATERMARK.name).max().alias("_came"),
    )


def _session_of(mart: MartContract) -> Session:
    if mart.window.session is None:
        raise ValueError(f"{mart.name}: its windows are no sessions")
    return mart.window.session


def _schema(mart: MartContract) -> dict[str, pl.DataType]:
    schema = polars_schema(mart.fields)
    return {name: schema[name] for name in _session_of(mart).by} | {AT: INSTANT}


def _less(at: datetime, by: timedelta) -> datetime:
    """An instant, less so much, on the calendar."""
    return at - by if at - _EARLIEST > by else _EARLIEST
