"""A record that cannot become a row of silver, and the frame that holds many."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from analytics_platform.contract.reason import Reason

REJECT_SCHEMA = pl.Schema(
    {
        "topic_id": pl.String(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "event_type": pl.String(),
        "schema_version": pl.String(),
        "source": pl.String(),
        "codes": pl.List(pl.String()),
        "reasons": pl.List(pl.String()),
        "contract": pl.String(),
    }
)
"""Rejected records: at most one row each. `event_type`, `schema_version` and `source` are what the record claims;
`contract` (`<event>@<version>`) is the one that refused it, null when none was reached."""

CLAIM_LENGTH = 200
"""Characters kept of a claim: whoever sends a megabyte as its event type gets the beginning of it back."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a record says of itself, believed by nobody yet; None where it says nothing or no text."""

    event_type: str | None = None
    schema_version: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why one record was refused. `reasons` stand beside `codes`, name places and rules, and never hold a value."""

    codes: tuple[Reason, ...]
    reasons: tuple[str, ...]
    claims: Claims = Claims()
    contract: str | None = None


def rejected_frame(records: pl.DataFrame, places: Sequence[int], rejected: Sequence[Rejected]) -> pl.DataFrame:
    """The rejected of some records as REJECT_SCHEMA, in the order of `places`.

    Args:
        records: With topic_id, partition and offset.
        places: Row numbers in `records`.
        rejected: One per place.
    """
    coordinates = records.select("topic_id", "partition", "offset")[list(places)]
    claims = [one.claims for one in rejected]
    said = pl.DataFrame(
        {
            "event_type": [_cut(one.event_type) for one in claims],
            "schema_version": [_cut(one.schema_version) for one in claims],
            "source": [_cut(one.source) for one in claims],
            "codes": _lists([[str(code) for code in one.codes] for one in rejected]),
            "reasons": _lists([one.reasons for one in rejected]),
            "contract": [one.contract for one in rejected],
        },
        schema_overrides=dict.fromkeys(("event_type", "schema_version", "source", "contract"), pl.String),
    )
    return coordinates.hstack(said).select(pl.col(name).cast(kind) for name, kind in REJECT_SCHEMA.items())


def _lists(texts: Sequence[Sequence[str]]) -> pl.Series:
    # Through Arrow: polars takes ten times as long to make a column of lists from Python's.
    return pl.Series(pa.array(texts, pa.list_(pa.large_string())), dtype=pl.List(pl.String))


def _cut(claim: str | None) -> str | None:
    return None if claim is None else claim[:CLAIM_LENGTH]
