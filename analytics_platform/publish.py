"""The schemas of contracts, registered where producers and consumers look for them.

The registry's own check is a second fence behind the gate: it sees the versions in their order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics_platform.contract.model import Domain, EventContract
from analytics_platform.contract.registered import registered_schema
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat

if TYPE_CHECKING:
    from analytics_platform.kafka.registry import Registry

_NO_CHECK = "NONE"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one version."""

    event: str
    version: str
    subject: str
    id: int
    new: bool
    """Whether the registry did not have it."""


def subject_of(domain: Domain, contract: EventContract) -> str:
    """`<topic>-value` where a topic has one event type, else `<topic>-<domain>.<event>`.

    These are Confluent's TopicNameStrategy and TopicRecordNameStrategy.
    """
    if len(domain.event_types_of(contract.topic)) == 1:
        return f"{contract.topic}-value"
    return f"{contract.topic}-{domain.name}.{contract.name}"


def mode_of(contract: EventContract, *, majors: int) -> str:
    """The mode of a subject, in the registry's words.

    Args:
        contract: Its newest version.
        majors: How many majors stand under the subject. With several, a transitive check would hold a new major against
            the one it breaks with.
    """
    # Registries take closed JSON Schemas for compatible backward, open ones forward, neither for both.
    mode = "BACKWARD_TRANSITIVE" if contract.wire is WireFormat.JSON_SCHEMA else str(contract.compatibility.shape)
    return mode if majors == 1 else mode.removesuffix("_TRANSITIVE")


def publish(domain: Domain, registry: "Registry", event: str) -> Iterator[Outcome]:
    """Register every version of an event whose contract declares a framed wire format, in their order.

    Durable on return: all of them, and the subject's mode.
    If it dies halfway: the versions before it are there; running again does the rest.

    Raises:
        RegistryUnavailable: the registry does not answer.
        RegistryRefused: it refuses us, or a version because it is not compatible with those before.
    """
    versions = domain.versions_of(event)
    framed = [(one, registered_schema(one, versions)) for one in versions if one.wire is not WireFormat.JSON]
    if not framed:
        return
    subject = subject_of(domain, versions[0])
    mode = mode_of(framed[-1][0], majors=len({one.major for one, _ in framed}))
    for number, (contract, schema) in enumerate(framed):
        yield _published(registry, subject, contract, schema, mode=mode, before=[one for one, _ in framed[:number]])
    registry.publish(subject, framed[-1][1], mode)  # which leaves the subject in its mode, whatever the last step's was


def _published(
    registry: "Registry",
    subject: str,
    contract: EventContract,
    schema: RegisteredSchema,
    *,
    mode: str,
    before: Sequence[EventContract],
) -> Outcome:
    known = registry.lookup(subject, schema)
    if known is not None:
        return Outcome(contract.name, contract.header.version, subject, known, new=False)
    breaks = bool(before) and (before[-1].major != contract.major or before[-1].wire is not contract.wire)
    done = registry.publish(subject, schema, _NO_CHECK if breaks else mode)
    return Outcome(contract.name, contract.header.version, subject, done.id, done.new)
