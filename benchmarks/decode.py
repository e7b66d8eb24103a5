"""How fast bytes become checked rows: `python -m benchmarks.decode [records]`, about half a minute.

Events of about 420 bytes with 12 fields, one object and one array of objects; none, 1 % and half of them bad.
Run it under `taskset -c 0` with POLARS_MAX_THREADS=1 for one core. Rows per second of CPU stand beside rows per second:
on a busy machine only the former mean something.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.check import check
from analytics_platform.contract.decode import decode
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import (
    ENVELOPE,
    EventContract,
    Field,
    Header,
    Identity,
    KeyMode,
    LogicalType,
    Rules,
)

START = datetime(2013, 1, 1, tzinfo=UTC)
ROUNDS = 4


def field(
    name: str, kind: LogicalType = LogicalType.STRING, *, required: bool = True, rules: Rules | None = None
) -> Field:
    """A field without anything inside it."""
    return Field(name, kind, required, name, rules or Rules())


SHIP = Field("ship", LogicalType.OBJECT, True, "ship", fields=(field("city", rules=Rules(min_length=1)), field("zip")))
ITEM = Field(
    "item",
    LogicalType.OBJECT,
    True,
    "item",
    fields=(field("sku"), field("qty", LogicalType.INTEGER, rules=Rules(minimum=1))),
)
ORDER = EventContract(
    header=Header("order", "order_placed", "1.0.0", "active", "shop", "", (), (), Path("order"), "digest"),
    topic="orders",
    fields=(
        field("idempotency_key", rules=Rules(pattern="[0-9a-f]{64}")),
        field("event_type"),
        field("schema_version"),
        field("trace_id", rules=Rules(pattern="[0-9a-f]{32}")),
        field("occurred_at", LogicalType.TIMESTAMP),
        field("source", required=False, rules=Rules(max_length=50)),
        field("order_id", rules=Rules(pattern="O-[0-9]{9}")),
        field("currency", rules=Rules(enum=("EUR", "USD"))),
        field("total_cents", LogicalType.INTEGER, rules=Rules(minimum=0, maximum=10**9)),
        field("weight", LogicalType.NUMBER, rules=Rules(minimum=0, maximum=100)),
        SHIP,
        Field("items", LogicalType.ARRAY, True, "items", Rules(min_items=1, max_items=9), item=ITEM),
    ),
    envelope={name: name for name in ENVELOPE},
    identity=Identity(("order_id",), KeyMode.VERIFY, None, timedelta(days=1)),
)


def events(count: int) -> list[bytes]:
    """Good events."""
    chance = random.Random(1)  # noqa: S311 - the same data every time
    found = []
    for number in range(count):
        event = {
            "idempotency_key": "",
            "event_type": "order_placed",
            "schema_version": "1.0.0",
            "trace_id": f"{chance.getrandbits(128):032x}",
            "occurred_at": (START + timedelta(seconds=7 * number)).isoformat(),
            "source": "shop",
            "order_id": f"O-{number:09}",
            "currency": chance.choice(["EUR", "USD"]),
            "total_cents": chance.randrange(10**6),
            "weight": chance.random() * 10,
            "ship": {"city": "Rome", "zip": "00100"},
            "items": [{"sku": f"S{chance.randrange(1000)}", "qty": chance.randrange(1, 5)} for _ in range(2)],
        }
        event["idempotency_key"] = idempotency_key(ORDER, event)
        found.append(json.dumps(event, separators=(",", ":")).encode())
    return found


def spoilt(values: list[bytes], share: float) -> list[bytes]:
    """The same, a share of them bad in six ways; the last is only found by the rules."""
    chance = random.Random(2)  # noqa: S311 - the same data every time
    ways: list[Callable[[bytes], bytes]] = [
        lambda value: value[:-5],
        lambda value: b"\xff" + value,
        lambda value: value.replace(b'"total_cents":', b'"total_cents":"1","x":'),
        lambda value: value.replace(b'"1.0.0"', b'"2.0.0"'),
        lambda value: value.replace(b'"trace_id"', b'"trace"'),
        lambda value: value.replace(b'"total_cents":', b'"total_cents":-1'),
    ]
    return [chance.choice(ways)(value) if chance.random() < share else value for value in values]


def bronze(values: list[bytes]) -> pl.DataFrame:
    """Bronze records of these values."""
    return pl.DataFrame({"value": pl.Series(values, dtype=pl.Binary)}).with_columns(
        topic=pl.lit("orders"),
        topic_id=pl.lit("id"),
        partition=pl.lit(0, pl.Int32),
        offset=pl.int_range(pl.len(), dtype=pl.Int64),
        kafka_timestamp=pl.lit(START).cast(pl.Datetime("us", "UTC")),
        value_bytes=pl.col("value").bin.size().cast(pl.Int64),
        headers=pl.lit(None, pl.List(pl.Struct({"name": pl.String, "value": pl.Binary}))),
        ingested_at=pl.lit(START).cast(pl.Datetime("us", "UTC")),
    )


def best(work: Callable[[], object]) -> tuple[float, float]:
    """The least seconds, and the least seconds of CPU, of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        begun, busy = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - begun, time.process_time() - busy))
    return min(wall for wall, _ in times), min(cpu for _, cpu in times)


def told(count: int, seconds: tuple[float, float]) -> str:
    """Rows per second, and per second of CPU."""
    return f"{count / seconds[0]:9,.0f} rows/s ({count / seconds[1]:9,.0f} per CPU second)"


def main() -> None:
    """Print rows per second of each step."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    good = events(count)
    size = sum(map(len, good)) // count
    cores = len(os.sched_getaffinity(0))
    print(f"{count:,} records of {size} bytes, {cores} core(s)")
    with duck.connect(threads=cores) as connection:
        for share in (0.0, 0.01, 0.5):
            records = bronze(spoilt(good, share))
            decoding = best(partial(decode, records, [ORDER], connection=connection))
            rows = decode(records, [ORDER], connection=connection).rows["order_placed"]
            checking = best(partial(check, rows, ORDER))
            print(f"{share:4.0%} bad: decode {told(count, decoding)}; check {told(rows.height, checking)}")


if __name__ == "__main__":
    main()
