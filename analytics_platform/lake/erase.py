"""Take away the files that no version of a table needs any more, so that what was removed from it is gone.

A commit that replaces rows leaves the old files beside the new ones, for readers of older versions. Whoever still reads
an older version when they go gets an error about a missing file; the newest version is always whole.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake, TableSpec

IN_FLIGHT = timedelta(days=1)
"""A file that no version names may belong to a commit that is being made; when it is older than this, to one that died."""


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """What was taken away of a table, in files."""

    deleted: int
    waiting: int
    """Named by no version and younger than `IN_FLIGHT`: whoever wrote them may still be at work. A later vacuum will."""


def sweep(lake: Lake, spec: TableSpec) -> None:
    """Delete at once all files that only older versions name.

    Durable on return: they are gone.
    If it dies halfway: some are; calling again takes the rest.
    """
    table = lake.newest(spec)
    if table is not None:
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        lake.sync_deletions(spec, table.version())


def vacuum(lake: Lake, spec: TableSpec, now: datetime) -> Vacuumed:
    """Delete at once all files that only older versions name, and those that none does and that nobody is writing.

    Durable on return: they are gone.
    If it dies halfway: some are; calling again takes the rest.
    """
    table = lake.newest(spec)
    if table is None:
        return Vacuumed(0, 0)
    folder, hours = lake.path(spec), int(IN_FLIGHT.total_seconds()) // 3600
    there = set(folder.glob("*.parquet"))  # what vacuum returns names files that went long ago too
    # First what the log says was removed, then what it does not know (a writer died, or the log was cleaned up).
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table.vacuum(retention_hours=hours, enforce_retention_duration=False, dry_run=False, full=True)
    left = set(folder.glob("*.parquet"))
    waiting = left - {Path(path) for path in Snapshot.of(table).paths}
    # Files on their way to their name are `<name>#<n>`; deltalake's own vacuum passes them over.
    halves = [(path, path.stat().st_mtime) for path in folder.glob("*.parquet#*")]
    dead = [path for path, changed in halves if changed < (now - IN_FLIGHT).timestamp()]
    for path in dead:
        path.unlink(missing_ok=True)
    lake.sync_deletions(spec, table.version())
    return Vacuumed(len(there - left) + len(dead), len(waiting) + len(halves) - len(dead))
