"""Rows of an older major version in the shape of the newest one, so that a table has one shape.

    rows valid under 1.x ── up-cast of 2.x ──> candidates ── check by 2.x ──┬─> rows
                                                                           └─> rejected: upcast_failed

The older version's own columns stay beside the new ones: what it said is not lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.check import check
from analytics_platform.contract.expression import computed
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.contract.schema import polars_type, row_schema


@dataclass(frozen=True, slots=True)
class Lifted:
    """Every row given is in one of the two."""

    rows: pl.DataFrame
    rejected: pl.DataFrame
    """REJECT_SCHEMA."""


def lift(
    rows: pl.DataFrame, versions: Sequence[EventContract], *, connection: duck.DuckDBPyConnection | None = None
) -> Lifted:
    """Bring valid rows of one version into the shape of the newest major, major by major.

    Args:
        rows: Checked, of one version, in its columns and those of lineage.
        versions: All contracts of the event.
        connection: Computes the expressions, see `duck.confined`. One is opened when it is None.

    Raises:
        ContractError: An expression cannot be computed at all. No row is to blame, so none is rejected.
    """
    nothing = pl.DataFrame(schema=REJECT_SCHEMA)
    if rows.is_empty():
        return Lifted(rows, nothing)
    label = rows["_contract"][0]
    major = next(one.major for one in versions if one.label == label)
    steps = [step for step in _steps(versions) if step.major > major and step.upcast is not None]
    if steps and connection is None:
        with duck.confined() as opened:
            return lift(rows, versions, connection=opened)
    rejected = [nothing]
    for step in steps:
        assert step.upcast is not None  # noqa: S101 - filtered just above
        assert connection is not None  # noqa: S101 - opened just above
        before = row_schema([one for one in versions if one.major == step.upcast.major])
        rows, failed = _cast(rows, step, step.upcast.fields, before, connection)
        if failed.height:
            rejected.append(_failed(failed, step, str(label)))
        judged = check(
            rows.select(*(field.name for field in step.fields), pl.lit(step.label).alias("_contract"), *_coordinates()),
            step,
            connection=connection,
        )
        if judged.rejected.height:
            rejected.append(_failed(judged.rejected, step, str(label)))
            rows = rows.join(judged.good.select(_coordinates()), on=_coordinates(), how="semi", maintain_order="left")
    return Lifted(rows, pl.concat(rejected))


def _steps(versions: Sequence[EventContract]) -> list[EventContract]:
    """The newest version of each major, in order."""
    newest = {one.major: one for one in sorted(versions, key=lambda one: one.order)}
    return [newest[major] for major in sorted(newest)]


def _cast(
    rows: pl.DataFrame,
    step: EventContract,
    fields: Mapping[str, str],
    before: Mapping[str, pl.DataType],
    connection: duck.DuckDBPyConnection,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with the fields made, and those for which one cannot be computed, in the columns of REJECT_SCHEMA."""
    older = rows.select(
        pl.col(name).cast(kind) if name in rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in before.items()
    )
    made = computed(older, fields, f"{step.label}: its up-cast", connection)
    kinds = {field.name: polars_type(field) for field in step.fields}
    reasons = [pl.when(made.failed[name]).then(pl.lit(f"{name}: cannot be computed for this row")) for name in fields]
    found = rows.select(
        topic_id="_topic_id",
        partition="_partition",
        offset="_offset",
        event_type="event_type",
        schema_version="schema_version",
        source="source",
        codes=pl.lit([], pl.List(pl.String)),
        reasons=pl.concat_list(reasons).list.drop_nulls(),
        contract="_contract",
    )
    bad = found["reasons"].list.len() > 0
    rows = rows.with_columns(made.values[name].cast(kinds[name]) for name in fields).filter(~bad)
    rows = rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in rows.columns)
    return rows, found.filter(bad)


def _failed(rejected: pl.DataFrame, step: EventContract, label: str) -> pl.DataFrame:
    """What the newer contract found, told as a fault of the up-cast."""
    return rejected.with_columns(
        codes=pl.lit([str(Reason.UPCAST_FAILED)], pl.List(pl.String)),
        reasons=pl.concat_list(
            pl.lit(f"after the up-cast to {step.header.version}: ", pl.String) + pl.col("reasons").list.join("; ")
        ),
        contract=pl.lit(label, pl.String),
    ).select(list(REJECT_SCHEMA))


def _coordinates() -> list[str]:
    return ["_topic_id", "_partition", "_offset"]
