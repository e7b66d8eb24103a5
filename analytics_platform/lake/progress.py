"""How far a table has read each partition of a log, and whether not knowing is all right."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable

from analytics_platform.errors import ProgressLost
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.files import Snapshot


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What a table calls the columns that say where a row came from; `topic` is `None` where it holds one topic only."""

    topic_id: str
    partition: str
    topic: str | None = None


def progress(
    table: DeltaTable | None, title: str, coordinates: Coordinates, log: Log, partitions: Iterable[int]
) -> Mapping[int, int]:
    """The next offset to take in, by partition; partitions the table knows nothing of are left out.

    Raises:
        ProgressLost: a partition has rows in the table but no stored offset.
    """
    if table is None:
        return {}
    known: dict[int, int] = {}
    unknown: list[int] = []
    for partition in partitions:
        offset = table.transaction_version(log.app_id(partition))
        if offset is None:
            unknown.append(partition)
        else:
            known[partition] = offset
    if unknown:
        held = rows_of(table, coordinates, log, unknown)
        if held:
            raise ProgressLost(title, log.app_id(held[0]))
    return known


def rows_of(table: DeltaTable, coordinates: Coordinates, log: Log, partitions: Iterable[int]) -> list[int]:
    """Which of some partitions of a log have rows in a table."""
    wanted = sorted(partitions)
    snapshot = Snapshot.of(table).touching(coordinates.partition, [(item, item + 1) for item in wanted])
    matches = pl.col(coordinates.partition).is_in(wanted) & (pl.col(coordinates.topic_id) == log.id)
    if coordinates.topic is not None:
        matches &= pl.col(coordinates.topic) == log.topic
    found = snapshot.scan().filter(matches).select(pl.col(coordinates.partition).unique()).collect()
    return sorted(found.to_series().to_list())
