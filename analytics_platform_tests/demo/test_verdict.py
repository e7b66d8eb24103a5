import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from analytics_platform.contract.model import Domain
from analytics_platform.demo.answers import Answers, answers
from analytics_platform.demo.events import events
from analytics_platform.demo.gauge import Gauge, contents
from analytics_platform.demo.ledger import Ledger
from analytics_platform.demo.replay import Replay
from analytics_platform.demo.trouble import Shares, send_order
from analytics_platform.demo.verdict import PartAccount, Verdict, verdict
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.embedded import PARTITIONS, EmbeddedBroker
from analytics_platform.kafka.offsets import Log
from analytics_platform.kafka.produce import create_topic
from analytics_platform.lake.table import Lake
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow

EVENTS = 1500


@dataclass(frozen=True)
class Done:
    """A replay that was taken in to the end."""

    lake: Path
    domain: Domain
    logs: dict[str, Log]
    ledger: Ledger
    truth: Answers

    def verdict(self, lake: Path | None = None) -> Verdict:
        return verdict(Lake(lake or self.lake), self.domain, self.logs, self.ledger, self.truth)

    def gauge(self) -> Gauge:
        return Gauge(Lake(self.lake), self.domain, self.logs, self.ledger)


@pytest.fixture(scope="module")
def done(tmp_path_factory, catalog, reference) -> Done:
    lake = tmp_path_factory.mktemp("demo") / "lake"
    domain = catalog.domains["flights"]
    with EmbeddedBroker() as broker:
        settings = Settings(lake=lake, fsync=False, kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
        for topic in domain.topics:
            create_topic(settings.kafka, topic)
        with KafkaLog(settings) as log:
            logs = {topic: log.state(topic).log for topic in domain.topics}
        ledger = Ledger(logs, PARTITIONS)
        gauge = Gauge(Lake(lake), domain, logs, ledger)
        assert not gauge.look()
        shares = Shares(duplicates=0.05, malformed=0.03, contract_breakers=0.03)
        replay = Replay(
            settings.kafka,
            send_order(events(catalog, reference, EVENTS), 3, shares),
            ledger,
            per_second=0,
            unread_bytes=None,
        )
        replay.start()
        deadline = time.monotonic() + 30
        while not replay.done:
            assert replay.failure is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not gauge.drained
        follow(domain, settings, clock=lambda: datetime.now(UTC), budget=timedelta(0), idle=timedelta(0))
    return Done(lake, domain, logs, ledger, answers(reference, EVENTS))


@pytest.fixture
def damaged(done: Done, tmp_path: Path) -> Callable[..., Verdict]:
    """The verdict on a copy of the lake in which a table was changed."""

    def change(title: str, alter: Callable[[pl.DataFrame], pl.DataFrame]) -> Verdict:
        lake = tmp_path / "lake"
        shutil.copytree(done.lake, lake)
        path = lake.joinpath(*title.split("."))
        rows = pl.DataFrame(DeltaTable(path).to_pyarrow_table())
        write_deltalake(path, alter(rows).to_arrow(), mode="overwrite")
        return done.verdict(lake)

    return change


def test_everything_is_where_it_belongs(done):
    found = done.verdict()
    assert (found.lost, found.doubled, found.mismatches, found.examples) == (0, 0, 0, ())
    assert found.good
    assert set(found.accounts) == set(done.ledger.parts)
    assert all(account.adds_up for account in found.accounts.values())
    sums = [sum(getattr(item, name) for item in found.accounts.values()) for name in PartAccount.__dataclass_fields__]
    faults = sum(len(part.faults) for part in done.ledger.parts.values())
    duplicates = sum(part.duplicates for part in done.ledger.parts.values())
    assert faults > 50
    assert duplicates > 50
    assert sums == [done.ledger.sent, done.ledger.sent, EVENTS, duplicates, faults]
    assert sum(found.reasons.values()) == faults
    assert found.rows["silver.weather_observed"] == done.truth.events_per_type["weather_observed"]


def test_a_gauge_sees_that_all_is_visible(done):
    gauge = done.gauge()
    assert gauge.look()
    assert gauge.drained
    assert (gauge.read_records, gauge.lag) == (done.ledger.sent, 0)
    assert len(gauge.waits) == done.ledger.sent
    freshness = gauge.freshness()
    assert freshness is not None
    assert 0 < freshness.median <= freshness.p95 <= freshness.most
    assert not gauge.look()


def test_contents_counts_rows_and_reasons(done):
    found, judged = contents(Lake(done.lake)), done.verdict()
    assert {title: found.rows[title] for title in judged.rows} == judged.rows
    assert dict(found.reasons) == dict(judged.reasons)
    assert found.newest_event is not None
    assert found.newest_event <= done.truth.cutoff


def test_nothing_was_taken_in(done, tmp_path):
    found = done.verdict(tmp_path / "nothing")
    faults = sum(len(part.faults) for part in done.ledger.parts.values())
    marts = sum(done.truth.tables[title].height for title in done.truth.tables if title.startswith("gold."))
    assert found.lost == done.ledger.sent + faults + EVENTS + marts
    assert found.doubled == 0
    assert not found.good
    gauge = replace(done.gauge(), lake=Lake(tmp_path / "nothing"))
    assert not gauge.look()
    assert gauge.lag == done.ledger.sent


@pytest.mark.parametrize("title", ["bronze.flights_arrivals", "silver.flight_departed", "quarantine.flights"])
def test_a_lost_row_also_breaks_the_account_of_its_partition(damaged, title):
    found = damaged(title, lambda rows: rows[1:])
    assert (found.lost, found.doubled, found.mismatches) == (1, 0, 1)
    assert sum(not account.adds_up for account in found.accounts.values()) == 1
    assert any(title.partition(".")[0] in said for said in found.examples)


@pytest.mark.parametrize("title", ["bronze.flights_arrivals", "silver.flight_departed", "quarantine.flights"])
def test_a_doubled_row_also_breaks_the_account_of_its_partition(damaged, title):
    found = damaged(title, lambda rows: pl.concat([rows, rows[:1]]))
    assert (found.lost, found.doubled, found.mismatches) == (0, 1, 1)


@pytest.mark.parametrize("title", ["gold.carrier_daily", "gold.punctuality_weekly"])
def test_a_mart_with_a_row_too_few_or_too_many(damaged, title):
    assert damaged(title, lambda rows: rows[1:]).lost == 1


def test_a_mart_with_a_row_twice(damaged):
    found = damaged("gold.carrier_daily", lambda rows: pl.concat([rows, rows[:1]]))
    assert (found.lost, found.doubled, found.mismatches) == (0, 1, 0)


def test_a_value_that_differs(damaged):
    found = damaged(
        "gold.carrier_daily",
        lambda rows: rows.with_columns(
            flights=pl.col("flights") + pl.when(pl.int_range(pl.len()) == 0).then(1).otherwise(0)
        ),
    )
    assert (found.lost, found.doubled, found.mismatches) == (0, 0, 1)
    assert "gold.carrier_daily" in found.examples[0]


def test_a_wrong_reason(damaged):
    def other_reason(rows: pl.DataFrame) -> pl.DataFrame:
        first = pl.int_range(pl.len()) == 0
        return rows.with_columns(codes=pl.when(first).then(pl.lit(["oversized"])).otherwise(pl.col("codes")))

    found = damaged("quarantine.flights", other_reason)
    assert (found.lost, found.doubled, found.mismatches) == (0, 0, 1)


def test_a_record_that_was_never_sent(damaged):
    def stranger(rows: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([rows, rows[:1].with_columns(offset=pl.lit(1_000_000, pl.Int64))])

    found = damaged("bronze.flights_arrivals", stranger)
    assert (found.lost, found.doubled) == (0, 0)
    assert found.mismatches == 2


def test_a_duplicate_that_took_the_place_of_another_row(damaged):
    """Sums alone would not see it: one row lost, another there twice, in one partition."""

    def swapped(rows: pl.DataFrame) -> pl.DataFrame:
        partition = rows["_partition"][0]
        mine = rows.filter(pl.col("_partition") == partition)
        return pl.concat([rows.filter(pl.col("_partition") != partition), mine[1:], mine[1:2]])

    found = damaged("silver.flight_departed", swapped)
    assert (found.lost, found.doubled, found.mismatches) == (1, 1, 0)
    assert all(account.adds_up for account in found.accounts.values())
