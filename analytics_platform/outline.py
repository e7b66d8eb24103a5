"""What a record looks like without what it says: the structure of its JSON, with types in place of values.

Names that no contract knows are counted, not shown: a producer may well have used an e-mail address as a key.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from analytics_platform.contract.cloudevents import every_reading
from analytics_platform.contract.model import ENVELOPE, EventContract, Field
from analytics_platform.contract.wire import place_of

Known = Mapping[str, "Known"]
"""Names that may be shown, each with those inside it."""

_SHAPES = 3
"""Different shapes of items that are shown of one array."""
_REST = "…"


def known_names(contracts: Iterable[EventContract]) -> Known:
    """The names that some contracts give to fields of a value, also inside objects and arrays."""
    names: dict[str, Any] = {}
    for contract in contracts:
        _add(names, contract.fields)
        for read in every_reading(contract):
            for spot in (spot for name in ENVELOPE for spot in place_of(read, name).spots):
                names.setdefault(spot.name, {})
            if read.payload_in is not None:
                _add(names.setdefault(read.payload_in, {}), contract.fields)
    return names


def _add(names: dict[str, Any], fields: Iterable[Field]) -> None:
    for field in fields:
        inner = names.setdefault(field.name, {})
        while field.item is not None:
            field = field.item  # noqa: PLW2901 - down to what the array holds
        _add(inner, field.fields)


def outline(value: bytes | None, known: Known) -> str:
    """A value's structure as JSON text, with the names of types where values stood.

    Args:
        value: As bronze has it.
        known: Names that may be shown; of others only their number is.
    """
    if value is None:
        return "null"
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"{len(value)} bytes that are not JSON"
    return msgspec.json.encode(_outlined(found, known)).decode()


def _outlined(value: Any, known: Known) -> Any:
    if isinstance(value, dict):
        shown = {name: _outlined(item, known[name]) for name, item in value.items() if name in known}
        hidden = len(value) - len(shown)
        return shown | ({_REST: f"{hidden} unknown"} if hidden else {})
    if isinstance(value, list):
        shapes: list[Any] = []
        for item in value:
            shape = _outlined(item, known)
            if shape not in shapes:
                shapes.append(shape)
            if len(shapes) > _SHAPES:
                return [*shapes[:_SHAPES], _REST]
        return shapes
    return _type(value)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"
