"""A burst in a process of its own, told where to die. Imported by a fork server once, so that each burst starts at once."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from analytics_platform.contract.model import Domain
from analytics_platform.lake import commit as commit_module
from analytics_platform.lake.table import Lake
from analytics_platform.replay import replay
from analytics_platform.selection import Selection
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform.stream import follow

PRELOAD = [
    "analytics_platform_tests.burst",
    "pytest",  # what the main module of a test run asks for
    "pandera.backends.polars.builtin_checks",  # pandera asks for these at the first check
    "pandera.backends.polars.checks",
    "pandera.backends.polars.container",
    "hypothesis.strategies",
    "pyarrow.compute",
]
"""What the fork server imports: all that a burst would import, so that none takes a second for it."""

NEVER, BEFORE, AFTER = "never", "before", "after"
"""When to die: not at all; before the first effect on a table that comes; right after it, nothing forced to the disk."""


def settings(lake: Path, servers: str, batch_rows: int) -> Settings:
    """As all bursts of the crash tests have them."""
    return Settings(
        lake=lake,
        batch_rows=batch_rows,
        fsync=True,
        batch_interval=timedelta(0),
        kafka=KafkaSettings(bootstrap_servers=servers),
    )


def burst(domain: Domain, of: Settings, die: str = NEVER, barrier: Barrier | None = None) -> None:
    """Everything the topics hold now, or as much of it as it lives to see."""
    _mortal(die)
    if barrier is not None:
        barrier.wait(timeout=60)
    follow(domain, of, clock=lambda: datetime.now(UTC), budget=timedelta(0), idle=timedelta(0))


def replaying(domain: Domain, of: Settings, at: datetime, die: str = NEVER) -> None:
    """A replay of the whole quarantine, likewise."""
    _mortal(die)
    replay(domain, of, Selection(), clock=lambda: at, by="run-1")


def _mortal(die: str) -> None:
    if die != NEVER:
        commit_module.write_deltalake = _deadly(commit_module.write_deltalake, die)
        Lake._create = _deadly(Lake._create, die)


def _deadly(effect: Callable[..., Any], die: str) -> Callable[..., Any]:
    @wraps(effect)
    def wrapped(*args: Any, **named: Any) -> Any:
        if die == AFTER:
            effect(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return wrapped
