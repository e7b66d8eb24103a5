"""Which records of bronze are about somebody: the search before they are forgotten.

Valid records are matched by their decoded fields. Records that no contract takes are matched as well as their bytes can
be read: by the field of that name where they are JSON objects, by the text they hold where they are not.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from analytics_platform import bronze
from analytics_platform.contract.cloudevents import every_reading
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.place import Spot
from analytics_platform.contract.unframe import readable
from analytics_platform.contract.wire import place_of
from analytics_platform.erasure import Forgotten
from analytics_platform.judge import true_values
from analytics_platform.kafka.frame import NO_SCHEMAS, Schemas

_TELLING_BYTES = 8
"""A value of so many bytes or more is looked for in bytes that are no JSON; a shorter one is only found in quotes."""

MATCH_SCHEMA = pl.Schema(
    {
        **{name: bronze.SCHEMA[name] for name in bronze.PLACE},
        "event": pl.String(),
        "idempotency_key": pl.String(),
    }
)
"""Where a record stood; its event type and key, null for one that no contract takes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom or what to look for. The text is nobody's business: it has no repr."""

    text: str
    columns: tuple[tuple[EventContract, str], ...]
    """By which column records of each contract are matched: its subject, or `idempotency_key`."""

    def __repr__(self) -> str:
        """Without the text."""
        return f"Wanted({', '.join(f'{contract.label}.{name}' for contract, name in self.columns)})"


def matches(
    records: pl.DataFrame,
    contracts: Sequence[EventContract],
    wanted: Wanted,
    listed: dict[str, Forgotten],
    schemas: Schemas = NO_SCHEMAS,
) -> pl.DataFrame:
    """Those of some records of one topic that are about what is wanted, or copies of events that were forgotten before.

    Args:
        records: Of bronze, without gap rows.
        contracts: All of the topic's.
        wanted: What to look for.
        listed: The events forgotten before, by event type.
        schemas: By which framed values were written, see `decode`.

    Returns:
        MATCH_SCHEMA, at most one row per record.
    """
    judged = true_values(records, contracts, schemas)
    found = [pl.DataFrame(schema=MATCH_SCHEMA)]
    for name, rows in judged.good.items():
        hit = pl.repeat(False, rows.height, eager=True)
        if name in listed:
            hit |= listed[name].among(rows["idempotency_key"])
        # Rows of all versions have all columns that any of them has, and may have been lifted into another's.
        for column in {column for contract, column in wanted.columns if contract.name == name} & set(rows.columns):
            hit |= (rows[column].cast(pl.String) == wanted.text).fill_null(value=False)
        found.append(
            rows.filter(hit).select(
                topic_id="_topic_id",
                partition="_partition",
                offset="_offset",
                event=pl.lit(name),
                idempotency_key="idempotency_key",
            )
        )
    rejected = records.join(judged.rejected.select(bronze.PLACE), on=bronze.PLACE, how="semi", maintain_order="left")
    rejected = readable(rejected, contracts, schemas)
    spots = {
        spot
        for contract, column in wanted.columns
        if contract in contracts
        for read in every_reading(contract)
        for spot in place_of(read, column).spots
    }
    mentions = [
        _mentions(value, key, headers or (), spots, wanted.text)
        for key, value, headers in rejected.select("key", "value", "headers").iter_rows()
    ]
    about = rejected.filter(pl.Series(mentions, dtype=pl.Boolean)).select(bronze.PLACE)
    found.append(about.with_columns(event=pl.lit(None, pl.String), idempotency_key=pl.lit(None, pl.String)))
    return pl.concat(found)


def _mentions(
    value: bytes | None, key: bytes | None, headers: Iterable[dict[str, Any]], spots: set[Spot], text: str
) -> bool:
    """Whether a record that no contract takes is about somebody."""
    said = text.encode()
    if key == said:
        return True
    named = {spot.name for spot in spots if spot.header}
    if any(one["name"] in named and one["value"] == said for one in headers):
        return True
    if value is None:
        return False
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        return any(_says(found.get("data") if spot.data else found, spot, text) for spot in spots if not spot.header)
    quoted = [json.dumps(text).encode(), json.dumps(text, ensure_ascii=False).encode()]
    return any(one in value for one in quoted) or (len(said) >= _TELLING_BYTES and said in value)


def _says(holder: Any, spot: Spot, text: str) -> bool:
    return isinstance(holder, dict) and spot.name in holder and str(holder[spot.name]) == text
