"""CloudEvents: the examples of the specification, and what lies at the edges of it.

The events of EXAMPLES stand in CloudEvents 1.0.2, JSON event format, section 3.2, and in the Kafka protocol binding,
sections 3.2.5 and 3.3.4. None of them names a version of its data, which a contract here needs, so each is judged as it
stands and with a `dataschema`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.contract.decode import decode
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import ENVELOPE, EventContract, Field, KeyMode
from analytics_platform_tests.contract.example import contract, field, one_connection, records, text

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b9c7c989f97918e1-01"
OTHER_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STRUCTURED: Mapping[str, bytes | None] = {"content-type": b"application/cloudevents+json; charset=UTF-8"}


def cloud(
    name: str = "some_event",
    version: str = "1.0.0",
    *,
    payload: tuple[Field, ...] = (
        field("appinfoA"),
        field("appinfoB", "integer"),
        field("appinfoC", "boolean"),
    ),
    by: tuple[str, ...] = ("appinfoA",),
    mode: KeyMode = KeyMode.TRUST,
    sent_as: str = "com.example.someevent",
    places: Mapping[str, str] | None = None,
    trace_required: bool = False,
    generate: bool = False,
) -> EventContract:
    made = contract(name, version, payload=payload, by=by, mode=mode, envelope={**ATTRIBUTES, **(places or {})})
    fields = tuple(field("trace_id", required=trace_required) if one.name == "trace_id" else one for one in made.fields)
    return EventContract(
        **{slot: getattr(made, slot) for slot in made.__slots__}
        | {"fields": fields, "cloudevents": sent_as, "generate_trace_id": generate}
    )


SOME = cloud()
DATA = {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "subject": None,
    "id": "C234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "application/json",
    "dataschema": "https://example.com/some_event/1.0.0.json",
    "data": DATA,
}
HEADERS: Mapping[str, bytes | None] = {
    "ce_specversion": b"1.0",
    "ce_type": b"com.example.someevent",
    "ce_source": b"/mycontext",
    "ce_id": b"C234-1234-1234",
    "ce_time": b"2018-04-05T17:31:00Z",
    "ce_comexampleextension1": b"value",
    "ce_comexampleothervalue": b"5",
    "ce_dataschema": b"https://example.com/some_event/1.0.0.json",
    "content-type": b"application/json",
}
ROW = {
    "idempotency_key": "C234-1234-1234",
    "event_type": "some_event",
    "schema_version": "1.0.0",
    "trace_id": None,
    "occurred_at": datetime(2018, 4, 5, 17, 31, tzinfo=UTC),
    "source": "/mycontext",
    **DATA,
}


def end(value: bytes | None, headers: Mapping[str, bytes | None], *contracts: EventContract) -> Any:
    """The row of a record's own fields, or its codes and reasons."""
    decoded = decode(records([value], headers=[headers]), contracts or [SOME], connection=one_connection())
    if decoded.rejected.is_empty():
        (row,) = [row for rows in decoded.rows.values() for row in rows.rows(named=True)]
        return {name: value for name, value in row.items() if not name.startswith("_")}
    assert sum(rows.height for rows in decoded.rows.values()) == 0
    return decoded.rejected.select("codes", "reasons").row(0)


def structured(**changes: Any) -> bytes:
    """EVENT, changed; a change to `...` leaves the attribute out."""
    return text({name: value for name, value in (EVENT | changes).items() if value is not ...})


def binary(**changes: bytes | None) -> dict[str, bytes | None]:
    """HEADERS, with attributes changed; a change to `...` leaves one out."""
    changed = {**HEADERS, **{f"ce_{name}": value for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not ...}


EXAMPLES = {
    "JSON data": (text(EVENT), STRUCTURED, None),
    "JSON data, binary": (text(DATA), HEADERS, None),
    "binary data": (
        structured(
            id="A234-1234-1234", datacontenttype="application/vnd.apache.thrift.binary", data=..., data_base64="…"
        ),
        STRUCTURED,
        "data_base64: binary data is not read, only JSON in data",
    ),
    "binary data, binary": (
        b"...raw binary bytes...\xff",
        {**HEADERS, "content-type": b"application/vnd.apache.thrift.binary"},
        "header content-type: not JSON",
    ),
    "XML data": (
        structured(
            id="B234-1234-1234", unsetextension=None, datacontenttype="application/xml", data='<much wow="xml"/>'
        ),
        STRUCTURED,
        "datacontenttype: not JSON",
    ),
    "XML data, binary": (
        b'<much wow="xml"/>',
        {**HEADERS, "content-type": b"application/xml"},
        "header content-type: not JSON",
    ),
    "the binding's Avro": (
        b"\x00\x01",
        {**HEADERS, "content-type": b"application/avro"},
        "header content-type: not JSON",
    ),
    "the binding's XML": (
        structured(source="/mycontext/subcontext", id="1234-1234-1234", datacontenttype="application/xml", data={}),
        STRUCTURED,
        "datacontenttype: not JSON",
    ),
    "a batch": (
        text([EVENT, EVENT]),
        {"content-type": b"application/cloudevents-batch+json"},
        "header content-type: not application/cloudevents+json",
    ),
    "Avro format": (
        b"\x00",
        {"content-type": b"application/cloudevents+avro"},
        "header content-type: not application/cloudevents+json",
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_specification(example: str):
    value, headers, refusal = EXAMPLES[example]
    expected: object = ROW if refusal is None else (["unsupported_content"], [refusal])
    assert end(value, headers) == expected


def test_an_example_with_text_as_its_data():
    """JSON event format, section 3.2: the data is the text, not JSON inside it; no contract describes a mere text."""
    value = structured(id="D234-1234-1234", datacontenttype=..., data="I'm just a string")
    assert end(value, STRUCTURED) == (["wrong_type"], ["data: expected object, got string"])
    assert end(b'"I\'m just a string"', HEADERS)[0] == ["not_an_object"]


@pytest.mark.parametrize(
    ("value", "headers", "place"),
    [
        (structured(dataschema=...), STRUCTURED, "dataschema"),
        (text(DATA), binary(dataschema=...), "header ce_dataschema"),
    ],  # type: ignore[arg-type]
)
def test_examples_as_they_stand_name_no_version(value: bytes, headers: Mapping[str, bytes | None], place: str):
    assert end(value, headers) == (["missing_field"], [f"{place}: missing"])


MODES: list[tuple[dict[str, bytes | None], bool | str]] = [
    ({"content-type": b"application/cloudevents+json"}, True),
    ({"content-type": b"APPLICATION/CloudEvents+JSON;charset=utf-8"}, True),
    ({"content-type": b"application/cloudevents+json", "ce_specversion": b"0.3"}, True),
    ({"content-type": b"application/cloudevents"}, "header content-type: not application/cloudevents+json"),
    ({"content-type": b"application/cloudevents+jsonx"}, "header content-type: not application/cloudevents+json"),
    ({"content-type": b"application/cloudevents\xff"}, "header content-type: not application/cloudevents+json"),
    ({}, "neither a header content-type of application/cloudevents+json nor a header ce_specversion"),
    (
        {"content-type": b"application/json"},
        "neither a header content-type of application/cloudevents+json nor a header ce_specversion",
    ),
    (
        {"content-type": None, "ce_specversion": None},
        "neither a header content-type of application/cloudevents+json nor a header ce_specversion",
    ),
    ({"ce_specversion": b"0.3"}, "header ce_specversion: not 1.0"),
    ({"ce_specversion": b"1.0\xff"}, "header ce_specversion: not 1.0"),
    ({"ce_specversion": b""}, "header ce_specversion: not 1.0"),
    ({"ce_specversion": b"1.0", "content-type": b"\xff"}, "header content-type: not JSON"),
    ({"ce_specversion": b"1.0", "content-type": b"json"}, "header content-type: not JSON"),
    ({"ce_specversion": b"1.0", "content-type": b"application/jsonl"}, "header content-type: not JSON"),
]


@pytest.mark.parametrize(("headers", "verdict"), MODES, ids=range(len(MODES)))
def test_the_headers_say_the_mode(headers: Mapping[str, bytes | None], verdict: bool | str):
    expected: object = ROW if verdict is True else (["unsupported_content"], [verdict])
    assert end(text(EVENT), headers) == expected


@pytest.mark.parametrize(
    "kind", [b"application/json;charset=utf-8", b"text/json", b"application/vnd.shop.order+json", None]
)
def test_data_that_is_json_under_another_name(kind: bytes | None):
    headers = {**HEADERS, "content-type": kind}
    assert end(text(DATA), headers) == ROW
    assert end(structured(datacontenttype=None if kind is None else kind.decode()), STRUCTURED) == ROW


def test_what_a_record_lacks_is_told_before_its_headers_are_looked_at():
    frame = records([None, text(EVENT), None], headers=[{}, {}, HEADERS]).with_columns(
        value_bytes=pl.when(pl.col("offset") == 1).then(10_000).otherwise("value_bytes")
    )
    assert decode(frame, [SOME]).rejected["codes"].to_list() == [["missing_value"], ["oversized"], ["missing_value"]]


def test_both_modes_in_one_batch_stand_in_the_order_of_the_records():
    values = [structured(id="0"), text(DATA), b"x", structured(id="3"), text(DATA), text(DATA), structured(id=4)]
    headers = [STRUCTURED, binary(id=b"1"), {}, STRUCTURED, binary(id=b"4"), binary(time=b"x"), STRUCTURED]
    decoded = decode(records(values, headers=headers), [SOME])
    assert decoded.rows["some_event"].select("_offset", "idempotency_key", "_contract").rows() == [
        (0, "0", "some_event@1.0.0"),
        (1, "1", "some_event@1.0.0"),
        (3, "3", "some_event@1.0.0"),
        (4, "4", "some_event@1.0.0"),
    ]
    assert decoded.rejected.select("offset", "codes", "reasons", "event_type", "schema_version", "source").rows() == [
        (
            2,
            ["unsupported_content"],
            ["neither a header content-type of application/cloudevents+json nor a header ce_specversion"],
            None,
            None,
            None,
        ),
        (5, ["wrong_type"], ["header ce_time: invalid RFC3339 encoded datetime"], "some_event", "1.0.0", "/mycontext"),
        (6, ["wrong_type"], ["id: expected string, got integer"], "some_event", "1.0.0", "/mycontext"),
    ]


STRUCTURED_FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"specversion": ...}, "unsupported_content", "specversion: not 1.0"),
    ({"specversion": "0.3"}, "unsupported_content", "specversion: not 1.0"),
    ({"specversion": 1.0}, "unsupported_content", "specversion: not 1.0"),
    ({"datacontenttype": 5}, "unsupported_content", "datacontenttype: not JSON"),
    ({"data_base64": ""}, "unsupported_content", "data_base64: binary data is not read, only JSON in data"),
    ({"data": ...}, "missing_field", "data: missing"),
    ({"data": None}, "missing_field", "data: expected object, got null"),
    ({"data": []}, "wrong_type", "data: expected object, got array"),
    ({"data": json.dumps(DATA)}, "wrong_type", "data: expected object, got string"),
    ({"data": DATA | {"appinfoB": "1"}}, "wrong_type", "data.appinfoB: expected integer, got string"),
    ({"data": {"appinfoA": "x", "appinfoC": True}}, "missing_field", "data.appinfoB: missing"),
    ({"id": None}, "missing_field", "id: expected string, got null"),
    ({"time": None}, "missing_field", "time: expected timestamp, got null"),
    ({"time": "yesterday"}, "wrong_type", "time: invalid RFC3339 encoded datetime"),
    ({"source": 5}, "wrong_type", "source: expected string or null, got integer"),
    ({"type": "some_event"}, "unknown_event_type", "event type not known; this topic has com.example.someevent"),
    ({"type": None}, "missing_field", "type: missing"),
    ({"type": 5}, "wrong_type", "type: expected string"),
    ({"dataschema": "2.0.0"}, "unknown_schema_version", "no contract of this major version; known: 1.0.0"),
    ({"dataschema": "https://example.com/v1"}, "wrong_type", "dataschema: does not end in a version of the form 1.2.3"),
    ({"dataschema": 1}, "wrong_type", "dataschema: expected string"),
    ({"traceparent": TRACE}, "wrong_type", "header traceparent or traceparent: not a W3C traceparent"),
    ({"traceparent": 5}, "wrong_type", "traceparent: expected string or null, got integer"),
]


@pytest.mark.parametrize(("changes", "code", "reason"), STRUCTURED_FAULTS, ids=range(len(STRUCTURED_FAULTS)))
def test_structured_events_that_do_not_fit(changes: dict[str, Any], code: str, reason: str):
    assert end(structured(**changes), STRUCTURED) == ([code], [reason])


BINARY_FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"type": ...}, "missing_field", "header ce_type: missing"),
    ({"type": b"\xff"}, "wrong_type", "header ce_type: expected string"),
    (
        {"type": b"com.example.some%65vent"},
        "unknown_event_type",
        "event type not known; this topic has com.example.someevent",
    ),
    ({"dataschema": b"2.0.0"}, "unknown_schema_version", "no contract of this major version; known: 1.0.0"),
    ({"dataschema": b"latest"}, "wrong_type", "header ce_dataschema: does not end in a version of the form 1.2.3"),
    ({"id": ...}, "missing_field", "header ce_id: missing"),
    ({"id": None}, "missing_field", "header ce_id: missing"),
    ({"id": b"\xff"}, "wrong_type", "header ce_id: not UTF-8"),
    ({"time": b"2018-04-05"}, "wrong_type", "header ce_time: invalid RFC3339 encoded datetime"),
    ({"source": b"\xff"}, "wrong_type", "header ce_source: not UTF-8"),
    ({"traceparent": b"x"}, "wrong_type", "header traceparent or header ce_traceparent: not a W3C traceparent"),
]


@pytest.mark.parametrize(("changes", "code", "reason"), BINARY_FAULTS, ids=range(len(BINARY_FAULTS)))
def test_binary_events_that_do_not_fit(changes: dict[str, Any], code: str, reason: str):
    assert end(text(DATA), binary(**changes)) == ([code], [reason])


def test_header_values_are_utf8_and_nothing_is_decoded_in_them():
    """Kafka's binding knows no percent-encoding: that is HTTP's."""
    headers = binary(source="/Zürich/%E2%82%AC".encode())
    assert end(text(DATA), headers)["source"] == "/Zürich/%E2%82%AC"


DATA_FAULTS = [
    (b"", "malformed_json"),
    (b"{", "malformed_json"),
    (b"[]", "not_an_object"),
    (b"\xff{}", "invalid_utf8"),
    (text(DATA) + b"x", "malformed_json"),
    (text(DATA)[:-1] + b',"appinfoA":"b"}', "duplicate_key"),
    (b'{"x":' * 200 + b"1" + b"}" * 200, "too_deep"),
    (text(DATA)[:-1] + b',"x":NaN}', "malformed_json"),
    (text(DATA)[:-1] + b',"x":"\\ud800"}', "malformed_json"),
]


@pytest.mark.parametrize(("value", "code"), DATA_FAULTS, ids=range(len(DATA_FAULTS)))
def test_data_that_is_no_payload(value: bytes, code: str):
    assert end(value, HEADERS)[0] == [code]
    inside = structured(data="HERE").replace(b'"HERE"', value)
    expected = {"not_an_object": "wrong_type"}.get(code, code)
    assert end(inside, STRUCTURED)[0] == [expected]


def test_a_key_twice_is_found_in_the_attributes_and_in_the_data():
    twice = text(EVENT)[:-1] + b',"type":"com.example.someevent"}'
    assert end(twice, STRUCTURED) == (["duplicate_key"], ["the value: a key stands twice"])
    inside = structured(data="HERE").replace(b'"HERE"', text(DATA)[:-1] + b',"appinfoA":"b"}')
    assert end(inside, STRUCTURED) == (["duplicate_key"], ["data: a key stands twice"])


class TestTraceparent:
    @pytest.mark.parametrize(
        ("plain", "own", "expected"),
        [
            (None, PARENT, TRACE),
            (PARENT, None, TRACE),
            (PARENT, OTHER_PARENT, TRACE),
            (None, None, None),
        ],
    )
    def test_the_plain_header_wins(self, plain: str | None, own: str | None, expected: str | None):
        more = {} if plain is None else {"traceparent": plain.encode()}
        headers = {**binary(traceparent=... if own is None else own.encode()), **more}  # type: ignore[arg-type]
        assert end(text(DATA), headers) == ROW | {"trace_id": expected}
        value = structured(traceparent=own)
        assert end(value, {**STRUCTURED, **more}) == ROW | {"trace_id": expected}

    def test_a_required_one_that_is_missing(self):
        needs = cloud(trace_required=True)
        expected = (["missing_field"], ["header traceparent or traceparent: missing"])
        assert end(text(EVENT), STRUCTURED, needs) == expected
        assert end(text(EVENT), {**STRUCTURED, "traceparent": PARENT.encode()}, needs) == ROW | {"trace_id": TRACE}

    def test_a_missing_one_is_generated_from_where_the_record_stands(self):
        generating = cloud(trace_required=True, generate=True)
        frame = records(
            [text(EVENT), text(DATA), text(EVENT)],
            headers=[STRUCTURED, HEADERS, {**STRUCTURED, "traceparent": PARENT.encode()}],
        )
        found = decode(frame, [generating]).rows["some_event"]["trace_id"].to_list()
        assert found == [md5(b"id-1/0/0").hexdigest(), md5(b"id-1/0/1").hexdigest(), TRACE]  # noqa: S324 - a name, no secret

    def test_a_bad_one_is_not_replaced(self):
        generating = cloud(trace_required=True, generate=True)
        assert end(structured(traceparent="x"), STRUCTURED, generating)[0] == ["wrong_type"]


class TestOverrides:
    def test_an_attribute_of_our_own(self):
        of = cloud(places={"idempotency_key": "ourkey", "schema_version": "ourversion", "trace_id": "ourtrace"})
        expected = ROW | {"idempotency_key": "k", "schema_version": "1.4.0", "trace_id": "t"}
        assert end(structured(ourkey="k", ourversion="1.4.0", ourtrace="t", dataschema=...), STRUCTURED, of) == expected
        assert end(text(DATA), binary(ourkey=b"k", ourversion=b"1.4.0", ourtrace=b"t"), of) == expected

    def test_a_header_in_both_modes(self):
        of = cloud(places={"schema_version": "header:version", "trace_id": "traceparent:header:parent"})
        more: dict[str, bytes | None] = {"version": b"1.0.0", "parent": PARENT.encode()}
        assert end(text(EVENT), {**STRUCTURED, **more}, of) == ROW | {"trace_id": TRACE}
        assert end(text(DATA), {**HEADERS, **more}, of) == ROW | {"trace_id": TRACE}
        assert end(text(EVENT), STRUCTURED, of) == (["missing_field"], ["header version: missing"])

    def test_a_field_of_the_data(self):
        payload = (*SOME.fields[6:], field("at", "timestamp", required=False))
        of = cloud(payload=payload, places={"occurred_at": "data:at"})
        at = datetime(2020, 1, 1, tzinfo=UTC)
        data = DATA | {"at": "2020-01-01T00:00:00Z"}
        expected = ROW | {"occurred_at": at, "at": at}
        assert end(structured(data=data, time=...), STRUCTURED, of) == expected
        assert end(text(data), binary(time=...), of) == expected  # type: ignore[arg-type]
        assert end(structured(), STRUCTURED, of)[0] == ["missing_field"]


class TestKeys:
    KEY = idempotency_key(SOME, DATA)

    def test_verified(self):
        of = cloud(mode=KeyMode.VERIFY)
        assert end(structured(id=self.KEY), STRUCTURED, of) == ROW | {"idempotency_key": self.KEY}
        assert end(text(DATA), binary(id=self.KEY.encode()), of) == ROW | {"idempotency_key": self.KEY}
        assert end(text(EVENT), STRUCTURED, of)[0] == ["key_mismatch"]
        assert end(text(DATA), HEADERS, of)[0] == ["key_mismatch"]

    @pytest.mark.parametrize("sent", [..., None, "C234", 5])
    def test_derived_whatever_the_id(self, sent: object):
        of = cloud(mode=KeyMode.DERIVE)
        assert end(structured(id=sent), STRUCTURED, of) == ROW | {"idempotency_key": self.KEY}

    @pytest.mark.parametrize("sent", [..., None, b"C234", b"\xff"])
    def test_derived_whatever_the_header(self, sent: Any):
        of = cloud(mode=KeyMode.DERIVE)
        assert end(text(DATA), binary(id=sent), of) == ROW | {"idempotency_key": self.KEY}

    def test_the_key_is_of_the_contracts_name_not_of_the_type(self):
        assert idempotency_key(cloud(sent_as="anything"), DATA) == self.KEY


class TestSeveral:
    ONE = cloud(version="1.2.0")
    TWO = cloud(
        version="2.0.0", payload=(field("appinfoA"), field("extra", required=False)), sent_as="com.example.someevent.v2"
    )
    OTHER = cloud("other_event", sent_as="com.example.other", payload=(field("appinfoA"),))

    @pytest.mark.parametrize(
        ("sent_as", "schema", "used"),
        [
            ("com.example.someevent", "x/1.0.0", "some_event@1.2.0"),
            ("com.example.someevent", "x/1.2.0.json", "some_event@1.2.0"),
            ("com.example.someevent", "x/1.9.0", "some_event@1.2.0"),
            ("com.example.someevent", "x/2.0.0", "some_event@2.0.0"),
            ("com.example.someevent.v2", "x/2.1.0", "some_event@2.0.0"),
            ("com.example.someevent.v2", "x/1.0.0", "some_event@1.2.0"),
            ("com.example.other", "x/1.0.0", "other_event@1.0.0"),
        ],
    )
    def test_each_to_its_contract(self, sent_as: str, schema: str, used: str):
        contracts = [self.ONE, self.TWO, self.OTHER]
        values = [structured(type=sent_as, dataschema=schema), text(DATA)]
        headers = [STRUCTURED, binary(type=sent_as.encode(), dataschema=schema.encode())]
        decoded = decode(records(values, headers=headers), contracts)
        assert decoded.rejected.is_empty()
        (rows,) = [rows for rows in decoded.rows.values() if rows.height]
        version = schema.removeprefix("x/").removesuffix(".json")
        expected = [(used, used.partition("@")[0], version)] * 2
        assert rows.select("_contract", "event_type", "schema_version").rows() == expected

    def test_the_quarantine_names_the_event_as_its_contract_does(self):
        value = structured(type="com.example.someevent.v2", dataschema="x/3.0.0")
        rejected = decode(records([value], headers=[STRUCTURED]), [self.ONE, self.TWO]).rejected
        assert rejected.select("event_type", "schema_version").rows() == [("some_event", "3.0.0")]


def test_rows_do_not_depend_on_how_the_batch_was_cut():
    values = [structured(id=str(number)) if number % 2 else text(DATA) for number in range(40)]
    headers = [STRUCTURED if number % 2 else binary(id=b"%d" % number) for number in range(40)]
    values[7], values[12], headers[21], headers[22] = b"{", b"\xff", {}, binary(time=b"")
    whole = decode(records(values, headers=headers), [SOME])
    parts = [
        decode(records(values[start:stop], first=start, headers=headers[start:stop]), [SOME])
        for start, stop in ((0, 5), (5, 13), (13, 40))
    ]
    assert whole.rejected["offset"].to_list() == [7, 12, 21, 22]
    assert_frame_equal(whole.rows["some_event"], pl.concat([part.rows["some_event"] for part in parts]))
    assert_frame_equal(whole.rejected, pl.concat([part.rejected for part in parts]))


def test_no_envelope_field_is_forgotten():
    assert tuple(ATTRIBUTES) == ENVELOPE
