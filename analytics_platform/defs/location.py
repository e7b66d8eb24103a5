"""The code location: every domain's assets, checks, sensor and job, made from its contracts."""

import warnings
from collections.abc import Callable, Sequence
from datetime import datetime

import dagster as dg

from analytics_platform.contract.model import Catalog
from analytics_platform.defs.assets import reference_assets, stream_assets
from analytics_platform.defs.dashboard import dashboard_asset, dashboard_schedule
from analytics_platform.defs.jobs import AssetJob, domain_jobs, prune_schedule, sensor_name
from analytics_platform.defs.preview import impact_job
from analytics_platform.defs.quarantine import quarantine_jobs
from analytics_platform.defs.sensors import domain_sensor, refused_sensor
from analytics_platform.defs.specs import topic_specs
from analytics_platform.errors import ContractError
from analytics_platform.settings import Settings


def code_location(
    catalog: Catalog, complaints: Sequence[object], settings: Settings, clock: Callable[[], datetime]
) -> dg.Definitions:
    """Everything Dagster loads. Reads nothing but its arguments, so it is quick whatever Kafka and the lake are doing.

    Args:
        catalog: The domains whose contracts are sound.
        complaints: What is wrong with the others; they stand still until it is mended, and hold up nobody.
        settings: Where everything is.
        clock: The time in UTC.

    Raises:
        ContractError: no domain is sound.
    """
    if complaints and not catalog.domains:
        raise ContractError(complaints)
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = []
    jobs: list[AssetJob | dg.JobDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    sensors: list[dg.SensorDefinition] = [refused_sensor(complaints)] if complaints else []
    with warnings.catch_warnings():
        # BackfillPolicy and pools are marked beta; every process would say so on every start.
        warnings.simplefilter("ignore", dg.BetaWarning)
        for domain in catalog.domains.values():
            assets += [*topic_specs(domain), stream_assets(domain, settings, clock)]
            assets += [reference_assets(domain, contract, settings, clock) for contract in domain.files]
            assets.append(dashboard_asset(domain, settings, clock))
            drawing, schedule = dashboard_schedule(domain)
            schedules.append(schedule)
            wanted = domain_jobs(domain, settings)
            jobs += [
                *wanted.all,
                drawing,
                impact_job(domain, settings, clock),
                *quarantine_jobs(domain, settings, clock),
            ]
            sensors.append(domain_sensor(domain, wanted, settings, clock))
        return dg.Definitions(
            assets=assets,
            jobs=jobs,
            sensors=sensors,
            schedules=[*schedules, prune_schedule([sensor_name(name) for name in catalog.domains], clock)],
            # A step of its own would cost another process start, and its worker can outlive the run that gave it up.
            executor=dg.in_process_executor,
        )
