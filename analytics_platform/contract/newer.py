"""Fields that producers already send and no contract knows yet, counted: rows that claim a newer version than any known.

The newest contract of their major reads such rows; what it does not name stays in bronze. So that somebody hears of it,
the names are counted, with two bounds against whatever else may stand there, such as an object with people's names as
keys: a name that no field would have is counted as OTHER, and of a version only so many paths are told.

Counts of two batches add up to those of the batch that holds both: of what is beyond a bound the first in order are
kept, not the most frequent, and the first of a part are always among the first of the part.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.model import EventContract, Field, LogicalType
from analytics_platform.contract.wire import place_of, wire_fields

MAX_VERSIONS = 5
"""So many newer versions of one contract are told apart, the lowest."""
MAX_PATHS = 20
"""So many paths of one version are told apart, those nearest to the top."""
OTHER, REST = "(other)", "…"
"""A name that no field would have; versions or paths beyond the bounds."""

_ROWS = "_ahead"
_NUMBERS = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:[-+].*)?", re.ASCII | re.DOTALL)
# A field's name has few digits; a number of a customer, a hash or a time has many.
_FIELD = "[A-Za-z_]+(?:[0-9][A-Za-z_]*){0,3}"
_LONGEST = 40


class Sight(NamedTuple):
    """Something that rows of a newer version had."""

    event: str
    known: str
    """The version of the contract that read them."""
    claimed: str
    """Their own, without what follows its three numbers; REST beyond the bound."""
    path: str
    """Of the field, as `ship.floor` or `items[].colour`; empty for the row itself, REST beyond the bound."""


Sights = Mapping[Sight, int]
"""Numbers of rows; of paths beyond the bound, the sum of each one's rows."""


def sights(
    batch: pl.DataFrame, claimed: pl.Series, contract: EventContract, connection: duck.DuckDBPyConnection
) -> Sights:
    """Count what rows have that claim a newer version than the contract that reads them.

    Args:
        batch: A column v, the values as text: valid JSON, in which no object that the contract describes has a key twice.
        claimed: Their versions, as the gate has read them.
        contract: The newest of their major.
        connection: To count with.
    """
    versions = claimed.filter(claimed != contract.header.version).unique().to_list()
    ahead = {version: shown for version in versions if (shown := _ahead(version, contract)) is not None}
    if not ahead:
        return {}
    newer = claimed.is_in(list(ahead))
    rows = batch.filter(newer).select(
        "v", claimed.filter(newer).replace_strict(ahead, return_dtype=pl.String).alias("c")
    )
    found = {(version, ""): count for version, count in rows["c"].value_counts().iter_rows()}
    connection.register(_ROWS, rows.to_arrow(compat_level=pl.CompatLevel.newest()))
    try:
        for version, path, count in connection.execute(_sql(contract)).fetchall():
            found[version, path] = count
    finally:
        connection.unregister(_ROWS)
    name, known = contract.name, contract.header.version
    return together([{Sight(name, known, version, path): count for (version, path), count in found.items()}])


def together(counted: Iterable[Sights]) -> Sights:
    """The sums, within the bounds."""
    sums: Counter[Sight] = Counter()
    for one in counted:
        sums.update(one)
    found: Counter[Sight] = Counter()
    for _, same in groupby(sorted(sums, key=_order), lambda sight: sight[:2]):
        for number, (version, of_version) in enumerate(groupby(same, lambda sight: sight.claimed)):
            beyond = number >= MAX_VERSIONS or version == REST
            for place, sight in enumerate(of_version):
                if not beyond:
                    kept = sight if place <= MAX_PATHS and sight.path != REST else sight._replace(path=REST)
                    found[kept] += sums[sight]
                elif not sight.path:
                    found[sight._replace(claimed=REST)] += sums[sight]
    return dict(found)


def sentences(counted: Sights) -> Iterator[str]:
    """One for each event type and contract, as logs and the UI show it."""
    for (event, known), same in groupby(sorted(counted, key=_order), lambda sight: sight[:2]):
        told = []
        for version, of_version in groupby(same, lambda sight: sight.claimed):
            row, *paths = of_version
            fields = ", ".join(f"{sight.path} in {counted[sight]:,}" for sight in paths)
            told.append(
                f"{counted[row]:,} of {'other versions' if version == REST else version}"
                + f" ({fields})" * bool(fields)
            )
        yield f"{event}: this lake knows {known}, producers sent newer rows: {'; '.join(told)}"


def _ahead(version: str, contract: EventContract) -> str | None:
    """A version that is newer than the contract's, as it is told; None for any other."""
    numbers = _NUMBERS.fullmatch(version)
    if numbers is None:  # the gate has let it through, so it is one of very long numbers
        return REST if _long(version) > _long(contract.header.version) else None
    order = tuple(int(number) for number in numbers.groups())
    return ".".join(map(str, order)) if order > contract.order else None


def _long(version: str) -> list[tuple[int, str]]:
    """By what versions are ordered whose numbers int() refuses."""
    return [(len(number), number) for number in re.split("[-+]", version, maxsplit=1)[0].split(".")]


def _order(sight: Sight) -> tuple[str, str, bool, list[tuple[int, str]], bool, int, str]:
    """Lower versions first, then paths from the top down; what is beyond a bound last."""
    depth = len(re.split(r"[.\[]", sight.path)) if sight.path else 0
    version = [] if sight.claimed == REST else _long(sight.claimed)
    return (sight.event, sight.known, sight.claimed == REST, version, sight.path == REST, depth, sight.path)


def _sql(contract: EventContract) -> str:
    """The query: version, path and number of rows of every field that the contract does not name."""
    known: dict[tuple[str, str], set[str]] = {}
    for json_path, prefix, names in _objects(contract):
        known.setdefault((json_path, prefix), set()).update(names)
    plain = [key for key in known if "[*]" not in key[0]]
    lists = [key for key in known if "[*]" in key[0]]
    keys = [f"json_keys(v, [{', '.join(duck.literal(path) for path, _ in plain)}])"] if plain else []
    # Sorted, so that rows share lists however many objects of whatever order they hold.
    keys += [f"[list_sort(list_distinct(flatten(json_keys(v, {duck.literal(path)}))))]" for path, _ in lists]
    objects = ", ".join(
        f"({number}, {duck.literal(key[1])}, [{', '.join(map(duck.literal, sorted(known[key])))}]::VARCHAR[])"
        for number, key in enumerate([*plain, *lists], start=1)
    )
    named = f"CASE WHEN length(k) <= {_LONGEST} AND regexp_full_match(k, '{_FIELD}') THEN k ELSE '{OTHER}' END"
    # Producers share a few lists of keys, so distinct lists are looked at, not rows. Two names of a row may have become
    # one, or stand in two objects of a list: rows are counted, so each counts once.
    return (
        f"WITH objects(o, prefix, known) AS (VALUES {objects}),"
        f" found AS (SELECT c, {' || '.join(keys)} AS keys FROM {_ROWS}),"
        f" each AS (SELECT c, generate_subscripts(keys, 1) AS o, unnest(keys) AS keys FROM found),"
        f" lists AS (SELECT c, o, keys, count(*) AS n FROM each WHERE keys IS NOT NULL GROUP BY ALL),"
        f" names AS (SELECT c, o, prefix, n, unnest(list_distinct(list_transform("
        f"list_filter(keys, lambda k: NOT list_contains(known, k)), lambda k: {named}))) AS name"
        f" FROM lists JOIN objects USING (o)),"
        f" sums AS (SELECT c, o, prefix, name, sum(n) AS n FROM names GROUP BY ALL),"
        f" ranked AS (SELECT *, row_number() OVER (PARTITION BY c, o ORDER BY name) AS r FROM sums)"
        f" SELECT c, CASE WHEN r <= {MAX_PATHS} THEN prefix || name ELSE '{REST}' END, sum(n)::BIGINT"
        f" FROM ranked GROUP BY ALL"
    )


def _objects(contract: EventContract) -> Iterator[tuple[str, str, set[str]]]:
    """Every object in which names are counted: its JSON path, how its fields' paths begin, and the names it may have.

    Of a structured CloudEvent that is the payload: its other members are not the contract's.
    """
    top, wire = "$", wire_fields(contract)
    if contract.payload_in is not None:
        top = f"$.{_quoted(contract.payload_in)}"
        wire = [(one.name, one) for name, field in wire if name == contract.payload_in for one in field.fields]
    # A key that the contract derives may be sent all the same.
    key = {spot.name for spot in place_of(contract, "idempotency_key").spots}
    yield top, "", key | {name for name, _ in wire}
    for name, field in wire:
        yield from _inside(field, f"{top}.{_quoted(name)}", name)


def _inside(field: Field, json_path: str, path: str) -> Iterator[tuple[str, str, set[str]]]:
    if field.type is LogicalType.OBJECT:
        yield json_path, f"{path}.", {one.name for one in field.fields}
        for one in field.fields:
            yield from _inside(one, f"{json_path}.{_quoted(one.name)}", f"{path}.{one.name}")
    if field.type is LogicalType.ARRAY and field.item is not None:
        yield from _inside(field.item, f"{json_path}[*]", f"{path}[]")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'
