from pathlib import Path

import pytest

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.proposal import load_proposal
from analytics_platform.errors import ContractError
from analytics_platform_tests.contract.tree import ORDER, ORDER_FILE, write_tree


def draft(folder: Path, text: str, name: str = "draft.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def labels(path: Path, contracts: Path) -> list[str]:
    return [event.label for domain in load_proposal(path, contracts) for event in domain.events]


def refused(path: Path, contracts: Path) -> list[str]:
    with pytest.raises(ContractError) as caught:
        load_proposal(path, contracts)
    return [str(complaint) for complaint in caught.value.complaints]


def test_a_file_stands_in_for_the_version_it_names(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    path = draft(tmp_path, ORDER.replace("exclusiveMaximum: 1000000", "exclusiveMaximum: 10"))

    (domain,) = load_proposal(path, contracts)

    assert [event.label for event in domain.events] == ["order_placed@1.0.0"]
    assert next(field for field in domain.events[0].fields if field.name == "cents").rules.exclusive_maximum == 10
    assert [mart.name for mart in domain.marts] == ["sales_daily"]
    assert [item.name for item in domain.references] == ["currencies"]


def test_a_file_of_another_version_stands_beside_the_others(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    assert labels(draft(tmp_path, ORDER.replace("version: 1.0.0", "version: 1.1.0")), contracts) == [
        "order_placed@1.0.0",
        "order_placed@1.1.0",
    ]


def test_a_file_of_a_new_domain(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    path = draft(tmp_path, ORDER.replace("domain: shop", "domain: market"))
    assert [domain.name for domain in load_proposal(path, contracts)] == ["market"]
    assert [domain.name for domain in load_proposal(path, tmp_path / "none yet")] == ["market"]


def test_complaints_name_the_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contracts = write_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    draft(tmp_path, ORDER.replace("maxLength: 5", "maxLenth: 5"))
    (complaint,) = refused(Path("draft.yaml"), contracts)
    assert complaint.startswith("draft.yaml:28: schema[0].properties[6].logicalTypeOptions.maxLenth: found ")


def test_complaints_about_others_keep_their_names(tmp_path: Path) -> None:
    """A mart in force reads a field that the draft has no longer."""
    contracts = write_tree(tmp_path)
    path = draft(tmp_path, ORDER.replace("name: currency,", "name: money,").replace("currency IS", "money IS"))
    assert [complaint.split(":")[0] for complaint in refused(path, contracts)] == [
        "contracts/shop/marts/sales_daily.sql"
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("domain: shop", "domain: ../shop", "domain: found '../shop', allowed is a name of "),
        ("name: order_placed\nversion", "nam: order_placed\nversion", "name: found nothing, allowed is a name of "),
        ("version: 1.0.0", "version: '1'", "version: found '1', allowed is a version as in 1.0.0"),
    ],
)
def test_a_file_that_does_not_say_where_it_would_stand(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    contracts = write_tree(tmp_path)
    (found,) = refused(draft(tmp_path, ORDER.replace(old, new, 1)), contracts)
    assert complaint in found


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    (found,) = refused(draft(tmp_path, "a: [b"), write_tree(tmp_path))
    assert found.endswith("allowed is YAML")


def test_folders_are_taken_whole(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path / "now")
    other = write_tree(tmp_path / "then")
    (other / "shop/order_placed/1.1.0.odcs.yaml").write_text(ORDER.replace("version: 1.0.0", "version: 1.1.0"))

    both = ["order_placed@1.0.0", "order_placed@1.1.0"]
    assert labels(other, contracts) == both
    assert labels(other / "shop", contracts) == both


def test_what_is_in_force_is_no_proposal(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    for path in (contracts, contracts / "shop", tmp_path / ORDER_FILE):
        (found,) = refused(path, contracts)
        assert found.endswith("in force, allowed is a draft that stands outside of the contracts in force")


def test_the_contracts_in_force_are_left_alone(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    before = load_catalog(contracts)
    load_proposal(draft(tmp_path, ORDER.replace("version: 1.0.0", "version: 2.0.0")), contracts)
    assert load_catalog(contracts) == before
