from pathlib import Path

import pytest

from analytics_platform.contract.source import MAX_BYTES, read_source


def read(tmp_path: Path, text: str | bytes) -> tuple[object, list[str]]:
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    source = read_source(path, "x.yaml")
    return source.data, [str(complaint) for complaint in source.complaints]


def test_scalars_mean_what_they_mean_in_json(tmp_path: Path) -> None:
    text = """
    no: no
    on: on
    octal: 010
    base60: 1:30
    date: 2013-01-01
    underscore: 1_000
    plus: +1
    infinite: .inf
    quoted: '12'
    block: |
      12
    empty:
    tilde: ~
    null: null
    true: true
    integer: -12
    number: 1.5e3
    version: 1.0.0
    many: 11111111111111111111111111111111111111111
    """

    assert read(tmp_path, text) == (
        {
            "no": "no",
            "on": "on",
            "octal": "010",
            "base60": "1:30",
            "date": "2013-01-01",
            "underscore": "1_000",
            "plus": "+1",
            "infinite": ".inf",
            "quoted": "12",
            "block": "12\n",
            "empty": None,
            "tilde": None,
            "null": None,
            "true": True,
            "integer": -12,
            "number": 1500.0,
            "version": "1.0.0",
            "many": "1" * 41,
        },
        [],
    )


def test_lines_of_keys_and_items(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a:\n  - b: 1\n    c: {d: 2}\n  - 3\n")

    assert read_source(path, "x.yaml").lines == {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 0, "b"): 2,
        ("a", 0, "c"): 3,
        ("a", 0, "c", "d"): 3,
        ("a", 1): 4,
    }


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("a: &x 1\nb: *x", ["x.yaml:1: a: found the anchor &x, allowed are values without anchors",
                            "x.yaml:2: b: found the alias *x, allowed are values written out"]),
        ("a: !!python/object:os.system 1", [("x.yaml:1: a: found the tag tag:yaml.org,2002:python/object:os.system, "
                                            "allowed are values without tags")]),
        ("a: 1\nb: 2\na: 3", ["x.yaml:3: a: found the key a second time (first in line 1), allowed is each key once"]),
        ("? [a]\n: 1", ["x.yaml:1: found a key that is not text, allowed are keys of text"]),
        ("&x a: 1", ["x.yaml:1: a: found an anchor or a tag on a key, allowed are keys without"]),
        ("a: 1\n---\nb: 2", ["x.yaml:2: found a second document, allowed is one document in a file"]),
        ("[1, 2]", ["x.yaml:1: found a list, allowed is a mapping"]),
        ("", ["x.yaml: found nothing, allowed is a mapping"]),
        ("a: " + "[" * 100_000, ["x.yaml:1: found more than 40 levels, allowed are at most 40"]),
        ("a: [1\n", ["x.yaml:2: found did not find expected ',' or ']', allowed is YAML"]),
        ("a:\n\tb: 1", ["x.yaml:2: found found character that cannot start any token, allowed is YAML"]),
        (b"a: 1\nb: \xff", ["x.yaml:2: found bytes that are not UTF-8, allowed is UTF-8 text"]),
        ("a: " + "x" * MAX_BYTES, ["x.yaml: found more than 262144 bytes, allowed are at most 262144"]),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str | bytes, complaints: list[str]) -> None:
    assert read(tmp_path, text)[1] == complaints


def test_no_file(tmp_path: Path) -> None:
    source = read_source(tmp_path / "y.yaml", "y.yaml")

    assert source.data is None
    assert [str(complaint) for complaint in source.complaints] == [
        "y.yaml: found No such file or directory, allowed is a file that can be read"
    ]
