from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from analytics_platform.defs.config import BurstConfig, Range, ranges_by_topic
from analytics_platform.defs.partition import hour_end, hour_key
from analytics_platform.kafka.offsets import OffsetRange


def test_ranges_go_to_their_topics_in_order_of_partition():
    ranges = [
        Range(topic="b", partition=2, start=0, end=5),
        Range(topic="a", partition=0, start=7, end=9),
        Range(topic="b", partition=0, start=1, end=2),
    ]

    assert ranges_by_topic(ranges) == {"b": (OffsetRange(0, 1, 2), OffsetRange(2, 0, 5)), "a": (OffsetRange(0, 7, 9),)}


def test_no_config_means_rebuild():
    assert BurstConfig().ranges == []


def test_a_negative_budget_is_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        BurstConfig(budget_seconds=-1)


def test_hours_are_those_of_utc():
    there = datetime(2026, 11, 23, 23, 59, 59, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert hour_key(there) == "2026-11-23-18:00"
    assert hour_end(there) == datetime(2026, 11, 23, 19, tzinfo=UTC)
