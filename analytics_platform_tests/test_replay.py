"""Single rows of the quarantine judged again or given up: exact, once, whoever dies or gets in between."""

import multiprocessing
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_platform import derive, quarantine, silver
from analytics_platform import replay as replay_module
from analytics_platform.judge import judge
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.commit import Change, commit
from analytics_platform.rebuild import rebuild
from analytics_platform.replay import discard, replay
from analytics_platform.report import ReplayReport
from analytics_platform.selection import Place, Selection
from analytics_platform_tests import shop
from analytics_platform_tests.burst import AFTER, BEFORE, PRELOAD, replaying
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, feed, order

STRICT = shop.domain(most_cents=1_000)
LAX = shop.domain()
EVERYTHING = Selection()
HOUR = timedelta(hours=1)
PLACED = silver.spec(LAX.versions_of("order_placed"))


def placed(number: int, cents: int = 10, **rest: Any) -> bytes:
    return order(order_id=f"o{number}", cents=cents, **rest)


def strict_shop(root: Path, *values: bytes | None, batch_rows: int = 100_000) -> Shop:
    """One partition of orders, taken in record by record under the strict contracts, marts up to date."""
    of = Shop(root / "lake", {ORDERS: {0: list(values)}, VISITS: {}}, STRICT, batch_rows=batch_rows)
    for offset in range(len(values)):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    of.refresh()
    return of


def again(of: Shop, selection: Selection = EVERYTHING, **rest: Any) -> ReplayReport:
    of.now += timedelta(seconds=1)
    return replay(of.domain, of.settings, selection, clock=of.clock, by="run-1", **rest)


def give_up(of: Shop, *offsets: int) -> int:
    places = tuple(Place(ORDERS, 0, offset, offset + 1) for offset in offsets)
    of.now += timedelta(seconds=1)
    return discard(
        of.domain, of.settings, Selection(places=places), reason="a test of the sender's", clock=of.clock, by="ana"
    ).discarded


def rebuilt(of: Shop) -> bool:
    return rebuild(of.domain, of.settings, START, START + 2 * HOUR, clock=of.clock).changed


def states(of: Shop) -> list[tuple[int, str, str | None, str | None]]:
    return of.quarantine().sort("offset").select("offset", "status", "changed_by", "discarded_for").rows()


def offsets(of: Shop) -> list[int]:
    return sorted(of.silver("order_placed")["_offset"])


# --- exact, once ----------------------------------------------------------------------------------------------------------


def test_a_mended_contract_lets_the_rows_in_and_a_second_replay_adds_nothing(tmp_path: Path) -> None:
    strict = strict_shop(tmp_path, placed(1), placed(2, 5_000), b"{", placed(3, 7_000), placed(4))
    progress = {
        spec.title: strict.lake.ensure(spec).transaction_version("kafka:cluster/t1/shop.orders/0") for spec in [PLACED]
    }
    lax = strict.under(LAX)
    report = again(lax)
    assert (report.selected, report.replayed, report.entered) == (3, 2, {"silver.order_placed": 2})
    assert report.waiting == {"malformed_json": 1}
    assert offsets(lax) == [0, 1, 3, 4]
    assert states(lax) == [(1, "replayed", "run-1", None), (2, "new", None, None), (3, "replayed", "run-1", None)]
    assert lax.lake.ensure(PLACED).transaction_version("kafka:cluster/t1/shop.orders/0") == progress[PLACED.title]
    assert lax.gold("sales_hourly").select("placed").to_series().sum() == 4
    assert lax.gold("sales_daily")["cents"].to_list() == [12_020]
    versions = lax.versions()
    second = again(lax)
    assert (second.selected, second.replayed, second.entered) == (3, 0, {})
    assert lax.versions() == versions
    assert not rebuilt(lax)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**16), batch_rows=st.sampled_from([2, 7, 100_000]))
def test_replaying_everything_is_rebuilding_everything(seed: int, batch_rows: int) -> None:
    """And both are what a contract that had been right from the beginning would have made."""
    values = feed(seed, 40)
    with TemporaryDirectory() as folder:
        strict = Shop(Path(folder) / "lake", values, STRICT, batch_rows=batch_rows)
        undisturbed = Shop(Path(folder) / "undisturbed", values)
        for of in (strict, undisturbed):
            for start, end in ((0, 9), (9, 100)):
                for topic in of.domain.topics:
                    of.take(
                        topic, [OffsetRange(i.partition, min(start, i.end), min(end, i.end)) for i in of.whole(topic)]
                    )
            of.refresh()
        lax = strict.under(LAX)
        again(lax)
        shop.once(lax)
        found, expected = lax.business(), undisturbed.business()
        waiting = found.pop("quarantine.shop").filter(pl.col("status") == "new").drop("contract_digest")
        assert waiting.equals(expected.pop("quarantine.shop").drop("contract_digest"))
        assert shop.same(found, expected)
        assert not rebuilt(lax)
        versions = lax.versions()
        again(lax)
        assert lax.versions() == versions


def test_a_copy_that_came_earlier_takes_the_place_of_a_later_one(tmp_path: Path) -> None:
    strict = strict_shop(tmp_path, placed(1, 5_000), placed(1, 200), placed(2))
    assert offsets(strict) == [1, 2]
    lax = strict.under(LAX)
    report = again(lax)
    assert (report.entered, report.overtaken) == ({"silver.order_placed": 1}, {"silver.order_placed": 1})
    assert offsets(lax) == [0, 2]
    assert lax.gold("sales_daily")["cents"].to_list() == [5_010]
    assert not rebuilt(lax)


def test_a_copy_that_came_later_is_a_duplicate(tmp_path: Path) -> None:
    strict = strict_shop(tmp_path, placed(1, 200), placed(1, 5_000))
    lax = strict.under(LAX)
    assert again(lax).entered == {}
    assert (offsets(lax), states(lax)) == ([0], [(1, "replayed", "run-1", None)])
    assert not rebuilt(lax)


def test_more_copies_give_way_than_one_predicate_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "_MOST_KEYS", 2)
    bad, good = [placed(n, 5_000) for n in range(5)], [placed(n, 200) for n in range(5)]
    lax = strict_shop(tmp_path, *bad, *good).under(LAX)
    report = again(lax)
    assert report.overtaken == {"silver.order_placed": 5}
    assert offsets(lax) == [0, 1, 2, 3, 4]
    assert lax.gold("sales_daily")["cents"].to_list() == [25_000]


def test_rows_that_are_still_bad_get_todays_reasons(tmp_path: Path) -> None:
    strict = strict_shop(tmp_path, placed(1, 5_000), placed(2, 5_000_000))
    other = strict.under(shop.domain(most_cents=2_000))
    assert again(other).waiting == {"rule_violated": 2}
    assert other.quarantine()["reasons"].to_list() == [["cents: above the maximum of 2000"]] * 2
    assert [state[1:] for state in states(other)] == [("new", None, None)] * 2
    assert offsets(other) == []


def test_a_value_that_was_cut_is_never_replayed(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: [placed(1)]}, VISITS: {}})
    part = of.slice(ORDERS, of.whole(ORDERS))
    cut = part.records.with_columns(value_bytes=pl.lit(10**7, pl.Int64))
    derive.take_in(of.lake, of.domain, replace(part, records=cut), now=of.now)
    report = again(of)
    assert (report.selected, report.replayed, report.cut, report.waiting) == (1, 0, 1, {"oversized": 1})
    assert "1 cut, so never to be replayed" in report.line()


def test_only_what_is_selected(tmp_path: Path) -> None:
    lax = strict_shop(tmp_path, *[placed(n, 5_000) for n in range(6)]).under(LAX)
    again(lax, Selection(places=(Place(ORDERS, 0, 1, 2), Place(ORDERS, 0, 4, 6))))
    assert offsets(lax) == [1, 4, 5]
    assert [state[1] for state in states(lax)] == ["new", "replayed", "new", "new", "replayed", "replayed"]


def test_a_lake_without_a_quarantine(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {}, VISITS: {}})
    assert again(of).selected == 0
    assert of.versions().keys() <= {spec.title for spec in of.specs() if spec.layer in {"silver", "gold"}}


def test_a_lake_of_before_there_was_a_column_for_who(tmp_path: Path) -> None:
    old = {name: kind for name, kind in quarantine.SCHEMA.items() if name not in {"changed_by", "discarded_for"}}
    strict = strict_shop(tmp_path, placed(1, 5_000))
    rows = strict.quarantine().select(list(old))
    of = Shop(tmp_path / "old", strict.values, LAX)
    spec = replace(quarantine.spec("shop"), schema=old)
    commit(of.lake, spec, lambda _t, _l: Change(rows, progress={"kafka:cluster/t1/shop.orders/0": 1}))
    commit(
        of.lake,
        PLACED,
        lambda _t, _l: Change(of.silver("order_placed"), progress={"kafka:cluster/t1/shop.orders/0": 1}),
    )
    assert again(of).entered == {"silver.order_placed": 1}
    assert states(of) == [(0, "replayed", "run-1", None)]


# --- given up -------------------------------------------------------------------------------------------------------------


def test_a_discarded_row_stays_out_of_silver_until_a_replay_names_it(tmp_path: Path) -> None:
    strict = strict_shop(tmp_path, placed(1, 5_000), placed(2, 5_000), placed(1, 200))
    assert give_up(strict, 0) == 1
    assert give_up(strict, 0) == 0
    lax = strict.under(LAX)
    rebuilt(lax)
    gone = (0, "discarded", "ana", "a test of the sender's")
    assert (offsets(lax), states(lax)) == ([1, 2], [gone, (1, "replayed", "rebuild", None)])
    assert not rebuilt(lax)
    again(lax)
    assert (offsets(lax), states(lax)[0]) == ([1, 2], gone)
    again(lax, Selection(statuses=("discarded",), places=(Place(ORDERS, 0, 0, 1),)))
    assert (offsets(lax), states(lax)[0]) == ([0, 1], (0, "replayed", "run-1", None))
    assert not rebuilt(lax)


def test_a_discarded_row_that_is_still_bad_stays_discarded(tmp_path: Path) -> None:
    strict = strict_shop(tmp_path, placed(1, 5_000))
    give_up(strict, 0)
    again(strict, Selection(statuses=("discarded",)))
    assert states(strict) == [(0, "discarded", "ana", "a test of the sender's")]


def test_a_discarded_row_of_a_type_that_is_contracted_later(tmp_path: Path) -> None:
    few = shop.domain(events=("order_placed", "page_viewed"), marts=("sales_daily",))
    values = [order("order_cancelled", order_id=name) for name in "ab"]
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, VISITS: {}}, few)
    of.take_all()
    assert give_up(of, 1) == 1
    more = of.under(LAX)
    more.catch_up(ORDERS)
    more.refresh()
    assert more.silver("order_cancelled")["_offset"].to_list() == [0]
    assert [state[:3] for state in states(more)] == [(0, "replayed", "stream"), (1, "discarded", "ana")]
    assert not rebuilt(more)


def test_a_replayed_row_cannot_be_discarded(tmp_path: Path) -> None:
    lax = strict_shop(tmp_path, placed(1, 5_000)).under(LAX)
    again(lax)
    assert give_up(lax, 0) == 0
    assert states(lax) == [(0, "replayed", "run-1", None)]


# --- deaths and races -----------------------------------------------------------------------------------------------------


class Died(BaseException):
    """As a killed process would: nothing catches it."""


def killed_before(monkeypatch: pytest.MonkeyPatch, title: str, work: Callable[[], object]) -> None:
    """Run until just before the commit to a table."""
    real = replay_module.commit

    def deadly(lake: Any, spec: Any, *rest: Any, **named: Any) -> Any:
        if spec.title == title:
            raise Died
        return real(lake, spec, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(replay_module, "commit", deadly)
        with pytest.raises(Died):
            work()


def test_killed_before_and_after_every_effect_on_a_table(tmp_path: Path) -> None:
    """Processes of their own, killed with SIGKILL: the tables end as those of a replay that nobody disturbed."""
    bad, copies = [placed(n, 5_000) for n in range(4)], [placed(1, 200), placed(2, 300)]
    strict = strict_shop(tmp_path, *bad, *copies)
    undisturbed = Shop(tmp_path / "undisturbed", strict.values, LAX, now=strict.now)
    shutil.copytree(strict.root, undisturbed.root)
    again(undisturbed)
    lax, deaths = strict.under(LAX), 0
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOAD)
    while True:
        die = AFTER if deaths % 2 else BEFORE
        process = processes.Process(target=replaying, args=(lax.domain, lax.settings, undisturbed.now, die))
        process.start()
        process.join(timeout=60)
        if process.exitcode != -signal.SIGKILL:
            break
        deaths += 1
        assert deaths < 50
    assert process.exitcode == 0
    assert (
        deaths >= 2 * 4
    )  # quarantine, silver and two marts; silver twice, for rows that are new and those that overtake
    assert shop.same(lax.exact(), undisturbed.exact())
    assert not rebuilt(lax)


@pytest.mark.parametrize("table", ["quarantine.shop", "silver.order_placed"])
def test_died_before_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    strict = strict_shop(tmp_path, placed(1, 5_000), placed(2), placed(1, 200))
    selection = Selection(codes=("rule_violated",), statuses=("new",))
    lax = strict.under(LAX)
    killed_before(monkeypatch, table, lambda: again(lax, selection))
    assert offsets(lax) == [1, 2]
    assert states(lax)[0][1] == ("new" if table == "quarantine.shop" else "replayed")
    assert give_up(lax, 0) == (1 if table == "quarantine.shop" else 0)
    if table == "silver.order_placed":
        again(lax, selection)
        assert offsets(lax) == [0, 1]
        assert lax.gold("sales_daily")["cents"].to_list() == [5_010]
        assert not rebuilt(lax)


def test_died_between_silver_and_gold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lax = strict_shop(tmp_path, placed(1, 5_000), placed(2)).under(LAX)

    def deadly(*_rest: Any) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(replay_module._Replay, "gold", deadly)
        with pytest.raises(Died):
            again(lax)
    assert lax.gold("sales_daily")["cents"].to_list() == [10]
    lax.refresh()  # the next burst
    assert lax.gold("sales_daily")["cents"].to_list() == [5_010]


def test_contracts_made_stricter_after_a_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is `replayed` but nowhere: today's contracts decide, and it waits again."""
    strict = strict_shop(tmp_path, placed(1, 5_000))
    lax = strict.under(LAX)
    killed_before(monkeypatch, "silver.order_placed", lambda: again(lax))
    again(strict)
    assert (offsets(strict), states(strict)) == ([], [(0, "new", "run-1", None)])


def test_contracts_made_stricter_after_a_replay_are_left_to_a_rebuild(tmp_path: Path) -> None:
    strict = strict_shop(tmp_path, placed(1, 5_000))
    again(strict.under(LAX))
    again(strict)
    assert (offsets(strict), states(strict)) == ([0], [(0, "replayed", "run-1", None)])
    rebuilt(strict)
    assert (offsets(strict), states(strict)) == ([], [(0, "new", "rebuild", None)])


def test_silver_that_lags_is_left_to_the_stream(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: [placed(1), placed(2, 5_000)]}, VISITS: {}}, STRICT)
    of.take(ORDERS, [OffsetRange(0, 0, 1)])
    part = of.pour(ORDERS, [OffsetRange(0, 1, 2)])
    derive._take_rejected(of.lake, of.domain, part, judge(part.records, STRICT.events_of(ORDERS)), of.now)
    lax = of.under(LAX)
    again(lax)
    assert (offsets(lax), states(lax)) == ([0], [(1, "replayed", "run-1", None)])
    lax.catch_up(ORDERS)
    assert offsets(lax) == [0, 1]
    shop.once(lax)


def test_a_burst_a_rebuild_and_a_discard_get_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the replay's commits loses its race once, to whoever works on the same tables."""
    values = [placed(1, 5_000), placed(2, 5_000), placed(3, 5_000), placed(1, 100), placed(4)]
    strict = strict_shop(tmp_path, *values)
    strict.values[ORDERS][0].append(placed(5))  # type: ignore[attr-defined]
    lax = strict.under(LAX)
    real, between, at_work = replay_module.commit, [lambda: give_up(lax, 2), lambda: rebuilt(lax)], [False]

    def raced(lake: Any, spec: Any, make: Any, *rest: Any, **named: Any) -> Any:
        def made(table: Any, left: Any) -> Any:
            change = make(table, left)
            if between and not at_work[0]:
                at_work[0] = True
                between.pop(0)()
                Shop(lax.root, lax.values, LAX, now=lax.now).take(ORDERS, [OffsetRange(0, 5, 6)])
                at_work[0] = False
            return change

        return real(lake, spec, made, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(replay_module, "commit", raced)
        again(lax)
    assert not between
    assert offsets(lax) == [0, 1, 4, 5]
    assert [state[:2] for state in states(lax)] == [(0, "replayed"), (1, "replayed"), (2, "discarded")]
    assert not rebuilt(lax)
