"""The pages: one per event type, mart and reference table, and the index that leads to them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analytics_platform.contract.lineage import column_lineage
from analytics_platform.contract.model import (
    Catalog,
    Domain,
    EventContract,
    Header,
    MartContract,
    ReferenceContract,
    table_name,
)
from analytics_platform.errors import PagesNotWritten
from analytics_platform.pages.describe import (
    also,
    end_said,
    enrichment_said,
    field_rows,
    key_said,
    patch_said,
    stands,
    value_said,
)
from analytics_platform.pages.lineage import around, drawn, edges
from analytics_platform.pages.measure import Measured, freshness, quality
from analytics_platform.pages.sql import highlighted
from analytics_platform.stopwatch import spell

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = "style.css"
_FOLDERS = {"silver": "events", "gold": "marts", "reference": "reference"}
_MARK = '<meta name="generator" content="analytics-platform">'
"""In the head of every page, so that a page of a contract that is gone can be told from other people's files."""


def site(catalog: Catalog, measured: Measured) -> Mapping[str, str]:
    """Every file of the site by its path inside of it; the same arguments give the same text.

    Args:
        catalog: All domains, also those without tables.
        measured: How their tables are.
    """
    maker = _Maker(catalog, measured)
    pages = {_STYLE: (_TEMPLATES / _STYLE).read_text(encoding="utf-8"), "index.html": maker.index()}
    for domain in catalog.domains.values():
        for name in sorted({event.name for event in domain.events}):
            pages[_address("silver", name)] = maker.event(domain, domain.versions_of(name))
        for mart in domain.marts:
            pages[_address("gold", mart.name)] = maker.mart(domain, mart)
        for reference in domain.references:
            pages[_address("reference", reference.name)] = maker.reference(domain, reference)
    return pages


def write_site(pages: Mapping[str, str], folder: Path) -> None:
    """Write a site; pages of contracts that are gone are deleted, other files in the folder are left alone.

    Durable on return: nothing, it can be made again at any time.
    If it dies halfway: some pages are new and some old.

    Raises:
        PagesNotWritten: the file system refuses.
    """
    try:
        for name, text in pages.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        for standing in [path for part in _FOLDERS.values() for path in sorted((folder / part).glob("*.html"))]:
            if standing.relative_to(folder).as_posix() not in pages and _MARK in standing.read_text(encoding="utf-8"):
                standing.unlink()
    except (OSError, UnicodeDecodeError) as error:
        raise PagesNotWritten(str(folder), getattr(error, "strerror", None) or str(error)) from error


def _address(layer: str, name: str) -> str:
    return f"{_FOLDERS[layer]}/{name}.html"


class _Maker:
    """One site in the making."""

    def __init__(self, catalog: Catalog, measured: Measured) -> None:
        self.catalog, self.measured = catalog, measured
        self.known = {
            f"{layer}.{name}": _address(layer, name)
            for domain in catalog.domains.values()
            for layer, names in (
                ("silver", [event.name for event in domain.events]),
                ("gold", [mart.name for mart in domain.marts]),
                ("reference", [item.name for item in domain.references]),
            )
            for name in names
        }
        self.environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.environment.globals |= {
            "also": also,
            "end_said": end_said,
            "patch_said": patch_said,
            "enrichment_said": enrichment_said,
            "field_rows": field_rows,
            "key_said": key_said,
            "stands": stands,
            "spell": lambda duration: spell(duration.total_seconds()),
            "value_said": value_said,
            "measured": measured,
        }

    def index(self) -> str:
        return self._rendered(
            "index.html",
            "",
            domains=[(domain, self._entries(domain)) for domain in self.catalog.domains.values()],
            drawings={
                name: drawn(f"Lineage of {name}", edges(domain)) for name, domain in self.catalog.domains.items()
            },
        )

    def event(self, domain: Domain, versions: tuple[EventContract, ...]) -> str:
        newest = versions[-1]
        title = f"silver.{newest.name}"
        return self._rendered(
            "event.html",
            "../",
            domain=domain,
            versions=[(contract, earlier) for contract, earlier in zip(versions, (None, *versions), strict=False)][
                ::-1
            ],
            newest=newest,
            bronze=f"bronze.{table_name(newest.topic)}",
            owners=_owners(version.header for version in versions),
            drawing=drawn(
                f"Lineage of {title}", around(edges(domain), ("silver", newest.name)), ("silver", newest.name)
            ),
            freshness=freshness(self.measured, title, newest.freshness),
            quality=quality(self.measured, domain.name, newest.name, newest.max_quarantined_share),
            reasons=self.measured.reasons.get((domain.name, newest.name), {}),
            table=self.measured.tables.get(title),
        )

    def mart(self, domain: Domain, mart: MartContract) -> str:
        title, focus = f"gold.{mart.name}", ("gold", mart.name)
        return self._rendered(
            "mart.html",
            "../",
            domain=domain,
            mart=mart,
            made_of=column_lineage(domain, mart),
            drawing=drawn(f"Lineage of {title}", around(edges(domain), focus), focus),
            freshness=freshness(self.measured, title, mart.freshness),
            table=self.measured.tables.get(title),
        )

    def reference(self, domain: Domain, reference: ReferenceContract) -> str:
        title, focus = f"reference.{reference.name}", ("reference", reference.name)
        return self._rendered(
            "reference.html",
            "../",
            domain=domain,
            reference=reference,
            drawing=drawn(f"Lineage of {title}", around(edges(domain), focus), focus),
            freshness=freshness(self.measured, title, None),
            table=self.measured.tables.get(title),
        )

    def _entries(self, domain: Domain) -> list[dict[str, object]]:
        """The lines of a domain's table on the index."""
        entries = []
        for name in sorted({event.name for event in domain.events}):
            versions = domain.versions_of(name)
            newest = versions[-1]
            found = _entry("silver", "event", newest.header, [version.header for version in versions])
            found["freshness"] = freshness(self.measured, f"silver.{name}", newest.freshness)
            found["quality"] = quality(self.measured, domain.name, name, newest.max_quarantined_share)
            entries.append(found)
        for mart in domain.marts:
            found = _entry("gold", "mart", mart.header, [mart.header])
            entries.append(found | {"freshness": freshness(self.measured, f"gold.{mart.name}", mart.freshness)})
        for reference in domain.references:
            found = _entry("reference", "reference", reference.header, [reference.header])
            entries.append(found | {"freshness": freshness(self.measured, f"reference.{reference.name}", None)})
        return entries

    def _rendered(self, template: str, root: str, **values: object) -> str:
        links = {title: root + address for title, address in self.known.items()}
        return self.environment.get_template(template).render(
            **values, root=root, links=links, sql=lambda text: highlighted(text, links)
        )


def _entry(layer: str, kind: str, header: Header, all_versions: list[Header]) -> dict[str, object]:
    return {
        "title": f"{layer}.{header.name}",
        "kind": kind,
        "header": header,
        "versions": [item.version for item in all_versions],
        "owners": _owners(all_versions),
        "quality": None,
    }


def _owners(headers: Iterable[Header]) -> list[str]:
    return sorted({owner for header in headers for owner in header.owners})
