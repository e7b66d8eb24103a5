"""Avro's binary values as JSON that says the same; how, says `batch_text.py`.

Unions become the value of their branch, enums their symbol, bytes and fixed base64, decimals numbers with all their
digits, timestamps RFC 3339 in UTC, and what JSON has no number for becomes a text, which no contract takes for one.

Apache Avro 1.12.0 specification, "Binary Encoding" and "Logical Types".
"""

import io
import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache, partial

import fastavro
import msgspec
import pyarrow as pa
import pyruhvro
from fastavro.read import LOGICAL_READERS

from analytics_platform.contract.arrow_text import finite, instant
from analytics_platform.contract.avro_tree import LOCAL_TIMESTAMP_NANOS, TIMESTAMP_NANOS, tree_of
from analytics_platform.contract.batch_text import Batches, Unreadable, texts_of
from analytics_platform.kafka.frame import RegisteredSchema

_LEFT_OVER = "bytes are left over"
_encode = msgspec.json.Encoder(decimal_format="number").encode


class AvroReader:
    """Reads the values of one writer's schema."""

    def __init__(self, schema: RegisteredSchema) -> None:
        """`schema`: The writer's, with everything that it refers to.

        Raises:
            Unreadable: it is no Avro schema, or one by which no event can be read.
        """
        tree, self._parsed = tree_of(schema)
        if tree.kind != "record":
            raise Unreadable("its Avro schema is not a record")
        self._has_fractions = tree.holds("float", "double")
        self._batches = None
        if tree.in_batches:
            text = json.dumps(tree.batch_schema())
            self._batches = Batches(partial(_read, schema=text), partial(_write, schema=text))

    def texts(self, values: Sequence[bytes]) -> tuple[list[bytes | None], dict[int, str]]:
        """Each value as JSON, null where it cannot be read, and by place what is wrong with those."""
        return texts_of(values, self._batches, self._one, _sentence)

    def _one(self, value: bytes) -> bytes:
        stream = io.BytesIO(value)
        found = fastavro.schemaless_reader(stream, self._parsed, None)
        if stream.tell() != len(value):
            raise ValueError(_LEFT_OVER)
        return _encode(finite(found) if self._has_fractions else found)


def _nanos(value: int, _writer: object, _reader: object) -> datetime | str:
    return instant(*divmod(value, 1_000_000_000))


def _local_nanos(value: int, _writer: object, _reader: object) -> datetime | str:
    at = instant(*divmod(value, 1_000_000_000))
    return at.removesuffix("Z") if isinstance(at, str) else at.replace(tzinfo=None)


LOGICAL_READERS[f"long-{TIMESTAMP_NANOS}"] = _nanos
LOGICAL_READERS[f"long-{LOCAL_TIMESTAMP_NANOS}"] = _local_nanos


def _read(values: Sequence[bytes], schema: str) -> pa.RecordBatch:
    return pyruhvro.deserialize_array(values, schema)


def _write(batch: pa.RecordBatch, schema: str) -> pa.Array:
    (written,) = pyruhvro.serialize_record_batch(batch, schema, 1)
    return written


def _sentence(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the value ends too early"
    if isinstance(error, UnicodeDecodeError):
        return "a text is not UTF-8"
    if isinstance(error, OverflowError):
        return "a time or a date is out of range"
    return _LEFT_OVER if str(error) == _LEFT_OVER else "the value does not fit its schema"


@lru_cache(maxsize=256)
def avro_reader(schema: RegisteredSchema) -> AvroReader | Unreadable:
    """The reader of a schema, made once; or why there is none."""
    try:
        return AvroReader(schema)
    except Unreadable as why:
        return why
    except RecursionError:
        return Unreadable("its schema nests too deep")
    except (ValueError, KeyError, TypeError, AttributeError):  # fastavro lets some pass, as a size that is no number
        return Unreadable("its schema is no Avro schema that can be read")
