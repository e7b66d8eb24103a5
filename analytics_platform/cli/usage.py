"""Who still uses what is going to end."""

import json
from datetime import timedelta
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of, console, now, say, working


def usage(
    context: typer.Context,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Only rows ingested in so many days.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Show which sources still use versions and fields whose end is announced."""
    import polars as pl  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from analytics_platform.cli.rows import cell  # noqa: PLC0415
    from analytics_platform.lake.table import Lake  # noqa: PLC0415
    from analytics_platform.usage import SCHEMA, uses  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    since = None if days is None else now() - timedelta(days=days)
    lake = Lake(settings.lake, settings.fsync)
    with working("reading silver"):
        used = [uses(lake, item, since=since) for item in call.domains(domain, settings)]
    found = pl.concat([pl.DataFrame(schema=SCHEMA), *used])
    if as_json:
        for use in found.iter_rows(named=True):
            say(json.dumps(use, default=str))
        return
    if found.is_empty():
        say("nobody uses anything whose end is announced")
        return
    columns = ("event", "what", "last day", "use instead", "source", "rows", "refused", "first seen", "last seen")
    table = Table(*columns, box=None)
    for use in found.iter_rows(named=True):
        left = (use["last_day"] - now().date()).days
        table.add_row(
            use["event"],
            cell(use["what"]),
            f"{use['last_day']} ({f'{left} days left' if left >= 0 else 'over'})",
            use["replaced_by"] or "",
            "(none said)" if use["source"] is None else cell(use["source"]),
            f"{use['rows']:,}",
            f"{use['refused']:,}" if use["refused"] else "",
            *(f"{use[name]:%Y-%m-%d %H:%M}" for name in ("first_seen", "last_seen")),
        )
    console().print(table)
