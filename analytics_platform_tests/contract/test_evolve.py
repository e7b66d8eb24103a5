import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.difference import Verdict
from analytics_platform.contract.evolve import compare
from analytics_platform.contract.loosen import rule_changes
from analytics_platform.contract.model import (
    Breaker,
    Compatibility,
    Deprecation,
    EventContract,
    Field,
    KeyMode,
    LogicalType,
    Mode,
    Operation,
    RowRule,
    Rules,
    Treatment,
)
from analytics_platform.judge import judge
from analytics_platform_tests.contract.example import contract, field, order, records, text

TODAY = date(2026, 11, 24)
PROMISE = Compatibility()
ENDS = Deprecation(date(2026, 7, 1), date(2026, 12, 31))
ENDED = Deprecation(date(2026, 7, 1), date(2026, 11, 23))

COMPATIBLE, MAJOR, BREAKING, COSMETIC = "compatible", "needs a major", "breaking", "cosmetic"


def changes(old: tuple[Field, ...], new: tuple[Field, ...], promise: Compatibility = PROMISE) -> list[tuple[Any, ...]]:
    """Path, change, verdict, backward, forward."""
    before = replace(contract(payload=old), compatibility=promise)
    found = compare(before, replace(contract(payload=new), compatibility=promise), TODAY)
    return [(item.path, item.change, str(item.verdict), item.backward, item.forward) for item in found]


def one(name: str = "a", kind: str = "string", required: bool = True, **rest: Any) -> tuple[Field, ...]:
    return (field(name, kind, required, **rest),)


def inside(*fields: Field) -> tuple[Field, ...]:
    """A list of objects with these fields."""
    return one("lines", "array", item=field("item", "object", fields=fields))


SKU = field("sku")

SITUATIONS: dict[str, tuple[tuple[Field, ...], tuple[Field, ...], list[tuple[Any, ...]]]] = {
    "nothing": (one(), one(), []),
    "optional field added": ((), one(required=False), [("a", "added, optional", COMPATIBLE, True, True)]),
    "required field added": ((), one(), [("a", "added, required", MAJOR, False, True)]),
    "optional field removed without a word": (
        one(required=False),
        (),
        [("a", "removed, was optional", MAJOR, True, False)],
    ),
    "deprecated field removed before its day": (
        one(required=False, deprecated=True, deprecation=ENDS),
        (),
        [("a", "removed, was optional", BREAKING, True, True)],
    ),
    "deprecated field removed on its last day": (
        one(required=False, deprecated=True, deprecation=replace(ENDS, remove_after=TODAY)),
        (),
        [("a", "removed, was optional", BREAKING, True, True)],
    ),
    "deprecated field removed the day after": (
        one(required=False, deprecated=True, deprecation=ENDED),
        (),
        [("a", "removed, was optional", COMPATIBLE, True, True)],
    ),
    "required deprecated field removed the day after": (
        one(deprecated=True, deprecation=ENDED),
        (),
        [("a", "removed, was required", MAJOR, True, False)],
    ),
    "an end brought forward": (
        one(deprecated=True, deprecation=ENDS),
        one(deprecated=True, deprecation=ENDED),
        [("a", "deprecation: until 2026-12-31 -> until 2026-11-23", BREAKING, False, True)],
    ),
    "an end announced": (
        one(),
        one(deprecated=True, deprecation=ENDS),
        [("a", "deprecation: none -> until 2026-12-31", COSMETIC, True, True)],
    ),
    "optional made required": (
        one(required=False),
        one(),
        [("a", "required: false -> true", MAJOR, False, True)],
    ),
    "required made optional": (
        one(),
        one(required=False),
        [("a", "required: true -> false", MAJOR, True, False)],
    ),
    "integer widened to number": (
        one(kind="integer"),
        one(kind="number"),
        [("a", "type: integer -> number", BREAKING, False, False)],
    ),
    "number narrowed to integer": (
        one(kind="number"),
        one(kind="integer"),
        [("a", "type: number -> integer", BREAKING, False, False)],
    ),
    "another unit": (
        one(kind="integer", unit="min"),
        one(kind="integer", unit="s"),
        [("a", "unit: min -> s", MAJOR, False, False)],
    ),
    "another order": (
        (*one("a"), *one("b")),
        (*one("b"), *one("a")),
        [("fields", "their order", COSMETIC, True, True)],
    ),
    "a value joins an enum": (
        one(rules=Rules(enum=("EUR", "USD"))),
        one(rules=Rules(enum=("GBP", "USD", "EUR"))),
        [("a", "enum: EUR, USD -> GBP, USD, EUR", COMPATIBLE, True, False)],
    ),
    "a value leaves an enum": (
        one(rules=Rules(enum=("EUR", "USD"))),
        one(rules=Rules(enum=("EUR",))),
        [("a", "enum: EUR, USD -> EUR", MAJOR, False, True)],
    ),
    "another pattern": (
        one(rules=Rules(pattern="[0-9]{2}")),
        one(rules=Rules(pattern="[0-9]{2,3}")),
        [("a", "pattern: [0-9]{2} -> [0-9]{2,3}", MAJOR, False, False)],
    ),
    "a pattern dropped": (
        one(rules=Rules(pattern="[0-9]{2}")),
        one(),
        [("a", "pattern: [0-9]{2} -> none", COMPATIBLE, True, False)],
    ),
    "a narrower range": (
        one(kind="integer", rules=Rules(minimum=0, maximum=9)),
        one(kind="integer", rules=Rules(minimum=1, maximum=10)),
        [
            ("a", "minimum: >= 0 -> >= 1", MAJOR, False, True),
            ("a", "maximum: <= 9 -> <= 10", COMPATIBLE, True, False),
        ],
    ),
    "one bound in two ways": (
        one(kind="integer", rules=Rules(minimum=1)),
        one(kind="integer", rules=Rules(exclusive_minimum=0)),
        [],
    ),
    "a number's bound excluded": (
        one(kind="number", rules=Rules(maximum=1)),
        one(kind="number", rules=Rules(exclusive_maximum=1)),
        [("a", "maximum: <= 1 -> < 1", MAJOR, False, True)],
    ),
    "a finer step": (
        one(kind="integer", rules=Rules(multiple_of=10)),
        one(kind="integer", rules=Rules(multiple_of=5)),
        [("a", "multipleOf: 10 -> 5", COMPATIBLE, True, False)],
    ),
    "longer texts": (
        one(rules=Rules(min_length=2, max_length=5)),
        one(rules=Rules(max_length=6)),
        [
            ("a", "minLength: 2 -> 0", COMPATIBLE, True, False),
            ("a", "maxLength: 5 -> 6", COMPATIBLE, True, False),
        ],
    ),
    "inside a list, an optional field added": (
        inside(SKU),
        inside(SKU, field("note", required=False)),
        [("lines[].note", "added, optional", COMPATIBLE, True, True)],
    ),
    "inside a list, a field made required": (
        inside(field("sku", required=False)),
        inside(SKU),
        [("lines[].sku", "required: false -> true", MAJOR, False, True)],
    ),
    "items may be null": (
        one("tags", "array", item=field("tag")),
        one("tags", "array", item=field("tag", required=False)),
        [("tags[]", "required: true -> false", MAJOR, True, False)],
    ),
    "another class": (
        one(classification="restricted"),
        one(classification="public"),
        [("a", "classification: restricted -> public", COMPATIBLE, True, True)],
    ),
    "another treatment": (
        one(treatment=Treatment(Operation.MASK, last=2)),
        one(treatment=Treatment(Operation.HASH, key="people")),
        [("a", "treatment: mask 0, 2 -> hash by people", COMPATIBLE, True, True)],
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_change_of_fields(situation: str) -> None:
    old, new, expected = SITUATIONS[situation]
    assert changes(old, new) == expected


def test_modes_decide() -> None:
    added, dropped = ((), one()), (one(), one(required=False))
    for mode, verdicts in {
        Mode.BACKWARD: (MAJOR, COMPATIBLE),
        Mode.FORWARD: (COMPATIBLE, MAJOR),
        Mode.FULL: (MAJOR, MAJOR),
        Mode.BACKWARD_TRANSITIVE: (MAJOR, COMPATIBLE),
        Mode.FORWARD_TRANSITIVE: (COMPATIBLE, MAJOR),
    }.items():
        promise = Compatibility(shape=mode)
        assert tuple(changes(old, new, promise)[0][2] for old, new in (added, dropped)) == verdicts


def test_the_older_contract_sets_the_mode() -> None:
    old = contract(payload=one())
    new = replace(contract(payload=one(required=False)), compatibility=Compatibility(shape=Mode.BACKWARD))
    found = {item.path: item.verdict for item in compare(old, new, TODAY)}
    assert found == {"a": Verdict.MAJOR, "compatibility.shape": Verdict.MAJOR}


def test_a_new_name_is_guessed() -> None:
    removed, added = compare(contract(payload=one("mail")), contract(payload=one("email", required=False)), TODAY)
    assert (removed.path, added.path) == ("mail", "email")
    assert "If email is its new name" in removed.advice


def test_what_holds_a_table_together() -> None:
    old = contract(payload=one("order_id"))
    new = replace(
        old,
        topic="orders.v2",
        identity=replace(old.identity, mode=KeyMode.DERIVE),
        envelope={**old.envelope, "event_type": "type", "source": "header:source"},
    )
    found = [(item.path, item.verdict) for item in compare(old, new, TODAY)]
    assert found == [
        ("topic", Verdict.BREAKING),
        ("identity", Verdict.BREAKING),
        ("envelope.event_type", Verdict.BREAKING),
        ("envelope.source", Verdict.MAJOR),
    ]


def test_window_of_copies() -> None:
    old = contract()
    for days, verdict in ((2, Verdict.COMPATIBLE), (0.5, Verdict.MAJOR)):
        new = replace(old, identity=replace(old.identity, window=timedelta(days=days)))
        (found,) = compare(old, new, TODAY)
        assert (found.path, found.verdict) == ("dedupeWindow", verdict)


def test_row_rules() -> None:
    def having(*rules: tuple[str, str]) -> Any:
        return contract(row_rules=tuple(RowRule(name, sql, "") for name, sql in rules))

    found = compare(having(("x", "a > 1"), ("y", "b"), ("z", "c")), having(("y", "b "), ("z", "d"), ("n", "e")), TODAY)
    assert [(item.path, item.change, item.verdict) for item in found] == [
        ("quality.x", "removed", Verdict.COMPATIBLE),
        ("quality.z", "another expression", Verdict.MAJOR),
        ("quality.n", "added", Verdict.MAJOR),
    ]


# --- the law: what is called backward compatible is -----------------------------------------------------------------------

NUMBERS = st.integers(-3, 6)
_BOUND = st.none() | NUMBERS


@st.composite
def rules(draw: st.DrawFn, kind: LogicalType) -> Rules:
    if kind is LogicalType.STRING:
        return draw(
            st.builds(
                Rules,
                pattern=st.sampled_from([None, None, "a*", "[ab]+"]),
                min_length=st.sampled_from([None, 0, 1, 2]),
                max_length=st.sampled_from([None, 2, 3]),
                enum=st.none() | st.lists(st.sampled_from(["a", "b", "ab", ""]), min_size=1, unique=True).map(tuple),
            )
        )
    if kind is LogicalType.ARRAY:
        return draw(st.builds(Rules, min_items=st.sampled_from([None, 0, 1]), max_items=st.sampled_from([None, 1, 2])))
    steps = st.sampled_from([None, 1, 2, 3, 4, 6]) if kind is LogicalType.INTEGER else st.none()
    bounds = dict.fromkeys(("minimum", "maximum", "exclusive_minimum", "exclusive_maximum"), _BOUND)
    return draw(st.builds(Rules, multiple_of=steps, **bounds))


@st.composite
def payloads(draw: st.DrawFn) -> tuple[Field, ...]:
    def made(name: str, kind: LogicalType, **rest: Any) -> Field:
        return Field(name, kind, draw(st.booleans()), "", draw(rules(kind)), **rest)

    fields = [made("s", LogicalType.STRING), made("i", LogicalType.INTEGER), made("n", LogicalType.NUMBER)]
    inner = Field("item", LogicalType.OBJECT, draw(st.booleans()), "", fields=(made("q", LogicalType.INTEGER),))
    fields.append(made("l", LogicalType.ARRAY, item=inner))
    return (field("order_id"), *draw(st.lists(st.sampled_from(fields), unique_by=lambda item: item.name)))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """Two payloads that mostly agree, so that what differs is often compatible."""
    old, other = draw(payloads()), draw(payloads())
    changed = draw(st.sampled_from([None, *(item.name for item in (*old, *other) if item.name != "order_id")]))
    return old, (
        *(item for item in old if item.name != changed),
        *(item for item in other if item.name == changed),
    )


TEXTS = st.sampled_from(["", "a", "b", "ab", "aab", "x"])
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "s": st.none() | TEXTS,
        "i": st.none() | NUMBERS,
        "n": st.none() | NUMBERS.map(lambda value: value / 2),
        "l": st.none()
        | st.lists(st.none() | st.fixed_dictionaries({}, optional={"q": st.none() | NUMBERS}), max_size=3),
    },
)


@settings(max_examples=60, deadline=None)
@given(pair=pairs(), events=st.lists(EVENTS, min_size=1, max_size=12))
def test_what_is_backward_compatible_takes_every_row_that_was_valid(
    pair: tuple[tuple[Field, ...], tuple[Field, ...]], events: list[dict[str, Any]]
) -> None:
    old, new = pair
    before, after = contract(payload=old), contract(payload=new)
    if not all(item.backward for item in compare(before, after, TODAY)):
        after = before  # nothing is claimed; what follows then only shows that judging is a function
    declared = {item.name for item in old}
    values = [
        text(order(before, currency=..., total_cents=..., order_id=f"O-{number}", **_only(event, declared)))
        for number, event in enumerate(events)
    ]
    assert _valid(values, before) <= _valid(values, after)


def _valid(values: list[bytes], by: EventContract) -> set[str]:
    good = judge(records(values), [by]).good
    return set(good[by.name]["order_id"]) if by.name in good else set()


def _only(event: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """An event's declared fields: what no contract named is nobody's promise."""
    return {name: value for name, value in event.items() if name in names}


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from([LogicalType.STRING, LogicalType.INTEGER, LogicalType.NUMBER, LogicalType.ARRAY]),
    data=st.data(),
)
def test_rules_compared_are_rules_kept(kind: LogicalType, data: st.DataObject) -> None:
    old, new = (Field("a", kind, True, "", data.draw(rules(kind))) for _ in range(2))
    found = list(rule_changes(old, new))
    for claim, first, second in (("backward", old, new), ("forward", new, old)):
        if all(getattr(item, claim) for item in found):
            for value in _values(kind):
                assert not _keeps(value, first.rules) or _keeps(value, second.rules), (claim, value)


def _values(kind: LogicalType) -> list[Any]:
    if kind is LogicalType.STRING:
        return ["", "a", "b", "ab", "ba", "aa", "aab", "abab", "x"]
    if kind is LogicalType.ARRAY:
        return [[], [1], [1, 2], [1, 2, 3]]
    whole = [float(number) for number in range(-6, 13)]
    return whole if kind is LogicalType.INTEGER else sorted({*whole, *(number + 0.5 for number in whole)})


def _keeps(value: Any, of: Rules) -> bool:
    """An oracle of its own, read from the standard."""
    if isinstance(value, str):
        return (
            (of.pattern is None or re.fullmatch(of.pattern, value) is not None)
            and len(value) >= (of.min_length or 0)
            and (of.max_length is None or len(value) <= of.max_length)
            and (of.enum is None or value in of.enum)
        )
    if isinstance(value, list):
        return len(value) >= (of.min_items or 0) and (of.max_items is None or len(value) <= of.max_items)
    return (
        (of.minimum is None or value >= of.minimum)
        and (of.maximum is None or value <= of.maximum)
        and (of.exclusive_minimum is None or value > of.exclusive_minimum)
        and (of.exclusive_maximum is None or value < of.exclusive_maximum)
        and (of.multiple_of is None or value % of.multiple_of == 0)
    )


def test_paths_of_the_package_are_not_needed() -> None:
    """The header's file is of no account: two copies of one contract do not differ."""
    old = contract()
    assert compare(old, replace(old, header=replace(old.header, path=Path("elsewhere"), digest="other")), TODAY) == ()


def test_when_an_event_type_is_halted_is_no_promise() -> None:
    halts, later = (Breaker(0.1, timedelta(minutes=15), 100, resumes=resumes) for resumes in (False, True))
    said = []
    for before, after in ((None, halts), (halts, later), (later, None), (halts, halts)):
        old, new = (replace(contract(), breaker=breaker) for breaker in (before, after))
        said.append([(item.path, item.change, str(item.verdict)) for item in compare(old, new, TODAY)])
    path = "quarantine.onExceed"
    assert said == [[(path, "added", COSMETIC)], [(path, "changed", COSMETIC)], [(path, "removed", COSMETIC)], []]


def test_an_envelope_that_is_sent_in_another_way() -> None:
    plain = contract()
    cloud = replace(plain, cloudevents="com.example.order")

    def found(old: EventContract, new: EventContract) -> list[tuple[str, str, Verdict]]:
        return [(item.path, item.change, item.verdict) for item in compare(old, new, TODAY)]

    assert found(plain, cloud) == [("envelope.style", "no style -> cloudevents", Verdict.BREAKING)]
    assert found(cloud, plain) == [("envelope.style", "cloudevents -> no style", Verdict.BREAKING)]
    assert found(cloud, replace(cloud, cloudevents="com.example.order.v2")) == [
        ("envelope.type", "com.example.order -> com.example.order.v2", Verdict.COMPATIBLE)
    ]
    generating = replace(plain, generate_trace_id=True)
    assert found(plain, generating) == [("envelope.missingTraceId", "generated", Verdict.COMPATIBLE)]
    assert found(generating, plain) == [("envelope.missingTraceId", "no longer generated", Verdict.MAJOR)]
