"""The demo's broker: embedded, or Apache Kafka in a process that ends when its starter does.

python -m analytics_platform.demo.broker FOLDER     Apache Kafka, until stdin ends
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analytics_platform.errors import BrokerNotStarted, KafkaError
from analytics_platform.kafka.apache import STOP_S, ApacheKafka
from analytics_platform.kafka.embedded import EmbeddedBroker

EMBEDDED = "embedded"
APACHE = "apache"


@contextmanager
def broker(kind: str, folder: Path) -> Iterator[str]:
    """A broker on loopback; yields its `host:port`.

    Args:
        kind: `EMBEDDED` or `APACHE`.
        folder: Of Apache Kafka's data and logs.

    Raises:
        BrokerNotStarted: with what is missing, or what the broker said.
    """
    if kind == EMBEDDED:
        with EmbeddedBroker() as embedded:
            yield embedded.bootstrap_servers
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "analytics_platform.demo.broker", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C goes to the starter, which stops its broker last
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101  pipes were asked for
    try:
        word, _, said = process.stdout.readline().strip().partition(" ")
        if word != "listening":
            raise BrokerNotStarted("Apache Kafka", said or "its process ended at once")
        yield said
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(STOP_S + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(folder: Path) -> None:
    """Apache Kafka's keeper: says where it listens, or why it does not, and serves until stdin ends."""
    try:
        with ApacheKafka(folder) as kafka:
            _say(f"listening {kafka.bootstrap_servers}")
            sys.stdin.read()
    except BrokerNotStarted as error:
        _say(f"refused {error.reason}")
    except KafkaError as error:
        _say(f"refused {error}")


def _say(line: str) -> None:
    sys.stdout.write(" ".join(line.split()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
