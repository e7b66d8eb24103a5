import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from sqlalchemy import func, select

from analytics_platform.defs.history import prune, prune_tick_logs

STREAM = {"analytics/mode": "stream"}


@dg.asset(check_specs=[dg.AssetCheckSpec("fine", asset="table")])
def table():
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@pytest.fixture
def instance(tmp_path: Path):
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        yield found


def run(instance: dg.DagsterInstance, **tags: str) -> str:
    return dg.materialize([table], instance=instance, tags=tags or STREAM).run_id


def answers(instance: dg.DagsterInstance) -> int:
    with instance.event_log_storage.index_connection() as connection:
        return connection.execute(select(func.count()).select_from(AssetCheckExecutionsTable)).scalar_one()


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def test_old_runs_go_with_their_files_and_answers(instance: dg.DagsterInstance, tmp_path: Path):
    for _ in range(3):
        run(instance)
    assert answers(instance) == 3

    deleted = prune(instance, tags=STREAM, statuses=[dg.DagsterRunStatus.SUCCESS], before=soon())

    assert deleted == 3
    assert instance.get_runs() == []
    assert [path.name for path in (tmp_path / "history" / "runs").glob("*.db")] == ["index.db"]
    # The newest answer is what the UI shows of a check.
    assert answers(instance) == 1


def test_what_stays(instance: dg.DagsterInstance):
    young = run(instance)
    other = run(instance, note="by hand")
    success = [dg.DagsterRunStatus.SUCCESS]

    assert prune(instance, tags=STREAM, statuses=success, before=soon() - timedelta(hours=1)) == 0
    assert prune(instance, tags=STREAM, statuses=[dg.DagsterRunStatus.FAILURE], before=soon()) == 0
    assert {item.run_id for item in instance.get_runs()} == {young, other}
    assert prune(instance, tags=STREAM, statuses=success, before=soon()) == 1
    assert [item.run_id for item in instance.get_runs()] == [other]


def test_logs_of_old_ticks(instance: dg.DagsterInstance, tmp_path: Path):
    folder = tmp_path / "storage" / "__repository__" / "flights_sensor"
    folder.mkdir(parents=True)
    for name, age in (("1.err", timedelta(days=8)), ("2.err", timedelta(days=6))):
        (folder / name).touch()
        when = (datetime.now(UTC) - age).timestamp()
        os.utime(folder / name, (when, when))

    assert prune_tick_logs(instance, "flights_sensor", before=datetime.now(UTC) - timedelta(days=7)) == 1
    assert [path.name for path in folder.iterdir()] == ["2.err"]
    assert prune_tick_logs(instance, "no_such_sensor", before=datetime.now(UTC)) == 0
