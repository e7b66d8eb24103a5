import polars as pl
import pytest

from analytics_platform.contract.extract import BATCH, duplicated, extraction, invalid
from analytics_platform_tests.contract.example import ORDER, one_connection


@pytest.fixture
def batch():
    """Registers values as the gate hands them over."""
    connection = one_connection()

    def register(*values: str) -> None:
        frame = pl.DataFrame({"n": range(len(values)), "v": values}, schema={"n": pl.Int64, "v": pl.String})
        connection.register(BATCH, frame.to_arrow())

    yield register
    connection.unregister(BATCH)


def test_what_duckdb_does_not_take_as_json(batch):
    batch('{"a":1}', "{", '{"a":"\\ud800"}', "[]", '{"a":1}{}')
    assert invalid(one_connection()) == {1, 2, 4}


def test_a_key_twice_is_told_with_its_place(batch):
    batch('{"a":1}', '{"a":1,"a":1}', '{"o":{"k":1,"k":2}}', '{"l":[{"k":1},{"k":1,"k":1}]}', '{"l":[5,null],"o":null}')
    assert duplicated(one_connection(), ("$", '$."o"', '$."l"[*]')) == {
        1: "the value: a key stands twice",
        2: "o: a key stands twice",
        3: "l[]: a key stands twice",
    }


def test_a_key_that_looks_like_two(batch):
    batch('{"a":1,"b\\u001fa":2}', '{"a\\u001fa":1}', '{"a\\u001fb":1,"a\\u001fb":2}')
    assert duplicated(one_connection(), ("$",)) == {2: "the value: a key stands twice"}


def test_every_object_that_a_contract_describes_is_looked_at():
    assert extraction(ORDER).objects == ("$", '$."ship"', '$."items"[*]')
