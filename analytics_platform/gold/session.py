"""Sessions: whose they are, and from when to when, as far as new rows can have changed them.

A session is all rows of one key that follow each other with no more than a gap between one and the next, over all of a
mart's silver inputs together. It begins and ends with its rows, so a row that comes late may make it longer or join two
to one. Which ones those are is found by reading outwards from the new rows until there is silence on both sides; only
rows of their keys count, and only files that can hold such times are read.

A row without a part of the key is of no session.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import polars as pl

from analytics_platform import duck, window
from analytics_platform.contract.model import MartContract, Session, Window
from analytics_platform.contract.schema import SESSION
from analytics_platform.errors import MartBroken
from analytics_platform.gold.source import Input
from analytics_platform.gold.table import inside
from analytics_platform.lake.files import merged

AT, FIRST, LAST = "_at", "_first", "_last"
"""When a row was, and when the first and the last of a session were: no column of a contract has such a name."""

_SEED = "_seed"
_US = timedelta(microseconds=1)


def all_of(inputs: Sequence[Input], session: Session) -> pl.DataFrame:
    """All sessions: their key, `_first` and `_last`."""
    parts = [item.snapshot.scan().select(*session.by, pl.col(item.time_field).alias(AT)) for item in inputs]
    return _cut(times(parts), session).drop(_SEED)


def around(inputs: Sequence[Input], session: Session, seeds: pl.DataFrame) -> pl.DataFrame | None:
    """The whole sessions that some rows are of: their key, `_first` and `_last`.

    None where one reaches so near to the ends of the calendar that ranges around it have no name.

    Args:
        inputs: The rows are theirs.
        session: How they are cut.
        seeds: The rows: their key and `_at`.
    """
    found, reach = _cut(seeds, session), 2 * session.gap
    closed = [found.clear()]
    while not found.is_empty():
        if window.at_the_end(pl.concat([found[FIRST] - reach, found[LAST] + reach])):
            return None
        spans = merged(
            [(first - reach, last + reach + _US) for first, last in found.select(FIRST, LAST).iter_rows()],
            most=window.MOST_RANGES,
        )
        keys = found.select(session.by).unique()
        parts = [
            item.snapshot.touching(item.time_field, spans)
            .scan()
            .filter(inside(item.time_field, spans))
            .select(*session.by, pl.col(item.time_field).alias(AT))
            .join(keys.lazy(), on=session.by, how="semi")
            for item in inputs
        ]
        seen = times(parts).with_columns(pl.lit(value=False).alias(_SEED))
        known = found.select(*session.by, pl.col(FIRST).alias(AT), pl.lit(value=True).alias(_SEED))
        found = _cut(pl.concat([seen, known]), session).filter(_SEED)
        # Rows within what was read may be left out between two that are near to each other, never at the sides.
        silent = _covers(spans, pl.col(FIRST) - session.gap, pl.col(FIRST)) & _covers(
            spans, pl.col(LAST), pl.col(LAST) + session.gap
        )
        closed.append(found.filter(silent))
        found, reach = found.filter(~silent), 2 * reach
    return pl.concat(closed).drop(_SEED)


def times(parts: Iterable[pl.LazyFrame]) -> pl.DataFrame:
    """Some rows of a mart's inputs, a key and a time once; those without a part of their key are left out."""
    return pl.concat(pl.collect_all([part.drop_nulls().unique() for part in parts])).unique()


def spans_of(sessions: pl.DataFrame) -> list[window.Span]:
    """Ranges that cover some sessions, and may cover more."""
    found = [(first, last + _US) for first, last in sessions.select(FIRST, LAST).iter_rows()]
    return merged(found, most=window.MOST_RANGES)


def ended(sessions: pl.DataFrame, session: Session) -> pl.Series:
    """From when on a row would be too late to be of each session."""
    return sessions[LAST] + session.gap + _US


def owned(rows: pl.DataFrame, time: str, sessions: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Those rows that are of some sessions, by their key and a time, with `_first` and `_last`."""
    found = rows.sort(time).join_asof(
        sessions.sort(FIRST), left_on=time, right_on=FIRST, by=list(session.by), coalesce=False, check_sortedness=False
    )
    return found.filter(pl.col(time) <= pl.col(LAST))


def rows_sql(connection: duck.DuckDBPyConnection, sql: str, time: str, cut: Window, sessions: pl.DataFrame) -> str:
    """A SELECT of those of another's rows that are of some sessions, with `_session` behind their columns."""
    if cut.session is None:
        raise ValueError("windows that are no sessions")
    connection.register("its_sessions", sessions.to_arrow())
    equal = " AND ".join(f"its_rows.{duck.identifier(name)} = its_sessions.{name}" for name in cut.session.by)
    at = f"its_rows.{duck.identifier(time)}"
    return (
        f"SELECT its_rows.*, its_sessions.{FIRST} AS {SESSION.name} FROM ({sql}) AS its_rows "
        f"ASOF JOIN its_sessions ON {equal} AND {at} >= its_sessions.{FIRST} WHERE {at} <= its_sessions.{LAST}"
    )


def check(mart: MartContract, rows: pl.DataFrame, sessions: pl.DataFrame) -> None:
    """Complain of rows that are of none of the sessions that they were to be made of.

    Raises:
        MartBroken: There are some.
    """
    if mart.window.session is None:
        return
    column, by = mart.window.column, list(mart.window.session.by)
    if not rows.join(sessions, left_on=[*by, column], right_on=[*by, FIRST], how="anti").is_empty():
        of = ", ".join(by)
        raise MartBroken(mart.name, f"its SQL returns a {column} at which no session of its {of} starts")


def _cut(rows: pl.DataFrame, session: Session) -> pl.DataFrame:
    """The sessions of some rows, and whether one of each is a seed; without that column, all are."""
    if _SEED not in rows.columns:
        rows = rows.with_columns(pl.lit(value=True).alias(_SEED))
    ordered = rows.sort(*session.by, AT)
    other_key = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in session.by)
    begins = (other_key | (pl.col(AT).diff() > session.gap)).fill_null(value=True)
    return (
        ordered.group_by(begins.cum_sum().alias("_number"))
        .agg(
            *(pl.col(name).first() for name in session.by),
            pl.col(AT).min().alias(FIRST),
            pl.col(AT).max().alias(LAST),
            pl.col(_SEED).any(),
        )
        .drop("_number")
    )


def _covers(spans: Sequence[tuple[datetime, datetime]], start: pl.Expr, last: pl.Expr) -> pl.Expr:
    """Whether all between two instants, both included, lies within one of some ranges."""
    return pl.any_horizontal((start >= begin) & (last < end) for begin, end in spans)
