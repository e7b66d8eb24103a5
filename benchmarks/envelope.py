"""What CloudEvents cost over the flat envelope: `python -m benchmarks.envelope [records]`, about half a minute.

The events of `benchmarks.decode`, none of them bad, written flat, in structured mode and in binary mode.
Run it under `taskset -c 0` with POLARS_MAX_THREADS=1 for one core.
"""

import json
import os
import sys
from dataclasses import replace
from functools import partial

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.contract.decode import decode
from analytics_platform.contract.model import ENVELOPE
from benchmarks.decode import ORDER, best, bronze, events, told

CLOUDEVENT = replace(ORDER, envelope=ATTRIBUTES, cloudevents="com.example.order.placed")
PARENT = "00-{}-b9c7c989f97918e1-01"


def attributes(event: dict[str, str]) -> dict[str, str]:
    """The attributes of a flat event."""
    return {
        "specversion": "1.0",
        "id": event["idempotency_key"],
        "type": "com.example.order.placed",
        "source": event["source"],
        "time": event["occurred_at"],
        "dataschema": f"https://example.com/order/{event['schema_version']}.json",
        "traceparent": PARENT.format(event["trace_id"]),
    }


def with_headers(records: pl.DataFrame, headers: list[dict[str, str]]) -> pl.DataFrame:
    """The same records, with these headers."""
    listed = [[{"name": name, "value": value.encode()} for name, value in one.items()] for one in headers]
    return records.with_columns(
        pl.Series("headers", listed, pl.List(pl.Struct({"name": pl.String, "value": pl.Binary})))
    )


def main() -> None:
    """Print rows per second of each style."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    flat = events(count)
    read = [json.loads(value) for value in flat]
    data = [{name: value for name, value in one.items() if name not in ENVELOPE} for one in read]
    structured = [json.dumps(attributes(one) | {"data": body}).encode() for one, body in zip(read, data, strict=True)]
    binary = [json.dumps(body).encode() for body in data]
    said = {"content-type": "application/cloudevents+json"}
    styles = {
        "flat": (ORDER, bronze(flat)),
        "flat, traceparent in a header": (
            replace(ORDER, envelope=dict(ORDER.envelope) | {"trace_id": "traceparent:header:traceparent"}),
            with_headers(bronze(flat), [{"traceparent": PARENT.format(one["trace_id"])} for one in read]),
        ),
        "structured": (CLOUDEVENT, with_headers(bronze(structured), [said] * count)),
        "binary": (
            CLOUDEVENT,
            with_headers(
                bronze(binary), [{f"ce_{name}": text for name, text in attributes(one).items()} for one in read]
            ),
        ),
    }
    with duck.connect(threads=len(os.sched_getaffinity(0))) as connection:
        for name, (contract, records) in styles.items():
            decoded = decode(records, [contract], connection=connection)
            if decoded.rejected.height:
                raise SystemExit(f"{name}: {decoded.rejected}")
            print(f"{name:29}: decode {told(count, best(partial(decode, records, [contract], connection=connection)))}")


if __name__ == "__main__":
    main()
