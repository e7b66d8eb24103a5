"""What becomes of records by their contracts: every one of a slice is valid or rejected, whatever it holds.

    records ── decode ── check ── lift ──┬── rejected ── patched, once more ──┬── rejected
                                         │                                    │
                                         └── good <── valid now ──────────────┘
                                              └── treat ──> rows as they may be written

A pure function of the records, the contracts and the keys: so a stream, a rebuild and a replay find the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from analytics_platform import duck
from analytics_platform.contract.check import check
from analytics_platform.contract.decode import decode
from analytics_platform.contract.lift import lift
from analytics_platform.contract.mend import mended, patches_of
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.newer import Sights, together
from analytics_platform.contract.patch import Patch
from analytics_platform.contract.reason import Reason
from analytics_platform.contract.reject import REJECT_SCHEMA, Rejected, rejected_frame
from analytics_platform.contract.schema import PATCH
from analytics_platform.contract.treat import treated
from analytics_platform.contract.treatment import key_names
from analytics_platform.errors import AccountingBroken, AnalyticsError, KeyMissing
from analytics_platform.kafka.frame import NO_SCHEMAS, Schemas
from analytics_platform.keyring import NO_KEYS, KeyRing

_COORDINATES = ["topic_id", "partition", "offset"]


@dataclass(frozen=True, slots=True)
class Judged:
    """Every record of a slice in exactly one place."""

    good: Mapping[str, pl.DataFrame]
    """Valid rows by event type, in the columns of silver."""
    rejected: pl.DataFrame
    """In the columns of `REJECT_SCHEMA`."""
    newer: Sights = field(default_factory=dict)
    """What rows had that claim a newer version than any known; among them such as break a rule and are rejected."""

    def good_coordinates(self) -> pl.DataFrame:
        """topic_id, partition, offset and event_type of every valid row."""
        frames = [
            rows.select(topic_id="_topic_id", partition="_partition", offset="_offset", event_type=pl.lit(name))
            for name, rows in self.good.items()
        ]
        empty = pl.DataFrame(schema={name: REJECT_SCHEMA[name] for name in (*_COORDINATES, "event_type")})
        return pl.concat([empty, *frames])

    def good_but(self, discarded: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
        """The valid rows without the records at some coordinates: those given up while they were in quarantine."""
        if discarded.is_empty():
            return self.good
        places = discarded.select(_topic_id="topic_id", _partition="partition", _offset="offset")
        return {name: rows.join(places, on=places.columns, how="anti") for name, rows in self.good.items()}


def judge(
    records: pl.DataFrame, contracts: Sequence[EventContract], keys: KeyRing = NO_KEYS, schemas: Schemas = NO_SCHEMAS
) -> Judged:
    """Decode and check records of one topic, and treat their personal data: as they may be written.

    Args:
        records: Of one topic.
        contracts: All of the topic's.
        keys: Has every key that they name.
        schemas: By which framed values were written, see `decode`.

    Raises:
        AccountingBroken: a record ended in no place or in two.
        KeyMissing: a contract names a key that is not there.
    """
    judged = true_values(records, contracts, schemas)
    good = {}
    for name, rows in judged.good.items():
        versions = [item for item in contracts if item.name == name]
        missing = keys.missing(key_names(versions))
        if missing:
            raise KeyMissing(versions[0].header.domain, missing)
        good[name] = treated(rows, versions, keys)
    return Judged(good, judged.rejected, judged.newer)


def true_values(records: pl.DataFrame, contracts: Sequence[EventContract], schemas: Schemas = NO_SCHEMAS) -> Judged:
    """Decode and check records of one topic; what is good holds personal data as it came, so it is never written.

    Where that fails for a reason nobody has foreseen, the records are halved until those to blame are alone, and these
    are rejected as `undecodable`. What fails without any record, or with each of several, is no record's fault.

    Raises:
        AccountingBroken: a record ended in no place or in two.
    """
    try:
        return _judge(records, contracts, schemas)
    except (AnalyticsError, MemoryError, OSError, *duck.INFRASTRUCTURE):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        _judge(records.clear(), contracts, schemas)  # what fails here too is not a record's doing
        judged = _without_poison(records, contracts, schemas, error)
        if (
            records.height > 1
            and (judged.rejected["codes"].list.contains(str(Reason.UNDECODABLE))).sum() == records.height
        ):
            raise
        _each_once(records, judged)
        return judged


def _without_poison(
    records: pl.DataFrame, contracts: Sequence[EventContract], schemas: Schemas, error: BaseException
) -> Judged:
    """As `_judge`, of records that failed together; those that fail alone are rejected."""
    if records.height == 1:
        # Only the kind of error: its words may hold a value.
        poison = Rejected((Reason.UNDECODABLE,), (f"decoding failed: {type(error).__name__}",))
        return Judged({}, rejected_frame(records, [0], [poison]))
    halves = []
    for half in (records.head(records.height // 2), records.tail(-(records.height // 2))):
        try:
            halves.append(_judge(half, contracts, schemas))
        except (AnalyticsError, MemoryError, OSError, *duck.INFRASTRUCTURE):
            raise
        except (Exception, pl.exceptions.PanicException) as again:  # noqa: BLE001 - a record nobody has foreseen
            halves.append(_without_poison(half, contracts, schemas, again))
    names = dict.fromkeys(name for half in halves for name in half.good)
    good = {
        name: pl.concat([half.good[name] for half in halves if name in half.good], how="diagonal") for name in names
    }
    return Judged(good, pl.concat([half.rejected for half in halves]), together(half.newer for half in halves))


def _judge(records: pl.DataFrame, contracts: Sequence[EventContract], schemas: Schemas) -> Judged:
    with duck.confined() as connection:  # rules, up-casts and patches are SQL from contracts
        judged = _as_sent(records, contracts, schemas, connection)
        for patch in patches_of(contracts):
            judged = _as_patched(judged, patch, records, contracts, schemas=schemas, connection=connection)
    _each_once(records, judged)
    return judged


def _as_sent(
    records: pl.DataFrame,
    contracts: Sequence[EventContract],
    schemas: Schemas,
    connection: duck.DuckDBPyConnection,
    *,
    plain: bool = False,
) -> Judged:
    by_label = {item.label: item for item in contracts}
    good: dict[str, list[pl.DataFrame]] = {name: [] for name in sorted({item.name for item in contracts})}
    decoded = decode(records, contracts, schemas, connection=connection, plain=plain)
    rejected = [decoded.rejected]
    for name, rows in decoded.rows.items():
        for (label,), part in rows.partition_by("_contract", maintain_order=True, as_dict=True).items():
            checked = check(part, by_label[str(label)], connection=connection)
            lifted = lift(checked.good, [item for item in contracts if item.name == name], connection=connection)
            good[name].append(lifted.rows)
            rejected += [checked.rejected, lifted.rejected]
    return Judged(
        {name: pl.concat(frames, how="diagonal") for name, frames in good.items() if frames},
        pl.concat(rejected),
        decoded.newer,
    )


def _as_patched(
    judged: Judged,
    patch: Patch,
    records: pl.DataFrame,
    contracts: Sequence[EventContract],
    *,
    schemas: Schemas,
    connection: duck.DuckDBPyConnection,
) -> Judged:
    """As `judged`, but for rejected records that are valid once patched; the others keep the reasons they had."""
    tried = mended(records, judged.rejected, patch, contracts, schemas=schemas, connection=connection)
    if tried.is_empty():
        return judged
    rows = _as_sent(tried, contracts, NO_SCHEMAS, connection, plain=True).good.get(patch.event)
    labels = [item.label for item in contracts if item.name == patch.event and item.major == patch.major]
    rows = None if rows is None else rows.filter(pl.col("_contract").is_in(labels))
    if rows is None or rows.is_empty():
        return judged
    rows = rows.with_columns(pl.lit(patch.name).alias(PATCH.name))
    before = [judged.good[patch.event]] if patch.event in judged.good else []
    places = rows.select(pl.col(f"_{name}").alias(name) for name in _COORDINATES)
    rejected = judged.rejected.join(places, on=_COORDINATES, how="anti", maintain_order="left")
    good = {**judged.good, patch.event: pl.concat([*before, rows], how="diagonal")}
    return Judged(good, rejected, judged.newer)


def _each_once(records: pl.DataFrame, judged: Judged) -> None:
    placed = pl.concat([judged.good_coordinates().select(_COORDINATES), judged.rejected.select(_COORDINATES)])
    wanted = records.select(_COORDINATES).sort(_COORDINATES)
    if not placed.cast(wanted.schema).sort(_COORDINATES).equals(wanted):
        topic = records["topic"].first() if records.height else "no topic"
        raise AccountingBroken(str(topic), f"{records.height} records were judged, {placed.height} places were given")
