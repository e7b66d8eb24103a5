import dataclasses
import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.config import config_context
from polars.testing import assert_frame_equal

from analytics_platform import duck
from analytics_platform.contract.check import Checked, check, violations
from analytics_platform.contract.decode import decode
from analytics_platform.contract.model import EventContract, RowRule, Rules
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.errors import ContractError
from analytics_platform_tests.contract.example import ORDER, contract, field, one_connection, order, records, text


def rows_of(of: EventContract, *events: dict[str, Any]) -> pl.DataFrame:
    decoded = decode(records([text(event) for event in events]), [of], connection=one_connection())
    assert decoded.rejected.is_empty()
    return decoded.rows[of.name]


def with_rules(*rules: tuple[str, str]) -> EventContract:
    return dataclasses.replace(ORDER, row_rules=tuple(RowRule(name, sql, f"The rule {name}.") for name, sql in rules))


def findings(checked: Checked) -> list[tuple[int, list[str], list[str]]]:
    return checked.rejected.select("offset", "codes", "reasons").rows()


def test_all_good():
    rows = rows_of(ORDER, order(), order(order_id="X"))
    checked = check(rows, ORDER)
    assert_frame_equal(checked.good, rows)
    assert_frame_equal(checked.rejected, pl.DataFrame(schema=REJECT_SCHEMA))


def test_no_rows():
    rows = decode(records([]), [ORDER]).rows["order_placed"]
    checked = check(rows, ORDER)
    assert_frame_equal(checked.good, rows)
    assert_frame_equal(checked.rejected, pl.DataFrame(schema=REJECT_SCHEMA))


def test_good_rows_keep_their_order_and_bad_ones_all_their_reasons():
    rows = rows_of(
        ORDER,
        order(),
        order(order_id="zX", currency="CHF", total_cents=-1, source="shop"),
        order(order_id="O-002"),
        order(note="abcdef"),
        order(order_id="O-003"),
    )
    checked = check(rows, ORDER)
    assert_frame_equal(checked.good, rows[[0, 2, 4]])
    expected = [
        {
            "topic_id": "id-1",
            "partition": 0,
            "offset": 1,
            "event_type": "order_placed",
            "schema_version": "1.0.0",
            "source": "shop",
            "codes": ["rule_violated"] * 3,
            "reasons": [
                "order_id: does not match the pattern O-[0-9]{3}|X",
                "currency: not one of EUR, USD",
                "total_cents: below the minimum of 0",
            ],
            "contract": "order_placed@1.0.0",
        },
        {
            "topic_id": "id-1",
            "partition": 0,
            "offset": 3,
            "event_type": "order_placed",
            "schema_version": "1.0.0",
            "source": None,
            "codes": ["rule_violated"],
            "reasons": ["note: longer than 5 characters"],
            "contract": "order_placed@1.0.0",
        },
    ]
    assert_frame_equal(checked.rejected, pl.DataFrame(expected, schema=REJECT_SCHEMA))


RULES = [
    ("string", Rules(pattern="a|b"), ["a", "b", None], ["zb", "ab", "", "b\n"], "does not match the pattern a|b"),
    ("string", Rules(min_length=2), ["äö", "abc"], ["", "a"], "shorter than 2 characters"),
    ("string", Rules(max_length=2), ["", "äö", "😀😀"], ["abc"], "longer than 2 characters"),
    ("string", Rules(enum=("a", "b")), ["a", None], ["A", "", "c"], "not one of a, b"),
    ("integer", Rules(enum=("1", "2")), [1, None], [3], "not one of 1, 2"),
    ("integer", Rules(minimum=-60), [-60, 0, None], [-61], "below the minimum of -60"),
    ("integer", Rules(maximum=2**53), [2**53], [2**53 + 1], "above the maximum of 9007199254740992"),
    ("integer", Rules(exclusive_minimum=0), [1], [0], "not above 0"),
    ("integer", Rules(exclusive_maximum=0), [-1], [0], "not below 0"),
    ("integer", Rules(multiple_of=5), [0, 5, -10], [1, 2**53 + 1], "not a multiple of 5"),
    ("number", Rules(minimum=0.5), [0.5, 1], [0.4999, -1e308], "below the minimum of 0.5"),
    ("number", Rules(exclusive_maximum=1), [0.99], [1.0], "not below 1"),
    ("number", Rules(multiple_of=0.1), [0.3, 0.7, 1e6, 12345678.9], [0.25, 0.3001], "not a multiple of 0.1"),
    ("array", Rules(min_items=1), [["a"], [None], None], [[]], "fewer than 1 items"),
    ("array", Rules(max_items=1), [["a"], [], None], [["a", "b"]], "more than 1 items"),
]


@pytest.mark.parametrize(("kind", "rules", "good", "bad", "sentence"), RULES)
def test_each_rule(kind: str, rules: Rules, good: list[Any], bad: list[Any], sentence: str):
    item = field("item", required=False) if kind == "array" else None
    of = contract(payload=(field("order_id"), field("x", kind, required=False, rules=rules, item=item)))
    checked = check(rows_of(of, *(order(of, x=value) for value in good + bad)), of)
    assert checked.good["_offset"].to_list() == list(range(len(good)))
    assert findings(checked) == [
        (len(good) + place, ["rule_violated"], [f"x: {sentence}"]) for place in range(len(bad))
    ]


def test_rules_inside_objects_and_arrays():
    line = {"sku": "a", "quantity": 1}
    rows = rows_of(
        ORDER,
        order(items=[line, line]),
        order(items=[line, line | {"quantity": 0}]),
        order(items=[line] * 4),
        order(items=[]),
        order(items=None),
    )
    assert findings(check(rows, ORDER)) == [
        (1, ["rule_violated"], ["items[].quantity: below the minimum of 1"]),
        (2, ["rule_violated"], ["items: more than 3 items"]),
        (3, ["rule_violated"], ["items: fewer than 1 items"]),
    ]


def test_rules_deep_inside():
    deep = field("deep", "array", required=False, item=field("n", "integer", rules=Rules(maximum=9)))
    of = contract(
        payload=(
            field("order_id"),
            field(
                "box",
                "object",
                required=False,
                fields=(
                    field("name", required=False, rules=Rules(pattern="[a-z]+")),
                    field("rows", "array", required=False, item=field("row", "object", required=False, fields=(deep,))),
                ),
            ),
        )
    )
    rows = rows_of(
        of,
        order(of),
        order(of, box={"name": "a", "rows": [None, {}, {"deep": []}, {"deep": [1, 9]}]}),
        order(of, box={"name": "A", "rows": [{"deep": [1]}, {"deep": [9, 10]}]}),
    )
    assert findings(check(rows, of)) == [
        (
            2,
            ["rule_violated", "rule_violated"],
            ["box.name: does not match the pattern [a-z]+", "box.rows[].deep[]: above the maximum of 9"],
        )
    ]


def test_a_required_column_that_is_null():
    rows = rows_of(ORDER, order(), order()).with_columns(
        trace_id=pl.when(pl.col("_offset") == 1).then(None).otherwise("trace_id")
    )
    assert findings(check(rows, ORDER)) == [(1, ["missing_field"], ["trace_id: missing"])]


class TestRowRules:
    def test_false_is_refused_and_null_passes(self):
        of = with_rules(("gift_is_free", "gift IS NOT TRUE OR total_cents = 0"), ("light", "weight < 10"))
        rows = rows_of(of, order(), order(gift=True), order(gift=True, weight=11), order(total_cents=0, gift=True))
        assert findings(check(rows, of)) == [
            (1, ["row_rule_violated"], ["row rule gift_is_free: The rule gift_is_free."]),
            (
                2,
                ["row_rule_violated", "row_rule_violated"],
                ["row rule gift_is_free: The rule gift_is_free.", "row rule light: The rule light."],
            ),
        ]

    def test_after_the_rules_of_fields(self):
        of = with_rules(("never", "false"))
        checked = check(rows_of(of, order(currency="CHF")), of)
        assert checked.rejected["codes"].to_list() == [["rule_violated", "row_rule_violated"]]
        assert checked.good.is_empty()

    def test_an_expression_that_fails_for_one_row(self):
        of = with_rules(("number_in_note", "CAST(note AS INTEGER) > 5"))
        rows = rows_of(of, order(note="7"), order(note="x"), order(note="3"), order(order_id="O-009", note="99999"))
        assert [offset for offset, _, _ in findings(check(rows, of))] == [2]

    def test_an_expression_whose_failure_is_not_caught(self):
        """DuckDB's TRY lets through what `list_reduce` says of an empty list."""
        left = "list_reduce(list_filter(string_split(note, ''), lambda one: one <> 'x'), lambda a, b: a || b)"
        of = with_rules(("ab", f"{left} < 'b'"), ("light", "weight < 10 -- or null"))
        rows = rows_of(of, order(note="xa"), order(note="x"), order(note="b"), order(note="xx", weight=11))
        assert [(offset, reasons) for offset, _, reasons in findings(check(rows, of))] == [
            (2, ["row rule ab: The rule ab."]),
            (3, ["row rule light: The rule light."]),
        ]

    def test_nested_values_and_times(self):
        of = with_rules(("sent_after", "ship.sent_at >= occurred_at"), ("few", "len(items) < 2"))
        rows = rows_of(
            of,
            order(ship={"city": "a", "sent_at": "2013-01-01T10:17:00Z"}),
            order(ship={"city": "a", "sent_at": "2013-01-01T10:16:59.999999Z"}),
            order(items=[{"sku": "a", "quantity": 1}] * 2),
        )
        assert [(offset, reasons) for offset, _, reasons in findings(check(rows, of))] == [
            (1, ["row rule sent_after: The rule sent_after."]),
            (2, ["row rule few: The rule few."]),
        ]

    @pytest.mark.parametrize("sql", ["no_such_column > 1", "total_cents >", "note > 1 AND"])
    def test_an_expression_that_is_none(self, sql: str):
        of = with_rules(("broken", sql))
        rows = rows_of(of, order())
        with pytest.raises(ContractError, match="its row rules cannot be computed"):
            check(rows, of)

    def test_an_expression_that_breaks_out_and_reads_files(self, tmp_path):
        (tmp_path / "private.txt").write_text("private")
        of = with_rules(
            ("curious", f"true)) IS FALSE UNION ALL SELECT 0, 0 FROM read_text('{tmp_path}/private.txt') WHERE ((true")
        )
        rows = rows_of(of, order())
        with pytest.raises(ContractError, match="disabled by configuration"):
            check(rows, of)

    def test_on_a_connection_of_the_caller(self):
        of = with_rules(("never", "false"))
        with duck.connect(threads=1) as connection:
            rows = rows_of(of, order())
            assert check(rows, of, connection=connection).good.is_empty()
            assert connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]


class TestFaultsOfTheContract:
    """They stop; no row is blamed for them."""

    def test_another_type_than_the_contract_says(self):
        rows = rows_of(ORDER, order()).with_columns(pl.col("total_cents").cast(pl.Int32))
        with pytest.raises(ContractError, match="total_cents"):
            check(rows, ORDER)

    def test_a_missing_column(self):
        rows = rows_of(ORDER, order()).drop("note")
        with pytest.raises(ContractError, match=r"order_placed@1\.0\.0: note: cannot be checked"):
            check(rows, ORDER)

    def test_a_rule_that_cannot_be_computed(self):
        of = contract(payload=(field("order_id"), field("x", rules=Rules(pattern="(?=look-ahead)"))))
        rows = rows_of(of, order(of, x="a"))
        with pytest.raises(ContractError, match=re.escape("order_placed@1.0.0: x: cannot be checked")):
            check(rows, of)

    def test_rows_of_another_version(self):
        newer = dataclasses.replace(ORDER, header=dataclasses.replace(ORDER.header, version="1.1.0"))
        with pytest.raises(ValueError, match=r"order_placed@1\.0\.0"):
            check(rows_of(ORDER, order()), newer)

    def test_checks_cannot_be_switched_off_from_outside(self):
        with config_context(validation_enabled=False):
            assert findings(check(rows_of(ORDER, order(currency="CHF")), ORDER)) != []


def test_two_contracts_with_one_digest_are_not_confused():
    strict = contract(payload=(field("order_id"), field("n", "integer", rules=Rules(minimum=1))))
    loose = contract(payload=(field("order_id"), field("n", "integer")))
    assert strict.header.digest == loose.header.digest
    rows = rows_of(strict, order(strict, n=0))
    assert check(rows, strict).good.is_empty()
    assert check(rows, loose).rejected.is_empty()
    assert check(rows, strict).good.is_empty()


def test_rows_of_several_versions_in_one_table():
    first = contract(payload=(field("order_id"), field("box", "object", fields=(field("a", "integer"),))))
    wider = (field("a", "integer", rules=Rules(maximum=5)), field("b", required=False))
    second = contract(version="1.1.0", payload=(field("order_id"), field("box", "object", fields=wider)))
    values = [text(order(box={"a": 9})), text(order(box={"a": 9, "b": "x"}, schema_version="1.1.0"))]
    rows = decode(records(values), [first, second]).rows["order_placed"]
    assert check(rows.filter(pl.col("_contract") == first.label), first).rejected.is_empty()
    assert findings(check(rows.filter(pl.col("_contract") == second.label), second)) == [
        (1, ["rule_violated"], ["box.a: above the maximum of 5"])
    ]


EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "currency": st.sampled_from(["EUR", "USD", "usd", ""]),
            "total_cents": st.integers(-2, 2),
            "note": st.none() | st.text(st.characters(codec="utf-8"), max_size=7),
        }
    ),
    max_size=20,
)


@settings(max_examples=15, deadline=None)
@given(EVENTS)
def test_every_row_ends_in_one_place_with_the_reasons_python_finds(events: list[dict[str, Any]]):
    rows = rows_of(ORDER, *(order(**event) for event in events))
    checked = check(rows, ORDER)
    expected = {}
    for place, event in enumerate(events):
        broken = []
        if event["currency"] not in {"EUR", "USD"}:
            broken.append("currency: not one of EUR, USD")
        if event["total_cents"] < 0:
            broken.append("total_cents: below the minimum of 0")
        if event["note"] is not None and len(event["note"]) > 5:
            broken.append("note: longer than 5 characters")
        if broken:
            expected[place] = broken
    assert {offset: reasons for offset, _, reasons in findings(checked)} == expected
    assert checked.good["_offset"].to_list() == [place for place in range(len(events)) if place not in expected]


def test_a_whole_table():
    fields = (field("a", rules=Rules(pattern="[a-z]")), field("n", "integer", required=False, rules=Rules(minimum=0)))
    rows = pl.DataFrame({"a": ["a", None, "A", "B"], "n": [-1, 0, None, -5]})
    assert violations(rows, fields) == [
        "a: does not match the pattern [a-z] (2 of 4 rows)",
        "a: missing (1 of 4 rows)",
        "n: below the minimum of 0 (2 of 4 rows)",
    ]
    assert violations(rows[:0], fields) == []
    with pytest.raises(ContractError, match="table: b: cannot be checked"):
        violations(rows, (*fields, field("b")))
