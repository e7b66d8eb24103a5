from pathlib import Path

import pytest

from analytics_platform.cli import run
from analytics_platform_tests.contract.tree import ORDER_FILE, change, write_tree
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANALYTICS_LAKE", str(tmp_path / "lake"))
    monkeypatch.chdir(tmp_path)


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["contracts", "docs", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_pages_without_a_lake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path)
    assert called(capsys) == (0, "build/contracts/index.html: 4 pages\n", "")
    assert Path("build/contracts/index.html").read_text().count("not measured") == 4
    assert Path("build/contracts/style.css").exists()
    assert not (tmp_path / "lake").exists()


def test_pages_with_a_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: [order(), b"{"]}, VISITS: {0: []}})
    of.take_all()
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(of.domain.events[0].header.path.parents[2]))
    assert called(capsys, "--output", "site") == (0, "site/index.html: 7 pages\n", "")
    text = Path("site/index.html").read_text()
    assert "not measured" not in text
    assert "1 record in quarantine is of no contracted type" in text


def test_contracts_that_are_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path)
    change(tmp_path, ORDER_FILE, "status: active", "status: live")
    code, out, err = called(capsys)
    assert (code, out) == (2, "")
    assert err.startswith("contracts/shop/order_placed/1.0.0.odcs.yaml:6: status: found 'live'")
    assert not Path("build").exists()


def test_a_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path)
    Path("file").write_text("")
    code, _, err = called(capsys, "--output", "file")
    assert code == 1
    assert err.startswith("file: the pages cannot be written there: ")
