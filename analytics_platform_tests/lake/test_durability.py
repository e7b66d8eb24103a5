import os
from pathlib import Path

import pytest

from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.table import Lake
from analytics_platform_tests.lake.test_commit import SPEC, WIDER, rows, take


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths given to fsync, relative to the table's folder where they lie in it."""
    found: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        found.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "above" / "lake", fsync=True)


def named(lake: Lake, version: int) -> set[str]:
    """What makes a version durable: its entry and the folders that name it and its files."""
    folder = lake.path(SPEC)
    return {str(folder / "_delta_log" / f"{version:020}.json"), str(folder / "_delta_log"), str(folder)}


def data_files(lake: Lake) -> set[str]:
    return {str(path) for path in lake.path(SPEC).glob("*.parquet")}


def test_a_new_table_is_forced_up_to_the_folder_that_holds_the_lake(lake: Lake, forced: list[str]) -> None:
    lake.ensure(SPEC)
    folders = {str(lake.path(SPEC)), str(lake.root / "bronze"), str(lake.root), str(lake.root.parent)}
    assert set(forced) == named(lake, 0) | folders


def test_a_commit_is_forced_with_the_files_it_added(lake: Lake, forced: list[str]) -> None:
    take(lake, 0, 0, 3, fresh=True)
    before = data_files(lake)
    forced.clear()
    version = take(lake, 0, 3, 5).version
    added = data_files(lake) - before
    assert len(added) == 1
    assert set(forced) == named(lake, version) | added


def test_a_commit_without_rows_is_forced(lake: Lake, forced: list[str]) -> None:
    lake.ensure(SPEC)
    forced.clear()
    version = commit(lake, SPEC, lambda _table, _left: Change(rows())).version
    assert named(lake, version) <= set(forced)


def test_added_columns_are_forced(lake: Lake, forced: list[str]) -> None:
    lake.ensure(SPEC)
    forced.clear()
    assert named(lake, lake.ensure(WIDER).version()) <= set(forced)


def test_a_checkpoint_is_forced(lake: Lake, forced: list[str]) -> None:
    for offset in range(51):
        forced.clear()
        version = take(lake, 0, offset, offset + 1, fresh=True).version
        if (lake.path(SPEC) / "_delta_log" / f"{version:020}.checkpoint.parquet").exists():
            break
    log = lake.path(SPEC) / "_delta_log"
    assert {str(log / f"{version:020}.checkpoint.parquet"), str(log / "_last_checkpoint")} <= set(forced)


def test_nothing_is_forced_where_that_is_switched_off(tmp_path: Path, forced: list[str]) -> None:
    take(Lake(tmp_path, fsync=False), 0, 0, 3, fresh=True)
    assert forced == []


def test_a_commit_whose_writer_died_before_forcing_it_is_forced_by_the_next_one(lake: Lake, forced: list[str]) -> None:
    """Else a power cut could leave the later commit standing on one that is gone: rows lost below stored progress."""
    take(lake, 0, 0, 1, fresh=True)
    unforced = take(Lake(lake.root, fsync=False), 0, 1, 2).version
    late = data_files(lake)
    forced.clear()
    take(Lake(lake.root, fsync=True), 0, 2, 3)
    assert named(lake, unforced) <= set(forced)
    assert late - data_files_of_first(lake) <= set(forced)


def data_files_of_first(lake: Lake) -> set[str]:
    """Files that the first, forced commit added."""
    text = (lake.path(SPEC) / "_delta_log" / f"{1:020}.json").read_text()
    return {path for path in data_files(lake) if Path(path).name in text}


def test_a_commit_found_done_by_a_writer_that_died_is_forced(lake: Lake, forced: list[str]) -> None:
    """`commit` promises durability also where it finds the work done."""
    take(lake, 0, 0, 1, fresh=True)
    unforced = take(Lake(lake.root, fsync=False), 0, 1, 2).version
    forced.clear()
    assert take(Lake(lake.root, fsync=True), 0, 1, 2).change is None
    assert named(lake, unforced) <= set(forced)


def test_a_commit_of_another_process_in_between_is_forced_too(lake: Lake, forced: list[str]) -> None:
    take(lake, 0, 0, 1, fresh=True)
    unforced = take(Lake(lake.root, fsync=False), 0, 1, 2).version
    forced.clear()
    take(lake, 0, 2, 3)
    assert named(lake, unforced) <= set(forced)


def test_a_file_removed_since_needs_no_forcing(lake: Lake) -> None:
    take(lake, 0, 0, 1, fresh=True)
    unforced = Lake(lake.root, fsync=False)
    take(unforced, 0, 1, 2)
    for path in data_files(lake) - data_files_of_first(lake):
        Path(path).unlink()
    take(Lake(lake.root, fsync=True), 0, 2, 3)
