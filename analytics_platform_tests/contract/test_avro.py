import io
import json
from datetime import UTC, date, datetime
from typing import Any

import fastavro
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.evolve import compare
from analytics_platform.contract.model import EventContract, Field, LogicalType
from analytics_platform.judge import judge
from analytics_platform_tests.contract.example import ORDER, contract, field, order, records, text
from analytics_platform_tests.contract.shapes import events, payloads
from analytics_platform_tests.contract.test_evolve import TODAY, pairs
from analytics_platform_tests.contract.test_json_schema import SMALL

MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def optional(name: str, kind: Any, doc: str | None = None) -> dict[str, Any]:
    return {"name": name, "doc": doc or f"The {name}.", "type": ["null", kind], "default": None}


def needed(name: str, kind: Any, doc: str | None = None) -> dict[str, Any]:
    return {"name": name, "doc": doc or f"The {name}.", "type": kind}


def test_every_type() -> None:
    line = {
        "type": "record",
        "name": "order_placed_Lines",
        "fields": [needed("sku", "string"), optional("at", MICROS)],
    }
    assert avro_schema(SMALL) == {
        "type": "record",
        "name": "order_placed",
        "namespace": "shop",
        "doc": "order_placed",
        "fields": [
            needed("id", "string", "The idempotency_key."),
            needed("type", "string", "The event_type."),
            needed("time", MICROS, "The occurred_at."),
            optional("source", "string"),
            needed("order_id", "string"),
            optional("currency", "string"),
            needed("cents", "long"),
            optional("weight", "double"),
            optional("due", {"type": "int", "logicalType": "date"}),
            needed("gift", "boolean"),
            needed("lines", {"type": "array", "items": ["null", line]}),
        ],
    }


def test_names_of_records_are_those_of_their_places() -> None:
    inner = (field("x"),)
    of = contract(
        payload=(
            field("a", "object", fields=(field("b_c", "object", fields=inner),)),
            field("a_b", "object", fields=(field("c", "object", fields=inner),)),
            field("order_placed", "object", fields=inner),
            field("l", "array", item=field("item", "array", item=field("item", "object", fields=inner))),
        )
    )
    fastavro.parse_schema(avro_schema(of))  # refuses a name that is given twice
    found = [part.split('"')[0] for part in json.dumps(avro_schema(of)).split('"record", "name": "')[1:]]
    assert found == [
        "order_placed",
        "order_placed_A",
        "order_placed_A_B_c",
        "order_placed_A_b",
        "order_placed_A_b_C",
        "order_placed_Order_placed",
        "order_placed_L",
    ]


def datum(of: Field, value: Any) -> Any:
    """What Avro takes for a value of JSON."""
    if value is None:
        return None
    if of.type is LogicalType.OBJECT:
        return row(of.fields, value)
    if of.item is not None:
        return [datum(of.item, one) for one in value]
    scalars = {
        LogicalType.TIMESTAMP: lambda text: datetime.fromisoformat(text.upper()).astimezone(UTC),
        LogicalType.DATE: date.fromisoformat,
        LogicalType.NUMBER: float,
    }
    return scalars[of.type](value) if of.type in scalars else value


def row(fields: tuple[Field, ...], event: dict[str, Any]) -> dict[str, Any]:
    return {one.name: datum(one, event.get(one.name)) for one in fields}


def crossed(value: dict[str, Any], writer: EventContract, reader: EventContract) -> Any:
    """An event written by one contract and read by another."""
    file = io.BytesIO()
    schema = fastavro.parse_schema(avro_schema(writer))
    fastavro.schemaless_writer(file, schema, value, strict=True)
    file.seek(0)
    found = fastavro.schemaless_reader(file, schema, fastavro.parse_schema(avro_schema(reader)))
    assert file.read() == b""
    return found


def kept(of: EventContract, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that are valid, as Avro takes them."""
    made = [
        order(of, currency=..., total_cents=..., order_id=f"O-{number}", **event) for number, event in enumerate(found)
    ]
    good = judge(records([text(event) for event in made]), [of]).good
    offsets = good[of.name]["_offset"].to_list() if of.name in good else []
    return [row(of.fields, made[offset]) for offset in offsets]


def test_one_order_there_and_back() -> None:
    event = order(
        weight=1.5,
        gift=True,
        due="2013-02-01",
        ship={"city": "Ulm", "sent_at": None},
        items=[{"sku": "a", "quantity": 2, "seen": ["2013-01-01T00:00:00.000001Z"]}, {"sku": "b", "quantity": 1}],
        tags=["x", None],
    )
    found = crossed(row(ORDER.fields, event), ORDER, ORDER)
    assert found | {"idempotency_key": "k"} == {
        "idempotency_key": "k",
        "event_type": "order_placed",
        "schema_version": "1.0.0",
        "trace_id": "t1",
        "occurred_at": datetime(2013, 1, 1, 10, 17, tzinfo=UTC),
        "source": None,
        "order_id": "O-001",
        "currency": "EUR",
        "total_cents": 100,
        "weight": 1.5,
        "gift": True,
        "due": date(2013, 2, 1),
        "note": None,
        "ship": {"city": "Ulm", "sent_at": None},
        "items": [
            {"sku": "a", "quantity": 2, "seen": [datetime(2013, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]},
            {"sku": "b", "quantity": 1, "seen": None},
        ],
        "tags": ["x", None],
    }


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_valid_event_there_and_back(data: st.DataObject) -> None:
    payload = data.draw(payloads())
    of = contract(payload=payload)
    for value in kept(of, data.draw(st.lists(events(payload), min_size=1, max_size=8))):
        assert crossed(value, of, of) == value


@settings(max_examples=40, deadline=None)
@given(pair=pairs() | st.tuples(payloads(), payloads()), data=st.data())
def test_what_the_gate_calls_compatible_avro_can_read(
    pair: tuple[tuple[Field, ...], tuple[Field, ...]], data: st.DataObject
) -> None:
    old, new = (contract(payload=payload) for payload in pair)
    found = compare(old, new, TODAY)
    for claim, writer, reader in (("backward", old, new), ("forward", new, old)):
        if not all(getattr(item, claim) for item in found):
            continue
        for value in kept(writer, data.draw(st.lists(events(writer.fields[6:]), min_size=1, max_size=4))):
            read = crossed(value, writer, reader)
            assert {name: read[name] for name in value if name in read} == _common(value, reader.fields)


def _common(value: dict[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    return {one.name: _seen(one, value[one.name]) for one in fields if one.name in value}


def _seen(of: Field, value: Any) -> Any:
    """What a reader of this field sees: what it does not name is gone, what it alone names is null."""
    if of.type is LogicalType.OBJECT and value is not None:
        return {one.name: _seen(one, value.get(one.name)) for one in of.fields}
    if of.type is LogicalType.ARRAY and value is not None:
        assert of.item is not None
        return [_seen(of.item, one) for one in value]
    return value
