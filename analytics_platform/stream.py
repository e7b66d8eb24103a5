"""One micro-batch, then the next: plan, read, bronze, then what is below it.

    Kafka ── plan ──> read ──> bronze ──> decode ── check ──> quarantine, silver ──> gold

A burst holds one consumer and one lake, and takes turns among its domain's topics. What a crash left half done is
finished first (`_catch_up`), before anything new is read.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from analytics_platform import breaker, bronze, derive, gold
from analytics_platform.catchup import behind, catch_up
from analytics_platform.contract.model import Domain
from analytics_platform.derive import Slice
from analytics_platform.enrich import Sources
from analytics_platform.errors import (
    LakeError,
    OffsetGap,
    PartitionGone,
    ProgressLost,
    ReferenceRefused,
    RegistryError,
    SchemaChanged,
    TopicStopped,
    UnknownTopic,
)
from analytics_platform.fill import fill
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import Log, OffsetRange, TopicPlan, TopicState, Watermarks, plan
from analytics_platform.keyring import KeyRing
from analytics_platform.lake.commit import Change, Committed, Move, commit
from analytics_platform.lake.files import Pinned
from analytics_platform.lake.table import Lake
from analytics_platform.lookup.lookups import Lookups
from analytics_platform.reference import load_reference
from analytics_platform.refetch import batch_metadata
from analytics_platform.report import BatchReport, BurstReport, MartReport
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings
from analytics_platform.stopwatch import Stopwatch
from analytics_platform.tally import Tally

Clock = Callable[[], datetime]
Planned = Mapping[str, tuple[OffsetRange, ...]]

_RETRY = timedelta(minutes=1)
"""Before a source is asked again for rows to fill that seemed to be there and said nothing."""
_PAUSE_S = 0.1
"""Between two looks at topics that have nothing new: three small requests each, so ten looks a second cost little."""


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """What a domain's topics have waiting."""

    plans: tuple[TopicPlan, ...]
    """Of topics that have something new, by topic."""
    stopped: Mapping[str, str]
    """Topics that cannot be read, with the sentence that says why and what to do."""
    halted: Mapping[str, str] = field(default_factory=dict)
    """Event types that do not enter silver for now, with the sentence that says why; their topics are read."""
    behind: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Up to where bronze holds, by topic and partition, what some table below has not taken in and may: a run died, a
    halt is over, an event type is new. Looked at only where there is nothing to read; any burst takes it in first."""

    @property
    def lag(self) -> int:
        """Offsets waiting in all topics that can be read."""
        return sum(item.lag for item in self.plans)


def plan_domain(
    domain: Domain, settings: Settings, log: KafkaLog, *, now: datetime, lake: Lake | None = None
) -> DomainPlan:
    """Look at every topic of a domain and say what the next micro-batch of each would read. Consumes nothing.

    Args:
        domain: Whose topics.
        settings: Where the lake is, and how large a micro-batch may be.
        log: The cluster.
        now: The time in UTC.
        lake: Handles to reuse: whoever looks many times a second saves most of the cost.

    Raises:
        BrokerUnavailable: the cluster does not answer.
        AccessDenied: the cluster refuses.
    """
    lake = lake or Lake(settings.lake, settings.fsync)
    plans: list[TopicPlan] = []
    stopped: dict[str, str] = {}
    states: list[TopicState] = []
    for topic in domain.topics:
        try:
            state = log.state(topic)
            have = bronze.stored(lake, state)
            found = plan(state, have.offsets, first=have.first, max_rows=settings.batch_rows)
        except (TopicStopped, UnknownTopic, ProgressLost) as error:
            stopped[topic] = str(error)
            continue
        states.append(state)
        if found.ranges:
            plans.append(found)
    halts = breaker.halts(lake, domain)
    left: dict[str, Mapping[int, int]] = {}
    waiting = [event for event, halt in halts.items() if halt.resumes_at is None or now < halt.resumes_at]
    for state in () if plans else states:
        try:
            left[state.topic] = behind(lake, domain, state.log, sorted(state.partitions), waiting)
        except ProgressLost as error:
            stopped[state.topic] = str(error)
    halted = {event: str(halt) for event, halt in halts.items()}
    return DomainPlan(tuple(plans), stopped, halted, {topic: ends for topic, ends in left.items() if ends})


def follow(
    domain: Domain,
    settings: Settings,
    *,
    clock: Clock,
    planned: Planned | None = None,
    budget: timedelta,
    idle: timedelta,
    until: datetime | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_batch: Callable[[BatchReport], None] = lambda _report: None,
    on_mart: Callable[[MartReport], None] = lambda _report: None,
) -> BurstReport:
    """One burst: take in the planned ranges, then follow the domain's topics until there is a reason to end.

    Args:
        domain: Whose topics.
        settings: Where everything is, and how large a micro-batch may be.
        clock: The time in UTC.
        planned: What was asked for, by topic.
        budget: How long to be at work; 0 ends with the planned ranges, or, when nothing is planned, with what the
            topics hold at the start.
        idle: End early after nothing new came for so long.
        until: End when the clock reaches it, whatever is planned: the turn of the ingest hour.
        stop: Looked at between micro-batches; true ends the burst after the one at work.
        on_batch: Called after each micro-batch that is durable.
        on_mart: Called after each update of a mart.

    Durable on return: everything the report counts.
    If it dies halfway: every micro-batch reported is durable; the next burst finishes the one that was at work.

    Raises:
        OffsetGap: a planned range starts after what is stored; nothing was read for it.
        BrokerUnavailable: the cluster does not answer (retryable).
        AccountingBroken: a batch does not add up; it was not committed.
        KeyMissing: contracts name keys that the settings do not have; nothing was read.
    """
    keys = derive.key_ring(domain, settings)
    lake = Lake(settings.lake, settings.fsync)
    with (
        KafkaLog(settings) as log,
        SchemaBook(lake, domain.name, settings.registry) as book,
        Lookups(settings.lookups) as lookups,
    ):
        burst = _Burst(domain, settings, clock, log, lake, keys, book, lookups, on_batch, on_mart)
        ended = burst.run(planned, _Limits(budget, idle, until, stop))
        for topic, offsets in burst.done.items():
            log.commit_hint(topic, offsets)
        return burst.tally.report(ended)


@dataclass(slots=True)
class _Burst:
    domain: Domain
    settings: Settings
    clock: Clock
    log: KafkaLog
    lake: Lake
    keys: KeyRing
    book: SchemaBook
    lookups: Lookups
    on_batch: Callable[[BatchReport], None]
    on_mart: Callable[[MartReport], None]
    tally: Tally = field(init=False)
    logs: dict[str, tuple[Log, Sequence[int]]] = field(default_factory=dict)
    done: dict[str, dict[int, int]] = field(default_factory=dict)
    last_batch: dict[str, float] = field(default_factory=dict)
    filled_to: Mapping[str, datetime] = field(default_factory=dict)
    fills_at: datetime | None = None
    """When rows are filled again, where the last pass could fill none."""

    def __post_init__(self) -> None:
        self.tally = Tally(self.domain.name)

    def run(self, planned: Planned | None, limits: "_Limits") -> str:
        """Rounds over all topics until there is a reason to end; returns the reason."""
        began = last_news = self.clock()
        self._load_references()
        goals = self._goals(planned, everything=not limits.budget)
        self._refresh_marts()
        while True:
            news = [topic for topic in self.domain.topics if self._micro_batch(topic, goals.get(topic))]
            filled = self._fill()
            now = self.clock()
            if news or filled is not None:
                last_news = now
                self._refresh_marts(filled)
            goals = {topic: goal for topic, goal in goals.items() if not self._reached(topic, goal)}
            pending = not set(goals) <= set(self.tally.stopped)
            ended = limits.reached(now, now - began, now - last_news, pending=pending)
            if ended is not None:
                return ended
            if not news:
                time.sleep(_PAUSE_S)

    def _goals(self, planned: Planned | None, *, everything: bool) -> dict[str, "_Goal"]:
        """Up to where each topic must be read; refuses a plan that would skip offsets."""
        goals: dict[str, _Goal] = {}
        for topic in self.domain.topics:
            try:
                state = self.log.state(topic)
                self.logs[topic] = (state.log, sorted(state.partitions))  # for marts that a crash left behind silver
                have = bronze.stored(self.lake, state)
            except (TopicStopped, UnknownTopic, ProgressLost) as error:
                self.tally.stopped[topic] = str(error)
                continue
            if planned is None:
                if everything:
                    goals[topic] = _Goal(state.log, {item: marks.end for item, marks in state.partitions.items()})
                continue
            for item in planned.get(topic, ()):
                if item.partition not in state.partitions:
                    raise PartitionGone(topic, item.partition, item.start)
                start = have.start(state, item.partition)
                if start < item.start:
                    raise OffsetGap(bronze.spec(topic).title, state.log.app_id(item.partition), start, item.start)
                # Nobody can wait for offsets that the log does not have yet; what comes later is followed anyway.
                end = min(item.end, max(start, state.partitions[item.partition].end))
                goals.setdefault(topic, _Goal(state.log, {})).ends[item.partition] = end
        return goals

    def _reached(self, topic: str, goal: "_Goal") -> bool:
        if self.logs[topic][0] != goal.log:  # the topic was made again meanwhile: nobody can reach that goal any more
            return True
        have = self.done.get(topic, {})
        return all(have.get(partition, -1) >= end for partition, end in goal.ends.items())

    def _micro_batch(self, topic: str, goal: "_Goal | None") -> bool:
        """Take in what a topic has now, no further than its goal; whether there was anything."""
        try:
            state = self.log.state(topic)
            have = bronze.stored(self.lake, state)
            self.logs[topic] = (state.log, sorted(state.partitions))
            halted = breaker.still_halted(self.lake, self.domain, self.clock())
            self.tally.halted = {event: str(halt) for event, halt in halted.items()}
            caught_up = self._catch_up(state)
            goal = None if goal is None or goal.log != state.log else goal
            wanted = _limited(state, have, goal)
            found = plan(wanted, have.offsets, first=have.first, max_rows=self.settings.batch_rows)
            self.done[topic] = {item: have.start(state, item) for item in state.partitions}
            if not found.ranges or (goal is None and self._too_soon(topic, found.lag)):
                return caught_up
            self._take(state, have, found)
        except (TopicStopped, UnknownTopic, ProgressLost, SchemaChanged, RegistryError) as error:
            self.tally.stopped[topic] = str(error)
            return False
        self.tally.stopped.pop(topic, None)
        return True

    def _too_soon(self, topic: str, lag: int) -> bool:
        """Whether to let more records gather: a batch that is not full waits for its turn, so that files stay few."""
        interval = self.settings.batch_interval.total_seconds()
        return lag < self.settings.batch_rows and time.monotonic() - self.last_batch.get(topic, -interval) < interval

    def _take(self, state: TopicState, have: bronze.Stored, found: TopicPlan) -> None:
        """One micro-batch from Kafka to silver."""
        self.last_batch[state.topic] = time.monotonic()
        watch = Stopwatch()
        raw = self.log.read(state.topic, found.ranges, max_bytes=self.settings.batch_bytes)
        watch.lap("read")
        at = bronze.instant(self.clock())
        rows = bronze.rows(raw.frame, state.log, at)
        covered = {item.partition for item in raw.ranges}
        # A partition seen for the first time is recorded although nothing was read of it: from now on it is known.
        new = [item for item in state.partitions if item not in have.offsets and item not in covered]
        starts = {item: have.start(state, item) for item in new}
        ranges = (*raw.ranges, *(OffsetRange(item, starts[item], starts[item]) for item in new))
        part = Slice(state.log, tuple(sorted(ranges)), rows)
        committed = self._commit_bronze(part, at)
        watch.lap("bronze")
        if committed.moves != part.moves:  # somebody else read the same: what counts is what stands in bronze
            self._catch_up(state)
            return
        taken = derive.take_in(
            self.lake,
            self.domain,
            part,
            now=self.clock(),
            halted=self.tally.halted,
            keys=self.keys,
            book=self.book,
            lookups=self.lookups,
            lap=watch.lap,
        )
        self.done[state.topic] |= {item.partition: item.end for item in part.ranges}
        read = sum(item.end - item.start for item in raw.ranges)
        self._report(part, taken, watch, (found.lag, found.lag - read), raw.size_bytes)

    def _commit_bronze(self, part: Slice, at: datetime) -> Committed:
        metadata = batch_metadata(part.log, part.ranges, part.records, at)

        def change(_table: Pinned, left: tuple[Move, ...]) -> Change:
            return Change(part.records.filter(bronze.within([move.range for move in left])), metadata=metadata)

        return commit(self.lake, bronze.spec(part.log.topic), change, part.moves)

    def _catch_up(self, state: TopicState) -> bool:
        """Finish what a crash left half done; whether there was anything."""

        def on_slice(part: Slice, taken: derive.Taken, watch: Stopwatch) -> None:
            self._report(part, taken, watch, (0, 0))

        partitions = sorted(state.partitions)
        done = catch_up(
            self.lake,
            self.domain,
            state.log,
            partitions,
            self.settings,
            book=self.book,
            clock=self.clock,
            halted=self.tally.halted,
            lookups=self.lookups,
            on_slice=on_slice,
        )
        return done > 0

    def _report(
        self, part: Slice, taken: derive.Taken, watch: Stopwatch, lag: tuple[int, int], size_bytes: int = 0
    ) -> None:
        report = BatchReport(
            topic=part.log.topic,
            ranges=tuple(item for item in part.ranges if item.start < item.end),
            accounts=taken.accounts,
            kept=taken.kept,
            duplicate=taken.duplicate,
            reasons=taken.reasons,
            lag_before=lag[0],
            lag_after=lag[1],
            size_bytes=size_bytes,
            newest_occurred_at=taken.newest_occurred_at,
            seconds=watch.stages,
            newer=taken.newer,
            late=taken.late,
            unknown=taken.unknown,
            missing=taken.missing,
        )
        self.tally.batch(report)
        self.on_batch(report)
        for event in taken.rejected.keys() & set(self.domain.event_types_of(part.log.topic)):
            halt = breaker.trip(self.lake, self.domain, event, self.clock())
            if halt is not None:
                self.tally.halted[event] = str(halt)

    def _load_references(self) -> None:
        for contract in self.domain.files:
            try:
                load_reference(self.lake, contract, self.clock())
            except (ReferenceRefused, LakeError) as error:
                self.tally.broken[f"reference.{contract.name}"] = str(error)

    def _fill(self) -> gold.Rewritten | None:
        """Fill some rows that are missing an enrichment; what marts have to be told of it, None where there is nothing."""
        now = self.clock()
        if self.fills_at is not None and now < self.fills_at:
            return None
        try:
            sources = Sources(self.lake, self.domain, self.lookups)
            done = fill(sources, max_rows=self.settings.batch_rows, now=now, after=self.filled_to)
        except SchemaChanged:  # its topic is stopped for it, and says so
            self.fills_at = now + _RETRY
            return None
        self.filled_to = {} if done is None else done.after
        self.fills_at = now + _RETRY if done is not None and done.stuck else None
        if done is None or not done.rows:
            return None
        self.tally.filled.update(done.rows)
        self.tally.unknown.update(done.unknown)
        return done.rewritten

    def _refresh_marts(self, rewritten: gold.Rewritten | None = None) -> None:
        for done in gold.refresh(self.lake, self.domain, self.logs, rewritten=rewritten):
            title = gold.spec(done.mart).title
            if done.error is not None:
                self.tally.broken[title] = str(done.error)
                continue
            self.tally.broken.pop(title, None)
            if done.report is not None:
                self.tally.mart(done.report)
                self.on_mart(done.report)


@dataclass(frozen=True, slots=True)
class _Limits:
    """When a burst ends."""

    budget: timedelta
    idle: timedelta
    until: datetime | None
    stop: Callable[[], bool]

    def reached(self, now: datetime, at_work: timedelta, quiet: timedelta, *, pending: bool) -> str | None:
        """The reason to end now, if there is one; without a budget planned ranges are pending until they are read."""
        if self.stop():
            return "drain"
        if self.until is not None and now >= self.until:
            return "hour"
        if not self.budget:
            return None if pending else "planned"
        if at_work >= self.budget:
            return "budget"
        return "idle" if quiet >= self.idle and not pending else None


@dataclass(frozen=True, slots=True)
class _Goal:
    """Up to where a log must be read before a burst follows freely: the next offsets, by partition."""

    log: Log
    ends: dict[int, int]


def _limited(state: TopicState, have: bronze.Stored, goal: _Goal | None) -> TopicState:
    """The topic as far as its goal; never less than what is stored, which is a matter of the true ends alone."""
    if goal is None:
        return state
    marks = {
        item: Watermarks(found.low, min(found.end, max(goal.ends.get(item, 0), have.start(state, item))))
        for item, found in state.partitions.items()
    }
    return TopicState(state.topic, state.cluster_id, state.topic_id, marks)
