"""Deleting old runs, with what Dagster's own `delete_run` leaves behind."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from sqlalchemy import delete, func, select

PAGE = 100
"""Runs per round; each costs some 20 ms, and a round's ids go into one statement."""


def prune(
    instance: dg.DagsterInstance,
    *,
    tags: Mapping[str, str],
    statuses: Collection[dg.DagsterRunStatus],
    before: datetime,
) -> int:
    """Delete the runs with these tags that were in one of these statuses before a moment; returns how many.

    Each asset keeps its newest materialization in the catalog, and each check its newest answer.
    If it dies halfway: some runs are gone, the next call goes on.
    """
    filters = dg.RunsFilter(tags=dict(tags), statuses=list(statuses), updated_before=before)
    deleted = 0
    while runs := instance.get_runs(filters, limit=PAGE):
        ids = [run.run_id for run in runs]
        for run_id in ids:
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
        _delete_leftovers(instance, ids)
        deleted += len(ids)
    return deleted


def prune_tick_logs(instance: dg.DagsterInstance, sensor: str, *, before: datetime) -> int:
    """Delete the log files of a sensor's ticks from before a moment; returns how many.

    Dagster makes one per tick, mostly empty, and its own retention of ticks leaves them. Nothing to do where logs are
    not kept in local files.
    """
    manager = instance.compute_log_manager
    if not isinstance(manager, LocalComputeLogManager):
        return 0
    folder = Path(manager.get_captured_local_path([SINGLETON_REPOSITORY_NAME, sensor, "0"], "err")).parent
    old = [path for path in folder.glob("*.err") if path.stat().st_mtime < before.timestamp()]
    for path in old:
        path.unlink()
    return len(old)


def _delete_leftovers(instance: dg.DagsterInstance, run_ids: Collection[str]) -> None:
    """Answers of checks, and on SQLite the file of each run: `delete_run` forgets both (dagster 1.13)."""
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        checks = AssetCheckExecutionsTable.c
        newest = select(func.max(checks.id)).group_by(checks.asset_key, checks.check_name)
        with storage.index_connection() as connection:
            kept = {row[0] for row in connection.execute(newest)}
            old = {row[0] for row in connection.execute(select(checks.id).where(checks.run_id.in_(run_ids)))}
            connection.execute(delete(AssetCheckExecutionsTable).where(checks.id.in_(old - kept)))
    if isinstance(storage, SqliteEventLogStorage):
        for run_id in run_ids:
            for suffix in ("", "-wal", "-shm"):
                Path(storage.path_for_shard(run_id) + suffix).unlink(missing_ok=True)
