from pathlib import Path

import pytest

from analytics_platform.contract.edition import Edition
from analytics_platform.contract.load import load_catalog
from analytics_platform_tests.contract.test_release import LATER, TIGHTER, write_version
from analytics_platform_tests.contract.tree import CURRENCIES_FILE, ORDER_FILE, SQL_FILE, change, write_tree


@pytest.fixture
def edition(tmp_path: Path) -> Edition:
    folder = write_tree(tmp_path)
    return Edition(load_catalog(folder).domains["shop"], folder)


def test_nothing_changed(edition: Edition) -> None:
    assert not edition.is_superseded()


def test_a_version_is_added(edition: Edition, tmp_path: Path) -> None:
    write_version(tmp_path, "1.1.0", LATER)
    assert edition.is_superseded()


def test_a_version_is_edited_or_removed(edition: Edition, tmp_path: Path) -> None:
    write_version(tmp_path, "1.1.0", LATER)
    later = Edition(load_catalog(tmp_path / "contracts").domains["shop"], tmp_path / "contracts")
    assert not later.is_superseded()
    (tmp_path / "contracts/shop/order_placed/1.1.0.odcs.yaml").unlink()
    assert later.is_superseded()
    change(tmp_path, ORDER_FILE, *TIGHTER)
    assert edition.is_superseded()


def test_a_contract_that_somebody_is_at_work_on(edition: Edition, tmp_path: Path) -> None:
    change(tmp_path, ORDER_FILE, "status: active", "status: activ")
    assert not edition.is_superseded()
    assert not edition.is_superseded()
    change(tmp_path, ORDER_FILE, "status: activ", "status: activate")
    assert not edition.is_superseded()
    change(tmp_path, ORDER_FILE, "status: activate", "status: active")
    change(tmp_path, ORDER_FILE, "description: Total.", "description: Sum.")
    assert edition.is_superseded()


def test_what_is_hidden_and_what_is_no_event(edition: Edition, tmp_path: Path) -> None:
    (tmp_path / "contracts/shop/order_placed/.1.1.0.odcs.yaml").write_text("half a")
    (tmp_path / "contracts/shop/order_placed/README.md").write_text("# Orders\n")
    change(tmp_path, CURRENCIES_FILE, "description: {purpose: Currencies.}", "description: {purpose: Money.}")
    change(tmp_path, SQL_FILE, "count(*) AS orders", "count(currency) AS orders")
    assert not edition.is_superseded()


def test_the_folder_is_gone(edition: Edition, tmp_path: Path) -> None:
    (tmp_path / "contracts").rename(tmp_path / "elsewhere")
    assert not edition.is_superseded()
