"""Watches a demo: looks at processes, tables and runs in turn, shows what it sees, and knows when all is done."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, NoReturn

from analytics_platform.demo.gauge import Contents, Gauge, contents
from analytics_platform.demo.processes import Services
from analytics_platform.demo.replay import Replay
from analytics_platform.demo.screen import Scene, say, showing
from analytics_platform.demo.signals import Interrupted
from analytics_platform.demo.webserver import Run, Webserver, by_status
from analytics_platform.errors import DemoFailed

_LOOK_S = 0.25
_RUNS_EVERY_S = 2.0
_CONTENTS_EVERY_S = 2.0
_STUCK_S = 120.0
"""Without any progress for so long a bounded demo gives up."""
_RUN_END_S = 90.0


@dataclass(slots=True)
class Watch:
    """What runs, and what was seen of it."""

    services: Services
    servers: str
    """The broker's `host:port`."""
    replay: Replay
    gauge: Gauge
    web: Webserver
    told: Callable[[], bool]
    began: float
    out: IO[str]
    hint: str
    runs: list[Run] = field(default_factory=list)
    first_run_s: float | None = None
    """From the start of the command until the first burst had ended: then the UI shows materialized tables."""
    memory_mb: dict[int, float] = field(default_factory=dict)
    contents: Contents = field(default_factory=lambda: Contents({}, {}, None))
    _due: dict[str, float] = field(default_factory=dict)
    _lately: list[tuple[float, int]] = field(default_factory=list)

    def follow_until_told(self) -> NoReturn:
        """Show what happens.

        Raises:
            Interrupted: told to stop.
            DemoFailed: a process of Dagster or the broker died.
        """
        with showing(self.out, live=self.out.isatty()) as show:
            while not self.told():
                self._look(show)
        say("ending: the burst at work ends after its micro-batch", self.out)
        raise Interrupted

    def follow_until_drained(self) -> float:
        """Show what happens until all that was sent is visible; returns the seconds since the first record.

        Raises:
            DemoFailed: nothing moved for two minutes.
            Interrupted: told to stop.
        """
        began = moved = time.monotonic()
        sent = 0
        with showing(self.out, live=False) as show:
            while not (self.replay.done and self.gauge.drained):
                if self.told():
                    raise Interrupted
                if self._look(show) or self.gauge.ledger.sent > sent:
                    moved, sent = time.monotonic(), self.gauge.ledger.sent
                if time.monotonic() - moved > _STUCK_S:
                    raise DemoFailed(
                        f"Nothing has moved for {_STUCK_S:.0f} s; sent {sent:,}, read {self.gauge.read_records:,}, "
                        f"runs {by_status(self.runs)}",
                        self.services.tail(),
                    )
        return time.monotonic() - began

    def wait_for_runs(self) -> None:
        """Until no run is open, so that the UI has the end of every burst."""
        deadline = time.monotonic() + _RUN_END_S
        while True:
            self._look_at_runs()
            if self.runs and not any(run.is_open for run in self.runs):
                return
            if self.told():
                raise Interrupted
            if time.monotonic() > deadline:
                raise DemoFailed(f"Runs do not end: {by_status(self.runs)}", self.services.tail("code", "daemon"))
            self.services.check()
            time.sleep(_LOOK_S)

    def _look(self, show: Callable[[Scene], None]) -> bool:
        """One look at everything, then a pause; whether the tables have moved."""
        began = time.monotonic()
        self.services.check()
        if self.replay.failure is not None:
            raise self.replay.failure
        moved = self.gauge.look()
        self.replay.taken(self.gauge.read)
        if self._is_due("runs", _RUNS_EVERY_S):
            self._look_at_runs()
            self._look_at_broker()
        if self._is_due("contents", _CONTENTS_EVERY_S):
            self.contents = contents(self.gauge.lake)
        show(self._scene())
        # As long a pause as the look took, at least: looking may not take the machine from the work.
        time.sleep(max(_LOOK_S, time.monotonic() - began))
        return moved

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    def _look_at_broker(self) -> None:
        host, _, port = self.servers.rpartition(":")
        with socket.socket() as client:
            client.settimeout(5)
            if client.connect_ex((host, int(port))) != 0:
                raise DemoFailed(f"The broker at {self.servers} is gone")

    def _look_at_runs(self) -> None:
        self.runs = self.web.runs() or self.runs
        self.memory_mb |= self.services.run_memory_mb()
        if self.first_run_s is None and any(run.job.endswith("_burst") and run.ended_at for run in self.runs):
            self.first_run_s = time.monotonic() - self.began

    def _scene(self) -> Scene:
        now, ledger = time.monotonic(), self.gauge.ledger
        self._lately = [(at, sent) for at, sent in self._lately if now - at < 5] + [(now, ledger.sent)]
        (then, before), (_, sent) = self._lately[0], self._lately[-1]
        return Scene(
            url=self.services.url,
            hint=self.hint,
            running_s=now - self.began,
            sent=sent,
            by_kind=ledger.by_kind(),
            per_second=(sent - before) / (now - then) if now > then else 0.0,
            event_time_us=ledger.event_time_us,
            waiting=self.replay.waiting,
            all_sent=self.replay.done,
            lag=self.gauge.lag,
            freshness=self.gauge.last_freshness(),
            contents=self.contents,
            runs=self.runs,
            now=time.time(),
        )
