"""A declared patch, from the quarantine down to gold: once, whoever dies, and the same whenever it is declared."""

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

from analytics_platform import replay as replay_module
from analytics_platform.contract.model import Domain
from analytics_platform.forget import by_key
from analytics_platform.impact import impact
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.keyring import KeyRing
from analytics_platform.rebuild import rebuild
from analytics_platform.replay import replay
from analytics_platform.report import ReplayReport
from analytics_platform.selection import Selection, patched
from analytics_platform.settings import Secret
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, Value, feed, order

PATCH = """\
description: A till sent cents as text.
domain: shop
event: order_placed
major: 1
codes: [wrong_type]
ingestedBefore: 2026-11-24T00:00:00Z
where: json_type(value, '$.cents') = 'VARCHAR'
set: {cents: CAST(value->>'cents' AS BIGINT)}
"""
PLAIN, MENDED = shop.domain(), shop.domain(patch=PATCH)
WITHDRAWN = shop.domain(patch=PATCH + "withdrawn: true\n")
HOUR = timedelta(hours=1)


def as_text(cents: int, number: int = 1, **rest: Any) -> bytes:
    return order(order_id=f"o{number}", cents=str(cents), **rest)


def taken_in(root: Path, domain: Domain, *values: Value) -> Shop:
    of = Shop(root / "lake", {ORDERS: {0: list(values)}, VISITS: {}}, domain)
    for offset in range(len(values)):
        of.take(ORDERS, [OffsetRange(0, offset, offset + 1)])
    of.refresh()
    return of


def again(of: Shop, selection: Selection | None = None) -> ReplayReport:
    of.now += timedelta(seconds=1)
    return replay(of.domain, of.settings, selection or Selection(), clock=of.clock, by="run-1")


def rebuilt(of: Shop) -> bool:
    return rebuild(of.domain, of.settings, START, START + 2 * HOUR, clock=of.clock).changed


def placed(of: Shop) -> list[tuple[str, int, str | None]]:
    rows = of.silver("order_placed").sort("_offset")
    return rows.select("order_id", "cents", "_patch").rows() if "_patch" in rows.columns else rows.rows()


def states(of: Shop) -> list[tuple[int, str]]:
    return of.quarantine().sort("offset").select("offset", "status").rows()


def test_rows_enter_once_and_a_second_replay_adds_nothing(tmp_path: Path) -> None:
    plain = taken_in(tmp_path, PLAIN, as_text(500), order(order_id="o2", cents=20), as_text(-7, 3), b"{")
    mended = plain.under(MENDED)
    report = again(mended, patched(MENDED)["order_placed/fix"])
    assert (report.selected, report.replayed, report.patched) == (2, 1, {"order_placed/fix": 1})
    assert "1 into silver.order_placed, 1 by the patch order_placed/fix" in report.line()
    assert placed(mended) == [("o1", 500, "fix"), ("o2", 20, None)]
    assert states(mended) == [(0, "replayed"), (2, "new"), (3, "new")]
    assert mended.gold("sales_daily")["cents"].to_list() == [520]
    versions = mended.versions()
    second = again(mended, patched(MENDED)["order_placed/fix"])
    assert (second.replayed, second.entered, second.patched) == (0, {}, {})
    assert mended.versions() == versions
    assert not rebuilt(mended)
    assert mended.versions() == versions


def test_the_right_event_that_came_later_gives_way_to_the_mended_one(tmp_path: Path) -> None:
    """They are one event, under one key; the one that arrived first counts, as everywhere."""
    mended = taken_in(tmp_path, PLAIN, as_text(500), order(order_id="o1", cents=500)).under(MENDED)
    again(mended)
    assert placed(mended) == [("o1", 500, "fix")]
    assert not rebuilt(mended)


def test_a_patch_is_over_when_its_time_is(tmp_path: Path) -> None:
    late = Shop(tmp_path / "lake", {ORDERS: {0: [as_text(500), as_text(600, 2)]}, VISITS: {}}, MENDED)
    late.take(ORDERS, [OffsetRange(0, 0, 1)])
    late.now += timedelta(days=1)
    late.take(ORDERS, [OffsetRange(0, 1, 2)])
    assert placed(late) == [("o1", 500, "fix")]
    assert states(late) == [(1, "new")]


def test_a_patch_that_is_withdrawn(tmp_path: Path) -> None:
    mended = taken_in(tmp_path, MENDED, as_text(500), order(order_id="o2", cents=20))
    assert placed(mended) == [("o1", 500, "fix"), ("o2", 20, None)]
    withdrawn = mended.under(WITHDRAWN)
    assert rebuilt(withdrawn)
    assert placed(withdrawn) == [("o2", 20, None)]
    assert states(withdrawn) == [(0, "new")]
    assert withdrawn.gold("sales_daily")["cents"].to_list() == [20]
    gone = withdrawn.under(PLAIN)
    assert not rebuilt(gone)


class Died(BaseException):
    """As a killed process would: nothing catches it."""


@pytest.mark.parametrize("table", ["quarantine.shop", "silver.order_placed"])
def test_died_before_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    mended = taken_in(tmp_path, PLAIN, as_text(500), order(order_id="o2", cents=20)).under(MENDED)
    real: Callable[..., Any] = replay_module.commit

    def deadly(lake: Any, spec: Any, *rest: Any, **named: Any) -> Any:
        if spec.title == table:
            raise Died
        return real(lake, spec, *rest, **named)

    with monkeypatch.context() as other:
        other.setattr(replay_module, "commit", deadly)
        with pytest.raises(Died):
            again(mended)
    assert mended.silver("order_placed")["order_id"].to_list() == ["o2"]
    assert again(mended).patched == {"order_placed/fix": 1}
    assert placed(mended) == [("o1", 500, "fix"), ("o2", 20, None)]
    assert not rebuilt(mended)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**16), batch_rows=st.sampled_from([2, 7, 100_000]))
def test_replaying_is_having_had_the_patch_from_the_beginning(seed: int, batch_rows: int) -> None:
    """And so is rebuilding, however the records were cut into batches."""
    known = feed(seed, 30)
    mixed = {
        partition: [*found[:10], as_text(100 + partition, partition), as_text(7, 40), *found[10:]]
        for partition, found in known[ORDERS].items()
    }
    values = {**known, ORDERS: mixed}
    with TemporaryDirectory() as folder:
        plain = Shop(Path(folder) / "lake", values, PLAIN, batch_rows=batch_rows)
        always = Shop(Path(folder) / "always", values, MENDED)
        other = Shop(Path(folder) / "rebuilt", values, PLAIN, batch_rows=batch_rows)
        for of in (plain, always, other):
            for start, end in ((0, 9), (9, 100)):
                for topic in of.domain.topics:
                    ranges = [OffsetRange(i.partition, min(start, i.end), min(end, i.end)) for i in of.whole(topic)]
                    of.take(topic, ranges)
            of.refresh()
        replayed, remade = plain.under(MENDED), other.under(MENDED)
        again(replayed)
        assert rebuilt(remade)
        expected = always.business()
        still_bad = expected.pop("quarantine.shop")
        assert always.silver("order_placed")["_patch"].drop_nulls().len() == 3
        for of in (replayed, remade):
            shop.once(of)
            found = of.business()
            waiting = found.pop("quarantine.shop").filter(pl.col("status") == "new")
            assert waiting.drop("contract_digest").equals(still_bad.drop("contract_digest"))
            assert shop.same(found, expected)
            assert not rebuilt(of)


def test_what_a_draft_of_it_would_mend(tmp_path: Path) -> None:
    plain = taken_in(tmp_path, PLAIN, as_text(500), order(order_id="o2", cents=20), as_text(-7, 3))
    found = impact([PLAIN], [MENDED], plain.settings)
    assert (found.changes.newly_passing, found.changes.newly_failing, found.records) == (1, 0, 3)


def test_a_mended_event_is_forgotten_as_any_other(tmp_path: Path) -> None:
    ring = KeyRing({"erasure": bytes.fromhex("e7" * 32)})
    mended = replace(taken_in(tmp_path, MENDED, as_text(500), order(order_id="o2", cents=20)), keys=ring)
    (key,) = mended.silver("order_placed").filter(pl.col("order_id") == "o1")["idempotency_key"].to_list()
    keyed = replace(mended.settings, keys=(("erasure", Secret("e7" * 32)),))
    by_key(mended.domain, "order_placed", key, keyed, clock=mended.clock)
    assert placed(mended) == [("o2", 20, None)]
    assert mended.bronze(ORDERS).sort("offset")["value"].is_null().to_list() == [True, False]
    rebuild(mended.domain, keyed, START, START + 2 * HOUR, clock=mended.clock)
    assert placed(mended) == [("o2", 20, None)]
