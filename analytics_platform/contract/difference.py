"""One change between two contracts, and what it means to those who hold on to the old one or to the new."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a change asks for.

    `COSMETIC`: nothing; no row, no column and no promise is touched.
    `COMPATIBLE`: a new version of the same major.
    `MAJOR`: a new major version, for somebody's rows or queries would break.
    `BREAKING`: not this way, whatever the version.
    """

    COSMETIC = "cosmetic"
    COMPATIBLE = "compatible"
    MAJOR = "needs a major"
    BREAKING = "breaking"


@dataclass(frozen=True, slots=True)
class Difference:
    """One change. `backward` and `forward` are sound, not complete: true only where it is certain for every row.

    Fields that a contract does not name are nobody's promise: a producer who always sent an undeclared field `x` as text
    is not looked at when `x` is declared a number (the impact of a contract on the rows that came shows it).
    """

    path: str
    """The field (`lines[].sku`), or the part of the contract (`identity`, `envelope.source`)."""
    change: str
    """What was and what is, as in `required: false -> true`."""
    verdict: Verdict
    reason: str
    advice: str = ""
    """What to do instead; empty where nothing needs to be done."""
    backward: bool = True
    """Every row valid under the old contract is valid under the new one, as far as this change goes."""
    forward: bool = True
    """Every row valid under the new contract is valid under the old one, as far as this change goes."""
