"""The SQL function that says which windows a row falls into."""

from datetime import timedelta

from analytics_platform import duck
from analytics_platform.contract.model import Window

FUNCTION = "window_starts"
_DAY = timedelta(days=1)


def function_sql(window: Window) -> str:
    """Makes `window_starts(x)`: the starts of all windows that an instant, or a day, falls into, the latest first.

    A list of dates where windows begin daily, else of timestamps. Of tumbling windows it has one item. Where windows are
    sessions there is no such function, since a row alone does not say in which it is.
    """
    if window.session is not None:
        return f"DROP MACRO IF EXISTS {FUNCTION}"
    count, made = window.overlap, f"CREATE OR REPLACE TEMP MACRO {FUNCTION}"
    if window.step == _DAY:
        # One function for both types: DuckDB (2.0) loses its way where a function with typed parameters stands in UNNEST.
        local = f"CAST(timezone({duck.literal(window.timezone)}, CAST(x AS TIMESTAMPTZ)) AS DATE)"
        latest = f"CASE WHEN typeof(x) = 'DATE' THEN CAST(x AS DATE) ELSE {local} END"
        return f"{made}(x) AS list_transform(range({count}), lambda k: {latest} - CAST(k AS INTEGER))"
    seconds = int(window.step.total_seconds())
    start = f"time_bucket(INTERVAL '{seconds} seconds', x, TIMESTAMPTZ '2000-01-01 00:00:00+00')"
    return f"{made}(x) AS list_transform(range({count}), lambda k: {start} - to_seconds(k * {seconds}))"
