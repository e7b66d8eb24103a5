"""Records that no contract takes, searched for somebody wherever their envelope may hold a name."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.contract.model import ENVELOPE, EventContract
from analytics_platform.subject import Wanted, matches
from analytics_platform_tests.contract.example import contract, field, records, text

FLAT = contract(
    payload=(field("order_id"), field("email")),
    envelope={name: name for name in ENVELOPE} | {"idempotency_key": "header:key"},
)
CLOUD = replace(FLAT, envelope=ATTRIBUTES, cloudevents="com.example.order")
WHO = "ana@example.com"
STRUCTURED: Mapping[str, bytes | None] = {"content-type": b"application/cloudevents+json"}


@pytest.mark.parametrize(
    ("of", "column", "event", "headers", "found"),
    [
        (FLAT, "email", {"email": WHO}, {}, True),
        (FLAT, "email", {"data": {"email": WHO}}, {}, False),
        (FLAT, "idempotency_key", {}, {"key": WHO.encode()}, True),
        (FLAT, "idempotency_key", {}, {"other": WHO.encode()}, False),
        (CLOUD, "email", {"data": {"email": WHO}}, STRUCTURED, True),
        (CLOUD, "email", {"data": WHO}, STRUCTURED, False),
        (CLOUD, "email", {"email": WHO}, {"ce_specversion": b"1.0"}, True),
        (CLOUD, "idempotency_key", {"id": WHO}, STRUCTURED, True),
        (CLOUD, "idempotency_key", {}, {"ce_id": WHO.encode()}, True),
        (CLOUD, "idempotency_key", {}, {"id": WHO.encode()}, False),
    ],
)
def test_mentioned(
    of: EventContract, column: str, event: dict[str, object], headers: Mapping[str, bytes | None], found: bool
):
    frame = records([text(event)], headers=[headers])
    matched = matches(frame, [of], Wanted(WHO, ((of, column),)), {})
    assert matched["offset"].to_list() == ([0] if found else [])
