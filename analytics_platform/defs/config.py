"""What a run may be told."""

import dagster as dg
from pydantic import Field

from analytics_platform.kafka.offsets import OffsetRange


class Range(dg.Config):
    """A half-open range of offsets of one partition of one topic."""

    topic: str = Field(description="Kafka topic, by its name in Kafka.")
    partition: int = Field(description="Kafka partition.", ge=0)
    start: int = Field(description="First offset to read.", ge=0)
    end: int = Field(description="The offset after the last one to read.", ge=1)


class BurstConfig(dg.Config):
    """With ranges a run streams; without, it rebuilds the selected tables for the hours of its partitions."""

    ranges: list[Range] = Field(
        default=[],
        description=(
            "What to read from Kafka first; the domain's sensor fills this in. Left empty, nothing is read: the run makes "
            "the selected tables again from bronze, for the hours of its partitions."
        ),
    )
    budget_seconds: float | None = Field(
        default=None,
        ge=0,
        description=(
            "How long to follow the topics after the ranges are done; 0 means not at all. "
            "Default: ANALYTICS_BURST_SECONDS. Means nothing without ranges."
        ),
    )


def ranges_by_topic(ranges: list[Range]) -> dict[str, tuple[OffsetRange, ...]]:
    """The ranges as the stations take them: by topic, in order of partition."""
    found: dict[str, list[OffsetRange]] = {}
    for item in ranges:
        found.setdefault(item.topic, []).append(OffsetRange(item.partition, item.start, item.end))
    return {topic: tuple(sorted(items)) for topic, items in found.items()}
