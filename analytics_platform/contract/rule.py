"""The rules of a contract's fields as conditions over columns, each with the sentence that says it was broken.

Sentences name the field and the rule, `departure_delay_minutes: below the minimum of -60`, and never the value.
A null breaks no rule: whether it may be there is said by `required`.
"""

from collections.abc import Iterator

import polars as pl

from analytics_platform.contract.model import Field, LogicalType, Rules


def in_words(rules: Rules) -> list[str]:
    """Each rule in a few words, as `≥ 0` or `matches [A-Z]{3}`."""
    bounds = (
        ("≥", rules.minimum),
        ("≤", rules.maximum),
        (">", rules.exclusive_minimum),
        ("<", rules.exclusive_maximum),
        ("a multiple of", rules.multiple_of),
        ("matches", rules.pattern),
        ("length ≥", rules.min_length),
        ("length ≤", rules.max_length),
        ("items ≥", rules.min_items),
        ("items ≤", rules.max_items),
        ("one of", ", ".join(rules.enum) if rules.enum else None),
    )
    return [
        f"{sign} {bound:g}" if isinstance(bound, float) else f"{sign} {bound}"
        for sign, bound in bounds
        if bound is not None
    ]


def conditions(field: Field) -> Iterator[tuple[str, pl.Expr]]:
    """Every rule of a column and of what is inside it: the sentence, and what is true of the rows that keep the rule."""
    for sentence, condition in _conditions(field, pl.col(field.name), field.name):
        yield sentence, condition.fill_null(True)


def _conditions(field: Field, value: pl.Expr, path: str) -> Iterator[tuple[str, pl.Expr]]:
    for text, condition in _own(field, value):
        yield f"{path}: {text}", condition
    for inner in field.fields:
        yield from _conditions(inner, value.struct.field(inner.name), f"{path}.{inner.name}")
    if field.item is not None:
        for sentence, condition in _conditions(field.item, pl.element(), f"{path}[]"):
            yield sentence, value.list.eval(condition.fill_null(True)).list.all()


def _own(field: Field, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    rules = field.rules
    if rules.pattern is not None:
        yield f"does not match the pattern {rules.pattern}", value.str.contains(f"^(?:{rules.pattern})$")
    if rules.min_length is not None:
        yield f"shorter than {rules.min_length} characters", value.str.len_chars() >= rules.min_length
    if rules.max_length is not None:
        yield f"longer than {rules.max_length} characters", value.str.len_chars() <= rules.max_length
    if rules.min_items is not None:
        yield f"fewer than {rules.min_items} items", value.list.len() >= rules.min_items
    if rules.max_items is not None:
        yield f"more than {rules.max_items} items", value.list.len() <= rules.max_items
    if rules.enum is not None:
        text = value if field.type is LogicalType.STRING else value.cast(pl.String)
        yield f"not one of {', '.join(rules.enum)}", text.is_in(list(rules.enum))
    yield from _numeric(rules, value, whole=field.type is LogicalType.INTEGER)


def _numeric(rules: Rules, value: pl.Expr, *, whole: bool) -> Iterator[tuple[str, pl.Expr]]:
    if rules.minimum is not None:
        yield f"below the minimum of {_plain(rules.minimum)}", value >= _plain(rules.minimum)
    if rules.maximum is not None:
        yield f"above the maximum of {_plain(rules.maximum)}", value <= _plain(rules.maximum)
    if rules.exclusive_minimum is not None:
        yield f"not above {_plain(rules.exclusive_minimum)}", value > _plain(rules.exclusive_minimum)
    if rules.exclusive_maximum is not None:
        yield f"not below {_plain(rules.exclusive_maximum)}", value < _plain(rules.exclusive_maximum)
    if rules.multiple_of is not None:
        step = _plain(rules.multiple_of)
        if whole and isinstance(step, int):
            yield f"not a multiple of {step}", value % step == 0
        else:
            times = value / step
            # A decimal step such as 0.1 has no exact double: a multiple is what lies within a rounding error of one.
            yield f"not a multiple of {step}", (times - times.round()).abs() <= 1e-9 * pl.max_horizontal(1, times.abs())


def _plain(bound: float) -> int | float:
    """A whole bound as an integer: it reads better, and integers beyond 2**53 are compared exactly."""
    return int(bound) if float(bound).is_integer() else bound
