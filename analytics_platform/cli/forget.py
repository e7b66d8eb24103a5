"""Somebody's rows, or one event, taken out of every table."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analytics_platform.cli.call import call_of, did_you_mean, now, say, working
from analytics_platform.errors import QueryFailed

if TYPE_CHECKING:
    from analytics_platform.contract.model import Domain
    from analytics_platform.forget import ErasureReport
    from analytics_platform.settings import Settings

_MOST_BYTES = 64 * 1024


def forget(
    context: typer.Context,
    *,
    event: Annotated[str | None, typer.Option(help="Event type of --key.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key of the event to forget; - reads it from stdin.")
    ] = None,
    subject_file: Annotated[
        Path | None,
        typer.Option(
            help="File that holds the person's value of the contracts' `subject`; - is stdin.", metavar="FILE"
        ),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Which domain, where there are several.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Take an event, or all events about a person, out of every table, and delete the files that held them.

    There is no way back. Readers of older versions of the tables fail; the newest version is always whole.
    """
    from analytics_platform.forget import by_key, by_subject  # noqa: PLC0415

    if (subject_file is None) == (key is None) or (key is None) != (event is None):
        raise typer.BadParameter("say whom: --event and --key for one event, or --subject-file for a person")
    call = call_of(context)
    found, settings = call.domain(domain), call.settings()
    with working(f"forgetting in {found.name}"):
        if key is not None and event is not None:
            _check_event(found, event)
            wanted = _read(Path("-")) if key == "-" else key
            report = by_key(found, event, wanted, settings, clock=now)
        else:
            if all(contract.subject is None for contract in found.events):
                raise typer.BadParameter(f"no contract of {found.name} declares a subject")
            assert subject_file is not None  # noqa: S101 - looked at above
            report = by_subject(found, _read(subject_file), settings, clock=now)
        _refresh(settings)
    if json_output:
        import msgspec  # noqa: PLC0415

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(asdict(report))).decode() + "\n")
    else:
        _print(report)


def _refresh(settings: "Settings") -> None:
    from analytics_platform.query import refresh_database  # noqa: PLC0415

    try:
        refresh_database(settings)  # its views name files that are gone
    except QueryFailed as error:
        sys.stderr.write(f"{error}\n")


def _check_event(domain: "Domain", event: str) -> None:
    known = sorted({contract.name for contract in domain.events})
    if event not in known:
        raise typer.BadParameter(f"{domain.name} has no event {event!r}{did_you_mean(event, known)}")


def _read(path: Path) -> str:
    """The one line of a file, or of stdin; it is shown nowhere."""
    try:
        content = sys.stdin.buffer.read(_MOST_BYTES) if str(path) == "-" else path.read_bytes()[:_MOST_BYTES]
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read ({type(error).__name__})") from None
    lines = [line for line in text.splitlines() if line]
    if len(lines) != 1:
        raise typer.BadParameter(f"{path} holds {len(lines)} lines that are not empty, wanted is one")
    return lines[0]


def _print(report: "ErasureReport") -> None:
    say(f"{report.domain}: {report.records:,} records of bronze were about the {report.by}")
    for table in report.tables:
        waiting = f", {table.files_waiting:,} of unfinished writers left" if table.files_waiting else ""
        say(
            f"  {table.table}: {table.rows:,} rows taken out, {table.files_rewritten:,} files rewritten, "
            f"{table.files_deleted:,} deleted{waiting}; version {table.version_before} -> {table.version_after}"
        )
