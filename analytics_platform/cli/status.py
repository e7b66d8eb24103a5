"""How things stand, and whether everything needed is there."""

import os
import sys
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analytics_platform.cli.call import call_of, console, now, say

if TYPE_CHECKING:
    from analytics_platform.settings import Settings
    from analytics_platform.status import Status

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


def status(context: typer.Context, json_output: _Json = False) -> None:
    """Show lag, freshness, rows, files, bytes and quarantine. A Kafka that does not answer is shown, not an error."""
    from analytics_platform.status import status as look  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    found = look(call.domains(None, settings), settings, now())
    if json_output:
        freshness = {title: age.total_seconds() for title, age in found.freshness.items()}
        _print_json({**asdict(found), "freshness_seconds": freshness})
    else:
        _print(found)


def doctor(context: typer.Context, json_output: _Json = False) -> None:
    """Check Python, packages, settings, contracts, lake, disk, Kafka, topics, Java and Dagster's home.

    Ends with 1 when something that is needed is not there.
    """
    from analytics_platform.doctor import State, findings  # noqa: PLC0415

    call = call_of(context)

    def overrides(settings: "Settings") -> "Settings":
        return replace(settings, lake=call.lake or settings.lake, contracts=call.contracts or settings.contracts)

    found = findings(os.environ, overrides)
    if json_output:
        _print_json([asdict(finding) for finding in found])
    else:
        from rich.text import Text  # noqa: PLC0415

        screen = console()
        width = max(len(finding.name) for finding in found)
        for finding in found:
            line = Text(f"{finding.state.value:<4}", style=_COLORS[finding.state.value])
            line.append(f"  {finding.name:<{width}}  {finding.found}", style="default")
            screen.print(line)
            if finding.todo:
                screen.print(Text(f"{'':{width + 8}}{finding.todo}", style="italic"))
    if any(finding.state is State.FAIL for finding in found):
        raise typer.Exit(1)


def _print(found: "Status") -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    screen = console()
    say(f"Kafka {found.kafka}: {'answers' if found.kafka_trouble is None else 'NOT REACHED'}")
    if found.kafka_trouble is not None:
        screen.print(Text(f"  {found.kafka_trouble}", style="yellow"))
    topics = _table(Table, "topic", "domain", ">lag", "trouble")
    for topic in found.topics:
        lag = "?" if topic.lag is None else f"{topic.lag:,}"
        topics.add_row(topic.topic, topic.domain, lag, Text(topic.trouble or "", style="yellow"))
    if found.topics:
        screen.print(topics)
    say()
    say(f"lake {found.lake}: {len(found.tables)} tables")
    tables = _table(Table, "table", ">rows", ">files", ">size", ">newest event", ">newest ingest", ">written")
    for table in found.tables:
        times = (table.newest_occurred_at, table.newest_ingested_at, table.written_at)
        ages = [_age(found.at, time) for time in times]
        size = _size(table.size_bytes)
        tables.add_row(f"{table.layer}.{table.name}", f"{table.rows:,}", f"{table.files:,}", size, *ages)
    if found.tables:
        screen.print(tables)
    for building in found.building:
        screen.print(Text(building.line(), style="yellow"))
    if found.quarantine:
        say()
        quarantine = _table(Table, "quarantine", "reason", "status", ">rows")
        for item in found.quarantine:
            quarantine.add_row(item.domain, item.code, item.status, f"{item.rows:,}")
        screen.print(quarantine)


def _table(kind: Any, *columns: str) -> Any:
    table = kind(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table


def _age(at: datetime, time: datetime | None) -> str:
    """How long ago, in the two largest units that matter."""
    if time is None:
        return ""
    seconds = max(0, round((at - time) / timedelta(seconds=1)))
    for unit, length, smaller, part in (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= length:
            return f"{seconds // length}{unit} {seconds % length // part}{smaller} ago"
    return f"{seconds}s ago"


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _print_json(value: Any) -> None:
    import msgspec  # noqa: PLC0415

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")
