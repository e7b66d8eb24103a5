"""Sends the replay: in its order, at a chosen speed, and never more than the broker can keep until it is read.

The embedded broker keeps 5 MB per partition and drops what is older, read or not. So the replay holds back while too
much is unread, by what the bronze tables say has been read.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from analytics_platform.demo.ledger import Ledger, Place, record_bytes
from analytics_platform.demo.trouble import Sent
from analytics_platform.kafka.produce import Record, send
from analytics_platform.settings import KafkaSettings

UNREAD_BYTES = 2_500_000
"""Half of what the embedded broker keeps of a partition: it drops whole batches, of up to 1 MB."""

_CHUNK = 500
_CHUNK_S = 0.05
_CHUNKS_WAITING = 20

_Chunks = queue.Queue[list[Record] | None]


class Replay:
    """One replay: a thread that paces, and one per topic that sends."""

    def __init__(
        self,
        kafka: KafkaSettings,
        records: Iterable[Sent],
        ledger: Ledger,
        *,
        per_second: float,
        unread_bytes: int | None,
    ) -> None:
        """Sends nothing yet.

        Args:
            kafka: The cluster, whose topics nobody else writes.
            records: What to send, in order.
            ledger: Notes every record; of those topics, and fresh.
            per_second: How many records; 0 is as fast as they are read.
            unread_bytes: At most so many unread bytes in a partition; None for a broker that keeps everything.
        """
        self.ledger = ledger
        self.waiting = False
        """Whether it holds back right now, because too much is unread."""
        self.waited_s = 0.0
        """How long it has held back, all in all."""
        self.failure: BaseException | None = None
        """Why it ended early."""
        self._kafka = kafka
        self._records = records
        self._per_second = per_second
        self._unread_bytes = unread_bytes
        self._stop = threading.Event()
        self._news = threading.Event()
        self._taken: dict[Place, int] = {}
        topics = sorted({topic for topic, _ in ledger.parts})
        self._queues: dict[str, _Chunks] = {topic: queue.Queue(_CHUNKS_WAITING) for topic in topics}
        self._chunks: dict[str, list[Record]] = {topic: [] for topic in topics}
        self._threads = [threading.Thread(target=self._guarded, args=(self._feed,), name="replay", daemon=True)]
        for topic in topics:
            self._threads.append(
                threading.Thread(target=self._guarded, args=(self._send, topic), name=f"send {topic}", daemon=True)
            )

    @property
    def done(self) -> bool:
        """Whether everything was sent and acknowledged."""
        ended = all(thread.ident is not None and not thread.is_alive() for thread in self._threads)
        return ended and self.failure is None and not self._stop.is_set()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, patience_s: float = 5.0) -> None:
        """End early, and wait until what was handed over is acknowledged."""
        self._stop.set()
        self._news.set()
        deadline = time.monotonic() + patience_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def taken(self, ends: Mapping[Place, int]) -> None:
        """Tell what has been read: the next offset to read, by partition."""
        self._taken = dict(ends)
        self._news.set()

    def _guarded(self, work: object, *arguments: object) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001  a thread's outermost boundary; the owner looks at `failure`
            self.failure = self.failure or error
            self._stop.set()

    def _feed(self) -> None:
        due = flushed = time.monotonic()
        for sent in self._records:
            if self._hold_back(sent):
                due = time.monotonic()  # what was missed while holding back is not made up for
            if self._per_second:
                due += 1 / self._per_second
                ahead = due - time.monotonic()
                if ahead > _CHUNK_S:
                    self._flush()
                    self._stop.wait(ahead)
            if self._stop.is_set():
                return
            chunk = self._chunks[sent.topic]
            chunk.append(self.ledger.add(sent))
            if len(chunk) >= _CHUNK or time.monotonic() - flushed > _CHUNK_S:
                self._flush()
                flushed = time.monotonic()
        self._flush()
        for waiting in self._queues.values():
            self._put(waiting, None)

    def _hold_back(self, sent: Sent) -> bool:
        """Wait until a record may be sent; whether there was any need to."""
        if self._unread_bytes is None:
            return False
        place = self.ledger.place(sent)
        part = self.ledger.parts[place]
        began = None
        while not self._stop.is_set():
            unread = part.size_bytes(self._taken.get(place, 0), part.sent)
            # A record that alone is too large still goes through, once everything before it has been read.
            if not unread or unread + record_bytes(sent) <= self._unread_bytes:
                break
            if began is None:
                began = time.monotonic()
                self._flush()
                self.waiting = True
            self._news.wait(0.5)
            self._news.clear()
        self.waiting = False
        if began is None:
            return False
        self.waited_s += time.monotonic() - began
        return True

    def _flush(self) -> None:
        for topic, chunk in self._chunks.items():
            if chunk:
                self._put(self._queues[topic], chunk)
                self._chunks[topic] = []

    def _put(self, waiting: _Chunks, chunk: list[Record] | None) -> None:
        while not self._stop.is_set():
            try:
                waiting.put(chunk, timeout=0.2)
            except queue.Full:
                continue
            return

    def _send(self, topic: str) -> None:
        send(self._kafka, topic, self._arriving(self._queues[topic]))

    def _arriving(self, waiting: _Chunks) -> Iterator[Record]:
        while not self._stop.is_set():
            try:
                chunk = waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            if chunk is None:
                return
            yield from chunk
