from pathlib import Path

import pytest

from analytics_platform.cli import run
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order

HOURLY = ("gold.sales_hourly", "hour", "placed")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    found = Shop(tmp_path / "lake", {ORDERS: {0: [order(product="mug\x1b[31m")]}, VISITS: {0: []}})
    found.take_all()
    monkeypatch.setenv("ANALYTICS_LAKE", str(found.root))
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(found.domain.events[0].header.path.parents[2]))
    monkeypatch.chdir(tmp_path)
    return found


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_mart_by_its_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "chart", "sales_hourly", "hour", "placed", "--width", "40", "--height", "6")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "placed"
    assert "2024-07-01 10:00Z" in out
    assert max(map(len, out.splitlines())) <= 40


def test_labels_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "chart", "sales_daily", "product", "cents", "--where", "cents > 0")
    assert code == 0
    assert out.startswith("mug\\x1b[31m ")
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("name", "starts"), [("a.html", b"<!doctype html>"), ("a.png", b"\x89PNG"), ("a.svg", b"<svg")]
)
def test_the_suffix_says_what_is_drawn(capsys: pytest.CaptureFixture[str], name: str, starts: bytes) -> None:
    assert called(capsys, "chart", *HOURLY, "--output", name) == (0, f"{name}: 1 mark\n", "")
    assert Path(name).read_bytes().startswith(starts)


def test_another_suffix(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "chart", *HOURLY, "--output", "a.pdf")
    assert code == 2
    assert "a.pdf ends in none of .html, .png, .svg" in err


def test_a_column_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "chart", "sales_hourly", "hour", "place")
    assert (code, out) == (1, "")
    assert 'Referenced column "place" not found' in err


def test_a_page_for_each_domain(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "dashboard") == (0, "build/dashboard/shop.html\n", "")
    assert "<h1>shop</h1>" in Path("build/dashboard/shop.html").read_text()


def test_a_domain_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "dashboard", "shops")
    assert code == 2
    assert "did you mean shop?" in err
