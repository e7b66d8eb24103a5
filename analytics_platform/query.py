"""DuckDB over the lake: one view per table, named as the table is.

A view reads the table's own list of live files, so it shows exactly the rows of one version of the table: files that
were compacted away or deleted never show, and a column that a file is too old to have is null there.
The lists are taken when a connection is made; a new connection sees what was committed since.

There are two ways in. `connect` is for your own code and reads Parquet natively. `connect_locked` is for SQL that
somebody typed: no file and no address can be opened from it, for reading or writing.
"""

import difflib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

from analytics_platform import duck
from analytics_platform.duck import DuckDBPyConnection, identifier, literal
from analytics_platform.errors import QueryFailed
from analytics_platform.lake.listing import LiveTable, live_tables
from analytics_platform.lake.table import LAYERS, Lake
from analytics_platform.parquet import rows_sql
from analytics_platform.settings import Settings

_ONE_STATEMENT = (
    "one statement that returns rows is taken: SELECT, FROM, WITH, SHOW, DESCRIBE, SUMMARIZE, PIVOT, EXPLAIN"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement returned; its rows are computed while they are read, once."""

    reader: pa.RecordBatchReader

    @property
    def columns(self) -> list[str]:
        """Their names, in order; two may be equal."""
        return list(self.reader.schema.names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in the statement's order.

        Raises:
            QueryFailed: the statement failed while its rows were computed.
        """
        with _readable([]):
            yield from self.reader


def connect(settings: Settings, *, memory_limit: str | None = None, temp: Path | None = None) -> DuckDBPyConnection:
    """Open a DuckDB in memory with a view `layer.name` for every table, and a schema for every layer.

    For your own code: the connection can read and write files, as DuckDB does. It fetches no extension.

    Args:
        settings: Only `lake` is looked at.
        memory_limit: As DuckDB writes sizes (`"2GB"`); None is 80 % of the machine.
        temp: Folder for what does not fit into memory; None spills nowhere.
    """
    connection = duck.connect(memory_limit=memory_limit, temp=temp)
    for statement in _views(live_tables(Lake(settings.lake))):
        connection.execute(statement)
    return connection


def connect_locked(
    settings: Settings, *, memory_limit: str | None = None, temp: Path | None = None
) -> DuckDBPyConnection:
    """Open the same views for SQL that somebody else wrote: it can open no file or address, and change no setting.

    Rows come through Arrow, which costs up to a few times what `connect` costs. Native views would need their files on
    DuckDB's list of allowed paths, and that list grants writing too: `WITH x AS (COPY … TO '<a live file>') FROM x` is
    a SELECT to DuckDB 2.0's parser.

    Args:
        settings: Only `lake` is looked at.
        memory_limit: As DuckDB writes sizes (`"2GB"`); None is 80 % of the machine.
        temp: Folder for what does not fit into memory. The SQL can read and write it, so it must be a private one;
            None spills nowhere.
    """
    connection = duck.connect(memory_limit=memory_limit, temp=temp)
    for layer in LAYERS:
        connection.execute(f"CREATE SCHEMA {identifier(layer)}")
    for table in live_tables(Lake(settings.lake)):
        source = f"{table.layer}__{table.name}"
        connection.register(source, _dataset(table))
        connection.execute(f"CREATE VIEW {_title(table)} AS SELECT * FROM {identifier(source)}")
    duck.lock_down(connection)
    return connection


def ask(connection: DuckDBPyConnection, sql: str) -> Answer:
    """Run one statement that returns rows.

    Raises:
        QueryFailed: it is not one statement, returns no rows, or DuckDB refuses it; unknown tables name near ones.
    """
    tables = [
        f"{layer}.{name}"
        for layer, name in connection.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE schema_name IN (SELECT unnest(?))", [list(LAYERS)]
        ).fetchall()
    ]
    with _readable(tables):
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryFailed(f"Found {len(statements)} statements; {_ONE_STATEMENT}.")
        if statements[0].type.name not in {"SELECT", "EXPLAIN", "MULTI"}:
            raise QueryFailed(f"{statements[0].type.name} is not taken here; {_ONE_STATEMENT}.")
        return Answer(connection.sql(statements[0]).to_arrow_reader(10_000))


def refresh_database(settings: Settings, path: Path | None = None, *, lake: Lake | None = None) -> Path:
    """Write a DuckDB file that holds one view per table, for any DuckDB client.

    The views read absolute lists of files, so the file is of use on this machine only. It is replaced in one step: a
    client that has it open keeps the lists it had, which stay readable for as long as vacuum keeps old files.

    Args:
        settings: Only `lake` is looked at.
        path: By default `lake.duckdb` in the lake's folder.
        lake: Handles to reuse.

    Returns:
        Where it stands.

    Raises:
        QueryFailed: it cannot be written; the old one stays.
    """
    path = path or database_path(settings)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        with duck.connect(threads=1) as connection:
            connection.execute(f"ATTACH {literal(str(fresh))} AS lake (STORAGE_VERSION 'v1.2.0')")
            connection.execute("USE lake")
            connection.execute("BEGIN")
            for statement in _views(live_tables(lake or Lake(settings.lake))):
                connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("USE memory")
            connection.execute("DETACH lake")
        fresh.replace(path)
    except duck.Error as error:
        raise QueryFailed(f"{path} cannot be written anew: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise QueryFailed(f"{path} cannot be written anew: {error.strerror}") from error
    finally:
        for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
            with suppress(OSError):  # a folder that became read-only keeps it
                leftover.unlink(missing_ok=True)
    return path


def database_path(settings: Settings) -> Path:
    """Where `refresh_database` writes by default."""
    return settings.lake / "lake.duckdb"


def _title(table: LiveTable) -> str:
    return f"{identifier(table.layer)}.{identifier(table.name)}"


def _views(tables: list[LiveTable]) -> Iterator[str]:
    for layer in LAYERS:
        yield f"CREATE SCHEMA {identifier(layer)}"
    for table in tables:
        yield f"CREATE VIEW {_title(table)} AS {rows_sql(table.paths, table.schema)}"


def _dataset(table: LiveTable) -> ds.Dataset:
    # Views, as the files have them: DuckDB hands its comparisons down, and pyarrow 26 compares views with nothing else.
    schema = pl.DataFrame(schema=table.schema).to_arrow(compat_level=pl.CompatLevel.newest()).schema
    return ds.dataset(list(table.paths), schema=schema, format="parquet") if table.paths else schema.empty_table()


@contextmanager
def _readable(tables: list[str]) -> Iterator[None]:
    try:
        yield
    except duck.Error as error:
        raise QueryFailed(_sentence(str(error), tables)) from error
    except RuntimeError as error:
        if "interrupted" in str(error):  # DuckDB's own sight of Ctrl-C
            raise KeyboardInterrupt from error
        raise
    except (pa.ArrowException, OSError) as error:
        raise QueryFailed(f"The rows could not be read: {error}") from error


def _sentence(said: str, tables: list[str]) -> str:
    if "Table with name" not in said:
        return said
    lines = said.splitlines()
    asked = lines[0].split("Table with name ", 1)[-1].split(" does not exist")[0].strip('"').split(".")[-1]
    by_name = {title.split(".")[1]: title for title in tables}
    near = [by_name[name] for name in difflib.get_close_matches(asked, by_name, n=3)]
    if not tables:
        hint = "The lake has no tables yet: stream some events first, or point --lake at another folder."
    elif near:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        hint = f"There are {', '.join(tables)}."
    return "\n".join([lines[0], hint, *(line for line in lines[1:] if not line.startswith("Did you mean"))])
