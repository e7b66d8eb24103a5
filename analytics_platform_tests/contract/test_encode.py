import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.encode import Encoder, NotEncodable
from analytics_platform.contract.registered import registered_schema
from analytics_platform.judge import judge
from analytics_platform.kafka.frame import WireFormat
from analytics_platform_tests.contract.example import contract, field, order, records, text
from analytics_platform_tests.contract.shapes import events, in_protobuf, payloads

FRAMED = [one for one in WireFormat if one is not WireFormat.JSON]


def without_null_arrays(row: Any) -> Any:
    """What Protobuf makes of it: it cannot tell an array that is null from one that is empty."""
    if isinstance(row, dict):
        return {name: without_null_arrays(one) for name, one in row.items()}
    return [without_null_arrays(one) for one in row] or None if isinstance(row, list) else row


@pytest.mark.parametrize("wire", FRAMED)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_what_is_written_is_judged_as_the_json_it_was_written_from(wire: WireFormat, data: st.DataObject) -> None:
    payload = tuple(in_protobuf(one) for one in data.draw(payloads()))
    of = contract(payload=payload)
    found = data.draw(st.lists(events(payload), min_size=1, max_size=6))
    made = [text(order(of, currency=..., total_cents=..., order_id=f"O-{n}", **event)) for n, event in enumerate(found)]
    good = judge(records(made), [of]).good.get(of.name)
    if good is None or good.is_empty():
        return
    wired = replace(of, wire=wire)
    schema = registered_schema(wired, [wired])
    encoder = Encoder(wired, schema, 7)
    values = [encoder.encoded(made[place]) for place in good["_offset"].to_list()]
    again = judge(records(values), [wired], schemas={"id:7": schema})
    assert again.rejected.is_empty()
    names = [one.name for one in of.fields]
    before, after = (frame.select(names).rows(named=True) for frame in (good, again.good[of.name]))
    if wire is WireFormat.PROTOBUF:
        before, after = without_null_arrays(before), without_null_arrays(after)
    assert after == before


@pytest.mark.parametrize("wire", FRAMED)
def test_digits_after_the_microseconds_are_cut_as_they_are_in_json(wire: WireFormat) -> None:
    of = contract(payload=(field("order_id"), field("at", "timestamp")))
    made = text(order(of, currency=..., total_cents=..., at="2013-12-31T23:59:59.1234567Z"))
    wired = replace(of, wire=wire)
    schema = registered_schema(wired, [wired])
    value = Encoder(wired, schema, 7).encoded(made)
    plain = judge(records([made]), [of]).good[of.name]["at"]
    assert judge(records([value]), [wired], schemas={"id:7": schema}).good[of.name]["at"].to_list() == plain.to_list()


@pytest.mark.parametrize("wire", FRAMED)
@pytest.mark.parametrize("cents", ["5", 1.5, True, 2**63, None])
def test_nothing_becomes_something_else(wire: WireFormat, cents: Any) -> None:
    of = replace(contract(payload=(field("order_id"), field("cents", "integer"))), wire=wire)
    encoder = Encoder(of, registered_schema(of, [of]), 7)
    event = order(of, currency=..., total_cents=..., cents=cents)
    with pytest.raises(NotEncodable):
        encoder.encoded(json.dumps(event).encode())
