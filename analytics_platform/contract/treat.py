"""Apply the treatments of fields to whole batches of checked rows."""

from collections.abc import Mapping, Sequence

import polars as pl

from analytics_platform.contract.model import EventContract, Field, Operation, Treatment
from analytics_platform.contract.treatment import governing, is_treated
from analytics_platform.keyring import KeyRing

MASK = "***"
"""Stands for what is masked, however long it was."""

_Digests = Mapping[str, tuple[pl.Series, pl.Series]]
"""By the name of a key: the values to be hashed with it, and their digests."""


def treated(rows: pl.DataFrame, versions: Sequence[EventContract], keys: KeyRing) -> pl.DataFrame:
    """The rows as silver may have them: the same columns and types in the same order, treated values in their places.

    Each distinct value is hashed once. Null stays null; the text "" is a value.

    Args:
        rows: Of one event type, checked and with their keys derived: rules and keys are about true values.
        versions: All contracts of the event type; see `governing`.
        keys: Has every key that they name.
    """
    wanted = [field for field in governing(versions).values() if field.name in rows.columns and is_treated(field)]
    if not wanted:
        return rows
    values: dict[str, list[pl.Series]] = {}
    for field in wanted:
        _collect(rows[field.name], field, values)
    digests = {}
    for name, parts in values.items():
        distinct = pl.concat(parts).unique()
        digests[name] = (distinct, pl.Series(keys.digests(name, distinct), dtype=pl.String))
    return rows.with_columns(
        _replaced(pl.col(field.name), field, rows.schema[field.name], digests).alias(field.name) for field in wanted
    )


def _collect(column: pl.Series, field: Field, values: dict[str, list[pl.Series]]) -> None:
    """Gather, by the name of the key, the values of a field and what is inside it that are to be hashed."""
    treatment = field.treatment
    if treatment is not None and treatment.op is Operation.DROP:
        return
    if treatment is not None and treatment.key is not None:
        values.setdefault(treatment.key, []).append(column.drop_nulls().unique())
    for part in field.fields:
        _collect(column.struct.field(part.name), part, values)
    if field.item is not None:
        _collect(column.explode(empty_as_null=False), field.item, values)


def _replaced(value: pl.Expr, field: Field, kind: pl.DataType, digests: _Digests) -> pl.Expr:
    if field.treatment is not None and field.treatment.op is not Operation.KEEP:
        return _scalar(value, field.treatment, kind, digests)
    if isinstance(kind, pl.Struct):
        kinds = {part.name: part.dtype for part in kind.fields}
        parts = [
            _replaced(pl.field(part.name), part, _instance(kinds[part.name]), digests).alias(part.name)
            for part in field.fields
            if is_treated(part)
        ]
        return value.struct.with_fields(parts)
    if isinstance(kind, pl.List) and field.item is not None:
        return value.list.eval(_replaced(pl.element(), field.item, _instance(kind.inner), digests))
    return value


def _instance(kind: object) -> pl.DataType:
    return kind if isinstance(kind, pl.DataType) else kind()  # type: ignore[operator]


def _scalar(value: pl.Expr, treatment: Treatment, kind: pl.DataType, digests: _Digests) -> pl.Expr:
    if treatment.op is Operation.DROP:
        return pl.lit(None, kind)
    if treatment.op is Operation.HASH:
        assert treatment.key is not None  # noqa: S101 - the loader has seen to it
        old, new = digests[treatment.key]
        return value.replace_strict(old, new, return_dtype=pl.String)
    # A value too short to have a middle would be shown whole.
    shown = value.str.head(treatment.first) + MASK + value.str.tail(treatment.last)
    long = value.str.len_chars() > treatment.first + treatment.last
    return pl.when(value.is_null()).then(None).when(long).then(shown).otherwise(pl.lit(MASK))
