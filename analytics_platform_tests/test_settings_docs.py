import re
from pathlib import Path

from analytics_platform.settings import Settings

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"
ROW = re.compile(r"^\| `(ANALYTICS_\w+)` \| (?:`(.+?)`)? ?\| (.*)\|$", re.MULTILINE)


def test_docs_name_every_variable_and_its_default():
    documented = {name: default for name, default, _ in ROW.findall(DOCS.read_text())}
    defaults = {name: default for name, default in documented.items() if default}
    assert Settings.from_env(defaults) == Settings()
    # A value for each shows that the name is one of ours, and their number that none is missing.
    special = {"ANALYTICS_FSYNC": "true", "ANALYTICS_REGISTRY_URL": "http://registry"}
    either = "ANALYTICS_REGISTRY_TOKEN"  # or a user's name and password
    everything = {name: special.get(name, "7") for name in documented if name != either}
    assert set(Settings.from_env({either: "7"}).environ()) - set(Settings().environ()) == {either}
    assert Settings.from_env(everything).environ().keys() == everything.keys()
    assert len(everything) == len(Settings.from_env(everything).environ())
    unset = {name for name in documented if name not in defaults}
    assert unset.isdisjoint(Settings().environ())
    assert Settings().environ().keys() | unset == documented.keys()
