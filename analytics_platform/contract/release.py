"""Whether a set of contracts may follow another one: the gate that `contracts diff` and `contracts check` are.

Every version is held against those before it (all of its major where the mode is transitive, else the one before), a new
major against the last of the major before. A version that was released never changes but for words and for the
announcement of its end; a proposal or a draft may become anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from analytics_platform.contract.difference import Difference, Verdict
from analytics_platform.contract.evolve import compare, compare_tables
from analytics_platform.contract.model import Catalog, EventContract, MartContract, ReferenceContract
from analytics_platform.contract.patch import Patch

_UNRELEASED = {"proposed", "draft"}
_LEAVING = {"deprecated", "retired"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One change, from which contract to which, and whether it may be."""

    table: str
    """As in `silver.order_placed`."""
    old: str
    """Version that is held on to."""
    new: str
    """Version that comes; `none` where it goes."""
    path: Path
    """Of the file to mend; of the old one where there is no new one."""
    difference: Difference
    allowed: bool
    """Whether the versions' numbers say what the change asks for."""


def between(old: EventContract, new: EventContract, today: date) -> tuple[Finding, ...]:
    """The changes between two versions of one event, or between two states of one version."""
    return tuple(_findings(f"silver.{new.name}", old, new, compare(old, new, today)))


def release(old: Catalog, new: Catalog, today: date) -> tuple[Finding, ...]:
    """Every change from what is released to what is to be, and every change within what is new.

    Args:
        old: What is in force; an empty catalog holds the versions of `new` against each other alone.
        new: What is to come.
        today: In UTC.
    """
    found: list[Finding] = []
    before, after = _events(old), _events(new)
    for name in sorted({*before, *after}):
        found += _event(before.get(name, ()), after.get(name, ()), today)
        found += _patches(before.get(name, ()), after.get(name, ()))
    tables_before, tables_after = _tables(old), _tables(new)
    for title in sorted({*tables_before, *tables_after}):
        found += _table(title, tables_before.get(title), tables_after.get(title), today)
    return tuple(found)


def _event(old: Sequence[EventContract], new: Sequence[EventContract], today: date) -> Iterator[Finding]:
    standing = {contract.header.version: contract for contract in new}
    released = {contract.header.version: contract for contract in old}
    for version, contract in released.items():
        if version not in standing:
            yield _removed(contract, today)
        elif contract.header.digest != standing[version].header.digest:
            yield from between(contract, standing[version], today)
    for contract in new:
        if contract.header.version in released:
            continue
        # What it has to be compatible with: also a version that this very change takes away.
        # Of one that is announced to end in this very change, what was released counts: nobody has been told yet.
        everything = {**standing, **released}.values()
        older = sorted((one for one in everything if one.order < contract.order), key=lambda one: one.order)
        same = [one for one in older if one.major == contract.major]
        last = (same or older)[-1:]
        promise = last[0].compatibility if last else contract.compatibility
        transitive = promise.shape.transitive or promise.rules.transitive
        for one in same if same and transitive else last:
            changes = between(one, contract, today)
            # Against versions further back only what is not allowed is news.
            yield from changes if [one] == last else (item for item in changes if not item.allowed)


def _removed(contract: EventContract, today: date) -> Finding:
    end, status = contract.deprecation, contract.header.status
    if status in _UNRELEASED:
        verdict, reason, advice = Verdict.COMPATIBLE, f"It was only {status}.", ""
    elif end is None:
        verdict = Verdict.BREAKING
        reason, advice = (
            "Nobody was told: it has no deprecation with a date.",
            "Keep the file, and announce its end in it.",
        )
    elif today <= end.remove_after:
        verdict, reason = Verdict.BREAKING, f"It is promised until the end of {end.remove_after}."
        advice = "Keep the file until then."
    else:
        verdict, reason, advice = Verdict.COMPATIBLE, f"Its last day was {end.remove_after}.", ""
    difference = Difference("version", "removed", verdict, reason, advice, verdict is Verdict.COMPATIBLE, forward=True)
    version = contract.header.version
    return Finding(
        f"silver.{contract.name}", version, "none", contract.header.path, difference, verdict is Verdict.COMPATIBLE
    )


def _patches(old: Sequence[EventContract], new: Sequence[EventContract]) -> Iterator[Finding]:
    """What became of an event's patches: what they mended stands in silver, so they stay as they are or are withdrawn."""
    before = {patch.name: patch for contract in old for patch in contract.patches}
    after = {patch.name: patch for contract in new for patch in contract.patches}
    for name, patch in sorted({**before, **after}.items(), key=lambda item: item[0]):
        was, now = before.get(name), after.get(name)
        if (was and was.digest) != (now and now.digest):
            difference = _patch_difference(name, was, now, {contract.major for contract in new})
            old_is, new_is = ("none" if one is None else "patch" for one in (was, now))
            allowed = difference.verdict is not Verdict.BREAKING
            yield Finding(f"silver.{patch.event}", old_is, new_is, patch.path, difference, allowed)


def _patch_difference(name: str, was: Patch | None, now: Patch | None, majors: set[int]) -> Difference:
    path = f"patch {name}"
    if was is None:
        return Difference(path, "added", Verdict.COMPATIBLE, "It is only for records that are refused without it.")
    back = "What it mended goes back to quarantine when those hours are made again."
    if now is None:
        if was.withdrawn or was.major not in majors:
            why = "It was withdrawn." if was.withdrawn else f"No version {was.major} is left that it is for."
            return Difference(path, "removed", Verdict.COMPATIBLE, why)
        return Difference(path, "removed", Verdict.BREAKING, back, "Keep the file; to undo it, set withdrawn: true.")
    words = replace(now, description=was.description, path=was.path, digest=was.digest)
    if replace(words, withdrawn=was.withdrawn) != was:
        advice = "Leave it as it is and write another patch; to undo it, set withdrawn: true."
        return Difference(path, "changed", Verdict.BREAKING, back, advice)
    if now.withdrawn is was.withdrawn:
        return Difference(path, "its words", Verdict.COSMETIC, "Nothing is mended otherwise.")
    change = f"withdrawn: {str(was.withdrawn).lower()} -> {str(now.withdrawn).lower()}"
    return Difference(path, change, Verdict.COMPATIBLE, back if now.withdrawn else "It mends again.")


def _table(
    title: str,
    old: MartContract | ReferenceContract | None,
    new: MartContract | ReferenceContract | None,
    today: date,
) -> Iterator[Finding]:
    if old is None or (new is not None and old.header.digest == new.header.digest):
        return
    if new is None:
        allowed = old.header.status in {*_UNRELEASED, *_LEAVING}
        verdict = Verdict.COMPATIBLE if allowed else Verdict.BREAKING
        reason = f"Its status was {old.header.status}."
        advice = "" if allowed else "Give it the status deprecated first, so that its readers are told."
        difference = Difference("contract", "removed", verdict, reason, advice, allowed, allowed)
        yield Finding(title, old.header.version, "none", old.header.path, difference, allowed)
        return
    yield from _findings(title, old, new, compare_tables(old, new, today))


def _findings(
    title: str,
    old: EventContract | MartContract | ReferenceContract,
    new: EventContract | MartContract | ReferenceContract,
    differences: Sequence[Difference],
) -> Iterator[Finding]:
    before, after = old.header.version, new.header.version
    step = _step(before, after)
    for difference in differences:
        allowed = old.header.status in _UNRELEASED or _allowed(difference.verdict, step)
        shown = difference
        if step == "none" and not allowed and difference.verdict is not Verdict.BREAKING:
            shown = Difference(
                difference.path,
                difference.change,
                Verdict.BREAKING,
                f"{before} is released, and a released version never changes. {difference.reason}",
                f"Leave {before} as it is and write a new version.",
                difference.backward,
                difference.forward,
            )
        yield Finding(title, before, after, new.header.path, shown, allowed)


def _step(old: str, new: str) -> str:
    """How far the version was raised: `none`, `minor` or `major`."""
    before, after = _numbers(old), _numbers(new)
    if after <= before:
        return "none"
    return "major" if after[0] > before[0] else "minor"


def _allowed(verdict: Verdict, step: str) -> bool:
    if verdict is Verdict.COSMETIC:
        return True
    if verdict is Verdict.COMPATIBLE:
        return step != "none"
    return verdict is Verdict.MAJOR and step == "major"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _events(catalog: Catalog) -> Mapping[str, tuple[EventContract, ...]]:
    names = {event.name: domain for domain in catalog.domains.values() for event in domain.produced}
    return {name: domain.versions_of(name) for name, domain in names.items()}


def _tables(catalog: Catalog) -> Mapping[str, MartContract | ReferenceContract]:
    found: dict[str, MartContract | ReferenceContract] = {}
    for domain in catalog.domains.values():
        found |= {f"reference.{item.name}": item for item in domain.references}
        found |= {f"gold.{item.name}": item for item in domain.marts}
    return found
