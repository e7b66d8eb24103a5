from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.decode import decode
from analytics_platform.contract.headers import header_columns
from analytics_platform.contract.model import EventContract, KeyMode
from analytics_platform.contract.newer import MAX_PATHS, MAX_VERSIONS, OTHER, REST, Sight, Sights, sentences, together
from analytics_platform.judge import judge
from analytics_platform_tests.contract.example import ORDER, contract, field, one_connection, order, records, text
from analytics_platform_tests.contract.test_cloudevents import DATA, EVENT, HEADERS, SOME, STRUCTURED


def seen(
    events: Sequence[Mapping[str, Any]],
    *contracts: EventContract,
    headers: Sequence[Mapping[str, bytes | None]] | None = None,
) -> dict[tuple[str, str], int]:
    """What is counted, by version and path; every event is good."""
    of = contracts or (ORDER,)
    batch = records([text(event) for event in events], topic=of[0].topic, headers=headers)
    found = decode(batch, of, connection=one_connection())
    assert found.rejected.is_empty(), found.rejected
    assert all(sight.event == of[0].name for sight in found.newer)
    return {(sight.claimed, sight.path): count for sight, count in found.newer.items()}


def newer(version: str = "1.3.0", **changes: Any) -> dict[str, Any]:
    return order(schema_version=version, **changes)


def named(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, 1)


def test_fields_of_the_top_of_objects_and_of_lists() -> None:
    assert seen(
        [
            newer(discount=1, ship={"city": "Ulm", "floor": 3}),
            newer(discount=None, items=[{"sku": "a", "quantity": 1, "colour": "red"}] * 2),
            newer(items=[{"sku": "a", "quantity": 1}, {"sku": "a", "quantity": 1, "colour": 1}], ship=None),
            newer(),
        ]
    ) == {
        ("1.3.0", ""): 4,
        ("1.3.0", "discount"): 2,
        ("1.3.0", "ship.floor"): 1,
        ("1.3.0", "items[].colour"): 2,
    }


def test_only_rows_that_claim_a_newer_version() -> None:
    known = replace(ORDER, header=replace(ORDER.header, version="1.2.0"))
    versions = ["1.0.0", "1.1.9", "1.2.0", "1.2.0-rc.1", "1.2.0+7", "1.2.1", "1.10.0"]
    assert seen([newer(version, discount=1) for version in versions], known) == {
        ("1.2.1", ""): 1,
        ("1.2.1", "discount"): 1,
        ("1.10.0", ""): 1,
        ("1.10.0", "discount"): 1,
    }


def test_each_major_by_its_own_newest_contract() -> None:
    first = contract(version="1.1.0", payload=(field("order_id"), field("discount", "integer", required=False)))
    second = contract(version="2.0.0", payload=(field("order_id"),))
    bare: dict[str, Any] = {"currency": ..., "total_cents": ...}
    values = [text(newer(version, discount=1, **bare)) for version in ("1.4.0", "2.1.0", "2.1.0")]
    found = decode(records(values), [first, second], connection=one_connection()).newer
    assert found == {
        Sight("order_placed", "1.1.0", "1.4.0", ""): 1,
        Sight("order_placed", "2.0.0", "2.1.0", ""): 2,
        Sight("order_placed", "2.0.0", "2.1.0", "discount"): 2,
    }


def test_what_follows_the_numbers_of_a_version_is_not_told() -> None:
    assert seen([newer("1.3.0-ann.smith"), newer("1.3.0+ann"), newer(f"1.{'9' * 5000}.0", discount=1)]) == {
        ("1.3.0", ""): 2,
        (REST, ""): 1,
    }


@pytest.mark.parametrize(
    "name",
    [
        "ann@example.com",
        "17",
        "AT611904300234573201",
        "5f0c9a7e",
        "a3f5b1c09d8e47",
        "x" * 41,
        "two words",
        "a.b",
        "größe",
        "",
        "'; DROP",
        "a\nb",
        "\x00",
    ],
)
def test_a_name_that_no_field_would_have_is_not_told(name: str) -> None:
    assert seen([newer(ship={"city": "Ulm", name: 2}, **named(name)), newer(**named(name, name + "?"))]) == {
        ("1.3.0", ""): 2,
        ("1.3.0", OTHER): 2,
        ("1.3.0", f"ship.{OTHER}"): 1,
    }


@pytest.mark.parametrize("name", ["discount", "couponCode", "address_2", "sha256", "_links", "x" * 40])
def test_a_name_that_a_field_may_have_is_told(name: str) -> None:
    assert seen([newer(**named(name))]) == {("1.3.0", ""): 1, ("1.3.0", name): 1}


def test_what_stands_inside_a_field_nobody_knows_is_not_told() -> None:
    assert seen([newer(users={"ann": 1, "bob": {"x": 1}})]) == {("1.3.0", ""): 1, ("1.3.0", "users"): 1}


def test_more_paths_than_are_told() -> None:
    names = [f"{letter}{other}" for letter in "xyz" for other in "abcdefghijklmnopqrstuvwxyz"]
    found = seen([newer(**named(*names), ship={"city": "Ulm", "floor": 1}), newer(xa=1, zz=1)])
    assert found == {
        ("1.3.0", ""): 2,
        ("1.3.0", "xa"): 2,
        **{("1.3.0", name): 1 for name in names[1:MAX_PATHS]},
        ("1.3.0", REST): len(names) - MAX_PATHS + 1 + 1,
    }


def test_more_versions_than_are_told() -> None:
    found = seen([newer(f"1.{minor}.0", discount=1) for minor in range(1, 12)])
    told = [f"1.{minor}.0" for minor in range(1, MAX_VERSIONS + 1)]
    assert found == {(one, path): 1 for one in told for path in ("", "discount")} | {(REST, ""): 11 - MAX_VERSIONS}


def test_a_key_that_is_derived_may_be_sent() -> None:
    of = contract(payload=(field("order_id"),), mode=KeyMode.DERIVE)
    assert seen([newer(currency=..., total_cents=...)], of) == {("1.3.0", ""): 1}


def test_an_envelope_in_headers() -> None:
    places = dict(ORDER.envelope) | {"schema_version": "header:v", "event_type": "header:t", "source": "origin"}
    of = replace(ORDER, envelope=places)
    headers = [{"t": b"order_placed", "v": version} for version in (b"1.0.0", b"1.3.0", b"1.3.0")]
    assert header_columns(records([b"{}"] * 3, headers=headers), ["v"])["v"].to_list() == [b"1.0.0", b"1.3.0", b"1.3.0"]
    events = [order(event_type=..., schema_version=..., origin="x", discount=1) for _ in headers]
    events[2] |= {"schema_version": "1.0.0", "source": "y"}
    assert seen(events, of, headers=headers) == {
        ("1.3.0", ""): 2,
        ("1.3.0", "discount"): 2,
        ("1.3.0", "schema_version"): 1,
        ("1.3.0", "source"): 1,
    }


def test_cloudevents_in_both_modes() -> None:
    data = {**DATA, "appinfoD": 1}
    schema = "https://example.com/some_event/1.1.0.json"
    structured, binary = {**EVENT, "dataschema": schema, "data": data}, {**HEADERS, "ce_dataschema": schema.encode()}
    found = seen([structured, structured, data, DATA], SOME, headers=[STRUCTURED, STRUCTURED, binary, HEADERS])
    assert found == {("1.1.0", ""): 3, ("1.1.0", "appinfoD"): 3}


def test_rows_are_what_they_would_be_without() -> None:
    plain = [order(order_id=f"O-00{number}") for number in range(4)]
    other = [event | {"schema_version": "1.3.0", "extra": {"a": [1]}, "17": None} for event in plain]
    first, second = (judge(records([text(event) for event in events]), [ORDER]) for events in (plain, other))
    assert first.newer == {}
    assert second.newer
    rows = second.good["order_placed"]
    assert rows["schema_version"].to_list() == ["1.3.0"] * 4
    assert rows.drop("schema_version").equals(first.good["order_placed"].drop("schema_version"))


def test_a_row_that_is_rejected_beside_those_that_count() -> None:
    values = [text(newer(discount=1)), b'{"a":1,"a":1,' + text(newer(wrong=1))[1:], text(newer(ship={"city": "Ulm"}))]
    judged = judge(records(values), [ORDER])
    assert judged.rejected["codes"].to_list() == [["duplicate_key"]]
    assert {(sight.claimed, sight.path): count for sight, count in judged.newer.items()} == {
        ("1.3.0", ""): 2,
        ("1.3.0", "discount"): 1,
    }


def test_in_words() -> None:
    counted = decode(
        records([text(newer(discount=1, ship={"city": "Ulm", "floor": 3})), text(newer("1.4.0"))]),
        [ORDER],
        connection=one_connection(),
    ).newer
    (told,) = sentences(counted)
    assert told == (
        "order_placed: this lake knows 1.0.0, producers sent newer rows: 1 of 1.3.0 (discount in 1, ship.floor in 1); "
        "1 of 1.4.0"
    )
    assert list(sentences({})) == []


NAMES = st.sampled_from(["discount", "zone", "x@y", "99", *(f"f{letter}" for letter in "abcdefghijklmnopqrstuvw")])
EVENTS = st.builds(
    lambda version, extra, ship, items: newer(
        version,
        **named(*extra),
        ship={"city": "Ulm", **named(*ship)},
        items=[{"sku": "a", "quantity": 1, **named(*names)} for names in items],
    ),
    st.sampled_from([f"1.{minor}.0" for minor in range(9)]),
    st.lists(NAMES, max_size=12),
    st.lists(NAMES, max_size=12),
    st.lists(st.lists(NAMES, max_size=3), min_size=1, max_size=2),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(EVENTS, max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_the_counts_do_not_depend_on_how_rows_are_cut(events: list[dict[str, Any]], cuts: list[int]) -> None:
    batch = records([text(event) for event in events])

    def of(start: int, end: int) -> Sights:
        return decode(batch[start:end], [ORDER], connection=one_connection()).newer

    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    parts = [of(start, end) for start, end in pairwise(edges)]
    assert together(parts) == of(0, len(events))


@settings(max_examples=40, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_every_row_counts_once_for_each_field(events: list[dict[str, Any]]) -> None:
    found = seen(events)
    ahead = [event for event in events if event["schema_version"] != "1.0.0"]
    assert sum(count for (_, path), count in found.items() if not path) == len(ahead)
    assert all(
        count == sum("discount" in event for event in ahead if event["schema_version"] == version)
        for (version, path), count in found.items()
        if path == "discount"
    )


KEYS = st.text(st.characters(exclude_categories=()), max_size=6) | st.sampled_from(
    ["a.b", 'q"', "\\", "$", "[*]", "\ud800"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(KEYS, ANYTHING, max_size=4), min_size=1, max_size=4))
def test_whatever_is_sent_counting_changes_no_verdict(extras: list[dict[str, Any]]) -> None:
    def verdict(version: str) -> tuple[list[Any], list[Any]]:
        events = [
            {**extra, **order(schema_version=version, ship={**extra, "city": "Ulm", "sent_at": None})}
            for extra in extras
        ]
        judged = judge(records([text(event) for event in events]), [ORDER])
        columns = ["_offset", "order_id", "ship"]
        good = [row for rows in judged.good.values() for row in rows.select(columns).rows()]
        return good, judged.rejected.select("offset", "codes").rows()

    assert verdict("1.9.0") == verdict("1.0.0")
