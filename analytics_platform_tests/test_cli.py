import csv
import io
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import typer
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from analytics_platform.cli import app, exit_code, run
from analytics_platform.cli.call import did_you_mean
from analytics_platform.cli.rebuild import parse_hours
from analytics_platform.contract.load import load_catalog
from analytics_platform.errors import (
    AccessDenied,
    AnalyticsError,
    BrokerUnavailable,
    ContractError,
    OffsetsExpired,
    QueryFailed,
    SettingsError,
    UnknownTopic,
)
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.settings import KafkaSettings
from analytics_platform.write import Event, Writer

ROOT = Path(__file__).parent.parent
CONTRACTS = ROOT / "contracts"
COMMAND = [sys.executable, "-c", "from analytics_platform.cli import main; main()"]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ANALYTICS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(CONTRACTS))
    monkeypatch.setenv("ANALYTICS_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("ANALYTICS_KAFKA_TIMEOUT_SECONDS", "0.2")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with one mart of two rows."""
    rows = pl.DataFrame(
        {
            "carrier": ["AA", None],
            "mean": [0.1, 1234.5],
            "nested": [{"a": [1, 2]}, None],
            "at": [datetime(2013, 1, 1, 5, tzinfo=UTC), None],
            "raw": [b"\x1b[2J", b"\xff"],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    write_deltalake(tmp_path / "lake" / "gold" / "carrier_daily", rows)
    return tmp_path / "lake"


Said = tuple[int, str, str]


def called(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> Said:
    code = run(arguments)
    out, err = capsysbinary.readouterr()
    return code, out.decode(), err.decode()


def commands(group: typer.Typer = app, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Sequence[object]]]:
    """Every command with its parameters."""
    found = typer.main.get_command(group)

    def walk(command: object, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Sequence[object]]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return [(path, command.params)]
        return [(path, command.params)] + [item for name, sub in inner.items() for item in walk(sub, (*path, name))]

    return walk(found, path)


def test_docs_name_every_command_and_option():
    text = (ROOT / "docs" / "cli.md").read_text()
    sections = {
        match[1]: match[2]
        for match in re.finditer(r"^## `analytics-platform ?(.*?)`$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    }
    for path, parameters in commands():
        name = " ".join(path)
        if name in {"contracts", "kafka", "gaps", "quarantine"}:
            continue
        assert name in sections, f"docs/cli.md has no section for {name!r}"
        for parameter in parameters:
            for option in [item for item in (*parameter.opts, *parameter.secondary_opts) if item.startswith("--")]:
                assert f"`{option}" in sections[name], f"docs/cli.md: {name!r} says nothing of {option}"
    known = {" ".join(path) for path, _ in commands()}
    assert set(sections) <= known, "docs/cli.md describes commands that do not exist"


def test_help_of_every_command():
    for path, _ in commands():
        result = CliRunner().invoke(app, [*path, "--help"])
        assert result.exit_code == 0
        assert "Usage: " in result.output


def test_help_imports_nothing_heavy():
    heavy = {"polars", "duckdb", "deltalake", "pyarrow", "confluent_kafka", "pandera", "yaml", "dagster", "rich.table"}
    code = f"import sys; from analytics_platform.cli import run; run(['--help']); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_version(capsysbinary: pytest.CaptureFixture[bytes]):
    assert called(capsysbinary, "--version") == (0, "analytics-platform 0.1.0\n", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AnalyticsError("x"), 1),
        (QueryFailed("x"), 1),
        (UnknownTopic("t", "s"), 1),
        (SettingsError(["x"]), 2),
        (ContractError(["x"]), 2),
        (BrokerUnavailable("s", "d", "r"), 3),
        (AccessDenied("s", "d", "r"), 3),
        (OffsetsExpired("t", 0, 1, 2, 3), 4),
    ],
)
def test_exit_codes(error: AnalyticsError, code: int):
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["sql"], "Missing argument"),
        (["rebuild", "--hours", "yesterday"], "found --hours 'yesterday'"),
        (["rebuild", "--hours", "2026-11-23T14", "--layers", "bronze"], "allowed are silver, gold"),
        (["rebuild", "--hours", "2026-11-23T14", "--domain", "flihgts"], "did you mean flights?"),
        (["stream", "--domain", "x", "--once"], "there is no domain 'x'"),
        (["gaps", "accept", "flights.arrival"], "did you mean flights.arrivals?"),
        (["produce", "missing.jsonl", "--topic", "t"], "missing.jsonl is not a file"),
        (["demo", "--events", "0"], "allowed are a whole number above 0"),
        (["sql", "select 1", "--output", "nowhere/x.csv", "--format", "csv"], "nowhere is no folder"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsysbinary: pytest.CaptureFixture[bytes]):
    code, out, err = called(capsysbinary, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_wrong_setting(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]):
    monkeypatch.setenv("ANALYTICS_LAK", "x")
    code, _, err = called(capsysbinary, "status")
    assert code == 2
    assert err == (
        "settings: ANALYTICS_LAK is unknown (did you mean ANALYTICS_LAKE?). See docs/settings.md for all of them.\n"
    )


def test_debug_shows_the_traceback(capsysbinary: pytest.CaptureFixture[bytes]):
    assert "Traceback" not in called(capsysbinary, "sql", "from x")[2]
    code, _, err = called(capsysbinary, "--debug", "sql", "from x")
    assert code == 1
    assert "Traceback" in err


def test_fault_of_ours(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]):
    monkeypatch.setattr("analytics_platform.contract.load.load_catalog", lambda _folder: 1 / 0)
    code, _, err = called(capsysbinary, "contracts", "check")
    assert code == 1
    assert err == "ZeroDivisionError: division by zero\nThis is a fault of the platform. `--debug` shows where.\n"


@pytest.mark.usefixtures("lake")
def test_sql_as_a_table(capsysbinary: pytest.CaptureFixture[bytes]):
    code, out, _ = called(capsysbinary, "sql", "from gold.carrier_daily")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["carrier", "mean", "nested", "at", "raw"],
        ["AA", "0.1", '{"a":[1,2]}', "2013-01-01", "05:00:00Z", "\\x1b[2J"],
        ["null", "1234.5", "null", "null", "\\xff"],
        ["2", "rows"],
    ]


def test_sql_cuts_rows_and_long_values(capsysbinary: pytest.CaptureFixture[bytes]):
    code, out, _ = called(capsysbinary, "sql", "select range, repeat('x', 100) as long from range(3)", "--rows", "2")
    lines = out.splitlines()
    assert code == 0
    assert lines[1].split() == ["0", "x" * 59 + "…"]
    assert lines[3] == "3 rows, the first 2 shown (--rows 0 shows all)"


def test_sql_explains(capsysbinary: pytest.CaptureFixture[bytes]):
    code, out, _ = called(capsysbinary, "sql", "explain select 1")
    assert code == 0
    assert "Projection" in out
    assert "…" not in out


@pytest.mark.usefixtures("lake")
def test_sql_as_csv(capsysbinary: pytest.CaptureFixture[bytes]):
    code, out, _ = called(capsysbinary, "sql", "from gold.carrier_daily", "--format", "csv")
    assert code == 0
    assert list(csv.reader(io.StringIO(out))) == [
        ["carrier", "mean", "nested", "at", "raw"],
        ["AA", "0.1", '{"a":[1,2]}', "2013-01-01T05:00:00Z", "G1sySg=="],
        ["", "1234.5", "", "", "/w=="],
    ]


def test_sql_as_json(capsysbinary: pytest.CaptureFixture[bytes]):
    sql = """SELECT sum(range) AS sum, 1.5 AS price, 1.5 AS price, DATE '2020-01-01' AS day, 'nan'::DOUBLE AS nan,
        true AS yes, {'a': 1.5, 'b': [NULL]} AS nested FROM range(10)"""
    code, out, _ = called(capsysbinary, "sql", sql, "--format", "json")
    assert code == 0
    assert json.loads(out) == [
        {
            "sum": 45,
            "price": 1.5,
            "price_1": 1.5,
            "day": "2020-01-01",
            "nan": None,
            "yes": True,
            "nested": {"a": 1.5, "b": [None]},
        }
    ]
    assert json.loads(called(capsysbinary, "sql", "select 1 where false", "--format", "json")[1]) == []


def test_sql_as_parquet(lake: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    code = run(["sql", "from gold.carrier_daily", "--format", "parquet"])
    assert code == 0
    streamed = pl.read_parquet(io.BytesIO(capsysbinary.readouterr().out))
    assert streamed.equals(pl.DataFrame(DeltaTable(lake / "gold" / "carrier_daily").to_pyarrow_table()))
    output = tmp_path / "out.parquet"
    said = called(capsysbinary, "sql", "from gold.carrier_daily", "--format", "parquet", "--output", str(output))
    assert said == (0, f"{output}: 2 rows\n", "")
    assert pl.read_parquet(output).equals(streamed)


def test_failed_query_leaves_no_file(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    (tmp_path / "out.csv").write_text("before")
    sql = "select if(range = 99_999, error('late'), 1) from range(100_000)"
    code, _, err = called(capsysbinary, "sql", sql, "--format", "csv", "--output", "out.csv")
    assert code == 1
    assert "late" in err
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("out.csv", "before")]


@pytest.mark.usefixtures("lake")
def test_sql_without_tables_and_with_a_wrong_name(capsysbinary: pytest.CaptureFixture[bytes]):
    code, _, err = called(capsysbinary, "--lake", "elsewhere", "sql", "from gold.carrier_daily")
    assert code == 1
    assert "no tables yet" in err
    code, _, err = called(capsysbinary, "sql", "from gold.carier_daily")
    assert code == 1
    assert err.count("Did you mean") == 1
    assert "Did you mean gold.carrier_daily?" in err


def test_sql_looks_at_the_demo_where_nothing_else_is_said(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
):
    from analytics_platform.demo.folder import DEFAULT, fresh_folder  # noqa: PLC0415

    with fresh_folder(tmp_path / DEFAULT) as folder:
        folder.write_settings({"ANALYTICS_LAKE": str(folder.lake)})
        lake.rename(folder.lake)
    code, out, err = called(capsysbinary, "sql", "select count(*) as n from gold.carrier_daily", "--format", "csv")
    assert (code, out, err) == (0, "n\n2\n", "there is no lake here: this is the demo's lake, .analytics/demo/lake\n")
    monkeypatch.setenv("ANALYTICS_LAKE", str(tmp_path / "mine"))
    assert called(capsysbinary, "sql", "from gold.carrier_daily")[0] == 1


def test_shell_without_duckdb(lake: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.stdin", io.StringIO("select\n 1 as x;\nfrom nope;\nselect 2 as y"))
    code, out, _ = called(capsysbinary, "shell")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert lines[:3] == ["x", "1", "1 row"]
    assert lines[-3:] == ["y", "2", "1 row"]
    assert "Table with name nope does not exist" in out
    assert (lake / "lake.duckdb").exists()


@pytest.mark.usefixtures("lake")
def test_shell_becomes_duckdb(tmp_path: Path):
    duckdb = tmp_path / "bin" / "duckdb"
    duckdb.parent.mkdir()
    duckdb.write_text('#!/bin/sh\necho "$@"\n')
    duckdb.chmod(0o755)
    done = subprocess.run(
        [*COMMAND, "shell"],
        env={**os.environ, "PATH": str(duckdb.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "-readonly lake/lake.duckdb\n"


@pytest.mark.usefixtures("lake")
def test_shell_refresh(capsysbinary: pytest.CaptureFixture[bytes]):
    assert called(capsysbinary, "shell", "--refresh") == (0, "lake/lake.duckdb: refreshed\n", "")


def test_contracts(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    code, out, _ = called(capsysbinary, "contracts", "check")
    assert (code, out) == (
        0,
        f"{CONTRACTS}: OK (1 domain, 4 event types, 4 versions, 3 reference tables, 7 marts)\n",
    )
    code, out, _ = called(capsysbinary, "contracts", "list")
    assert code == 0
    assert ["flights", "silver.weather_observed", "1.0.0", "active", "flights.weather"] in [
        line.split()[:5] for line in out.splitlines()
    ]
    for name in ("one", "two"):
        broken = tmp_path / "broken" / "shop" / name / "1.0.0.odcs.yaml"
        broken.parent.mkdir(parents=True)
        broken.write_text("kind: [")
    code, out, err = called(capsysbinary, "contracts", "check", "broken")
    assert (code, out) == (2, "")
    assert "shop/one" in err
    assert "shop/two" in err


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-23T14", (23, 14), (23, 15)),
        ("2026-11-23T23", (23, 23), (24, 0)),
        (" 2026-11-23T14..2026-11-24T02 ", (23, 14), (24, 2)),
    ],
)
def test_hours(text: str, start: tuple[int, int], end: tuple[int, int]):
    assert parse_hours(text) == tuple(datetime(2026, 11, day, hour, tzinfo=UTC) for day, hour in (start, end))


@pytest.mark.parametrize("text", ["", "2026-11-23", "2026-11-23T25", "2026-11-23T14..", "2026-11-23T14..2026-11-23T14"])
def test_no_hours(text: str):
    with pytest.raises(typer.BadParameter, match="found --hours"):
        parse_hours(text)


def test_did_you_mean():
    assert did_you_mean("flihgts", ["flights", "hotels"]) == " (did you mean flights?)"
    assert did_you_mean("x", ["flights"]) == "; there are flights"
    assert did_you_mean("x", []) == "; there are none yet"


def test_kafka_down_is_an_error_where_it_is_needed(capsysbinary: pytest.CaptureFixture[bytes]):
    code, _, err = called(capsysbinary, "stream", "--once")
    assert code == 3
    assert "Kafka at 127.0.0.1:1 does not answer" in err
    (Path.cwd() / "x.jsonl").write_text("{}\n")
    assert called(capsysbinary, "produce", "x.jsonl", "--topic", "t")[0] == 3
    assert called(capsysbinary, "gaps", "accept", "flights.weather")[0] == 3


def test_no_gap_and_no_broker(capsysbinary: pytest.CaptureFixture[bytes]):
    assert called(capsysbinary, "gaps", "list") == (0, "no gap was ever accepted\n", "")
    assert called(capsysbinary, "kafka", "down") == (0, "no broker of .analytics/kafka runs\n", "")


@pytest.mark.usefixtures("lake")
def test_status_and_doctor_without_kafka(capsysbinary: pytest.CaptureFixture[bytes]):
    code, out, _ = called(capsysbinary, "status")
    assert code == 0
    assert "Kafka 127.0.0.1:1: NOT REACHED" in out
    assert ["flights.weather", "flights", "?"] in [line.split() for line in out.splitlines()]
    assert ["gold.carrier_daily", "2", "1"] in [line.split()[:3] for line in out.splitlines()]
    found = json.loads(called(capsysbinary, "status", "--json")[1])
    assert found["topics"][0] == {"domain": "flights", "topic": "flights.arrivals", "lag": None, "trouble": None}
    assert [(table["layer"], table["name"], table["rows"]) for table in found["tables"]] == [
        ("gold", "carrier_daily", 2)
    ]
    code, out, _ = called(capsysbinary, "doctor")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("fail")] == [["fail", "Kafka"]]
    found = json.loads(called(capsysbinary, "doctor", "--json")[1])
    assert [item["name"] for item in found if item["state"] == "fail"] == ["Kafka"]


@pytest.fixture
def topic(embedded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic of its own, with one contract, on the embedded broker."""
    monkeypatch.setenv("ANALYTICS_KAFKA_BOOTSTRAP_SERVERS", embedded)
    monkeypatch.setenv("ANALYTICS_KAFKA_TIMEOUT_SECONDS", "10")
    topic = f"cli.{time.monotonic_ns()}"
    folder = tmp_path / "contracts"
    (folder / "flights" / "weather_observed").mkdir(parents=True)
    text = (CONTRACTS / "flights" / "weather_observed" / "1.0.0.odcs.yaml").read_text()
    (folder / "flights" / "weather_observed" / "1.0.0.odcs.yaml").write_text(text.replace("flights.weather", topic))
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(folder))
    return topic


def test_producers_ahead_of_the_contracts(topic: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    seen = {"origin": "JFK", "observed_at": "2013-01-01T05:00:00Z"}
    writer = Writer(load_catalog(tmp_path / "contracts"), source="x")
    at = datetime(2013, 1, 1, 5, tzinfo=UTC)
    ready, faults = writer.prepared([Event("weather_observed", seen, at, trace_id="a" * 32)])
    writer.close()
    assert faults == []
    event = json.loads(ready[0].record.value or b"") | {"schema_version": "1.9.0", "snow_in": 1}
    (tmp_path / "ahead.jsonl").write_text(json.dumps(event) + "\n")
    assert called(capsysbinary, "produce", "ahead.jsonl", "--topic", topic, "--create")[0] == 0
    code, out, _ = called(capsysbinary, "stream", "--once")
    assert (code, out.splitlines()[-2]) == (
        0,
        "weather_observed: this lake knows 1.0.0, producers sent newer rows: 1 of 1.9.0 (snow_in in 1)",
    )


def test_from_a_file_to_sql(topic: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]):
    (tmp_path / "bad.jsonl").write_bytes(b'{"id": "a"}\n\n{"id": 7}\r\n[]\nnot json\n')

    code, _, err = called(capsysbinary, "produce", "bad.jsonl", "--topic", topic, "--key-field", "id", "--create")
    assert code == 1
    assert "bad.jsonl:4: no JSON object with a field 'id'" in err
    assert called(capsysbinary, "produce", "bad.jsonl", "--topic", topic) == (0, f"{topic}: 4 records sent\n", "")

    code, out, _ = called(capsysbinary, "stream", "--once")
    assert code == 0
    assert out.splitlines()[-1] == (
        "flights: 1 micro-batch, 6 read = 0 kept + 0 duplicate + 6 quarantined; lag 0; ended: planned"
    )
    table = topic.replace(".", "_")
    sql = f"select decode(key) as key, decode(value) as value from bronze.{table} order by all"
    _, out, _ = called(capsysbinary, "sql", sql, "--format", "csv")
    assert sorted(out.splitlines()[1:]) == [
        ',"{""id"": ""a""}"',
        ',"{""id"": 7}"',
        ",[]",
        ",not json",
        '7,"{""id"": 7}"',
        'a,"{""id"": ""a""}"',
    ]
    code, out, _ = called(capsysbinary, "status", "--json")
    found = json.loads(out)
    assert found["topics"] == [{"domain": "flights", "topic": topic, "lag": 0, "trouble": None}]
    assert sum(item["rows"] for item in found["quarantine"]) >= 6
    assert called(capsysbinary, "gaps", "accept", topic)[1] == f"{topic}: is not stopped; nothing to accept\n"
    hours = "2026-01-01T00..2099-01-01T00"
    code, out, _ = called(capsysbinary, "rebuild", "--hours", hours, "--json")
    assert code == 0
    assert (json.loads(out)["records"], json.loads(out)["changed"]) == (6, False)
    code, out, _ = called(capsysbinary, "rebuild", "--hours", hours)
    assert code == 0
    assert "6 records of bronze" in out.splitlines()[0]
    assert "  quarantine.flights: 6 rows, 0 added, 0 removed" in out.splitlines()


def test_lost_offsets_wait_for_a_decision(embedded: str, topic: str, capsysbinary: pytest.CaptureFixture[bytes]):
    kafka = KafkaSettings(bootstrap_servers=embedded)
    create_topic(kafka, topic)
    send(kafka, topic, [Record(None, b"{}", partition=0)])
    assert called(capsysbinary, "stream", "--once")[0] == 0
    large = b"x" * 900_000
    send(kafka, topic, [Record(None, large, partition=0) for _ in range(10)])  # the embedded broker keeps 5 MB
    code, out, _ = called(capsysbinary, "stream", "--once")
    assert code == 4
    expired = re.search(rf"{re.escape(topic)}\[0\]: offsets 1\.\.(\d+) expired before they were read", out)
    assert expired is not None
    low = int(expired[1])
    code, out, _ = called(capsysbinary, "gaps", "accept", topic)
    assert code == 4
    assert out.splitlines()[-1] == "nothing was changed; --yes accepts without asking"
    code, out, _ = called(capsysbinary, "gaps", "accept", topic, "--yes")
    assert code == 0
    assert out.splitlines()[-1] == f"{topic}[0]: accepted the loss of offsets 1..{low} ({low - 1:,})"
    code, out, _ = called(capsysbinary, "gaps", "list")
    assert out.splitlines()[1].split()[:5] == [topic, "0", "1", str(low), str(low - 1)]
    code, out, _ = called(capsysbinary, "stream", "--once")
    assert code == 0
    assert f"{11 - low} read" in out.splitlines()[-1]


def test_stream_on_a_terminal_until_interrupted(embedded: str, topic: str):
    kafka = KafkaSettings(bootstrap_servers=embedded)
    create_topic(kafka, topic)
    send(kafka, topic, [Record(None, b"{}") for _ in range(3)])
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, "stream"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        said = _until(ours, b"3/3")
        process.send_signal(signal.SIGINT)
        said += _until(ours, b"ended: drain")
        assert (process.wait(30), process.stderr.read()) == (130, b"")
    os.close(ours)
    assert b"3 read = 0 kept + 0 duplicate + 3 quarantined; lag 0" in said


def _until(terminal: int, wanted: bytes) -> bytes:
    """What a terminal shows up to some words, its line breaks left out."""
    deadline = time.monotonic() + 60
    said = b""
    while wanted not in said:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, said
        said = (said + os.read(terminal, 65536)).replace(b"\r\n", b"")
    return said


@pytest.mark.kafka
def test_kafka_up_and_down(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANALYTICS_KAFKA_TIMEOUT_SECONDS", "10")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        code, out, _ = called(capsysbinary, "kafka", "up", "--port", str(port), "--partitions", "2")
        assert code == 0
        assert out.startswith(f"Apache Kafka answers at 127.0.0.1:{port} (process ")
        assert "  flights.weather: created with 2 partitions" in out.splitlines()
        assert out.splitlines()[-1] == f"export ANALYTICS_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{port}"
        code, again, _ = called(capsysbinary, "kafka", "up", "--port", str(port))
        assert code == 0
        assert again.splitlines()[0] == out.splitlines()[0]
        assert "  flights.weather: is there" in again.splitlines()
    finally:
        down = called(capsysbinary, "kafka", "down")
    assert down == (0, "Apache Kafka is stopped\n", "")
    assert (tmp_path / ".analytics" / "kafka" / "data").is_dir()


@pytest.mark.usefixtures("lake")
def test_a_process_of_its_own():
    done = subprocess.run([*COMMAND, "sql", "-"], input="from nope", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "There are gold.carrier_daily." in done.stderr
    many = [*COMMAND, "sql", "from range(1_000_000)", "--format", "csv"]
    with subprocess.Popen(many, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"range\n"
        process.stdout.close()  # as `head` does
        assert (process.wait(60), process.stderr.read()) == (1, b"")


def test_interrupted():
    endless = "select count(*) from range(10_000_000_000) where hash(range) = 1"
    with subprocess.Popen([*COMMAND, "sql", endless], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while _cpu_seconds(process.pid) < 4:  # importing takes less: by then the query runs
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stderr.read()) == (130, b"")


def _cpu_seconds(pid: int) -> float:
    said = subprocess.run(["ps", "-o", "cputimes=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return float(said)
