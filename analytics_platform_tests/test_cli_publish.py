import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analytics_platform.cli import app
from analytics_platform_tests.registry import StandIn

FLIGHTS = Path(__file__).parent.parent / "contracts" / "flights"
WIRE = "customProperties:\n  - {property: wire, vendor: analytics_platform, value: avro}\n"


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    found = StandIn()
    yield found
    found.close()


def avro_contracts(folder: Path) -> Path:
    """The flights' contracts, of which one event comes in Avro."""
    for path in FLIGHTS.rglob("*"):
        if path.is_file():
            copy = folder / "contracts" / "flights" / path.relative_to(FLIGHTS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (contract,) = (folder / "contracts" / "flights" / "flight_departed").glob("*.odcs.yaml")
    text = contract.read_text()
    assert "\ncustomProperties:\n" in text
    contract.write_text(text.replace("\ncustomProperties:\n", f"\n{WIRE}", 1))
    return folder / "contracts"


def run(*arguments: str, url: str | None) -> tuple[int, str]:
    variables = {} if url is None else {"ANALYTICS_REGISTRY_URL": url}
    done = CliRunner().invoke(app, [*arguments], env=variables)
    return done.exit_code, done.output


def test_published_once(stand_in: StandIn, tmp_path: Path) -> None:
    arguments = ["--contracts", str(avro_contracts(tmp_path)), "contracts", "publish", "--json"]
    for new in (True, False):
        code, said = run(*arguments, url=stand_in.url)
        assert code == 0
        (outcome,) = json.loads(said)
        assert (outcome["event"], outcome["id"], outcome["new"]) == ("flight_departed", 1, new)
        assert outcome["subject"] in stand_in.subjects
    assert json.loads(stand_in.schemas[1]["schema"])["name"] == "flight_departed"
    assert set(stand_in.levels.values()) == {"FULL_TRANSITIVE"}


def test_nothing_is_framed(stand_in: StandIn) -> None:
    code, said = run("--contracts", str(FLIGHTS.parent), "contracts", "publish", url=stand_in.url)
    assert (code, said) == (0, "no event of these contracts comes in a framed format: nothing to publish\n")
    assert stand_in.asked == []
