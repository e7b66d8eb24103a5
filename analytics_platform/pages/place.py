"""Where pages about the lake are kept."""

from pathlib import Path

from analytics_platform.settings import Settings


def dashboard_path(settings: Settings, domain: str) -> Path:
    """The page of a domain that Dagster keeps up to date."""
    return settings.lake / "dashboard" / f"{domain}.html"
