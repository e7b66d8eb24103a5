"""Fingerprints: what is wrong, under which contract, and who sent it, so that a thousand rows of one cause are one finding.

A fingerprint is the contract's version (or the topic, where no contract was reached), the rule (a reason code and what
is said of it, which holds no value), and the source. Its id is the same wherever and whenever it is computed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from analytics_platform.contract.reason import Reason

PARTS = ("contract", "topic", "code", "rule", "source")
"""What makes a fingerprint; `rule` is null where the code says it all."""

COLUMNS = ("contract", "topic", "codes", "reasons", "source", "status", "ingested_at")
"""The columns of the quarantine that it takes to count fingerprints."""

SCHEMA = pl.Schema(
    {
        "fingerprint": pl.String(),
        **dict.fromkeys(PARTS, pl.String()),
        "rows": pl.Int64(),
        "new": pl.Int64(),
        "replayed": pl.Int64(),
        "discarded": pl.Int64(),
        "first_seen": pl.Datetime("us", "UTC"),
        "last_seen": pl.Datetime("us", "UTC"),
    }
)

# What is said beside these tells where in the bytes, or which contracts there are: not two kinds of fault.
_WHOLE = [str(reason) for reason in Reason if reason.whole_record]


def findings(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a quarantine once for each of their findings: `codes` and `reasons` become `code` and `rule`."""
    each = rows.explode("codes", "reasons").rename({"codes": "code", "reasons": "rule"})
    return each.with_columns(rule=pl.when(pl.col("code").is_in(_WHOLE)).then(None).otherwise("rule"))


def fingerprints(rows: pl.LazyFrame) -> pl.DataFrame:
    """The fingerprints of some rows, those with the most waiting rows first.

    Args:
        rows: At least `COLUMNS` of the quarantine.

    Returns:
        `SCHEMA`: `rows` counts all, `new`, `replayed` and `discarded` by status; a row with two findings counts for
        both. `first_seen` and `last_seen` are times of ingestion.
    """
    counts = (
        findings(rows)
        .group_by(PARTS)
        .agg(
            rows=pl.len(),
            **{status: (pl.col("status") == status).sum() for status in ("new", "replayed", "discarded")},
            first_seen=pl.col("ingested_at").min(),
            last_seen=pl.col("ingested_at").max(),
        )
    )
    found = counts.collect(engine="streaming")
    ids = pl.Series("fingerprint", [identifier(*parts) for parts in found.select(PARTS).iter_rows()], pl.String)
    found = found.with_columns(ids).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    return found.sort("new", "rows", "fingerprint", descending=[True, True, False])


def identifier(contract: str | None, topic: str, code: str, rule: str | None, source: str | None) -> str:
    """The fingerprint's id: 12 digits of sha256 (hex) over its parts."""
    text = json.dumps([contract, topic, code, rule, source], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:12]


def fingerprints_of(row: Mapping[str, Any]) -> list[str]:
    """The ids of one row's findings, in the order of its codes."""
    return [
        identifier(row["contract"], row["topic"], code, None if code in _WHOLE else reason, row["source"])
        for code, reason in zip(row["codes"], row["reasons"], strict=True)
    ]
