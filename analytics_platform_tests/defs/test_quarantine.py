from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from analytics_platform.defs.quarantine import ReplayConfig, quarantine_jobs
from analytics_platform.defs.specs import stream_specs
from analytics_platform.fingerprint import identifier
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order

CHEAPER = """\
description: Prices were sent tenfold.
domain: shop
event: order_placed
major: 1
codes: [rule_violated]
ingestedBefore: 2026-11-24T00:00:00Z
set: {cents: CAST(value->>'cents' AS BIGINT) // 10}
"""
STRICT, LAX = shop.domain(most_cents=1_000), shop.domain()


@pytest.fixture
def of(tmp_path: Path) -> Shop:
    values = [order(order_id="a", cents=5_000), order(order_id="b", cents=7_000), b"{"]
    found = Shop(tmp_path / "lake", {ORDERS: {0: values}, VISITS: {}}, STRICT)
    found.take_all()
    return found.under(LAX)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def run(of: Shop, instance: dg.DagsterInstance, what: str, **config: Any) -> dg.ExecuteInProcessResult:
    (job,) = [job for job in quarantine_jobs(of.domain, of.settings, of.clock) if job.name == f"shop_{what}"]
    run_config = {"ops": {f"shop_{what}_rows": {"config": config}}}
    return job.execute_in_process(run_config=run_config, instance=instance, raise_on_error=False)


def states(of: Shop) -> list[tuple[int, str, str | None, str | None]]:
    return of.quarantine().sort("offset").select("offset", "status", "changed_by", "discarded_for").rows()


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    return str(event.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


def observed(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.asset_observation_data.asset_observation.metadata.items()
        }
        for event in result.all_events
        if event.event_type_value == "ASSET_OBSERVATION" and event.asset_key is not None
    }


def test_replay_by_fingerprint(of: Shop, instance: dg.DagsterInstance):
    what = identifier("order_placed@1.0.0", ORDERS, "rule_violated", "cents: above the maximum of 1000", None)

    result = run(of, instance, "replay", fingerprints=[what])

    assert result.success
    assert states(of) == [
        (0, "replayed", result.run_id, None),
        (1, "replayed", result.run_id, None),
        (2, "new", None, None),
    ]
    assert sorted(of.silver("order_placed")["_offset"]) == [0, 1]
    assert of.gold("sales_daily")["cents"].to_list() == [12_000]
    assert observed(result) == {
        "quarantine/shop": {"replayed": 2},
        "silver/order_placed": {"replayed": 2, "overtaken": 0},
    }
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "shop: 2 rows judged again: 2 replayed (2 into silver.order_placed); still bad: none" in said
    versions = of.versions()
    assert run(of, instance, "replay", fingerprints=[what]).success
    assert of.versions() == versions


def test_replay_with_a_patch(of: Shop, instance: dg.DagsterInstance):
    patched = of.under(shop.domain(most_cents=1_000, patch=CHEAPER))
    assert run(patched, instance, "replay", patch="order_placed/fix", discarded=True).success
    rows = patched.silver("order_placed").sort("_offset")
    assert rows.select("cents", "_patch").rows() == [(500, "fix"), (700, "fix")]
    wrong = [{"patch": "order_placed/fx"}, {"patch": "order_placed/fix", "codes": ["wrong_type"]}]
    assert [failure(run(patched, instance, "replay", **config)) for config in wrong] == [
        "patch: there is no 'order_placed/fx' in force; there are order_placed/fix",
        "patch: it says which rows; give no other condition beside it",
    ]


def test_the_code_version_changes_with_a_patch(of: Shop):
    patched = shop.domain(patch=CHEAPER)
    before, after = ({spec.key: spec.code_version for spec in stream_specs(one, of.settings)} for one in (LAX, patched))
    changed = {key.to_user_string() for key in before if before[key] != after[key]}
    assert changed == {"silver/order_placed", "quarantine/shop"}


def test_discard_by_place_and_replay_what_was_discarded(of: Shop, instance: dg.DagsterInstance):
    place = {"topic": ORDERS, "partition": 0, "start": 1, "end": 3}

    result = run(of, instance, "discard", places=[place], reason="a load test")

    assert result.success
    assert states(of)[1:] == [(offset, "discarded", result.run_id, "a load test") for offset in (1, 2)]
    assert observed(result) == {"quarantine/shop": {"discarded": 2}}
    assert run(of, instance, "replay", everything=True).success
    assert of.silver("order_placed")["_offset"].to_list() == [0]
    again = run(of, instance, "replay", everything=True, discarded=True, ingested_from="2026-11-23T10:00:00")
    assert [state[:3] for state in states(of)[1:]] == [(1, "replayed", again.run_id), (2, "discarded", result.run_id)]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "No condition says which rows are meant; set `everything` to mean all."),
        ({"codes": ["malformed"]}, "codes: there is no malformed"),
        ({"ingested_until": "soon"}, "ingested_until: 'soon' is no time in ISO 8601"),
    ],
)
def test_a_form_filled_in_wrongly(of: Shop, instance: dg.DagsterInstance, config: dict[str, Any], said: str):
    result = run(of, instance, "replay", **config)
    assert not result.success
    assert failure(result) == said
    assert [state[1] for state in states(of)] == ["new", "new", "new"]


def test_a_reason_must_be_given(of: Shop, instance: dg.DagsterInstance):
    with pytest.raises(dg.DagsterInvalidConfigError, match="reason"):
        run(of, instance, "discard", everything=True)


def test_every_field_of_the_form_is_described():
    assert [name for name, field in ReplayConfig.model_fields.items() if not field.description] == []
