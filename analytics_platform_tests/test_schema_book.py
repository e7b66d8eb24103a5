from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from analytics_platform.errors import RegistryNotSet, RegistryUnavailable
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat, framed
from analytics_platform.lake.table import Lake
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import RegistrySettings
from analytics_platform_tests.contract.example import ORDER, records
from analytics_platform_tests.registry import StandIn

AVRO = replace(ORDER, wire=WireFormat.AVRO)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    found = StandIn()
    yield found
    found.close()


def lake_in(folder: Path) -> Lake:
    return Lake(folder, fsync=False)


def settings(stand_in: StandIn) -> RegistrySettings:
    return RegistrySettings(url=stand_in.url, timeout=timedelta(seconds=2))


def test_a_schema_is_kept_with_what_it_refers_to(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.register("part", subject="part")
    number = stand_in.register("whole", references=[{"name": "Part", "subject": "part", "version": 1}])
    given = records([framed(number, b"x"), framed(number, b"y"), None, b"{}"])
    schema = RegisteredSchema(WireFormat.AVRO, "whole", (("Part", "part"),))
    with SchemaBook(lake_in(tmp_path), "shop", settings(stand_in)) as book:
        assert book.of(given, [AVRO]) == {f"id:{number}": schema}
    # Nobody is asked again, also where there is no registry any more.
    asked = len(stand_in.asked)
    with SchemaBook(lake_in(tmp_path), "shop", RegistrySettings()) as book:
        assert book.of(given, [AVRO]) == {f"id:{number}": schema}
    assert len(stand_in.asked) == asked


def test_contracts_of_bare_json_ask_nobody(tmp_path: Path) -> None:
    with SchemaBook(lake_in(tmp_path), "shop", RegistrySettings()) as book:
        assert book.of(records([framed(7, b"x")]), [ORDER]) == {}


def test_no_registry_is_set(tmp_path: Path) -> None:
    with (
        SchemaBook(lake_in(tmp_path), "shop", RegistrySettings()) as book,
        pytest.raises(RegistryNotSet, match="ANALYTICS_REGISTRY_URL"),
    ):
        book.of(records([framed(7, b"x")]), [AVRO])


def test_a_registry_that_is_down_and_comes_back(stand_in: StandIn, tmp_path: Path) -> None:
    number = stand_in.register("whole")
    given = records([framed(number, b"x")])
    with SchemaBook(lake_in(tmp_path), "shop", settings(stand_in)) as book:
        stand_in.fails = "down"
        with pytest.raises(RegistryUnavailable):
            book.of(given, [AVRO])
        assert book.at_hand(given, [AVRO]) == {f"id:{number}": None}
        stand_in.fails = None
        assert book.of(given, [AVRO])[f"id:{number}"] is not None
        assert book.at_hand(given, [AVRO])[f"id:{number}"] is not None


def test_a_schema_that_is_not_there_is_asked_for_again(stand_in: StandIn, tmp_path: Path) -> None:
    given = records([framed(1, b"x")])
    with SchemaBook(lake_in(tmp_path), "shop", settings(stand_in)) as book:
        assert book.of(given, [AVRO]) == {"id:1": None}
        assert stand_in.register("late") == 1
        assert book.of(given, [AVRO]) == {"id:1": RegisteredSchema(WireFormat.AVRO, "late")}
