"""JSON that nobody here wrote: Nicolas Seriot's JSONTestSuite (MIT licence), as bronze records.

`y_` must be read, `n_` must not, `i_` is left to whoever reads. Left out of `json_test_suite.json`: the inputs that are
no text (broken UTF-8 has tests of its own), and two of 100,000 brackets, which are made here.
"""

import json
from pathlib import Path

import pytest

from analytics_platform.contract.reason import Reason
from analytics_platform.judge import judge
from analytics_platform_tests.contract.example import ORDER, order, records, text

SUITE: dict[str, str] = json.loads((Path(__file__).parent / "json_test_suite.json").read_text())
SUITE |= {"n_structure_100000_opening_arrays": "[" * 100_000, "n_structure_open_array_object": '[{"":' * 50_000}

GOOD = text(order())


def ends(values: list[bytes]) -> list[str]:
    """For each value `kept` or its reason codes; a good record stands between any two, and all of them are kept."""
    rows = records([one for value in values for one in (GOOD, value)])
    judged = judge(rows, [ORDER])
    kept = set(judged.good["order_placed"]["_offset"].to_list())
    refused = {offset: " ".join(codes) for offset, codes in judged.rejected.select("offset", "codes").iter_rows()}
    assert kept | set(refused) == set(range(2 * len(values)))
    assert {2 * number for number in range(len(values))} <= kept
    return [refused.get(2 * number + 1, "kept") for number in range(len(values))]


@pytest.fixture(scope="module")
def whole() -> dict[str, str]:
    """Every text as the value of a record."""
    return dict(zip(SUITE, ends([value.encode() for value in SUITE.values()]), strict=True))


@pytest.fixture(scope="module")
def inside() -> dict[str, str]:
    """Every text as the value of a field that no contract names."""
    body = GOOD[:-1] + b', "unknown": '
    return dict(zip(SUITE, ends([body + value.encode() + b"}" for value in SUITE.values()]), strict=True))


DEEP = {"n_structure_100000_opening_arrays": "too_deep", "n_structure_open_array_object": "too_deep"}


def test_what_is_no_json_is_told_so(whole: dict[str, str]) -> None:
    found = {name: end for name, end in whole.items() if name.startswith("n_") and end != "malformed_json"}
    assert found == DEEP


def test_what_is_json_is_no_event(whole: dict[str, str]) -> None:
    found = {name: end for name, end in whole.items() if name.startswith("y_")}
    objects = {name for name in found if SUITE[name].strip().startswith("{")}
    assert len(objects) > 10
    assert {found[name] for name in found if name not in objects} == {"not_an_object"}
    assert {found[name] for name in objects} == {"missing_field missing_field"}  # event type and schema version


def test_what_is_no_json_inside_an_event(inside: dict[str, str]) -> None:
    found = {name: end for name, end in inside.items() if name.startswith("n_") and end != "malformed_json"}
    assert found == DEEP


def test_what_is_json_inside_an_event_does_no_harm(inside: dict[str, str]) -> None:
    found = {name: end for name, end in inside.items() if name.startswith("y_") and end != "kept"}
    assert found == {}


def test_what_is_left_to_us(whole: dict[str, str], inside: dict[str, str]) -> None:
    """Numbers of any size are JSON; half a surrogate pair is no text; a byte order mark is no JSON."""
    found = {name: (whole[name], inside[name]) for name in sorted(SUITE) if name.startswith("i_")}
    numbers = dict.fromkeys((name for name in found if name.startswith("i_number")), ("not_an_object", "kept"))
    texts = (name for name in found if name.startswith(("i_string", "i_object")))
    assert found == numbers | dict.fromkeys(texts, ("malformed_json", "malformed_json")) | {
        "i_structure_500_nested_arrays": ("too_deep", "too_deep"),
        "i_structure_UTF-8_BOM_empty_object": ("malformed_json", "malformed_json"),
    }


def test_every_end_is_a_code(whole: dict[str, str], inside: dict[str, str]) -> None:
    codes = {code for end in (*whole.values(), *inside.values()) for code in end.split()}
    assert codes <= {*Reason, "kept"}
