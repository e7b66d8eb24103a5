"""One sensor per domain: it looks at offsets and asks for bursts. It never consumes.

`decide` is all of its judgement, as a pure function; the rest gathers what `decide` needs and waits.
Dagster's loop over sensors takes five seconds, so a tick that finds nothing waits inside for news instead of returning:
an event is planned about 0.1 s after it stands in Kafka, not 5 s.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from analytics_platform.contract.model import Domain
from analytics_platform.defs.jobs import DOMAIN_TAG, MODE_TAG, STREAM, AssetJob, DomainJobs, sensor_name, stream_op
from analytics_platform.defs.partition import hour_key
from analytics_platform.errors import ContractError, KafkaError
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.kafka.offsets import TopicState
from analytics_platform.settings import Settings
from analytics_platform.stream import DomainPlan, plan_domain

LONGEST_WAIT_S = 20.0
"""How long one tick may wait; far below the 60 s after which Dagster gives a tick up."""
OFFSETS_EVERY_S = 0.1
RUNS_EVERY_S = 0.25
LONGEST_BACKOFF = timedelta(minutes=5)
NEVER = datetime.min.replace(tzinfo=UTC)

IN_FLIGHT = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What the sensor asked for last. A hint only; where to read on from is known by the tables alone."""

    plan: str = ""
    """Names the offsets at which the ranges began; empty before the first plan."""
    attempt: int = 0
    """How often these were asked for, the last time included."""
    at: datetime = NEVER
    """When, the last time."""
    references: str = ""
    """Names the contracts of the reference tables that were asked to be loaded."""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """What is kept; a fresh one for nothing, or for what somebody else wrote."""
        try:
            found = json.loads(text or "")
            at = datetime.fromisoformat(found["at"])
            return cls(str(found["plan"]), int(found["attempt"]), at, str(found["references"]))
        except (ValueError, KeyError, TypeError):
            return cls()

    def text(self) -> str:
        """As it is kept."""
        return json.dumps({**asdict(self), "at": self.at.isoformat()})


@dataclass(frozen=True, slots=True)
class Ask:
    """A burst to ask for."""

    run_key: str
    ranges: tuple[dict[str, str | int], ...]
    """As run config has them: topic, partition, start, end."""
    cursor: Cursor
    line: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to ask for, and why."""

    line: str
    new_data_may_help: bool = True
    """Whether it is worth waiting for news inside the tick."""


def decide(domain: str, plan: DomainPlan, cursor: Cursor, now: datetime) -> Ask | Wait:
    """What to do about a plan.

    The run key names the hour, the ranges and the attempt: Dagster never uses a key twice, not even when its run
    failed, and a burst that failed must be askable again.
    A plan that begins where the last one began was asked for in vain, so it waits longer each time: 5 s, 10 s, ... 5 min.
    """
    lag = plan.lag
    spans = [(topic.topic, item.partition, item.start, item.end) for topic in plan.plans for item in topic.ranges]
    # A burst takes in first what bronze has and tables below it have not; an empty range is a plan to read nothing else.
    left = [
        (topic, item, end, end) for topic, ends in sorted(plan.behind.items()) for item, end in sorted(ends.items())
    ]
    building = [(f"gold.{report.mart}", report.rows, 0, 0) for report in plan.building]
    if not spans and not left and not building:
        return Wait(_with_stopped(f"lag {lag:,}; nothing new", plan))
    line = f"lag {lag:,}; nothing new, but bronze has what silver has not; asking for a burst"
    if not left and building:
        names = ", ".join(title for title, *_ in building)
        line = f"lag {lag:,}; nothing new, but {names} to be built from all history; asking for a burst"
    if spans:
        lagging = sum(1 for topic in plan.plans if topic.lag)
        wanted = sum(end - start for _, _, start, end in spans)
        line = f"lag {lag:,} in {lagging} {'topic' if lagging == 1 else 'topics'}; asking for {wanted:,}"
    spans = spans or left
    starts = _digest([span[:3] for span in spans or building])
    attempt = 1
    if cursor.plan == starts:
        attempt = cursor.attempt + 1
        again = cursor.at + min(LONGEST_BACKOFF, timedelta(seconds=5 * 2 ** min(cursor.attempt - 1, 10)))
        if now < again:
            return Wait(
                _with_stopped(
                    f"lag {lag:,}; asked for {cursor.attempt} times, but no run has taken it in (see the last of them); "
                    f"asking again at {again:%H:%M:%S} UTC",
                    plan,
                ),
                new_data_may_help=False,
            )
    if attempt > 1:
        line += f" (attempt {attempt})"
    return Ask(
        run_key=f"{domain}/{hour_key(now)}/{_digest(spans or building)}/{attempt}",
        ranges=tuple(
            {"topic": topic, "partition": partition, "start": start, "end": end}
            for topic, partition, start, end in spans
        ),
        cursor=replace(cursor, plan=starts, attempt=attempt, at=now),
        line=_with_stopped(line, plan),
    )


def at_work(run_id: str, status: dg.DagsterRunStatus, lag: int | None) -> str:
    """What a tick says when a burst is under way. `lag`: `None` when Kafka could not be asked."""
    waiting = "is at work" if status is dg.DagsterRunStatus.STARTED else f"is {status.value.lower().replace('_', ' ')}"
    return f"burst {run_id[:8]}… {waiting}" + ("" if lag is None else f", lag {lag:,}")


def domain_sensor(
    domain: Domain, jobs: DomainJobs, settings: Settings, clock: Callable[[], datetime]
) -> dg.SensorDefinition:
    """The sensor of a domain, on from the first load. What an operator switches in the UI afterwards wins."""
    references = _digest([(contract.header.digest,) for contract in domain.files])

    @dg.sensor(
        name=sensor_name(domain.name),
        jobs=list(jobs.all),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Compares the offsets of {', '.join(domain.topics)} with what the bronze tables hold, and asks for a burst "
            "when there is news. It consumes nothing."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = Cursor.parse(context.cursor)
        if jobs.reference is not None and cursor.references != references:
            return _ask_for_references(context, domain, jobs.reference, replace(cursor, references=references))
        deadline = time.monotonic() + LONGEST_WAIT_S
        burst = _wait_for_burst(context.instance, domain.name, deadline)
        try:
            with KafkaLog(settings) as log:
                if burst is not None:
                    plan = plan_domain(domain, settings, log, now=clock())
                    return _skip(context, _with_stopped(at_work(*burst, plan.lag), plan))
                decision = _decide_when_news(domain, settings, log, cursor=cursor, clock=clock, deadline=deadline)
        except KafkaError as error:
            return _skip(context, str(error) if burst is None else at_work(*burst, None))
        if isinstance(decision, Wait):
            return _skip(context, decision.line)
        context.log.info(decision.line)
        request = dg.RunRequest(
            job_name=jobs.stream.name,
            run_key=decision.run_key,
            partition_key=hour_key(decision.cursor.at),
            run_config={"ops": {stream_op(domain.name): {"config": {"ranges": list(decision.ranges)}}}},
        )
        return dg.SensorResult(run_requests=[request], cursor=decision.cursor.text())

    return sensor


def refused_sensor(complaints: Sequence[object]) -> dg.SensorDefinition:
    """A sensor that only fails, with what is wrong: the one place of the UI that shows it while other domains run."""

    @dg.sensor(
        name="refused_contracts",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="The contracts of a domain are wrong, so it is not loaded. Its ticks say what and where.",
    )
    def sensor() -> None:
        raise ContractError(complaints)

    return sensor


def _ask_for_references(
    context: dg.SensorEvaluationContext, domain: Domain, job: AssetJob, cursor: Cursor
) -> dg.SensorResult:
    """Once for each state of their contracts. A burst looks at the files too, but the UI would not know of it."""
    names = ", ".join(contract.name for contract in domain.files)
    context.log.info(f"reference tables {names}: asking for them to be loaded")
    request = dg.RunRequest(job_name=job.name, run_key=f"{domain.name}/reference/{cursor.references}")
    return dg.SensorResult(run_requests=[request], cursor=cursor.text())


def _decide_when_news(
    domain: Domain,
    settings: Settings,
    log: KafkaLog,
    *,
    cursor: Cursor,
    clock: Callable[[], datetime],
    deadline: float,
) -> Ask | Wait:
    """Decide, and decide again whenever a topic's watermarks move, until there is something to ask for."""
    while True:
        before = _states(domain, log)
        now = clock()
        decision = decide(domain.name, plan_domain(domain, settings, log, now=now), cursor, now)
        if isinstance(decision, Ask) or not decision.new_data_may_help:
            return decision
        while _states(domain, log) == before:
            if time.monotonic() + OFFSETS_EVERY_S > deadline:
                return decision
            time.sleep(OFFSETS_EVERY_S)


def _states(domain: Domain, log: KafkaLog) -> dict[str, TopicState | None]:
    """The topics as they are now; `None` for one that can't be seen, about which the plan has a sentence."""
    states: dict[str, TopicState | None] = {}
    for topic in domain.topics:
        try:
            states[topic] = log.state(topic)
        except KafkaError as error:
            if error.retryable:
                raise
            states[topic] = None
    return states


def _wait_for_burst(
    instance: dg.DagsterInstance, domain: str, deadline: float
) -> tuple[str, dg.DagsterRunStatus] | None:
    """The burst of the domain that is still under way at the deadline; `None` as soon as there is none."""
    filters = dg.RunsFilter(tags={DOMAIN_TAG: domain, MODE_TAG: STREAM}, statuses=list(IN_FLIGHT))
    while True:
        records = instance.get_run_records(filters, limit=1)
        if not records:
            return None
        if time.monotonic() + RUNS_EVERY_S > deadline:
            run = records[0].dagster_run
            return run.run_id, run.status
        time.sleep(RUNS_EVERY_S)


def _skip(context: dg.SensorEvaluationContext, line: str) -> dg.SensorResult:
    # Dagster keeps the cursor only when it is handed back.
    return dg.SensorResult(skip_reason=line, cursor=context.cursor)


def _with_stopped(line: str, plan: DomainPlan) -> str:
    stopped = [f"stopped: {sentence}" for _, sentence in sorted(plan.stopped.items())]
    return "; ".join([line, *stopped, *(sentence for _, sentence in sorted(plan.halted.items()))])


def _digest(spans: Sequence[tuple[str | int, ...]]) -> str:
    return hashlib.sha256(json.dumps(sorted(spans)).encode()).hexdigest()[:16]
