from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform import history
from analytics_platform.contract.schema import INSTANT

SCHEMA = {
    "part": pl.String(),
    "size": pl.Int64(),
    "price": pl.Int64(),
    "offset": pl.Int64(),
    "_valid_from": INSTANT,
    "_valid_to": INSTANT,
}
KEY = ("part", "size")


@dataclass(frozen=True)
class Change:
    part: str
    size: int
    hour: int
    price: int | None
    """None where the key is gone."""
    offset: int


def hours(count: int) -> datetime:
    return datetime(2024, 7, 1, tzinfo=UTC) + timedelta(hours=count)


def frame(changes: list[Change]) -> pl.DataFrame:
    rows = [(one.part, one.size, one.price, one.offset, hours(one.hour), None, one.price is None) for one in changes]
    return pl.DataFrame(rows, schema={**SCHEMA, "_deleted": pl.Boolean()}, orient="row").drop("_valid_to")


def taken(table: pl.DataFrame, changes: list[Change]) -> pl.DataFrame:
    """The table after one batch, of which it only reads the keys."""
    batch = frame(changes)
    keys = batch.select(KEY)
    standing = history.of_keys(table.lazy(), keys)
    others = table.join(keys, on=KEY, how="anti")
    return pl.concat([others, history.versions(standing, batch, KEY, ("offset",))])


def written_down(changes: list[Change]) -> list[tuple[object, ...]]:
    """What the table must hold, in plain Python."""
    last: dict[tuple[str, int, int], Change] = {}
    for change in sorted(changes, key=lambda one: one.offset):
        last[change.part, change.size, change.hour] = change
    found: list[tuple[object, ...]] = []
    for (part, size, hour), change in last.items():
        later = [at for (p, s, at) in last if (p, s) == (part, size) and at > hour]
        end = hour if change.price is None else min(later, default=None)
        until = None if end is None else hours(end)
        found.append((part, size, change.price, change.offset, hours(hour), until))
    return sorted(found, key=lambda row: (row[0], row[1], row[4]))


@st.composite
def batches(draw: st.DrawFn) -> list[list[Change]]:
    """Changes in any order, cut anywhere; some come twice."""
    given = draw(
        st.lists(
            st.tuples(
                st.sampled_from("ab"), st.integers(1, 2), st.integers(0, 5), st.one_of(st.none(), st.integers(0, 2))
            ),
            max_size=12,
        )
    )
    changes = [Change(*one, offset) for offset, one in enumerate(given)]
    again = draw(st.lists(st.sampled_from(changes), max_size=4)) if changes else []
    order = draw(st.permutations([*changes, *again]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=4)))
    return [list(order[start:end]) for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@given(batches())
def test_the_versions_are_a_function_of_the_changes_however_they_come(cut: list[list[Change]]) -> None:
    table = pl.DataFrame(schema=SCHEMA)
    for batch in cut:
        table = taken(table, batch)
    expected = written_down([change for batch in cut for change in batch])
    assert table.sort(*KEY, "_valid_from").rows() == expected


@given(batches(), st.integers(0, 6))
def test_of_each_key_at_most_one_version_is_valid_at_an_instant(cut: list[list[Change]], hour: int) -> None:
    table = pl.DataFrame(schema=SCHEMA)
    for batch in cut:
        table = taken(table, batch)
    at = hours(hour)
    is_valid = (pl.col("_valid_from") <= at) & (pl.col("_valid_to").is_null() | (pl.col("_valid_to") > at))
    valid = table.filter(is_valid)
    assert not valid.select(KEY).is_duplicated().any()
    assert valid["price"].null_count() == 0


def test_a_change_that_comes_late_finds_its_place() -> None:
    table = taken(pl.DataFrame(schema=SCHEMA), [Change("a", 1, 2, 20, 0), Change("a", 1, 6, None, 1)])
    table = taken(table, [Change("a", 1, 4, 40, 2), Change("a", 1, 1, 10, 3)])
    assert table.sort("_valid_from").select("price", "_valid_from", "_valid_to").rows() == [
        (10, hours(1), hours(2)),
        (20, hours(2), hours(4)),
        (40, hours(4), hours(6)),
        (None, hours(6), hours(6)),
    ]


def test_two_changes_of_one_instant_and_the_later_offset_comes_first() -> None:
    table = taken(pl.DataFrame(schema=SCHEMA), [Change("a", 1, 2, 20, 7)])
    table = taken(table, [Change("a", 1, 2, 30, 6)])
    assert table.rows() == [("a", 1, 20, 7, hours(2), None)]
