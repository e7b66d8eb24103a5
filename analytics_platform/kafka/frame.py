"""Confluent's wire format: which schema of a registry a value was written by, and where the value itself begins.

    value  = %x00 id(4 bytes, big-endian) rest     the frame stands in the value
    header `__value_schema_id` = %x00 id | %x01 guid(16 bytes); the value is the rest alone

For Protobuf the rest begins with the indexes of the message inside its schema's file: a count and so many indexes, as
zigzag varints, or a single zero for the first message.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

MAGIC = 0
FRAME_BYTES = 5
HEADER = "__value_schema_id"
_ID, _GUID = b"\x00", b"\x01"


class WireFormat(StrEnum):
    """How a record's value is written.

    `JSON` stands bare in the value; the others follow a frame that names a schema of a registry.
    """

    JSON = "json"
    JSON_SCHEMA = "json_schema"
    AVRO = "avro"
    PROTOBUF = "protobuf"


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as a registry keeps it: immutable under its id."""

    kind: WireFormat
    """Never `JSON`."""
    text: str
    """Avro and JSON Schema in JSON, Protobuf as the text of a .proto file."""
    references: tuple[tuple[str, str], ...] = ()
    """Name and text of every schema that it refers to, directly or not, each after those that it refers to itself."""


Schemas = Mapping[str, RegisteredSchema | None]
"""By key (`id:7`, or `guid:` and a UUID); None for one that the registry does not have."""

NO_SCHEMAS: Schemas = {}


@dataclass(frozen=True, slots=True)
class Frame:
    """What a record says about how its value was written."""

    key: str
    """In `Schemas`."""
    start: int
    """Where in the value the rest begins."""


def frame_of(value: bytes, header: bytes | None = None) -> Frame | None:
    """The frame of a value; None for one that has none.

    Args:
        value: The record's, or its first FRAME_BYTES.
        header: The last header of the name HEADER; one that is no frame counts as none.
    """
    if header is not None:
        if len(header) == 5 and header.startswith(_ID):
            return Frame(f"id:{int.from_bytes(header[1:])}", 0)
        if len(header) == 17 and header.startswith(_GUID):
            return Frame(f"guid:{UUID(bytes=header[1:])}", 0)
    if len(value) >= FRAME_BYTES and value[0] == MAGIC:
        return Frame(f"id:{int.from_bytes(value[1:5])}", 5)
    return None


def framed(schema_id: int, rest: bytes) -> bytes:
    """A value in its frame."""
    return _ID + schema_id.to_bytes(4) + rest
