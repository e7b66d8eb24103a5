"""A file of JSON lines, sent to a topic."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from analytics_platform.cli.call import call_of, say
from analytics_platform.errors import AnalyticsError

if TYPE_CHECKING:
    from analytics_platform.kafka.produce import Record


def produce(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="One record per line; `-` is stdin. Empty lines are skipped.")],
    topic: Annotated[str, typer.Option(help="Where to send them.")],
    key_field: Annotated[
        str | None, typer.Option(help="The field whose value is the record's key; without it there are no keys.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Create the topic if there is none.")] = False,
) -> None:
    """Send every line as one record, as it stands, in order, and wait until the broker has them all."""
    from analytics_platform.kafka.produce import create_topic, send  # noqa: PLC0415

    kafka = call_of(context).settings().kafka
    standard_input = file == Path("-")
    if not standard_input and not file.is_file():
        raise typer.BadParameter(f"{file} is not a file")
    if create and create_topic(kafka, topic):
        say(f"{topic}: created")
    with nullcontext(sys.stdin.buffer) if standard_input else file.open("rb") as lines:
        size_bytes = None if standard_input else file.stat().st_size
        sent = send(kafka, topic, _records(_shown(lines, size_bytes), str(file), key_field))
    say(f"{topic}: {sent:,} record{'' if sent == 1 else 's'} sent")


def _records(lines: Iterable[bytes], name: str, key_field: str | None) -> "Iterator[Record]":
    import msgspec  # noqa: PLC0415

    from analytics_platform.kafka.produce import Record  # noqa: PLC0415

    for number, line in enumerate(lines, start=1):
        value = line.rstrip(b"\r\n")
        if not value.strip():
            continue
        key = None
        if key_field is not None:
            try:
                found = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                found = None
            if not isinstance(found, dict) or found.get(key_field) is None:
                raise AnalyticsError(
                    f"{name}:{number}: no JSON object with a field {key_field!r}, so it has no key. "
                    f"The lines before it were sent; mend the line or leave --key-field out."
                )
            text = found[key_field]
            key = text.encode() if isinstance(text, str) else msgspec.json.encode(text)
        yield Record(key, value)


def _shown(lines: BinaryIO, size_bytes: int | None) -> Iterator[bytes]:
    if not sys.stderr.isatty():
        yield from lines
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn("sending"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=size_bytes)
        for line in lines:
            progress.advance(task, len(line))
            yield line
