"""Which rows of a quarantine are meant: by what is wrong with them, who sent them, where they stand and when they came."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from analytics_platform import quarantine
from analytics_platform.contract.mend import patches_of
from analytics_platform.contract.model import Domain
from analytics_platform.fingerprint import PARTS, findings, fingerprints
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake.files import Snapshot

MOST_RANGES = 64
"""Ranges of offsets in one predicate: DuckDB and DataFusion walk them one by one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Offsets `[start, end)` of one partition of a topic, of every log of that name."""

    topic: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows that satisfy every condition given; a condition with several values is satisfied by any of them."""

    fingerprints: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    codes: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    start: datetime | None = None
    """Ingested at or after."""
    end: datetime | None = None
    """Ingested before."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing but the status says which rows are meant."""
        return not any(
            (
                self.fingerprints,
                self.places,
                self.codes,
                self.event_types,
                self.sources,
                self.topics,
                self.start,
                self.end,
            )
        )


def patched(domain: Domain) -> Mapping[str, Selection]:
    """By `event/patch`, the rows that each patch in force may be for; whether they have other faults is not looked at."""
    topics = {contract.name: contract.topic for contract in domain.events}
    return {
        f"{patch.event}/{patch.name}": Selection(
            codes=tuple(map(str, patch.codes)),
            event_types=() if "event_type" in patch.fields else (patch.event,),
            sources=patch.sources,
            topics=(topics[patch.event],),
            start=patch.start,
            end=patch.end,
        )
        for patch in patches_of(domain.events)
    }


def near(snapshot: Snapshot, selection: Selection) -> Snapshot:
    """The files that can hold rows of a selection."""
    if selection.places:
        snapshot = snapshot.touching("offset", [(place.start, place.end) for place in selection.places])
    if selection.start is not None and selection.end is not None:
        snapshot = snapshot.touching("ingested_at", [(selection.start, selection.end)])
    return snapshot


def chosen(rows: pl.LazyFrame, selection: Selection) -> pl.LazyFrame:
    """The rows of a quarantine, or of some of its files, that a selection means, each once."""
    rows = rows.filter(_plain(selection))
    if not selection.fingerprints:
        return rows
    known = fingerprints(rows).filter(pl.col("fingerprint").is_in(list(selection.fingerprints)))
    meant = findings(rows).join(known.lazy().select(PARTS), on=PARTS, how="semi", nulls_equal=True)
    return rows.join(meant.select(quarantine.KEY), on=quarantine.KEY, how="semi")


def _plain(selection: Selection) -> pl.Expr:
    """All conditions that look at one column."""
    found = [
        pl.col(column).is_in(list(values))
        for column, values in (
            ("event_type", selection.event_types),
            ("source", selection.sources),
            ("topic", selection.topics),
            ("status", selection.statuses),
        )
        if values
    ]
    if selection.codes:
        found.append(pl.any_horizontal(pl.col("codes").list.contains(code) for code in selection.codes))
    if selection.places:
        found.append(pl.any_horizontal(_at(place) for place in selection.places))
    if selection.start is not None:
        found.append(pl.col("ingested_at") >= selection.start)
    if selection.end is not None:
        found.append(pl.col("ingested_at") < selection.end)
    return pl.all_horizontal(pl.lit(value=True), *found)


def _at(place: Place) -> pl.Expr:
    inside = (pl.col("offset") >= place.start) & (pl.col("offset") < place.end)
    return (pl.col("topic") == place.topic) & (pl.col("partition") == place.partition) & inside


@dataclass(frozen=True, slots=True)
class Portion:
    """Some selected rows of one log, few enough for memory."""

    log: Log
    ranges: tuple[OffsetRange, ...]
    """At most `MOST_RANGES` that hold the rows, and no other row of the quarantine as it was."""
    keys: pl.DataFrame
    """Their coordinates, `quarantine.KEY`."""


def portions(snapshot: Snapshot, selection: Selection, *, max_rows: int, max_bytes: int) -> Iterator[Portion]:
    """The rows of a selection in one version of a quarantine, cut for memory, by log, partition and offset.

    Reads coordinates and sizes of the selected rows, and coordinates of their neighbours: some dozen bytes each.
    """
    files = near(snapshot, selection)
    size = (pl.col("value").bin.size().fill_null(0) + pl.col("key").bin.size().fill_null(0)).alias("size")
    mine = chosen(files.scan(), selection).select(*quarantine.KEY, size).collect(engine="streaming")
    mine = mine.unique(quarantine.KEY, keep="first")
    if mine.is_empty():
        return
    logs = mine.select("topic", "topic_id").unique()
    around = files.scan().select(quarantine.KEY).join(logs.lazy(), on=["topic", "topic_id"], how="semi")
    every = around.unique().collect(engine="streaming").join(mine, on=quarantine.KEY, how="left").sort(quarantine.KEY)
    # Offsets between two selected rows that follow each other in the quarantine hold no other row of it.
    every = every.with_columns(run=pl.struct("topic", "topic_id", "partition", pl.col("size").is_null()).rle_id())
    mine = every.filter(pl.col("size").is_not_null()).with_columns(
        by_rows=pl.int_range(pl.len()) // max_rows,
        by_bytes=pl.col("size").cum_sum() // max_bytes,
        by_runs=pl.col("run").rle_id() // MOST_RANGES,
    )
    cuts = ["topic", "topic_id", "by_rows", "by_bytes", "by_runs"]
    for (topic, topic_id, *_), part in mine.partition_by(cuts, maintain_order=True, as_dict=True).items():
        spans = part.group_by("partition", "run", maintain_order=True).agg(
            start=pl.col("offset").min(), end=pl.col("offset").max() + 1
        )
        ranges = tuple(OffsetRange(*span) for span in spans.select("partition", "start", "end").iter_rows())
        yield Portion(Log(str(topic), str(topic_id)), ranges, part.select(quarantine.KEY))


def sample(snapshot: Snapshot, selection: Selection, most: int) -> pl.DataFrame:
    """The newest rows of a selection, at most so many, in the columns of the quarantine."""
    files = near(snapshot, selection)
    keys = chosen(files.scan(), selection).select(*quarantine.KEY, "ingested_at")
    newest = keys.sort("ingested_at", *quarantine.KEY, descending=True).head(most).collect().unique(quarantine.KEY)
    rows = files.scan().join(newest.lazy(), on=quarantine.KEY, how="semi").collect().unique(quarantine.KEY)
    # A table that nothing was committed to since a column was added does not have it.
    columns = [
        pl.col(name) if name in rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in quarantine.SCHEMA.items()
    ]
    return rows.select(columns).sort("ingested_at", *quarantine.KEY, descending=True)
