"""The plain schemas that together say what a value is: `$ref` followed, `allOf` and unions with null taken apart.

https://json-schema.org/draft/2020-12/json-schema-core#section-8.2 and #section-10.2.1
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from urllib.parse import unquote

_MOST = 1000
"""Schemas that may stand for one value, each reference counted: a few that double make more than anybody can read."""
_DEEPEST = 64
_OF_CONSTANT = {"const", "type", "title", "description"}
"""Keywords of a branch that is one text."""


class Refused(Exception):
    """A schema that no field can have; says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A schema, or one of those that hold together."""

    schema: Any
    base: str = ""
    """The document that it stands in: empty for the schema itself, else the name of one that it refers to."""
    followed: frozenset[tuple[str, str]] = frozenset({("", "")})
    """Documents and pointers that it is inside of."""
    nullable: bool = False
    """Whether null may stand beside what it says."""

    def beside(self, schema: Any) -> "Part":
        """Another schema that is inside of the same ones."""
        return Part(schema, self.base, self.followed)

    @property
    def types(self) -> frozenset[str] | None:
        """Of its values; None where it does not say."""
        found = self.schema.get("type")
        if found is None:
            return None
        names = {found} if isinstance(found, str) else set(found)
        return frozenset(names | ({"null"} if self.nullable else set()))


def plain_parts(parts: Sequence[Part], documents: Mapping[str, Any]) -> list[Part]:
    """What holds of a value of which all `parts` hold, without `$ref`, `allOf`, `anyOf` and `oneOf`.

    Args:
        parts: At least one.
        documents: By the names that parts have as their base.

    Raises:
        Refused: it is never there, contains itself, or is one of several things.
    """
    seen = count()
    return [plain for part in parts for plain in _plain(part, documents, 0, seen)]


def _plain(part: Part, documents: Mapping[str, Any], depth: int, seen: Iterator[int]) -> Iterator[Part]:
    schema = part.schema
    if schema is False:
        raise Refused("it may never be there")
    if depth > _DEEPEST or next(seen) > _MOST:
        raise Refused("its schema is too large")
    if schema is True:
        schema = {}
    part = _in_its_document(part, documents)
    rest = {key: value for key, value in schema.items() if key not in {"$ref", "allOf", "anyOf", "oneOf"}}
    if rest:
        yield Part(rest, part.base, part.followed, part.nullable)
    inside = [part.beside(one) for one in schema.get("allOf", ())]
    if "$ref" in schema:
        inside.append(_target(part, schema["$ref"], documents))
    for one in inside:
        yield from _plain(Part(one.schema, one.base, one.followed, part.nullable), documents, depth + 1, seen)
    for keyword in ("anyOf", "oneOf"):
        branches = schema.get(keyword)
        if branches is not None:
            found = _one_branch(branches)
            nullable = part.nullable or any(map(_is_null, branches))
            yield from _plain(Part(found, part.base, part.followed, nullable), documents, depth + 1, seen)


def _one_branch(branches: Sequence[Any]) -> Any:
    """The only one beside null; several constants, as an enum is written where each has a title, are one."""
    others = [one for one in branches if not _is_null(one)]
    constants = [one.get("const") for one in others if isinstance(one, dict) and one.keys() <= _OF_CONSTANT]
    if len(others) > 1 and len(constants) == len(others) and all(isinstance(one, str) for one in constants):
        return {"enum": constants}
    if len(others) != 1:
        raise Refused("it is one of several things, and a field has one type")
    return others[0]


def _in_its_document(part: Part, documents: Mapping[str, Any]) -> Part:
    """The part with its own name as base where it is a document inside another: its references start from itself."""
    name = None if part.schema is True else part.schema.get("$id")
    if not isinstance(name, str) or name.startswith("#") or part.schema is documents.get(part.base):
        return part
    return replace(part, base=name)


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and (
        schema.get("type") in ("null", ["null"])
        or ("const" in schema and schema["const"] is None)
        or schema.get("enum") == [None]
    )


def _target(part: Part, reference: str, documents: Mapping[str, Any]) -> Part:
    document, _, pointer = reference.partition("#")
    base = document or part.base
    own = documents.get(part.base)
    # Draft 4 calls it `id`.
    names = [own.get("$id"), own.get("id")] if isinstance(own, dict) else []
    if document and any(isinstance(name, str) and name.partition("#")[0] == document for name in names):
        base = part.base
    if base not in documents:
        raise Refused(f"its schema stands elsewhere ({reference})")
    if (base, pointer) in part.followed:
        raise Refused("it contains itself")
    found = documents[base]
    for step in pointer.split("/")[1:] if pointer.startswith("/") or not pointer else [None]:
        key = None if step is None else unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key is not None and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, dict) and key in found:
            found = found[key]
        else:
            raise Refused(f"its schema is not where it is said to be ({reference})")
    if not isinstance(found, dict | bool):
        raise Refused(f"its schema is not where it is said to be ({reference})")
    return Part(found, base, part.followed | {(base, pointer)})
