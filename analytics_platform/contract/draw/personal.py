"""Fields whose names say that they hold personal data: a guess, for a person to confirm or refuse."""

import re
from dataclasses import replace

from analytics_platform.contract.model import Field, LogicalType, Operation, Treatment

_WORDS = frozenset(
    {
        *("email", "mail", "phone", "telephone", "mobile", "fax", "name", "firstname", "lastname", "surname"),
        *("fullname", "username", "nickname", "address", "street", "ip", "ipv4", "ipv6", "birth", "birthday"),
        *("birthdate", "dob", "ssn", "passport", "iban"),
    }
)
KEY = "todo"
"""The key of a hash, until somebody names one."""


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in snake or camel case, in lower case."""
    apart = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", name)
    return tuple(word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word)


def classified(field: Field, by: tuple[str, ...], time_field: str | None) -> Field:
    """The field, restricted and dropped where its name looks personal, or so with what is inside it.

    Identifiers tell events apart: they are hashed, or kept where they are no text; `time_field` is never personal.
    """
    if field.name == time_field:
        return field
    if field.type is not LogicalType.BOOLEAN and any(
        word in _WORDS or word.removesuffix("s") in _WORDS or word.removesuffix("es") in _WORDS
        for word in words_of(field.name)
    ):
        return replace(field, classification="restricted", treatment=_treatment(field, by))
    item = None if field.item is None else classified(field.item, (), None)
    return replace(field, fields=tuple(classified(one, (), None) for one in field.fields), item=item)


def _treatment(field: Field, by: tuple[str, ...]) -> Treatment:
    if field.name not in by:
        return Treatment(Operation.DROP)
    return Treatment(Operation.HASH, key=KEY) if field.type is LogicalType.STRING else Treatment(Operation.KEEP)
