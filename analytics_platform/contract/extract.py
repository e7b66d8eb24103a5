"""From the texts of many gated values to typed columns, with DuckDB, one query per contract.

Every value that comes here is known to hold what its contract says (see `gate.py`), so the batch decoder's leniency
has nothing left to bend. What only shows here is told in the flag columns, never thrown.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analytics_platform import duck
from analytics_platform.contract.key import key_hash_sql, key_sql, separator_sql
from analytics_platform.contract.model import EventContract, Field, KeyMode, LogicalType
from analytics_platform.contract.place import malformed_sql, plain_sql
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.wire import header_fields, place_of, wire_fields

BATCH = "_gated"
"""The name under which the gated values stand in DuckDB: columns n, v, h0, h1, … for headers, and GIVEN if needed."""
GIVEN = "g"
"""The column that names a record by where it stands, for trace ids that are generated."""

_TYPES = {
    LogicalType.STRING: "VARCHAR",
    LogicalType.INTEGER: "BIGINT",
    LogicalType.NUMBER: "DOUBLE",
    LogicalType.BOOLEAN: "BOOLEAN",
    LogicalType.TIMESTAMP: "VARCHAR",  # converted afterwards: the JSON reader knows no lower-case t and z
    LogicalType.DATE: "DATE",
}
_FIRST, _LAST = "TIMESTAMPTZ '0001-01-01 00:00:00Z'", "TIMESTAMPTZ '9999-12-31 23:59:59.999999Z'"
_SEPARATOR = "\x1f"


ROW = "_n"
"""The column that says which row of BATCH it is; no field can have that name, since theirs begin with a letter."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A column that is true where a row must be refused, and what to say then."""

    column: str
    code: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Extraction:
    """One contract's query over BATCH: columns ROW, the contract's fields, _key_hash and the flags' columns."""

    sql: str
    flags: tuple[Flag, ...]
    objects: tuple[str, ...]
    """JSON paths of every object that the contract describes."""


def extraction(contract: EventContract) -> Extraction:
    """The query that reads one contract's values."""
    wire, headers = wire_fields(contract), header_fields(contract)
    structure = json.dumps({name: _structure(field) for name, field in wire}, ensure_ascii=False)
    columns: list[str] = []
    flags: list[tuple[Flag, str]] = []
    for field in contract.fields:
        source = _raw(contract, field, headers)
        if source is None:
            columns.append(f"CAST(NULL AS VARCHAR) AS {duck.identifier(field.name)}")
            continue
        columns.append(f"{_sent_value(contract, field, source)} AS {duck.identifier(field.name)}")
        flags += _flags(contract, field, source)
    typed = ", ".join([f"n AS {ROW}", *columns, *(f"{sql} AS {duck.identifier(flag.column)}" for flag, sql in flags)])
    key = duck.identifier("idempotency_key")
    final, after = key, []
    if contract.identity.mode is not KeyMode.TRUST:
        for name, sql in separator_sql(contract).items():
            text = f"{name}: an identifier must not hold U+001F"
            after.append((Flag(f"_separator_{name}", Reason.RULE_VIOLATED, text), sql))
    if contract.identity.mode is KeyMode.VERIFY:
        text = "idempotency_key: not the one derived from the business identifiers"
        after.append((Flag("_mismatch", Reason.KEY_MISMATCH, text), f"{key} IS DISTINCT FROM _derived"))
    derived = "NULL" if contract.identity.mode is KeyMode.TRUST else key_sql(contract)
    if contract.identity.mode is KeyMode.DERIVE:
        final = "_derived"
    sql = (
        f"WITH parsed AS (SELECT * EXCLUDE (v), json_transform(v, {duck.literal(structure)}) AS t FROM {BATCH}),"
        f" typed AS (SELECT {typed} FROM parsed),"
        f" keyed AS (SELECT *, {derived} AS _derived FROM typed)"
        f" SELECT * EXCLUDE (_derived) REPLACE ({final} AS {key}), {key_hash_sql(final)} AS _key_hash"
        + "".join(f", {sql} AS {duck.identifier(flag.column)}" for flag, sql in after)
        + " FROM keyed"
    )
    paths = [path for name, field in wire for path in _objects(field, f"$.{_quoted(name)}")]
    return Extraction(sql, tuple(flag for flag, _ in [*flags, *after]), ("$", *paths))


def _flags(contract: EventContract, field: Field, raw: str) -> Iterator[tuple[Flag, str]]:
    """What may be wrong with a field that the gate let through, each with its condition."""
    place = place_of(contract, field.name)
    generated = field.name == "trace_id" and contract.generate_trace_id
    if malformed := malformed_sql(place.form, raw):
        yield Flag(f"_form_{field.name}", Reason.WRONG_TYPE, f"{place}: not a W3C traceparent"), malformed
    if wrong := _wrong(field, raw):
        yield Flag(f"_wrong_{field.name}", Reason.WRONG_TYPE, f"{field.name}: time out of range"), wrong
    elif field.required and not generated and len(place.spots) > 1:
        yield Flag(f"_null_{field.name}", Reason.MISSING_FIELD, f"{place}: missing"), f"{raw} IS NULL"
    elif field.required and not generated:
        yield Flag(f"_null_{field.name}", Reason.WRONG_TYPE, f"{field.name}: cannot be read"), f"{raw} IS NULL"


def _raw(contract: EventContract, field: Field, headers: Sequence[tuple[str, Field]]) -> str | None:
    """What stands at a field's place, in SQL; None for a key that is derived whatever was sent."""
    if field.name == "idempotency_key" and contract.identity.mode is KeyMode.DERIVE:
        return None
    columns = {(name, one.name): f"h{number}" for number, (name, one) in enumerate(headers)}
    found = []
    for spot in place_of(contract, field.name).spots:
        path = ("t", contract.payload_in, spot.name) if spot.data and contract.payload_in else ("t", spot.name)
        inside = ".".join(map(duck.identifier, path))
        found.append(columns[spot.name, field.name] if spot.header else inside)
    return found[0] if len(found) == 1 else f"coalesce({', '.join(found)})"


def _sent_value(contract: EventContract, field: Field, raw: str) -> str:
    """The typed value of what stands at a field's place."""
    if field.name == "event_type" and contract.sent_as != contract.name:
        return duck.literal(contract.name)
    value = plain_sql(place_of(contract, field.name).form, _value(field, raw))
    if field.name == "trace_id" and contract.generate_trace_id:
        return f"coalesce({value}, md5({GIVEN}))"
    return value


def invalid(connection: duck.DuckDBPyConnection) -> set[int]:
    """The n of BATCH whose JSON DuckDB does not take: rare faults in fields the contract does not know."""
    return {n for (n,) in connection.execute(f"SELECT n FROM {BATCH} WHERE NOT json_valid(v)").fetchall()}


def duplicated(connection: duck.DuckDBPyConnection, objects: Sequence[str]) -> dict[int, str]:
    """The n of BATCH in which an object at one of the paths has a key twice, with a sentence that says where.

    The records of a topic share a few lists of keys, so distinct lists are looked at, not records; only when one of
    them repeats a key are its records looked up.
    """
    plain = [path for path in objects if "[*]" not in path]
    inside_lists = [path for path in objects if "[*]" in path]
    all_keys = [f"json_keys(v, [{', '.join(map(duck.literal, plain))}])"]
    all_keys += [f"json_keys(v, {duck.literal(path)})" for path in inside_lists]
    # Joined text and length say the same as the list unless a key holds the separator: `_repeats` suspects those too.
    lists = " UNION ALL ".join(f"SELECT unnest({keys}) AS keys FROM {BATCH}" for keys in all_keys)
    distinct = connection.execute(
        f"SELECT DISTINCT array_to_string(keys, chr(31)), len(keys) FROM ({lists}) WHERE keys IS NOT NULL"
    ).fetchall()
    suspects = {joined for joined, size in distinct if _repeats(joined, size)}
    if not suspects:
        return {}
    found: dict[int, str] = {}
    for path in objects:
        keys = f"json_keys(v, {duck.literal(path)})"
        each = f"SELECT n, {f'unnest({keys})' if path in inside_lists else keys} AS keys FROM {BATCH}"
        rows = connection.execute(
            f"SELECT n, keys FROM ({each}) WHERE array_to_string(keys, chr(31)) IN (SELECT unnest($1))",
            [list(suspects)],
        ).fetchall()
        for n, names in rows:
            if len(set(names)) < len(names):
                found.setdefault(n, f"{_readable(path)}: a key stands twice")
    return found


def _repeats(joined: str, size: int) -> bool:
    parts = joined.split(_SEPARATOR)
    return size > 0 and (len(parts) != size or len(set(parts)) < size)


def _structure(field: Field) -> object:
    if field.type is LogicalType.OBJECT:
        return {inner.name: _structure(inner) for inner in field.fields}
    if field.type is LogicalType.ARRAY and field.item is not None:
        return [_structure(field.item)]
    return _TYPES[field.type]


def _value(field: Field, sql: str) -> str:
    """The typed value of a raw one; only what holds a timestamp differs."""
    if not _has_time(field):
        return sql
    if field.type is LogicalType.OBJECT:
        inner = ", ".join(
            f"{duck.identifier(one.name)} := {_value(one, f'{sql}.{duck.identifier(one.name)}')}"
            for one in field.fields
        )
        return f"CASE WHEN {sql} IS NOT NULL THEN struct_pack({inner}) END"
    if field.type is LogicalType.ARRAY and field.item is not None:
        x = _variable(sql)
        return f"list_transform({sql}, lambda {x}: {_value(field.item, x)})"
    return f"TRY_CAST(upper({sql}) AS TIMESTAMPTZ)"


def _wrong(field: Field, sql: str) -> str | None:
    """The condition that some timestamp inside is none that a table can hold; None when there is none inside."""
    if not _has_time(field):
        return None
    if field.type is LogicalType.OBJECT:
        inner = [_wrong(one, f"{sql}.{duck.identifier(one.name)}") for one in field.fields]
        return " OR ".join(f"({one})" for one in inner if one)
    if field.type is LogicalType.ARRAY and field.item is not None:
        x = _variable(sql)
        return f"coalesce(list_bool_or(list_transform({sql}, lambda {x}: {_wrong(field.item, x)})), false)"
    return f"({sql} IS NOT NULL AND coalesce({_value(field, sql)} NOT BETWEEN {_FIRST} AND {_LAST}, true))"


def _variable(sql: str) -> str:
    """A name for a list's element that no list around it has."""
    return f"x{sql.count('x') + len(sql)}"


def _has_time(field: Field) -> bool:
    inner = [*field.fields, *([field.item] if field.item is not None else [])]
    return field.type is LogicalType.TIMESTAMP or any(_has_time(one) for one in inner)


def _objects(field: Field, path: str) -> Iterator[str]:
    if field.type is LogicalType.OBJECT:
        yield path
        for inner in field.fields:
            yield from _objects(inner, f"{path}.{_quoted(inner.name)}")
    if field.type is LogicalType.ARRAY and field.item is not None:
        yield from _objects(field.item, f"{path}[*]")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'


def _readable(path: str) -> str:
    name = path.removeprefix("$").removeprefix(".").replace('"', "").replace("[*]", "[]")
    return name or "the value"
