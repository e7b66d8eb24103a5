"""Versions of rows: what a key held, from when to when (slowly changing dimensions, type 2). Pure.

Every change says what a key holds from an instant on, or that it is gone. The versions are a function of the set of
changes, in whatever order and batches they came: for each key and instant the last change counts, and a version ends
where the next one begins. So that a change which comes late finds its place, a deletion is kept as well: as a version
of its key that ends where it begins and so is valid at no time.
"""

from collections.abc import Sequence

import polars as pl

from analytics_platform.contract.schema import VERSION

FROM, TO, COMMIT = (column.name for column in VERSION)

DELETED = "_deleted"
"""The column of changes that says whether the key is gone; a table of versions has it as one that is valid at no time."""


def versions(standing: pl.DataFrame, changes: pl.DataFrame, key: Sequence[str], order: Sequence[str]) -> pl.DataFrame:
    """All versions of some keys after some changes, each once, sorted by key and instant.

    Args:
        standing: All versions of these keys so far: a table's columns, of which none without `_valid_from`.
        changes: The same columns without `_valid_to`, and `_deleted`.
        key: The columns that identify a row.
        order: Columns by which the later of two changes of one key and instant is told; it counts.
    """
    known = standing.with_columns((pl.col(TO) == pl.col(FROM)).fill_null(value=False).alias(DELETED)).drop(TO)
    last = (
        pl.concat([known, changes.select(known.columns)])
        .sort(*key, FROM, *order, maintain_order=True)
        .unique([*key, FROM], keep="last", maintain_order=True)
    )
    end = pl.when(DELETED).then(FROM).otherwise(pl.col(FROM).shift(-1).over(key))
    return last.with_columns(end.alias(TO)).select(standing.columns)


def of_keys(standing: pl.LazyFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Those versions whose key is among some keys; reads the columns of the key of all, and the others of these alone."""
    return standing.join(keys.unique().lazy(), on=keys.columns, how="semi").collect()


def differing(standing: pl.DataFrame, rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The changes by which rows that are valid now become `rows`: those that are new or other, and keys that are gone.

    Args:
        standing: Versions; those that are valid now count.
        rows: A whole table, one row per key.
        key: The columns that identify a row.

    Returns:
        The columns of `rows` and `_deleted`; of keys that are gone only the key is told.
    """
    now = standing.filter(pl.col(TO).is_null()).select(rows.columns)
    others = [name for name in rows.columns if name not in key]
    met = rows.join(now, on=key, how="left", suffix="?", maintain_order="left", coalesce=True)
    known = rows.join(now.with_columns(_known=True), on=key, how="left", maintain_order="left", coalesce=True)["_known"]
    same = [pl.col(name).eq_missing(pl.col(f"{name}?")) for name in others]
    is_same = met.select(pl.all_horizontal(*same, pl.lit(value=True)).alias("same"))["same"] & known.fill_null(
        value=False
    )
    gone = now.join(rows.select(key), on=key, how="anti", maintain_order="left")
    return pl.concat(
        [
            rows.filter(~is_same).with_columns(pl.lit(value=False).alias(DELETED)),
            gone.select(
                *(
                    pl.col(name) if name in key else pl.lit(None, rows.schema[name]).alias(name)
                    for name in rows.columns
                ),
                pl.lit(value=True).alias(DELETED),
            ),
        ]
    )
