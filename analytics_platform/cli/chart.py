"""Tables as pictures, and a domain at a glance."""

import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analytics_platform.cli.call import call_of, now, say, working
from analytics_platform.contract.panel import Aggregate, Kind

if TYPE_CHECKING:
    from analytics_platform.chart.question import Plot

_SUFFIXES = (".html", ".png", ".svg")
_TERMINAL = (100, 20)
"""Columns and lines where stdout is no terminal."""
_PIXELS = (720, 360)


def chart(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="A mart, or any table as layer.name.")],
    x: Annotated[str, typer.Argument(help="Column that lies along: times, numbers or texts.")],
    y: Annotated[str, typer.Argument(help="Column of numbers that goes up.")],
    *,
    by: Annotated[str | None, typer.Option(help="A column: one line, or colour, for each of its values.")] = None,
    where: Annotated[str | None, typer.Option(help="Only these rows: a condition in SQL.")] = None,
    aggregate: Annotated[Aggregate | None, typer.Option(help="How rows with the same x (and by) become one.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Default: a line, or bars over texts.")] = None,
    last: Annotated[int | None, typer.Option(help="Only the newest so many values of x.", min=1)] = None,
    width: Annotated[int | None, typer.Option(help="Columns, or pixels with --output.", min=1, max=4000)] = None,
    height: Annotated[int | None, typer.Option(help="Lines, or pixels with --output.", min=1, max=4000)] = None,
    output: Annotated[Path | None, typer.Option(help="Draw into this .html, .png or .svg file instead.")] = None,
) -> None:
    """Draw a mart: `analytics-platform chart departures_hourly window_start departed --by origin`."""
    if output is not None and output.suffix not in _SUFFIXES:
        raise typer.BadParameter(f"{output} ends in none of {', '.join(_SUFFIXES)}, which say what to draw")
    settings = call_of(context).settings_to_look()
    from analytics_platform.chart.question import Question, plot  # noqa: PLC0415
    from analytics_platform.query import connect_locked  # noqa: PLC0415

    title = table if "." in table else f"gold.{table}"
    question = Question(title, x, y, by, where, aggregate, last)
    with (
        working("asking"),
        tempfile.TemporaryDirectory(prefix="analytics-platform-") as temp,
        closing(connect_locked(settings, temp=Path(temp))) as connection,
    ):
        found = plot(connection, question, kind)
    if output is None:
        _show(found, kind, width, height)
    else:
        _draw(found, kind, f"{title}: {found.y} by {found.x}", (width or _PIXELS[0], height or _PIXELS[1]), output)


def dashboard(
    context: typer.Context,
    domain: Annotated[str | None, typer.Argument(help="Only this domain; by default all.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("build/dashboard"),
) -> None:
    """Write a page about each domain, a single file that opens without a server or a network."""
    from analytics_platform.pages.dashboard import dashboard as html_of  # noqa: PLC0415
    from analytics_platform.pages.figure import write_page  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    for item in call.domains(domain, settings):
        path = output / f"{item.name}.html"
        with working(f"drawing {item.name}"):
            write_page(html_of(item, settings, now()), path)
        say(str(path))


def _show(plot: "Plot", kind: Kind | None, width: int | None, height: int | None) -> None:
    from rich.console import Console  # noqa: PLC0415

    from analytics_platform.chart.terminal import drawn  # noqa: PLC0415

    terminal = sys.stdout.isatty()
    size = shutil.get_terminal_size() if terminal else _TERMINAL
    width, height = width or size[0], height or max(min(size[1] - 4, _TERMINAL[1]), 6)
    console = Console(width=max(width, 4_000))
    colours = console.color_system is not None
    for line in drawn(plot, kind, width, height, colours=colours):
        line.rstrip()
        console.print(line, soft_wrap=True)


def _draw(plot: "Plot", kind: Kind | None, title: str, size: tuple[int, int], output: Path) -> None:
    from analytics_platform.chart.image import png, svg  # noqa: PLC0415
    from analytics_platform.chart.label import plain  # noqa: PLC0415
    from analytics_platform.chart.spec import chart_spec  # noqa: PLC0415
    from analytics_platform.pages.figure import Figure, page, write_bytes  # noqa: PLC0415

    spec = chart_spec(plot, kind, *size)
    title = plain(title, 200)
    if output.suffix == ".png":
        content = png(spec)
    elif output.suffix == ".svg":
        content = svg(spec).encode()
    else:
        content = page(title, [Figure(title, svg(spec), plot.notes)], now()).encode()
    write_bytes(content, output)
    say(
        f"{output}: {plot.rows.height:,} mark{'' if plot.rows.height == 1 else 's'}{''.join(f'; {note}' for note in plot.notes)}"
    )
