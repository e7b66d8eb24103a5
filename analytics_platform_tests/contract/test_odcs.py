"""Contracts of the Open Data Contract Standard that nobody here wrote (see `odcs/SOURCES.md`), held against our reader.

Most of what stands in them this platform does not take: that is said by its own complaints, not by the standard's.
"""

from pathlib import Path
from typing import Any

import pytest
from open_data_contract_standard.model import OpenDataContractStandard

from analytics_platform.contract.load import load_event
from analytics_platform.contract.source import Source, read_source
from analytics_platform.contract.standard import check_standard
from analytics_platform.errors import ContractError

PATHS = sorted((Path(__file__).parent / "odcs").glob("*.yaml"))
EACH = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.removesuffix("-v3.2.0.odcs.yaml"))


def read(path: Path) -> Source:
    source = read_source(path, path.name)
    check_standard(source)
    return source


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def test_there_are_some() -> None:
    assert [path.name for path in PATHS] == [
        "all-new-fields-v3.2.0.odcs.yaml",
        "full-example-v3.2.0.odcs.yaml",
        "init-v3.2.0.odcs.yaml",
    ]


@EACH
def test_the_standard_has_nothing_against_it(path: Path) -> None:
    source = read(path)
    assert source.complaints == []
    assert source.data["apiVersion"] == "v3.2.0"


@EACH
def test_another_reader_finds_the_same(path: Path) -> None:
    """The package of the standard reads with all of YAML 1.1, we with a part of it."""
    assert OpenDataContractStandard.model_validate(read(path).data) == OpenDataContractStandard.from_file(str(path))


@EACH
def test_there_and_back(path: Path, tmp_path: Path) -> None:
    """Through the model of the standard's package, which writes nothing for null, also where a key is required."""
    data = read(path).data
    again = tmp_path / "again.odcs.yaml"
    again.write_text(OpenDataContractStandard.model_validate(data).to_yaml())
    assert read_source(again, "again").complaints == []
    assert read_source(again, "again").data == without_nulls(data)


@EACH
def test_what_is_not_for_this_platform_is_said_by_its_place(path: Path) -> None:
    with pytest.raises(ContractError) as refused:
        load_event(path)
    assert all(line.startswith(f"{path.name}:") for line in str(refused.value).splitlines())


def test_an_event_without_a_domain_and_a_name() -> None:
    """Both are optional in the standard, and a file on its own has no folder that says them."""
    with pytest.raises(ContractError) as refused:
        load_event(PATHS[1])
    assert str(refused.value) == (
        "full-example-v3.2.0.odcs.yaml:5: name: found nothing, allowed is the name of the event"
    )


@pytest.mark.parametrize(
    "line",
    ["kind: DataContract", "dimension: completeness", "required: false", "partitionKeyPosition: 1"],
)
def test_one_word_wrong_in_the_full_example(line: str, tmp_path: Path) -> None:
    """What the standard forbids is found at its line, however much stands around it."""
    text = PATHS[1].read_text()
    place = text[: text.index(line)].count("\n") + 1
    key = line.partition(":")[0]
    wrong = tmp_path / "wrong.odcs.yaml"
    wrong.write_text(text.replace(line, f"{key}: nonsense", 1))
    found = read(wrong).complaints
    assert (found[0].line, found[0].key.rpartition(".")[2]) == (place, key)
    assert len(found) == 1
