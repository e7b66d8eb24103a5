"""What a change of the envelope, or of the format it comes in, means to those who hold on to the contract before it."""

from collections.abc import Iterator

from analytics_platform.contract.difference import Difference, Verdict
from analytics_platform.contract.model import ENVELOPE, EventContract


def envelope_changes(old: EventContract, new: EventContract) -> Iterator[Difference]:
    """Every difference in where and how the fields of the envelope are sent."""
    if old.wire is not new.wire:
        yield Difference(
            "wire",
            f"{old.wire} -> {new.wire}",
            Verdict.MAJOR,
            "Whoever reads by the older version cannot read values in another format; the platform reads both as long as "
            "both versions are there.",
            f"Leave it at {old.wire}, or raise the major version.",
            False,
            False,
        )
    if (old.cloudevents is None) != (new.cloudevents is None):
        yield Difference(
            "envelope.style",
            f"{'no style' if old.cloudevents is None else 'cloudevents'} -> "
            f"{'no style' if new.cloudevents is None else 'cloudevents'}",
            Verdict.BREAKING,
            "By it a record finds its contract: all contracts of a topic have one style.",
            "Leave the style as it is, or make an event of another topic.",
            False,
            False,
        )
    elif old.sent_as != new.sent_as:
        yield Difference(
            "envelope.type",
            f"{old.sent_as} -> {new.sent_as}",
            Verdict.COMPATIBLE,
            "Records of both types find the event while both versions are there.",
        )
    if old.generate_trace_id != new.generate_trace_id:
        yield Difference(
            "envelope.missingTraceId",
            "no longer generated" if old.generate_trace_id else "generated",
            Verdict.MAJOR if old.generate_trace_id else Verdict.COMPATIBLE,
            "Records without a trace id are refused or get none."
            if old.generate_trace_id
            else "Records without a trace id get one.",
            "Go on generating it, or raise the major version." if old.generate_trace_id else "",
        )
    for key in ENVELOPE:
        before, after = old.envelope.get(key), new.envelope.get(key)
        if before != after:
            routes = key in {"event_type", "schema_version"}
            yield Difference(
                f"envelope.{key}",
                f"{before} -> {after}",
                Verdict.BREAKING if routes else Verdict.MAJOR,
                "By it a record finds its contract: it stands in one place for all contracts of a topic."
                if routes
                else "Producers of the older version put it elsewhere.",
                f"Leave it at {before}." if routes else f"Leave it at {before}, or raise the major version.",
                False,
                False,
            )
