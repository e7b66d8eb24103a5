from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.model import Rules
from analytics_platform_tests.contract.draw.drawn import payload
from analytics_platform_tests.contract.draw.test_json_schema import of_json, one

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda text: "${" not in text)


@settings(max_examples=25, deadline=None)
@given(words=TEXTS, values=st.lists(TEXTS, min_size=1, max_size=24, unique=True))
def test_any_text_comes_back(words: str, values: list[str]) -> None:
    found = payload(of_json(one({"type": "string", "description": words, "enum": values})))["x"]
    assert (found.description, found.rules) == (words.strip(), Rules(enum=tuple(values)))


def test_text_that_yaml_takes_for_something_else() -> None:
    values = [
        "true",
        "Null",
        "~",
        "no",
        "1",
        "1e3",
        "-",
        "a: b",
        "a #b",
        "'",
        '"',
        "\\n",
        "*a",
        "&a",
        "!a",
        "{a}",
        " a ",
    ]
    assert payload(of_json(one({"type": "string", "enum": values})))["x"].rules == Rules(enum=tuple(values))
