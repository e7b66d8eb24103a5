"""Rows drawn in a terminal: lines and points in braille, bars in blocks."""

from collections.abc import Iterator
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text

from analytics_platform.chart.label import moment, number
from analytics_platform.chart.question import Axis, Plot, default_kind
from analytics_platform.contract.panel import Kind

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille cell, four rows of two: Unicode 15, section 21.1."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_COLOURS = ("cyan", "yellow", "magenta", "green", "red", "blue", "bright_cyan", "bright_yellow", "bright_magenta")
_LETTERS = "abcdefghijkl"
_LEAST = (20, 4)


def drawn(plot: Plot, kind: Kind | None, width: int, height: int, *, colours: bool) -> list[Text]:
    """A picture of `width` columns and about `height` lines, its legend and what was left out below.

    Args:
        plot: What to draw.
        kind: None is by what lies along x.
        width: In cells.
        height: In lines, without legend and notes; horizontal bars take a line each, however many there are.
        colours: Whether series are told apart by colour; otherwise each is drawn with a letter of its own.
    """
    kind = kind or default_kind(plot.axis)
    if plot.rows.is_empty():
        return [Text("no rows to draw")]
    width, height = max(width, _LEAST[0]), max(height, _LEAST[1])
    if plot.axis is Axis.TEXT:
        lines = list(_bars(plot, width, colours=colours))
    else:
        lines = _curves(plot, kind, width, height, colours=colours)
    if plot.by is not None:
        lines.append(_legend(plot, colours=colours))
    return [*lines, *(Text(note, style="dim") for note in plot.notes)]


def _bars(plot: Plot, width: int, *, colours: bool) -> Iterator[Text]:
    """Lines, since texts need room; the longest first, bars of one text together."""
    rows = plot.rows.rows()
    totals: dict[str, float] = {}
    for x, _, y in rows:
        totals[x] = totals.get(x, 0) + abs(y)
    room = min(max(cell_len(str(x)) for x in totals), width // 3)
    figures = max(len(number(y)) for *_, y in rows)
    span = max(width - room - figures - 2, 5)
    most = max(abs(y) for *_, y in rows) or 1
    series = plot.series
    for x in sorted(totals, key=lambda text: (-totals[text], text)):
        name = str(x)
        for _, by, y in (row for row in rows if row[0] == x):
            eighths = round(abs(y) / most * span * 8)
            bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
            place = series.index(by)
            if not colours and plot.by is not None:
                bar = _LETTERS[place] * max(len(bar), 1)
            line = Text(set_cell_size(name, room) + " ")
            line.append(bar, style=_style(place, colours=colours))
            line.append(f" {number(y)}")
            yield line
            name = ""


def _curves(plot: Plot, kind: Kind, width: int, height: int, *, colours: bool) -> list[Text]:
    points = [(_place(x), plot.series.index(by), y) for x, by, y in plot.rows.rows()]
    if kind is Kind.BAR:
        points = _stacked(points)
    lows, highs = [y for *_, y in points], [y for *_, y in points]
    low, high = min(*lows, 0), max(*highs, 0)
    high = high if high > low else low + 1
    labels = [number(high), number((low + high) / 2), number(low)]
    margin = max(len(label) for label in labels)
    canvas = _Canvas(max(width - margin - 2, 5), max(height - 2, 2))
    first, last = points[0][0], max(x for x, *_ in points)
    known: dict[int, tuple[int, int]] = {}
    for x, place, y in points:
        here = (
            round((x - first) / ((last - first) or 1) * (canvas.columns * 2 - 1)),
            round((high - y) / (high - low) * (canvas.lines * 4 - 1)),
        )
        if kind is Kind.BAR:
            canvas.line(here, (here[0], round(high / (high - low) * (canvas.lines * 4 - 1))), place)
        else:
            canvas.line(known.get(place, here) if kind is Kind.LINE else here, here, place)
            known[place] = here
    lines = []
    for at, cells in enumerate(canvas.text(letters=not colours and plot.by is not None, colours=colours)):
        label = {0: labels[0], canvas.lines // 2: labels[1], canvas.lines - 1: labels[2]}.get(at, "")
        lines.append(Text(f"{label:>{margin}} │").append_text(cells))
    lines.append(Text(" " * margin + " └" + "─" * canvas.columns))
    begin, end = _end(plot, first), _end(plot, last)
    middle = plot.x if len(begin) + len(end) + len(plot.x) + 2 <= canvas.columns else ""
    space = max(canvas.columns - len(begin) - len(end), 1)
    lines.append(Text(" " * (margin + 2) + begin + middle.center(space) + end))
    lines.insert(0, Text(plot.y, style="bold"))
    return lines


class _Canvas:
    """Dots, two by four in each cell; a cell has the colour of the last series that touched it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.cells = [[(0, 0)] * columns for _ in range(lines)]

    def line(self, start: tuple[int, int], end: tuple[int, int], place: int) -> None:
        """Every dot from one to the other."""
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            x = round(start[0] + (end[0] - start[0]) * step / steps)
            y = round(start[1] + (end[1] - start[1]) * step / steps)
            bits, _ = self.cells[y // 4][x // 2]
            self.cells[y // 4][x // 2] = (bits | _DOTS[y % 4][x % 2], place)

    def text(self, *, letters: bool, colours: bool) -> Iterator[Text]:
        """Its lines from the top."""
        for row in self.cells:
            line = Text()
            for bits, place in row:
                mark = _LETTERS[place] if letters and bits else chr(0x2800 + bits) if bits else " "
                line.append(mark, style=_style(place, colours=colours and bool(bits)))
            yield line


def _stacked(points: list[tuple[float, int, float]]) -> list[tuple[float, int, float]]:
    """Series of one x on top of each other, the tallest first, so that each covers the rest of the one before."""
    reached: dict[float, float] = {}
    stacked = []
    for x, place, y in points:
        reached[x] = reached.get(x, 0) + y
        stacked.append((x, place, reached[x]))
    return sorted(stacked, key=lambda point: (point[0], -abs(point[2])))


def _legend(plot: Plot, *, colours: bool) -> Text:
    legend = Text(f"{plot.by}: ")
    for place, name in enumerate(plot.series):
        legend.append("■ " if colours else f"{_LETTERS[place]} ", style=_style(place, colours=colours))
        legend.append(f"{name}  ")
    return legend


def _style(place: int, *, colours: bool) -> Style:
    return Style(color=_COLOURS[place % len(_COLOURS)]) if colours else Style.null()


def _place(x: datetime | float) -> float:
    return x.timestamp() if isinstance(x, datetime) else x


def _end(plot: Plot, place: float) -> str:
    found = next(x for x in plot.rows["x"] if _place(x) == place)
    return moment(found) if isinstance(found, datetime) else number(found)
