"""Rows with the columns of their enrichments."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from analytics_platform import silver
from analytics_platform.contract.model import Domain, Enrichment, EventContract, Unknown
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.contract.schema import INSTANT
from analytics_platform.enrich.answer import Answered, State, taken_schema
from analytics_platform.enrich.missing import from_ms, to_ms
from analytics_platform.enrich.source import Sources
from analytics_platform.judge import Judged


@dataclass(frozen=True, slots=True)
class Enriched:
    """A slice judged and enriched."""

    judged: Judged
    """Rows whose key must be known and is not are among the rejected."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Valid rows whose key no source knew, by `event.enrichment`."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Valid rows for which nobody could be asked, likewise."""


def enriched(judged: Judged, domain: Domain, source: Sources, now: datetime) -> Enriched:
    """Give valid rows the columns of their event's enrichments, and refuse those whose key must be known and is not.

    Args:
        judged: Of one topic.
        domain: Whose contracts say what is taken from where.
        source: Is asked once per enrichment.
        now: In UTC; since when the rows have what they get.
    """
    good, rejected = {}, [judged.rejected]
    unknown, missing = Counter[str](), Counter[str]()
    for name, rows in judged.good.items():
        kept, refused = rows, list[pl.Series]()
        for item in silver.newest(domain.versions_of(name)).enrichments:
            answer = source.answered(rows, item)
            kept = with_answer(kept, item, answer, now)
            is_unknown = answer.states == State.UNKNOWN
            if item.unknown is Unknown.QUARANTINE:
                refused.append(pl.select(pl.when(is_unknown).then(pl.lit(_words(item)))).to_series())
            else:
                unknown[f"{name}.{item.name}"] += int(is_unknown.sum())
            missing[f"{name}.{item.name}"] += int((answer.states == State.MISSING).sum())
        good[name] = kept
        if refused:
            reasons = pl.DataFrame(refused, schema=[str(number) for number in range(len(refused))]).select(
                reasons=pl.concat_list(pl.all()).list.drop_nulls()
            )["reasons"]
            is_bad = reasons.list.len() > 0
            good[name] = kept.filter(~is_bad)
            rejected.append(_refused(rows.with_columns(reasons).filter(is_bad)))
    return Enriched(Judged(good, pl.concat(rejected), judged.newer), dict(+unknown), dict(+missing))


def with_answer(rows: pl.DataFrame, item: Enrichment, answer: Answered, now: datetime) -> pl.DataFrame:
    """The rows with what a source answered, and when it did."""
    at = pl.when(answer.states != State.MISSING).then(pl.lit(from_ms(to_ms(now)), INSTANT)).alias(item.enriched_at)
    return rows.with_columns(*answer.columns, at)


def _words(item: Enrichment) -> str:
    return f"{item.name}: {item.source} knows nothing of its {', '.join(item.on.values())}"


def _refused(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        topic_id="_topic_id",
        partition="_partition",
        offset="_offset",
        event_type="event_type",
        schema_version="schema_version",
        source="source",
        codes=pl.lit([str(Reason.UNKNOWN_REFERENCE)], pl.List(pl.String)),
        reasons="reasons",
        contract="_contract",
    ).select(pl.col(name).cast(kind) for name, kind in REJECT_SCHEMA.items())


def remembering(rows: pl.DataFrame, standing: pl.DataFrame, contract: EventContract) -> pl.DataFrame:
    """Rows made anew, with what silver has known of them since earlier.

    A row that gets the same columns as it had keeps their time, so that making it again changes nothing; one for which
    nobody can be asked now keeps all that it had.

    Args:
        rows: Enriched just now.
        standing: What silver has.
        contract: The event's newest.
    """
    for item in contract.enrichments:
        names = [*taken_schema(item), item.enriched_at]
        same = list(dict.fromkeys([*silver.PLACE, *item.on.values(), item.as_of]))
        before = standing.unique(silver.PLACE).select(*same, *(pl.col(name).alias(f"{name}?") for name in names))
        both = rows.join(before, on=same, how="left", nulls_equal=True, maintain_order="left")
        equal = pl.all_horizontal(
            pl.lit(value=True), *(pl.col(name).eq_missing(pl.col(f"{name}?")) for name in taken_schema(item))
        )
        keeps = pl.col(f"{item.enriched_at}?").is_not_null() & (pl.col(item.enriched_at).is_null() | equal)
        rows = both.with_columns(pl.when(keeps).then(pl.col(f"{name}?")).otherwise(name).alias(name) for name in names)
        rows = rows.drop(f"{name}?" for name in names)
    return rows
