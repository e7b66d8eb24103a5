"""A folder of contracts that a drill changes while Dagster runs, and what it looks at: a domain of its own for each drill.

Every event of a domain goes over one topic; `number` tells the events of one type apart and makes their key.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from analytics_platform.kafka.produce import Record, send
from analytics_platform.settings import Settings
from analytics_platform_tests.defs.services import Services, until

_CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: urn:contract:{domain}:{name}
name: {name}
version: {version}
status: {status}
domain: {domain}
description: {{purpose: Drills.}}
team: {{name: tests}}
schema:
  - name: {name}
    physicalName: {topic}
    physicalType: topic
    logicalType: object
    properties:
      - {{name: idempotency_key, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}}
      - {{name: event_type, logicalType: string, required: true}}
      - {{name: schema_version, logicalType: string, required: true}}
      - {{name: trace_id, logicalType: string}}
      - {{name: occurred_at, logicalType: timestamp, required: true, logicalTypeOptions: {{timezone: true}}}}
      - {{name: source, logicalType: string}}
      - {{name: number, logicalType: integer, required: true}}
      - {{name: cents, logicalType: integer, required: true, logicalTypeOptions: {{maximum: {most}}}}}
{fields}slaProperties: [{{property: freshness, value: 1, unit: h}}, {{property: dedupeWindow, value: 1, unit: d}}]
customProperties:
  - property: envelope
    vendor: analytics_platform
    value:
      idempotency_key: idempotency_key
      event_type: event_type
      schema_version: schema_version
      trace_id: trace_id
      occurred_at: occurred_at
      source: source
  - {{property: identity, vendor: analytics_platform, value: {{mode: verify, by: [number]}}}}
{properties}"""

NOTE = "      - {name: note, logicalType: string}\n"


def write_contract(
    folder: Path,
    name: str,
    *,
    version: str = "1.0.0",
    topic: str = "events",
    status: str = "active",
    most: int = 1_000,
    fields: str = "",
    properties: str = "",
) -> Path:
    """A version of an event of the domain whose folder it is; whoever reads the folder sees it whole or not at all."""
    path = folder / name / f"{version}.odcs.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _CONTRACT.format(
        domain=folder.name,
        name=name,
        version=version,
        topic=f"{folder.name}.{topic}",
        status=status,
        most=most,
        fields=fields,
        properties=properties,
    )
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(text, encoding="utf-8")
    return hidden.replace(path)


@dataclass
class Drill:
    """A domain under the running Dagster."""

    dagster: Services
    settings: Settings
    domain: str
    sent: int = 0
    """Numbers given away."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folder(self) -> Path:
        """Of its contracts."""
        return self.settings.contracts / self.domain

    def send(self, name: str, count: int = 1, *, topic: str = "events", **changes: Any) -> list[int]:
        """Send events, each with a number of its own; their numbers."""
        with self.lock:
            numbers = list(range(self.sent, self.sent + count))
            self.sent += count
        send(
            self.settings.kafka,
            f"{self.domain}.{topic}",
            [Record(None, self._event(name, number, changes), partition=0) for number in numbers],
        )
        return numbers

    @contextmanager
    def flowing(self, name: str) -> Iterator["Flow"]:
        """A producer that sends one event after another for as long as the block lasts."""
        flow = Flow()

        def produce() -> None:
            while not flow.ended.wait(0.05):
                changes = dict(flow.changes)
                for number in self.send(name, 2, **changes):
                    flow.events.append({"number": number, **changes})

        thread = threading.Thread(target=produce)
        thread.start()
        try:
            yield flow
        finally:
            flow.ended.set()
            thread.join()

    def rows(self, table: str) -> pl.DataFrame:
        """A table as it is; without columns while it is not there."""
        if not (self.settings.lake / table / "_delta_log").exists():
            return pl.DataFrame()
        return pl.DataFrame(DeltaTable(self.settings.lake / table).to_pyarrow_table())

    def numbers(self, name: str) -> list[int]:
        """The numbers in a silver table, sorted."""
        rows = self.rows(f"silver/{name}")
        return sorted(rows["number"].to_list()) if rows.columns else []

    def wait_for(self, name: str, numbers: Sequence[int]) -> None:
        """Until a silver table holds these numbers, and no other."""
        wanted = sorted(numbers)
        until(lambda: len(self.numbers(name)) >= len(wanted), seconds=60, what=f"{len(wanted)} rows of {name}")
        assert self.numbers(name) == wanted

    def quarantined(self) -> pl.DataFrame:
        """The domain's quarantine."""
        return self.rows(f"quarantine/{self.domain}")

    def bursts(self) -> list[dict[str, Any]]:
        """The domain's bursts, newest first."""
        return self.dagster.runs(analytics__domain=self.domain, analytics__mode="stream")

    def wait_for_the_burst(self) -> str:
        """Until no burst is at work; the id of the last one."""

        def ended() -> str | None:
            runs = self.bursts()
            open_ones = [run for run in runs if run["status"] not in {"SUCCESS", "FAILURE", "CANCELED"}]
            return None if open_ones or not runs else runs[0]["runId"]

        return until(ended, seconds=60, what=f"the burst of {self.domain} to end")

    def assert_no_run_failed(self) -> None:
        """Neither a run nor a tick of the domain."""
        runs = self.dagster.runs(analytics__domain=self.domain)
        assert runs
        assert [run for run in runs if run["status"] not in {"SUCCESS", "STARTED", "STARTING", "QUEUED"}] == []
        assert [tick["error"] for tick in self.ticks() if tick["error"]] == []

    def ticks(self) -> list[dict[str, Any]]:
        """Of its sensor, newest first."""
        return self.dagster.ticks(f"{self.domain}_sensor")

    def _event(self, name: str, number: int, changes: dict[str, Any]) -> bytes:
        event = {
            "event_type": name,
            "schema_version": "1.0.0",
            "occurred_at": datetime.now(UTC).isoformat(),
            "source": "web",
            "number": number,
            "cents": 100,
            **changes,
        }
        key = hashlib.sha256(f"{name}\x1f{number}".encode()).hexdigest()
        return json.dumps(event | {"idempotency_key": key}).encode()


@dataclass
class Flow:
    """What a producer sends, and has sent."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Of the next events."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Number and changes of each that the broker has acknowledged."""
    ended: threading.Event = field(default_factory=threading.Event)
