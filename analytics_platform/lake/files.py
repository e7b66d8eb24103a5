"""Which files of a snapshot can hold what is asked for, and how to read just those.

Cost follows the files that are read, not the table. Files record minimum and maximum of the columns a table keeps
statistics for; timestamps there are cut to milliseconds (delta-rs 1.6), so bounds are compared with that much to spare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from analytics_platform.duck import literal

_CUT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one version of a table."""

    schema: pl.Schema
    files: pl.DataFrame
    """One row per file: path (absolute), num_records, and `min.<column>`, `max.<column>` where recorded."""

    @classmethod
    def of(cls, table: DeltaTable) -> "Snapshot":
        """List the files of the version a handle holds."""
        # An address has %20 where a folder has a space.
        root = unquote(table.table_uri.removeprefix("file://")).rstrip("/")
        files = pl.DataFrame(table.get_add_actions(flatten=True))
        return cls(
            schema=pl.Schema(table.schema().to_arrow()),
            files=files.with_columns(path=pl.lit(root + "/") + pl.col("path")),
        )

    @property
    def rows(self) -> int:
        """How many rows the table has, by its log."""
        return int(self.files["num_records"].sum())

    def touching(self, column: str, ranges: Sequence[tuple[Any, Any]]) -> "Snapshot":
        """Keep only files that can hold a value in one of the half-open `ranges` of `column`.

        A file without statistics for the column is kept.
        """
        if f"min.{column}" not in self.files.columns or self.files.is_empty():
            return self
        wanted, kind = merged(ranges), self.schema[column]
        starts = pl.Series([start for start, _ in wanted], dtype=kind)
        ends = pl.Series([end for _, end in wanted], dtype=kind)
        lows, highs = self.files[f"min.{column}"].cast(kind), self.files[f"max.{column}"].cast(kind)
        # Of ranges that do not touch, a file meets one exactly when it meets the first that ends after its minimum.
        first = ends.search_sorted(lows.fill_null(strategy="zero") if lows.null_count() else lows, side="right")
        reach = highs + _CUT if kind == pl.Datetime("us", "UTC") else highs
        hit = starts.gather(first.set(first == len(wanted), None)) <= reach
        unknown = lows.is_null() | highs.is_null()
        return Snapshot(self.schema, self.files.filter(hit.fill_null(value=False) | unknown))

    @property
    def paths(self) -> list[str]:
        """The files' absolute paths."""
        return self.files["path"].to_list()

    def scan(self) -> pl.LazyFrame:
        """The rows of these files; columns and fields of objects that a file is too old to have are null."""
        if self.files.is_empty():
            return pl.DataFrame(schema=self.schema).lazy()
        return pl.scan_parquet(
            self.paths,
            schema=self.schema,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            cast_options=pl.ScanCastOptions(missing_struct_fields="insert"),
        )


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of a table, as a commit looks at it before it decides."""

    table: DeltaTable

    def progress(self, app_id: str) -> int | None:
        """What is stored under a name; `None` where nothing is."""
        return self.table.transaction_version(app_id)

    def snapshot(self) -> Snapshot:
        """Its files."""
        return Snapshot.of(self.table)


def overlap_sql(column: str, ranges: Sequence[tuple[object, object]]) -> str:
    """A predicate that holds for values of a column inside one of the half-open `ranges`; never for none.

    Bounds are numbers, dates, or timestamps of whole milliseconds, the finest a file's statistics can be trusted for.
    """
    parts = [f"({column} >= {_literal(start)} AND {column} < {_literal(end)})" for start, end in merged(ranges)]
    return "(" + " OR ".join(parts) + ")" if parts else "false"


def places_sql(rows: pl.DataFrame, columns: tuple[str, str, str]) -> str:
    """A predicate that holds for exactly the records that stood at some places in Kafka; it names nothing but places.

    Args:
        rows: With those places.
        columns: What rows and table call log, partition and offset.
    """
    log, partition, offset = columns
    parts = []
    for (log_id, number), group in rows.sort(columns).group_by(log, partition, maintain_order=True):
        offsets = group[offset].unique().sort()
        # The bounds are for skipping files: a list of values is not compared with statistics.
        bounds = overlap_sql(offset, [(offsets[0], offsets[-1] + 1)])
        listed = ", ".join(str(item) for item in offsets)
        parts.append(
            f"({log} = {literal(str(log_id))} AND {partition} = {number} AND {bounds} AND {offset} IN ({listed}))"
        )
    return "(" + " OR ".join(parts) + ")" if parts else "false"


def _literal(bound: object) -> str:
    if isinstance(bound, datetime):
        if bound.tzinfo is None or bound.microsecond % 1000:
            raise ValueError(f"not a UTC timestamp of whole milliseconds: {bound!r}")
        return f"'{bound.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{bound.microsecond // 1000:03}Z'"
    return f"'{bound.isoformat()}'" if isinstance(bound, date) else str(int(str(bound)))


def merged(ranges: Sequence[tuple[Any, Any]], *, most: int | None = None) -> list[tuple[Any, Any]]:
    """Sorted, non-empty, non-touching half-open ranges that cover `ranges`.

    With `most`, the smallest gaps are closed until no more than that many ranges are left, so the cover may be larger.
    """
    joined: list[tuple[Any, Any]] = []
    for start, end in sorted(item for item in ranges if item[0] < item[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    if most is not None and len(joined) > most:
        gaps = sorted(range(1, len(joined)), key=lambda at: joined[at][0] - joined[at - 1][1], reverse=True)
        cuts = sorted(gaps[: most - 1])
        parts = [joined[a:b] for a, b in zip([0, *cuts], [*cuts, len(joined)], strict=True)]
        joined = [(part[0][0], part[-1][1]) for part in parts]
    return joined


def file_bytes(paths: Sequence[str]) -> int:
    """The size of some files, in bytes."""
    return sum(Path(path).stat().st_size for path in paths)
