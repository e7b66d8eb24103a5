"""Who may import what: each engine has one home, and imports point from the outside in."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import analytics_platform

ROOT = Path(analytics_platform.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

HOMES = {
    "confluent_kafka": ("kafka/",),
    "deltalake": ("lake/",),
    "pandera": ("contract/",),
    "yaml": ("contract/",),
    "dagster": ("defs/", "definitions.py"),
    "duckdb": ("duck.py",),
    "vl_convert": ("chart/",),
    "jinja2": ("pages/",),
    "markupsafe": ("pages/",),
    "httpcore2": ("lookup/",),
}

LEVELS = (
    ("errors", "stopwatch"),
    ("keyring", "variable"),
    ("lookup_settings",),
    ("settings",),
    ("duck", "kafka"),
    ("parquet", "contract", "lake", "revision", "outgoing", "lookup"),
    (
        "report",
        "bronze",
        "history",
        "window",
        "judge",
        "outline",
        "fingerprint",
        "erasure",
        "schema_book",
        "write",
        "publish",
        "watermark",
    ),
    ("tally", "alert", "quarantine", "silver", "reference", "refetch", "produce"),
    ("chronicle",),
    ("enrich", "gold", "selection", "breaker"),
    ("derive", "fill"),
    ("catchup", "subject"),
    ("stream", "rebuild", "gaps", "query", "usage", "lateness", "replay", "resume"),
    ("chart",),
    ("status", "doctor", "impact", "pages", "forget"),
    ("defs", "demo"),
    ("cli",),
    ("definitions",),
)
"""From the bottom to the top. What stands on one line may not import each other, except inside a folder."""

FORBIDDEN = {"utils", "helpers", "common", "core", "base", "manager", "handler", "processor", "service", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Full names of what a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: a relative import"
            yield from (f"{node.module}.{item.name}" for item in node.names)


def level_of(top: str) -> int:
    (level,) = [number for number, names in enumerate(LEVELS) if top in names]
    return level


def ids(path: Path) -> str:
    return name_of(path)


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_engines_stay_at_home(path: Path) -> None:
    name = name_of(path)
    found = {item.split(".")[0] for item in imports(path)}
    strays = {engine for engine, homes in HOMES.items() if engine in found and not name.startswith(homes)}
    assert not strays, f"{name} imports {sorted(strays)}"


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_point_downwards(path: Path) -> None:
    name = name_of(path)
    top = name.split("/")[0].removesuffix(".py")
    if top == "__init__":
        assert not [item for item in imports(path) if item.startswith("analytics_platform")]
        return
    for item in imports(path):
        parts = item.split(".")
        if parts[0] != "analytics_platform" or parts[1] == top:
            continue
        assert level_of(parts[1]) < level_of(top), f"{name} imports {item}"


def test_kafka_below_everything_knows_no_lake_and_the_lake_knows_offsets_only() -> None:
    for path in MODULES:
        name = name_of(path)
        if name.startswith("lake/"):
            found = {item.split(".")[2] for item in imports(path) if item.startswith("analytics_platform.kafka.")}
            assert found <= {"offsets"}, name


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_names_of_modules(path: Path) -> None:
    words = set(path.relative_to(ROOT).with_suffix("").parts)
    assert not words & FORBIDDEN


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_annotations_are_not_postponed(path: Path) -> None:
    """Dagster reads them while a module is loaded."""
    assert "__future__.annotations" not in set(imports(path))


def test_rows_are_written_in_one_place_and_through_a_handle() -> None:
    """The whole argument for exactly-once rests on it: see `lake/commit.py`."""
    calls = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name | ast.Attribute) and "write_deltalake" in ast.dump(node):
                assert name_of(path) == "lake/commit.py"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "write_deltalake":
                calls.append(node)
    assert len(calls) == 2
    for call in calls:
        assert isinstance(call.args[0], ast.Name)
        assert call.args[0].id == "table"
    text = (ROOT / "lake/commit.py").read_text()
    assert re.search(r"def _write\(table: DeltaTable,", text)


@pytest.mark.parametrize(
    "call", ["write_delta(", "sink_delta(", ".merge(", ".restore(", ".repair(", "create_write_transaction("]
)
def test_nothing_else_writes_to_tables(call: str) -> None:
    assert [name_of(path) for path in MODULES if call in path.read_text()] == []


def test_only_the_outermost_layer_reads_the_clock_and_the_environment() -> None:
    asks = re.compile(r"datetime\.now\(|datetime\.utcnow\(|date\.today\(|os\.environ|os\.getenv|time\.time\(")
    outer = ("cli/", "defs/", "demo/", "definitions.py", "kafka/apache.py")
    strays = [name_of(path) for path in MODULES if asks.search(path.read_text())]
    assert [name for name in strays if not name.startswith(outer)] == []
