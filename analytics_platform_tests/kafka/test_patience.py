from threading import Event

import pytest

from analytics_platform.kafka.patience import Patience


def test_an_answer_and_an_error() -> None:
    patience = Patience(60)
    assert patience.ask(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        patience.ask(lambda: 1 // 0)
    assert patience.ask(lambda: 8) == 8


def test_nothing_is_asked_while_an_answer_is_on_its_way() -> None:
    patience, ends, asked, done = Patience(0.05), Event(), Event(), Event()
    with pytest.raises(TimeoutError, match="no whole answer"):
        patience.ask(ends.wait)
    with pytest.raises(TimeoutError, match="an earlier answer"):
        patience.ask(asked.set)
    patience.afterwards(done.set)
    assert (asked.is_set(), done.is_set()) == (False, False)
    ends.set()
    assert done.wait(60)
    patience.ask(asked.set)
    assert asked.is_set()


def test_work_that_has_nothing_to_wait_for_is_done_at_once() -> None:
    patience, done = Patience(60), Event()
    patience.afterwards(done.set)
    assert done.is_set()
    patience.ask(done.clear)
    patience.afterwards(done.set)
    assert done.is_set()
