import pytest

from analytics_platform.lookup.answer import Answer, Found, Unavailable, answer_of


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"rate": 1.5, "of": ["a", {"b": null}]}', Found({"rate": 1.5, "of": ["a", {"b": None}]})),
        (b"{}", Found({})),
        (b"", Unavailable("answer is no JSON")),
        (b'{"rate": NaN}', Unavailable("answer is no JSON")),
        (b'{"rate": 1e999}', Unavailable("answer is no JSON")),
        (b'{"name": "\\ud800"}', Unavailable("answer is no JSON")),
        (b'{"name": "\xff"}', Unavailable("answer is no JSON")),
        (b'{"deep": ' + b"[" * 2000 + b"]" * 2000 + b"}", Unavailable("answer is no JSON")),
        (b"null", Unavailable("answer is no JSON object")),
        (b"{" + b" " * 5000 + b"}", Unavailable("answer too long")),
    ],
)
def test_what_is_an_answer(body: bytes, expected: Answer) -> None:
    assert answer_of(body, 5000) == expected


def test_nobody_changes_what_the_cache_holds() -> None:
    found = answer_of(b'{"rate": 1}', 5000)
    assert isinstance(found, Found)
    with pytest.raises(TypeError):
        found.values["rate"] = 2  # type: ignore[index]
    assert "rate" not in repr(found)
