"""What other contracts would change, as whole reports over a lake of a few records."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform import bronze
from analytics_platform.contract.model import Domain
from analytics_platform.impact import (
    MOST_NAMES,
    OTHERS,
    SAMPLES,
    UNKNOWN,
    Changes,
    Impact,
    Kind,
    RuleChanges,
    Sample,
    differences,
    impact,
)
from analytics_platform.judge import judge
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, feed, log_of, order, view

SHAPE = (
    '{"product":"string","cents":"integer","event_type":"string","schema_version":"string","trace_id":"string",'
    '"occurred_at":"string","order_id":"string","placed_at":"string","source":"string","idempotency_key":"string"}'
)
NOTHING = Impact((), 0, 0, Changes(), (), (), (), ())


def lake(root: Path, values: list[bytes | None], *, visits: list[bytes | None] | None = None) -> Shop:
    """Orders in bronze, one micro-batch per record."""
    of = Shop(root / "lake", {ORDERS: {0: values}, VISITS: {0: visits or []}})
    for topic, known in ((ORDERS, values), (VISITS, visits or [])):
        for offset in range(len(known)):
            of.pour(topic, [OffsetRange(0, offset, offset + 1)])
    return of


def found(of: Shop, new: Domain, **rest: object) -> Impact:
    return impact([of.domain], [new], of.settings, **rest)  # type: ignore[arg-type]


def test_a_stricter_rule_fails_rows_and_changes_the_reasons_of_others(tmp_path: Path) -> None:
    values = [
        order(order_id="o-1", cents=100, source="web"),
        order(order_id="o-2", cents=10, source="web"),
        order(order_id="o-3", cents=200_000, source="app"),
        order(order_id="o-4", cents=60),
        b"{",
    ]
    of = lake(tmp_path, values, visits=[view()])

    assert found(of, shop.domain(most_cents=50)) == Impact(
        topics=(ORDERS,),
        records=5,
        same=2,
        changes=Changes(newly_failing=2, changed=1),
        by_rule=(
            RuleChanges("rule_violated", "cents: above the maximum of 100000", Changes(changed=1)),
            RuleChanges("rule_violated", "cents: above the maximum of 50", Changes(newly_failing=2, changed=1)),
        ),
        by_source=(
            (UNKNOWN, Changes(newly_failing=1)),
            ("app", Changes(changed=1)),
            ("web", Changes(newly_failing=1)),
        ),
        by_event_type=(("order_placed", Changes(newly_failing=2, changed=1)),),
        samples=(
            Sample(
                Kind.NEWLY_FAILING,
                ORDERS,
                "cluster/t1",
                0,
                0,
                "order_placed",
                "web",
                (),
                ("rule_violated: cents: above the maximum of 50",),
                SHAPE,
            ),
            Sample(
                Kind.CHANGED,
                ORDERS,
                "cluster/t1",
                0,
                2,
                "order_placed",
                "app",
                ("rule_violated: cents: above the maximum of 100000",),
                ("rule_violated: cents: above the maximum of 50",),
                SHAPE,
            ),
        ),
    )


def test_a_looser_rule_lets_rows_pass(tmp_path: Path) -> None:
    of = lake(tmp_path, [order(order_id="o-1", cents=200_000, source="web"), order(order_id="o-2")])

    report = found(of, shop.domain(most_cents=300_000))

    assert not report.breaks
    assert replace(report, samples=()) == Impact(
        topics=(ORDERS,),
        records=2,
        same=1,
        changes=Changes(newly_passing=1),
        by_rule=(RuleChanges("rule_violated", "cents: above the maximum of 100000", Changes(newly_passing=1)),),
        by_source=(("web", Changes(newly_passing=1)),),
        by_event_type=(("order_placed", Changes(newly_passing=1)),),
        samples=(),
    )
    assert [(item.kind, item.offset, item.after) for item in report.samples] == [(Kind.NEWLY_PASSING, 0, ())]


def test_an_event_type_without_a_contract_any_more(tmp_path: Path) -> None:
    of = lake(tmp_path, [order("order_cancelled", order_id="o-1"), order(order_id="o-2")])

    report = found(of, shop.domain(events=("order_placed", "page_viewed"), marts=("sales_daily",)))

    assert report.breaks
    assert report.by_event_type == (("order_cancelled", Changes(newly_failing=1)),)
    assert [(item.code, item.changes) for item in report.by_rule] == [("unknown_event_type", Changes(newly_failing=1))]


def test_a_whole_topic_without_a_contract_any_more(tmp_path: Path) -> None:
    of = lake(tmp_path, [order()], visits=[view(), b"{"])

    report = found(of, shop.domain(events=("order_placed", "order_cancelled")))

    assert (report.topics, report.records) == ((VISITS,), 2)
    assert report.changes == Changes(newly_failing=1, changed=1)


def test_a_new_domain_and_a_new_field(tmp_path: Path) -> None:
    extra = "      - {name: note, logicalType: string, required: true}"
    of = lake(tmp_path, [order(order_id="o-1"), order(order_id="o-2", note="hi")])
    new = shop.domain(extra=extra)

    report = found(of, new)
    assert report.by_rule == (RuleChanges("missing_field", "note: missing", Changes(newly_failing=1)),)
    unknown = impact([], [new], of.settings)
    assert unknown.changes == Changes(newly_passing=1, changed=1)


def test_an_optional_field_changes_nothing(tmp_path: Path) -> None:
    of = lake(tmp_path, [order(order_id="o-1"), order(order_id="o-2", note="hi")])
    new = shop.domain(extra="      - {name: note, logicalType: string}")

    assert found(of, new) == replace(NOTHING, topics=(ORDERS,), records=2, same=2)


def test_only_the_hours_asked_for_are_looked_at(tmp_path: Path) -> None:
    of = lake(tmp_path, [order(order_id="o-1"), order(order_id="o-2"), order(order_id="o-3")])
    second = START + timedelta(seconds=2)

    assert found(of, shop.domain(most_cents=50), hours=(second, second + timedelta(seconds=1))).records == 1


def test_a_lake_that_is_empty(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: []}, VISITS: {0: []}})
    assert found(of, shop.domain(most_cents=50)) == replace(NOTHING, topics=(ORDERS,))


def test_nothing_is_written(tmp_path: Path) -> None:
    of = lake(tmp_path, [order()])
    before = sorted(path for path in tmp_path.rglob("*"))
    found(of, shop.domain(most_cents=50))
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_the_report_does_not_depend_on_how_bronze_is_cut(tmp_path: Path, batch_rows: int) -> None:
    values = feed(5, 60, partitions=1)
    of = Shop(tmp_path / "lake", values)
    size = len(values[ORDERS][0])
    for start in range(0, size, 7):
        of.pour(ORDERS, [OffsetRange(0, start, min(start + 7, size))])
    new = shop.domain(most_cents=2000)
    heard: list[int] = []

    report = found(replace(of, batch_rows=batch_rows), new, on_slice=heard.append)

    assert report == found(of, new)
    assert report.breaks
    assert heard[-1] == report.records == size
    assert len(heard) == (-(-size // 7) if batch_rows < 14 else 1)


def test_samples_are_few_and_each_says_something_else(tmp_path: Path) -> None:
    extra = "\n".join(f"      - {{name: f{n}, logicalType: string}}" for n in range(8))
    values = [order(order_id=f"o-{n}", **{f"f{n % 8}": "x"}) for n in range(16)]
    stricter = extra.replace("string}", "integer}")
    of = lake(tmp_path, values).under(shop.domain(extra=extra))

    report = found(of, shop.domain(extra=stricter))

    assert report.changes.newly_failing == 16
    assert [item.offset for item in report.samples] == list(range(SAMPLES))


def test_senders_do_not_choose_how_much_is_remembered(tmp_path: Path) -> None:
    more = 20
    values = [order(order_id=f"o-{n}", source=f"s-{n:05}") for n in range(MOST_NAMES + more)]
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, VISITS: {0: []}})
    of.pour(ORDERS, of.whole(ORDERS))

    by_source = dict(found(of, shop.domain(most_cents=50)).by_source)

    assert len(by_source) == MOST_NAMES + 1
    assert by_source[OTHERS] == Changes(newly_failing=more)


def test_no_value_is_shown(tmp_path: Path) -> None:
    """Wherever a sender put it: in a field, in a name, in a claim, in bytes that are no JSON."""
    mail = "ana@example.com"
    values = [
        order(order_id=mail, cents=70, **{mail: mail}),
        order(product=mail, cents=60),
        order(order_id="o-3", cents=80, extra={"inner": {mail: [mail]}}),
        json.dumps({"event_type": mail, "to": mail}).encode(),
        f'{{"to": "{mail}"'.encode(),
    ]
    of = lake(tmp_path, values)

    for new in (shop.domain(most_cents=50), shop.domain(events=("page_viewed",), marts=())):
        report = found(of, new)
        assert report.changes.newly_failing == 3
        assert mail not in repr(report)


HISTORIES = st.integers(0, 10_000)


@settings(max_examples=15, deadline=None)
@given(seed=HISTORIES)
def test_contracts_against_themselves_change_nothing(seed: int) -> None:
    values = feed(seed, 25, partitions=2)
    of = Shop(Path("unused"), values)
    for topic in (ORDERS, VISITS):
        records = of.slice(topic, of.whole(topic)).records
        contracts = of.domain.events_of(topic)
        # Other bytes, so that nothing compiled is shared; the same meaning.
        again = [replace(item, header=replace(item.header, digest=item.header.digest[::-1])) for item in contracts]
        rows = differences(records, judge(records, contracts), judge(records.reverse(), again))
        assert rows.is_empty()


@settings(max_examples=10, deadline=None)
@given(seed=HISTORIES, most=st.sampled_from([0, 1000, 2500, 100_000, 200_000]))
def test_there_and_back_is_the_mirror_image(seed: int, most: int) -> None:
    values = feed(seed, 25, partitions=1)
    records = Shop(Path("unused"), values).slice(ORDERS, [OffsetRange(0, 0, len(values[ORDERS][0]))]).records
    old, new = (judge(records, of.events_of(ORDERS)) for of in (shop.domain(), shop.domain(most_cents=most)))
    there, back = differences(records, old, new), differences(records, new, old)
    mirrored = {Kind.NEWLY_FAILING: Kind.NEWLY_PASSING, Kind.NEWLY_PASSING: Kind.NEWLY_FAILING}
    turned = there.with_columns(pl.col("kind").replace({str(a): str(b) for a, b in mirrored.items()}))
    assert turned.select("offset", "kind").equals(back.select("offset", "kind"))


def test_the_rows_of_another_log_count_too(tmp_path: Path) -> None:
    of = lake(tmp_path, [order(order_id="o-1")])
    of.pour(ORDERS, [OffsetRange(0, 0, 1)], topic_id="t2")
    report = found(of, shop.domain(most_cents=50))
    assert (report.records, report.changes.newly_failing) == (2, 2)
    assert log_of(ORDERS, "t2").id != log_of(ORDERS).id
    assert of.rows(bronze.spec(ORDERS)).height == 2
