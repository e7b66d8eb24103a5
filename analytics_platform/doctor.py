"""Whether everything is there that the platform needs, and what to do where it is not."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog
from analytics_platform.contract.unframe import WITHOUT_SCHEMA
from analytics_platform.derive import key_ring
from analytics_platform.errors import ContractError, KafkaError, RegistryError, SettingsError, UnknownTopic
from analytics_platform.kafka import apache
from analytics_platform.kafka.consumer import KafkaLog
from analytics_platform.lake.listing import table_names
from analytics_platform.lookup.address import Address
from analytics_platform.lookup.answer import Found, Key, Unavailable
from analytics_platform.lookup.function import FunctionSource
from analytics_platform.lookup.lookups import Lookups
from analytics_platform.lookup_settings import LookupSettings
from analytics_platform.settings import Settings
from analytics_platform.variable import PREFIX

PACKAGES = ("confluent-kafka", "dagster", "dagster-webserver", "deltalake", "duckdb", "pandera", "polars", "pyarrow")
_PATIENCE = timedelta(seconds=3)
_TIGHT_BYTES, _FULL_BYTES = 5 * 1024**3, 512 * 1024**2


class State(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARN = "warn"
    """Something cannot be used, or soon will not."""
    FAIL = "fail"
    """The platform cannot work like this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: State
    found: str
    todo: str = ""
    """What to do about it; empty when it is all right."""


def findings(
    environ: Mapping[str, str], overrides: Callable[[Settings], Settings] = lambda found: found
) -> list[Finding]:
    """Look at everything, in the order in which it is needed; nothing is raised and nothing is changed.

    Args:
        environ: The process's variables: `ANALYTICS_*` and `DAGSTER_HOME`.
        overrides: What the command line says over the settings.
    """
    found = [_python(), *(_package(name) for name in PACKAGES)]
    try:
        settings = overrides(Settings.from_env(environ))
    except SettingsError as error:
        found.append(Finding("settings", State.FAIL, "; ".join(error.complaints), "see docs/settings.md"))
        settings = overrides(Settings())
    else:
        names = sorted(name for name in environ if name.startswith(PREFIX))
        found.append(Finding("settings", State.OK, f"from {', '.join(names)}" if names else "all defaults"))
    contracts, catalog = _contracts(settings)
    found += [
        contracts,
        *_keys(settings, catalog),
        _lake(settings),
        _disk(settings),
        *_kafka(settings, catalog),
        *_registry(settings, catalog),
        *_lookups(settings),
        _apache(),
        _dagster_home(environ),
    ]
    return found


def _python() -> Finding:
    # One below 3.11 cannot get here: it does not install the package, nor read its syntax.
    return Finding("Python", State.OK, ".".join(map(str, sys.version_info[:3])))


def _package(name: str) -> Finding:
    try:
        return Finding(name, State.OK, version(name))
    except PackageNotFoundError:
        return Finding(
            name, State.FAIL, "not installed", "install the package analytics-platform with its dependencies"
        )


def _contracts(settings: Settings) -> tuple[Finding, Catalog]:
    try:
        catalog = load_catalog(settings.contracts)
    except ContractError as error:
        found = f"{settings.contracts}: {len(error.complaints)} complaints"
        todo = "see them with `analytics-platform contracts check`"
        return Finding("contracts", State.FAIL, found, todo), Catalog({})
    if not catalog.domains:
        todo = "add a domain, or point ANALYTICS_CONTRACTS at the folder that has one"
        return Finding("contracts", State.WARN, f"{settings.contracts}: no domain", todo), catalog
    return Finding("contracts", State.OK, f"{settings.contracts}: {', '.join(catalog.domains)}"), catalog


def _keys(settings: Settings, catalog: Catalog) -> list[Finding]:
    """Whether every key is there that a domain asks for; nothing where none does."""
    found = []
    for domain in catalog.domains.values():
        try:
            names = sorted(key_ring(domain, settings).keys)
        except SettingsError as error:
            found.append(Finding("keys", State.FAIL, "; ".join(error.complaints), "see docs/personal-data.md#keys"))
        else:
            if names:
                found.append(Finding("keys", State.OK, f"{domain.name}: {', '.join(names)}"))
    return found


def _lake(settings: Settings) -> Finding:
    folder = _existing(settings.lake)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        todo = f"make {folder} a folder this user may write, or set ANALYTICS_LAKE"
        return Finding("lake", State.FAIL, f"{settings.lake} cannot be written", todo)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        todo = "is the disk full or read-only?"
        return Finding("lake", State.FAIL, f"{settings.lake} cannot be written: {error.strerror}", todo)
    count = len(table_names(settings.lake))
    said = f"{settings.lake}: {count} tables" if count else f"{settings.lake}: no tables yet"
    return Finding("lake", State.OK, said)


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.lake)).free
    said = f"{free / 1024**3:.1f} GiB free at {settings.lake}"
    if free >= _TIGHT_BYTES:
        return Finding("disk", State.OK, said)
    return Finding("disk", State.WARN if free >= _FULL_BYTES else State.FAIL, said, "make room, or vacuum the tables")


def _kafka(settings: Settings, catalog: Catalog) -> list[Finding]:
    servers = settings.kafka.bootstrap_servers
    patient = replace(settings.kafka, timeout=min(settings.kafka.timeout, _PATIENCE))
    topics = [topic for domain in catalog.domains.values() for topic in domain.topics]
    found: list[Finding] = []
    try:
        with KafkaLog(replace(settings, kafka=patient)) as log:
            for topic in topics or ["__consumer_offsets"]:  # any name serves to see whether the cluster answers
                try:
                    partitions = len(log.state(topic).partitions)
                except UnknownTopic:
                    if topics:
                        todo = "create it, or mend `physicalName` in its contracts"
                        found.append(Finding(f"topic {topic}", State.FAIL, "does not exist", todo))
                else:
                    if topics:
                        found.append(Finding(f"topic {topic}", State.OK, f"{partitions} partitions"))
    except (KafkaError, SettingsError) as error:
        todo = (
            "start it (`analytics-platform kafka up` for one on this machine), or mend the ANALYTICS_KAFKA_* variables"
        )
        return [Finding("Kafka", State.FAIL, str(error), todo)]
    return [Finding("Kafka", State.OK, f"{servers} answers"), *found]


def _registry(settings: Settings, catalog: Catalog) -> list[Finding]:
    """Whether the schema registry answers; nothing where there is none and no contract needs one."""
    name, todo = "registry", "start it, or mend the ANALYTICS_REGISTRY_* variables"
    if settings.registry.url is None:
        events = [event for domain in catalog.domains.values() for event in domain.events]
        needy = sorted({event.name for event in events if event.wire not in WITHOUT_SCHEMA})
        said = f"not set, and {', '.join(needy)} can be read with its schemas only"
        return [Finding(name, State.FAIL, said, "set ANALYTICS_REGISTRY_URL")] if needy else []
    from analytics_platform.kafka.registry import Registry  # noqa: PLC0415 - half a second, and most need none

    try:
        registry = Registry(replace(settings.registry, timeout=min(settings.registry.timeout, _PATIENCE)))
        try:
            subjects = registry.ping()
        finally:
            registry.close()
    except RegistryError as error:
        return [Finding(name, State.FAIL, str(error), todo)]
    return [Finding(name, State.OK, f"{settings.registry.url} answers: {subjects} subjects")]


def _lookups(settings: Settings) -> list[Finding]:
    """Whether each lookup answers; one that does not stops nothing."""
    found = []
    patient = [replace(one, timeout=min(one.timeout, _PATIENCE), wait=_PATIENCE) for one in settings.lookups]
    with Lookups(patient) as lookups:
        for lookup in settings.lookups:
            name, variables = f"lookup {lookup.name}", f"ANALYTICS_LOOKUP_{lookup.name.upper()}__"
            said = _asked(lookups, lookup)
            if isinstance(said, str):
                found.append(Finding(name, State.OK, said))
                continue
            todo = f"start it, or mend {variables}*; events go on without its fields"
            if lookup.probe is None:
                todo += f"; {variables}PROBE may name a key that it knows"
            found.append(Finding(name, State.WARN, f"does not answer: {said.why}", todo))
    return found


def _asked(lookups: Lookups, lookup: LookupSettings) -> str | Unavailable:
    """What a lookup answered. A function is not asked for a key that is made up: it may take none but its own."""
    key: Key | None = lookup.probe_key()
    if key is None and lookup.function is not None:
        function = FunctionSource(lookup.function, lookup.answer_bytes).function()
        return function if isinstance(function, Unavailable) else "can be imported; no PROBE names a key to ask for"
    if key is None:
        key = ("doctor",) * Address(lookup.url or "").parts
    answer = lookups.ask(lookup.name, [key])[key]
    if isinstance(answer, Unavailable):
        return answer
    return "answers" if isinstance(answer, Found) else "answers: not found"


def _apache() -> Finding:
    reason = apache.missing()
    if reason is None:
        return Finding("kafka up", State.OK, "Java and Maven are there")
    return Finding("kafka up", State.WARN, reason, "only needed to run Apache Kafka on this machine")


def _dagster_home(environ: Mapping[str, str]) -> Finding:
    name = "DAGSTER_HOME"
    home = environ.get(name)
    if not home:
        todo = "set it to a folder with our dagster.yaml before you start Dagster; the demo has its own"
        return Finding(name, State.WARN, "not set", todo)
    if not Path(home).is_absolute() or not Path(home).is_dir():
        return Finding(
            name, State.FAIL, f"{home} is no absolute path of a folder", "make the folder, or mend the variable"
        )
    if not (Path(home) / "dagster.yaml").is_file():
        return Finding(
            name, State.WARN, f"{home} has no dagster.yaml", "copy ours there: its defaults are not what we need"
        )
    return Finding(name, State.OK, home)


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
