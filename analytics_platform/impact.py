"""What other contracts would make of bronze as it stands: where each record ends now, and where it would end.

A record ends in the silver table of its event type or in quarantine, with reasons. Whether a valid row is the first of
its key is not looked at: contracts do not decide that. Nothing is written.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

import polars as pl

from analytics_platform.contract.model import Domain, EventContract
from analytics_platform.contract.unframe import readable
from analytics_platform.derive import contracts_digest
from analytics_platform.judge import Judged, true_values
from analytics_platform.lake.table import Lake
from analytics_platform.outline import known_names, outline
from analytics_platform.rebuild import Span, records_within, slices
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings

ALWAYS: Span = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""Every hour there can be records of."""

SAMPLES = 5
"""Records shown of each kind of change."""
MOST_NAMES = 1_000
"""Sources and reasons counted by name. Senders choose the former, so without a bound they would choose our memory."""
OTHERS = "(others)"
UNKNOWN = "(unknown)"
"""Where a record claims an event type that neither side has a contract for, or names no source."""

_COORDINATES = ["topic_id", "partition", "offset"]
_QUARANTINE = "quarantine"


class Kind(StrEnum):
    """How a record ends otherwise than it does now."""

    NEWLY_FAILING = "newly_failing"
    NEWLY_PASSING = "newly_passing"
    CHANGED = "changed"
    """In quarantine both times, for other reasons; or valid both times, as another event type."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Counts of records, by how they end otherwise."""

    newly_failing: int = 0
    newly_passing: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """One reason, and the records that it befalls on one side only; a record with two reasons counts for both."""

    code: str
    reason: str
    changes: Changes


@dataclass(frozen=True, slots=True)
class Sample:
    """One record that ends otherwise, without any value of it."""

    kind: Kind
    topic: str
    topic_id: str
    partition: int
    offset: int
    event_type: str
    source: str
    before: tuple[str, ...]
    """`code: reason` for each; empty where it is valid."""
    after: tuple[str, ...]
    outline: str
    """Its JSON's structure, with types in place of values."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What would change."""

    topics: tuple[str, ...]
    """Those whose contracts differ, sorted; bronze of the others was not read."""
    records: int
    """Looked at."""
    same: int
    changes: Changes
    by_rule: tuple[RuleChanges, ...]
    """By code and reason."""
    by_source: tuple[tuple[str, Changes], ...]
    """By the source that records claim."""
    by_event_type: tuple[tuple[str, Changes], ...]
    samples: tuple[Sample, ...]
    """The first few of each kind, each with other reasons than the ones before it."""

    @property
    def breaks(self) -> bool:
        """Whether any record that is valid now would fail."""
        return self.changes.newly_failing > 0


def impact(
    before: Sequence[Domain],
    after: Sequence[Domain],
    settings: Settings,
    *,
    hours: Span = ALWAYS,
    on_slice: Callable[[int], None] = lambda _records: None,
) -> Impact:
    """Judge bronze by two sets of contracts and compare where its records end.

    Memory is bounded by the micro-batch, whatever the number of hours; topics whose contracts are the same to the byte
    are not read.

    Args:
        before: The domains in force.
        after: Domains as they would be; those that are not among them are left out.
        settings: Where the lake is, and how large a slice may be.
        hours: Records ingested in `[start, end)`, UTC.
        on_slice: Called after each slice with the number of records looked at so far.

    Raises:
        RegistryError: the schemas of some values cannot be had.
    """
    lake = Lake(settings.lake, settings.fsync)
    standing = {domain.name: domain for domain in before}
    count = _Count()
    for proposed in after:
        domain = standing.get(proposed.name, Domain(proposed.name, (), (), ()))
        book = SchemaBook(lake, proposed.name, settings.registry)
        for topic in sorted({*domain.topics, *proposed.topics}):
            old, new = domain.events_of(topic), proposed.events_of(topic)
            if contracts_digest(old) == contracts_digest(new):
                continue
            count.topics.append(topic)
            for span in slices(lake, topic, hours, settings.batch_rows):
                records = records_within(lake, topic, span)
                both = (*old, *new)
                schemas = book.of(records, both)
                judged = true_values(records, old, schemas), true_values(records, new, schemas)
                count.add(readable(records, both, schemas), *judged, both)
                on_slice(count.records)
    return count.report()


def differences(records: pl.DataFrame, before: Judged, after: Judged) -> pl.DataFrame:
    """The records that end otherwise, in their order.

    Args:
        records: What was judged, bronze records of one topic.
        before: By the contracts in force.
        after: By the others.

    Returns:
        topic, topic_id, partition, offset, value; `kind`; and of each side, as `before_…` and `after_…`: event_type and
        source as far as they could be read, `place` (`quarantine` or `silver.<event type>`), codes and reasons (empty for a
        valid row).
    """
    joined = records.select("topic", *_COORDINATES, "value")
    for side, judged in (("before", before), ("after", after)):
        ends = _ends(judged).select(*_COORDINATES, pl.exclude(_COORDINATES).name.prefix(f"{side}_"))
        joined = joined.join(ends, on=_COORDINATES, how="left", maintain_order="left")
    was_bad, is_bad = (pl.col(f"{side}_place") == _QUARANTINE for side in ("before", "after"))
    otherwise = pl.any_horizontal(
        pl.col(f"before_{name}") != pl.col(f"after_{name}") for name in ("place", "codes", "reasons")
    )
    kind = (
        pl.when(~was_bad & is_bad)
        .then(pl.lit(str(Kind.NEWLY_FAILING)))
        .when(was_bad & ~is_bad)
        .then(pl.lit(str(Kind.NEWLY_PASSING)))
        .otherwise(pl.lit(str(Kind.CHANGED)))
    )
    return joined.filter(otherwise).with_columns(kind=kind)


def _ends(judged: Judged) -> pl.DataFrame:
    """Where each record ends: coordinates, event_type, source, place, codes, reasons."""
    columns = [*_COORDINATES, "event_type", "source", "place", "codes", "reasons"]
    bad = judged.rejected.with_columns(place=pl.lit(_QUARANTINE)).select(columns)
    nothing = pl.lit([], pl.List(pl.String))
    good = [
        rows.select(
            topic_id="_topic_id",
            partition="_partition",
            offset="_offset",
            event_type=pl.lit(name),
            source="source",
            place=pl.lit(f"silver.{name}"),
            codes=nothing,
            reasons=nothing,
        )
        for name, rows in judged.good.items()
    ]
    return pl.concat(
        [bad, *(rows.select(pl.col(name).cast(kind) for name, kind in bad.schema.items()) for rows in good)]
    )


@dataclass(slots=True)
class _Count:
    """The sums over all slices so far: bounded, whatever their number and whatever senders claim."""

    topics: list[str] = field(default_factory=list)
    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    rules: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)
    sources: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)
    event_types: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)
    samples: dict[tuple[str, ...], Sample] = field(default_factory=dict)

    def add(self, records: pl.DataFrame, before: Judged, after: Judged, contracts: Sequence[EventContract]) -> None:
        self.records += records.height
        found = differences(records, before, after)
        if found.is_empty():
            return
        names = sorted({contract.name for contract in contracts})
        found = found.with_columns(
            event_type=_contracted(names),
            source=pl.coalesce("before_source", "after_source", pl.lit(UNKNOWN)),
        )
        self.kinds.update(dict(found.group_by("kind").len().iter_rows()))
        _sum(self.sources, found, ["source"])
        _sum(self.event_types, found, ["event_type"])
        _sum(self.rules, _one_sided(found), ["code", "reason"])
        self._take_samples(found, contracts)

    def _take_samples(self, found: pl.DataFrame, contracts: Sequence[EventContract]) -> None:
        full = [kind for kind in Kind if sum(sample.kind is kind for sample in self.samples.values()) >= SAMPLES]
        signature = [pl.col(f"{side}_{name}").list.join("\n") for side in ("before", "after") for name in _LISTS]
        likely = (
            found.filter(~pl.col("kind").is_in(full))
            .with_columns(pl.concat_str("kind", "event_type", *signature, separator="\0").alias("_signature"))
            .unique("_signature", keep="first", maintain_order=True)
        )
        known = known_names(contracts)
        for row in likely.iter_rows(named=True):
            kind = Kind(row["kind"])
            taken = sum(sample.kind is kind for sample in self.samples.values())
            if taken < SAMPLES and row["_signature"] not in self.samples:
                self.samples[row["_signature"]] = Sample(
                    kind,
                    row["topic"],
                    row["topic_id"],
                    row["partition"],
                    row["offset"],
                    row["event_type"],
                    row["source"],
                    _said(row, "before"),
                    _said(row, "after"),
                    outline(row["value"], known),
                )

    def report(self) -> Impact:
        order = list(Kind)
        return Impact(
            topics=tuple(sorted(self.topics)),
            records=self.records,
            same=self.records - self.kinds.total(),
            changes=_changes(self.kinds),
            by_rule=tuple(RuleChanges(key[0], key[1], _changes(kinds)) for key, kinds in sorted(self.rules.items())),
            by_source=tuple((key[0], _changes(kinds)) for key, kinds in sorted(self.sources.items())),
            by_event_type=tuple((key[0], _changes(kinds)) for key, kinds in sorted(self.event_types.items())),
            samples=tuple(sorted(self.samples.values(), key=lambda sample: order.index(sample.kind))),
        )


_LISTS = ("codes", "reasons")


def _contracted(names: Sequence[str]) -> pl.Expr:
    """The event type by one of the contracts; a claim that is none of theirs is a sender's text, and stays hidden."""
    claims = [pl.col(f"{side}_event_type") for side in ("before", "after")]
    return pl.coalesce(*(pl.when(claim.is_in(names)).then(claim) for claim in claims), pl.lit(UNKNOWN))


def _one_sided(found: pl.DataFrame) -> pl.DataFrame:
    """One row per record and reason that befalls it on one side only: kind, code, reason."""
    sides = [
        found.select(*_COORDINATES, "kind", code=f"{side}_codes", reason=f"{side}_reasons")
        .explode("code", "reason", empty_as_null=False)
        .unique(maintain_order=True)
        for side in ("before", "after")
    ]
    key = [*_COORDINATES, "code", "reason"]
    return pl.concat(
        [one.join(other, on=key, how="anti", maintain_order="left") for one, other in (sides, sides[::-1])]
    )


def _sum(into: dict[tuple[str, ...], Counter[str]], found: pl.DataFrame, key: list[str]) -> None:
    counted = found.group_by(*key, "kind", maintain_order=True).len()
    for *names, kind, count in counted.iter_rows():
        place = tuple(names)
        if place not in into and len(into) >= MOST_NAMES:
            place = (OTHERS,) * len(key)
        into.setdefault(place, Counter())[kind] += count


def _changes(kinds: Counter[str]) -> Changes:
    return Changes(*(kinds[kind] for kind in Kind))


def _said(row: dict[str, object], side: str) -> tuple[str, ...]:
    codes, reasons = row[f"{side}_codes"], row[f"{side}_reasons"]
    assert isinstance(codes, list)  # noqa: S101 - columns of lists
    assert isinstance(reasons, list)  # noqa: S101
    return tuple(f"{code}: {reason}" for code, reason in zip(codes, reasons, strict=True))
