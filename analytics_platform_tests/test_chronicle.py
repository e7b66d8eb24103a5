"""Reference tables that follow a compacted topic, from bytes to versions."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform import chronicle, derive, quarantine, reference, silver
from analytics_platform.contract.reason import Reason
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.rebuild import rebuild
from analytics_platform.report import Account
from analytics_platform_tests import shop
from analytics_platform_tests.pricelist import CONTRACT, PRICES, Prices, Sent, contract_of, domain, price, prices


def take(of: Prices, start: int, end: int) -> None:
    of.take(PRICES, [OffsetRange(0, start, end)])
    of.refresh()


def refused(of: Prices) -> list[tuple[object, ...]]:
    """Offset, codes and reasons of what is in quarantine."""
    return of.quarantine().sort("offset").select("offset", "codes", "reasons").rows()


# --- from a topic to versions --------------------------------------------------------------------------------------------


def test_changes_become_versions(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0), price("pen", 10, 1), price("mug", 120, 5))
    take(of, 0, 2)
    assert of.history() == [("mug", 100, 0, None), ("pen", 10, 1, None)]
    take(of, 2, 3)
    assert of.history() == [("mug", 100, 0, 5), ("mug", 120, 5, None), ("pen", 10, 1, None)]


def test_a_tombstone_closes_and_the_key_may_come_back(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0), price("mug", None), price("mug", 90, 7))
    take(of, 0, 2)
    assert of.history() == [("mug", 100, 0, 1), ("mug", None, 1, 1)]
    take(of, 2, 3)
    assert of.history() == [("mug", 100, 0, 1), ("mug", None, 1, 1), ("mug", 90, 7, None)]


def test_a_change_that_comes_late_goes_where_it_belongs(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0), price("mug", 120, 9), price("mug", 110, 4))
    take(of, 0, 2)
    take(of, 2, 3)
    assert of.history() == [("mug", 100, 0, 4), ("mug", 110, 4, 9), ("mug", 120, 9, None)]


def test_of_one_instant_the_later_offset_counts(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0), price("mug", 101, 0), price("mug", 102, 0))
    take(of, 0, 2)
    assert of.history() == [("mug", 101, 0, None)]
    take(of, 2, 3)
    assert of.history() == [("mug", 102, 0, None)]


def test_without_a_field_for_it_a_change_is_valid_from_the_record_s_own_time(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 30), price("mug", 120, 20), of=domain(CONTRACT))
    take(of, 0, 2)
    assert of.history() == [("mug", 100, 0, 1), ("mug", 120, 1, None)]


def test_offsets_that_compaction_took_away_are_no_gap(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0), price("mug", 110, 1), price("mug", 120, 2))
    part = of.slice(PRICES, [OffsetRange(0, 0, 3)])
    compacted = replace(part, records=part.records.filter(pl.col("offset") == 2))
    derive.take_in(of.lake, of.domain, compacted, now=of.now)
    of.refresh()
    assert of.history() == [("mug", 120, 2, None)]
    assert silver_progress(of) == 3


def silver_progress(of: Prices) -> int | None:
    table = of.lake.newest(silver.spec(of.domain.versions_of("prices")))
    assert table is not None
    return table.transaction_version(shop.log_of(PRICES).app_id(0))


# --- keys and values as they come ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [b"mug", b'"mug"', b'{"product": "mug"}', b'{"product": "mug", "region": 1}', None],
    ids=["plain", "JSON", "object", "object with more", "in the value alone"],
)
def test_ways_to_write_a_key(tmp_path: Path, key: bytes | None) -> None:
    of = prices(tmp_path, (key, price("", 100, 0, **({"product": "mug"} if key is None else {}))[1]))
    take(of, 0, 1)
    assert of.history() == [("mug", 100, 0, None)]


def test_a_key_that_looks_like_a_number_is_text_where_the_contract_says_so(tmp_path: Path) -> None:
    of = prices(tmp_path, price("007", 100, 0), price("7", 100, 0))
    take(of, 0, 2)
    assert [row[0] for row in of.history()] == ["007", "7"]


def test_what_cannot_be_a_change_is_quarantined_with_its_own_bytes(tmp_path: Path) -> None:
    bad: tuple[Sent, ...] = (
        (b"mug", b"[1]"),
        (b"mug", b"{"),
        price("mug", -1, 0),
        (b"mug", b'{"changed_at": "2024-07-01T12:00:00Z"}'),
        (b"mug", b'{"cents": 1}'),
        price("mug", 1, 0, product="pen"),
        (None, None),
        (b"[1]", None),
        (b"{}", None),
        (b"\xff", None),
    )
    of = prices(tmp_path, price("pen", 10, 0), *bad)
    taken = of.take(PRICES, [OffsetRange(0, 0, 11)])
    of.refresh()
    assert taken.accounts == {0: Account(read=11, kept=1, duplicate=0, quarantined=10)}
    assert of.history() == [("pen", 10, 0, None)]
    assert [codes[0] for _, codes, _ in refused(of)] == [  # type: ignore[index]
        Reason.NOT_AN_OBJECT,
        Reason.MALFORMED_JSON,
        Reason.RULE_VIOLATED,
        Reason.ROW_RULE_VIOLATED,
        Reason.MISSING_FIELD,
        Reason.ROW_RULE_VIOLATED,
        Reason.MISSING_FIELD,
        Reason.MISSING_FIELD,
        Reason.MISSING_FIELD,
        Reason.MISSING_FIELD,
    ]
    kept = of.quarantine().sort("offset").select("key", "value").rows()
    assert kept == list(bad)


def test_a_number_keeps_its_digits(tmp_path: Path) -> None:
    most = 9_007_199_254_740_993
    of = prices(tmp_path, price("mug", most, 0))
    take(of, 0, 1)
    assert of.history() == [("mug", most, 0, None)]


# --- however it comes ----------------------------------------------------------------------------------------------------


def expected(sent: list[Sent]) -> list[tuple[object, ...]]:
    """The table in plain Python: product, cents, from which minute on and up to which."""
    last: dict[tuple[str, int], int | None] = {}
    for offset, (key, value) in enumerate(sent):
        product = (key or b"").decode()
        if value is None:
            last[product, offset] = None
        else:
            found = json.loads(value)
            last[product, int(found["changed_at"][14:16])] = found["cents"]
    rows = []
    for (product, minute), cents in sorted(last.items()):
        later = [at for name, at in last if name == product and at > minute]
        rows.append((product, cents, minute, minute if cents is None else min(later, default=None)))
    return rows


changes = st.lists(
    st.builds(
        price,
        st.sampled_from(["mug", "pen", "cup"]),
        st.one_of(st.none(), st.integers(0, 3)),
        st.integers(0, 20),
    ),
    min_size=1,
    max_size=20,
)


@given(changes, st.data())
@settings(max_examples=8, deadline=None)
def test_the_versions_do_not_depend_on_the_batches_nor_on_when_the_table_is_refreshed(
    sent: list[Sent], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent)), max_size=4)) | {len(sent)})
    refreshed = data.draw(st.sets(st.sampled_from(cuts)))
    with TemporaryDirectory() as folder:
        of = prices(Path(folder), *sent)
        for start, end in zip([0, *cuts], cuts, strict=False):
            of.take(PRICES, [OffsetRange(0, start, end)])
            if end in refreshed:
                of.refresh()
        of.refresh()
        assert of.history() == expected(sent)


# --- what it costs, and what dies ----------------------------------------------------------------------------------------


def test_nothing_new_makes_no_version_of_the_table(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0))
    take(of, 0, 1)
    before = of.lake.ensure(reference.spec(contract_of(of.domain))).version()
    of.refresh()
    assert of.lake.ensure(reference.spec(contract_of(of.domain))).version() == before


def test_silver_went_on_and_the_run_died(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0), price("mug", 110, 1))
    take(of, 0, 1)
    of.take(PRICES, [OffsetRange(0, 1, 2)])
    again = replace(of)
    again.refresh()
    assert again.history() == [("mug", 100, 0, 1), ("mug", 110, 1, None)]


def test_keys_all_over_the_table_make_a_short_predicate_without_their_values(tmp_path: Path) -> None:
    count = 400
    first = [price(f"kanarienvogel-{number}", 1, 0) for number in range(count)]
    again = [price(f"kanarienvogel-{number}", 2, 1) for number in range(0, count, 2)]
    of = prices(tmp_path, *first, *again)
    take(of, 0, count)
    take(of, count, count + len(again))
    rows = of.history()
    assert len(rows) == count + len(again)
    assert [row for row in rows if row[0] == "kanarienvogel-0"] == [
        ("kanarienvogel-0", 1, 0, 1),
        ("kanarienvogel-0", 2, 1, None),
    ]
    assert [row for row in rows if row[0] == "kanarienvogel-1"] == [("kanarienvogel-1", 1, 0, None)]
    logs = sorted((of.root / "reference/prices/_delta_log").glob("*.json"))
    predicate = next(
        json.loads(line)["commitInfo"]["operationParameters"]["predicate"]
        for line in logs[-1].read_text().splitlines()
        if "commitInfo" in line
    )
    assert predicate.count("_offset >=") <= chronicle.MOST_RANGES
    assert "kanarienvogel" not in predicate


def test_a_contract_that_takes_more_makes_the_versions_anew_after_a_rebuild(tmp_path: Path) -> None:
    of = prices(tmp_path, price("mug", 100, 0), price("mug", -5, 3), price("mug", 120, 6))
    take(of, 0, 3)
    assert of.history() == [("mug", 100, 0, 6), ("mug", 120, 6, None)]
    looser = CONTRACT.replace("minimum: 0", "minimum: -10").replace("1.0.0", "1.1.0")
    valid_from = "customProperties: [{property: validFrom, vendor: analytics_platform, value: changed_at}]\n"
    later = replace(of, domain=domain(looser + valid_from))
    hour = of.now.replace(minute=0, second=0, microsecond=0)
    rebuild(later.domain, later.settings, hour, hour.replace(hour=hour.hour + 1), clock=later.clock, by="test")
    assert later.history() == [("mug", 100, 0, 3), ("mug", -5, 3, 6), ("mug", 120, 6, None)]
    assert later.quarantine()["status"].to_list() == [quarantine.REPLAYED]
