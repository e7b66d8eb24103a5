"""What a micro-batch costs each mart, over little history and over ten times as much, in one run.

    python -m benchmarks.marts [--history 60000] [--batch 2000] [--batches 7]

The flights in the order in which they happened: so many are taken in, then so many micro-batches one by one, on Apache
Kafka from Maven. Told is the median time that each mart took per micro-batch, and the ratio of the two: about 1 where the
cost follows the batch, about 10 where it follows the history. Needs Java 17 and Maven.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from analytics_platform.contract.load import load_catalog
from analytics_platform.demo.events import Event, events
from analytics_platform.kafka.apache import ApacheKafka
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow

CONTRACTS = Path(__file__).parent.parent / "contracts"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=int, default=60_000, help="events before; and ten times as many")
    parser.add_argument("--batch", type=int, default=2_000, help="events in a micro-batch")
    parser.add_argument("--batches", type=int, default=7)
    asked = parser.parse_args()
    few = costs(asked.history, asked.batch, asked.batches)
    many = costs(10 * asked.history, asked.batch, asked.batches)
    print(
        f"{'mart':<24}{asked.history:>12,}{10 * asked.history:>12,}  ratio   (median ms per batch of {asked.batch:,})"
    )
    for mart, seconds in sorted(few.items()):
        print(f"{mart:<24}{seconds * 1000:>12.1f}{many[mart] * 1000:>12.1f}{many[mart] / seconds:>7.2f}")


def costs(history: int, batch: int, batches: int) -> dict[str, float]:
    """Median seconds per micro-batch, by mart, after so many events."""
    catalog = load_catalog(CONTRACTS)
    domain = catalog.domains["flights"]
    found = events(catalog, CONTRACTS / "flights" / "reference", history + batch * batches)
    took: dict[str, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="bench-kafka-") as logs,
        tempfile.TemporaryDirectory(prefix="bench-lake-") as lake,
        ApacheKafka(Path(logs)) as broker,
    ):
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        for topic in domain.topics:
            create_topic(kafka, topic)
        settings = Settings(lake=Path(lake), kafka=kafka, batch_interval=timedelta(0))
        for number, count in enumerate([history, *[batch] * batches]):
            produce(kafka, islice(found, count))
            report = follow(domain, settings, clock=lambda: datetime.now(UTC), budget=timedelta(0), idle=timedelta(0))
            if report.stopped or report.broken:
                raise SystemExit(f"the pipeline did not get through: {report.stopped} {report.broken}")
            for mart in report.marts.values() if number else ():
                took[mart.mart].append(mart.seconds)
    return {mart: statistics.median(seconds) for mart, seconds in took.items()}


def produce(kafka: KafkaSettings, found: Iterable[Event]) -> None:
    """Send some events to their topics."""
    by_topic: dict[str, list[Record]] = defaultdict(list)
    for event in found:
        by_topic[event.topic].append(Record(event.key, event.value, event.headers))
    for topic, records in by_topic.items():
        send(kafka, topic, records)


if __name__ == "__main__":
    main()
