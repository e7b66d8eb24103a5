"""Whoever is forgotten stands in no table and in no file, and does not come back."""

import io
import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from analytics_platform import breaker, bronze, derive, erasure, forget, gaps
from analytics_platform import rebuild as rebuilding
from analytics_platform.cli import run
from analytics_platform.errors import KeyMissing
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.keyring import KeyRing
from analytics_platform.lake import commit as commit_module
from analytics_platform.lake.erase import Vacuumed, vacuum
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.history import commit_infos
from analytics_platform.lake.table import Lake, TableSpec
from analytics_platform.rebuild import rebuild
from analytics_platform.refetch import refetch
from analytics_platform.report import Account
from analytics_platform.resume import resume
from analytics_platform.settings import KafkaSettings, Secret, Settings
from analytics_platform_tests import person, shop
from analytics_platform_tests.person import found_beside_the_rows, found_in_files, found_in_tables, order
from analytics_platform_tests.shop import ORDERS, START, VISITS, Shop, view
from analytics_platform_tests.test_refetch import ticking
from analytics_platform_tests.test_stream import Burst

DOMAIN = person.domain()
NAMES = {"customers": person.KEY, "erasure": "e7" * 32}
RING = KeyRing({name: bytes.fromhex(key) for name, key in NAMES.items()})
ADA, ADAS = "lovelace@mail.example", "lovelace"
HOURS = (START, START + timedelta(hours=2))

ORDERED = [
    order("o-0", "bob"),
    order("o-1", ADAS, product="pen"),
    order("o-1", ADAS, product="pen"),  # a copy
    order("o-2", ADAS, occurred_at="2024-07-01T12:00:00Z", cents=7),
    order("o-3", "bob", cents=9),
    order("o-4", ADAS, cents=-1),  # breaks a rule
    order("o-5", ADAS)[:-1],  # is cut
    order("o-6", "bob", cents=-1),
]
ABOUT_ADA = [1, 2, 3, 5, 6]


@cache
def template() -> tuple[TemporaryDirectory[str], Shop]:
    """Taken in in three micro-batches; built once, copied for each test."""
    folder = TemporaryDirectory(prefix="forget-")
    of = Shop(Path(folder.name) / "lake", {ORDERS: {0: ORDERED}, VISITS: {0: [view()]}}, DOMAIN, keys=RING)
    for start, end in ((0, 2), (2, 5), (5, 8)):
        of.take(ORDERS, [OffsetRange(0, start, end)])
    of.take(VISITS, of.whole(VISITS))
    of.refresh()
    return folder, of


def built(root: Path) -> Shop:
    """A lake of its own."""
    _, of = template()
    shutil.copytree(of.root, root / "lake")
    return replace(of, root=root / "lake")


def settings(of: Shop) -> Settings:
    return replace(of.settings, keys=tuple((name, Secret(key)) for name, key in NAMES.items()))


def forget_ada(of: Shop) -> forget.ErasureReport:
    return forget.by_subject(of.domain, ADA, settings(of), clock=of.clock)


@cache
def without_ada() -> dict[str, pl.DataFrame]:
    """The same lake had Ada never been there: every table below bronze, without when and in which batches."""
    with TemporaryDirectory() as folder:
        kept = [value for value in ORDERED if ADAS.encode() not in value]
        of = Shop(Path(folder) / "lake", {ORDERS: {0: kept}, VISITS: {0: [view()]}}, DOMAIN, keys=RING)
        of.take_all()
        return below_bronze(of)


def below_bronze(of: Shop) -> dict[str, pl.DataFrame]:
    tables = {title: rows for title, rows in of.business().items() if not title.startswith("bronze")}
    tables["quarantine.shop"] = tables["quarantine.shop"].drop("offset")
    return tables


def is_gone(of: Shop) -> None:
    """No row, no file, no log of Ada; everybody else as if she had never been there."""
    assert found_in_files(of.root, ADAS) == []
    assert found_beside_the_rows(of.root, ADAS, *NAMES.values()) == []
    assert shop.same(below_bronze(of), without_ada())
    records = of.bronze(ORDERS).sort("offset")
    assert records["offset"].to_list() == list(range(8))
    assert records.filter(pl.col("forgotten_at").is_not_null())["offset"].to_list() == ABOUT_ADA
    assert records.filter(pl.col("value").is_null())["offset"].to_list() == ABOUT_ADA


# --- a person ----------------------------------------------------------------------------------------------------------


def test_a_person_leaves_every_table_and_file(tmp_path: Path) -> None:
    of = built(tmp_path)
    assert found_in_files(of.root, ADAS) != []
    report = forget_ada(of)
    is_gone(of)
    assert (report.domain, report.by, report.records) == ("shop", "subject", 5)
    assert {done.table: done.rows for done in report.tables} == {
        "bronze.shop_orders": 5,
        "bronze.shop_visits": 0,
        "quarantine.shop": 2,
        "silver.order_placed": 2,
        "silver.page_viewed": 0,
        "gold.sales_hourly": 2,
        "gold.sales_daily": 2,
    }
    tables = {done.table: done for done in report.tables}
    assert [tables["bronze.shop_orders"].files_rewritten, tables["bronze.shop_orders"].files_deleted] == [3, 3]
    assert sum(done.files_waiting for done in report.tables) == 0
    assert all(done.version_after > done.version_before for done in report.tables if done.rows)
    assert of.bronze(ORDERS).filter(pl.col("offset") == 1).select("topic", "ingested_at", "gap_end").rows() == [
        (ORDERS, START + timedelta(seconds=1), 2)
    ]


def test_who_was_forgotten_is_not_written_down(tmp_path: Path) -> None:
    of = built(tmp_path)
    forget_ada(of)
    rows = of.rows(erasure.spec("shop")).sort("stage")
    (digest,) = RING.digests("erasure", [ADA])
    keys = [{"event": "order_placed", "hash": item} for item in sorted(RING.digests("erasure", ada_keys()))]
    assert rows.select("stage", "by", "subject_hash", "keys").rows() == [
        ("begun", "subject", digest, keys),
        ("done", "subject", digest, []),
    ]
    assert json.loads(rows["report"][1])["records"] == 5


def ada_keys() -> list[str]:
    """The keys of Ada's valid orders."""
    _, of = template()
    return sorted(of.silver("order_placed").filter(pl.col("order_id").is_in(["o-1", "o-2"]))["idempotency_key"])


def test_a_rebuild_afterwards_finds_nothing_wrong(tmp_path: Path) -> None:
    of = built(tmp_path)
    forget_ada(of)
    versions = of.versions()
    report = rebuild(DOMAIN, settings(of), *HOURS, clock=of.clock)
    assert (report.records, report.changed) == (4, False)
    assert of.versions() == versions
    assert gaps.accepted(DOMAIN, of.settings) == []


def test_a_later_copy_counts_as_duplicate_and_goes_at_the_next_run(tmp_path: Path) -> None:
    of = built(tmp_path)
    forget_ada(of)
    of.values = {ORDERS: {0: [*ORDERED, order("o-1", ADAS), order("o-7", "bob")]}, VISITS: {0: [view()]}}
    taken = of.take(ORDERS, [OffsetRange(0, 8, 10)])
    of.refresh()
    assert taken.accounts == {0: Account(read=2, kept=1, duplicate=1, quarantined=0)}
    assert "o-1" not in of.silver("order_placed")["order_id"].to_list()
    assert not rebuild(DOMAIN, settings(of), *HOURS, clock=of.clock).changed
    # Whatever the next run is asked for: what came back of those who were forgotten goes too.
    report = forget.by_key(DOMAIN, "order_placed", "0" * 64, settings(of), clock=of.clock)
    assert report.records == 1
    assert found_in_files(of.root, ADAS) == []


def test_a_damaged_bronze_read_again_does_not_bring_anybody_back(tmp_path: Path) -> None:
    """Silver made anew from bytes that came back, as after a lake was read again from the topic's beginning."""
    of = built(tmp_path)
    forget_ada(of)
    for name in ("bronze/shop_orders", "silver/order_placed", "quarantine/shop"):
        shutil.rmtree(of.root / name)
    again = replace(of, root=of.root)
    again.take(ORDERS, again.whole(ORDERS))
    assert sorted(again.silver("order_placed")["order_id"]) == ["o-0", "o-3"]


def test_nobody_of_that_name(tmp_path: Path) -> None:
    of = built(tmp_path)
    before = below_bronze(of)
    report = forget.by_subject(DOMAIN, "eve@mail.example", settings(of), clock=of.clock)
    assert report.records == 0
    assert {done.table for done in report.tables if done.rows} == set()
    assert shop.same(below_bronze(of), before)
    assert not rebuild(DOMAIN, settings(of), *HOURS, clock=of.clock).changed


def test_what_a_burst_left_half_done_is_found(tmp_path: Path) -> None:
    """Bronze has an order of hers that silver has not: it would have come up later."""
    of = built(tmp_path)
    of.values = {ORDERS: {0: [*ORDERED, order("o-8", ADAS)]}, VISITS: {0: [view()]}}
    part = of.pour(ORDERS, [OffsetRange(0, 8, 9)])
    assert forget_ada(of).records == 6
    # The process that was ahead has her order in memory still.
    derive.take_in(of.lake, DOMAIN, part, now=of.now, keys=RING)
    assert found_in_files(of.root, ADAS) == []
    assert sorted(of.silver("order_placed")["order_id"]) == ["o-0", "o-3"]


# --- one event ---------------------------------------------------------------------------------------------------------


def test_one_event_leaves_with_its_copies(tmp_path: Path) -> None:
    of = built(tmp_path)
    key = of.silver("order_placed").filter(pl.col("order_id") == "o-1")["idempotency_key"].item()
    report = forget.by_key(DOMAIN, "order_placed", key, settings(of), clock=of.clock)
    assert report.records == 2
    assert sorted(of.silver("order_placed")["order_id"]) == ["o-0", "o-2", "o-3"]
    assert of.bronze(ORDERS).filter(pl.col("value").is_null())["offset"].sort().to_list() == [1, 2]
    assert of.quarantine().height == 3
    assert found_in_files(of.root, key) == []
    assert of.gold("sales_daily").sort("product").rows()[-1][1] == "mug"


# --- dying, and races --------------------------------------------------------------------------------------------------


class Died(BaseException):
    """The process ends here."""


def deadly(number: int) -> Callable[..., None]:
    """Dies at this effect on a table: at every other one before it, at those between right after it."""
    real: Callable[..., Any] = commit_module.write_deltalake
    left = itertools.count(number, -1)

    def write(*args: Any, **named: Any) -> None:
        last = next(left) == 0
        if not last or number % 2:
            real(*args, **named)
        if last:
            raise Died

    return write


def test_dying_at_every_commit_and_running_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in itertools.count():
        of = built(tmp_path / str(number))
        try:
            with monkeypatch.context() as patch:
                patch.setattr(commit_module, "write_deltalake", deadly(number))
                forget_ada(of)
        except Died:
            forget_ada(replace(of))
            is_gone(of)
        else:
            break
    # The list; bronze; quarantine and silver twice each, to take out and to find nothing; another silver; two marts; done.
    assert number == 10


def test_dying_before_the_files_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = built(tmp_path)

    def die(_lake: Lake, _spec: TableSpec, _now: datetime) -> Vacuumed:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(forget, "vacuum", die)
        with pytest.raises(Died):
            forget_ada(of)
    assert found_in_files(of.root, ADAS) != []
    report = forget.by_key(DOMAIN, "order_placed", "0" * 64, settings(of), clock=of.clock)  # for whatever reason
    assert report.records == 0
    is_gone(of)


def test_a_rebuild_that_read_her_before_does_not_bring_her_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has judged her records when she is forgotten, and commits afterwards."""
    of = built(tmp_path)
    read = rebuilding.records_within
    reports: list[forget.ErasureReport] = []

    def read_then_forget(lake: Lake, topic: str, span: Any) -> pl.DataFrame:
        found = read(lake, topic, span)
        monkeypatch.setattr(rebuilding, "records_within", read)
        reports.append(forget_ada(replace(of)))
        return found

    monkeypatch.setattr(rebuilding, "records_within", read_then_forget)
    rebuild(DOMAIN, settings(of), *HOURS, clock=of.clock)
    assert len(reports) == 1
    is_gone(of)


def test_a_burst_that_has_looked_at_the_list_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of her order is on its way to silver: pinned, compared with the list as it was, not yet committed."""
    of = built(tmp_path)
    of.values = {ORDERS: {0: [*ORDERED, order("o-1", ADAS), order("o-8", ADAS)]}, VISITS: {0: [view()]}}
    part = of.pour(ORDERS, [OffsetRange(0, 8, 10)])
    look = erasure.forgotten

    def look_then_forget(*args: Any) -> erasure.Forgotten:
        found = look(*args)
        monkeypatch.setattr(erasure, "forgotten", look)
        assert forget_ada(Shop(of.root, of.values, DOMAIN, keys=RING, now=of.now)).records == 7
        return found

    monkeypatch.setattr(erasure, "forgotten", look_then_forget)
    derive.take_in(of.lake, DOMAIN, part, now=of.now, keys=RING)
    assert erasure.forgotten is look
    assert found_in_files(of.root, ADAS) == []
    assert sorted(of.silver("order_placed")["order_id"]) == ["o-0", "o-3"]


def test_predicates_name_places_and_nothing_else(tmp_path: Path) -> None:
    of = built(tmp_path)
    forget_ada(of)
    infos = [info for spec in of.specs() for info in commit_infos(Lake(of.root), spec)]
    predicates = {info["operationParameters"].get("predicate") for info in infos} - {None}
    assert any("offset IN (1, 2, 3, 5, 6)" in text for text in predicates)
    assert not any("idempotency_key" in text or "email" in text for text in predicates)


# --- files -------------------------------------------------------------------------------------------------------------


def test_files_of_writers_that_died_go_after_a_day(tmp_path: Path) -> None:
    of = built(tmp_path)
    spec = bronze.spec(ORDERS)
    live = Snapshot.of(of.lake.ensure(spec)).paths
    now = datetime.now(UTC)
    for name in ("part-dead.parquet", "part-young.parquet", "part-dead.parquet#1", "part-young.parquet#1"):
        shutil.copy(live[0], of.root / "bronze/shop_orders" / name)
        if "dead" in name:
            os.utime(of.root / "bronze/shop_orders" / name, (0, 0))
    assert vacuum(of.lake, spec, now) == Vacuumed(deleted=2, waiting=2)
    assert sorted(path.name for path in (of.root / "bronze/shop_orders").glob("*young*")) == [
        "part-young.parquet",
        "part-young.parquet#1",
    ]
    assert Snapshot.of(of.lake.ensure(spec)).paths == live
    assert all(Path(path).exists() for path in live)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    assert vacuum(Lake(tmp_path / "lake", fsync=False), bronze.spec(ORDERS), START) == Vacuumed(0, 0)


# --- what it asks for --------------------------------------------------------------------------------------------------


def test_without_the_key_nothing_is_changed(tmp_path: Path) -> None:
    of = built(tmp_path)
    versions = of.versions()
    with pytest.raises(KeyMissing, match="wants the key erasure"):
        forget.by_subject(DOMAIN, ADA, replace(settings(of), keys=settings(of).keys[:1]), clock=of.clock)
    assert of.versions() == versions


def test_whoever_has_forgotten_needs_the_key_from_then_on(tmp_path: Path) -> None:
    of = built(tmp_path)
    forget_ada(of)
    with pytest.raises(KeyMissing, match="wants the key erasure"):
        rebuild(DOMAIN, replace(settings(of), keys=settings(of).keys[:1]), *HOURS, clock=of.clock)


def test_kafka_does_not_bring_anybody_back(tmp_path: Path, embedded: str) -> None:
    of = Burst(tmp_path / "lake", embedded, of=DOMAIN)
    of.send({ORDERS: {0: ORDERED}, VISITS: {}})
    of.keys = tuple((name, Secret(key)) for name, key in NAMES.items())
    of.follow(clock=ticking())
    forget.by_subject(of.domain, ADA, of.settings, clock=ticking())
    versions = of.shop().versions()
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1", timeout=timedelta(milliseconds=300))
    assert refetch(of.shop().lake, of.orders, replace(of.settings, kafka=nowhere), HOURS) == 0  # nor is it asked
    layers = frozenset({"bronze", "silver", "gold"})
    assert not rebuild(of.domain, of.settings, *HOURS, layers=layers, clock=ticking()).changed
    assert of.shop().versions() == versions
    # Others that are missing are fetched again, and she is not.
    spec = bronze.spec(of.orders)
    rows = of.shop().rows(spec).filter(pl.col("offset") != 4)
    commit_module.commit(of.shop().lake, spec, lambda _t, _l: commit_module.Change(rows, replaces_all=True))
    assert refetch(of.shop().lake, of.orders, of.settings, HOURS) == 1
    records = of.shop().bronze(of.orders).sort("offset")
    assert records.filter(pl.col("value").is_null())["offset"].to_list() == ABOUT_ADA


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ANALYTICS_")]:
        monkeypatch.delenv(name)
    for name, key in NAMES.items():
        monkeypatch.setenv(f"ANALYTICS_KEY_{name.upper()}", key)
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(person.contracts_of(DOMAIN)))


@pytest.mark.usefixtures("variables")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    of = built(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{ADA}\n".encode())))
    assert run(["--lake", str(of.root), "forget", "--subject-file", "-", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["records"] == 5
    assert ADAS not in out + err
    is_gone(of)
    assert run(["--lake", str(of.root), "forget", "--event", "order_placed", "--key", "0" * 64]) == 0
    assert capfd.readouterr().out.startswith(
        "shop: 0 records of bronze were about the key\n  bronze.shop_orders: 0 rows"
    )
    assert run(["--lake", str(of.root), "sql", "select count(*) from silver.order_placed", "--format", "csv"]) == 0


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "say whom"),
        (["--key", "k"], "say whom"),
        (["--event", "order_placed"], "say whom"),
        (["--event", "order_placed", "--key", "k", "--subject-file", "x"], "say whom"),
        (["--event", "order_plaed", "--key", "k"], "did you mean order_placed?"),
        (["--subject-file", "nowhere"], "nowhere cannot be read (FileNotFoundError)"),
    ],
)
def test_what_the_command_does_not_take(
    tmp_path: Path, arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["--lake", str(tmp_path / "lake"), "forget", *arguments]) == 2
    assert complaint in capfd.readouterr().err


# --- work that was in flight -------------------------------------------------------------------------------------------------


def forgetting_while(monkeypatch: pytest.MonkeyPatch, module: Any, act: Callable[[], object]) -> None:
    """Let `act` happen once, between the first judging of records by a module and its commits."""
    real, done = module.judge, []

    def judging(records: pl.DataFrame, *rest: Any, **named: Any) -> Any:
        judged = real(records, *rest, **named)
        if not done and records.height:
            done.append(act())
        return judged

    monkeypatch.setattr(module, "judge", judging)


def with_keys(of: Shop) -> Settings:
    return replace(of.settings, keys=tuple((name, Secret(key)) for name, key in NAMES.items()))


def test_a_rebuild_in_flight_under_other_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad when it was forgotten, so no key is listed; good for whoever rebuilds."""
    lax, strict = person.domain(most_cents=10_000_000), person.domain(most_cents=1_000)
    values = {ORDERS: {0: [order("o-0", "bob", cents=5), order("o-1", ADAS, cents=5000)]}, VISITS: {0: [view()]}}
    of = Shop(tmp_path / "lake", values, strict, keys=RING)
    of.take_all()
    settings = with_keys(of)
    forgetting_while(monkeypatch, rebuilding, lambda: forget.by_subject(strict, ADA, settings, clock=of.clock))
    rebuild(lax, settings, *HOURS, clock=of.clock)
    assert of.under(lax).silver("order_placed")["_offset"].to_list() == [0]
    assert found_in_tables(of.root, ADAS) == []


def test_a_catch_up_in_flight_after_a_halt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The erasure saw the halt; the type was resumed meanwhile, and its catch-up holds bytes that are erased by now."""
    domain = person.domain(breaker="{maxBadRatio: 0.4, onExceed: halt, window: 10m, minRows: 2}")
    bad = [order(f"o-{number}", "bob", cents=-1) for number in (8, 9)]
    values = [order("o-0", "bob"), *bad, order("o-1", ADAS), order("o-4", ADAS, cents=-1), order("o-3", "bob")]
    of = Shop(tmp_path / "lake", {ORDERS: {0: values}, VISITS: {0: [view()]}}, domain, keys=RING)
    of.take(ORDERS, [OffsetRange(0, 0, 3)])
    of.take(VISITS, of.whole(VISITS))
    of.refresh()
    assert breaker.trip(of.lake, domain, "order_placed", of.now) is not None
    halted = breaker.halts(of.lake, domain)
    part = of.pour(ORDERS, [OffsetRange(0, 3, 6)])
    derive.take_in(of.lake, domain, part, now=of.now, halted=halted, keys=RING)
    settings = with_keys(of)

    def forgetting() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(forget.breaker, "halts", lambda *_: halted)
            forget.by_subject(domain, ADA, settings, clock=of.clock)

    forgetting_while(monkeypatch, derive, forgetting)
    resume(domain, settings, "order_placed", clock=of.clock)
    assert sorted(of.silver("order_placed")["_offset"]) == [0, 5]
    assert of.quarantine()["offset"].sort().to_list() == [1, 2]
    assert found_in_tables(of.root, ADAS) == []
