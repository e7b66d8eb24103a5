"""The demo's own folder: made anew at every start, and never a folder that is somebody else's.

<folder>/lake            the tables
<folder>/dagster         DAGSTER_HOME
<folder>/logs            one file per process
<folder>/settings.json   the ANALYTICS_* variables of the demo, for other commands
"""

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from analytics_platform.demo.signals import Interrupted
from analytics_platform.errors import DemoFailed

DEFAULT = Path(".analytics/demo")
MARK = ".analytics-platform-demo"
_WORDS = "This folder is the demo's. Every start of `analytics-platform demo` deletes all that is in it.\n"
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """A folder that this process holds."""

    root: Path
    """Absolute."""
    lock: int
    """File descriptor by which it is held; whoever inherits it holds the folder too."""

    @property
    def lake(self) -> Path:
        """The tables."""
        return self.root / "lake"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    def log(self, name: str) -> Path:
        """What a process printed."""
        return self.root / "logs" / f"{name}.log"

    def write_settings(self, variables: Mapping[str, str]) -> None:
        """Note the variables with which other commands see this demo."""
        path = self.root / "settings.json"
        path.write_text(json.dumps(variables, indent=1) + "\n", encoding="utf-8")


def settings_of(folder: Path) -> dict[str, str] | None:
    """The variables of the demo that ran last in a folder; None when none did."""
    try:
        found: dict[str, str] = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if (folder / MARK).exists() else None


@contextlib.contextmanager
def fresh_folder(path: Path, told_to_stop: Callable[[], bool] = lambda: False) -> Iterator[DemoFolder]:
    """Hold a folder and empty it. It stays when the block ends, to be looked at.

    Raises:
        DemoFailed: it holds something and is not a demo's, or another demo runs in it.
    """
    root = path.absolute()
    if root.exists() and not (root / MARK).exists() and (not root.is_dir() or any(root.iterdir())):
        raise DemoFailed(
            f"{path} is not empty and was not made by a demo, so it is left alone. Give another folder with --folder"
        )
    root.mkdir(parents=True, exist_ok=True)
    mark = root / MARK
    with mark.open("a", encoding="utf-8") as file:
        _hold(file.fileno(), path, told_to_stop)
        file.truncate(0)
        file.write(_WORDS)
        file.flush()
        for item in root.iterdir():
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            elif item != mark:
                item.unlink()
        folder = DemoFolder(root, file.fileno())
        for made in (folder.lake, folder.dagster, root / "logs"):
            made.mkdir()
        yield folder


def _hold(file: int, path: Path, told_to_stop: Callable[[], bool]) -> None:
    """Take the lock; one that ends just now is waited for."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if told_to_stop():
                raise Interrupted from None
            if time.monotonic() > deadline:
                raise DemoFailed(f"Another demo runs in {path}. End it, or give another folder with --folder") from None
            time.sleep(0.1)
        else:
            return
