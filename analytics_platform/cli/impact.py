"""What contracts that are not in force yet would make of the records that bronze has."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analytics_platform.cli.call import call_of, console, say
from analytics_platform.cli.rebuild import parse_hours

if TYPE_CHECKING:
    from analytics_platform.impact import Changes, Impact

_SOON_S = 1.0
"""What takes no longer shows no progress."""
_LONGEST = 200
"""Characters shown of a source or a reason."""


def impact(
    context: typer.Context,
    new: Annotated[Path, typer.Argument(help="An event contract's file, or a folder of contracts.")],
    hours: Annotated[
        str | None,
        typer.Option(help="Ingest hours in UTC, half-open; by default all.", metavar="START[..END]"),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge bronze by new contracts as well, and say which records would end otherwise; nothing is written.

    Ends with 1 when records that are valid now would fail.
    """
    from analytics_platform.contract.proposal import load_proposal  # noqa: PLC0415
    from analytics_platform.impact import ALWAYS  # noqa: PLC0415
    from analytics_platform.impact import impact as impact_of  # noqa: PLC0415

    if not new.exists():
        raise typer.BadParameter(f"there is no {new}")
    span = ALWAYS if hours is None else parse_hours(hours)
    call = call_of(context)
    settings = call.settings_to_look()
    standing = call.domains(None, settings)
    proposed = load_proposal(new, settings.contracts)
    with _progress() as show:
        report = impact_of(standing, proposed, settings, hours=span, on_slice=show)
    if json_output:
        import msgspec  # noqa: PLC0415

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(_jsonable(report))).decode() + "\n")
    else:
        _print(report)
    if report.breaks:
        raise typer.Exit(1)


def _jsonable(report: "Impact") -> dict[str, Any]:
    found = asdict(report) | {"breaks": report.breaks}
    found["by_source"] = [{"source": name, "changes": asdict(changes)} for name, changes in report.by_source]
    found["by_event_type"] = [
        {"event_type": name, "changes": asdict(changes)} for name, changes in report.by_event_type
    ]
    return found


def _print(report: "Impact") -> None:
    changes = report.changes
    say(
        f"{report.records:,} records of {', '.join(report.topics) or 'no topic'}: {report.same:,} the same, "
        f"{changes.newly_failing:,} newly failing, {changes.newly_passing:,} newly passing, "
        f"{changes.changed:,} otherwise changed"
    )
    if not report.topics:
        say("the contracts of every topic are the same, to the byte")
    _print_table(("code", "reason"), [((item.code, item.reason), item.changes) for item in report.by_rule])
    _print_table(("source",), [((name,), changes) for name, changes in report.by_source])
    _print_table(("event type",), [((name,), changes) for name, changes in report.by_event_type])
    _print_samples(report)


def _print_table(names: tuple[str, ...], rows: "list[tuple[tuple[str, ...], Changes]]") -> None:
    from rich.table import Table  # noqa: PLC0415

    from analytics_platform.cli.rows import cell  # noqa: PLC0415

    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name)
    for name in ("newly failing", "newly passing", "changed"):
        table.add_column(name, justify="right")
    for key, changes in rows:
        counts = (changes.newly_failing, changes.newly_passing, changes.changed)
        table.add_row(*(cell(text, _LONGEST) for text in key), *(f"{count:,}" if count else "" for count in counts))
    say()
    console().print(table)


def _print_samples(report: "Impact") -> None:
    from rich.text import Text  # noqa: PLC0415

    from analytics_platform.cli.rows import cell  # noqa: PLC0415

    screen = console()
    for sample in report.samples:
        place = f"{sample.topic}[{sample.partition}] offset {sample.offset}"
        said = f"{sample.kind.replace('_', ' ')}: {place}, {sample.event_type} from "
        say()
        screen.print(Text(said) + cell(sample.source))
        for when, reasons in (("now", sample.before), ("then", sample.after)):
            screen.print(Text(f"  {when}: ") + cell("; ".join(reasons) or "valid", _LONGEST * 4))
        screen.print(Text("  ") + cell(sample.outline, _LONGEST * 10))


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A function to call with the number of records so far; shows it on a terminal's stderr once that takes a while."""
    if not sys.stderr.isatty():
        yield lambda _records: None
        return
    from rich.console import Console  # noqa: PLC0415

    status = Console(stderr=True).status("judging bronze twice")
    began = time.monotonic()
    with ExitStack() as stack:
        shown = False

        def show(records: int) -> None:
            nonlocal shown
            if not shown and time.monotonic() - began > _SOON_S:
                stack.enter_context(status)
                shown = True
            status.update(f"{records:,} records judged twice")

        yield show
