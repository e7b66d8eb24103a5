"""The circuit breaker: an event type that sends too many bad records stops entering silver; all others go on.

Halting moves nothing: the type's silver table, and so its progress over bronze, stays where it is, while bronze, the
quarantine and the other tables go on. Resumed, the table lags behind them like that of a type contracted later, and is
caught up by the same function: what was quarantined meanwhile is judged again and settled, so it is neither lost nor
doubled.

Whether a type is halted stands in the `txn` actions of its own silver table: a count of changes (odd means halted), when
the last one was, and the numbers that were the reason. So there is no state beside the tables; it moves in commits like
any other, and of two processes that want to change it one finds it done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from analytics_platform import bronze, quarantine, silver
from analytics_platform.contract.model import Breaker, Domain
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned, Snapshot
from analytics_platform.lake.table import Lake, Schema

CHANGES, SINCE_MS, BAD, SEEN = "breaker", "breaker:since_ms", "breaker:bad", "breaker:seen"
"""Application ids in the silver table: changes so far, when the last one was, and the records that it was about."""


@dataclass(frozen=True, slots=True)
class Halt:
    """An event type that is halted."""

    event: str
    since: datetime
    bad: int
    seen: int
    """Records of the type within the window, kept or quarantined; `bad` of them were quarantined."""
    breaker: Breaker

    @property
    def resumes_at(self) -> datetime | None:
        """When it tries again by itself, if it does."""
        return self.since + self.breaker.window if self.breaker.resumes else None

    def __str__(self) -> str:
        """Why, and what to do."""
        at = self.resumes_at
        then = (
            f"it resumes by itself at {at:%Y-%m-%d %H:%M:%S} UTC"
            if at is not None
            else f"mend the cause, then `analytics-platform quarantine resume {self.event}`"
        )
        return (
            f"{self.event} is halted since {self.since:%Y-%m-%d %H:%M:%S} UTC: {self.bad:,} of {self.seen:,} records were "
            f"bad, allowed are {self.breaker.max_share:.2%}. Its records wait in bronze; {then}"
        )


def breaker_of(domain: Domain, event: str) -> Breaker | None:
    """What halts an event type; its newest contract says so."""
    return silver.newest(domain.versions_of(event)).breaker


def halts(lake: Lake, domain: Domain) -> Mapping[str, Halt]:
    """The event types of a domain that are halted. One whose contract halts nothing any more is not."""
    found = {}
    for event in sorted({item.name for item in domain.events}):
        breaker = breaker_of(domain, event)
        table = None if breaker is None else lake.newest(silver.spec(domain.versions_of(event)))
        if breaker is not None and table is not None:
            halt = _read(Pinned(table), event, breaker)
            if halt is not None:
                found[event] = halt
    return found


def trip(lake: Lake, domain: Domain, event: str, now: datetime) -> Halt | None:
    """Halt an event type if too many of its latest records were bad; `None` when they were not, or it is halted.

    Counted are rows of silver and of the quarantine that were ingested within the window, since the type was last
    resumed; duplicates, and records too broken to claim a type, are not.

    Durable on return: the halt.
    If it dies halfway: the type is halted or it is not; the next bad record asks again.
    """
    breaker = breaker_of(domain, event)
    if breaker is None:
        return None
    spec = silver.spec(domain.versions_of(event))
    found: Halt | None = None

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        nonlocal found
        del left
        found = None
        if _read(table, event, breaker) is not None:
            return None
        start = max(bronze.instant(now - breaker.window), _instant(table.progress(SINCE_MS) or 0))
        bad, kept = _bad(lake, domain, event, start), _kept(table.snapshot(), start)
        if bad + kept < breaker.min_rows or bad <= breaker.max_share * (bad + kept):
            return None
        found = Halt(event, bronze.instant(now), bad, bad + kept, breaker)
        return _turn(table, spec.schema, now, bad, bad + kept)

    commit(lake, spec, change)
    return found


def resume(lake: Lake, domain: Domain, event: str, now: datetime) -> bool:
    """Let a halted event type enter silver again, from where it stands; whether it was halted.

    Durable on return: it is not halted; whoever takes in next catches it up.
    If it dies halfway: it is halted or it is not; calling again is safe.
    """
    spec = silver.spec(domain.versions_of(event))

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        del left
        return _turn(table, spec.schema, now, 0, 0) if _is_halted(table) else None

    if lake.newest(spec) is None:
        return False
    return commit(lake, spec, change).change is not None


def still_halted(lake: Lake, domain: Domain, now: datetime) -> Mapping[str, Halt]:
    """The event types that are halted, after those have resumed whose time has come."""
    found = dict(halts(lake, domain))
    for event, halt in list(found.items()):
        if halt.resumes_at is not None and now >= halt.resumes_at:
            resume(lake, domain, event, now)
            del found[event]
    return found


def _is_halted(table: Pinned) -> bool:
    return (table.progress(CHANGES) or 0) % 2 == 1


def _read(table: Pinned, event: str, breaker: Breaker) -> Halt | None:
    if not _is_halted(table):
        return None
    since_ms, bad, seen = (table.progress(name) or 0 for name in (SINCE_MS, BAD, SEEN))
    return Halt(event, _instant(since_ms), bad, seen, breaker)


def _turn(table: Pinned, schema: Schema, now: datetime, bad: int, seen: int) -> Change:
    since_ms = int((now - _instant(0)) / timedelta(milliseconds=1))
    changes = (table.progress(CHANGES) or 0) + 1
    progress = {CHANGES: changes, SINCE_MS: since_ms, BAD: bad, SEEN: seen}
    return Change(pl.DataFrame(schema=schema), progress=progress)


def _instant(since_ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=since_ms)


def _bad(lake: Lake, domain: Domain, event: str, start: datetime) -> int:
    table = lake.newest(quarantine.spec(domain.name))
    if table is None:
        return 0
    near = Snapshot.of(table).touching("ingested_at", [(start, datetime.max.replace(tzinfo=UTC))])
    mine = (pl.col("event_type") == event) & (pl.col("status") != quarantine.REPLAYED)
    return int(near.scan().filter((pl.col("ingested_at") >= start) & mine).select(pl.len()).collect().item())


def _kept(snapshot: Snapshot, start: datetime) -> int:
    """Rows that came since; of files that came as a whole the log knows how many they hold."""
    if snapshot.files.is_empty():
        return 0
    whole = pl.repeat(False, snapshot.files.height, eager=True)
    if "min._ingested_at" in snapshot.files.columns:  # not where deltalake lists no statistics of the column
        lows = snapshot.files["min._ingested_at"].cast(snapshot.schema["_ingested_at"])
        whole = (lows >= start).fill_null(value=False)
    rest = Snapshot(snapshot.schema, snapshot.files.filter(~whole)).touching(
        "_ingested_at", [(start, datetime.max.replace(tzinfo=UTC))]
    )
    counted = rest.scan().filter(pl.col("_ingested_at") >= start).select(pl.len()).collect().item()
    return int(snapshot.files.filter(whole)["num_records"].sum()) + int(counted)
