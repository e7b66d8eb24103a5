"""The demo as a user starts it: real processes, a real sensor, real runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analytics_platform.cli import run
from analytics_platform.demo.processes import ROOT
from analytics_platform_tests.port import free_port

COMMAND = [sys.executable, "-c", "from analytics_platform.cli import main; main()"]


def of_the_demo(folder: Path) -> list[str]:
    """Command lines of living processes that belong to a demo's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if command and (os.fsencode(folder) in environ or os.fsencode(folder) in command):
            found.append(command.replace(b"\0", b" ").decode())
    return found


def children_of(pid: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(int(process.name))
    return found


@pytest.mark.dagster
def test_a_bounded_demo_loses_doubles_and_changes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    folder, port = tmp_path / "demo", free_port()
    code = run(["demo", "--once", "--events", "3000", "--json", "--folder", str(folder), "--port", str(port)])
    said = capsys.readouterr()
    assert code == 0, said.err
    found = json.loads(said.out)
    assert (found["good"], found["lost"], found["doubled"], found["mismatches"]) == (True, 0, 0, 0)
    parts = [part for topic in found["accounting"].values() for part in topic.values()]
    assert len(parts) == 12
    assert all(part["adds_up"] for part in parts)
    sent = found["sent"]
    assert sent["on_time"] + sent["late"] == 3000 == sum(part["kept"] for part in parts)
    assert sent["records"] == sum(part["read"] for part in parts)
    assert sum(found["quarantine"].values()) == sum(part["quarantined"] for part in parts) > 0
    assert sum(table["rows"] for name, table in found["tables"].items() if name.startswith("silver.")) == 3000
    assert found["tables"]["gold.carrier_daily"]["rows"] > 0
    assert set(found["runs"]) == {"SUCCESS"}
    assert found["freshness_seconds"]["median"] > 0
    assert of_the_demo(folder) == []
    assert sorted(path.name for path in (folder / "logs").iterdir()) == [
        "code.log",
        "daemon.log",
        "instance.log",
        "web.log",
    ]


@pytest.mark.dagster
def test_ctrl_c_ends_everything_and_another_terminal_can_ask_meanwhile(tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ANALYTICS_")}
    environ["ANALYTICS_CONTRACTS"] = str(ROOT / "contracts")
    with (tmp_path / "said").open("wb") as said:
        demo = subprocess.Popen(
            [*COMMAND, "demo", "--port", str(free_port())],
            cwd=tmp_path,
            env=environ,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        question = [*COMMAND, "sql", "from gold.carrier_daily limit 5", "--format", "json"]
        deadline = time.monotonic() + 150
        while True:
            assert demo.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline, (tmp_path / "said").read_text()
            answer = subprocess.run(question, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
            if answer.returncode == 0 and "carrier" in answer.stdout:
                break
            time.sleep(0.5)
        assert "this is the demo's lake" in answer.stderr
        started = children_of(demo.pid)
        assert len(of_the_demo(tmp_path)) >= 6
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(60) == 0, (tmp_path / "said").read_text()
    finally:
        demo.kill()
        demo.wait()
    assert of_the_demo(tmp_path) == []
    assert len(started) == 4
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert "the tables stay in .analytics/demo/lake" in (tmp_path / "said").read_text()


def test_a_folder_of_somebody_else_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "precious").write_text("rows")
    assert run(["demo", "--once", "--folder", str(tmp_path)]) == 1
    assert "left alone" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["precious"]


def test_outside_of_the_repository(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--once"]) == 1
    assert "clone of the repository" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_json_without_an_end(capsys):
    assert run(["demo", "--json"]) == 2
    assert "--once" in capsys.readouterr().err
