"""Offsets that expired before they were read: which were accepted, and accepting more."""

import sys
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of, console, now, say, working

app = typer.Typer(
    help="Offsets lost before they were read: an operator accepts them, bronze records them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_gaps(context: typer.Context) -> None:
    """Show every gap that was accepted, as bronze records it, by topic, partition and offset."""
    from rich.table import Table  # noqa: PLC0415

    from analytics_platform import gaps  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings()
    accepted = [gap for domain in call.domains(None) for gap in gaps.accepted(domain, settings)]
    if not accepted:
        say("no gap was ever accepted")
        return
    table = Table("topic", "partition", "start", "end", "offsets", "accepted at", box=None)
    for gap in accepted:
        offsets = f"{gap.end - gap.start:,}"
        at = f"{gap.accepted_at:%Y-%m-%d %H:%M:%SZ}"
        table.add_row(gap.topic, str(gap.partition), str(gap.start), str(gap.end), offsets, at)
    console().print(table)


@app.command()
def accept(
    context: typer.Context,
    topic: Annotated[str, typer.Argument(help="The topic that is stopped.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Accept what a stopped topic has lost, record it in bronze, and let the topic go on.

    The offsets accepted are gone for good: restore the data first if it exists anywhere.
    """
    from analytics_platform import gaps  # noqa: PLC0415
    from analytics_platform.kafka.consumer import KafkaLog  # noqa: PLC0415
    from analytics_platform.stream import plan_domain  # noqa: PLC0415

    call = call_of(context)
    domain, settings = call.domain_of_topic(topic), call.settings()
    with working(f"looking at {topic}"), KafkaLog(settings) as log:
        why = plan_domain(domain, settings, log, now=now()).stopped.get(topic)
    if why is None:
        say(f"{topic}: is not stopped; nothing to accept")
        return
    say(why)
    if not yes and not _confirmed():
        say("nothing was changed; --yes accepts without asking")
        raise typer.Exit(4)
    accepted = gaps.accept(domain, topic, settings, clock=now)
    for gap in accepted:
        say(
            f"{gap.topic}[{gap.partition}]: accepted the loss of offsets {gap.start}..{gap.end} ({gap.end - gap.start:,})"
        )
    if not accepted:
        say(f"{topic}: goes on with the topic as it is now; no offsets of it were lost")


def _confirmed() -> bool:
    return sys.stdin.isatty() and typer.confirm("Accept that these offsets are lost?")
