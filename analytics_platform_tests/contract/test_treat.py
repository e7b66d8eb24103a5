import hmac
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import EventContract, Field, Operation, Treatment
from analytics_platform.contract.schema import polars_schema, silver_columns
from analytics_platform.contract.treat import treated
from analytics_platform.contract.treatment import key_names, personal_columns
from analytics_platform.errors import ContractError
from analytics_platform.keyring import KeyRing
from analytics_platform_tests.contract.example import contract, field
from analytics_platform_tests.contract.tree import ORDER_FILE, change, write_tree

RING = KeyRing({"people": b"p" * 32, "others": b"o" * 32})
DROP, KEEP = Treatment(Operation.DROP), Treatment(Operation.KEEP)
HASH = Treatment(Operation.HASH, key="people")


def mask(first: int = 0, last: int = 0) -> Treatment:
    return Treatment(Operation.MASK, first=first, last=last)


def digest(text: str, key: bytes = b"p" * 32) -> str:
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def event(*payload: Field, version: str = "1.0.0") -> EventContract:
    return contract(payload=payload, version=version)


def result(rows: list[dict[str, object]], *payload: Field) -> list[dict[str, object]]:
    frame = pl.DataFrame(rows, schema=polars_schema(payload))
    found = treated(frame, [event(*payload)], RING)
    assert found.schema == frame.schema
    return found.to_dicts()


def test_each_treatment_of_a_text() -> None:
    fields = (
        field("kept", treatment=KEEP, classification="restricted"),
        field("plain"),
        field("dropped", treatment=DROP),
        field("hashed", treatment=HASH),
        field("other", treatment=Treatment(Operation.HASH, key="others")),
        field("masked", treatment=mask(1, 2)),
    )
    names = [one.name for one in fields]
    rows = [
        dict.fromkeys(names, "Ada Lovelace"),
        dict.fromkeys(names, "añ"),
        dict.fromkeys(names),
        dict.fromkeys(names, ""),
    ]
    both = [(digest(text), digest(text, b"o" * 32)) for text in ("Ada Lovelace", "añ", "")]
    assert [tuple(row.values()) for row in result(rows, *fields)] == [
        ("Ada Lovelace", "Ada Lovelace", None, *both[0], "A***ce"),
        ("añ", "añ", None, *both[1], "***"),
        (None, None, None, None, None, None),
        ("", "", None, *both[2], "***"),
    ]


def test_a_mask_never_shows_a_whole_value() -> None:
    one = field("masked", treatment=mask(2, 2))
    rows = [{"masked": text} for text in ("abcd", "abcde", "ééééé")]
    assert [row["masked"] for row in result(rows, one)] == ["***", "ab***de", "éé***éé"]


def test_inside_objects_and_arrays() -> None:
    person = field(
        "person",
        "object",
        required=False,
        fields=(
            field("name", treatment=HASH),
            field("age", "integer"),
            field("lines", "array", required=False, item=field("line", treatment=mask())),
        ),
    )
    people = field("people", "array", required=False, item=person)
    ada = {"name": "Ada", "age": 36, "lines": ["1 St James's Sq", None]}
    bob = {"name": None, "age": None, "lines": None}
    hidden = {"name": digest("Ada"), "age": 36, "lines": ["***", None]}
    rows = [
        {"person": ada, "people": [ada, None, bob]},
        {"person": None, "people": []},
        {"person": bob, "people": None},
    ]
    assert result(rows, person, people) == [
        {"person": hidden, "people": [hidden, None, bob]},
        {"person": None, "people": []},
        {"person": bob, "people": None},
    ]


def test_what_is_no_text_can_be_dropped() -> None:
    fields = (
        field("born", "date", treatment=DROP),
        field("where", "object", treatment=DROP, fields=(field("street", classification="restricted"),)),
        field("tags", "array", treatment=DROP, item=field("tag")),
    )
    rows = [{"born": date(1815, 12, 10), "where": {"street": "x"}, "tags": ["a"]}]
    assert result(rows, *fields) == [{"born": None, "where": None, "tags": None}]


def test_no_rows() -> None:
    assert result([], field("a", treatment=HASH), field("b", "array", item=field("c", treatment=HASH))) == []


def test_the_newest_version_decides_for_rows_of_all() -> None:
    """A released contract does not change; that a field is personal may be found out later."""
    old = event(field("name"), field("only_old", treatment=DROP))
    new = event(field("name", treatment=HASH, classification="restricted"), version="1.10.0")
    rows = pl.DataFrame({"name": ["Ada"], "only_old": ["x"]})
    for versions in ([old, new], [new, old]):
        assert treated(rows, versions, RING).to_dicts() == [{"name": digest("Ada"), "only_old": None}]
    assert key_names([old, new]) == {"people"}
    assert personal_columns(new.fields) == ("name",)


def test_a_dropped_column_may_be_null() -> None:
    found = {column.name: column.required for column in silver_columns([event(field("a", treatment=DROP), field("b"))])}
    assert (found["a"], found["b"]) == (False, True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=8), st.integers(0, 3), st.integers(0, 3))
def test_treating_rows_one_by_one_or_together_is_the_same(texts: list[str | None], first: int, last: int) -> None:
    fields = (field("h", treatment=HASH), field("m", treatment=mask(first, last)))
    rows: list[dict[str, object]] = [{"h": text, "m": text} for text in texts]
    together = result(rows, *fields)
    assert together == [result([row], *fields)[0] for row in rows]
    for text, row in zip(texts, together, strict=True):
        assert row["h"] == (None if text is None else digest(text))
        assert (row["m"] is None) == (text is None)
        assert text is None or len(text) > first + last or row["m"] == "***"


def test_an_envelope_taken_from_a_classified_field(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    change(
        tmp_path,
        ORDER_FILE,
        "name: currency, logicalType: string, enum: [{value: EUR}, {value: USD}]",
        "name: currency, logicalType: string, classification: restricted, "
        "customProperties: [{property: treatment, vendor: analytics_platform, value: keep}]",
    )
    load_catalog(folder)
    change(tmp_path, ORDER_FILE, "      source: source\n", "      source: currency\n")
    with pytest.raises(ContractError) as caught:
        load_catalog(folder)
    assert str(caught.value) == (
        f"{ORDER_FILE}:62: customProperties[0].value.source: found 'currency', which is classified or treated, allowed "
        "is a place of open values: the envelope is shown in the quarantine too"
    )


def test_a_window_over_a_time_that_is_dropped(tmp_path: Path) -> None:
    folder = write_tree(tmp_path)
    dropped = "customProperties: [{property: treatment, vendor: analytics_platform, value: drop}]"
    change(
        tmp_path,
        ORDER_FILE,
        "      - {name: placed_at, logicalType: timestamp, required: true}\n",
        "      - {name: placed_at, logicalType: timestamp, required: true}\n"
        f"      - {{name: paid_at, logicalType: timestamp, required: true, {dropped}}}\n",
    )
    load_catalog(folder)
    change(tmp_path, "contracts/shop/marts/sales_daily.odcs.yaml", "order_placed: placed_at", "order_placed: paid_at")
    with pytest.raises(ContractError) as caught:
        load_catalog(folder)
    assert str(caught.value).endswith(
        "found 'paid_at', allowed are occurred_at, placed_at: the required timestamps of silver.order_placed (did you "
        "mean placed_at?)"
    )
