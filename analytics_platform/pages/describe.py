"""Contracts in words: what a page says of fields, keys and windows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from analytics_platform.contract.model import (
    Deprecation,
    Enrichment,
    EventContract,
    Field,
    Identity,
    KeyMode,
    LogicalType,
    Unknown,
)
from analytics_platform.contract.patch import Patch
from analytics_platform.contract.place import Form, place
from analytics_platform.contract.rule import in_words
from analytics_platform.stopwatch import spell

SHOWN: Mapping[str, str] = {
    "EventContract": (
        "header topic fields envelope identity row_rules freshness max_quarantined_share compatibility deprecation "
        "upcast patches enrichments"
    ),
    "ReferenceContract": "header fields primary_key file changes",
    "MartContract": "header fields grain window sql sql_path silver_inputs reference_inputs gold_inputs freshness",
    "Header": "id name version status domain description owners tags path digest",
    "Field": "name type required description rules fields item unit classification deprecated deprecation examples",
    "Rules": (
        "pattern min_length max_length minimum maximum exclusive_minimum exclusive_maximum multiple_of min_items max_items "
        "enum"
    ),
    "RowRule": "name sql description",
    "Identity": "by mode time_field window",
    "Window": "column size timezone time_fields hop lookbacks session",
    "Session": "gap by",
}
"""What the templates show by name. Whatever else a contract declares is listed under its own name: see `also`."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One line of a table of fields."""

    inside: str
    """Where it stands, as `items[].`; empty at the top."""
    name: str
    type: str
    required: bool
    rules: tuple[str, ...]
    field: Field
    is_new: bool
    """Whether the version before did not have it."""
    also: tuple[tuple[str, str], ...]


def field_rows(found: Iterable[Field], before: Iterable[Field] | None = None) -> list[FieldRow]:
    """Fields with those inside them, in order.

    Args:
        found: Of one version.
        before: Of the version before it; `None` where there is none, so that nothing is new.
    """
    known = None if before is None else {path for path, _ in _walked(before, "")}
    return [
        FieldRow(
            path[: -len(field.name)],
            field.name,
            type_said(field),
            field.required,
            (*_inner_rules(field), *(f"{name}: {value}" for name, value in also(field.rules))),
            field,
            known is not None and path not in known,
            tuple(also(field)),
        )
        for path, field in _walked(found, "")
    ]


def _walked(found: Iterable[Field], inside: str) -> Iterator[tuple[str, Field]]:
    for field in found:
        path = f"{inside}{field.name}"
        yield path, field
        inner, suffix = field, ""
        while inner.item is not None:
            inner, suffix = inner.item, f"{suffix}[]"
        yield from _walked(inner.fields, f"{path}{suffix}.")


def _inner_rules(field: Field) -> tuple[str, ...]:
    """Its own rules, and those of what an array holds."""
    rules = tuple(in_words(field.rules))
    return rules if field.item is None else (*rules, *(f"each: {rule}" for rule in _inner_rules(field.item)))


def type_said(field: Field) -> str:
    """`string`, `array of object`."""
    if field.type is LogicalType.ARRAY and field.item is not None:
        return f"array of {type_said(field.item)}"
    return str(field.type)


def stands(contract: EventContract, text: str) -> list[tuple[str, str]]:
    """Where a field of the envelope comes from: words, and the name they are about."""
    found = place(text)
    begin = "the trace id in the W3C traceparent of " if found.form is Form.TRACEPARENT else ""
    own = "the field" if contract.cloudevents is None else "the attribute"
    return [
        (begin + ("the header" if spot.header else "the payload's field" if spot.data else own), spot.name)
        for spot in found.spots
    ]


def key_said(contract: EventContract) -> list[str]:
    """Where the idempotency key comes from and how copies are found, in sentences."""
    identity: Identity = contract.identity
    derived = f"the sha256 of {', '.join((contract.name, *identity.by))}, joined by U+001F, in hexadecimal"
    said = {
        KeyMode.VERIFY: f"The producer sends the key, and it must be {derived}; another one is quarantined.",
        KeyMode.DERIVE: f"The platform derives the key: {derived}. What the producer sends is not looked at.",
        KeyMode.TRUST: "The producer's key is taken as it is.",
    }
    copies = "Two events with one key are one event."
    if identity.time_field is not None:
        return [said[identity.mode], f"{copies} Copies are found over all history, by {identity.time_field}."]
    window = spell((identity.window or timedelta(0)).total_seconds())
    return [said[identity.mode], f"{copies} Copies are found if their occurred_at lie at most {window} apart."]


def patch_said(patch: Patch) -> str:
    """Which records a patch is for."""
    codes, sources = ", ".join(patch.codes), ", ".join(patch.sources)
    since = "" if patch.start is None else f"from {patch.start:%Y-%m-%d %H:%M:%S} UTC and "
    sender = f" from {sources}" if sources else ""
    return f"For records{sender} taken in {since}before {patch.end:%Y-%m-%d %H:%M:%S} UTC that are refused for {codes}."


def enrichment_said(item: Enrichment) -> str:
    """Where an enrichment's columns come from, and what becomes of rows whose key is not known."""
    if item.reference is None:
        asked = f"takes these columns from {item.source}, asked by {', '.join(item.on)}."
    else:
        by = " and ".join(f"{column} is {field}" for column, field in item.on.items())
        asked = f"takes these columns from {item.source}, where {by}, as of {item.as_of} if that table has a history."
    unknown = {
        Unknown.NOTHING: "Rows whose key it does not know stay, without these columns.",
        Unknown.QUARANTINE: "Rows whose key it does not know are quarantined.",
    }
    return (
        f"Silver {asked} {unknown[item.unknown]} {item.enriched_at} says since when a row has what was known; while it is "
        "null nobody could be asked, and the row is filled later."
    )


def end_said(deprecation: Deprecation) -> str:
    """When something ends, and what to use instead."""
    instead = "" if deprecation.replaced_by is None else f"; use {deprecation.replaced_by} instead"
    return f"Announced on {deprecation.announced_on}, kept to the end of {deprecation.remove_after}{instead}."


def also(item: Any) -> list[tuple[str, str]]:
    """What something declares beyond what the pages show by name: its attributes that differ from their defaults."""
    shown = {name for kind in type(item).__mro__ for name in SHOWN.get(kind.__name__, "").split()}
    return [
        (attribute.name.replace("_", " "), value_said(value))
        for attribute in fields(item)
        if attribute.name not in shown
        and (value := getattr(item, attribute.name)) is not None
        and (attribute.default is MISSING or value != attribute.default)
        and not isinstance(value, Path)
        and value_said(value)
    ]


def value_said(value: Any) -> str:
    """Any value of the model as a line of text."""
    if isinstance(value, timedelta):
        return spell(value.total_seconds())
    if is_dataclass(value) and not isinstance(value, type):
        named = {attribute.name.replace("_", " "): getattr(value, attribute.name) for attribute in fields(value)}
        return value_said({name: inner for name, inner in named.items() if inner is not None})
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {value_said(inner)}" for name, inner in value.items())
    if isinstance(value, tuple | list | set | frozenset):
        said = [value_said(inner) for inner in value]
        return ", ".join(said if isinstance(value, tuple | list) else sorted(said))
    return str(value).lower() if isinstance(value, bool) else str(value)
