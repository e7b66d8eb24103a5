"""The contracts as pages to read."""

from pathlib import Path
from typing import Annotated

import typer

from analytics_platform.cli.call import call_of, now, say, working


def docs(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("build/contracts"),
) -> None:
    """Write a static site about all contracts: open its index.html, no server is needed.

    Freshness and quality are what the lake's tables say now.
    """
    from analytics_platform.contract.model import Catalog  # noqa: PLC0415
    from analytics_platform.lake.table import Lake  # noqa: PLC0415
    from analytics_platform.pages.measure import measure  # noqa: PLC0415
    from analytics_platform.pages.site import site, write_site  # noqa: PLC0415

    call = call_of(context)
    settings = call.settings_to_look()
    domains = call.domains(None, settings)
    with working("looking at the tables"):
        measured = measure(domains, Lake(settings.lake, settings.fsync), now())
    pages = site(Catalog({domain.name: domain for domain in domains}), measured)
    write_site(pages, output)
    say(f"{output / 'index.html'}: {sum(name.endswith('.html') for name in pages)} pages")
