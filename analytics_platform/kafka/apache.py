"""One Apache Kafka broker on loopback (KRaft, one node), for tests, benchmarks and trying things out.

Its jars come from Maven by the `pom.xml` beside this file; Java runs them directly. Not for production: one node, no
replication, no authentication, reachable from this machine only.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Self

from confluent_kafka import KafkaException, Producer

from analytics_platform.errors import BrokerNotStarted

JAVA_NEEDED = 17
START_S = 90.0
STOP_S = 20.0
_NAME = "Apache Kafka"
_POM = Path(__file__).with_name("pom.xml")
_CACHE = Path.home() / ".cache" / "analytics-platform"
_NOTHING: Mapping[str, str] = MappingProxyType({})


def missing() -> str | None:
    """Why Apache Kafka cannot run on this machine, as one sentence; None when it can."""
    java = shutil.which("java")
    if java is None:
        return f"java is not installed; Java {JAVA_NEEDED} or newer is needed"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA_NEEDED:
        return f"java is {found[1] if found else 'of an unknown version'}; Java {JAVA_NEEDED} or newer is needed"
    if not _cached_classpath() and shutil.which("mvn") is None:
        return "mvn (Maven) is not installed; it fetches Kafka's jars"
    return None


class ApacheKafka:
    """One broker, from `start` to `stop`; a context manager.

    Its data folder outlives it: started again in the same folder it has its topics again, on the port it is given.
    """

    def __init__(self, folder: Path, port: int | None = None, properties: Mapping[str, str] = _NOTHING) -> None:
        """Nothing runs yet.

        Args:
            folder: Its own: data, `server.properties` and `kafka.log`.
            port: Where it listens on 127.0.0.1; a free one by default.
            properties: Broker settings added to ours, in Kafka's own names.
        """
        self.folder = folder.absolute()
        self.port = port or _free_port()
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        self.pid: int | None = None
        self._properties = properties
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def start(self, *, outlive: bool = False) -> Self:
        """Start it; on return it answers. The first time on a machine Maven fetches about 70 MB.

        Args:
            outlive: Whether it goes on when this process dies; by default it is stopped then, however that happens.

        Raises:
            BrokerNotStarted: with what is missing, or the end of the broker's log.
        """
        reason = missing()
        if reason is not None:
            raise BrokerNotStarted(_NAME, reason)
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(
            "".join(f"{name}={value}\n" for name, value in {**self._own_properties(), **self._properties}.items()),
            encoding="utf-8",
        )
        with (self.folder / "kafka.log").open("ab") as log:
            if not (self.folder / "data" / "meta.properties").exists():
                cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
                # "=" keeps an id that begins with a dash from being taken for an option.
                self._java(
                    "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", properties, log=log
                ).wait()
            self._process = self._java("kafka.Kafka", properties, log=log)
        self.pid = self._process.pid
        if not outlive:
            # Java does not notice that its starter is gone; a shell that waits for the end of its stdin does.
            self._watcher = subprocess.Popen(
                ["sh", "-c", 'read -r _; kill "$0"', str(self.pid)], stdin=subprocess.PIPE, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        if outlive:
            self._process.returncode = 0  # else Python complains that nobody waits for it
            self._process = None
        return self

    def stop(self) -> None:
        """Stop it, by force after a while, and wait until its process is gone."""
        process, self._process, self.pid = self._process, None, None
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            with watcher:  # closes its stdin and waits
                watcher.kill()
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=STOP_S)
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

    def _own_properties(self) -> dict[str, str]:
        controller = _free_port()
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://127.0.0.1:{controller}",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # The replay sends events with the timestamps of 2013: by age they would expire at once.
            "log.retention.ms": "-1",
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
            "log.cleaner.backoff.ms": "200",
        }

    def _java(self, main: str, *arguments: object, log: IO[bytes]) -> subprocess.Popen[bytes]:
        # The tool that formats the folder lives for a second: compiling it well costs more than it brings.
        speed = [] if main == "kafka.Kafka" else ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        options = ["-Xmx512m", "-Dlog4j2.level=WARN", *speed]
        return subprocess.Popen(
            ["java", *options, "-cp", classpath(), main, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            start_new_session=True,  # Ctrl-C goes to the starter, which stops its broker last
        )

    def _wait_until_ready(self) -> None:
        assert self._process is not None  # noqa: S101  only called with a process
        deadline = time.monotonic() + START_S
        with Producer({"bootstrap.servers": self.bootstrap_servers, "log_level": 0}) as client:
            while True:
                try:
                    client.list_topics(timeout=0.5)
                except KafkaException:
                    if self._process.poll() is not None:
                        raise BrokerNotStarted(_NAME, f"it ended at once. {self._last_words()}") from None
                    if time.monotonic() > deadline:
                        raise BrokerNotStarted(_NAME, f"no answer in {START_S:.0f} s. {self._last_words()}") from None
                else:
                    return

    def _last_words(self) -> str:
        log = self.folder / "kafka.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        return f"The end of {log}: " + " | ".join(lines)


def up(folder: Path, port: int) -> ApacheKafka:
    """Start a broker that goes on when this process ends; `down` with the same folder stops it.

    A broker of this folder that runs already is left alone.

    Raises:
        BrokerNotStarted: with what is missing, or the end of the broker's log.
    """
    broker = ApacheKafka(folder, port)
    running = _running(broker.folder)
    if running is not None:
        broker.pid, broker.port = running
        broker.bootstrap_servers = f"127.0.0.1:{broker.port}"
        return broker
    broker.start(outlive=True)
    _pid_file(broker.folder).write_text(json.dumps({"pid": broker.pid, "port": broker.port}), encoding="utf-8")
    return broker


def down(folder: Path) -> bool:
    """Stop the broker that `up` started in this folder and wait until it is gone; False when none runs."""
    running = _running(folder.absolute())
    if running is not None:
        pid, _ = running
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while _running(folder.absolute()) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
    _pid_file(folder.absolute()).unlink(missing_ok=True)
    return running is not None


def classpath() -> str:
    """Kafka's jars, as java's `-cp` wants them; asked of Maven once and then kept in the user's cache folder.

    Raises:
        BrokerNotStarted: Maven is missing or cannot fetch them.
    """
    cached = _cached_classpath()
    if cached:
        return cached
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerNotStarted(_NAME, "mvn (Maven) is not installed; it fetches Kafka's jars")
    _CACHE.mkdir(parents=True, exist_ok=True)
    fresh = _classpath_file().with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [maven, "-B", "-q", "-f", str(_POM), "dependency:build-classpath", f"-Dmdep.outputFile={fresh}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=_CACHE,
    )
    if done.returncode != 0 or not fresh.exists():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise BrokerNotStarted(_NAME, "Maven could not fetch its jars: " + " | ".join(lines[:3]))
    fresh.replace(_classpath_file())
    return _classpath_file().read_text(encoding="utf-8").strip()


def _classpath_file() -> Path:
    return _CACHE / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}.classpath"


def _cached_classpath() -> str | None:
    """None when Maven was never asked, or its repository has been cleaned since."""
    file = _classpath_file()
    jars = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    return jars if jars and all(Path(jar).exists() for jar in jars.split(os.pathsep)) else None


def _pid_file(folder: Path) -> Path:
    return folder / "kafka.json"


def _running(folder: Path) -> tuple[int, int] | None:
    """Process id and port of the broker that `up` started in this folder and that still runs."""
    if not _pid_file(folder).exists():
        return None
    known = json.loads(_pid_file(folder).read_text(encoding="utf-8"))
    # The number may belong to somebody else by now: the command names our folder or it is not ours.
    command = subprocess.run(
        ["ps", "-ww", "-o", "stat=", "-o", "command=", "-p", str(known["pid"])],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    alive = str(folder / "server.properties") in command and not command.startswith("Z")
    return (known["pid"], known["port"]) if alive else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
