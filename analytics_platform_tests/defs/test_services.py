"""Dagster's real daemon, code server and webserver over real flights: what a person in the UI does, through its API."""

import os
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from analytics_platform.demo.events import Event
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform_tests.defs.conftest import CONTRACTS, produce
from analytics_platform_tests.defs.services import Services, services, until

pytestmark = [pytest.mark.dagster, pytest.mark.timeout(280)]

BURST = {"analytics__domain": "flights", "analytics__mode": "stream"}
SILVER = ("flight_arrived", "flight_cancelled", "flight_departed", "weather_observed")
TABLES = [*(f"silver/{name}" for name in SILVER), "gold/carrier_daily", "gold/departures_hourly", "gold/airport_daily"]


class Running:
    def __init__(self, dagster: Services, settings: Settings) -> None:
        self.dagster, self.settings = dagster, settings

    def table(self, name: str) -> pl.DataFrame:
        found = pl.DataFrame(DeltaTable(self.settings.lake / name).to_pyarrow_table())
        return found.sort(found.columns[0], *found.columns[1:3])

    def silver_rows(self) -> int:
        have = [name for name in SILVER if (self.settings.lake / "silver" / name / "_delta_log").exists()]
        return sum(DeltaTable(self.settings.lake / "silver" / name).to_pyarrow_dataset().count_rows() for name in have)

    def wait_for_rows(self, rows: int) -> None:
        until(lambda: self.silver_rows() >= rows, seconds=60, what=f"{rows} rows in silver")
        assert self.silver_rows() == rows

    def burst(self, status: str) -> str:
        """The newest burst, once it has a status."""

        def newest() -> str | None:
            runs = self.dagster.runs(**BURST)
            return runs[0]["runId"] if runs and runs[0]["status"] == status else None

        return until(newest, seconds=60, what=f"a burst that is {status}")


@pytest.fixture
def running(tmp_path: Path, broker: EmbeddedBroker) -> Iterator[Running]:
    """A burst follows for a minute, so that a test can do something to it; the turn of an hour would end it."""
    until(lambda: datetime.now(UTC).minute < 58, seconds=130, what="the next hour")
    settings = Settings(
        lake=tmp_path / "lake",
        contracts=CONTRACTS,
        fsync=False,
        burst=timedelta(seconds=60),
        idle=timedelta(seconds=60),
        kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
    )
    with services(tmp_path / "services", settings.environ()) as dagster:
        yield Running(dagster, settings)


def test_a_day_in_the_ui(running: Running, some_flights: list[Event]):
    """Events come in, the burst is terminated, silver is damaged, a backfill of the hour repairs it."""
    dagster, servers = running.dagster, running.settings.kafka.bootstrap_servers
    produce(servers, some_flights)
    running.wait_for_rows(1_200)

    # The tick that asked, and those that look on.
    messages = [entry["message"] for tick in dagster.ticks("flights_sensor") for entry in tick["logEvents"]["events"]]
    assert "lag 1,200 in 3 topics; asking for 1,200" in messages
    assert "reference tables airlines, airports, planes: asking for them to be loaded" in messages
    run = running.burst("STARTED")
    sentence = f"burst {run[:8]}… is at work, lag 0"
    until(
        lambda: any(tick["skipReason"] == sentence for tick in dagster.ticks("flights_sensor")),
        seconds=60,
        what=sentence,
    )
    assert not [tick["error"] for tick in dagster.ticks("flights_sensor") if tick["error"]]

    # Terminate: it ends between two micro-batches, with its sums.
    dagster.switch_sensor("flights_sensor", on=False)
    dagster.query("mutation($r: String!) { terminateRun(runId: $r) { __typename } }", r=run)
    assert running.burst("CANCELED") == run
    log = dagster.run_log(run)
    assert any(line.endswith("ended: drain") for line in log)
    assert any(
        re.fullmatch(r"flights: .*1,200 read = 1,200 kept \+ 0 duplicate \+ 0 quarantined.*", line) for line in log
    )
    before = {name: running.table(name) for name in TABLES}
    materialized = latest(dagster, "silver/flight_departed")
    assert materialized["rows"] == before["silver/flight_departed"].height

    # Damage, and a backfill of the hour as the UI asks for it.
    hour = materialized["partition"]
    DeltaTable(running.settings.lake / "silver/flight_departed").delete("origin = 'JFK'")
    assert running.table("silver/flight_departed").height < before["silver/flight_departed"].height
    keys = [name.split("/") for name in TABLES]
    launched = dagster.query(
        "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename "
        "... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
        p={"assetSelection": [{"path": key} for key in keys], "partitionNames": [hour], "tags": []},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    [done] = until(
        lambda: [run for run in dagster.runs(dagster__backfill=launched["backfillId"]) if run["status"] == "SUCCESS"],
        seconds=120,
        what="the backfill",
    )
    assert latest(dagster, "silver/flight_departed")["added"] > 0
    assert any(", 0 added" not in line and line.endswith(" added") for line in dagster.run_log(done["runId"]))
    for name in TABLES:
        # Rows that are made again ask the table of planes again, and say when.
        now, then = (rows.drop("plane_enriched_at", strict=False) for rows in (running.table(name), before[name]))
        assert now.equals(then), name


def test_a_burst_is_killed_and_the_next_one_told_to_stop(running: Running, some_flights: list[Event]):
    """What the first left half done is finished, nothing comes twice; the second ends as if by itself."""
    dagster, servers = running.dagster, running.settings.kafka.bootstrap_servers
    produce(servers, some_flights[:600])
    killed = running.burst("STARTED")
    os.kill(until(lambda: process_of(dagster, killed), seconds=30, what="the run's process"), signal.SIGKILL)
    until(lambda: run_status(dagster, killed) == "FAILURE", seconds=30, what="the failure to be noticed")

    produce(servers, some_flights[600:])
    running.wait_for_rows(1_200)
    assert running.table("silver/flight_departed")["idempotency_key"].is_unique().all()

    run = running.burst("STARTED")
    dagster.stop("daemon", kill=True)
    dagster.stop("code")  # as a service manager does: SIGTERM to it and to the runs it holds
    assert run_status(dagster, run) == "SUCCESS"
    assert any(line.endswith("ended: drain") for line in dagster.run_log(run))


def process_of(dagster: Services, run_id: str) -> int | None:
    found = [re.search(r"Started process for run \(pid: (\d+)\)", line) for line in dagster.run_log(run_id)]
    return next((int(match[1]) for match in found if match), None)


def run_status(dagster: Services, run_id: str) -> str:
    status: str = dagster.query("query($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }", r=run_id)[
        "runOrError"
    ]["status"]
    return status


def latest(dagster: Services, asset: str) -> dict[str, float | str]:
    """Numbers and partition of an asset's newest materialization."""
    found = dagster.query(
        "query($k: AssetKeyInput!) { assetOrError(assetKey: $k) { ... on Asset { assetMaterializations(limit: 1) "
        "{ partition metadataEntries { label ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry "
        "{ floatValue } } } } } }",
        k={"path": asset.split("/")},
    )["assetOrError"]["assetMaterializations"]
    assert found, asset
    entry = found[0]
    numbers = {item["label"]: item.get("intValue", item.get("floatValue")) for item in entry["metadataEntries"]}
    return {**numbers, "partition": entry["partition"]}
