"""Contracts: whether they are right, and which there are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analytics_platform.cli.call import Call, call_of, console, say
from analytics_platform.cli.diff import Annotations, AsJson, On, against, day, diff, finish
from analytics_platform.cli.impact import impact
from analytics_platform.cli.importing import import_contract
from analytics_platform.cli.pages import docs
from analytics_platform.cli.publish import publish
from analytics_platform.cli.schema import schema
from analytics_platform.cli.usage import usage

if TYPE_CHECKING:
    from rich.table import Table

    from analytics_platform.contract.model import Header

app = typer.Typer(help="Check and list the contracts.", no_args_is_help=True, rich_markup_mode=None)
app.command()(impact)
app.command()(docs)
app.command()(schema)
app.command()(publish)
app.command("import")(import_contract)


@app.command()
def check(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(help="Folder of all contracts; by default that of the settings.")
    ] = None,
    *,
    revision: Annotated[
        str | None, typer.Option("--against", help="A revision of git: refuse what may not follow the contracts there.")
    ] = None,
    as_json: AsJson = False,
    annotations: Annotations = False,
    on: On = None,
) -> None:
    """Read every contract, complain about all that is wrong at once, and refuse changes that break a promise."""
    from analytics_platform.contract.model import Catalog  # noqa: PLC0415

    call = call_of(context)
    if path is not None:
        call = Call(call.lake, path)
    domains = call.domains(None)
    found = against(call.settings().contracts, Catalog({domain.name: domain for domain in domains}), revision, day(on))
    if as_json or annotations or revision is not None or found.refused:
        finish(found, as_json=as_json, annotations=annotations)
    if as_json or annotations:
        return
    events = [event for domain in domains for event in domain.produced]
    counts = (
        (len(domains), "domain"),
        (len({event.name for event in events}), "event type"),
        (len(events), "version"),
        (sum(len(domain.references) for domain in domains), "reference table"),
        (sum(len(domain.marts) for domain in domains), "mart"),
    )
    said = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
    say(f"{call.settings().contracts}: OK ({said})")


app.command("diff")(diff)
app.command("usage")(usage)


@app.command("list")
def list_contracts(context: typer.Context) -> None:
    """Show every contract: its table, version, topic and owners."""
    from rich.table import Table  # noqa: PLC0415

    table = Table("domain", "table", "version", "status", "topic", "owners", box=None)
    for domain in call_of(context).domains(None):
        for event in domain.produced:
            _row(table, domain.name, f"silver.{event.name}", event.header, event.topic)
        for reference in domain.references:
            topic = "" if reference.changes is None else reference.changes.topic
            _row(table, domain.name, f"reference.{reference.name}", reference.header, topic)
        for mart in domain.marts:
            _row(table, domain.name, f"gold.{mart.name}", mart.header, "")
    console().print(table)


def _row(table: "Table", domain: str, title: str, header: "Header", topic: str) -> None:
    table.add_row(domain, title, header.version, header.status, topic, ", ".join(header.owners))
