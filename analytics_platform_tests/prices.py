"""A service that a lookup asks, as a function of a team's own would be one."""

from collections.abc import Mapping, Sequence
from typing import Any

KNOWN: dict[str, float] = {}
"""What it knows; a test fills it."""
DOWN: set[str] = set()
"""Keys by which it is brought down."""


def euros(keys: Sequence[tuple[str | int, ...]]) -> Mapping[tuple[str | int, ...], Mapping[str, Any]]:
    """What it knows of some products."""
    if any(str(product) in DOWN for (product,) in keys):
        raise ConnectionError
    return {(product,): {"euros": KNOWN[str(product)]} for (product,) in keys if product in KNOWN}
