"""The gate on the command line, with a real repository of git."""

import json
import subprocess
from pathlib import Path

import pytest

from analytics_platform.cli import run
from analytics_platform_tests.contract.test_release import DEPRECATED, ENDED, LATER, TIGHTER, write_version
from analytics_platform_tests.contract.tree import ORDER_FILE, change, write_tree


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Contracts in a repository, committed; the current folder."""
    root = tmp_path / "repository"
    write_tree(root)
    git(root, "init", "--quiet")
    commit(root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(root / "contracts"))
    return root


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "x")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_diff_of_two_files(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = write_version(repository, "1.1.0", LATER, TIGHTER)
    code, out, err = said(capsys, "contracts", "diff", ORDER_FILE, str(new))
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "silver.order_placed 1.0.0 -> 1.1.0",
        "! needs a major  cents: minimum: >= 0 -> >= 5",
        f"{'':17}It takes less than it took. The contract promises BACKWARD_TRANSITIVE, and this is not BACKWARD compatible.",
        "                 Leave the rule as it is, or raise the major version.",
        "  compatible     lines[].colour: added, optional",
        "2 changes, 1 refused",
    ]


@pytest.mark.usefixtures("repository")
def test_diff_of_two_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path / "old")
    assert said(capsys, "contracts", "diff", str(tmp_path / "old/contracts"), "contracts") == (0, "no change\n", "")
    code, _, err = said(capsys, "contracts", "diff", str(tmp_path / "old/contracts"), ORDER_FILE)
    assert code == 2
    assert "a file with a file, or a folder with a folder" in err


def test_diff_of_what_is_no_contract(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "draft.yaml").write_text("kind: Contract\n")
    code, out, err = said(capsys, "contracts", "diff", ORDER_FILE, "draft.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("draft.yaml:1: ")


def test_check_against_a_revision(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "contracts", "check", "--against", "HEAD")
    assert (code, out.splitlines()[0]) == (0, "no change")
    write_version(repository, "1.1.0", LATER)
    code, out, _ = said(capsys, "contracts", "check", "--against", "HEAD")
    assert code == 0
    assert "  compatible     lines[].colour: added, optional" in out
    change(repository, ORDER_FILE, *TIGHTER)
    code, out, _ = said(capsys, "contracts", "check", "--against", "HEAD")
    assert code == 1
    assert "1.0.0 is released, and a released version never changes." in out


def test_check_alone_holds_versions_against_each_other(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_version(repository, "1.1.0", TIGHTER)
    code, out, _ = said(capsys, "contracts", "check")
    assert code == 1
    assert "! needs a major  cents: minimum: >= 0 -> >= 5" in out


def test_the_day_is_an_option(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for edit in (DEPRECATED, ENDED):
        change(repository, ORDER_FILE, *edit)
    write_version(repository, "1.1.0")
    commit(repository)
    (repository / ORDER_FILE).unlink()
    for on, expected in (("2026-11-23", 1), ("2026-11-24", 0)):
        assert said(capsys, "contracts", "check", "--against", "HEAD", "--on", on)[0] == expected


def test_as_json(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_version(repository, "1.1.0", TIGHTER)
    code, out, _ = said(capsys, "contracts", "check", "--against", "HEAD", "--json")
    assert code == 1
    (finding,) = json.loads(out)["findings"]
    assert json.loads(out)["allowed"] is False
    assert finding == {
        "table": "silver.order_placed",
        "old": "1.0.0",
        "new": "1.1.0",
        "file": "contracts/shop/order_placed/1.1.0.odcs.yaml",
        "line": 30,
        "path": "cents",
        "change": "minimum: >= 0 -> >= 5",
        "verdict": "needs a major",
        "allowed": False,
        "backward": False,
        "forward": True,
        "reason": "It takes less than it took. The contract promises BACKWARD_TRANSITIVE, and this is not BACKWARD compatible.",
        "advice": "Leave the rule as it is, or raise the major version.",
    }


def test_as_annotations(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_version(repository, "1.1.0")
    commit(repository)
    (repository / ORDER_FILE).unlink()
    code, out, _ = said(capsys, "contracts", "check", "--against", "HEAD", "--annotations")
    assert code == 1
    said_of_it = (
        "version: removed. Nobody was told: it has no deprecation with a date."
        " Keep the file, and announce its end in it."
    )
    assert out == f"::error file={ORDER_FILE},title=silver.order_placed 1.0.0 -> none%3A breaking::{said_of_it}\n"


def test_contracts_that_were_not_there_then(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "other").mkdir()
    write_tree(repository / "other")
    code, out, err = said(capsys, "contracts", "check", "other/contracts", "--against", "HEAD")
    assert (code, out.splitlines()[0], err) == (0, "no change", "other/contracts: nothing stood there at HEAD\n")


@pytest.mark.usefixtures("repository")
def test_revision_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for revision in ("nowhere", "--output=x"):
        code, out, err = said(capsys, "contracts", "check", f"--against={revision}")
        assert (code, out) == (1, "")
        assert f"contracts at {revision}: " in err
        assert len(err.splitlines()) == 1


def test_contracts_of_then_that_cannot_be_read(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(repository, ORDER_FILE, "status: active", "status: activ")
    commit(repository)
    change(repository, ORDER_FILE, "status: activ", "status: active")
    code, out, err = said(capsys, "contracts", "check", "--against", "HEAD")
    assert (code, out) == (2, "")
    assert err.startswith(f"HEAD:{ORDER_FILE}:6: status: found 'activ'")


def test_files_that_an_archive_leaves_out(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else a released version would count as new."""
    write_version(repository, "1.1.0")
    (repository / "contracts/.gitattributes").write_text("*1.1.0.odcs.yaml export-ignore\n")
    commit(repository)
    code, out, err = said(capsys, "contracts", "check", "--against", "HEAD")
    assert (code, out) == (1, "")
    assert "shop/order_placed/1.1.0.odcs.yaml is no file that git archive gives out" in err
