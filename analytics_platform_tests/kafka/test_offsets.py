import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.errors import OffsetsExpired, OffsetsRegressed, PartitionGone
from analytics_platform.kafka.offsets import OffsetRange, TopicState, Watermarks, plan


def topic(**marks: tuple[int, int]) -> TopicState:
    """`p0=(low, end)` and so on."""
    return TopicState("flights", "cluster", "id", {int(name[1:]): Watermarks(*pair) for name, pair in marks.items()})


def test_nothing_new():
    found = plan(topic(p0=(3, 10)), {0: 10}, first=False, max_rows=100)
    assert (found.ranges, found.lag) == ((), 0)


def test_everything_fits():
    found = plan(topic(p1=(0, 7), p0=(0, 5)), {0: 2, 1: 0}, first=False, max_rows=10)
    assert found.ranges == (OffsetRange(0, 2, 5), OffsetRange(1, 0, 7))
    assert found.lag == 10


def test_first_time_starts_at_what_is_left():
    found = plan(topic(p0=(40, 45), p1=(0, 0)), {}, first=True, max_rows=100)
    assert found.ranges == (OffsetRange(0, 40, 45),)


def test_partition_added():
    found = plan(topic(p0=(0, 5), p1=(0, 3)), {0: 5}, first=False, max_rows=100)
    assert found.ranges == (OffsetRange(1, 0, 3),)


def test_partition_added_and_expired_before_it_was_seen():
    with pytest.raises(OffsetsExpired) as caught:
        plan(topic(p0=(0, 5), p1=(2, 3)), {0: 5}, first=False, max_rows=100)
    assert (caught.value.partition, caught.value.start, caught.value.low, caught.value.end) == (1, 0, 2, 3)


def test_offsets_expired():
    with pytest.raises(OffsetsExpired, match=r"flights\[0\]: offsets 4\.\.6 expired .* holds 6\.\.9"):
        plan(topic(p0=(6, 9)), {0: 4}, first=False, max_rows=100)


def test_read_up_to_the_first_offset_left_is_no_loss():
    assert plan(topic(p0=(6, 9)), {0: 6}, first=False, max_rows=100).ranges == (OffsetRange(0, 6, 9),)


def test_log_ends_before_what_was_read():
    with pytest.raises(OffsetsRegressed) as caught:
        plan(topic(p0=(0, 9)), {0: 10}, first=False, max_rows=100)
    assert (caught.value.partition, caught.value.start, caught.value.end) == (0, 10, 9)


def test_partition_gone():
    with pytest.raises(PartitionGone) as caught:
        plan(topic(p0=(0, 9)), {0: 9, 3: 12}, first=False, max_rows=100)
    assert (caught.value.partition, caught.value.start) == (3, 12)


def test_cap_is_shared_by_lag_after_one_each():
    found = plan(topic(p0=(0, 900), p1=(0, 100)), {0: 0, 1: 0}, first=False, max_rows=100)
    assert found.ranges == (OffsetRange(0, 0, 89), OffsetRange(1, 0, 11))
    assert found.lag == 1000


def test_short_lag_beside_a_huge_one_is_not_starved():
    found = plan(topic(p0=(0, 10**9), p1=(0, 1)), {0: 0, 1: 0}, first=False, max_rows=10)
    assert found.ranges == (OffsetRange(0, 0, 9), OffsetRange(1, 0, 1))


def test_cap_below_the_number_of_partitions_serves_the_longest_lags():
    found = plan(topic(p0=(0, 1), p1=(0, 8), p2=(0, 9)), {0: 0, 1: 0, 2: 0}, first=False, max_rows=2)
    assert found.ranges == (OffsetRange(1, 0, 1), OffsetRange(2, 0, 1))


lags = st.dictionaries(st.integers(0, 50), st.tuples(st.integers(0, 10**12), st.integers(0, 10**9)), max_size=12)


@given(lags, st.integers(1, 10**6))
def test_plans_start_where_reading_stopped_and_respect_the_cap(partitions, max_rows):
    stored = {partition: start for partition, (start, _) in partitions.items()}
    ends = {partition: start + lag for partition, (start, lag) in partitions.items()}
    state = TopicState("t", "c", "i", {partition: Watermarks(0, end) for partition, end in ends.items()})
    found = plan(state, stored, first=False, max_rows=max_rows)
    lagging = {partition for partition, (_, lag) in partitions.items() if lag}
    assert found.lag == sum(lag for _, lag in partitions.values())
    assert sum(item.end - item.start for item in found.ranges) == min(found.lag, max_rows)
    assert all(stored[item.partition] == item.start < item.end <= ends[item.partition] for item in found.ranges)
    assert [item.partition for item in found.ranges] == sorted({item.partition for item in found.ranges})
    if max_rows >= len(lagging):
        assert {item.partition for item in found.ranges} == lagging
    assert found == plan(state, stored, first=False, max_rows=max_rows)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.integers(1, 7),
)
def test_plans_one_after_the_other_read_every_offset_once(ends, max_rows):
    state = TopicState("t", "c", "i", {number: Watermarks(0, end) for number, end in enumerate(ends)})
    stored: dict[int, int] = {}
    read = []
    while ranges := plan(state, stored, first=not stored, max_rows=max_rows).ranges:
        for item in ranges:
            read += [(item.partition, offset) for offset in range(item.start, item.end)]
            stored[item.partition] = item.end
    assert sorted(read) == [(number, offset) for number, end in enumerate(ends) for offset in range(end)]
    assert len(read) == len(set(read))
