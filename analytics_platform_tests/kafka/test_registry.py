import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from analytics_platform.errors import RegistryRefused, RegistryUnavailable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat, frame_of, framed
from analytics_platform.kafka.registry import Published, Registry
from analytics_platform.settings import RegistrySettings, Secret
from analytics_platform_tests.registry import StandIn, basic

AVRO = json.dumps({"type": "record", "name": "a", "fields": []})


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    found = StandIn()
    yield found
    while OPEN:
        OPEN.pop().close()
    found.close()


OPEN: list[Registry] = []


def registry(stand_in: StandIn, **settings: Any) -> Registry:
    settings = {"timeout": timedelta(seconds=2), **settings}
    OPEN.append(Registry(RegistrySettings(url=stand_in.url, **settings)))
    return OPEN[-1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("AVRO", WireFormat.AVRO), ("JSON", WireFormat.JSON_SCHEMA), ("PROTOBUF", WireFormat.PROTOBUF)],
)
def test_a_schema_is_asked_for_once(stand_in: StandIn, name: str, kind: WireFormat) -> None:
    number = stand_in.register("text", name)
    reader = registry(stand_in)
    assert reader.schema(f"id:{number}") == RegisteredSchema(kind, "text")
    stand_in.fails = "down"
    assert reader.schema(f"id:{number}") == RegisteredSchema(kind, "text")
    reader.close()


def test_a_schema_by_its_guid(stand_in: StandIn) -> None:
    number = stand_in.register(AVRO)
    assert registry(stand_in).schema(f"guid:{stand_in.guid(number)}") == RegisteredSchema(WireFormat.AVRO, AVRO)


def test_references_stand_in_the_order_in_which_they_are_needed(stand_in: StandIn) -> None:
    def to(name: str, subject: str) -> dict[str, object]:
        return {"name": name, "subject": subject, "version": 1}

    stand_in.register("one", subject="one")
    stand_in.register("two", subject="two", references=[to("a.One", "one")])
    number = stand_in.register("three", references=[to("a.Two", "two"), to("a.One", "one")])
    found = registry(stand_in).schema(f"id:{number}")
    assert found == RegisteredSchema(WireFormat.AVRO, "three", (("a.One", "one"), ("a.Two", "two")))


def test_a_schema_that_is_not_there_is_looked_for_twice(stand_in: StandIn) -> None:
    assert registry(stand_in).schema("id:7") is None
    assert stand_in.asked == ["GET /schemas/ids/7"] * 2


def test_many_that_are_not_there_wait_once(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    number = stand_in.register(AVRO)
    waits: list[float] = []
    monkeypatch.setattr("analytics_platform.kafka.registry.time.sleep", waits.append)
    keys = [f"id:{number}", *(f"id:{other}" for other in range(100, 120))]
    found = registry(stand_in).schemas(keys)
    assert [key for key, schema in found.items() if schema is not None] == [f"id:{number}"]
    assert found.keys() == set(keys)
    assert len(waits) == 1
    assert len(stand_in.asked) == 1 + 2 * 20


def test_what_no_registry_can_number_is_not_asked_for(stand_in: StandIn) -> None:
    assert registry(stand_in).schema("id:4294967295") is None
    assert registry(stand_in).schema(f"id:{2**31 - 1}") is None
    assert stand_in.asked == [f"GET /schemas/ids/{2**31 - 1}"] * 2


def test_a_registry_without_guids_has_no_schema_of_one(stand_in: StandIn) -> None:
    stand_in.has_guids = False
    key = f"guid:{stand_in.guid(1)}"
    assert registry(stand_in).schema(key) is None
    stand_in.fails = "html"  # now it is not known who says so
    with pytest.raises(RegistryUnavailable):
        registry(stand_in).schema(key)


@pytest.mark.parametrize("fails", ["down", "html", "500", "503", "429", "404", "400"])
def test_what_is_no_answer_is_no_missing_schema(stand_in: StandIn, fails: str) -> None:
    number = stand_in.register(AVRO)
    reader = registry(stand_in)
    stand_in.fails = fails
    with pytest.raises(RegistryUnavailable, match=f"reading the schema id:{number}") as caught:
        reader.schema(f"id:{number}")
    assert caught.value.retryable
    assert len(stand_in.asked) <= 3
    stand_in.fails = None
    assert reader.schema(f"id:{number}") is not None


@pytest.mark.parametrize("fails", ["mute", "trickle"])
def test_an_answer_that_does_not_come_or_does_not_end(stand_in: StandIn, fails: str) -> None:
    number = stand_in.register("text")
    reader = registry(stand_in, timeout=timedelta(seconds=0.1))
    stand_in.fails = fails
    for _ in range(2):  # the second finds the first one's answer still on its way
        with pytest.raises(RegistryUnavailable, match=f"reading the schema id:{number}") as caught:
            reader.schema(f"id:{number}")
        assert caught.value.retryable
    stand_in.fails = None
    stand_in.released.set()
    assert reader.schema(f"id:{number}") == RegisteredSchema(WireFormat.AVRO, "text")


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(stand_in: StandIn) -> None:
    late, next_one = stand_in.register("late"), stand_in.register("next")
    reader = registry(stand_in, timeout=timedelta(seconds=0.1))
    stand_in.fails = "mute"
    with pytest.raises(RegistryUnavailable):
        reader.schema(f"id:{late}")
    assert stand_in.asked == [f"GET /schemas/ids/{late}"] * 3
    stand_in.fails = None
    stand_in.released.set()
    assert reader.schema(f"id:{next_one}") == RegisteredSchema(WireFormat.AVRO, "next")
    assert reader.schema(f"id:{late}") == RegisteredSchema(WireFormat.AVRO, "late")


def test_what_is_the_latest_is_asked_every_time(stand_in: StandIn) -> None:
    reader = registry(stand_in)
    for version, text in enumerate(["one", "two"], start=1):
        stand_in.register(text, subject="orders-value")
        assert reader.latest("orders-value") == (version, RegisteredSchema(WireFormat.AVRO, text))


def test_nobody_listens(stand_in: StandIn) -> None:
    reader = registry(stand_in)
    stand_in.close()
    with pytest.raises(RegistryUnavailable, match="ANALYTICS_REGISTRY_URL"):
        reader.schema("id:1")


@pytest.mark.parametrize("fails", ["401", "403"])
def test_rights_that_are_missing(stand_in: StandIn, fails: str) -> None:
    stand_in.fails = fails
    with pytest.raises(RegistryRefused, match=f"HTTP {fails}"):
        registry(stand_in).schema("id:1")


def test_a_login(stand_in: StandIn) -> None:
    number = stand_in.register(AVRO)
    stand_in.login = basic("me", "hush")
    key = f"id:{number}"
    assert registry(stand_in, username="me", password=Secret("hush")).schema(key) is not None
    with pytest.raises(RegistryRefused) as caught:
        registry(stand_in, username="me", password=Secret("wrong hush")).schema(key)
    assert "hush" not in str(caught.value)


def test_a_token(stand_in: StandIn) -> None:
    number = stand_in.register(AVRO)
    stand_in.login = "Bearer hush"
    assert registry(stand_in, token=Secret("hush")).schema(f"id:{number}") is not None


def test_publishing_twice(stand_in: StandIn) -> None:
    writer = registry(stand_in)
    schema = RegisteredSchema(WireFormat.AVRO, AVRO)
    assert writer.lookup("orders-value", schema) is None
    assert writer.latest("orders-value") is None
    assert writer.publish("orders-value", schema, "FULL_TRANSITIVE") == Published(1, 1, new=True)
    assert stand_in.levels == {"orders-value": "FULL_TRANSITIVE"}
    assert registry(stand_in).publish("orders-value", schema, "FULL_TRANSITIVE") == Published(1, 1, new=False)
    assert [one for one in stand_in.asked if one.startswith("PUT")] == ["PUT /config/orders-value"]
    assert writer.latest("orders-value") == (1, schema)
    assert registry(stand_in).lookup("orders-value", schema) == 1
    assert writer.ping() == 1


def test_a_schema_that_the_registry_refuses(stand_in: StandIn) -> None:
    stand_in.refuses = "READER_FIELD_MISSING_DEFAULT_VALUE"
    with pytest.raises(RegistryRefused, match="READER_FIELD_MISSING_DEFAULT_VALUE"):
        registry(stand_in).publish("orders-value", RegisteredSchema(WireFormat.AVRO, AVRO), "FULL")


def test_a_schema_of_another_kind(stand_in: StandIn) -> None:
    number = stand_in.register("thrift", "THRIFT")
    with pytest.raises(RegistryRefused, match="neither Avro nor JSON Schema nor Protobuf"):
        registry(stand_in).schema(f"id:{number}")


def test_frames() -> None:
    assert framed(258, b"x") == b"\x00\x00\x00\x01\x02x"
    frame = frame_of(framed(258, b"x"))
    assert frame is not None
    assert (frame.key, frame.start) == ("id:258", 5)
    header = frame_of(b"x", b"\x00\x00\x00\x00\x07")
    assert header is not None
    assert (header.key, header.start) == ("id:7", 0)
    guid = frame_of(b"x", b"\x01" + bytes(range(16)))
    assert guid is not None
    assert (guid.key, guid.start) == ("guid:00010203-0405-0607-0809-0a0b0c0d0e0f", 0)
    assert frame_of(b'{"a":1}') is None
    assert frame_of(b"\x00\x00\x00\x01") is None
    assert frame_of(b'{"a":1}', b"\x02whatever") is None
