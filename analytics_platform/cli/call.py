"""What one call of the command line works with: settings, contracts, the clock and the terminal."""

import difflib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from analytics_platform.settings import Settings

if TYPE_CHECKING:  # polars, YAML and rich take their time to import, and `--help` needs none of them
    from rich.console import Console

    from analytics_platform.contract.model import Domain


@dataclass(frozen=True, slots=True)
class Call:
    """The options before the command; `None` where one was not given."""

    lake: Path | None = None
    contracts: Path | None = None

    def settings(self) -> Settings:
        """The environment's settings with the options over them.

        Raises:
            SettingsError: a variable is wrong.
        """
        settings = Settings.from_env(os.environ)
        return replace(settings, lake=self.lake or settings.lake, contracts=self.contracts or settings.contracts)

    def settings_to_look(self) -> Settings:
        """The settings of a command that only looks: those of the last demo where no other lake is named or there.

        Says so on stderr when it takes the demo's.

        Raises:
            SettingsError: a variable is wrong.
        """
        settings = self.settings()
        if self.lake is not None or "ANALYTICS_LAKE" in os.environ or settings.lake.exists():
            return settings
        from analytics_platform.demo.folder import DEFAULT, settings_of  # noqa: PLC0415

        variables = settings_of(DEFAULT)
        if variables is None:
            return settings
        sys.stderr.write(f"there is no {settings.lake} here: this is the demo's lake, {DEFAULT / 'lake'}\n")
        own = {name: value for name, value in os.environ.items() if name.startswith("ANALYTICS_")}
        found = Settings.from_env({**variables, **own})
        return replace(found, contracts=self.contracts or found.contracts)

    def domains(self, name: str | None, settings: Settings | None = None) -> "list[Domain]":
        """The domain asked for, or all.

        Raises:
            ContractError: with every complaint.
            typer.BadParameter: there is no such domain.
        """
        from analytics_platform.contract.load import load_catalog  # noqa: PLC0415

        domains = load_catalog((settings or self.settings()).contracts).domains
        if name is None:
            return list(domains.values())
        if name not in domains:
            raise typer.BadParameter(f"there is no domain {name!r}{did_you_mean(name, list(domains))}")
        return [domains[name]]

    def domain(self, name: str | None) -> "Domain":
        """The domain asked for, or the only one there is. Raises `typer.BadParameter` where that leaves a choice."""
        domains = self.domains(name)
        if len(domains) != 1:
            raise typer.BadParameter(f"say which with --domain: {', '.join(domain.name for domain in domains)}")
        return domains[0]

    def domain_of_topic(self, topic: str) -> "Domain":
        """The domain whose contracts name a topic. Raises `typer.BadParameter` when none does."""
        domains = self.domains(None)
        for domain in domains:
            if topic in domain.topics:
                return domain
        known = [topic for domain in domains for topic in domain.topics]
        raise typer.BadParameter(f"no contract names the topic {topic!r}{did_you_mean(topic, known)}")


def call_of(context: typer.Context) -> Call:
    """What the options before the command said."""
    call = context.obj
    assert isinstance(call, Call)  # noqa: S101 - set by the callback before every command
    return call


def did_you_mean(asked: str, known: list[str]) -> str:
    """The end of a sentence about an unknown name."""
    near = difflib.get_close_matches(asked, known, n=1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f"; there are {', '.join(known)}" if known else "; there are none yet"


def now() -> datetime:
    """The clock, which only this layer reads."""
    return datetime.now(UTC)


def say(line: str = "") -> None:
    """A line on stdout, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def console() -> "Console":
    """Stdout as rich sees it; as wide as it takes where it is no terminal."""
    from rich.console import Console  # noqa: PLC0415

    return Console() if sys.stdout.isatty() else Console(width=10_000)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal's stderr that something takes a while; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True).status(what):
        yield
