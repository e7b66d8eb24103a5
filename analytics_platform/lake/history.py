"""What commits said of themselves, for audit: it is there until the log is cleaned up, and nothing else rests on it."""

from collections.abc import Iterator
from typing import Any

from analytics_platform.lake.table import Lake, TableSpec


def commit_infos(lake: Lake, spec: TableSpec) -> Iterator[dict[str, Any]]:
    """The commit infos of a table, newest first; the metadata of a `Change` stands in them under its own names."""
    table = lake.newest(spec)
    if table is not None:
        yield from table.history()
