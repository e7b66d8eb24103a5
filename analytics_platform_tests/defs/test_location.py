import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog
from analytics_platform.defs.location import code_location
from analytics_platform.errors import ContractError
from analytics_platform.settings import Settings
from analytics_platform_tests.defs.catalog import flights
from analytics_platform_tests.defs.conftest import CONTRACTS


def now() -> datetime:
    return datetime(2026, 11, 23, 14, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def location() -> dg.Definitions:
    return code_location(Catalog({"flights": flights()}), (), Settings(), now)


def spec(location: dg.Definitions, *key: str) -> dg.AssetSpec:
    return next(item for item in location.resolve_all_asset_specs() if item.key == dg.AssetKey(key))


def test_every_table_stands_under_its_name_with_what_it_is_made_from(location: dg.Definitions):
    graph = {
        item.key.to_user_string(): sorted(dep.asset_key.to_user_string() for dep in item.deps)
        for item in location.resolve_all_asset_specs()
    }

    assert graph == {
        "kafka/flights_arrivals": [],
        "kafka/flights_departures": [],
        "bronze/flights_arrivals": ["kafka/flights_arrivals"],
        "bronze/flights_departures": ["kafka/flights_departures"],
        "quarantine/flights": ["bronze/flights_arrivals", "bronze/flights_departures"],
        "silver/flight_arrived": ["bronze/flights_arrivals"],
        "silver/flight_cancelled": ["bronze/flights_departures"],
        "silver/flight_departed": ["bronze/flights_departures"],
        "reference/airlines": [],
        "gold/carrier_daily": ["reference/airlines", "silver/flight_arrived", "silver/flight_departed"],
        "dashboard/flights": [
            "gold/carrier_daily",
            "quarantine/flights",
            "silver/flight_arrived",
            "silver/flight_cancelled",
            "silver/flight_departed",
        ],
    }


def test_the_hour_that_is_going_on_is_a_partition(location: dg.Definitions):
    partitions = spec(location, "silver", "flight_arrived").partitions_def

    assert partitions is not None
    with dg.partition_loading_context(now()):
        assert partitions.get_last_partition_key() == "2026-11-23-14:00"
        assert partitions.get_first_partition_key() == "2026-01-01-00:00"


def test_only_reference_tables_topics_and_dashboards_are_without_partitions(location: dg.Definitions):
    without = {item.key.path[0] for item in location.resolve_all_asset_specs() if item.partitions_def is None}

    assert without == {"kafka", "reference", "dashboard"}


def test_columns_come_from_the_contract(location: dg.Definitions):
    schema = spec(location, "silver", "flight_departed").metadata["dagster/column_schema"]

    assert [(column.name, column.type, column.description) for column in schema.columns[:3]] == [
        ("idempotency_key", "VARCHAR", "Identifies the event."),
        ("delay", "BIGINT", "Departure delay. (unit: min)"),
        ("seats", "STRUCT(row VARCHAR)[]", "Sold."),
    ]
    assert schema.columns[0].constraints == dg.TableColumnConstraints(nullable=False, unique=True)
    assert schema.columns[1].constraints == dg.TableColumnConstraints(nullable=True, other=["≥ -120"])
    assert [column.name for column in schema.columns[3:5]] == ["_topic", "_topic_id"]


def test_the_code_version_changes_with_any_version_of_the_contract(location: dg.Definitions):
    versions = {spec(location, "silver", name).code_version for name in ("flight_arrived", "flight_departed")}

    assert len(versions) == 2
    assert spec(location, "silver", "flight_departed").metadata["contract_versions"] == "1.0.0, 1.10.0"


def test_columns_of_a_mart_say_what_they_are_made_of():
    shipped = code_location(load_catalog(CONTRACTS), (), Settings(), now)
    lineage = spec(shipped, "gold", "carrier_daily").metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineage)
    assert lineage.deps_by_column["airline"] == [dg.TableColumnDep(dg.AssetKey(["reference", "airlines"]), "name")]
    assert {dep.asset_key.path[0] for deps in lineage.deps_by_column.values() for dep in deps} == {
        "silver",
        "reference",
    }


def test_a_run_does_not_read_sql_for_what_it_does_not_show(tmp_path: Path):
    """sqlglot takes longer to import than a mart takes to update."""
    program = """
import sys
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
DefinitionsLoadContext.set(DefinitionsLoadContext(DefinitionsLoadType.RECONSTRUCTION))
import analytics_platform.definitions
print("sqlglot" in sys.modules)
"""
    environment = {**os.environ, "ANALYTICS_CONTRACTS": str(CONTRACTS), "ANALYTICS_LAKE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_people_see_of_a_table(location: dg.Definitions):
    gold = spec(location, "gold", "carrier_daily")

    assert gold.group_name == "flights"
    assert gold.owners == ["team:aviation"]
    assert gold.kinds == {"duckdb", "deltalake"}
    assert gold.metadata["dagster/table_name"] == "gold.carrier_daily"
    assert gold.metadata["dashboard"] == dg.MetadataValue.path(
        str((Settings().lake / "dashboard/flights.html").absolute())
    )
    assert gold.description == "About carrier_daily.\n\n```sql\nselect 1\n```"


def test_checks(location: dg.Definitions):
    checks = location.resolve_asset_graph().asset_check_keys

    assert sorted(f"{key.asset_key.to_user_string()}:{key.name}" for key in checks) == [
        "bronze/flights_arrivals:accounting",
        "bronze/flights_arrivals:followed",
        "bronze/flights_departures:accounting",
        "bronze/flights_departures:followed",
        "gold/carrier_daily:updated",
        "quarantine/flights:no_new_finding",
        "quarantine/flights:quarantine_share",
        "silver/flight_arrived:freshness",
        "silver/flight_cancelled:freshness",
        "silver/flight_departed:freshness",
    ]


def test_one_lane_for_all_writers_of_a_domain(location: dg.Definitions):
    graph = location.resolve_asset_graph()

    assert {pool for key in graph.materializable_asset_keys for pool in graph.get(key).pools or ()} == {"lane_flights"}
    assert not graph.get(dg.AssetKey(["dashboard", "flights"])).pools  # it reads


def test_the_sensor_is_on_from_the_first_load(location: dg.Definitions):
    sensor = location.get_repository_def().get_sensor_def("flights_sensor")

    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 1


def test_a_burst_holds_its_tables_and_its_limit(location: dg.Definitions):
    job = location.resolve_job_def("flights_burst")

    assert job.tags["analytics/domain"] == "flights"
    assert job.tags["dagster/max_runtime"] == "960"
    assert {key.path[0] for key in job.asset_layer.selected_asset_keys} == {"bronze", "quarantine", "silver", "gold"}


def test_a_domain_that_is_refused_holds_up_nobody():
    location = code_location(Catalog({"flights": flights()}), ["orders/a.yaml:3: no"], Settings(), now)
    repository = location.get_repository_def()

    assert repository.get_sensor_def("flights_sensor")
    with dg.build_sensor_context() as context, pytest.raises(ContractError, match=r"^orders/a.yaml:3: no$"):
        repository.get_sensor_def("refused_contracts").evaluate_tick(context)


def test_no_sound_domain_at_all():
    with pytest.raises(ContractError, match=r"^orders/a.yaml:3: no$"):
        code_location(Catalog({}), ["orders/a.yaml:3: no"], Settings(), now)


def test_everything_loads_as_dagster_loads_it(location: dg.Definitions):
    dg.Definitions.validate_loadable(location)
