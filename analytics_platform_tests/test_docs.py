"""The pages are true: links lead somewhere, commands exist, and sentences that point at a page point at a heading."""

import os
import re
import shlex
from pathlib import Path

import pytest
import typer

from analytics_platform.cli import app
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *ROOT.glob("contracts/**/*.md"),
]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
ANCHOR = re.compile(r"docs/([a-z-]+\.md)(?:#([a-z0-9-]+))?")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as code hosts make them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in found}


def commands(page: Path) -> list[str]:
    """The lines of a page's code blocks that call the command."""
    lines = [
        line.strip().removeprefix("$ ") for block in FENCE.findall(page.read_text()) for line in block.splitlines()
    ]
    lines = [re.sub(r"^\.venv/bin/", "", line).split("  #")[0] for line in lines]
    return [line for line in lines if line.startswith("analytics-platform ") and "…" not in line and "[" not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in headings(file), f"{page.name}: {target}"


def test_sentences_of_errors_point_at_headings() -> None:
    source = "".join(path.read_text() for path in (ROOT / "analytics_platform").rglob("*.py"))
    pointed = set(ANCHOR.findall(source))
    assert ("operations.md", "expired-offsets") in pointed
    for name, anchor in sorted(pointed):
        page = ROOT / "docs" / name
        assert page.exists(), name
        assert not anchor or anchor in headings(page), f"{name}#{anchor}"


@pytest.mark.parametrize(
    ("page", "line"), [(page, line) for page in PAGES for line in commands(page)], ids=lambda value: str(value)[-60:]
)
def test_commands_are_taken(page: Path, line: str) -> None:
    words = shlex.split(re.split(r"[|<>](?=[^\"]*$)", line)[0])[1:]
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    assert not hasattr(command, "commands"), f"{page.name}: {line}"
    command.make_context(command.name, words)  # parses, and refuses what it does not know


def test_the_first_screen_of_the_readme_names_both_commands() -> None:
    first = (ROOT / "README.md").read_text().splitlines()[:12]
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)


def test_every_page_of_docs_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme] == []


def test_the_example_of_the_producers_page_runs(
    embedded: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python, printed, in_a_frame = FENCE.findall((ROOT / "docs/producers.md").read_text())
    monkeypatch.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith("ANALYTICS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANALYTICS_KAFKA_BOOTSTRAP_SERVERS", embedded)
    names: dict[str, object] = {}
    exec(compile(python, "producers.md", "exec"), names)  # noqa: S102 - our own page
    assert capsys.readouterr().out == printed
    exec(compile(in_a_frame, "producers.md", "exec"), names)  # noqa: S102 - our own page
    with KafkaLog(Settings.from_env(os.environ)) as log:
        state = log.state("flights.departures")
        ranges = [OffsetRange(number, marks.low, marks.end) for number, marks in state.partitions.items() if marks.end]
        frame = log.read("flights.departures", ranges, max_bytes=2**40).frame
    assert names["key"] == "22c12c36a8ede2da344cbb4fa658d5f67b93b385b848805436f55f271a5b6aed"
    assert names["keys"] == [names["key"]]  # the same event again
    assert frame["key"].to_list() == [str(names["key"]).encode()] * 2
    assert frame["value"].n_unique() == 1
