"""Who still uses what is going to end."""

import json
from dataclasses import asdict
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
    from rich.table import Table  # noqa: PLC0415

    from analytics_platform.lake.table import Lake  # noqa: PLC0415
    from analytics_platform.usage import uses  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    since = None if days is None else now() - timedelta(days=days)
    lake = Lake(settings.lake, settings.fsync)
    with working("reading silver"):
        found = [use for item in call.domains(domain, settings) for use in uses(lake, item, since=since)]
    if as_json:
        for use in found:
            say(json.dumps(asdict(use), default=str))
        return
    if not found:
        say("nobody uses anything whose end is announced")
        return
    table = Table("event", "what", "last day", "use instead", "source", "rows", "last seen", "refused", box=None)
    for use in found:
        left = (use.last_day - now().date()).days
        table.add_row(
            use.event,
            use.what,
            f"{use.last_day} ({f'{left} days left' if left >= 0 else 'over'})",
            use.replaced_by or "",
            "(none said)" if use.source is None else use.source,
            f"{use.rows:,}",
            "" if use.last_seen is None else f"{use.last_seen:%Y-%m-%d %H:%M}",
            f"{use.refused:,}" if use.refused else "",
        )
    console().print(table)
