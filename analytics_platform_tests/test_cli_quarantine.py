"""The quarantine by hand: what the commands print, and what they do to the tables."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analytics_platform import breaker, derive
from analytics_platform.cli import run
from analytics_platform.fingerprint import identifier
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order, view

STRICT, LAX = shop.domain(most_cents=1_000), shop.domain()
HIDDEN = "jane@example.org"
TOO_MUCH = identifier("order_placed@1.0.0", ORDERS, "rule_violated", "cents: above the maximum of 1000", "web")
NO_JSON = identifier(None, ORDERS, "malformed_json", None, None)


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A lake in which two orders cost too much, one record is no JSON and one page view has no version."""
    for name in list(os.environ):
        if name.startswith("ANALYTICS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USER", "ana")
    monkeypatch.setenv("LOGNAME", "ana")
    orders = [
        order(order_id="a", cents=5_000, source="web", product=HIDDEN, **{HIDDEN: 1}),
        order(order_id="b", cents=7_000, source="web"),
        b"\x1b[2J{",
        order(order_id="c", cents=10),
    ]
    found = Shop(tmp_path / "lake", {ORDERS: {0: orders}, VISITS: {0: [view(schema_version=...)]}}, STRICT)
    found.take_all()
    return found


def folder(of: shop.Domain) -> str:
    return str(of.events[0].header.path.parents[2])


@pytest.fixture
def called(capsysbinary: pytest.CaptureFixture[bytes]) -> Any:
    def call(*arguments: str, contracts: shop.Domain = LAX) -> tuple[int, str, str]:
        code = run(["--contracts", folder(contracts), *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


def lines(text: str) -> Sequence[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.usefixtures("of")
def test_list_shows_each_finding_once(called: Any) -> None:
    code, out, _ = called("quarantine", "list")
    assert code == 0
    at = ["2026-11-23", "10:00:01Z"] * 2
    header, *rows = lines(out)
    assert " ".join(header) == "fingerprint new replayed discarded contract rule source first seen last seen"
    what = f"{TOO_MUCH} 2 0 0 order_placed@1.0.0 rule_violated: cents: above the maximum of 1000 web"
    assert " ".join(rows[0]) == " ".join([what, *at])
    assert [NO_JSON, "1", "0", "0", ORDERS, "malformed_json", *at] in rows
    assert len(rows) == 3
    code, out, _ = called("quarantine", "list", "--json", "--code", "malformed_json")
    assert json.loads(out) == [
        {
            "domain": "shop",
            "fingerprint": NO_JSON,
            "contract": None,
            "topic": ORDERS,
            "code": "malformed_json",
            "rule": None,
            "source": None,
            "rows": 1,
            "new": 1,
            "replayed": 0,
            "discarded": 0,
            "first_seen": "2026-11-23T10:00:01Z",
            "last_seen": "2026-11-23T10:00:01Z",
        }
    ]


@pytest.mark.usefixtures("of")
def test_show_hides_values(called: Any) -> None:
    code, out, _ = called("quarantine", "show", TOO_MUCH)
    assert code == 0
    assert HIDDEN not in out
    assert "5000" not in out
    first = out.splitlines()[4:]
    assert first == [
        f"{ORDERS}/0/0  new  2026-11-23 10:00:01Z",
        "  from       web, as order_placed 1.0.0; held against order_placed@1.0.0",
        f"  {TOO_MUCH}  rule_violated: cents: above the maximum of 1000",
        (
            '  looks like {"product":"string","cents":"integer","event_type":"string","schema_version":"string",'
            '"trace_id":"string","occurred_at":"string","order_id":"string","placed_at":"string","source":"string",'
            '"idempotency_key":"string","…":"1 unknown"}'
        ),
    ]
    _, out, _ = called("quarantine", "show", f"{ORDERS}/0/0..3", "--json", "--rows", "2")
    first, second = json.loads(out)
    assert (first["offset"], first["outline"]) == (2, "5 bytes that are not JSON")
    assert second["offset"] == 1
    assert not {"key", "value", "headers"} & set(json.loads(out)[0])


@pytest.mark.usefixtures("of")
def test_show_bytes_on_demand_and_without_steering_the_terminal(called: Any) -> None:
    _, out, _ = called("quarantine", "show", f"{ORDERS}/0/2", "--bytes")
    assert out.splitlines()[-2:] == ["  key        null", "  value      \\x1b[2J{"]
    _, out, _ = called("quarantine", "show", f"{ORDERS}/0/2", "--bytes", "--json")
    assert json.loads(out)[0]["value"] == "G1sySns="
    assert called("quarantine", "show", f"{ORDERS}/0/9")[:2] == (0, "no row of a quarantine is meant\n")


def test_replay_and_replay_again(called: Any, of: Shop) -> None:
    code, out, _ = called("quarantine", "replay", TOO_MUCH)
    assert (code, out) == (
        0,
        "shop: 2 rows judged again: 2 replayed (2 into silver.order_placed); still bad: none\n",
    )
    rows = of.quarantine().filter(status="replayed").sort("offset")
    assert rows.select("offset", "changed_by").rows() == [(0, "cli:ana"), (1, "cli:ana")]
    assert sorted(of.silver("order_placed")["_offset"]) == [0, 1, 3]
    _, out, _ = called("sql", "select sum(cents) as cents from gold.sales_daily", "--format", "csv")
    assert out == "cents\n12010\n"
    versions = of.versions()
    code, out, _ = called("quarantine", "replay", "--all", "--json")
    found = json.loads(out)
    assert (found["selected"], found["replayed"], found["entered"]) == (4, 0, {})
    assert found["waiting"] == {"malformed_json": 1, "missing_field": 1}
    assert of.versions() == versions


CHEAPER = """\
description: Prices were sent tenfold.
domain: shop
event: order_placed
major: 1
codes: [rule_violated]
sources: [web]
ingestedBefore: 2026-11-24T00:00:00Z
set: {cents: CAST(value->>'cents' AS BIGINT) // 10}
"""
PATCHED = shop.domain(most_cents=1_000, patch=CHEAPER)


def test_replay_with_a_patch(called: Any, of: Shop) -> None:
    code, out, _ = called("quarantine", "replay", "--patch", "order_placed/fix", contracts=PATCHED)
    said = "2 replayed (2 into silver.order_placed, 2 by the patch order_placed/fix); still bad: none"
    assert (code, out) == (0, f"shop: 2 rows judged again: {said}\n")
    _, out, _ = called("sql", "from silver.order_placed select cents, _patch order by all", "--format", "csv")
    assert out == "cents,_patch\n10,\n500,fix\n700,fix\n"
    versions = of.versions()
    called("quarantine", "replay", "--patch", "order_placed/fix", contracts=PATCHED)
    assert of.versions() == versions


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["order_placed/fx"], "there is no patch 'order_placed/fx' in force (did you mean order_placed/fix?)"),
        (["order_placed/fix", "--code", "wrong_type"], "--patch says which rows; give no other condition beside it"),
    ],
)
@pytest.mark.usefixtures("of")
def test_a_patch_that_is_not_meant(called: Any, given: list[str], said: str) -> None:
    code, _, err = called("quarantine", "replay", "--patch", *given, contracts=PATCHED)
    assert code == 2
    assert said in " ".join(err.split())


@pytest.mark.usefixtures("of")
def test_a_patch_that_is_withdrawn(called: Any) -> None:
    contracts = shop.domain(most_cents=1_000, patch=f"{CHEAPER}withdrawn: true\n")
    code, _, err = called("quarantine", "replay", "--patch", "order_placed/fix", contracts=contracts)
    assert code == 2
    assert "the patch 'order_placed/fix' is withdrawn" in " ".join(err.split())


def test_discard_keeps_the_reason_and_who(called: Any, of: Shop) -> None:
    code, out, _ = called("quarantine", "discard", f"{ORDERS}/0/0", "--reason", " a load test ", "--by", "duty")
    assert (code, out) == (0, "shop: 1 row discarded\n")
    row = of.quarantine().filter(
        pl_offset_is_0 := (of.quarantine()["offset"] == 0) & (of.quarantine()["topic"] == ORDERS)
    )
    assert pl_offset_is_0.sum() == 1
    assert row.select("status", "changed_by", "discarded_for").rows() == [("discarded", "duty", "a load test")]
    _, out, _ = called("quarantine", "show", f"{ORDERS}/0/0")
    assert "  changed    by duty at " in out
    assert out.split("  changed    by duty at ")[1].splitlines()[0].endswith(": a load test")
    called("quarantine", "replay", "--all")
    assert sorted(of.silver("order_placed")["_offset"]) == [1, 3]
    called("quarantine", "replay", f"{ORDERS}/0/0", "--discarded")
    assert sorted(of.silver("order_placed")["_offset"]) == [0, 1, 3]


def test_resume(called: Any, of: Shop) -> None:
    halts = shop.domain(most_cents=1_000, breaker="{maxBadRatio: 0.5, onExceed: halt, minRows: 2}")
    assert breaker.trip(of.lake, halts, "order_placed", of.now) is not None
    of.values[ORDERS][0].append(order(order_id="d", cents=20))  # type: ignore[attr-defined]
    derive.take_in(of.lake, halts, of.pour(ORDERS, [OffsetRange(0, 4, 5)]), now=of.now, halted=["order_placed"])
    assert sorted(of.silver("order_placed")["_offset"]) == [3]

    said = called("quarantine", "resume", "order_placed", contracts=halts)

    assert said == (0, "order_placed: resumed, and what had waited is taken in\n", "")
    assert sorted(of.silver("order_placed")["_offset"]) == [3, 4]
    assert of.gold("sales_daily")["cents"].to_list() == [30]
    assert called("quarantine", "resume", "order_placed", contracts=halts)[1] == "order_placed: is not halted\n"


@pytest.mark.usefixtures("of")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "say which rows"),
        (["discard", "--reason", "x"], "say which rows"),
        (["discard", "--all", "--reason", " "], "--reason is empty"),
        (["show", "orders/1"], "wanted a fingerprint of 12 digits"),
        (["list", "--code", "malformed"], "did you mean malformed_json?"),
        (["list", "--status", "old"], "there is no 'old'"),
        (["resume", "order_place"], "did you mean order_placed?"),
        (["list", "--hours", "now"], "found --hours 'now'"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, called: Any) -> None:
    code, out, err = called("quarantine", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_an_empty_lake(called: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake").mkdir()
    assert called("quarantine", "list")[:2] == (0, "no row of a quarantine is meant\n")
    assert json.loads(called("quarantine", "show", "--json")[1]) == []
