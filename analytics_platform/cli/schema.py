"""A contract in the words of other tools."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of, did_you_mean, say


class Format(StrEnum):
    """What `contracts schema` prints."""

    JSON = "json"
    JSON_CLOSED = "json-closed"
    AVRO = "avro"
    PROTOBUF = "protobuf"


def schema(
    context: typer.Context,
    event: Annotated[str, typer.Argument(help="The event type.")],
    version: Annotated[str | None, typer.Option(help="Of the contract; by default its newest.")] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="JSON Schema, open or closed to fields it does not name, Avro, or Protobuf."),
    ] = Format.JSON,
) -> None:
    """Print the schema of an event's value, made from its contract."""
    from analytics_platform.contract.avro import avro_schema  # noqa: PLC0415
    from analytics_platform.contract.json_schema import json_schema  # noqa: PLC0415
    from analytics_platform.contract.proto import proto_schema  # noqa: PLC0415

    events = [item for domain in call_of(context).domains(None) for item in domain.produced]
    versions = [item for item in events if item.name == event]
    if not versions:
        known = sorted({item.name for item in events})
        raise typer.BadParameter(f"there is no event {event!r}{did_you_mean(event, known)}")
    chosen = [item for item in versions if version in (None, item.header.version)]
    if not chosen:
        known = [item.header.version for item in versions]
        raise typer.BadParameter(f"{event} has no version {version!r}{did_you_mean(str(version), known)}")
    contract = max(chosen, key=lambda item: item.order)
    if form is Format.PROTOBUF:
        say(proto_schema(contract, versions).rstrip())
        return
    made = avro_schema(contract) if form is Format.AVRO else json_schema(contract, closed=form is Format.JSON_CLOSED)
    say(json.dumps(made, indent=2, ensure_ascii=False))
