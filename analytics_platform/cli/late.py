"""What came late."""

import json
from datetime import timedelta
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of, console, now, say, working


def late(
    context: typer.Context,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Only rows ingested in so many days.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Show which sources sent events later than their contract allows, and by how much."""
    import polars as pl  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from analytics_platform.cli.rows import cell  # noqa: PLC0415
    from analytics_platform.lake.table import Lake  # noqa: PLC0415
    from analytics_platform.lateness import SCHEMA, lateness  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    since = None if days is None else now() - timedelta(days=days)
    lake = Lake(settings.lake, settings.fsync)
    with working("reading silver"):
        counted = [lateness(lake, item, since=since) for item in call.domains(domain, settings)]
    found = pl.concat([pl.DataFrame(schema=SCHEMA), *counted])
    if as_json:
        for one in found.iter_rows(named=True):
            seconds = {name: None if one[name] is None else one[name].total_seconds() for name in _SPANS}
            plain = {name: value for name, value in one.items() if name not in _SPANS}
            say(json.dumps(plain | {f"{name}_s": value for name, value in seconds.items()}, default=str))
        return
    if found.is_empty():
        say("no event type with a watermark has rows")
        return
    table = Table("event", "source", "rows", "late", "median late by", "at most", "last late", box=None)
    for one in found.iter_rows(named=True):
        table.add_row(
            one["event"],
            "(none said)" if one["source"] is None else cell(one["source"]),
            f"{one['rows']:,}",
            f"{one['late']:,}",
            *("" if one[name] is None else _rounded(one[name]) for name in _SPANS),
            "" if one["last_late"] is None else f"{one['last_late']:%Y-%m-%d %H:%M}",
        )
    console().print(table)


_SPANS = ("median_late_by", "most_late_by")


def _rounded(span: timedelta) -> str:
    return str(timedelta(seconds=round(span.total_seconds())))
