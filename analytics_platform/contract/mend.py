"""Records that were sent wrong, with the fields set that a patch names; all else of their values stays, to the byte.

    rejected ── covered by the patch ──> value as JSON ── expressions ──> value with the fields set

Whether a mended record is valid is for its contracts to say, as with any other.
"""

import json
from collections.abc import Iterable, Sequence

import msgspec
import polars as pl

from analytics_platform import duck
from analytics_platform.contract.arrow_text import json_texts
from analytics_platform.contract.cloudevents import BINARY, STRUCTURED, modes, reading
from analytics_platform.contract.expression import computed
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.patch import Patch
from analytics_platform.contract.patch_source import COLUMNS, fields_along, newest
from analytics_platform.contract.schema import polars_type
from analytics_platform.contract.unframe import readable, wires
from analytics_platform.contract.wire import place_of
from analytics_platform.kafka.frame import Schemas, WireFormat

_STANDS = ["topic_id", "partition", "offset"]
_WHERE = "where"
"""Not the name of a field that an expression is for: these are prefixed."""
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def patches_of(contracts: Iterable[EventContract]) -> list[Patch]:
    """The patches in force of some contracts, each once, by event and name."""
    found = {(patch.event, patch.name): patch for contract in contracts for patch in contract.patches}
    return [found[key] for key in sorted(found) if not found[key].withdrawn]


def mended(
    records: pl.DataFrame,
    rejected: pl.DataFrame,
    patch: Patch,
    contracts: Sequence[EventContract],
    *,
    schemas: Schemas,
    connection: duck.DuckDBPyConnection,
) -> pl.DataFrame:
    """Those records that a patch is for, their values JSON with its fields set.

    A record whose expressions cannot be computed, or whose value the fields have no place in, is left out.

    Args:
        records: Bronze records of one topic.
        rejected: Those of them that are refused, REJECT_SCHEMA.
        patch: One of the contracts'.
        contracts: All of the topic's.
        schemas: By which framed values were written.
        connection: Computes the expressions, see `duck.confined`.
    """
    meant = rejected.filter(_covered(patch, contracts)).select(_STANDS)
    since = pl.lit(value=True) if patch.start is None else pl.col("ingested_at") >= patch.start
    tried = records.filter(since & (pl.col("ingested_at") < patch.end))
    tried = tried.join(meant, on=_STANDS, how="semi", maintain_order="left")
    if tried.is_empty():
        return tried
    tried = readable(tried, contracts, schemas)
    contract = newest([one for one in contracts if one.name == patch.event], patch.major)
    if contract.cloudevents is None:
        return _set(tried, patch, contract, connection)
    mode, _ = modes(tried, framed=wires(contracts) != {WireFormat.JSON})
    return pl.concat(
        [_set(tried.filter(mode == one), patch, reading(contract, one), connection) for one in (STRUCTURED, BINARY)]
    )


def _covered(patch: Patch, contracts: Sequence[EventContract]) -> pl.Expr:
    """Whether a rejected record has the faults, the sender and the event that a patch is for."""
    versions = [one for one in contracts if one.name == patch.event]
    known = [str(code) for code in patch.codes]
    found = pl.col("codes").list.eval(pl.element().is_in(known)).list.all()
    if patch.sources:
        found &= pl.col("source").is_in(list(patch.sources))
    if "event_type" not in patch.fields:
        found &= pl.col("event_type") == patch.event
    if "schema_version" not in patch.fields:
        labels = [one.label for one in versions if one.major == patch.major]
        found &= pl.col("contract").is_null() | pl.col("contract").is_in(labels)
    return found.fill_null(value=False)


def _set(
    records: pl.DataFrame, patch: Patch, contract: EventContract, connection: duck.DuckDBPyConnection
) -> pl.DataFrame:
    """The records that the patch's condition holds for, with its fields set; `contract` says where they stand."""
    if records.is_empty():
        return records
    expressions = {f"set {path}": sql for path, sql in patch.fields.items()}
    if patch.where is not None:
        expressions[_WHERE] = patch.where
    rows = records.select(pl.col(name).cast(kind, strict=False) for name, kind in COLUMNS.items())
    found = computed(rows, expressions, f"{patch.event}: the patch {patch.name}", connection)
    holds = ~found.failed.select(pl.any_horizontal(pl.all())).to_series() & rows["value"].is_not_null()
    if patch.where is not None:
        holds &= found.values[_WHERE].fill_null(value=False)
    texts: list[tuple[list[str], list[bytes]]] = []
    for path in patch.fields:
        chain = fields_along(contract, path)
        assert chain is not None  # noqa: S101 - checked when it was read
        column = found.values[f"set {path}"].cast(polars_type(chain[-1])).alias("v")
        written, odd = json_texts(column.to_frame().to_arrow().combine_chunks().to_batches()[0])
        holds &= ~odd
        texts.append((_way(contract, path), [text[len(b'{"v":') : -1] for text in written]))
    values: list[bytes | None] = records["value"].to_list()
    for place in range(records.height):
        value, values[place] = values[place], None
        if holds[place] and value is not None and not _repeats(value):
            try:
                for way, column_texts in texts:
                    value = _with(value, way, column_texts[place])
            except msgspec.DecodeError:
                continue  # something that is no object stands where one would have to
            values[place] = value
    changed = pl.Series("value", values, pl.Binary)
    sizes = changed.bin.size().cast(records["value_bytes"].dtype).alias("value_bytes")
    return records.with_columns(changed, sizes).filter(changed.is_not_null())


def _way(contract: EventContract, path: str) -> list[str]:
    """The keys from the top of the value to a field."""
    first, *rest = path.split(".")
    spot = place_of(contract, first).spots[0]
    inside = [contract.payload_in] if spot.data and contract.payload_in is not None else []
    return [*inside, spot.name, *rest]


def _with(value: bytes, way: Sequence[str], text: bytes) -> bytes:
    """An object with one member set, however deep; every other member keeps its bytes."""
    members = _OBJECT.decode(value)
    first, *rest = way
    if rest:
        held = members.get(first)
        inner = b"{}" if held is None or bytes(held) == b"null" else bytes(held)
        text = _with(inner, rest, text)
    members[first] = msgspec.Raw(text)
    return msgspec.json.encode(members)


def _repeats(value: bytes) -> bool:
    """Whether an object has a key twice, of which setting a member would lose one without a word."""

    def once(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _Twice

    try:
        json.loads(value, object_pairs_hook=once, parse_int=str, parse_float=str)
    except (_Twice, ValueError):  # what Python cannot read is not mended either
        return True
    return False


class _Twice(Exception):
    pass
