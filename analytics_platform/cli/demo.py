"""The flight replay, in one command."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of


class Broker(StrEnum):
    """Which broker the demo starts."""

    EMBEDDED = "embedded"
    APACHE = "apache"


def _events(text: str) -> str:
    if text != "all" and not (text.isdigit() and int(text) > 0):
        raise typer.BadParameter(f"found {text!r}, allowed are a whole number above 0 and `all`")
    return text


def demo(  # noqa: PLR0917 - typer passes them by name
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Bounded, without a screen: drain, compare, end.")] = False,
    events: Annotated[
        str, typer.Option(help="How many events, or `all`.", metavar="N|all", callback=_events, show_default=True)
    ] = "all",
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    kafka: Annotated[Broker, typer.Option(help="Which broker to start.")] = Broker.EMBEDDED,
    speed: Annotated[
        float | None,
        typer.Option(
            help="Events per second; 0 is as fast as they are read.",
            min=0,
            metavar="PER_SECOND",
            show_default="1000, with --once 0",
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the demo keeps its lake and Dagster home; made anew at every start.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of Dagster's web UI.", min=1, max=65535)] = 3000,
) -> None:
    """Replay real flights through Kafka, Dagster and the lake, with honest trouble mixed in."""
    from analytics_platform.demo.run import run_demo  # noqa: PLC0415

    if json_output and not once:
        raise typer.BadParameter("--json goes with --once: a demo without an end has no last word")
    code = run_demo(
        call_of(context).settings(),
        once=once,
        events=None if events == "all" else int(events),
        json_output=json_output,
        kafka=kafka.value,
        speed=speed,
        folder=folder,
        port=port,
    )
    raise typer.Exit(code)
