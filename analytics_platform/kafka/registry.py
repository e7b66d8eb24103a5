"""A schema registry that speaks Confluent's API: schemas by their ids, and contracts' schemas published.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from analytics_platform.errors import RegistryNotTrusted, RegistryRefused, RegistryUnavailable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform.kafka.patience import Patience
from analytics_platform.settings import RegistrySettings

_Answer = TypeVar("_Answer")

_KINDS = {"AVRO": WireFormat.AVRO, "JSON": WireFormat.JSON_SCHEMA, "PROTOBUF": WireFormat.PROTOBUF}
_TYPES = {kind: name for name, kind in _KINDS.items()}
_NOT_THERE = {40401, 40402, 40403, 40408}
"""Error codes of a registry that is sure: no such subject, version, schema, no mode of the subject's own. Any other 404
is somebody else's."""
_ID_END = 2**31
"""Registries number schemas with signed integers of 32 bits; what lies beyond, Confluent's answers like a wrong path."""
_RETRIES, _WAIT_MS, _LONGEST_WAIT_MS = 2, 200, 400
_WANTS_OURS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")
"""Parts of OpenSSL's names of the alerts by which a server refuses our certificate, or that there is none."""
_SECOND_LOOK_S = 0.5
"""After so long a schema that is not there is asked for again: a follower may be behind its leader."""
_DEEPEST = 32
"""References of references."""


@dataclass(frozen=True, slots=True)
class Published:
    """A schema as it stands under a subject."""

    id: int
    version: int
    new: bool
    """Whether it was not there before."""


class Registry:
    """A connection to a registry. For one thread at a time."""

    def __init__(self, settings: RegistrySettings) -> None:
        """Ask nothing yet; `settings.url` is set.

        Raises:
            RegistryRefused: a certificate or key of ours, or the authority's, cannot be read.
        """
        self.url = settings.url or ""
        self._schemas: dict[str, RegisteredSchema] = {}
        tries_s = (_RETRIES + 1) * settings.timeout.total_seconds() + _RETRIES * _LONGEST_WAIT_MS / 1000
        self._patience = Patience(tries_s * len(self.url.split(",")))
        config = settings.client_config() | {
            "cache.latest.ttl.sec": 0,  # what is the latest may change
            "max.retries": _RETRIES,
            "retries.wait.ms": _WAIT_MS,
            "retries.max.wait.ms": _LONGEST_WAIT_MS,
        }
        try:
            self._client = SchemaRegistryClient(config)
        except (OSError, ValueError) as error:
            files = "ANALYTICS_REGISTRY_CA_LOCATION, _CERTIFICATE_LOCATION, _KEY_LOCATION and _KEY_PASSWORD"
            reason = f"{type(error).__name__}; see {files}"
            raise RegistryRefused(self.url, "reading certificates", reason) from error

    def close(self) -> None:
        """Let go of the connection: now, or once an answer that still trickles in has ended."""
        self._patience.afterwards(self._client.close)

    def schema(self, key: str) -> RegisteredSchema | None:
        """The schema of a key as in `Schemas`; None only where the registry is sure that it has none.

        Raises:
            RegistryUnavailable: it does not answer, or something else answers in its place.
            RegistryNotTrusted: its certificate does not hold.
            RegistryRefused: it refuses our credentials, or has a kind of schema that nobody reads.
        """
        return self.schemas([key])[key]

    def schemas(self, keys: Iterable[str]) -> dict[str, RegisteredSchema | None]:
        """The schemas of some keys, as `schema`: the wait before the second look is one for all that are not there."""
        wanted = sorted(set(keys))
        absent = [key for key in wanted if not self._look(key) and _may_be(key)]
        if absent:
            time.sleep(_SECOND_LOOK_S)
            for key in absent:
                self._look(key)
        return {key: self._schemas.get(key) for key in wanted}

    def latest(self, subject: str) -> tuple[int, RegisteredSchema] | None:
        """Version and schema that a subject has now; None where there is no such subject."""
        doing = f"reading the subject {subject}"
        found = self._ask(doing, lambda: self._client.get_latest_version(subject))
        return None if found is None else (int(found.version or 0), self._resolved(found.schema, doing))

    def lookup(self, subject: str, schema: RegisteredSchema) -> int | None:
        """The id of a schema under a subject; None where it is not there."""
        found = self._ask(f"looking {subject} up", lambda: self._client.lookup_schema(subject, _sent(schema)))
        return None if found is None else found.schema_id

    def publish(self, subject: str, schema: RegisteredSchema, compatibility: str) -> Published:
        """Register a schema under a subject, whose compatibility mode is set first.

        Args:
            subject: As in `orders-value`.
            schema: Without references.
            compatibility: In the registry's words, as in `BACKWARD_TRANSITIVE`.

        Durable on return: the schema stands under the subject, as far as the registry keeps what it has.
        If it dies halfway: the mode may be set and the schema not be there; calling again does the rest.

        Raises:
            RegistryUnavailable: it does not answer.
            RegistryRefused: it refuses us, or the schema because it is not compatible with those before.
        """
        before = self.lookup(subject, schema)
        level = self._ask(f"reading the mode of {subject}", lambda: self._client.get_config(subject))
        if level is None or level.compatibility_level != compatibility:
            self._ask(
                f"setting the mode of {subject}",
                lambda: self._client.set_compatibility(subject_name=subject, level=compatibility),
            )
        doing = f"publishing a schema under {subject}"
        if before is None:
            self._ask(doing, lambda: self._client.register_schema(subject, _sent(schema)))
        found = self._ask(doing, lambda: self._client.lookup_schema(subject, _sent(schema)))
        if found is None or found.schema_id is None or found.version is None:
            raise RegistryUnavailable(self.url, doing, "what was registered is not there")
        return Published(found.schema_id, found.version, before is None)

    def ping(self) -> int:
        """Ask for the subjects; returns how many there are."""
        return len(self._ask("listing subjects", self._client.get_subjects) or ())

    def _look(self, key: str) -> bool:
        """Whether there is a schema of this key; it is known from then on."""
        if key not in self._schemas and _may_be(key):
            kind, _, value = key.partition(":")
            doing = f"reading the schema {key}"
            if kind == "id":
                found = self._ask(doing, lambda: self._client.get_schema(int(value)))
            else:
                found = self._ask(doing, lambda: self._client.get_schema_by_guid(value), self._knows_no_guids)
            if found is not None:
                self._schemas[key] = self._resolved(found, doing)
        return key in self._schemas

    def _knows_no_guids(self) -> bool:
        """Whether this is a registry that has ids alone: who says nothing of a GUID, but names the kinds of schemas."""
        kinds = self._ask("listing the kinds of schemas", self._client.get_schema_types)
        return isinstance(kinds, list) and "AVRO" in kinds

    def _resolved(self, schema: Any, doing: str) -> RegisteredSchema:
        references: dict[str, str] = {}
        self._add_references(schema, references, _DEEPEST)
        kind = _KINDS.get(schema.schema_type or "AVRO")
        if kind is None or schema.schema_str is None:
            raise RegistryRefused(self.url, doing, "it is neither Avro nor JSON Schema nor Protobuf")
        return RegisteredSchema(kind, schema.schema_str, tuple(references.items()))

    def _add_references(self, schema: Any, into: dict[str, str], depth: int) -> None:
        for one in schema.references or ():
            doing = f"reading version {one.version} of {one.subject}, which a schema refers to"
            if depth == 0:
                raise RegistryRefused(self.url, doing, "it refers to itself")
            if one.name in into:
                continue
            found = self._ask(doing, lambda one=one: self._client.get_version(one.subject, one.version, deleted=True))  # type: ignore[misc]
            if found is None or found.schema.schema_str is None:
                raise RegistryUnavailable(self.url, doing, "it is not there")
            self._add_references(found.schema, into, depth - 1)
            into[one.name] = found.schema.schema_str

    def _ask(
        self, doing: str, question: Callable[[], _Answer], lacks: Callable[[], bool] | None = None
    ) -> _Answer | None:
        """The answer; None where the registry is sure that there is none.

        Args:
            doing: For errors.
            question: Asks.
            lacks: Whether a 404 that is not the registry's own word only means that it has no such questions.
        """
        try:
            return self._patience.ask(question)
        except SchemaRegistryError as error:
            status, code = error.http_status_code, error.error_code
            if status == 404 and code in _NOT_THERE:
                return None
            if status == 404 and lacks is not None and lacks():
                return None
            if status in {401, 403}:
                raise RegistryRefused(self.url, doing, f"HTTP {status}") from error
            if status in {409, 422} and code != SchemaRegistryError.UNKNOWN:
                raise RegistryRefused(self.url, doing, str(error.error_message)) from error
            raise RegistryUnavailable(self.url, doing, f"HTTP {status}") from error
        except (httpx2.HTTPError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            # The last four: what answered is no registry.
            refused = _tls_error(error)
            if isinstance(refused, ssl.SSLCertVerificationError):
                raise RegistryNotTrusted(self.url, doing, refused.verify_message) from error
            alert = str(refused.reason) if refused is not None else ""
            if "ALERT" in alert and any(one in alert for one in _WANTS_OURS):
                ours = "ANALYTICS_REGISTRY_CERTIFICATE_LOCATION and _KEY_LOCATION say which is ours"
                raise RegistryRefused(self.url, doing, f"our certificate ({alert}); {ours}") from error
            raise RegistryUnavailable(self.url, doing, f"{type(error).__name__}: {error}"[:200]) from error


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _may_be(key: str) -> bool:
    kind, _, value = key.partition(":")
    return kind != "id" or int(value) < _ID_END


def _sent(schema: RegisteredSchema) -> Schema:
    return Schema(schema.text, _TYPES[schema.kind])
