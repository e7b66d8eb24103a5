"""Contracts read from their folder, all complaints at once.

    contracts/<domain>/<event>/<version>.odcs.yaml
    contracts/<domain>/<event>/<name>.patch.yaml
    contracts/<domain>/reference/<name>.odcs.yaml and the file it names
    contracts/<domain>/marts/<name>.odcs.yaml and <name>.sql
    contracts/<domain>/dashboard.yaml

Markdown files may stand anywhere, names that begin with a dot are passed over, and everything else is a mistake.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from analytics_platform.contract.complaint import Complaint
from analytics_platform.contract.draft import Draft, read_domain, visible
from analytics_platform.contract.event import event_of
from analytics_platform.contract.header import VERSION
from analytics_platform.contract.model import Catalog, Domain, EventContract, table_name
from analytics_platform.contract.source import Node, Source, read_source
from analytics_platform.contract.standard import check_standard
from analytics_platform.contract.vendor import Kind, check_vendor
from analytics_platform.errors import ContractError


def load_catalog(folder: Path) -> Catalog:
    """Read the contracts of every domain.

    Raises:
        ContractError: With every complaint about every file, by file and line.
    """
    catalog, complaints = load_sound(folder)
    if complaints:
        raise ContractError(complaints)
    return catalog


def load_domain(folder: Path) -> Domain:
    """Read the contracts of one domain, `folder` being its own.

    Raises:
        ContractError: With every complaint about it; names that it may share with other domains are not looked at.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise ContractError([_missing(folder)])
    draft = read_domain(folder)
    if draft.complaints:
        raise ContractError(_in_order(draft.complaints))
    return draft.domain


def load_event(path: Path) -> EventContract:
    """Read one event's contract wherever its file stands; domain, name and version are those it says itself.

    What needs the contracts beside it is not looked at: whether versions agree, and its row rules.

    Raises:
        ContractError: With every complaint about it.
    """
    source = read_source(path, path.name)
    if source.data is not None:
        check_standard(source)
        check_vendor(source, Kind.EVENT)
    root = source.root
    for key in ("domain", "name"):  # which the standard does not require, and no folder says here
        if source.data is not None and not root[key].text:
            root[key].refuse(f"is the name of the {'event' if key == 'name' else key}")
    if source.data is None or source.complaints:
        raise ContractError(_in_order(source.complaints))
    event = event_of(source, root["domain"].text, root["name"].text, root["version"].text)
    if not VERSION.fullmatch(event.header.version):
        root["version"].refuse("is a version as in 1.0.0")
    if source.complaints:
        raise ContractError(_in_order(source.complaints))
    return event


def load_sound(folder: Path) -> tuple[Catalog, tuple[Complaint, ...]]:
    """Read every domain: a catalog of those without complaints, and all complaints about the others.

    Of two domains that want one name, the later in the alphabet is complained about.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        return Catalog({}), (_missing(folder),)
    drafts: list[Draft] = []
    complaints: list[Complaint] = []
    for path in visible(folder):
        if path.is_dir():
            drafts.append(read_domain(path))
        elif path.suffix != ".md":
            file = f"{folder.name}/{path.name}"
            complaints.append(Complaint(file, None, "", "a file that is not read", "are folders of domains"))
    if not drafts:
        complaints.append(Complaint(folder.name, None, "", "no domain", "is at least one folder of contracts"))
    _check_shared(drafts)
    complaints += [complaint for draft in drafts for complaint in draft.complaints]
    sound = {draft.name: draft.domain for draft in drafts if not draft.complaints}
    return Catalog(sound), _in_order(complaints)


def _check_shared(drafts: Iterable[Draft]) -> None:
    """Every table has one name in one layer, whichever domain it is of; a topic belongs to one domain."""
    owners: dict[tuple[str, str], tuple[str, str]] = {}
    for draft in drafts:
        for layer, table, holder, node in _tables(draft):
            first = owners.setdefault((layer, table), (draft.name, holder))
            if first != (draft.name, holder):
                node.refuse(f"is a name of its own: {layer}.{table} belongs to {first[1]} of the domain {first[0]}")


def _tables(draft: Draft) -> Iterator[tuple[str, str, str, Node]]:
    """Layer, table, whose it is, and where that is written."""
    for source, event in draft.events:
        yield "bronze", table_name(event.topic), f"the topic {event.topic}", _physical_name(source)
        yield "silver", event.name, f"the event {event.name}", source.root["name"]
    for source, reference in draft.references:
        yield "reference", reference.name, f"the table {reference.name}", source.root["name"]
        if reference.changes is not None:
            holder = f"the reference table {reference.name}"
            yield "bronze", table_name(reference.changes.topic), holder, _physical_name(source)
            yield "silver", reference.name, holder, source.root["name"]
    for source, mart in draft.marts:
        yield "gold", mart.name, f"the mart {mart.name}", source.root["name"]


def _physical_name(source: Source) -> Node:
    return next(iter(source.root["schema"]), source.root)["physicalName"]


def _in_order(complaints: Iterable[Complaint]) -> tuple[Complaint, ...]:
    return tuple(sorted(complaints, key=lambda complaint: (complaint.file, complaint.line or 0, complaint.key)))


def _missing(folder: Path) -> Complaint:
    return Complaint(folder.name, None, "", "no such folder", "is a folder of contracts")
