"""The files of one table made those of another, in one commit."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform.errors import CommitConflict
from analytics_platform.lake.commit import Change, Committed, commit
from analytics_platform.lake.erase import sweep
from analytics_platform.lake.files import Pinned, Snapshot
from analytics_platform.lake.table import BUILDING, Lake, TableSpec

INSTANT = pl.Datetime("us", "UTC")
AT = datetime(2024, 1, 1, 3, 4, 5, 678_900, tzinfo=UTC)
OLD = TableSpec("gold", "sales", {"hour": INSTANT, "n": pl.Int64}, ("hour",))
NEW = TableSpec(BUILDING, "sales_1", {"hour": INSTANT, "n": pl.Float64, "city": pl.String}, ("hour",))
WANTED = TableSpec("gold", "sales", NEW.schema, ("hour",))


def append(lake: Lake, spec: TableSpec, **columns: object) -> None:
    commit(lake, spec, lambda _table, _left: Change(pl.DataFrame(columns, schema_overrides=spec.schema)))


def snapshot(lake: Lake, spec: TableSpec) -> Snapshot:
    table = lake.newest(spec)
    assert table is not None
    return Snapshot.of(table)


def adopted(lake: Lake, files: Snapshot) -> Committed:
    nothing = pl.DataFrame(schema=files.schema)
    return commit(lake, WANTED, lambda _table, _left: Change(nothing, adopts=files, progress={"until": 7}), recast=True)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "a lake")
    append(lake, OLD, hour=[AT], n=[1])
    append(lake, NEW, hour=[AT], n=[1.5], city=["Oslo"])
    append(lake, NEW, hour=[AT + timedelta(days=1)], n=[2.5], city=["Bergen"])
    return lake


def test_rows_columns_statistics_and_progress_are_the_others(lake: Lake) -> None:
    adopted(lake, snapshot(lake, NEW))
    found = snapshot(Lake(lake.root), WANTED)
    assert found.scan().sort("hour").collect().rows() == [
        (AT, 1.5, "Oslo"),
        (AT + timedelta(days=1), 2.5, "Bergen"),
    ]
    assert found.schema == pl.Schema(NEW.schema)
    assert found.rows == 2
    assert found.touching("hour", [(AT + timedelta(hours=1), AT + timedelta(days=2))]).files.height == 1
    table = lake.newest(WANTED)
    assert table is not None
    assert (table.transaction_version("until"), table.transaction_version("token")) == (7, 2)


def test_it_goes_on_as_any_table(lake: Lake) -> None:
    adopted(lake, snapshot(lake, NEW))
    append(lake, WANTED, hour=[AT], n=[3.5], city=["Bodo"])
    assert sorted(snapshot(lake, WANTED).scan().collect()["n"]) == [1.5, 2.5, 3.5]


def test_the_other_table_is_emptied_and_swept(lake: Lake) -> None:
    adopted(lake, snapshot(lake, NEW))
    commit(lake, NEW, lambda table, _left: Change(pl.DataFrame(schema=table.snapshot().schema), replaces_all=True))
    sweep(lake, NEW)
    assert list(lake.path(NEW).glob("*.parquet")) == []
    assert snapshot(lake, WANTED).scan().collect().height == 2


def test_files_that_are_gone(lake: Lake) -> None:
    files = snapshot(lake, NEW)
    Path(files.paths[0]).unlink()
    with pytest.raises(CommitConflict):
        adopted(lake, files)
    assert snapshot(lake, OLD).scan().collect().rows() == [(AT, 1)]


def test_two_that_adopt_at_once(lake: Lake) -> None:
    """Also when the columns stay: the one that looked first is refused, and looks again."""
    adopted(lake, snapshot(lake, NEW))
    looks: list[int | None] = []

    def change(table: Pinned, _left: object) -> Change:
        looks.append(table.progress("until"))
        if len(looks) == 1:
            append(Lake(lake.root), WANTED, hour=[AT], n=[9.5], city=["Alta"])
        files = snapshot(lake, NEW)
        return Change(pl.DataFrame(schema=files.schema), adopts=files, progress={"until": len(looks)})

    commit(lake, WANTED, change, recast=True)
    assert looks == [7, 7]
    assert snapshot(lake, WANTED).rows == 2
