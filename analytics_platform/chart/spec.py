"""Rows as a Vega-Lite specification (version 5): https://vega.github.io/vega-lite/docs/spec.html."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from analytics_platform.chart.label import moment, number
from analytics_platform.chart.outline import lines_in, view_of
from analytics_platform.chart.question import Axis, Plot, default_kind
from analytics_platform.contract.panel import Kind

Spec = dict[str, Any]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
"""Which version is meant; nothing is fetched from there."""
_CLOCK = "utcFormat(datum.value, {minutes: '%H:%M', hours: '%H:%M'})"
"""Hours as the rest of the world writes them."""
_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""Fonts of equal widths, since room for a text is measured here and the text is drawn by a browser."""
_FEW = 40
"""Values of x whose points may be seen on a line; one alone would show nothing otherwise."""
_CONFIG: Spec = {
    "font": _FONT,
    "background": "#ffffff",
    "view": {"stroke": "#dfe3e6"},
    "axis": {"gridColor": "#eceff1", "labelColor": "#5c6670", "titleColor": "#1f2328", "labelLimit": 160},
    "legend": {"labelLimit": 200},
    "range": {"category": {"scheme": "tableau20"}},
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A point of a map."""

    name: str
    longitude: float
    latitude: float
    y: float


def chart_spec(plot: Plot, kind: Kind | None, width: int, height: int) -> Spec:
    """A picture of rows that lie along an axis, `width` by `height` pixels inside of its axes."""
    kind = kind or default_kind(plot.axis)
    few = plot.rows["x"].n_unique() <= _FEW
    marks: dict[Kind, Spec] = {
        # Points that nobody sees among many, so that a pointer finds each value.
        Kind.LINE: {"type": "line", "strokeWidth": 1.5, "point": {"size": 18} if few else "transparent"},
        Kind.BAR: {"type": "bar"},
        Kind.POINT: {"type": "point", "filled": True, "opacity": 0.6, "size": 25},
    }
    types = {Axis.TIME: "temporal", Axis.NUMBER: "quantitative", Axis.TEXT: "nominal"}
    x: Spec = {"field": "x", "type": types[plot.axis], "title": plot.x}
    if plot.axis is Axis.TIME:
        x |= {"scale": {"type": "utc"}, "axis": {"labelOverlap": True, "labelExpr": _CLOCK}}
    elif plot.axis is Axis.TEXT:
        x |= {"sort": "-y", "axis": {"labelAngle": -45 if plot.rows["x"].n_unique() > 8 else 0}}
    encoding: Spec = {
        "x": x,
        "y": {"field": "y", "type": "quantitative", "title": plot.y},
        "description": {"field": "said"},
    }
    if plot.by is not None:
        encoding["color"] = {"field": "by", "type": "nominal", "title": plot.by}
    rows = [{"x": _json(x), "by": by, "y": y, "said": _said(plot, x, by, y)} for x, by, y in plot.rows.rows()]
    if kind is Kind.BAR and plot.axis is not Axis.TEXT:
        _stack(plot, rows)
        encoding |= {"x2": {"field": "end"}, "y2": {"field": "base"}}
    return _spec(width, height, data={"values": rows}, mark=marks[kind], encoding=encoding)


def map_spec(spots: list[Spot], title: str, width: int, height: int) -> Spec:
    """A map of at least one spot, coloured by y, over the borders of countries and of the states of the USA."""
    view = view_of([(spot.longitude, spot.latitude) for spot in spots])
    borders = {"type": "MultiLineString", "coordinates": lines_in(view, width, height)}
    values = [
        {
            "longitude": spot.longitude,
            "latitude": spot.latitude,
            "y": spot.y,
            "said": f"{spot.name}: {title} {number(spot.y)}",
        }
        for spot in spots
    ]
    signed = min(spot.y for spot in spots) < 0 < max(spot.y for spot in spots)
    scale: Spec = (
        {"scheme": "redyellowblue", "reverse": True, "domainMid": 0} if signed else {"scheme": "yelloworangered"}
    )
    layers = [
        {
            "data": {"values": [{"type": "Feature", "properties": {}, "geometry": borders}]},
            "mark": {"type": "geoshape", "filled": False, "stroke": "#b4bcc2", "clip": True, "aria": False},
        },
        {
            "data": {"values": values},
            "mark": {
                "type": "circle",
                "size": 70,
                "opacity": 0.95,
                "stroke": "#5c6670",
                "strokeWidth": 0.5,
                "clip": True,
            },
            "encoding": {
                "longitude": {"field": "longitude", "type": "quantitative"},
                "latitude": {"field": "latitude", "type": "quantitative"},
                "color": {"field": "y", "type": "quantitative", "title": title, "scale": scale},
                "description": {"field": "said"},
            },
        },
    ]
    projection = {
        "type": "mercator",
        "center": list(view.centre),
        "scale": view.scale(width, height),
        "translate": [width / 2, height / 2],
    }
    return _spec(width, height, projection=projection, layer=layers)


def _spec(width: int, height: int, **parts: Any) -> Spec:
    return {"$schema": _SCHEMA, "width": width, "height": height, "config": _CONFIG, **parts}


def _stack(plot: Plot, rows: list[Spec]) -> None:
    """Bars over time or numbers: each as wide as the shortest distance there is, upon those of the same x before it.

    Vega-Lite stacks no bars that have two ends.
    """
    places = plot.rows["x"].unique().sort().to_list()
    gaps = [later - earlier for earlier, later in pairwise(places)]
    wide = min(gaps) if gaps else (timedelta(hours=1) if plot.axis is Axis.TIME else 1)
    reached: dict[tuple[Any, bool], float] = {}
    for row, x in zip(rows, plot.rows["x"], strict=True):
        pile = (row["x"], row["y"] < 0)
        base = reached.get(pile, 0.0)
        reached[pile] = base + row["y"]
        row |= {"end": _json(x + wide), "base": base, "y": reached[pile]}


def _said(plot: Plot, x: Any, by: str, y: float) -> str:
    """What a mark stands for, in words: read aloud, and shown beside the pointer."""
    place = moment(x) if isinstance(x, datetime) else number(x) if isinstance(x, float) else x
    return f"{place}{f', {by}' if plot.by else ''}: {plot.y} {number(y)}"


def _json(x: Any) -> Any:
    return x.isoformat() if isinstance(x, datetime) else x
