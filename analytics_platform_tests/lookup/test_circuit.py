from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.lookup.circuit import Circuit


def circuit() -> Circuit:
    return Circuit(3, timedelta(seconds=30))


def test_failures_in_a_row_open_it() -> None:
    found = circuit()
    for _ in range(2):
        found.failed(0)
    found.succeeded()
    for _ in range(2):
        found.failed(0)
    assert found.admits(0)
    found.failed(0)
    assert not found.admits(0)
    assert found.opened == 1


def test_after_the_pause_one_question_tries() -> None:
    found = circuit()
    for _ in range(3):
        found.failed(100)
    assert not found.admits(129.9)
    assert found.admits(130)
    assert not found.admits(1000)
    found.failed(140)
    assert not found.admits(169.9)
    assert found.admits(170)
    found.succeeded()
    assert found.admits(170)
    assert found.admits(170)
    assert found.opened == 1


@given(st.lists(st.tuples(st.sampled_from(["ask", "answered", "failed"]), st.floats(0, 20)), max_size=60))
def test_a_service_that_fails_is_asked_once_a_pause(steps: list[tuple[str, float]]) -> None:
    found, now, row, asked_at = circuit(), 0.0, 0, -1e9
    for step, seconds in steps:
        now += seconds
        match step:
            case "ask":
                if found.admits(now) and row >= 3:
                    assert now - asked_at >= 30
                    asked_at = now
            case "answered":
                found.succeeded()
                row, asked_at = 0, -1e9
            case "failed":
                found.failed(now)
                row, asked_at = row + 1, now
