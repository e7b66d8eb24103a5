"""Where pieces meet: watermarks that go, histories and calendars, damage and repair, enrichments that leave and come back."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from analytics_platform import gold
from analytics_platform.gold import asof
from analytics_platform.gold.source import MartInput, Sources
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.reference import load_reference, spec
from analytics_platform_tests import shop
from analytics_platform_tests.shop import START
from analytics_platform_tests.test_watermark import july


def test_a_file_with_history_may_have_a_column_named_for_what_another_was_before(tmp_path: Path) -> None:
    """`title` and `title_before`: the burst of its domain goes on, and versions are told apart."""
    (products,) = shop.domain().references
    title = next(one for one in products.fields if one.name == "title")
    fields = (*products.fields, replace(title, name="title_before"))
    lake, file = Lake(tmp_path / "lake", fsync=False), tmp_path / "products.csv"
    kept = replace(products, file=file, fields=fields, history=True)
    for titles in ("A,Z", "A,Y"):
        file.write_text(f"product,title,title_before\na,{titles}\n")
        load_reference(lake, kept, START)
    found = Snapshot.of(lake.ensure(spec(kept))).scan().collect().sort("_valid_from")
    assert found["title_before"].to_list() == ["Z", "Y"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York"])
def test_a_history_changes_above_days_of_any_zone(tmp_path: Path, zone: str) -> None:
    of = july(tmp_path)
    (daily,) = [mart for mart in of.domain.marts if mart.name == "sales_daily"]
    below = replace(daily, window=replace(daily.window, timezone=zone))
    snapshot = Snapshot.of(of.lake.ensure(gold.spec(daily)))
    sources = Sources((), (MartInput(below, snapshot, 1),), {})
    (starts,) = asof._from(datetime(2024, 7, 8, 12, tzinfo=UTC), sources, below)
    assert len(starts) == 3
