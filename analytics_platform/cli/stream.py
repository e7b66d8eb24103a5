"""Bursts without Dagster: follow the topics and fill the tables."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from analytics_platform.cli.call import call_of, now, say
from analytics_platform.errors import AnalyticsError, QueryFailed

if TYPE_CHECKING:
    from analytics_platform.contract.model import Domain
    from analytics_platform.report import BatchReport, BurstReport, MartReport
    from analytics_platform.settings import Settings

_AGAIN_S = 5.0
"""After so long what may have passed is tried again."""


class Screen(Protocol):
    """Where a burst shows what it does."""

    def batch(self, report: "BatchReport") -> None:
        """One micro-batch is done."""

    def line(self, text: str) -> None:
        """Anything else worth a line."""


def stream(
    context: typer.Context,
    domain: Annotated[str | None, typer.Option(help="Only this one; all by default, each in a thread.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="End after so many seconds.", min=0, max=315_360_000, metavar="SECONDS", show_default="never"
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Take in what is there now, then end.")] = False,
) -> None:
    """Follow the topics until interrupted; one line per micro-batch.

    Ctrl-C ends after the micro-batch at work; what was committed stands either way.
    """
    call = call_of(context)
    settings, domains = call.settings(), call.domains(domain)
    stop = threading.Event()
    with _screen() as screen, ThreadPoolExecutor(max_workers=len(domains) or 1) as pool:
        work = [pool.submit(_follow, item, settings, screen, stop, 0.0 if once else budget) for item in domains]
        try:
            while wait(work, timeout=0.2).not_done:  # an endless wait would not wake up for Ctrl-C
                pass
        finally:  # also for Ctrl-C, which arrives here
            stop.set()
    reports = [done.result() for done in work]  # the first error of all, now that every domain has ended
    if any(report.stopped for report in reports):
        raise typer.Exit(4)
    if any(report.broken for report in reports):
        raise typer.Exit(1)


def _follow(
    domain: "Domain", settings: "Settings", screen: Screen, stop: threading.Event, budget_s: float | None
) -> "BurstReport":
    """One burst within a budget, or one after the other until told to stop; the last one's report.

    An error shows at once. One that may pass, as a broker that is down, is tried again where there is no budget; any
    other ends this domain only.
    """
    from analytics_platform.contract.newer import sentences  # noqa: PLC0415
    from analytics_platform.query import refresh_database  # noqa: PLC0415
    from analytics_platform.stream import follow  # noqa: PLC0415

    length = settings.burst if budget_s is None else timedelta(seconds=budget_s)
    while True:
        try:
            report = follow(
                domain,
                settings,
                clock=now,
                budget=length,
                idle=length,
                stop=stop.is_set,
                on_batch=screen.batch,
                on_mart=lambda mart: screen.line(_mart_line(mart)) if mart.windows else None,
                on_build=lambda build: screen.line(build.line()),
            )
        except AnalyticsError as error:
            if error.retryable and budget_s is None and not stop.is_set():
                screen.line(f"{domain.name}: {error}")
                stop.wait(_AGAIN_S)
                continue
            screen.line(f"{domain.name}: {type(error).__name__}, ended")
            raise
        try:
            refresh_database(settings)
        except QueryFailed as error:  # the tables are committed whatever becomes of the views
            screen.line(str(error))
        for line in (*_troubles(report), *sentences(report.newer)):
            screen.line(line)
        if budget_s is not None or stop.is_set():
            screen.line(_last_line(report))
            return report


def _mart_line(report: "MartReport") -> str:
    from analytics_platform.report import counted  # noqa: PLC0415

    rows, windows = counted(report.rows, "row"), counted(report.windows, "window")
    return f"gold.{report.mart}: {rows} in {windows}; {report.seconds:.2f}s"


def _troubles(report: "BurstReport") -> Iterator[str]:
    yield from report.stopped.values()
    yield from report.broken.values()


def _last_line(report: "BurstReport") -> str:
    from analytics_platform.report import counted  # noqa: PLC0415

    total, batches = report.total, counted(report.batches, "micro-batch")
    return (
        f"{report.domain}: {batches}, {total.read:,} read = {total.kept:,} kept + "
        f"{total.duplicate:,} duplicate + {total.quarantined:,} quarantined; "
        f"lag {sum(report.lag_after.values()):,}; ended: {report.ended}"
    )


class _Plain:
    """Lines on stdout, for logs and pipes."""

    def batch(self, report: "BatchReport") -> None:
        say(report.line())

    def line(self, text: str) -> None:
        say(text)


@dataclass(slots=True)
class _Bars:
    """The same lines, and a bar per topic below them: how much of what is known to wait has been taken in."""

    print_line: Callable[[str], None]
    bar: Callable[[str, int, int], None]
    taken: dict[str, int] = field(default_factory=dict)

    def batch(self, report: "BatchReport") -> None:
        self.taken[report.topic] = self.taken.get(report.topic, 0) + report.total.read
        self.print_line(report.line())
        self.bar(report.topic, self.taken[report.topic], self.taken[report.topic] + report.lag_after)

    def line(self, text: str) -> None:
        self.print_line(text)


@contextmanager
def _screen() -> Iterator[Screen]:
    if not sys.stdout.isatty():
        yield _Plain()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("offsets")
    ) as progress:
        bars: dict[str, TaskID] = {}

        def bar(topic: str, completed: int, total: int) -> None:
            if topic not in bars:
                bars[topic] = progress.add_task(topic)
            progress.update(bars[topic], completed=completed, total=total)

        yield _Bars(lambda line: progress.console.print(Text(line)), bar)
