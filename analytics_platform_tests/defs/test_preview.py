from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from analytics_platform.contract.model import Catalog
from analytics_platform.defs.location import code_location
from analytics_platform.defs.preview import impact_markdown
from analytics_platform.impact import Changes, Impact, Kind, RuleChanges, Sample
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.settings import Settings
from analytics_platform_tests import shop
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order

MARKDOWN = """\
**1 newly failing**, 0 newly passing, 1 otherwise changed, 1 the same: 3 records of `shop.orders`.

| code | reason | newly failing | newly passing | changed |
|---|---|---:|---:|---:|
| `rule_violated` | `cents: above the maximum of 100000` | 0 | 0 | 1 |
| `rule_violated` | `cents: above the maximum of 50` | 1 | 0 | 1 |

| source | newly failing | newly passing | changed |
|---|---:|---:|---:|
| `(unknown)` | 1 | 0 | 1 |

| event type | newly failing | newly passing | changed |
|---|---:|---:|---:|
| `order_placed` | 1 | 0 | 1 |
"""


def lake(root: Path) -> tuple[Shop, Path]:
    """Three orders in bronze, and the folder of the contracts in force."""
    values = {ORDERS: {0: [order(cents=60), order(order_id="o-2", cents=1), order(cents=200_000)]}, VISITS: {0: []}}
    of = Shop(root / "lake", values)
    of.pour(ORDERS, [OffsetRange(0, 0, 3)])
    return of, of.domain.events[0].header.path.parents[2]


def run(of: Shop, contracts: Path, config: Mapping[str, Any]) -> dg.ExecuteInProcessResult:
    settings = Settings(lake=of.root, contracts=contracts, fsync=False)
    location = code_location(Catalog({"shop": of.domain}), (), settings, of.clock)
    return location.resolve_job_def("shop_impact").execute_in_process(
        run_config={"ops": {"shop_compare": {"config": dict(config)}}}, raise_on_error=False
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def draft(root: Path, contracts: Path, old: str, new: str) -> Path:
    text = (contracts / "shop/order_placed/1.0.0.odcs.yaml").read_text()
    assert old in text
    path = root / "draft.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_the_report_is_shown_with_the_run(tmp_path: Path) -> None:
    of, contracts = lake(tmp_path)
    path = draft(tmp_path, contracts, "maximum: 100000", "maximum: 50")

    result = run(of, contracts, {"contracts": str(path)})

    assert result.success
    found = metadata(result)
    shown, samples = found.pop("impact").split("\n\n- ", 1)
    assert f"{shown}\n" == MARKDOWN
    assert samples.startswith(
        "newly failing: `shop.orders` [0] offset 0, `order_placed` from `(unknown)`\n  - now: valid"
    )
    assert found == {"records": 3, "newly_failing": 1, "newly_passing": 0, "changed": 1}


def test_only_the_last_hours(tmp_path: Path) -> None:
    of, contracts = lake(tmp_path)
    path = draft(tmp_path, contracts, "maximum: 100000", "maximum: 50")
    of.now += 2 * (of.now - of.now.replace(minute=0)) + (shop.START - shop.START.replace(hour=8))

    assert metadata(run(of, contracts, {"contracts": str(path), "last_hours": 1.5}))["records"] == 0
    assert metadata(run(of, contracts, {"contracts": str(path), "last_hours": 2.5}))["records"] == 3


def test_a_draft_that_is_wrong_or_of_another_domain_fails_the_run_with_its_sentence(tmp_path: Path) -> None:
    of, contracts = lake(tmp_path)
    for old, new, said in (
        ("maximum: 100000", "maxmum: 50", "did you mean maximum?"),
        ("domain: shop", "domain: market", "says nothing of the domain shop"),
    ):
        result = run(of, contracts, {"contracts": str(draft(tmp_path, contracts, old, new))})
        assert not result.success
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        assert said in failure.step_failure_data.user_failure_data.description


def test_text_of_senders_is_not_markdown() -> None:
    evil = "<img src=x>|`**\x1b[2J"
    changes = Changes(newly_failing=1)
    sample = Sample(Kind.NEWLY_FAILING, "t", "id", 0, 1, "e", evil, (), (f"c: {evil}",), "{}")
    report = Impact(("t",), 1, 0, changes, (RuleChanges("c", evil, changes),), ((evil, changes),), (), (sample,))

    text = impact_markdown(report)

    assert text.count("`<img src=x>&#124;'**\\x1b[2J`") == 3
    assert "`c: <img src=x>&#124;'**\\x1b[2J`" in text
    assert "\x1b" not in text
