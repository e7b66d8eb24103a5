import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from analytics_platform.errors import SettingsError
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.settings import Settings
from analytics_platform.variable import Secret, variable

DOCS = Path(__file__).parent.parent / "docs"
ROW = re.compile(r"^\| `ANALYTICS_LOOKUP_<NAME>__(\w+)` \| (?:`(.+?)`)? ?\| (.*)\|$", re.MULTILINE)
ALL = {
    "ANALYTICS_LOOKUP_FX_RATE__URL": "https://rates.example:8443/v1/{0}?on={1}",
    "ANALYTICS_LOOKUP_FX_RATE__HEADER": "Authorization: Bearer hush",
    "ANALYTICS_LOOKUP_FX_RATE__CA_LOCATION": "/etc/ca.pem",
    "ANALYTICS_LOOKUP_FX_RATE__PROBE": '["EUR", 7]',
    "ANALYTICS_LOOKUP_FX_RATE__TIMEOUT_SECONDS": "0.5",
    "ANALYTICS_LOOKUP_FX_RATE__WAIT_SECONDS": "1.5",
    "ANALYTICS_LOOKUP_FX_RATE__CONCURRENCY": "4",
    "ANALYTICS_LOOKUP_FX_RATE__TTL_SECONDS": "60",
    "ANALYTICS_LOOKUP_FX_RATE__NEGATIVE_TTL_SECONDS": "0",
    "ANALYTICS_LOOKUP_FX_RATE__STALE_SECONDS": "600",
    "ANALYTICS_LOOKUP_FX_RATE__ENTRIES": "10",
    "ANALYTICS_LOOKUP_FX_RATE__ANSWER_BYTES": "100",
    "ANALYTICS_LOOKUP_FX_RATE__BREAKER_FAILURES": "3",
    "ANALYTICS_LOOKUP_FX_RATE__BREAKER_PAUSE_SECONDS": "10",
}
EXPECTED = LookupSettings(
    name="fx_rate",
    url=Secret("https://rates.example:8443/v1/{0}?on={1}"),
    header=Secret("Authorization: Bearer hush"),
    ca_location=Path("/etc/ca.pem"),
    probe='["EUR", 7]',
    timeout=timedelta(seconds=0.5),
    wait=timedelta(seconds=1.5),
    concurrency=4,
    ttl=timedelta(seconds=60),
    negative_ttl=timedelta(0),
    stale=timedelta(seconds=600),
    entries=10,
    answer_bytes=100,
    breaker_failures=3,
    breaker_pause=timedelta(seconds=10),
)
FUNCTION = {"ANALYTICS_LOOKUP_CUSTOMER__FUNCTION": "team.lookups:customers"}


def test_every_variable() -> None:
    found = Settings.from_env(ALL | FUNCTION)
    assert found.lookups == (LookupSettings("customer", function="team.lookups:customers"), EXPECTED)
    assert EXPECTED.probe_key() == ("EUR", 7)
    assert Settings.from_env(found.environ()) == found
    assert EXPECTED.environ().keys() == ALL.keys()


def test_docs_name_every_variable_and_its_default() -> None:
    documented = {what: default for what, default, _ in ROW.findall((DOCS / "settings.md").read_text())}
    prefix = "ANALYTICS_LOOKUP_X__"
    known = {variable(item.name, item.type, "LOOKUP_X__") for item in fields(LookupSettings) if item.name != "name"}
    assert {prefix + what for what in documented} == known
    defaults = {prefix + what: default for what, default in documented.items() if default}
    function = {f"{prefix}FUNCTION": "a:b"}
    assert Settings.from_env(defaults | function) == Settings.from_env(function)
    assert Settings.from_env(function).lookups[0].environ().keys() == defaults.keys() | function.keys()


@pytest.mark.parametrize(
    "url",
    [
        "https://rates.example/{0}",
        "HTTP://Rates.example?q={0}&r={1}",
        "http://[::1]:80/a/{1}/{0}/{1}",
        "http://127.0.0.1:1/x{0}y",
    ],
)
def test_addresses(url: str) -> None:
    assert LookupSettings("x", url=Secret(url)).url == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://rates.example/{0}",
        "file:///etc/passwd{0}",
        "rates.example/{0}",
        "http:///{0}",
        "http://{0}.example/",
        "http://rates.example:{0}/",
        "http://rates.example{0}/x",
        "http://me:hush@rates.example/{0}",
        "http://rates.example/",
        "http://rates.example/{1}",
        "http://rates.example/{0}/{2}",
        "http://rates.example/{currency}/{0}",
        "http://rates.example/{0}/{",
        "http://rates.example/{0}#hush",
        "http://rates.example/hush hush/{0}",
        "http://rates.example/{0}\r\nhush",
        "http://rates.example/{0}\n",
        "http://rates.example:0/{0}",
        "http://rates.example:65536/{0}",
        "http://rates.example\\@hush/{0}",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(SettingsError, match="ANALYTICS_LOOKUP_X__URL: allowed is http") as caught:
        Settings.from_env({"ANALYTICS_LOOKUP_X__URL": url})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"X__TTL_SECONDS": "1"}, "ANALYTICS_LOOKUP_X__URL: allowed is either it or ANALYTICS_LOOKUP_X__FUNCTION"),
        ({"X__URL": "http://a/{0}", "X__FUNCTION": "a:b"}, "allowed is either it or ANALYTICS_LOOKUP_X__FUNCTION"),
        ({"X__FUNCTION": "a.b"}, "ANALYTICS_LOOKUP_X__FUNCTION: found 'a.b', allowed is module:function"),
        ({"X__FUNCTION": "a:b", "X__HEADER": "A: hush"}, "ANALYTICS_LOOKUP_X__HEADER: only an address has one"),
        ({"X__FUNCTION": "a:b", "X__CA_LOCATION": "a"}, "ANALYTICS_LOOKUP_X__CA_LOCATION: only an address has one"),
        ({"X__URL": "http://a/{0}", "X__HEADER": "hush"}, "ANALYTICS_LOOKUP_X__HEADER: allowed is `Name: value`"),
        ({"X__URL": "http://a/{0}", "X__HEADER": "A: hush\r\nB: c"}, "ANALYTICS_LOOKUP_X__HEADER: allowed is"),
        ({"X__FUNCTION": "a:b", "X__PROBE": '["hush"'}, "ANALYTICS_LOOKUP_X__PROBE: allowed is a JSON array"),
        ({"X__FUNCTION": "a:b", "X__PROBE": "[true]"}, "ANALYTICS_LOOKUP_X__PROBE: allowed is a JSON array"),
        ({"X__FUNCTION": "a:b", "X__PROBE": "[]"}, "ANALYTICS_LOOKUP_X__PROBE: allowed is a JSON array"),
        ({"X__FUNCTION": "a:b", "X__TIMEOUT_SECONDS": "0"}, "ANALYTICS_LOOKUP_X__TIMEOUT_SECONDS: found 0"),
        ({"X__FUNCTION": "a:b", "X__WAIT_SECONDS": "0"}, "ANALYTICS_LOOKUP_X__WAIT_SECONDS: found 0"),
        ({"X__FUNCTION": "a:b", "X__CONCURRENCY": "65"}, "found 65, allowed are at most 64"),
        ({"X__FUNCTION": "a:b", "X__ENTRIES": "0"}, "allowed is a whole number above 0"),
        ({"X__URK": "hush"}, "ANALYTICS_LOOKUP_X__URK is unknown (did you mean ANALYTICS_LOOKUP_X__URL?)"),
        ({"X__ZZZ": "hush"}, "ANALYTICS_LOOKUP_X__ZZZ is unknown"),
        ({"X_URL": "hush"}, "ANALYTICS_LOOKUP_X_URL is unknown"),
        ({"__URL": "hush"}, "ANALYTICS_LOOKUP___URL is unknown"),
        ({"x__URL": "hush"}, "ANALYTICS_LOOKUP_x__URL is unknown"),
        ({"7__URL": "hush"}, "ANALYTICS_LOOKUP_7__URL is unknown"),
        ({"X__NAME": "hush"}, "ANALYTICS_LOOKUP_X__NAME is unknown"),
    ],
)
def test_a_lookup_that_cannot_be_meant(variables: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({f"ANALYTICS_LOOKUP_{name}": value for name, value in variables.items()})
    assert complaint in str(caught.value)
    assert "hush" not in str(caught.value)


def test_secrets_show_nowhere() -> None:
    settings = Settings.from_env(ALL)
    shown = f"{settings} {settings!r} {settings.lookups[0]} {settings.lookups[0].url!r}"
    assert "hush" not in shown
    assert "rates.example" not in shown
    assert "EUR" not in shown
