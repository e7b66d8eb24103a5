"""Lookups as a burst uses them: a real service that comes, goes and comes back."""

import logging
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics_platform.lookup.answer import NOT_FOUND, Found, Unavailable
from analytics_platform.lookup.counts import Counts
from analytics_platform.lookup.lookups import Lookups
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.settings import Settings
from analytics_platform.variable import Secret
from analytics_platform_tests.lookup.rates import Clock
from analytics_platform_tests.lookup.rates_server import Service

EUR, CHF, NOWHERE = ("EUR",), ("CHF",), ("XXX",)
KEPT = Found({"rate": 1.1})


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.stop()


def settings(service: Service, **changes: Any) -> LookupSettings:
    times = {"timeout": timedelta(seconds=30), "wait": timedelta(seconds=60), "ttl": timedelta(seconds=100)}
    return LookupSettings("rate", Secret(service.url), **(times | {"breaker_failures": 2, "concurrency": 1} | changes))


def test_a_service_that_stops_and_comes_back(service: Service) -> None:
    clock = Clock()
    with Lookups([settings(service)], clock) as lookups:
        assert lookups.ask("rate", [EUR, EUR, NOWHERE, (None,)]) == {EUR: KEPT, NOWHERE: NOT_FOUND, (None,): NOT_FOUND}
        assert lookups.counts() == {"rate": Counts(asked=3, unaskable=1, misses=2)}
        service.stop()
        clock.now += 100
        answers = lookups.ask("rate", [EUR, CHF, NOWHERE])
        assert answers[EUR] == replace(KEPT, stale=True)
        assert isinstance(answers[CHF], Unavailable)
        assert answers[NOWHERE] == Unavailable("breaker open")
        counts = lookups.counts()["rate"]
        assert (counts.stale, counts.unavailable, counts.failures, counts.opened) == (1, 2, 2, 1)
        again = Service(port=service.port)
        clock.now += 30
        assert lookups.ask("rate", [EUR, CHF]) == {EUR: KEPT, CHF: Found({"rate": 0.9})}
        assert lookups.counts() == {"rate": Counts(asked=2, misses=2)}
        assert lookups.counts() == {}
        again.stop()


def test_nothing_is_kept_from_one_burst_to_the_next(service: Service) -> None:
    for _ in range(2):
        with Lookups([settings(service)]) as lookups:
            assert lookups.ask("rate", [EUR]) == {EUR: KEPT}
    assert len(service.asked) == 2


def test_each_lookup_fails_alone(service: Service) -> None:
    broken = replace(settings(service), name="broken", url=None, function="no_such_team:rates")
    with Lookups([settings(service), broken]) as lookups:
        why = "no_such_team:rates cannot be imported: ModuleNotFoundError"
        assert lookups.ask("broken", [EUR]) == {EUR: Unavailable(why)}
        assert lookups.ask("rate", [EUR]) == {EUR: KEPT}
        assert lookups.counts()["broken"].why == {why: 1}


def test_a_lookup_that_is_not_set() -> None:
    with Lookups([]) as lookups:
        assert lookups.ask("rate", [EUR, EUR]) == {EUR: Unavailable("not set")}
        assert lookups.counts() == {"rate": Counts(asked=1, misses=1, unavailable=1)}


@pytest.mark.parametrize("fails", ["503", "400", "text", "redirect", "gzip", "huge"])
def test_neither_keys_nor_values_nor_secrets_are_told(
    service: Service, fails: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    service.rates |= {"kunde-4711": {"name": "Erika"}, "kunde-4712": {"name": "Erika"}}
    found = settings(service, header=Secret("Authorization: Bearer hush"))
    with Lookups([found]) as lookups:
        told = [lookups.ask("rate", [("kunde-4711",)])[("kunde-4711",)]]
        service.fails = fails
        told.append(lookups.ask("rate", [("kunde-4712",)])[("kunde-4712",)])
        assert isinstance(told[1], Unavailable)
        said = f"{told} {found} {found!r} {lookups.counts()} {caplog.text} {capfd.readouterr()}"
    for secret in ("kunde", "4711", "4712", "Erika", "hush", "/rates/"):
        assert secret not in said


def test_the_examples_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "lookups.md").read_text()
    [python] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    team = types.ModuleType("team_lookups")
    exec(compile(python, "lookups.md", "exec"), team.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(sys.modules, "team_lookups", team)
    variables = dict(re.findall(r"^(ANALYTICS_LOOKUP_\w+)=(.*)$", page, re.MULTILINE))
    function = {name: value for name, value in variables.items() if name.endswith("__FUNCTION")}
    address = {name: value.replace("…", "hush") for name, value in variables.items() if name not in function}
    assert [one.name for one in Settings.from_env(address).lookups] == ["exchange_rate"]
    assert len(address) == 2
    [found] = Settings.from_env(function).lookups
    patient = replace(found, timeout=timedelta(seconds=30), wait=timedelta(seconds=60))
    with Lookups([patient]) as lookups:
        assert lookups.ask("exchange_rate", [EUR, NOWHERE]) == {EUR: KEPT, NOWHERE: NOT_FOUND}
