"""One Apache Kafka broker on this machine, to try things out."""

from pathlib import Path
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of, say, working

app = typer.Typer(
    help="Start and stop an Apache Kafka broker on loopback; needs Java 17 and Maven.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Folder = Annotated[Path, typer.Option(help="Where the broker keeps its data and its log.")]
_FOLDER = Path(".analytics/kafka")


@app.command()
def up(
    context: typer.Context,
    folder: _Folder = _FOLDER,
    port: Annotated[int, typer.Option(help="Where it listens on 127.0.0.1.", min=1, max=65535)] = 9092,
    topics: Annotated[bool, typer.Option(help="Create the topics that contracts name.")] = True,
    partitions: Annotated[int, typer.Option(help="Of each topic created.", min=1)] = 4,
) -> None:
    """Start a broker that goes on after this command; one that runs already in that folder is left alone."""
    from dataclasses import replace  # noqa: PLC0415

    from analytics_platform.kafka import apache  # noqa: PLC0415
    from analytics_platform.kafka.produce import create_topic  # noqa: PLC0415

    call = call_of(context)
    wanted = [topic for domain in call.domains(None) for topic in domain.topics] if topics else []
    settings = call.settings()
    with working("starting Apache Kafka; the first time Maven fetches its jars"):
        broker = apache.up(folder, port)
    say(f"Apache Kafka answers at {broker.bootstrap_servers} (process {broker.pid}, data in {broker.folder})")
    kafka = replace(settings.kafka, bootstrap_servers=broker.bootstrap_servers)
    for topic in wanted:
        made = create_topic(kafka, topic, partitions=partitions)
        say(f"  {topic}: {f'created with {partitions} partitions' if made else 'is there'}")
    if broker.bootstrap_servers != settings.kafka.bootstrap_servers:
        say(f"export ANALYTICS_KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap_servers}")


@app.command()
def down(folder: _Folder = _FOLDER) -> None:
    """Stop the broker that `kafka up` started in that folder; its data stays."""
    from analytics_platform.kafka import apache  # noqa: PLC0415

    with working("stopping Apache Kafka"):
        stopped = apache.down(folder)
    say("Apache Kafka is stopped" if stopped else f"no broker of {folder} runs")
