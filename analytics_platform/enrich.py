"""Columns that rows get from elsewhere, between check and silver.

    good rows ──> what each enrichment's source knows of their keys ──┬── known ────> the columns, and since when
                                                                      ├── unknown ──> null, and since when; or quarantine
                                                                      └── missing ──> null: filled later, see fill.py

Every enrichment fails alone: a source that is not there leaves its own columns empty and stops nothing. What a source
says later does not change rows that have been enriched; silver holds what was known, and a rebuild asks again.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import polars as pl

from analytics_platform import reference, silver
from analytics_platform.contract.model import Domain, Enrichment, EventContract, Unknown
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import REJECT_SCHEMA
from analytics_platform.contract.schema import INSTANT, polars_type
from analytics_platform.judge import Judged
from analytics_platform.lake.files import Pinned, Snapshot
from analytics_platform.lake.table import UNREADABLE, Lake

VALID_FROM, VALID_TO = "_valid_from", "_valid_to"
"""The columns of a reference table with history: a row holds from the one, inclusive, to the other, exclusive; null has no
end. A table without them knows no times."""

COMPLETE = 2**62
"""Stands for a time after all rows where a table records from when on rows may be missing an enrichment."""


class State(StrEnum):
    """What came of asking for a row."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    NO_KEY = "no_key"
    """There was nothing to ask: its key is null."""
    MISSING = "missing"
    """Nobody could be asked."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a source knows of some rows, in their order."""

    columns: pl.DataFrame
    """The columns that the enrichment takes; null but where a row is known."""
    states: pl.Series
    """Of `State`, as text."""


@dataclass(frozen=True, slots=True)
class References:
    """The reference tables of a domain as a source."""

    lake: Lake
    domain: Domain

    def there(self, item: Enrichment) -> bool:
        """Whether the table can be asked, as far as its log tells; reads no row."""
        return self._snapshot(item) is not None

    def answered(self, rows: pl.DataFrame, item: Enrichment) -> Answered:
        """What the table knows of some rows, as of their own time where it has a history.

        Args:
            rows: Of an event, with the fields that the enrichment names.
            item: Which table, and what of it.
        """
        asked = rows.select(
            *(pl.col(own).alias(key) for key, own in zip(_keys(item), item.on.values(), strict=True)),
            _at=pl.col(item.as_of),
        ).with_row_index("_place")
        found = self._rows(item, asked)
        if found is None:
            nothing = pl.DataFrame(schema=taken_schema(item)).clear(rows.height)
            return Answered(nothing, pl.Series([State.MISSING] * rows.height, dtype=pl.String))
        matched = _matched(asked, found, _keys(item)).sort("_place")
        states = (
            pl.when(pl.col("_known"))
            .then(pl.lit(State.KNOWN))
            .when(pl.any_horizontal(pl.col(key).is_null() for key in _keys(item)))
            .then(pl.lit(State.NO_KEY))
            .otherwise(pl.lit(State.UNKNOWN))
        )
        return Answered(matched.select(list(taken_schema(item))), matched.select(states.alias("state"))["state"])

    def _snapshot(self, item: Enrichment) -> Snapshot | None:
        """The table at its newest version; None where it is not there, or not yet as its contract has it."""
        spec = reference.spec_of(self.domain, item.reference)
        try:
            table = self.lake.newest(spec)
            snapshot = None if table is None else Snapshot.of(table)
        except UNREADABLE:
            return None
        wanted = {name: spec.schema[name] for name in (*item.on, *item.take)}
        if snapshot is None or any(snapshot.schema.get(name) != kind for name, kind in wanted.items()):
            return None
        return snapshot

    def _rows(self, item: Enrichment, asked: pl.DataFrame) -> pl.DataFrame | None:
        """The table's rows of the keys asked for, by the names of silver; None where it cannot be read."""
        snapshot, keys = self._snapshot(item), _keys(item)
        if snapshot is None:
            return None
        times = [name for name in (VALID_FROM, VALID_TO) if name in snapshot.schema]
        named = (
            *(pl.col(theirs).alias(key) for key, theirs in zip(keys, item.on, strict=True)),
            *(pl.col(theirs).alias(own) for theirs, own in item.take.items()),
            *times,
        )
        try:
            near = snapshot.scan().select(named)
            found = near.join(asked.select(keys).unique().lazy(), on=list(keys), how="semi").collect()
        except UNREADABLE:
            return None
        # A table whose history was turned off keeps the columns, and says nothing in them.
        return found.drop(times) if times and found[VALID_FROM].is_null().all() else found


def _keys(item: Enrichment) -> tuple[str, ...]:
    return tuple(f"_on_{number}" for number in range(len(item.on)))


def taken_schema(item: Enrichment) -> dict[str, pl.DataType]:
    """Names and types of the columns that an enrichment takes."""
    return {column.name: polars_type(column) for column in item.columns}


def _matched(asked: pl.DataFrame, found: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """Each row asked for beside the one found for it; of several that were valid, the one that became so last."""
    if VALID_FROM not in found.columns:
        first = found.unique(keys, keep="first", maintain_order=True).with_columns(_known=pl.lit(value=True))
        return asked.join(first, on=keys, how="left").with_columns(pl.col("_known").fill_null(value=False))
    matched = asked.sort("_at").join_asof(
        found.sort(VALID_FROM),
        left_on="_at",
        right_on=VALID_FROM,
        by=list(keys),
        strategy="backward",
        coalesce=False,
        check_sortedness=False,  # both are sorted just here, and polars cannot check it within groups
    )
    valid = pl.col(VALID_FROM).is_not_null() & (pl.col(VALID_TO).is_null() | (pl.col("_at") < pl.col(VALID_TO)))
    taken = [name for name in found.columns if name not in {*keys, VALID_FROM, VALID_TO}]
    return matched.with_columns(_known=valid).with_columns(pl.when("_known").then(pl.col(name)) for name in taken)


@dataclass(frozen=True, slots=True)
class Enriched:
    """A slice judged and enriched."""

    judged: Judged
    """Rows whose key must be known and is not are among the rejected."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Valid rows whose key no source knew, by `event.enrichment`."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Valid rows for which nobody could be asked, likewise."""


def enriched(judged: Judged, domain: Domain, source: References, now: datetime) -> Enriched:
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
    at = pl.when(answer.states != State.MISSING).then(pl.lit(_whole_ms(now), INSTANT)).alias(item.enriched_at)
    return rows.with_columns(*answer.columns, at)


def _words(item: Enrichment) -> str:
    return f"{item.name}: reference.{item.reference} has no row for its {', '.join(item.on.values())}"


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


def missing_id(item: Enrichment) -> str:
    """The application id under which a silver table records from when on its rows may be missing an enrichment.

    It holds the `_ingested_at` of the first such row, in milliseconds since 1970, or an earlier time, or `COMPLETE`.
    Nothing recorded means that any row may.
    """
    return f"missing:{item.name}"


def missing_marks(table: Pinned, rows: pl.DataFrame, contract: EventContract) -> dict[str, int]:
    """What a commit that adds some rows to a silver table records about those that are missing an enrichment."""
    marks = {}
    for item in contract.enrichments:
        have = table.progress(missing_id(item))
        if have is None:
            if table.snapshot().rows:
                continue  # rows of before the contract had it: any may be missing
            marks[missing_id(item)] = COMPLETE
        first = rows.filter(pl.col(item.enriched_at).is_null())["_ingested_at"].min() if rows.height else None
        if isinstance(first, datetime):
            marks[missing_id(item)] = min(COMPLETE if have is None else have, to_ms(first))
    return {name: mark for name, mark in marks.items() if mark != table.progress(name)}


_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    """An instant in whole milliseconds since 1970."""
    return (at - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The instant so many milliseconds after 1970."""
    return _EPOCH + ms * _MS


def _whole_ms(at: datetime) -> datetime:
    return from_ms(to_ms(at))
