"""Which columns of the tables below a mart's columns are computed from, read out of its SQL by sqlglot."""

from collections.abc import Mapping
from typing import NamedTuple

from analytics_platform.contract.model import Domain, MartContract
from analytics_platform.contract.schema import SESSION, reference_columns, silver_schema


class Source(NamedTuple):
    """A column of a table below."""

    layer: str
    """silver, reference or gold."""
    table: str
    column: str

    def __str__(self) -> str:
        """`silver.flight_departed.carrier`."""
        return ".".join(self)


def column_lineage(domain: Domain, mart: MartContract) -> Mapping[str, tuple[Source, ...]]:
    """The columns from which the values of each of a mart's columns come, sorted.

    A column that only counts rows comes from none. What decides which rows count (WHERE, JOIN … ON, GROUP BY) is no
    source of a value. Columns of SQL that sqlglot does not understand are left out: it knows DuckDB's dialect not as well
    as DuckDB.

    Takes some tenths of a second, most of it to import sqlglot.
    """
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415
    from sqlglot.lineage import lineage  # noqa: PLC0415

    schema = _schema(domain, mart)
    found = {}
    for field in mart.fields:
        try:
            node = lineage(field.name, mart.sql, schema=schema, dialect="duckdb")
        except (SqlglotError, ValueError, KeyError, AttributeError, RecursionError):
            continue
        sources = set()
        for leaf in node.walk():
            if not leaf.downstream and isinstance(leaf.source, exp.Table):
                column = leaf.name.rpartition(".")[2].strip('"')
                sources.add(_own(Source(leaf.source.db, leaf.source.name, column), mart))
        known = {one for one in sources if one.column in schema.get(one.layer, {}).get(one.table, {})}
        found[field.name] = tuple(sorted(known))
    return found


def _own(source: Source, mart: MartContract) -> Source:
    """Where the platform says which session a row is of: the time that it says so by."""
    if source.layer == "silver" and source.column == SESSION.name:
        return source._replace(column=mart.window.time_fields[source.table])
    return source


def _schema(domain: Domain, mart: MartContract) -> dict[str, dict[str, dict[str, str]]]:
    """By layer and table, the columns; their types are of no account."""
    session = [] if mart.window.session is None else [SESSION.name]
    marts = {one.name: one for one in domain.marts}
    references = {one.name: one for one in domain.references}
    columns = {
        "silver": {name: [*silver_schema(domain.versions_of(name)), *session] for name in mart.silver_inputs},
        "reference": {
            name: [one.name for one in reference_columns(references[name])] for name in mart.reference_inputs
        },
        "gold": {name: [field.name for field in marts[name].fields] for name in mart.gold_inputs},
    }
    return {
        layer: {table: dict.fromkeys(names, "VARCHAR") for table, names in tables.items()}
        for layer, tables in columns.items()
        if tables
    }
