"""The draft of a contract as YAML: what is known, what was left out, and what is left for a person to say."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from analytics_platform.contract.draw.plan import Plan
from analytics_platform.contract.draw.sketch import printable
from analytics_platform.contract.json_schema import RULES
from analytics_platform.contract.model import ENVELOPE, Field, KeyMode, LogicalType, Operation, Treatment
from analytics_platform.contract.standard import API_VERSION
from analytics_platform.contract.vendor import VENDOR
from analytics_platform.kafka.frame import WireFormat

VERSION = "1.0.0"
"""Of every contract that begins."""

_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_./-])?")
_NOT_PLAIN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_MEANT = {
    "idempotency_key": "names the event: two with one key are one event",
    "event_type": "holds the event's name, by which records find this contract",
    "schema_version": "holds the version that the producer wrote by, as in 1.0.0",
    "trace_id": "holds the trace",
    "occurred_at": "holds when it happened, with an offset from UTC",
    "source": "holds what sent the event",
}


def draft_text(plan: Plan) -> str:
    """The whole file; it ends with a line break."""
    return "\n".join([*_head(plan), *_schema(plan), *_tail(plan), ""])


def _head(plan: Plan) -> Iterator[str]:
    wishes, sketch = plan.wishes, plan.sketch
    yield f"# A draft that loads, made by `analytics-platform contracts import` from {printable(sketch.source)}."
    yield "# It is finished when no TODO is left."
    if plan.left_out:
        yield "#"
    yield from (f"# left out: {one}" for one in plan.left_out)
    yield f"apiVersion: {API_VERSION}"
    yield "kind: DataContract"
    yield f"id: urn:contract:{wishes.domain}:{wishes.event}"
    yield f"name: {_scalar(wishes.event)}"
    yield f"version: {VERSION}"
    yield "status: draft"
    yield f"domain: {_scalar(wishes.domain)}"
    yield "description:"
    if sketch.description and "${" not in sketch.description:
        yield f"  purpose: {_scalar(sketch.description)}"
    else:
        yield "  purpose: To be written.  # TODO: what the event says, and what the table is for"
    yield "team:"
    yield "  name: todo  # TODO: the team that owns the event; members with role: owner and an e-mail address, too"


def _schema(plan: Plan) -> Iterator[str]:
    wishes = plan.wishes
    yield "schema:"
    yield f"  - name: {_scalar(wishes.event)}"
    if wishes.topic is None:
        yield f"    physicalName: {_scalar(f'{wishes.domain}.{wishes.event}')}  # TODO: the topic's name in Kafka"
    else:
        yield f"    physicalName: {_scalar(wishes.topic)}"
    yield "    physicalType: topic"
    yield "    logicalType: object"
    yield "    properties:"
    for key in ENVELOPE:
        yield from _field(plan.spots[key].field, "      ", is_key=key == "idempotency_key")
    for field in plan.payload:
        yield from _field(field, "      ")


def _field(field: Field, indent: str, *, is_key: bool = False) -> Iterator[str]:
    yield f"{indent}- name: {_scalar(field.name)}"
    yield from (f"{indent}  {line}" for line in _body(field, is_key=is_key))


def _body(field: Field, *, is_key: bool = False) -> Iterator[str]:
    """The lines of a field after its name, or of what an array holds."""
    yield f"logicalType: {field.type}"
    if field.required:
        yield "required: true"
    if is_key:
        yield "primaryKey: true"
        yield "primaryKeyPosition: 1"
    if field.description:
        yield f"description: {_scalar(field.description)}"
    if field.deprecated:
        yield "deprecated: true"
    yield from _rules(field)
    if field.classification is not None and field.treatment is not None:
        yield f"classification: {field.classification}  # TODO: its name looks personal; is it?"
        yield "customProperties:"
        yield f"  - {_ours('treatment', _treatment(field.treatment))}{_about(field.treatment)}"
    if field.type is LogicalType.OBJECT:
        yield "properties:"
        for inner in field.fields:
            yield from _field(inner, "  ")
    elif field.item is not None:
        yield "items:"
        yield from (f"  {line}" for line in _body(field.item))


def _rules(field: Field) -> Iterator[str]:
    rules = field.rules
    options: dict[str, Any] = {"pattern": rules.pattern} if rules.pattern is not None else {}
    bounds = {keyword: getattr(rules, name) for name, keyword in RULES.items()}
    options |= {keyword: bound for keyword, bound in bounds.items() if bound is not None}
    if field.type is LogicalType.TIMESTAMP:
        options["timezone"] = True
    if options:
        yield f"logicalTypeOptions: {_mapping(options)}"
    if rules.enum is not None:
        yield f"enum: [{', '.join(_mapping({'value': value}) for value in rules.enum)}]"


def _treatment(treatment: Treatment) -> str:
    if treatment.op is Operation.HASH:
        return _mapping({"op": str(treatment.op), "key": treatment.key})
    return str(treatment.op)


def _about(treatment: Treatment) -> str:
    if treatment.op is Operation.DROP:
        return "  # TODO: or keep, hash or mask it: docs/personal-data.md"
    about = "name the key" if treatment.op is Operation.HASH else "an identifier cannot be dropped"
    return f"  # TODO: {about}: docs/personal-data.md"


def _tail(plan: Plan) -> Iterator[str]:
    wishes = plan.wishes
    if wishes.time_field is None:
        yield "slaProperties:"
        about = "how far apart two copies may be; or an identifier that is a time, as timeField"
        yield f"  - {{property: dedupeWindow, value: 7, unit: d}}  # TODO: {about}"
    yield "customProperties:"
    yield "  - property: envelope"
    yield f"    vendor: {VENDOR}"
    yield "    value:"
    for key in ENVELOPE:
        todo = f"  # TODO: the field, or header, that {_MEANT[key]}" if key in plan.missing else ""
        if key == "idempotency_key" and plan.mode is KeyMode.TRUST:
            todo = "  # TODO: is it of this event alone, and the same when that is sent again?"
        yield f"      {key}: {_scalar(plan.spots[key].place)}{todo}"
    identity: dict[str, Any] = {"mode": str(plan.mode)}
    identity |= {"by": list(plan.by)} if plan.by else {}
    identity |= {"timeField": wishes.time_field} if wishes.time_field is not None else {}
    yield f"  - {_ours('identity', _mapping(identity))}"
    if plan.sketch.wire is not WireFormat.JSON:
        yield f"  - {_ours('wire', str(plan.sketch.wire))}  # TODO: or json, where values are bare JSON"


def _ours(name: str, value: str) -> str:
    return f"{{property: {name}, vendor: {VENDOR}, value: {value}}}"


def _mapping(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in values.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _scalar(value) if isinstance(value, str) else str(value)


def _scalar(text: str) -> str:
    """Text as `source.py` reads it back; one line, whatever it holds."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN:
        return text
    if text.isprintable() and "'" not in text:
        return f"'{text}'"
    # A width that is never reached, so that nothing is folded.
    written: str = yaml.dump(text, default_style='"', allow_unicode=True, width=2**31 - 1)
    return written.rstrip("\n")
