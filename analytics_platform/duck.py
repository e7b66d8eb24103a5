"""How DuckDB is opened: the one home of its Python module.

Every connection is a database in memory of its own, hardened: it fetches no extension (icu, json and parquet are built
in), reads no Python variable by name, keeps no secret on disk and thinks in UTC.
Others work with the connection objects handed out here.
"""

from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection, Error

__all__ = [
    "INFRASTRUCTURE",
    "DuckDBPyConnection",
    "Error",
    "confined",
    "connect",
    "identifier",
    "is_of_rows",
    "literal",
    "lock_down",
    "words",
]

INFRASTRUCTURE = (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.InterruptException)
"""Errors that are the machine's, never a row's."""
_ABOUT_SQL = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.PermissionException)


def connect(
    *, memory_limit: str | None = None, threads: int | None = None, temp: Path | None = None
) -> DuckDBPyConnection:
    """Open a hardened database in memory; opening takes about 15 ms.

    Args:
        memory_limit: As DuckDB writes sizes (`"2GB"`); None is DuckDB's own default, 80 % of the machine.
        threads: None is one per core.
        temp: Folder for what does not fit into memory; None spills nowhere, so a query beyond the limit fails.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_unsigned_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        "temp_directory": "" if temp is None else str(temp),
    }
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def lock_down(connection: DuckDBPyConnection) -> None:
    """From now on the connection opens no file or address and no setting of it can be changed, by anybody.

    For SQL that others wrote. Views over files stop working too: load what the SQL may see before, or register it.
    Spilling to the temporary folder goes on working.
    """
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def confined(*, threads: int | None = None) -> DuckDBPyConnection:
    """Open a database for expressions that others wrote over single rows: locked down, and one row's failure is its own.

    DuckDB (2.0) computes what two expressions have in common once, before either; inside of `TRY` that takes the failure
    of a row out of it, and with it the whole query. Not so here; it costs nothing measurable.
    """
    connection = connect(threads=threads)
    connection.execute("SET disabled_optimizers = 'common_subexpressions'")
    lock_down(connection)
    return connection


def is_of_rows(error: Error) -> bool:
    """Whether an error may be about what some row holds: neither about the SQL itself nor the machine's."""
    return not isinstance(error, (*_ABOUT_SQL, *INFRASTRUCTURE))


def words(error: Error) -> str:
    """What an error says, in one line, as far as it cannot hold a value of a row.

    Errors about the SQL itself are told whole; what goes wrong while rows are computed is told by its kind alone, since
    DuckDB quotes the value it stumbled over.
    """
    if isinstance(error, _ABOUT_SQL):
        return str(error).splitlines()[0]
    return f"{type(error).__name__} while its rows were computed (the value is not shown)"


def identifier(name: str) -> str:
    """A name as SQL writes it, always quoted, so that no name can be a keyword or more than a name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
