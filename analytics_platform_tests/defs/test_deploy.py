from pathlib import Path

import dagster as dg
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def test_dagster_takes_the_shipped_settings(tmp_path: Path):
    (tmp_path / "dagster.yaml").write_bytes((DEPLOY / "dagster.yaml").read_bytes())

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        config = instance.get_settings("concurrency")
        assert config["pools"] == {"default_limit": 1, "granularity": "run"}
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        assert instance.run_monitoring_max_runtime_seconds == 21_600
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled


def test_postgres_differs_only_in_storage():
    postgres = yaml.safe_load((DEPLOY / "dagster.postgres.yaml").read_text(encoding="utf-8"))

    assert postgres.pop("storage")["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    assert postgres == yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))
