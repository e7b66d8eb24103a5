import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot, merged, overlap_sql, places_sql
from analytics_platform.lake.table import Lake, TableSpec

KINDS: dict[str, Any] = {"at": pl.Datetime("us", "UTC"), "n": pl.Int64(), "d": pl.Date()}
T0 = datetime(2024, 3, 10, tzinfo=UTC)


def snapshot_of(root: Path, column: str, files: list[list[Any]], stats: bool = True) -> Snapshot:
    """A table of one column with a file for each list."""
    spec = TableSpec("silver", "t", {column: KINDS[column], "other": pl.String()}, (column,) if stats else ("other",))
    lake = Lake(root, fsync=False)
    for values in files:
        rows = pl.DataFrame({column: values, "other": [None] * len(values)}, schema=spec.schema)
        commit(lake, spec, lambda _table, _left, rows=rows: Change(rows))
    return Snapshot.of(lake.ensure(spec))


# --- which files can hold a match --------------------------------------------------------------------------------------

microseconds = st.one_of(
    st.integers(-5_000, 5_000), st.integers(-62_135_596_800_000_000 + 86_400_000_000, 253_402_214_400_000_000)
)
instants = microseconds.map(lambda item: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=item))
numbers = st.one_of(st.integers(-10, 10), st.integers(-(2**63), 2**63 - 1))
days = st.dates(min_value=date(1, 1, 1), max_value=date(9999, 12, 31))


def files_and_ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    files = st.lists(st.lists(st.one_of(st.none(), values), min_size=1, max_size=4), min_size=1, max_size=3)
    ranges = st.lists(st.tuples(values, values), max_size=3)
    return st.tuples(files, ranges)


cases = st.one_of(
    files_and_ranges(instants).map(lambda item: ("at", *item)),
    files_and_ranges(numbers).map(lambda item: ("n", *item)),
    files_and_ranges(days).map(lambda item: ("d", *item)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases)
@example(("at", [[T0 + timedelta(microseconds=999)]], [(T0 + timedelta(microseconds=999), T0 + timedelta(seconds=1))]))
@example(
    (
        "at",
        [[datetime(1969, 12, 31, 23, 59, 59, 999_500, UTC)]],
        [(T0.replace(year=1960), T0.replace(year=1970, month=1, day=1))],
    )
)
@example(
    ("at", [[T0.replace(year=1600, microsecond=1)]], [(T0.replace(year=1600), T0.replace(year=1600, microsecond=2))])
)
def test_a_file_that_holds_a_match_is_never_left_out(case: tuple[str, list[list[Any]], list[tuple[Any, Any]]]) -> None:
    column, files, ranges = case
    with TemporaryDirectory() as folder:
        snapshot = snapshot_of(Path(folder), column, files)
        inside = pl.any_horizontal(
            pl.lit(value=False), *((pl.col(column) >= start) & (pl.col(column) < end) for start, end in ranges)
        )
        expected = snapshot.scan().filter(inside).collect().sort(column)
        found = snapshot.touching(column, ranges).scan().filter(inside).collect().sort(column)
        assert found.equals(expected)


def test_files_that_cannot_match_are_left_out(tmp_path: Path) -> None:
    hours = [[T0 + timedelta(hours=hour), T0 + timedelta(hours=hour, minutes=59)] for hour in range(5)]
    snapshot = snapshot_of(tmp_path, "at", hours)
    near = snapshot.touching("at", [(T0 + timedelta(hours=1), T0 + timedelta(hours=2)), (T0, T0)])
    assert near.scan().collect()["at"].to_list() == hours[1]
    assert snapshot.touching("at", []).paths == []


def test_a_file_without_statistics_is_kept(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, "n", [[1], [2]], stats=False)
    assert len(snapshot.touching("n", [(5, 6)]).paths) == 2


def test_a_table_without_files(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, "n", [])
    assert (snapshot.rows, snapshot.touching("n", [(0, 1)]).scan().collect().shape) == (0, (0, 2))


def test_rows_are_counted_by_the_log(tmp_path: Path) -> None:
    assert snapshot_of(tmp_path, "n", [[1, 2], [3]]).rows == 3


def test_a_lake_in_a_folder_of_an_odd_name(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path / "my lake, 100 % ü", "n", [[1], [2]])
    assert sorted(snapshot.scan().collect()["n"]) == [1, 2]


# --- ranges ------------------------------------------------------------------------------------------------------------

spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def covered(ranges: list[tuple[int, int]]) -> set[int]:
    return {item for start, end in ranges for item in range(start, end)}


@given(spans)
def test_merged_ranges_cover_the_same_and_do_not_touch(ranges: list[tuple[int, int]]) -> None:
    found = merged(ranges)
    assert covered(found) == covered(ranges)
    assert all(start < end for start, end in found)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


@given(spans, st.integers(1, 4))
def test_at_most_so_many_ranges_cover_all(ranges: list[tuple[int, int]], most: int) -> None:
    found = merged(ranges, most=most)
    assert len(found) <= most
    assert covered(found) >= covered(ranges)
    assert all(start < end for start, end in found)
    assert merged(found) == found


def test_the_smallest_gaps_are_closed(tmp_path: Path) -> None:  # noqa: ARG001
    assert merged([(0, 1), (2, 3), (10, 11), (12, 13)], most=2) == [(0, 3), (10, 13)]


# --- predicates --------------------------------------------------------------------------------------------------------


def test_predicates_are_written_as_the_table_understands_them() -> None:
    assert overlap_sql("n", [(5, 7), (1, 2), (6, 9)]) == "((n >= 1 AND n < 2) OR (n >= 5 AND n < 9))"
    assert overlap_sql("d", [(date(2024, 1, 1), date(2024, 1, 2))]) == "((d >= '2024-01-01' AND d < '2024-01-02'))"
    span = (T0, T0 + timedelta(milliseconds=5))
    assert overlap_sql("at", [span]) == "((at >= '2024-03-10T00:00:00.000Z' AND at < '2024-03-10T00:00:00.005Z'))"
    assert overlap_sql("at", []) == "false"


@pytest.mark.parametrize(
    "bound", [T0 + timedelta(microseconds=1), T0 + timedelta(milliseconds=1, microseconds=500), T0.replace(tzinfo=None)]
)
def test_bounds_finer_than_statistics_are_refused(bound: datetime) -> None:
    with pytest.raises(ValueError, match="whole milliseconds"):
        overlap_sql("at", [(bound, bound + timedelta(seconds=1))])


def test_a_predicate_of_places_names_nothing_else() -> None:
    rows = pl.DataFrame({"log": ["c/it's", "c/it's", "c/b"], "part": [1, 1, 0], "at": [8, 6, 3], "secret": ["x"] * 3})
    assert places_sql(rows, ("log", "part", "at")) == (
        "((log = 'c/b' AND part = 0 AND ((at >= 3 AND at < 4)) AND at IN (3)) OR "
        "(log = 'c/it''s' AND part = 1 AND ((at >= 6 AND at < 9)) AND at IN (6, 8)))"
    )
    assert places_sql(rows.clear(), ("log", "part", "at")) == "false"
