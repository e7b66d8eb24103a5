"""A broker without installation: librdkafka's mock cluster, in a process of its own, on a free loopback port.

For the demo and the fast tests; `docs/kafka.md` lists what it cannot do. All its records are gone when it stops.
"""

import subprocess
import sys
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

from analytics_platform.errors import BrokerNotStarted

CLUSTER_PREFIX = "mockCluster"
"""How every cluster id of librdkafka's mock cluster begins: the only sign by which clients can tell it."""
PARTITIONS = 4
"""Of every topic it makes; it cannot make any other."""


class EmbeddedBroker:
    """One embedded broker, from `start` to `stop`; a context manager.

    It ends by itself when the process that started it dies, however that dies.
    """

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.bootstrap_servers = ""
        """`host:port` of the broker; empty until it is started."""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it; on return it answers.

        Raises:
            BrokerNotStarted: with what the process said.
        """
        # A session of its own: Ctrl-C goes to the starter, which stops its broker last.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "analytics_platform.kafka.embedded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101  a pipe was asked for
        self.bootstrap_servers = self._process.stdout.readline().strip()
        if not self.bootstrap_servers:
            code = self._process.wait()
            self.stop()
            raise BrokerNotStarted("The embedded broker", f"its process ended with exit code {code}")
        return self

    @property
    def pid(self) -> int | None:
        """Of its process while it runs."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Stop it and wait until its process is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


def main() -> None:
    """The broker's process: says where it listens on stdout, serves until stdin ends."""
    cluster = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3})
    brokers = cluster.list_topics(timeout=10).brokers.values()
    sys.stdout.write(",".join(f"{broker.host}:{broker.port}" for broker in brokers) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
