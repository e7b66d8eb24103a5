"""What was sent where: the record of a replay against which the tables are held.

A replay is the only producer of fresh topics and chooses partitions itself, so the n-th record it sends to a partition
has offset n. That makes the fate of every single record checkable, and tells how many bytes wait to be read.
"""

import threading
import time
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from analytics_platform.contract.reason import Reason
from analytics_platform.demo.trouble import DUPLICATES, Counts, Sent
from analytics_platform.kafka.produce import Record

Place = tuple[str, int]
"""Topic and partition."""

_OVERHEAD_BYTES = 40
"""What a record takes in the log beside key, value and headers; rather too much."""


@dataclass(slots=True)
class Part:
    """One partition; everything is indexed by offset."""

    ends_bytes: "array[int]" = field(default_factory=lambda: array("q"))
    """Size of the partition up to and including each record."""
    at: "array[float]" = field(default_factory=lambda: array("d"))
    """When each record was handed over, on the clock of `time.monotonic`."""
    duplicates: int = 0
    faults: dict[int, Reason] = field(default_factory=dict)
    """The code with which the record of an offset must end in quarantine."""

    @property
    def sent(self) -> int:
        """How many records: the next offset."""
        return len(self.at)

    @property
    def kept(self) -> int:
        """How many rows must stand in silver."""
        return self.sent - self.duplicates - len(self.faults)

    def size_bytes(self, start: int, end: int) -> int:
        """Bytes of the offsets `[start, end)`."""
        return self.upto(end) - self.upto(start)

    def upto(self, end: int) -> int:
        """Bytes of all offsets before `end`."""
        return self.ends_bytes[end - 1] if end else 0


class Ledger:
    """All that was sent. One thread may add while another looks."""

    def __init__(self, topics: Iterable[str], partitions: int) -> None:
        """Nothing was sent; every topic has so many partitions."""
        self.partitions = partitions
        self.parts: Mapping[Place, Part] = {(topic, item): Part() for topic in topics for item in range(partitions)}
        self.event_time_us = 0
        """Event time of the newest record, microseconds since 1970 in UTC."""
        self._counts = Counts()
        self._lock = threading.Lock()

    def place(self, sent: Sent) -> Place:
        """Where a record goes: by the hash of its key, as librdkafka's own partitioner has it."""
        return sent.topic, zlib.crc32(sent.key) % self.partitions

    def add(self, sent: Sent) -> Record:
        """Note a record, and return it as it must be sent, before any other of its partition."""
        place = self.place(sent)
        part = self.parts[place]
        with self._lock:
            if sent.reason is not None:
                part.faults[part.sent] = sent.reason
            elif sent.kind in DUPLICATES:
                part.duplicates += 1
            part.ends_bytes.append(part.upto(part.sent) + record_bytes(sent))
            part.at.append(time.monotonic())
            self._counts.add(sent)
            self.event_time_us = max(self.event_time_us, sent.occurred_at_us)
        return Record(sent.key, sent.value, sent.headers, partition=place[1])

    def ends(self) -> dict[Place, int]:
        """The next offset of every partition."""
        return {place: part.sent for place, part in self.parts.items()}

    def by_kind(self) -> dict[str, int]:
        """How many records of every kind."""
        with self._lock:
            return {str(kind): count for kind, count in self._counts.by_kind.items()}

    @property
    def sent(self) -> int:
        """All records."""
        return sum(part.sent for part in self.parts.values())

    def times(self, place: Place, start: int, end: int) -> Sequence[float]:
        """When the records of `[start, end)` were handed over, on the clock of `time.monotonic`."""
        return self.parts[place].at[start:end]


def record_bytes(sent: Sent) -> int:
    """About what a record takes in the broker's log; never less."""
    headers = sum(len(name) + len(value or b"") + 4 for name, value in sent.headers)
    return len(sent.key) + len(sent.value or b"") + headers + _OVERHEAD_BYTES
