"""What a bounded demo says at its end."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import IO, Any

from analytics_platform.demo.screen import say
from analytics_platform.demo.verdict import Verdict
from analytics_platform.demo.watch import Watch
from analytics_platform.demo.webserver import by_status

_EXAMPLES = 20


def outcome(found: Verdict, watch: Watch, *, seconds: float, ready_s: float) -> dict[str, Any]:
    """One object of plain numbers; docs/demo.md says what each is."""
    ledger, freshness = watch.gauge.ledger, watch.gauge.freshness()
    accounting: dict[str, dict[str, Any]] = {}
    for (topic, partition), account in sorted(found.accounts.items()):
        accounting.setdefault(topic, {})[str(partition)] = asdict(account) | {"adds_up": account.adds_up}
    return {
        "good": found.good,
        "lost": found.lost,
        "doubled": found.doubled,
        "mismatches": found.mismatches,
        "examples": list(islice(found.examples, _EXAMPLES)),
        "sent": {"records": ledger.sent, **ledger.by_kind()},
        "accounting": accounting,
        "tables": {
            title: {
                "rows": found.rows[title],
                **{name: value for name, value in asdict(item).items() if name != "examples"},
            }
            for title, item in found.tables.items()
        },
        "quarantine": dict(found.reasons),
        "runs": by_status(watch.runs),
        "seconds": round(seconds, 2),
        "records_per_second": round(ledger.sent / seconds, 1),
        "held_back_seconds": round(watch.replay.waited_s, 2),
        "freshness_seconds": None if freshness is None else {k: round(v, 2) for k, v in asdict(freshness).items()},
        "ready_after_seconds": round(ready_s, 1),
        "first_materialized_after_seconds": None if watch.first_run_s is None else round(watch.first_run_s, 1),
        "run_peak_memory_mb": round(max(watch.memory_mb.values()), 1) if watch.memory_mb else None,
    }


def print_outcome(report: Mapping[str, Any], found: Verdict, out: IO[str]) -> None:
    """The same in a few lines for people."""
    for title, count in found.rows.items():
        say(f"{title}: {count:,} rows{'' if found.tables[title].none else ', NOT as they should be'}", out)
    say(f"quarantine: {sum(found.reasons.values()):,} rows", out)
    for example in report["examples"]:
        say(f"  {example}", out)
    say(
        f"{report['sent']['records']:,} records in {report['seconds']} s ({report['records_per_second']:,.0f} per second): "
        f"{found.lost:,} lost, {found.doubled:,} doubled, {found.mismatches:,} different",
        out,
    )
