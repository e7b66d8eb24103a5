"""Where rows come from and go to, as a drawing: boxes in columns by layer, lines from left to right."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from analytics_platform.contract.model import Domain, table_name

_LAYERS = ("topic", "bronze", "silver", "gold")
"""What stands over the columns."""
_COLUMN = {"topic": 0, "bronze": 1, "silver": 2, "quarantine": 2, "reference": 2, "gold": 3}
_RANK = {"silver": 0, "quarantine": 1, "reference": 2}
_LETTER, _PADDING, _HEIGHT = 7.3, 22, 28
_GAP_X, _GAP_Y, _TOP = 44, 12, 26

Table = tuple[str, str]
"""Layer and name; the layer of a topic is `topic`."""


@dataclass(frozen=True, slots=True)
class Box:
    """A table or topic in the drawing, in pixels."""

    layer: str
    label: str
    x: float
    y: float
    width: float
    height: float
    is_focus: bool


@dataclass(frozen=True, slots=True)
class Line:
    """From one box to another."""

    d: str
    """Of the SVG path."""
    layer: str
    """Of the box it leads to."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A lineage laid out."""

    title: str
    width: float
    height: float
    heads: tuple[tuple[float, str], ...]
    """What stands over the columns, and where."""
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def edges(domain: Domain) -> list[tuple[Table, Table]]:
    """Every step of a domain's rows: topic, bronze, silver and quarantine, gold."""
    found: set[tuple[Table, Table]] = set()
    for event in domain.events:
        bronze = ("bronze", table_name(event.topic))
        found |= {
            (("topic", event.topic), bronze),
            (bronze, ("silver", event.name)),
            (bronze, ("quarantine", domain.name)),
        }
    found |= {(("silver", one.name), ("reference", one.name)) for one in domain.followed}
    for mart in domain.marts:
        gold = ("gold", mart.name)
        found |= {(("silver", name), gold) for name in mart.silver_inputs}
        found |= {(("reference", name), gold) for name in mart.reference_inputs}
        found |= {(("gold", name), gold) for name in mart.gold_inputs}
    return sorted(found)


def around(found: Collection[tuple[Table, Table]], focus: Table) -> list[tuple[Table, Table]]:
    """The steps that lead to a table or away from it, and from where its topics' bad rows go."""
    up, down = _reached(found, focus, 1), _reached(found, focus, 0)
    return [
        (start, end)
        for start, end in found
        if {start, end} <= up or {start, end} <= down or (start in up and end[0] == "quarantine")
    ]


def _reached(found: Collection[tuple[Table, Table]], start: Table, end: int) -> set[Table]:
    """What is reached from a table, along the lines (`end` 0) or against them (1)."""
    reached, left = {start}, [start]
    while left:
        here = left.pop()
        fresh = {edge[1 - end] for edge in found if edge[end] == here} - reached
        reached |= fresh
        left += sorted(fresh)
    return reached


def drawn(title: str, found: Iterable[tuple[Table, Table]], focus: Table | None = None) -> Drawing:
    """Lay the steps out; `focus` is shown even where no step leads to it."""
    steps = sorted(found)
    tables = {table for edge in steps for table in edge} | ({focus} if focus else set())
    columns: dict[int, list[Table]] = defaultdict(list)
    for table in sorted(tables, key=lambda item: _order(item, steps)):
        columns[_COLUMN[table[0]]].append(table)
    tallest = max((len(column) for column in columns.values()), default=0)
    height = _TOP + tallest * (_HEIGHT + _GAP_Y)
    places: dict[Table, Box] = {}
    heads = []
    x = 1.0
    for number in sorted(columns):
        width = max(len(_label(table)) for table in columns[number]) * _LETTER + _PADDING
        heads.append((x + width / 2, _LAYERS[number]))
        y = _TOP + (tallest - len(columns[number])) * (_HEIGHT + _GAP_Y) / 2
        for table in columns[number]:
            places[table] = Box(table[0], _label(table), _px(x), _px(y), _px(width), _HEIGHT, table == focus)
            y += _HEIGHT + _GAP_Y
        x += width + _GAP_X
    lines = tuple(Line(_curve(places[start], places[end]), end[0]) for start, end in steps)
    return Drawing(
        title, _px(x - _GAP_X + 1), height, tuple((_px(at), name) for at, name in heads), tuple(places.values()), lines
    )


def _order(table: Table, steps: Collection[tuple[Table, Table]]) -> tuple[object, ...]:
    """Within a column: silver by what it comes from, then quarantine, then reference tables."""
    sources = sorted(start[1] for start, end in steps if end == table) if table[0] == "silver" else []
    return (_RANK.get(table[0], 0), sources, table[1])


def _label(table: Table) -> str:
    return table[1] if table[0] == "topic" else ".".join(table)


def _curve(start: Box, end: Box) -> str:
    x1, y1 = start.x + start.width, start.y + start.height / 2
    x2, y2 = end.x, end.y + end.height / 2
    middle = _px((x1 + x2) / 2)
    return f"M{_px(x1)} {_px(y1)} C{middle} {_px(y1)} {middle} {_px(y2)} {_px(x2)} {_px(y2)}"


def _px(value: float) -> float:
    return round(value, 1)
