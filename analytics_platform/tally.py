"""A burst's sums, added up batch by batch."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from analytics_platform.contract.newer import Sights, together
from analytics_platform.report import NOTHING, Account, BatchReport, BuildReport, BurstReport, MartReport


@dataclass(slots=True)
class Tally:
    """Grows with every report; `report` turns it into the burst's own."""

    domain: str
    batches: int = 0
    accounts: dict[str, dict[int, Account]] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    duplicate: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    marts: dict[str, MartReport] = field(default_factory=dict)
    lag_before: dict[str, int] = field(default_factory=dict)
    lag_after: dict[str, int] = field(default_factory=dict)
    newest_occurred_at: dict[str, datetime] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    halted: dict[str, str] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    size_bytes: int = 0
    newer: Sights = field(default_factory=dict)
    late: Counter[str] = field(default_factory=Counter)
    building: dict[str, BuildReport] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)

    def batch(self, report: BatchReport) -> None:
        """Add one micro-batch."""
        self.batches += 1
        topic = self.accounts.setdefault(report.topic, {})
        for partition, account in report.accounts.items():
            topic[partition] = topic.get(partition, NOTHING) + account
        self.kept.update(report.kept)
        self.duplicate.update(report.duplicate)
        self.reasons.update(report.reasons)
        self.lag_before.setdefault(report.topic, report.lag_before)
        self.lag_after[report.topic] = report.lag_after
        for event, newest in report.newest_occurred_at.items():
            self.newest_occurred_at[event] = max(newest, self.newest_occurred_at.get(event, newest))
        for stage, seconds in report.seconds.items():
            self.seconds[stage] += seconds  # type: ignore[assignment]
        self.size_bytes += report.size_bytes
        self.newer = together([self.newer, report.newer])
        self.late.update(report.late)
        self.unknown.update(report.unknown)
        self.missing.update(report.missing)

    def mart(self, report: MartReport) -> None:
        """Add one update of a mart."""
        before = self.marts.get(report.mart, MartReport(report.mart, 0, 0, 0.0))
        self.marts[report.mart] = MartReport(
            report.mart, before.windows + report.windows, report.rows, before.seconds + report.seconds
        )
        self.seconds["gold"] += report.seconds  # type: ignore[assignment]

    def report(self, ended: str) -> BurstReport:
        """The burst as it stands, ended because of `ended`."""
        return BurstReport(
            domain=self.domain,
            batches=self.batches,
            accounts=self.accounts,
            kept=dict(self.kept),
            duplicate=dict(self.duplicate),
            reasons=dict(self.reasons),
            marts=self.marts,
            lag_before=self.lag_before,
            lag_after=self.lag_after,
            newest_occurred_at=self.newest_occurred_at,
            stopped=self.stopped,
            broken=self.broken,
            halted=self.halted,
            seconds=dict(self.seconds),
            ended=ended,
            size_bytes=self.size_bytes,
            newer=self.newer,
            late=dict(self.late),
            building=dict(self.building),
            unknown=dict(self.unknown),
            missing=dict(self.missing),
            filled=dict(self.filled),
        )
