"""Contracts of events: envelope, identity, topic."""

import re
from collections.abc import Mapping, Sequence

from analytics_platform.contract.breaker import quarantine_of
from analytics_platform.contract.complaint import one_of, shown
from analytics_platform.contract.enrich_source import enrichments_of
from analytics_platform.contract.envelope import envelope_of
from analytics_platform.contract.field import fields_of
from analytics_platform.contract.header import agreed, header_of, schema_of
from analytics_platform.contract.lifecycle import check_deprecated, compatibility_of, deprecation_of
from analytics_platform.contract.model import (
    ENVELOPE,
    NAME,
    EventContract,
    Field,
    Identity,
    KeyMode,
    LogicalType,
    RowRule,
    table_name,
)
from analytics_platform.contract.proto import unsayable
from analytics_platform.contract.source import Node, Source
from analytics_platform.contract.sql import Bench, SqlRefused
from analytics_platform.contract.treatment import check_treatments, subject_of
from analytics_platform.contract.upcast import upcast_of
from analytics_platform.contract.vendor import VENDOR, check_keys, ours
from analytics_platform.contract.watermark import watermark_of
from analytics_platform.kafka.frame import WireFormat

_OPTIONAL = {"trace_id", "source"}
"""The envelope fields that a contract may leave optional."""
_SLAS = ("freshness", "dedupeWindow")
_TOPIC = re.compile(r"[A-Za-z0-9._\-]{1,249}")
_IDENTIFIERS = (LogicalType.STRING, LogicalType.INTEGER, LogicalType.TIMESTAMP)


def event_of(source: Source, domain: str, name: str, version: str) -> EventContract:
    """Compile an event's contract; it is of use only if its source has no complaints."""
    header = header_of(source, domain, name, version)
    schema = schema_of(source, name)
    by_name = {field.name: field for field in fields_of(schema["properties"])}
    _check_envelope_fields(schema, by_name, name)
    payload = tuple(field for field in by_name.values() if field.name not in ENVELOPE)
    max_share, breaker = quarantine_of(ours(source.root, "quarantine"))
    deprecation = deprecation_of(source.root)
    if header.status != "retired":
        check_deprecated(source.root, deprecation, "status", value="deprecated")
    envelope = envelope_of(ours(source.root, "envelope"), by_name, name)
    identity = _identity(source, ours(source.root, "identity"), by_name)
    check_treatments(schema, tuple(by_name.values()), ours(source.root, "envelope"), identity)
    contract = EventContract(
        header=header,
        topic=_topic(schema),
        fields=(*(by_name[key] for key in ENVELOPE if key in by_name), *payload),
        envelope=envelope.places,
        identity=identity,
        row_rules=_row_rules(schema),
        freshness=agreed(source, "freshness", _SLAS),
        max_quarantined_share=max_share,
        breaker=breaker,
        watermark=watermark_of(ours(source.root, "watermark")),
        compatibility=compatibility_of(source.root),
        deprecation=deprecation,
        upcast=upcast_of(source.root),
        subject=subject_of(ours(source.root, "subject"), by_name),
        cloudevents=envelope.cloudevents,
        generate_trace_id=envelope.generate_trace_id,
        wire=_wire(ours(source.root, "wire")),
        enrichments=enrichments_of(ours(source.root, "enrich"), by_name),
    )
    _check_wire(ours(source.root, "wire"), contract)
    return contract


def _wire(node: Node) -> WireFormat:
    if node.value is None:
        return WireFormat.JSON
    if node.text not in set(WireFormat):
        node.refuse(one_of(WireFormat, node.value))
        return WireFormat.JSON
    return WireFormat(node.text)


def _check_wire(node: Node, contract: EventContract) -> None:
    if contract.wire is WireFormat.PROTOBUF and not node.source.complaints:
        others = [one for one in WireFormat if one is not WireFormat.PROTOBUF]
        for path, why in unsayable(contract):
            node.refuse(f"{one_of(others)}: Protobuf cannot carry {path}, since {why}")


def _topic(schema: Node) -> str:
    topic, kind = schema["physicalName"], schema["physicalType"]
    if kind.value != "topic":
        kind.refuse("is topic")
    if not _TOPIC.fullmatch(topic.text) or topic.text in {".", ".."}:
        topic.refuse("is the name of a Kafka topic")
    elif not NAME.fullmatch(table_name(topic.text)):
        topic.refuse("is a topic that begins with a letter, of at most 63 characters: its bronze table is named for it")
    return topic.text


def _nodes_by_name(schema: Node) -> dict[str, Node]:
    return {node["name"].text: node for node in schema["properties"]}


def _check_envelope_fields(schema: Node, fields: Mapping[str, Field], name: str) -> None:
    nodes = _nodes_by_name(schema)
    for key in ENVELOPE:
        if key not in fields:
            schema["properties"].source.complain(
                (*schema["properties"].path, key), "nothing", "is a field of the envelope"
            )
            continue
        expected = LogicalType.TIMESTAMP if key == "occurred_at" else LogicalType.STRING
        if fields[key].type is not expected:
            nodes[key]["logicalType"].refuse(f"is {expected}, as everywhere in the envelope")
        if key not in _OPTIONAL and not fields[key].required:
            nodes[key]["required"].refuse("is true for this field of the envelope")
    if "event_type" in fields and fields["event_type"].rules.enum not in {None, (name,)}:
        nodes["event_type"]["enum"].refuse(f"is {name} alone", ", ".join(fields["event_type"].rules.enum or ()))
    if "schema_version" in fields and fields["schema_version"].rules.enum is not None:
        nodes["schema_version"]["enum"].refuse(
            "is a pattern, if anything: other versions of the same major are read too"
        )
    for key, node in nodes.items():
        if node["primaryKey"].value is True and key != "idempotency_key":
            node["primaryKey"].refuse("is idempotency_key as the only primary key of an event")


def _identity(source: Source, node: Node, fields: Mapping[str, Field]) -> Identity:
    window = agreed(source, "dedupeWindow", _SLAS)
    if not check_keys(node, ("mode",), ("by", "timeField")):
        return Identity((), KeyMode.VERIFY, None, window)
    known = node["mode"].text in set(KeyMode)
    if node["mode"].value is not None and not known:
        node["mode"].refuse(one_of(KeyMode, node["mode"].value))
    mode = KeyMode(node["mode"].text) if known else KeyMode.VERIFY
    by = _identifiers(node["by"], fields, needed=mode is not KeyMode.TRUST)
    time_field = node["timeField"]
    if time_field.value is not None:
        if by and time_field.value not in by:
            time_field.refuse(one_of(by, time_field.value, "the identifiers"))
        elif time_field.text in fields and fields[time_field.text].type is not LogicalType.TIMESTAMP:
            time_field.refuse("is a timestamp", f"{shown(time_field.value)} of type {fields[time_field.text].type}")
        if window is not None:
            time_field.refuse("is either this or the service level dedupeWindow", "both")
    elif window is None and "dedupeWindow" not in {item["property"].text for item in source.root["slaProperties"]}:
        time_field.refuse("is the identifier by which copies are found, or the service level dedupeWindow instead")
    return Identity(by, mode, time_field.text or None, window)


def _identifiers(node: Node, fields: Mapping[str, Field], *, needed: bool) -> tuple[str, ...]:
    payload = [name for name in fields if name not in ENVELOPE]
    by: list[str] = []
    for item in node:
        field = fields.get(item.text)
        if field is None or field.name in ENVELOPE:
            item.refuse(one_of(payload, item.value))
        elif item.text in by:
            item.refuse("is each identifier once", f"{shown(item.value)} a second time")
        elif field.type not in _IDENTIFIERS:
            item.refuse(
                one_of(_IDENTIFIERS, what="the types of an identifier"), f"{shown(item.value)} of type {field.type}"
            )
        elif not field.required:
            item.refuse("is a required field", f"{shown(item.value)}, which is optional")
        by.append(item.text)
    if needed and not by:
        node.refuse("is a list of the business identifiers")
    return tuple(by)


def _row_rules(schema: Node) -> tuple[RowRule, ...]:
    rules: list[RowRule] = []
    for node in schema["quality"]:
        kind = node["type"].text or "library"
        if kind in {"library", "sql"}:
            node.refuse(f"is type text, or custom with the engine {VENDOR}", f"a rule of type {kind}")
        if kind != "custom" or node["engine"].value != VENDOR:
            continue
        name, body = node["name"], node["implementation"]
        if not NAME.fullmatch(name.text):
            name.refuse("is a name of a-z, 0-9 and _")
        elif name.text in {rule.name for rule in rules}:
            name.refuse("is each name once", f"{shown(name.value)} a second time")
        if check_keys(body, ("scope", "sql")):
            if body["scope"].value not in (None, "row"):
                body["scope"].refuse("is row")
            if body["sql"].value is not None and not body["sql"].text.strip():
                body["sql"].refuse("is a boolean expression over the columns")
        rules.append(RowRule(name.text, body["sql"].text, node["description"].text.strip()))
    return tuple(rules)


def check_rules(source: Source, event: EventContract, bench: Bench) -> None:
    """Complain about row rules that DuckDB cannot evaluate over the contract's columns."""
    for node in next(iter(source.root["schema"]))["quality"]:
        sql = node["implementation"]["sql"]
        if node["engine"].value == VENDOR and sql.text:
            try:
                bench.check_rule(event, sql.text)
            except SqlRefused as refused:
                sql.refuse(refused.allowed, refused.found)


def check_topic(pairs: Sequence[tuple[Source, EventContract]]) -> None:
    """Complain where contracts of one topic look for the type of a record in different places."""
    (_, first), *others = pairs
    names = {first.sent_as: first.name}
    for source, other in others:
        node = ours(source.root, "envelope")
        if (other.cloudevents is None) != (first.cloudevents is None):
            style = "of the style cloudevents" if first.cloudevents else "without a style"
            node.refuse(f"is an envelope {style}, as in {first.label} of the same topic", "another style")
            continue
        if (taken := names.setdefault(other.sent_as, other.name)) != other.name:
            node["type"].refuse(f"is a type of its own: {shown(other.sent_as)} is {taken} on this topic")
        for key in ("event_type", "schema_version"):
            if other.envelope[key] != first.envelope[key]:
                node[key].refuse(f"is {first.envelope[key]}, as in {first.label} of the same topic")


def check_versions(versions: Sequence[tuple[Source, EventContract]]) -> None:
    """Complain where versions of one event contradict each other: they share a topic, a table and an identity."""
    (_, first), *others = versions
    known_versions = [contract.header.version for _, contract in versions]
    for source, contract in versions:
        successor = ours(source.root, "deprecation")["replacedBy"]
        if contract.deprecation and successor.text and successor.text not in known_versions:
            successor.refuse(one_of(known_versions, successor.value, "the versions of this event"))
    for source, other in others:
        label, root = first.label, source.root
        if other.topic != first.topic:
            next(iter(root["schema"]))["physicalName"].refuse(f"is {first.topic}, as in {label}")
        mine, theirs = other.identity, first.identity
        if (mine.by, mine.mode, mine.time_field) != (theirs.by, theirs.mode, theirs.time_field):
            ours(root, "identity").refuse(f"is the identity of {label}: the versions share a table", "another identity")
        nodes = _nodes_by_name(next(iter(root["schema"])))
        for before in (contract for _, contract in versions if contract.order < other.order):
            known = {field.name: field for field in before.fields}
            for field in other.fields:
                if field.name in known and not _agree(field, known[field.name]):
                    allowed = f"is the type it has in {before.label}: the versions share a table"
                    nodes[field.name]["logicalType"].refuse(allowed)


def _agree(field: Field, older: Field) -> bool:
    """Whether one column can hold both: objects may have other fields, but what they share is of one type."""
    if field.type is not older.type:
        return False
    if field.item is not None and older.item is not None and not _agree(field.item, older.item):
        return False
    known = {inner.name: inner for inner in older.fields}
    return all(_agree(inner, known[inner.name]) for inner in field.fields if inner.name in known)
