"""Kafka to gold against a bare drain of the same topics by the same consumer settings, in one run.

    python -m benchmarks.pipeline [--events N|all] [--rounds 3] [--json FILE]

Apache Kafka from Maven holds the flight replay (with its trouble). In turn and repeated: the drain reads every record
of every topic and touches its bytes; the pipeline takes them to gold in a fresh lake, all guarantees on. Each runs in a
process of its own, whose peak memory is reported. Needs Java 17 and Maven.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from analytics_platform.contract.load import load_catalog
from analytics_platform.demo.events import events
from analytics_platform.demo.trouble import send_order
from analytics_platform.kafka.apache import ApacheKafka
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.kafka.reader import CONFIG
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow

CONTRACTS = Path(__file__).parent.parent / "contracts"
DOMAIN = "flights"


def drain(settings: Settings) -> dict[str, Any]:
    """Read everything once and do nothing with it; records and bytes of values."""
    domain = load_catalog(CONTRACTS).domains[DOMAIN]
    ends: dict[tuple[str, int], int] = {}
    with KafkaLog(settings) as log:
        for topic in domain.topics:
            ends |= {(topic, part): marks.end for part, marks in log.state(topic).partitions.items()}
    consumer = Consumer({**CONFIG, **settings.kafka.client_config()})
    began = time.perf_counter()
    consumer.assign([TopicPartition(topic, part, 0) for topic, part in ends])
    left = {place for place, end in ends.items() if end}
    records = size = 0
    while left:
        for message in consumer.consume(10_000, 0.1):
            if message.error() is not None:
                left.discard((message.topic(), message.partition()))
                continue
            records += 1
            size += len(message.value() or b"")
    seconds = time.perf_counter() - began
    consumer.close()
    return {"records": records, "bytes": size, "seconds": seconds}


def pipeline(settings: Settings) -> dict[str, Any]:
    """Take everything to gold in a fresh lake."""
    domain = load_catalog(CONTRACTS).domains[DOMAIN]
    with tempfile.TemporaryDirectory(prefix="bench-lake-") as folder:
        own = Settings(lake=Path(folder) / "lake", kafka=settings.kafka)
        began = time.perf_counter()
        report = follow(domain, own, clock=lambda: datetime.now(UTC), budget=timedelta(0), idle=timedelta(0))
        seconds = time.perf_counter() - began
        if report.stopped or report.broken:
            raise SystemExit(f"the pipeline did not get through: {report.stopped} {report.broken}")
    return {
        "records": report.total.read,
        "bytes": report.size_bytes,
        "seconds": seconds,
        "stages": dict(report.seconds),
    }


def _child(work: Callable[[Settings], dict[str, Any]], settings: Settings, answer: Connection) -> None:
    found = work(settings)
    found["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer.send(found)


def measure(work: Callable[[Settings], dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """Run one contender in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(work, settings, there))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
    finally:
        process.join()
    found["records_per_s"] = found["records"] / found["seconds"]
    return found


def load(kafka: KafkaSettings, first: int | None) -> int:
    """Send the replay to the cluster; returns how many records."""
    reference = CONTRACTS / DOMAIN / "reference"
    by_topic: dict[str, list[Record]] = {}
    for sent in send_order(events(load_catalog(CONTRACTS), reference, first), seed=1):
        by_topic.setdefault(sent.topic, []).append(Record(sent.key, sent.value, sent.headers))
    for topic in by_topic:
        create_topic(kafka, topic)
    return sum(send(kafka, topic, records) for topic, records in by_topic.items())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default="all", help="how many real events; all is about 691,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    first = None if asked.events == "all" else int(asked.events)
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder, ApacheKafka(Path(folder)) as broker:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
        sent = load(settings.kafka, first)
        print(f"{sent:,} records in the topics; {os.cpu_count()} cores, {platform.platform()}")
        rounds: dict[str, list[dict[str, Any]]] = {"drain": [], "pipeline": []}
        for _ in range(asked.rounds):
            for work in (drain, pipeline):
                found = measure(work, settings)
                rounds[work.__name__].append(found)
                stages = {stage: round(seconds, 2) for stage, seconds in found.get("stages", {}).items()}
                print(f"{work.__name__:9} {found['records_per_s']:>10,.0f} records/s  {found['seconds']:6.2f} s  "
                      f"{found['peak_rss_bytes'] / 2**20:,.0f} MiB  {stages or ''}")  # fmt: skip
    medians = {name: statistics.median(item["records_per_s"] for item in found) for name, found in rounds.items()}
    ratio = medians["pipeline"] / medians["drain"]
    print(f"median: drain {medians['drain']:,.0f}/s, pipeline {medians['pipeline']:,.0f}/s, ratio {ratio:.2f}")
    if asked.json:
        asked.json.write_text(
            json.dumps({"records": sent, "rounds": rounds, "medians": medians, "ratio": ratio}, indent=1)
        )


if __name__ == "__main__":
    main()
