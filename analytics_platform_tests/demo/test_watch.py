import io
import time

import pytest

from analytics_platform.contract.load import load_catalog
from analytics_platform.demo import watch as module
from analytics_platform.demo.answers import answers
from analytics_platform.demo.folder import fresh_folder
from analytics_platform.demo.gauge import Gauge
from analytics_platform.demo.ledger import Ledger
from analytics_platform.demo.outcome import outcome, print_outcome
from analytics_platform.demo.processes import free_port, services
from analytics_platform.demo.replay import Replay
from analytics_platform.demo.signals import Interrupted
from analytics_platform.demo.trouble import send_order
from analytics_platform.demo.verdict import verdict
from analytics_platform.demo.watch import Watch
from analytics_platform.demo.webserver import Webserver
from analytics_platform.errors import DemoFailed
from analytics_platform.kafka.embedded import PARTITIONS
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.table import Lake
from analytics_platform.settings import KafkaSettings


@pytest.fixture
def watch(tmp_path, reference, embedded):
    """A demo whose Dagster was never started: nothing is ever taken in."""
    domain = load_catalog(reference.parents[1]).domains["flights"]
    logs = {topic: Log(topic, "cluster/id") for topic in domain.topics}
    ledger = Ledger(logs, PARTITIONS)
    with fresh_folder(tmp_path / "demo") as folder, services(folder, {}, {}, lambda: False) as running:
        replay = Replay(KafkaSettings(bootstrap_servers=embedded), [], ledger, per_second=0, unread_bytes=None)
        yield Watch(
            running,
            embedded,
            replay,
            Gauge(Lake(folder.lake), domain, logs, ledger),
            Webserver(f"http://127.0.0.1:{free_port()}"),
            lambda: False,
            time.monotonic(),
            io.StringIO(),
            "hint",
        )


def test_a_demo_that_is_stuck_says_how_far_it_came(watch, monkeypatch):
    monkeypatch.setattr(module, "_STUCK_S", 0.6)
    with pytest.raises(DemoFailed, match=r"Nothing has moved for 1 s; sent 0, read 0, runs \{\}"):
        watch.follow_until_drained()


def test_runs_that_do_not_end(watch, monkeypatch):
    monkeypatch.setattr(module, "_RUN_END_S", 0.3)
    with pytest.raises(DemoFailed, match="Runs do not end"):
        watch.wait_for_runs()


def test_told_to_stop(watch):
    watch.told = lambda: True
    for follow in (watch.follow_until_told, watch.follow_until_drained, watch.wait_for_runs):
        with pytest.raises(Interrupted):
            follow()


def test_a_broker_that_is_gone(watch):
    watch.servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(DemoFailed, match="is gone"):
        watch.follow_until_told()


def test_a_replay_that_failed(watch):
    watch.replay.failure = OSError("the broker is gone")
    with pytest.raises(OSError, match="the broker is gone"):
        watch.follow_until_told()


def test_what_was_lost_is_said_to_people_and_programs(watch, reference, week):
    ledger = watch.gauge.ledger
    for sent in send_order(week[:200], seed=1):
        ledger.add(sent)
    found = verdict(watch.gauge.lake, watch.gauge.domain, watch.gauge.logs, ledger, answers(reference, 200))
    report = outcome(found, watch, seconds=2.0, ready_s=1.0)
    assert (report["good"], report["lost"], report["doubled"]) == (False, found.lost, 0)
    assert report["lost"] > ledger.sent
    assert report["records_per_second"] == ledger.sent / 2
    assert report["freshness_seconds"] is None
    assert report["first_materialized_after_seconds"] is None
    assert len(report["examples"]) == 20
    assert report["tables"]["gold.carrier_daily"]["lost"] == found.tables["gold.carrier_daily"].lost > 0
    out = io.StringIO()
    print_outcome(report, found, out)
    assert "silver.flight_departed: 0 rows, NOT as they should be" in out.getvalue()
    assert out.getvalue().endswith(f"{found.lost:,} lost, 0 doubled, {found.mismatches:,} different\n")
