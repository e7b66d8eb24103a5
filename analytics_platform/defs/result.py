"""What a finished run leaves with each table, as numbers that the UI plots."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import dagster as dg

from analytics_platform.contract.model import Domain, table_name
from analytics_platform.contract.newer import sentences
from analytics_platform.defs.specs import asset_key, events_by_type
from analytics_platform.report import NOTHING, BurstReport, RebuildReport, counted

ROW_COUNT = "dagster/partition_row_count"


def burst_results(
    domain: Domain, report: BurstReport, *, took: timedelta, now: datetime
) -> Iterator[dg.MaterializeResult[None]]:
    """One result per table that the burst changed: a table without news is not materialized.

    So an asset's last materialization is the last time rows came in, which is what its freshness policy looks at.
    """
    for topic in domain.topics:
        accounts = report.accounts.get(topic)
        if not accounts:
            continue
        total = sum(accounts.values(), NOTHING)
        yield dg.MaterializeResult(
            asset_key=asset_key("bronze", table_name(topic)),
            metadata={
                "rows": total.read,
                "records_read": total.read,
                "kept": total.kept,
                "duplicate": total.duplicate,
                "quarantined": total.quarantined,
                "lag_before": report.lag_before.get(topic, 0),
                "lag_after": report.lag_after.get(topic, 0),
                **_pace(total.read, took),
            },
        )
    total = report.total
    if total.quarantined:
        yield dg.MaterializeResult(
            asset_key=asset_key("quarantine", domain.name),
            metadata={
                "rows": total.quarantined,
                "records_read": total.read,
                "share": total.quarantined / total.read,
                **{f"reason/{code}": count for code, count in sorted(report.reasons.items())},
                **_pace(total.quarantined, took),
            },
        )
    for name in events_by_type(domain):
        kept, duplicate = report.kept.get(name, 0), report.duplicate.get(name, 0)
        if not kept:
            continue
        newest = report.newest_occurred_at.get(name)
        age = {} if newest is None else {"freshness_seconds": (now - newest).total_seconds()}
        yield dg.MaterializeResult(
            asset_key=asset_key("silver", name),
            metadata={
                "rows": kept,
                "duplicate": duplicate,
                **age,
                **_late(name, report),
                **_newer(name, report),
                **_enrichment(name, report),
                **_pace(kept, took),
            },
        )
    for mart in domain.marts:
        done = report.marts.get(mart.name)
        if done is not None and done.windows:
            yield dg.MaterializeResult(
                asset_key=asset_key("gold", mart.name),
                metadata={"rows": done.rows, "windows": done.windows, "seconds": done.seconds},
            )


def rebuild_results(report: RebuildReport, selected: Mapping[dg.AssetKey, str]) -> Iterator[dg.MaterializeResult[None]]:
    """One result per selected table, changed or not: it was made again, which is what was asked for.

    `selected`: the keys, with each one's `layer.name`.
    """
    for key, title in selected.items():
        layer = title.split(".", 1)[0]
        counts: dict[str, float] = {
            "removed": report.removed.get(title, 0),
            "added": report.added.get(title, 0),
            "seconds": report.took.total_seconds(),
        }
        rows = report.rows.get(title)
        if rows is not None:
            counts["rows"] = rows
            # A mart's windows are not the hours of a partition, so its rows are not the partition's either.
            if layer != "gold" and report.end - report.start == timedelta(hours=1):
                counts[ROW_COUNT] = rows
        if title in report.windows:
            counts["windows"] = report.windows[title]
        if layer == "bronze":
            counts["records_read"] = report.records
        yield dg.MaterializeResult(asset_key=key, metadata=counts)


def burst_line(report: BurstReport) -> str:
    """The last line of a burst's log."""
    total = report.total
    lag = sum(report.lag_after.values())
    marts = ", ".join(
        f"{name} {counted(mart.windows, 'window')}" for name, mart in sorted(report.marts.items()) if mart.windows
    )
    filled = ", ".join(f"{name} filled for {counted(rows, 'row')}" for name, rows in sorted(report.filled.items()))
    return (
        f"{report.domain}: {counted(report.batches, 'micro-batch')}, {total.read:,} read = {total.kept:,} kept + "
        f"{total.duplicate:,} duplicate + {total.quarantined:,} quarantined; lag {lag:,}; "
        f"{marts or 'no mart touched'}; {f'{filled}; ' if filled else ''}ended: {report.ended}"
    )


def rebuild_line(report: RebuildReport) -> str:
    """The last line of a rebuild's log."""
    removed, added = sum(report.removed.values()), sum(report.added.values())
    told = (
        f"{counted(removed, 'row')} removed, {added:,} added" if report.changed else "every table was as it should be"
    )
    hours = f"{report.start:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M}"
    return f"{report.domain}: {counted(report.records, 'record')} of {hours}; {told}"


def _late(event: str, report: BurstReport) -> dict[str, float | str]:
    """How many of the rows were later than the contract allows; nothing where none were."""
    return {"late_rows": report.late[event]} if event in report.late else {}


def _newer(event: str, report: BurstReport) -> dict[str, float | str]:
    """How many rows claimed a newer version than any known, and in words what they had; nothing where none did."""
    found = {sight: count for sight, count in report.newer.items() if sight.event == event}
    rows = sum(count for sight, count in found.items() if not sight.path)
    return {"newer_version_rows": rows, "newer_versions": "\n".join(sentences(found))} if found else {}


def _enrichment(event: str, report: BurstReport) -> dict[str, int]:
    """How many rows each enrichment did not know, is missing or has filled, as `unknown/plane`; only what there was."""
    counts = {"unknown": report.unknown, "missing": report.missing, "filled": report.filled}
    return {
        f"{what}/{name.removeprefix(f'{event}.')}": count
        for what, found in counts.items()
        for name, count in sorted(found.items())
        if count and name.startswith(f"{event}.")
    }


def _pace(rows: int, took: timedelta) -> dict[str, float]:
    seconds = took.total_seconds()
    return {"seconds": seconds, "rows_per_second": rows / seconds if seconds else 0.0}
