import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from analytics_platform.demo.gauge import Contents, Freshness
from analytics_platform.demo.screen import Scene, line, screen, showing
from analytics_platform.demo.webserver import Run

EMPTY = Scene(
    url="http://127.0.0.1:3000",
    hint='analytics-platform sql "from gold.carrier_daily limit 5"',
    running_s=9.4,
    sent=0,
    by_kind={},
    per_second=0.0,
    event_time_us=0,
    waiting=False,
    all_sent=False,
    lag=0,
    freshness=None,
    contents=Contents({}, {}, None),
    runs=[],
    now=1_000_100.0,
)
BUSY = Scene(
    url="http://127.0.0.1:3000",
    hint='analytics-platform sql "from gold.carrier_daily limit 5"',
    running_s=61.0,
    sent=52_345,
    by_kind={"on_time": 50_000, "late": 500, "too_good": 0, "duplicate": 1_845},
    per_second=998.6,
    event_time_us=1_357_020_000_000_000,
    waiting=False,
    all_sent=False,
    lag=1_200,
    freshness=Freshness(1.24, 2.96, 4.0),
    contents=Contents({"bronze.flights_arrivals": 24_000, "silver.flight_arrived": 23_000}, {"wrong_type": 17}, None),
    runs=[
        Run("3f2a1c08-aaaa", "flights_burst", "STARTED", 1_000_090.0, None),
        Run("1e000000-aaaa", "flights_reference", "SUCCESS", 1_000_050.0, 1_000_060.0),
    ],
    now=1_000_100.0,
)


def drawn(scene: Scene) -> str:
    console = Console(file=io.StringIO(), width=140)
    with console.capture() as captured:
        console.print(screen(scene))
    return captured.get()


def test_before_anything_was_sent():
    assert line(EMPTY) == (
        "    9 s  sent 0 (0 per second)  lag 0  bronze 0  quarantine 0  silver 0  gold 0  freshness unknown yet  runs none yet"
    )
    assert "the sensor looks every few seconds" in drawn(EMPTY)


def test_at_work():
    assert line(BUSY) == (
        "   61 s  sent 52,345 (999 per second)  lag 1,200  bronze 24,000  quarantine 0  silver 23,000  gold 0  "
        "freshness 1.2 s (95 % within 3.0 s)  runs 1 started, 1 success"
    )
    found = drawn(BUSY)
    for row in (
        r"Dagster +http://127.0.0.1:3000",
        r'SQL +analytics-platform sql "from gold.carrier_daily limit 5"',
        r"sent +52,345 events up to 2013-01-01 06:00 UTC; 999 per second",
        r"bursts +3f2a1c08 started for 10 s; all runs: 1 started, 1 success",
        r"bronze.flights_arrivals +24,000 +wrong_type +17 +on_time +50,000",
    ):
        assert re.search(row, found), row
    assert "too_good" not in found


@pytest.mark.parametrize(("change", "said"), [("waiting", "holding back"), ("all_sent", "all sent")])
def test_why_nothing_is_sent(change, said):
    assert said in line(replace(BUSY, **{change: True}))


def test_a_line_now_and_then_where_there_is_no_terminal():
    out = io.StringIO()
    with showing(out, live=False) as show:
        show(EMPTY)
        show(BUSY)  # within five seconds of the other
    assert out.getvalue() == line(EMPTY) + "\n"


def test_the_whole_screen_on_a_terminal():
    out = io.StringIO()
    with showing(out, live=True) as show:
        show(EMPTY)
        show(BUSY)
    assert "52,345 events" in out.getvalue()
