"""What a micro-batch, a burst and a rebuild say of themselves: plain numbers, for logs, the UI and the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from analytics_platform.contract.newer import Sights
from analytics_platform.kafka.offsets import OffsetRange


def counted(number: int, noun: str) -> str:
    """A number and what it counts: `1 row`, `2,000 rows`, `3 batches`."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


@dataclass(frozen=True, slots=True)
class Account:
    """Where the records of one partition's range went; all are counts of records."""

    read: int
    kept: int
    duplicate: int
    quarantined: int

    def __add__(self, other: "Account") -> "Account":
        """The sums of both."""
        return Account(
            self.read + other.read,
            self.kept + other.kept,
            self.duplicate + other.duplicate,
            self.quarantined + other.quarantined,
        )

    @property
    def adds_up(self) -> bool:
        """Whether every record read went to exactly one place."""
        return self.read == self.kept + self.duplicate + self.quarantined


NOTHING = Account(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One micro-batch of one topic, from Kafka to silver."""

    topic: str
    ranges: tuple[OffsetRange, ...]
    accounts: Mapping[int, Account]
    """By partition."""
    kept: Mapping[str, int]
    """Rows added to each silver table, by event type."""
    duplicate: Mapping[str, int]
    """Duplicates found, by event type."""
    reasons: Mapping[str, int]
    """Quarantined rows by reason code; a row with two codes counts for both."""
    lag_before: int
    """Offsets waiting in the topic before this batch."""
    lag_after: int
    size_bytes: int
    """Keys, values and headers as read."""
    newest_occurred_at: Mapping[str, datetime]
    """Of the rows added, by event type; types without rows are left out."""
    seconds: Mapping[str, float]
    """By stage: read, bronze, decode, enrich, quarantine, silver."""
    newer: Sights = field(default_factory=dict)
    """What rows had that claim a newer version than any known; rows judged again after a crash may count again."""
    late: Mapping[str, int] = field(default_factory=dict)
    """Rows added that were later than their contract allows, by event type; types without any are left out."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Rows whose key a reference table does not know, by `event.enrichment`; copies count too, and rows as of `newer`."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Rows for which a reference table could not be asked, likewise; they are filled later."""

    @property
    def total(self) -> Account:
        """The sum over all partitions."""
        return sum(self.accounts.values(), NOTHING)

    def line(self) -> str:
        """One readable line for the run's log."""
        total = self.total
        ranges = ", ".join(f"{item.partition}:{item.start}..{item.end}" for item in self.ranges)
        lacking = "".join(f"; {name} missing for {counted(rows, 'row')}" for name, rows in sorted(self.missing.items()))
        stages = " ".join(f"{stage} {seconds:.2f}s" for stage, seconds in self.seconds.items())
        late = f"; {sum(self.late.values()):,} of those kept were late" if self.late else ""
        return (
            f"{self.topic} [{ranges}]: {total.read:,} read = {total.kept:,} kept + {total.duplicate:,} duplicate + "
            f"{total.quarantined:,} quarantined{late}{lacking}; lag {self.lag_after:,}; {stages}"
        )


@dataclass(frozen=True, slots=True)
class MartReport:
    """One mart brought up to date once."""

    mart: str
    windows: int
    """How many windows were recomputed."""
    rows: int
    """How many rows those windows hold now."""
    seconds: float
    removed: int = 0
    """Rows that stood there and should not have; counted after a rewrite of silver only."""
    added: int = 0
    """Rows that should have stood there and did not; counted after a rewrite of silver only."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """How far a mart has come that is being computed from all history, beside its table, which keeps its rows until then."""

    mart: str
    rows: int
    """Rows of its inputs that it has been computed from."""
    all_rows: int
    """Of how many."""
    until: datetime | None
    """Windows that start before it are built; None where none is."""
    slices: int = 0
    """How many were built just now."""
    most_rows: int = 0
    """Rows of the inputs in the largest of these."""
    waits_for: tuple[str, ...] = ()
    """Marts that it reads and that are being built themselves: it begins when they stand."""

    @property
    def share(self) -> float:
        """How much of its history is built, from 0 to 1."""
        return min(1.0, self.rows / self.all_rows) if self.all_rows else 0.0

    def line(self) -> str:
        """In one readable line."""
        if self.waits_for:
            below = ", ".join(f"gold.{name}" for name in self.waits_for)
            return (
                f"gold.{self.mart} is stale: to be built from all history once {below} stands; its rows are as before"
            )
        if not self.all_rows:
            return f"gold.{self.mart} is stale: the next burst builds it from all history; its rows are as before"
        reached = "" if self.until is None else f", windows before {self.until:%Y-%m-%d %H:%M}"
        return (
            f"gold.{self.mart} is being built from all history: {int(self.share * 100)} % of {self.all_rows:,} rows"
            f"{reached}; until all is built its table is as before"
        )


@dataclass(frozen=True, slots=True)
class BurstReport:
    """All micro-batches of one burst."""

    domain: str
    batches: int
    accounts: Mapping[str, Mapping[int, Account]]
    """By topic and partition."""
    kept: Mapping[str, int]
    duplicate: Mapping[str, int]
    reasons: Mapping[str, int]
    marts: Mapping[str, MartReport]
    """By mart, windows and seconds added up, `rows` of the last time."""
    lag_before: Mapping[str, int]
    """By topic, when the burst began."""
    lag_after: Mapping[str, int]
    newest_occurred_at: Mapping[str, datetime]
    """By event type."""
    stopped: Mapping[str, str]
    """Topics that wait for an operator, with the sentence that says why."""
    broken: Mapping[str, str]
    """Marts and reference tables that could not be brought up to date, with the reason."""
    seconds: Mapping[str, float]
    """By stage."""
    ended: str
    """Why the burst ended: `planned`, `budget`, `idle`, `hour` or `drain`."""
    size_bytes: int = 0
    halted: Mapping[str, str] = field(default_factory=dict)
    """Event types that do not enter silver for now, with the sentence that says why."""
    newer: Sights = field(default_factory=dict)
    """As of the batches."""
    late: Mapping[str, int] = field(default_factory=dict)
    """As of the batches."""
    building: Mapping[str, BuildReport] = field(default_factory=dict)
    """Marts that are not built to the end yet, by name."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """As of the batches, and rows filled whose key is not known."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """As of the batches."""
    filled: Mapping[str, int] = field(default_factory=dict)
    """Rows that were missing an enrichment and have been filled, by `event.enrichment`."""

    @property
    def total(self) -> Account:
        """The sum over all topics and partitions."""
        return sum((account for topic in self.accounts.values() for account in topic.values()), NOTHING)


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """Some hours of a domain made again from bronze."""

    domain: str
    start: datetime
    end: datetime
    """The hours, half-open."""
    records: int
    """Bronze records of those hours."""
    removed: Mapping[str, int]
    """Rows that stood in a table and should not have, by `layer.name`."""
    added: Mapping[str, int]
    """Rows that were missing, by `layer.name`."""
    rows: Mapping[str, int]
    """Rows those hours have now, by `layer.name`; for marts, rows of the windows recomputed."""
    windows: Mapping[str, int] = field(default_factory=dict)
    took: timedelta = timedelta(0)

    @property
    def changed(self) -> bool:
        """Whether any table was not as it should have been."""
        return any(self.removed.values()) or any(self.added.values())


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Some rows of a domain's quarantine judged again."""

    domain: str
    selected: int
    """Rows looked at; those that are `replayed` already are among them."""
    replayed: int
    """Rows that turned to `replayed`."""
    cut: int
    """Rows of which only the beginning was kept, so that they can never be replayed."""
    waiting: Mapping[str, int]
    """Rows that are bad under today's contracts, by reason code; a row with two codes counts for both."""
    entered: Mapping[str, int]
    """Rows that silver did not have, by `layer.name`."""
    patched: Mapping[str, int]
    """Those of them that are valid only as a patch made them, by `event/patch`."""
    overtaken: Mapping[str, int]
    """Rows of silver that gave way to a copy which had arrived earlier, by `layer.name`."""
    windows: Mapping[str, int]
    """Windows recomputed, by `layer.name`."""
    took: timedelta = timedelta(0)

    def line(self) -> str:
        """In one readable line."""
        entered = ", ".join(f"{count:,} into {title}" for title, count in sorted(self.entered.items()) if count)
        entered += "".join(f", {count:,} by the patch {name}" for name, count in sorted(self.patched.items()))
        waiting = ", ".join(f"{count:,} {code}" for code, count in sorted(self.waiting.items()))
        return (
            f"{self.domain}: {counted(self.selected, 'row')} judged again: "
            f"{self.replayed:,} replayed ({entered or 'none new to silver'}); "
            f"still bad: {waiting or 'none'}" + (f"; {self.cut:,} cut, so never to be replayed" if self.cut else "")
        )


@dataclass(frozen=True, slots=True)
class DiscardReport:
    """Some rows of a domain's quarantine given up."""

    domain: str
    discarded: int
    took: timedelta = timedelta(0)

    def line(self) -> str:
        """In one readable line."""
        return f"{self.domain}: {counted(self.discarded, 'row')} discarded"
