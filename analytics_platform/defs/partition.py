"""Partitions of every streamed table: the hour in which a record was taken in."""

from datetime import UTC, datetime, timedelta

import dagster as dg

FIRST_HOUR = datetime(2026, 1, 1, tzinfo=UTC)
"""No lake is older than the platform. Hours before it can't be asked for, and an earlier date only makes lists longer."""

# Without `end_offset` the hour that is going on does not exist, and it is the one that bursts write.
INGEST_HOURS = dg.HourlyPartitionsDefinition(start_date=FIRST_HOUR, end_offset=1)


def hour_of(moment: datetime) -> datetime:
    """The start of the ingest hour, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hour_key(moment: datetime) -> str:
    """The partition key of the ingest hour that a moment falls into."""
    return hour_of(moment).strftime(INGEST_HOURS.fmt)


def hour_end(moment: datetime) -> datetime:
    """The end of that hour, exclusive."""
    return hour_of(moment) + timedelta(hours=1)
