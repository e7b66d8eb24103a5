"""Make the files of one table those of another, in one commit and without reading a row.

A file belongs to a table because the table's log names it, so a copy of the name is enough: it is linked into the other
table's folder, and each table may delete its own name for it later without harm to the other.
"""

import json
import os
import shutil
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction

from analytics_platform.lake.durability import sync_folder
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import delta_schema


def adopt(table: DeltaTable, files: Snapshot, properties: CommitProperties) -> None:
    """Replace all rows of a table, and its columns, by those of some files of another table of the same lake.

    Durable on return: the commit, as far as deltalake forces it; the links are forced before it.
    If it dies halfway: the table is as it was; links that no version names are left in its folder.

    Raises:
        FileNotFoundError: a file is gone; nothing was committed.
        CommitFailedError: somebody else committed since the handle was read.
    """
    folder = Path(unquote(table.table_uri.removeprefix("file://")))
    names = [_linked(Path(path), folder) for path in files.paths]
    sync_folder(folder)
    table.create_write_transaction(
        [
            AddAction(
                name,
                row["size_bytes"],
                {},
                row["modification_time"],
                True,
                _statistics(row, files),
            )
            for name, row in zip(names, files.files.iter_rows(named=True), strict=True)
        ],
        mode="overwrite",
        schema=delta_schema(files.schema),
        commit_properties=properties,
    )


def _linked(path: Path, folder: Path) -> str:
    target = folder / path.name
    try:
        os.link(path, target)
    except FileExistsError:  # of an attempt that lost a race; names are used once, so it is the same file
        pass
    except OSError:  # a file system without links; where the file itself is missing, copying says so
        shutil.copyfile(path, target)
    # A file that no version names and that is older than a day counts as left behind by somebody who died.
    os.utime(target)
    return path.name


def _statistics(row: Mapping[str, Any], files: Snapshot) -> str:
    """As the log has them: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics."""
    found: dict[str, Any] = {"numRecords": row["num_records"], "minValues": {}, "maxValues": {}, "nullCount": {}}
    for kind, prefix in (("minValues", "min"), ("maxValues", "max"), ("nullCount", "null_count")):
        for name in files.schema:
            value = row.get(f"{prefix}.{name}")
            if value is not None:
                found[kind][name] = _text(value)
    return json.dumps(found)


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
