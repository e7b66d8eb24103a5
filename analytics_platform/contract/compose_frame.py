"""A frame of events written as its contract says: column by column what `compose.Composer` writes of every row.

    frame ── typed ──> columns ──┬── sure ──> values, headers, keys
                                 └── in doubt ──> events for the Composer, one by one

In doubt is what columns cannot tell: an envelope with gaps, numbers and times that JSON does not have, two sources of
one field that disagree, identifiers of which no key can be made. So there is one set of words for what is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.arrow_text import frame_texts, is_odd, plain
from analytics_platform.contract.compose import layout, version_uri
from analytics_platform.contract.key import identity_fields, key_sql, separator_sql
from analytics_platform.contract.model import EventContract, KeyMode
from analytics_platform.contract.place import Form
from analytics_platform.contract.schema import INSTANT, polars_schema

ENVELOPE_TYPES: Mapping[str, pl.DataType] = {
    "occurred_at": INSTANT,
    "source": pl.String(),
    "trace_id": pl.String(),
    "idempotency_key": pl.String(),
}
"""Columns that a frame may have beside those of the payload."""

_FRAME, _PLACE, _KEY, _DOUBT = "_frame", "_place", "_key", "_doubt"
_SMALL = {pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32}


@dataclass(frozen=True, slots=True)
class ComposedFrame:
    """The rows of which a record could be made, in their order."""

    places: pl.Series
    """Which row of the frame each is."""
    keys: pl.Series
    """Idempotency keys; null where the contract derives none and none was given."""
    values: pl.Series
    headers: Sequence[tuple[tuple[str, bytes], ...]]


class FrameComposer:
    """Writes frames of the events of one contract."""

    def __init__(self, contract: EventContract, *, structured: bool = False) -> None:
        """`structured`: see `layout`."""
        self._contract, self._layout = contract, layout(contract, structured=structured)
        self.types: Mapping[str, pl.DataType] = {**polars_schema(self._layout.payload), **ENVELOPE_TYPES}
        """By name the types of all columns that a frame may have."""

    def typed(self, events: pl.DataFrame) -> pl.DataFrame | list[str]:
        """The frame with exactly these types, or which of its columns are not the contract's."""
        faults, columns = [], []
        for column in events:
            kind = self.types.get(column.name)
            if kind is None:
                faults.append(f"{column.name}: not a field of the contract")
            elif not _widens(column.dtype, kind):
                faults.append(f"{column.name}: a column of {column.dtype}, not of {kind}")
            else:
                columns.append(column.cast(kind))
        return faults or pl.DataFrame(columns)

    def composed(self, events: pl.DataFrame, connection: duck.DuckDBPyConnection) -> ComposedFrame:
        """Write the rows that are sure.

        Args:
            events: As `typed` makes it.
            connection: Computes the keys.
        """
        frame = self._keyed(events, connection)
        doubts = [pl.col(_DOUBT)]
        columns, headers = self._columns(frame, doubts)
        if not columns:
            frame, columns = frame.clear(), [pl.lit(None).alias(_DOUBT)]
        texts, odd = frame_texts(frame.select(_PLACE, *columns).drop(_PLACE))
        sure = ~(odd | frame.select(pl.any_horizontal(doubts).fill_null(value=True).alias(_DOUBT))[_DOUBT])
        kept = frame.filter(sure)
        return ComposedFrame(kept[_PLACE], kept[_KEY], texts.filter(sure), _header_rows(kept, headers))

    def _keyed(self, events: pl.DataFrame, connection: duck.DuckDBPyConnection) -> pl.DataFrame:
        """The events with the columns _PLACE, _KEY and _DOUBT."""
        frame = events.with_row_index(_PLACE)
        identity = [field.name for field in identity_fields(self._contract)]
        given = self._contract.identity.mode is KeyMode.TRUST and "idempotency_key" in events.columns
        if given or not identity:
            key = pl.col("idempotency_key") if given else pl.lit(None, pl.String)
            return frame.with_columns(key.alias(_KEY), (key.is_null() & pl.lit(given)).alias(_DOUBT))
        if not set(identity) <= set(events.columns):
            return frame.with_columns(pl.lit(None, pl.String).alias(_KEY), pl.lit(value=True).alias(_DOUBT))
        no_key = " OR ".join([f"{duck.identifier(_KEY)} IS NULL", *separator_sql(self._contract).values()])
        # DuckDB fails at some times that no calendar has: of those no key is made.
        odd = {name: is_odd(pl.col(name), events.schema[name]) for name in identity}
        identifiers = frame.select(
            _PLACE, *(name if fault is None else pl.when(~fault).then(name).alias(name) for name, fault in odd.items())
        )
        connection.register(_FRAME, identifiers.to_arrow(compat_level=pl.CompatLevel.newest()))
        try:
            found = connection.sql(
                f"SELECT {_PLACE}, {key_sql(self._contract)} AS {_KEY}, {no_key} AS {_DOUBT} FROM {_FRAME} ORDER BY 1"
            ).to_arrow_table()
        finally:
            connection.unregister(_FRAME)
        return frame.hstack(pl.DataFrame(pl.from_arrow(found)).select(_KEY, _DOUBT))

    def _columns(
        self, frame: pl.DataFrame, doubts: list[pl.Expr]
    ) -> tuple[list[pl.Expr], list[tuple[str, bytes | pl.Expr]]]:
        """The members of the values, and the headers; adds to `doubts` where a row is none of them."""
        own = [field.name for field in self._layout.payload if field.name in frame.columns]
        inside = self._layout.payload_in is not None
        body = {name: pl.col(name) for name in own}
        value = {name: pl.lit(text) for name, text in self._layout.about.items()} if inside else body
        headers: list[tuple[str, bytes | pl.Expr]] = list(self._layout.headers)
        for name, place in self._layout.places:
            said = self._said(name, place.form, frame)
            if said is None:
                continue
            doubts.append(said.is_null())
            for spot in place.spots:
                if spot.header:
                    text = plain(said, INSTANT) if name == "occurred_at" else said
                    headers.append((spot.name, text.cast(pl.Binary)))
                    continue
                into = body if spot.data else value
                if spot.name in into:
                    doubts.append(self._differs(into[spot.name], said, spot.name, name))
                else:
                    into[spot.name] = said
        members = [expression.alias(name) for name, expression in value.items()]
        if self._layout.payload_in is not None:
            fields = [expression.alias(name) for name, expression in body.items()]
            doubts.append(pl.lit(not fields))
            members.append((pl.struct(fields) if fields else pl.lit(None)).alias(self._layout.payload_in))
        return members, headers

    def _said(self, name: str, form: Form, frame: pl.DataFrame) -> pl.Expr | None:
        """What stands at the place of an envelope field; None where no row says anything of it."""
        if name == "idempotency_key":
            return None if frame[_KEY].is_null().all() and not frame[_DOUBT].any() else pl.col(_KEY)
        version = self._contract.header.version
        if form is Form.URI:
            version = version_uri(self._contract, version)
        fixed = {"event_type": self._contract.sent_as, "schema_version": version}
        if name in fixed:
            return pl.lit(fixed[name])
        if name not in frame.columns:
            return None
        if name != "trace_id":
            return pl.col(name)
        trace = pl.when(pl.col(name) != "").then(name)
        if form is not Form.TRACEPARENT:
            return trace
        digits = pl.col(_KEY).fill_null("").cast(pl.Binary).bin.encode("hex").str.slice(0, 15).str.pad_end(15, "0")
        return pl.format("00-{}-{}1-00", trace, digits)  # see `compose`

    def _differs(self, there: pl.Expr, said: pl.Expr, spot: str, name: str) -> pl.Expr:
        """Whether a member of the value that is already there is another one, as far as columns can tell."""
        alike = self.types.get(spot) == ENVELOPE_TYPES.get(name, pl.String()) and spot not in ENVELOPE_TYPES
        return there.ne_missing(said) if alike else pl.lit(value=True)


def readable(events: pl.DataFrame, places: pl.Series) -> Iterator[dict[str, Any]]:
    """Rows of a typed frame for the Composer: times as text, which says also what is out of range."""
    texts = [plain(pl.col(name), kind).alias(name) for name, kind in events.schema.items()]
    return events[places].select(texts).iter_rows(named=True)


def _header_rows(
    frame: pl.DataFrame, headers: Sequence[tuple[str, bytes | pl.Expr]]
) -> Sequence[tuple[tuple[str, bytes], ...]]:
    fixed = tuple((name, value) for name, value in headers if isinstance(value, bytes))
    if len(fixed) == len(headers):
        return [fixed] * frame.height
    columns = [
        [value] * frame.height if isinstance(value, bytes) else frame.select(_PLACE, value.alias(_KEY))[_KEY].to_list()
        for _, value in headers
    ]
    names = [name for name, _ in headers]
    return [tuple(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _widens(found: pl.DataType, kind: pl.DataType) -> bool:
    """Whether each value of one type is one of another, by the same words."""
    if found in {kind, pl.Null}:
        return True
    if isinstance(found, pl.Datetime):
        # Fractions of microseconds are cut, as polars does for Python; milliseconds reach further than microseconds do.
        return kind == INSTANT and found.time_zone is not None and found.time_unit != "ms"
    return found in _SMALL if kind == pl.Int64 else kind == pl.Float64 and found in {*_SMALL, pl.Float32}
