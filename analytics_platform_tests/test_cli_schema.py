import json
from pathlib import Path

import pytest

from analytics_platform.cli import run
from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.json_schema import json_schema
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.proto import proto_schema
from analytics_platform_tests.contract.test_release import LATER, write_version
from analytics_platform_tests.contract.tree import write_tree


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions of an order; the newer one has a colour."""
    folder = write_tree(tmp_path)
    write_version(tmp_path, "1.1.0", LATER)
    monkeypatch.setenv("ANALYTICS_CONTRACTS", str(folder))
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["contracts", "schema", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_format(contracts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = load_catalog(contracts).domains["shop"].events
    for arguments, expected in (
        ((), json_schema(new)),
        (("--format", "json-closed"), json_schema(new, closed=True)),
        (("--format", "avro"), avro_schema(new)),
        (("--format", "avro", "--version", "1.0.0"), avro_schema(old)),
    ):
        code, out, err = said(capsys, "order_placed", *arguments)
        assert (code, err, json.loads(out)) == (0, "", expected)
        assert said(capsys, "order_placed", *arguments)[1] == out
    assert avro_schema(new) != avro_schema(old)


def test_protobuf(contracts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "order_placed", "--format", "protobuf")
    assert (code, out) == (1, "")
    assert "order_placed@1.1.0: Protobuf cannot carry lines: " in err
    for version in ("1.0.0", "1.1.0"):
        path = contracts / f"shop/order_placed/{version}.odcs.yaml"
        text = path.read_text().replace("{minItems: 1}", "{}")
        path.write_text(text.replace("items:\n", "items:\n          required: true\n"))
    old, new = load_catalog(contracts).domains["shop"].events
    assert said(capsys, "order_placed", "--format", "protobuf") == (0, proto_schema(new, [old, new]), "")
    assert said(capsys, "order_placed", "--format", "protobuf", "--version", "1.0.0")[1] == proto_schema(old, [old])


@pytest.mark.usefixtures("contracts")
def test_no_such_contract(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "order_place")
    assert (code, out) == (2, "")
    assert "did you mean order_placed?" in err
    code, out, err = said(capsys, "order_placed", "--version", "1.2.0")
    assert (code, out) == (2, "")
    assert "order_placed has no version" in err
