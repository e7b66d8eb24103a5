"""How final a mart's rows are: which windows can still grow in time, and which grew after that.

A window is final once the watermarks of all events that the mart is made of, also by way of other marts, have passed its
end and what `finalAfter` adds. A row is late for a window that was final, as far as its own event type went, when the row
was taken in: every row of silver keeps the watermark that it met. So what is said here is a function of silver and of how
far its watermarks are, whatever way led there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics_platform import silver, watermark, window
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.contract.schema import FINALITY, INSTANT, WATERMARK, schema_of
from analytics_platform.gold.table import inside
from analytics_platform.lake.files import Pinned, Snapshot, merged
from analytics_platform.lake.table import Lake

OPEN, FINAL, RESTATED = "open", "final", "restated"
STATUS, RESTATED_AT, LATE_ROWS = (column.name for column in FINALITY)

_NEVER = datetime(9999, 12, 31, tzinfo=UTC)
_LATE = {"input": pl.String(), "_topic_id": pl.String(), "_partition": pl.Int32(), "_offset": pl.Int64()}
_COUNTED = {"start": INSTANT, "at": INSTANT}


@dataclass(frozen=True, slots=True)
class Witness:
    """A silver table whose rows a mart is made of, and by way of which marts."""

    name: str
    way: tuple[MartContract, ...]
    """From the one that reads the table up to the mart itself."""
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Finality:
    """How far the time of a mart has come."""

    watermark: datetime | None
    """None where an input has no watermark: then no window is final, and no row late."""
    settles: timedelta
    """How long after a window's end the watermark must be."""
    witnesses: tuple[Witness, ...]


@dataclass(frozen=True, slots=True)
class Late:
    """Rows that came after their windows were final."""

    places: pl.DataFrame
    """Where the mart's own inputs have them: `input`, and the coordinates of silver."""
    counted: pl.DataFrame
    """One row for each of them and each window that it was late for: `start` (UTC), and `at`, when it came."""


NONE_LATE = Late(pl.DataFrame(schema=_LATE), pl.DataFrame(schema=_COUNTED))


def finality_of(lake: Lake, domain: Domain, mart: MartContract, before: datetime | None) -> Finality:
    """How far a mart's time has come by now; never less far than `before`."""
    marts = {one.name: one for one in domain.marts}
    found: dict[str, watermark.Reached] = {}
    witnesses = []
    for name, way in _ways(mart, marts):
        if any(below.window.session is not None for below in way[:-1]):
            return Finality(None, timedelta(0), ())  # a session may begin at any time before a row that makes it longer
        versions = domain.versions_of(name)
        declared, table = watermark.declared(versions), lake.newest(silver.spec(versions))
        if declared is None:
            return Finality(None, timedelta(0), ())
        if name not in found:
            found[name] = watermark.reached(None if table is None else Pinned(table), declared)
        if table is not None:
            witnesses.append(Witness(name, way, Snapshot.of(table)))
    at = watermark.of_all(list(found.values()))
    known = [one for one in (at, before) if one is not None]
    return Finality(max(known, default=None), settles(mart, marts), tuple(witnesses))


def settles(mart: MartContract, marts: Mapping[str, MartContract]) -> timedelta:
    """How long after the end of a window the watermark must be: not before all windows of the marts below are final."""
    found = [mart.window.final_after]
    for name in mart.gold_inputs:
        below = marts[name]
        reach = below.window.size - min(below.window.step, mart.window.step)
        found.append(reach + settles(below, marts))
    return max(found)


def closing(standing: Snapshot, mart: MartContract, finality: Finality, before: datetime | None) -> pl.Series:
    """Starts (UTC) of the windows that a mart holds as open and that are final by now."""
    none = pl.Series([], dtype=INSTANT)
    if finality.watermark is None or finality.watermark == before:
        return none
    column, cut = mart.window.column, mart.window
    near = standing
    if before is not None and before > datetime(1000, 1, 1, tzinfo=UTC):  # all that ended before is final already
        reach = finality.settles + cut.size + timedelta(days=2)
        span = [(before - reach, min(finality.watermark, _NEVER - timedelta(days=2)) + timedelta(days=1))]
        near = standing.touching(column, window.bounds(span, cut.timezone, standing.schema[column]))
    values = near.scan().filter(pl.col(STATUS) == OPEN).select(pl.col(column).unique()).collect().to_series()
    starts = window.begins(values, cut).sort()
    return starts.filter(_final(window.ends(starts, cut), finality))


def late(finality: Finality, covered: Sequence[window.Span] | None) -> Late:
    """The rows that came too late for the windows that start within some ranges, or for any."""
    places, counted = [NONE_LATE.places], [NONE_LATE.counted]
    for witness in finality.witnesses:
        rows = _candidates(witness, finality, covered)
        if rows.is_empty():
            continue
        found = _assigned(rows, witness, finality.settles)
        if covered is not None:
            found = found.filter(inside("start", covered))
        counted.append(found.select("start", at=pl.max_horizontal("_ingested_at", WATERMARK.name)))
        if len(witness.way) == 1:
            places.append(found.select(pl.lit(witness.name).alias("input"), *silver.PLACE))
    return Late(pl.concat(places).unique(), pl.concat(counted))


def stamped(rows: pl.DataFrame, mart: MartContract, finality: Finality, late: Late) -> pl.DataFrame:
    """A mart's rows with the columns that say how final each is."""
    column, cut = mart.window.column, mart.window
    values = rows.select(pl.col(column).unique()).to_series()
    starts = window.begins(values, cut)
    final = _final(window.ends(starts, cut), finality)
    by_start = late.counted.group_by("start").agg(pl.col("at").max(), pl.len().cast(pl.Int64).alias("late"))
    windows = pl.DataFrame({column: values, "start": starts, "final": final}).join(by_start, on="start", how="left")
    said = windows.select(column, *said_of("final", "at", "late", keeps=cut.keeps))
    return rows.join(said, on=column, how="left", maintain_order="left").cast(schema_of(FINALITY))  # type: ignore[arg-type]


def said_of(final: str, at: str, late: str, *, keeps: bool = False) -> list[pl.Expr]:
    """The columns that say how final a window is, by the names of columns.

    Args:
        final: Whether the watermark has passed it.
        at: When the newest late row came; null where none did.
        late: How many there were; null likewise.
        keeps: Whether late rows are left out.
    """
    changed = pl.col(late).is_not_null() & (not keeps)
    status = pl.when(~pl.col(final)).then(pl.lit(OPEN)).when(changed).then(pl.lit(RESTATED)).otherwise(pl.lit(FINAL))
    return [
        status.alias(STATUS),
        pl.when(changed & pl.col(final)).then(at).alias(RESTATED_AT),
        pl.col(late).fill_null(0).alias(LATE_ROWS),
    ]


def _ways(mart: MartContract, marts: Mapping[str, MartContract]) -> list[tuple[str, tuple[MartContract, ...]]]:
    """Each silver table that a mart is made of, and by way of which marts."""
    found: list[tuple[str, tuple[MartContract, ...]]] = [(name, (mart,)) for name in mart.silver_inputs]
    for below in mart.gold_inputs:
        found += [(name, (*way, mart)) for name, way in _ways(marts[below], marts)]
    return found


def _candidates(witness: Witness, finality: Finality, covered: Sequence[window.Span] | None) -> pl.DataFrame:
    """Rows of silver that may be late for one of the windows: few, since they met a watermark beyond their own time."""
    first = witness.way[0]
    time = first.window.time_fields[witness.name]
    if WATERMARK.name not in witness.snapshot.schema:
        return pl.DataFrame()
    near = witness.snapshot
    if covered is not None:
        spans = list(covered)
        for mart in reversed(witness.way):
            spans = merged(window.reads(spans, mart.window))
        spans = merged(window.back(spans, first.window.lookback(witness.name)))
        if not spans:
            return pl.DataFrame()
        near = near.touching(time, spans)
    passed = pl.col(WATERMARK.name) > pl.col(time)
    columns = list(dict.fromkeys((*silver.PLACE, time, "_ingested_at", WATERMARK.name)))
    scan = near.scan().filter(passed)
    if covered is not None:
        scan = scan.filter(inside(time, spans))
    rows = scan.select(columns).collect()
    return rows.filter(pl.col(WATERMARK.name) - pl.col(time) > finality.settles)


def _assigned(rows: pl.DataFrame, witness: Witness, settled: timedelta) -> pl.DataFrame:
    """The rows once for each window of the mart that they were late for, with its `start`; none that a mart below kept out."""
    found = rows
    at: pl.Expr | str = witness.way[0].window.time_fields[witness.name]
    lookback = witness.way[0].window.lookback(witness.name)
    for mart in witness.way:
        windows = window.assigned(found.select(at).to_series(), mart.window, lookback)
        found = found[windows["place"]].drop("start", strict=False).with_columns(windows["start"])
        is_last = mart is witness.way[-1]
        if is_last or mart.window.keeps:
            grace = settled if is_last else mart.window.final_after
            too_late = window.ends(found["start"], mart.window) + grace <= found[WATERMARK.name]
            found = found.filter(too_late if is_last else ~too_late.fill_null(value=False))
        found = found.unique([*silver.PLACE, "start"])
        at, lookback = "start", timedelta(0)
    return found


def _final(ended: pl.Series, finality: Finality) -> pl.Series:
    if finality.watermark is None:
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(ended))
    return (ended + finality.settles <= finality.watermark).fill_null(value=False)
