"""What a lookup says of a key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

Key: TypeAlias = tuple[str | int | None, ...]
"""The values of the fields that a lookup is asked by, in the contract's order."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the service knows of a key."""

    values: Mapping[str, Any] = field(repr=False)
    """By name, as JSON has them; their types are for the caller to check."""
    stale: bool = False
    """Whether this is older than the cache's time to live, because the service does not answer."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """The service knows nothing of a key, or no service could: a part is null, too long, or makes no address."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nobody can say now; asking again later may help."""

    why: str
    """In a few words that hold nothing of the key: `HTTP 503`, `timeout`, `breaker open`."""


Answer: TypeAlias = Found | NotFound | Unavailable

NOT_FOUND = NotFound()
LATE = Unavailable("no answer in time")


def answer_of(body: bytes, most_bytes: int) -> Found | Unavailable:
    """The answer that a JSON object in UTF-8 (RFC 8259) is; anything else is none."""
    if len(body) > most_bytes:
        return Unavailable("answer too long")
    try:
        values = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # a DecodeError is a ValueError, as is text that is no UTF-8
        return Unavailable("answer is no JSON")
    if not isinstance(values, dict):
        return Unavailable("answer is no JSON object")
    return Found(MappingProxyType(values))
