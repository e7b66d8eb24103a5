import inspect
import re
from pathlib import Path

import pytest

from analytics_platform import errors
from analytics_platform.errors import AnalyticsError

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, AnalyticsError)]
SAMPLES = {
    "partition": 3,
    "start": 120,
    "low": 340,
    "end": 9001,
    "have": 5,
    "failed": 1,
    "sent": 2,
    "tries": 20,
    "offset": 7,
}
DOCS = Path(errors.__file__).parents[1] / "docs"


def sample(kind: type[AnalyticsError]) -> AnalyticsError:
    """One with something in every field."""
    values = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        several = "Sequence" in str(parameter.annotation)
        values[name] = ["what is wrong"] if several else SAMPLES.get(name, f"<{name}>")
    return kind(**values)


def tree() -> dict[str, tuple[str, str]]:
    """Each class of the drawing: its parent and its line."""
    found: dict[str, tuple[str, str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)(\w+) {2,}(\S.*)$", line)
        if match is None or not match[2][0].isupper():
            if re.match(r"^    ([│├└─ ]*)([A-Z]\w+)$", line):
                match = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)()$", line)
            if match is None:
                continue
        depth = len(match[1]) // 4
        above[depth:] = [match[2]]
        found[match[2]] = (above[depth - 1] if depth else "Exception", match[3])
    return found


def test_the_drawing_is_the_tree() -> None:
    drawn = {name: parent for name, (parent, _) in tree().items()}
    assert drawn == {item.__name__: item.__base__.__name__ for item in CLASSES}


def test_the_drawing_says_what_is_retryable() -> None:
    said = {name for name, (_, line) in tree().items() if "(retryable)" in line}
    assert said == {item.__name__ for item in CLASSES if item.retryable}


RAISED = [item for item in CLASSES if "__init__" in vars(item)]
"""Without the families, which only sort them."""


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_an_error_is_one_paragraph_that_names_what_it_was_given(kind: type[AnalyticsError]) -> None:
    error = sample(kind)
    text = str(error)
    assert text == text.strip()
    for name, value in vars(error).items():
        if isinstance(value, str) and name != "log":
            assert value in text, name
        if isinstance(value, int):
            assert f"{value:,}" in text or str(value) in text or name == "offset", name


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_pages_that_errors_point_to_exist(kind: type[AnalyticsError]) -> None:
    for page, anchor in re.findall(r"docs/([\w-]+\.md)#?([\w-]*)", str(sample(kind))):
        text = (DOCS / page).read_text()
        anchors = {
            re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        assert not anchor or anchor in anchors, f"docs/{page} has no #{anchor}"


def test_the_example_of_the_style_guide() -> None:
    found = str(errors.OffsetsExpired("flights", 3, 120, 340, 9001))
    assert found.startswith("flights[3]: offsets 120..340 expired before they were read (broker holds 340..9001).")
    assert "`analytics-platform gaps accept flights`" in found
