"""A small domain for tests of the lake and the stations: contracts in YAML, and a log of records in memory.

Orders are placed and cancelled on one topic, pages are viewed on another; two marts count orders per hour (UTC) and per
day (New York), the latter with the names of a reference table. `Feed` stands in for Kafka: the same seed gives the same
records, good, bad, late and doubled. `Shop` drives the stations over it without a broker.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from analytics_platform import bronze, derive, gold, quarantine, silver
from analytics_platform.catchup import catch_up
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Domain, EventContract
from analytics_platform.gold import finality
from analytics_platform.judge import judge
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.keyring import NO_KEYS, KeyRing
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake, TableSpec
from analytics_platform.reference import load_reference
from analytics_platform.refetch import batch_metadata
from analytics_platform.report import MartReport
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings

ORDERS, VISITS = "shop.orders", "shop.visits"
START = datetime(2026, 11, 23, 10, tzinfo=UTC)
"""When the first micro-batch is taken in; each one takes a second."""
LINEAGE = ("_topic", "_topic_id", "_partition", "_offset", "_kafka_timestamp", "_ingested_at")

_HEAD = """\
apiVersion: v3.2.0
kind: DataContract
id: urn:contract:shop:{name}
name: {name}
version: {version}
status: active
domain: shop
description: {{purpose: Tests.}}
team: {{name: tests}}
"""
_EVENT = (
    _HEAD
    + """\
schema:
  - name: {name}
    physicalName: {topic}
    physicalType: topic
    logicalType: object
    properties:
      - {{name: idempotency_key, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}}
      - {{name: event_type, logicalType: string, required: true}}
      - {{name: schema_version, logicalType: string, required: true}}
      - {{name: trace_id, logicalType: string}}
      - {{name: occurred_at, logicalType: timestamp, required: true, logicalTypeOptions: {{timezone: true}}}}
      - {{name: source, logicalType: string}}
{fields}
{sla}
customProperties:
  - property: envelope
    vendor: analytics_platform
    value:
      idempotency_key: idempotency_key
      event_type: event_type
      schema_version: schema_version
      trace_id: trace_id
      occurred_at: occurred_at
      source: source
  - {{property: identity, vendor: analytics_platform, value: {{mode: verify, by: {by}}}}}
{quarantine}"""
)
_PLACED = """\
      - {{name: order_id, logicalType: string, required: true}}
      - {{name: placed_at, logicalType: timestamp, required: true, logicalTypeOptions: {{timezone: true}}}}
      - {{name: product, logicalType: string, required: true}}
      - {{name: cents, logicalType: integer, required: true, logicalTypeOptions: {{minimum: 0, maximum: {most}}}}}
{extra}"""
_CANCELLED = """\
      - {name: order_id, logicalType: string, required: true}
      - {name: placed_at, logicalType: timestamp, required: true, logicalTypeOptions: {timezone: true}}"""
_VIEWED = """\
      - {name: visit, logicalType: string, required: true}
      - {name: page, logicalType: string, required: true}"""
_PRODUCTS = (
    _HEAD
    + """\
schema:
  - name: products
    physicalName: products.csv
    physicalType: csv
    properties:
      - {{name: product, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}}
      - {{name: title, logicalType: string, required: true}}
"""
)
_MART = (
    _HEAD
    + """\
schema:
  - name: {name}
    properties:
{fields}
customProperties:
  - property: window
    vendor: analytics_platform
    value: {window}
"""
)
_HOURLY = """\
      - {name: hour, logicalType: timestamp, required: true, primaryKey: true, primaryKeyPosition: 1, logicalTypeOptions: {timezone: true}}
      - {name: placed, logicalType: integer, required: true, logicalTypeOptions: {minimum: 0}}
      - {name: cancelled, logicalType: integer, required: true}"""
_DAILY = """\
      - {name: day, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: product, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: title, logicalType: string}
      - {name: orders, logicalType: integer, required: true}
      - {name: cents, logicalType: integer, required: true}"""
HOURLY_SQL = """\
WITH events AS (
    SELECT occurred_at, 1 AS placed, 0 AS cancelled FROM silver.order_placed
    UNION ALL
    SELECT occurred_at, 0 AS placed, 1 AS cancelled FROM silver.order_cancelled
)
SELECT date_trunc('hour', occurred_at) AS hour,
    CAST(sum(placed) AS bigint) AS placed, CAST(sum(cancelled) AS bigint) AS cancelled
FROM events GROUP BY ALL
"""
PLACED_SQL = """\
SELECT date_trunc('hour', occurred_at) AS hour, count(*) AS placed, CAST(0 AS bigint) AS cancelled
FROM silver.order_placed GROUP BY ALL
"""
"""For a shop without cancelled orders."""
DAILY_SQL = """\
SELECT CAST(timezone('America/New_York', placed_at) AS date) AS day, product, title,
    count(*) AS orders, CAST(sum(cents) AS bigint) AS cents
FROM silver.order_placed LEFT JOIN reference.products USING (product)
GROUP BY ALL
"""
_COUNTED = """\
      - {{name: {start}, logicalType: {kind}, required: true, primaryKey: true, primaryKeyPosition: 1}}
      - {{name: orders, logicalType: integer, required: true}}
      - {{name: cents, logicalType: integer, required: true}}"""
MORE_MARTS = {
    # Overlapping days over silver, with a median: no sum of parts.
    "three_days": (
        _COUNTED.format(start="day", kind="date"),
        "{column: day, size: 3d, hop: 1d, timezone: America/New_York, timeFields: {order_placed: placed_at}}",
        """SELECT day, count(*) AS orders, CAST(median(cents) AS bigint) AS cents
        FROM silver.order_placed, unnest(window_starts(placed_at)) AS starts(day) GROUP BY day""",
    ),
    "six_hours": (
        _COUNTED.format(start="hour", kind="timestamp"),
        "{column: hour, size: 6h, hop: 2h, timezone: UTC, timeFields: {order_placed: occurred_at}}",
        """SELECT hour, count(*) AS orders, CAST(sum(cents) AS bigint) AS cents
        FROM silver.order_placed, unnest(window_starts(occurred_at)) AS starts(hour) GROUP BY hour""",
    ),
    # Marts over marts: hours into days, and days into overlapping ones.
    "days_of_hours": (
        _COUNTED.format(start="day", kind="date"),
        "{column: day, size: 1d, timezone: America/New_York}",
        """SELECT window_starts(hour)[1] AS day, CAST(sum(placed) AS bigint) AS orders, CAST(0 AS bigint) AS cents
        FROM gold.sales_hourly GROUP BY day""",
    ),
    "all_days": (
        _COUNTED.format(start="day", kind="date"),
        "{column: day, size: 4d, hop: 1d, timezone: America/New_York}",
        """SELECT first AS day, CAST(sum(orders) AS bigint) AS orders, CAST(sum(cents) AS bigint) AS cents
        FROM gold.sales_daily, unnest(window_starts(day)) AS starts(first) GROUP BY first""",
    ),
    "best_days": (
        _COUNTED.format(start="day", kind="date"),
        "{column: day, size: 1d, timezone: America/New_York}",
        "SELECT day, orders, cents FROM gold.all_days WHERE orders >= 3",
    ),
}
"""Beside the two that every shop has: windows that overlap, and marts that read marts."""
SESSION_MARTS = {
    # Of one sender, orders and cancellations together.
    "visits": (
        """\
      - {name: began, logicalType: timestamp, required: true, primaryKey: true, primaryKeyPosition: 1, logicalTypeOptions: {timezone: true}}
      - {name: source, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: ended, logicalType: timestamp, required: true, logicalTypeOptions: {timezone: true}}
      - {name: orders, logicalType: integer, required: true}
      - {name: cancelled, logicalType: integer, required: true}""",
        """{column: began, gap: 30m, by: [source],
      timeFields: {order_placed: occurred_at, order_cancelled: occurred_at}}""",
        """WITH events AS (
            SELECT _session, source, occurred_at, 1 AS placed FROM silver.order_placed
            UNION ALL
            SELECT _session, source, occurred_at, 0 AS placed FROM silver.order_cancelled
        )
        SELECT _session AS began, source, max(occurred_at) AS ended,
            CAST(sum(placed) AS bigint) AS orders, CAST(sum(1 - placed) AS bigint) AS cancelled
        FROM events GROUP BY ALL""",
    ),
    # By two columns, several rows a session, and none of a session without a mug or a pen.
    "streaks": (
        """\
      - {name: source, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: cents, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: began, logicalType: timestamp, required: true, primaryKey: true, primaryKeyPosition: 3, logicalTypeOptions: {timezone: true}}
      - {name: product, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 4}
      - {name: orders, logicalType: integer, required: true}""",
        "{column: began, gap: 1h, by: [source, cents], timeFields: {order_placed: placed_at}}",
        """SELECT source, cents, _session AS began, product, count(*) AS orders
        FROM silver.order_placed WHERE product IN ('mug', 'pen') GROUP BY ALL""",
    ),
    "days_of_visits": (
        _COUNTED.format(start="day", kind="date"),
        "{column: day, size: 1d, timezone: America/New_York}",
        """SELECT window_starts(began)[1] AS day, CAST(sum(orders) AS bigint) AS orders, count(*) AS cents
        FROM gold.visits GROUP BY day""",
    ),
}
"""Marts whose windows are sessions, and one above."""
_ASOF_SQL = """\
WITH priced AS (
    SELECT occurred_at, max(cents) AS cents FROM silver.order_placed GROUP BY occurred_at
),
cancelled AS (
    SELECT gone.occurred_at, CASE WHEN gone.occurred_at - priced.occurred_at <= INTERVAL {back} THEN cents END AS cents
    FROM silver.order_cancelled AS gone ASOF LEFT JOIN priced ON gone.occurred_at >= priced.occurred_at
)
SELECT {column}, count(*) AS orders, CAST(coalesce(sum(cents), 0) AS bigint) AS cents
FROM cancelled, unnest(window_starts(occurred_at)) AS starts({column}) GROUP BY {column}
"""
_ASOF_FIELDS = "timeFields: {{order_cancelled: occurred_at, order_placed: {{field: occurred_at, lookback: {back}}}}}"
AS_OF = {
    name: (
        _COUNTED.format(start=column, kind=kind),
        f"{{column: {column}, {cut}, {_ASOF_FIELDS.format(back=back)}}}",
        _ASOF_SQL.format(column=column, back=sql_back),
    )
    for name, column, kind, cut, back, sql_back in (
        ("hours_as_of", "hour", "timestamp", "size: 1h, timezone: UTC", "3h", "3 HOURS"),
        ("six_hours_as_of", "hour", "timestamp", "size: 6h, hop: 2h, timezone: UTC", "150m", "150 MINUTES"),
        ("days_as_of", "day", "date", "size: 1d, timezone: America/New_York", "30h", "30 HOURS"),
    )
}
"""Cancellations with the dearest of the orders that were placed at the latest moment before each."""
PRODUCTS = "product,title\nmug,Mug\npen,Pen\n"


@cache
def domain(
    *,
    events: tuple[str, ...] = ("order_placed", "order_cancelled", "page_viewed"),
    most_cents: int = 100_000,
    extra: str = "",
    hourly: str = HOURLY_SQL,
    daily: str = DAILY_SQL,
    marts: tuple[str, ...] = ("sales_hourly", "sales_daily"),
    products: str = PRODUCTS,
    breaker: str = "",
    patch: str = "",
    enrich: str = "",
) -> Domain:
    """The shop's contracts, changed; loaded as any other, from a folder that stays until the tests end."""
    folder = TemporaryDirectory(prefix="shop-")
    _FOLDERS.append(folder)
    root = Path(folder.name)
    _write(root, events, most_cents, extra, {"quarantine": breaker, "enrich": enrich})
    if patch:
        _file(root, "order_placed/fix.patch.yaml", patch)
    sqls = {name: sql for name, (_, _, sql) in (MORE_MARTS | SESSION_MARTS | AS_OF).items()}
    sqls |= {"sales_hourly": hourly if "order_cancelled" in events else PLACED_SQL, "sales_daily": daily}
    for name in marts:
        _write_mart(root, name, sqls[name], cancels="order_cancelled" in events)
    _file(root, "reference/products.odcs.yaml", _PRODUCTS.format(name="products", version="1.0.0"))
    _file(root, "reference/products.csv", products)
    return load_catalog(root / "contracts").domains["shop"]


_FOLDERS: list[TemporaryDirectory[str]] = []


def _write(root: Path, events: Sequence[str], most_cents: int, extra: str, policies: Mapping[str, str]) -> None:
    by_order = "[order_id, placed_at], timeField: placed_at"
    window = "slaProperties: [{property: dedupeWindow, value: 2, unit: d}]"
    known = {
        "order_placed": (ORDERS, _PLACED.format(most=most_cents, extra=extra), "", by_order),
        "order_cancelled": (ORDERS, _CANCELLED, "", by_order),
        "page_viewed": (VISITS, _VIEWED, window, "[visit, page]"),
    }
    for name in events:
        topic, fields, sla, by = known[name]
        policy = "".join(
            f"  - {{property: {kind}, vendor: analytics_platform, value: {value}}}\n"
            for kind, value in policies.items()
            if value and name == "order_placed"
        )
        text = _EVENT.format(name=name, version="1.0.0", topic=topic, fields=fields, sla=sla, by=by, quarantine=policy)
        _file(root, f"{name}/1.0.0.odcs.yaml", text)


def _write_mart(root: Path, name: str, sql: str, *, cancels: bool) -> None:
    hours = "{order_placed: occurred_at" + (", order_cancelled: occurred_at" if cancels else "") + "}"
    windows = {
        "sales_hourly": (_HOURLY, f"{{column: hour, size: 1h, timezone: UTC, timeFields: {hours}}}"),
        "sales_daily": (
            _DAILY,
            "{column: day, size: 1d, timezone: America/New_York, timeFields: {order_placed: placed_at}}",
        ),
    }
    fields, window = windows[name] if name in windows else (MORE_MARTS | SESSION_MARTS | AS_OF)[name][:2]
    _file(root, f"marts/{name}.odcs.yaml", _MART.format(name=name, version="1.0.0", fields=fields, window=window))
    _file(root, f"marts/{name}.sql", sql)


def _file(root: Path, name: str, text: str) -> None:
    path = root / "contracts/shop" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def contract(of: Domain, name: str) -> EventContract:
    """The newest contract of an event type."""
    return silver.newest(of.versions_of(name))


def renamed(of: Domain, prefix: str) -> Domain:
    """The same contracts over topics of another name, for tests that share a broker."""
    return replace(of, events=tuple(replace(item, topic=prefix + item.topic) for item in of.events))


# --- records -----------------------------------------------------------------------------------------------------------

_DAYS = (datetime(2024, 3, 9, 22, tzinfo=UTC), datetime(2024, 11, 2, 22, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC))
"""Around both nights on which New York's clocks change, and one summer's day."""


def order(name: str = "order_placed", **changes: Any) -> bytes:
    """A good order, changed; `...` leaves a field out. The key is right unless given."""
    event: dict[str, Any] = {
        "event_type": name,
        "schema_version": "1.0.0",
        "trace_id": "t",
        "occurred_at": "2024-07-01T10:00:30.250001Z",
        "order_id": "o-1",
        "placed_at": "2024-07-01T10:00:00Z",
    } | changes
    if name == "order_placed":
        event = {"product": "mug", "cents": 100} | event
    return _keyed(event)


def view(**changes: Any) -> bytes:
    """A good page view, changed."""
    event = {
        "event_type": "page_viewed",
        "schema_version": "1.0.0",
        "occurred_at": "2024-07-01T10:00:30Z",
        "visit": "v-1",
        "page": "/",
    }
    return _keyed(event | changes)


def _keyed(event: dict[str, Any]) -> bytes:
    if "idempotency_key" not in event:
        event["idempotency_key"] = idempotency_key(contract(domain(), event["event_type"]), event)
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


Value = bytes | None
Values = Mapping[str, Mapping[int, Sequence[Value]]]
"""By topic and partition, in the order of offsets."""


def feed(seed: int, count: int, *, partitions: int = 2) -> Values:
    """About a tenth bad, a seventh doubled (some far behind the first copy), times in no order."""
    chance = random.Random(seed)
    values: dict[str, dict[int, list[Value]]] = {
        topic: {item: [] for item in range(partitions)} for topic in (ORDERS, VISITS)
    }
    sent: list[tuple[str, bytes]] = []
    for number in range(count):
        if sent and chance.random() < 0.15:
            topic, value = chance.choice(sent)
            values[topic][chance.randrange(partitions)].append(value)
            continue
        topic, made = _event(chance, f"{seed}-{number}")
        if made is not None and chance.random() < 0.9:
            sent.append((topic, made))
        else:
            made = _bad(chance, made)
        values[topic][chance.randrange(partitions)].append(made)
    return values


def _event(chance: random.Random, name: str) -> tuple[str, bytes]:
    at = chance.choice(_DAYS) + timedelta(minutes=chance.randrange(60 * 30))
    seen = (at + timedelta(microseconds=chance.randrange(90_000_000))).isoformat()
    kind = chance.random()
    if kind < 0.55:
        product = chance.choice(["mug", "pen", "cup"])
        return ORDERS, order(
            order_id=name, placed_at=at.isoformat(), occurred_at=seen, product=product, cents=chance.randrange(5000)
        )
    if kind < 0.8:
        return ORDERS, order("order_cancelled", order_id=name, placed_at=at.isoformat(), occurred_at=seen)
    return VISITS, view(visit=name, page="/" + chance.choice("ab"), occurred_at=seen)


def _bad(chance: random.Random, value: bytes) -> Value:
    event = json.loads(value)
    return chance.choice(
        [
            None,
            b"{",
            b"\xff\xfe",
            b"[]",
            json.dumps(event | {"event_type": "order_lost"}).encode(),
            json.dumps(event | {"idempotency_key": "no"}).encode(),
            json.dumps(event | {"occurred_at": 7}).encode(),
            json.dumps({name: value for name, value in event.items() if name != "schema_version"}).encode(),
        ]
    )


# --- stations ----------------------------------------------------------------------------------------------------------


def log_of(topic: str, topic_id: str = "t1") -> Log:
    """The log of a topic as the feed's cluster has it."""
    return Log(topic, f"cluster/{topic_id}")


@dataclass
class Shop:
    """A lake below a feed, and a clock that only moves when told."""

    root: Path
    values: Values
    domain: Domain = field(default_factory=domain)
    batch_rows: int = 100_000
    fsync: bool = False
    now: datetime = START
    keys: KeyRing = NO_KEYS
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        self.lake = Lake(self.root, self.fsync)

    @property
    def settings(self) -> Settings:
        return Settings(lake=self.root, batch_rows=self.batch_rows, fsync=self.fsync)

    def clock(self) -> datetime:
        return self.now

    def under(self, changed: Domain) -> "Shop":
        """The same lake and feed in another process, so to say, under other contracts."""
        return replace(self, domain=changed)

    def whole(self, topic: str) -> tuple[OffsetRange, ...]:
        """All that the feed holds of a topic."""
        return tuple(OffsetRange(item, 0, len(values)) for item, values in sorted(self.values[topic].items()))

    def slice(self, topic: str, ranges: Iterable[OffsetRange], topic_id: str = "t1") -> derive.Slice:
        """A micro-batch as it comes from the feed; a second passes."""
        self.now += timedelta(seconds=1)
        log = log_of(topic, topic_id)
        ranges = tuple(sorted(ranges))
        return derive.Slice(log, ranges, bronze.rows(raw(self.values[topic], ranges), log, bronze.instant(self.now)))

    def pour(self, topic: str, ranges: Iterable[OffsetRange], topic_id: str = "t1") -> derive.Slice:
        """Commit a micro-batch to bronze, and no further."""
        part = self.slice(topic, ranges, topic_id)
        metadata = batch_metadata(part.log, part.ranges, part.records, bronze.instant(self.now))
        commit(
            self.lake,
            bronze.spec(topic),
            lambda _table, left: Change(
                part.records.filter(bronze.within([move.range for move in left])), metadata=metadata
            ),
            part.moves,
        )
        return part

    def take(self, topic: str, ranges: Iterable[OffsetRange], topic_id: str = "t1") -> derive.Taken:
        """A whole micro-batch, down to silver."""
        part = self.pour(topic, ranges, topic_id)
        return derive.take_in(self.lake, self.domain, part, now=self.now, keys=self.keys)

    def take_all(self) -> None:
        """Everything the feed holds, a micro-batch per topic, and the marts."""
        for topic in self.domain.topics:
            self.take(topic, self.whole(topic))
        self.refresh()

    def catch_up(self, topic: str, topic_id: str = "t1") -> int:
        """Take into silver what bronze has."""
        partitions = sorted(self.values[topic])
        log, book = log_of(topic, topic_id), SchemaBook(self.lake, self.domain.name, self.settings.registry)
        return catch_up(self.lake, self.domain, log, partitions, self.settings, book=book, clock=self.clock)

    def refresh(self, topic_id: str = "t1") -> dict[str, MartReport | None]:
        """Bring the reference table and both marts up to date."""
        for item in self.domain.files:
            load_reference(self.lake, item, self.now)
        logs = {topic: (log_of(topic, topic_id), sorted(self.values[topic])) for topic in self.domain.topics}
        found = list(gold.refresh(self.lake, self.domain, logs))
        for done in found:
            if done.error is not None:
                raise done.error
        return {done.mart.name: done.report for done in found}

    # What stands in the tables

    def specs(self) -> list[TableSpec]:
        """Of all tables, by layer."""
        names = sorted({event.name for event in self.domain.events})
        return [
            *(bronze.spec(topic) for topic in self.domain.topics),
            quarantine.spec(self.domain.name),
            *(silver.spec(self.domain.versions_of(name)) for name in names),
            *(gold.spec(mart) for mart in self.domain.marts),
        ]

    def rows(self, spec: TableSpec) -> pl.DataFrame:
        """All rows of a table, in no particular order."""
        table = Lake(self.root).newest(spec)
        return pl.DataFrame(schema=spec.schema) if table is None else Snapshot.of(table).scan().collect()

    def silver(self, name: str) -> pl.DataFrame:
        return self.rows(silver.spec(self.domain.versions_of(name)))

    def quarantine(self) -> pl.DataFrame:
        return self.rows(quarantine.spec(self.domain.name))

    def bronze(self, topic: str) -> pl.DataFrame:
        return self.rows(bronze.spec(topic))

    def gold(self, name: str) -> pl.DataFrame:
        """What a mart's SQL made; how final it is has columns of its own, see `finality`."""
        return self.full(name).drop(finality.STATUS, finality.RESTATED_AT, finality.LATE_ROWS)

    def full(self, name: str) -> pl.DataFrame:
        """All columns of a mart."""
        return self.rows(next(gold.spec(mart) for mart in self.domain.marts if mart.name == name))

    def versions(self) -> dict[str, int]:
        """The version of every table."""
        return {spec.title: table.version() for spec in self.specs() if (table := Lake(self.root).newest(spec))}

    def exact(self) -> dict[str, pl.DataFrame]:
        """Every table to the letter, sorted."""
        return {spec.title: ordered(self.rows(spec)) for spec in self.specs()}

    def business(self) -> dict[str, pl.DataFrame]:
        """Every table without what depends on when and in which batches its records came, sorted."""
        return {spec.title: ordered(_business(spec, self.rows(spec))) for spec in self.specs()}


def _business(spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
    if spec.layer == "silver":
        return rows.drop(LINEAGE)
    if spec.layer in {"bronze", "quarantine"}:
        return rows.select(pl.exclude("topic_id", "ingested_at", "status_at", "kafka_timestamp"))
    return rows


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows in an order that depends on nothing but them."""
    lists = [name for name, kind in rows.schema.items() if isinstance(kind, pl.List)]
    plain = [name for name in rows.columns if name not in lists]
    return rows.sort(plain, nulls_last=True) if plain else rows


def same(found: Mapping[str, pl.DataFrame], expected: Mapping[str, pl.DataFrame]) -> bool:
    """Whether two sets of tables are equal; says which one is not, and how."""
    assert sorted(found) == sorted(expected)
    for title, rows in expected.items():
        assert found[title].schema == rows.schema, title
        if not found[title].equals(rows):
            raise AssertionError(f"{title}: found {found[title]!s}, expected {rows!s}")
    return True


def raw(values: Mapping[int, Sequence[Value]], ranges: Iterable[OffsetRange]) -> pl.DataFrame:
    """What Kafka would give for some ranges, by partition and offset."""
    rows = [
        {
            "partition": item.partition,
            "offset": offset,
            "kafka_timestamp": datetime(2024, 7, 2, tzinfo=UTC) + timedelta(milliseconds=offset),
            "timestamp_type": "create",
            "key": None,
            "value": value,
            "value_bytes": None if value is None else len(value),
            "headers": None,
        }
        for item in ranges
        for offset, value in enumerate(values.get(item.partition, ())[item.start : item.end], item.start)
    ]
    return pl.DataFrame(rows, schema={name: kind for name, kind in bronze.SCHEMA.items() if name in _RAW})


_RAW = (
    "partition",
    "offset",
    "kafka_timestamp",
    "timestamp_type",
    "key",
    "value",
    "value_bytes",
    "headers",
)


def once(shop: Shop) -> None:
    """The promise: every record of bronze in exactly one place, every key once, every bad one with its bytes."""
    waiting = shop.quarantine().filter(pl.col("status") == quarantine.NEW)
    for topic in shop.domain.topics:
        records = shop.bronze(topic)
        keys = records.select("topic_id", "partition", "offset")
        assert not keys.is_duplicated().any()
        judged = judge(records.filter(pl.col("gap_end").is_null()), shop.domain.events_of(topic))
        bad = waiting.filter(pl.col("topic") == topic).select("topic_id", "partition", "offset")
        assert ordered(bad).equals(ordered(judged.rejected.select("topic_id", "partition", "offset")))
        for name, good in judged.good.items():
            kept = shop.silver(name)
            assert not kept["idempotency_key"].is_duplicated().any()
            assert sorted(kept["idempotency_key"]) == sorted(set(good["idempotency_key"]))
