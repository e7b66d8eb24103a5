"""Jobs and schedules: a domain's burst by name, and the nightly clean-up of Dagster's own history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from analytics_platform.contract.model import Domain
from analytics_platform.defs.history import prune, prune_tick_logs
from analytics_platform.defs.specs import asset_key, stream_specs
from analytics_platform.settings import Settings

AssetJob = UnresolvedAssetJobDefinition

DOMAIN_TAG = "analytics/domain"
MODE_TAG = "analytics/mode"
STREAM = "stream"
DASHBOARD = "dashboard"

GRACE = timedelta(minutes=15)
"""What a burst may take beyond its budget before Dagster ends it: the planned ranges come before the budget counts."""

TICK_LOGS_KEPT = timedelta(days=7)
"""As long as deploy/dagster.yaml keeps the ticks that asked for runs."""


def sensor_name(domain: str) -> str:
    """The sensor of a domain."""
    return f"{domain}_sensor"


def stream_op(domain: str) -> str:
    """The op that holds a domain's streamed tables; run config goes by its name."""
    return f"{domain}_stream"


def lane(domain: str) -> str:
    """The pool that lets one run at a time write a domain's tables. It saves work; the commits are what is safe."""
    return f"lane_{domain}"


@dataclass(frozen=True, slots=True)
class DomainJobs:
    """What a domain's sensor asks for."""

    stream: AssetJob
    """All streamed tables."""
    reference: AssetJob | None
    """All reference tables; `None` for a domain without any."""

    @property
    def all(self) -> tuple[AssetJob, ...]:
        """Those there are."""
        return (self.stream,) if self.reference is None else (self.stream, self.reference)


def domain_jobs(domain: Domain, settings: Settings) -> DomainJobs:
    """The jobs of a domain, by asset key."""
    stream = dg.define_asset_job(
        name=f"{domain.name}_burst",
        selection=dg.AssetSelection.assets(*(spec.key for spec in stream_specs(domain, settings))),
        description=f"One burst of {domain.name}, asked for by its sensor. Its tables can be rebuilt from their own pages.",
        tags={
            DOMAIN_TAG: domain.name,
            MODE_TAG: STREAM,
            "dagster/priority": "10",
            # A run whose process and code server died together stays STARTED for ever without it, and holds its lane.
            "dagster/max_runtime": str(int((settings.burst + GRACE).total_seconds())),
            # The sensor asks again, by a fresh plan; a retry by Dagster as well would only wait in the lane behind it.
            "dagster/max_retries": "0",
        },
    )
    if not domain.files:
        return DomainJobs(stream, None)
    reference = dg.define_asset_job(
        name=f"{domain.name}_reference",
        selection=dg.AssetSelection.assets(*(asset_key("reference", item.name) for item in domain.files)),
        description=f"Loads the reference tables of {domain.name} from their files.",
        tags={DOMAIN_TAG: domain.name, MODE_TAG: "reference", "dagster/priority": "20"},
    )
    return DomainJobs(stream, reference)


class PruneConfig(dg.Config):
    """How much of the history to keep."""

    keep_days: float = Field(default=14, ge=0, description="Streaming runs that succeeded longer ago are deleted.")
    keep_failed_days: float = Field(default=30, ge=0, description="The same for those that failed or were canceled.")


def prune_schedule(sensors: Sequence[str], clock: Callable[[], datetime]) -> dg.ScheduleDefinition:
    """Every night, old runs that bursts and dashboards made. Dagster itself keeps runs and their events for ever, some 12 kB per table.

    `sensors`: names of those whose ticks have logs to delete.
    """

    @dg.op(
        name="delete_old_runs",
        description="Deletes finished streaming runs, their events and logs. Tables and their progress are not touched.",
    )
    def delete_old_runs(context: dg.OpExecutionContext, config: PruneConfig) -> None:
        now = clock()
        succeeded = failed = 0
        for mode in (STREAM, DASHBOARD):
            succeeded += prune(
                context.instance,
                tags={MODE_TAG: mode},
                statuses=(dg.DagsterRunStatus.SUCCESS,),
                before=now - timedelta(days=config.keep_days),
            )
            failed += prune(
                context.instance,
                tags={MODE_TAG: mode},
                statuses=(dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED),
                before=now - timedelta(days=config.keep_failed_days),
            )
        ticks = sum(prune_tick_logs(context.instance, name, before=now - TICK_LOGS_KEPT) for name in sensors)
        context.log.info(
            f"{succeeded:,} runs that succeeded and {failed:,} that did not are deleted, and the logs of {ticks:,} ticks"
        )

    @dg.job(name="prune_runs", description="Deletes old streaming runs; stock Dagster keeps every run for ever.")
    def prune_runs() -> None:
        delete_old_runs()

    return dg.ScheduleDefinition(
        name="prune_runs_nightly",
        job=prune_runs,
        cron_schedule="17 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="At 03:17 UTC: deletes streaming runs of more than two weeks ago.",
    )
