"""Contracts' schemas for a registry."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of, did_you_mean, say


def publish(
    context: typer.Context,
    event: Annotated[str | None, typer.Argument(help="The event type; by default all.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Register the schemas of events that come in Avro, Protobuf or framed JSON.

    Each version once, in their order; doing it twice changes nothing.
    """
    from analytics_platform.errors import SettingsError  # noqa: PLC0415
    from analytics_platform.kafka.registry import Registry  # noqa: PLC0415
    from analytics_platform.publish import publish as publish_event  # noqa: PLC0415

    call = call_of(context)
    domains = call.domains(None)
    known = sorted({item.name for domain in domains for item in domain.produced})
    if event is not None and event not in known:
        raise typer.BadParameter(f"there is no event {event!r}{did_you_mean(event, known)}")
    settings = call.settings()
    if settings.registry.url is None:
        raise SettingsError(["ANALYTICS_REGISTRY_URL is not set, so there is nowhere to publish to"])
    registry = Registry(settings.registry)
    try:
        outcomes = [
            outcome
            for domain in domains
            for name in sorted({item.name for item in domain.produced})
            if event in (None, name)
            for outcome in publish_event(domain, registry, name)
        ]
    finally:
        registry.close()
    if json_output:
        say(json.dumps([asdict(one) for one in outcomes], indent=2))
        return
    for one in outcomes:
        what = "registered" if one.new else "was there"
        say(f"{one.event} {one.version}: {what} as {one.id} under {one.subject}")
    if not outcomes:
        say("no event of these contracts comes in a framed format: nothing to publish")
