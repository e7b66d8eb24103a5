"""What changed between two contracts, each change classified under the mode that the older one promises.

    old contract ──┐
                   ├── compare ──> differences: path, what changed, verdict, reason, what to do
    new contract ──┘

The kinds of change follow the Avro specification's schema resolution and the modes of schema registries; on top of them
stand the promises that a registry does not know: business identifiers, units, deprecations with a date.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from analytics_platform.contract.difference import Difference, Verdict
from analytics_platform.contract.enrich_change import enrichment_changes
from analytics_platform.contract.envelope_change import envelope_changes
from analytics_platform.contract.loosen import rule_changes
from analytics_platform.contract.model import (
    Compatibility,
    Deprecation,
    EventContract,
    Field,
    LogicalType,
    MartContract,
    Mode,
    Operation,
    ReferenceContract,
    Treatment,
    Window,
)

_READERS = Compatibility(Mode.FORWARD, Mode.FORWARD)
"""For a table whose rows are made anew by the newest contract alone: only its readers hold on to an older one."""
_TYPE = (
    "A column keeps its type: all versions share one table, and Delta cannot turn what stands there into another type."
)


def compare(old: EventContract, new: EventContract, today: date) -> tuple[Difference, ...]:
    """Every change from `old` to `new`, two versions of one event.

    Args:
        old: Whose promise counts, its mode too: a new version cannot loosen the rule by which it is judged.
        new: What is to come.
        today: In UTC; decides whether a deprecated field may go yet.
    """
    fields = _Fields(old.compatibility, today)
    return (
        *_promises(old, new),
        *fields.compare(old.fields, new.fields, ""),
        *_row_rules(old, new),
        *enrichment_changes(old, new),
        *_service(old, new, today),
        *_cosmetic(old, new),
    )


def compare_tables(
    old: MartContract | ReferenceContract, new: MartContract | ReferenceContract, today: date
) -> tuple[Difference, ...]:
    """Every change between two states of a mart's or a reference table's contract, for those who read the table."""
    changes = [*_Fields(_READERS, today).compare(old.fields, new.fields, ""), *_cosmetic(old, new)]
    before, after = _grain(old), _grain(new)
    if before != after:
        changes.append(
            Difference(
                "primaryKey",
                f"{', '.join(before)} -> {', '.join(after)}",
                Verdict.MAJOR,
                "What one row stands for changes, and with it every join and sum.",
                "Raise the major version, or make a table of another name.",
                backward=False,
                forward=False,
            )
        )
    if isinstance(old, MartContract) and isinstance(new, MartContract):
        lines = [replace(one.window, final_after=timedelta(0), keeps=False) for one in (old, new)]
        if lines[0] != lines[1]:
            said = " -> ".join(_window_said(one.window) for one in (old, new))
            reason = "Rows are cut along other lines of time."
            changes.append(Difference("window", said, Verdict.MAJOR, reason, "Raise the major version.", False, False))
        elif old.window != new.window:
            said = "finalAfter or late changed"
            reason = "When rows are final, and whether late ones still change them."
            changes.append(Difference("window", said, Verdict.COMPATIBLE, reason))
        if old.sql != new.sql:
            reason = "The mart is computed anew from all of silver."
            changes.append(Difference("sql", "another statement", Verdict.COMPATIBLE, reason))
    return tuple(changes)


def _window_said(window: Window) -> str:
    if window.session is not None:
        return f"sessions by {', '.join(window.session.by)} with gaps of at most {window.session.gap}"
    every = "" if window.hop is None else f" every {window.hop}"
    return f"{window.size}{every} in {window.timezone}"


@dataclass(frozen=True, slots=True)
class _Fields:
    """Compares fields, also those inside objects and lists."""

    promise: Compatibility
    today: date

    def compare(self, old: tuple[Field, ...], new: tuple[Field, ...], prefix: str) -> Iterator[Difference]:
        before, after = {field.name: field for field in old}, {field.name: field for field in new}
        gone = [field for field in old if field.name not in after]
        come = [field for field in new if field.name not in before]
        for field in gone:
            yield self._removed(field, prefix, _renamed(field, come))
        for field in come:
            yield self._added(field, prefix)
        for field in old:
            if field.name in after:
                yield from self._changed(field, after[field.name], prefix + field.name)
        kept = [field.name for field in new if field.name in before]
        if kept != [field.name for field in old if field.name in after]:
            yield Difference(prefix or "fields", "their order", Verdict.COSMETIC, "Fields go by their names.")

    def _added(self, field: Field, prefix: str) -> Difference:
        kind = "required" if field.required else "optional"
        reason = (
            "Rows written by the older version do not have it."
            if field.required
            else "It is null in rows that do not have it, and unknown to readers who do not ask for it."
        )
        advice = f"Make {field.name} optional, or raise the major version." if field.required else ""
        return self._shape(
            Difference(
                prefix + field.name, f"added, {kind}", Verdict.COMPATIBLE, reason, advice, backward=not field.required
            )
        )

    def _removed(self, field: Field, prefix: str, renamed: str | None) -> Difference:
        path, end = prefix + field.name, field.deprecation
        change = f"removed, was {'required' if field.required else 'optional'}"
        hint = f" If {renamed} is its new name: keep both for a while, with `replacedBy: {renamed}`." if renamed else ""
        if end is not None and self.today <= end.remove_after:
            return Difference(
                path,
                change,
                Verdict.BREAKING,
                f"It is promised until the end of {end.remove_after}.",
                f"Remove it from {end.remove_after} on, not before.{hint}",
                backward=True,
                forward=not field.required,
            )
        if end is None:
            return Difference(
                path,
                change,
                Verdict.MAJOR,
                "Nobody was told: it has no deprecation with a date.",
                f"Keep it, `deprecated: true`, with a `deprecation`, or raise the major version.{hint}",
                backward=True,
                forward=False,
            )
        reason = (
            "Readers of the older version need it."
            if field.required
            else f"It was announced on {end.announced_on}, and its last day was {end.remove_after}."
        )
        advice = f"Raise the major version.{hint}" if field.required else ""
        return self._shape(Difference(path, change, Verdict.COMPATIBLE, reason, advice, forward=not field.required))

    def _changed(self, old: Field, new: Field, path: str) -> Iterator[Difference]:
        if old.type is not new.type:
            wider = (old.type, new.type) == (LogicalType.INTEGER, LogicalType.NUMBER)
            yield Difference(
                path,
                f"type: {old.type} -> {new.type}",
                Verdict.BREAKING,
                _TYPE,
                f"Add a field of another name{' (every integer is a number, but the column is not)' if wider else ''},"
                f" and deprecate {old.name} with `replacedBy`.",
                backward=False,
                forward=False,
            )
            return
        if old.required != new.required:
            said = f"required: {str(old.required).lower()} -> {str(new.required).lower()}"
            reason = (
                "Rows without a value stop being valid."
                if new.required
                else "Readers of the older version count on a value."
            )
            advice = "Leave it as it is, or raise the major version."
            yield self._shape(
                Difference(path, said, Verdict.COMPATIBLE, reason, advice, not new.required, not old.required)
            )
        for rule in rule_changes(old, new):
            reason = (
                "It takes all that it took, and more."
                if rule.backward
                else "It takes less than it took."
                if rule.forward
                else "What it takes is something else."
            )
            said = f"{rule.rule}: {_or_none(rule.old)} -> {_or_none(rule.new)}"
            advice = "Leave the rule as it is, or raise the major version."
            change = Difference(path, said, Verdict.COMPATIBLE, reason, advice, rule.backward, rule.forward)
            yield _judged(self.promise.rules, change)
        if old.unit != new.unit:
            yield Difference(
                path,
                f"unit: {_or_none(old.unit)} -> {_or_none(new.unit)}",
                Verdict.MAJOR,
                "The same number means something else.",
                "Add a field of another name, with the unit in it.",
                backward=False,
                forward=False,
            )
        yield from _notes(old, new, path, self.today)
        yield from self.compare(old.fields, new.fields, f"{path}.")
        if old.item is not None and new.item is not None:
            yield from self._changed(old.item, new.item, f"{path}[]")

    def _shape(self, difference: Difference) -> Difference:
        return _judged(self.promise.shape, difference)


def _judged(mode: Mode, change: Difference) -> Difference:
    """A change that the mode decides on; its advice is for the case that the mode forbids it."""
    broken = [
        name
        for name, asked, kept in (
            ("BACKWARD", mode.backward, change.backward),
            ("FORWARD", mode.forward, change.forward),
        )
        if asked and not kept
    ]
    if not broken:
        return replace(change, advice="")
    said = f"{change.reason} The contract promises {mode}, and this is not {' or '.join(broken)} compatible."
    return replace(change, verdict=Verdict.MAJOR, reason=said)


def _notes(old: Field, new: Field, path: str, today: date) -> Iterator[Difference]:
    """What is said about a field without changing what it may hold."""
    if old.classification != new.classification:
        said = f"classification: {_or_none(old.classification)} -> {_or_none(new.classification)}"
        yield Difference(path, said, Verdict.COMPATIBLE, "Who may see it changes; what it holds does not.")
    if old.treatment != new.treatment:
        said = f"treatment: {_treated(old.treatment)} -> {_treated(new.treatment)}"
        advice = "Rebuild the hours whose rows should follow: see docs/personal-data.md#treatment."
        yield Difference(
            path, said, Verdict.COMPATIBLE, "What silver holds of it is another; events stay valid.", advice
        )
    yield from _deprecations(old.deprecation, new.deprecation, path, today)
    if old.deprecated != new.deprecated and old.deprecation == new.deprecation:
        said = f"deprecated: {str(old.deprecated).lower()} -> {str(new.deprecated).lower()}"
        yield Difference(path, said, Verdict.COSMETIC, "Readers are told; no date is promised.")
    if old.description != new.description:
        yield Difference(path, "description", Verdict.COSMETIC, "Words for readers.")


def _deprecations(old: Deprecation | None, new: Deprecation | None, path: str, today: date) -> Iterator[Difference]:
    if old == new:
        return
    said = f"deprecation: {_end(old)} -> {_end(new)}"
    if new is not None and new.remove_after < today and (old is None or new.remove_after != old.remove_after):
        reason, advice = "An end is announced before it comes.", f"Let the last day be {today} or a later one."
        yield Difference(path, said, Verdict.BREAKING, reason, advice, backward=False)
        return
    if old is not None and new is not None and new.remove_after < old.remove_after:
        reason, advice = (
            "A promise is not shortened.",
            f"Leave the last day at {old.remove_after}, or make it a later one.",
        )
        yield Difference(path, said, Verdict.BREAKING, reason, advice)
        return
    yield Difference(path, said, Verdict.COSMETIC, "Its end is announced, put off or taken back; until then it stays.")


def _promises(old: EventContract, new: EventContract) -> Iterator[Difference]:
    """What holds a table and its keys together over all versions."""
    if old.topic != new.topic:
        reason, advice = "All versions of an event share a topic.", "Make an event of another name."
        yield Difference("topic", f"{old.topic} -> {new.topic}", Verdict.BREAKING, reason, advice, False, False)
    mine, theirs = old.identity, new.identity
    if (mine.by, mine.mode, mine.time_field) != (theirs.by, theirs.mode, theirs.time_field):
        yield Difference(
            "identity",
            f"{mine.mode} {', '.join(mine.by)} by {mine.time_field} -> {theirs.mode} {', '.join(theirs.by)}"
            f" by {theirs.time_field}",
            Verdict.BREAKING,
            "One event would get two keys, and enter the table twice.",
            "Make an event of another name.",
            False,
            False,
        )
    elif mine.window is not None and theirs.window is not None and mine.window != theirs.window:
        narrower = theirs.window < mine.window
        yield Difference(
            "dedupeWindow",
            f"{mine.window} -> {theirs.window}",
            Verdict.MAJOR if narrower else Verdict.COMPATIBLE,
            "Copies farther apart are no longer found." if narrower else "Copies are looked for farther apart.",
            "Leave the window as it is, or raise the major version." if narrower else "",
        )
    yield from envelope_changes(old, new)


def _row_rules(old: EventContract, new: EventContract) -> Iterator[Difference]:
    before = {rule.name: " ".join(rule.sql.split()) for rule in old.row_rules}
    after = {rule.name: " ".join(rule.sql.split()) for rule in new.row_rules}
    for name in (*before, *(name for name in after if name not in before)):
        if before.get(name) == after.get(name):
            continue
        said = "added" if name not in before else "removed" if name not in after else "another expression"
        reason = {
            "added": "Rows that were valid may break it.",
            "removed": "It takes all that it took, and more.",
            "another expression": "What it takes is something else.",
        }[said]
        advice = "Leave the rule as it is, or raise the major version."
        backward, forward = name not in after, name not in before
        change = Difference(f"quality.{name}", said, Verdict.COMPATIBLE, reason, advice, backward, forward)
        yield _judged(old.compatibility.rules, change)


def _service(old: EventContract, new: EventContract, today: date) -> Iterator[Difference]:
    """Promises about the table as a whole, and about the next change."""
    if old.freshness != new.freshness:
        said = f"{_or_none(old.freshness)} -> {_or_none(new.freshness)}"
        yield Difference("freshness", said, Verdict.COSMETIC, "When the table counts as stale.")
    if old.max_quarantined_share != new.max_quarantined_share:
        said = f"{_or_none(old.max_quarantined_share)} -> {_or_none(new.max_quarantined_share)}"
        yield Difference("quarantine.maxBadRatio", said, Verdict.COSMETIC, "When the check warns.")
    if old.breaker != new.breaker:
        said = "added" if old.breaker is None else "removed" if new.breaker is None else "changed"
        yield Difference("quarantine.onExceed", said, Verdict.COSMETIC, "When the event type is halted.")
    if old.watermark != new.watermark:
        said = "added" if old.watermark is None else "removed" if new.watermark is None else "changed"
        yield Difference("watermark", said, Verdict.COSMETIC, "Which rows count as late, and when windows are final.")
    for name in ("shape", "rules"):
        before: Mode = getattr(old.compatibility, name)
        after: Mode = getattr(new.compatibility, name)
        if before is not after:
            kept = (after.backward, after.forward, after.transitive)
            weaker = any(was and not now for was, now in zip(_asks(before), kept, strict=True))
            yield Difference(
                f"compatibility.{name}",
                f"{before} -> {after}",
                Verdict.MAJOR if weaker else Verdict.COMPATIBLE,
                "Readers were promised more." if weaker else "Readers are promised more.",
                "Leave the mode as it is, or raise the major version." if weaker else "",
            )
    if old.major == new.major and old.upcast != new.upcast:
        reason = (
            "Rows of the older major come into silver in another way, from now on and when their hours are rebuilt."
        )
        advice = "Leave the up-cast as it is, or raise the major version."
        change = Difference("upcast", "changed", Verdict.COMPATIBLE, reason, advice, backward=False)
        yield _judged(old.compatibility.rules, change)
    yield from _deprecations(old.deprecation, new.deprecation, "version", today)


def _asks(mode: Mode) -> tuple[bool, bool, bool]:
    return mode.backward, mode.forward, mode.transitive


def _cosmetic(
    old: EventContract | MartContract | ReferenceContract, new: EventContract | MartContract | ReferenceContract
) -> Iterator[Difference]:
    parts: Mapping[str, tuple[object, object]] = {
        "status": (old.header.status, new.header.status),
        "team": (old.header.owners, new.header.owners),
        "tags": (old.header.tags, new.header.tags),
        "description": (old.header.description, new.header.description),
        "id": (old.header.id, new.header.id),
    }
    for name, (before, after) in parts.items():
        if before != after:
            said = f"{before} -> {after}" if name in {"status", "id"} else "changed"
            yield Difference(name, said, Verdict.COSMETIC, "Words for readers.")


def _renamed(field: Field, come: list[Field]) -> str | None:
    """The one new field that looks like this one under another name."""
    if field.deprecation is not None and field.deprecation.replaced_by:
        return None
    like = [one.name for one in come if (one.type, one.rules, one.unit) == (field.type, field.rules, field.unit)]
    return like[0] if len(like) == 1 else None


def _grain(contract: MartContract | ReferenceContract) -> tuple[str, ...]:
    return contract.grain if isinstance(contract, MartContract) else contract.primary_key


def _treated(treatment: Treatment | None) -> str:
    if treatment is None:
        return "none"
    ends = f" {treatment.first}, {treatment.last}" if treatment.op is Operation.MASK else ""
    return f"{treatment.op}{ends}" + (f" by {treatment.key}" if treatment.key else "")


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _end(deprecation: Deprecation | None) -> str:
    return "none" if deprecation is None else f"until {deprecation.remove_after}"
