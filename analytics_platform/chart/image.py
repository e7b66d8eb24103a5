"""Pictures from specifications, by vl-convert: Vega inside of the process, without a browser and without a network.

Importing it takes 0.1 s and its first picture most of a second, so nobody imports this module before there is something
to draw.
"""

import vl_convert

from analytics_platform.chart.spec import Spec
from analytics_platform.errors import QueryFailed

_NOWHERE: list[str] = []
"""Addresses that data may be fetched from; a specification of ours holds its data."""
_SHARP = 2.0
"""Pixels of a PNG per pixel of the specification, for screens of today."""


def svg(spec: Spec) -> str:
    """The picture as an SVG element, whose texts are escaped; it names no address and holds no script.

    Raises:
        QueryFailed: it cannot be drawn.
    """
    try:
        return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=_NOWHERE))
    except ValueError as error:
        raise _refused(error) from error


def png(spec: Spec) -> bytes:
    """The picture as a PNG.

    Raises:
        QueryFailed: it cannot be drawn.
    """
    try:
        return bytes(vl_convert.vegalite_to_png(spec, scale=_SHARP, allowed_base_urls=_NOWHERE))
    except ValueError as error:
        raise _refused(error) from error


def _refused(error: ValueError) -> QueryFailed:
    return QueryFailed(f"The picture cannot be drawn: {str(error).splitlines()[0]}")
