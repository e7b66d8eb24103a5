import itertools
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import bronze
from analytics_platform.errors import ProgressLost, TopicRecreated
from analytics_platform.kafka.offsets import OffsetRange, TopicState, Watermarks
from analytics_platform.lake.commit import Change, commit
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, log_of


def state(topic_id: str = "t1", **partitions: tuple[int, int]) -> TopicState:
    marks = {int(name[1:]): Watermarks(*pair) for name, pair in partitions.items()}
    return TopicState(ORDERS, "cluster", topic_id, marks)


def shop_of(root: Path, *sizes: int) -> Shop:
    """A partition of so many bytes of values each, one record per byte."""
    values = {ORDERS: {item: [b"x"] * size for item, size in enumerate(sizes)}, VISITS: {}}
    return Shop(root / "lake", values)


# --- where to resume ------------------------------------------------------------------------------------------------------


def test_nothing_was_ever_read(tmp_path: Path) -> None:
    have = bronze.stored(shop_of(tmp_path).lake, state(p0=(3, 9)))
    assert (have.offsets, have.first, have.start(state(p0=(3, 9)), 0)) == ({}, True, 3)


def test_progress_comes_from_the_table(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5, 5)
    of.pour(ORDERS, [OffsetRange(0, 0, 2), OffsetRange(1, 0, 5)])
    have = bronze.stored(of.lake, state(p0=(0, 9), p1=(0, 9)))
    assert (have.offsets, have.first) == ({0: 2, 1: 5}, False)


def test_a_partition_added_later_starts_at_its_beginning(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5)
    of.pour(ORDERS, of.whole(ORDERS))
    now = state(p0=(0, 9), p1=(4, 9))
    have = bronze.stored(of.lake, now)
    assert (have.offsets, have.start(now, 1)) == ({0: 5}, 0)


def test_a_topic_made_again_stops(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5)
    of.pour(ORDERS, of.whole(ORDERS))
    with pytest.raises(TopicRecreated) as caught:
        bronze.stored(of.lake, state("t2", p0=(0, 9)))
    assert (caught.value.known, caught.value.found) == ("cluster/t1", "cluster/t2")


def test_both_logs_of_a_topic_that_was_made_again_are_known(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5)
    of.pour(ORDERS, of.whole(ORDERS))
    of.pour(ORDERS, [OffsetRange(0, 0, 2)], "t2")
    assert bronze.stored(of.lake, state("t2", p0=(0, 9))).offsets == {0: 2}
    assert bronze.stored(of.lake, state("t1", p0=(0, 9))).offsets == {0: 5}
    assert bronze.last_log_id(of.lake, ORDERS) == "cluster/t2"


def test_rows_without_progress_stop(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5)
    part = of.slice(ORDERS, of.whole(ORDERS))
    commit(of.lake, bronze.spec(ORDERS), lambda _t, _l: Change(part.records))
    with pytest.raises(ProgressLost) as caught:
        bronze.stored(of.lake, state(p0=(0, 9)))
    assert caught.value.app_id == log_of(ORDERS).app_id(0)


def test_a_table_without_rows_and_progress_is_new(tmp_path: Path) -> None:
    of = shop_of(tmp_path)
    of.lake.ensure(bronze.spec(ORDERS))
    assert bronze.stored(of.lake, state(p0=(3, 9))).first
    assert bronze.last_log_id(of.lake, ORDERS) is None


# --- rows ------------------------------------------------------------------------------------------------------------------


def test_an_instant_has_whole_milliseconds() -> None:
    assert bronze.instant(START + timedelta(microseconds=12_999)) == START + timedelta(milliseconds=12)


def test_a_record_as_it_came(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 1)
    part = of.slice(ORDERS, of.whole(ORDERS))
    assert part.records.schema == bronze.SCHEMA
    (row,) = part.records.rows(named=True)
    assert {name: row[name] for name in ("topic", "topic_id", "partition", "offset", "value", "value_bytes")} == {
        "topic": ORDERS, "topic_id": "cluster/t1", "partition": 0, "offset": 0, "value": b"x", "value_bytes": 1
    }  # fmt: skip
    assert (row["ingested_at"], row["gap_end"]) == (START + timedelta(seconds=1), None)


def test_records_of_some_ranges_of_one_log(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5, 5)
    of.pour(ORDERS, of.whole(ORDERS))
    of.pour(ORDERS, of.whole(ORDERS), "t2")
    found = bronze.records(of.lake, log_of(ORDERS), [OffsetRange(0, 1, 3), OffsetRange(1, 4, 9)]).collect()
    assert sorted(found.select("topic_id", "partition", "offset").rows()) == [
        ("cluster/t1", 0, 1), ("cluster/t1", 0, 2), ("cluster/t1", 1, 4)
    ]  # fmt: skip
    assert bronze.records(of.lake, log_of(ORDERS), []).collect().is_empty()
    assert bronze.records(Shop(tmp_path / "none", {}).lake, log_of(ORDERS), [OffsetRange(0, 0, 9)]).collect().is_empty()


def test_ends_and_first_offsets(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5, 5)
    assert (bronze.ends(of.lake, log_of(ORDERS), [0]), bronze.first_offsets(of.lake, log_of(ORDERS))) == ({}, {})
    of.pour(ORDERS, [OffsetRange(0, 2, 4), OffsetRange(1, 3, 3)])
    assert bronze.ends(of.lake, log_of(ORDERS), [0, 1, 2]) == {0: 4, 1: 3}
    assert bronze.first_offsets(of.lake, log_of(ORDERS)) == {0: 2}


# --- the next piece of about a micro-batch ---------------------------------------------------------------------------------


def pieces(of: Shop, *, max_rows: int, max_bytes: int = 2**30) -> list[list[tuple[int, int, int]]]:
    """All pieces from the beginning to the end."""
    log, found = log_of(ORDERS), []
    ends = bronze.ends(of.lake, log, sorted(of.values[ORDERS]))
    starts = dict.fromkeys(ends, 0)
    while starts != ends:
        ranges = bronze.next_slice(of.lake, log, starts, ends, max_rows=max_rows, max_bytes=max_bytes)
        assert ranges
        assert all(starts[item.partition] == item.start < item.end <= ends[item.partition] for item in ranges)
        starts |= {item.partition: item.end for item in ranges}
        found.append([(item.partition, item.start, item.end) for item in ranges])
    return found


def test_all_at_once_where_it_fits(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 5, 5)
    of.pour(ORDERS, of.whole(ORDERS))
    assert pieces(of, max_rows=10) == [[(0, 0, 5), (1, 0, 5)]]


def test_in_the_order_in_which_records_came(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 6, 6)
    of.pour(ORDERS, [OffsetRange(1, 0, 4)])
    of.pour(ORDERS, [OffsetRange(0, 0, 6)])
    of.pour(ORDERS, [OffsetRange(1, 4, 6)])
    assert pieces(of, max_rows=4) == [[(1, 0, 4)], [(0, 0, 4)], [(0, 4, 6)], [(1, 4, 6)]]
    assert pieces(of, max_rows=1)[:5] == [[(1, 0, 1)], [(1, 1, 2)], [(1, 2, 3)], [(1, 3, 4)], [(0, 0, 1)]]


def test_pieces_are_bounded_in_bytes_but_never_empty(tmp_path: Path) -> None:
    of = Shop(tmp_path / "lake", {ORDERS: {0: [b"xx", b"xx", b"x" * 100, b"x", None]}, VISITS: {}})
    of.pour(ORDERS, of.whole(ORDERS))
    assert pieces(of, max_rows=100, max_bytes=4) == [[(0, 0, 2)], [(0, 2, 3)], [(0, 3, 5)]]


def test_offsets_without_records_cost_no_piece(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 3)
    of.pour(ORDERS, [OffsetRange(0, 0, 500)])
    assert pieces(of, max_rows=2) == [[(0, 0, 2)], [(0, 2, 500)]]


def test_a_clock_that_went_backwards_skips_nothing(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 8)
    of.pour(ORDERS, [OffsetRange(0, 0, 4)])
    of.now -= timedelta(hours=1)
    of.pour(ORDERS, [OffsetRange(0, 4, 8)])
    covered = [item for piece in pieces(of, max_rows=3) for item in piece]
    assert (covered[0][1], covered[-1][2]) == (0, 8)
    assert all(before[2] == after[1] for before, after in itertools.pairwise(covered))


def test_a_gap_row_is_passed(tmp_path: Path) -> None:
    of = shop_of(tmp_path, 3)
    of.pour(ORDERS, of.whole(ORDERS))
    gap = of.bronze(ORDERS).head(1).with_columns(offset=pl.lit(3, pl.Int64), gap_end=pl.lit(9, pl.Int64))
    name = log_of(ORDERS).app_id(0)
    commit(of.lake, bronze.spec(ORDERS), lambda _t, _l: Change(gap, progress={name: 9}))
    assert pieces(of, max_rows=2)[-1][0][2] == 9
    assert bronze.records(of.lake, log_of(ORDERS), [OffsetRange(0, 0, 9)]).collect().height == 3
