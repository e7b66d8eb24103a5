"""The producer against both brokers: what it sends, what it refuses, what it tells of deliveries."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.contract.model import Catalog, Domain, EventContract
from analytics_platform.contract.schema import INSTANT
from analytics_platform.errors import BrokerUnavailable, InvalidEvents, NotDelivered, UnknownTopic
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import create_topic
from analytics_platform.produce import Delivery, Event, Producer
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform_tests.contract.example import contract, field

AT = datetime(2013, 1, 1, 10, 17, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def settings(request: pytest.FixtureRequest) -> Settings:
    servers = request.getfixturevalue(request.param)
    return Settings(kafka=KafkaSettings(bootstrap_servers=servers, timeout=timedelta(seconds=5)))


@pytest.fixture
def of(settings: Settings) -> EventContract:
    """A contract whose topic is there."""
    topic = f"test.{uuid4().hex[:12]}"
    assert create_topic(settings.kafka, topic)
    return contract(topic=topic, payload=(field("order_id"), field("cents", "integer")))


@pytest.fixture
def log(settings: Settings) -> Iterator[KafkaLog]:
    with KafkaLog(settings) as log:
        yield log


def catalog(*events: EventContract) -> Catalog:
    return Catalog({"shop": Domain("shop", events, (), ())})


def sent(log: KafkaLog, topic: str) -> list[dict[str, Any]]:
    """Every record of a topic, by partition and offset."""
    ranges = [
        OffsetRange(number, marks.low, marks.end) for number, marks in log.state(topic).partitions.items() if marks.end
    ]
    return log.read(topic, ranges, max_bytes=2**40).frame.sort("partition", "offset").rows(named=True) if ranges else []


def order(number: int, cents: Any = 5) -> Event:
    return Event("order_placed", {"order_id": f"O-{number}", "cents": cents}, AT, trace_id=TRACE)


def test_one_event_arrives_when_the_block_ends(settings: Settings, of: EventContract, log: KafkaLog):
    with Producer(settings, catalog(of), source="/shop") as producer:
        key = producer.send("order_placed", {"order_id": "O-1", "cents": 5}, occurred_at=AT, trace_id=TRACE)
    (record,) = sent(log, of.topic)
    assert (record["key"], record["headers"]) == (
        key.encode(),
        [{"name": "content-type", "value": b"application/json"}],
    )
    assert (
        record["value"]
        == (
            f'{{"order_id":"O-1","cents":5,"idempotency_key":"{key}","event_type":"order_placed","schema_version":"1.0.0",'
            f'"trace_id":"{TRACE}","occurred_at":"2013-01-01T10:17:00Z","source":"/shop"}}'
        ).encode()
    )


def test_the_headers_of_a_cloudevent_arrive(settings: Settings, of: EventContract, log: KafkaLog):
    cloud = replace(of, envelope=ATTRIBUTES, cloudevents="com.example.order")
    with Producer(settings, catalog(cloud), source="/Zürich") as producer:
        producer.send("order_placed", {"order_id": "O-1", "cents": 5}, occurred_at=AT, trace_id=TRACE)
    (record,) = sent(log, of.topic)
    headers = {item["name"]: item["value"] for item in record["headers"]}
    assert (headers["ce_type"], headers["ce_source"]) == (b"com.example.order", "/Zürich".encode())
    assert record["value"] == b'{"order_id":"O-1","cents":5}'


def test_an_invalid_event_is_not_sent(settings: Settings, of: EventContract, log: KafkaLog):
    with Producer(settings, catalog(of)) as producer:
        with pytest.raises(InvalidEvents) as caught:
            producer.send("order_placed", {"order_id": "O-1", "cents": "5"}, occurred_at=AT, trace_id=TRACE)
        assert producer.flush() == 0
    assert str(caught.value) == (
        "1 event(s) do not fit their contracts; nothing was sent:\n"
        "  event 0 (order_placed): cents: expected integer, got string"
    )
    assert sent(log, of.topic) == []


def test_one_invalid_event_keeps_back_its_whole_batch_and_nothing_else(
    settings: Settings, of: EventContract, log: KafkaLog
):
    with Producer(settings, catalog(of)) as producer:
        producer.send_all([order(1), order(2)])
        with pytest.raises(InvalidEvents) as caught:
            producer.send_all([order(3), order(4, "x"), order(5, None)])
        assert [(fault.place, fault.codes) for fault in caught.value.faults] == [  # type: ignore[attr-defined]
            (1, ("wrong_type",)),
            (2, ("missing_field",)),
        ]
        assert producer.flush() == 2
    assert len(sent(log, of.topic)) == 2


def test_many_faults_are_not_all_told(settings: Settings, of: EventContract):
    with Producer(settings, catalog(of)) as producer, pytest.raises(InvalidEvents) as caught:
        producer.send_all([order(number, "x") for number in range(25)])
    assert len(caught.value.faults) == 25
    assert str(caught.value).splitlines()[-1] == "  and 5 more"


def test_a_frame_arrives_in_the_order_of_each_partition(settings: Settings, of: EventContract, log: KafkaLog):
    rows = pl.DataFrame({"order_id": [f"O-{number}" for number in range(50)], "cents": range(50)})
    rows = rows.with_columns(occurred_at=pl.lit(AT, INSTANT), trace_id=pl.lit(TRACE))
    with Producer(settings, catalog(of), source="/shop", key_fields={"order_placed": ()}) as producer:
        keys = producer.send_frame("order_placed", rows)
        assert producer.send_frame("order_placed", rows.clear()) == []
    arrived: dict[int, list[int]] = {}  # records without a key are spread over the partitions
    for record in sent(log, of.topic):
        value = json.loads(record["value"])
        assert value["idempotency_key"] == keys[value["cents"]]
        arrived.setdefault(record["partition"], []).append(value["cents"])
    assert sorted(cents for partition in arrived.values() for cents in partition) == list(range(50))
    assert all(partition == sorted(partition) for partition in arrived.values())


def test_one_invalid_row_keeps_back_its_whole_frame(settings: Settings, of: EventContract, log: KafkaLog):
    rows = pl.DataFrame({"order_id": ["O-1", None], "cents": [1, 2]})
    rows = rows.with_columns(occurred_at=pl.lit(AT, INSTANT), trace_id=pl.lit(TRACE))
    with (
        Producer(settings, catalog(of), source="/shop") as producer,
        pytest.raises(InvalidEvents, match=r"event 1 \(order_placed\): order_id: expected string, got null"),
    ):
        producer.send_frame("order_placed", rows)
    assert sent(log, of.topic) == []


def test_copies_of_an_event_share_a_partition_and_keep_their_order(
    settings: Settings, of: EventContract, log: KafkaLog
):
    events = [order(number % 7, number) for number in range(100)]
    with Producer(settings, catalog(of)) as producer:
        keys = producer.send_all(events)
    records = sent(log, of.topic)
    assert len(records) == 100
    for key in set(keys):
        mine = [record for record in records if record["key"] == key.encode()]
        assert len({record["partition"] for record in mine}) == 1
        expected = [event.payload["cents"] for event, one in zip(events, keys, strict=True) if one == key]  # type: ignore[index]
        assert [int(record["value"].split(b'"cents":')[1].split(b",")[0]) for record in mine] == expected


def test_every_delivery_is_told_once(settings: Settings, of: EventContract):
    told: list[Delivery] = []
    with Producer(settings, catalog(of), on_delivery=told.append) as producer:
        keys = producer.send_all([order(1), order(2)])
        assert producer.flush() == 2
        assert sorted(one.idempotency_key for one in told) == sorted(keys)
        assert producer.flush() == 0
    assert {(one.event.payload["order_id"], one.topic, one.error) for one in told} == {  # type: ignore[index]
        ("O-1", of.topic, None),
        ("O-2", of.topic, None),
    }


@pytest.mark.kafka
def test_a_topic_that_is_not_there(apache: str):
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=apache, timeout=timedelta(seconds=5)))
    of = contract(topic=f"test.{uuid4().hex[:12]}", payload=(field("order_id"), field("cents", "integer")))
    with Producer(settings, catalog(of)) as producer, pytest.raises(UnknownTopic):
        producer.send_all([order(1)])


def test_no_broker():
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1", timeout=timedelta(milliseconds=200)))
    of = contract(payload=(field("order_id"), field("cents", "integer")))
    with Producer(settings, catalog(of)) as producer, pytest.raises(BrokerUnavailable):
        producer.send_all([order(1)])


def test_a_broker_that_goes_away():
    of = contract(topic="gone", payload=(field("order_id"), field("cents", "integer")))
    told: list[Delivery] = []
    with EmbeddedBroker() as broker:
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, timeout=timedelta(milliseconds=500))
        )
        producer = Producer(settings, catalog(of), on_delivery=told.append)
        producer.send_all([order(1)])
        assert producer.flush() == 1
    with pytest.raises(NotDelivered), producer:
        producer.send_all([order(2), order(3)])
    assert [(one.event.payload["order_id"], one.error is None) for one in told[:1]] == [("O-1", True)]  # type: ignore[index]
    assert {one.event.payload["order_id"] for one in told[1:] if one.error} == {"O-2", "O-3"}  # type: ignore[index]
