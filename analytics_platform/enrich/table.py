"""Reference tables as a source: rows by their key and, where a table has a history, by the time of the event."""

from dataclasses import dataclass

import polars as pl

from analytics_platform import reference
from analytics_platform.contract.model import Domain, Enrichment
from analytics_platform.enrich.answer import Answered, State, nothing_known, taken_schema
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import UNREADABLE, Lake

VALID_FROM, VALID_TO = "_valid_from", "_valid_to"
"""The columns of a reference table with history: a row holds from the one, inclusive, to the other, exclusive; null has no
end. A table without them knows no times."""


@dataclass(frozen=True, slots=True)
class References:
    """The reference tables of a domain as a source."""

    lake: Lake
    domain: Domain

    def there(self, item: Enrichment) -> bool:
        """Whether the table can be asked, as far as its log tells; reads no row."""
        return self._snapshot(item) is not None

    def answered(self, rows: pl.DataFrame, item: Enrichment) -> Answered:
        """What the table knows of some rows, as of their own time where it has a history."""
        asked = rows.select(
            *(pl.col(own).alias(key) for key, own in zip(_keys(item), item.on.values(), strict=True)),
            _at=pl.col(item.as_of),
        ).with_row_index("_place")
        found = self._rows(item, asked)
        if found is None:
            return nothing_known(item, rows.height)
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
        spec = reference.spec_of(self.domain, item.reference or "")
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
