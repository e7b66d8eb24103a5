"""Whether decoded rows keep the rules of their contract: pandera over the fields, DuckDB over whole rows.

pandera names every row that breaks a rule, and which; nothing is dropped or coerced behind our back, so these of its
features are never used: lazy frames (value checks are skipped in silence), `drop_invalid_rows`, `coerce`, `unique`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaErrors
from polars._typing import PolarsDataType

from analytics_platform import duck
from analytics_platform.contract.expression import computed
from analytics_platform.contract.model import EventContract, Field
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.contract.rule import conditions
from analytics_platform.contract.schema import polars_type
from analytics_platform.errors import ContractError

_ROWS = "_rows"
_FOUND = pl.Schema({"index": pl.Int64(), "order": pl.Int64(), "code": pl.String(), "reason": pl.String()})
"""What is wrong with which row; `order` sorts the findings of one row."""

_AFTER = 1_000_000
"""Row rules come after the rules of fields, of which no contract has a million."""

_compiled: dict[str, tuple[EventContract, pa.DataFrameSchema]] = {}


@dataclass(frozen=True, slots=True)
class Checked:
    """Every row given is in one of the two."""

    good: pl.DataFrame
    """The rows that keep every rule, with the columns and in the order they came in."""
    rejected: pl.DataFrame
    """REJECT_SCHEMA, in the order of the rows; `codes` and `reasons` hold every finding, not only the first."""


def check(rows: pl.DataFrame, contract: EventContract, *, connection: duck.DuckDBPyConnection | None = None) -> Checked:
    """Part the rows of one contract into good and rejected.

    Args:
        rows: As `decode` makes them, of this contract alone: where several versions stand in one frame, part it by
            `_contract` first.
        contract: What they must keep.
        connection: Computes the row rules, see `duck.confined`. One is opened when it is None and there are such rules.

    Raises:
        ContractError: A rule cannot be computed at all. No row is to blame, so none is rejected.
        ValueError: Rows of another contract are among them.
    """
    others = set(rows["_contract"].unique()) - {contract.label}
    if others:
        raise ValueError(f"rows of {', '.join(sorted(others))} were given to the check of {contract.label}")
    if rows.is_empty():
        return Checked(rows, pl.DataFrame(schema=REJECT_SCHEMA))
    found = pl.concat([_broken_rules(rows, contract), _broken_row_rules(rows, contract, connection)])
    if found.is_empty():
        return Checked(rows, pl.DataFrame(schema=REJECT_SCHEMA))
    each = found.sort("index", "order").group_by("index", maintain_order=True).agg(codes="code", reasons="reason")
    rejected = rows[each["index"]].select(
        pl.col("_topic_id").alias("topic_id"),
        pl.col("_partition").alias("partition"),
        pl.col("_offset").alias("offset"),
        "event_type",
        "schema_version",
        "source",
        pl.Series("codes", each["codes"]),
        pl.Series("reasons", each["reasons"]),
        pl.col("_contract").alias("contract"),
    )
    bad = pl.repeat(False, rows.height, eager=True).scatter(each["index"], True)
    return Checked(rows.filter(~bad), rejected)


def violations(rows: pl.DataFrame, fields: Sequence[Field]) -> list[str]:
    """What is wrong with a whole table, as sentences with counts and without values; `[]` when nothing is.

    For tables that are taken whole or not at all: a reference file, a mart's result.

    Raises:
        ContractError: A rule cannot be computed at all.
    """
    cases = _cases(rows, pa.DataFrameSchema({field.name: _column(field) for field in fields}, name="table"))
    if cases is None:
        return []
    sentence = pl.when(pl.col("check") == "not_nullable").then(pl.format("{}: missing", "column")).otherwise("check")
    counts = cases.group_by(sentence.alias("sentence")).agg(rows=pl.col("index").n_unique()).sort("sentence")
    return [f"{said} ({count} of {rows.height} rows)" for said, count in counts.iter_rows()]


def misfits(rows: pl.DataFrame, schema: Mapping[str, PolarsDataType]) -> list[str]:
    """The columns of a schema that a frame does not have, or whose values cannot become that type; no value is shown."""

    def fits(name: str, kind: PolarsDataType) -> bool:
        try:
            rows.select(pl.col(name).cast(kind))
        except pl.exceptions.PolarsError:
            return False
        return True

    return [name for name, kind in schema.items() if not fits(name, kind)]


def _broken_rules(rows: pl.DataFrame, contract: EventContract) -> pl.DataFrame:
    cases = _cases(rows, _schema(contract))
    if cases is None:
        return pl.DataFrame(schema=_FOUND)
    missing = pl.col("check") == "not_nullable"
    places = {field.name: place for place, field in enumerate(contract.fields)}
    return cases.select(
        pl.col("index").cast(pl.Int64),
        order=pl.col("column").replace_strict(places, return_dtype=pl.Int64) * 1000
        + pl.col("check_number").cast(pl.Int64).fill_null(-1),
        code=pl.when(missing).then(pl.lit(str(Reason.MISSING_FIELD))).otherwise(pl.lit(str(Reason.RULE_VIOLATED))),
        reason=pl.when(missing).then(pl.format("{}: missing", "column")).otherwise("check"),
    )


def _cases(rows: pl.DataFrame, schema: pa.DataFrameSchema) -> pl.DataFrame | None:
    """One row per row and rule it breaks; `None` when there is none."""
    # Set here, since PANDERA_* variables of the process could turn checks off.
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        try:
            schema.validate(rows, lazy=True)
        except SchemaErrors as errors:
            cases: pl.DataFrame = errors.failure_cases
        else:
            return None
    # Without a row the fault is the contract's or ours: a missing column, another type, a check that raised.
    faults = cases.filter(pl.col("index").is_null())
    if not faults.is_empty():
        # Only there `failure_case` is the contract's own word; elsewhere it may hold a value.
        name = pl.when(check="column_in_dataframe").then("failure_case").otherwise("column")
        pairs = faults.select(name, "check").unique(maintain_order=True).rows()
        raise ContractError([f"{schema.name}: {column}: cannot be checked ({what})" for column, what in pairs])
    return cases


def _broken_row_rules(
    rows: pl.DataFrame, contract: EventContract, connection: duck.DuckDBPyConnection | None
) -> pl.DataFrame:
    if not contract.row_rules:
        return pl.DataFrame(schema=_FOUND)
    if connection is None:
        with duck.confined() as opened:
            return _broken_row_rules(rows, contract, opened)
    # A row for which an expression fails, by an overflow say, breaks no rule: TRY makes it null, and null passes.
    sentences = [f"row rule {rule.name}: {rule.description}" for rule in contract.row_rules]
    each = [
        f"SELECT _index, {place} FROM {_ROWS} WHERE TRY((\n{rule.sql}\n)) IS FALSE"
        for place, rule in enumerate(contract.row_rules)
    ]
    columns = rows.select(field.name for field in contract.fields).with_row_index("_index")
    connection.register(_ROWS, columns.to_arrow(compat_level=pl.CompatLevel.newest()))
    try:
        found = connection.execute(" UNION ALL ".join(each)).fetchall()
    except duck.Error as error:
        if not duck.is_of_rows(error):
            raise ContractError([f"{contract.label}: its row rules cannot be computed: {duck.words(error)}"]) from None
        # What a row does that TRY does not catch passes for that row too.
        rules = {str(place): rule.sql for place, rule in enumerate(contract.row_rules)}
        made = computed(columns.drop("_index"), rules, f"{contract.label}: its row rules", connection)
        broken = [(made.values[place] == False).fill_null(value=False).arg_true() for place in rules]  # noqa: E712
        found = [(index, place) for place, indexes in enumerate(broken) for index in indexes]
    finally:
        connection.unregister(_ROWS)
    return pl.DataFrame(
        [(index, _AFTER + place, str(Reason.ROW_RULE_VIOLATED), sentences[place]) for index, place in found],
        schema=_FOUND,
        orient="row",
    )


def _schema(contract: EventContract) -> pa.DataFrameSchema:
    known = _compiled.get(contract.header.digest)
    if known is not None and known[0] == contract:
        return known[1]
    schema = pa.DataFrameSchema({field.name: _column(field) for field in contract.fields}, name=contract.label)
    _compiled[contract.header.digest] = contract, schema
    return schema


def _column(field: Field) -> pa.Column:
    nested = bool(field.fields) or field.item is not None
    return pa.Column(
        # Where several versions share a table, objects have the fields of all of them: decode fixed their types.
        None if nested else polars_type(field),
        [_check(sentence, condition) for sentence, condition in conditions(field)],
        nullable=not field.required,
    )


def _check(sentence: str, condition: pl.Expr) -> pa.Check:
    def keeps(data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(condition)

    return pa.Check(keeps, name=sentence)
