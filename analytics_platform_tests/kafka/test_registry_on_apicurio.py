"""The client against a registry that nobody here wrote."""

import json
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from analytics_platform.contract.registered import registered_schema
from analytics_platform.errors import RegistryRefused
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat
from analytics_platform.kafka.registry import Registry
from analytics_platform.publish import publish
from analytics_platform.settings import RegistrySettings
from analytics_platform_tests import shop
from analytics_platform_tests.kafka.apicurio import Apicurio
from analytics_platform_tests.port import free_port

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    running = Apicurio(tmp_path_factory.mktemp("apicurio"), free_port())
    yield running.url
    running.stop()


@pytest.fixture
def registry(apicurio: str) -> Iterator[Registry]:
    found = Registry(RegistrySettings(url=apicurio))
    yield found
    found.close()


def record(kind: str) -> RegisteredSchema:
    fields = [{"name": "x", "type": kind}]
    return RegisteredSchema(WireFormat.AVRO, json.dumps({"type": "record", "name": "a", "fields": fields}))


def test_what_is_not_there(registry: Registry) -> None:
    assert registry.schema("id:770000") is None
    assert registry.schema(f"guid:{uuid4()}") is None
    assert registry.latest("nobody-value") is None
    assert registry.lookup("nobody-value", record("long")) is None


def test_incompatible_schemas_are_refused_in_the_registrys_words(registry: Registry) -> None:
    subject = f"{uuid4().hex}-value"
    first = registry.publish(subject, record("long"), "FULL_TRANSITIVE")
    assert first.new
    assert registry.publish(subject, record("long"), "FULL_TRANSITIVE") == replace(first, new=False)
    with pytest.raises(RegistryRefused, match="LONG not compatible"):
        registry.publish(subject, record("string"), "FULL_TRANSITIVE")
    found = registry.schema(f"id:{first.id}")
    assert found is not None
    assert json.loads(found.text) == json.loads(record("long").text)


@pytest.mark.parametrize("wire", [WireFormat.AVRO, WireFormat.PROTOBUF, WireFormat.JSON_SCHEMA])
def test_contracts_are_published_and_read_back(registry: Registry, wire: WireFormat) -> None:
    prefix = f"{uuid4().hex[:8]}."
    of = shop.renamed(shop.domain(), prefix)
    domain = replace(of, events=tuple(replace(one, wire=wire) for one in of.events))
    once = [one for name in ("order_placed", "page_viewed") for one in publish(domain, registry, name)]
    assert [(one.subject.removeprefix(prefix), one.new) for one in once] == [
        ("shop.orders-shop.order_placed", True),
        ("shop.visits-value", True),
    ]
    assert [one.new for one in publish(domain, registry, "order_placed")] == [False]
    (contract,) = domain.versions_of("order_placed")
    found = registry.schema(f"id:{once[0].id}")
    assert found is not None
    wanted = registered_schema(contract, [contract])
    assert found.kind is wire
    if wire is not WireFormat.PROTOBUF:
        assert json.loads(found.text) == json.loads(wanted.text)
    assert registry.lookup(once[0].subject, wanted) == once[0].id
