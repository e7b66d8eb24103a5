from datetime import UTC, datetime
from pathlib import Path
from random import Random

import polars as pl
import pytest

from analytics_platform.contract.check import check
from analytics_platform.contract.decode import decode
from analytics_platform.contract.load import load_catalog
from analytics_platform.demo.events import TOPICS
from analytics_platform.demo.fault import FAULTS

EVERY = [fault for faults in FAULTS.values() for fault in faults]


@pytest.fixture(scope="module")
def flights():
    return load_catalog(Path(__file__).parents[2] / "contracts").domains["flights"]


def bronze(topic, values):
    rows = len(values)
    return pl.DataFrame(
        {
            "topic": [topic] * rows,
            "topic_id": ["id"] * rows,
            "partition": [0] * rows,
            "offset": range(rows),
            "kafka_timestamp": [None] * rows,
            "timestamp_type": [None] * rows,
            "key": [b"key"] * rows,
            "value": values,
            "value_bytes": [None if value is None else len(value) for value in values],
            "headers": [None] * rows,
            "ingested_at": [datetime(2026, 1, 1, tzinfo=UTC)] * rows,
            "gap_end": [None] * rows,
        },
        schema={
            "topic": pl.String,
            "topic_id": pl.String,
            "partition": pl.Int32,
            "offset": pl.Int64,
            "kafka_timestamp": pl.Datetime("us", "UTC"),
            "timestamp_type": pl.String,
            "key": pl.Binary,
            "value": pl.Binary,
            "value_bytes": pl.Int64,
            "headers": pl.List(pl.Struct({"name": pl.String, "value": pl.Binary})),
            "ingested_at": pl.Datetime("us", "UTC"),
            "gap_end": pl.Int64,
        },
    )


def codes(values, topic, domain):
    """The codes of every rejected value, by its place."""
    contracts = domain.events_of(topic)
    decoded = decode(bronze(topic, values), contracts)
    rejected = [decoded.rejected, *(check(decoded.rows[contract.name], contract).rejected for contract in contracts)]
    return dict(pl.concat(rejected).select("offset", "codes").iter_rows())


@pytest.mark.parametrize("event_type", TOPICS)
def test_every_fault_is_rejected_for_its_own_reason_alone(flights, week, event_type):
    event = next(event for event in week if event.event_type == event_type)
    made = [(fault, fault.make(event, Random(seed))) for fault in EVERY for seed in range(8)]
    found = codes([value for _, value in made], event.topic, flights)
    assert found == {place: [fault.reason] for place, (fault, _) in enumerate(made)}


def test_no_real_event_is_rejected(flights, week):
    for topic in sorted(set(TOPICS.values())):
        assert codes([event.value for event in week if event.topic == topic], topic, flights) == {}
