"""The laws of the cache, for any order of what is put and asked at any times."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from analytics_platform.lookup.answer import NOT_FOUND, Found
from analytics_platform.lookup.cache import Cache

TTL, NEGATIVE_TTL, STALE, ENTRIES = 10.0, 3.0, 20.0, 4
KEYS = st.integers(0, 7).map(lambda number: (number,))


def cache(entries: int = ENTRIES) -> Cache:
    ttl, negative, stale = (timedelta(seconds=length) for length in (TTL, NEGATIVE_TTL, STALE))
    return Cache(ttl, negative, stale, entries)


class Laws(RuleBasedStateMachine):
    """Beside the cache, all that was ever put."""

    def __init__(self) -> None:
        super().__init__()
        self.cache, self.now, self.number = cache(), 0.0, 0
        self.put: dict[tuple[int], dict[object, float]] = {}

    @rule(seconds=st.floats(0, 15))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=KEYS, ago=st.floats(0, 5))
    def something_is_found(self, key: tuple[int], ago: float) -> None:
        self.number += 1
        since = self.now - ago
        self.cache.put(key, Found({"number": self.number}), since)
        self.put.setdefault(key, {})[self.number] = since

    @rule(key=KEYS, ago=st.floats(0, 5))
    def nothing_is_found(self, key: tuple[int], ago: float) -> None:
        since = self.now - ago
        self.cache.put(key, NOT_FOUND, since)
        held = self.put.setdefault(key, {})
        held[None] = max(since, held.get(None, since))

    @rule(key=KEYS)
    def what_is_fresh_was_put_for_this_key_within_its_time_to_live(self, key: tuple[int]) -> None:
        answer = self.cache.fresh(key, self.now)
        if answer == NOT_FOUND:
            assert self.now - self.put[key][None] < NEGATIVE_TTL
        elif answer is not None:
            assert self.now - self.put[key][answer.values["number"]] < TTL
            assert not answer.stale

    @rule(key=KEYS)
    def what_is_stale_was_found_for_this_key_not_too_long_ago(self, key: tuple[int]) -> None:
        answer = self.cache.stale(key, self.now)
        if answer is not None:
            assert self.now - self.put[key][answer.values["number"]] < TTL + STALE
            assert answer.stale

    @invariant()
    def it_is_never_too_large(self) -> None:
        assert len(self.cache) <= ENTRIES


TestLaws = Laws.TestCase


@given(st.lists(KEYS, max_size=40))
def test_what_was_used_last_is_what_is_held(used: list[tuple[int]]) -> None:
    held = cache()
    for key in used:
        if held.fresh(key, 0) is None:
            held.put(key, NOT_FOUND, 0)
    expected = list(dict.fromkeys(reversed(used)))[:ENTRIES]
    assert {(number,) for number in range(8) if held.fresh((number,), 0)} == set(expected)


@pytest.mark.parametrize(("age", "fresh", "stale"), [(9.9, True, True), (10, False, True), (30, False, False)])
def test_the_ages_of_what_was_found(age: float, fresh: bool, stale: bool) -> None:
    held = cache()
    held.put(("EUR",), Found({"rate": 1}), 100)
    assert held.fresh(("EUR",), 100 + age) == (Found({"rate": 1}) if fresh else None)
    assert held.stale(("EUR",), 100 + age) == (Found({"rate": 1}, stale=True) if stale else None)


@pytest.mark.parametrize(("age", "fresh"), [(2.9, True), (3, False)])
def test_the_ages_of_what_was_not_found_which_is_never_served_stale(age: float, fresh: bool) -> None:
    held = cache()
    held.put(("EUR",), NOT_FOUND, 100)
    assert held.fresh(("EUR",), 100 + age) == (NOT_FOUND if fresh else None)
    assert held.stale(("EUR",), 100 + age) is None


def test_a_late_answer_does_not_replace_a_younger_one() -> None:
    held = cache()
    held.put(("EUR",), Found({"rate": 2}), 100)
    held.put(("EUR",), Found({"rate": 1}), 99)
    assert held.fresh(("EUR",), 101) == Found({"rate": 2})
