"""Force what a commit wrote to the disk.

deltalake renames and links files but never calls fsync, so after a power cut a table may be gone although every commit
succeeded. Only local folders need this; an object store answers once it has the bytes.
"""

import json
import os
from pathlib import Path


def sync_version(path: Path, version: int) -> None:
    """Force one version of a table: the files it added, its log entry, checkpoints, and the folders that name them.

    Durable on return: that version, provided the versions below it are.
    If it dies halfway: the version stands, but a power cut may still take it.
    """
    log = path / "_delta_log"
    entry = log / f"{version:020}.json"
    if not entry.exists():  # cleaned up already, which only happens once a checkpoint holds it
        return
    for line in entry.read_text().splitlines():
        added = json.loads(line).get("add")
        if added is not None:
            _sync(path / added["path"])
    _sync(entry)
    for checkpoint in log.glob(f"{version:020}.checkpoint*"):
        _sync(checkpoint)
    hint = log / "_last_checkpoint"
    if hint.exists():
        _sync(hint)
    _sync(log)
    _sync(path)


def sync_folder(path: Path) -> None:
    """Force which files a folder holds."""
    _sync(path)


def sync_folders(path: Path, *, up_to: Path) -> None:
    """Force the folders that name a new table: from its own up to the lake's parent."""
    for folder in (path, *path.parents):
        _sync(folder)
        if folder == up_to.parent:
            return


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # a compaction and vacuum may have removed it since; then nobody needs it
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
