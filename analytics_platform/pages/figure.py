"""One page of pictures that is a single file: it opens from a disk, fetches nothing, and runs one script of ours."""

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analytics_platform.errors import PagesNotWritten
from analytics_platform.pages.measure import Badge

_TEMPLATES = Path(__file__).parent / "templates"
_NAMED = re.compile(r"""(\bid=["']|url\(["']?#|href=["']#)((?:clip|gradient)_?[0-9]+)""")
"""Names that Vega gives to parts of a picture, counted from 0 in each."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture under its title."""

    title: str
    svg: str = ""
    """As `chart.image.svg` made it; empty where there is nothing to draw."""
    notes: tuple[str, ...] = ()
    """What was left out, or why there is no picture."""


def page(
    title: str,
    figures: Sequence[Figure],
    at: datetime,
    *,
    said: str = "",
    tables: Sequence[tuple[str, str, Badge]] = (),
) -> str:
    """The page as HTML; every text in it is escaped, and scripts other than ours are forbidden to run.

    Args:
        title: Of the page.
        figures: In the order of the page.
        at: When they were drawn.
        said: A sentence below the title.
        tables: Name, rows and freshness of each.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "dashboard.js").read_text(encoding="utf-8")
    style = "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "dashboard.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("dashboard.html").render(
        title=title,
        said=said,
        at=at,
        tables=tables,
        figures=[
            {"title": figure.title, "notes": figure.notes, "picture": _picture(figure.svg, number)}
            for number, figure in enumerate(figures)
        ],
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        script_hash=f"sha256-{digest}",
    )


def write_page(text: str, path: Path) -> None:
    """Put a page in its place, as `write_bytes` does."""
    write_bytes(text.encode(), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Put a file in its place in one step, so that whoever has it open or reloads it sees a whole one.

    Durable on return: nothing, it can be made again at any time.
    If it dies halfway: the old file stays, and beside it a hidden one.

    Raises:
        PagesNotWritten: the file system refuses; the old file stays.
    """
    fresh: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            fresh = Path(file.name)
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        fresh.chmod(0o666 & ~mask)
        fresh.replace(path)
    except OSError as error:
        if fresh is not None:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
        raise PagesNotWritten(str(path.parent), error.strerror or str(error)) from error


def _picture(svg: str, number: int) -> Markup:
    """A picture among others: its parts are named for it alone. Texts in it are escaped by Vega."""
    return Markup(_NAMED.sub(rf"\g<1>figure{number}-\g<2>", svg))  # noqa: S704 - see above
