"""How values of a field go from bronze to silver: what a contract may say of it, and what it must.

`treatment` is `keep`, `drop` (null), `{op: hash, key: <name>}` (HMAC-SHA256) or `{op: mask, first: n, last: n}`.
"""

from collections.abc import Iterator, Mapping, Sequence

from analytics_platform.contract.complaint import one_of, shown
from analytics_platform.contract.model import (
    CLASSIFICATIONS,
    ENVELOPE,
    PERSONAL,
    EventContract,
    Field,
    Identity,
    LogicalType,
    Operation,
    Treatment,
)
from analytics_platform.contract.place import place
from analytics_platform.contract.source import Node
from analytics_platform.contract.vendor import check_keys, ours
from analytics_platform.keyring import NAME

_FORMS = "is keep, drop, {op: hash, key: <name>} or {op: mask, first: <n>, last: <n>}"
_MOST_SHOWN = 32


def classification_of(node: Node) -> str | None:
    """The classification of a field; complains about one that is not known."""
    found = node["classification"]
    if found.value is not None and found.value not in CLASSIFICATIONS:
        found.refuse(one_of(CLASSIFICATIONS, found.value))
    return found.text or None


def treatment_of(field: Node, kind: LogicalType) -> Treatment | None:
    """The treatment of a field of this type, `None` when it says none; complains about one that cannot be done."""
    node = ours(field, "treatment")
    if node.value is None:
        return None
    if node.value in (Operation.KEEP, Operation.DROP):
        return Treatment(Operation(node.text))
    op = node["op"].text
    if not isinstance(node.value, dict) or op not in (Operation.HASH, Operation.MASK):
        node.refuse(_FORMS)
        return None
    if kind is not LogicalType.STRING:
        node["op"].refuse(f"are keep and drop for type {kind}: only text can be hashed or masked")
    if op == Operation.HASH:
        if check_keys(node, ("op", "key")) and not NAME.fullmatch(node["key"].text):
            node["key"].refuse("is the name of a key, of a-z, 0-9 and _")
        return Treatment(Operation.HASH, key=node["key"].text)
    check_keys(node, ("op",), ("first", "last"))
    return Treatment(Operation.MASK, first=_count(node["first"]), last=_count(node["last"]))


def _count(node: Node) -> int:
    if node.value is None:
        return 0
    if isinstance(node.value, bool) or not isinstance(node.value, int) or not 0 <= node.value <= _MOST_SHOWN:
        node.refuse(f"is a number of characters that stay readable, from 0 to {_MOST_SHOWN}")
        return 0
    return node.value


def check_treatments(schema: Node, fields: Sequence[Field], envelope: Node, identity: Identity) -> None:
    """Complain where an event's personal data would go on untreated, or where a treatment would break the platform."""
    nodes = {node["name"].text: node for node in schema["properties"]}
    by_name = {field.name: field for field in fields}
    for field in fields:
        node = nodes[field.name]
        _check_declared(node, field)
        if field.name in ENVELOPE:
            if is_personal(field):
                node["classification"].refuse(
                    "are public and internal for a field of the envelope: it says what a record is, in the quarantine too"
                )
            if is_treated(field):
                ours(node, "treatment").refuse("is keep for a field of the envelope: it says what a record is")
        elif field.name in identity.by:
            _check_identifier(node, field, identity)
    for key in (key for key in envelope.keys if key in ENVELOPE):
        (spot, *_) = place(envelope[key].text).spots
        # An attribute of CloudEvents is no field of the payload, whatever its name.
        source = by_name.get(spot.name) if spot.data or not (spot.header or "style" in envelope) else None
        if source is not None and source.name != key and (is_personal(source) or is_treated(source)):
            found = f"{shown(source.name)}, which is classified or treated"
            envelope[key].refuse("is a place of open values: the envelope is shown in the quarantine too", found)


def _check_declared(node: Node, field: Field) -> None:
    """A classified field says what becomes of it, itself or as part of something that is dropped."""
    if field.treatment is not None and field.treatment.op is Operation.DROP:
        return
    if field.classification in PERSONAL and field.treatment is None:
        ours(node, "treatment").refuse(f"{_FORMS}: a {field.classification} field needs one", "nothing")
    inner = {item["name"].text: item for item in node["properties"]}
    for part in field.fields:
        _check_declared(inner[part.name], part)
    if field.item is not None:
        _check_declared(node["items"], field.item)


def _check_identifier(node: Node, field: Field, identity: Identity) -> None:
    treatment = ours(node, "treatment")
    if field.name == identity.time_field:
        if field.classification in PERSONAL:
            node["classification"].refuse(
                "are public and internal for the timeField: its minimum and maximum stand in the table's log"
            )
        if is_treated(field):
            treatment.refuse("is keep for the timeField: copies are found by it")
    elif field.treatment is not None and field.treatment.op in (Operation.DROP, Operation.MASK):
        treatment.refuse("are keep and hash for an identifier: it tells events apart", shown(str(field.treatment.op)))


def subject_of(node: Node, fields: Mapping[str, Field]) -> str | None:
    """The field that names the person an event is about, `None` when none does; complains about one that cannot."""
    if node.value is None:
        return None
    kinds = (LogicalType.STRING, LogicalType.INTEGER)
    able = [field.name for field in fields.values() if field.type in kinds and field.name not in ENVELOPE]
    if node.value not in able:
        node.refuse(one_of(able, node.value, "the fields of type string and integer"))
    return node.text or None


def walk(field: Field) -> Iterator[Field]:
    """A field and all that is inside it."""
    yield field
    for part in field.fields:
        yield from walk(part)
    if field.item is not None:
        yield from walk(field.item)


def is_personal(field: Field) -> bool:
    """Whether a field or something inside it is classified as confidential or restricted."""
    return any(part.classification in PERSONAL for part in walk(field))


def is_treated(field: Field) -> bool:
    """Whether a field or something inside it does not reach silver as it came."""
    return any(part.treatment is not None and part.treatment.op is not Operation.KEEP for part in walk(field))


def personal_columns(fields: Sequence[Field]) -> tuple[str, ...]:
    """The columns that hold classified values, also inside: of these no file and no log keeps statistics."""
    return tuple(dict.fromkeys(field.name for field in fields if is_personal(field)))


def governing(versions: Sequence[EventContract]) -> dict[str, Field]:
    """For every column the field whose treatment counts, for rows of all versions: the newest version's that has it.

    Released contracts do not change, so a field that turns out to be personal is classified in a later version.
    """
    ordered = sorted(versions, key=lambda contract: contract.order)
    return {field.name: field for contract in ordered for field in contract.fields}


def key_names(versions: Sequence[EventContract]) -> set[str]:
    """The names of the keys that treatments ask for."""
    parts = (part for field in governing(versions).values() for part in walk(field))
    return {part.treatment.key for part in parts if part.treatment is not None and part.treatment.key is not None}
