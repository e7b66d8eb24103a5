"""What a contract says of its enrichments, read and held against the reference tables of its domain: see docs/enrichment.md."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from analytics_platform.contract.complaint import one_of, shown
from analytics_platform.contract.model import (
    NAME,
    Enrichment,
    EventContract,
    Field,
    LogicalType,
    ReferenceContract,
    Unknown,
)
from analytics_platform.contract.source import Node, Source
from analytics_platform.contract.treatment import is_treated
from analytics_platform.contract.vendor import check_keys, ours

_KEYS = (LogicalType.STRING, LogicalType.INTEGER, LogicalType.DATE, LogicalType.TIMESTAMP)
"""The types of fields by which rows can be looked for."""
_PARTS = (LogicalType.STRING, LogicalType.INTEGER)
"""The types of fields that can be part of a question to a service."""
_ANSWERS = (*_KEYS, LogicalType.NUMBER, LogicalType.BOOLEAN)
"""The types of what a service answers."""
_NAME = "is a name of a-z, 0-9 and _ that begins with a letter"


def enrichments_of(node: Node, fields: Mapping[str, Field]) -> tuple[Enrichment, ...]:
    """The enrichments of an event, as far as they can be read without its domain; see `with_columns`."""
    if node.value is None:
        return ()
    if not isinstance(node.value, dict) or not node.value:
        node.refuse("is a mapping of enrichments, each by its name")
        return ()
    found = (_enrichment(name, node[name], fields) for name in node.keys)
    return tuple(item for item in found if item is not None)


def _enrichment(name: str, node: Node, fields: Mapping[str, Field]) -> Enrichment | None:
    if not NAME.fullmatch(name):
        node.refuse(_NAME, shown(name))
        return None
    if "lookup" in node:
        return _lookup(name, node, fields)
    if not check_keys(node, ("reference", "on", "take"), ("asOf", "unknown")):
        return None
    usable = [item.name for item in fields.values() if item.type in _KEYS and not is_treated(item)]
    on = _texts(node["on"], "is a mapping of the reference table's primary key to fields of the event")
    for column, field in on.items():
        if field not in usable:
            node["on"][column].refuse(
                one_of(usable, field, "fields that can be looked for and that silver has as sent")
            )
    take = _texts(node["take"], "is a mapping of columns of the reference table to their names in silver")
    for column, taken in take.items():
        if not NAME.fullmatch(taken):
            node["take"][column].refuse(_NAME)
    as_of = node["asOf"]
    times = [item.name for item in fields.values() if item.type is LogicalType.TIMESTAMP and item.required]
    if as_of.value is not None and as_of.value not in times:
        as_of.refuse(one_of(times, as_of.value, "the event's required timestamps"))
    return Enrichment(
        name,
        node["reference"].text,
        on,
        take,
        as_of.text or "occurred_at",
        _unknown(node["unknown"]),
    )


def _lookup(name: str, node: Node, fields: Mapping[str, Field]) -> Enrichment | None:
    if not check_keys(node, ("lookup", "on", "take"), ("unknown",)):
        return None
    if not NAME.fullmatch(node["lookup"].text):
        node["lookup"].refuse("is the name of a lookup, as the settings have it")
    usable = [item.name for item in fields.values() if item.type in _PARTS and not is_treated(item)]
    by = [item.text for item in node["on"]]
    if not by or len(set(by)) != len(by):
        node["on"].refuse("is a list of fields of the event, each once")
    for item in node["on"]:
        if item.value not in usable:
            item.refuse(one_of(usable, item.value, "fields that can be asked by and that silver has as sent"))
    take = _texts(node["take"], "is a mapping of members of the answer to their logicalType")
    columns = []
    for member, kind in take.items():
        if not NAME.fullmatch(member):
            node["take"][member].refuse(_NAME, shown(member))
        elif kind not in set(_ANSWERS):
            node["take"][member].refuse(one_of(_ANSWERS, kind))
        else:
            columns.append(
                Field(member, LogicalType(kind), required=False, description=f"{member}, as {name} answers.")
            )
    lookup, unknown = node["lookup"].text, _unknown(node["unknown"])
    taken = {member: member for member in take}
    return Enrichment(
        name, None, {field: field for field in by}, taken, unknown=unknown, columns=tuple(columns), lookup=lookup
    )


def _unknown(node: Node) -> Unknown:
    if node.value is not None and node.value not in set(Unknown):
        node.refuse(one_of(Unknown, node.value))
        return Unknown.NOTHING
    return Unknown(node.text) if node.text else Unknown.NOTHING


def _texts(node: Node, allowed: str) -> dict[str, str]:
    """A mapping of text to text; complains about anything else."""
    if node.value is None:
        return {}
    if not isinstance(node.value, dict) or not node.value or not all(node[key].text for key in node.keys):
        node.refuse(allowed)
        return {}
    return {key: node[key].text for key in node.keys}


def with_columns(
    versions: Sequence[tuple[Source, EventContract]],
    references: Mapping[str, ReferenceContract],
    broken: Collection[str],
) -> list[tuple[Source, EventContract]]:
    """The versions of an event with the columns that they take, and complaints where the domain does not have these.

    Args:
        versions: All of one event.
        references: The domain's sound ones, by name.
        broken: Tables, as `reference.x`, whose contract is wrong: of these nothing can be said.
    """
    owned = {field.name: contract.label for _, contract in versions for field in contract.fields}
    found = []
    for source, contract in versions:
        node, names = ours(source.root, "enrich"), dict(owned)
        enrichments = tuple(
            _resolved(node[item.name], item, contract, references, broken) for item in contract.enrichments
        )
        for item in enrichments:
            places = {name: node[item.name]["take"][column] for column, name in item.take.items()}
            places[item.enriched_at] = node[item.name]
            for name, place in places.items():
                if name in names:
                    place.refuse(f"is a column of its own: {name} is one of {names[name]}", shown(name))
                names[name] = f"the enrichment {item.name}"
        found.append((source, replace(contract, enrichments=enrichments)))
    return found


def _resolved(
    node: Node,
    item: Enrichment,
    contract: EventContract,
    references: Mapping[str, ReferenceContract],
    broken: Collection[str],
) -> Enrichment:
    if item.reference is None or f"reference.{item.reference}" in broken:
        return item
    if item.reference not in references:
        node["reference"].refuse(one_of(references, item.reference, "the reference tables of this domain"))
        return item
    table = references[item.reference]
    theirs = {field.name: field for field in table.fields}
    mine = {field.name: field for field in contract.fields}
    for column in item.on:
        if column not in table.primary_key:
            what = f"the primary key of reference.{table.name}"
            node["on"][column].refuse(one_of(table.primary_key, column, what), shown(column))
        elif item.on[column] in mine and mine[item.on[column]].type is not theirs[column].type:
            kind = theirs[column].type
            found = f"{shown(item.on[column])} of type {mine[item.on[column]].type}"
            node["on"][column].refuse(f"is a field of type {kind}, as reference.{table.name}.{column}", found)
    for column in table.primary_key:
        if item.on and column not in item.on:
            node["on"][column].refuse(f"is a field for every column of the primary key of reference.{table.name}")
    for column in item.take:
        if column not in theirs:
            what = f"the columns of reference.{table.name}"
            node["take"][column].refuse(one_of(theirs, column, what), shown(column))
    columns = tuple(
        replace(theirs[column], name=name, required=False, deprecated=False, deprecation=None)
        for column, name in item.take.items()
        if column in theirs
    )
    return replace(item, columns=columns)
