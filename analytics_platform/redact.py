"""What a quarantined value looks like, without showing it: names of fields and types in place of values."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

LONGEST = 64 * 1024
"""Of a longer value only the length is told: nobody reads so much."""

_MOST_KEYS = 60
_MOST_DEPTH = 8
_NAME = re.compile(r"[A-Za-z_][A-Za-z_.\-]{0,39}[0-9]{0,2}")
"""What looks like a field's name; another key may itself be a value, an address say, and is not shown."""

_KINDS: Mapping[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def shape(value: bytes | None, value_bytes: int | None = None) -> str:
    """The structure of a JSON document, or length and kind of anything else, in one line.

    Args:
        value: As the quarantine holds it.
        value_bytes: The value's true length, where it may have been cut.
    """
    if value is None:
        return "null"
    size = len(value) if value_bytes is None else value_bytes
    if size > len(value):
        return f"{size:,} bytes, of which the first {len(value):,} were kept"
    if size > LONGEST:
        return f"{size:,} bytes"
    try:
        return _shape(msgspec.json.decode(value), _MOST_DEPTH)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return f"{size:,} bytes of {_kind(value)}"


def _kind(value: bytes) -> str:
    if not value:
        return "nothing"
    try:
        value.decode()
    except UnicodeDecodeError:
        return "binary" + (", beginning as a schema registry's formats do" if value[0] == 0 else "")
    return "text that is not JSON" + (", beginning as a schema registry's formats do" if value[0] == 0 else "")


def _shape(value: Any, depth: int) -> str:
    if isinstance(value, dict):
        if depth == 0:
            return "{…}"
        shown = [f"{_key(key)}: {_shape(inner, depth - 1)}" for key, inner in list(value.items())[:_MOST_KEYS]]
        more = [f"… {len(value) - _MOST_KEYS:,} more"] if len(value) > _MOST_KEYS else []
        return "{" + ", ".join([*shown, *more]) + "}"
    if isinstance(value, list):
        if depth == 0:
            return "[…]"
        kinds = list(dict.fromkeys(_shape(inner, depth - 1) for inner in value[:_MOST_KEYS]))
        return f"[{' or '.join(kinds)}]" + (f" × {len(value):,}" if value else "")
    return _KINDS[type(value)]


def _key(key: str) -> str:
    return key if _NAME.fullmatch(key) else f"(key of {len(key):,} characters)"
