"""Take in what bronze has and a table below it has not: after a crash, or for an event type that is new."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from analytics_platform import bronze, derive
from analytics_platform.contract.model import Domain
from analytics_platform.enrich import NOBODY, Asks
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake.table import Lake
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings
from analytics_platform.stopwatch import Stopwatch


def behind(
    lake: Lake, domain: Domain, log: Log, partitions: Sequence[int], halted: Collection[str] = ()
) -> Mapping[int, int]:
    """Up to where bronze holds the partitions that some table below it has not taken in whole; reads no row.

    Raises:
        ProgressLost: a table has rows of a partition but no stored offset.
    """
    ends = bronze.ends(lake, log, partitions)
    have = derive.targets(lake, domain, log, partitions, halted)
    return {item: end for item, end in ends.items() if have.get(item, 0) < end}


def catch_up(
    lake: Lake,
    domain: Domain,
    log: Log,
    partitions: Sequence[int],
    settings: Settings,
    *,
    book: SchemaBook,
    clock: Callable[[], datetime],
    halted: Collection[str] = (),
    lookups: Asks = NOBODY,
    on_slice: Callable[[derive.Slice, derive.Taken, Stopwatch], None] = lambda _part, _taken, _watch: None,
) -> int:
    """Bring quarantine and silver up to bronze, in slices of about one micro-batch; returns how many.

    `book` has the schemas of framed values, `lookups` ask the services that contracts enrich from. Tables of event types that are `halted` stay where they are.
    A table that knows nothing of a partition yet starts at the first offset bronze holds of it.

    Durable on return: everything bronze holds of the log is in every table below it.
    If it dies halfway: the slices before it are done; calling again goes on.

    Raises:
        ProgressLost: a table has rows of a partition but no stored offset.
        KeyMissing: contracts name keys that the settings do not have.
        RegistryError: the schemas of some values cannot be had.
    """
    keys = derive.key_ring(domain, settings)
    ends = bronze.ends(lake, log, partitions)
    done = 0
    while True:
        starts = dict(derive.targets(lake, domain, log, partitions, halted))  # also of those that bronze has not
        missing = sorted(ends.keys() - starts.keys())
        if missing:
            first = bronze.first_offsets(lake, log)
            starts |= {item: min(first.get(item, ends[item]), ends[item]) for item in missing}
        elif all(starts[item] >= end for item, end in ends.items()):
            return done
        watch = Stopwatch()
        ranges = bronze.next_slice(
            lake, log, starts, ends, max_rows=settings.batch_rows, max_bytes=settings.batch_bytes
        )
        # A partition without records is recorded too, so that it is known from now on.
        ranges += tuple(OffsetRange(item, ends[item], ends[item]) for item in missing if starts[item] == ends[item])
        table = lake.newest(bronze.spec(log.topic))
        if (
            table is not None
        ):  # whoever committed it may have died before it was durable; what is below must not be first
            lake.sync(bronze.spec(log.topic), table.version())
        records = bronze.records(lake, log, ranges).sort("partition", "offset").collect()
        watch.lap("read")
        part = derive.Slice(log, tuple(sorted(ranges)), records)
        taken = derive.take_in(
            lake,
            domain,
            part,
            now=clock(),
            halted=halted,
            keys=keys,
            book=book,
            lookups=lookups,
            lap=watch.lap,
        )
        on_slice(part, taken, watch)
        done += 1
