"""Every error the platform raises on purpose.

    AnalyticsError                  what, where, and what to do next; `retryable` says whether trying again can help
    ├── SettingsError               an ANALYTICS_* variable is unknown or does not fit
    │   └── KeyMissing              contracts name a key that the settings do not have
    ├── ContractError               contracts are wrong; holds every complaint, not only the first
    ├── NotInProtobuf               a contract has a field that Protobuf cannot carry
    ├── NotImportable               no contract can be started from a schema or a sample
    ├── RevisionUnknown             git cannot say what contracts were at a revision
    ├── InvalidEvents               events that a producer wants to send do not fit their contracts; holds every fault
    ├── KafkaError
    │   ├── BrokerUnavailable       the cluster does not answer (retryable)
    │   ├── AccessDenied            the cluster refuses our credentials or rights
    │   ├── UnknownTopic            the topic does not exist
    │   ├── NotDelivered            records given to the producer did not reach the broker (retryable)
    │   ├── BrokerNotStarted        a broker of our own (embedded or Apache Kafka) did not come up
    │   └── TopicStopped            the topic needs an operator's decision; other topics go on
    │       ├── OffsetsExpired      offsets were deleted before they were read
    │       ├── OffsetsRegressed    the topic ends before what is stored
    │       ├── RecordsDamaged      the broker holds bytes that fail their checksum
    │       ├── PartitionGone       a partition that was read does not exist any more
    │       └── TopicRecreated      the topic was deleted and made again
    ├── RegistryError
    │   ├── RegistryUnavailable     the schema registry does not answer (retryable)
    │   ├── SchemaNotPublished      the schema registry lacks the schema that a contract is written by
    │   ├── RegistryNotSet          values name schemas, and the settings name no registry
    │   ├── RegistryNotTrusted      the schema registry's certificate is signed by nobody we trust, or for another host
    │   └── RegistryRefused         the schema registry refuses credentials, rights or a schema
    ├── QueryFailed                 a statement of SQL cannot be answered
    ├── PagesNotWritten             the contracts' pages cannot be written where they were wanted
    ├── DemoFailed                  the demo cannot start or go on
    └── LakeError
        ├── ProgressLost            a table with rows has forgotten a partition's progress
        ├── OffsetGap               a batch starts after what the table has
        ├── SchemaChanged           a contract's column has another type than the table's
        ├── CommitConflict          other writers won too often (retryable)
        ├── AccountingBroken        offsets read are not kept + duplicates + quarantined
        ├── BronzeIncomplete        records are missing from bronze and Kafka cannot give them back
        ├── MartBroken              a mart's SQL fails or its result does not fit its contract
        └── ReferenceRefused        a reference file does not fit its contract

Bad rows are never exceptions: they are rows of the quarantine.
"""

from collections.abc import Sequence
from typing import ClassVar


class AnalyticsError(Exception):
    """Base of all; its text is one readable paragraph."""

    retryable: ClassVar[bool] = False


class SettingsError(AnalyticsError):
    """One or more `ANALYTICS_*` variables are wrong."""

    def __init__(self, complaints: Sequence[str]) -> None:
        """`complaints`: one sentence per variable."""
        self.complaints = tuple(complaints)
        super().__init__("settings: " + "; ".join(self.complaints) + ". See docs/settings.md for all of them.")


class KeyMissing(SettingsError):
    """Contracts ask for keys that the settings do not have."""

    def __init__(self, domain: str, names: Sequence[str]) -> None:
        """`names`: of the keys that are not there."""
        self.domain, self.names = domain, tuple(names)
        super().__init__(
            [
                f"{domain}: its personal data wants the key {name}, and there is neither ANALYTICS_KEY_{name.upper()} nor "
                "such a line in ANALYTICS_KEYS_FILE; nothing was read or written (docs/personal-data.md#keys)"
                for name in self.names
            ]
        )


class ContractError(AnalyticsError):
    """One or more contracts are wrong."""

    def __init__(self, complaints: Sequence[object]) -> None:
        """`complaints`: one per fault; each one's `str` names file, line or key, what was found and what is allowed."""
        self.complaints = tuple(complaints)
        super().__init__("\n".join(str(complaint) for complaint in self.complaints))


class NotInProtobuf(AnalyticsError):
    """A contract cannot be written as a .proto file."""

    def __init__(self, contract: str, path: str, why: str) -> None:
        """`contract`: its label; `path`: of the field, as in `lines[].tags`; `why`: after `cannot carry <path>:`."""
        self.contract, self.path, self.why = contract, path, why
        super().__init__(
            f"{contract}: Protobuf cannot carry {path}: {why}. Avro and JSON Schema can: see docs/schemas.md#protobuf."
        )


class NotImportable(AnalyticsError):
    """No contract can be started from a schema or a sample, or not without being told more; nothing was written."""

    def __init__(self, source: str, why: str) -> None:
        """`source`: a file's name, a subject or a topic; `why`: what is wrong or missing, without a record's values."""
        self.source, self.why = source, why
        super().__init__(f"{source}: no contract was started: {why}. See docs/import.md.")


class RevisionUnknown(AnalyticsError):
    """Git cannot say what a folder held at a revision."""

    def __init__(self, folder: object, revision: str, reason: str) -> None:
        """`reason`: git's own first line."""
        self.folder, self.revision, self.reason = folder, revision, reason
        super().__init__(
            f"{folder} at {revision}: {reason}. Is the folder in a git repository, and was the revision fetched "
            "(a shallow checkout knows only its own)?"
        )


class InvalidEvents(AnalyticsError):
    """Events do not fit their contracts; nothing of the call that brought them was sent."""

    def __init__(self, faults: Sequence[object]) -> None:
        """`faults`: one per event; each one's `str` names it and what is wrong with it, without values."""
        self.faults = tuple(faults)
        shown = "".join(f"\n  {fault}" for fault in self.faults[:20])
        more = f"\n  and {len(self.faults) - 20} more" if len(self.faults) > 20 else ""
        super().__init__(f"{len(self.faults)} event(s) do not fit their contracts; nothing was sent:{shown}{more}")


class KafkaError(AnalyticsError):
    """Something about the cluster or a topic."""


class BrokerUnavailable(KafkaError):
    """The cluster did not answer in time."""

    retryable = True

    def __init__(self, servers: str, doing: str, reason: str) -> None:
        """`doing`: what was asked of it, as in `reading the watermarks of flights`."""
        self.servers, self.doing, self.reason = servers, doing, reason
        super().__init__(
            f"Kafka at {servers} does not answer ({doing}): {reason}. Nothing was lost; it is tried again. "
            "Is the broker running, and is ANALYTICS_KAFKA_BOOTSTRAP_SERVERS right?"
        )


class AccessDenied(KafkaError):
    """The cluster refuses our credentials, certificate or rights."""

    def __init__(self, servers: str, doing: str, reason: str) -> None:
        """`reason`: the broker's own words, which hold no secret."""
        self.servers, self.doing, self.reason = servers, doing, reason
        super().__init__(
            f"Kafka at {servers} refused {doing}: {reason}. Check the ANALYTICS_KAFKA_SASL_* and _SSL_* variables and "
            "that the user may READ and DESCRIBE the topic."
        )


class UnknownTopic(KafkaError):
    """The topic does not exist on the cluster."""

    def __init__(self, topic: str, servers: str) -> None:
        """`topic`: its name in Kafka."""
        self.topic, self.servers = topic, servers
        super().__init__(f"{topic}: no such topic at {servers}. Create it, or mend `physicalName` in its contracts.")


class NotDelivered(KafkaError):
    """Records given to the producer did not all reach the broker."""

    retryable = True

    def __init__(self, topic: str, failed: int, sent: int, reason: str) -> None:
        """`failed` of `sent` records were not acknowledged; `reason`: the first failure's own words."""
        self.topic, self.failed, self.sent, self.reason = topic, failed, sent, reason
        super().__init__(
            f"{topic}: {failed:,} of {sent:,} records were not delivered: {reason}. Those acknowledged stay in the topic; "
            "sending them again is safe, since duplicates are dropped by their idempotency key."
        )


class BrokerNotStarted(KafkaError):
    """A broker of our own did not come up."""

    def __init__(self, broker: str, reason: str) -> None:
        """`broker`: which one; `reason`: what is missing, or the last lines it said."""
        self.broker, self.reason = broker, reason
        super().__init__(f"{broker} did not start: {reason}")


class TopicStopped(KafkaError):
    """A topic needs an operator's decision before it can go on; other topics are not held up."""

    def __init__(self, topic: str, text: str) -> None:
        """`text`: what happened and what to do, after the topic's name."""
        self.topic = topic
        super().__init__(f"{topic}{text}")


class OffsetsExpired(TopicStopped):
    """Offsets were deleted from the topic before they were read."""

    def __init__(self, topic: str, partition: int, start: int, low: int, end: int) -> None:
        """`start`: the next offset to read; `low`, `end`: what the broker holds, half-open."""
        self.partition, self.start, self.low, self.end = partition, start, low, end
        super().__init__(
            topic,
            f"[{partition}]: offsets {start}..{low} expired before they were read (broker holds {low}..{end}). "
            f"Accept the gap with `analytics-platform gaps accept {topic}`, which records it in the bronze table, "
            "or restore the data: see docs/operations.md#expired-offsets.",
        )


class OffsetsRegressed(TopicStopped):
    """The topic ends before the offset that is stored: it was truncated, or is another topic of that name."""

    def __init__(self, topic: str, partition: int, start: int, end: int) -> None:
        """`start`: the next offset to read; `end`: the end of the partition."""
        self.partition, self.start, self.end = partition, start, end
        super().__init__(
            topic,
            f"[{partition}]: the table has read up to {start}, but the broker's log ends at {end}. The log was "
            "truncated or belongs to another cluster: see docs/operations.md#offsets-went-back.",
        )


class RecordsDamaged(TopicStopped):
    """The broker holds bytes that fail their checksum; trying again reads the same bytes."""

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        """`offset`: the damaged bytes begin here or a little later; `reason`: librdkafka's own words."""
        self.partition, self.offset, self.reason = partition, offset, reason
        super().__init__(
            topic,
            f"[{partition}]: the broker's records from offset {offset} on are damaged ({reason}). Nothing of them was "
            "taken over. Let another replica lead, or restore the partition: see docs/operations.md#damaged-records.",
        )


class PartitionGone(TopicStopped):
    """A partition that was read does not exist any more; Kafka never removes one of a living topic."""

    def __init__(self, topic: str, partition: int, start: int) -> None:
        """`start`: the next offset to read, as stored."""
        self.partition, self.start = partition, start
        super().__init__(
            topic,
            f"[{partition}]: the table has read up to {start}, but the broker has no such partition. The topic was made "
            "again with fewer partitions or belongs to another cluster: see docs/operations.md#recreated-topics.",
        )


class TopicRecreated(TopicStopped):
    """The topic's id is not the one whose records the table holds."""

    def __init__(self, topic: str, known: str, found: str) -> None:
        """`known`, `found`: the topic ids of the newest rows and of the broker."""
        self.known, self.found = known, found
        super().__init__(
            topic,
            f": the topic was deleted and made again (its id was {known}, now it is {found}). Accept the new one with "
            f"`analytics-platform gaps accept {topic}`: see docs/operations.md#recreated-topics.",
        )


class LakeError(AnalyticsError):
    """Something about a table."""


class ProgressLost(LakeError):
    """A table holds rows of a partition but no longer knows how far it had read."""

    def __init__(self, table: str, app_id: str) -> None:
        """`app_id`: the name of the progress that is gone."""
        self.table, self.app_id = table, app_id
        super().__init__(
            f"{table}: has rows of {app_id} but no stored offset for it, so reading on could double rows. Nothing was "
            "written. Was the table restored or copied without its log? See docs/operations.md#lost-progress."
        )


class OffsetGap(LakeError):
    """A batch starts after what the table has: writing it would skip offsets."""

    def __init__(self, table: str, app_id: str, have: int, start: int) -> None:
        """`have`: the next offset the table wants; `start`: the first the batch holds."""
        self.table, self.app_id, self.have, self.start = table, app_id, have, start
        super().__init__(
            f"{table}: next offset of {app_id} is {have}, but the batch starts at {start}; writing it would skip "
            f"{start - have} offsets. Nothing was written; the next plan starts at {have}."
        )


class SchemaChanged(LakeError):
    """A table has columns of other types than its contract now asks for."""

    def __init__(self, table: str, changes: Sequence[str]) -> None:
        """`changes`: one per column, found and wanted."""
        self.table, self.changes = table, tuple(changes)
        super().__init__(
            f"{table}: {'; '.join(self.changes)}. A column's type cannot change; add a field of a new name instead, or "
            "release a new major version. Nothing was written."
        )


class CommitConflict(LakeError):
    """Other writers won the race for a table more often than we try."""

    retryable = True

    def __init__(self, table: str, tries: int, reason: str) -> None:
        """`tries`: how often; `reason`: what the last conflict said."""
        self.table, self.tries, self.reason = table, tries, reason
        super().__init__(f"{table}: {tries} tries to commit lost to other writers ({reason}). Nothing was written.")


class AccountingBroken(LakeError):
    """A batch does not add up; it was not committed."""

    def __init__(self, topic: str, found: str) -> None:
        """`found`: the sums, per partition, that differ."""
        self.topic, self.found = topic, found
        super().__init__(
            f"{topic}: offsets read are not kept + duplicates + quarantined ({found}). Nothing was committed to silver; "
            "this is a fault of the platform, please report it."
        )


class BronzeIncomplete(LakeError):
    """Records that were once committed are missing from bronze, and Kafka cannot give them back."""

    def __init__(self, topic: str, ranges: Sequence[object], reason: str) -> None:
        """`ranges`: where records are missing; `reason`: why they cannot be read again."""
        self.topic, self.ranges, self.reason = topic, tuple(ranges), reason
        where = ", ".join(str(item) for item in self.ranges)
        super().__init__(
            f"{topic}: records of {where} are missing from bronze and cannot be fetched again: {reason}. "
            "Nothing was changed; restore the table's files from a backup."
        )


class MartBroken(LakeError):
    """A mart's SQL fails, or its result does not fit its contract."""

    def __init__(self, mart: str, reason: str) -> None:
        """`reason`: what DuckDB or the contract says of it."""
        self.mart, self.reason = mart, reason
        super().__init__(
            f"gold.{mart}: {reason}. Its table stays as it was and other marts go on; mend its .sql file or contract."
        )


class ReferenceRefused(LakeError):
    """A reference file does not fit its contract; the table stays as it was."""

    def __init__(self, name: str, reason: str) -> None:
        """`reason`: what does not fit, in counts, without values."""
        self.name, self.reason = name, reason
        super().__init__(f"reference.{name}: {reason}. The table stays as it was.")


class RegistryError(AnalyticsError):
    """Something about the schema registry."""


class RegistryUnavailable(RegistryError):
    """The registry did not answer, after a few tries."""

    retryable = True

    def __init__(self, url: str, doing: str, reason: str) -> None:
        """`url`: without credentials; `doing`: what was asked, as in `reading schema 7`."""
        self.url, self.doing, self.reason = url, doing, reason
        super().__init__(
            f"The schema registry at {url} does not answer ({doing}): {reason}. Nothing was lost; records that need it "
            "wait, and it is tried again. Is it running, and is ANALYTICS_REGISTRY_URL right?"
        )


class RegistryNotTrusted(RegistryError):
    """The certificate of what answers in the registry's place does not hold."""

    def __init__(self, url: str, doing: str, reason: str) -> None:
        """`reason`: OpenSSL's words."""
        self.url, self.doing, self.reason = url, doing, reason
        super().__init__(
            f"The schema registry at {url} cannot be trusted ({doing}): {reason}. Nothing was lost; records that need "
            "it wait. ANALYTICS_REGISTRY_CA_LOCATION names the authority that signs its certificate, "
            "ANALYTICS_REGISTRY_URL the host that it is made for."
        )


class RegistryNotSet(RegistryError):
    """Values name schemas that the lake does not have, and the settings name no registry."""

    def __init__(self, domain: str, key: str) -> None:
        """`key`: of a schema, as in `id:7`."""
        self.domain, self.key = domain, key
        super().__init__(
            f"{domain}: values were written by the schema {key}, which the lake does not have, and "
            "ANALYTICS_REGISTRY_URL is not set; these records wait in bronze (docs/settings.md)"
        )


class SchemaNotPublished(RegistryError):
    """An event cannot be written: the registry does not have its contract's schema."""

    def __init__(self, contract: str, subject: str) -> None:
        """`contract`: its label."""
        self.contract, self.subject = contract, subject
        super().__init__(
            f"{contract}: the schema registry has no such schema under {subject}; nothing was sent. Publish it with "
            "'analytics-platform contracts publish'."
        )


class RegistryRefused(RegistryError):
    """The registry refuses our credentials, our rights or what we want to register."""

    def __init__(self, url: str, doing: str, reason: str) -> None:
        """`reason`: the registry's own words, which hold no secret."""
        self.url, self.doing, self.reason = url, doing, reason
        super().__init__(f"The schema registry at {url} refuses ({doing}): {reason}")


class QueryFailed(AnalyticsError):
    """A statement of SQL cannot be answered: its text is wrong, it asks for what is not allowed, or it is too large."""

    def __init__(self, reason: str) -> None:
        """`reason`: whole sentences, DuckDB's own words among them."""
        self.reason = reason
        super().__init__(reason)


class PagesNotWritten(AnalyticsError):
    """The contracts' pages cannot be written where they were wanted."""

    def __init__(self, folder: str, reason: str) -> None:
        """`reason`: what the file system says."""
        self.folder, self.reason = folder, reason
        super().__init__(f"{folder}: the pages cannot be written there: {reason}. Name another folder with --output.")


class DemoFailed(AnalyticsError):
    """The demo cannot start or go on."""

    def __init__(self, reason: str, log: str = "") -> None:
        """`reason`: a sentence without its full stop; `log`: the last lines of what its processes printed."""
        self.reason, self.log = reason, log
        super().__init__(f"Demo: {reason}." + (f" The end of its logs:\n{log}" if log else ""))
