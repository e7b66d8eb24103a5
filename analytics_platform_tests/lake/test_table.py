from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from analytics_platform.errors import SchemaChanged
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.history import commit_infos
from analytics_platform.lake.table import Lake, TableSpec, delta_schema, open_table, table_path
from analytics_platform_tests.lake.test_commit import SCHEMA, SPEC, WIDER, rows, take


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", fsync=False)


def test_a_table_has_its_layer_and_name_as_its_folder(tmp_path: Path) -> None:
    assert table_path(tmp_path, "silver", "order_placed") == tmp_path / "silver" / "order_placed"


@pytest.mark.parametrize(
    ("layer", "name"),
    [("iron", "t"), ("silver", ""), ("silver", ".."), ("silver", "a/b"), ("silver", "a b"), ("..", "t")],
)
def test_no_other_folder_can_be_named(tmp_path: Path, layer: str, name: str) -> None:
    with pytest.raises(ValueError, match="not a table"):
        table_path(tmp_path, layer, name)


def test_no_table_yet(lake: Lake) -> None:
    assert open_table(lake.path(SPEC)) is None
    assert lake.newest(SPEC) is None
    assert not lake.root.exists()


def test_a_new_table_has_the_columns_it_was_asked_for(lake: Lake) -> None:
    table = lake.ensure(SPEC)
    assert (dict(Snapshot.of(table).schema), table.version()) == (SCHEMA, 0)
    assert table.metadata().configuration == {
        "delta.checkpointInterval": "50",
        "delta.dataSkippingStatsColumns": "partition,offset,at",
    }
    # Old readers can read it: no table feature was switched on.
    assert (table.protocol().min_reader_version, table.protocol().min_writer_version) == (1, 2)


def test_the_newest_version_is_seen_whoever_wrote_it(lake: Lake) -> None:
    mine = lake.ensure(SPEC)
    take(Lake(lake.root, fsync=False), 0, 0, 1, fresh=True)
    newest = lake.newest(SPEC)
    assert newest is not None
    assert newest.version() == 1
    assert mine is newest


def test_a_table_made_by_somebody_else_in_this_very_moment(lake: Lake) -> None:
    Lake(lake.root, fsync=False).ensure(SPEC)
    assert lake._create(SPEC).version() == 0


def test_a_handle_older_than_the_log_is_replaced(lake: Lake) -> None:
    lake.ensure(SPEC)
    other = Lake(lake.root, fsync=False)
    for offset in range(4):
        take(other, 0, offset, offset + 1, fresh=True)
    table = DeltaTable(lake.path(SPEC))
    table.create_checkpoint()
    for version in range(3):
        (lake.path(SPEC) / "_delta_log" / f"{version:020}.json").unlink()
    take(lake, 0, 4, 5)
    assert Snapshot.of(lake.ensure(SPEC)).rows == 5


def test_columns_are_added_once(lake: Lake) -> None:
    lake.ensure(SPEC)
    assert [lake.ensure(WIDER).version() for _ in range(2)] == [1, 1]
    assert lake.ensure(SPEC).version() == 1


def test_every_type_of_a_contract_survives(lake: Lake) -> None:
    kinds = {
        "i": pl.Int64(),
        "f": pl.Float64(),
        "s": pl.String(),
        "b": pl.Boolean(),
        "d": pl.Date(),
        "x": pl.Binary(),
        "o": pl.Struct({"a": pl.Int64(), "b": pl.List(pl.Struct({"c": pl.String()}))}),
        "l": pl.List(pl.Datetime("us", "UTC")),
    }
    spec = TableSpec("silver", "t", kinds, ("i",))
    assert dict(Snapshot.of(lake.ensure(spec)).schema) == kinds
    assert [field.nullable for field in delta_schema(kinds).fields] == [True] * len(kinds)


def test_what_commits_say_of_themselves_newest_first(lake: Lake) -> None:
    assert list(commit_infos(lake, SPEC)) == []
    for number in range(2):
        commit(lake, SPEC, lambda _t, _l, number=number: Change(rows(), metadata={"note": str(number)}))
    assert [info.get("note") for info in commit_infos(lake, SPEC)] == ["1", "0", None]


# --- objects that get more fields ------------------------------------------------------------------------------------------

NARROW = TableSpec(
    "silver",
    "nested",
    {"k": pl.Int64, "l": pl.List(pl.Struct({"s": pl.String})), "o": pl.Struct({"a": pl.Int64})},
    ("k",),
)
WIDE = TableSpec(
    "silver",
    "nested",
    {
        "k": pl.Int64,
        "l": pl.List(pl.Struct({"s": pl.String, "c": pl.Datetime("us", "UTC")})),
        "o": pl.Struct({"b": pl.String, "a": pl.Int64}),
    },
    ("k",),
)


def test_fields_are_added_to_objects_that_rows_stand_in(lake: Lake) -> None:
    def put(spec: TableSpec, **row: object) -> None:
        rows = pl.DataFrame({name: [value] for name, value in row.items()}, schema=dict(spec.schema))
        commit(lake, spec, lambda _table, _left: Change(rows))

    put(NARROW, k=1, o={"a": 1}, l=[{"s": "x"}, None])
    put(WIDE, k=2, o={"b": "z", "a": 2}, l=None)
    put(NARROW, k=3, o={"a": 3}, l=[])  # a process with the older contracts
    table = lake.newest(WIDE)
    assert table is not None
    found = Snapshot.of(table).scan().sort("k").collect()
    # The new field stands behind those that were there, whatever the order in the contract.
    assert found.schema == {"k": pl.Int64, "l": WIDE.schema["l"], "o": pl.Struct({"a": pl.Int64, "b": pl.String})}
    assert found.rows() == [
        (1, [{"s": "x", "c": None}, None], {"a": 1, "b": None}),
        (2, None, {"a": 2, "b": "z"}),
        (3, [], {"a": 3, "b": None}),
    ]


def test_a_field_of_an_object_has_another_type(lake: Lake) -> None:
    lake.ensure(NARROW)
    other = TableSpec("silver", "nested", {"o": pl.Struct({"a": pl.String})}, ("k",))
    with pytest.raises(SchemaChanged, match="o is Struct"):
        lake.ensure(other)
    assert Snapshot.of(lake.ensure(NARROW)).schema == NARROW.schema


def test_statistics_are_listed_beside_objects(lake: Lake) -> None:
    """deltalake lists none of columns behind an object, and a file without them is never skipped."""
    spec = TableSpec("silver", "t", {"o": pl.Struct({"a": pl.Int64}), "k": pl.Int64}, ("k",))
    rows = pl.DataFrame({"o": [{"a": 1}], "k": [5]}, schema=dict(spec.schema))
    commit(lake, spec, lambda _table, _left: Change(rows))
    snapshot = Snapshot.of(lake.ensure(spec))
    assert snapshot.files.select("min.k", "max.k").rows() == [(5, 5)]
    assert snapshot.touching("k", [(6, 9)]).paths == []
