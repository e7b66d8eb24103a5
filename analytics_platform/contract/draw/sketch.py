"""What a source says of an event, in fields of a contract: between the readers and the writer."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from analytics_platform.contract.model import Field
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import WireFormat

_MOST_FIELDS = 10_000
"""Names written out may multiply: a thousand of a thousand would be a million."""
_MOST_NAMED = 12
_LONGEST = 60
_LONGEST_FAULT = 160


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of the source that the contract does not have."""

    what: str
    """A path as in `lines[].sku`, or a rule `of` one."""
    why: str

    def __str__(self) -> str:
        """One line, whatever a source calls its fields."""
        return printable(f"{self.what}, because {self.why}")


@dataclass(frozen=True, slots=True)
class Sketch:
    """One event as its source has it."""

    source: str
    """As it is named to people: a file's name, a subject, a topic."""
    fields: tuple[Field, ...]
    """Under the names that they have in the value, which need not be names for columns."""
    left_out: tuple[LeftOut, ...] = ()
    name: str = ""
    """What the source calls the event, if anything; need not be a name for one."""
    description: str = ""
    wire: WireFormat = WireFormat.JSON
    types: tuple[str, ...] | None = None
    """The fields that hold the event's type; None where only names can tell."""
    versions: tuple[str, ...] | None = None
    """The fields that hold the version, likewise."""
    headers: tuple[str, ...] = ()
    """Headers that every record has; of a sample alone."""


@dataclass(slots=True)
class Notes:
    """What a reader leaves out, and how much it has read."""

    source: str
    left_out: dict[LeftOut, None] = field(default_factory=dict)
    """In their order; there may be thousands."""
    _fields: int = 0

    def leave(self, what: str, why: str) -> None:
        """Remember what is left out; the same thing once."""
        self.left_out.setdefault(LeftOut(what, why))

    def leave_all(self, ending: str, paths: Sequence[str], why: str) -> None:
        """Remember one thing that is left out of several fields: `that … ` them."""
        if paths:
            more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
            self.leave(f"{ending}: {', '.join(paths[:_MOST_NAMED])}{more}", why)

    def count(self) -> None:
        """One field more.

        Raises:
            NotImportable: there are more than any contract can have.
        """
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise NotImportable(self.source, f"it has more than {_MOST_FIELDS} fields, written out")


def schema_of(text: str) -> Any:
    """What a text of JSON says.

    Raises:
        ValueError: it is no JSON, or holds half of a surrogate pair, which is no text and which no file can hold.
        RecursionError: it nests too deep.
    """
    found = json.loads(text)
    json.dumps(found, ensure_ascii=False).encode()
    return found


@contextmanager
def not_too_deep(source: str) -> Iterator[None]:
    """Readers go down a source as it nests.

    Raises:
        NotImportable: it nests deeper than Python goes.
    """
    try:
        yield
    except RecursionError:
        raise NotImportable(source, "it nests too deep to be read") from None


def within(path: str, name: str) -> str:
    """The path of a field inside another; names are cut, since a source may call its fields anything."""
    shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return f"{path}.{shown}" if path else shown


def shortly(error: Exception) -> str:
    """What another library says is wrong with a schema: one line of it, and not much of what it quotes."""
    line = printable(str(error).partition("\n")[0])
    return line if len(line) <= _LONGEST_FAULT else f"{line[:_LONGEST_FAULT]}…"


def printable(text: str) -> str:
    """The text in one line, for a comment and for a terminal: what does not print is escaped."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)
