"""Traceparents as W3C Trace Context, section 3.2, has them; versions at the end of URIs."""

from datetime import UTC, datetime
from hashlib import md5

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics_platform.contract.decode import decode
from analytics_platform.contract.key import idempotency_key
from analytics_platform.contract.model import ENVELOPE, KeyMode
from analytics_platform.contract.place import Form, Place, Spot, malformed_sql, place, plain_sql, version_in
from analytics_platform_tests.contract.example import contract, field, one_connection, records, text

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("written", "read", "named"),
    [
        ("a", Place(Form.PLAIN, (Spot("a"),)), "a"),
        ("header:a", Place(Form.PLAIN, (Spot("a", header=True),)), "header a"),
        ("data:a", Place(Form.PLAIN, (Spot("a", data=True),)), "a"),
        ("uri:header:a", Place(Form.URI, (Spot("a", header=True),)), "header a"),
        ("traceparent:header:a|b", Place(Form.TRACEPARENT, (Spot("a", header=True), Spot("b"))), "header a or b"),
    ],
)
def test_a_place_as_it_is_written(written: str, read: Place, named: str):
    assert place(written) == read
    assert str(read) == named


TRACEPARENTS = [
    (GOOD, True),
    (f"00-{TRACE}-{SPAN}-00", True),
    (f"00-{TRACE}-{SPAN}-ff", True),
    (f"01-{TRACE}-{SPAN}-01", True),
    (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    (f"cc-{TRACE}-{SPAN}-01-", True),
    ("", False),
    (TRACE, False),
    (f"00-{TRACE}-{SPAN}", False),
    (f"00-{TRACE}-{SPAN}-", False),
    (f"00-{TRACE}-{SPAN}-1", False),
    (f"00-{TRACE}-{SPAN}-01-", False),
    (f"00-{TRACE}-{SPAN}-01-more", False),
    (f"cc-{TRACE}-{SPAN}-01.more", False),
    (f"ff-{TRACE}-{SPAN}-01", False),
    (f"ff-{TRACE}-{SPAN}-01-more", False),
    (f"0-{TRACE}-{SPAN}-01", False),
    (f".0-{TRACE}-{SPAN}-01", False),
    (f"00-{TRACE.upper()}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN.upper()}-01", False),
    (f"0A-{TRACE}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN}-0A", False),
    (f"00-{'0' * 32}-{SPAN}-01", False),
    (f"00-{TRACE}-{'0' * 16}-01", False),
    (f"cc-{'0' * 32}-{SPAN}-01-more", False),
    (f"00-{TRACE[:-1]}-{SPAN}-01", False),
    (f"00-{TRACE}0-{SPAN}-01", False),
    (f"00-{TRACE[:-1]}g-{SPAN}-01", False),
    (f" {GOOD}", False),
    (f"{GOOD} ", False),
    (f"{GOOD}\n", False),
    (f"00_{TRACE}_{SPAN}_01", False),
]


@pytest.mark.parametrize(("sent", "good"), TRACEPARENTS, ids=range(len(TRACEPARENTS)))
@pytest.mark.parametrize("where", ["traceparent:parent", "traceparent:header:parent"])
def test_a_traceparent(where: str, sent: str, good: bool):
    of = contract(
        payload=(field("order_id"),), envelope=dict(zip(ENVELOPE, ENVELOPE, strict=True)) | {"trace_id": where}
    )
    event = EVENT | {"idempotency_key": idempotency_key(of, EVENT)}
    in_header = "header" in where
    frame = records(
        [text(event if in_header else event | {"parent": sent})],
        headers=[{"parent": sent.encode()} if in_header else {"parent": b"no"}],
    )
    decoded = decode(frame, [of], connection=one_connection())
    if good:
        assert decoded.rows["order_placed"].select("trace_id", "event_type").rows() == [(TRACE, "order_placed")]
    else:
        reason = f"{'header ' if in_header else ''}parent: not a W3C traceparent"
        assert decoded.rejected.select("codes", "reasons").rows() == [(["wrong_type"], [reason])]


EVENT = {
    "event_type": "order_placed",
    "schema_version": "1.0.0",
    "occurred_at": "2013-01-01T10:00:00Z",
    "order_id": "O-1",
}


class TestGenerated:
    """A trace id made of where the record stands: a rebuild makes the same."""

    @staticmethod
    def of(where: str, mode: KeyMode = KeyMode.DERIVE):
        made = contract(
            payload=(field("order_id"), field("g")),
            envelope=dict(zip(ENVELOPE, ENVELOPE, strict=True)) | {"trace_id": where},
            mode=mode,
        )
        return type(made)(**{slot: getattr(made, slot) for slot in made.__slots__} | {"generate_trace_id": True})

    @pytest.mark.parametrize("where", ["trace_id", "header:trace_id"])
    def test_only_where_there_is_none(self, where: str):
        values = [EVENT | {"trace_id": "t", "g": "x"}, EVENT | {"trace_id": None, "g": "y"}, EVENT | {"g": "z"}]
        headers = [{"trace_id": b"t"}, {"trace_id": None}, {}]
        frame = records([text(value) for value in values], first=5, headers=headers)
        rows = decode(frame, [self.of(where)]).rows["order_placed"]
        assert rows.select("trace_id", "g").rows() == [
            ("t", "x"),
            (md5(b"id-1/0/6").hexdigest(), "y"),  # noqa: S324 - a name, no secret
            (md5(b"id-1/0/7").hexdigest(), "z"),  # noqa: S324 - a name, no secret
        ]

    def test_a_trace_id_of_another_type_is_not_replaced(self):
        frame = records([text(EVENT | {"trace_id": 5, "g": "x"})])
        assert decode(frame, [self.of("trace_id")]).rejected["codes"].to_list() == [["wrong_type"]]


@pytest.mark.parametrize(
    ("mode", "sent"),
    [(KeyMode.VERIFY, "right"), (KeyMode.DERIVE, "none"), (KeyMode.DERIVE, "wrong"), (KeyMode.TRUST, "wrong")],
)
@pytest.mark.parametrize("where", ["idempotency_key", "header:key"])
def test_keys_of_every_mode_from_value_and_header(where: str, mode: KeyMode, sent: str):
    of = contract(
        payload=(field("order_id"),),
        envelope=dict(zip(ENVELOPE, ENVELOPE, strict=True)) | {"idempotency_key": where},
        mode=mode,
    )
    right = idempotency_key(of, EVENT)
    key = {"right": right, "wrong": "wrong", "none": None}[sent]
    in_header = where == "header:key"
    event = EVENT | {"trace_id": "t"} | ({} if in_header or key is None else {"idempotency_key": key})
    headers = {"key": key.encode()} if in_header and key is not None else {}
    rows = decode(records([text(event)], headers=[headers]), [of]).rows["order_placed"]
    assert rows.select("idempotency_key", "occurred_at").rows() == [
        ("wrong" if mode is KeyMode.TRUST else right, datetime(2013, 1, 1, 10, tzinfo=UTC))
    ]


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        ("1.2.0", "1.2.0"),
        ("https://example.com/orders/1.2.0", "1.2.0"),
        ("https://example.com/orders/1.2.0.json", "1.2.0"),
        ("https://example.com/orders/v1.2.0", "1.2.0"),
        ("urn:example:orders:10.0.3", "10.0.3"),
        ("#/1.2.0", "1.2.0"),
        ("https://example.com/orders?version=1.2.0", "1.2.0"),
        ("https://example.com/1.0.0/orders/2.0.0-rc.1+5.json", "2.0.0-rc.1+5"),
        ("https://example.com/orders/1.2", None),
        ("https://example.com/orders/1.2.0/", None),
        ("https://example.com/orders/1.2.0.xml", None),
        ("https://example.com/orders/01.2.0", None),
        ("https://example.com/orders-1.2.0", None),
        ("https://example.com/orders/1.2.0 ", None),
        ("", None),
    ],
)
def test_the_version_at_the_end_of_a_uri(uri: str, version: str | None):
    assert version_in(uri) == version


@settings(max_examples=150, deadline=None)
@given(st.text("0123vabc./:#=?-+json\n%é", max_size=30) | st.from_regex(r"[/:]v?1\.[0-9]{1,2}\.0[-+.]?[a-j.]{0,6}"))
@example("x/1.2.0.json")
@example("x/1.2.0\n")
def test_the_gate_and_the_batch_read_one_version(uri: str):
    """The one routes a record, the other fills its column."""
    ((read,),) = one_connection().execute(f"SELECT {plain_sql(Form.URI, '$1')}", [uri]).fetchall()
    assert (read or None) == version_in(uri)


def test_what_has_no_form_is_taken_as_it_is():
    assert malformed_sql(Form.PLAIN, "x") is None
    assert plain_sql(Form.PLAIN, "x") == "x"
