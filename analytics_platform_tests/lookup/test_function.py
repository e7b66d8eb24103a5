from decimal import Decimal
from pathlib import Path

import pytest

from analytics_platform.lookup.answer import NOT_FOUND, Found, Unavailable
from analytics_platform.lookup.function import FunctionSource

MODULE = """
import datetime, decimal

asked = []

def rates(keys):
    asked.append(keys)
    return {key: {"rate": decimal.Decimal("1.10"), "on": datetime.date(2026, 11, 24)} for key in keys if key[0] == "EUR"}

def odd(keys):
    return {key: {"list": [1], "long": {"x": "x" * 5000}, "set": {"x": {1}}, "object": {"x": object()}}[key[0]] for key in keys}

def nothing(keys):
    return None

number = 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "team_rates.py").write_text(MODULE)
    (tmp_path / "team_broken.py").write_text("raise RuntimeError('EUR')")
    monkeypatch.syspath_prepend(tmp_path)
    return "team_rates"


def test_what_it_knows_and_what_it_does_not(module: str) -> None:
    answers = FunctionSource(f"{module}:rates", 4096).ask([("EUR", 1), ("XXX", 1)])
    assert answers == {("EUR", 1): Found({"rate": str(Decimal("1.10")), "on": "2026-11-24"}), ("XXX", 1): NOT_FOUND}


def test_values_that_are_none(module: str) -> None:
    assert FunctionSource(f"{module}:odd", 4096).ask([("list",), ("long",), ("set",), ("object",)]) == {
        ("list",): Unavailable("function returned no mapping for a key"),
        ("long",): Unavailable("answer too long"),
        ("set",): Found({"x": [1]}),
        ("object",): Unavailable("function returned what JSON cannot say"),
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("team_rates:nothing", "function returned no mapping"),
        ("team_rates:number", "team_rates:number cannot be called"),
        ("team_rates:absent", "team_rates:absent cannot be imported: AttributeError"),
        ("no_such_team:rates", "no_such_team:rates cannot be imported: ModuleNotFoundError"),
        ("team_broken:rates", "team_broken:rates cannot be imported: RuntimeError"),
    ],
)
def test_functions_that_are_none(module: str, name: str, why: str) -> None:
    assert module
    assert FunctionSource(name, 4096).ask([("EUR",)]) == Unavailable(why)
