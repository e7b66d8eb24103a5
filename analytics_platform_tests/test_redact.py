"""What a value looks like, without what it holds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.redact import LONGEST, shape


@pytest.mark.parametrize(
    ("value", "looks"),
    [
        (None, "null"),
        (b"", "0 bytes of nothing"),
        (b"{", "1 bytes of text that is not JSON"),
        (b"\xff", "1 bytes of binary"),
        (b"\x00\x00\x00\x00\x07\xff", "6 bytes of binary, beginning as a schema registry's formats do"),
        (b'"x"', "string"),
        (b"{}", "{}"),
        (b"[]", "[]"),
        (b'[1, 2, "x", 3.5, true, null]', "[integer or string or number or boolean or null] \xd7 6"),
        (b'{"a": {"b": [{"c": 1}, {"c": 2}]}}', "{a: {b: [{c: integer}] \xd7 2}}"),
        (b'{"line1": 1, "49 151 234": 2}', "{line1: integer, (key of 10 characters): integer}"),
        (b"[" * 9 + b"]" * 9, "[[[[[[[[[\u2026]] \xd7 1] \xd7 1] \xd7 1] \xd7 1] \xd7 1] \xd7 1] \xd7 1] \xd7 1"),
        (b"[" * 100_000, "100,000 bytes"),
        (b"[" * LONGEST, "65,536 bytes of text that is not JSON"),
    ],
)
def test_shapes(value: bytes | None, looks: str) -> None:
    assert shape(value) == looks


def test_a_value_that_was_cut() -> None:
    assert shape(b'{"a":', 2_000) == "2,000 bytes, of which the first 5 were kept"


def test_an_object_of_many_keys() -> None:
    assert shape(json.dumps({f"k{n % 100}{'x' * n}": n for n in range(70)}).encode()).endswith(", \u2026 10 more}")


DIGITS = st.text("0123456789@ ", min_size=12, max_size=30)


@given(
    st.recursive(
        DIGITS | st.integers(10**12, 10**15),
        lambda inner: st.lists(inner) | st.dictionaries(DIGITS, inner),
        max_leaves=20,
    )
)
def test_no_value_and_no_key_that_may_be_one_is_shown(value: Any) -> None:
    looks = shape(json.dumps(value).encode())
    assert "@" not in looks
    assert not [part for part in looks.split() if part.isdigit() and len(part) > 3]
