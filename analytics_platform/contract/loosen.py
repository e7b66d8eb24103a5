"""Whether one set of rules takes every value that another one takes: the arithmetic behind the compatibility gate.

Answers are sound: `None` (nothing to complain about) is given only where it holds for every value. Two patterns, say,
are compared as texts, since whether one regular expression covers another is not worth knowing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from analytics_platform.contract.model import Field, LogicalType, Rules


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule that differs: `minimum: 0 -> 5`."""

    rule: str
    old: object
    new: object
    backward: bool
    """What the old rule takes, the new one takes."""
    forward: bool
    """What the new rule takes, the old one takes."""


def rule_changes(old: Field, new: Field) -> Iterator[RuleChange]:
    """The rules over values that differ between two fields of one type; nested fields and nullability are not looked at.

    Two ways to write one bound (`minimum: 1` and `exclusiveMinimum: 0` of an integer) do not differ.
    """
    integer = old.type is LogicalType.INTEGER
    before, after = old.rules, new.rules
    for name, down in (("minimum", True), ("maximum", False)):
        a, b = _bound(before, down=down, integer=integer), _bound(after, down=down, integer=integer)
        if a != b:
            yield RuleChange(
                name, _said(a, down=down), _said(b, down=down), _within(a, b, down=down), _within(b, a, down=down)
            )
    for name, was, now in (
        ("minLength", before.min_length or 0, after.min_length or 0),
        ("minItems", before.min_items or 0, after.min_items or 0),
    ):
        if was != now:
            yield RuleChange(name, was, now, now <= was, was <= now)
    for name, most, more in (
        ("maxLength", before.max_length, after.max_length),
        ("maxItems", before.max_items, after.max_items),
    ):
        if most != more:
            yield RuleChange(name, most, more, _at_most(most, more), _at_most(more, most))
    if before.multiple_of != after.multiple_of:
        yield RuleChange(
            "multipleOf",
            before.multiple_of,
            after.multiple_of,
            _divides(after.multiple_of, before.multiple_of),
            _divides(before.multiple_of, after.multiple_of),
        )
    if before.pattern != after.pattern:
        yield RuleChange("pattern", before.pattern, after.pattern, after.pattern is None, before.pattern is None)
    if _set(before.enum) != _set(after.enum):
        yield RuleChange(
            "enum", _enum(before), _enum(after), _covers(after.enum, before.enum), _covers(before.enum, after.enum)
        )


Bound = tuple[float, bool] | None
"""A limit and whether it is itself excluded; None is no limit."""


def _bound(rules: Rules, *, down: bool, integer: bool) -> Bound:
    """The tighter of the inclusive and the exclusive bound; of an integer as an inclusive one."""
    inclusive = rules.minimum if down else rules.maximum
    exclusive = rules.exclusive_minimum if down else rules.exclusive_maximum
    found = [(limit, excluded) for limit, excluded in ((inclusive, False), (exclusive, True)) if limit is not None]
    if not found:
        return None
    sign = 1 if down else -1
    limit, excluded = max(found, key=lambda one: (sign * one[0], one[1]))
    if integer:
        whole = _next_whole(limit, down=down) if excluded else _whole(limit, down=down)
        return whole, False
    return limit, excluded


def _whole(limit: float, *, down: bool) -> float:
    """The outermost whole number that keeps an inclusive bound."""
    return -(-limit // 1) if down else limit // 1


def _next_whole(limit: float, *, down: bool) -> float:
    """The outermost whole number that keeps an exclusive bound."""
    return limit // 1 + 1 if down else -(-limit // 1) - 1


def _within(inner: Bound, outer: Bound, *, down: bool) -> bool:
    """Whether everything that keeps `inner` keeps `outer`."""
    if outer is None:
        return True
    if inner is None:
        return False
    if inner[0] != outer[0]:
        return inner[0] > outer[0] if down else inner[0] < outer[0]
    return inner[1] or not outer[1]


def _said(bound: Bound, *, down: bool) -> str:
    if bound is None:
        return "none"
    sign = (">" if down else "<") + ("" if bound[1] else "=")
    return f"{sign} {bound[0]:g}" if abs(bound[0]) < 1e6 else f"{sign} {bound[0]}"


def _at_most(inner: int | None, outer: int | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def _divides(new: float | None, old: float | None) -> bool:
    """Whether every multiple of `old` is one of `new`."""
    return new is None or (old is not None and old % new == 0)


def _covers(outer: tuple[str, ...] | None, inner: tuple[str, ...] | None) -> bool:
    return outer is None or (inner is not None and set(inner) <= set(outer))


def _set(enum: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if enum is None else frozenset(enum)


def _enum(rules: Rules) -> str:
    return "none" if rules.enum is None else ", ".join(rules.enum)
