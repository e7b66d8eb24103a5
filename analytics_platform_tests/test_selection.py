"""Which rows are meant, and how they are cut for memory."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import quarantine
from analytics_platform.fingerprint import fingerprints, fingerprints_of, identifier
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake
from analytics_platform.selection import MOST_RANGES, Place, Selection, chosen, portions, sample

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
A1, OLD = "order_placed@1.0.0", "order_placed@1.1.0"


def row(offset: int, *findings: tuple[str, str], partition: int = 0, **rest: object) -> dict[str, object]:
    return {
        "topic": "orders",
        "topic_id": "c/1",
        "partition": partition,
        "offset": offset,
        "value": b"12345",
        "ingested_at": T0,
        "event_type": "order_placed",
        "source": "web",
        "contract": A1,
        "codes": [code for code, _ in findings],
        "reasons": [reason for _, reason in findings],
        "status": "new",
        "status_at": T0,
        **rest,
    }


HIGH, LOW, BYTES = ("rule_violated", "cents: high"), ("rule_violated", "qty: low"), ("malformed_json", "at byte 7")
ROWS = pl.DataFrame(
    [
        row(0, HIGH),
        row(1, HIGH, LOW, ingested_at=T0 + HOUR),
        row(2, HIGH, source="app", status="replayed"),
        row(3, HIGH, contract=OLD),
        row(4, BYTES, contract=None, source=None, event_type=None),
        row(5, ("malformed_json", "at byte 9"), contract=None, source=None, event_type=None, status="discarded"),
        row(6, ("missing_value", "the value is null"), contract=None, topic="visits", value=None),
    ],
    schema=quarantine.SCHEMA,
)


def test_rows_of_one_contract_rule_and_source_have_one_fingerprint() -> None:
    found = fingerprints(ROWS.lazy())
    later = T0 + HOUR
    expected = [
        (A1, "orders", *HIGH, "web", 2, 2, 0, 0, T0, later),
        (None, "orders", "malformed_json", None, None, 2, 1, 0, 1, T0, T0),
        (OLD, "orders", *HIGH, "web", 1, 1, 0, 0, T0, T0),
        (A1, "orders", *LOW, "web", 1, 1, 0, 0, later, later),
        (None, "visits", "missing_value", None, "web", 1, 1, 0, 0, T0, T0),
        (A1, "orders", *HIGH, "app", 1, 0, 1, 0, T0, T0),
    ]
    assert sorted(found.drop("fingerprint").rows(), key=str) == sorted(expected, key=str)
    assert found["new"].to_list() == sorted(found["new"], reverse=True)
    assert found["fingerprint"].to_list() == [identifier(*parts) for parts in found[:, 1:6].iter_rows()]
    assert found["fingerprint"].n_unique() == 6
    assert identifier(A1, "orders", *HIGH, "web") == "83cdf2721590"  # ids are kept by people: they never change
    both = [identifier(A1, "orders", *finding, "web") for finding in (HIGH, LOW)]
    assert fingerprints_of(ROWS.row(1, named=True)) == both
    assert fingerprints_of(ROWS.row(4, named=True)) == fingerprints_of(ROWS.row(5, named=True))


@pytest.mark.parametrize(
    ("selection", "offsets"),
    [
        (Selection(), [0, 1, 2, 3, 4, 5, 6]),
        (Selection(codes=("malformed_json", "missing_value")), [4, 5, 6]),
        (Selection(codes=("rule_violated",), sources=("app",)), [2]),
        (Selection(topics=("visits",)), [6]),
        (Selection(event_types=("order_placed",), statuses=("new",)), [0, 1, 3, 6]),
        (Selection(start=T0 + HOUR), [1]),
        (Selection(end=T0 + HOUR, topics=("orders",)), [0, 2, 3, 4, 5]),
        (Selection(places=(Place("orders", 0, 1, 3), Place("visits", 0, 6, 7), Place("orders", 1, 0, 9))), [1, 2, 6]),
        (Selection(fingerprints=(identifier(A1, "orders", *HIGH, "web"),)), [0, 1]),
        (Selection(fingerprints=(identifier(A1, "orders", *LOW, "web"), "000000000000")), [1]),
        (Selection(fingerprints=(identifier(None, "orders", "malformed_json", None, None),), statuses=("new",)), [4]),
        (Selection(fingerprints=("000000000000",)), []),
    ],
)
def test_rows_that_are_meant(selection: Selection, offsets: list[int]) -> None:
    assert sorted(chosen(ROWS.lazy(), selection).collect()["offset"]) == offsets
    assert selection.is_everything == (selection == Selection())


def cut(rows: list[dict[str, object]], root: Path, selection: Selection, **limits: int) -> list[tuple[object, ...]]:
    lake, spec = Lake(root, fsync=False), quarantine.spec("d")
    commit(lake, spec, lambda _t, _l: Change(pl.DataFrame(rows, schema=quarantine.SCHEMA)))
    snapshot = Snapshot.of(lake.ensure(spec))
    found = list(portions(snapshot, selection, **({"max_rows": 100, "max_bytes": 1_000} | limits)))
    return [(item.log, item.ranges, item.keys["offset"].to_list()) for item in found]


def test_ranges_hold_no_row_that_is_not_meant(tmp_path: Path) -> None:
    """Offsets without rows are bridged, so that what is replayed whole takes few ranges."""
    places = [(0, 1), (0, 7), (0, 9), (0, 20), (1, 3)]
    rows = [row(offset, HIGH, partition=partition) for partition, offset in places]
    rows += [row(8, LOW, source="app"), row(1, HIGH, topic_id="c/0")]
    found = cut(rows, tmp_path, Selection(sources=("web",)))
    ranges = (OffsetRange(0, 1, 8), OffsetRange(0, 9, 21), OffsetRange(1, 3, 4))
    assert found == [
        (Log("orders", "c/0"), (OffsetRange(0, 1, 2),), [1]),
        (Log("orders", "c/1"), ranges, [1, 7, 9, 20, 3]),
    ]


@pytest.mark.parametrize("limits", [{"max_rows": 3}, {"max_bytes": 15}])
def test_portions_are_bounded(tmp_path: Path, limits: dict[str, int]) -> None:
    found = cut([row(offset, HIGH) for offset in range(8)], tmp_path, Selection(), **limits)
    assert [offset for _, _, offsets in found for offset in offsets] == list(range(8))
    assert [len(offsets) for _, _, offsets in found] in ([3, 3, 2], [2, 3, 3])


def test_a_predicate_has_few_ranges(tmp_path: Path) -> None:
    rows = [row(offset, HIGH, source="web" if offset % 2 else "app") for offset in range(4 * MOST_RANGES)]
    found = cut(rows, tmp_path, Selection(sources=("web",)), max_bytes=10**9, max_rows=10**9)
    assert [len(ranges) for _, ranges, _ in found] == [MOST_RANGES, MOST_RANGES]


def test_a_sample_is_the_newest_rows(tmp_path: Path) -> None:
    lake, spec = Lake(tmp_path, fsync=False), quarantine.spec("d")
    commit(lake, spec, lambda _t, _l: Change(ROWS))
    snapshot = Snapshot.of(lake.ensure(spec))
    assert sample(snapshot, Selection(topics=("orders",)), 2)["offset"].to_list() == [1, 5]
    assert sample(snapshot, Selection(), 100).sort("topic", "offset").equals(ROWS)
