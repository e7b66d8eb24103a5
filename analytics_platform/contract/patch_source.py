"""Patches read from their files: what they say, and whether it can be done.

contracts/<domain>/<event>/<name>.patch.yaml
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import polars as pl

from analytics_platform.contract.cloudevents import every_reading
from analytics_platform.contract.complaint import one_of
from analytics_platform.contract.model import EventContract, Field
from analytics_platform.contract.patch import REPAIRABLE, Patch
from analytics_platform.contract.place import Form
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.schema import INSTANT
from analytics_platform.contract.source import Node, Source
from analytics_platform.contract.sql import Bench, SqlRefused
from analytics_platform.contract.treatment import governing, is_personal, is_treated
from analytics_platform.contract.vendor import check_keys
from analytics_platform.contract.wire import place_of

COLUMNS = {"value": pl.String(), "kafka_timestamp": INSTANT}
"""What a patch's expressions may name: the record's value as JSON, and the broker's or producer's time of it."""
_OVER = " and ".join(COLUMNS)


def patch_of(source: Source, domain: str, event: str, name: str) -> Patch | None:
    """Compile a patch; it is of use only if its source has no complaints.

    Args:
        source: The file.
        domain: What its folders say.
        event: Likewise.
        name: What it is named for.
    """
    root = source.root
    required = ("description", "domain", "event", "major", "codes", "ingestedBefore", "set")
    if not check_keys(root, required, ("sources", "ingestedFrom", "where", "withdrawn")):
        return None
    for key, expected in (("domain", domain), ("event", event)):
        if root[key].value is not None and root[key].value != expected:
            root[key].refuse(f"is {expected}, the name of its folder")
    if root["description"].value is not None and not root["description"].text.strip():
        root["description"].refuse("says in words what went wrong")
    major = root["major"].value
    if major is not None and (isinstance(major, bool) or not isinstance(major, int)):
        root["major"].refuse("is a major version as in 1")
    start, end = _time(root["ingestedFrom"]), _time(root["ingestedBefore"])
    if start is not None and end is not None and start >= end:
        root["ingestedBefore"].refuse("is a time after ingestedFrom")
    if root["withdrawn"].value not in {None, True, False}:
        root["withdrawn"].refuse("is true or false")
    where, fields = root["where"], root["set"]
    _check_sql(where, fields)
    codes = tuple(_codes(root["codes"]))
    sources = tuple(_texts(root["sources"], "are the sources of records"))
    if source.complaints or end is None:
        return None
    return Patch(
        name=name,
        description=root["description"].text.strip(),
        event=event,
        major=int(major),
        codes=codes,
        sources=sources,
        start=start,
        end=end,
        where=where.text or None,
        fields={key: fields[key].text for key in fields.keys},
        withdrawn=root["withdrawn"].value is True,
        path=source.path,
        digest=source.digest,
    )


def _check_sql(where: Node, fields: Node) -> None:
    if where.value is not None and not where.text.strip():
        where.refuse(f"is a condition in SQL over {_OVER}")
    if fields.value is not None and not fields.keys:
        fields.refuse("is a mapping of fields to SQL expressions")
    for key in fields.keys:
        if not fields[key].text.strip():
            fields[key].refuse(f"is an SQL expression over {_OVER}")


def check_patches(patches: Sequence[tuple[Source, Patch]], versions: Sequence[EventContract], bench: Bench) -> None:
    """Complain about patches of one event that set what is not there, or what they must not.

    `versions`: the event's contracts, without complaints.
    """
    majors = sorted({contract.major for contract in versions})
    for source, patch in patches:
        if patch.major not in majors:
            source.root["major"].refuse(one_of(map(str, majors), what="the majors of this event"))
            continue
        if patch.where is not None:
            _try(source.root["where"], patch.where, "BOOLEAN", bench)
        contract = newest(versions, patch.major)
        for path, sql in patch.fields.items():
            node = source.root["set"][path]
            chain = fields_along(contract, path)
            settable = [name for name in _names(contract.fields) if not _unsettable(contract, name)]
            if chain is None:
                node.refuse(one_of(settable, path, f"the fields of {contract.label}"), "an unknown field")
            elif why := _unsettable(contract, path):
                node.refuse(one_of(settable, what="fields of the value"), why)
            elif _try(node, sql, bench.types(chain[-1:])[chain[-1].name], bench):
                _check_private(node, sql, chain[0], versions, bench)


def newest(versions: Sequence[EventContract], major: int) -> EventContract:
    """The newest version of a major, by which its patches are written."""
    return max((one for one in versions if one.major == major), key=lambda one: one.order)


def fields_along(contract: EventContract, path: str) -> tuple[Field, ...] | None:
    """The fields that a path goes through, the one it names last; None where there is none of that path."""
    found: list[Field] = []
    fields = contract.fields
    for name in path.split("."):
        field = next((one for one in fields if one.name == name), None)
        if field is None:
            return None
        found.append(field)
        fields = field.fields
    return tuple(found)


def _names(fields: Sequence[Field], before: str = "") -> Iterator[str]:
    for field in fields:
        yield before + field.name
        yield from _names(field.fields, f"{before}{field.name}.")


def _unsettable(contract: EventContract, path: str) -> str | None:
    """Why a field cannot be set, as a complaint's `found`."""
    name = path.split(".", maxsplit=1)[0]
    if name == "idempotency_key":
        return "the idempotency key: a record enters under its own"
    for read in every_reading(contract):
        place = place_of(read, name)
        if len(place.spots) > 1 or place.spots[0].header:
            return "a field that comes from a header"
        if place.form is not Form.PLAIN:
            return "a field that is written in another form"
    return None


def _try(node: Node, sql: str, kind: str, bench: Bench) -> bool:
    try:
        bench.check_expression(COLUMNS, sql, kind, _OVER)
    except SqlRefused as refused:
        node.refuse(refused.allowed, refused.found)
        return False
    return True


def _check_private(node: Node, sql: str, target: Field, versions: Sequence[EventContract], bench: Bench) -> None:
    """A classified or treated value comes into no field that would show it."""
    if target.treatment is not None:
        return
    names, holders = set[str](), set[str]()
    for field in governing(versions).values():
        if is_personal(field) or is_treated(field):
            names.add(field.name)
            readings = [read for version in versions for read in every_reading(version)]
            names |= {spot.name for read in readings for spot in place_of(read, field.name).spots if not spot.header}
            holders |= {read.payload_in for read in readings if read.payload_in is not None}
    if not names:
        return
    paths = bench.paths(sql, "value")
    if paths is None or any(path[-1] in holders for path in paths):
        node.refuse(
            "are paths of single fields, as in value->>'name': the event has classified or treated ones",
            "an expression that may read the whole value",
        )
    elif read := sorted({name for path in paths for name in path} & names):
        node.refuse(
            f"is made of open values, or the field {target.name} has a treatment of its own",
            f"an expression over {', '.join(read)}, which is classified or treated",
        )


def _codes(node: Node) -> Iterator[Reason]:
    known = {str(reason): reason for reason in REPAIRABLE}
    for item in _items(node, "are the reason codes of the records to mend"):
        if item.text in known:
            yield known[item.text]
        else:
            item.refuse(one_of(known, item.value, "the codes of records whose value is an object"))


def _texts(node: Node, allowed: str) -> Iterator[str]:
    for item in _items(node, allowed) if node.value is not None else ():
        if not item.text:
            item.refuse("is text")
        yield item.text


def _items(node: Node, allowed: str) -> list[Node]:
    items = list(node)
    if not items and node.value is not None:
        node.refuse(allowed)
    return items


def _time(node: Node) -> datetime | None:
    if node.value is None:
        return None  # complained about as missing, where it is required
    try:
        at = datetime.fromisoformat(node.text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        node.refuse("is a time as in 2026-12-31T00:00:00Z")
        return None
    return at.astimezone(UTC)
