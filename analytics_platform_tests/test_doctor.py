from collections import namedtuple
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from analytics_platform.doctor import PACKAGES, State, findings
from analytics_platform.kafka.produce import create_topic
from analytics_platform.settings import KafkaSettings
from analytics_platform_tests.lookup.rates_server import Service
from analytics_platform_tests.registry import StandIn

CONTRACTS = Path(__file__).parent.parent / "contracts"
DISK = namedtuple("DISK", "total used free")  # noqa: PYI024 - what shutil returns


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "ANALYTICS_LAKE": str(tmp_path / "lake"),
        "ANALYTICS_CONTRACTS": str(CONTRACTS),
        "ANALYTICS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "ANALYTICS_KAFKA_TIMEOUT_SECONDS": "0.2",
    }


def looked(environ: dict[str, str]) -> dict[str, tuple[State, str]]:
    found = findings(environ)
    assert all(bool(finding.todo) == (finding.state is not State.OK) for finding in found)
    return {finding.name: (finding.state, finding.found) for finding in found}


def test_everything_is_there(environ: dict[str, str], embedded: str, tmp_path: Path):
    topics = ("flights.arrivals", "flights.departures", "flights.weather")
    for topic in topics:
        create_topic(KafkaSettings(bootstrap_servers=embedded), topic)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").touch()
    changes = {"ANALYTICS_KAFKA_BOOTSTRAP_SERVERS": embedded, "ANALYTICS_KAFKA_TIMEOUT_SECONDS": "10"}
    found = looked({**environ, **changes, "DAGSTER_HOME": str(home)})
    expected = {"Python", *PACKAGES, "settings", "contracts", "lake", "Kafka", "DAGSTER_HOME"}
    assert {name for name, (state, _) in found.items() if state is State.OK} >= expected
    assert {name: found[f"topic {name}"] for name in topics} == dict.fromkeys(topics, (State.OK, "4 partitions"))
    assert found["lake"][1].endswith("no tables yet")
    assert not (tmp_path / "lake").exists()


def test_kafka_is_not(environ: dict[str, str]):
    state, said = looked(environ)["Kafka"]
    assert state is State.FAIL
    assert said.startswith("Kafka at 127.0.0.1:1 does not answer")


def test_wrong_settings(environ: dict[str, str]):
    nobody = KafkaSettings(bootstrap_servers="127.0.0.1:1", timeout=timedelta(seconds=0.2))
    wrong = {**environ, "ANALYTICS_LAK": "x", "ANALYTICS_BATCH_ROWS": "many"}
    found = findings(wrong, lambda settings: replace(settings, kafka=nobody))
    [finding] = [finding for finding in found if finding.name == "settings"]
    assert finding.state is State.FAIL
    assert "ANALYTICS_LAK is unknown" in finding.found
    assert "ANALYTICS_BATCH_ROWS: found 'many'" in finding.found


def test_a_topic_is_missing(environ: dict[str, str], embedded: str, tmp_path: Path):
    source = CONTRACTS / "flights" / "weather_observed" / "1.0.0.odcs.yaml"
    folder = tmp_path / "contracts" / "flights" / "weather_observed"
    folder.mkdir(parents=True)
    (folder / source.name).write_text(source.read_text().replace("flights.weather", "doctor.missing"))
    changes = {"ANALYTICS_CONTRACTS": str(tmp_path / "contracts"), "ANALYTICS_KAFKA_BOOTSTRAP_SERVERS": embedded}
    found = looked({**environ, **changes, "ANALYTICS_KAFKA_TIMEOUT_SECONDS": "10"})
    assert found["Kafka"] == (State.OK, f"{embedded} answers")
    assert found["topic doctor.missing"] == (State.FAIL, "does not exist")


def test_wrong_contracts(environ: dict[str, str], tmp_path: Path):
    folder = tmp_path / "contracts" / "shop" / "orders"
    folder.mkdir(parents=True)
    (folder / "1.0.0.odcs.yaml").write_text("kind: [")
    found = looked({**environ, "ANALYTICS_CONTRACTS": str(tmp_path / "contracts")})
    assert found["contracts"][0] is State.FAIL
    assert found["Kafka"][0] is State.FAIL


def test_lake_is_a_file(environ: dict[str, str], tmp_path: Path):
    (tmp_path / "lake").write_text("x")
    state, said = looked(environ)["lake"]
    assert (state, said) == (State.FAIL, f"{tmp_path / 'lake'} cannot be written")


@pytest.mark.parametrize(
    ("free", "state"), [(6 * 1024**3, State.OK), (2 * 1024**3, State.WARN), (100 * 1024**2, State.FAIL)]
)
def test_free_disk(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, free: int, state: State):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: DISK(0, 0, free))
    assert looked(environ)["disk"][0] is state


def test_no_java(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert looked(environ)["kafka up"] == (
        State.WARN,
        "java is not installed; Java 17 or newer is needed",
    )


def test_a_package_is_missing(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("analytics_platform.doctor.PACKAGES", ("no-such-package",))
    assert looked(environ)["no-such-package"] == (State.FAIL, "not installed")


@pytest.mark.parametrize(
    ("home", "state"),
    [("", State.WARN), ("relative", State.FAIL), ("{folder}/absent", State.FAIL), ("{folder}", State.WARN)],
)
def test_dagster_home(environ: dict[str, str], tmp_path: Path, home: str, state: State):
    assert looked({**environ, "DAGSTER_HOME": home.format(folder=tmp_path)})["DAGSTER_HOME"][0] is state


def test_a_registry(environ: dict[str, str]):
    assert "registry" not in looked(environ)
    stand_in = StandIn()
    stand_in.register("text")
    changed = {**environ, "ANALYTICS_REGISTRY_URL": stand_in.url, "ANALYTICS_REGISTRY_TIMEOUT_SECONDS": "2"}
    assert looked(changed)["registry"] == (State.OK, f"{stand_in.url} answers: 1 subjects")
    stand_in.fails = "401"
    state, said = looked(changed)["registry"]
    assert state is State.FAIL
    assert "refuses" in said
    stand_in.close()
    state, said = looked(changed)["registry"]
    assert state is State.FAIL
    assert "does not answer" in said


def test_a_registry_that_contracts_need(environ: dict[str, str], tmp_path: Path):
    source = CONTRACTS / "flights" / "weather_observed" / "1.0.0.odcs.yaml"
    folder = tmp_path / "contracts" / "flights" / "weather_observed"
    folder.mkdir(parents=True)
    wire = "  - {property: wire, vendor: analytics_platform, value: avro}\n"
    (folder / source.name).write_text(source.read_text() + wire)
    state, said = looked({**environ, "ANALYTICS_CONTRACTS": str(tmp_path / "contracts")})["registry"]
    assert state is State.FAIL
    assert said == "not set, and weather_observed can be read with its schemas only"


def test_lookups(environ: dict[str, str]) -> None:
    service = Service()
    rate = "ANALYTICS_LOOKUP_RATE__"
    changed = {
        **environ,
        f"{rate}URL": service.url,
        f"{rate}TIMEOUT_SECONDS": "30",
        "ANALYTICS_LOOKUP_CASE__FUNCTION": "string:capwords",
        "ANALYTICS_LOOKUP_GONE__FUNCTION": "no_such_team:rates",
    }
    found = looked(changed)
    assert found["lookup rate"] == (State.OK, "answers: not found")
    assert found["lookup case"] == (State.OK, "can be imported; no PROBE names a key to ask for")
    why = "does not answer: no_such_team:rates cannot be imported: ModuleNotFoundError"
    assert found["lookup gone"] == (State.WARN, why)
    assert looked({**changed, f"{rate}PROBE": '["EUR"]'})["lookup rate"] == (State.OK, "answers")
    asked = looked({**changed, "ANALYTICS_LOOKUP_CASE__PROBE": '["EUR"]'})["lookup case"]
    assert asked == (State.WARN, "does not answer: AttributeError")
    service.fails = "400"
    assert looked(changed)["lookup rate"] == (State.WARN, "does not answer: HTTP 400")
    service.stop()
    assert looked(changed)["lookup rate"] == (State.WARN, "does not answer: cannot connect")
