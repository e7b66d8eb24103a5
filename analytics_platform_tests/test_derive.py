import itertools
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform import derive, quarantine, silver
from analytics_platform.contract.model import Domain
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.errors import AccountingBroken, OffsetGap, ProgressLost
from analytics_platform.judge import Judged, _each_once, judge
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.commit import Change, commit
from analytics_platform.report import Account
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, feed, log_of, order

EVENTS = ("order_placed", "order_cancelled", "page_viewed")
STRICT, LAX = shop.domain(most_cents=1_000), shop.domain()
WITHOUT_CANCELLED = shop.domain(events=("order_placed", "page_viewed"))


def placed(number: int, cents: int = 100) -> bytes:
    return order(order_id=f"o-{number}", cents=cents)


def cancelled(number: int) -> bytes:
    return order("order_cancelled", order_id=f"o-{number}")


def shop_of(root: Path, *values: bytes | None, domain: Domain = LAX, **rest: Any) -> Shop:
    """A shop with one partition of orders."""
    return Shop(root / "lake", {ORDERS: {0: values}, VISITS: {}}, domain, **rest)


def quarantine_only(of: Shop, *ranges: OffsetRange) -> None:
    """As a process that dies between the quarantine's commit and silver's."""
    part = of.pour(ORDERS, ranges)
    judged = judge(part.records, of.domain.events_of(ORDERS))
    derive._take_rejected(of.lake, of.domain, part, judged, of.now)


def states(of: Shop) -> list[tuple[int, str]]:
    return sorted(of.quarantine().select("offset", "status").rows())


def offsets(of: Shop, name: str = "order_placed") -> list[int]:
    return sorted(of.silver(name)["_offset"].to_list())


# --- every record in exactly one place ---------------------------------------------------------------------------------


def test_a_batch_with_everything_adds_up(tmp_path: Path) -> None:
    values = [placed(1), None, cancelled(1), placed(1), b"{", placed(2, cents=-1), placed(3)]
    of = shop_of(tmp_path, *values)
    taken = of.take(ORDERS, of.whole(ORDERS))
    assert taken.accounts == {0: Account(read=7, kept=3, duplicate=1, quarantined=3)}
    assert taken.kept == {"order_cancelled": 1, "order_placed": 2}
    assert taken.duplicate == {"order_cancelled": 0, "order_placed": 1}
    assert taken.reasons == {"malformed_json": 1, "missing_value": 1, "rule_violated": 1}
    assert (offsets(of), offsets(of, "order_cancelled")) == ([0, 6], [2])
    assert states(of) == [(1, "new"), (4, "new"), (5, "new")]
    shop.once(of)


arbitrary = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.builds(
        lambda name, cents, at, key: order(order_id=name, cents=cents, occurred_at=at, idempotency_key=key),
        st.sampled_from(["a", "b", "\x1f", "ü", ""]),
        st.one_of(st.integers(), st.text(max_size=3), st.none(), st.booleans(), st.floats(allow_nan=False)),
        st.sampled_from(["2024-07-01T10:00:30Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "x", ""]),
        st.sampled_from(["", "k"]),
    ),
    st.builds(placed, st.integers(0, 3)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(arbitrary, max_size=12))
def test_arbitrary_bytes_end_in_exactly_one_place(values: list[bytes | None]) -> None:
    with TemporaryDirectory() as folder:
        of = shop_of(Path(folder), *values)
        taken = of.take(ORDERS, of.whole(ORDERS))
        assert sum(account.read for account in taken.accounts.values()) == len(values)
        assert all(account.adds_up for account in taken.accounts.values())
        shop.once(of)


def test_a_record_in_two_places_is_refused() -> None:
    of = shop_of(Path("unused"), placed(1))
    records = of.slice(ORDERS, of.whole(ORDERS)).records
    good = judge(records, LAX.events_of(ORDERS))
    nowhere = Judged({}, pl.DataFrame(schema=REJECT_SCHEMA))
    for wrong in (
        nowhere,
        Judged({"a": good.good["order_placed"], "b": good.good["order_placed"]}, good.rejected),
    ):
        with pytest.raises(AccountingBroken):
            _each_once(records, wrong)


def test_an_empty_range_moves_all_tables(tmp_path: Path) -> None:
    of = shop_of(tmp_path)
    assert of.take(ORDERS, [OffsetRange(0, 0, 0), OffsetRange(3, 7, 7)]).accounts == {}
    assert derive.targets(of.lake, of.domain, log_of(ORDERS), [0, 3, 4]) == {0: 0, 3: 7}


# --- running again -----------------------------------------------------------------------------------------------------


def test_the_same_slice_again_changes_nothing_and_counts_nothing(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), b"{", cancelled(1))
    of.take(ORDERS, of.whole(ORDERS))
    before, versions = of.exact(), of.versions()
    taken = of.take(ORDERS, of.whole(ORDERS))
    assert taken.accounts == {0: Account(0, 0, 0, 0)}
    assert shop.same(of.exact(), before)
    assert of.versions() == versions


def test_a_slice_that_overlaps_what_is_there_adds_the_rest(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), b"{", placed(2), b"[", placed(3))
    of.take(ORDERS, [OffsetRange(0, 0, 2)])
    taken = of.take(ORDERS, [OffsetRange(0, 0, 5)])
    assert taken.accounts == {0: Account(read=3, kept=2, duplicate=0, quarantined=1)}
    shop.once(of)


def test_a_slice_that_starts_late_is_refused(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2), placed(3))
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    with pytest.raises(OffsetGap):
        derive.take_in(of.lake, of.domain, of.slice(ORDERS, [OffsetRange(0, 2, 3)]), now=of.now)
    assert offsets(of) == [0]


def test_silver_that_forgot_its_progress_stops(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2))
    of.take(ORDERS, of.whole(ORDERS))
    spec = silver.spec(LAX.versions_of("order_placed"))
    rows = of.silver("order_placed")
    lost = Shop(tmp_path / "copy", of.values)
    commit(lost.lake, spec, lambda _table, _left: Change(rows))  # as a table copied without its log
    with pytest.raises(ProgressLost) as caught:
        derive.targets(lost.lake, LAX, log_of(ORDERS), [0])
    assert caught.value.table == "silver.order_placed"


# --- the contracts change between quarantine and silver ----------------------------------------------------------------


def test_a_record_good_before_and_bad_now_lands_in_quarantine(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, cents=5_000), b"{")
    quarantine_only(of, *of.whole(ORDERS))
    assert states(of) == [(2, "new")]
    strict = of.under(STRICT)
    strict.catch_up(ORDERS)
    assert (offsets(strict), states(strict)) == ([0], [(1, "new"), (2, "new")])
    shop.once(strict)


def test_a_record_bad_before_and_good_now_lands_in_silver(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, cents=5_000), b"{", domain=STRICT)
    quarantine_only(of, *of.whole(ORDERS))
    assert states(of) == [(1, "new"), (2, "new")]
    lax = of.under(LAX)
    lax.catch_up(ORDERS)
    assert (offsets(lax), states(lax)) == ([0, 1], [(1, "replayed"), (2, "new")])
    shop.once(lax)


def test_the_contracts_change_there_and_back(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, cents=5_000))
    quarantine_only(of, *of.whole(ORDERS))
    strict = of.under(STRICT)
    quarantine_only(strict, *of.whole(ORDERS))
    assert states(of) == [(1, "new")]
    of.catch_up(ORDERS)
    assert (offsets(of), states(of)) == ([0, 1], [(1, "replayed")])
    shop.once(of)


def test_contracts_changed_and_new_records_in_the_same_slice(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), placed(2, cents=5_000), placed(3, cents=5_000), b"{")
    quarantine_only(of, OffsetRange(0, 0, 2))
    of.pour(ORDERS, [OffsetRange(0, 2, 4)])
    strict = of.under(STRICT)
    strict.catch_up(ORDERS)
    assert (offsets(strict), states(strict)) == ([0], [(1, "new"), (2, "new"), (3, "new")])
    shop.once(strict)


def test_contracts_changed_over_several_slices(tmp_path: Path) -> None:
    """The quarantine is ahead by more than one slice: each of them is judged again, not only the first."""
    values = [item for number in range(6) for item in (placed(number), placed(100 + number, cents=5_000))]
    of = shop_of(tmp_path, *values, domain=STRICT, batch_rows=3)
    for start in range(0, 12, 3):
        quarantine_only(of, OffsetRange(0, start, start + 3))
    lax = of.under(LAX)
    assert lax.catch_up(ORDERS) == 4
    assert offsets(lax) == list(range(12))
    assert states(lax) == [(offset, "replayed") for offset in range(1, 12, 2)]
    shop.once(lax)


def test_contracts_changed_after_one_of_two_event_types_was_taken_in(tmp_path: Path) -> None:
    """What a silver table has taken was decided under the old contracts and stays decided."""
    of = shop_of(tmp_path, placed(1), placed(2, cents=5_000), cancelled(1), placed(3, cents=5_000))
    quarantine_only(of, OffsetRange(0, 0, 3))
    part = replace(of.slice(ORDERS, [OffsetRange(0, 0, 3)]))
    judged = judge(part.records, LAX.events_of(ORDERS))
    derive._take_good(of.lake, LAX.versions_of("order_placed"), part, judged, judged.good)
    strict = of.under(STRICT)
    strict.catch_up(ORDERS)
    assert (offsets(strict), offsets(strict, "order_cancelled"), states(strict)) == ([0, 1], [2], [])
    strict.take(ORDERS, [OffsetRange(0, 3, 4)])
    assert (offsets(strict), states(strict)) == ([0, 1], [(3, "new")])


def test_rows_of_other_event_types_stay_quarantined(tmp_path: Path) -> None:
    """Bad records of a type that silver has taken in are not healed by contracts that changed afterwards."""
    of = shop_of(tmp_path, placed(1, cents=5_000), cancelled(1), domain=STRICT)
    quarantine_only(of, *of.whole(ORDERS))
    part = of.slice(ORDERS, of.whole(ORDERS))
    judged = judge(part.records, STRICT.events_of(ORDERS))
    derive._take_good(of.lake, STRICT.versions_of("order_placed"), part, judged, judged.good)
    lax = of.under(LAX)
    lax.catch_up(ORDERS)
    assert (offsets(lax), offsets(lax, "order_cancelled"), states(lax)) == ([], [1], [(0, "new")])


def test_discarded_rows_stay_discarded(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1, cents=5_000), b"{", domain=STRICT)
    quarantine_only(of, *of.whole(ORDERS))
    given_up = of.quarantine().with_columns(status=pl.lit("discarded"))
    commit(of.lake, quarantine.spec("shop"), lambda _table, _left: Change(given_up, replaces_all=True))
    of.catch_up(ORDERS)
    assert states(of) == [(0, "discarded"), (1, "discarded")]


# --- a new event type --------------------------------------------------------------------------------------------------


def test_an_event_type_contracted_later_leaves_quarantine_and_enters_silver_once(tmp_path: Path) -> None:
    of = shop_of(tmp_path, placed(1), cancelled(1), cancelled(1), b"{", domain=WITHOUT_CANCELLED)
    of.take(ORDERS, of.whole(ORDERS))
    assert states(of) == [(1, "new"), (2, "new"), (3, "new")]
    later = of.under(LAX)
    later.catch_up(ORDERS)
    assert (offsets(later), offsets(later, "order_cancelled")) == ([0], [1])
    assert states(later) == [(1, "replayed"), (2, "replayed"), (3, "new")]
    shop.once(later)
    before = later.exact()
    assert later.catch_up(ORDERS) == 0
    assert shop.same(later.exact(), before)


def test_an_event_type_contracted_later_over_several_slices(tmp_path: Path) -> None:
    values = [item for number in range(5) for item in (placed(number), cancelled(number))]
    of = shop_of(tmp_path, *values, domain=WITHOUT_CANCELLED, batch_rows=4)
    of.take(ORDERS, of.whole(ORDERS))
    later = of.under(LAX)
    later.catch_up(ORDERS)
    assert offsets(later, "order_cancelled") == [1, 3, 5, 7, 9]
    assert states(later) == [(offset, "replayed") for offset in (1, 3, 5, 7, 9)]
    shop.once(later)


def test_a_new_event_type_dies_halfway_through_its_slices(tmp_path: Path) -> None:
    values = [item for number in range(5) for item in (placed(number), cancelled(number))]
    of = shop_of(tmp_path, *values, domain=WITHOUT_CANCELLED, batch_rows=4)
    of.take(ORDERS, of.whole(ORDERS))
    later = of.under(LAX)
    quarantine_only(later, OffsetRange(0, 0, 4))
    later.catch_up(ORDERS)
    assert states(later) == [(offset, "replayed") for offset in (1, 3, 5, 7, 9)]
    shop.once(later)


def test_an_event_type_of_another_topic_is_not_judged_again(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", feed(3, 60))
    of.take_all()
    before = of.exact()
    assert [of.catch_up(topic) for topic in (ORDERS, VISITS)] == [0, 0]
    assert shop.same(of.exact(), before)


# --- the law -----------------------------------------------------------------------------------------------------------

FEED = feed(11, 60)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The tables when each topic is one batch."""
    of = Shop(tmp_path_factory.mktemp("whole"), FEED)
    of.take_all()
    shop.once(of)
    return of.business()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_tables_do_not_depend_on_how_records_were_cut_into_batches(whole: dict[str, pl.DataFrame], data: Any) -> None:
    with TemporaryDirectory() as folder:
        of = Shop(Path(folder), FEED)
        turns = []
        for topic, parts in FEED.items():
            for partition, values in parts.items():
                cuts = data.draw(st.sets(st.integers(1, max(1, len(values) - 1)), max_size=3), f"{topic}[{partition}]")
                marks = [0, *sorted(cuts), len(values)]
                turns.append([(topic, OffsetRange(partition, *span)) for span in itertools.pairwise(marks)])
        while any(turns):
            topic, item = data.draw(st.sampled_from([turn for turn in turns if turn]), "next").pop(0)
            of.take(topic, [item])
            if data.draw(st.integers(0, 4), "refresh") == 0:
                of.refresh()
        of.refresh()
        shop.once(of)
        assert shop.same(of.business(), whole)
