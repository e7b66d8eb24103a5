"""A record that makes decoding fail in a way nobody has foreseen is found alone; a fault of ours stops the batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from analytics_platform.contract.decode import decode as contract_decode
from analytics_platform.errors import BrokerUnavailable
from analytics_platform.replay import replay
from analytics_platform.selection import Selection
from analytics_platform_tests.shop import ORDERS, VISITS, Shop, order


def placed(number: int, product: str = "mug") -> bytes:
    return order(order_id=f"o-{number}", product=product)


def shop_of(root: Path, *values: bytes) -> Shop:
    """A shop with one partition of orders."""
    return Shop(root / "lake", {ORDERS: {0: values}, VISITS: {}})


def offsets(of: Shop) -> list[int]:
    return sorted(of.silver("order_placed")["_offset"].to_list())


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[pl.DataFrame], BaseException | None]) -> list[int]:
    """Let the decoder fail by what is in a batch; returns the heights of the batches it is given."""
    heights: list[int] = []
    real = contract_decode

    def decode(records: pl.DataFrame, *rest: Any, **named: Any) -> Any:
        heights.append(records.height)
        error = fails(records)
        if error is not None:
            raise error
        return real(records, *rest, **named)

    monkeypatch.setattr("analytics_platform.judge.decode", decode)
    return heights


def test_poison_is_found_alone_and_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [placed(number) for number in range(64)]
    values[17], values[41] = placed(17, "POISON"), b"POISON"
    of = shop_of(tmp_path, *values)
    poison = pl.col("value").bin.contains(b"POISON")
    heights = failing(monkeypatch, lambda records: ValueError("POISON") if records.filter(poison).height else None)
    taken = of.take(ORDERS, of.whole(ORDERS))
    assert offsets(of) == [number for number in range(64) if number not in {17, 41}]
    found = of.quarantine().sort("offset").select("offset", "codes", "reasons", "value")
    assert found.rows() == [
        (17, ["undecodable"], ["decoding failed: ValueError"], values[17]),
        (41, ["undecodable"], ["decoding failed: ValueError"], values[41]),
    ]
    assert taken.reasons == {"undecodable": 2}
    assert len(heights) < 64 / 2  # halved, not tried one by one
    monkeypatch.undo()
    again = replay(of.domain, of.settings, Selection(codes=("undecodable",)), clock=of.clock, by="me")
    assert (again.entered, again.waiting) == ({"silver.order_placed": 1}, {"malformed_json": 1})


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(), BrokerUnavailable("b", "d", "r"), duckdb.OutOfMemoryException("x")], ids=repr
)
def test_trouble_of_the_machine_is_no_records_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    of = shop_of(tmp_path, placed(1), placed(2))
    heights = failing(monkeypatch, lambda records: error if records.height else None)
    with pytest.raises(type(error)):
        of.take(ORDERS, of.whole(ORDERS))
    assert (heights, of.quarantine().height) == ([2], 0)


@pytest.mark.parametrize("of_nothing_too", [True, False])
def test_a_fault_that_no_record_is_to_blame_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_nothing_too: bool
) -> None:
    """It fails without any record, or with each of several: then it is ours, and nothing is quarantined."""
    of = shop_of(tmp_path, placed(1), placed(2), placed(3))
    failing(monkeypatch, lambda records: TypeError("ours") if records.height or of_nothing_too else None)
    with pytest.raises(TypeError, match="ours"):
        of.take(ORDERS, of.whole(ORDERS))
    assert of.quarantine().height == 0
