import json
from pathlib import Path

import pytest

from analytics_platform.cli import run
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Three orders in bronze, under the contracts in force."""
    values = [order(cents=60, source="\x1b[2Jweb"), order(order_id="o-2", cents=1), order(cents=200_000, source="app")]
    found = Shop(tmp_path / "lake", {ORDERS: {0: values}, VISITS: {0: []}})
    found.pour(ORDERS, [OffsetRange(0, 0, 3)])
    monkeypatch.setenv("ANALYTICS_LAKE", str(found.root))
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(found.domain.events[0].header.path.parents[2]))
    monkeypatch.chdir(tmp_path)
    return found


def draft(of: Shop, old: str, new: str) -> None:
    (path,) = [item.header.path for item in of.domain.events if item.name == "order_placed"]
    text = path.read_text()
    assert old in text
    Path("draft.yaml").write_text(text.replace(old, new))


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["contracts", "impact", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_rows_that_would_fail(of: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    draft(of, "maximum: 100000", "maximum: 50")
    code, out, err = called(capsys, "draft.yaml")
    assert (code, err) == (1, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    shape = lines.pop(16)
    assert '"cents":"integer"' in shape
    assert lines.pop() == shape
    assert lines == [
        "3 records of shop.orders: 1 the same, 1 newly failing, 0 newly passing, 1 otherwise changed",
        "",
        "code reason newly failing newly passing changed",
        "rule_violated cents: above the maximum of 100000 1",
        "rule_violated cents: above the maximum of 50 1 1",
        "",
        "source newly failing newly passing changed",
        "\\x1b[2Jweb 1",
        "app 1",
        "",
        "event type newly failing newly passing changed",
        "order_placed 1 1",
        "",
        "newly failing: shop.orders[0] offset 0, order_placed from \\x1b[2Jweb",
        "now: valid",
        "then: rule_violated: cents: above the maximum of 50",
        "",
        "changed: shop.orders[0] offset 2, order_placed from app",
        "now: rule_violated: cents: above the maximum of 100000",
        "then: rule_violated: cents: above the maximum of 50",
    ]


def test_rows_that_would_pass_as_json(of: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    draft(of, "maximum: 100000", "maximum: 300000")
    code, out, err = called(capsys, "draft.yaml", "--hours", "2026-11-23T10", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    changes = {"newly_failing": 0, "newly_passing": 1, "changed": 0}
    (sample,) = found.pop("samples")
    assert (sample["kind"], sample["offset"], sample["after"]) == ("newly_passing", 2, [])
    assert found == {
        "topics": ["shop.orders"],
        "records": 3,
        "same": 2,
        "changes": changes,
        "by_rule": [{"code": "rule_violated", "reason": "cents: above the maximum of 100000", "changes": changes}],
        "by_source": [{"source": "app", "changes": changes}],
        "by_event_type": [{"event_type": "order_placed", "changes": changes}],
        "breaks": False,
    }


def test_other_hours(of: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    draft(of, "maximum: 100000", "maximum: 50")
    code, out, _ = called(capsys, "draft.yaml", "--hours", "2026-11-23T11")
    assert (code, out.split(":")[0]) == (0, "0 records of shop.orders")


def test_contracts_that_say_the_same(of: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    draft(of, "name: order_placed", "name: order_placed")
    code, out, _ = called(capsys, "draft.yaml")
    assert code == 0
    assert out == (
        "0 records of no topic: 0 the same, 0 newly failing, 0 newly passing, 0 otherwise changed\n"
        "the contracts of every topic are the same, to the byte\n"
    )


@pytest.mark.usefixtures("of")
def test_what_is_wrong_ends_with_2(of: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    draft(of, "maximum: 100000", "maxmum: 50")
    code, out, err = called(capsys, "draft.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("draft.yaml:")
    assert called(capsys, "nowhere.yaml")[0] == 2
    assert called(capsys, "draft.yaml", "--hours", "today")[0] == 2
