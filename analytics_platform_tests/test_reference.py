from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analytics_platform.contract.model import ReferenceContract
from analytics_platform.errors import ReferenceRefused
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.reference import ReferenceReport, load_reference, spec
from analytics_platform_tests import shop

(PRODUCTS,) = shop.domain().references


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
    report = load_reference(lake, contract(tmp_path, "product,title\na,A\nb,B\n"))
    assert report == ReferenceReport("products", 2, changed=True)
    assert rows(lake) == [("a", "A"), ("b", "B")]


def test_unchanged_makes_no_version(lake: Lake, tmp_path: Path) -> None:
    one = contract(tmp_path, "product,title\na,A\n")
    load_reference(lake, one)
    version = lake.ensure(spec(one)).version()
    assert load_reference(Lake(lake.root, fsync=False), one) == ReferenceReport("products", 1, changed=False)
    assert lake.ensure(spec(one)).version() == version


def test_changed_replaces_all_rows(lake: Lake, tmp_path: Path) -> None:
    load_reference(lake, contract(tmp_path, "product,title\na,A\nb,B\n"))
    assert load_reference(lake, contract(tmp_path, "product,title\nb,Bee\n")).changed
    assert rows(lake) == [("b", "Bee")]


def test_changed_and_back_again(lake: Lake, tmp_path: Path) -> None:
    for text in ("product,title\na,A\n", "product,title\nb,B\n", "product,title\na,A\n"):
        assert load_reference(lake, contract(tmp_path, text)).changed
    assert rows(lake) == [("a", "A")]


def test_columns_in_another_order_and_some_more(lake: Lake, tmp_path: Path) -> None:
    load_reference(lake, contract(tmp_path, "weight,title,product\n1,A,a\n"))
    assert rows(lake) == [("a", "A")]


def test_parquet(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    pl.DataFrame({"product": ["a"], "title": ["A"]}).write_parquet(file)
    load_reference(lake, replace(PRODUCTS, file=file))
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
    load_reference(lake, contract(tmp_path, "product,title\nz,Z\n"))
    with pytest.raises(ReferenceRefused) as caught:
        load_reference(lake, contract(tmp_path, text))
    assert reason in caught.value.reason
    assert rows(lake) == [("z", "Z")]


def test_a_file_that_is_gone(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ReferenceRefused, match="cannot be read"):
        load_reference(lake, replace(PRODUCTS, file=tmp_path / "gone.csv"))


def test_a_broken_parquet_file(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "products.parquet"
    file.write_bytes(b"PAR1 no")
    with pytest.raises(ReferenceRefused):
        load_reference(lake, replace(PRODUCTS, file=file))
