"""SQL of contracts, tried over empty tables before any row exists."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from typing import Any

import polars as pl
from polars.datatypes import DataType

from analytics_platform import duck
from analytics_platform.contract.complaint import one_of
from analytics_platform.contract.hop import function_sql
from analytics_platform.contract.model import (
    EventContract,
    Field,
    LogicalType,
    MartContract,
    ReferenceContract,
    Window,
)
from analytics_platform.contract.schema import (
    SESSION,
    polars_schema,
    reference_columns,
    schema_of,
    silver_schema,
)
from analytics_platform.contract.treatment import is_personal, is_treated

_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
_WORD = re.compile(r"\w+")
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest"}
_CLOCKS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today", "now"}
"""Names that DuckDB takes as functions without parentheses."""
_SAID_TO_BE_STEADY = {"current_localtime", "current_localtimestamp"}
"""Clocks that DuckDB (2.0) calls consistent; so is `age` of one argument, which counts from today."""
_JSON_READERS = {"->", "->>", "json_extract", "json_extract_string", "json_value", "json_exists", "json_type"}
_PLAIN_PATH = re.compile(r"\$(\.\w+)+")
_NOT_OF_ONE_ROW = {
    "WINDOW": "a window function",
    "SUBQUERY": "a subquery",
    "STAR": "columns without their names",
    "POSITIONAL_REFERENCE": "a column by its number",
}
"""What an expression over the named columns of one row has none of, by DuckDB's classes."""
_ANY_ORDER = {"first", "last", "any_value", "arbitrary", "list", "array_agg", "string_agg", "group_concat", "listagg"}
"""Aggregates whose result depends on the order of rows, unless they are given one."""


class SqlRefused(Exception):
    """SQL that the platform does not run; becomes a complaint."""

    def __init__(self, found: str, allowed: str, line: int | None = None, *, is_consequence: bool = False) -> None:
        """`is_consequence`: it reads a table whose own contract is wrong, so there is nothing to say about the SQL."""
        self.found, self.allowed, self.line, self.is_consequence = found, allowed, line, is_consequence
        super().__init__(found)


class Bench:
    """Empty silver and reference tables of one domain, in a DuckDB of their own. Close it after use."""

    def __init__(
        self, events: Mapping[str, Sequence[EventContract]], references: Iterable[ReferenceContract], broken: set[str]
    ) -> None:
        """Lay out the tables.

        Args:
            events: The versions of each event type.
            references: The reference tables.
            broken: Names as `silver.x` of tables that exist, but whose contract is wrong.
        """
        self._connection = duck.connect(threads=1)
        self._broken = broken
        self._versions = {f"silver.{name}": tuple(versions) for name, versions in events.items()}
        self._tables = {f"silver.{name}": silver_schema(versions) for name, versions in events.items()}
        self._tables |= {f"reference.{item.name}": schema_of(reference_columns(item)) for item in references}
        self._marts: set[str] = set()
        for layer in ("silver", "reference", "gold"):
            self._connection.execute(f"CREATE SCHEMA {layer}")
        for table, schema in self._tables.items():
            self._create(table, schema)
        duck.lock_down(self._connection)

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def name_marts(self, names: Iterable[str]) -> None:
        """The marts of the domain, which other marts may read; `add_mart` lays each out once it is known to be right."""
        self._marts = {f"gold.{name}" for name in names}

    def add_mart(self, mart: MartContract) -> None:
        """Lay out an empty table of a mart."""
        self._create(f"gold.{mart.name}", polars_schema(mart.fields))

    def inputs(self, sql: str, mart: str) -> list[tuple[str, str]]:
        """Layer and name of every table that the SQL of a mart reads.

        Raises:
            SqlRefused: It is not one SELECT, reads something else than this domain's tables above bronze, or would not
                give the same rows for the same tables.
        """
        tree = self._tree(sql)
        names = _tables_in(tree)
        known = (set(self._tables) | self._broken | self._marts) - {f"gold.{mart}"}
        for name in sorted(names - known):
            raise SqlRefused(f"the table {name}", one_of(sorted(known), name))
        self._refuse_unsteady(tree)
        if not any(name.startswith(("silver.", "gold.")) for name in names):
            raise SqlRefused("no silver table and no mart", "is a mart over at least one of them")
        for name in sorted(names & self._broken):
            raise SqlRefused(f"the table {name}", "is a table whose contract is right", is_consequence=True)
        return [_split(name) for name in sorted(names)]

    def columns(self, sql: str, window: Window, in_sessions: Sequence[str] = ()) -> dict[str, str]:
        """Names and DuckDB types of the columns that the SQL of a mart with such windows returns over empty tables.

        `in_sessions`: names of silver tables that say of each row which session it is of.

        Raises:
            SqlRefused: DuckDB does not run it, or it names a column twice.
        """
        self._connection.execute(function_sql(window))
        self._connection.execute("BEGIN")
        try:
            for name in in_sessions:
                table, column = duck.identifier(name), duck.identifier(SESSION.name)
                self._connection.execute(f"ALTER TABLE silver.{table} ADD COLUMN {column} TIMESTAMPTZ")
            result = self._connection.execute(sql)
            names, kinds = _columns_of(result)
            result.fetchall()
        except duck.Error as error:
            raise _refused(error) from error
        finally:
            self._connection.execute("ROLLBACK")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SqlRefused(f"the column {twice[0]} twice", "is each column once")
        return dict(zip(names, kinds, strict=True))

    def check_rule(self, event: EventContract, sql: str) -> None:
        """Try a row rule over the event's own columns.

        Raises:
            SqlRefused: It is not one boolean expression over single rows.
        """
        allowed = "is one boolean expression over the contract's columns"
        self._check_expression(polars_schema(event.fields), sql, "BOOLEAN", allowed)

    def check_expression(self, columns: Mapping[str, DataType], sql: str, kind: str, over: str) -> None:
        """Try an expression over the columns of a single row, that has to be of one of DuckDB's types.

        `over`: what the columns are, in words.

        Raises:
            SqlRefused: It is not one expression over single rows, or of another type.
        """
        self._check_expression(columns, sql, kind, f"is one expression of type {kind} over {over}")

    def names(self, sql: str) -> set[str]:
        """Every name an expression mentions as a column or a part of one, in lower case.

        Raises:
            SqlRefused: It is not one expression.
        """
        nodes = list(_nodes(self._tree(f"SELECT (\n{sql}\n)")))
        return {str(name).lower() for node in nodes for name in node.get("column_names") or ()} | _called_on(nodes)

    def paths(self, sql: str, column: str) -> list[tuple[str, ...]] | None:
        """The paths at which an expression reads a column of JSON; None where it does not say them, and may read all.

        Raises:
            SqlRefused: It is not one expression.
        """
        nodes = list(_nodes(self._tree(f"SELECT (\n{sql}\n)")))
        if column in _called_on(nodes):
            return None
        reads = [
            node for node in nodes if [str(name).lower() for name in node.get("column_names") or ()][-1:] == [column]
        ]
        found = [path for node in nodes if (path := _path_read(node, column)) is not None]
        return found if len(found) == len(reads) and all(found) else None

    def _check_expression(self, columns: Mapping[str, DataType], sql: str, kind: str, allowed: str) -> None:
        # The line breaks keep a comment at the end of the expression from swallowing what follows.
        query = f"SELECT (\n{sql}\n) AS passes FROM candidate"
        try:
            tree = self._tree(query)
        except SqlRefused as other:
            raise SqlRefused(other.found, allowed) from other
        self._create("candidate", columns)
        try:
            if _tables_in(tree) != {"candidate"}:
                raise SqlRefused("another table", allowed)
            classes = {node.get("class") for node in _nodes(tree)}
            for word, found in _NOT_OF_ONE_ROW.items():
                if word in classes:
                    raise SqlRefused(found, allowed)
            self._refuse_unsteady(tree)
            result = self._connection.execute(query)
            _, kinds = _columns_of(result)
            if kinds != [kind]:
                raise SqlRefused(f"an expression of type {', '.join(kinds)}", allowed)
            if result.fetchall():
                raise SqlRefused("an aggregate", allowed)
            # As it will run: inside of TRY, and over rows that have another name and no rowid.
            self._connection.execute(
                f"SELECT TRY({{'value': (\n{sql}\n)}}) FROM (FROM candidate) AS its_rows"
            ).fetchall()
        except duck.Error as error:
            refused = _refused(error)
            raise SqlRefused(refused.found, allowed) from error
        finally:
            self._connection.execute("DROP TABLE candidate")

    def types(self, fields: Sequence[Field]) -> dict[str, str]:
        """Names and DuckDB types of fields."""
        self._create("fields", polars_schema(fields))
        names, kinds = _columns_of(self._connection.execute("FROM fields"))
        self._connection.execute("DROP TABLE fields")
        return dict(zip(names, kinds, strict=True))

    def silver(self, name: str) -> Mapping[str, DataType]:
        """Names and types of the columns of a silver table."""
        return self._tables[f"silver.{name}"]

    def timestamps(self, layer: str, name: str) -> list[str]:
        """Timestamps that every row of a silver table has, and that may stand in a log: not dropped, not classified."""
        per_version = [
            {
                field.name
                for field in contract.fields
                if field.required
                and field.type is LogicalType.TIMESTAMP
                and not is_treated(field)
                and not is_personal(field)
            }
            for contract in self._versions[f"{layer}.{name}"]
        ]
        return sorted(set.intersection(*per_version))

    def _create(self, table: str, schema: Mapping[str, DataType]) -> None:
        self._connection.register("empty_frame", pl.DataFrame(schema=schema).to_arrow())
        name = ".".join(duck.identifier(part) for part in table.split("."))
        self._connection.execute(f"CREATE TABLE {name} AS FROM empty_frame")
        self._connection.unregister("empty_frame")

    def _tree(self, sql: str) -> Any:
        """DuckDB's own reading of one SELECT, before it looks for the tables."""
        try:
            statements = self._connection.extract_statements(sql)
            kinds = [statement.type.name for statement in statements]
            if kinds != ["SELECT"]:
                raise SqlRefused(" and ".join(kinds) or "no statement", "is one SELECT")
            text = self._connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
        except duck.Error as error:
            raise _refused(error) from error
        return json.loads(text)

    def _refuse_unsteady(self, tree: Any) -> None:
        """A mart is computed again whenever a row comes late: the same rows in must be the same rows out."""
        for node in _nodes(tree):
            name = str(node.get("function_name", "")).lower()
            orders = (node.get("order_bys") or {}).get("orders")
            column = ".".join(node.get("column_names") or []).lower()
            if name == "age" and len(node.get("arguments") or ()) == 1:
                raise SqlRefused("the function age of one argument", "are functions of the rows alone")
            if name in _unsteady_functions() or column in _CLOCKS:
                raise SqlRefused(f"the function {name or column}", "are functions of the rows alone")
            if name in _ANY_ORDER and node.get("class") == "FUNCTION" and not orders:
                raise SqlRefused(f"{name} without ORDER BY", "is a result that does not depend on the order of rows")
            if node.get("type") == "TABLE_FUNCTION" and _function_of(node) not in _TABLE_FUNCTIONS:
                raise SqlRefused(f"the table function {_function_of(node)}", one_of(sorted(_TABLE_FUNCTIONS)))


def _tables_in(tree: Any) -> set[str]:
    """Every table that a SELECT names and does not define itself.

    `get_table_names` of DuckDB 2.0 would do, but it binds the SELECT against tables without columns, and so refuses
    `a LEFT JOIN b USING (x) LEFT JOIN c USING (x)`.
    """
    own = {entry["key"] for node in _nodes(tree) for entry in (node.get("cte_map") or {}).get("map", ())}
    names = set()
    for node in _nodes(tree):
        if node.get("type") == "BASE_TABLE":
            parts = [node.get("catalog_name"), node.get("schema_name"), node.get("table_name")]
            names.add(".".join(part for part in parts if part))
    return names - own


@cache
def _unsteady_functions() -> frozenset[str]:
    """Functions that DuckDB does not call consistent (clocks, chance, the session), and its macros over them."""
    query = "SELECT DISTINCT function_name, stability, macro_definition FROM duckdb_functions()"
    with closing(duck.connect(threads=1)) as connection:
        known = connection.execute(query).fetchall()
    own = {str(name) for name, stability, _ in known if stability not in {None, "CONSISTENT"}} | _SAID_TO_BE_STEADY
    # A macro may well say when it fails.
    named = (own | _CLOCKS) - {"error"}
    return frozenset(own | {str(name) for name, _, text in known if named & {*_WORD.findall(str(text).lower())}})


def _refused(error: Exception) -> SqlRefused:
    text = str(error)
    line = _LINE.search(text)
    reason = " ".join(_LINE.split(text)[0].split())
    return SqlRefused(
        f"SQL that DuckDB refuses ({reason})",
        "is one SELECT over silver.*, reference.* and gold.*",
        int(line[1]) if line else None,
    )


def _columns_of(result: duck.DuckDBPyConnection) -> tuple[list[str], list[str]]:
    """Names and DuckDB types of a result's columns."""
    return [column[0] for column in result.description], [str(column[1]) for column in result.description]


def _split(name: str) -> tuple[str, str]:
    layer, _, table = name.partition(".")
    return layer, table


def _called_on(nodes: Iterable[Mapping[str, Any]]) -> set[str]:
    """In lower case, what stands before the dot of functions: `name.upper()` reads as `upper` of the schema `name`."""
    return {str(node.get(key) or "").lower() for node in nodes for key in ("catalog", "schema")} - {""}


def _path_read(node: Mapping[str, Any], column: str) -> tuple[str, ...] | None:
    """The path at which a function reads a column of JSON, empty where that is all of it; None if it is another function."""
    if str(node.get("function_name", "")).lower() not in _JSON_READERS:
        return None
    arguments: list[dict[str, Any]] = [one.get("expression") or {} for one in node.get("arguments") or [{}]]
    holder, *rest = arguments
    if [str(name).lower() for name in holder.get("column_names") or ()][-1:] != [column]:
        return None
    literal = (rest[0].get("literal") or {}) if len(rest) == 1 else {}
    if literal.get("kind") != "STRING":
        return ()
    text = str(literal.get("text"))
    if text.startswith("/"):
        return tuple(text[1:].split("/")) if "~" not in text else ()
    if not text.startswith("$"):
        # DuckDB takes these for all of the value, for every member, and for a pointer.
        return () if text in {"", "*"} or '"' in text else (text,)
    return tuple(text[2:].split(".")) if _PLAIN_PATH.fullmatch(text) else ()


def _function_of(node: Mapping[str, Any]) -> str:
    return str((node.get("function") or {}).get("function_name", "")).lower()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)
