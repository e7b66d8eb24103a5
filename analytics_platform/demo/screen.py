"""What the demo shows while it runs: one screen on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from analytics_platform.demo.gauge import Contents, Freshness
from analytics_platform.demo.webserver import Run, by_status

LINE_EVERY_S = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of the demo."""

    url: str
    hint: str
    """What to type in another terminal."""
    running_s: float
    sent: int
    by_kind: Mapping[str, int]
    per_second: float
    """Sent lately."""
    event_time_us: int
    """Event time of the newest record sent, microseconds since 1970 in UTC."""
    waiting: bool
    """Whether the replay holds back."""
    all_sent: bool
    lag: int
    freshness: Freshness | None
    """Of the records that became visible last."""
    contents: Contents
    runs: list[Run]
    """The newest first."""
    now: float
    """Seconds since 1970."""

    @property
    def event_time(self) -> datetime:
        """Of the newest record sent."""
        return _EPOCH + timedelta(microseconds=self.event_time_us)

    @property
    def pace(self) -> str:
        """What the replay does right now."""
        if self.all_sent:
            return "all sent"
        if self.waiting:
            return "holding back until more is read"
        return f"{self.per_second:,.0f} per second"


def line(scene: Scene) -> str:
    """The moment in one line."""
    rows = scene.contents.rows
    layers = {layer: sum(count for title, count in rows.items() if title.startswith(f"{layer}.")) for layer in _LAYERS}
    parts = [
        f"{scene.running_s:5.0f} s",
        f"sent {scene.sent:,} ({scene.pace})",
        f"lag {scene.lag:,}",
        *(f"{layer} {count:,}" for layer, count in layers.items()),
        f"freshness {_wait(scene.freshness)}",
        f"runs {_runs(scene.runs)}",
    ]
    return "  ".join(parts)


def screen(scene: Scene) -> RenderableType:
    """The moment as a screen of about 30 lines."""
    head = Table.grid(padding=(0, 2))
    head.add_row("Dagster", Text(scene.url, style="bold cyan"))
    head.add_row("SQL", Text(scene.hint, style="cyan"))
    head.add_row("sent", f"{scene.sent:,} events up to {scene.event_time:%Y-%m-%d %H:%M} UTC; {scene.pace}")
    head.add_row("lag", f"{scene.lag:,} events not read yet")
    head.add_row("freshness", f"{_wait(scene.freshness)} from sent to visible in gold")
    newest = scene.contents.newest_event
    head.add_row("newest event", "none yet" if newest is None else f"{newest:%Y-%m-%d %H:%M} UTC in silver")
    head.add_row("bursts", _last_burst(scene))
    tables = _pairs("table", "rows", scene.contents.rows)
    trouble = _pairs("quarantine", "rows", scene.contents.reasons)
    kinds = _pairs("sent as", "events", {kind: count for kind, count in scene.by_kind.items() if count})
    body = Table.grid(padding=(0, 4))
    body.add_row(tables, trouble, kinds)
    title = Text("Real flights, from Kafka to gold", style="bold")
    return Group(title, Text(), head, Text(), body, Text(), Text("Ctrl-C ends everything.", style="dim"))


@contextmanager
def showing(out: IO[str], *, live: bool) -> Iterator[Callable[[Scene], None]]:
    """A function that shows a moment, as often as it is called: on the whole terminal, or one line in five seconds."""
    if live:
        console = Console(file=out)
        with Live(console=console, auto_refresh=False, transient=False) as view:
            yield lambda scene: view.update(screen(scene), refresh=True)
        return
    last = 0.0

    def show(scene: Scene) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            say(line(scene), out)

    yield show


def say(text: str, out: IO[str]) -> None:
    """A line, at once."""
    out.write(f"{text}\n")
    out.flush()


_LAYERS = ("bronze", "quarantine", "silver", "gold")


def _pairs(left: str, right: str, numbers: Mapping[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(left, header_style="bold")
    table.add_column(right, justify="right", header_style="bold")
    for name, count in numbers.items():
        table.add_row(name, f"{count:,}")
    return table


def _wait(freshness: Freshness | None) -> str:
    return "unknown yet" if freshness is None else f"{freshness.median:.1f} s (95 % within {freshness.p95:.1f} s)"


def _runs(runs: list[Run]) -> str:
    return ", ".join(f"{count} {status.lower()}" for status, count in by_status(runs).items()) or "none yet"


def _last_burst(scene: Scene) -> str:
    bursts = [run for run in scene.runs if run.job.endswith("_burst")]
    if not bursts:
        return "none yet; the sensor looks every few seconds"
    last = bursts[0]
    took = "" if last.started_at is None else f" for {(last.ended_at or scene.now) - last.started_at:.0f} s"
    return f"{last.run_id[:8]} {last.status.lower()}{took}; all runs: {_runs(scene.runs)}"
