"""The demo: a broker, Dagster's own processes, and a replay of real flights through the real sensor, daemon and runs."""

import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog
from analytics_platform.demo.answers import answers
from analytics_platform.demo.broker import EMBEDDED, broker
from analytics_platform.demo.events import events as real_events
from analytics_platform.demo.folder import DEFAULT, DemoFolder, fresh_folder
from analytics_platform.demo.gauge import Gauge
from analytics_platform.demo.ledger import Ledger
from analytics_platform.demo.outcome import outcome, print_outcome
from analytics_platform.demo.processes import ROOT, services
from analytics_platform.demo.replay import UNREAD_BYTES, Replay
from analytics_platform.demo.screen import say
from analytics_platform.demo.signals import Interrupted, told_to_stop
from analytics_platform.demo.trouble import send_order
from analytics_platform.demo.verdict import verdict
from analytics_platform.demo.watch import Watch
from analytics_platform.demo.webserver import Webserver
from analytics_platform.errors import DemoFailed
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.embedded import PARTITIONS
from analytics_platform.kafka.offsets import Log
from analytics_platform.kafka.produce import create_topic
from analytics_platform.lake.table import Lake
from analytics_platform.settings import KafkaSettings, Settings

DOMAIN = "flights"
SEED = 1
PER_SECOND = 1000.0
"""A pace that a laptop keeps up with and that fills every table within a minute."""

_BURST = timedelta(seconds=20)
"""Of a demo that is watched: short, since a burst's tables show in the UI when it ends."""
_IDLE = timedelta(seconds=3)


def run_demo(
    settings: Settings,
    *,
    once: bool,
    events: int | None,
    json_output: bool,
    kafka: str,
    speed: float | None,
    folder: Path | None,
    port: int,
) -> int:
    """Run the demo until it is told to stop, or until everything is drained and compared.

    Args:
        settings: Of its lake and Kafka nothing is used: the demo has its own.
        once: Bounded: drain, compare, end.
        events: How many real events of the year; None is all.
        json_output: Print one JSON object on stdout at the end of a bounded demo.
        kafka: `embedded` or `apache`.
        speed: Records per second; 0 is as fast as they are read. None is 0 for a bounded demo, otherwise `PER_SECOND`.
        folder: Its own folder, emptied at the start; None is `folder.DEFAULT`.
        port: Of the web UI, or the next free one.

    Returns:
        0 when it was ended from outside or nothing is lost, doubled or different; 1 when something is; 130 when a
        bounded demo was ended from outside.

    Raises:
        DemoFailed: it could not start, a process of it died, or nothing moved any more.
        BrokerNotStarted: the broker did not come up.
    """
    began = time.monotonic()
    out = sys.stderr if once else sys.stdout
    catalog = _catalog(settings.contracts)
    reference = settings.contracts / DOMAIN / "reference"
    path = folder or DEFAULT
    with told_to_stop() as told:
        try:
            with ExitStack() as stack:
                home = stack.enter_context(fresh_folder(path, told))
                say(f"starting the broker ({kafka}) and Dagster; all is kept in {_short(home.root)}", out)
                servers = stack.enter_context(broker(kafka, home.root / "kafka"))
                own = _settings(settings, home, servers, once=once)
                logs = _create_topics(catalog, own)
                running = stack.enter_context(services(home, own.environ(), os.environ, told))
                running.start(port)
                ready_s = time.monotonic() - began
                home.write_settings(own.environ())
                say(f"Dagster is ready after {ready_s:.1f} s: {running.url}", out)
                replay = Replay(
                    own.kafka,
                    send_order(real_events(catalog, reference, events), SEED),
                    Ledger(logs, PARTITIONS),
                    per_second=speed if speed is not None else 0.0 if once else PER_SECOND,
                    unread_bytes=UNREAD_BYTES if kafka == EMBEDDED else None,
                )
                stack.callback(replay.stop)
                gauge = Gauge(Lake(own.lake, own.fsync), catalog.domains[DOMAIN], logs, replay.ledger)
                watch = Watch(
                    running, servers, replay, gauge, Webserver(running.url), told, began, out, _hint(home, settings)
                )
                replay.start()
                if not once:
                    watch.follow_until_told()
                seconds = watch.follow_until_drained()
                say("everything is drained; comparing every table with its answer", out)
                found = verdict(gauge.lake, gauge.domain, logs, replay.ledger, answers(reference, events))
                watch.wait_for_runs()
        except Interrupted:
            say(f"ended; the tables stay in {_short(path.absolute() / 'lake')} until the next start", out)
            return 130 if once else 0
    report = outcome(found, watch, seconds=seconds, ready_s=ready_s)
    if json_output:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        print_outcome(report, found, sys.stdout)
    return 0 if found.good else 1


def _catalog(contracts: Path) -> Catalog:
    if not (ROOT / "deploy" / "dagster.yaml").is_file() or not (contracts / DOMAIN).is_dir():
        raise DemoFailed(
            "It needs the repository: contracts/flights and deploy/dagster.yaml. Run it in a clone of the repository"
        )
    return load_catalog(contracts)


def _settings(settings: Settings, home: DemoFolder, servers: str, *, once: bool) -> Settings:
    """Of the demo. Where Kafka is comes from the demo alone: it must never send to somebody's real cluster."""
    return replace(
        settings,
        lake=home.lake,
        contracts=settings.contracts.absolute(),
        burst=settings.burst if once else _BURST,
        idle=_IDLE,
        kafka=KafkaSettings(bootstrap_servers=servers),
    )


def _create_topics(catalog: Catalog, settings: Settings) -> dict[str, Log]:
    """Make the topics of all contracts; returns the logs of those that the replay fills."""
    for domain in catalog.domains.values():
        for topic in domain.topics:
            create_topic(settings.kafka, topic, partitions=PARTITIONS)
    with KafkaLog(settings) as log:
        return {topic: log.state(topic).log for topic in catalog.domains[DOMAIN].topics}


def _hint(home: DemoFolder, settings: Settings) -> str:
    """What to type in another terminal; it needs no more there if this folder has no lake of its own."""
    command = Path(sys.argv[0])
    words = [str(command) if command.name == "analytics-platform" else "analytics-platform"]
    if home.root != DEFAULT.absolute() or settings.lake.exists():
        words += ["--lake", _short(home.lake)]
    return " ".join([*words, "sql", '"from gold.carrier_daily limit 5"'])


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
