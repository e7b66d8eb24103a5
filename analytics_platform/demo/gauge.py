"""How far what was sent has come: read into bronze, and visible in silver and gold. Asks the tables, nobody else."""

import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from statistics import quantiles

from analytics_platform import bronze, derive, gold
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.demo.ledger import Ledger, Place
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.listing import live_tables, newest
from analytics_platform.lake.table import Lake


@dataclass(frozen=True, slots=True)
class Freshness:
    """From handing a record to the producer until its row is visible in every table it belongs to, in seconds.

    As seen by looking now and then, so up to the time between two looks too long.
    """

    median: float
    p95: float
    most: float


@dataclass(slots=True)
class Gauge:
    """Belongs to one thread, as its lake does."""

    lake: Lake
    domain: Domain
    logs: Mapping[str, Log]
    """By topic."""
    ledger: Ledger
    read: dict[Place, int] = field(init=False)
    """The next offset bronze will read, by partition."""
    visible: dict[Place, int] = field(init=False)
    """Everything before this offset is in silver or quarantine, and in the marts; by partition."""
    waits: "array[float]" = field(default_factory=lambda: array("f"))
    """Seconds from sent to visible of every record, in the order in which they became visible."""
    last_waits: "array[float]" = field(default_factory=lambda: array("f"))
    """Of the records that became visible last."""

    def __post_init__(self) -> None:
        """Nothing was looked at."""
        self.read = dict.fromkeys(self.ledger.parts, 0)
        self.visible = dict.fromkeys(self.ledger.parts, 0)

    def look(self) -> bool:
        """Look anew; whether anything has moved. Some ten small reads of the tables' logs."""
        before = (self.read, self.visible)
        partitions = range(self.ledger.partitions)
        read, visible = dict(self.read), dict(self.visible)
        for topic, log in self.logs.items():
            for partition, end in bronze.ends(self.lake, log, partitions).items():
                read[topic, partition] = end
            ends = self._visible(topic, log)
            for partition, end in ends.items():
                visible[topic, partition] = end
        now = time.monotonic()
        news = array("f")
        for place, end in visible.items():
            news.extend(now - at for at in self.ledger.times(place, self.visible[place], end))
        if news:
            self.waits.extend(news)
            self.last_waits = news
        self.read, self.visible = read, visible
        return (read, visible) != before

    @property
    def read_records(self) -> int:
        """How many records bronze has."""
        return sum(self.read.values())

    @property
    def lag(self) -> int:
        """How many records were sent and not read."""
        return self.ledger.sent - self.read_records

    @property
    def drained(self) -> bool:
        """Whether everything sent so far is visible."""
        return self.visible == self.ledger.ends()

    def freshness(self) -> Freshness | None:
        """Over all records that are visible; None while there is none."""
        return _freshness(self.waits)

    def last_freshness(self) -> Freshness | None:
        """Over the records that became visible last."""
        return _freshness(self.last_waits)

    def _visible(self, topic: str, log: Log) -> dict[int, int]:
        partitions = range(self.ledger.partitions)
        ends = dict(derive.targets(self.lake, self.domain, log, partitions))
        types = set(self.domain.event_types_of(topic))
        for mart in self.domain.marts:
            for name in types & set(mart.silver_inputs):
                applied = self._applied(mart, name, log)
                ends = {partition: min(end, applied.get(partition, 0)) for partition, end in ends.items()}
        return ends

    def _applied(self, mart: MartContract, name: str, log: Log) -> dict[int, int]:
        table = self.lake.newest(gold.spec(mart))
        if table is None:
            return {}
        partitions = range(self.ledger.partitions)
        found = {item: table.transaction_version(f"{name}:{log.app_id(item)}") for item in partitions}
        return {item: end for item, end in found.items() if end is not None}


@dataclass(frozen=True, slots=True)
class Contents:
    """What stands in the tables."""

    rows: Mapping[str, int]
    """By `layer.name`, in the order of the layers."""
    reasons: Mapping[str, int]
    """Quarantined rows by reason code, the most frequent first."""
    newest_event: datetime | None
    """The latest time at which an event in silver occurred."""


def contents(lake: Lake) -> Contents:
    """Count the rows of every table; only the quarantine is read."""
    tables = live_tables(lake)
    reasons: dict[str, int] = {}
    newest_event: datetime | None = None
    for table in tables:
        if table.layer == "quarantine":
            codes = table.snapshot.scan().select("codes").collect().to_series().explode().value_counts(sort=True)
            reasons |= dict(codes.iter_rows())
        elif table.layer == "silver":
            at = newest(table, ("occurred_at",)).get("occurred_at")
            newest_event = max(filter(None, (newest_event, at)), default=None)
    return Contents({table.title: table.rows for table in tables}, reasons, newest_event)


def _freshness(waits: "array[float]") -> Freshness | None:
    if not waits:
        return None
    if len(waits) == 1:
        return Freshness(waits[0], waits[0], waits[0])
    cuts = quantiles(waits, n=20, method="inclusive")
    return Freshness(cuts[9], cuts[18], max(waits))
