"""What a contract says, compiled: immutable, engine-free and comparable.

One ODCS file becomes one of three things: an `EventContract` (rows of a silver table), a `ReferenceContract`
(a file kept as a table) or a `MartContract` (a SQL file kept as a gold table).
A `Domain` holds all of one folder; the `Catalog` holds every domain.
Nothing here reads a file, knows pandera, polars or DuckDB: those compile *from* this (`schema.py`, `decode.py`, `check.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

from analytics_platform.contract.panel import Panel
from analytics_platform.contract.patch import Patch
from analytics_platform.kafka.frame import WireFormat

NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
"""What a domain, event type, table or column may be called: it becomes a folder, a view and an asset key."""

ENVELOPE = ("idempotency_key", "event_type", "schema_version", "trace_id", "occurred_at", "source")
"""The fields every event carries, in the order in which silver tables show them."""


class LogicalType(StrEnum):
    """The types of ODCS that a field may have here."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    OBJECT = "object"
    ARRAY = "array"


class KeyMode(StrEnum):
    """Where a row's idempotency key comes from.

    `VERIFY`: the producer sends it and it must equal the key derived from the business identifiers.
    `DERIVE`: the platform derives it; what the producer sends, if anything, is ignored.
    `TRUST`: the producer's key is taken as it is.
    """

    VERIFY = "verify"
    DERIVE = "derive"
    TRUST = "trust"


CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")
"""How far a field's values may be seen, the last the least."""
PERSONAL = frozenset({"confidential", "restricted"})
"""The classifications whose values stand nowhere but where they have to."""


class Operation(StrEnum):
    """What becomes of a value between bronze and silver."""

    KEEP = "keep"
    DROP = "drop"
    HASH = "hash"
    MASK = "mask"


@dataclass(frozen=True, slots=True)
class Treatment:
    """How values of a field go to silver: as they are, as null, as HMAC-SHA256 under a named key, or masked."""

    op: Operation
    key: str | None = None
    """The name of the key; of `HASH` alone."""
    first: int = 0
    """So many characters at the beginning stay readable; of `MASK` alone."""
    last: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a value must satisfy; `None` means no such rule. Bounds are inclusive unless named exclusive."""

    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    multiple_of: float | None = None
    min_items: int | None = None
    max_items: int | None = None
    enum: tuple[str, ...] | None = None


class Mode(StrEnum):
    """What a change of a contract must leave intact, in the words of schema registries.

    `BACKWARD`: whoever reads by the new contract understands what was written by the old one.
    `FORWARD`: whoever reads by the old one understands what is written by the new one. `FULL`: both.
    Transitive: not only between neighbours, but between all versions of one major.
    """

    BACKWARD = "BACKWARD"
    FORWARD = "FORWARD"
    FULL = "FULL"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def backward(self) -> bool:
        """Whether rows of the old contract must be valid under the new one."""
        return not self.startswith("FORWARD")

    @property
    def forward(self) -> bool:
        """Whether rows of the new contract must be valid under the old one."""
        return not self.startswith("BACKWARD")

    @property
    def transitive(self) -> bool:
        """Whether all older versions of the major count, not only the one before."""
        return self.endswith("TRANSITIVE")


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The promise of an event's contract to those who read it.

    `shape` is about fields and whether they may be missing: a lakehouse re-reads history and has older consumers.
    `rules` is about values: re-reading history must not fail, but a new airport may join an enum.
    """

    shape: Mode = Mode.FULL_TRANSITIVE
    rules: Mode = Mode.BACKWARD_TRANSITIVE


@dataclass(frozen=True, slots=True)
class Deprecation:
    """The end of a field or a version, announced: days in UTC."""

    announced_on: date
    remove_after: date
    """The last day of the promise: until its end rows are taken and the field may not go."""
    replaced_by: str | None = None
    """The field, or the version, to use instead."""


@dataclass(frozen=True, slots=True)
class Upcast:
    """How rows of an older major get the shape of a newer one."""

    major: int
    """The older one."""
    fields: Mapping[str, str]
    """DuckDB expressions over the older major's columns, by the newer one's field."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: of an event, a reference table, a mart, or of an object inside one of them."""

    name: str
    type: LogicalType
    required: bool
    description: str
    rules: Rules = Rules()
    fields: tuple["Field", ...] = ()
    """The fields of an object, in order."""
    item: "Field | None" = None
    """What an array holds."""
    unit: str | None = None
    classification: str | None = None
    """One of `CLASSIFICATIONS`."""
    deprecated: bool = False
    deprecation: Deprecation | None = None
    """When a deprecated field goes, where that was announced."""
    examples: tuple[str, ...] = ()
    """Values for readers, as text; what is no text stands in JSON."""
    treatment: Treatment | None = None
    """Of events alone; `None` where nothing is said, which keeps the value."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule over one whole row: a DuckDB boolean expression over the contract's columns; null passes."""

    name: str
    sql: str
    description: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two events one event.

    `time_field` is a required timestamp among the identifiers: two copies of an event agree on it, so a copy can only
    stand in silver files whose range of that field holds it, over all history.
    Without one, `window` bounds by `occurred_at` how far apart two copies may be, and must be declared.
    Exactly one of the two is set.
    """

    by: tuple[str, ...]
    mode: KeyMode
    time_field: str | None
    window: timedelta | None


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an event type is halted: it stops entering silver, and its records wait in bronze."""

    max_share: float
    """Above this share (0..1) of quarantined records, of those kept and quarantined."""
    window: timedelta
    """How far back is looked, by time of ingestion."""
    min_rows: int
    """Fewer records within the window are no reason."""
    resumes: bool
    """Whether it tries again by itself after one window; otherwise an operator resumes it."""


@dataclass(frozen=True, slots=True)
class Header:
    """Sources of one file, all that its kind has in common."""

    id: str
    name: str
    version: str
    status: str
    domain: str
    description: str
    owners: tuple[str, ...]
    """As Dagster takes them: `team:<name>` or an e-mail address."""
    tags: tuple[str, ...]
    path: Path
    digest: str
    """sha256 (hex) of the file's bytes, and of its SQL's for a mart."""


class Unknown(StrEnum):
    """What becomes of a row whose key a source does not know: it stays, without the columns, or goes to quarantine."""

    NOTHING = "nothing"
    QUARANTINE = "quarantine"


ENRICHED_AT = "_enriched_at"
"""How the name of the column ends that says since when a row has what an enrichment's source knew of it."""


@dataclass(frozen=True, slots=True)
class Enrichment:
    """Columns that silver takes from a reference table or an outside service, see docs/enrichment.md."""

    name: str
    reference: str | None
    """The reference table, of the same domain; None where a service is asked."""
    on: Mapping[str, str]
    """The event's fields that hold the key, by the table's own column; of a service each by its own name, in order."""
    take: Mapping[str, str]
    """What silver calls the columns it takes, by the table's own column; of a service by the answer's member."""
    as_of: str = "occurred_at"
    """The timestamp at which a row of a table with history must have been valid."""
    unknown: Unknown = Unknown.NOTHING
    columns: tuple[Field, ...] = ()
    """The columns taken, as silver has them; empty where the contract was read without its domain."""
    lookup: str | None = None
    """The service that is asked, as the settings name it; None where it is a table."""

    @property
    def source(self) -> str:
        """Where the columns come from, in words."""
        return f"the lookup {self.lookup}" if self.reference is None else f"reference.{self.reference}"

    @property
    def enriched_at(self) -> str:
        """The column that says since when a row has what the source knew of it; null while nobody could ask."""
        return f"{self.name}{ENRICHED_AT}"


@dataclass(frozen=True, slots=True)
class Watermark:
    """How an event type's time goes on: up to the newest `occurred_at` there was, less what may still come late."""

    lateness: timedelta
    sources: tuple[str, ...] = ()
    """Those of which each has to come as far; without any, all events together."""
    idle_after: timedelta = timedelta(minutes=15)
    """Of ingestion: a source (or, in a mart of several inputs, an event type) silent for longer holds nobody back."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """How records of a compacted topic say what a row is: by their key, which value it has, and from when on."""

    key: tuple[str, ...]
    """The fields of the primary key."""
    valid_from: str | None
    """The field that says from when on a row is valid; None where the record's timestamp does."""


@dataclass(frozen=True, slots=True)
class EventContract:
    """One event type in one version. `header.name` is the event type and the silver table's name."""

    header: Header
    topic: str
    fields: tuple[Field, ...]
    """Every field of silver: the envelope first, in the order of `ENVELOPE`, then the payload."""
    envelope: Mapping[str, str]
    """Where each envelope field comes from: a field of the value by its name, or `header:<name>`; see `place.py`.
    Of a CloudEvent: an attribute by its name, `data:<field>` or `header:<name>`."""
    identity: Identity
    row_rules: tuple[RowRule, ...] = ()
    freshness: timedelta | None = None
    """How old the newest row may be before the table is stale."""
    max_quarantined_share: float | None = None
    """Above this share (0..1) of quarantined rows the check `quarantine_share` warns."""
    compatibility: Compatibility = Compatibility()
    deprecation: Deprecation | None = None
    """When this version ends: records ingested later are quarantined as `version_sunset`."""
    upcast: Upcast | None = None
    """How rows of the major before this one come into its shape."""
    breaker: Breaker | None = None
    """What halts the event type; the newest version's counts."""
    watermark: Watermark | None = None
    """When its windows are final; None says never. The newest version's counts."""
    subject: str | None = None
    """The field that names the person an event is about."""
    cloudevents: str | None = None
    """The `type` of the CloudEvents that carry it; None when it does not come as CloudEvents."""
    payload_in: str | None = None
    """The member of the value that holds the payload; None when that is the value itself. Set where one mode of
    CloudEvents is read, see `cloudevents.py`."""
    generate_trace_id: bool = False
    """Whether a record without a trace id gets one made of its coordinates."""
    wire: WireFormat = WireFormat.JSON
    """How producers write it."""
    patches: tuple[Patch, ...] = ()
    """Those of the event, by name: the same for every version."""
    keyed: "Keyed | None" = None
    """Of changes of a reference table that comes by a topic; None for events, which producers write as such."""
    enrichments: tuple[Enrichment, ...] = ()
    """The newest version's count, for rows of all."""

    @property
    def name(self) -> str:
        """The event type."""
        return self.header.name

    @property
    def sent_as(self) -> str:
        """The event type as producers write it."""
        return self.cloudevents or self.header.name

    @property
    def major(self) -> int:
        """The version's first number."""
        return self.order[0]

    @property
    def order(self) -> tuple[int, ...]:
        """The version's numbers, by which versions of one event are ordered."""
        return tuple(int(number) for number in self.header.version.split("."))

    @property
    def label(self) -> str:
        """`<event>@<version>`, as tables name it."""
        return f"{self.header.name}@{self.header.version}"


@dataclass(frozen=True, slots=True)
class ReferenceContract:
    """A file, or what a compacted topic says of its keys, kept as the table `reference.<name>`."""

    header: Header
    fields: tuple[Field, ...]
    primary_key: tuple[str, ...]
    file: Path | None
    """Parquet or CSV, resolved against the contract's own folder; None where the rows come by a topic."""
    history: bool = False
    """Whether the table keeps what rows were before they changed."""
    changes: EventContract | None = None
    """As what the records of a topic are judged; None for a file. Its silver table is what the history is made of."""

    @property
    def name(self) -> str:
        """The table's name."""
        return self.header.name

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns that identify a row of the table."""
        return (*self.primary_key, "_valid_from") if self.history else self.primary_key


@dataclass(frozen=True, slots=True)
class Session:
    """Windows that begin and end with the rows themselves: those of one key with no more than a gap from each to the next."""

    gap: timedelta
    """Two rows that are exactly so far apart are still of one session."""
    by: tuple[str, ...]
    """The key: columns of every silver input, and of the mart's grain."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a mart cuts time: windows of `size` that begin every `hop`, aligned in `timezone`, or sessions.

    `column` is the mart's column that holds a window's start (a timestamp in UTC, or a date where they begin daily).
    `time_fields` names, for each silver input, the timestamp by which its rows fall into windows; rows of another mart
    fall by the start of their own window. Rows of an input in `lookbacks` count in windows after their own as well.
    """

    column: str
    size: timedelta
    timezone: str
    time_fields: Mapping[str, str]
    hop: timedelta | None = None
    """From one start to the next, of which `size` is a multiple; None where windows follow each other (tumbling)."""
    final_after: timedelta = timedelta(0)
    """How far beyond a window's end the watermark has to be before the window is final: where rows fall into windows by
    another time than `occurred_at`, they rightly come later than the window's end."""
    as_of: bool = False
    """Whether a row of the result depends on nothing of a reference table with history that is valid only from the end
    of its window on: then such a table may change without all windows being computed again."""
    keeps: bool = False
    """Whether a final window stays as it is: rows that come later are counted, and otherwise left out."""
    session: Session | None = None
    """Where windows are sessions: then `size` is nothing, and `timezone` UTC."""
    lookbacks: Mapping[str, timedelta] = field(default_factory=dict)
    """How long before the start of a window its rows of a silver input begin, for as-of joins; others begin with it."""

    @property
    def step(self) -> timedelta:
        """From one start to the next."""
        return self.size if self.hop is None else self.hop

    @property
    def overlap(self) -> int:
        """How many windows an instant falls into."""
        return 1 if self.session is not None else self.size // self.step

    def lookback(self, name: str) -> timedelta:
        """How long before the start of a window its rows of a silver input begin."""
        return self.lookbacks.get(name, timedelta(0))


@dataclass(frozen=True, slots=True)
class MartContract:
    """A SQL file kept as the table `gold.<name>`."""

    header: Header
    fields: tuple[Field, ...]
    grain: tuple[str, ...]
    """The columns that identify a row; the window's column is one of them."""
    window: Window
    sql: str
    sql_path: Path
    silver_inputs: tuple[str, ...]
    """Names of silver tables of the same domain that the SQL reads."""
    reference_inputs: tuple[str, ...]
    gold_inputs: tuple[str, ...] = ()
    """Names of other marts of the same domain that the SQL reads."""
    freshness: timedelta | None = None

    @property
    def name(self) -> str:
        """The table's name."""
        return self.header.name


@dataclass(frozen=True, slots=True)
class Domain:
    """All contracts of one folder: the unit of ownership, isolation and scaling."""

    name: str
    events: tuple[EventContract, ...]
    references: tuple[ReferenceContract, ...]
    marts: tuple[MartContract, ...]
    """Each after those that it reads."""
    description: str = ""
    owners: tuple[str, ...] = field(default=())
    panels: tuple[Panel, ...] = ()
    """What its dashboard shows beside what every dashboard does."""

    @property
    def produced(self) -> tuple[EventContract, ...]:
        """The events that producers write as such: all but the changes of reference tables."""
        return tuple(event for event in self.events if event.keyed is None)

    @property
    def files(self) -> tuple[ReferenceContract, ...]:
        """The reference tables that are loaded from files."""
        return tuple(item for item in self.references if item.changes is None)

    @property
    def followed(self) -> tuple[ReferenceContract, ...]:
        """The reference tables that follow a topic."""
        return tuple(item for item in self.references if item.changes is not None)

    @property
    def topics(self) -> tuple[str, ...]:
        """Its Kafka topics, sorted."""
        return tuple(sorted({event.topic for event in self.events}))

    def events_of(self, topic: str) -> tuple[EventContract, ...]:
        """The contracts of one topic, by event type and version."""
        return tuple(event for event in self.events if event.topic == topic)

    def versions_of(self, name: str) -> tuple[EventContract, ...]:
        """The contracts of one event type, by version."""
        return tuple(event for event in self.events if event.name == name)

    def event_types_of(self, topic: str) -> tuple[str, ...]:
        """The event types of one topic, sorted, each once whatever its number of versions."""
        return tuple(sorted({event.name for event in self.events_of(topic)}))


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every domain, by name."""

    domains: Mapping[str, Domain]


def table_name(topic: str) -> str:
    """The bronze table of a topic: dots and dashes become underscores (`flights.departures` -> `flights_departures`)."""
    return re.sub(r"[.\-]", "_", topic.lower())
