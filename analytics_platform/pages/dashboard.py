"""A domain at a glance: what every domain is asked, and the panels it declares."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from analytics_platform.chart.image import svg
from analytics_platform.chart.question import MOST_POINTS, Plot, Question, plot
from analytics_platform.chart.spec import Spot, chart_spec, map_spec
from analytics_platform.contract.model import Domain
from analytics_platform.contract.panel import Aggregate, Kind, Panel, Place
from analytics_platform.duck import DuckDBPyConnection, identifier, literal
from analytics_platform.errors import QueryFailed
from analytics_platform.lake.listing import LiveTable, live_tables
from analytics_platform.lake.table import Lake
from analytics_platform.pages.figure import Figure, page
from analytics_platform.pages.measure import freshness, measure
from analytics_platform.parquet import rows_sql
from analytics_platform.query import ask, connect
from analytics_platform.settings import Settings

RECENT = timedelta(hours=48)
"""How far back the panels look that every dashboard has."""
MEMORY = "1GB"
"""What DuckDB may use; what does not fit spills to a temporary folder."""

_SIZE = (520, 220)
_MAP = (520, 300)
_NEVER = datetime.max.replace(tzinfo=UTC)


def dashboard(domain: Domain, settings: Settings, at: datetime) -> str:
    """The page of a domain, as HTML; it shows personal data of no table, and a panel that cannot be drawn says why.

    Rows are put together by DuckDB in bounded memory. Panels over the last hours read only files that can hold them; a
    declared panel reads its columns of all of its table.

    Args:
        domain: Whose tables.
        settings: Only `lake` is looked at.
        at: Now.
    """
    measured = measure([domain], Lake(settings.lake, settings.fsync), at)
    titles = [f"silver.{name}" for name in _events(domain)] + [f"gold.{mart.name}" for mart in domain.marts]
    promised = {f"silver.{event.name}": event.freshness for event in domain.events}
    promised |= {f"gold.{mart.name}": mart.freshness for mart in domain.marts}
    tables = [
        (title, f"{measured.tables[title].rows:,}", freshness(measured, title, promised[title]))
        for title in titles
        if title in measured.tables
    ]
    with (
        TemporaryDirectory(prefix="analytics-platform-") as temp,
        closing(connect(settings, memory_limit=MEMORY, temp=Path(temp))) as connection,
    ):
        figures = [
            *_operation(connection, domain, settings, at),
            *(_declared(connection, panel) for panel in domain.panels),
        ]
    return page(domain.name, figures, at, said=" ".join(domain.description.split()), tables=tables)


def _events(domain: Domain) -> list[str]:
    return sorted({event.name for event in domain.events})


def _operation(connection: DuckDBPyConnection, domain: Domain, settings: Settings, at: datetime) -> Iterator[Figure]:
    """What is asked of every domain, over the hours in which records were taken in."""
    tables = {table.title: table for table in live_tables(Lake(settings.lake, settings.fsync))}
    since = (at - RECENT).replace(minute=0, second=0, microsecond=0)
    silver = [
        f"SELECT {literal(name)} AS event, _ingested_at, _kafka_timestamp FROM "
        f"({_recent(tables[title], '_ingested_at', since)})"
        for name in _events(domain)
        if (title := f"silver.{name}") in tables
    ]
    connection.execute("CREATE SCHEMA dashboard")
    if silver:
        connection.execute(
            "CREATE VIEW dashboard.taken_in AS SELECT event, date_trunc('hour', _ingested_at) AS hour, "
            f"epoch(_ingested_at) - epoch(_kafka_timestamp) AS seconds FROM ({' UNION ALL '.join(silver)})"
        )
        connection.execute(
            "CREATE VIEW dashboard.freshness AS SELECT event, hour, approx_quantile(seconds, 0.95) AS seconds "
            "FROM dashboard.taken_in WHERE seconds IS NOT NULL GROUP BY event, hour"
        )
        counted = Question("dashboard.taken_in", "hour", "hour", "event", aggregate=Aggregate.COUNT)
        yield _figure(connection, "Rows taken in per hour", counted, Kind.BAR)
        age = Question("dashboard.freshness", "hour", "seconds", "event")
        yield _figure(connection, "From Kafka to silver: seconds that 95 % of the rows took at most", age, Kind.LINE)
    bad = tables.get(f"quarantine.{domain.name}")
    if bad is not None:
        connection.execute(
            "CREATE VIEW dashboard.quarantined AS SELECT date_trunc('hour', ingested_at) AS hour, unnest(codes) AS reason "
            f"FROM ({_recent(bad, 'ingested_at', since)})"
        )
        reasons = Question("dashboard.quarantined", "hour", "hour", "reason", aggregate=Aggregate.COUNT)
        yield _figure(connection, "Quarantined per hour, by reason", reasons, Kind.BAR)
    if not tables:
        yield Figure("The lake", notes=("has no tables yet",))


def _recent(table: LiveTable, column: str, since: datetime) -> str:
    """The rows since a time, of the files that can hold any."""
    snapshot = table.snapshot.touching(column, [(since, _NEVER)])
    rows = rows_sql(snapshot.paths, table.schema)
    return f"SELECT * FROM ({rows}) WHERE {column} >= TIMESTAMPTZ {literal(since.isoformat())}"


def _figure(connection: DuckDBPyConnection, title: str, question: Question, kind: Kind | None) -> Figure:
    found = plot(connection, question, kind)
    if found.rows.is_empty():
        hours = RECENT // timedelta(hours=1)
        nothing = f"nothing in the last {hours} hours" if question.table.startswith("dashboard.") else "no rows"
        return Figure(title, notes=(nothing,))
    return Figure(title, svg(chart_spec(found, kind, *_SIZE)), found.notes)


def _declared(connection: DuckDBPyConnection, panel: Panel) -> Figure:
    question = Question(panel.table, panel.x, panel.y, panel.by, aggregate=panel.aggregate, last=panel.last)
    try:
        if panel.place is not None:
            return _mapped(connection, panel, panel.place, question)
        return _figure(connection, panel.title, question, panel.kind)
    except QueryFailed as error:  # a table that is not there yet, say; the other panels are none the worse
        return Figure(panel.title, notes=(str(error),))


def _mapped(connection: DuckDBPyConnection, panel: Panel, place: Place, question: Question) -> Figure:
    found: Plot = plot(connection, question, most=MOST_POINTS)
    columns = ", ".join(f"CAST({identifier(name)} AS DOUBLE)" for name in (place.longitude, place.latitude))
    known = {
        str(key): (longitude, latitude)
        for batch in ask(
            connection,
            f"SELECT CAST({identifier(place.key)} AS VARCHAR), {columns} FROM reference.{identifier(place.table)}",
        ).batches()
        for key, longitude, latitude in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if longitude is not None and latitude is not None
    }
    rows = [(str(x), y) for x, _, y in found.rows.rows()]
    spots = [Spot(x, *known[x], y) for x, y in rows if x in known]
    notes = list(found.notes)
    if strays := sorted(x for x, _ in rows if x not in known):
        listed = ", ".join(strays[:10]) + (", …" if len(strays) > 10 else "")
        notes.append(f"without a place in reference.{place.table}: {listed}")
    if not spots:
        return Figure(panel.title, notes=(*notes, "no rows"))
    return Figure(panel.title, svg(map_spec(spots, found.y, *_MAP)), tuple(notes))
