"""From raw bytes to typed rows: what each record of bronze says under its contract.

    bytes ── unframe ── screen ──> text ── gate ──> contract ── extract ──> columns
                │          │                 │                      │
                └──────────┴─────────────────┴──────────────────────┴──> rejected, with reasons

Screening and extraction work on whole batches; the gate looks at one value at a time, in one tight loop.
No record can make another fail, and what becomes of a record depends on that record and the contracts alone.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import accumulate

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.cloudevents import BINARY, STRUCTURED, modes, readings
from analytics_platform.contract.extract import BATCH, GIVEN, ROW, Extraction, duplicated, extraction, invalid
from analytics_platform.contract.gate import Gate
from analytics_platform.contract.headers import header_columns, texts
from analytics_platform.contract.model import Deprecation, EventContract
from analytics_platform.contract.newer import Sights, sights, together
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import REJECT_SCHEMA, Rejected, rejected_frame
from analytics_platform.contract.schema import LINEAGE_SCHEMA, PATCH, WATERMARK, row_schema
from analytics_platform.contract.unframe import Unframed, unframed, wires
from analytics_platform.contract.wire import header_fields
from analytics_platform.errors import AccountingBroken
from analytics_platform.kafka.frame import NO_SCHEMAS, Schemas, WireFormat

MAX_DEPTH = 128
"""Objects and arrays inside each other that a value may have. Far below where Python's own limit would depend on
how deep the caller already is."""

Fault = tuple[tuple[Reason, str], ...]
"""What is wrong with one record: codes, each with its reason."""

_PLACE = "_place"
"""A record's row number among those given, while its row is on the way."""

_COORDINATES = [name for name in LINEAGE_SCHEMA if name not in {"_contract", "_key_hash"}]
_STANDS = ("topic_id", "partition", "offset")
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True, slots=True)
class Decoded:
    """Every record given is either a row of one of `rows` or one of `rejected`."""

    rows: dict[str, pl.DataFrame]
    """For every event type of the contracts, also without rows: the columns of `row_schema`, in the order of the
    records. Rows of several versions stand together, each naming its own in `_contract`."""
    rejected: pl.DataFrame
    """REJECT_SCHEMA, by partition and offset."""
    newer: Sights
    """What rows had that claim a newer version than the contract that read them."""


def decode(
    records: pl.DataFrame,
    contracts: Sequence[EventContract],
    schemas: Schemas = NO_SCHEMAS,
    *,
    connection: duck.DuckDBPyConnection | None = None,
    plain: bool = False,
) -> Decoded:
    """Read records under their contracts.

    Args:
        records: Columns of bronze, without rows that record gaps; of any number of topics.
        contracts: All versions of all event types of these topics. Those of one topic agree on where `event_type` and
            `schema_version` stand.
        schemas: Every one that `schema_keys` names, by which framed values were written.
        connection: Reused instead of opening one, which takes 15 ms.
        plain: Whether all values are JSON, whatever the contracts say.
    """
    if connection is None:
        with duck.connect() as opened:
            return decode(records, contracts, schemas, connection=opened, plain=plain)
    records = records.with_row_index(_PLACE)
    rows: dict[str, list[pl.DataFrame]] = {contract.name: [] for contract in contracts}
    rejected, newer = [pl.DataFrame(schema=REJECT_SCHEMA)], list[Sights]()
    for (topic,), part in records.partition_by("topic", maintain_order=True, as_dict=True).items():
        reads = [contract for contract in contracts if contract.topic == topic]
        read = Unframed(part, {}) if plain or not reads else unframed(part, reads, schemas)
        faults = _decode_topic(read, reads, rows, connection, newer=newer)
        places = sorted(faults)
        rejected.append(rejected_frame(part, places, [faults[place] for place in places]))
    return Decoded(
        rows={name: _together(frames, [one for one in contracts if one.name == name]) for name, frames in rows.items()},
        rejected=pl.concat(rejected).sort("partition", "offset", maintain_order=True),
        newer=together(newer),
    )


def _decode_topic(
    read: Unframed,
    contracts: Sequence[EventContract],
    rows: dict[str, list[pl.DataFrame]],
    connection: duck.DuckDBPyConnection,
    *,
    newer: list[Sights],
) -> dict[int, Rejected]:
    """Add the rows of one topic's records to `rows` and their counts to `newer`; return the rejected by their place."""
    if not contracts:
        stray = Rejected((Reason.UNKNOWN_EVENT_TYPE,), ("no contract names this topic",))
        return dict.fromkeys(range(read.records.height), stray)
    decode_all = _decode_part if contracts[0].cloudevents is None else _decode_cloudevents
    found = decode_all(read.records, contracts, rows, connection, newer=newer)
    if not read.faults:
        return found
    height = read.records.height + len(read.faults)
    places = [place for place in range(height) if place not in read.faults]
    return {**read.faults, **{places[place]: fault for place, fault in found.items()}}


def _decode_cloudevents(
    records: pl.DataFrame,
    contracts: Sequence[EventContract],
    rows: dict[str, list[pl.DataFrame]],
    connection: duck.DuckDBPyConnection,
    *,
    newer: list[Sights],
) -> dict[int, Rejected]:
    """The same as `_decode_topic`, each mode of CloudEvents by its own reading of the contracts."""
    mode, sentences = modes(records, framed=wires(contracts) != {WireFormat.JSON})
    faults: dict[int, Rejected] = {}
    for number, sentence in enumerate(sentences):
        fault = Rejected((Reason.UNSUPPORTED_CONTENT,), (sentence,))
        faults |= dict.fromkeys((mode == -1 - number).arg_true(), fault)
    for one in (STRUCTURED, BINARY):
        places = (mode == one).arg_true()
        if not places.is_empty():
            found = _decode_part(records[places], readings(contracts, one), rows, connection, newer=newer)
            faults |= {places[place]: fault for place, fault in found.items()}
    return faults


def _decode_part(
    records: pl.DataFrame,
    contracts: Sequence[EventContract],
    rows: dict[str, list[pl.DataFrame]],
    connection: duck.DuckDBPyConnection,
    *,
    newer: list[Sights],
) -> dict[int, Rejected]:
    """The same as `_decode_topic`, where every record is read in one way."""
    faults = dict(_screened(records))
    gate = Gate(contracts)
    places = [place for place in range(records.height) if place not in faults]
    kept = records if not faults else records[places]
    headers = header_columns(kept, gate.headers) if gate.headers else None
    values = kept["value"].to_list()
    routes, refused = gate.judge(values, headers)
    for place, refusal in refused.items():
        faults[places[place]] = refusal
    route = pl.Series(routes, dtype=pl.Int32)
    for number, contract in enumerate(contracts):
        chosen = (route == number).arg_true()
        if contract.deprecation is not None:
            ended = kept[chosen]["ingested_at"] >= _end(contract.deprecation)
            for place in chosen.filter(ended):
                claims = gate.claims(values[place], {} if headers is None else headers.row(place, named=True))
                reason = f"{contract.label} was taken until the end of {contract.deprecation.remove_after}"
                faults[places[place]] = Rejected((Reason.VERSION_SUNSET,), (reason,), claims, contract.label)
            chosen = chosen.filter(~ended)
        if chosen.is_empty():
            continue
        part = kept if chosen.len() == kept.height else kept[chosen]
        said = headers if headers is None or chosen.len() == kept.height else headers[chosen]
        found, wrong, ahead = _extract(part, said, contract, connection)
        rows[contract.name].append(found)
        newer.append(ahead)
        for n, fault in wrong.items():
            place = chosen[n]
            claims = gate.claims(values[place], {} if headers is None else headers.row(place, named=True))
            codes, reasons = zip(*fault, strict=True)
            faults[places[place]] = Rejected(codes, reasons, claims, contract.label)
    return faults


def _end(deprecation: Deprecation) -> datetime:
    """The first instant at which it is over. When a record was *ingested* decides, so that a rebuild finds the same."""
    return datetime.combine(deprecation.remove_after + timedelta(days=1), time(), UTC)


def _screened(records: pl.DataFrame) -> Iterator[tuple[int, Rejected]]:
    """What can be refused without reading JSON: null, cut, not UTF-8, too deep."""
    value = records["value"]
    missing = value.is_null()
    for place in missing.arg_true():
        yield place, Rejected((Reason.MISSING_VALUE,), ("the value is null",))
    cut = (records["value_bytes"] > value.bin.size()).fill_null(False)
    for place, size in zip(cut.arg_true(), records["value_bytes"].filter(cut), strict=True):
        yield place, Rejected((Reason.OVERSIZED,), (f"{size} bytes",))
    rest = (~(missing | cut)).arg_true()
    values = value[rest]
    try:
        text = values.cast(pl.String)
    except pl.exceptions.ComputeError:
        # One broken text fails the cast of the batch; only then are they tried one by one, at 3 million a second.
        broken = [place for place, one in zip(rest.to_list(), values.to_list(), strict=True) if not _is_utf8(one)]
        for place in broken:
            yield place, Rejected((Reason.INVALID_UTF8,), ("the value is not UTF-8",))
        rest = rest.filter(~rest.is_in(pl.Series(broken, dtype=rest.dtype).implode()))
        text = value[rest].cast(pl.String)
    opened = text.str.count_matches("[", literal=True) + text.str.count_matches("{", literal=True)
    for place in rest.filter(opened > MAX_DEPTH):
        if _too_deep(value[place]):
            yield place, Rejected((Reason.TOO_DEEP,), (f"nested deeper than {MAX_DEPTH}",))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _too_deep(value: bytes) -> bool:
    """Whether objects and arrays stand deeper inside each other than we take; texts don't count."""
    brackets = _TEXT.sub(b"", value).translate(None, _NOT_BRACKETS)
    return any(depth > MAX_DEPTH for depth in accumulate(1 if bracket in b"[{" else -1 for bracket in brackets))


def _extract(
    records: pl.DataFrame,
    headers: pl.DataFrame | None,
    contract: EventContract,
    connection: duck.DuckDBPyConnection,
) -> tuple[pl.DataFrame, dict[int, Fault], Sights]:
    """The rows of records that the gate gave to one contract, by place what only the batch decoder finds, and what is newer."""
    wanted = extraction(contract)
    batch = pl.DataFrame(
        {"n": pl.int_range(records.height, dtype=pl.Int64, eager=True), "v": records["value"].cast(pl.String)}
    )
    if headers is not None:
        named = header_fields(contract)
        batch = batch.with_columns(texts(headers[name]).alias(f"h{number}") for number, (name, _) in enumerate(named))
    if contract.generate_trace_id:
        batch = batch.with_columns(records.select(pl.format("{}/{}/{}", *_STANDS).alias(GIVEN)))
    faults: dict[int, Fault] = {}
    with _registered(batch, connection):
        for n in invalid(connection):
            faults[n] = ((Reason.MALFORMED_JSON, "the value is not JSON"),)
    if faults:
        batch = batch.filter(~pl.col("n").is_in(list(faults)))
    with _registered(batch, connection):
        for n, where in duplicated(connection, wanted.objects).items():
            faults[n] = ((Reason.DUPLICATE_KEY, where),)
        typed = pl.from_arrow(connection.sql(wanted.sql).to_arrow_table())
    if not isinstance(typed, pl.DataFrame) or not typed[ROW].equals(batch["n"].alias(ROW)):
        raise AccountingBroken(contract.topic, f"{batch.height} values of {contract.label} came back as other rows")
    for n, fault in _flagged(typed, wanted).items():
        faults.setdefault(n, fault)
    if faults:
        good = ~typed[ROW].is_in(list(faults))
        batch, typed = batch.filter(good), typed.filter(good)
    ahead = sights(batch, typed["schema_version"], contract, connection)
    origin = records.select(_PLACE, *(pl.col(name[1:]).alias(name) for name in _COORDINATES))[typed[ROW]]
    label, key_hash = pl.lit(contract.label, pl.String).alias("_contract"), typed["_key_hash"]
    names = [field.name for field in contract.fields]
    return typed.select(names).hstack(origin).with_columns(label, key_hash), faults, ahead


def _flagged(typed: pl.DataFrame, wanted: Extraction) -> dict[int, Fault]:
    """By n, what the flags' columns say; a later flag is of no account where a value could not be read."""
    found: dict[int, Fault] = {}
    for flag in wanted.flags:
        for n in typed.filter(pl.col(flag.column))[ROW]:
            before = found.get(n, ())
            if flag.code is Reason.WRONG_TYPE or not any(code is Reason.WRONG_TYPE for code, _ in before):
                found[n] = (*before, (flag.code, flag.text))
    return found


@contextmanager
def _registered(batch: pl.DataFrame, connection: duck.DuckDBPyConnection) -> Iterator[None]:
    """The batch as the table BATCH, shared, not copied."""
    connection.register(BATCH, batch.to_arrow(compat_level=pl.CompatLevel.newest()))
    try:
        yield
    finally:
        connection.unregister(BATCH)


def _together(frames: Sequence[pl.DataFrame], versions: Sequence[EventContract]) -> pl.DataFrame:
    """The rows of all versions of one event type, in the order of the records."""
    schema = row_schema(versions)
    # What the record does not say of itself is added by whoever mends it or takes it in.
    later = [pl.lit(None, schema[one.name]).alias(one.name) for one in (PATCH, WATERMARK) if one.name in schema]
    frames = [frame.with_columns(later) for frame in frames]
    if len(frames) == 1 and len(versions) == 1:
        return frames[0].select(list(schema))
    # Columns and fields of objects that a version does not have become null.
    rows = pl.concat([pl.DataFrame(schema={_PLACE: pl.UInt32, **schema}), *frames], how="diagonal_relaxed")
    return rows.sort(_PLACE).select(list(schema))
