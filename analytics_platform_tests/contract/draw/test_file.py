from dataclasses import replace
from pathlib import Path

import pytest

from analytics_platform.contract.draw.file import check_draft, draft_path, write_draft
from analytics_platform.contract.draw.plan import Wishes, plan
from analytics_platform.contract.draw.text import draft_text
from analytics_platform.contract.load import load_catalog
from analytics_platform.errors import NotImportable
from analytics_platform_tests.contract.draw.test_plan import ORDER
from analytics_platform_tests.contract.tree import ORDER_FILE, change, write_tree

WISHES = Wishes("shop", "order_paid", "shop.payments", ("order_id",))


def text_of(wishes: Wishes) -> str:
    return draft_text(plan(ORDER, wishes))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_beside_others(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    before = files(contracts)
    check_draft(contracts, WISHES, text_of(WISHES))
    assert files(contracts) == before
    path = draft_path(contracts, WISHES)
    write_draft(path, text_of(WISHES))
    assert files(contracts) - before == {"shop/order_paid/1.0.0.odcs.yaml"}
    assert len(load_catalog(contracts).domains["shop"].events) == 2


def test_never_written_over(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    wishes = replace(WISHES, event="order_placed")
    with pytest.raises(NotImportable, match="is there already"):
        draft_path(contracts, wishes)
    before = (tmp_path / ORDER_FILE).read_bytes()
    with pytest.raises(NotImportable, match="File exists"):
        write_draft(tmp_path / ORDER_FILE, "other")
    assert (tmp_path / ORDER_FILE).read_bytes() == before
    assert [path.name for path in (tmp_path / ORDER_FILE).parent.iterdir()] == ["1.0.0.odcs.yaml"]


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        (replace(WISHES, topic="shop.orders-v1"), "as in order_paid@1.0.0 of the same topic"),
        (
            replace(WISHES, domain="other", topic="shop.orders_v1"),
            "belongs to the topic shop.orders_v1 of the domain other",
        ),
        (replace(WISHES, topic="no topic"), "is the name of a Kafka topic"),
        (replace(WISHES, domain="other", event="order_placed"), "belongs to the event order_placed of the domain"),
    ],
    ids=["another envelope", "another domain's topic", "no topic", "another domain's event"],
)
def test_a_draft_that_does_not_load_with_the_others(tmp_path: Path, wishes: Wishes, complaint: str) -> None:
    contracts = write_tree(tmp_path)
    with pytest.raises(NotImportable, match=f"(?s)would not load:\n.*{complaint}"):
        check_draft(contracts, wishes, text_of(wishes))


def test_faults_that_were_there_before_are_nobodys_now(tmp_path: Path) -> None:
    contracts = write_tree(tmp_path)
    change(tmp_path, ORDER_FILE, "status: active", "status: activ")
    check_draft(contracts, WISHES, text_of(WISHES))


@pytest.mark.parametrize("name", ["reference", "marts"])
def test_a_folder_that_is_not_for_events(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotImportable, match=f"shop/{name}: .* holds no events"):
        draft_path(tmp_path, replace(WISHES, event=name))


@pytest.mark.parametrize("file", ["contracts", "contracts/shop", "contracts/shop/order_paid"])
def test_a_file_where_a_folder_belongs(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("a file")
    with pytest.raises(NotImportable, match=f"{file} is no folder"):
        draft_path(tmp_path / "contracts", WISHES)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "contracts").write_text("a file")
    with pytest.raises(NotImportable):
        write_draft(tmp_path / "contracts" / "shop" / "x" / "1.0.0.odcs.yaml", "text")
