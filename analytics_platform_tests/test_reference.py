from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform.contract.model import Field, LogicalType, ReferenceContract
from analytics_platform.errors import ReferenceRefused
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.reference import ReferenceReport, load_reference, spec
from analytics_platform_tests import shop

(PRODUCTS,) = shop.domain().references
NOW = datetime(2024, 7, 1, 12, tzinfo=UTC)


def contract(tmp_path: Path, text: str, name: str = "products.csv") -> ReferenceContract:
    file = tmp_path / name
    file.write_text(text)
    return replace(PRODUCTS, file=file)


def rows(lake: Lake) -> list[tuple[str, str]]:
    return sorted(Snapshot.of(lake.ensure(spec(PRODUCTS))).scan().collect().rows())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", fsync=False)


def test_first_loaded(lake: Lake, tmp_path: Path) -> None:
    report = load_reference(lake, contract(tmp_path, "product,title\na,A\nb,B\n"), NOW)
    assert report == ReferenceReport("products", 2, changed=True)
    assert rows(lake) == [("a", "A"), ("b", "B")]


def test_unchanged_makes_no_version(lake: Lake, tmp_path: Path) -> None:
    one = contract(tmp_path, "product,title\na,A\n")
    load_reference(lake, one, NOW)
    version = lake.ensure(spec(one)).version()
    assert load_reference(Lake(lake.root, fsync=False), one, NOW) == ReferenceReport("products", 1, changed=False)
    assert lake.ensure(spec(one)).version() == version


def test_changed_replaces_all_rows(lake: Lake, tmp_path: Path) -> None:
    load_reference(lake, contract(tmp_path, "product,title\na,A\nb,B\n"), NOW)
    assert load_reference(lake, contract(tmp_path, "product,title\nb,Bee\n"), NOW).changed
    assert rows(lake) == [("b", "Bee")]


def test_changed_and_back_again(lake: Lake, tmp_path: Path) -> None:
    for text in ("product,title\na,A\n", "product,title\nb,B\n", "product,title\na,A\n"):
        assert load_reference(lake, contract(tmp_path, text), NOW).changed
    assert rows(lake) == [("a", "A")]


def test_columns_in_another_order_and_some_more(lake: Lake, tmp_path: Path) -> None:
    load_reference(lake, contract(tmp_path, "weight,title,product\n1,A,a\n"), NOW)
    assert rows(lake) == [("a", "A")]


def test_parquet(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    pl.DataFrame({"product": ["a"], "title": ["A"]}).write_parquet(file)
    load_reference(lake, replace(PRODUCTS, file=file), NOW)
    assert rows(lake) == [("a", "A")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("product,title\na,A\na,B\n", "2 rows share a product"),
        ("product,titel\na,A\n", "title"),
        ("product,title\na,\n", "title"),
        ("", "products.csv"),
    ],
    ids=["doubled key", "missing column", "missing value", "empty"],
)
def test_a_refused_file_leaves_the_table(lake: Lake, tmp_path: Path, text: str, reason: str) -> None:
    load_reference(lake, contract(tmp_path, "product,title\nz,Z\n"), NOW)
    with pytest.raises(ReferenceRefused) as caught:
        load_reference(lake, contract(tmp_path, text), NOW)
    assert reason in caught.value.reason
    assert rows(lake) == [("z", "Z")]


def test_a_file_that_is_gone(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ReferenceRefused, match="cannot be read"):
        load_reference(lake, replace(PRODUCTS, file=tmp_path / "gone.csv"), NOW)


def test_a_broken_parquet_file(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    file.write_bytes(b"PAR1 no")
    with pytest.raises(ReferenceRefused):
        load_reference(lake, replace(PRODUCTS, file=file), NOW)


# --- with history --------------------------------------------------------------------------------------------------------


KEPT = replace(PRODUCTS, history=True)


def at(hour: int) -> datetime:
    return NOW.replace(hour=hour)


def load(lake: Lake, tmp_path: Path, text: str, hour: int) -> ReferenceReport:
    return load_reference(lake, replace(contract(tmp_path, text), history=True), at(hour))


def versions(lake: Lake) -> list[tuple[object, ...]]:
    """product, title, from which hour on and up to which."""
    found = Snapshot.of(lake.ensure(spec(KEPT))).scan().collect().sort("product", "_valid_from")
    hours = [pl.col(name).dt.hour() for name in ("_valid_from", "_valid_to")]
    return found.select("product", "title", *hours).rows()


def test_a_changed_row_is_closed_and_opened_anew(lake: Lake, tmp_path: Path) -> None:
    load(lake, tmp_path, "product,title\na,A\nb,B\n", 8)
    assert load(lake, tmp_path, "product,title\nb,Bee\na,A\nc,C\n", 9) == ReferenceReport("products", 4, changed=True)
    assert versions(lake) == [("a", "A", 8, None), ("b", "B", 8, 9), ("b", "Bee", 9, None), ("c", "C", 9, None)]


def test_a_row_that_goes_is_closed_and_may_come_back(lake: Lake, tmp_path: Path) -> None:
    load(lake, tmp_path, "product,title\na,A\nb,B\n", 8)
    load(lake, tmp_path, "product,title\na,A\n", 9)
    assert versions(lake) == [("a", "A", 8, None), ("b", "B", 8, 9), ("b", None, 9, 9)]
    load(lake, tmp_path, "product,title\na,A\nb,B\n", 10)
    assert versions(lake) == [("a", "A", 8, None), ("b", "B", 8, 9), ("b", None, 9, 9), ("b", "B", 10, None)]


def test_a_file_written_anew_with_the_same_rows_opens_nothing(lake: Lake, tmp_path: Path) -> None:
    load(lake, tmp_path, "product,title\na,A\nb,B\n", 8)
    load(lake, tmp_path, "product,title\nb,B\na,A\n", 9)
    assert versions(lake) == [("a", "A", 8, None), ("b", "B", 8, None)]


def test_a_clock_that_goes_back_puts_no_version_before_another(lake: Lake, tmp_path: Path) -> None:
    for hour, title in ((9, "A"), (8, "AA"), (8, "AAA")):
        load(lake, tmp_path, f"product,title\na,{title}\n", hour)
    found = Snapshot.of(lake.ensure(spec(KEPT))).scan().collect().sort("_valid_from")
    steps = [at(9) + timedelta(microseconds=step) for step in range(3)]
    assert found.select("title", "_valid_from", "_valid_to").rows() == [
        ("A", steps[0], steps[1]),
        ("AA", steps[1], steps[2]),
        ("AAA", steps[2], None),
    ]


def test_a_table_that_gets_a_history_begins_it_then(lake: Lake, tmp_path: Path) -> None:
    load_reference(lake, contract(tmp_path, "product,title\na,A\n"), at(8))
    renewed = replace(PRODUCTS.header, digest="0" * 64)
    load_reference(lake, replace(KEPT, header=renewed, file=tmp_path / "products.csv"), at(9))
    assert versions(lake) == [("a", "A", 9, None)]


def test_objects_and_lists_are_compared_whole(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    fields = (
        *PRODUCTS.fields,
        Field("sizes", LogicalType.ARRAY, False, "", item=Field("items", LogicalType.INTEGER, False, "")),
        Field("box", LogicalType.OBJECT, False, "", fields=(Field("cm", LogicalType.INTEGER, False, ""),)),
    )
    sized = replace(KEPT, fields=fields, file=file)
    for hour, sizes in ((8, [1, None]), (9, [1, None]), (10, [1, 2])):
        frame = {"product": ["a", "b"], "title": ["A", "B"], "sizes": [sizes, None], "box": [{"cm": None}, None]}
        pl.DataFrame({**frame, "hour": [hour, hour]}).write_parquet(file)
        load_reference(lake, sized, at(hour))
    found = Snapshot.of(lake.ensure(spec(sized))).scan().collect().sort("product", "_valid_from")
    assert found.select("product", "sizes", pl.col("_valid_to").dt.hour()).rows() == [
        ("a", [1, None], 10),
        ("a", [1, 2], None),
        ("b", None, None),
    ]
