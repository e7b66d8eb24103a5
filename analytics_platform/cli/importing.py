"""A contract started from what there is."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analytics_platform.cli.call import Call, call_of, say
from analytics_platform.errors import NotImportable, SettingsError

if TYPE_CHECKING:
    from analytics_platform.contract.draw.plan import Plan
    from analytics_platform.contract.draw.sketch import Sketch
    from analytics_platform.kafka.frame import RegisteredSchema

_KINDS = (".avsc", ".json", ".proto")


def import_contract(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A schema: .avsc (Avro), .json (JSON Schema) or .proto.", show_default=False)
    ] = None,
    *,
    subject: Annotated[str | None, typer.Option(help="Take the newest schema of this subject of the registry.")] = None,
    topic: Annotated[str | None, typer.Option(help="Take what is true of the newest records of this topic.")] = None,
    rows: Annotated[int, typer.Option(help="Of the topic, about so many.", min=1, max=1_000_000)] = 1000,
    domain: Annotated[str | None, typer.Option(help="Of the contract; may be left out where there is one.")] = None,
    event: Annotated[str | None, typer.Option(help="The event type; by default as the schema calls it.")] = None,
    topic_name: Annotated[str | None, typer.Option(help="The topic's name in Kafka.")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="A business identifier; several in their order, an option each.")
    ] = None,
    time_field: Annotated[
        str | None, typer.Option(help="The identifier that is a time, by which copies are found.")
    ] = None,
    printed: Annotated[bool, typer.Option("--print", help="Print the draft instead of writing a file.")] = False,
) -> None:
    """Start a contract from a schema or from a topic's records: a draft that loads, with what is left to say.

    Nothing is written over, and what the draft cannot say is named.
    """
    from analytics_platform.contract.draw.file import check_draft, draft_path, write_draft  # noqa: PLC0415
    from analytics_platform.contract.draw.plan import Wishes, plan  # noqa: PLC0415
    from analytics_platform.contract.draw.text import draft_text  # noqa: PLC0415

    if sum(one is not None for one in (file, subject, topic)) != 1:
        raise typer.BadParameter("say one of: a file with a schema, --subject, --topic")
    if "" in (subject, topic):
        raise typer.BadParameter("--subject and --topic have names")
    call = call_of(context)
    contracts = call.settings().contracts
    chosen = _domain(contracts, domain)
    if event is not None:
        _check_name(event, "--event")
    if file is not None:
        sketch = _of_schema(_read(file), file.name, event)
    elif subject is not None:
        sketch = _of_subject(call, subject, event)
        topic_name = topic_name or (subject.removesuffix("-value") if subject.endswith("-value") else None)
    else:
        sketch = _of_topic(call, str(topic), rows, event)
        topic_name = topic_name or topic
    wishes = Wishes(chosen, event or _event(sketch), topic_name, tuple(key or ()), time_field)
    path = draft_path(contracts, wishes)
    made = plan(sketch, wishes)
    text = draft_text(made)
    check_draft(contracts, wishes, text)
    if printed:
        sys.stdout.write(text)
        _tell(made, to_stderr=True)
        return
    write_draft(path, text)
    say(f"{path}: a draft of {len(made.payload)} fields beside the envelope; what is left to say is marked TODO")
    _tell(made, to_stderr=False)


def _tell(plan: "Plan", *, to_stderr: bool) -> None:
    lines = [f"left out: {one}" for one in plan.left_out]
    if plan.missing:
        where = "say in envelope which field or header (header:<name>) holds it"
        lines.append(f"missing: {', '.join(plan.missing)}: nothing looks like it; {where}")
    for line in lines:
        if to_stderr:
            sys.stderr.write(f"{line}\n")
        else:
            say(line)


def _domain(contracts: Path, asked: str | None) -> str:
    if asked is None:
        from analytics_platform.contract.model import NAME  # noqa: PLC0415

        found = [one.name for one in contracts.iterdir() if one.is_dir()] if contracts.is_dir() else []
        there = sorted(name for name in found if NAME.fullmatch(name))
        if len(there) != 1:
            raise typer.BadParameter(f"say --domain{': there are ' + ', '.join(there) if there else ''}")
        return there[0]
    _check_name(asked, "--domain")
    return asked


def _check_name(name: str, option: str) -> None:
    from analytics_platform.contract.model import NAME  # noqa: PLC0415

    if not NAME.fullmatch(name):
        raise typer.BadParameter(
            f"{option} {name!r} is no name of a-z, 0-9 and _ that begins with a letter, of at most 63 characters"
        )


def _event(sketch: "Sketch") -> str:
    from analytics_platform.contract.draw.personal import words_of  # noqa: PLC0415
    from analytics_platform.contract.model import NAME  # noqa: PLC0415

    name = "_".join(words_of(sketch.name))
    if not NAME.fullmatch(name):
        raise typer.BadParameter(f"{sketch.source} does not say what the event is called: say --event")
    return name


def _read(file: Path) -> "RegisteredSchema":
    from analytics_platform.contract.draw.proto import proto_file  # noqa: PLC0415
    from analytics_platform.kafka.frame import RegisteredSchema, WireFormat  # noqa: PLC0415

    kind = file.suffix.lower()
    if kind not in _KINDS:
        raise typer.BadParameter(f"{file.name} is none of {', '.join(_KINDS)}")
    try:
        if kind == ".proto":
            return proto_file(file)
        wire = WireFormat.AVRO if kind == ".avsc" else WireFormat.JSON
        return RegisteredSchema(wire, file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise NotImportable(file.name, error.strerror or type(error).__name__) from error
    except UnicodeDecodeError as error:
        raise NotImportable(file.name, "it is not UTF-8") from error


def _of_schema(schema: "RegisteredSchema", source: str, event: str | None) -> "Sketch":
    from analytics_platform.contract.draw.avro import avro_sketch  # noqa: PLC0415
    from analytics_platform.contract.draw.json_schema import json_schema_sketch  # noqa: PLC0415
    from analytics_platform.contract.draw.proto import proto_sketch  # noqa: PLC0415
    from analytics_platform.kafka.frame import WireFormat  # noqa: PLC0415

    if schema.kind is WireFormat.AVRO:
        return avro_sketch(schema, source)
    if schema.kind is WireFormat.PROTOBUF:
        return proto_sketch(schema, source, event)
    return json_schema_sketch(schema, source)


def _of_subject(call: Call, subject: str, event: str | None) -> "Sketch":
    from analytics_platform.kafka.registry import Registry  # noqa: PLC0415

    settings = call.settings().registry
    if settings.url is None:
        raise SettingsError(["ANALYTICS_REGISTRY_URL is not set, so there is nobody to ask for a subject"])
    registry = Registry(settings)
    try:
        found = registry.latest(subject)
    finally:
        registry.close()
    if found is None:
        raise NotImportable(subject, "the registry has no such subject")
    version, schema = found
    return _of_schema(schema, f"{subject} (version {version})", event)


def _of_topic(call: Call, topic: str, rows: int, event: str | None) -> "Sketch":
    from analytics_platform.contract.draw.sample import sample_sketch  # noqa: PLC0415
    from analytics_platform.kafka.sample import newest  # noqa: PLC0415

    if event is None:
        raise typer.BadParameter("say --event: a topic's records are not asked for names")
    records = [
        (row["value"], {one["name"]: one["value"] for one in row["headers"] or ()})
        for row in newest(call.settings(), topic, rows)
    ]
    return sample_sketch(records, topic, event)
