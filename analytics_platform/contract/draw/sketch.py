"""What a source says of an event, in fields of a contract: between the readers and the writer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from analytics_platform.contract.model import Field
from analytics_platform.errors import NotImportable
from analytics_platform.kafka.frame import WireFormat

_MOST_FIELDS = 10_000
"""Names written out may multiply: a thousand of a thousand would be a million."""
_MOST_NAMED = 12
_LONGEST = 60


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
    left_out: list[LeftOut] = field(default_factory=list)
    _fields: int = 0

    def leave(self, what: str, why: str) -> None:
        """Remember what is left out; the same thing once."""
        if (found := LeftOut(what, why)) not in self.left_out:
            self.left_out.append(found)

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


def within(path: str, name: str) -> str:
    """The path of a field inside another; names are cut, since a source may call its fields anything."""
    shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return f"{path}.{shown}" if path else shown


def printable(text: str) -> str:
    """The text in one line, for a comment and for a terminal: what does neither print nor fit is escaped."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)
