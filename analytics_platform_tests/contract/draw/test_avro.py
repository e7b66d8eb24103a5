import json
from typing import Any

import pytest

from analytics_platform.contract.draw.avro import avro_sketch
from analytics_platform.contract.model import Field, LogicalType, Operation, Rules
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform_tests.contract.draw.drawn import SCHEMAS, drawn, left_out, loaded, of_avro, payload

PAYMENT = json.loads((SCHEMAS / "payment.avsc").read_text())


def field(name: str, kind: str = "string", required: bool = True, description: str = "", **rest: Any) -> Field:
    return Field(name, LogicalType(kind), required, description, **rest)


def record(*fields: dict[str, Any], name: str = "OrderPlaced") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": "id", "type": "string"}, *fields]}


def test_a_schema_as_people_write_them() -> None:
    event = loaded(drawn(of_avro(PAYMENT), event="payment_authorized"))
    method = Rules(enum=("CARD", "WALLET"))
    assert [one for one in event.fields[6:] if one.name not in {"payer", "payee"}] == [
        field("payment_id", description="Ours."),
        field("attempt", "integer"),
        field("authorized_at", "integer"),
        field("value_day", "date", required=False),
        field("amount_cents", "integer"),
        field("rate", "number", required=False),
        field("method", rules=method),
        field("fallback", required=False, rules=method),
        field("lines", "array", item=field("item", "object", fields=(field("sku"),))),
        field("tags", "array", item=field("item", required=False)),
    ]
    assert event.wire is WireFormat.AVRO
    assert event.header.description == "A card payment that the bank agreed to."
    assert (event.envelope["idempotency_key"], event.envelope["occurred_at"]) == ("eventId", "eventTime")


def test_what_is_left_out_is_named() -> None:
    assert list(left_out(of_avro(PAYMENT))) == [
        "every value in Avro's frame",
        "the logical type uuid of eventId",
        "the default of attempt",
        "that authorized_at is a time",
        "amount",
        "the default of the enum method",
        "the default of the enum fallback",
        "lines[].parent",
        "labels",
        "proof",
        "digest",
        "either",
        "nothing",
        "opened",
        "local_at",
        "lines[].taxRate",
    ]


def test_a_named_type_used_twice_is_written_out_twice() -> None:
    found = payload(of_avro(PAYMENT))
    assert found["payer"].fields == found["payee"].fields
    assert (found["payer"].description, found["payee"].description) == ("Who.", "To whom.")
    email = found["payee"].fields[1]
    assert (email.classification, email.treatment.op) == ("restricted", Operation.DROP)  # type: ignore[union-attr]


def test_types_of_other_schemas() -> None:
    party = {"type": "record", "name": "Party", "namespace": "a", "fields": [{"name": "code", "type": "string"}]}
    text = json.dumps(record({"name": "payer", "type": "a.Party"}))
    schema = RegisteredSchema(WireFormat.AVRO, text, (("a.Party", json.dumps(party)),))
    assert payload(avro_sketch(schema, "s"))["payer"].fields == (field("code"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no Avro schema that can be read .Expecting property name .*line 1"),
        ('{"type": "record"}', "no Avro schema .*.name. is a required field"),
        ('{"type": ["null", "long"], "logicalType": "date"}', "a name, a type or a list is missing, or something else"),
        ('{"type": "record", "name": "a", "fields": [{"name": "x", "type": "Unknown"}]}', "no type is called Unknown"),
        ('{"type": "record", "name": "a", "fields": [{"name": "x"}]}', "Record field 'x' is missing 'type'"),
        ('{"type": "record", "name": "a", "fields": [{"name": 7, "type": "int"}]}', "the record has a name that is no"),
        ('{"type": "record", "name": "a", "doc": "\\ud800", "fields": []}', "surrogates not allowed"),
        ("[" * 100_000, "it nests too deep"),
        ('{"type": "enum", "name": "a", "symbols": ["x"]}', "it is no record"),
        ('"string"', "it is no record"),
    ],
)
def test_no_record(text: str, why: str) -> None:
    with pytest.raises(NotImportable, match=why):
        avro_sketch(RegisteredSchema(WireFormat.AVRO, text), "x.avsc")


def test_deeper_than_anybody_reads() -> None:
    text = f"""{'{"type": "array", "items": ' * 900}"int"{"}" * 900}"""
    with pytest.raises(NotImportable, match="nests too deep"):
        of_avro(record({"name": "x", "type": json.loads(text)}))


def test_an_enum_without_symbols() -> None:
    found = of_avro(record({"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": []}}))
    assert left_out(found)["the enum of kind"] == "it has no symbols"
    assert payload(found) == {"kind": field("kind")}


def test_names_that_multiply_are_refused() -> None:
    """Ten levels of three fields each: a few lines, and 59,049 fields."""
    fields: Any = "string"
    for level in range(10):
        inner = {"type": "record", "name": f"L{level}", "fields": [{"name": "a", "type": fields}]}
        inner["fields"] += [
            {"name": one, "type": inner["fields"][0]["type"] if level == 0 else f"L{level - 1}"} for one in "bc"
        ]
        fields = inner
    with pytest.raises(NotImportable, match="more than 10000 fields"):
        of_avro(record({"name": "deep", "type": fields}))


def test_deeper_than_contracts_nest() -> None:
    kind: Any = "string"
    for level in range(9):
        kind = {
            "type": "record",
            "name": f"L{level}",
            "fields": [{"name": "a", "type": kind}, {"name": "b", "type": "int"}],
        }
    found = of_avro(record({"name": "deep", "type": kind}))
    path = ".".join(["deep", *"aaaaaaa"])
    assert left_out(found)[f"{path[:-2]}.a"] == "a contract does not nest so deep"
    assert loaded(drawn(found)).fields[6].name == "deep"
