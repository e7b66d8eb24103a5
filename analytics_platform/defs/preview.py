"""The impact preview as a job: what contracts that are not in force yet would make of bronze."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from pydantic import Field

from analytics_platform.contract.model import Domain
from analytics_platform.contract.proposal import load_proposal
from analytics_platform.errors import AnalyticsError
from analytics_platform.impact import ALWAYS, Changes, Impact, impact
from analytics_platform.settings import Settings


class ImpactConfig(dg.Config):
    """Which contracts, over which records."""

    contracts: str = Field(
        description=(
            "Path, on the machine of the code location, of one event contract (judged as if it stood in this domain's "
            "folder), of the domain's folder as it would be, or of all contracts as they would be."
        )
    )
    last_hours: float | None = Field(
        default=None,
        gt=0,
        description="Look at the records taken in during the last so many hours. Default: at all that bronze has.",
    )


def impact_job(domain: Domain, settings: Settings, clock: Callable[[], datetime]) -> dg.JobDefinition:
    """The preview for one domain; it reads bronze, writes nothing, and waits for nobody."""

    @dg.op(
        name=f"{domain.name}_compare",
        description=(
            "Judges bronze by the contracts in force and by those of the config, and shows in its output's metadata which "
            "records would end otherwise. Nothing is written."
        ),
    )
    def compare(context: dg.OpExecutionContext, config: ImpactConfig) -> dg.Output[None]:
        now = clock()
        hours = ALWAYS if config.last_hours is None else (now - timedelta(hours=config.last_hours), now)
        try:
            proposed = [
                item for item in load_proposal(Path(config.contracts), settings.contracts) if item.name == domain.name
            ]
            if not proposed:
                raise dg.Failure(f"{config.contracts} says nothing of the domain {domain.name}.", allow_retries=False)
            report = impact(
                [domain],
                proposed,
                settings,
                hours=hours,
                on_slice=lambda records: context.log.info(f"{records:,} records judged twice"),
            )
        except AnalyticsError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        changes = report.changes
        return dg.Output(
            None,
            metadata={
                "impact": dg.MetadataValue.md(impact_markdown(report)),
                "records": report.records,
                "newly_failing": changes.newly_failing,
                "newly_passing": changes.newly_passing,
                "changed": changes.changed,
            },
        )

    @dg.job(
        name=f"{domain.name}_impact",
        description=f"Which records of {domain.name} would end otherwise under other contracts. Nothing is written.",
    )
    def preview() -> None:
        compare()

    return preview


def impact_markdown(report: Impact) -> str:
    """The report for the run's page; nothing in it that came from a sender or a contract is Markdown."""
    changes = report.changes
    topics = ", ".join(_code(topic) for topic in report.topics)
    first = (
        f"**{changes.newly_failing:,} newly failing**, {changes.newly_passing:,} newly passing, {changes.changed:,} "
        f"otherwise changed, {report.same:,} the same: {report.records:,} records of "
        f"{topics or 'no topic, since all contracts are the same'}."
    )
    parts = [first]
    parts += _table(("code", "reason"), [((item.code, item.reason), item.changes) for item in report.by_rule])
    parts += _table(("source",), [((name,), counts) for name, counts in report.by_source])
    parts += _table(("event type",), [((name,), counts) for name, counts in report.by_event_type])
    for sample in report.samples:
        place = f"{_code(sample.topic)} [{sample.partition}] offset {sample.offset}"
        lines = [
            f"- {sample.kind.replace('_', ' ')}: {place}, {_code(sample.event_type)} from {_code(sample.source)}",
            f"  - now: {_said(sample.before)}",
            f"  - then: {_said(sample.after)}",
            f"  - {_code(sample.outline)}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _table(names: Sequence[str], rows: Sequence[tuple[Sequence[str], Changes]]) -> list[str]:
    if not rows:
        return []
    counted = ("newly failing", "newly passing", "changed")
    lines = [f"| {' | '.join((*names, *counted))} |", f"|{'---|' * len(names)}{'---:|' * len(counted)}"]
    for key, changes in rows:
        counts = (changes.newly_failing, changes.newly_passing, changes.changed)
        lines.append(f"| {' | '.join((*map(_code, key), *(f'{count:,}' for count in counts)))} |")
    return ["\n".join(lines)]


def _said(reasons: Sequence[str]) -> str:
    return "; ".join(_code(reason) for reason in reasons) or "valid"


def _code(text: str) -> str:
    """Text as Markdown shows it letter by letter."""
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return f"`{plain.replace('`', chr(39)).replace('|', '&#124;')}`" if plain.strip() else "(empty)"
