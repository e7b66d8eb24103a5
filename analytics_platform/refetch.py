"""Verify bronze against the ranges its commits recorded, and fetch again what is missing."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from analytics_platform import bronze
from analytics_platform.errors import BronzeIncomplete, KafkaError
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned
from analytics_platform.lake.history import commit_infos
from analytics_platform.lake.table import Lake
from analytics_platform.settings import Settings

BATCH = "batch"
"""The name under which a bronze commit records its micro-batch."""


def batch_metadata(log: Log, ranges: Sequence[OffsetRange], records: pl.DataFrame, at: datetime) -> Mapping[str, str]:
    """What a bronze commit records of its micro-batch: log, ranges, records per partition, and when it was read."""
    counts = dict(records.group_by("partition").len().iter_rows())
    parts = [[item.partition, item.start, item.end, counts.get(item.partition, 0)] for item in ranges]
    return {BATCH: json.dumps({"log": log.id, "at": at.isoformat(), "ranges": parts})}


def refetch(lake: Lake, topic: str, settings: Settings, hours: tuple[datetime, datetime]) -> int:
    """Complete bronze for records ingested in `[hours[0], hours[1])`; returns how many were missing.

    Each commit recorded how many records its ranges held. Where fewer stand in the table, the ranges are read from Kafka
    again and the missing records added under their first `ingested_at`. Commits whose record was cleaned up (with the
    log, after 30 days) cannot be verified and are passed over.

    Durable on return: the missing records.
    If it dies halfway: some batches are complete, each of them whole.

    Raises:
        BronzeIncomplete: records are missing and Kafka cannot give them back.
    """
    spec = bronze.spec(topic)
    missing = 0
    for info in list(commit_infos(lake, spec)):
        batch = json.loads(info.get(BATCH, "null"))
        if batch is None or not hours[0] <= (at := datetime.fromisoformat(batch["at"])) < hours[1]:
            continue
        log = Log(topic, batch["log"])
        wanted = {OffsetRange(*part[:3]): part[3] for part in batch["ranges"]}
        have = dict(
            bronze.places(lake, log, tuple(wanted))
            .group_by("partition")
            .agg(pl.col("offset").n_unique())
            .collect()
            .iter_rows()
        )
        short = tuple(item for item, count in wanted.items() if have.get(item.partition, 0) < count)
        if short:
            missing += _fetch(lake, log, short, at, settings)
    return missing


def _fetch(lake: Lake, log: Log, ranges: Sequence[OffsetRange], at: datetime, settings: Settings) -> int:
    try:
        with KafkaLog(settings) as kafka:
            state = kafka.state(log.topic)
            if state.log != log:
                raise BronzeIncomplete(log.topic, ranges, "the topic was deleted and made again since")
            raw = kafka.read(log.topic, ranges, max_bytes=2**62)
    except KafkaError as error:
        raise BronzeIncomplete(log.topic, ranges, str(error)) from error
    rows = bronze.rows(raw.frame, log, at)

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        del left
        near = table.snapshot().touching("offset", [(item.start, item.end) for item in ranges]).scan()
        mine = bronze.within(ranges) & (pl.col("topic_id") == log.id)
        standing = near.filter(mine).select("partition", "offset").collect()
        new = rows.join(standing, on=["partition", "offset"], how="anti", maintain_order="left")
        return Change(new) if new.height else None

    committed = commit(lake, bronze.spec(log.topic), change)
    return 0 if committed.change is None else committed.change.rows.height
