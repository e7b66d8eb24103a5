from pathlib import Path

import pytest

from analytics_platform.contract.draw.proto import proto_file, proto_sketch
from analytics_platform.contract.draw.sketch import Sketch
from analytics_platform.contract.model import Rules
from analytics_platform.contract.proto import proto_schema
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform_tests.contract.draw.drawn import SCHEMAS, drawn, loaded
from analytics_platform_tests.contract.draw.test_avro import field
from analytics_platform_tests.contract.test_proto import CARRIED


def of_ride(event: str | None) -> Sketch:
    return proto_sketch(proto_file(SCHEMAS / "ride.proto"), "ride.proto", event)


def test_a_schema_as_people_write_them() -> None:
    event = loaded(drawn(of_ride("ride_started"), event="ride_started"))
    place = (field("latitude", "number"), field("longitude", "number"))
    stop = (field("place", "object", required=False, fields=place), field("at", "timestamp", required=False))
    assert event.fields[6:] == (
        field("ride_id"),
        field("coupon", required=False),
        field("seats", "integer"),
        field("meter", "integer"),
        field("price", "number"),
        field("shared", "boolean"),
        field("kind", rules=Rules(enum=("KIND_UNSPECIFIED", "KIND_POOL"))),
        field("from_place", "object", required=False, fields=place),
        field("stops", "array", required=False, item=field("item", "object", fields=stop)),
        field("tip_cents", "integer", required=False),
        field("card_token", required=False),
        field("account", required=False),
        field("leg", "object", required=False, fields=(field("number", "integer"),)),
    )
    assert event.wire is WireFormat.PROTOBUF
    assert (event.envelope["idempotency_key"], event.envelope["occurred_at"]) == ("event_id", "event_time")


def test_what_is_left_out_is_named() -> None:
    assert [one.what for one in drawn(of_ride("ride_started"), event="ride_started").left_out] == [
        "every comment",
        "that only one of card_token, account is there (paid_by)",
        "values of meter from 2^63 on",
        "labels",
        "signature",
        "wait",
        "leg.next",
        "the message RideRequested",
        "that event_time may be absent",
        "driverName",
    ]


def test_without_a_name_the_first_message_is_taken() -> None:
    sketch = of_ride(None)
    assert sketch.name == "RideRequested"
    assert "the message RideStarted" in [one.what for one in sketch.left_out]


def test_what_the_platform_writes_comes_back_but_for_what_protobuf_cannot_say() -> None:
    text = proto_schema(CARRIED, [CARRIED])
    event = loaded(drawn(proto_sketch(RegisteredSchema(WireFormat.PROTOBUF, text), "x.proto", None)))
    assert [one.name for one in event.fields] == [one.name for one in CARRIED.fields]
    types = {one.name: one.type for one in event.fields} | {"due": CARRIED.fields[10].type}
    assert CARRIED.fields[10].name == "due"
    assert types == {one.name: one.type for one in CARRIED.fields}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('syntax = "proto3"; message A { strin x = 1; }', r"protoc refuses it \(1:"),
        ('syntax = "proto3"; import "gone.proto"; message A {}', "protoc refuses it"),
        ('syntax = "proto3"; enum A { X = 0; }', "there is no message in it"),
        ("", "there is no message in it"),
        (
            f'syntax = "proto3"; message A {{ {"".join(f"string f{n} = {n};" for n in range(1, 6000))} }}',
            "exceeded maximum size",
        ),
    ],
)
def test_no_message(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "x.proto").write_text(text)
    with pytest.raises(NotImportable, match=why):
        proto_sketch(proto_file(tmp_path / "x.proto"), "x.proto", None)


def test_imports_named_from_a_root_and_as_anybody_writes_them(tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "v1"
    folder.mkdir(parents=True)
    (folder / "money.proto").write_text('syntax = "proto3"; package shop.v1; message Money { int64 units = 1; }')
    (folder / "kind.proto").write_text('syntax = "proto3"; package shop.v1; enum Kind { NONE = 0; }')
    text = """syntax = 'proto3'; package shop.v1; import 'shop/v1/money.proto';
        import public "kind.proto"; import "google/protobuf/wrappers.proto";
        message Paid { string id = 1; Money money = 2; Kind kind = 3; google.protobuf.BoolValue ok = 4; }"""
    (folder / "paid.proto").write_text(text)
    event = loaded(drawn(proto_sketch(proto_file(folder / "paid.proto"), "paid.proto", None)))
    assert [one.name for one in event.fields[6:]] == ["money", "kind", "ok"]


def test_what_proto_says_of_its_fields_beside_their_types() -> None:
    text = 'syntax = "proto2"; message A { required string id = 1; optional int32 n = 2 [deprecated = true, default = 5]; }'
    made = drawn(proto_sketch(RegisteredSchema(WireFormat.PROTOBUF, text), "x.proto", None))
    assert "the default of n" in [one.what for one in made.left_out]
    assert loaded(made).fields[6].deprecated


def test_fields_of_proto2_that_are_required() -> None:
    text = 'syntax = "proto2"; message A { required string id = 1; required int32 n = 2; optional int32 m = 3; }'
    event = loaded(drawn(proto_sketch(RegisteredSchema(WireFormat.PROTOBUF, text), "x.proto", None)))
    assert event.fields[6:] == (field("n", "integer"), field("m", "integer", required=False))
