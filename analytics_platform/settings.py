"""Everything that may differ between two machines, read once from `ANALYTICS_*` variables.

Only the outermost layer (`cli.py`, `defs/`) calls `Settings.from_env`; everything below takes `Settings`, or the few
values it needs, as an argument.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from analytics_platform.errors import SettingsError
from analytics_platform.keyring import NAME, KeyRing, key_of, read_keys
from analytics_platform.lookup_settings import LOOKUP_PREFIX, LookupSettings, read_lookups
from analytics_platform.variable import PREFIX, Secret, parse, variable

KEY_PREFIX = "ANALYTICS_KEY_"
"""Begins the variables that hold a key each; the rest is its name."""
_APART = {"kafka", "registry", "keys", "lookups"}
"""Not a variable each."""
_UNFIT = set("%?*[]{}#\\")
"""Not in the lake's path: Delta reads it as an address and DuckDB as a pattern, where these mean something else."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach the cluster; everything but the first is passed through to librdkafka under its own name."""

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: str | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: Secret | None = field(default=None, repr=False)
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None
    ssl_key_password: Secret | None = field(default=None, repr=False)
    timeout: timedelta = timedelta(seconds=10)
    """How long one request to the cluster may take before it counts as unreachable."""

    def client_config(self) -> dict[str, str]:
        """What every client of the cluster starts from, in librdkafka's names. Holds secrets: never log it."""
        config = {"bootstrap.servers": self.bootstrap_servers}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and item.name not in {"bootstrap_servers", "timeout"}:
                config[item.name.replace("_", ".")] = str(value)
        return config


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to reach the schema registry that framed values name; none without `url`."""

    url: str | None = None
    """Of a registry that speaks Confluent's API, or several with commas between them; without credentials."""
    username: str | None = None
    password: Secret | None = field(default=None, repr=False)
    token: Secret | None = field(default=None, repr=False)
    """Sent as a bearer token, instead of a user's name and password."""
    cluster: str | None = None
    """The logical cluster that hosted registries ask for beside a token."""
    ca_location: Path | None = None
    certificate_location: Path | None = None
    key_location: Path | None = None
    key_password: Secret | None = field(default=None, repr=False)
    timeout: timedelta = timedelta(seconds=10)
    """How long a step of one request may take; it is tried three times."""

    def __post_init__(self) -> None:
        """Refuse what would show a secret or cannot be meant.

        Raises:
            SettingsError: credentials in the address, half of them, or two kinds of them.
        """
        wrong = []
        for one in (self.url or "http://x").split(","):
            if not one.startswith(("http://", "https://")):
                wrong.append("ANALYTICS_REGISTRY_URL: an address begins with http:// or https://")
            elif "@" in one:
                wrong.append(
                    "ANALYTICS_REGISTRY_URL: credentials belong into ANALYTICS_REGISTRY_USERNAME and _PASSWORD"
                )
        if (self.username is None) != (self.password is None):
            wrong.append("ANALYTICS_REGISTRY_USERNAME and ANALYTICS_REGISTRY_PASSWORD: one without the other")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            # The client would say so by quoting it.
            wrong.append("ANALYTICS_REGISTRY_TOKEN: holds a line break or another character that no header may")
        if self.token is not None and self.username is not None:
            wrong.append("ANALYTICS_REGISTRY_TOKEN: either it or a user's name and password")
        if wrong:
            raise SettingsError(sorted(set(wrong)))

    def client_config(self) -> dict[str, Any]:
        """What a client of the registry starts from, in confluent_kafka's names. Holds secrets: never log it."""
        config: dict[str, Any] = {"url": self.url, "timeout": self.timeout.total_seconds()}
        if self.username is not None:
            config["basic.auth.user.info"] = f"{self.username}:{str.__str__(self.password or '')}"
        if self.token is not None:
            config |= {
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": str(self.token),
                "bearer.auth.logical.cluster": self.cluster or "",
            }
        if self.certificate_location is not None:
            config["ssl.key.password"] = ""  # without one OpenSSL asks the terminal, and waits
        for name in ("ca_location", "certificate_location", "key_location", "key_password"):
            value = getattr(self, name)
            if value is not None:
                config[f"ssl.{name.replace('_', '.')}"] = str(value)
        return config


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment: where the contracts, the lake and Kafka are, and how large a micro-batch may be."""

    lake: Path = Path("lake")
    """Folder of all tables: `<lake>/<layer>/<name>`."""
    contracts: Path = Path("contracts")
    """Folder of all contracts: `<contracts>/<domain>/…`."""
    batch_rows: int = 100_000
    """At most so many records in one micro-batch of a topic."""
    batch_bytes: int = 64 * 1024 * 1024
    """A micro-batch ends early once keys, values and headers reach this; a single larger record still goes through."""
    max_value_bytes: int = 1024 * 1024
    """A longer value is kept in bronze up to this length and quarantined as `oversized`."""
    burst: timedelta = timedelta(seconds=60)
    """How long a run follows the topics before it ends."""
    idle: timedelta = timedelta(seconds=5)
    """A burst that saw nothing new for so long ends early."""
    batch_interval: timedelta = timedelta(seconds=1)
    """A micro-batch of a topic that is not full starts no sooner than this after the last one: fewer, larger files."""
    fsync: bool = True
    """Whether commits to a local lake are forced to the disk."""
    alert_webhook: Secret | None = field(default=None, repr=False)
    """Where a burst posts findings of the quarantine that were never seen before."""
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    keys_file: Path | None = None
    """File of lines `name: key`, by which personal data is hashed; read when it is needed."""
    keys: tuple[tuple[str, Secret], ...] = field(default=(), repr=False)
    """Further keys in hex or base64, by name: `ANALYTICS_KEY_<NAME>`."""
    lookups: tuple[LookupSettings, ...] = ()
    """Services that events are enriched from, sorted by name: `ANALYTICS_LOOKUP_<NAME>__…`."""

    def __post_init__(self) -> None:
        """Refuse what no table can be kept under.

        Raises:
            SettingsError: the lake's path holds a character of an address or a pattern.
        """
        unfit = sorted(_UNFIT & set(str(self.lake.absolute())))
        if unfit:
            raise SettingsError([f"ANALYTICS_LAKE: {self.lake} holds {' '.join(unfit)}, which no table's path may"])

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the `ANALYTICS_*` variables; an unknown one or a value that does not fit is an error.

        `ANALYTICS_LAKE=…` sets `lake`, `ANALYTICS_KAFKA_BOOTSTRAP_SERVERS=…` sets `kafka.bootstrap_servers`, durations
        end in `_SECONDS` (`ANALYTICS_BURST_SECONDS=60`).

        Raises:
            SettingsError: naming every variable that is wrong, at once.
        """
        kafka_fields = {variable(item.name, item.type, "KAFKA_"): item for item in fields(KafkaSettings)}
        registry_fields = {variable(item.name, item.type, "REGISTRY_"): item for item in fields(RegistrySettings)}
        own_fields = {variable(item.name, item.type): item for item in fields(cls) if item.name not in _APART}
        kafka: dict[str, Any] = {}
        registry: dict[str, Any] = {}
        own: dict[str, Any] = {}
        own["lookups"], wrong = read_lookups(environ)
        groups = ((own_fields, own), (kafka_fields, kafka), (registry_fields, registry))
        known = [name for fields_, _ in groups for name in fields_]
        for name in sorted(environ):
            if not name.startswith(PREFIX) or name.startswith(LOOKUP_PREFIX):
                continue
            if name.startswith(KEY_PREFIX):
                wrong += _add_key(name, environ[name], own)
                continue
            found = (
                next((fields_[name], into) for fields_, into in groups if name in fields_) if name in known else None
            )
            if found is None:
                near = difflib.get_close_matches(name, known, n=1)
                wrong.append(f"{name} is unknown" + (f" (did you mean {near[0]}?)" if near else ""))
                continue
            item, into = found
            try:
                into[item.name] = parse(item.type, environ[name])
            except ValueError as error:
                wrong.append(f"{name}: {error}")
        if wrong:
            raise SettingsError(wrong)
        return cls(**own, kafka=KafkaSettings(**kafka), registry=RegistrySettings(**registry))

    def environ(self) -> dict[str, str]:
        """The variables that `from_env` turns into these settings: for the processes a command starts."""
        variables: dict[str, str] = {}
        for holder, prefix in ((self, ""), (self.kafka, "KAFKA_"), (self.registry, "REGISTRY_")):
            for item in fields(holder):
                value = getattr(holder, item.name)
                if value is None or (holder is self and item.name in _APART):
                    continue
                name = variable(item.name, item.type, prefix)
                variables[name] = str(value.total_seconds()) if isinstance(value, timedelta) else str(value)
        for lookup in self.lookups:
            variables |= lookup.environ()
        return variables | {f"{KEY_PREFIX}{name.upper()}": str(key) for name, key in self.keys}

    def key_ring(self) -> KeyRing:
        """All keys, of the file and of the variables.

        Raises:
            SettingsError: the file cannot be read, or a key stands in both.
        """
        filed = {} if self.keys_file is None else read_keys(self.keys_file)
        twice = sorted({name for name, _ in self.keys} & filed.keys())
        if twice:
            raise SettingsError(
                [f"{KEY_PREFIX}{name.upper()}: {name} stands in {self.keys_file} too" for name in twice]
            )
        return KeyRing(filed | {name: key_of(text) for name, text in self.keys})


def _add_key(name: str, text: str, own: dict[str, Any]) -> list[str]:
    """Put a key beside the others; what is wrong with it is said without it."""
    called = name.removeprefix(KEY_PREFIX).lower()
    if not NAME.fullmatch(called):
        return [f"{name}: allowed are names of keys, of A-Z, 0-9 and _"]
    try:
        key_of(text)
    except ValueError as error:
        return [f"{name}: {error}"]
    own["keys"] = (*own.get("keys", ()), (called, Secret(text)))
    return []
