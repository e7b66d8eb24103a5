"""What a mart reads, each table at one version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from analytics_platform import reference, silver
from analytics_platform.bronze import within
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.gold.table import spec
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake.commit import TOKEN
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake

Logs = Mapping[str, tuple[Log, Sequence[int]]]
"""The log and the partitions of each topic, as far as they are known."""


@dataclass(frozen=True, slots=True)
class Input:
    """One silver input at one version: its files and its progress, so that both are of the same moment."""

    name: str
    time_field: str
    lookback: timedelta
    snapshot: Snapshot
    ends: Mapping[str, int]
    """The next bronze offset to take in, by application id."""
    places: Mapping[str, tuple[Log, int]]
    """Which log and partition an application id stands for."""
    rewrites: int

    def unseen(self, have: Mapping[str, int | None]) -> pl.LazyFrame | None:
        """The rows that a mart has not seen whose progress is `have`; None where there are none."""
        news = {app_id: (have[f"{self.name}:{app_id}"] or 0, end) for app_id, end in self.ends.items()}
        ranges = [OffsetRange(self.places[app_id][1], *span) for app_id, span in news.items() if span[0] < span[1]]
        if not ranges:
            return None
        log = next(iter(self.places.values()))[0]
        near = self.snapshot.touching("_offset", [(part.start, part.end) for part in ranges])
        return near.scan().filter(within(ranges, "_partition", "_offset") & (pl.col("_topic_id") == log.id))


@dataclass(frozen=True, slots=True)
class MartInput:
    """A mart that another one reads, at one version."""

    mart: MartContract
    snapshot: Snapshot | None
    commits: int


@dataclass(frozen=True, slots=True)
class ReferenceInput:
    """A reference table at one version."""

    snapshot: Snapshot | None
    commits: int
    rewrites: int
    """How many of the commits took away versions that had been told."""
    history: bool


@dataclass(frozen=True, slots=True)
class Sources:
    """All that a mart's SQL reads."""

    silver: Sequence[Input]
    marts: Sequence[MartInput]
    references: Mapping[str, ReferenceInput]


def sources_of(lake: Lake, domain: Domain, mart: MartContract, logs: Logs) -> Sources:
    """All that a mart reads, as it is now."""
    return Sources(
        [silver_input(lake, domain, mart, name, logs) for name in mart.silver_inputs],
        [mart_input(lake, domain, name) for name in mart.gold_inputs],
        {name: reference_input(lake, domain, name) for name in mart.reference_inputs},
    )


def silver_input(lake: Lake, domain: Domain, mart: MartContract, name: str, logs: Logs) -> Input:
    """A silver table that a mart reads; partitions that `logs` does not name count as unchanged."""
    versions = domain.versions_of(name)
    table = lake.ensure(silver.spec(versions))
    log, partitions = logs.get(versions[0].topic, (Log("", ""), ()))
    places = {log.app_id(partition): (log, partition) for partition in partitions}
    found = {app_id: table.transaction_version(app_id) for app_id in places}
    return Input(
        name,
        mart.window.time_fields[name],
        mart.window.lookback(name),
        Snapshot.of(table),
        {app_id: end for app_id, end in found.items() if end is not None},
        places,
        table.transaction_version(silver.REWRITES) or 0,
    )


def mart_input(lake: Lake, domain: Domain, name: str) -> MartInput:
    """A mart that another one reads."""
    (mart,) = [mart for mart in domain.marts if mart.name == name]
    table = lake.newest(spec(mart))
    if table is None:
        return MartInput(mart, None, 0)
    return MartInput(mart, Snapshot.of(table), table.transaction_version(TOKEN) or 0)


def reference_input(lake: Lake, domain: Domain, name: str) -> ReferenceInput:
    """A reference table that a mart reads."""
    table = lake.newest(reference.spec_of(domain, name))
    history = next(one.history for one in domain.references if one.name == name)
    if table is None:
        return ReferenceInput(None, 0, 0, history)
    rewrites = table.transaction_version(reference.REWRITES) or 0
    return ReferenceInput(Snapshot.of(table), table.transaction_version(TOKEN) or 0, rewrites, history)
