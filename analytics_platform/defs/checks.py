"""The asset checks of a domain: what each one asks, and how a burst answers it.

`accounting`        bronze       offsets read = rows kept + duplicates + quarantined; proven before the commit
`followed`          bronze       the topic does not wait for an operator
`quarantine_share`  quarantine   no topic has more bad rows than its contracts allow
`freshness`         silver       what stands in Kafka is in the table, or its newest row is young enough
`no_new_finding`    quarantine   no fingerprint was seen for the first time; one that is warns once
`no_deprecated_use` silver       nobody sent what is announced to end; only where something is
`flowing`           silver       the event type is not halted by its circuit breaker; only where its contract has one
`updated`           gold         the mart's SQL ran and its result fits its contract; warns while it is built from history

Only `accounting` blocks. Bad rows warn and never stop good ones.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

import dagster as dg
import polars as pl

from analytics_platform.alert import MOST
from analytics_platform.contract.model import Domain, table_name
from analytics_platform.defs.deprecation import deprecation_specs
from analytics_platform.defs.specs import asset_key, events_by_type
from analytics_platform.report import Account, BuildReport, BurstReport
from analytics_platform.stopwatch import spell


def check_specs(domain: Domain) -> list[dg.AssetCheckSpec]:
    """Every check of a domain."""
    specs = []
    for topic in domain.topics:
        bronze = asset_key("bronze", table_name(topic))
        specs += [
            dg.AssetCheckSpec(
                "accounting",
                asset=bronze,
                blocking=True,
                description=(
                    f"Every offset read from `{topic}` became exactly one of: a row kept, a duplicate, a quarantined row. "
                    "It is proven before silver is committed; a batch that does not add up is not written."
                ),
            ),
            dg.AssetCheckSpec(
                "followed",
                asset=bronze,
                description=f"`{topic}` is being followed. Fails when it waits for an operator, and says for what.",
            ),
        ]
    specs.append(
        dg.AssetCheckSpec(
            "quarantine_share",
            asset=asset_key("quarantine", domain.name),
            description="No topic quarantined a larger share of its records than the strictest of its contracts allows.",
        )
    )
    specs += [
        dg.AssetCheckSpec(
            "flowing",
            asset=asset_key("silver", name),
            description="Not halted for too many bad records. While it is, its records wait in bronze; others go on.",
        )
        for name, versions in events_by_type(domain).items()
        if versions[-1].breaker is not None
    ]
    specs.append(
        dg.AssetCheckSpec(
            "no_new_finding",
            asset=asset_key("quarantine", domain.name),
            description="No fingerprint (contract, rule, source) was seen for the first time. One that is warns once.",
        )
    )
    for name, versions in events_by_type(domain).items():
        allowed = versions[-1].freshness
        if allowed is not None:
            specs.append(
                dg.AssetCheckSpec(
                    "freshness",
                    asset=asset_key("silver", name),
                    description=(
                        f"Nothing waits in the topic, or the newest row is not older than {spell(allowed.total_seconds())}. "
                        "That a producer went quiet shows in the asset's freshness policy instead."
                    ),
                )
            )
    specs += deprecation_specs(domain)
    specs += [
        dg.AssetCheckSpec(
            "updated",
            asset=asset_key("gold", mart.name),
            description=(
                "The mart's SQL ran and its result fits its contract. When it fails, the table stays as it was. "
                "Warns while the table is stale because the mart is being built from all history."
            ),
        )
        for mart in domain.marts
    ]
    return specs


def burst_checks(domain: Domain, report: BurstReport, now: datetime) -> Iterator[dg.AssetCheckResult]:
    """The answers of one burst, for every check it says something about."""
    for topic in domain.topics:
        accounts = report.accounts.get(topic, {})
        if accounts:
            yield accounting(topic, accounts)
        yield _followed(topic, report)
    if report.total.read:
        yield _quarantine_share(domain, report)
    for name, versions in events_by_type(domain).items():
        allowed = versions[-1].freshness
        if allowed is not None:
            lag = sum(report.lag_after.get(topic, 0) for topic in {version.topic for version in versions})
            yield _freshness(name, report.newest_occurred_at.get(name), allowed.total_seconds(), lag, now)
        if versions[-1].breaker is not None:
            yield _flowing(name, report.halted.get(name))
    for mart in domain.marts:
        broken = report.broken.get(f"gold.{mart.name}")
        building = report.building.get(mart.name)
        if broken is not None or building is not None or mart.name in report.marts:
            yield _updated(mart.name, broken, building)


def accounting(topic: str, accounts: Mapping[int, Account]) -> dg.AssetCheckResult:
    """The sums of a topic, and each partition's in a table."""
    total = sum(accounts.values(), Account(0, 0, 0, 0))
    columns = ("partition", "read", "kept", "duplicate", "quarantined")
    rows = [
        dg.TableRecord(
            dict(zip(columns, (partition, item.read, item.kept, item.duplicate, item.quarantined), strict=True))
        )
        for partition, item in sorted(accounts.items())
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name, "BIGINT") for name in columns])
    return dg.AssetCheckResult(
        passed=all(item.adds_up for item in accounts.values()),
        asset_key=asset_key("bronze", table_name(topic)),
        check_name="accounting",
        description=(
            f"{total.read:,} read = {total.kept:,} kept + {total.duplicate:,} duplicate + {total.quarantined:,} quarantined"
        ),
        metadata={
            "read": total.read,
            "kept": total.kept,
            "duplicate": total.duplicate,
            "quarantined": total.quarantined,
            "partitions": dg.MetadataValue.table(rows, schema=schema),
        },
    )


def accounting_broken(topic: str, sentence: str) -> dg.AssetCheckResult:
    """The answer when a batch did not add up and was not committed."""
    return dg.AssetCheckResult(
        passed=False, asset_key=asset_key("bronze", table_name(topic)), check_name="accounting", description=sentence
    )


def _followed(topic: str, report: BurstReport) -> dg.AssetCheckResult:
    stopped = report.stopped.get(topic)
    return dg.AssetCheckResult(
        passed=stopped is None,
        asset_key=asset_key("bronze", table_name(topic)),
        check_name="followed",
        description=stopped or f"lag {report.lag_after.get(topic, 0):,}",
        metadata={"lag_after": report.lag_after.get(topic, 0)},
    )


def _quarantine_share(domain: Domain, report: BurstReport) -> dg.AssetCheckResult:
    columns = (
        dg.TableColumn("topic", "VARCHAR"),
        dg.TableColumn("read", "BIGINT"),
        dg.TableColumn("quarantined", "BIGINT"),
        dg.TableColumn("share", "DOUBLE"),
        dg.TableColumn("allowed", "DOUBLE"),
    )
    rows: list[dg.TableRecord] = []
    above: list[str] = []
    for topic, accounts in sorted(report.accounts.items()):
        total = sum(accounts.values(), Account(0, 0, 0, 0))
        share = total.quarantined / total.read if total.read else 0.0
        limits = [
            event.max_quarantined_share for event in domain.events_of(topic) if event.max_quarantined_share is not None
        ]
        allowed = min(limits, default=1.0)
        row = (topic, total.read, total.quarantined, share, allowed)
        rows.append(dg.TableRecord(dict(zip((column.name for column in columns), row, strict=True))))
        if share > allowed:
            above.append(f"{topic}: {share:.2%} of {total.read:,} records, allowed are {allowed:.2%}")
    whole = report.total
    return dg.AssetCheckResult(
        passed=not above,
        severity=dg.AssetCheckSeverity.WARN,
        asset_key=asset_key("quarantine", domain.name),
        check_name="quarantine_share",
        description="; ".join(above) or f"{whole.quarantined:,} of {whole.read:,} records",
        metadata={
            "share": whole.quarantined / whole.read,
            "topics": dg.MetadataValue.table(rows, schema=dg.TableSchema(columns=list(columns))),
        },
    )


def _freshness(name: str, newest: datetime | None, allowed: float, lag: int, now: datetime) -> dg.AssetCheckResult:
    age = None if newest is None else (now - newest).total_seconds()
    waits = f"{lag:,} offsets wait" if lag else "nothing waits"
    told = "no row came in this burst" if age is None else f"the newest row is {spell(age)} old"
    return dg.AssetCheckResult(
        passed=lag == 0 or (age is not None and age <= allowed),
        severity=dg.AssetCheckSeverity.WARN,
        asset_key=asset_key("silver", name),
        check_name="freshness",
        description=f"{waits}; {told}, allowed is {spell(allowed)}",
        metadata={"lag": lag, "allowed_seconds": allowed, **({} if age is None else {"freshness_seconds": age})},
    )


def new_findings(domain: Domain, found: pl.DataFrame) -> dg.AssetCheckResult:
    """The answer about fingerprints that a burst saw for the first time (`fingerprint.SCHEMA`)."""
    columns = ("fingerprint", "contract", "topic", "code", "rule", "rows")
    kinds = [dg.TableColumn(name, "BIGINT" if name == "rows" else "VARCHAR") for name in columns]
    rows = [
        dg.TableRecord({name: row[name] if name == "rows" else row[name] or "" for name in columns})
        for row in found.select(columns).head(MOST).iter_rows(named=True)
    ]
    told = ", ".join(sorted(set(found["code"])))
    return dg.AssetCheckResult(
        passed=found.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        asset_key=asset_key("quarantine", domain.name),
        check_name="no_new_finding",
        description=f"{found.height:,} never seen before: {told}" if found.height else "nothing never seen before",
        metadata={"findings": dg.MetadataValue.table(rows, schema=dg.TableSchema(columns=kinds))},
    )


def _flowing(name: str, halted: str | None) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=halted is None,
        asset_key=asset_key("silver", name),
        check_name="flowing",
        description=halted or "not halted",
    )


def _updated(mart: str, broken: str | None, building: BuildReport | None) -> dg.AssetCheckResult:
    stale = None if broken is not None else building
    return dg.AssetCheckResult(
        passed=broken is None and stale is None,
        severity=dg.AssetCheckSeverity.ERROR if stale is None else dg.AssetCheckSeverity.WARN,
        asset_key=asset_key("gold", mart),
        check_name="updated",
        description=broken or ("up to date" if stale is None else stale.line()),
        metadata={"stale": stale is not None, **({} if stale is None else {"built_share": stale.share})},
    )
