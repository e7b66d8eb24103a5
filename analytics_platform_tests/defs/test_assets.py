import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from deltalake import DeltaTable

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog, Deprecation
from analytics_platform.defs import assets
from analytics_platform.demo.events import Event
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.settings import Secret, Settings
from analytics_platform_tests.defs.conftest import CONTRACTS, NOW, Platform, produce
from analytics_platform_tests.webhook import Webhook


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{item.asset_key.to_user_string()}:{item.check_name}": item.passed
        for item in result.get_asset_check_evaluations()
    }


def test_a_burst_from_kafka_to_gold(platform: Platform, some_flights: list[Event]):
    bad = some_flights[0]._replace(value=b"not JSON")
    again = some_flights[1]
    produce(platform.settings.kafka.bootstrap_servers, [*some_flights, bad, again])

    result = platform.run(ranges=platform.waiting())

    assert result.success
    found = metadata(result)
    assert set(found) >= {
        "bronze/flights_departures",
        "silver/flight_departed",
        "quarantine/flights",
        "gold/carrier_daily",
    }
    read = sum(item["records_read"] for name, item in found.items() if name.startswith("bronze/"))
    silver = sum(item["rows"] for name, item in found.items() if name.startswith("silver/"))
    assert read == 1_202
    assert silver == 1_200
    assert sum(item["duplicate"] for name, item in found.items() if name.startswith("silver/")) == 1
    assert found["quarantine/flights"]["reason/malformed_json"] == 1
    assert (
        sum(platform.rows(f"bronze/{name}") for name in ("flights_departures", "flights_arrivals", "flights_weather"))
        == read
    )
    answered = checks(result)
    assert answered["bronze/flights_departures:accounting"]
    assert [name for name, passed in answered.items() if not passed] == ["quarantine/flights:no_new_finding"]
    log = platform.messages(result.run_id)
    assert any(line.startswith("flights.departures [") and " read = " in line for line in log)
    assert any(
        line.startswith("flights: ") and "1,202 read = 1,200 kept + 1 duplicate + 1 quarantined" in line for line in log
    )


def test_who_still_sends_what_is_announced_to_end(platform: Platform, some_flights: list[Event]):
    ends = Deprecation(date(2026, 11, 1), date(2026, 12, 1), "tail")
    departed, *rest = platform.domain.versions_of("flight_departed")
    assert not rest
    fields = tuple(
        replace(field, deprecated=True, deprecation=ends) if field.name == "tail_number" else field
        for field in departed.fields
    )
    others = tuple(event for event in platform.domain.events if event.name != "flight_departed")
    domain = replace(platform.domain, events=(replace(departed, fields=fields), *others))
    platform = Platform(Catalog({"flights": domain}), platform.settings, platform.instance)
    mine = [event for event in some_flights if b'"flight_departed"' in event.value]
    unnamed = mine[-1]._replace(value=json.dumps(json.loads(mine[-1].value) | {"tail_number": None}).encode())
    produce(platform.settings.kafka.bootstrap_servers, [*mine[:3], unnamed])
    asked = platform.waiting()

    result = platform.run(ranges=asked)

    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "no_deprecated_use"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description is not None
    assert found.description.startswith("field tail_number ends after 2026-12-01: 3 records of ")
    table = found.metadata["uses"]
    assert isinstance(table, dg.TableMetadataValue)
    rows = [record.data for record in table.records]
    assert sum(row["rows"] for row in rows) == 3
    assert {(row["what"], row["days_left"], row["use_instead"]) for row in rows} == {("field tail_number", 8, "tail")}

    again = platform.run(ranges=asked)  # finds nothing left to take, and answers all the same
    assert not [key for key in metadata(again) if key.startswith("bronze/")]
    (found,) = [one for one in again.get_asset_check_evaluations() if one.check_name == "no_deprecated_use"]
    assert not found.passed

    platform.now += timedelta(minutes=90)
    produce(platform.settings.kafka.bootstrap_servers, [mine[4]._replace(value=b"{")])
    result = platform.run(ranges=platform.waiting(), hour=platform.now)
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "no_deprecated_use"]
    assert (found.passed, found.description) == (True, "nobody uses anything whose end is announced")


def test_a_finding_is_told_once(platform: Platform, some_flights: list[Event], webhook: Webhook):
    platform = Platform(
        Catalog({"flights": platform.domain}),
        replace(platform.settings, alert_webhook=Secret(webhook.url)),
        platform.instance,
    )
    answers = []
    for bad in (b"not JSON", b"not JSON either", b"[]"):
        produce(platform.settings.kafka.bootstrap_servers, [some_flights[0]._replace(value=bad)])
        answers.append(checks(platform.run(ranges=platform.waiting()))["quarantine/flights:no_new_finding"])
    assert answers == [False, True, False]
    told = [[finding["code"] for finding in body["findings"]] for _, body in webhook.got]
    assert told == [["malformed_json"], ["not_an_object"]]
    webhook.answer = 500
    produce(platform.settings.kafka.bootstrap_servers, [some_flights[0]._replace(value=b"\xff")])
    result = platform.run(ranges=platform.waiting())
    assert result.success
    assert "The alert was not taken: the webhook answered 500." in platform.messages(result.run_id)


def test_a_rebuild_of_an_hour_that_is_as_it_should_be(filled: Platform):
    before = {
        name: DeltaTable(filled.settings.lake / name).version()
        for name in ("silver/flight_departed", "gold/carrier_daily")
    }

    result = filled.run()

    assert result.success
    assert {
        name: (item["added"], item["removed"]) for name, item in metadata(result).items() if name.startswith("silver/")
    } == {
        f"silver/{name}": (0, 0)
        for name in ("flight_departed", "flight_cancelled", "flight_arrived", "weather_observed")
    }
    after = {name: DeltaTable(filled.settings.lake / name).version() for name in before}
    assert after["silver/flight_departed"] == before["silver/flight_departed"]


def test_a_rebuild_repairs_a_damaged_silver_table(filled: Platform):
    table = DeltaTable(filled.settings.lake / "silver/flight_departed")
    rows = table.to_pyarrow_table().num_rows
    deleted = table.delete("origin = 'JFK'")["num_deleted_rows"]
    assert deleted > 0

    result = filled.run(select=["silver/flight_departed"])

    assert result.success
    assert set(metadata(result)) == {"silver/flight_departed"}
    assert metadata(result)["silver/flight_departed"]["added"] == deleted
    assert metadata(result)["silver/flight_departed"]["dagster/partition_row_count"] == rows
    assert filled.rows("silver/flight_departed") == rows


def test_another_hour_is_left_alone(filled: Platform):
    DeltaTable(filled.settings.lake / "silver/flight_departed").delete("origin = 'JFK'")
    rows = filled.rows("silver/flight_departed")

    assert filled.run(hour=NOW - timedelta(hours=1)).success
    assert filled.rows("silver/flight_departed") == rows


def test_a_burst_that_starts_after_its_hour_leaves_it_to_the_next(platform: Platform, some_flights: list[Event]):
    produce(platform.settings.kafka.bootstrap_servers, some_flights)
    platform.now = NOW + timedelta(minutes=30)

    result = platform.run(ranges=platform.waiting())

    assert result.success
    assert metadata(result) == {}
    assert not (platform.settings.lake / "bronze").exists()


def test_contracts_change_while_a_burst_is_at_work(
    tmp_path: Path, settings: Settings, instance: dg.DagsterInstance, some_flights: list[Event]
):
    """It ends, whatever is left of its time, so that the next one follows by the new ones."""
    folder = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, folder)
    platform = Platform(load_catalog(folder), replace(settings, contracts=folder), instance)
    produce(settings.kafka.bootstrap_servers, some_flights)
    contract = next((folder / "flights/flight_departed").glob("*.odcs.yaml"))
    contract.write_text(contract.read_text(encoding="utf-8") + "# reviewed\n", encoding="utf-8")

    result = platform.run(ranges=platform.waiting())

    assert result.success
    log = platform.messages(result.run_id)
    assert "The contracts of flights changed; the next burst follows by the new ones." in log
    assert any(line.endswith("ended: drain") for line in log)


def test_kafka_is_down(platform: Platform, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assets, "RETRIES", 0)
    servers = broker.bootstrap_servers
    broker.stop()

    result = platform.run(ranges=[{"topic": "flights.departures", "partition": 0, "start": 0, "end": 1}])

    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data.description.startswith(f"Kafka at {servers} does not answer")


def test_ranges_that_would_skip_offsets_are_refused(platform: Platform, some_flights: list[Event]):
    produce(platform.settings.kafka.bootstrap_servers, some_flights)
    result = platform.run(
        ranges=[{"topic": "flights.departures", "partition": 0, "start": 1_000_000, "end": 1_000_001}]
    )

    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "but the batch starts at 1000000" in failure.step_failure_data.user_failure_data.description


def test_reference_tables(platform: Platform):
    result = platform.definitions.resolve_job_def("flights_reference").execute_in_process(instance=platform.instance)

    assert result.success
    assert metadata(result)["reference/airlines"] == {"dagster/row_count": 16, "changed": 1}
    assert platform.rows("reference/airlines") == 16
