"""All marts of a domain brought up to date, those that start over in slices."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from analytics_platform import chronicle
from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.errors import LakeError, MartBroken, SchemaChanged
from analytics_platform.gold.build import UNHURRIED, Aside, Build, Pace, clear, known_logs, shadow
from analytics_platform.gold.refresh import Changed, Rewritten, StartsOver, refresh_mart
from analytics_platform.gold.source import Logs
from analytics_platform.gold.table import spec
from analytics_platform.lake.table import Lake
from analytics_platform.report import BuildReport, MartReport


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of one mart."""

    mart: MartContract
    report: MartReport | None
    """None where it was up to date, is broken, or is still being built."""
    error: LakeError | None = None
    """Why it is broken; its table stays as it was."""
    building: BuildReport | None = None
    """How far it is built, where that takes longer; its table stays as it was."""


def refresh(
    lake: Lake, domain: Domain, logs: Logs, *, rewritten: Rewritten | None = None, pace: Pace = UNHURRIED
) -> Iterator[Refreshed]:
    """Bring all marts of a domain up to date while they are asked for, each after those that it reads.

    A mart that starts over from more than one slice is built in slices, and one that reads it and starts over too is
    built when it stands. Before all of them the reference tables that follow a topic come up to silver.

    Args:
        lake: Where the tables are.
        domain: Whose marts.
        logs: Inputs of topics that are left out count as unchanged.
        rewritten: What a rebuild did to silver just now.
        pace: How large slices are, and how long to be at work on them; one of each mart is built whatever the time.

    Durable when one is told: its recomputed windows, or slices, and what they were computed from.
    If it dies halfway: the next mart is as it was. Marts above the last one start over, the others go on.
    """
    late = {name: error for name, error in chronicle.follow_all(lake, domain, logs).items() if error is not None}
    changed: dict[str, Changed] = {}
    unfinished: set[str] = set()
    deadline = None if pace.budget is None else time.perf_counter() + pace.budget.total_seconds()
    for mart in domain.marts:
        if behind := [late[name] for name in mart.reference_inputs if name in late]:
            yield Refreshed(mart, None, behind[0])
            continue
        try:
            clear(lake, mart, but=shadow(mart))
            found = _refreshed(lake, domain, mart, logs, rewritten=rewritten, changed=changed, most_rows=pace.rows)
            if isinstance(found, StartsOver):
                below = tuple(name for name in mart.gold_inputs if name in unfinished)
                if below:
                    found = BuildReport(mart.name, 0, 0, None, waits_for=below)
                else:
                    named = known_logs(lake, domain, mart, logs)
                    found = Build(lake, domain, mart, named, rewritten, changed, pace.rows).go_on(deadline)
            if isinstance(found, Aside):
                found = refresh_mart(lake, domain, mart, logs, rewritten=rewritten, changed=changed, most_rows=None)
        except (MartBroken, SchemaChanged) as error:
            if rewritten is not None:  # what was taken out of silver must not stay in what was built of it
                clear(lake, mart)
            yield Refreshed(mart, None, error)
            continue
        if isinstance(found, BuildReport):
            unfinished.add(mart.name)
            yield Refreshed(mart, None, building=found)
            continue
        clear(lake, mart)
        assert not isinstance(found, StartsOver | Aside)  # noqa: S101 - only with `most_rows`
        yield Refreshed(mart, found)


def _refreshed(
    lake: Lake,
    domain: Domain,
    mart: MartContract,
    logs: Logs,
    *,
    rewritten: Rewritten | None,
    changed: dict[str, Changed],
    most_rows: int,
) -> MartReport | BuildReport | StartsOver | Aside | None:
    """One mart, at once where that is not too much; a table that holds other types than its contract starts over."""
    try:
        return refresh_mart(lake, domain, mart, logs, rewritten=rewritten, changed=changed, most_rows=most_rows)
    except SchemaChanged as error:
        if error.table != spec(mart).title or mart.window.session is not None:
            raise
        return StartsOver()
