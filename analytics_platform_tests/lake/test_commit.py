import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from analytics_platform.errors import CommitConflict, OffsetGap, ProgressLost, SchemaChanged
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake import commit as module
from analytics_platform.lake.commit import TOKEN, Change, Committed, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot, overlap_sql
from analytics_platform.lake.table import Lake, TableSpec

SCHEMA = {"partition": pl.Int32(), "offset": pl.Int64(), "at": pl.Datetime("us", "UTC")}
SPEC = TableSpec("bronze", "t", SCHEMA, ("partition", "offset", "at"))
WIDER = TableSpec("bronze", "t", SCHEMA | {"more": pl.String()}, ("partition", "offset", "at"))
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def rows(*ranges: OffsetRange) -> pl.DataFrame:
    """A row per offset."""
    return pl.DataFrame(
        [(item.partition, offset, T0) for item in ranges for offset in range(item.start, item.end)],
        schema=SCHEMA,
        orient="row",
    )


def of(left: tuple[Move, ...]) -> Change:
    return Change(rows(*(move.range for move in left)))


def take(lake: Lake, partition: int, start: int, end: int, *, fresh: bool = False) -> Committed:
    """Commit a row for each offset of a range."""
    move = Move(f"p{partition}", OffsetRange(partition, start, end), fresh)
    return commit(lake, SPEC, lambda _table, left: of(left), [move])


def standing(root: Path, spec: TableSpec = SPEC) -> list[tuple[int, int]]:
    table = Lake(root).newest(spec)
    return [] if table is None else sorted(Snapshot.of(table).scan().select("partition", "offset").collect().rows())


def progress(root: Path, name: str) -> int | None:
    table = Lake(root).newest(SPEC)
    return None if table is None else table.transaction_version(name)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", fsync=False)


def other(lake: Lake) -> Lake:
    """Another process's view of the same tables."""
    return Lake(lake.root, lake.fsync)


# --- what is there, what is missing ------------------------------------------------------------------------------------


def test_first_commit_stores_rows_and_progress(lake: Lake) -> None:
    done = take(lake, 0, 0, 3, fresh=True)
    assert done.moves == (Move("p0", OffsetRange(0, 0, 3), fresh=True),)
    assert standing(lake.root) == [(0, 0), (0, 1), (0, 2)]
    assert (progress(lake.root, "p0"), progress(lake.root, TOKEN)) == (3, 1)


def test_what_is_there_already_is_trimmed(lake: Lake) -> None:
    take(lake, 0, 0, 3, fresh=True)
    done = take(lake, 0, 1, 5)
    assert [move.range for move in done.moves] == [OffsetRange(0, 3, 5)]
    assert standing(lake.root) == [(0, offset) for offset in range(5)]


def test_all_there_already_writes_nothing(lake: Lake) -> None:
    first = take(lake, 0, 0, 3, fresh=True)
    again = take(other(lake), 0, 0, 3)
    assert again == Committed((), first.version, None)


def test_a_gap_is_refused_and_nothing_is_written(lake: Lake) -> None:
    version = take(lake, 0, 0, 3, fresh=True).version
    with pytest.raises(OffsetGap) as caught:
        take(lake, 0, 5, 6)
    assert (caught.value.table, caught.value.have, caught.value.start) == ("bronze.t", 3, 5)
    assert (standing(lake.root), lake.ensure(SPEC).version()) == ([(0, 0), (0, 1), (0, 2)], version)


def test_a_gap_in_one_of_two_partitions_writes_neither(lake: Lake) -> None:
    take(lake, 0, 0, 1, fresh=True)
    take(lake, 1, 0, 1, fresh=True)
    moves = [Move("p0", OffsetRange(0, 1, 2)), Move("p1", OffsetRange(1, 2, 3))]
    with pytest.raises(OffsetGap):
        commit(lake, SPEC, lambda _table, left: of(left), moves)
    assert standing(lake.root) == [(0, 0), (1, 0)]


def test_unknown_progress_stops_unless_it_is_known_to_be_new(lake: Lake) -> None:
    take(lake, 0, 0, 1, fresh=True)
    with pytest.raises(ProgressLost) as caught:
        take(lake, 1, 0, 1)
    assert caught.value.app_id == "p1"
    take(lake, 1, 0, 1, fresh=True)
    assert standing(lake.root) == [(0, 0), (1, 0)]


def test_a_new_partition_without_rows_is_known_from_then_on(lake: Lake) -> None:
    take(lake, 0, 7, 7, fresh=True)
    assert (standing(lake.root), progress(lake.root, "p0")) == ([], 7)
    with pytest.raises(OffsetGap):
        take(lake, 0, 8, 9)


def test_a_commit_without_rows_moves_progress(lake: Lake) -> None:
    take(lake, 0, 0, 1, fresh=True)
    done = commit(lake, SPEC, lambda _table, _left: Change(rows()), [Move("p0", OffsetRange(0, 1, 9))])
    assert done.change is not None
    assert (standing(lake.root), progress(lake.root, "p0")) == ([(0, 0)], 9)


def test_leaving_the_table_alone_makes_no_version(lake: Lake) -> None:
    before = lake.ensure(SPEC).version()
    done = commit(lake, SPEC, lambda _table, _left: None)
    assert (done.change, done.version, lake.ensure(SPEC).version()) == (None, before, before)


def test_further_progress_is_stored_as_it_is(lake: Lake) -> None:
    commit(lake, SPEC, lambda _table, _left: Change(rows(), progress={"mark": 5}))
    commit(lake, SPEC, lambda _table, _left: Change(rows(), progress={"mark": 2}))
    assert progress(lake.root, "mark") == 2


# --- races -------------------------------------------------------------------------------------------------------------


def interleaved(between: Callable[[], object]) -> Callable[[Pinned, tuple[Move, ...]], Change]:
    """Make rows for what is left; the first time, let somebody else commit before they are written."""
    calls = []

    def make(_table: Pinned, left: tuple[Move, ...]) -> Change:
        calls.append(left)
        if len(calls) == 1:
            between()
        return of(left)

    return make


def test_a_lost_race_is_decided_again_and_doubles_nothing(lake: Lake) -> None:
    take(lake, 0, 0, 2, fresh=True)
    make = interleaved(lambda: take(other(lake), 0, 2, 5))
    done = commit(lake, SPEC, make, [Move("p0", OffsetRange(0, 2, 7))])
    assert [move.range for move in done.moves] == [OffsetRange(0, 5, 7)]
    assert standing(lake.root) == [(0, offset) for offset in range(7)]


def test_a_race_lost_altogether_writes_nothing(lake: Lake) -> None:
    take(lake, 0, 0, 2, fresh=True)
    make = interleaved(lambda: take(other(lake), 0, 2, 5))
    assert commit(lake, SPEC, make, [Move("p0", OffsetRange(0, 2, 5))]).change is None
    assert standing(lake.root) == [(0, offset) for offset in range(5)]


def test_two_commits_of_different_partitions_still_meet(lake: Lake) -> None:
    """An anti-join against the snapshot must never miss a row that lands in between."""
    take(lake, 0, 0, 1, fresh=True)
    seen: list[int] = []

    def make(table: Pinned, left: tuple[Move, ...]) -> Change:
        seen.append(table.snapshot().rows)
        if len(seen) == 1:
            take(other(lake), 1, 0, 1, fresh=True)
        return of(left)

    commit(lake, SPEC, make, [Move("p0", OffsetRange(0, 1, 2))])
    assert seen == [1, 2]


def test_a_compaction_in_between_is_no_conflict(lake: Lake) -> None:
    for offset in range(4):
        take(lake, 0, offset, offset + 1, fresh=True)

    def make(_table: Pinned, left: tuple[Move, ...]) -> Change:
        assert left
        DeltaTable(lake.path(SPEC)).optimize.compact()
        return of(left)

    take_one = [Move("p0", OffsetRange(0, 4, 5))]
    assert commit(lake, SPEC, make, take_one).moves == tuple(take_one)
    assert standing(lake.root) == [(0, offset) for offset in range(5)]


def test_always_losing_ends_with_a_retryable_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRIES", 3)
    take(lake, 0, 0, 1, fresh=True)

    def make(_table: Pinned, left: tuple[Move, ...]) -> Change:
        commit(other(lake), SPEC, lambda _table, _left: Change(rows()))
        return of(left)

    with pytest.raises(CommitConflict) as caught:
        commit(lake, SPEC, make, [Move("p0", OffsetRange(0, 1, 2))])
    assert caught.value.retryable
    assert (caught.value.tries, "Concurrent transaction failed" in caught.value.reason) == (3, True)


def test_negative_control_checking_one_handle_and_writing_another_doubles(lake: Lake) -> None:
    """What `commit` guards against is real: the same race, with the check on another handle than the write."""
    take(lake, 0, 0, 2, fresh=True)
    path = lake.path(SPEC)
    checked = [DeltaTable(path), DeltaTable(path)]
    assert [table.transaction_version("p0") for table in checked] == [2, 2]
    for _ in checked:
        transaction = CommitProperties(app_transactions=[Transaction("p0", 5)])
        write_deltalake(path, rows(OffsetRange(0, 2, 5)), mode="append", commit_properties=transaction)
    assert standing(lake.root).count((0, 3)) == 2


def test_the_same_race_through_the_checked_handles_is_refused(lake: Lake) -> None:
    take(lake, 0, 0, 2, fresh=True)
    first, second = DeltaTable(lake.path(SPEC)), DeltaTable(lake.path(SPEC))
    transaction = CommitProperties(app_transactions=[Transaction("p0", 5)])
    write_deltalake(first, rows(OffsetRange(0, 2, 5)), mode="append", commit_properties=transaction)
    with pytest.raises(CommitFailedError):
        write_deltalake(second, rows(OffsetRange(0, 2, 5)), mode="append", commit_properties=transaction)


RANGES = 60


def race(root: Path, barrier: Barrier) -> None:
    """What each of the racing processes does: the same ranges, the table not even made yet."""
    lake = Lake(root, fsync=False)
    barrier.wait(timeout=60)
    for number in range(RANGES):
        take(lake, 0, 3 * number, 3 * number + 3, fresh=True)


def test_two_processes_race_for_the_same_ranges(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    both = [context.Process(target=race, args=(tmp_path / "lake", barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=120)
    assert [process.exitcode for process in both] == [0, 0]
    assert standing(tmp_path / "lake") == [(0, offset) for offset in range(3 * RANGES)]


# --- an error does not mean "not written" ------------------------------------------------------------------------------

Write = Callable[..., None]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, after: bool) -> None:
    """The next write raises, before or after it has landed; later ones go through."""
    errors = [error]

    def write(*args: Any, **named: Any) -> None:
        if not errors or after:
            write_deltalake(*args, **named)
        if errors:
            raise errors.pop()

    monkeypatch.setattr(module, "write_deltalake", write)


def test_an_error_after_the_commit_landed_is_reported_as_committed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    take(lake, 0, 0, 2, fresh=True)
    failing(monkeypatch, Exception("lost reply"), after=True)
    done = take(lake, 0, 2, 4)
    assert [move.range for move in done.moves] == [OffsetRange(0, 2, 4)]
    assert take(lake, 0, 2, 4).change is None
    assert standing(lake.root) == [(0, offset) for offset in range(4)]


def test_a_conflict_reported_although_the_commit_landed_doubles_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost reply of an object store: the retry meets its own commit."""
    take(lake, 0, 0, 2, fresh=True)
    failing(monkeypatch, CommitFailedError("Concurrent transaction failed."), after=True)
    assert take(lake, 0, 2, 4).change is None
    assert standing(lake.root) == [(0, offset) for offset in range(4)]


def test_an_error_before_the_commit_is_raised_and_nothing_is_there(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    take(lake, 0, 0, 2, fresh=True)
    failing(monkeypatch, OSError("no space left on device"), after=False)
    with pytest.raises(OSError, match="no space"):
        take(lake, 0, 2, 4)
    assert standing(lake.root) == [(0, 0), (0, 1)]
    take(lake, 0, 2, 4)
    assert standing(lake.root) == [(0, offset) for offset in range(4)]


def test_an_error_before_the_commit_is_not_taken_for_success_because_somebody_else_committed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without moves only the token tells: another writer's must not be taken for ours."""
    lake.ensure(SPEC)

    def write(*_args: Any, **_named: Any) -> None:
        monkeypatch.undo()
        commit(other(lake), SPEC, lambda _table, _left: Change(rows(OffsetRange(9, 0, 1))))
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "write_deltalake", write)
    with pytest.raises(OSError, match="no space"):
        commit(lake, SPEC, lambda _table, _left: Change(rows(OffsetRange(0, 0, 1))))
    assert standing(lake.root) == [(9, 0)]


def test_an_error_after_the_commit_landed_and_another_one_on_top(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    take(lake, 0, 0, 2, fresh=True)

    def write(*args: Any, **named: Any) -> None:
        monkeypatch.undo()
        write_deltalake(*args, **named)
        take(other(lake), 0, 4, 5)
        raise Exception("lost reply")  # noqa: TRY002 - as deltalake does

    monkeypatch.setattr(module, "write_deltalake", write)
    done = take(lake, 0, 2, 4)
    assert [move.range for move in done.moves] == [OffsetRange(0, 2, 4)]
    assert standing(lake.root) == [(0, offset) for offset in range(5)]


class PanicException(BaseException):
    """As pyo3 has it: no `Exception`."""


def test_a_panic_passes_through(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    take(lake, 0, 0, 2, fresh=True)
    failing(monkeypatch, PanicException("index out of bounds"), after=False)
    with pytest.raises(PanicException):
        take(lake, 0, 2, 4)
    take(lake, 0, 2, 4)
    assert standing(lake.root) == [(0, offset) for offset in range(4)]


# --- columns -----------------------------------------------------------------------------------------------------------


def test_a_new_column_is_null_in_the_rows_that_stand_there(lake: Lake) -> None:
    take(lake, 0, 0, 1, fresh=True)
    commit(lake, WIDER, lambda _table, _left: Change(rows(OffsetRange(0, 1, 2)).with_columns(more=pl.lit("x"))))
    table = lake.ensure(WIDER)
    found = Snapshot.of(table).scan().sort("offset").collect()
    assert found.rows() == [(0, 0, T0, None), (0, 1, T0, "x")]
    assert progress(lake.root, "p0") == 1


def test_a_writer_with_the_narrower_contract_writes_null(lake: Lake) -> None:
    lake.ensure(WIDER)
    take(lake, 0, 0, 1, fresh=True)
    assert Snapshot.of(lake.ensure(WIDER)).scan().collect().rows() == [(0, 0, T0, None)]


def test_a_column_added_between_check_and_write_is_no_conflict_in_the_end(lake: Lake) -> None:
    take(lake, 0, 0, 1, fresh=True)
    make = interleaved(lambda: other(lake).ensure(WIDER))
    commit(lake, SPEC, make, [Move("p0", OffsetRange(0, 1, 2))])
    assert standing(lake.root) == [(0, 0), (0, 1)]


def test_two_writers_widen_a_table_at_once(lake: Lake) -> None:
    """Both hold the narrow version; the slower one finds the column there and goes on."""
    take(lake, 0, 0, 1, fresh=True)
    slow = other(lake)
    narrow = slow.newest(SPEC)
    assert narrow is not None
    lake.ensure(WIDER)
    narrow_again = DeltaTable(lake.path(SPEC), version=narrow.version())
    slow._handles[SPEC.title] = narrow_again
    stale = StaleOnce(slow, narrow_again)
    assert stale.ensure(WIDER).schema().to_arrow() is not None
    assert list(Snapshot.of(slow.ensure(WIDER)).schema) == ["partition", "offset", "at", "more"]


class StaleOnce(Lake):
    """Its first look at a table misses the commit that has just landed."""

    def __init__(self, lake: Lake, stale: DeltaTable) -> None:
        super().__init__(lake.root, lake.fsync)
        self.__dict__["stale"] = [stale]

    def newest(self, spec: TableSpec) -> DeltaTable | None:
        stale = self.__dict__["stale"]
        return stale.pop() if stale else Lake.newest(self, spec)


@pytest.mark.parametrize("found", [pl.Int32(), pl.String(), pl.Datetime("us", "UTC")])
def test_a_column_of_another_type_stops(lake: Lake, found: pl.DataType) -> None:
    take(lake, 0, 0, 1, fresh=True)
    changed = TableSpec("bronze", "t", SCHEMA | {"offset": found}, ())
    with pytest.raises(SchemaChanged) as caught:
        commit(lake, changed, lambda _table, _left: Change(rows(OffsetRange(0, 1, 2))))
    assert caught.value.changes == (f"offset is Int64, wanted {found}",)
    assert standing(lake.root) == [(0, 0)]


# --- slices replaced ---------------------------------------------------------------------------------------------------


def at(*milliseconds: float) -> pl.DataFrame:
    values = [(0, int(item * 1000), T0 + timedelta(milliseconds=item)) for item in milliseconds]
    return pl.DataFrame(values, schema=SCHEMA, orient="row")


def test_a_slice_is_replaced_and_nothing_else(lake: Lake) -> None:
    for part in (at(0, 1.5), at(2, 2.999), at(3)):
        commit(lake, SPEC, lambda _table, _left, part=part: Change(part))
    span = [(T0 + timedelta(milliseconds=2), T0 + timedelta(milliseconds=3))]
    commit(lake, SPEC, lambda _table, _left: Change(at(2.5), replaces=overlap_sql("at", span)))
    assert [offset for _, offset in standing(lake.root)] == [0, 1500, 2500, 3000]


def test_a_slice_within_files_leaves_their_other_rows(lake: Lake) -> None:
    commit(lake, SPEC, lambda _table, _left: Change(at(0, 1, 1.999, 2)))
    span = [(T0 + timedelta(milliseconds=1), T0 + timedelta(milliseconds=2))]
    commit(lake, SPEC, lambda _table, _left: Change(rows(), replaces=overlap_sql("at", span)))
    assert [offset for _, offset in standing(lake.root)] == [0, 2000]


def test_all_rows_are_replaced(lake: Lake) -> None:
    take(lake, 0, 0, 3, fresh=True)
    commit(lake, SPEC, lambda _table, _left: Change(rows(OffsetRange(7, 0, 1)), replaces_all=True))
    assert standing(lake.root) == [(7, 0)]
    assert progress(lake.root, "p0") == 3


def test_rows_outside_the_slice_are_refused(lake: Lake) -> None:
    take(lake, 0, 0, 3, fresh=True)
    with pytest.raises(Exception, match="failed validation check"):
        commit(lake, SPEC, lambda _table, _left: Change(rows(OffsetRange(7, 0, 1)), replaces="partition = 0"))
    assert standing(lake.root) == [(0, 0), (0, 1), (0, 2)]


# --- statistics and the disk -------------------------------------------------------------------------------------------


def test_statistics_only_of_declared_columns(tmp_path: Path) -> None:
    """No other value may ever stand in the log."""
    lake = Lake(tmp_path / "lake", fsync=False)
    spec = TableSpec("bronze", "t", SCHEMA | {"secret": pl.String()}, ("offset",))
    commit(lake, spec, lambda _table, _left: Change(rows(OffsetRange(0, 0, 3)).with_columns(secret=pl.lit("hush"))))
    files = Snapshot.of(lake.ensure(spec)).files
    assert sorted(name for name in files.columns if name[:4] in {"min.", "max."}) == ["max.offset", "min.offset"]
    assert "hush" not in "".join(path.read_text() for path in (lake.path(spec) / "_delta_log").glob("*.json"))
