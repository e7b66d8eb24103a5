"""How a new major version takes in rows of the one before it, as its contract says: SQL expressions per field."""

from collections.abc import Sequence

from analytics_platform.contract.complaint import one_of
from analytics_platform.contract.model import ENVELOPE, EventContract, Field, Upcast
from analytics_platform.contract.schema import row_schema
from analytics_platform.contract.source import Node, Source
from analytics_platform.contract.sql import Bench, SqlRefused
from analytics_platform.contract.treatment import governing, is_personal, is_treated
from analytics_platform.contract.vendor import check_keys, ours


def upcast_of(root: Node) -> Upcast | None:
    """The custom property `upcast` of an event's contract."""
    node = ours(root, "upcast")
    if node.value is None or not check_keys(node, ("from", "fields")):
        return None
    major, fields = node["from"], node["fields"]
    if isinstance(major.value, bool) or not isinstance(major.value, int):
        major.refuse("is a major version as in 1")
        return None
    if not fields.keys:
        fields.refuse("is a mapping of fields to SQL expressions")
    for name in fields.keys:
        if not fields[name].text.strip():
            fields[name].refuse("is an SQL expression over the older version's columns")
    return Upcast(major.value, {name: fields[name].text for name in fields.keys})


def check_upcasts(versions: Sequence[tuple[Source, EventContract]], bench: Bench) -> None:
    """Complain about up-casts that cannot be computed, and about required fields that older majors would leave empty."""
    majors = sorted({contract.major for _, contract in versions})
    for source, contract in versions:
        older = [major for major in majors if major < contract.major]
        upcast = contract.upcast
        place = ours(source.root, "upcast")
        if upcast is None:
            if older and place.value is None and contract is _newest(versions, contract.major):
                _check_needless(place, contract, _of(versions, older[-1]))
            continue
        if upcast.major not in older[-1:]:
            place["from"].refuse(one_of([str(major) for major in older[-1:]], what="the major before this one"))
            continue
        before = _of(versions, upcast.major)
        fields = {field.name: field for field in contract.fields}
        allowed = [name for name in fields if name not in (*ENVELOPE, *contract.identity.by)]
        types = bench.types(contract.fields)
        for name, sql in upcast.fields.items():
            if name not in allowed:
                place["fields"][name].refuse(
                    one_of(allowed, name, "fields that are no identifiers"), "an unknown field"
                )
                continue
            try:
                bench.check_expression(row_schema(before), sql, types[name], "the older version's columns")
                named = bench.names(sql)
            except SqlRefused as refused:
                place["fields"][name].refuse(refused.allowed, refused.found)
                continue
            private = [
                column.name for column in governing([one for _, one in versions]).values() if _is_private(column)
            ]
            read = sorted(column for column in private if column.lower() in named)
            if read and fields[name].treatment is None:
                place["fields"][name].refuse(
                    f"is made of open values, or the field {name} has a treatment of its own",
                    f"an expression over {', '.join(read)}, which is classified or treated",
                )
        _check_needless(place["fields"], contract, before)


def _is_private(field: Field) -> bool:
    return is_personal(field) or is_treated(field)


def _check_needless(place: Node, contract: EventContract, before: Sequence[EventContract]) -> None:
    """Every field the newer major requires is required in the older one too, or made by the up-cast."""
    given = set(contract.upcast.fields) if contract.upcast else set()
    for field in contract.fields:
        always = all(any(one.name == field.name and one.required for one in older.fields) for older in before)
        if field.required and field.name not in given and not always:
            node = Node(place.source, (*place.path, field.name), None)
            node.refuse(f"is an up-cast of {field.name}, which rows of {before[-1].label} need not have", "nothing")


def _newest(versions: Sequence[tuple[Source, EventContract]], major: int) -> EventContract:
    return _of(versions, major)[-1]


def _of(versions: Sequence[tuple[Source, EventContract]], major: int) -> list[EventContract]:
    return sorted((one for _, one in versions if one.major == major), key=lambda one: one.order)
