"""One `ANALYTICS_*` variable: what it is called, and the value that its text stands for."""

from datetime import timedelta
from pathlib import Path
from typing import Any

PREFIX = "ANALYTICS_"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_LONGEST_S = 315_360_000


class Secret(str):
    """A string that never shows itself in a repr; `str.__str__` still yields it, so format it nowhere."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Three stars, whatever it holds."""
        return "'***'"


def variable(name: str, kind: Any, prefix: str = "") -> str:
    """What the variable of a field is called.

    Args:
        name: The field.
        kind: Its type: durations are variables in seconds, and say so.
        prefix: Of its group, as in `KAFKA_`.
    """
    return f"{PREFIX}{prefix}{name.upper()}" + ("_SECONDS" if kind is timedelta else "")


def parse(kind: Any, text: str) -> Any:
    """The value that a variable's text stands for, by the type of its field.

    Raises:
        ValueError: it does not fit; what is found and what is allowed.
    """
    if kind is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"found {text!r}, allowed are true and false")
    if kind is int:
        if text.isdigit() and int(text) > 0:
            return int(text)
        raise ValueError(f"found {text!r}, allowed is a whole number above 0")
    if kind is timedelta:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= _LONGEST_S:
            raise ValueError(f"found {text!r}, allowed is a number of seconds from 0 to {_LONGEST_S:,}, ten years")
        return timedelta(seconds=seconds)
    if not text:
        raise ValueError("is empty; unset it to get the default")
    if "Secret" in str(kind):
        return Secret(text)
    return Path(text) if "Path" in str(kind) else text
