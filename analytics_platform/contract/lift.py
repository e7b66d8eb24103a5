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
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.contract.schema import polars_type, silver_schema
from analytics_platform.errors import ContractError

_OLDER = "_older"


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
        connection: Computes the expressions; better locked down, since they are not ours. One is opened when it is None.

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
        with duck.connect() as opened:
            duck.lock_down(opened)
            return lift(rows, versions, connection=opened)
    rejected = [nothing]
    for step in steps:
        assert step.upcast is not None  # noqa: S101 - filtered just above
        before = silver_schema([one for one in versions if one.major == step.upcast.major])
        rows = _cast(rows, step, step.upcast.fields, before, connection)
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
    connection: duck.DuckDBPyConnection | None,
) -> pl.DataFrame:
    assert connection is not None  # noqa: S101 - `lift` opened one
    older = rows.select(
        pl.col(name).cast(kind) if name in rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in before.items()
    )
    connection.register(_OLDER, older.with_row_index("_index").to_arrow(compat_level=pl.CompatLevel.newest()))
    # Where an expression fails for one row, by an overflow say, TRY makes it null; whether null is allowed is checked.
    columns = ", ".join(f"TRY((\n{sql}\n)) AS {duck.identifier(name)}" for name, sql in fields.items())
    try:
        made = pl.from_arrow(connection.sql(f"SELECT {columns} FROM {_OLDER} ORDER BY _index").to_arrow_table())
    except duck.Error as error:
        raise ContractError([f"{step.label}: its up-cast cannot be computed: {duck.words(error)}"]) from None
    finally:
        connection.unregister(_OLDER)
    assert isinstance(made, pl.DataFrame)  # noqa: S101 - a table
    kinds = {field.name: polars_type(field) for field in step.fields}
    rows = rows.with_columns(made[name].cast(kinds[name]) for name in fields)
    return rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in rows.columns)


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
