"""Rows that could not become silver: which findings there are, what the rows look like, and what becomes of them."""

import getpass
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analytics_platform.cli.call import call_of, console, did_you_mean, now, say, working
from analytics_platform.cli.rebuild import parse_hours
from analytics_platform.errors import QueryFailed

if TYPE_CHECKING:
    from analytics_platform.contract.model import Domain
    from analytics_platform.lake.files import Snapshot
    from analytics_platform.outline import Known
    from analytics_platform.selection import Place, Selection
    from analytics_platform.settings import Settings

app = typer.Typer(
    help="Rows that could not become silver: look at them, replay them, give them up.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_FINGERPRINT = re.compile(r"[0-9a-f]{12}")
_PLACE = re.compile(r"([^/]+)/([0-9]{1,9})/([0-9]{1,18})(?:\.\.([0-9]{1,18}))?")
_STATUSES = ("new", "replayed", "discarded")

What = Annotated[
    list[str] | None,
    typer.Argument(help="Fingerprints, or places: TOPIC/PARTITION/OFFSET, with OFFSET..END half-open.", metavar="WHAT"),
]
OneDomain = Annotated[str | None, typer.Option("--domain", help="Which domain, where there are several.")]
Code = Annotated[list[str] | None, typer.Option(help="Only rows with this reason code; may be given several times.")]
Event = Annotated[list[str] | None, typer.Option(help="Only rows that claim this event type.")]
From = Annotated[list[str] | None, typer.Option(help="Only rows that claim this source.")]
Topic = Annotated[list[str] | None, typer.Option(help="Only rows of this topic.")]
Hours = Annotated[
    str | None, typer.Option(help="Only rows taken in during these hours in UTC, half-open.", metavar="START[..END]")
]
Everything = Annotated[bool, typer.Option("--all", help="All rows of the domain.")]
By = Annotated[str | None, typer.Option(help="Who is kept as having done it; by default your name on this machine.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_fingerprints(
    context: typer.Context,
    *,
    domain: Annotated[str | None, typer.Option(help="Only this one; by default all.")] = None,
    code: Code = None,
    event: Event = None,
    source: From = None,
    topic: Topic = None,
    hours: Hours = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only rows of this status: new, replayed, discarded.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Show what is wrong, once per fingerprint: contract, rule and source, with counts and since when."""
    from analytics_platform.fingerprint import COLUMNS, fingerprints  # noqa: PLC0415
    from analytics_platform.selection import chosen, near  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    selection = _selection(codes=code, events=event, sources=source, topics=topic, hours=hours, statuses=status)
    found: list[dict[str, Any]] = []
    for item in call.domains(domain, settings):
        snapshot = _snapshot(item, settings)
        if snapshot is not None:
            rows = chosen(near(snapshot, selection).scan(), selection).select(COLUMNS)
            found += [{"domain": item.name, **row} for row in fingerprints(rows).iter_rows(named=True)]
    if json_output:
        _print_json(found)
        return
    if not found:
        say("no row of a quarantine is meant")
        return
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    columns = (
        "fingerprint",
        ">new",
        ">replayed",
        ">discarded",
        "contract",
        "rule",
        "source",
        "first seen",
        "last seen",
    )
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in found:
        rule = row["code"] if row["rule"] is None else f"{row['code']}: {row['rule']}"
        texts = (row["contract"] or row["topic"], rule, _safe(row["source"] or "", 60))
        times = (f"{row[name]:%Y-%m-%d %H:%M:%SZ}" for name in ("first_seen", "last_seen"))
        table.add_row(row["fingerprint"], *(f"{row[name]:,}" for name in _STATUSES), *map(Text, texts), *times)
    console().print(table)


@app.command()
def show(
    context: typer.Context,
    what: What = None,
    *,
    domain: Annotated[str | None, typer.Option(help="Only this one; by default all.")] = None,
    code: Code = None,
    event: Event = None,
    source: From = None,
    topic: Topic = None,
    hours: Hours = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Only rows of this status: new, replayed, discarded.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="At most so many rows, the newest.")] = 10,
    raw: Annotated[bool, typer.Option("--bytes", help="Show keys, values and headers as they came.")] = False,
    json_output: Json = False,
) -> None:
    """Show rows: where they stood, who sent them, what is wrong, and what they look like.

    Values are not shown, only the names of fields and types, unless `--bytes` asks for them.
    """
    from analytics_platform.contract.unframe import readable  # noqa: PLC0415
    from analytics_platform.lake.table import Lake  # noqa: PLC0415
    from analytics_platform.outline import known_names  # noqa: PLC0415
    from analytics_platform.schema_book import SchemaBook  # noqa: PLC0415
    from analytics_platform.selection import sample  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    selection = _selection(
        what=what, codes=code, events=event, sources=source, topics=topic, hours=hours, statuses=status
    )
    found: list[dict[str, Any]] = []
    for item in call.domains(domain, settings):
        snapshot = _snapshot(item, settings)
        if snapshot is not None:
            known = known_names(item.events)
            book = SchemaBook(Lake(settings.lake, settings.fsync), item.name, settings.registry)
            for part in sample(snapshot, selection, rows).partition_by("topic", maintain_order=True):
                contracts = item.events_of(part["topic"][0])
                plain = readable(part, contracts, book.at_hand(part, contracts))["value"]
                pairs = zip(part.iter_rows(named=True), plain, strict=True)
                found += [_shown(row, value, known, raw=raw) for row, value in pairs]
    if json_output:
        _print_json(found[:rows])
        return
    for row in found[:rows]:
        _print(row)
    if not found:
        say("no row of a quarantine is meant")


@app.command()
def replay(
    context: typer.Context,
    what: What = None,
    *,
    domain: OneDomain = None,
    code: Code = None,
    event: Event = None,
    source: From = None,
    topic: Topic = None,
    hours: Hours = None,
    everything: Everything = False,
    patch: Annotated[
        str | None,
        typer.Option(help="The rows that this patch may be for, instead of other conditions.", metavar="EVENT/NAME"),
    ] = None,
    discarded: Annotated[bool, typer.Option("--discarded", help="Rows that were discarded come back too.")] = False,
    by: By = None,
    json_output: Json = False,
) -> None:
    """Judge rows again by today's contracts and patches; those that are valid now enter silver, once.

    Doing it twice changes nothing; after a run that died, doing it again does the rest.
    """
    from analytics_platform.query import refresh_database  # noqa: PLC0415
    from analytics_platform.replay import replay as replay_rows  # noqa: PLC0415

    selection = _selection(
        what=what,
        codes=code,
        events=event,
        sources=source,
        topics=topic,
        hours=hours,
        statuses=["discarded"] if discarded else None,
    )
    call = call_of(context)
    found, settings = call.domain(domain), call.settings()
    if patch is not None:
        selection = _of_patch(found, patch, selection)
    _refuse_everything(selection, asked=everything)
    with working(f"replaying rows of {found.name}"):
        report = replay_rows(found, settings, selection, clock=now, by=by or _me())
        try:
            refresh_database(settings)
        except QueryFailed as error:  # the tables are committed whatever becomes of the views
            sys.stderr.write(f"{error}\n")
    if json_output:
        _print_json(asdict(report) | {"took": report.took.total_seconds()})
    else:
        say(report.line())


@app.command()
def discard(
    context: typer.Context,
    what: What = None,
    *,
    reason: Annotated[str, typer.Option(help="Why, in words; kept with each row, so name no person's data.")],
    domain: OneDomain = None,
    code: Code = None,
    event: Event = None,
    source: From = None,
    topic: Topic = None,
    hours: Hours = None,
    everything: Everything = False,
    by: By = None,
    json_output: Json = False,
) -> None:
    """Give up rows that are new: they stay out of silver, also in a rebuild, until a replay names them."""
    from analytics_platform.replay import discard as discard_rows  # noqa: PLC0415

    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why these rows are given up")
    selection = _selection(what=what, codes=code, events=event, sources=source, topics=topic, hours=hours)
    _refuse_everything(selection, asked=everything)
    call = call_of(context)
    found = call.domain(domain)
    with working(f"discarding rows of {found.name}"):
        report = discard_rows(found, call.settings(), selection, reason=reason.strip(), clock=now, by=by or _me())
    if json_output:
        _print_json(asdict(report) | {"took": report.took.total_seconds()})
    else:
        say(report.line())


@app.command()
def resume(
    context: typer.Context,
    event: Annotated[str, typer.Argument(help="The event type that is halted.")],
    domain: OneDomain = None,
) -> None:
    """Let an event type that was halted enter silver again, and take in what has waited in bronze."""
    from analytics_platform.query import refresh_database  # noqa: PLC0415
    from analytics_platform.resume import resume as resume_event  # noqa: PLC0415

    call = call_of(context)
    found, settings = call.domain(domain), call.settings()
    known = sorted({item.name for item in found.events})
    if event not in known:
        raise typer.BadParameter(f"there is no event type {event!r}{did_you_mean(event, known)}")
    with working(f"resuming {event}"):
        done = resume_event(found, settings, event, clock=now)
        try:
            refresh_database(settings)
        except QueryFailed as error:
            sys.stderr.write(f"{error}\n")
    say(f"{event}: resumed, and what had waited is taken in" if done else f"{event}: is not halted")


def _selection(
    *,
    what: Sequence[str] | None = None,
    codes: Sequence[str] | None,
    events: Sequence[str] | None,
    sources: Sequence[str] | None,
    topics: Sequence[str] | None,
    hours: str | None,
    statuses: Sequence[str] | None = None,
) -> "Selection":
    """What the options mean. Raises `typer.BadParameter` for a place, a code or a status that cannot be."""
    from analytics_platform.contract.reason import Reason  # noqa: PLC0415
    from analytics_platform.selection import Selection  # noqa: PLC0415

    known = [str(reason) for reason in Reason]
    for allowed, given in ((known, codes or ()), (list(_STATUSES), statuses or ())):
        for item in given:
            if item not in allowed:
                raise typer.BadParameter(f"there is no {item!r}{did_you_mean(item, allowed)}")
    fingerprints = tuple(item for item in what or () if _FINGERPRINT.fullmatch(item))
    start, end = (None, None) if hours is None else parse_hours(hours)
    return Selection(
        fingerprints=fingerprints,
        places=tuple(_place(item) for item in what or () if item not in fingerprints),
        codes=tuple(codes or ()),
        event_types=tuple(events or ()),
        sources=tuple(sources or ()),
        topics=tuple(topics or ()),
        statuses=tuple(statuses or ()),
        start=start,
        end=end,
    )


def _of_patch(domain: "Domain", name: str, selection: "Selection") -> "Selection":
    from analytics_platform.selection import patched  # noqa: PLC0415

    known = patched(domain)
    every = {f"{patch.event}/{patch.name}" for contract in domain.events for patch in contract.patches}
    if name in every - set(known):
        raise typer.BadParameter(
            f"the patch {name!r} is withdrawn; what it mended leaves silver when those hours are rebuilt: "
            "see docs/quarantine.md#patch"
        )
    if name not in known:
        raise typer.BadParameter(f"there is no patch {name!r} in force{did_you_mean(name, list(known))}")
    if not selection.is_everything:
        raise typer.BadParameter("--patch says which rows; give no other condition beside it")
    return replace(known[name], statuses=selection.statuses)


def _place(text: str) -> "Place":
    from analytics_platform.selection import Place  # noqa: PLC0415

    match = _PLACE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"found {text!r}, wanted a fingerprint of 12 digits and letters a-f, or TOPIC/PARTITION/OFFSET[..END]"
        )
    start = int(match[3])
    return Place(match[1], int(match[2]), start, int(match[4]) if match[4] else start + 1)


def _refuse_everything(selection: "Selection", *, asked: bool) -> None:
    if selection.is_everything and not asked:
        raise typer.BadParameter(
            "say which rows: fingerprints, places, --code, --event, --source, --topic, --hours; or --all"
        )


def _snapshot(domain: "Domain", settings: "Settings") -> "Snapshot | None":
    from analytics_platform import quarantine  # noqa: PLC0415
    from analytics_platform.lake.files import Snapshot  # noqa: PLC0415
    from analytics_platform.lake.table import Lake  # noqa: PLC0415

    table = Lake(settings.lake, settings.fsync).newest(quarantine.spec(domain.name))
    return None if table is None else Snapshot.of(table)


def _shown(row: dict[str, Any], plain: bytes | None, known: "Known", *, raw: bool) -> dict[str, Any]:
    """A row as it may be shown, `plain` being its value in JSON where it can be read; with `raw` also the bytes."""
    from analytics_platform.fingerprint import fingerprints_of  # noqa: PLC0415
    from analytics_platform.outline import outline  # noqa: PLC0415

    shown = {name: value for name, value in row.items() if name not in {"key", "value", "headers"}}
    shown["fingerprints"] = fingerprints_of(row)
    is_cut = row["value"] is not None and row["value_bytes"] is not None and row["value_bytes"] > len(row["value"])
    shown["outline"] = "cut, so not whole" if is_cut else outline(plain, known)
    shown["key_bytes"] = None if row["key"] is None else len(row["key"])
    shown["header_names"] = [header["name"] for header in row["headers"] or ()]
    return shown | ({name: row[name] for name in ("key", "value", "headers")} if raw else {})


def _print(row: dict[str, Any]) -> None:
    sender = _safe(row["source"], 200) if row["source"] else "an unknown source"
    claim = " ".join(_safe(row[name], 200) for name in ("event_type", "schema_version") if row[name])
    say(f"{row['topic']}/{row['partition']}/{row['offset']}  {row['status']}  {row['ingested_at']:%Y-%m-%d %H:%M:%SZ}")
    say(f"  from       {sender}, as {claim or 'an unknown event'}; held against {row['contract'] or 'no contract'}")
    for code, said, fingerprint in zip(row["codes"], row["reasons"], row["fingerprints"], strict=True):
        say(f"  {fingerprint}  {code}: {said}")
    if row["changed_by"] is not None:
        why = f": {_safe(row['discarded_for'], 500)}" if row["discarded_for"] else ""
        say(f"  changed    by {_safe(row['changed_by'], 200)} at {row['status_at']:%Y-%m-%d %H:%M:%SZ}{why}")
    say(f"  looks like {_safe(row['outline'], 2_000)}")
    if "value" in row:
        say(f"  key        {_safe(_text(row['key']))}")
        for header in row["headers"] or ():
            say(f"  header     {_safe(header['name'])}: {_safe(_text(header['value']))}")
        say(f"  value      {_safe(_text(row['value']))}")


def _text(value: bytes | None) -> str:
    return "null" if value is None else value.decode("utf-8", errors="backslashreplace")


def _safe(text: str, most: int | None = None) -> str:
    """One line that cannot steer a terminal."""
    cut = text if most is None or len(text) <= most else text[: most - 1] + "…"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in cut)


def _me() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli"


def _print_json(value: Any) -> None:
    import msgspec  # noqa: PLC0415

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")
