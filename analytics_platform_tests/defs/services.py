"""Dagster's real processes for a test: a code server, the daemon and the webserver, on free ports in a folder of their own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from analytics_platform_tests.port import free_port

ROOT = Path(__file__).resolve().parents[2]
LOCATION = "analytics_platform"
REPOSITORY = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}

T = TypeVar("T")


def until(look: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """The first thing `look` finds that is neither `None` nor false, or a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)


@dataclass
class Services:
    """A running Dagster. `home` is its DAGSTER_HOME."""

    home: Path
    url: str
    logs: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def query(self, text: str, **variables: Any) -> Any:
        """The data of a GraphQL answer."""
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            f"{self.url}/graphql",
            data=json.dumps({"query": text, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        assert not found.get("errors"), found["errors"]
        return found["data"]

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """Runs that carry the tags, newest first: runId, status, jobName, tags."""
        found = self.query(
            "query($f: RunsFilter) { runsOrError(filter: $f) { __typename ... on Runs { results "
            "{ runId status jobName tags { key value } } } } }",
            f={"tags": [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]},
        )
        results: list[dict[str, Any]] = found["runsOrError"]["results"]
        return results

    def run_log(self, run_id: str) -> list[str]:
        """Every message of a run's log, in order."""
        found = self.query(
            "query($r: ID!) { logsForRun(runId: $r) { __typename ... on EventConnection { events "
            "{ ... on MessageEvent { message } } } } }",
            r=run_id,
        )
        return [event["message"] for event in found["logsForRun"]["events"] if event]

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        """Ticks of a sensor, newest first: status, skipReason, runIds, log messages, error."""
        found = self.query(
            "query($s: InstigationSelector!) { instigationStateOrError(instigationSelector: $s) { __typename "
            "... on InstigationState { ticks(limit: 50) { status skipReason runIds error { message } "
            "logEvents { events { message } } } } } }",
            s={**REPOSITORY, "name": sensor},
        )
        ticks: list[dict[str, Any]] = found["instigationStateOrError"]["ticks"]
        return ticks

    def switch_sensor(self, sensor: str, *, on: bool) -> None:
        """What the toggle in the UI does."""
        if on:
            self.query(
                "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }",
                s={**REPOSITORY, "sensorName": sensor},
            )
            return
        state = self.query(
            "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { sensorState { id } } } }",
            s={**REPOSITORY, "sensorName": sensor},
        )["sensorOrError"]["sensorState"]["id"]
        self.query("mutation($i: String!) { stopSensor(id: $i) { __typename } }", i=state)

    def reload(self) -> None:
        """What the button on the Deployment page does; on return the new code is loaded."""
        found = self.query(
            "mutation($n: String!) { reloadRepositoryLocation(repositoryLocationName: $n) { __typename "
            "... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } } } }",
            n=LOCATION,
        )["reloadRepositoryLocation"]
        assert found["locationOrLoadError"]["__typename"] == "RepositoryLocation", found

    def launch(self, job: str, config: Mapping[str, Any]) -> str:
        """Start a job as its launchpad does, and wait until it succeeded; its run's id."""
        found = self.query(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
            "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            p={
                "selector": {**REPOSITORY, "jobName": job},
                "runConfigData": {"ops": {f"{job}_rows": {"config": config}}},
                "mode": "default",
            },
        )["launchRun"]
        assert found["__typename"] == "LaunchRunSuccess", found
        run: str = found["run"]["runId"]
        ended = until(lambda: self._ended(run), seconds=90, what=f"{job} to end")
        assert ended == "SUCCESS", self.run_log(run)
        return run

    def _ended(self, run: str) -> str | None:
        found = self.query("query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }", r=run)
        status: str = found["runOrError"]["status"]
        return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else None

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End one of the processes, with the runs it holds, and wait for it.

        Each is a session of its own, so its process group is it and its runs: the code server alone would wait for them.
        """
        process = self.processes.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def services(folder: Path, environ: Mapping[str, str]) -> Iterator[Services]:
    """Start all three with the shipped dagster.yaml, wait until the code location is loaded; stop them at the end.

    `environ`: the `ANALYTICS_*` variables. What the processes print stands in `<folder>/logs`.
    """
    home, logs = folder / "dagster", folder / "logs"
    home.mkdir(parents=True)
    logs.mkdir()
    shutil.copy(ROOT / "deploy" / "dagster.yaml", home / "dagster.yaml")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANALYTICS_")}
    # Without bytecode every process, and there is one per run, compiles Dagster again.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    environment = {**kept, **environ, "DAGSTER_HOME": str(home)}
    code_port, web_port = free_port(), free_port()
    workspace = folder / "workspace.yaml"
    workspace.write_text(
        f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {code_port}, location_name: {LOCATION}}}\n",
        encoding="utf-8",
    )
    running = Services(home, f"http://127.0.0.1:{web_port}", logs)

    def start(name: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        running.processes[name] = process
        return process

    def loaded() -> bool:
        for name, process in running.processes.items():
            assert process.poll() is None, (logs / f"{name}.log").read_text(encoding="utf-8")[-4000:]
        try:
            found = running.query(
                "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename "
                "... on PythonError { message } } } } } }"
            )
        except OSError:
            return False
        entries = [entry["locationOrLoadError"] for entry in found["workspaceOrError"]["locationEntries"]]
        assert all(entry is None or entry["__typename"] != "PythonError" for entry in entries), entries
        return any(entry and entry["__typename"] == "RepositoryLocation" for entry in entries)

    try:
        info = start("info", "dagster", "instance", "info")
        assert info.wait(60) == 0, (logs / "info.log").read_text(encoding="utf-8")
        del running.processes["info"]
        code = start(
            "code", "dagster", "code-server", "start", "-m", "analytics_platform.definitions", "--location-name", LOCATION,
            "-h", "127.0.0.1", "-p", str(code_port),
        )  # fmt: skip
        until(lambda: _answers(code_port, code), seconds=60, what="the code server")
        start("daemon", "dagster._daemon", "run", "-w", str(workspace))
        start("web", "dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(web_port))
        until(loaded, seconds=60, what="the code location")
        yield running
    finally:
        # The daemon first, so that nothing new is started.
        for name in ("daemon", "web", "code", "info"):
            if name in running.processes:
                # It would wait for a tick that waits for news; Dagster's daemon takes a kill at any point.
                running.stop(name, kill=name == "daemon")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the code server ended"
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
