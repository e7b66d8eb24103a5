"""Drills of a contract's life: what an operator does while events flow, under Dagster's own processes and a broker.

One Dagster serves all of them, each has a domain of its own, and a burst would follow for two minutes if nothing ended it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from analytics_platform.cli import run
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.settings import KafkaSettings, Settings
from analytics_platform_tests.defs.drill import NOTE, Drill, write_contract
from analytics_platform_tests.defs.services import Services, services, until
from analytics_platform_tests.pages.browser import dom_at
from analytics_platform_tests.test_cli_contracts import commit, git

pytestmark = [pytest.mark.dagster, pytest.mark.timeout(280)]

LAST_DAY = datetime.now(UTC).date() - timedelta(days=1)
ENDED = f"""\
  - property: deprecation
    vendor: analytics_platform
    value: {{announcedOn: 2026-01-01, removeAfter: {LAST_DAY}, replacedBy: 1.1.0}}
"""
HALTS = """\
  - property: quarantine
    vendor: analytics_platform
    value: {maxBadRatio: 0.5, onExceed: halt, window: 10m, minRows: 4}
"""


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Services, Settings]]:
    root = tmp_path_factory.mktemp("drills")
    contracts = root / "contracts"
    write_contract(contracts / "growing", "grown")
    write_contract(contracts / "showing", "shown")
    write_contract(contracts / "ending", "ended", status="deprecated", properties=ENDED)
    write_contract(contracts / "ending", "ended", version="1.1.0")
    write_contract(contracts / "breaking", "broken", properties=HALTS)
    write_contract(contracts / "breaking", "sound")
    write_contract(contracts / "mending", "mended")
    write_contract(contracts / "stopping", "stopped")
    write_contract(contracts / "stopping", "followed", topic="others")
    with EmbeddedBroker() as broker:
        settings = Settings(
            lake=root / "lake",
            contracts=contracts,
            fsync=False,
            burst=timedelta(seconds=120),
            idle=timedelta(seconds=3),
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
        )
        with services(root / "services", settings.environ()) as running:
            yield running, settings
            # Asked to end, the code server would wait for ticks that wait for news.
            for name in ("daemon", "code"):
                running.stop(name, kill=True)


@pytest.fixture
def command_line(
    dagster: tuple[Services, Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> "CommandLine":
    for name, value in dagster[1].environ().items():
        monkeypatch.setenv(name, value)
    return CommandLine(capsys)


class CommandLine:
    """`analytics-platform` in this process, over the lake of the drills."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> str:
        assert run(arguments) == 0
        return self.capsys.readouterr().out


def test_an_optional_field_is_added_while_events_flow(dagster: tuple[Services, Settings]) -> None:
    drill = Drill(*dagster, "growing")
    with drill.flowing("grown") as flow:
        until(lambda: drill.numbers("grown"), seconds=60, what="the first rows")
        (before,) = drill.bursts()
        write_contract(drill.folder, "grown", version="1.1.0", fields=NOTE)
        drill.dagster.reload()
        until(lambda: drill.bursts()[0]["runId"] != before["runId"], seconds=60, what="a burst by the new contract")
        flow.changes = {"schema_version": "1.1.0", "note": "x"}
        until(lambda: {"note": "x"}.items() <= flow.events[-1].items(), seconds=10, what="notes")
        seen = len(flow.events)
        until(lambda: len(flow.events) > seen + 40, seconds=30, what="more events")
    drill.wait_for("grown", [event["number"] for event in flow.events])
    notes = drill.rows("silver/grown").sort("number").select("number", "note").rows()
    assert notes == [(event["number"], event.get("note")) for event in sorted(flow.events, key=lambda e: e["number"])]
    drill.wait_for_the_burst()
    drill.assert_no_run_failed()
    assert drill.quarantined().is_empty()
    assert "note" in columns(drill.dagster, "silver/grown")


@pytest.mark.browser
def test_the_page_of_the_table_shows_the_new_field(dagster: tuple[Services, Settings], tmp_path: Path) -> None:
    drill = Drill(*dagster, "showing")
    write_contract(drill.folder, "shown", version="1.1.0", fields=NOTE)
    drill.dagster.reload()
    page = f"{drill.dagster.url}/assets/silver/shown?view=overview"
    looks = count()
    until(
        lambda: ">note<" in dom_at(page, tmp_path / f"profile-{next(looks)}", settled_ms=10_000),
        seconds=60,
        what="the new field on the page",
    )


def test_a_field_is_removed_before_its_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    day = datetime.now(UTC).date() + timedelta(days=30)
    end = f"""\
        deprecated: true
        customProperties:
          - property: deprecation
            vendor: analytics_platform
            value: {{announcedOn: 2026-07-01, removeAfter: {day}}}
"""
    note = "      - name: note\n        logicalType: string\n" + end
    path = write_contract(tmp_path / "contracts/growing", "grown", fields=note)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(tmp_path / "contracts"))
    assert run(["contracts", "check", "--against", "HEAD"]) == 0

    write_contract(tmp_path / "contracts/growing", "grown", version="1.1.0")
    capsys.readouterr()
    assert run(["contracts", "check", "--against", "HEAD"]) == 1
    said = capsys.readouterr().out
    assert "! breaking       note: removed" in said
    assert str(day) in said
    assert path.exists()


def test_a_version_that_ended_is_still_sent(dagster: tuple[Services, Settings], command_line: CommandLine) -> None:
    drill = Drill(*dagster, "ending")
    drill.send("ended", 3, source="till")
    kept = drill.send("ended", 2, source="web", schema_version="1.1.0")
    drill.wait_for("ended", kept)
    burst = drill.wait_for_the_burst()

    rows = drill.quarantined().select("codes", "source", "contract").unique().rows()
    assert rows == [(["version_sunset"], "till", "ended@1.0.0")]
    listed = command_line("quarantine", "list", "--domain", "ending")
    assert "version_sunset" in listed
    assert "till" in listed
    used = command_line("contracts", "usage", "--domain", "ending")
    assert "till" in used
    assert str(LAST_DAY) in used

    numbers = metadata(drill.dagster, "quarantine/ending")
    assert (numbers["rows"], numbers["reason/version_sunset"]) == (3, 3)
    answered = checks(drill.dagster, burst)
    assert answered["quarantine/ending:no_new_finding"] == (False, "1 never seen before: version_sunset")
    said = f"version 1.0.0 ended after {LAST_DAY}: 3 records of 1 source"
    assert answered["silver/ended:no_deprecated_use"] == (False, said)
    assert answered["quarantine/ending:quarantine_share"] == (True, "3 of 5 records")
    drill.assert_no_run_failed()


def test_a_producer_breaks_one_event_type(dagster: tuple[Services, Settings], command_line: CommandLine) -> None:
    drill = Drill(*dagster, "breaking")
    good = drill.send("broken", 2)
    sound = drill.send("sound", 2)
    drill.wait_for("sound", sound)
    drill.send("broken", 6, cents=5_000)
    until(lambda: drill.quarantined().height == 6, seconds=60, what="the bad ones in quarantine")

    # Good ones of the type wait; the other type goes on, by the same topic.
    waiting = drill.send("broken", 3)
    newest = drill.rows("silver/sound")["_ingested_at"].max()
    sound += drill.send("sound", 5)
    drill.wait_for("sound", sound)
    assert drill.rows("silver/sound")["_ingested_at"].max() > newest
    burst = drill.wait_for_the_burst()
    answered = checks(drill.dagster, burst)
    passed, why = answered["silver/broken:flowing"]
    assert (passed, why.startswith("broken is halted since ")) == (False, True)
    passed, why = answered["silver/sound:freshness"]
    assert (passed, why.startswith("nothing waits; the newest row is ")) == (True, True)
    assert drill.numbers("broken") == good

    assert "resumed" in command_line("quarantine", "resume", "broken", "--domain", "breaking")
    assert drill.numbers("broken") == good + waiting
    later = drill.send("broken", 2)
    drill.wait_for("broken", good + waiting + later)
    assert checks(drill.dagster, drill.wait_for_the_burst())["silver/broken:flowing"] == (True, "not halted")
    drill.assert_no_run_failed()


def test_a_contract_is_mended_and_its_rows_replayed(dagster: tuple[Services, Settings]) -> None:
    drill = Drill(*dagster, "mending")
    good = drill.send("mended", 3)
    ahead = drill.send("mended", 4, schema_version="1.1.0", cents=5_000)
    bad = drill.send("mended", 1, schema_version="1.1.0", cents=50_000)
    drill.wait_for("mended", good)
    drill.wait_for_the_burst()
    assert drill.quarantined()["codes"].to_list() == [["rule_violated"]] * 5

    write_contract(drill.folder, "mended", version="1.1.0", most=10_000)
    drill.dagster.reload()
    first = drill.dagster.launch("mending_replay", {"codes": ["rule_violated"]})
    assert drill.numbers("mended") == good + ahead
    assert drill.quarantined().sort("offset")["status"].value_counts().sort("status").rows() == [
        ("new", 1),
        ("replayed", 4),
    ]
    versions = {name: version(drill, name) for name in ("silver/mended", "quarantine/mending")}
    second = drill.dagster.launch("mending_replay", {"codes": ["rule_violated"]})
    assert second != first
    assert {name: version(drill, name) for name in versions} == versions
    assert bad[0] not in drill.numbers("mended")
    drill.assert_no_run_failed()


def test_a_topic_that_waits_for_an_operator_fails_no_run(dagster: tuple[Services, Settings]) -> None:
    drill = Drill(*dagster, "stopping")
    first = drill.send("stopped")
    others = drill.send("followed", topic="others")
    drill.wait_for("stopped", first)
    drill.wait_for("followed", others)
    drill.wait_for_the_burst()

    drill.dagster.switch_sensor("stopping_sensor", on=False)
    for _ in range(4):
        drill.send("stopped", 10, trace_id="x" * 200_000)  # the broker keeps 5 MB of each partition
    drill.dagster.switch_sensor("stopping_sensor", on=True)
    others += drill.send("followed", 3, topic="others")
    drill.wait_for("followed", others)
    answered = checks(drill.dagster, drill.wait_for_the_burst())
    assert answered["bronze/stopping_others:followed"] == (True, "lag 0")
    passed, why = answered["bronze/stopping_events:followed"]
    assert not passed
    assert "analytics-platform gaps accept stopping.events" in why
    drill.assert_no_run_failed()


def version(drill: Drill, table: str) -> int:
    return DeltaTable(drill.settings.lake / table).version()


def columns(dagster: Services, asset: str) -> list[str]:
    """Columns on an asset's page."""
    found = dagster.query(
        "query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode { metadataEntries "
        "{ ... on TableSchemaMetadataEntry { schema { columns { name } } } } } } }",
        k={"path": asset.split("/")},
    )["assetNodeOrError"]["metadataEntries"]
    return [column["name"] for entry in found if entry for column in entry["schema"]["columns"]]


def metadata(dagster: Services, asset: str) -> dict[str, Any]:
    """Numbers of an asset's newest materialization."""
    (found,) = dagster.query(
        "query($k: AssetKeyInput!) { assetOrError(assetKey: $k) { ... on Asset { assetMaterializations(limit: 1) "
        "{ metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }",
        k={"path": asset.split("/")},
    )["assetOrError"]["assetMaterializations"]
    return {entry["label"]: entry.get("intValue") for entry in found["metadataEntries"]}


def checks(dagster: Services, run_id: str) -> dict[str, tuple[bool, str]]:
    """What a run answered, as `layer/table:check`."""
    found = dagster.query(
        "query($r: ID!) { logsForRun(runId: $r) { ... on EventConnection { events { ... on AssetCheckEvaluationEvent "
        "{ evaluation { checkName success description assetKey { path } } } } } } }",
        r=run_id,
    )["logsForRun"]["events"]
    answers = [event["evaluation"] for event in found if event]
    return {
        f"{'/'.join(item['assetKey']['path'])}:{item['checkName']}": (item["success"], item["description"])
        for item in answers
    }
