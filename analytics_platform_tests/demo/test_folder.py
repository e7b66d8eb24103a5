import pytest

from analytics_platform.cli.call import Call
from analytics_platform.demo import folder as module
from analytics_platform.demo.folder import DEFAULT, MARK, fresh_folder, settings_of
from analytics_platform.demo.signals import Interrupted
from analytics_platform.errors import DemoFailed


def test_a_folder_of_the_last_demo_is_emptied(tmp_path):
    with fresh_folder(tmp_path / "demo") as first:
        (first.lake / "silver").mkdir()
        (first.root / "link").symlink_to(tmp_path)
        first.log("web").write_text("old")
    kept = tmp_path / "kept"
    kept.write_text("not the demo's")
    with fresh_folder(tmp_path / "demo") as second:
        assert sorted(str(item.relative_to(second.root)) for item in second.root.rglob("*")) == [
            MARK,
            "dagster",
            "lake",
            "logs",
        ]
    assert kept.read_text() == "not the demo's"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "precious").write_text("rows")
    with pytest.raises(DemoFailed, match="left alone"), fresh_folder(tmp_path / "lake"):
        pass
    assert (tmp_path / "lake" / "precious").read_text() == "rows"
    assert not (tmp_path / "lake" / MARK).exists()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(DemoFailed, match="left alone"), fresh_folder(tmp_path / "demo"):
        pass


def test_another_demo_runs_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.2)
    with fresh_folder(tmp_path) as first:
        first.log("web").write_text("at work")
        with pytest.raises(DemoFailed, match="Another demo runs"), fresh_folder(tmp_path):
            pass
        with pytest.raises(Interrupted), fresh_folder(tmp_path, lambda: True):
            pass
        assert first.log("web").read_text() == "at work"


def test_settings_are_found_in_a_demo_folder_only(tmp_path):
    assert settings_of(tmp_path / "nowhere") is None
    (tmp_path / "settings.json").write_text('{"ANALYTICS_LAKE": "elsewhere"}')
    assert settings_of(tmp_path) is None
    with fresh_folder(tmp_path / "demo") as made:
        assert settings_of(made.root) is None
        made.write_settings({"ANALYTICS_LAKE": str(made.lake)})
        assert settings_of(made.root) == {"ANALYTICS_LAKE": str(made.lake)}


@pytest.mark.parametrize("own", ["option", "variable", "folder", "nothing"])
def test_a_command_that_looks_takes_the_demo_only_where_no_lake_is_named_or_there(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANALYTICS_LAKE", raising=False)
    mine = tmp_path / "mine"
    if own == "variable":
        monkeypatch.setenv("ANALYTICS_LAKE", str(mine))
    elif own == "folder":
        (tmp_path / "lake").mkdir()
    call = Call(lake=mine if own == "option" else None)
    assert call.settings_to_look() == call.settings()  # no demo ran yet
    with fresh_folder(DEFAULT) as made:
        made.write_settings({"ANALYTICS_LAKE": str(made.lake), "ANALYTICS_BATCH_ROWS": "7"})
        found = call.settings_to_look()
        if own == "nothing":
            assert (found.lake, found.batch_rows) == (made.lake, 7)
            assert "this is the demo's lake" in capsys.readouterr().err
        else:
            assert found == call.settings()
            assert capsys.readouterr().err == ""
        assert call.settings().lake != made.lake
