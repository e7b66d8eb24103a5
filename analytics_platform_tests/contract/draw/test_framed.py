"""What producers write by a schema fits the contract that was started from it."""

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from analytics_platform.contract.check import check
from analytics_platform.contract.decode import decode
from analytics_platform.contract.draw.avro import avro_sketch
from analytics_platform.contract.draw.proto import proto_file, proto_sketch
from analytics_platform.contract.draw.sketch import Sketch
from analytics_platform.contract.protoc import descriptors
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat, framed
from analytics_platform_tests.contract.draw.drawn import SCHEMAS, drawn, loaded
from analytics_platform_tests.contract.example import one_connection, records

AT = datetime(2013, 1, 1, 10, 17, tzinfo=UTC)


def rows(sketch: Sketch, schema: RegisteredSchema, event: str, *values: bytes) -> list[dict[str, Any]]:
    """The payloads of values that all pass."""
    of = loaded(drawn(sketch, event=event))
    headers = {"event_type": event.encode(), "schema_version": b"1.0.0", "source": b"here", "trace_id": b"a"}
    sent = records([framed(1, one) for one in values], topic=of.topic, headers=[headers] * len(values))
    found = decode(sent, [of], {"id:1": schema}, connection=one_connection())
    checked = check(found.rows[event], of)
    for rejected in (found.rejected, checked.rejected):
        assert rejected.select("codes", "reasons").rows() == []
    names = [one.name for one in of.fields[6:] if one.name in checked.good.columns]
    return checked.good.select(pl.col(names)).to_dicts()


def test_avro() -> None:
    plain = (SCHEMAS / "payment.avsc").read_text().replace('["null", "Line"]', '"string"')
    schema = RegisteredSchema(WireFormat.AVRO, plain)
    kept = {
        "payment_id": "P-1", "attempt": 2, "value_day": date(2013, 1, 2), "amount_cents": 2**62, "rate": 0.5,
        "method": "CARD", "fallback": "WALLET", "tags": ["x", None], "authorized_at": 1_357_035_420 * 10**9,
    }  # fmt: skip
    left = {
        "eventId": "0b5a7a4e-6c53-4a3c-8f7c-0c6b1b3b9d11", "eventTime": AT, "amount": Decimal("1.25"), "payee": None,
        "payer": {"country": "CH", "email": "a@b"}, "lines": [{"sku": "a", "taxRate": 0.1, "parent": "b"}],
        "labels": {"a": "b"}, "proof": b"\xff", "digest": bytes(16), "either": 5, "nothing": None,
        "opened": time(10, 17), "local_at": 1,
    }  # fmt: skip
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(json.loads(plain)), kept | left)
    (row,) = rows(avro_sketch(schema, "payment.avsc"), schema, "payment_authorized", written.getvalue())
    assert {name: row[name] for name in kept} == kept
    assert (row["lines"], row["payee"]) == ([{"sku": "a", "parent": "b"}], None)


def test_protobuf_full_and_with_nothing_but_defaults() -> None:
    schema = proto_file(SCHEMAS / "ride.proto")
    ride = GetMessageClass(descriptors(schema).pool.FindMessageTypeByName("fleet.v1.RideStarted"))
    place, at = {"latitude": 0.0, "longitude": 8.5}, {"eventTime": AT.isoformat()}
    full = {
        "eventId": "2", "rideId": "R", "coupon": "", "seats": -2, "meter": 2**62, "price": 1.5, "shared": True,
        "kind": "KIND_POOL", "fromPlace": place, "stops": [{"at": AT.isoformat()}, {}], "labels": {"a": "b"},
        "signature": "/w==", "tipCents": 0, "wait": "1s", "account": "t", "leg": {"number": 3, "next": {}},
    }  # fmt: skip
    values = [ParseDict(one | at, ride()).SerializeToString() for one in ({"eventId": "1"}, full)]
    sketch = proto_sketch(schema, "ride.proto", "ride_started")
    bare, found = rows(sketch, schema, "ride_started", *(b"\x02\x02" + one for one in values))
    defaults = {"ride_id": "", "seats": 0, "meter": 0, "price": 0.0, "shared": False, "kind": "KIND_UNSPECIFIED"}
    assert {name: bare[name] for name in defaults} == defaults
    absent = {"coupon", "from_place", "tip_cents", "card_token", "account", "leg"}
    assert {name: bare[name] for name in absent} == dict.fromkeys(absent)
    assert found == {
        "ride_id": "R", "coupon": "", "seats": -2, "meter": 2**62, "price": 1.5, "shared": True, "kind": "KIND_POOL",
        "from_place": place, "stops": [{"place": None, "at": AT}, {"place": None, "at": None}], "tip_cents": 0,
        "card_token": None, "account": "t", "leg": {"number": 3},
    }  # fmt: skip
