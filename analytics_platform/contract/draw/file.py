"""A draft put among the contracts, if all of them load with it."""

import os
import shutil
import tempfile
from pathlib import Path

from analytics_platform.contract.draft import MARTS, REFERENCE, SUFFIX, visible
from analytics_platform.contract.draw.plan import Wishes
from analytics_platform.contract.draw.text import VERSION
from analytics_platform.contract.load import load_sound
from analytics_platform.errors import NotImportable


def draft_path(contracts: Path, wishes: Wishes) -> Path:
    """Where the draft belongs.

    Raises:
        NotImportable: something is there, or stands in its way, or its folder is not for events.
    """
    if wishes.event in {REFERENCE, MARTS}:
        why = "the folder of that name holds no events: give the event another name with --event"
        raise NotImportable(f"{wishes.domain}/{wishes.event}", why)
    path = contracts / wishes.domain / wishes.event / f"{VERSION}{SUFFIX}"
    for folder in (contracts, contracts / wishes.domain, path.parent):
        if os.path.lexists(folder) and not folder.is_dir():
            raise NotImportable(f"{wishes.domain}/{wishes.event}", f"{folder} is no folder")
    if os.path.lexists(path):
        raise NotImportable(f"{wishes.domain}/{wishes.event}", f"{path} is there already, and is never written over")
    return path


def check_draft(contracts: Path, wishes: Wishes, text: str) -> None:
    """Try the draft among the contracts that there are; nothing is written to their folder.

    Raises:
        NotImportable: with every complaint that there would be then and is not now.
    """
    known = set(load_sound(contracts)[1]) if contracts.is_dir() else set()
    with tempfile.TemporaryDirectory(prefix="analytics-import-") as scratch:
        copy = Path(scratch) / contracts.absolute().name
        if contracts.is_dir():
            _mirror(contracts.absolute(), copy)
        path = draft_path(copy, wishes)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        complaints = [one for one in load_sound(copy)[1] if one not in known]
    if complaints:
        told = "".join(f"\n  {one}" for one in complaints)
        raise NotImportable(f"{wishes.domain}/{wishes.event}", f"with it, the contracts would not load:{told}")


def write_draft(path: Path, text: str) -> None:
    """Write the draft.

    Durable on return: as far as the file system keeps what it was given; nothing is synced, since git will have it.
    If it dies halfway: no draft is there, and perhaps a hidden file that is passed over.

    Raises:
        NotImportable: something came to be there meanwhile, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden, name = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
        try:
            with os.fdopen(hidden, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            path.hardlink_to(name)  # which, unlike a rename, replaces nothing
        finally:
            Path(name).unlink()
    except OSError as error:
        raise NotImportable(str(path), error.strerror or type(error).__name__) from error


def _mirror(folder: Path, copy: Path) -> None:
    """The folder as links to its files, so that large ones are not copied."""
    copy.mkdir(parents=True)
    for path in visible(folder):
        if path.is_dir():
            _mirror(path, copy / path.name)
        else:
            try:
                (copy / path.name).symlink_to(path)
            except OSError:
                shutil.copy2(path, copy / path.name)
