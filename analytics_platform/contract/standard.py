"""A file held against the Open Data Contract Standard v3.2.0, by the JSON Schema its package brings.

https://bitol-io.github.io/open-data-contract-standard
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs

from analytics_platform.contract.complaint import one_of, shown
from analytics_platform.contract.source import Place, Source

API_VERSION = "v3.2.0"

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "array": "a list",
    "boolean": "true or false",
    "null": "nothing",
}
_OURS = {"logicalType", "logicalTypeOptions"}
"""Keys where we take less than the standard does, and say so ourselves."""

_OF_TYPES_WE_REFUSE = {"map", "dimensions"}


def check_standard(source: Source) -> None:
    """Complain about everything that the standard does not allow."""
    for error in _validator().iter_errors(source.data):
        _complain(source, error)


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_bytes())
    return schema


@cache
def _validator() -> Any:
    return jsonschema_rs.validator_for(_schema(), offline=True)


def _complain(source: Source, error: Any) -> None:
    path: Place = tuple(error.instance_path)
    if path[-1:] in {("version",), ("apiVersion",)}:
        return
    kind, details = error.kind.name, error.kind.as_dict()
    if kind in {"additionalProperties", "unevaluatedProperties"}:
        _complain_of_keys(source, path, details["unexpected"])
    elif kind == "required":
        if details["property"] in _OF_TYPES_WE_REFUSE:
            return  # and it is missed too where no type is given at all
        source.complain((*path, details["property"]), "nothing", "is a value: it is required")
    elif kind == "type":
        source.complain(path, shown(error.instance), one_of(_TYPES[name] for name in details["types"]))
    elif kind == "enum":
        if path[-1] not in _OURS or "properties" not in path:
            source.complain(path, shown(error.instance), one_of(map(str, details["options"]), error.instance))
    elif kind in {"anyOf", "oneOf"}:
        _complain_of_choices(source, path, error, details["context"])
    else:
        source.complain(path, shown(error.instance), f"is what the standard says: {error.message}")


def _complain_of_keys(source: Source, path: Place, names: list[str]) -> None:
    known = _names_at(path)
    for name in names:
        # Where a part of a mapping is wrong, the validator calls its other keys unevaluated.
        if name not in known and not _OURS & set(path):
            source.complain((*path, name), "an unknown key", one_of(sorted(known), name))


def _complain_of_choices(source: Source, path: Place, error: Any, choices: list[list[Any]]) -> None:
    """Follow the choice of the right type; where none is, name the types."""
    wrong_type = [found for found in choices if any(_is_type_of_whole(item, path) for item in found)]
    for found in choices:
        if found not in wrong_type:
            for item in found:
                _complain(source, item)
            return
    types = {name for found in choices for item in found for name in item.kind.as_dict().get("types", ())}
    source.complain(path, shown(error.instance), one_of(_TYPES[name] for name in sorted(types)))


def _is_type_of_whole(error: Any, path: Place) -> bool:
    return error.kind.name == "type" and tuple(error.instance_path) == path


def _names_at(path: Place) -> set[str]:
    """Every key that the standard knows at a place, whatever else stands there."""
    nodes = [_schema()]
    for step in path:
        nodes = [child for node in nodes for part in _parts(node) for child in _below(part, step)]
    return {name for node in nodes for part in _parts(node) for name in part.get("properties", ())}


def _below(part: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    child = part.get("items") if isinstance(step, int) else part.get("properties", {}).get(step)
    if isinstance(child, dict):
        yield child


def _parts(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all that it refers to or may turn into."""
    yield node
    if "$ref" in node:
        yield from _parts(_schema()["$defs"][node["$ref"].removeprefix("#/$defs/")])
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in node.get(keyword, ()):
            yield from _parts(part)
    if "then" in node:
        yield from _parts(node["then"])
