import io
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics_platform.contract.arrow_text import frame_texts
from analytics_platform.contract.avro_value import AvroReader, avro_reader
from analytics_platform.contract.batch_text import Unreadable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
NANOS = {"type": "long", "logicalType": "timestamp-nanos"}
DAY = {"type": "int", "logicalType": "date"}


def record(*fields: Any, name: str = "event") -> dict[str, Any]:
    """A record of fields f0, f1, … of these types."""
    return {"type": "record", "name": name, "fields": [{"name": f"f{n}", "type": one} for n, one in enumerate(fields)]}


def registered(schema: Any, *references: Any) -> RegisteredSchema:
    texts = tuple((one["name"], json.dumps(one)) for one in references)
    return RegisteredSchema(WireFormat.AVRO, json.dumps(schema), texts)


def written(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def read(schema: Any, *values: bytes) -> list[Any]:
    """Of each value its JSON as Python has it, or the sentence that says what is wrong."""
    texts, faults = AvroReader(registered(schema)).texts(values)
    assert [place for place, text in enumerate(texts) if text is None] == sorted(faults)
    return [faults[place] if text is None else json.loads(text) for place, text in enumerate(texts)]


def said(reader: AvroReader, values: list[bytes]) -> tuple[list[Any], dict[int, str]]:
    """What the values say; writers of JSON differ in `1e16` and `1e+16`."""
    texts, faults = reader.texts(values)
    return [None if text is None else json.loads(text) for text in texts], faults


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("boolean", True, True),
        ("int", -5, -5),
        ("long", 2**63 - 1, 2**63 - 1),
        ("float", 0.1, 0.10000000149011612),
        ("double", 0.1, 0.1),
        ("double", math.nan, "nan"),
        ("double", -math.inf, "-inf"),
        ("string", 'Zürich "\n\u2028', 'Zürich "\n\u2028'),
        ("bytes", b"\x00\xff", "AP8="),
        ({"type": "fixed", "name": "x", "size": 2}, b"ab", "YWI="),
        ({"type": "enum", "name": "x", "symbols": ["A", "B"]}, "B", "B"),
        ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
        ({"type": "map", "values": "int"}, {"a": 1}, {"a": 1}),
        (["null", "string"], None, None),
        (["string", "null"], "x", "x"),
        (["null", "int", "string"], "x", "x"),
        (record("int", name="inner"), {"f0": 1}, {"f0": 1}),
        (MICROS, datetime(2013, 1, 1, 10, 17, 0, 1, UTC), "2013-01-01T10:17:00.000001Z"),
        (MILLIS, datetime(2013, 1, 1, 10, 17, tzinfo=UTC), "2013-01-01T10:17:00Z"),
        (MICROS, datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (NANOS, 1_357_035_420_000_000_000, "2013-01-01T10:17:00Z"),
        (NANOS, 1_357_035_420_123_456_000, "2013-01-01T10:17:00.123456Z"),
        (NANOS, 1_357_035_420_000_000_009, "2013-01-01T10:17:00.000000009Z"),
        (NANOS, -1, "1969-12-31T23:59:59.999999999Z"),
        (NANOS, -(2**63), "1677-09-21T00:12:43.145224192Z"),
        (["null", "int", NANOS], 2**31, "1970-01-01T00:00:02.147483648Z"),
        ({"type": "array", "items": ["null", NANOS]}, [None, 1000], [None, "1970-01-01T00:00:00.000001Z"]),
        ({"type": "long", "logicalType": "local-timestamp-nanos"}, 1001, "1970-01-01T00:00:00.000001001"),
        ({"type": "long", "logicalType": "local-timestamp-nanos"}, 1000, "1970-01-01T00:00:00.000001"),
        ({"type": "int", "logicalType": "timestamp-nanos"}, 7, 7),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, datetime(2013, 1, 1), "2013-01-01T00:00:00"),  # noqa: DTZ001 - it has no zone
        (DAY, date(1969, 12, 31), "1969-12-31"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}, Decimal("1.10"), 1.1),
        ({"type": "string", "logicalType": "unheard-of"}, "x", "x"),
    ],
)
def test_every_type(kind: Any, value: Any, found: Any) -> None:
    schema = record(kind, "string")
    assert read(schema, written(schema, {"f0": value, "f1": "next"})) == [{"f0": found, "f1": "next"}]


def test_all_digits_of_a_decimal() -> None:
    schema = record({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 9})
    value = written(schema, {"f0": Decimal("123456789012345678901.123456789")})
    texts, _ = AvroReader(registered(schema)).texts([value])
    assert texts == [b'{"f0":123456789012345678901.123456789}']


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda value: value[:-1], "the value ends too early"),
        (lambda value: value + b"\x00", "bytes are left over"),
        (lambda value: value.replace(b"text", b"te\xff\xff"), "a text is not UTF-8"),
        (lambda _: b"", "the value ends too early"),
        (lambda value: b"\x04" + value[1:], "the value does not fit its schema"),
    ],
)
def test_a_broken_value_is_told_and_its_neighbours_stand(change: Any, sentence: str) -> None:
    schema = record(["null", "string"], "string")
    good = written(schema, {"f0": "text", "f1": "end"})
    values = [good] * 100
    values[37] = change(good)
    found = read(schema, *values)
    assert found[37] == sentence
    assert found[:37] + found[38:] == [{"f0": "text", "f1": "end"}] * 99


def test_a_time_that_no_calendar_has() -> None:
    schema = record(MICROS)
    value = written(record("long"), {"f0": 2**62})
    good = written(schema, {"f0": datetime(2013, 1, 1, tzinfo=UTC)})
    assert read(schema, good, value) == [{"f0": "2013-01-01T00:00:00Z"}, "a time or a date is out of range"]


@pytest.mark.parametrize("shape", ["x", pl.concat_list("x").alias("x"), pl.struct("x").alias("x")], ids=str)
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_time_whose_microseconds_are_no_number(shape: Any, zone: str | None) -> None:
    times = pl.Series("x", [0, 2**62, -(2**63), None], pl.Int64).cast(pl.Datetime("ms", zone))
    texts, odd = frame_texts(pl.DataFrame(times).select(shape))
    assert b"1970-01-01T00:00:00Z" in texts[0]
    assert odd.to_list() == [False, True, True, False]


def test_blocks_of_an_array_with_their_sizes() -> None:
    """The specification's other way to write an array, which comes back as other bytes."""
    schema = record({"type": "array", "items": "int"})
    assert read(schema, b"\x01\x02\x02\x01\x02\x04\x00", b"\x04\x02\x04\x00") == [{"f0": [1, 2]}] * 2


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("string", "its Avro schema is not a record"),
        (record(["null", "event"]), "its schema contains itself"),
        (record({"type": "array", "items": "null"}), "its schema has an array of items that take no bytes"),
        (
            record({"type": "array", "items": record("null", name="inner")}),
            "its schema has an array of items that take no bytes",
        ),
        (record("unheard_of"), "its schema is no Avro schema that can be read"),
        ({"type": "record"}, "its schema is no Avro schema that can be read"),
        (record({"type": "fixed", "name": "f", "size": "x"}), "its schema is no Avro schema that can be read"),
    ],
)
def test_schemas_by_which_nothing_is_read(schema: Any, why: str) -> None:
    found = avro_reader(registered(schema))
    assert isinstance(found, Unreadable)
    assert str(found) == why


def test_text_that_is_no_schema() -> None:
    assert isinstance(avro_reader(RegisteredSchema(WireFormat.AVRO, "{")), Unreadable)


def test_deeper_than_anybody_reads() -> None:
    schema: Any = "int"
    for _ in range(900):
        schema = {"type": "array", "items": schema}
    assert str(avro_reader(registered(record(schema)))) == "its schema nests too deep"


def test_names_that_multiply() -> None:
    """Each of eight records holds ten of the one before: a hundred million places."""
    references = [record("int", name="r0")]
    references += [record(*[f"r{n}"] * 10, name=f"r{n + 1}") for n in range(7)]
    found = avro_reader(registered(record("r7"), *references))
    assert isinstance(found, Unreadable)
    assert str(found) == "its schema has more than 10000 types, written out"


def test_schemas_that_it_refers_to() -> None:
    place, person = record("string", name="place"), record("place", "place", name="person")
    schema = record("person", ["null", "place"])
    named: dict[str, Any] = {}
    parsed = [fastavro.parse_schema(one, named_schemas=named) for one in (place, person, schema)][-1]
    stream = io.BytesIO()
    value = {"f0": {"f0": {"f0": "a"}, "f1": {"f0": "b"}}, "f1": {"f0": "c"}}
    fastavro.schemaless_writer(stream, parsed, value)
    texts, faults = AvroReader(registered(schema, place, person)).texts([stream.getvalue()])
    assert faults == {}
    assert [json.loads(text or b"") for text in texts] == [value]


SCALARS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "boolean": ("boolean", st.booleans()),
    "int": ("int", st.integers(-(2**31), 2**31 - 1)),
    "long": ("long", st.integers(-(2**63), 2**63 - 1)),
    "float": ("float", st.floats(width=32)),
    "double": ("double", st.floats()),
    "string": ("string", st.text(max_size=8)),
    "bytes": ("bytes", st.binary(max_size=8)),
    "micros": (MICROS, st.datetimes(timezones=st.just(UTC))),
    "millis": (
        MILLIS,
        st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
    ),
    "day": (DAY, st.dates()),
}


@st.composite
def types(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type and its values; names are made unique afterwards."""
    kind = draw(st.sampled_from([*SCALARS, *(["optional", "array", "record"] if depth else [])]))
    if kind in SCALARS:
        return SCALARS[kind]
    inner, values = draw(types(depth - 1))
    if kind == "array":
        return {"type": "array", "items": inner}, st.lists(values, max_size=3)
    if kind == "optional":
        return (inner, values) if isinstance(inner, list) else (["null", inner], st.none() | values)
    name = draw(st.uuids()).hex
    return record(inner, name=f"r{name}"), st.fixed_dictionaries({"f0": values})


@st.composite
def batches(draw: st.DrawFn) -> tuple[Any, list[bytes]]:
    """A schema, and values of it of which some are broken."""
    fields = draw(st.lists(types(), min_size=1, max_size=4))
    schema = record(*(kind for kind, _ in fields))
    rows = st.fixed_dictionaries({f"f{n}": values for n, (_, values) in enumerate(fields)})
    values = [written(schema, row) for row in draw(st.lists(rows, min_size=1, max_size=12))]
    for place in draw(st.lists(st.integers(0, len(values) - 1), max_size=2)):
        broken = bytearray(values[place])
        if broken:
            broken[draw(st.integers(0, len(broken) - 1))] = draw(st.integers(0, 255))
        values[place] = bytes(broken[: draw(st.integers(0, len(broken)))] if draw(st.booleans()) else broken)
    return schema, values


@settings(deadline=None, max_examples=300)
@given(batches())
@example((record(["null", "string"]), [b"\x01\x02x", b"\x02\x02x"]))
@example((record("long"), [b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", b"\x80\x00", b"\x02"]))
def test_what_becomes_of_a_value_depends_on_it_alone(batch: tuple[Any, list[bytes]]) -> None:
    schema, values = batch
    reader = AvroReader(registered(schema))
    together = said(reader, values)
    reader._batches = None
    assert together == said(reader, values)
