"""The compatibility gate: what changed between contracts, and whether it may."""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analytics_platform.cli.call import now, say
from analytics_platform.errors import ContractError

if TYPE_CHECKING:
    from analytics_platform.contract.model import Catalog
    from analytics_platform.contract.release import Finding

On = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Judge as on this day (UTC); by default today.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Annotations = Annotated[
    bool, typer.Option("--annotations", help="Print workflow commands that a code host shows beside the lines.")
]


def diff(
    old: Annotated[Path, typer.Argument(help="A contract's file, or a folder of all contracts.")],
    new: Annotated[Path, typer.Argument(help="What is to follow it: a file, or a folder.")],
    as_json: AsJson = False,
    annotations: Annotations = False,
    on: On = None,
) -> None:
    """Show every change from one contract to another, and whether the new version's number allows it."""
    from analytics_platform.contract.load import load_catalog, load_event  # noqa: PLC0415
    from analytics_platform.contract.release import between, release  # noqa: PLC0415

    today = day(on)
    if old.is_dir() != new.is_dir():
        raise typer.BadParameter("compare a file with a file, or a folder with a folder")
    if old.is_dir():
        findings = release(load_catalog(old), load_catalog(new), today)
    else:
        before, after = load_event(old), load_event(new)
        if before.name != after.name:
            raise typer.BadParameter(f"{old} is about {before.name}, {new} about {after.name}")
        findings = between(before, after, today)
    finish(Verdicts(findings, _as_given), as_json=as_json, annotations=annotations)


def against(folder: Path, new: "Catalog", revision: str | None, today: date) -> "Verdicts":
    """What the gate says of a folder of contracts: within itself, and after what stood there at a revision of git.

    Raises:
        RevisionUnknown: git cannot say what stood there.
        ContractError: what stood there cannot be read, so that nothing can be said.
    """
    from analytics_platform.contract.load import load_catalog  # noqa: PLC0415
    from analytics_platform.contract.model import Catalog  # noqa: PLC0415
    from analytics_platform.contract.release import release  # noqa: PLC0415
    from analytics_platform.revision import folder_at  # noqa: PLC0415

    if revision is None:
        return Verdicts(release(Catalog({}), new, today), _as_given)
    with tempfile.TemporaryDirectory() as scratch:
        copy = folder_at(folder, revision, Path(scratch))
        if not any(copy.iterdir()):
            sys.stderr.write(f"{folder}: nothing stood there at {revision}\n")
        try:
            old = load_catalog(copy) if any(copy.iterdir()) else Catalog({})
        except ContractError as error:
            raise ContractError([f"{revision}:{complaint}" for complaint in error.complaints]) from error

        def shown(path: Path) -> Path:
            inside = path.is_relative_to(copy)
            return _as_given(folder / path.relative_to(copy) if inside else path)

        return Verdicts(release(old, new, today), shown)


def day(on: datetime | None) -> date:
    """The day to judge by."""
    return (on or now()).date()


def _as_given(path: Path) -> Path:
    """From where the command runs, where that is above; code hosts want it so."""
    return Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Findings, and how their files are shown."""

    findings: "Sequence[Finding]"
    shown: Any

    @property
    def refused(self) -> "list[Finding]":
        """Those that may not be."""
        return [item for item in self.findings if not item.allowed]

    def rows(self) -> list[dict[str, object]]:
        """One mapping per finding, as `--json` prints it."""
        from analytics_platform.contract.locate import line_of  # noqa: PLC0415

        return [
            {
                "table": item.table,
                "old": item.old,
                "new": item.new,
                "file": self.shown(item.path).as_posix(),
                "line": line_of(item.path, item.difference.path) if item.path.exists() else None,
                "path": item.difference.path,
                "change": item.difference.change,
                "verdict": str(item.difference.verdict),
                "allowed": item.allowed,
                "backward": item.difference.backward,
                "forward": item.difference.forward,
                "reason": item.difference.reason,
                "advice": item.difference.advice,
            }
            for item in self.findings
        ]


def finish(verdicts: Verdicts, *, as_json: bool, annotations: bool) -> None:
    """Print what was found, and end with 1 when something may not be."""
    rows = verdicts.rows()
    if as_json:
        say(json.dumps({"allowed": not verdicts.refused, "findings": rows}, indent=2))
    elif annotations:
        for row in rows:
            say(_annotation(row))
    else:
        for line in _lines(rows):
            say(line)
    if verdicts.refused:
        raise typer.Exit(1)


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    pair = None
    for row in rows:
        if pair != (pair := (row["table"], row["old"], row["new"])):
            lines.append(f"{row['table']} {row['old']} -> {row['new']}")
        mark = "  " if row["allowed"] else "! "
        lines.append(f"{mark}{row['verdict']:<13}  {row['path']}: {row['change']}")
        if not row["allowed"]:
            lines += [f"{'':17}{row['reason']}", f"{'':17}{row['advice']}"]
    refused = sum(not row["allowed"] for row in rows)
    if rows:
        lines.append(f"{len(rows)} change{'' if len(rows) == 1 else 's'}, {refused or 'none'} refused")
    else:
        lines.append("no change")
    return lines


def _annotation(row: dict[str, Any]) -> str:
    """A workflow command: shown beside the line by hosts that read GitHub's form of it."""
    level = "error" if not row["allowed"] else "warning" if row["verdict"] == "needs a major" else "notice"
    where = f"file={_property(row['file'])}" + (f",line={row['line']}" if row["line"] else "")
    title = _property(f"{row['table']} {row['old']} -> {row['new']}: {row['verdict']}")
    said = f"{row['path']}: {row['change']}. {row['reason']} {row['advice']}".strip()
    return f"::{level} {where},title={title}::{_data(said)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
