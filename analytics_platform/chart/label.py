"""Values from outside as text that is safe to draw: in a terminal, in SVG and in HTML alike."""

from datetime import datetime

_LONGEST = 40
"""Characters of a label that are drawn."""


def plain(text: str, longest: int = _LONGEST) -> str:
    """A text on one line, cut, without anything that could steer a terminal.

    A control character in a label would also end the process: vl-convert (1.9) aborts on what no XML may hold.
    """
    safe = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: longest + 1])
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"


def number(value: float) -> str:
    """A number on an axis: at most four digits that matter, large ones with commas."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def moment(value: datetime) -> str:
    """A time in UTC as short as it is exact: midnight is its day."""
    return f"{value:%Y-%m-%d}" if not (value.hour or value.minute or value.second) else f"{value:%Y-%m-%d %H:%M}Z"
