"""Patches as files: what is read of them, what is complained about, and what may become of one that is released."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from analytics_platform.contract.difference import Verdict
from analytics_platform.contract.edition import Edition
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.load import load_catalog, load_domain
from analytics_platform.contract.model import Catalog, Domain
from analytics_platform.contract.proposal import load_proposal
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.release import release
from analytics_platform.contract.schema import silver_schema
from analytics_platform.derive import contracts_digest
from analytics_platform.errors import ContractError
from analytics_platform.judge import judge
from analytics_platform_tests.contract.example import records
from analytics_platform_tests.contract.tree import write_tree

PATCH = """\
description: The till of store 7 sent cents as text.
domain: shop
event: order_placed
major: 1
codes: [wrong_type, rule_violated]
sources: [till-7]
ingestedFrom: 2026-11-01T00:00:00Z
ingestedBefore: 2026-11-24T12:00:00+01:00
where: json_type(value, '$.cents') = 'VARCHAR'
set:
  cents: CAST(value->>'cents' AS BIGINT)
  lines: NULL::STRUCT(sku VARCHAR, weight_kg DOUBLE)[]
"""
FILE = "contracts/shop/order_placed/till.patch.yaml"


def write(root: Path, text: str = PATCH) -> Path:
    folder = root / "contracts"
    if not folder.exists():
        write_tree(root)
    path = root / FILE
    path.write_text(text)
    return path


def test_all_that_a_file_says(tmp_path: Path) -> None:
    write(tmp_path)
    (event,) = load_catalog(tmp_path / "contracts").domains["shop"].events
    (patch,) = event.patches
    assert (patch.name, patch.event, patch.major, patch.withdrawn) == ("till", "order_placed", 1, False)
    assert patch.description == "The till of store 7 sent cents as text."
    assert patch.codes == (Reason.WRONG_TYPE, Reason.RULE_VIOLATED)
    assert patch.sources == ("till-7",)
    assert patch.start == datetime(2026, 11, 1, tzinfo=UTC)
    assert patch.end == datetime(2026, 11, 24, 11, tzinfo=UTC)
    assert patch.where == "json_type(value, '$.cents') = 'VARCHAR'"
    assert list(patch.fields) == ["cents", "lines"]
    assert list(silver_schema([event]))[-1] == "_patch"


def test_a_patch_counts_for_the_digest_of_contracts(tmp_path: Path) -> None:
    path = write(tmp_path)
    (event,) = load_catalog(tmp_path / "contracts").domains["shop"].events
    path.write_text(PATCH + "withdrawn: true\n")
    (other,) = load_catalog(tmp_path / "contracts").domains["shop"].events
    assert (
        len({contracts_digest([event]), contracts_digest([other]), contracts_digest([replace(event, patches=())])}) == 3
    )


def test_a_process_that_follows_by_contracts_sees_a_new_patch(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    edition = Edition(load_domain(contracts / "shop"), contracts)
    assert not edition.is_superseded()
    write(tmp_path)
    assert edition.is_superseded()
    assert not Edition(load_domain(contracts / "shop"), contracts).is_superseded()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("major: 1", "major: 2", "4: major: found 2, allowed is 1: the majors of this event"),
        ("major: 1", "major: one", "4: major: found 'one', allowed is a major version as in 1"),
        ("description: The till of store 7 sent cents as text.\n", "", "1: description: found nothing, allowed is a value: it is required"),
        ("domain: shop", "domain: shops", "2: domain: found 'shops', allowed is shop, the name of its folder"),
        (
            "[wrong_type, rule_violated]",
            "[wrong_tpye]",
            (
                "5: codes[0]: found 'wrong_tpye', allowed are unknown_event_type, unknown_schema_version, version_sunset,"
                " missing_field, wrong_type, rule_violated, row_rule_violated, key_mismatch, upcast_failed, unknown_reference: the codes of"
                " records whose value is an object (did you mean wrong_type?)"
            ),
        ),
        ("[wrong_type, rule_violated]", "malformed_json", "5: codes: found 'malformed_json', allowed are the reason codes of the records to mend"),
        ("[till-7]", "[7]", "6: sources[0]: found 7, allowed is text"),
        ("2026-11-01T00:00:00Z", "2026-11-01", "7: ingestedFrom: found '2026-11-01', allowed is a time as in 2026-12-31T00:00:00Z"),
        ("2026-11-01T", "2026-12-01T", "8: ingestedBefore: found '2026-11-24T12:00:00+01:00', allowed is a time after ingestedFrom"),
        ("set:", "sets:", "10: sets: found an unknown key, allowed are description, domain, event, major, codes, ingestedBefore, set, sources, ingestedFrom, where, withdrawn (did you mean set?)"),
        ("= 'VARCHAR'", "", "9: where: found an expression of type VARCHAR, allowed is one expression of type BOOLEAN over value and kafka_timestamp"),
        ("AS BIGINT", "AS INTEGER", "11: set.cents: found an expression of type INTEGER, allowed is one expression of type BIGINT over value and kafka_timestamp"),
        ("CAST(value->>'cents' AS BIGINT)", "(SELECT 1::BIGINT)", "11: set.cents: found a subquery, allowed is one expression of type BIGINT over value and kafka_timestamp"),
        ("CAST(value->>'cents' AS BIGINT)", "CAST(random() AS BIGINT)", "11: set.cents: found the function random, allowed are functions of the rows alone"),
        ("CAST(value->>'cents' AS BIGINT)", "CAST(#1 AS BIGINT)", "11: set.cents: found a column by its number, allowed is one expression of type BIGINT over value and kafka_timestamp"),
        ("CAST(value->>'cents' AS BIGINT)", "len(COLUMNS('value'))", "11: set.cents: found columns without their names, allowed is one expression of type BIGINT over value and kafka_timestamp"),
        ("cents: CAST(value->>'cents' AS BIGINT)", "idempotency_key: value->>'key'", "11: set.idempotency_key: found the idempotency key: a record enters under its own, allowed are event_type, occurred_at, source, order_id, placed_at, cents, currency, lines: fields of the value"),
        ("cents: CAST(", "cent: CAST(", "11: set.cent: found an unknown field, allowed are event_type, occurred_at, source, order_id, placed_at, cents, currency, lines: the fields of order_placed@1.0.0 (did you mean cents?)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_patch(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in PATCH
    write(tmp_path, PATCH.replace(old, new))
    with pytest.raises(ContractError) as caught:
        load_catalog(tmp_path / "contracts")
    assert f"{FILE}:{expected}" in str(caught.value).splitlines()


@pytest.mark.parametrize("sql", ["rowid", "unnest([1, 2]::BIGINT[])", "CAST(candidate.value->>'cents' AS BIGINT)"])
def test_what_would_run_over_a_table_but_not_over_records(tmp_path: Path, sql: str) -> None:
    write(tmp_path, PATCH.replace("CAST(value->>'cents' AS BIGINT)", sql))
    with pytest.raises(ContractError, match=r"set\.cents: found SQL that DuckDB refuses"):
        load_catalog(tmp_path / "contracts")


@pytest.mark.parametrize(
    ("sql", "function"),
    [
        ("datediff('day', ago(INTERVAL 1 DAY), kafka_timestamp)", "ago"),
        ("datepart('day', age(kafka_timestamp))", "age of one argument"),
        ("datepart('hour', current_localtime())", "current_localtime"),
        ("epoch_us(current_localtimestamp())", "current_localtimestamp"),
    ],
)
def test_clocks_that_do_not_look_like_one(tmp_path: Path, sql: str, function: str) -> None:
    write(tmp_path, PATCH.replace("CAST(value->>'cents' AS BIGINT)", sql))
    with pytest.raises(ContractError, match=f"set.cents: found the function {function}, allowed are functions of the"):
        load_catalog(tmp_path / "contracts")


def test_a_file_that_is_no_name(tmp_path: Path) -> None:
    write(tmp_path).rename(tmp_path / "contracts/shop/order_placed/Till 7.patch.yaml")
    with pytest.raises(ContractError, match="a file or folder that is not read, allowed are names of a-z, 0-9 and _"):
        load_catalog(tmp_path / "contracts")


def test_a_patch_without_a_contract(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "contracts/shop/order_placed/1.0.0.odcs.yaml").unlink()
    with pytest.raises(
        ContractError, match="order_placed: found a file or folder that is not read, allowed is at least"
    ):
        load_catalog(tmp_path / "contracts")


DROPPED = "customProperties: [{property: treatment, vendor: analytics_platform, value: drop}]"
CARD = f"      - {{name: card, logicalType: string, classification: restricted, {DROPPED}}}\n"


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("value->>'currency'", None),
        ("value->>'$.currency'", None),
        ("value->>'card'", "an expression over card, which is classified or treated"),
        ("upper(value->>'/card')", "an expression over card, which is classified or treated"),
        ("json_extract_string(value, '$.card')", "an expression over card, which is classified or treated"),
        ("value", "an expression that may read the whole value"),
        ("value.upper()", "an expression that may read the whole value"),
        ("value->>''", "an expression that may read the whole value"),
        ("list_first(value->>'*')", "an expression that may read the whole value"),
        ("value->>'x\"/card'", "an expression that may read the whole value"),
        ("COLUMNS('value')->>'card'", "columns without their names"),
        ("CAST(#1 AS VARCHAR)", "a column by its number"),
        ("(value->>'$.*')[1]", "an expression that may read the whole value"),
        ("value->>'$'", "an expression that may read the whole value"),
        ("value->>concat('ca', 'rd')", "an expression that may read the whole value"),
        ('json_transform(value, \'{"card": "VARCHAR"}\').card', "an expression that may read the whole value"),
    ],
)
def test_no_classified_value_comes_into_an_open_field(tmp_path: Path, sql: str, found: str | None) -> None:
    write_tree(tmp_path)
    contract = tmp_path / "contracts/shop/order_placed/1.0.0.odcs.yaml"
    contract.write_text(contract.read_text().replace("      - name: cents\n", f"{CARD}      - name: cents\n"))
    start = PATCH.index("  cents: CAST")
    write(tmp_path, PATCH[:start] + f"  currency: >-\n    {sql}\n")
    if found is None:
        load_catalog(tmp_path / "contracts")
        return
    with pytest.raises(ContractError, match=f"set.currency: found {found}"):
        load_catalog(tmp_path / "contracts")


def catalog(root: Path, text: str | None) -> Catalog:
    path = write(root, text or PATCH)
    if text is None:
        path.unlink()
    return load_catalog(root / "contracts")


@pytest.mark.parametrize(
    ("old", "new", "change", "verdict"),
    [
        (None, PATCH, "added", Verdict.COMPATIBLE),
        (PATCH, None, "removed", Verdict.BREAKING),
        (PATCH, PATCH.replace("till-7", "till-8"), "changed", Verdict.BREAKING),
        (PATCH, PATCH.replace("2026-11-24", "2026-12-24"), "changed", Verdict.BREAKING),
        (PATCH, PATCH.replace("store 7", "store seven"), "its words", Verdict.COSMETIC),
        (PATCH, PATCH + "withdrawn: true\n", "withdrawn: false -> true", Verdict.COMPATIBLE),
        (PATCH + "withdrawn: true\n", PATCH, "withdrawn: true -> false", Verdict.COMPATIBLE),
        (PATCH + "withdrawn: true\n", None, "removed", Verdict.COMPATIBLE),
    ],
)
def test_what_may_become_of_a_released_patch(
    tmp_path: Path, old: str | None, new: str | None, change: str, verdict: Verdict
) -> None:
    before, after = catalog(tmp_path, old), catalog(tmp_path, new)
    (finding,) = release(before, after, date(2026, 11, 24))
    assert (finding.table, finding.path.name) == ("silver.order_placed", "till.patch.yaml")
    assert (finding.difference.path, finding.difference.change) == ("patch till", change)
    assert finding.difference.verdict is verdict
    assert finding.allowed is (verdict is not Verdict.BREAKING)


def test_a_patch_goes_with_the_last_version_of_its_major(tmp_path: Path) -> None:
    """It could not stay: a patch of a major that is not there is refused."""
    before = catalog(tmp_path, PATCH)
    shop = before.domains["shop"]
    (event,) = shop.events
    second = replace(event, header=replace(event.header, version="2.0.0"), patches=())
    after = replace(before, domains={"shop": replace(shop, events=(second,))})
    (finding,) = [one for one in release(before, after, date(2026, 11, 24)) if one.difference.path == "patch till"]
    assert finding.difference.change == "removed"
    assert finding.difference.reason == "No version 1 is left that it is for."
    assert finding.allowed


def test_a_patch_that_did_not_change(tmp_path: Path) -> None:
    assert release(catalog(tmp_path, PATCH), catalog(tmp_path, PATCH), date(2026, 11, 24)) == ()


def test_a_draft_of_a_patch(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    draft = tmp_path / "till.patch.yaml"
    draft.write_text(PATCH)
    proposed: tuple[Domain, ...] = load_proposal(draft, contracts)
    assert [patch.name for event in proposed[0].events for patch in event.patches] == ["till"]
    draft.write_text(PATCH.replace("major: 1", "major: 3"))
    with pytest.raises(ContractError, match=r"till\.patch\.yaml:4: major: found 3"):
        load_proposal(draft, contracts)


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs/quarantine.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "text_delay.patch.yaml").write_text(text)
    (flights,) = load_proposal(tmp_path / "text_delay.patch.yaml", root / "contracts")
    versions = flights.versions_of("flight_departed")
    event = {field.name: None for field in versions[0].fields} | {
        "event_type": "flight_departed",
        "schema_version": "1.0.0",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "occurred_at": "2013-01-01T10:29:00Z",
        "source": "newark-gates",
        "carrier": "UA",
        "flight_number": 1545,
        "tail_number": "N14228",
        "origin": "EWR",
        "destination": "IAH",
        "scheduled_departure": "2013-01-01T10:15:00Z",
        "departure_delay_minutes": 14,
        "distance_miles": 1400,
    }
    event["idempotency_key"] = idempotency_key(versions[0], event)
    values = [json.dumps(event | {"departure_delay_minutes": said}).encode() for said in ("14,0", 14, "late")]
    found = judge(records(values, topic=versions[0].topic), flights.events_of(versions[0].topic))
    rows = found.good["flight_departed"].sort("_offset")
    assert rows.select("departure_delay_minutes", "_patch").rows() == [(14, "text_delay"), (14, None)]
    assert found.rejected.select("offset", "codes").rows() == [(2, ["wrong_type"])]
