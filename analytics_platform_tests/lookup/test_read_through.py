import random
import threading
import time
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.lookup import read_through
from analytics_platform.lookup.answer import LATE, NOT_FOUND, Answer, Found, Key, Unavailable
from analytics_platform.lookup.counts import Counts
from analytics_platform_tests.lookup.rates import Clock, Rates, lookup, opened, settle

EUR, CHF, USD, NOWHERE = ("EUR",), ("CHF",), ("USD",), ("XXX",)
OPEN, TIMEOUT, BUSY = (Unavailable(why) for why in ("breaker open", "timeout", "questions given up still run"))


def test_what_was_found_is_asked_for_once() -> None:
    clock = Clock()
    rates = Rates(clock)
    with opened(lookup(), rates, clock) as found:
        expected = {EUR: Found({"at": 1000.0}), NOWHERE: NOT_FOUND}
        assert found.ask([EUR, NOWHERE, EUR]) == expected
        clock.now += 9
        assert found.ask([EUR, NOWHERE]) == expected
        assert rates.asked == [[EUR], [NOWHERE]]
        clock.now += 1
        found.ask([EUR, NOWHERE])
        assert rates.asked == [[EUR], [NOWHERE], [NOWHERE]]
        clock.now += 90
        assert found.ask([EUR]) == {EUR: Found({"at": 1100.0})}
        assert found.counts() == Counts(asked=7, hits=2, negative_hits=1, misses=4)
        assert found.counts() == Counts()


def test_keys_that_no_service_can_know_are_not_asked_for() -> None:
    clock = Clock()
    rates = Rates(clock)
    with opened(lookup(), rates, clock) as found:
        assert found.ask([(None,), ("x" * 2000,)]) == {(None,): NOT_FOUND, ("x" * 2000,): NOT_FOUND}
        assert found.counts() == Counts(asked=2, unaskable=2)
    assert rates.asked == []


def test_many_keys_in_few_questions() -> None:
    clock = Clock()
    rates = Rates(clock, most=100)
    keys: list[Key] = [(number,) for number in range(250)]
    with opened(lookup(), rates, clock) as found:
        assert found.ask(keys) == {key: Found({"at": 1000.0}) for key in keys}
    assert [len(asked) for asked in rates.asked] == [100, 100, 50]


def test_more_keys_than_the_cache_holds() -> None:
    clock = Clock()
    rates = Rates(clock, most=100)
    keys: list[Key] = [(number,) for number in range(50)]
    with opened(lookup(entries=10), rates, clock) as found:
        assert found.ask(keys) == {key: Found({"at": 1000.0}) for key in keys}
        found.ask(keys[-10:])
        assert len(rates.asked) == 1


def test_a_service_that_is_down_leaves_what_was_found_and_then_nothing() -> None:
    clock = Clock()
    rates = Rates(clock)
    with opened(lookup(), rates, clock) as found:
        found.ask([EUR, NOWHERE])
        rates.down = True
        clock.now += 1099
        assert found.ask([EUR, CHF, NOWHERE]) == {
            EUR: Found({"at": 1000.0}, stale=True),
            CHF: Unavailable("down"),
            NOWHERE: Unavailable("down"),
        }
        clock.now += 1
        assert found.ask([EUR]) == {EUR: OPEN}
        counts = found.counts()
        assert (counts.stale, counts.unavailable, counts.failures, counts.opened) == (1, 3, 3, 1)
        assert counts.why == {"down": 3}
        clock.now += 30
        rates.down = False
        assert found.ask([EUR]) == {EUR: Found({"at": clock.now})}


def test_a_service_that_fails_is_left_alone_until_one_question_is_answered() -> None:
    clock = Clock()
    rates = Rates(clock, down=True)
    with opened(lookup(), rates, clock) as found:
        answers = found.ask([(number,) for number in range(100)])
        assert list(answers.values()) == [Unavailable("down")] * 3 + [OPEN] * 97
        assert found.ask([EUR]) == {EUR: OPEN}
        assert len(rates.asked) == 3
        clock.now += 30
        assert list(found.ask([EUR, CHF, USD]).values()) == [Unavailable("down"), OPEN, OPEN]
        clock.now += 30
        rates.down = False
        assert list(found.ask([EUR, CHF, USD]).values()) == [Found({"at": clock.now})] * 3
        assert found.counts().opened == 1


def test_while_one_question_tries_the_others_wait_for_its_end() -> None:
    clock = Clock()
    rates = Rates(clock, down=True)
    answers = []
    with opened(lookup(breaker_failures=1, concurrency=3), rates, clock) as found:
        found.ask([EUR])
        clock.now += 30
        rates.down, rates.hangs = False, True
        assert rates.begun.acquire(timeout=60)
        asker = threading.Thread(target=lambda: answers.append(found.ask([EUR, CHF, USD])))
        asker.start()
        assert rates.begun.acquire(timeout=60)
        assert not rates.begun.acquire(timeout=0.05)
        rates.released.set()
        asker.join()
    assert answers == [dict.fromkeys([EUR, CHF, USD], Found({"at": 1030.0}))]


def test_a_key_that_is_refused_counts_not_against_the_service() -> None:
    class Picky(Rates):
        def ask(self, keys: Sequence[Key]) -> Mapping[Key, Answer] | Unavailable:
            known = super().ask(keys)
            assert not isinstance(known, Unavailable)
            return {key: Unavailable("HTTP 400") if key[0] == "bad" else known[key] for key in keys if key[0] != "gone"}

    clock = Clock()
    with opened(lookup(breaker_failures=1), Picky(clock, most=9), clock) as found:
        for _ in range(3):
            assert found.ask([("bad",), ("gone",)]) == {
                ("bad",): Unavailable("HTTP 400"),
                ("gone",): Unavailable("no answer to this key"),
            }
        assert found.ask([EUR]) == {EUR: Found({"at": 1000.0})}
        assert found.counts() == Counts(asked=7, misses=7, unavailable=6)


def test_what_an_error_says_stays_where_it_was_raised() -> None:
    clock = Clock()
    rates = Rates(clock, poison=EUR)
    with opened(lookup(), rates, clock) as found:
        assert found.ask([EUR]) == {EUR: Unavailable("ZeroDivisionError")}
        assert found.ask([CHF]) == {CHF: Found({"at": 1000.0})}


@pytest.mark.parametrize("poisoned", [0, 37, 99])
def test_a_key_that_a_function_fails_on_takes_no_other_answer_away(poisoned: int) -> None:
    clock = Clock()
    rates = Rates(clock, most=100, poison=(poisoned,))
    keys: list[Key] = [(number,) for number in range(100)]
    with opened(lookup(), rates, clock) as found:
        answers = found.ask(keys)
        expected = {key: Found({"at": 1000.0}) for key in keys} | {(poisoned,): Unavailable("ZeroDivisionError")}
        assert answers == expected
        assert found.counts().opened == 0


def test_a_question_that_hangs_is_given_up_and_its_answer_kept_if_it_comes() -> None:
    rates = Rates(time.monotonic, hangs=True)
    with opened(lookup(timeout=0.05), rates, time.monotonic) as found:
        assert found.ask([EUR]) == {EUR: TIMEOUT}
        # The only thread hangs: nobody waits for it.
        assert found.ask([EUR, CHF]) == {EUR: BUSY, CHF: BUSY}
        assert rates.asked == [[EUR]]
        rates.released.set()
        settle(found)
        assert read_through._stuck["rate"] == 0
        assert isinstance(found.ask([EUR])[EUR], Found)
        assert rates.asked == [[EUR]]


def test_threads_that_hang_are_counted_over_bursts() -> None:
    rates, after = Rates(time.monotonic, hangs=True), Rates(time.monotonic)
    with opened(lookup(timeout=0.05, concurrency=2, breaker_failures=9), rates, time.monotonic) as found:
        assert found.ask([EUR, CHF]) == {EUR: TIMEOUT, CHF: TIMEOUT}
        found.close()
        second = read_through.ReadThrough(lookup(concurrency=2), after, time.monotonic)
        assert second.ask([EUR]) == {EUR: BUSY}
        rates.released.set()
        assert rates.closed.wait(60)
        assert isinstance(second.ask([EUR])[EUR], Found)
        second.close()


def test_a_batch_waits_no_longer_than_it_may() -> None:
    rates = Rates(time.monotonic, hangs=True)
    with opened(lookup(wait=0.05), rates, time.monotonic) as found:
        assert found.ask([EUR, CHF]) == {EUR: LATE, CHF: LATE}
        assert found.counts().failures == 0
        rates.released.set()
        settle(found)
        # It was still at work; what it found is there, and what had not begun never does.
        assert isinstance(found.ask([EUR])[EUR], Found)
        assert rates.asked == [[EUR]]


def test_two_who_want_one_key_ask_for_it_once() -> None:
    clock = Clock()
    rates = Rates(clock, hangs=True)
    answers = []
    with opened(lookup(concurrency=4), rates, clock) as found:
        first = threading.Thread(target=lambda: answers.append(found.ask([EUR])))
        first.start()
        assert rates.begun.acquire(timeout=60)
        second = threading.Thread(target=lambda: answers.append(found.ask([EUR, CHF])))
        second.start()
        assert rates.begun.acquire(timeout=60)
        rates.released.set()
        first.join()
        second.join()
    assert sorted(map(len, answers)) == [1, 2]
    assert sorted(rates.asked) == [[CHF], [EUR]]


def test_no_more_questions_at_once_than_allowed() -> None:
    clock = Clock()
    rates = Rates(clock, hangs=True)
    with opened(lookup(concurrency=3), rates, clock) as found:
        asker = threading.Thread(target=lambda: found.ask([(number,) for number in range(10)]))
        asker.start()
        for _ in range(3):
            assert rates.begun.acquire(timeout=60)
        assert not rates.begun.acquire(timeout=0.05)
        rates.released.set()
        asker.join()
    assert len(rates.asked) == 10


def test_a_source_is_closed_when_its_last_question_has_ended() -> None:
    rates = Rates(time.monotonic, hangs=True)
    with opened(lookup(wait=0.05), rates, time.monotonic) as found:
        found.ask([EUR])
        found.close()
        assert not rates.closed.is_set()
        assert found.ask([CHF]) == {CHF: BUSY}
        rates.released.set()
        assert rates.closed.wait(60)


def test_a_key_that_is_none_leaves_nothing_behind() -> None:
    clock = Clock()
    with opened(lookup(), Rates(clock), clock) as found:
        with pytest.raises(AttributeError):
            found.ask([EUR, (1.5,)])  # type: ignore[list-item]
        assert found.ask([EUR]) == {EUR: Found({"at": 1000.0})}


def test_a_machine_that_has_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock = Clock()
    with opened(lookup(), Rates(clock), clock) as found:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert found.ask([EUR]) == {EUR: BUSY}
        assert found.ask([EUR]) == {EUR: Found({"at": 1000.0})}


def test_many_who_ask_at_once_of_a_source_that_often_fails() -> None:
    chance = random.Random(4711)

    class Moody(Rates):
        def ask(self, keys: Sequence[Key]) -> Mapping[Key, Answer] | Unavailable:
            self.down = chance.random() < 0.5
            if chance.random() < 0.2:
                raise OSError
            return super().ask(keys)

    moody = Moody(time.monotonic, most=3)
    changes = {"ttl": 0.001, "negative_ttl": 0, "stale": 0.001, "breaker_pause": 0.0001}
    with opened(lookup(concurrency=4, **changes), moody, time.monotonic) as found:

        def many() -> None:
            for _ in range(200):
                keys: list[Key] = [(number,) for number in chance.sample(range(30), 12)]
                assert found.ask(keys).keys() == set(keys)

        askers = [threading.Thread(target=many) for _ in range(4)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert not found._flying
        assert not found._queue
        counts = found.counts()
        assert counts.asked == 4 * 200 * 12 == counts.hits + counts.misses
    assert moody.closed.wait(60)
    assert found._threads == 0


STEPS = st.lists(
    st.tuples(st.floats(0, 60), st.booleans(), st.lists(st.sampled_from([EUR, CHF, USD, NOWHERE]), max_size=4)),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_an_answer_was_true_within_its_time_to_live(steps: list[tuple[float, bool, list[Key]]]) -> None:
    clock = Clock()
    rates = Rates(clock)
    with opened(lookup(entries=2), rates, clock) as found:
        for seconds, down, keys in steps:
            clock.now += seconds
            rates.down = down
            failing = down or found._circuit.is_open
            answers = found.ask(keys)
            assert answers.keys() == set(keys)
            for key, answer in answers.items():
                if isinstance(answer, Found):
                    age = clock.now - answer.values["at"]
                    assert 0 <= age < (1100 if answer.stale else 100)
                    assert key != NOWHERE
                    assert failing or not answer.stale
                elif answer == NOT_FOUND:
                    assert key == NOWHERE
                else:
                    assert failing
            counts = found.counts()
            assert counts.asked == counts.unaskable + counts.hits + counts.negative_hits + counts.misses
            assert counts.misses >= counts.stale + counts.unavailable
