import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.model import Deprecation, EventContract, KeyMode, RowRule, Rules, Upcast
from analytics_platform.contract.patch import Patch
from analytics_platform.contract.reason import Reason
from analytics_platform.judge import Judged, judge
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat, framed
from analytics_platform_tests.contract.example import INGESTED, contract, field, one_connection, order, records, text
from analytics_platform_tests.contract.test_cloudevents import EVENT, HEADERS, STRUCTURED, cloud

EVERY_CODE = (Reason.MISSING_FIELD, Reason.WRONG_TYPE, Reason.RULE_VIOLATED, Reason.ROW_RULE_VIOLATED)
DELAY = contract(
    payload=(
        field("order_id"),
        field("delay", "integer", required=False, rules=Rules(minimum=-100)),
        field("at", "timestamp", required=False),
        field("day", "date", required=False),
        field("weight", "number", required=False),
        field("place", "object", required=False, fields=(field("city"), field("zip", required=False))),
        field("tags", "array", required=False, item=field("tag")),
    ),
    mode=KeyMode.DERIVE,
)


def patch(fields: Mapping[str, str], name: str = "fix", **rest: Any) -> Patch:
    usual: dict[str, Any] = {
        "codes": EVERY_CODE,
        "sources": (),
        "start": None,
        "end": INGESTED + timedelta(days=1),
        "where": None,
        "withdrawn": False,
    }
    return Patch(
        name,
        "A fault.",
        "order_placed",
        rest.pop("major", 1),
        fields=fields,
        path=Path("x"),
        digest=name,
        **usual | rest,
    )


def patched(of: EventContract, *patches: Patch) -> EventContract:
    return replace(of, patches=patches)


def event(number: str, of: EventContract = DELAY, **changes: Any) -> bytes:
    return text(order(of, **{"order_id": number, "currency": ..., "total_cents": ...} | changes))


def judged(values: list[bytes], *contracts: EventContract, **rest: Any) -> Judged:
    return judge(records(values, **rest), contracts)


NUMBER = patch({"delay": "CAST(value->>'delay' AS BIGINT)"}, where="json_type(value, '$.delay') = 'VARCHAR'")


def test_a_record_that_is_valid_once_mended() -> None:
    found = judged([event("a", delay=7), event("b", delay="12"), event("c", delay="late")], patched(DELAY, NUMBER))
    rows = found.good["order_placed"].sort("_offset")
    assert rows.select("order_id", "delay", "_offset", "_contract", "_patch").rows() == [
        ("a", 7, 0, "order_placed@1.0.0", None),
        ("b", 12, 1, "order_placed@1.0.0", "fix"),
    ]
    assert found.rejected.select("offset", "codes").rows() == [(2, ["wrong_type"])]


def test_without_patches_there_is_no_column() -> None:
    assert "_patch" not in judged([event("a", delay=7)], DELAY).good["order_placed"].columns


def test_a_valid_record_is_never_touched() -> None:
    zero = patch({"delay": "CAST(0 AS BIGINT)"})
    assert judged([event("a", delay=7)], patched(DELAY, zero)).good["order_placed"]["delay"].to_list() == [7]


@pytest.mark.parametrize(
    ("fields", "wrong", "expected"),
    [
        ({"at": "strptime(value->>'at', '%d.%m.%Y %H:%M')::TIMESTAMPTZ"}, {"at": "24.12.2024 18:30"}, "at"),
        ({"day": "strptime(value->>'day', '%d.%m.%Y')::DATE"}, {"day": "24.12.2024"}, "day"),
        ({"weight": "CAST(replace(value->>'weight', ',', '.') AS DOUBLE)"}, {"weight": "1,5"}, "weight"),
        ({"place": "{'city': value->>'place', 'zip': NULL::VARCHAR}"}, {"place": "Rome"}, "place"),
        ({"place.city": "value->'place'->>'town'"}, {"place": {"town": "Oslo", "zip": "1"}}, "place"),
        ({"tags": "string_split(value->>'tags', ';')"}, {"tags": "a;b"}, "tags"),
        ({"delay": "NULL::BIGINT"}, {"delay": "n/a"}, "delay"),
    ],
)
def test_each_type(fields: dict[str, str], wrong: dict[str, Any], expected: str) -> None:
    values = {
        "at": datetime(2024, 12, 24, 18, 30, tzinfo=UTC),
        "day": date(2024, 12, 24),
        "weight": 1.5,
        "place": {"city": "Oslo", "zip": "1"} if "place.city" in fields else {"city": "Rome", "zip": None},
        "tags": ["a", "b"],
        "delay": None,
    }
    found = judged([event("a", **wrong)], patched(DELAY, patch(fields)))
    assert found.good["order_placed"][expected].to_list() == [values[expected]]


def test_what_is_not_set_keeps_its_bytes() -> None:
    """Neither a number beyond double precision nor the order of members changes on the way."""
    key = contract(payload=(field("order_id"), field("n", "integer"), field("delay", "integer")), mode=KeyMode.DERIVE)
    exact = event("a", key, n=2**63 - 1, delay="3")
    found = judged([exact], patched(key, patch({"delay": "CAST(value->>'delay' AS BIGINT)"})))
    assert found.good["order_placed"].select("n", "delay").rows() == [(2**63 - 1, 3)]


def test_only_records_with_no_other_faults() -> None:
    only_type = replace(NUMBER, codes=(Reason.WRONG_TYPE,), where=None)
    found = judged([event("a", delay=-500), event("b", delay="5")], patched(DELAY, only_type))
    assert found.good["order_placed"]["order_id"].to_list() == ["b"]
    assert found.rejected["codes"].to_list() == [["rule_violated"]]


def test_a_record_that_is_still_bad_keeps_its_own_reasons() -> None:
    found = judged([event("a", delay="-500")], patched(DELAY, NUMBER))
    assert (
        found.rejected.select("codes", "reasons").rows()
        == judged([event("a", delay="-500")], DELAY).rejected.select("codes", "reasons").rows()
    )


@pytest.mark.parametrize(
    "narrow",
    [
        {"sources": ("gate-2",)},
        {"start": INGESTED + timedelta(microseconds=1)},
        {"end": INGESTED},
        {"withdrawn": True},
        {"where": "value->>'order_id' = 'z'"},
        {"where": "CAST(value->>'order_id' AS BIGINT) > 0"},
    ],
)
def test_a_record_that_the_patch_is_not_for(narrow: dict[str, Any]) -> None:
    found = judged([event("a", delay="5", source="gate-1")], patched(DELAY, replace(NUMBER, **narrow)))
    assert found.rejected.height == 1


@pytest.mark.parametrize("wide", [{"sources": ("gate-1", "x")}, {"start": INGESTED}])
def test_a_record_that_it_is_just_for(wide: dict[str, Any]) -> None:
    found = judged([event("a", delay="5", source="gate-1")], patched(DELAY, replace(NUMBER, **wide)))
    assert found.good["order_placed"].height == 1


def test_what_cannot_be_computed_for_a_record_leaves_that_one_alone() -> None:
    """Also what DuckDB's TRY lets through."""
    first = patch({"delay": "list_reduce(CAST(value->'delay' AS BIGINT[]), lambda a, b: a)", "weight": "1.5::DOUBLE"})
    values = [event(number, delay=delay) for number, delay in (("a", [1, 2]), ("b", []), ("c", "x"), ("d", [3]))]
    found = judged(values, patched(DELAY, first))
    rows = found.good["order_placed"].sort("_offset").select("order_id", "delay", "weight").rows()
    assert rows == [("a", 1, 1.5), ("d", 3, 1.5)]
    assert found.rejected.sort("offset")["codes"].to_list() == [["wrong_type"], ["wrong_type"]]


def test_the_first_patch_that_helps_by_name() -> None:
    one = patch({"delay": "CAST(1 AS BIGINT)"}, "b_one")
    two = patch({"delay": "CAST(2 AS BIGINT)"}, "a_two", where="value->>'order_id' = 'a'")
    found = judged([event("a", delay="x"), event("b", delay="x")], patched(DELAY, one, two))
    assert found.good["order_placed"].sort("order_id").select("delay", "_patch").rows() == [(2, "a_two"), (1, "b_one")]


def test_a_key_twice_is_no_record_to_mend() -> None:
    twice = event("a", delay="5").replace(b'{"', b'{"note":1,"note":2,"', 1)
    assert judged([twice], patched(DELAY, NUMBER)).rejected.height == 1


def test_a_member_that_is_no_object_has_no_place_for_a_field() -> None:
    city = patch({"place.city": "'Rome'"})
    assert judged([event("a", place=[1])], patched(DELAY, city)).rejected.height == 1
    found = judged(
        [event("a", place=None, delay="1")], patched(DELAY, patch({**NUMBER.fields, "place.city": "'Rome'"}))
    )
    assert found.good["order_placed"]["place"].to_list() == [{"city": "Rome", "zip": None}]


def test_an_event_type_that_was_misspelt() -> None:
    name = patch({"event_type": "'order_placed'"}, codes=(Reason.UNKNOWN_EVENT_TYPE,))
    found = judged([event("a", event_type="order_plcaed")], patched(DELAY, name))
    assert found.good["order_placed"].select("event_type", "_patch").rows() == [("order_placed", "fix")]


def test_a_version_that_nobody_knows_and_one_that_has_ended() -> None:
    newer = contract(version="2.0.0", payload=(field("order_id"), field("cents", "integer")), mode=KeyMode.DERIVE)
    last = replace(DELAY, deprecation=Deprecation(date(2023, 1, 1), date(2023, 6, 1)))
    newer = replace(newer, upcast=Upcast(1, {"cents": "CAST(0 AS bigint)"}))
    to_two = patch(
        {"schema_version": "'2.0.0'", "cents": "CAST(value->>'euros' AS BIGINT) * 100"},
        major=2,
        codes=(Reason.UNKNOWN_SCHEMA_VERSION, Reason.VERSION_SUNSET),
    )
    values = [event("a", schema_version="7.0.0", euros=1), event("b", schema_version="1.0.0", euros=2)]
    found = judged(values, patched(last, to_two), patched(newer, to_two))
    rows = found.good["order_placed"].sort("_offset")
    assert rows.select("cents", "_contract").rows() == [(100, "order_placed@2.0.0"), (200, "order_placed@2.0.0")]


def test_a_mended_row_of_an_older_major_is_lifted() -> None:
    newer = contract(version="2.0.0", payload=(field("order_id"), field("twice", "integer")), mode=KeyMode.DERIVE)
    newer = replace(newer, upcast=Upcast(1, {"twice": "delay * 2"}))
    found = judged([event("a", delay="5")], patched(DELAY, NUMBER), patched(newer, NUMBER))
    assert found.good["order_placed"].select("twice", "_contract", "_patch").rows() == [
        (10, "order_placed@1.0.0", "fix")
    ]


def test_a_mended_record_that_is_valid_under_another_major_is_not_let_in() -> None:
    other = contract(version="2.0.0", payload=(field("order_id"),), mode=KeyMode.DERIVE)
    wrong = patch({"schema_version": "'2.0.0'"}, major=1)
    assert judged([event("a", delay="5")], patched(DELAY, wrong), patched(other, wrong)).rejected.height == 1


def test_row_rules_are_kept_too() -> None:
    rule = RowRule("late", "delay > 10", "Only late ones.")
    strict = replace(DELAY, row_rules=(rule,), header=replace(DELAY.header, digest="strict"))
    found = judged([event("a", delay="5"), event("b", delay="50")], patched(strict, NUMBER))
    assert found.good["order_placed"]["order_id"].to_list() == ["b"]


@pytest.mark.parametrize("wire", [WireFormat.AVRO, WireFormat.JSON_SCHEMA])
def test_a_framed_value(wire: WireFormat) -> None:
    """It is mended as the JSON that says the same; bronze keeps the bytes."""
    of = replace(DELAY, wire=wire)
    sent = json.loads(event("a", delay=-500, at="2024-12-24T18:30:00Z", place={"city": "Oslo", "zip": None}))
    if wire is WireFormat.AVRO:
        schema = avro_schema(of)
        times = {name: datetime.fromisoformat(sent[name]) for name in ("occurred_at", "at")}
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), sent | times)
        schemas, value = {"id:7": RegisteredSchema(wire, json.dumps(schema))}, framed(7, stream.getvalue())
    else:
        schemas, value = {"id:7": RegisteredSchema(wire, "{}")}, framed(7, json.dumps(sent).encode())
    least = patch({"delay": "greatest(CAST(value->>'delay' AS BIGINT), -100)"}, codes=(Reason.RULE_VIOLATED,))
    found = judge(records([value]), [patched(of, least)], schemas=schemas)
    assert found.good["order_placed"].select("order_id", "delay", "at", "place", "_patch").rows() == [
        ("a", -100, datetime(2024, 12, 24, 18, 30, tzinfo=UTC), {"city": "Oslo", "zip": None}, "fix")
    ]


def test_cloud_events_in_both_modes() -> None:
    payload = (field("appinfoA"), field("appinfoB", "integer"))
    number = replace(
        patch({"appinfoB": "CAST(coalesce(value->'data', value)->>'appinfoB' AS BIGINT)"}), event="some_event"
    )
    of = patched(cloud(payload=payload), number)
    data = {"appinfoA": "abc", "appinfoB": "5"}
    values = [text(EVENT | {"data": data}), text(data | {"appinfoA": "xyz"})]
    dataschema = {"ce_dataschema": b"https://example.com/some_event/1.0.0.json"}
    headers = [STRUCTURED, {**HEADERS, **dataschema, "content-type": b"application/json"}]
    found = judge(records(values, headers=headers), [of])
    assert found.rejected["reasons"].to_list() == []
    rows = found.good["some_event"].sort("_offset")
    assert rows.select("appinfoA", "appinfoB", "_patch").rows() == [("abc", 5, "fix"), ("xyz", 5, "fix")]


def rows_of(found: Judged) -> dict[str, tuple[int | None, str | None]]:
    rows = [row for frame in found.good.values() for row in frame.iter_rows(named=True)]
    return {row["order_id"]: (row["delay"], row["_patch"]) for row in rows}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(-200, 200),
            st.integers(-200, 200).map(str),
            st.text(max_size=3),
            st.none(),
            st.lists(st.integers(), max_size=1),
        ),
        max_size=8,
    ),
    st.data(),
)
def test_each_record_by_itself(delays: list[Any], data: st.DataObject) -> None:
    """What becomes of a record does not depend on those beside it, and every good one is what was meant."""
    values = [event(f"o{place}", delay=delay) for place, delay in enumerate(delays)]
    found = rows_of(judged(values, patched(DELAY, NUMBER)))
    cut = data.draw(st.integers(0, len(values)))
    apart = [rows_of(judged(part, patched(DELAY, NUMBER))) for part in (values[:cut], values[cut:])]
    assert found == apart[0] | apart[1]
    expected: dict[str, Any] = {}
    for value in values:
        sent = json.loads(value)
        delay = sent["delay"]
        if delay is None or (isinstance(delay, int) and delay >= -100):
            expected[sent["order_id"]] = (delay, None)
        elif isinstance(delay, str) and _as_number(delay) is not None and (_as_number(delay) or 0) >= -100:
            expected[sent["order_id"]] = (_as_number(delay), "fix")
    assert found == expected


def _as_number(said: str) -> int | None:
    """As DuckDB's cast to an integer has it, asked of DuckDB itself."""
    ((number,),) = one_connection().execute("SELECT TRY_CAST(?::VARCHAR AS BIGINT)", [said]).fetchall()
    return number
