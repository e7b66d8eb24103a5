from pathlib import Path

import pytest

from analytics_platform.demo.events import Event, events


@pytest.fixture(scope="session")
def reference():
    return Path(__file__).parents[2] / "contracts" / "flights" / "reference"


@pytest.fixture(scope="session")
def week(reference) -> list[Event]:
    """The first 15,000 events: a good week."""
    return list(events(reference, 15_000))
