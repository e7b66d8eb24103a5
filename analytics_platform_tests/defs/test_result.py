from datetime import UTC, datetime, timedelta

import dagster as dg

from analytics_platform.contract.newer import Sight
from analytics_platform.defs.checks import burst_checks
from analytics_platform.defs.result import burst_line, burst_results, rebuild_line, rebuild_results
from analytics_platform.report import Account, BuildReport, BurstReport, MartReport, RebuildReport
from analytics_platform_tests.defs.catalog import flights

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
EXPIRED = "flights.arrivals[0]: offsets 1..5 expired before they were read."


def burst(**changes: object) -> BurstReport:
    """Departures came in with one duplicate and two bad records; arrivals stand still."""
    found: dict[str, object] = {
        "domain": "flights",
        "batches": 2,
        "accounts": {"flights.departures": {0: Account(60, 58, 1, 1), 1: Account(40, 39, 0, 1)}},
        "kept": {"flight_departed": 97},
        "duplicate": {"flight_departed": 1},
        "reasons": {"wrong_type": 2, "missing_field": 1},
        "marts": {"carrier_daily": MartReport("carrier_daily", windows=3, rows=40, seconds=0.5)},
        "lag_before": {"flights.departures": 100},
        "lag_after": {"flights.departures": 7},
        "newest_occurred_at": {"flight_departed": NOW - timedelta(seconds=90)},
        "stopped": {},
        "broken": {},
        "seconds": {"read": 0.1},
        "ended": "budget",
    }
    return BurstReport(**{**found, **changes})  # type: ignore[arg-type]


def answers(report: BurstReport) -> dict[str, tuple[bool, str | None]]:
    return {
        f"{check.asset_key.to_user_string()}:{check.check_name}": (check.passed, check.description)
        for check in burst_checks(flights(), report, NOW)
        if check.asset_key is not None
    }


def test_a_table_without_news_is_not_materialized():
    results = burst_results(flights(), burst(), took=timedelta(seconds=10), now=NOW)

    assert {result.asset_key.to_user_string(): result.metadata for result in results if result.asset_key} == {
        "bronze/flights_departures": {
            "rows": 100,
            "records_read": 100,
            "kept": 97,
            "duplicate": 1,
            "quarantined": 2,
            "lag_before": 100,
            "lag_after": 7,
            "seconds": 10.0,
            "rows_per_second": 10.0,
        },
        "quarantine/flights": {
            "rows": 2,
            "records_read": 100,
            "share": 0.02,
            "reason/missing_field": 1,
            "reason/wrong_type": 2,
            "seconds": 10.0,
            "rows_per_second": 0.2,
        },
        "silver/flight_departed": {
            "rows": 97,
            "duplicate": 1,
            "freshness_seconds": 90.0,
            "seconds": 10.0,
            "rows_per_second": 9.7,
        },
        "gold/carrier_daily": {"rows": 40, "windows": 3, "seconds": 0.5},
    }


def test_producers_are_ahead_of_the_contracts():
    seen = {Sight("flight_departed", "1.2.0", "1.3.0", path): count for path, count in (("", 7), ("gate", 5))}
    results = burst_results(flights(), burst(newer=seen), took=timedelta(seconds=10), now=NOW)

    told = {result.asset_key.to_user_string(): result.metadata or {} for result in results if result.asset_key}
    assert [name for name, metadata in told.items() if "newer_version_rows" in metadata] == ["silver/flight_departed"]
    assert told["silver/flight_departed"]["newer_version_rows"] == 7
    assert told["silver/flight_departed"]["newer_versions"] == (
        "flight_departed: this lake knows 1.2.0, producers sent newer rows: 7 of 1.3.0 (gate in 5)"
    )


def test_all_is_well():
    assert answers(burst()) == {
        "bronze/flights_departures:accounting": (True, "100 read = 97 kept + 1 duplicate + 2 quarantined"),
        "bronze/flights_arrivals:followed": (True, "lag 0"),
        "bronze/flights_departures:followed": (True, "lag 7"),
        "quarantine/flights:quarantine_share": (True, "2 of 100 records"),
        "silver/flight_arrived:freshness": (True, "nothing waits; no row came in this burst, allowed is 15 min"),
        "silver/flight_cancelled:freshness": (False, "7 offsets wait; no row came in this burst, allowed is 15 min"),
        "silver/flight_departed:freshness": (
            True,
            "7 offsets wait; the newest row is 1 min 30 s old, allowed is 15 min",
        ),
        "gold/carrier_daily:updated": (True, "up to date"),
    }


def test_a_topic_waits_for_an_operator():
    assert answers(burst(stopped={"flights.arrivals": EXPIRED}))["bronze/flights_arrivals:followed"] == (False, EXPIRED)


def test_a_mart_could_not_be_updated():
    sentence = "gold.carrier_daily: no such column."
    found = answers(burst(broken={"gold.carrier_daily": sentence}, marts={}))

    assert found["gold/carrier_daily:updated"] == (False, sentence)


def test_a_mart_is_being_built_from_history():
    half = BuildReport("carrier_daily", 500, 1000, datetime(2026, 3, 1, 5, tzinfo=UTC))
    found = answers(burst(building={"carrier_daily": half}, marts={}))

    passed, told = found["gold/carrier_daily:updated"]
    assert not passed
    assert told == (
        "gold.carrier_daily is being built from all history: 50 % of 1,000 rows, windows before 2026-03-01 05:00; "
        "until all is built its table is as before"
    )


def test_old_rows_while_more_waits():
    old = burst(newest_occurred_at={"flight_departed": NOW - timedelta(hours=3, minutes=5)})

    assert answers(old)["silver/flight_departed:freshness"] == (
        False,
        "7 offsets wait; the newest row is 3 h 5 min old, allowed is 15 min",
    )


def test_old_rows_of_a_log_that_is_read_to_its_end():
    old = burst(newest_occurred_at={"flight_departed": NOW - timedelta(days=2)}, lag_after={})

    assert answers(old)["silver/flight_departed:freshness"] == (
        True,
        "nothing waits; the newest row is 2 d old, allowed is 15 min",
    )


def test_too_many_bad_records_warn_and_do_not_block():
    bad = burst(accounts={"flights.departures": {0: Account(100, 90, 0, 10)}})
    check = next(item for item in burst_checks(flights(), bad, NOW) if item.check_name == "quarantine_share")

    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.description == "flights.departures: 10.00% of 100 records, allowed are 5.00%"


def test_the_log_of_a_burst_ends_with_its_sums():
    assert burst_line(burst()) == (
        "flights: 2 micro-batches, 100 read = 97 kept + 1 duplicate + 2 quarantined; lag 7; "
        "carrier_daily 3 windows; ended: budget"
    )


def test_a_rebuilt_hour():
    hour = datetime(2026, 11, 23, 14, tzinfo=UTC)
    report = RebuildReport(
        "flights",
        hour,
        hour + timedelta(hours=1),
        records=100,
        removed={"silver.flight_departed": 2},
        added={"silver.flight_departed": 5, "gold.carrier_daily": 1},
        rows={"silver.flight_departed": 97, "gold.carrier_daily": 40},
        windows={"gold.carrier_daily": 3},
        took=timedelta(seconds=2),
    )
    selected = {
        dg.AssetKey(["silver", "flight_departed"]): "silver.flight_departed",
        dg.AssetKey(["gold", "carrier_daily"]): "gold.carrier_daily",
    }
    results = rebuild_results(report, selected)

    assert {result.asset_key.to_user_string(): result.metadata for result in results if result.asset_key} == {
        "silver/flight_departed": {
            "rows": 97,
            "removed": 2,
            "added": 5,
            "seconds": 2.0,
            "dagster/partition_row_count": 97,
        },
        "gold/carrier_daily": {"rows": 40, "removed": 0, "added": 1, "windows": 3, "seconds": 2.0},
    }
    assert rebuild_line(report) == (
        "flights: 100 records of 2026-11-23 14:00 to 2026-11-23 15:00; 2 rows removed, 6 added"
    )


def test_enrichments_are_counted_with_the_rows_that_came():
    counts = {"flight_departed.plane": 16, "flight_arrived.plane": 3}
    report = burst(unknown=counts, missing={"flight_departed.plane": 5}, filled={"flight_departed.plane": 1})
    told = {
        result.asset_key.to_user_string(): dict(result.metadata or {})
        for result in burst_results(flights(), report, took=timedelta(seconds=10), now=NOW)
        if result.asset_key is not None
    }
    found = {key: value for key, value in told["silver/flight_departed"].items() if "/" in key}
    assert found == {"unknown/plane": 16, "missing/plane": 5, "filled/plane": 1}


def test_a_table_that_was_only_filled_is_no_fresher():
    report = burst(kept={}, filled={"flight_departed.plane": 1})
    results = burst_results(flights(), report, took=timedelta(seconds=10), now=NOW)
    assert "silver/flight_departed" not in {result.asset_key.to_user_string() for result in results if result.asset_key}
    assert "; flight_departed.plane filled for 1 row; ended" in burst_line(report)
