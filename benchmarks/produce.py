"""How fast the producers' helper writes and checks events: `python -m benchmarks.produce [events]`, about a minute.

Departures of the flight replay, as events for `Writer.prepared`, a few thousand at a time, and as a frame for
`Writer.prepared_frame`: the same records by the same checks. Medians of five rounds; on a busy machine only the rates
per second of CPU mean something.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import ENVELOPE
from analytics_platform.contract.schema import INSTANT
from analytics_platform.demo.events import KEY_FIELDS, events
from analytics_platform.produce import Event, Writer

CONTRACTS = Path(__file__).parent.parent / "contracts"
TYPE = "flight_departed"
ROUNDS = 5
BATCH = 4_000


def departures(rows: list[dict[str, Any]]) -> list[Event]:
    """The rows as events."""
    return [
        Event(
            TYPE,
            {name: value for name, value in row.items() if name not in ENVELOPE},
            row["occurred_at"],
            row["source"],
            row["trace_id"],
        )
        for row in rows
    ]


def rates(work: Callable[[], int]) -> str:
    """Events per second, and per second of CPU."""
    times = []
    for _ in range(ROUNDS):
        begun, busy = time.perf_counter(), time.process_time()
        count = work()
        times.append((count / (time.perf_counter() - begun), count / (time.process_time() - busy)))
    wall, cpu = (statistics.median(found) for found in zip(*times, strict=True))
    return f"{wall:9,.0f} events/s ({cpu:9,.0f} per CPU second)"


def main() -> None:
    """Print both."""
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    catalog = load_catalog(CONTRACTS)
    sent = [one.value for one in events(catalog, CONTRACTS / "flights" / "reference", first) if one.event_type == TYPE]
    rows = [json.loads(value) for value in sent]
    for row in rows:
        for name in ("occurred_at", "scheduled_departure"):
            row[name] = datetime.fromisoformat(row[name])
        del row["idempotency_key"], row["event_type"], row["schema_version"]
    each = departures(rows)
    frame = pl.DataFrame(rows, schema_overrides={"occurred_at": INSTANT, "scheduled_departure": INSTANT})
    with closing(Writer(catalog, key_fields=KEY_FIELDS)) as writer:

        def in_rows() -> int:
            return sum(len(writer.prepared(each[at : at + BATCH])[0]) for at in range(0, len(each), BATCH))

        def in_a_frame() -> int:
            return len(writer.prepared_frame(TYPE, frame)[0].records)

        print(f"{len(rows):,} events")
        print(f"one by one  {rates(in_rows)}")
        print(f"as a frame  {rates(in_a_frame)}")


if __name__ == "__main__":
    main()
