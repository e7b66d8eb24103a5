"""What changed between the enrichments of two versions of an event, for those who read silver."""

from collections.abc import Iterator, Mapping

from analytics_platform.contract.difference import Difference, Verdict
from analytics_platform.contract.model import Enrichment, EventContract, Unknown

_RAISE = "Leave it as it is, or raise the major version."


def enrichment_changes(old: EventContract, new: EventContract) -> Iterator[Difference]:
    """Every change of the enrichments: taking more is compatible, taking less or from elsewhere is not."""
    before, after = _by_name(old), _by_name(new)
    for name in before:
        if name not in after:
            for column in (*before[name].take.values(), before[name].enriched_at):
                yield _removed(name, column)
    for name, item in after.items():
        if name in before:
            yield from _changed(before[name], item)
        else:
            reason = "Its columns are null until they are filled; rows that stand there are filled too."
            yield Difference(f"enrich.{name}", "added", Verdict.COMPATIBLE, reason)
            yield from _unknown(item, Unknown.NOTHING)


def _by_name(contract: EventContract) -> Mapping[str, Enrichment]:
    return {item.name: item for item in contract.enrichments}


def _removed(name: str, column: str) -> Difference:
    reason = "Readers of the older version need it."
    return Difference(f"enrich.{name}.{column}", "removed", Verdict.MAJOR, reason, _RAISE, backward=True, forward=False)


def _changed(old: Enrichment, new: Enrichment) -> Iterator[Difference]:
    asks = {
        "source": (old.source, new.source),
        "on": (_said(old.on), _said(new.on)),
        "asOf": (old.as_of, new.as_of),
    }
    for part, (was, now) in asks.items():
        if was != now:
            reason = "The same columns hold something else."
            yield Difference(f"enrich.{new.name}.{part}", f"{was} -> {now}", Verdict.MAJOR, reason, _RAISE)
    before, after = ({column: source for source, column in item.take.items()} for item in (old, new))
    for column, source in before.items():
        if column not in after:
            yield _removed(new.name, column)
        elif after[column] != source:
            reason, said = "The same column holds something else.", f"{source} -> {after[column]}"
            yield Difference(f"enrich.{new.name}.{column}", said, Verdict.MAJOR, reason, _RAISE)
    for column in after:
        if column not in before:
            reason = "It is null in rows that stand there until their hours are made again."
            yield Difference(f"enrich.{new.name}.{column}", "added", Verdict.COMPATIBLE, reason)
    yield from _unknown(new, old.unknown)


def _unknown(item: Enrichment, was: Unknown) -> Iterator[Difference]:
    if item.unknown is was:
        return
    said = f"{was} -> {item.unknown}"
    if item.unknown is Unknown.QUARANTINE:
        reason = "Rows that were valid are quarantined where their key is not known."
        yield Difference(f"enrich.{item.name}.unknown", said, Verdict.MAJOR, reason, _RAISE, backward=False)
        return
    reason = "Rows with a key that is not known come into silver."
    yield Difference(f"enrich.{item.name}.unknown", said, Verdict.COMPATIBLE, reason, forward=False)


def _said(on: Mapping[str, str]) -> str:
    return ", ".join(f"{column}: {field}" for column, field in sorted(on.items()))
