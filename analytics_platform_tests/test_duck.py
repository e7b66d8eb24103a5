from pathlib import Path

import polars as pl
import pytest

from analytics_platform import duck


def settings_of(connection: duck.DuckDBPyConnection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())


def test_hardened_from_the_start():
    with duck.connect() as connection:
        found = settings_of(connection)
    assert {
        name: found[name] for name in found if name.startswith(("auto", "allow_")) and name.endswith("extensions")
    } == {
        "allow_community_extensions": "false",
        "allow_unsigned_extensions": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    assert found["python_enable_replacements"] == "false"
    assert found["allow_persistent_secrets"] == "false"
    assert found["TimeZone"] == "UTC"


def test_python_variables_are_not_tables():
    frame = pl.DataFrame({"x": [1]})
    with duck.connect() as connection:
        with pytest.raises(duck.Error, match="frame does not exist"):
            connection.execute("SELECT * FROM frame")
        connection.register("frame", frame.to_arrow())
        assert connection.execute("SELECT * FROM frame").fetchall() == [(1,)]


def test_limits_are_taken(tmp_path: Path):
    with duck.connect(memory_limit="100MiB", threads=1, temp=tmp_path) as connection:
        found = settings_of(connection)
    assert found["memory_limit"] == "100.0 MiB"
    assert found["threads"] == "1"
    assert found["temp_directory"] == str(tmp_path)


def test_two_connections_share_nothing():
    with duck.connect() as one, duck.connect() as two:
        one.execute("CREATE TABLE t AS SELECT 1 AS x")
        with pytest.raises(duck.Error, match="t does not exist"):
            two.execute("SELECT * FROM t")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{folder}/secret.txt')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "SET enable_external_access = true",
        "SET TimeZone = 'Europe/Rome'",
        "INSTALL httpfs",
        "SELECT * FROM read_csv('http://localhost:1/x.csv')",
    ],
)
def test_locked_down(sql: str, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    with duck.connect() as connection:
        duck.lock_down(connection)
        with pytest.raises(duck.Error):
            connection.execute(sql.format(folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


def test_locked_down_still_computes_and_spills(tmp_path: Path):
    with duck.connect(memory_limit="64MiB", threads=1, temp=tmp_path / "spill") as connection:
        connection.register("frame", pl.DataFrame({"x": [3, 1]}).to_arrow())
        duck.lock_down(connection)
        assert connection.execute("SELECT x FROM frame ORDER BY x").fetchall() == [(1,), (3,)]
        far = connection.execute(
            "SELECT x FROM (SELECT hash(i) AS x, md5(i::VARCHAR) AS y FROM range(3_000_000) r(i) ORDER BY y) LIMIT 1 OFFSET 2_999_999"
        ).fetchall()
    assert len(far) == 1


def test_names_and_texts_are_quoted():
    table, column, text = duck.identifier("select"), duck.identifier('a" b'), duck.literal("it's")
    with duck.connect() as connection:
        connection.execute(f"CREATE TABLE {table} AS SELECT {text} AS {column}")
        assert connection.execute('SELECT "a"" b" FROM "select"').fetchall() == [("it's",)]
