import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from analytics_platform.cli import run
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import EventContract
from analytics_platform.kafka.frame import WireFormat
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform.settings import KafkaSettings
from analytics_platform_tests.contract.draw.drawn import SCHEMAS
from analytics_platform_tests.contract.tree import write_tree
from analytics_platform_tests.registry import StandIn
from analytics_platform_tests.test_docs import FENCE, ROOT


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_tree(tmp_path)
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(folder))
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    found = StandIn()
    monkeypatch.setenv("ANALYTICS_REGISTRY_URL", found.url)
    yield found
    found.close()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["contracts", "import", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def event(contracts: Path, name: str) -> EventContract:
    (found,) = [one for one in load_catalog(contracts).domains["shop"].events if one.name == name]
    return found


def test_a_file(contracts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, str(SCHEMAS / "payment.avsc"), "--topic-name", "shop.payments")
    path = contracts / "shop/payment_authorized/1.0.0.odcs.yaml"
    assert (code, err) == (0, "")
    assert out.startswith(f"{path}: a draft of 12 fields beside the envelope")
    assert "left out: amount, because it is a decimal, and" in out
    assert "missing: event_type, schema_version, trace_id, source: nothing looks like it" in out
    text = path.read_text()
    for line in out.splitlines():
        if line.startswith("left out: "):
            assert f"# {line}\n" in text
    assert str(SCHEMAS) not in text
    assert (event(contracts, "payment_authorized").topic, path.stat().st_mode & 0o777) == ("shop.payments", 0o644)
    code, out, err = said(capsys, str(SCHEMAS / "payment.avsc"))
    assert (code, out) == (1, "")
    assert "is there already, and is never written over" in err
    assert path.read_text() == text


def test_the_example_of_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, command, printed = FENCE.findall((ROOT / "docs/import.md").read_text())[:3]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANALYTICS_CONTRACTS", raising=False)
    (tmp_path / "order_placed.json").write_text(schema)
    assert run(command.split()[1:]) == 0
    assert capsys.readouterr() == (printed, "")
    assert load_catalog(tmp_path / "contracts").domains["shop"].topics == ("shop.orders",)


def test_printed(contracts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(
        capsys, str(SCHEMAS / "shipment.json"), "--print", "--key", "shipment_id", "--key", "id", "--time-field", "time"
    )
    assert code == 0
    assert out.startswith("# A draft that loads, made by `analytics-platform contracts import` from shipment.json.\n")
    assert "value: {mode: derive, by: [shipment_id, id, time], timeField: time}}\n" in out
    assert err.startswith("left out: ")
    assert not (contracts / "shop/shipment_dispatched").exists()


def test_a_message_of_a_file(contracts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, str(SCHEMAS / "ride.proto"), "--event", "ride_started")[0] == 0
    assert event(contracts, "ride_started").wire is WireFormat.PROTOBUF


@pytest.mark.parametrize(
    ("name", "kind", "wire"),
    [("payment.avsc", "AVRO", WireFormat.AVRO), ("shipment.json", "JSON", WireFormat.JSON_SCHEMA)],
)
def test_a_subject(  # noqa: PLR0917 - pytest names them
    contracts: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str], name: str, kind: str, wire: WireFormat
) -> None:
    stand_in.register((SCHEMAS / name).read_text(), kind, "shop.things-value")
    code, out, _ = said(capsys, "--subject", "shop.things-value", "--event", "thing_done")
    assert code == 0, out
    found = event(contracts, "thing_done")
    assert (found.topic, found.wire) == ("shop.things", wire)
    assert "from shop.things-value (version 1)." in found.header.path.read_text()
    assert not [one for one in stand_in.asked if not one.startswith("GET")]


def test_a_subject_with_a_reference(contracts: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in.register((SCHEMAS / "place.proto").read_text(), "PROTOBUF", "place")
    reference = {"name": "place.proto", "subject": "place", "version": 1}
    stand_in.register((SCHEMAS / "ride.proto").read_text(), "PROTOBUF", "rides", [reference])
    assert said(capsys, "--subject", "rides", "--event", "ride_started", "--topic-name", "rides")[0] == 0
    assert event(contracts, "ride_started").topic == "rides"


@pytest.mark.usefixtures("contracts", "stand_in")
def test_no_such_subject(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "--subject", "gone", "--event", "a")
    assert (code, "the registry has no such subject" in err) == (1, True)


@pytest.mark.usefixtures("contracts")
def test_no_registry(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANALYTICS_REGISTRY_URL", raising=False)
    code, _, err = said(capsys, "--subject", "gone", "--event", "a")
    assert (code, "ANALYTICS_REGISTRY_URL is not set" in err) == (2, True)


def test_a_topic(
    contracts: Path, embedded: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"test.{uuid4().hex[:12]}"
    kafka = KafkaSettings(bootstrap_servers=embedded)
    monkeypatch.setenv("ANALYTICS_KAFKA_BOOTSTRAP_SERVERS", embedded)
    create_topic(kafka, topic)
    send(kafka, topic, (Record(None, json.dumps(_paid(number)).encode()) for number in range(200)))
    code, out, err = said(capsys, "--topic", topic, "--event", "order_paid", "--rows", "100")
    assert (code, err) == (0, "")
    assert "order-" not in out
    found = event(contracts, "order_paid")
    assert (found.topic, found.wire) == (topic, WireFormat.JSON)
    assert {one.name: (str(one.type), one.required) for one in found.fields[6:]} == {
        "order_id": ("string", True),
        "cents": ("integer", True),
        "paid_on": ("date", True),
        "email": ("string", True),
    }
    text = found.header.path.read_text()
    assert [word for word in ("order-", "ana@", "2013") if word in text] == []


def _paid(number: int) -> dict[str, Any]:
    return {
        "id": f"order-{number}",
        "type": "order_paid",
        "schemaVersion": "1.0.0",
        "time": "2013-01-01T10:17:00Z",
        "order_id": f"order-{number}",
        "cents": number,
        "paid_on": "2013-01-01",
        "email": "ana@example.com",
    }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "say one of"),
        (("x.avsc", "--topic", "t"), "say one of"),
        (("x.txt",), "x.txt is none of .avsc, .json, .proto"),
        (("x.avsc",), "x.avsc: no contract was started: No such file"),
        (("--topic", "t"), "say --event"),
        (("--topic", ""), "--subject and --topic have names"),
        (("x.avsc", "--event", "OrderPaid"), "--event 'OrderPaid' is no name"),
        (("x.avsc", "--domain", "Shop"), "--domain 'Shop' is no name"),
    ],
)
@pytest.mark.usefixtures("contracts")
def test_a_command_line_that_is_not_enough(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *arguments)
    assert (code in {1, 2}, out) == (True, "")
    assert why in " ".join(err.split())


def test_names_that_are_not_said(contracts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = tmp_path / "x.json"
    text = '{"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}'
    schema.write_text(text, encoding="utf-8-sig")  # as some editors write it
    code, _, err = said(capsys, str(schema))
    assert (code, "x.json does not say what the event is called: say --event" in " ".join(err.split())) == (2, True)
    (contracts / "__pycache__").mkdir()
    (contracts / "Other Things").mkdir()
    (contracts / "other").mkdir()
    code, _, err = said(capsys, str(schema), "--event", "a")
    assert (code, "say --domain: there are other, shop" in " ".join(err.split())) == (2, True)
