from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import silver
from analytics_platform.contract.model import EventContract
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform_tests import shop

PLACED = shop.contract(shop.domain(), "order_placed")
VIEWED = shop.contract(shop.domain(), "page_viewed")
T0 = datetime(2024, 7, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(
    key: str, offset: int, *, partition: int = 0, at: datetime = T0, ingested: datetime = NOW, hashed: int | None = None
):
    return {
        "idempotency_key": key,
        "occurred_at": at + timedelta(seconds=3),
        "placed_at": at,
        "_topic_id": "c/t",
        "_partition": partition,
        "_offset": offset,
        "_ingested_at": ingested,
        "_key_hash": hash(key) >> 2 if hashed is None else hashed,
    }


def frame(*rows: dict[str, object], contract: EventContract = PLACED) -> pl.DataFrame:
    """Rows in the columns of silver; what is not given is null."""
    schema = silver.spec([contract]).schema
    return pl.DataFrame([{name: item.get(name) for name in schema} for item in rows], schema=schema)


def table(root: Path, *files: pl.DataFrame, contract: EventContract = PLACED) -> Snapshot:
    lake, spec = Lake(root, fsync=False), silver.spec([contract])
    for rows in files:
        commit(lake, spec, lambda _table, _left, rows=rows: Change(rows))
    return Snapshot.of(lake.ensure(spec))


def split(rows: pl.DataFrame, snapshot: Snapshot, contract: EventContract = PLACED) -> tuple[list[int], list[int]]:
    """Offsets of the kept rows and of the duplicates."""
    found = silver.split(rows, contract, snapshot)
    assert found.kept.height + found.duplicates.height == rows.height
    return found.kept["_offset"].to_list(), sorted(found.duplicates["_offset"].to_list())


def test_of_copies_within_a_batch_the_first_to_arrive_stays(tmp_path: Path) -> None:
    later = NOW + timedelta(seconds=1)
    rows = frame(
        row("a", 5, partition=0, ingested=later),
        row("a", 9, partition=1),
        row("a", 8, partition=1),
        row("b", 3, partition=1),
        row("b", 7, partition=0),
    )
    assert split(rows, table(tmp_path)) == ([7, 8], [3, 5, 9])


def test_kept_rows_are_sorted_by_the_time_of_their_identity(tmp_path: Path) -> None:
    rows = frame(row("a", 1, at=T0 + timedelta(hours=2)), row("b", 2), row("c", 3, at=T0 + timedelta(hours=1)))
    assert split(rows, table(tmp_path))[0] == [2, 3, 1]


def test_copies_in_files_however_old(tmp_path: Path) -> None:
    old = T0 - timedelta(days=3000)
    snapshot = table(tmp_path, frame(row("old", 1, at=old)), frame(row("new", 2)))
    rows = frame(row("old", 10, at=old), row("new", 11), row("third", 12, at=old))
    assert split(rows, snapshot) == ([12], [10, 11])


def test_only_files_that_can_hold_a_copy_are_read(tmp_path: Path) -> None:
    far = frame(row("far", 1, at=T0 - timedelta(days=1)))
    snapshot = table(tmp_path, far, frame(row("near", 2)))
    gone = [path for path in snapshot.paths if pl.read_parquet(path)["idempotency_key"].item() == "far"]
    Path(gone[0]).unlink()
    assert split(frame(row("near", 10), row("other", 11)), snapshot) == ([11], [10])


def test_one_key_in_several_files(tmp_path: Path) -> None:
    """Damage that a rebuild mends must not trouble the search."""
    snapshot = table(tmp_path, frame(row("a", 1)), frame(row("a", 2)))
    assert split(frame(row("a", 10)), snapshot) == ([], [10])


def test_different_keys_of_one_hash_are_different(tmp_path: Path) -> None:
    snapshot = table(tmp_path, frame(row("a", 1, hashed=7), row("b", 2, hashed=7)))
    rows = frame(row("a", 10, hashed=7), row("c", 11, hashed=7), row("d", 12, hashed=7))
    assert split(rows, snapshot) == ([11, 12], [10])


def test_rows_to_be_replaced_do_not_count(tmp_path: Path) -> None:
    snapshot = table(tmp_path, frame(row("a", 1)), frame(row("b", 2, ingested=NOW - timedelta(hours=1))))
    found = silver.split(
        frame(row("a", 10), row("b", 11)), PLACED, snapshot, beside=pl.col("_ingested_at") < pl.lit(NOW)
    )
    assert (found.kept["_offset"].to_list(), found.duplicates["_offset"].to_list()) == ([10], [11])


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(days=2), timedelta(days=-2)])
def test_without_a_time_in_the_identity_copies_lie_within_the_window(tmp_path: Path, apart: timedelta) -> None:
    snapshot = table(tmp_path, frame(row("a", 1), contract=VIEWED), contract=VIEWED)
    rows = frame(row("a", 10, at=T0 + apart), row("b", 11), contract=VIEWED)
    assert split(rows, snapshot, VIEWED) == ([11], [10])


def test_no_rows(tmp_path: Path) -> None:
    assert split(frame(), table(tmp_path, frame(row("a", 1)))) == ([], [])


def test_statistics_are_kept_of_the_times_and_coordinates_only() -> None:
    assert silver.spec([PLACED]).stats == ("occurred_at", "placed_at", "_partition", "_offset", "_ingested_at")
    assert silver.spec([VIEWED]).stats == ("occurred_at", "_partition", "_offset", "_ingested_at")
