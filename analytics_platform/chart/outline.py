"""Borders of countries and of the states of the USA, as lines to lay under a map.

`outline.json` holds lists of [longitude, latitude]: countries from world-atlas 2.0.2 (countries-110m, of Natural Earth,
public domain) and states from us-atlas 3.0.1 (states-10m, of the U.S. Census Bureau, public domain), rounded. Both
packages are © Michael Bostock under the ISC licence, which stands in `outline.LICENSE`.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

Line = list[list[float]]

_MARGIN = 0.15
_LEAST = 1.0
"""Degrees that a view spans at least, so that one point has a surrounding."""
_POLE = 85.0
"""Mercator has no poles."""


@dataclass(frozen=True, slots=True)
class View:
    """A part of the world, in degrees."""

    west: float
    south: float
    east: float
    north: float

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude in the middle of the picture."""
        low, high = _mercator(self.south), _mercator(self.north)
        return (self.west + self.east) / 2, math.degrees(2 * math.atan(math.exp((low + high) / 2)) - math.pi / 2)

    def scale(self, width: int, height: int) -> float:
        """Pixels per radian at which all of it fits."""
        across = math.radians(self.east - self.west)
        return min(width / across, height / (_mercator(self.north) - _mercator(self.south)))

    def touches(self, line: Line) -> bool:
        """Whether a line's box meets this one."""
        across, along = [point[0] for point in line], [point[1] for point in line]
        return (
            min(across) <= self.east
            and max(across) >= self.west
            and min(along) <= self.north
            and max(along) >= self.south
        )


def view_of(points: list[tuple[float, float]]) -> View:
    """What shows all points (longitude, latitude), with some space around."""
    across = [x for x, _ in points]
    along = [max(-_POLE, min(y, _POLE)) for _, y in points]
    side = max((max(across) - min(across)) * _MARGIN, _LEAST)
    edge = max((max(along) - min(along)) * _MARGIN, _LEAST)
    return View(min(across) - side, max(min(along) - edge, -_POLE), max(across) + side, min(max(along) + edge, _POLE))


def lines_in(view: View, width: int, height: int) -> list[Line]:
    """The borders that a picture of a view shows, however its sides relate to the view's."""
    x, _ = view.centre
    scale = view.scale(width, height)
    across = math.degrees(width / scale) / 2
    middle = (_mercator(view.south) + _mercator(view.north)) / 2
    south, north = (
        math.degrees(2 * math.atan(math.exp(middle + half)) - math.pi / 2)
        for half in (-height / scale / 2, height / scale / 2)
    )
    seen = View(x - across, south, x + across, north)
    lines: list[Line] = json.loads((Path(__file__).parent / "outline.json").read_text(encoding="utf-8"))
    return [line for line in lines if seen.touches(line)]


def _mercator(latitude: float) -> float:
    return math.log(math.tan(math.pi / 4 + math.radians(max(-_POLE, min(latitude, _POLE))) / 2))
