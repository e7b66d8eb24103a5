import json
from typing import Any

import pytest

from analytics_platform.contract.draw.json_schema import json_schema_sketch
from analytics_platform.contract.model import Field, LogicalType, Rules
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform_tests.contract.draw.drawn import SCHEMAS, drawn, left_out, loaded, of_json, payload
from analytics_platform_tests.contract.draw.test_avro import field

SHIPMENT = json.loads((SCHEMAS / "shipment.json").read_text())


def one(schema: Any, *, required: bool = True, **rest: Any) -> dict[str, Any]:
    """An event with one field `x`."""
    properties = {"id": {"type": "string"}, "x": schema}
    return {"type": "object", "properties": properties, "required": ["id", *["x"] * required], **rest}


def x(schema: Any, **rest: Any) -> Field:
    return payload(of_json(one(schema, **rest)))["x"]


def test_a_schema_as_people_write_them() -> None:
    event = loaded(drawn(of_json(SHIPMENT), event="shipment_dispatched"))
    place = (field("city"), field("zip", required=False, rules=Rules(min_length=3)))
    assert [one for one in event.fields[6:] if one.name != "contact_email"] == [
        field("shipment_id", rules=Rules(pattern="S-[0-9]+")),
        field("weight", "number", rules=Rules(exclusive_minimum=0)),
        field("pieces", "integer", required=False, rules=Rules(minimum=1, maximum=99)),
        field("ship_to", "object", description="A place.", fields=place),
        field("return_to", "object", required=False, description="A place.", fields=place),
        field(
            "parcels",
            "array",
            rules=Rules(min_items=1),
            item=field("item", "object", fields=(field("number", "integer"),)),
        ),
        field("due", "date", required=False),
        field("note", required=False, description="From the sender.", rules=Rules(max_length=200)),
        field("status", required=False, rules=Rules(enum=("new", "sent"))),
        field("level", "integer", required=False),
        field("code", required=False, rules=Rules(pattern=r"[\s\S]*[A-Z]{2}[\s\S]*")),
        field("odd", required=False),
    ]
    assert event.envelope["event_type"] == "type"
    assert event.wire is WireFormat.JSON


def test_what_is_left_out_is_named() -> None:
    found = left_out(of_json(SHIPMENT))
    fields = "pieces, ship_to.zip, return_to.zip, due, level, code, odd, contact_email"
    assert set(found) == {
        "dependencies of the event",
        "absent",
        "the format uuid of id",
        "default of pieces",
        "additionalProperties of ship_to",
        "additionalProperties of return_to",
        "parcels[].inside[]",
        "uniqueItems of parcels",
        "the enum of level",
        "the pattern of odd",
        *("either", "mixed", "attributes", "pair", "anything", "never", "elsewhere", "lost", "carrierCode"),
        "the format email of contact_email",
        f"that these are never null: {fields}",
        "that these are never absent: note",
        "multipleOf of weight",
    }


def test_a_type_that_is_always_another_one_is_no_type_of_this_event() -> None:
    """The platform finds a contract by its event's name."""
    made = drawn(of_json(SHIPMENT), event="parcel_sent")
    assert "event_type" in made.missing
    assert loaded(made).fields[6] == field("type", rules=Rules(enum=("shipment_dispatched",)))


def test_a_registered_schema_is_framed() -> None:
    sketch = of_json(one({"type": "string"}), kind=WireFormat.JSON_SCHEMA)
    assert loaded(drawn(sketch)).wire is WireFormat.JSON_SCHEMA


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "pattern": "^a|b$"}, Rules(pattern=r"[\s\S]*(?:^a|b$)[\s\S]*")),
        ({"type": "string", "pattern": "^(?:a|b)$"}, Rules(pattern="a|b")),
        ({"type": "string", "pattern": "^(?:a)x(?:b)$"}, Rules(pattern="(?:a)x(?:b)")),
        ({"type": "string", "pattern": r"^a\$"}, Rules(pattern=r"a\$[\s\S]*")),
        ({"type": "string", "pattern": r"^a\\$"}, Rules(pattern=r"a\\")),
        ({"type": "string", "const": "a"}, Rules(enum=("a",))),
        ({"type": "string", "enum": ["${HOME}"]}, Rules()),
        ({"type": "string", "minLength": 3, "maxLength": 2}, Rules()),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**60}, Rules()),
        ({"type": "integer", "allOf": [{"minimum": 1}, {"minimum": 3, "multipleOf": 4}, {"multipleOf": 6}]}, Rules(minimum=3, multiple_of=12)),
        ({"type": "number", "maximum": 0.5}, Rules(maximum=0.5)),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 2.0}, Rules(max_items=2)),
    ],
    ids=str,
)  # fmt: skip
def test_rules(schema: dict[str, Any], expected: Rules) -> None:
    assert x(schema).rules == expected


def test_a_choice_of_constants_is_an_enum() -> None:
    choice = [{"const": "a", "title": "The first."}, {"const": "b", "type": "string"}]
    assert x({"oneOf": choice}) == field("x", rules=Rules(enum=("a", "b")))
    assert x({"anyOf": [*choice, {"type": "null"}]}) == field("x", required=False, rules=Rules(enum=("a", "b")))
    assert "x" in left_out(of_json(one({"oneOf": [*choice, {"const": 1}]})))


def test_bounds_as_draft_4_has_them() -> None:
    schema = {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False}
    found = x(schema, **{"$schema": "http://json-schema.org/draft-04/schema#"})
    assert found.rules == Rules(exclusive_minimum=1, maximum=9)


@pytest.mark.parametrize(
    ("schema", "kind", "required"),
    [
        ({"enum": ["a", "b"]}, "string", True),
        ({"enum": ["a", None]}, "string", False),
        ({"properties": {"a": {"type": "string"}}}, "object", True),
        ({"items": {"type": "string"}}, "array", True),
        ({"oneOf": [{"type": "null"}, {"type": "string", "format": "date-time"}]}, "timestamp", False),
        ({"anyOf": [{"enum": ["a"]}, {"const": None}]}, "string", False),
        ({"type": ["number", "integer"]}, "number", True),
        ({"allOf": [{"type": "number"}, {"type": ["integer", "null"]}]}, "integer", True),
    ],
    ids=str,
)
def test_types_that_follow(schema: dict[str, Any], kind: str, required: bool) -> None:
    found = x(schema)
    assert (found.type, found.required) == (LogicalType(kind), required)


def test_a_reference_to_another_schema_of_the_registry() -> None:
    text = json.dumps(one({"$ref": "place.json#/$defs/place"}))
    other = {"$defs": {"city": {"type": "string"}, "place": {"properties": {"city": {"$ref": "#/$defs/city"}}}}}
    schema = RegisteredSchema(WireFormat.JSON_SCHEMA, text, (("place.json", json.dumps(other)),))
    assert payload(json_schema_sketch(schema, "s"))["x"].fields == (field("city", required=False),)


def test_the_whole_contains_itself() -> None:
    assert left_out(of_json(one({"$ref": "#"})))["x"] == "it contains itself"


def test_references_that_double_are_refused() -> None:
    """Twenty lines that mean a million."""
    schema = one({"$ref": "#/$defs/0"})
    doubled = {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}, {"$ref": f"#/$defs/{n + 1}"}]} for n in range(20)}
    schema["$defs"] = {**doubled, "20": {"type": "string"}}
    assert left_out(of_json(schema))["x"] == "its schema is too large"


def test_names_that_a_comment_cannot_hold() -> None:
    schema = one({"type": "string"})
    schema["properties"] |= {"a\nb: c\x00": {"type": "string"}, "z" * 200: {"type": "string"}}
    made = drawn(of_json(schema))
    lines = [str(one) for one in made.left_out]
    assert any(line.startswith(r"a\u000ab: c\u0000, because") for line in lines)
    assert any(line.startswith(f"{'z' * 60}…, because") for line in lines)
    assert [one.name for one in loaded(made).fields[6:]] == ["x"]


@pytest.mark.parametrize(
    "words", ["two\nlines", "a: b # c", "it's", '"', "\t\x07", "Größe 😀", "true", "- x", "\\n", "1"]
)
def test_descriptions_come_back(words: str) -> None:
    sketch = of_json(one({"type": "string", "description": words}, description=words))
    event = loaded(drawn(sketch))
    assert (event.fields[6].description, event.header.description) == (words.strip(), words.strip())


def test_a_description_with_a_variable() -> None:
    assert left_out(of_json(one({"type": "string", "description": "In ${HOME}."})))["the description of x"]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (one({"type": "strin"}), r"no JSON Schema that can be read \(/properties/x/type: .strin. is not"),
        ([], "no JSON Schema that can be read .the whole: "),
        (one({"type": "string", "enum": ["\ud800"]}), "surrogates not allowed"),
        ({"type": "array", "items": {"type": "string"}}, "no objects"),
        ({"oneOf": [{"type": "object"}, {"type": "array"}]}, "one of several things"),
        (True, "says no type"),
    ],
)
def test_no_object(schema: Any, why: str) -> None:
    with pytest.raises(NotImportable, match=why):
        of_json(schema)


def test_deeper_than_anybody_reads() -> None:
    text = f"""{'{"type": "array", "items": ' * 700}true{"}" * 700}"""
    with pytest.raises(NotImportable, match="nests too deep"):
        of_json(one(json.loads(text)))


def test_bounds_that_no_rule_holds() -> None:
    rules = {"x": ({"type": "number", "maximum": 10**400}, "maximum"), "y": ({"minLength": 2**70}, "minLength")}
    for schema, keyword in rules.values():
        found = of_json(one({"type": "string", **schema}))
        assert left_out(found)[f"{keyword} of x"] == "rules hold numbers between -2^53 and 2^53"
        assert payload(found)["x"].rules == Rules()


@pytest.mark.parametrize("pattern", ["\\", "*", "a)", "(?=a)", "^[a-z"])
def test_a_pattern_that_is_none_is_not_mended(pattern: str) -> None:
    found = of_json(one({"type": "string", "pattern": pattern}))
    assert "the pattern of x" in left_out(found)
    assert payload(found)["x"].rules == Rules()


def test_an_array_that_differs_by_its_place() -> None:
    schema = {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}}
    assert left_out(of_json(one(schema)))["x"] == "what the array holds is not given, or differs by its place"


def test_a_document_inside_another_is_not_read_as_the_other() -> None:
    """`#/$defs/a` is that of the innermost document, and not of the file."""
    inner = {"$id": "inner.json", "properties": {"n": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "integer"}}}
    found = left_out(of_json(one(inner, **{"$defs": {"a": {"type": "string"}}})))
    assert found["x.n"] == "its schema stands elsewhere (#/$defs/a)"


def test_the_name_of_the_file_as_draft_4_has_it() -> None:
    draft = {"$schema": "http://json-schema.org/draft-04/schema#", "id": "http://a/b.json", "$id": 5}
    schema = one({"$ref": "http://a/b.json#/definitions/a"}, definitions={"a": {"type": "integer"}}, **draft)
    assert payload(of_json(schema))["x"] == field("x", "integer")


def test_a_dialect_that_would_have_to_be_fetched() -> None:
    assert x({"type": "string"}, **{"$schema": "https://example.invalid/dialect"}) == field("x")
