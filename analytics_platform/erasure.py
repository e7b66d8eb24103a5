"""What a domain was told to forget: the keys of events that must not come back, and what each erasure did.

Keys and subjects stand here as HMAC-SHA256 under the key `erasure`, so that the table tells nobody who was forgotten;
but whoever has that key can ask it about a key or subject he knows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from analytics_platform.keyring import ERASURE, KeyRing
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake, TableSpec

BEGUN, DONE = "begun", "done"

SCHEMA = pl.Schema(
    {
        "at": pl.Datetime("us", "UTC"),
        "stage": pl.String(),
        "by": pl.String(),
        "subject_hash": pl.String(),
        "keys": pl.List(pl.Struct({"event": pl.String(), "hash": pl.String()})),
        "report": pl.String(),
    }
)
"""One row when an erasure begins (`begun`, with the keys it must keep out) and one when it is done (with its counts, in
JSON). `by` is `key` or `subject`; `subject_hash` is over what was asked for."""


def spec(domain: str) -> TableSpec:
    """The table of a domain's erasures."""
    return TableSpec("erasure", domain, SCHEMA, (), f"What the domain {domain} was told to forget; no values.")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The events of one type that must not come back."""

    hashes: frozenset[str] = frozenset()
    keys: KeyRing = KeyRing()  # noqa: RUF009 - frozen and empty

    def among(self, idempotency_keys: pl.Series) -> pl.Series:
        """Which of some idempotency keys are of forgotten events; costs 0.2 s per 100,000 where anything is."""
        if not self.hashes:
            return pl.repeat(False, idempotency_keys.len(), eager=True)
        found = self.keys.digests(ERASURE, idempotency_keys)
        return pl.Series([item in self.hashes for item in found], dtype=pl.Boolean)


NOTHING = Forgotten()


def exists(lake: Lake, domain: str) -> bool:
    """Whether a domain was ever told to forget anything; then its runs need the key `erasure`."""
    return lake.path(spec(domain)).exists()


def forgotten(lake: Lake, domain: str, event: str, keys: KeyRing) -> Forgotten:
    """The events of one type that must not come back, as they stand at this moment.

    A commit to silver asks after it has pinned its table: an erasure records its keys first and commits to silver
    afterwards, so either the keys are seen here or that commit refuses this one.
    """
    table = lake.newest(spec(domain))
    if table is None:
        return NOTHING
    mine = Snapshot.of(table).scan().select(pl.col("keys").explode(empty_as_null=False)).unnest("keys")
    hashes = mine.filter(pl.col("event") == event).select("hash").collect().to_series()
    return Forgotten(frozenset(hashes), keys)


def record(
    lake: Lake,
    domain: str,
    *,
    at: datetime,
    stage: str,
    by: str,
    subject_hash: str,
    keys: Iterable[tuple[str, str]] = (),
    report: str | None = None,
) -> None:
    """Add a row.

    Args:
        lake: Where the table is.
        domain: Whose.
        at: When.
        stage: `BEGUN` or `DONE`.
        by: `key` or `subject`.
        subject_hash: Over what was asked for.
        keys: Event types and hashes of the idempotency keys that must not come back.
        report: Counts, in JSON.

    Durable on return: the row.
    If it dies halfway: the row stands or it does not.
    """
    listed: Sequence[dict[str, str]] = [{"event": event, "hash": digest} for event, digest in sorted(set(keys))]
    row = pl.DataFrame([(at, stage, by, subject_hash, listed, report)], schema=SCHEMA, orient="row")
    commit(lake, spec(domain), lambda _table, _left: Change(row))
