"""Jobs that say what becomes of quarantined rows: replay them, or give them up. Launched by hand, with a form to fill in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from analytics_platform.contract.model import Domain
from analytics_platform.contract.reason import Reason
from analytics_platform.defs.jobs import DOMAIN_TAG, MODE_TAG, lane
from analytics_platform.defs.specs import asset_key
from analytics_platform.errors import AnalyticsError, QueryFailed
from analytics_platform.query import refresh_database
from analytics_platform.replay import discard, replay
from analytics_platform.selection import Place, Selection, patched
from analytics_platform.settings import Settings


class Offsets(dg.Config):
    """A half-open range of offsets of one partition of one topic."""

    topic: str = Field(description="Kafka topic, by its name in Kafka.")
    partition: int = Field(description="Kafka partition.", ge=0)
    start: int = Field(description="First offset.", ge=0)
    end: int = Field(description="The offset after the last one.", ge=1)


class RowsConfig(dg.Config):
    """Which rows: those that satisfy every condition given."""

    fingerprints: list[str] = Field(
        default=[], description="Rows with one of these findings; `analytics-platform quarantine list` shows their ids."
    )
    places: list[Offsets] = Field(default=[], description="Rows that stood at these offsets.")
    codes: list[str] = Field(
        default=[], description=f"Rows with one of these reason codes: {', '.join(str(reason) for reason in Reason)}."
    )
    event_types: list[str] = Field(default=[], description="Rows that claim one of these event types.")
    sources: list[str] = Field(default=[], description="Rows that claim one of these sources.")
    topics: list[str] = Field(default=[], description="Rows of these topics.")
    ingested_from: str | None = Field(
        default=None, description="Rows taken in at or after this time, in ISO 8601; without an offset it is UTC."
    )
    ingested_until: str | None = Field(default=None, description="Rows taken in before this time, likewise.")
    everything: bool = Field(default=False, description="Must be true when no condition is given: all rows are meant.")

    def selection(self, *, statuses: tuple[str, ...] = ()) -> Selection:
        """As the stations take it.

        Raises:
            dagster.Failure: a code is unknown, a time cannot be read, or nothing says which rows are meant.
        """
        unknown = sorted(set(self.codes) - {str(reason) for reason in Reason})
        if unknown:
            raise dg.Failure(f"codes: there is no {', '.join(unknown)}", allow_retries=False)
        found = Selection(
            fingerprints=tuple(self.fingerprints),
            places=tuple(Place(item.topic, item.partition, item.start, item.end) for item in self.places),
            codes=tuple(self.codes),
            event_types=tuple(self.event_types),
            sources=tuple(self.sources),
            topics=tuple(self.topics),
            statuses=statuses,
            start=_instant("ingested_from", self.ingested_from),
            end=_instant("ingested_until", self.ingested_until),
        )
        if found.is_everything and not self.everything:
            raise dg.Failure(
                "No condition says which rows are meant; set `everything` to mean all.", allow_retries=False
            )
        return found


class ReplayConfig(RowsConfig):
    """Which rows to judge again."""

    patch: str | None = Field(
        default=None, description="The rows that this patch (`event/name`) may be for, instead of other conditions."
    )
    discarded: bool = Field(default=False, description="Whether rows that were discarded come back as well.")

    def selection_in(self, domain: Domain) -> Selection:
        """As the stations take it.

        Raises:
            dagster.Failure: as `selection`; or there is no such patch, or another condition beside it.
        """
        statuses = ("discarded",) if self.discarded else ()
        if self.patch is None:
            return self.selection(statuses=statuses)
        known = patched(domain)
        if self.patch not in known:
            there = ", ".join(known) or "none"
            raise dg.Failure(f"patch: there is no {self.patch!r} in force; there are {there}", allow_retries=False)
        if not self.model_copy(update={"everything": True}).selection().is_everything:
            raise dg.Failure("patch: it says which rows; give no other condition beside it", allow_retries=False)
        return replace(known[self.patch], statuses=statuses)


class DiscardConfig(RowsConfig):
    """Which rows to give up, and why."""

    reason: str = Field(description="Why, in words. It is kept with each row, so name no person's data.", min_length=1)


def quarantine_jobs(domain: Domain, settings: Settings, clock: Callable[[], datetime]) -> list[dg.JobDefinition]:
    """`<domain>_replay` and `<domain>_discard`; both wait for the domain's lane."""
    return [_replay_job(domain, settings, clock), _discard_job(domain, settings, clock)]


def _replay_job(domain: Domain, settings: Settings, clock: Callable[[], datetime]) -> dg.JobDefinition:
    @dg.op(
        name=f"{domain.name}_replay_rows",
        description="Judges selected rows of the quarantine by today's contracts and patches; valid ones enter silver, once.",
        pool=lane(domain.name),
        out=dg.Out(dg.Nothing),
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
    )
    def replay_rows(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        selection = config.selection_in(domain)
        try:
            report = replay(domain, settings, selection, clock=clock, by=context.run_id, on_portion=context.log.info)
        except AnalyticsError as error:
            raise dg.Failure(str(error), allow_retries=error.retryable) from error
        try:
            refresh_database(settings)
        except QueryFailed as error:  # the tables are committed whatever becomes of the views
            context.log.warning(str(error))
        context.log.info(report.line())
        if report.replayed:
            context.log_event(_observed(domain, {"replayed": report.replayed}))
        for title, count in report.entered.items():
            key = dg.AssetKey(title.split("."))
            overtaken = report.overtaken.get(title, 0)
            context.log_event(dg.AssetObservation(key, metadata={"replayed": count, "overtaken": overtaken}))

    @dg.job(
        name=f"{domain.name}_replay",
        description=f"Replays rows of the quarantine of {domain.name}. Doing it twice changes nothing.",
        tags=_tags(domain),
    )
    def replay_job() -> None:
        replay_rows()

    return replay_job


def _discard_job(domain: Domain, settings: Settings, clock: Callable[[], datetime]) -> dg.JobDefinition:
    @dg.op(
        name=f"{domain.name}_discard_rows",
        description="Gives up selected rows of the quarantine: they stay out of silver until a replay names them.",
        pool=lane(domain.name),
        out=dg.Out(dg.Nothing),
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
    )
    def discard_rows(context: dg.OpExecutionContext, config: DiscardConfig) -> None:
        try:
            report = discard(domain, settings, config.selection(), reason=config.reason, clock=clock, by=context.run_id)
        except AnalyticsError as error:
            raise dg.Failure(str(error), allow_retries=error.retryable) from error
        context.log.info(report.line())
        if report.discarded:
            context.log_event(_observed(domain, {"discarded": report.discarded}))

    @dg.job(
        name=f"{domain.name}_discard",
        description=f"Gives up rows of the quarantine of {domain.name}, with the reason kept.",
        tags=_tags(domain),
    )
    def discard_job() -> None:
        discard_rows()

    return discard_job


def _observed(domain: Domain, counts: dict[str, int]) -> dg.AssetObservation:
    return dg.AssetObservation(asset_key("quarantine", domain.name), metadata=counts)


def _instant(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise dg.Failure(f"{name}: {text!r} is no time in ISO 8601", allow_retries=False) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _tags(domain: Domain) -> dict[str, str]:
    return {DOMAIN_TAG: domain.name, MODE_TAG: "quarantine"}
