"""What is wrong with a contract, said so that its author can mend it without reading our code."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_LONGEST = 60
"""Characters of a found value that are shown."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One fault of one file.

    Its text reads `contracts/flights/x/1.0.0.odcs.yaml:41: schema[0].properties[6].logicalType: found 'strng', allowed
    are string, date (did you mean string?)`.
    """

    file: str
    """Relative to the folder that holds the contracts' folder."""
    line: int | None
    """From 1; None where no line is to blame."""
    key: str
    """Path inside the file, lists from 0; empty for the file as a whole."""
    found: str
    """As in `'strng'`, `nothing`, `a list`."""
    allowed: str
    """Begins with its verb, as in `is a whole number`."""

    def __str__(self) -> str:
        """`file:line: key: found …, allowed …`."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.key}{': ' if self.key else ''}found {self.found}, allowed {self.allowed}"


def shown(value: Any) -> str:
    """A value of a YAML file in the words of a complaint."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else value[:_LONGEST] + "…")
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return str(value)


def one_of(allowed: Iterable[str], found: Any = None, what: str = "") -> str:
    """`are a, b: what they are (did you mean b?)`, or `is a`; the question is asked when `found` looks like a slip."""
    names = list(allowed)
    if not names:
        return "is nothing here" + (f": {what}" if what else "")
    near = nearest(found, names)
    verb, question = "are" if len(names) > 1 else "is", f" (did you mean {near}?)" if near else ""
    return f"{verb} {', '.join(names)}{': ' if what else ''}{what}{question}"


def nearest(found: Any, names: Iterable[str]) -> str | None:
    """The one of `names` that `found` was probably meant to be; None when it is one of them or like none of them."""
    by_folded = {name.casefold(): name for name in names}
    if not isinstance(found, str) or found in by_folded.values():
        return None
    near = difflib.get_close_matches(found.casefold(), by_folded, n=1)
    return by_folded[near[0]] if near else None
