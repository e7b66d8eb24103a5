from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.lookup.address import Address, is_askable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def test_parts_of_a_key_go_where_they_belong() -> None:
    address = Address("https://api.example:8443/v1/{1}/rates/{0}?on={1}&full=1")
    assert (address.scheme, address.host, address.port, address.parts) == (b"https", b"api.example", 8443, 2)
    assert address.target(("EUR", 7)) == b"/v1/7/rates/EUR?on=7&full=1"
    assert Address("http://[::1]?q={0}").target(("a b",)) == b"/?q=a%20b"
    assert Address("http://[::1]?q={0}").host == b"::1"


@given(TEXT, TEXT)
def test_no_key_leaves_its_place(first: str, second: str) -> None:
    target = Address("http://host/a/{0}/b?q={1}&r=1").target((first, second))
    if target is None:
        assert {"", ".", ".."} & set(first.replace("\\", "/").split("/"))
        return
    parts = urlsplit(target.decode("ascii"))
    _, a, found, b = parts.path.split("/")
    assert (a, unquote(found), b) == ("a", first, "b")
    query = parts.query.split("&")
    assert query == [query[0], "r=1"]
    assert unquote(query[0]) == f"q={second}"
    assert target.isascii()
    assert not set(b"\r\n\0 #") & set(target)


@pytest.mark.parametrize("part", ["..", ".", "", "../admin", "a/../../admin", "..\\admin", "a//b", "/", "a/"])
def test_a_key_that_walks_makes_no_path(part: str) -> None:
    assert Address("http://host/rates/{0}").target((part,)) is None
    assert Address("http://host/rates?on={0}").target((part,)) is not None


def test_parts_that_walk_together_make_no_path() -> None:
    address = Address("http://host/rates/{0}{1}")
    assert address.target((".", ".")) is None
    assert address.target((".", "x")) == b"/rates/.x"
    assert address.target(("a/b", "")) == b"/rates/a%2Fb"


@pytest.mark.parametrize(
    ("key", "askable"),
    [
        (("EUR", 7), True),
        (("x" * 1024,), True),
        (("x" * 1000, "y" * 25), False),
        (("é" * 513,), False),
        (("EUR", None), False),
        ((None,), False),
        (("\ud800",), False),
    ],
)
def test_keys_that_no_service_can_know(key: tuple[str | int | None, ...], askable: bool) -> None:
    assert is_askable(key) is askable
