"""The assets of a domain: one op that streams or rebuilds all of its tables, and one per reference file."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from analytics_platform import quarantine
from analytics_platform.alert import post, unseen
from analytics_platform.contract.edition import Edition
from analytics_platform.contract.model import Domain, ReferenceContract
from analytics_platform.defs.checks import accounting_broken, burst_checks, check_specs, new_findings
from analytics_platform.defs.config import BurstConfig, ranges_by_topic
from analytics_platform.defs.deprecation import deprecation_checks
from analytics_platform.defs.drain import draining
from analytics_platform.defs.jobs import lane, stream_op
from analytics_platform.defs.partition import INGEST_HOURS
from analytics_platform.defs.result import burst_line, burst_results, rebuild_line, rebuild_results
from analytics_platform.defs.specs import reference_spec, stream_specs
from analytics_platform.errors import AccountingBroken, AnalyticsError, QueryFailed
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.query import refresh_database
from analytics_platform.rebuild import rebuild
from analytics_platform.reference import load_reference
from analytics_platform.report import BatchReport, BurstReport, MartReport, counted
from analytics_platform.settings import Settings
from analytics_platform.stream import follow

Clock = Callable[[], datetime]
_MADE_WITH = {"quarantine": "silver", "reference": "gold"}
"""Layers that a rebuild makes again together with another."""

RETRIES = 3
"""How often a run tries again by itself when trying again can help; after that the sensor asks anew."""


def stream_assets(domain: Domain, settings: Settings, clock: Clock) -> dg.AssetsDefinition:
    """All tables of a domain that a burst writes, as one op.

    One op and one process, because a burst takes many micro-batches through all layers, and each micro-batch would
    otherwise pay the start of four steps.
    """
    specs = stream_specs(domain, settings)
    titles = {spec.key: ".".join(spec.key.path) for spec in specs}

    @dg.multi_asset(
        name=stream_op(domain.name),
        description=(
            f"Takes {domain.name} from Kafka to gold in micro-batches (with ranges), or makes the selected tables again "
            "from bronze for the hours of the partitions (without)."
        ),
        specs=specs,
        check_specs=check_specs(domain),
        can_subset=True,
        partitions_def=INGEST_HOURS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=lane(domain.name),
    )
    def stream(context: dg.AssetExecutionContext, config: BurstConfig) -> Iterator[Any]:
        if not context.selected_asset_keys:
            raise dg.Failure("These checks are answered by the runs that write the tables.", allow_retries=False)
        try:
            if config.ranges:
                yield from _burst(context, config, domain, settings, clock)
            else:
                yield from _rebuild(context, domain, settings, clock, titles)
        except AccountingBroken as error:
            answer = accounting_broken(error.topic, str(error))
            if _selected(context, answer):
                yield answer
            raise dg.Failure(str(error), allow_retries=False) from error
        except AnalyticsError as error:
            raise _failure(context, error) from error

    return stream


def reference_assets(
    domain: Domain, contract: ReferenceContract, settings: Settings, clock: Clock
) -> dg.AssetsDefinition:
    """A file that is kept as a table. It has no partitions: the table is the file."""

    @dg.multi_asset(
        name=f"{domain.name}_reference_{contract.name}",
        specs=[reference_spec(domain, contract, settings)],
        pool=lane(domain.name),
    )
    def reference(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        try:
            report = load_reference(Lake(settings.lake, settings.fsync), contract, clock())
        except AnalyticsError as error:
            raise _failure(context, error) from error
        context.log.info(
            f"reference.{report.name}: {report.rows:,} rows, {'changed' if report.changed else 'as before'}"
        )
        return dg.MaterializeResult(metadata={"dagster/row_count": report.rows, "changed": int(report.changed)})

    return reference


def _burst(
    context: dg.AssetExecutionContext, config: BurstConfig, domain: Domain, settings: Settings, clock: Clock
) -> Iterator[Any]:
    hour = context.partition_time_window
    if clock() >= hour.end:
        context.log.info("The ingest hour turned before this burst began; the sensor asks again for the new one.")
        return
    budget = settings.burst if config.budget_seconds is None else timedelta(seconds=config.budget_seconds)
    began, since = time.monotonic(), clock()
    edition = Edition(domain, settings.contracts)
    with draining() as told:
        report: BurstReport = follow(
            domain,
            settings,
            clock=clock,
            planned=ranges_by_topic(config.ranges),
            budget=budget,
            idle=settings.idle,
            until=hour.end,
            stop=lambda: told.is_set() or _superseded(context, edition),
            on_batch=lambda batch: _log_batch(context, batch),
            on_mart=lambda mart: _log_mart(context, mart),
            on_build=lambda build: context.log.info(build.line()),
        )
        drained = told.is_set()
    took = timedelta(seconds=time.monotonic() - began)
    _refresh_database(context, settings)
    context.log.info(burst_line(report))
    for sentence in (*report.stopped.values(), *report.halted.values(), *report.broken.values()):
        context.log.warning(sentence)
    now = clock()
    for result in burst_results(domain, report, took=took, now=now):
        if result.asset_key in context.selected_asset_keys:
            yield result
    checks = _answers(context, domain, settings, report, since=since, now=now)
    yield from (check for check in checks if _selected(context, check))
    if drained and _canceling(context):
        raise KeyboardInterrupt  # everything is written and told; Dagster marks the run as canceled


def _answers(
    context: dg.AssetExecutionContext,
    domain: Domain,
    settings: Settings,
    report: BurstReport,
    *,
    since: datetime,
    now: datetime,
) -> Iterator[dg.AssetCheckResult]:
    """First what the burst knows by itself, then what is read from the tables."""
    yield from burst_checks(domain, report, now)
    if report.total.read:
        yield _new_findings(context, domain, settings, since, any_bad=bool(report.total.quarantined))
    yield from deprecation_checks(Lake(settings.lake, settings.fsync), domain, now)


def _superseded(context: dg.AssetExecutionContext, edition: Edition) -> bool:
    found = edition.is_superseded()
    if found:
        context.log.info(f"The contracts of {edition.domain} changed; the next burst follows by the new ones.")
    return found


def _rebuild(
    context: dg.AssetExecutionContext, domain: Domain, settings: Settings, clock: Clock, titles: dict[dg.AssetKey, str]
) -> Iterator[Any]:
    window = context.partition_time_window
    selected = {key: title for key, title in titles.items() if key in context.selected_asset_keys}
    layers = {title.split(".", 1)[0] for title in selected.values()}
    layers = {_MADE_WITH.get(layer, layer) for layer in layers}
    report = rebuild(
        domain,
        settings,
        window.start,
        window.end,
        layers=frozenset(layers),
        clock=clock,
        by=context.run.run_id,
        on_slice=context.log.info,
    )
    _refresh_database(context, settings)
    context.log.info(rebuild_line(report))
    yield from rebuild_results(report, selected)


def _new_findings(
    context: dg.AssetExecutionContext, domain: Domain, settings: Settings, since: datetime, *, any_bad: bool
) -> dg.AssetCheckResult:
    """Look for fingerprints of this burst alone, and tell the webhook of them; only a burst with bad rows looks."""
    table = Lake(settings.lake, settings.fsync).newest(quarantine.spec(domain.name)) if any_bad else None
    rows = pl.LazyFrame(schema=quarantine.SCHEMA) if table is None else Snapshot.of(table).scan()
    found = unseen(rows, since)
    if found.height and settings.alert_webhook is not None:
        trouble = post(settings.alert_webhook, domain.name, found)
        if trouble is not None:
            context.log.warning(trouble)
    return new_findings(domain, found)


def _refresh_database(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Write `lake.duckdb` anew. The tables are committed whatever becomes of it, so trouble is told, not raised."""
    try:
        refresh_database(settings)
    except QueryFailed as error:
        context.log.warning(str(error))


def _log_batch(context: dg.AssetExecutionContext, batch: BatchReport) -> None:
    context.log.info(batch.line())


def _log_mart(context: dg.AssetExecutionContext, mart: MartReport) -> None:
    rows, windows = counted(mart.rows, "row"), counted(mart.windows, "window")
    context.log.info(f"gold.{mart.mart}: {rows} in {windows}; {mart.seconds:.2f}s")


def _failure(context: dg.AssetExecutionContext, error: AnalyticsError) -> Exception:
    """What to raise for an error: another try where that can help, otherwise its sentence."""
    if error.retryable and context.retry_number < RETRIES:
        context.log.warning(str(error))
        return dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=2 * 2**context.retry_number)
    return dg.Failure(str(error), allow_retries=False)


def _selected(context: dg.AssetExecutionContext, check: dg.AssetCheckResult) -> bool:
    return any(
        key.asset_key == check.asset_key and key.name == check.check_name for key in context.selected_asset_check_keys
    )


def _canceling(context: dg.AssetExecutionContext) -> bool:
    run = context.instance.get_run_by_id(context.run_id)
    return run is not None and run.status is dg.DagsterRunStatus.CANCELING
