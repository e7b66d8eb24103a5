"""The command line: the same functions that Dagster calls, without Dagster.

One file per noun. This one holds what all commands share: the options before a command, and the one place where an
error becomes a paragraph on stderr and an exit code.

    0    done
    1    what was asked for failed
    2    the command line, the settings or a contract is wrong
    3    Kafka cannot be reached, or refuses us
    4    a topic waits for an operator's decision
    130  interrupted

Nothing heavy is imported before a command needs it, so that `--help` is quick.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from analytics_platform.cli import (
    chart,
    contracts,
    demo,
    forget,
    gaps,
    kafka,
    late,
    produce,
    quarantine,
    rebuild,
    sql,
    status,
    stream,
)
from analytics_platform.cli.call import Call
from analytics_platform.errors import (
    AccessDenied,
    AnalyticsError,
    BrokerUnavailable,
    ContractError,
    SettingsError,
    TopicStopped,
)

app = typer.Typer(
    name="analytics-platform",
    help="Kafka to Delta tables you can trust: every offset is accounted for exactly once.",
    no_args_is_help=True,
    rich_markup_mode=None,  # drawing boxes would make `--help` half as slow again
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415

        sys.stdout.write(f"analytics-platform {version('analytics-platform')}\n")
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    lake: Annotated[Path | None, typer.Option(help="Folder of all tables; overrides ANALYTICS_LAKE.")] = None,
    contracts: Annotated[
        Path | None, typer.Option(help="Folder of all contracts; overrides ANALYTICS_CONTRACTS.")
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show an error's traceback, and what the Kafka client logs.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback prints and ends
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """What may stand before every command."""
    if not debug:  # librdkafka repeats itself several times a second while a broker is away; errors say it once
        client = logging.getLogger("analytics_platform.kafka")
        client.addHandler(logging.NullHandler())
        client.propagate = False
    context.obj = Call(lake, contracts)


app.command()(demo.demo)
app.command("sql")(sql.sql)
app.command()(sql.shell)
app.command()(chart.chart)
app.command()(chart.dashboard)
app.command("stream")(stream.stream)
app.command("rebuild")(rebuild.rebuild)
app.command("forget")(forget.forget)
app.command("late")(late.late)
app.command("status")(status.status)
app.command()(status.doctor)
app.command("produce")(produce.produce)
app.add_typer(contracts.app, name="contracts")
app.add_typer(kafka.app, name="kafka")
app.add_typer(gaps.app, name="gaps")
app.add_typer(quarantine.app, name="quarantine")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    debug = "--debug" in arguments
    try:
        app(args=list(arguments), prog_name="analytics-platform")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except AnalyticsError as error:
        _complain(error, str(error), debug=debug)
        return exit_code(error)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: whatever is left is a fault of ours
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        _complain(error, f"{said}\nThis is a fault of the platform. `--debug` shows where.", debug=debug)
        return 1
    return 0


def exit_code(error: AnalyticsError) -> int:
    """What an error means to the shell."""
    if isinstance(error, SettingsError | ContractError):
        return 2
    if isinstance(error, BrokerUnavailable | AccessDenied):
        return 3
    return 4 if isinstance(error, TopicStopped) else 1


def main() -> None:
    """Entry point of `analytics-platform`."""
    sys.exit(run(sys.argv[1:]))


def _complain(error: BaseException, said: str, *, debug: bool) -> None:
    if debug:
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    sys.stderr.write(f"{said}\n")
