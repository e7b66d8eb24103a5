"""Framed values turned into the JSON that says the same, so that all that follows reads JSON.

    records ── frame ──> schema ──┬── reader of its format ──> records whose values are JSON
                                  └── none, unknown, unreadable ──> rejected, with reasons

What stands in bronze stays as it came; a quarantined record keeps its own bytes too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from analytics_platform.contract.avro_value import AvroReader, avro_reader
from analytics_platform.contract.batch_text import Unreadable
from analytics_platform.contract.headers import header_columns
from analytics_platform.contract.keyed import as_events
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.proto_value import ProtoReader, indexes_in, proto_reader
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import Rejected
from analytics_platform.kafka.frame import FRAME_BYTES, HEADER, Frame, RegisteredSchema, Schemas, WireFormat, frame_of

WITHOUT_SCHEMA = {WireFormat.JSON, WireFormat.JSON_SCHEMA}
"""What can be read without knowing by which schema it was written."""


@dataclass(frozen=True, slots=True)
class Unframed:
    """Records of one topic, each either with a value in JSON or rejected."""

    records: pl.DataFrame
    """Those that are not rejected, in their order. Values that are null or cut are as they were."""
    faults: Mapping[int, Rejected]
    """By place among the records given."""


def wires(contracts: Iterable[EventContract]) -> frozenset[WireFormat]:
    """The formats that contracts of one topic declare."""
    return frozenset(contract.wire for contract in contracts)


def schema_keys(records: pl.DataFrame, contracts: Sequence[EventContract]) -> frozenset[str]:
    """The keys in `Schemas` by which records of one topic can be read; none where no contract needs schemas."""
    if wires(contracts) <= WITHOUT_SCHEMA:
        return frozenset()
    return frozenset(frame.key for frame, _ in _by_frame(records) if frame is not None)


def unframed(records: pl.DataFrame, contracts: Sequence[EventContract], schemas: Schemas) -> Unframed:
    """Read the frames of records of one topic.

    Args:
        records: Columns of bronze.
        contracts: All of the topic's; what none of them declares is rejected.
        schemas: Has every key of `schema_keys`.
    """
    if contracts and contracts[0].keyed is not None:
        return Unframed(*as_events(records, contracts[0]))
    formats = wires(contracts)
    if formats == {WireFormat.JSON}:
        return Unframed(records, {})
    topic = _Topic(records["value"].to_list(), formats, schemas)
    for frame, places in _by_frame(records):
        topic.read(frame, places)
    faults = topic.faults
    changed = pl.Series("value", topic.values, pl.Binary)
    sizes = pl.when(_whole()).then(changed.bin.size()).otherwise("value_bytes")
    read = records.with_columns(changed, sizes.cast(records["value_bytes"].dtype).alias("value_bytes"))
    if faults:
        read = read[[place for place in range(read.height) if place not in faults]]
    return Unframed(read, faults)


def readable(records: pl.DataFrame, contracts: Sequence[EventContract], schemas: Schemas) -> pl.DataFrame:
    """The records, with values in JSON where those can be read; the others are as they were."""
    read = unframed(records, contracts, schemas)
    if not read.faults:
        return read.records
    places = pl.Series("_place", [place for place in range(records.height) if place not in read.faults], pl.UInt32)
    rest = records.with_row_index("_place").filter(~pl.col("_place").is_in(places.implode()))
    return pl.concat([read.records.with_columns(places), rest], how="diagonal").sort("_place").drop("_place")


def _whole() -> pl.Expr:
    """Whether a value is there, and all of it; what is not is told as missing or oversized, whatever its frame."""
    return (pl.col("value_bytes") <= pl.col("value").bin.size()).fill_null(value=False)


def _by_frame(records: pl.DataFrame) -> Iterator[tuple[Frame | None, list[int]]]:
    """The places of whole values by their frames."""
    # Records of a topic share a few frames, so distinct ones are looked at, not records.
    heads = records.select(pl.col("value").bin.head(FRAME_BYTES).alias("head"), whole=_whole())
    heads = heads.with_columns(header_columns(records, [HEADER])[HEADER].alias("header")).with_row_index("place")
    groups = heads.filter("whole").group_by("head", "header", maintain_order=True).agg("place")
    for head, header, places in groups.iter_rows():
        yield frame_of(head, header), places


@dataclass(slots=True)
class _Topic:
    """Values on their way."""

    values: list[bytes]
    """Each is replaced by its JSON."""
    formats: frozenset[WireFormat]
    schemas: Schemas
    faults: dict[int, Rejected] = field(default_factory=dict)

    def read(self, frame: Frame | None, places: list[int]) -> None:
        """Turn the values of one frame into JSON."""
        if frame is None:
            if WireFormat.JSON not in self.formats:
                self._refuse(places, Reason.UNSUPPORTED_CONTENT, f"no frame of a schema registry{self._takes}")
        elif self.formats <= WITHOUT_SCHEMA:
            self._strip(places, frame.start)
        elif (schema := self.schemas[frame.key]) is None:
            text = f"the registry has no schema of the {frame.key.replace(':', ' ')}"
            self._refuse(places, Reason.UNKNOWN_SCHEMA, text)
        elif schema.kind not in self.formats:
            self._refuse(places, Reason.UNSUPPORTED_CONTENT, f"the value is {schema.kind}{self._takes}")
        elif schema.kind is WireFormat.JSON_SCHEMA:
            self._strip(places, frame.start)
        elif schema.kind is WireFormat.AVRO:
            self._transcribe(avro_reader(schema), dict.fromkeys(places, frame.start))
        else:
            self._read_messages(schema, places, frame.start)

    def _read_messages(self, schema: RegisteredSchema, places: list[int], start: int) -> None:
        messages: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        for place in places:
            found = indexes_in(self.values[place], start)
            if found is None:
                self._refuse([place], Reason.MALFORMED_VALUE, "no message indexes after the frame")
            else:
                messages[found[0]][place] = found[1]
        for indexes, starts in messages.items():
            self._transcribe(proto_reader(schema, indexes), starts)

    def _transcribe(self, reader: AvroReader | ProtoReader | Unreadable, starts: Mapping[int, int]) -> None:
        """`starts` says by place where each value begins."""
        places = list(starts)
        if isinstance(reader, Unreadable):
            self._refuse(places, Reason.UNSUPPORTED_CONTENT, str(reader))
            return
        texts, broken = reader.texts([self.values[place][starts[place] :] for place in places])
        for place, text in zip(places, texts, strict=True):
            self.values[place] = text or b""
        for number, sentence in broken.items():
            self._refuse([places[number]], Reason.MALFORMED_VALUE, sentence)

    def _strip(self, places: list[int], start: int) -> None:
        for place in places:
            self.values[place] = self.values[place][start:]

    def _refuse(self, places: list[int], code: Reason, text: str) -> None:
        self.faults |= dict.fromkeys(places, Rejected((code,), (text,)))

    @property
    def _takes(self) -> str:
        return f"; this topic takes {', '.join(sorted(self.formats))}"
