import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analytics_platform.contract.decode import MAX_DEPTH, Decoded, decode
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import ENVELOPE, EventContract, Field, KeyMode, LogicalType
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.contract.schema import silver_schema
from analytics_platform_tests.contract.example import (
    INGESTED,
    KAFKA_TIME,
    ORDER,
    contract,
    field,
    one_connection,
    order,
    records,
    text,
)

CANCELLED = contract("order_cancelled", payload=(field("order_id"), field("why", "integer")))


def verdict(value: bytes | None, *contracts: EventContract, headers: Mapping[str, bytes | None] | None = None) -> Any:
    """`(codes, reasons)` of a value that is rejected, else the row of the one that is not."""
    given_headers = None if headers is None else [headers]
    decoded = decode(records([value], headers=given_headers), contracts or [ORDER], connection=one_connection())
    if decoded.rejected.is_empty():
        (row,) = [row for rows in decoded.rows.values() for row in rows.rows(named=True)]
        return row
    assert sum(rows.height for rows in decoded.rows.values()) == 0
    ((codes, reasons),) = decoded.rejected.select("codes", "reasons").rows()
    return codes, reasons


def raw(name: str, json_text: str, **changes: Any) -> bytes:
    """A good order in which one field's JSON is exactly this text."""
    return text(order(**{**changes, name: "HERE"})).replace(b'"HERE"', json_text.encode())


def test_a_good_event_with_everything():
    event = order(
        weight=0.1,
        gift=True,
        due="2013-02-28",
        note="",
        ship={"city": "Zürich", "sent_at": "2013-01-01T12:00:00.123456789+02:00", "zip": "8000"},
        items=[{"sku": "a", "quantity": 2, "seen": ["2013-01-01T00:00:00Z"]}, {"sku": "b", "quantity": 1}],
        tags=["x", None],
        source="shop",
        new_field={"a": [1]},
    )
    decoded = decode(records([text(event)], first=7), [ORDER])
    expected = {
        "idempotency_key": event["idempotency_key"],
        "event_type": "order_placed",
        "schema_version": "1.0.0",
        "trace_id": "t1",
        "occurred_at": datetime(2013, 1, 1, 10, 17, tzinfo=UTC),
        "source": "shop",
        "order_id": "O-001",
        "currency": "EUR",
        "total_cents": 100,
        "weight": 0.1,
        "gift": True,
        "due": date(2013, 2, 28),
        "note": "",
        "ship": {"city": "Zürich", "sent_at": datetime(2013, 1, 1, 10, 0, 0, 123456, tzinfo=UTC)},
        "items": [
            {"sku": "a", "quantity": 2, "seen": [datetime(2013, 1, 1, tzinfo=UTC)]},
            {"sku": "b", "quantity": 1, "seen": None},
        ],
        "tags": ["x", None],
        "_topic": "orders",
        "_topic_id": "id-1",
        "_partition": 0,
        "_offset": 7,
        "_kafka_timestamp": KAFKA_TIME,
        "_ingested_at": INGESTED,
        "_contract": "order_placed@1.0.0",
        "_key_hash": decoded.rows["order_placed"]["_key_hash"][0],
    }
    assert_frame_equal(decoded.rows["order_placed"], pl.DataFrame([expected], schema=silver_schema([ORDER])))
    assert_frame_equal(decoded.rejected, pl.DataFrame(schema=REJECT_SCHEMA))


def test_nothing_to_decode():
    decoded = decode(records([]), [ORDER])
    assert_frame_equal(decoded.rows["order_placed"], pl.DataFrame(schema=silver_schema([ORDER])))
    assert_frame_equal(decoded.rejected, pl.DataFrame(schema=REJECT_SCHEMA))


def test_the_rejected_say_who_they_claim_to_be():
    bad = text(order(total_cents="1", source="shop"))
    decoded = decode(records([text(order()), b"{", bad], first=3), [ORDER])
    expected = [
        {
            "topic_id": "id-1",
            "partition": 0,
            "offset": 4,
            "event_type": None,
            "schema_version": None,
            "source": None,
            "codes": ["malformed_json"],
            "reasons": ["input data was truncated"],
            "contract": None,
        },
        {
            "topic_id": "id-1",
            "partition": 0,
            "offset": 5,
            "event_type": "order_placed",
            "schema_version": "1.0.0",
            "source": "shop",
            "codes": ["wrong_type"],
            "reasons": ["total_cents: expected integer, got string"],
            "contract": "order_placed@1.0.0",
        },
    ]
    assert_frame_equal(decoded.rejected, pl.DataFrame(expected, schema=REJECT_SCHEMA))


GOOD = text(order())
WHOLE_VALUES = [
    (None, "missing_value"),
    (b"", "malformed_json"),
    (b" ", "malformed_json"),
    (b"null", "not_an_object"),
    (b"5", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"[" + GOOD + b"]", "not_an_object"),
    (b'{"event_type":"order_placed"}', "missing_field"),
    (GOOD[:-1], "malformed_json"),
    (GOOD[:-1] + b",}", "malformed_json"),
    (GOOD + b"x", "malformed_json"),
    (GOOD + b"\x00", "malformed_json"),
    (GOOD + GOOD, "malformed_json"),
    (GOOD + b"\n" + GOOD, "malformed_json"),
    (b"\xef\xbb\xbf" + GOOD, "malformed_json"),
    (b"\xff" + GOOD, "invalid_utf8"),
    (GOOD.replace(b"t1", b"\xed\xa0\x80"), "invalid_utf8"),
    (GOOD.replace(b"t1", b"\xc0\xaf"), "invalid_utf8"),
    (b"[" * 10_000, "too_deep"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too_deep"),
    (raw("x", "[" * 10_000 + "]" * 10_000), "too_deep"),
    (raw("x", "[" * MAX_DEPTH + "]" * MAX_DEPTH), "too_deep"),
    (raw("x", "NaN"), "malformed_json"),
    (raw("x", "Infinity"), "malformed_json"),
    (raw("x", r'"\ud800"'), "malformed_json"),
    (raw("x", r'"\udc00\ud800"'), "malformed_json"),
    (raw("x", "01"), "malformed_json"),
    (raw("x", '"\t"'), "malformed_json"),
    (raw("trace_id", r'"\ud800"'), "malformed_json"),
    (raw("trace_id", r'"\x41"'), "malformed_json"),
]


@pytest.mark.parametrize(("value", "code"), WHOLE_VALUES, ids=range(len(WHOLE_VALUES)))
def test_values_that_are_no_event(value: bytes | None, code: str):
    codes, reasons = verdict(value)
    assert codes == [code]
    assert len(reasons) == 1


FIELD_VALUES = [
    ("total_cents", "12.7", "wrong_type"),
    ("total_cents", '"12"', "wrong_type"),
    ("total_cents", "true", "wrong_type"),
    ("total_cents", "1e2", "wrong_type"),
    ("total_cents", "1.0", "wrong_type"),
    ("total_cents", "[1]", "wrong_type"),
    ("total_cents", "9223372036854775808", "wrong_type"),
    ("total_cents", "-9223372036854775809", "wrong_type"),
    ("total_cents", "1" * 5000, "wrong_type"),
    ("total_cents", "1e999", "wrong_type"),
    ("total_cents", "null", "missing_field"),
    ("weight", '"1"', "wrong_type"),
    ("weight", "1e999", "wrong_type"),
    ("weight", "1" * 400, "wrong_type"),
    ("weight", "false", "wrong_type"),
    ("weight", "NaN", "malformed_json"),
    ("gift", '"true"', "wrong_type"),
    ("gift", "1", "wrong_type"),
    ("trace_id", "5", "wrong_type"),
    ("due", '"2013-02-29"', "wrong_type"),
    ("due", '"2013-1-1"', "wrong_type"),
    ("due", '"2013-01-01T00:00:00Z"', "wrong_type"),
    ("due", '"0000-01-01"', "wrong_type"),
    ("due", "20130101", "wrong_type"),
    ("occurred_at", '"2013-01-01T10:00:00"', "wrong_type"),
    ("occurred_at", '"2013-01-01"', "wrong_type"),
    ("occurred_at", '"2013-02-30T10:00:00Z"', "wrong_type"),
    ("occurred_at", '"2013-01-01T23:59:60Z"', "wrong_type"),
    ("occurred_at", '"2013-01-01T24:00:00Z"', "wrong_type"),
    ("occurred_at", '"2013-01-01T10:00:00 Europe/Rome"', "wrong_type"),
    ("occurred_at", "1356998400", "wrong_type"),
    ("occurred_at", '"0001-01-01T00:00:00+01:00"', "wrong_type"),
    ("occurred_at", '"9999-12-31T23:59:59-01:00"', "wrong_type"),
    ("occurred_at", '""', "wrong_type"),
    ("ship", "[]", "wrong_type"),
    ("ship", "{}", "missing_field"),
    ("ship", '{"city":null}', "missing_field"),
    ("ship", '{"city":"a","sent_at":"0001-01-01T00:00:00+01:00"}', "wrong_type"),
    ("ship", '{"city":"a","city":"b"}', "duplicate_key"),
    ("items", "{}", "wrong_type"),
    ("items", "[null]", "missing_field"),
    ("items", '[{"sku":"a","quantity":9223372036854775808}]', "wrong_type"),
    ("items", '[{"sku":"a","quantity":-9223372036854775809}]', "wrong_type"),
    ("items", '[{"sku":"a","quantity":1},{"sku":"a"}]', "missing_field"),
    ("items", '[{"sku":"a","quantity":1,"seen":["x"]}]', "wrong_type"),
    ("items", '[{"sku":"a","quantity":1,"seen":["0001-01-01T00:00:00+01:00"]}]', "wrong_type"),
    ("items", '[{"sku":"a","quantity":1},{"sku":"a","quantity":1,"sku":"a"}]', "duplicate_key"),
    ("tags", "[5]", "wrong_type"),
    ("x", '1,"x":2', "duplicate_key"),
    ("x", '1,"":1,"":2', "duplicate_key"),
    ("x", '1,"tra\\u0063e_id":"t2"', "duplicate_key"),
    ("x", '1,"a\\u001fb":1,"a\\u001fb":2', "duplicate_key"),
    ("trace_id", '"a","event_type":"order_placed"', "duplicate_key"),
]


@pytest.mark.parametrize(("name", "json_text", "code"), FIELD_VALUES)
def test_fields_that_do_not_fit(name: str, json_text: str, code: str):
    codes, _ = verdict(raw(name, json_text, idempotency_key="k"), contract_trusting())
    assert codes == [code]


def contract_trusting() -> EventContract:
    return contract(payload=ORDER.fields[6:], mode=KeyMode.TRUST)


KEPT = [
    ("total_cents", "9223372036854775807", 2**63 - 1),
    ("total_cents", "-9223372036854775808", -(2**63)),
    ("total_cents", "9007199254740993", 2**53 + 1),
    ("total_cents", "-0", 0),
    ("weight", "9007199254740993", 9007199254740992.0),
    ("weight", "1e2", 100.0),
    ("weight", "-0.0", -0.0),
    ("weight", "5e-324", 5e-324),
    ("weight", "1.7976931348623157e308", sys.float_info.max),
    ("weight", "123456789012345678901234567890", 123456789012345678901234567890.0),
    ("weight", "null", None),
    ("note", r'"a\u0000b"', "a\0b"),
    ("note", r'"\ud83d\ude00"', "😀"),
    ("note", '""', ""),
    ("note", r'"\u0061\/\""', 'a/"'),
    ("x", "1e999", None),
    ("x", "1" * 400, None),
    ("x", '{"a":1,"a":2}', None),
    ("x", "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), None),
    ("x", '"' + "[" * 1000 + '\\""', None),
    ("x", '1,"a\\u001fb":1,"a":2', None),
    ("tags", "[]", []),
    ("ship", "null", None),
    ("occurred_at", '"2013-01-01t10:00:00z"', datetime(2013, 1, 1, 10, tzinfo=UTC)),
    ("occurred_at", '"2013-01-01T10:00:00.9999999-05:30"', datetime(2013, 1, 1, 15, 30, 0, 999999, tzinfo=UTC)),
    ("occurred_at", '"1969-12-31T23:59:59.9999999Z"', datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("occurred_at", '"0001-01-01T00:00:00Z"', datetime(1, 1, 1, tzinfo=UTC)),
    ("occurred_at", '"9999-12-31T23:59:59.999999Z"', datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("occurred_at", '"2013-01-01T10:00:00\\u005a"', datetime(2013, 1, 1, 10, tzinfo=UTC)),
    ("due", '"0001-01-01"', date(1, 1, 1)),
    ("due", '"9999-12-31"', date(9999, 12, 31)),
]


@pytest.mark.parametrize(("name", "json_text", "expected"), KEPT)
def test_fields_kept_exactly(name: str, json_text: str, expected: object):
    row = verdict(raw(name, json_text, idempotency_key="k"), contract_trusting())
    assert row.get(name) == expected
    if isinstance(expected, float):
        assert math.copysign(1, row[name]) == math.copysign(1, expected)


def test_reasons_name_places_and_never_values():
    private = "private-4711"
    values = [
        text(order(total_cents=private)),
        text(order(idempotency_key=private)),
        text(order(event_type=private)),
        text(order(schema_version=private)),
        text(order(schema_version="9.0.0", x=private)),
        text(order(occurred_at=private, idempotency_key="k")),
        text(order(order_id=private + "\x1f", idempotency_key="k")),
        text(order(ship={"city": 5, "zip": private})),
        text(order(items=[{"sku": "a", "quantity": 1}, {"sku": private}])),
        text(order(x=private))[:-1],
    ]
    reasons = decode(records(values), [ORDER]).rejected["reasons"].to_list()
    assert reasons == [
        ["total_cents: expected integer, got string"],
        ["idempotency_key: not the one derived from the business identifiers"],
        ["event type not known; this topic has order_placed"],
        ["schema_version: not a version of the form 1.2.3"],
        ["no contract of this major version; known: 1.0.0"],
        ["occurred_at: invalid RFC3339 encoded datetime"],
        [
            "order_id: an identifier must not hold U+001F",
            "idempotency_key: not the one derived from the business identifiers",
        ],
        ["ship.city: expected string, got integer"],
        ["items[].quantity: missing"],
        ["input data was truncated"],
    ]


def test_an_oversized_value_is_not_looked_at():
    cut = records([text(order())]).with_columns(value_bytes=pl.col("value_bytes") + 1)
    assert decode(cut, [ORDER]).rejected["codes"].to_list() == [["oversized"]]


def test_a_topic_without_contracts():
    assert decode(records([GOOD], topic="other"), [ORDER]).rejected["codes"].to_list() == [["unknown_event_type"]]


class TestVersions:
    ONE = contract(version="1.0.0", payload=(field("order_id"), field("a", required=False)))
    ONE_TWO = contract(
        version="1.2.0",
        payload=(field("order_id"), field("b", "object", required=False, fields=(field("c", "integer"),))),
    )
    TWO = contract(version="2.0.0", payload=(field("order_id"), field("d", "integer")))
    ALL = (ONE, ONE_TWO, TWO)

    @pytest.mark.parametrize(
        ("claimed", "used"),
        [
            ("1.0.0", "1.0.0"),
            ("1.0.7", "1.2.0"),
            ("1.1.0", "1.2.0"),
            ("1.2.0", "1.2.0"),
            ("1.99.0", "1.2.0"),
            ("1.99.0-rc.1", "1.2.0"),
            ("2.0.0", "2.0.0"),
            ("2.0.1", "2.0.0"),
        ],
    )
    def test_read_by(self, claimed: str, used: str):
        event = order(schema_version=claimed, d=1)
        row = verdict(text(event), *self.ALL)
        assert (row["schema_version"], row["_contract"]) == (claimed, f"order_placed@{used}")

    @pytest.mark.parametrize(
        ("claimed", "code"),
        [
            ("3.0.0", "unknown_schema_version"),
            ("0.1.0", "unknown_schema_version"),
            ("9" * 5000 + ".0.0", "unknown_schema_version"),
            ("1", "wrong_type"),
            ("1.0", "wrong_type"),
            ("01.0.0", "wrong_type"),
            ("v1.0.0", "wrong_type"),
            ("", "wrong_type"),
            ("١.0.0", "wrong_type"),
            (1, "wrong_type"),
            (None, "missing_field"),
            (..., "missing_field"),
        ],
    )
    def test_not_read(self, claimed: object, code: str):
        codes, _ = verdict(text(order(schema_version=claimed, d=1)), *self.ALL)
        assert codes == [code]

    def test_rows_of_several_versions_stand_together_in_order(self):
        values = [
            text(order(schema_version="2.0.0", d=5)),
            text(order(schema_version="1.0.0", a="x", b={"c": "not an integer, and not in 1.0.0"})),
            text(order(schema_version="1.2.0", a="not in 1.2.0", b={"c": 7})),
            text(order(schema_version="2.0.0", d=6)),
        ]
        decoded = decode(records(values), self.ALL)
        assert decoded.rejected.is_empty()
        rows = decoded.rows["order_placed"]
        assert rows.schema == silver_schema(self.ALL)
        assert rows.select("_offset", "_contract", "a", "b", "d").rows() == [
            (0, "order_placed@2.0.0", None, None, 5),
            (1, "order_placed@1.0.0", "x", None, None),
            (2, "order_placed@1.2.0", None, {"c": 7}, None),
            (3, "order_placed@2.0.0", None, None, 6),
        ]

    def test_objects_of_several_versions(self):
        wider = contract(
            version="1.3.0",
            payload=(
                field("order_id"),
                field("b", "object", required=False, fields=(field("c", "integer"), field("e", required=False))),
            ),
        )
        values = [
            text(order(b={"c": 7, "e": 5})).replace(b"1.0.0", b"1.2.0"),
            text(order(b={"c": 8, "e": "x"}, schema_version="1.3.0")),
        ]
        decoded = decode(records(values), [self.ONE_TWO, wider])
        assert decoded.rows["order_placed"].schema == silver_schema([self.ONE_TWO, wider])
        assert decoded.rows["order_placed"]["b"].to_list() == [{"c": 7, "e": None}, {"c": 8, "e": "x"}]


class TestSeveralTypes:
    def test_each_row_to_its_type(self):
        placed, cancelled = text(order()), text(order(CANCELLED, why=1))
        late = json.loads(cancelled)
        late["event_type"] = late.pop("event_type")
        values = [cancelled, placed, text(late), text(order(CANCELLED, why="1")), text(order(event_type=...))]
        decoded = decode(records(values), [ORDER, CANCELLED])
        assert decoded.rows["order_placed"]["_offset"].to_list() == [1]
        assert decoded.rows["order_cancelled"]["_offset"].to_list() == [0, 2]
        assert decoded.rejected.select("offset", "codes", "contract").rows() == [
            (3, ["wrong_type"], "order_cancelled@1.0.0"),
            (4, ["missing_field"], None),
        ]

    def test_several_topics_at_once(self):
        other = contract("order_seen", topic="seen", payload=(field("order_id"),))
        both = pl.concat([records([GOOD]), records([text(order(other)), GOOD], topic="seen")])
        decoded = decode(both, [ORDER, other])
        assert decoded.rows["order_placed"].select("_topic", "_offset").rows() == [("orders", 0)]
        assert decoded.rows["order_seen"].select("_topic", "_offset").rows() == [("seen", 0)]
        assert decoded.rejected.select("offset", "codes").rows() == [(1, ["unknown_event_type"])]


class TestKeys:
    def payload(self, mode: KeyMode) -> EventContract:
        return contract(payload=(field("order_id"), field("number", "integer")), by=("order_id", "number"), mode=mode)

    def test_verified(self):
        of = self.payload(KeyMode.VERIFY)
        good = order(of, number=5)
        assert verdict(text(good), of)["idempotency_key"] == idempotency_key(of, good)
        assert verdict(text(good | {"number": 6}), of)[0] == ["key_mismatch"]
        assert verdict(text(good | {"idempotency_key": good["idempotency_key"].upper()}), of)[0] == ["key_mismatch"]
        assert verdict(text(good | {"idempotency_key": None}), of)[0] == ["missing_field"]

    @pytest.mark.parametrize("sent", [..., None, "nonsense", 5])
    def test_derived_whatever_was_sent(self, sent: object):
        of = self.payload(KeyMode.DERIVE)
        event = order(of, number=5)
        expected = event["idempotency_key"]
        row = verdict(text({k: v for k, v in (event | {"idempotency_key": sent}).items() if v is not ...}), of)
        assert row["idempotency_key"] == expected

    def test_trusted(self):
        of = self.payload(KeyMode.TRUST)
        assert verdict(text(order(of, number=5, idempotency_key="mine")), of)["idempotency_key"] == "mine"

    def test_separator_in_an_identifier(self):
        of = self.payload(KeyMode.DERIVE)
        event = order(of, number=5, idempotency_key="k", order_id="a\x1fb")
        assert verdict(text(event), of)[0] == ["rule_violated"]


class TestHeaders:
    OF = contract(
        payload=(field("order_id"),),
        envelope={name: f"header:ce_{name}" for name in ENVELOPE} | {"trace_id": "trace"},
        mode=KeyMode.DERIVE,
    )
    GOOD: Mapping[str, bytes | None] = {
        "ce_event_type": b"order_placed",
        "ce_schema_version": b"1.0.0",
        "ce_occurred_at": b"2013-01-01t00:00:00.5+01:00",
        "other": b"\xff",
    }
    VALUE = text({"order_id": "O-1", "trace": "t", "occurred_at": "ignored"})

    def test_good(self):
        row = verdict(self.VALUE, self.OF, headers=self.GOOD)
        assert {name: row[name] for name in ENVELOPE} == {
            "idempotency_key": idempotency_key(self.OF, {"order_id": "O-1"}),
            "event_type": "order_placed",
            "schema_version": "1.0.0",
            "trace_id": "t",
            "occurred_at": datetime(2012, 12, 31, 23, 0, 0, 500000, tzinfo=UTC),
            "source": None,
        }

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"ce_event_type": None}, "missing_field"),
            ({"ce_event_type": b"\xff"}, "wrong_type"),
            ({"ce_event_type": b"other"}, "unknown_event_type"),
            ({"ce_schema_version": b"2.0.0"}, "unknown_schema_version"),
            ({"ce_occurred_at": None}, "missing_field"),
            ({"ce_occurred_at": b"yesterday"}, "wrong_type"),
            ({"ce_occurred_at": b"\xff"}, "wrong_type"),
            ({"ce_occurred_at": b"0001-01-01T00:00:00+01:00"}, "wrong_type"),
            ({"ce_source": b"\xff"}, "wrong_type"),
        ],
    )
    def test_bad(self, changes: Mapping[str, bytes | None], code: str):
        assert verdict(self.VALUE, self.OF, headers={**self.GOOD, **changes})[0] == [code]

    def test_no_headers_at_all(self):
        assert verdict(self.VALUE, self.OF)[0] == ["missing_field", "missing_field"]

    def test_the_last_of_a_name_counts(self):
        frame = records([self.VALUE], headers=[{"ce_source": b"first", **self.GOOD}]).with_columns(
            pl.concat_list(
                "headers", pl.lit([{"name": "ce_source", "value": b"last"}], dtype=records([]).schema["headers"])
            ).alias("headers")
        )
        assert decode(frame, [self.OF]).rows["order_placed"]["source"].to_list() == ["last"]


def read(field: Field, value: Any) -> Any:  # noqa: PLR0911 - one per type
    """What Python's own JSON reader makes of a field."""
    if value is None:
        return None
    match field.type:
        case LogicalType.TIMESTAMP:
            head, dot, rest = value.upper().partition(".")
            digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
            whole = head + (f".{digits[:6]}" if dot else "") + rest[len(digits) :]
            return datetime.fromisoformat(whole).astimezone(UTC)
        case LogicalType.DATE:
            return date.fromisoformat(value)
        case LogicalType.NUMBER:
            return float(value)
        case LogicalType.OBJECT:
            return {inner.name: read(inner, value.get(inner.name)) for inner in field.fields}
        case LogicalType.ARRAY:
            assert field.item is not None
            return [read(field.item, one) for one in value]
        case _:
            return value


def places(frame: pl.DataFrame, column: str) -> list[int]:
    return frame[column].to_list()


def obeys_the_law(values: Sequence[bytes | None], contracts: Sequence[EventContract], cuts: Sequence[int]) -> Decoded:
    whole = decode(records(values), contracts, connection=one_connection())
    ends = [0, *sorted(cut for cut in cuts if cut <= len(values)), len(values)]
    parts = [
        decode(records(values[start:end], first=start), contracts, connection=one_connection())
        for start, end in pairwise(ends)
    ]
    kept = sorted(place for rows in whole.rows.values() for place in places(rows, "_offset"))
    refused = places(whole.rejected, "offset")
    assert sorted(kept + refused) == list(range(len(values)))
    assert all(code for code in whole.rejected["codes"].to_list())
    for name, rows in whole.rows.items():
        assert_frame_equal(rows, pl.concat([part.rows[name] for part in parts]))
        assert places(rows, "_offset") == sorted(places(rows, "_offset"))
        for row in rows.rows(named=True):
            said = json.loads(values[row["_offset"]] or b"")
            (used,) = [one for one in contracts if one.label == row["_contract"]]
            for one in used.fields:
                if one.name != "idempotency_key" or used.identity.mode is not KeyMode.DERIVE:
                    assert row[one.name] == read(one, said.get(one.name))
    assert_frame_equal(whole.rejected, pl.concat([part.rejected for part in parts]))
    return whole


SEEDS = [
    text(order()),
    text(order(weight=1.5, gift=False, due="2013-01-01", note="é\0😀", tags=["a"], x={"y": [1, None]})),
    text(order(ship={"city": "x", "sent_at": "2013-01-01T00:00:00.123+01:00"}, schema_version="1.4.0")),
    text(order(items=[{"sku": "a", "quantity": 1, "seen": ["2013-01-01 00:00:00Z"]}, {"sku": "b", "quantity": 2}])),
    text(order(CANCELLED, why=1)),
]
PIECES = [b"", b'"', b",", b"{", b"}", b"[", b"]", b":", b"null", b"1e999", b"-", b"0", b".5", b"\\u0000", b"\\ud800"]
PIECES += [b"\xff", b"\xc3", b"true", b'"a":1,', b" ", b"\n", b"NaN", b"9999", b"T", b"z", b"+00:00", b"1.0.1", b"\x1f"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good event with a few bytes changed."""
    value = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(value)))
        end = start + draw(st.integers(0, 4))
        value = value[:start] + draw(st.sampled_from(PIECES)) + value[end:]
    return value


SCALARS = st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=3)
SCALARS |= st.sampled_from(["2013-01-01", "2013-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "O-001", "1.0.0"])
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["city", "sent_at", "sku", "quantity", "seen"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@st.composite
def mistyped(draw: st.DrawFn) -> bytes:
    """An event with anything in some of its fields."""
    names = [one.name for one in ORDER.fields]
    return text(json.loads(SEEDS[0]) | draw(st.dictionaries(st.sampled_from(names), TREES, max_size=2)))


VALUES = st.lists(st.none() | st.binary(max_size=8) | mutated() | mistyped(), max_size=12)


@settings(max_examples=40, deadline=None)
@given(values=VALUES, cuts=st.lists(st.integers(0, 12), max_size=3), trust=st.booleans())
@example(values=[*SEEDS, None, b"\xff", b"{"], cuts=[1, 4], trust=False)
def test_every_record_ends_in_one_place_whatever_its_neighbours(
    values: list[bytes | None], cuts: list[int], trust: bool
):
    obeys_the_law(values, [contract_trusting() if trust else ORDER, CANCELLED], cuts)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001
            st.text("0123456789", max_size=9),
            st.integers(-1439, 1439) | st.none(),
            st.sampled_from("Tt "),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_timestamps_are_exact(parts: list[tuple[datetime, str, int | None, str]]):
    values, trusting = [], contract_trusting()
    for instant, digits, minutes, letter in parts:
        zone = (
            "z" if minutes is None else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        )
        second = instant.isoformat(timespec="seconds").replace("T", letter)
        values.append(text(order(occurred_at=f"{second}{'.' if digits else ''}{digits}{zone}", idempotency_key="k")))
    whole = obeys_the_law(values, [trusting], [])
    assert whole.rejected.is_empty()


def test_a_good_batch_of_many_is_kept_whole_and_in_order():
    values = [text(order(order_id=f"O-{number:03}")) for number in range(1000)]
    for place in range(0, 1000, 7):
        values[place] = [b"\xff", b"{", b"[" * 500, values[place].replace(b"100", b'"1"')][place % 4]
    whole = obeys_the_law(values, [ORDER], [3, 500])
    assert whole.rejected.height == 143


def test_fields_named_as_columns_of_our_own_queries():
    names = ("n", "t", "v", "h0", "batch", "position", "index", "offset", "topic")
    of = contract("named", payload=(field("order_id"), *(field(name, "integer") for name in names)))
    values = {name: 700 + number for number, name in enumerate(names)}
    decoded = decode(records([text(order(of, **values)), text(order(of, order_id="O-002", **values))]), [of])
    assert decoded.rejected.is_empty()
    assert decoded.rows["named"].select(names).rows() == [tuple(values.values())] * 2


def test_an_envelope_field_and_a_payload_field_from_one_name():
    of = contract(
        "shared",
        payload=(field("order_id"), field("placed_at", "timestamp", required=False)),
        envelope={one: one for one in ENVELOPE} | {"occurred_at": "placed_at"},
    )
    sent = order(of, placed_at="2013-01-01T11:00:00Z", occurred_at=...)
    without = order(of, order_id="O-002", occurred_at=...)
    decoded = decode(records([text(sent), text(without)]), [of])
    at = datetime(2013, 1, 1, 11, tzinfo=UTC)
    assert decoded.rows["shared"].select("occurred_at", "placed_at").rows() == [(at, at)]
    assert decoded.rejected["codes"].to_list() == [["missing_field"]]
