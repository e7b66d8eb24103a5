"""Dagster's processes, as the demo runs them: a code server, the daemon and the webserver, on loopback.

Each is held by a leash, so that none outlives the demo, however that ends. What they print stands in a log file each.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analytics_platform.demo.folder import DemoFolder
from analytics_platform.demo.signals import Interrupted
from analytics_platform.demo.webserver import Webserver
from analytics_platform.errors import DemoFailed

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: contracts and Dagster's settings stand there, not in the package."""
LOCATION = "analytics_platform"

_GRACE_S = {"daemon": 5.0, "code": 20.0, "web": 5.0, "instance": 1.0}
"""How long each may take to end; the code server waits for its run, and that for its micro-batch."""
_START_S = 120.0
_TAIL_LINES = 25


@dataclass(slots=True)
class Services:
    """Dagster's processes, by name: `code`, `daemon`, `web`."""

    folder: DemoFolder
    environ: Mapping[str, str]
    """Of the processes: all of it."""
    told_to_stop: Callable[[], bool]
    url: str = ""
    held: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def start(self, port: int) -> None:
        """Start all three; on return the UI answers and the code location is loaded.

        Args:
            port: Of the web UI; the next free one is taken.

        Raises:
            DemoFailed: with the end of the log of the process that did not come up.
            Interrupted: told to stop while waiting.
        """
        shutil.copy(ROOT / "deploy" / "dagster.yaml", self.folder.dagster / "dagster.yaml")
        self._make_instance()
        code_port = free_port()
        self._hold(
            "code", "dagster", "api", "grpc", "-m", "analytics_platform.definitions", "--location-name", LOCATION,
            "-h", "127.0.0.1", "-p", str(code_port),
        )  # fmt: skip
        self._wait(lambda: _answers(code_port), "the code server")
        workspace = self.folder.root / "workspace.yaml"
        workspace.write_text(
            f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {code_port}, location_name: {LOCATION}}}\n",
            encoding="utf-8",
        )
        port = free_port(port)
        self.url = f"http://127.0.0.1:{port}"
        self._hold("daemon", "dagster._daemon", "run", "-w", str(workspace))
        self._hold("web", "dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port))
        web = Webserver(self.url)
        trouble = self._wait(web.location, "the web UI and the code location")
        if trouble:
            raise DemoFailed(f"Dagster cannot load the code location: {trouble}", self.tail("code"))

    def check(self) -> None:
        """Raise when a process has died.

        Raises:
            DemoFailed: with the end of its log.
        """
        for name, process in self.held.items():
            if process.poll() is not None:
                raise DemoFailed(f"The process {name!r} ended by itself", self.tail(name))

    def stop(self) -> None:
        """End all, in order: nothing new is asked for, the run at work ends after its micro-batch, the UI goes last."""
        for name in ("instance", "daemon", "code", "web"):
            process = self.held.pop(name, None)
            if process is not None:
                _let_go(process, _GRACE_S[name] + 3)

    def run_memory_mb(self) -> dict[int, float]:
        """Peak resident memory of the runs at work, by process id, in MB; empty where there is no /proc."""
        code = self.held.get("code")
        return {} if code is None else _run_memory_mb(code.pid)

    def tail(self, *names: str) -> str:
        """The last lines of some processes' logs, each under its path."""
        found = []
        for name in names or tuple(self.held):
            path = self.folder.log(name)
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
            found.append("\n".join([f"{path}:", *(f"  {line}" for line in lines[-_TAIL_LINES:])]))
        return "\n".join(found)

    def _make_instance(self) -> None:
        """Make Dagster's SQLite files before several processes would do so at the same moment."""
        process = self._hold("instance", "dagster", "instance", "info")
        self._wait(lambda: process.poll() is not None or None, "Dagster's instance", dies="instance")
        _let_go(self.held.pop("instance"), _GRACE_S["instance"])
        log = self.folder.log("instance").read_text(encoding="utf-8", errors="replace")
        if not log.rstrip().endswith("exit code 0"):
            raise DemoFailed("Dagster's instance cannot be made", self.tail("instance"))

    def _hold(self, name: str, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        leash = [sys.executable, "-m", "analytics_platform.demo.leash", str(_GRACE_S[name])]
        with self.folder.log(name).open("ab") as log:
            self.held[name] = subprocess.Popen(
                [*leash, sys.executable, "-m", module, *arguments],
                env=self.environ,
                cwd=self.folder.root,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to the demo, which ends them in order
                pass_fds=(self.folder.lock,),  # the folder is not free before the last of them is gone
            )
        return self.held[name]

    def _wait(self, look: Callable[[], "str | bool | None"], what: str, dies: str = "") -> "str | bool":
        deadline = time.monotonic() + _START_S
        while True:
            if self.told_to_stop():
                raise Interrupted
            if not dies:
                self.check()
            found = look()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise DemoFailed(f"Waited {_START_S:.0f} s for {what}", self.tail())
            time.sleep(0.05)


@contextlib.contextmanager
def services(
    folder: DemoFolder, variables: Mapping[str, str], environ: Mapping[str, str], told_to_stop: Callable[[], bool]
) -> Iterator[Services]:
    """Processes that end with the block.

    Args:
        folder: Where their home and logs are.
        variables: `ANALYTICS_*` of the platform.
        environ: Of this process, from which theirs is made.
        told_to_stop: Looked at while waiting.
    """
    running = Services(folder, _environ(folder, variables, environ), told_to_stop)
    try:
        yield running
    finally:
        running.stop()


def free_port(wanted: int | None = None) -> int:
    """A free port of 127.0.0.1: the one wanted or one of the next hundred; any by default."""
    for port in (0,) if wanted is None else (*range(wanted, min(wanted + 100, 65536)), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise DemoFailed("No port of 127.0.0.1 is free")


def _environ(folder: DemoFolder, variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in environ.items() if not name.startswith(("ANALYTICS_", "DAGSTER_"))}
    # Without bytecode every process, and there is one per run, compiles Dagster again.
    ours.pop("PYTHONDONTWRITEBYTECODE", None)
    # gRPC would look for the code server behind the machine's proxy.
    loopback = ",".join(filter(None, (ours.get("no_proxy", ours.get("NO_PROXY")), "127.0.0.1,localhost")))
    return {**ours, **variables, "DAGSTER_HOME": str(folder.dagster), "no_proxy": loopback, "NO_PROXY": loopback}


def _let_go(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    assert process.stdin is not None  # noqa: S101  a pipe was asked for
    process.stdin.close()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool | None:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0 or None


def _run_memory_mb(group: int) -> dict[int, float]:
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) != group or b"spawn_main" not in (process / "cmdline").read_bytes():
                continue
            status = (process / "status").read_text(encoding="ascii", errors="replace")
        except OSError:  # it has just ended
            continue
        peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), None)
        if peak is not None:
            found[int(process.name)] = int(peak) / 1024
    return found
