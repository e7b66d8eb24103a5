"""The verdict: every table against its answer, every record sent against where it ended.

Nothing here trusts what the platform says of itself. Rows are counted in the tables, what must be in them comes from the
ledger of the replay and from the Parquet files.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from analytics_platform import bronze, quarantine
from analytics_platform.contract.model import Domain
from analytics_platform.demo.answers import KEYS, Answers, Difference, compare
from analytics_platform.demo.ledger import Ledger, Place
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.listing import live_tables
from analytics_platform.lake.table import Lake


@dataclass(frozen=True, slots=True)
class PartAccount:
    """One partition: what was sent, and what the tables hold of it. All are counts of records."""

    sent: int
    read: int
    """Rows of bronze."""
    kept: int
    """Rows of silver."""
    duplicate: int
    """Copies that were sent. Not asked of the platform: it must have dropped exactly these."""
    quarantined: int
    """Rows of the quarantine."""

    @property
    def adds_up(self) -> bool:
        """Whether everything sent was read, and everything read went to exactly one place."""
        return self.sent == self.read == self.kept + self.duplicate + self.quarantined


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; `good` when there is nothing wrong."""

    accounts: Mapping[Place, PartAccount]
    tables: Mapping[str, Difference]
    """Every silver table and mart, by `layer.name`."""
    rows: Mapping[str, int]
    """How many rows each of them has."""
    reasons: Mapping[str, int]
    """Rows of the quarantine by reason code; two codes of one row are joined by `and`."""
    lost: int
    """Records missing in bronze or in quarantine, and rows missing in silver or gold."""
    doubled: int
    """Records or rows that stand there more than once."""
    mismatches: int
    """Rows that differ or should not be there, and partitions whose account does not add up."""
    examples: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether nothing is lost, doubled or different."""
        return not (self.lost or self.doubled or self.mismatches)


@dataclass(frozen=True, slots=True)
class _Finding:
    kind: str
    """`lost`, `doubled` or `mismatch`."""
    count: int
    said: str


def verdict(lake: Lake, domain: Domain, logs: Mapping[str, Log], ledger: Ledger, truth: Answers) -> Verdict:
    """Hold a lake that has taken in everything against what was sent.

    Args:
        lake: Where the tables are.
        domain: Whose tables.
        logs: By topic.
        ledger: All that was sent.
        truth: The answers for the real events among it.
    """
    found = {table.title: table.snapshot.scan() for table in live_tables(lake)}
    findings: list[_Finding] = []
    read = _bronze(found, logs, ledger, findings)
    quarantined, reasons = _quarantine(found, domain, logs, ledger, findings)
    kept = _silver(found, domain, logs)
    accounts = {
        place: PartAccount(part.sent, read[place], kept[place], part.duplicates, quarantined[place])
        for place, part in ledger.parts.items()
    }
    for (topic, partition), account in accounts.items():
        if not account.adds_up:
            findings.append(_Finding("mismatch", 1, f"{topic}[{partition}] does not add up: {account}"))
    tables, rows = {}, {}
    for title, expected in truth.tables.items():
        actual = found[title].select(expected.columns).collect() if title in found else expected.clear()
        rows[title] = actual.height
        tables[title] = difference = compare(actual, expected, KEYS[title])
        findings += _table(title, difference)
    sums: Counter[str] = Counter()
    for item in findings:
        sums[item.kind] += item.count
    said = tuple(item.said for item in findings if item.count)
    return Verdict(accounts, tables, rows, reasons, sums["lost"], sums["doubled"], sums["mismatch"], said)


def _table(title: str, difference: Difference) -> Iterator[_Finding]:
    if difference.none:
        return
    yield _Finding("lost", difference.lost, f"{title}: {difference.lost:,} rows are lost")
    yield _Finding("doubled", difference.doubled, f"{title}: {difference.doubled:,} rows stand there twice")
    wrong = difference.different + difference.foreign
    yield _Finding("mismatch", wrong, f"{title}: {wrong:,} rows differ or should not be there")
    for example in difference.examples:
        yield _Finding("example", 1, f"{title}: {example}")


def _bronze(
    found: Mapping[str, pl.LazyFrame], logs: Mapping[str, Log], ledger: Ledger, findings: list[_Finding]
) -> dict[Place, int]:
    """Rows by partition; every offset sent must be there once."""
    counted = dict.fromkeys(ledger.parts, 0)
    for topic, log in logs.items():
        rows = found.get(bronze.spec(topic).title)
        offsets = pl.DataFrame(schema={"partition": pl.Int32, "offset": pl.Int64})
        if rows is not None:
            mine = (pl.col("topic_id") == log.id) & pl.col("gap_end").is_null()
            offsets = rows.filter(mine).select("partition", "offset").collect()
        for item in range(ledger.partitions):
            sent = ledger.parts[topic, item].sent
            here = offsets.filter(pl.col("partition") == item)["offset"]
            distinct = here.n_unique()
            known = here.filter(here < sent).n_unique()
            counted[topic, item] = here.len()
            place = f"bronze of {topic}[{item}]"
            findings.append(_Finding("lost", sent - known, f"{place}: {sent - known:,} records are lost"))
            more = here.len() - distinct
            findings.append(_Finding("doubled", more, f"{place}: {more:,} records stand there twice"))
            foreign = distinct - known
            findings.append(_Finding("mismatch", foreign, f"{place}: {foreign:,} records were never sent"))
    return counted


def _quarantine(
    found: Mapping[str, pl.LazyFrame],
    domain: Domain,
    logs: Mapping[str, Log],
    ledger: Ledger,
    findings: list[_Finding],
) -> tuple[dict[Place, int], dict[str, int]]:
    """Rows by partition, and by reason; every broken record must be there once, with its one code."""
    schema = {"topic": pl.String, "partition": pl.Int32, "offset": pl.Int64, "codes": pl.String}
    expected = pl.DataFrame(
        [
            (topic, partition, offset, reason.value)
            for (topic, partition), part in ledger.parts.items()
            for offset, reason in part.faults.items()
        ],
        schema=schema,
        orient="row",
    )
    actual = pl.DataFrame(schema=schema)
    rows = found.get(quarantine.spec(domain.name).title)
    if rows is not None:
        ids = pl.DataFrame({"topic": list(logs), "topic_id": [log.id for log in logs.values()]})
        mine = rows.collect().join(ids, on=["topic", "topic_id"], how="semi")
        actual = mine.with_columns(pl.col("codes").list.sort().list.join(" and ")).select(
            pl.col(name).cast(kind) for name, kind in schema.items()
        )
    difference = compare(actual, expected, ("topic", "partition", "offset"))
    findings += _table(quarantine.spec(domain.name).title, difference)
    counted = dict.fromkeys(ledger.parts, 0)
    for topic, partition, count in actual.group_by("topic", "partition").len().iter_rows():
        counted[topic, partition] = count
    reasons = actual["codes"].value_counts().sort("codes")
    return counted, dict(reasons.iter_rows())


def _silver(found: Mapping[str, pl.LazyFrame], domain: Domain, logs: Mapping[str, Log]) -> Counter[Place]:
    """Rows of all event types by the partition they came from."""
    counted: Counter[Place] = Counter()
    for topic, log in logs.items():
        for name in domain.event_types_of(topic):
            rows = found.get(f"silver.{name}")
            if rows is None:
                continue
            mine = rows.filter(pl.col("_topic_id") == log.id).select("_partition").collect()
            for partition, count in mine.group_by("_partition").len().iter_rows():
                counted[topic, partition] += count
    return counted
