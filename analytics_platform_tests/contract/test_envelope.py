"""Envelopes as contracts declare them; what is complained of stands in complaints.txt."""

from pathlib import Path

import pytest

from analytics_platform.contract.decode import decode
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import EventContract
from analytics_platform.errors import ContractError
from analytics_platform_tests.contract.example import records, text
from analytics_platform_tests.contract.tree import ORDER, write_tree

MAPPING = ORDER[ORDER.index("      idempotency_key: id\n") : ORDER.index("  - {property: identity")]


def with_envelope(envelope: str, order: str = ORDER) -> str:
    """The contract of the tree under another envelope."""
    return order.replace(MAPPING, "".join(f"      {line}\n" for line in envelope.splitlines()))


def loaded(tmp_path: Path, envelope: str) -> EventContract:
    folder = write_tree(tmp_path)
    (folder / "shop/order_placed/1.0.0.odcs.yaml").write_text(with_envelope(envelope))
    (event,) = load_catalog(folder).domains["shop"].events
    return event


def test_cloudevents_as_they_are(tmp_path: Path):
    event = loaded(tmp_path, "style: cloudevents")
    assert event.envelope == {
        "idempotency_key": "id",
        "event_type": "type",
        "schema_version": "dataschema",
        "trace_id": "traceparent",
        "occurred_at": "time",
        "source": "source",
    }
    assert (event.cloudevents, event.sent_as, event.generate_trace_id) == ("order_placed", "order_placed", False)


def test_cloudevents_that_differ(tmp_path: Path):
    event = loaded(
        tmp_path,
        "style: cloudevents\ntype: com.example.order.placed\nidempotency_key: orderkey\nschema_version: header:version\n"
        "trace_id: traceparent:firsttrace\noccurred_at: data:placed_at\nmissingTraceId: generate",
    )
    assert event.envelope == {
        "idempotency_key": "orderkey",
        "event_type": "type",
        "schema_version": "header:version",
        "trace_id": "traceparent:firsttrace",
        "occurred_at": "data:placed_at",
        "source": "source",
    }
    assert (event.name, event.sent_as, event.generate_trace_id) == ("order_placed", "com.example.order.placed", True)


def test_a_declared_event_is_read(tmp_path: Path):
    event = loaded(tmp_path, "style: cloudevents\ntype: com.example.order.placed\noccurred_at: data:placed_at")
    data = {"order_id": "O-001", "placed_at": "2013-01-01T10:00:00Z", "cents": 5, "currency": "EUR"}
    headers = {"ce_specversion": b"1.0", "ce_type": b"com.example.order.placed", "ce_dataschema": b"order/1.0.0"}
    decoded = decode(records([text(data)], topic="shop.orders-v1", headers=[headers]), [event])
    assert decoded.rejected.is_empty()
    assert decoded.rows["order_placed"].select("event_type", "schema_version", "order_id").rows() == [
        ("order_placed", "1.0.0", "O-001")
    ]


def test_a_plain_mapping_with_a_traceparent(tmp_path: Path):
    plain = "\n".join(line.strip() for line in MAPPING.splitlines())
    event = loaded(tmp_path, plain.replace("trace_id: header:", "trace_id: traceparent:header:"))
    assert event.envelope["trace_id"] == "traceparent:header:traceparent"
    assert event.cloudevents is None


def test_styles_of_one_topic_differ(tmp_path: Path):
    folder = write_tree(tmp_path)
    (folder / "shop/order_placed/1.0.0.odcs.yaml").write_text(with_envelope("style: cloudevents"))
    (folder / "shop/order_paid").mkdir()
    (folder / "shop/order_paid/1.0.0.odcs.yaml").write_text(ORDER.replace("order_placed", "order_paid"))
    with pytest.raises(ContractError) as caught:
        load_catalog(folder)
    assert str(caught.value) == (
        "contracts/shop/order_placed/1.0.0.odcs.yaml:56: customProperties[0].value: found another style, allowed is an "
        "envelope without a style, as in order_paid@1.0.0 of the same topic"
    )


def test_two_events_of_one_topic_by_one_type(tmp_path: Path):
    folder = write_tree(tmp_path)
    cloud = with_envelope("style: cloudevents\ntype: com.example.order")
    (folder / "shop/order_placed/1.0.0.odcs.yaml").write_text(cloud)
    (folder / "shop/order_paid").mkdir()
    (folder / "shop/order_paid/1.0.0.odcs.yaml").write_text(cloud.replace("order_placed", "order_paid"))
    with pytest.raises(ContractError) as caught:
        load_catalog(folder)
    assert str(caught.value) == (
        "contracts/shop/order_placed/1.0.0.odcs.yaml:58: customProperties[0].value.type: found 'com.example.order', allowed "
        "is a type of its own: 'com.example.order' is order_paid on this topic"
    )


def test_an_envelope_field_from_a_classified_field_of_the_data(tmp_path: Path):
    folder = write_tree(tmp_path)
    drop = "customProperties: [{property: treatment, vendor: analytics_platform, value: drop}]"
    private = ORDER.replace("{name: currency, ", f"{{name: currency, classification: restricted, {drop}, ")
    for place, refused in (("data:currency", True), ("currency", False)):
        cloud = with_envelope(f"style: cloudevents\nsource: {place}", private)
        (folder / "shop/order_placed/1.0.0.odcs.yaml").write_text(cloud)
        if not refused:
            load_catalog(folder)  # an attribute that happens to be called like a field
            continue
        with pytest.raises(ContractError) as caught:
            load_catalog(folder)
        assert str(caught.value) == (
            "contracts/shop/order_placed/1.0.0.odcs.yaml:58: customProperties[0].value.source: found 'currency', which is "
            "classified or treated, allowed is a place of open values: the envelope is shown in the quarantine too"
        )
