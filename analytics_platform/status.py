"""How a deployment stands: what waits in Kafka, what is in the tables, what is in quarantine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from analytics_platform import gold
from analytics_platform.contract.model import Domain
from analytics_platform.errors import KafkaError
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.lake.listing import LiveTable, live_tables, newest
from analytics_platform.lake.table import Lake
from analytics_platform.report import BuildReport
from analytics_platform.settings import Settings
from analytics_platform.stream import plan_domain

_PATIENCE = timedelta(seconds=3)
"""A look at the state does not wait as long for Kafka as a run does."""


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """One topic of a domain, as Kafka and its bronze table show it."""

    domain: str
    topic: str
    lag: int | None
    """Offsets that wait to be read; `None` where Kafka did not say."""
    trouble: str | None
    """Why the topic stands still, or could not be looked at."""


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table at its newest version."""

    layer: str
    name: str
    version: int
    rows: int
    files: int
    size_bytes: int
    written_at: datetime | None
    """When its newest live file was written."""
    newest_occurred_at: datetime | None
    """Silver only: the newest event's own time."""
    newest_ingested_at: datetime | None
    """Bronze, silver and quarantine: when the newest record was taken in."""


@dataclass(frozen=True, slots=True)
class QuarantineStatus:
    """Rows of one domain's quarantine that share a reason code and a status; a row with two codes counts for both."""

    domain: str
    code: str
    status: str
    rows: int


@dataclass(frozen=True, slots=True)
class Status:
    """Everything, at one instant."""

    at: datetime
    lake: str
    kafka: str
    """The cluster's servers."""
    kafka_trouble: str | None
    """Why Kafka could not be asked; `None` when it answered."""
    topics: tuple[TopicStatus, ...]
    tables: tuple[TableStatus, ...]
    quarantine: tuple[QuarantineStatus, ...]
    building: tuple[BuildReport, ...] = ()
    """Marts that are to be built from all history, or being built."""

    @property
    def freshness(self) -> Mapping[str, timedelta]:
        """By silver table: how long ago its newest event happened."""
        return {
            f"{table.layer}.{table.name}": self.at - table.newest_occurred_at
            for table in self.tables
            if table.newest_occurred_at is not None
        }


def status(domains: Sequence[Domain], settings: Settings, now: datetime) -> Status:
    """Look at Kafka and at every table; a Kafka that does not answer within 3 s is shown, not raised.

    Tables stand in the order of the layers and then by name, whether a contract still names them or not.
    """
    lake = Lake(settings.lake)
    tables = live_tables(lake)
    topics, trouble = _topics(domains, settings, now)
    return Status(
        at=now,
        lake=str(settings.lake),
        kafka=settings.kafka.bootstrap_servers,
        kafka_trouble=trouble,
        topics=topics,
        tables=tuple(_table(table) for table in tables),
        quarantine=tuple(found for table in tables if table.layer == "quarantine" for found in _quarantine(table)),
        building=tuple(report for domain in domains for report in gold.builds(lake, domain)),
    )


def _topics(domains: Sequence[Domain], settings: Settings, now: datetime) -> tuple[tuple[TopicStatus, ...], str | None]:
    patient = replace(settings.kafka, timeout=min(settings.kafka.timeout, _PATIENCE))
    settings = replace(settings, kafka=patient)
    found: list[TopicStatus] = []
    trouble: str | None = None
    for domain in domains:
        lags: dict[str, int] = {}
        stopped: Mapping[str, str] = {}
        if trouble is None:
            try:
                with KafkaLog(settings) as log:
                    planned = plan_domain(domain, settings, log, now=now)
            except KafkaError as error:  # the cluster as a whole: a topic of its own kind is in `stopped`
                trouble = str(error)
            else:
                stopped = planned.stopped
                lags = {topic: 0 for topic in domain.topics if topic not in stopped}
                lags |= {plan.topic: plan.lag for plan in planned.plans}
        found += [TopicStatus(domain.name, topic, lags.get(topic), stopped.get(topic)) for topic in domain.topics]
    return tuple(found), trouble


def _table(table: LiveTable) -> TableStatus:
    times = newest(table, ("occurred_at", "_ingested_at", "ingested_at"))
    return TableStatus(
        layer=table.layer,
        name=table.name,
        version=table.version,
        rows=table.rows,
        files=len(table.paths),
        size_bytes=table.size_bytes,
        written_at=table.written_at,
        newest_occurred_at=times.get("occurred_at") if table.layer == "silver" else None,
        newest_ingested_at=times.get("_ingested_at", times.get("ingested_at")),
    )


def _quarantine(table: LiveTable) -> list[QuarantineStatus]:
    counted = (
        table.snapshot.scan()
        .select("codes", "status")
        .explode("codes")
        .group_by("codes", "status")
        .agg(rows=pl.len())
        .sort("codes", "status")
        .collect()
    )
    return [QuarantineStatus(table.name, code, status, rows) for code, status, rows in counted.rows()]
