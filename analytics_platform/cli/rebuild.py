"""Some hours made again from bronze."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from analytics_platform.cli.call import call_of, now, say, working
from analytics_platform.errors import QueryFailed

if TYPE_CHECKING:
    from analytics_platform.report import RebuildReport

_HOUR = timedelta(hours=1)
_HOUR_FORMAT = "%Y-%m-%dT%H"
_LAYERS = ("silver", "gold")


def rebuild(
    context: typer.Context,
    hours: Annotated[
        str,
        typer.Option(
            help="Ingest hours in UTC, half-open: 2026-11-23T14..2026-11-23T18 is four hours, 2026-11-23T14 is one.",
            metavar="START[..END]",
        ),
    ],
    domain: Annotated[str | None, typer.Option(help="Which domain, where there are several.")] = None,
    layers: Annotated[str, typer.Option(help="Which layers, with commas between.")] = "silver,gold",
    json_output: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make silver (with its quarantine) and gold of some hours again from bronze.

    Where nothing was wrong nothing changes; the report says what did.
    """
    from analytics_platform.query import refresh_database  # noqa: PLC0415
    from analytics_platform.rebuild import rebuild as rebuild_hours  # noqa: PLC0415

    start, end = parse_hours(hours)
    wanted = frozenset(part.strip() for part in layers.split(","))
    if not wanted <= set(_LAYERS):
        raise typer.BadParameter(f"found --layers {layers!r}, allowed are {', '.join(_LAYERS)}")
    call = call_of(context)
    found = call.domain(domain)
    with working(f"making {hours} of {found.name} again"):
        report = rebuild_hours(found, call.settings(), start, end, layers=wanted, clock=now)
        try:
            refresh_database(call.settings())
        except QueryFailed as error:  # the tables are committed whatever becomes of the views
            say(str(error))
    if json_output:
        _print_json(report)
    else:
        _print(report)


def parse_hours(text: str) -> tuple[datetime, datetime]:
    """Half-open, in UTC. Raises `typer.BadParameter` for what is no range of whole hours."""
    first, dots, last = text.strip().partition("..")
    try:
        start, end = [
            datetime.strptime(hour, _HOUR_FORMAT).replace(tzinfo=UTC) for hour in (first, last if dots else first)
        ]
    except ValueError:
        raise typer.BadParameter(
            f"found --hours {text!r}, wanted hours in UTC such as 2026-11-23T14 or 2026-11-23T14..2026-11-23T18"
        ) from None
    if not dots:
        end = start + _HOUR
    if end <= start:
        raise typer.BadParameter(
            f"found --hours {text!r}: the end is the first hour left out, so it lies after the start"
        )
    return start, end


def _print_json(report: "RebuildReport") -> None:
    import msgspec  # noqa: PLC0415

    fields = asdict(report)
    fields["took"] = report.took.total_seconds()
    fields["changed"] = report.changed
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(fields)).decode() + "\n")


def _print(report: "RebuildReport") -> None:
    from analytics_platform.report import counted  # noqa: PLC0415

    say(
        f"{report.domain} {report.start:%Y-%m-%dT%H}..{report.end:%Y-%m-%dT%H}: {counted(report.records, 'record')} of bronze, "
        f"{report.took.total_seconds():.1f} s; {'changed' if report.changed else 'nothing was wrong'}"
    )
    for title in sorted({*report.rows, *report.added, *report.removed}):
        windows = f" in {counted(report.windows[title], 'window')}" if title in report.windows else ""
        say(
            f"  {title}: {counted(report.rows.get(title, 0), 'row')}{windows}, {report.added.get(title, 0):,} added, "
            f"{report.removed.get(title, 0):,} removed"
        )
