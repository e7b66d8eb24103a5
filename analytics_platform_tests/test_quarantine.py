from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from analytics_platform import quarantine
from analytics_platform.kafka.offsets import Log, OffsetRange
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = T0 + timedelta(hours=1)


def rows(
    *items: tuple[int, str, str], topic: str = "t", log_id: str = "c/1", at: datetime = T0, by: str | None = None
) -> pl.DataFrame:
    """Rows of (offset, code, status)."""
    found = [
        {
            "topic": topic,
            "topic_id": log_id,
            "partition": 0,
            "offset": offset,
            "value": b"{",
            "codes": [code],
            "reasons": [f"because of {code}"],
            "contract": "order_placed@1.0.0",
            "contract_digest": code,
            "status": status,
            "status_at": at,
            "ingested_at": T0,
            "changed_by": by,
        }
        for offset, code, status in items
    ]
    return pl.DataFrame(found, schema=quarantine.SCHEMA)


def good(*offsets: int) -> pl.DataFrame:
    return rows(*((offset, "", "") for offset in offsets)).select(quarantine.KEY)


def settled(standing: pl.DataFrame, wanted: pl.DataFrame, valid: pl.DataFrame) -> pl.DataFrame:
    return quarantine.settled(standing, wanted, valid, T1, "me")


def test_rows_judged_the_same_stay_to_the_letter() -> None:
    standing = rows((1, "a", "new"), (2, "b", "discarded"))
    wanted = rows((1, "a", "new"), (2, "b", "new"), at=T1)
    assert settled(standing, wanted, good()).equals(standing)


def test_rows_judged_the_same_under_changed_contracts_keep_their_digest() -> None:
    standing = rows((1, "a", "new"))
    wanted = rows((1, "a", "new"), at=T1).with_columns(contract_digest=pl.lit("other"))
    assert settled(standing, wanted, good()).equals(standing)


def test_other_reasons_replace_the_old_ones() -> None:
    found = settled(rows((1, "a", "new")), rows((1, "b", "new"), at=T1), good())
    assert found.equals(rows((1, "b", "new"), at=T0))


def test_a_row_that_is_good_now_is_replayed() -> None:
    found = settled(rows((1, "a", "new")), rows(), good(1))
    assert found.equals(rows((1, "a", "replayed"), at=T1, by="me"))


def test_a_replayed_row_that_is_still_good_keeps_its_instant() -> None:
    standing = rows((1, "a", "replayed"))
    assert settled(standing, rows(), good(1)).equals(standing)


def test_a_replayed_row_that_is_bad_again_waits_again() -> None:
    found = settled(rows((1, "a", "replayed")), rows((1, "a", "new"), at=T1), good())
    assert found.equals(rows((1, "a", "new"), at=T1, by="me"))


@pytest.mark.parametrize("valid", [good(), good(1)])
def test_a_discarded_row_stays_discarded(valid: pl.DataFrame) -> None:
    wanted = rows((1, "a", "new"), at=T1) if valid.is_empty() else rows()
    assert settled(rows((1, "a", "discarded")), wanted, valid).equals(rows((1, "a", "discarded")))


def test_a_missing_row_is_added_and_a_foreign_one_goes() -> None:
    found = settled(rows((2, "foreign", "new")), rows((1, "a", "new"), at=T1), good(3))
    assert found.equals(rows((1, "a", "new"), at=T1))


def test_a_doubled_row_stands_once() -> None:
    one = rows((1, "a", "new"))
    assert settled(pl.concat([one, one]), rows((1, "a", "new"), at=T1), good()).equals(one)


def test_rows_of_several_logs_are_told_apart() -> None:
    other = rows((1, "a", "new"), log_id="c/2")
    found = settled(pl.concat([rows((1, "a", "new")), other]), other, good(1))
    assert found.sort("topic_id").rows() == pl.concat([rows((1, "a", "replayed"), at=T1, by="me"), other]).rows()


def test_a_slice_of_one_log(tmp_path: Path) -> None:
    """Also for a topic whose name has a quote, should a broker ever allow that."""
    log = Log("o'brien", "c/1")
    mine = rows(*((offset, "a", "new") for offset in range(6)), topic=log.topic)
    others = [rows((2, "a", "new")), rows((2, "a", "new"), topic=log.topic, log_id="c/2")]
    lake, spec = Lake(tmp_path, fsync=False), quarantine.spec("d")
    commit(lake, spec, lambda _t, _l: Change(pl.concat([mine, *others])))
    ranges = [OffsetRange(0, 1, 3), OffsetRange(0, 5, 6), OffsetRange(7, 0, 0)]
    standing = quarantine.standing(Snapshot.of(lake.ensure(spec)), log, ranges)
    assert sorted(standing["offset"]) == [1, 2, 5]
    commit(lake, spec, lambda _t, _l: Change(mine.clear(), replaces=quarantine.slice_sql(log, ranges)))
    left = Snapshot.of(lake.ensure(spec)).scan().collect()
    assert sorted(left.select("topic", "topic_id", "offset").rows()) == sorted(
        [*((log.topic, "c/1", offset) for offset in (0, 3, 4)), ("t", "c/1", 2), (log.topic, "c/2", 2)]
    )


def test_only_rows_that_wait_are_given_up() -> None:
    found = quarantine.given_up(rows((1, "a", "new"), (2, "a", "replayed"), (3, "a", "discarded")), "why", T1, "me")
    mine = rows((1, "a", "discarded"), at=T1, by="me").with_columns(discarded_for=pl.lit("why"))
    assert found.equals(pl.concat([mine, rows((2, "a", "replayed"), (3, "a", "discarded"))]))
    assert quarantine.discarded(found)["offset"].to_list() == [1, 3]


def test_a_discarded_row_comes_back_when_it_is_named() -> None:
    standing = rows((1, "a", "discarded"), (2, "a", "discarded")).with_columns(discarded_for=pl.lit("why"))
    found = quarantine.settled(standing, rows((2, "b", "new"), at=T1), good(1), T1, "me", revive=True)
    still = rows((2, "b", "discarded")).with_columns(discarded_for=pl.lit("why"))
    assert found.equals(pl.concat([rows((1, "a", "replayed"), at=T1, by="me"), still]))
