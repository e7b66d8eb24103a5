"""The panels that a domain declares for its dashboard, read from `contracts/<domain>/dashboard.yaml`.

panels:
  - {title: Departures, table: gold.departures_hourly, x: window_start, y: departed, by: origin, kind: bar}
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from polars.datatypes import DataType

from analytics_platform.contract.complaint import one_of
from analytics_platform.contract.model import Domain, ReferenceContract
from analytics_platform.contract.panel import Aggregate, Kind, Panel, Place
from analytics_platform.contract.schema import Column, gold_columns, reference_columns, silver_columns
from analytics_platform.contract.source import Node, Source
from analytics_platform.contract.treatment import governing, is_personal
from analytics_platform.contract.vendor import check_keys

FILE = "dashboard.yaml"
MOST_PANELS = 24

_LONGEST = 100
"""Characters of a title."""


@dataclass(frozen=True, slots=True)
class _Table:
    columns: Mapping[str, DataType]
    """Those a picture may show: no personal ones."""
    personal: frozenset[str]
    grain: frozenset[str]
    """What identifies a row; empty where nothing a picture has does."""


def panels_of(source: Source, domain: Domain) -> tuple[Panel, ...]:
    """Compile the panels; of use only if the source has no complaints.

    Args:
        source: The file.
        domain: Its tables, without complaints.
    """
    root = source.root
    if not check_keys(root, ("panels",)):
        return ()
    nodes = list(root["panels"])
    if root["panels"].value is not None and not 0 < len(nodes) <= MOST_PANELS:
        root["panels"].refuse(f"are 1 to {MOST_PANELS} panels", None if not nodes else f"{len(nodes)} panels")
    tables = dict(_tables(domain))
    references = {f"{item.name}": item for item in domain.references}
    return tuple(panel for node in nodes if (panel := _panel(node, tables, references)) is not None)


def _panel(node: Node, tables: Mapping[str, _Table], references: Mapping[str, ReferenceContract]) -> Panel | None:
    if not check_keys(node, ("title", "table", "x", "y"), ("by", "kind", "aggregate", "last", "map")):
        return None
    if node["title"].value is not None and not 0 < len(node["title"].text.strip()) <= _LONGEST:
        node["title"].refuse(f"is a title of at most {_LONGEST} characters")
    if node["table"].value is None:
        return None
    table = tables.get(node["table"].text)
    if table is None:
        node["table"].refuse(one_of(tables, node["table"].value, "the domain's marts and events"))
        return None
    for key in ("x", "y", "by"):
        _check_column(node[key], table)
    kind, aggregate = _choice(node["kind"], Kind), _choice(node["aggregate"], Aggregate)
    y = table.columns.get(node["y"].text)
    if y is not None and not y.is_numeric() and aggregate is not Aggregate.COUNT:
        node["y"].refuse("is a column of numbers, or aggregate: count")
    last = node["last"].value
    if last is not None and (isinstance(last, bool) or not isinstance(last, int) or last < 1):
        node["last"].refuse("is a number of values of x, from 1")
    known = {node["x"].text, node["by"].text}
    if "aggregate" not in node and kind is not Kind.POINT and not (table.grain and table.grain <= known):
        node["aggregate"].refuse(
            f"{one_of(Aggregate)}: how rows with the same x{' and by' if 'by' in node else ''} become one", "nothing"
        )
    place = _place(node, table, references) if node["map"].value is not None else None
    return Panel(
        title=node["title"].text.strip(),
        table=node["table"].text,
        x=node["x"].text,
        y=node["y"].text,
        by=node["by"].text or None,
        aggregate=Aggregate(aggregate) if aggregate else None,
        kind=Kind(kind) if kind else None,
        last=last if isinstance(last, int) else None,
        place=place,
    )


def _place(node: Node, table: _Table, references: Mapping[str, ReferenceContract]) -> Place | None:
    for key in ("by", "kind", "last"):
        if key in node:
            node[key].refuse("is nothing beside map: every value of x is one point")
    where = node["map"]
    if not check_keys(where, ("reference", "latitude", "longitude")) or where["reference"].value is None:
        return None
    reference = references.get(where["reference"].text)
    if reference is None:
        where["reference"].refuse(one_of(references, where["reference"].value, "the domain's reference tables"))
        return None
    columns = _types(reference_columns(reference))
    key = reference.primary_key[0]
    if len(reference.primary_key) != 1 or columns[key] != table.columns.get(node["x"].text, columns[key]):
        where["reference"].refuse(f"is a reference table whose key is one column of the type of {node['x'].text}")
    for name in ("latitude", "longitude"):
        if where[name].value is not None and not (
            where[name].text in columns and columns[where[name].text].is_numeric()
        ):
            numeric = [column for column, kind in columns.items() if kind.is_numeric()]
            where[name].refuse(one_of(numeric, where[name].value, "columns of numbers, in degrees"))
    return Place(reference.name, key, where["latitude"].text, where["longitude"].text)


def _check_column(node: Node, table: _Table) -> None:
    if node.value is None:
        return
    if node.text in table.personal:
        node.refuse("are columns of open values: a dashboard is a file that leaves the lake", "a classified column")
    elif node.text not in table.columns:
        node.refuse(one_of(table.columns, node.value, "the table's columns"))


def _choice(node: Node, choices: type[StrEnum]) -> str | None:
    if node.value is None:
        return None
    if node.value not in {str(choice) for choice in choices}:
        node.refuse(one_of(choices, node.value))
        return None
    return node.text


def _tables(domain: Domain) -> Iterator[tuple[str, _Table]]:
    for mart in domain.marts:
        personal = frozenset(field.name for field in mart.fields if is_personal(field))
        yield f"gold.{mart.name}", _Table(_open(gold_columns(mart), personal), personal, frozenset(mart.grain))
    for name in sorted({event.name for event in domain.events}):
        versions = domain.versions_of(name)
        personal = frozenset(field.name for field in governing(versions).values() if is_personal(field))
        yield f"silver.{name}", _Table(_open(silver_columns(versions), personal), personal, frozenset())


def _open(columns: tuple[Column, ...], personal: frozenset[str]) -> dict[str, DataType]:
    return {name: kind for name, kind in _types(columns).items() if name not in personal and not kind.is_nested()}


def _types(columns: tuple[Column, ...]) -> dict[str, DataType]:
    return {column.name: column.type for column in columns}
