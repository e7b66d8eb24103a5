"""The dashboard of a domain as an asset, drawn anew four times an hour."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg

from analytics_platform.contract.model import Domain
from analytics_platform.defs.jobs import DASHBOARD, DOMAIN_TAG, MODE_TAG, AssetJob
from analytics_platform.defs.specs import asset_key, events_by_type
from analytics_platform.errors import AnalyticsError
from analytics_platform.pages.place import dashboard_path
from analytics_platform.settings import Settings


def dashboard_asset(domain: Domain, settings: Settings, clock: Callable[[], datetime]) -> dg.AssetsDefinition:
    """The page of a domain. It reads tables and writes none, so it waits for no lane."""
    path = dashboard_path(settings, domain.name).absolute()

    @dg.asset(
        key=asset_key(DASHBOARD, domain.name),
        deps=[
            asset_key("quarantine", domain.name),
            *(asset_key("silver", name) for name in events_by_type(domain)),
            *(asset_key("gold", mart.name) for mart in domain.marts),
            *(asset_key("reference", panel.place.table) for panel in domain.panels if panel.place is not None),
        ],
        description=(
            f"{domain.name} at a glance: what was taken in, how fresh it is, what was quarantined, and the panels of "
            "dashboard.yaml. One file, to be opened in a browser without a server."
        ),
        group_name=domain.name,
        owners=list(domain.owners),
        kinds={"html"},
        metadata={"page": dg.MetadataValue.path(str(path))},
    )
    def dashboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        # Here, since whoever draws nothing need not load what draws.
        from analytics_platform.pages.dashboard import dashboard as html_of  # noqa: PLC0415
        from analytics_platform.pages.figure import write_page  # noqa: PLC0415

        try:
            text = html_of(domain, settings, clock())
            write_page(text, path)
        except AnalyticsError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info(f"{path}: {len(text.encode()):,} bytes")
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.path(str(path)),
                "link": dg.MetadataValue.url(path.as_uri()),
                "size_bytes": len(text.encode()),
            }
        )

    return dashboard


def dashboard_schedule(domain: Domain) -> tuple[AssetJob, dg.ScheduleDefinition]:
    """The job that draws a domain's dashboard, and its schedule: at minutes 7, 22, 37 and 52, away from full hours."""
    job = dg.define_asset_job(
        name=f"{domain.name}_dashboard",
        selection=dg.AssetSelection.assets(asset_key(DASHBOARD, domain.name)),
        description=f"Draws the dashboard of {domain.name}.",
        tags={DOMAIN_TAG: domain.name, MODE_TAG: DASHBOARD, "dagster/max_runtime": "900", "dagster/max_retries": "0"},
    )
    schedule = dg.ScheduleDefinition(
        name=f"{domain.name}_dashboard_schedule",
        job=job,
        cron_schedule="7-59/15 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Four times an hour: draws the dashboard of {domain.name}.",
    )
    return job, schedule
