"""One YAML file, read strictly: every value with its line, and nothing of YAML that surprises.

Refused: anchors, aliases, tags, a key twice in one mapping, keys that are not text, a second document, deep nesting,
large files. Plain scalars mean what they mean in JSON (`true`, `null`, `12`, `1.5e3`) and are text otherwise: `no`,
`010`, `1:30` and `2013-01-01` are text.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from analytics_platform.contract.complaint import Complaint, shown

MAX_BYTES = 256 * 1024
MAX_DEPTH = 40

Place = tuple[str | int, ...]
"""Where a value stands: keys and positions from the top."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(slots=True)
class Source:
    """A file as it was read, and what is wrong with it so far."""

    path: Path
    file: str
    """As complaints name it."""
    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    """Lines from 1: of the key for a value in a mapping, of the item for a value in a list."""
    digest: str = ""
    """sha256 of its bytes, in hexadecimal."""
    complaints: list[Complaint] = field(default_factory=list)

    @property
    def root(self) -> "Node":
        """The top of the file."""
        return Node(self, (), self.data)

    def complain(self, path: Place, found: str, allowed: str) -> None:
        """Remember a fault at `path`; a second one at the same place is left out, since it mostly follows from the first."""
        key = key_of(path)
        if all(known.key != key for known in self.complaints):
            self.complaints.append(Complaint(self.file, self.line(path), key, found, allowed))

    def line(self, path: Place) -> int | None:
        """The line of `path`, or of what it is missing from."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a file and the value there; `None` both for null and for nothing."""

    source: Source
    path: Place
    value: Any

    def __getitem__(self, key: str) -> "Node":
        """What stands under `key`; a node without a value if that is nothing, or if this is no mapping."""
        return Node(self.source, (*self.path, key), self.value.get(key) if isinstance(self.value, dict) else None)

    def __iter__(self) -> Iterator["Node"]:
        """The items of a list; nothing if this is no list."""
        for position, item in enumerate(self.value if isinstance(self.value, list) else ()):
            yield Node(self.source, (*self.path, position), item)

    def __contains__(self, key: str) -> bool:
        """Whether `key` is written down, whatever its value."""
        return isinstance(self.value, dict) and key in self.value

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a mapping, in order; nothing if this is no mapping."""
        return tuple(self.value) if isinstance(self.value, dict) else ()

    @property
    def text(self) -> str:
        """The value if it is text; else empty."""
        return self.value if isinstance(self.value, str) else ""

    def refuse(self, allowed: str, found: str | None = None) -> None:
        """Complain about this place; `found` defaults to the value."""
        self.source.complain(self.path, shown(self.value) if found is None else found, allowed)


def key_of(path: Place) -> str:
    """`schema[0].properties[6].name`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def read_source(path: Path, file: str) -> Source:
    """Read a file; where it cannot be read as we want it, `data` is None and there are complaints."""
    source = Source(path, file)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        source.complain((), error.strerror or type(error).__name__, "is a file that can be read")
        return source
    source.digest = hashlib.sha256(content).hexdigest()
    if len(content) > MAX_BYTES:
        source.complain((), f"more than {MAX_BYTES} bytes", f"are at most {MAX_BYTES}")
        return source
    try:
        data = _Reader(source).read(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        source.complaints.append(Complaint(file, line, "", "bytes that are not UTF-8", "is UTF-8 text"))
        return source
    except _TooDeep:
        return source
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "something else"
        source.complaints.append(Complaint(file, None if mark is None else mark.line + 1, "", str(problem), "is YAML"))
        return source
    if not isinstance(data, dict) and not source.complaints:
        source.complain((), shown(data), "is a mapping")
    source.data = data if isinstance(data, dict) else None
    return source


class _TooDeep(Exception):
    """Reading on would only follow the nesting down; the complaint is made."""


class _Reader:
    """Builds values from parser events, so that every key of every mapping is seen, also the ones PyYAML would drop."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.events: Iterator[Any] = iter(())

    def read(self, text: str) -> Any:
        self.events = yaml.parse(text, Loader=_LOADER)
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        event: Any = next(self.events)
        self.source.lines[()] = _line(event)
        data = self._value(event, ())
        next(self.events)  # the document's end
        after: Any = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse(after, (), "a second document", "is one document in a file")
            return None
        return data

    def _refuse(self, event: Any, path: Place, found: str, allowed: str) -> None:
        complaint = Complaint(self.source.file, _line(event), key_of(path), found, allowed)
        self.source.complaints.append(complaint)

    def _value(self, event: Any, path: Place) -> Any:
        if len(path) > MAX_DEPTH:
            self._refuse(event, (), f"more than {MAX_DEPTH} levels", f"are at most {MAX_DEPTH}")
            raise _TooDeep
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, path, f"the alias *{event.anchor}", "are values written out")
            return None
        if event.anchor is not None:
            self._refuse(event, path, f"the anchor &{event.anchor}", "are values without anchors")
        if event.tag not in {None, "!"}:
            self._refuse(event, path, f"the tag {event.tag}", "are values without tags")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return _scalar(event.value) if event.implicit[0] else event.value

    def _mapping(self, path: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        event: Any
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, path, "a key that is not text", "are keys of text")
                self._value(event, (*path, "?"))
                self._value(next(self.events), (*path, "?"))
                continue
            key = str(event.value)
            here = (*path, key)
            if key in values:
                first = self.source.lines[here]
                self._refuse(event, here, f"the key a second time (first in line {first})", "is each key once")
            else:
                self.source.lines[here] = _line(event)
            self._value_of_key(event, here, values)
        return values

    def _value_of_key(self, event: Any, here: Place, values: dict[str, Any]) -> None:
        if event.anchor is not None or event.tag not in {None, "!"}:
            self._refuse(event, here, "an anchor or a tag on a key", "are keys without")
        values[str(here[-1])] = self._value(next(self.events), here)

    def _sequence(self, path: Place) -> list[Any]:
        values: list[Any] = []
        event: Any
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            here = (*path, len(values))
            self.source.lines[here] = _line(event)
            values.append(self._value(event, here))
        return values


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _scalar(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    # Longer ones are text: no contract needs them, and turning 200,000 digits into a number takes seconds.
    if len(text) <= 40:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            return float(text)
    return text
