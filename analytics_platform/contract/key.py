"""The idempotency key, twice: in Python for producers and tests, in DuckDB's SQL for whole batches.

The key is the sha256, as lower-case hex, of the event type and the values of the identity's fields in their order,
joined by the unit separator U+001F and encoded as UTF-8. A value is written as

- string: as it is; it may not hold U+001F, else two different events could share a key;
- integer: decimal; boolean: `true` or `false`; date: `YYYY-MM-DD`;
- timestamp: RFC 3339 in UTC with six digits of a second and a `Z`, as in `2013-01-01T10:17:00.000000Z`.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime

from analytics_platform import duck
from analytics_platform.contract.model import EventContract, Field, LogicalType

SEPARATOR = "\x1f"


def idempotency_key(contract: EventContract, values: Mapping[str, object]) -> str:
    """The key of one event.

    Args:
        contract: Names the business identifiers.
        values: Holds them by field name; timestamps are aware datetimes or RFC 3339 text, dates are dates or text.

    Raises:
        ValueError: An identifier is absent, null, of a type that cannot identify, naive, or holds U+001F.
    """
    parts = [contract.name]
    for field in identity_fields(contract):
        text = _text(field, values.get(field.name))
        if SEPARATOR in text:
            raise ValueError(f"{field.name}: an identifier must not hold U+001F")
        parts.append(text)
    return hashlib.sha256(SEPARATOR.join(parts).encode()).hexdigest()


def identity_fields(contract: EventContract) -> tuple[Field, ...]:
    """The business identifiers in the order in which the key takes them."""
    fields = {field.name: field for field in contract.fields}
    return tuple(fields[name] for name in contract.identity.by)


def key_sql(contract: EventContract) -> str:
    """The same key as an SQL expression over the contract's columns; null when an identifier is null."""
    parts = [duck.literal(contract.name), *(_text_sql(field) for field in identity_fields(contract))]
    return f"sha256({' || chr(31) || '.join(parts)})"


def separator_sql(contract: EventContract) -> dict[str, str]:
    """For each identifier that is a string, the condition that it holds the separator."""
    return {
        field.name: f"contains({duck.identifier(field.name)}, chr(31))"
        for field in identity_fields(contract)
        if field.type is LogicalType.STRING
    }


def key_hash_sql(key: str) -> str:
    """The 63-bit hash of a key that joins compare before the key itself, from md5: the same in every version.

    It is the lower half of the md5 digest (its last eight bytes, little-endian) without its lowest bit.
    """
    # The same as md5_number_lower(…) >> 1, which goes through texts of bits and takes three times as long.
    return f"CAST(md5_number({key}) >> 65 AS BIGINT)"


def _text(field: Field, value: object) -> str:
    text: str | None = None
    match field.type:
        case LogicalType.STRING if isinstance(value, str):
            text = value
        case LogicalType.INTEGER if isinstance(value, int) and not isinstance(value, bool):
            text = str(value)
        case LogicalType.BOOLEAN if isinstance(value, bool):
            text = "true" if value else "false"
        case LogicalType.DATE if isinstance(value, date | str) and not isinstance(value, datetime):
            text = (date.fromisoformat(value) if isinstance(value, str) else value).isoformat()
        case LogicalType.TIMESTAMP if isinstance(value, datetime | str):
            instant = datetime.fromisoformat(value.upper()) if isinstance(value, str) else value
            if instant.tzinfo is not None:
                text = instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        case _:
            pass
    if text is None:
        raise ValueError(f"{field.name}: not a {field.type} that can identify an event")
    return text


def _text_sql(field: Field) -> str:
    column = duck.identifier(field.name)
    if field.type is LogicalType.STRING:
        return column
    if field.type is LogicalType.TIMESTAMP:
        return f"strftime({column} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST({column} AS VARCHAR)"
