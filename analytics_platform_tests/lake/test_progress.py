from pathlib import Path

import polars as pl
import pytest

from analytics_platform.errors import ProgressLost
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.progress import Coordinates, progress
from analytics_platform.lake.table import Lake, TableSpec

SPEC = TableSpec(
    "quarantine", "q", {"topic": pl.String(), "topic_id": pl.String(), "partition": pl.Int32()}, ("partition",)
)
COLUMNS = Coordinates("topic_id", "partition", "topic")
LOG = Log("t", "c/1")


def known(root: Path, rows: list[tuple[str, str, int]], stored: dict[str, int], columns: Coordinates = COLUMNS):
    lake = Lake(root, fsync=False)
    frame = pl.DataFrame(rows, schema=SPEC.schema, orient="row")
    commit(lake, SPEC, lambda _t, _l: Change(frame, progress=stored))
    return progress(lake.newest(SPEC), SPEC.title, columns, LOG, [0, 1, 2])


def test_no_table() -> None:
    assert progress(None, "q", COLUMNS, LOG, [0]) == {}


def test_unknown_partitions_are_left_out(tmp_path: Path) -> None:
    assert known(tmp_path, [("t", "c/1", 0)], {LOG.app_id(0): 5, LOG.app_id(2): 0}) == {0: 5, 2: 0}


def test_rows_without_progress_stop(tmp_path: Path) -> None:
    with pytest.raises(ProgressLost) as caught:
        known(tmp_path, [("t", "c/1", 0), ("t", "c/1", 1)], {LOG.app_id(0): 5})
    assert (caught.value.table, caught.value.app_id) == ("quarantine.q", LOG.app_id(1))


@pytest.mark.parametrize("row", [("other", "c/1", 1), ("t", "c/2", 1), ("t", "c/1", 7)])
def test_rows_of_other_logs_and_partitions_do_not_stop(tmp_path: Path, row: tuple[str, str, int]) -> None:
    assert known(tmp_path, [row], {LOG.app_id(0): 5}) == {0: 5}


def test_a_table_of_one_topic_needs_no_column_for_it(tmp_path: Path) -> None:
    with pytest.raises(ProgressLost):
        known(tmp_path, [("other", "c/1", 1)], {}, Coordinates("topic_id", "partition"))
