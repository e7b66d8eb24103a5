from pathlib import Path

import pytest

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog
from analytics_platform.demo.events import Event, events


@pytest.fixture(scope="session")
def reference():
    return Path(__file__).parents[2] / "contracts" / "flights" / "reference"


@pytest.fixture(scope="session")
def catalog(reference) -> Catalog:
    return load_catalog(reference.parents[1])


@pytest.fixture(scope="session")
def week(catalog, reference) -> list[Event]:
    """The first 15,000 events: a good week."""
    return list(events(catalog, reference, 15_000))
