from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import EventContract, KeyMode, RowRule, Rules, Upcast
from analytics_platform.errors import ContractError
from analytics_platform.judge import Judged, judge
from analytics_platform_tests.contract.example import contract, field, order, records, text
from analytics_platform_tests.contract.test_release import write_version
from analytics_platform_tests.contract.tree import write_tree

NUMBER = field("number", "integer")


def version(number: str, *fields: Any, upcast: Upcast | None = None, rules: tuple[RowRule, ...] = ()) -> EventContract:
    made = contract(version=number, payload=(field("order_id"), *fields), mode=KeyMode.DERIVE, row_rules=rules)
    return replace(made, upcast=upcast)


V1 = version("1.0.0", field("euros", "number"), field("at", "timestamp", required=False))
V2 = version(
    "2.0.0",
    field("cents", "integer", rules=Rules(minimum=0)),
    field("place", "object", required=False, fields=(field("city"), field("zip", required=False))),
    upcast=Upcast(1, {"cents": "CAST(round(euros * 100) AS bigint)", "place": "{'city': order_id, 'zip': NULL}"}),
)
V3 = version("3.0.0", field("dollars", "number"), upcast=Upcast(2, {"dollars": "cents / 50.0"}))


def event(number: str, of: EventContract, **changes: Any) -> bytes:
    return text(order(of, schema_version=of.header.version, order_id=number, currency=..., total_cents=..., **changes))


def judged(values: list[bytes], *contracts: EventContract) -> Judged:
    return judge(records(values), contracts)


def test_an_older_major_in_the_new_shape() -> None:
    found = judged([event("a", V1, euros=1.25, at="2024-01-01T00:00:00Z"), event("b", V2, cents=7)], V1, V2)
    rows = found.good["order_placed"].sort("_offset")
    assert rows.select("order_id", "cents", "place", "euros", "at", "_contract").rows() == [
        ("a", 125, {"city": "a", "zip": None}, 1.25, datetime(2024, 1, 1, tzinfo=UTC), "order_placed@1.0.0"),
        ("b", 7, None, None, None, "order_placed@2.0.0"),
    ]
    assert found.rejected.is_empty()


def test_three_majors_go_through_both() -> None:
    found = judged([event("a", V1, euros=1.5), event("b", V2, cents=100)], V1, V2, V3)
    rows = found.good["order_placed"].sort("_offset")
    assert rows.select("order_id", "euros", "cents", "dollars").rows() == [("a", 1.5, 150, 3.0), ("b", None, 100, 2.0)]


def test_a_row_that_does_not_fit_the_new_contract() -> None:
    found = judged([event("a", V1, euros=-1.0), event("b", V1, euros=2.0)], V1, V2)
    assert found.good["order_placed"]["order_id"].to_list() == ["b"]
    assert found.rejected.select("offset", "codes", "reasons", "contract", "schema_version").rows() == [
        (
            0,
            ["upcast_failed"],
            ["after the up-cast to 2.0.0: cents: below the minimum of 0"],
            "order_placed@1.0.0",
            "1.0.0",
        )
    ]


def test_an_expression_that_fails_for_one_row() -> None:
    found = judged([event("a", V1, euros=1e300), event("b", V1, euros=2.0)], V1, V2)
    assert found.good["order_placed"]["order_id"].to_list() == ["b"]
    ((codes, reasons),) = found.rejected.select("codes", "reasons").rows()
    assert codes == ["upcast_failed"]
    assert reasons == ["after the up-cast to 2.0.0: cents: cannot be computed for this row"]


def test_an_expression_that_fails_leaves_no_gap_in_an_optional_field() -> None:
    newer = version(
        "2.0.0", field("cents", "integer", required=False), upcast=Upcast(1, {"cents": "CAST(euros AS int)"})
    )
    found = judged([event("a", V1, euros=1e300), event("b", V1, euros=2.0)], V1, newer)
    assert found.good["order_placed"].select("order_id", "cents").rows() == [("b", 2)]
    assert found.rejected["reasons"].to_list() == [
        ["after the up-cast to 2.0.0: cents: cannot be computed for this row"]
    ]


def test_expressions_that_share_what_fails_for_one_row() -> None:
    """DuckDB computes what they share once, outside of `TRY`: the other rows went down with the one."""
    made = {
        "cents": "CAST(euros * 100 AS bigint)",
        "twice": "CAST(euros * 100 AS bigint) + CAST(euros * 100 AS bigint)",
    }
    newer = version("2.0.0", field("cents", "integer"), field("twice", "integer"), upcast=Upcast(1, made))
    found = judged([event("a", V1, euros=1e300), event("b", V1, euros=2.0)], V1, newer)
    assert found.good["order_placed"].select("order_id", "cents", "twice").rows() == [("b", 200, 400)]
    assert found.rejected["codes"].to_list() == [["upcast_failed"]]


def test_a_row_rule_that_fails_for_one_row_in_more_than_one_place() -> None:
    rule = RowRule("sane", "n + 1 > 0 AND (n + 1) * (n + 1) < 100", "n is small")
    only = version("1.0.0", field("n", "integer"), rules=(rule,))
    found = judged([event("a", only, n=2**63 - 1), event("b", only, n=50), event("c", only, n=2)], only)
    assert found.good["order_placed"].sort("order_id")["order_id"].to_list() == ["a", "c"]


def test_rules_of_the_new_contract_over_the_row() -> None:
    strict = replace(
        V2, row_rules=(RowRule("even", "cents % 2 = 0", "Cents are even."),), header=replace(V2.header, digest="strict")
    )
    found = judged([event("a", V1, euros=0.01), event("b", V1, euros=0.02)], V1, strict)
    assert found.good["order_placed"]["order_id"].to_list() == ["b"]
    assert found.rejected["codes"].to_list() == [["upcast_failed"]]


def test_a_major_without_up_cast_leaves_rows_as_they_are() -> None:
    found = judged([event("a", V1, euros=1.0)], V1, version("2.0.0", field("note", required=False)))
    assert found.good["order_placed"].select("order_id", "euros").rows() == [("a", 1.0)]


def complaints(root: Path) -> list[str]:
    with pytest.raises(ContractError) as caught:
        load_catalog(root / "contracts")
    return [line.split("2.0.0.odcs.yaml:")[1] for line in str(caught.value).splitlines()]


NEW = ("      - name: cents\n", "      - {name: euros, logicalType: number, required: true}\n      - name: cents\n")


def upcast(value: str) -> tuple[str, str]:
    other = "  - {property: rating, vendor: somebody, value: [1, 2]}"
    return other, f"  - {{property: upcast, vendor: analytics_platform, value: {value}}}"


def test_a_required_field_is_left_empty(tmp_path: Path) -> None:
    write_tree(tmp_path)
    write_version(tmp_path, "2.0.0", NEW)
    assert complaints(tmp_path) == [
        (
            "54: customProperties.upcast.euros: found nothing, allowed is an up-cast of euros, which rows of"
            " order_placed@1.0.0 need not have"
        )
    ]
    write_version(tmp_path, "2.0.0", NEW, upcast("{from: 1, fields: {euros: cents / 100}}"))
    (event,) = [item for item in load_catalog(tmp_path / "contracts").domains["shop"].events if item.major == 2]
    assert event.upcast == Upcast(1, {"euros": "cents / 100"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{from: 2, fields: {euros: cents / 100}}", "value.from: found 2, allowed is 1: the major before this one"),
        ("{from: '1', fields: {euros: cents / 100}}", "value.from: found '1', allowed is a major version as in 1"),
        (
            "{from: 1, fields: {euros: cents}}",
            (
                "value.fields.euros: found an expression of type BIGINT, allowed is one expression of type DOUBLE over the older"
                " version's columns"
            ),
        ),
        (
            "{from: 1, fields: {euros: random()}}",
            "value.fields.euros: found the function random, allowed are functions of the rows alone",
        ),
        (
            "{from: 1, fields: {euros: sum(cents) / 1.0}}",
            "value.fields.euros: found an aggregate, allowed is one expression of type DOUBLE over the older version's columns",
        ),
        (
            "{from: 1, fields: {euros: cents / 100, order_id: currency}}",
            (
                "value.fields.order_id: found an unknown field, allowed are euros, cents, currency, lines: fields that are no"
                " identifiers"
            ),
        ),
    ],
)
def test_up_casts_that_are_refused(tmp_path: Path, value: str, expected: str) -> None:
    write_tree(tmp_path)
    write_version(tmp_path, "2.0.0", NEW, upcast(value))
    assert any(line.split("customProperties[3].", 1)[-1] == expected for line in complaints(tmp_path)), complaints(
        tmp_path
    )


def test_an_up_cast_brings_no_private_value_into_an_open_field(tmp_path: Path) -> None:
    private = (
        "      - {name: currency, logicalType: string,",
        (
            "      - {name: currency, logicalType: string, classification: restricted,"
            " customProperties: [{property: treatment, vendor: analytics_platform, value: drop}],"
        ),
    )
    write_tree(tmp_path)
    path = write_version(tmp_path, "1.1.0", private)
    assert path.exists()
    money = ("      - name: cents\n", "      - {name: money, logicalType: string}\n      - name: cents\n")
    write_version(tmp_path, "2.0.0", private, money, upcast("{from: 1, fields: {money: upper(Currency)}}"))
    assert [line.split("value.")[-1] for line in complaints(tmp_path)] == [
        (
            "fields.money: found an expression over currency, which is classified or treated, allowed is made of open values,"
            " or the field money has a treatment of its own"
        )
    ]
    treated = money[1].replace(
        "string}", "string, customProperties: [{property: treatment, vendor: analytics_platform, value: drop}]}"
    )
    write_version(
        tmp_path, "2.0.0", private, (money[0], treated), upcast("{from: 1, fields: {money: upper(Currency)}}")
    )
    load_catalog(tmp_path / "contracts")
