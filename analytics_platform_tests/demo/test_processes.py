import socket
import time

import pytest

from analytics_platform.demo.folder import fresh_folder
from analytics_platform.demo.processes import free_port, services
from analytics_platform.demo.signals import Interrupted
from analytics_platform.demo.webserver import Webserver
from analytics_platform.errors import DemoFailed


@pytest.fixture
def folder(tmp_path):
    with fresh_folder(tmp_path / "demo") as made:
        yield made


def test_a_process_that_dies_is_told_with_the_end_of_its_log(folder):
    with services(folder, {}, {}, lambda: False) as running:
        process = running._hold("web", "analytics_platform.no_such_module")
        process.wait(20)
        with pytest.raises(DemoFailed, match="'web' ended by itself") as told:
            running.check()
    assert "no_such_module" in str(told.value)
    assert str(folder.log("web")) in str(told.value)


def test_told_to_stop_while_starting(folder):
    asked = []
    with services(folder, {}, {}, lambda: len(asked) > 2 or asked.append(1)) as running, pytest.raises(Interrupted):
        running.start(3000)
    assert running.held == {}


def test_an_instance_that_cannot_be_made(folder):
    (folder.dagster / "history").write_text("a file where a folder must be")
    with services(folder, {}, {}, lambda: False) as running, pytest.raises(DemoFailed, match="instance cannot be made"):
        running.start(3000)


def test_processes_see_the_demo_and_nothing_of_another_platform(folder):
    theirs = {
        "ANALYTICS_KAFKA_BOOTSTRAP_SERVERS": "production:9092",
        "DAGSTER_HOME": "/srv/dagster",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": "/bin",
        "NO_PROXY": "intranet",
    }
    with services(folder, {"ANALYTICS_LAKE": "lake"}, theirs, lambda: False) as running:
        assert running.environ == {
            "ANALYTICS_LAKE": "lake",
            "DAGSTER_HOME": str(folder.dagster),
            "PATH": "/bin",
            "NO_PROXY": "intranet,127.0.0.1,localhost",
            "no_proxy": "intranet,127.0.0.1,localhost",
        }


def test_the_wanted_port_or_the_next_free_one():
    wanted = free_port()
    assert free_port(wanted) == wanted
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", wanted))
        taken.listen()
        assert free_port(wanted) > wanted


def test_a_webserver_that_is_not_there_yet():
    web = Webserver(f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    assert web.location() is None
    assert web.runs() == []
    assert time.monotonic() - began < 5
