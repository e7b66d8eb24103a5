"""Questions in SQL: one at a time, or in a shell."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from analytics_platform.cli.call import call_of, say, working
from analytics_platform.errors import QueryFailed

if TYPE_CHECKING:
    from analytics_platform.query import Answer
    from analytics_platform.settings import Settings


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def sql(
    context: typer.Context,
    statement: Annotated[str, typer.Argument(help="One statement that returns rows; `-` reads it from stdin.")],
    form: Annotated[Format, typer.Option("--format", help="How to write the rows.")] = Format.TABLE,
    output: Annotated[Path | None, typer.Option(help="Write to this file, in one step, instead of stdout.")] = None,
    rows: Annotated[int, typer.Option(help="At most so many rows in a table; 0 is all.", min=0)] = 100,
) -> None:
    """Ask the lake: `analytics-platform sql "from gold.carrier_daily limit 5"`.

    Tables are layer.name; the statement sees their newest version and can open no other file.
    """
    if form is Format.PARQUET and output is None and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is no text: give --output FILE, or send stdout into a file")
    settings = call_of(context).settings_to_look()
    text = sys.stdin.read() if statement == "-" else statement
    if output is None:
        _answer(settings, text, lambda answer: _write(answer, form, sys.stdout.buffer, rows))
        return
    with _replaced(output) as file:
        count = _answer(settings, text, lambda answer: _write(answer, form, file, rows))
    say(f"{output}: {count:,} row{'' if count == 1 else 's'}")


def shell(
    context: typer.Context,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Only write lake.duckdb anew, for other DuckDB clients, and end.")
    ] = False,
) -> None:
    """Open the lake in DuckDB's own shell if `duckdb` is on PATH, else in a small prompt.

    Writes lake.duckdb in the lake's folder first; any DuckDB client on this machine can open that file too.
    """
    from analytics_platform import query  # noqa: PLC0415

    settings = call_of(context).settings_to_look()
    path = query.refresh_database(settings)
    if refresh:
        say(f"{path}: refreshed")
        return
    duckdb = shutil.which("duckdb")
    if duckdb is not None:
        os.execv(duckdb, [duckdb, "-readonly", str(path)])  # noqa: S606 - becomes it: Ctrl-C and the terminal are its own
    _prompt(settings)


def _answer(settings: "Settings", statement: str, write: "Callable[[Answer], int]") -> int:
    """Ask, and write the rows while they are computed; Ctrl-C ends it wherever it is."""
    from analytics_platform import query  # noqa: PLC0415

    def work() -> int:
        with working("asking"):
            answer = query.ask(connection, statement)
        return write(answer)

    with (
        tempfile.TemporaryDirectory(prefix="analytics-platform-") as temp,
        query.connect_locked(settings, temp=Path(temp)) as connection,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        # In a thread of its own, since DuckDB sees a signal only now and then while it computes in the main one.
        done = pool.submit(work)
        try:
            while wait([done], timeout=0.1).not_done:
                pass
        except KeyboardInterrupt:
            while not done.done():
                connection.interrupt()
                wait([done], timeout=0.1)
            raise
        return done.result()


def _write(answer: "Answer", form: Format, file: IO[bytes], rows: int) -> int:
    from analytics_platform.cli import rows as writers  # noqa: PLC0415

    if form is Format.TABLE:
        return writers.write_table(answer, file, rows or None)
    if form is Format.CSV:
        return writers.write_csv(answer, file)
    return writers.write_json(answer, file) if form is Format.JSON else writers.write_parquet(answer, file)


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears when it is whole, or not at all."""
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file
            except BaseException:
                Path(file.name).unlink()
                raise
    except FileNotFoundError:
        raise typer.BadParameter(f"{path.parent} is no folder") from None
    except PermissionError:
        raise typer.BadParameter(f"{path.parent} cannot be written to") from None
    mask = os.umask(0)
    os.umask(mask)
    Path(file.name).chmod(0o666 & ~mask)
    Path(file.name).replace(path)


def _prompt(settings: "Settings") -> None:
    import readline  # noqa: F401, PLC0415 - gives `input` its history and keys

    interactive = sys.stdin.isatty()
    if interactive:
        say("SQL ends with a semicolon; SHOW ALL TABLES lists the tables; Ctrl-D ends.")
    lines: list[str] = []
    while True:
        try:
            lines.append(input(("lake> " if not lines else "  ... ") if interactive else ""))
        except EOFError:
            if interactive:
                say()
            lines.append(";")
            ended = True
        except KeyboardInterrupt:
            say()
            lines = []
            continue
        else:
            ended = False
        if lines[-1].rstrip().endswith(";"):
            statement, lines = "\n".join(lines), []
            if statement.strip("; \n"):
                _show(settings, statement)
        if ended:
            return


def _show(settings: "Settings", statement: str) -> None:
    """Each statement sees the newest version of every table."""
    try:
        _answer(settings, statement, lambda answer: _write(answer, Format.TABLE, sys.stdout.buffer, 100))
    except QueryFailed as error:
        say(str(error))
    except KeyboardInterrupt:
        say("interrupted")
