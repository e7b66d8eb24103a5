"""How to reach the services that events are enriched from: `ANALYTICS_LOOKUP_<NAME>__<WHAT>`, see docs/lookups.md."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from analytics_platform.errors import SettingsError
from analytics_platform.variable import PREFIX, Secret, parse, variable

LOOKUP_PREFIX = "ANALYTICS_LOOKUP_"
PLACE = re.compile(r"\{([0-9])\}")
"""A place of an address where a part of a key goes: `{0}` for the first."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_URL = re.compile(r"(?i:https?)://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:[/?][!-~]*)?", re.IGNORECASE)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [!-~](?:[ -~]*[!-~])?")
"""A field line of RFC 9110, section 5, in ASCII."""
_MOST_THREADS = 64
_ADDRESS = "http:// or https://, a host without credentials, and {0}, {1}, … in its path or query"
_FIELD = "`Name: value` in printable ASCII"
_ARRAY = "a JSON array of texts and whole numbers"


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """One lookup: who answers, how long that may take, and how long an answer holds."""

    name: str
    """As contracts call it."""
    url: Secret | None = field(default=None, repr=False)
    """Address that is asked for one key, whose parts go percent-encoded where `{0}`, `{1}`, … stand; secret because
    services take their tokens there."""
    function: str | None = None
    """`module:function`, asked for many keys at once, instead of `url`."""
    header: Secret | None = field(default=None, repr=False)
    """`Name: value`, sent with every request."""
    ca_location: Path | None = None
    """File of the authority that signed the service's certificate; without it, this machine's."""
    probe: str | None = field(default=None, repr=False)
    """The key that `doctor` asks for: a JSON array of its parts."""
    timeout: timedelta = timedelta(seconds=1)
    """How long one question may take, from the first byte to the last."""
    wait: timedelta = timedelta(seconds=2)
    """How long a micro-batch waits for the answers to all its keys."""
    concurrency: int = 8
    """At most so many questions at once; those that were given up count until they end."""
    ttl: timedelta = timedelta(hours=1)
    """How long what was found is taken from the cache."""
    negative_ttl: timedelta = timedelta(minutes=1)
    """How long the cache remembers that there is nothing."""
    stale: timedelta = timedelta(hours=24)
    """How long after that what was found still serves while the service does not answer."""
    entries: int = 20_000
    """Keys that the cache holds."""
    answer_bytes: int = 4096
    """A longer answer is none."""
    breaker_failures: int = 5
    """After so many failures in a row nothing is asked for a while."""
    breaker_pause: timedelta = timedelta(seconds=30)
    """How long that is; then one question tries."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            SettingsError: naming the variables; no address and no header is shown.
        """
        faults = (
            (
                "url",
                (self.url is None) == (self.function is None),
                f"allowed is either it or {self._called('function')}",
            ),
            ("url", self.url is not None and not _is_address(self.url), f"allowed is {_ADDRESS}"),
            (
                "function",
                self.function is not None and not _FUNCTION.fullmatch(self.function),
                f"found {self.function!r}, allowed is module:function",
            ),
            ("header", self.function is not None and self.header is not None, "only an address has one"),
            ("ca_location", self.function is not None and self.ca_location is not None, "only an address has one"),
            ("header", self.header is not None and not _HEADER.fullmatch(self.header), f"allowed is {_FIELD}"),
            ("probe", self.probe is not None and self.probe_key() is None, f"allowed is {_ARRAY}"),
            ("timeout", not self.timeout, "found 0, and nobody answers at once"),
            ("wait", not self.wait, "found 0, and nobody answers at once"),
            (
                "concurrency",
                self.concurrency > _MOST_THREADS,
                f"found {self.concurrency}, allowed are at most {_MOST_THREADS}",
            ),
        )
        wrong = [f"{self._called(what)}: {complaint}" for what, is_wrong, complaint in faults if is_wrong]
        if wrong:
            raise SettingsError(wrong)

    def probe_key(self) -> tuple[str | int, ...] | None:
        """The parts of `probe`; None where there is none, or it is no such array."""
        try:
            parts = json.loads(self.probe or "")
        except (ValueError, RecursionError):
            return None
        if not isinstance(parts, list) or not parts or not all(type(part) in {str, int} for part in parts):
            return None
        return tuple(parts)

    def environ(self) -> dict[str, str]:
        """The variables that `read_lookups` turns into these settings."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "name"}
        return {
            self._called(name): str(value.total_seconds()) if isinstance(value, timedelta) else str(value)
            for name, value in values.items()
            if value is not None
        }

    def _called(self, what: str) -> str:
        return variable(what, self.__dataclass_fields__[what].type, f"LOOKUP_{self.name.upper()}__")


def read_lookups(environ: Mapping[str, str]) -> tuple[tuple[LookupSettings, ...], list[str]]:
    """The lookups that variables set, sorted by name, and a sentence for every variable that is wrong."""
    wrong: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    known = {variable(item.name, item.type).removeprefix(PREFIX): item for item in fields(LookupSettings)}
    del known["NAME"]
    for name in sorted(name for name in environ if name.startswith(LOOKUP_PREFIX)):
        called, _, what = name.removeprefix(LOOKUP_PREFIX).rpartition("__")
        item = known.get(what)
        if item is None or called != called.upper() or not _NAME.fullmatch(called.lower()):
            near = difflib.get_close_matches(what, known, n=1) if called and item is None else []
            wrong.append(
                f"{name} is unknown" + (f" (did you mean {LOOKUP_PREFIX}{called}__{near[0]}?)" if near else "")
            )
            continue
        try:
            found.setdefault(called.lower(), {})[item.name] = parse(item.type, environ[name])
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    lookups = []
    for called, values in sorted(found.items()):
        try:
            lookups.append(LookupSettings(called, **values))
        except SettingsError as error:
            wrong += error.complaints
    return tuple(lookups), wrong


def _is_address(text: str) -> bool:
    """Whether only the path or the query of an address has places for a key, all from the first on."""
    places = {int(place) for place in PLACE.findall(text)}
    if not _URL.fullmatch(text) or "#" in text or not places or places != set(range(len(places))):
        return False
    port = re.match(r"[^/]*//(?:\[[^]]*\]|[^/:?]*):([0-9]+)", text)
    if port is not None and not 0 < int(port.group(1)) < 65536:
        return False
    return not set("{}\\") & set(PLACE.sub("", text))
