"""One domain's folder, read into a draft: what could be compiled, and everything that is wrong with it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from analytics_platform.contract.complaint import Complaint
from analytics_platform.contract.dashboard import FILE as DASHBOARD
from analytics_platform.contract.dashboard import panels_of
from analytics_platform.contract.enrich_source import with_columns
from analytics_platform.contract.event import check_rules, check_topic, check_versions, event_of
from analytics_platform.contract.header import VERSION
from analytics_platform.contract.mart import check_mart, mart_of, with_inputs
from analytics_platform.contract.mart_order import circle_of, in_order
from analytics_platform.contract.model import NAME, Domain, EventContract, MartContract, ReferenceContract
from analytics_platform.contract.panel import Panel
from analytics_platform.contract.patch import SUFFIX as PATCH_SUFFIX
from analytics_platform.contract.patch import Patch
from analytics_platform.contract.patch_source import check_patches, patch_of
from analytics_platform.contract.reference import reference_of
from analytics_platform.contract.source import MAX_BYTES, Source, read_source
from analytics_platform.contract.sql import Bench
from analytics_platform.contract.standard import check_standard
from analytics_platform.contract.upcast import check_upcasts
from analytics_platform.contract.vendor import Kind, check_vendor

SUFFIX = ".odcs.yaml"
REFERENCE = "reference"
MARTS = "marts"

_NAMES = "are names of a-z, 0-9 and _ that begin with a letter, of at most 63 characters"


@dataclass(slots=True)
class Draft:
    """A domain, as far as it could be read."""

    folder: Path
    strays: list[Complaint] = field(default_factory=list)
    """Complaints about files and folders that are not read."""
    sources: list[Source] = field(default_factory=list)
    events: list[tuple[Source, EventContract]] = field(default_factory=list)
    """By event type and version."""
    references: list[tuple[Source, ReferenceContract]] = field(default_factory=list)
    marts: list[tuple[Source, MartContract]] = field(default_factory=list)
    patches: list[tuple[Source, Patch]] = field(default_factory=list)
    """By event type and name."""
    panels: tuple[Panel, ...] = ()
    broken: set[str] = field(default_factory=set)
    """Tables, as `silver.x`, whose contract is wrong."""

    @property
    def name(self) -> str:
        """The domain's name."""
        return self.folder.name

    @property
    def complaints(self) -> list[Complaint]:
        """All that is wrong, in no order."""
        return [*self.strays, *(complaint for source in self.sources for complaint in source.complaints)]

    @property
    def domain(self) -> Domain:
        """What could be compiled; of use only if there are no complaints."""
        patches = [patch for _, patch in self.patches]
        events = tuple(
            replace(contract, patches=tuple(patch for patch in patches if patch.event == contract.name))
            for _, contract in self.events
        )
        references = tuple(contract for _, contract in self.references)
        changes = [contract.changes for contract in references if contract.changes is not None]
        events = tuple(sorted((*events, *changes), key=lambda event: (event.name, event.order)))
        marts = tuple(contract for _, contract in self.marts)
        headers = (
            [item.header for item in events] + [item.header for item in references] + [item.header for item in marts]
        )
        return Domain(
            name=self.name,
            events=events,
            references=references,
            marts=marts,
            description=_description(self.folder / "README.md"),
            owners=tuple(sorted({owner for header in headers for owner in header.owners})),
            panels=self.panels,
        )

    def file(self, path: Path) -> str:
        """A path as complaints name it."""
        return path.relative_to(self.folder.parent.parent).as_posix()

    def stray(self, path: Path, allowed: str) -> None:
        """Complain about a file or folder that stands where nothing of its name is read."""
        self.strays.append(Complaint(self.file(path), None, "", "a file or folder that is not read", allowed))


def read_domain(folder: Path) -> Draft:
    """Read a domain's folder, which has an absolute path."""
    draft = Draft(folder)
    if not NAME.fullmatch(folder.name):
        draft.stray(folder, _NAMES)
        return draft
    for path in visible(folder):
        if path.is_dir() and path.name == REFERENCE:
            _read_references(draft, path)
        elif path.is_dir() and path.name == MARTS:
            continue  # their SQL is tried over everything else
        elif path.is_dir():
            _read_event(draft, path)
        elif path.suffix != ".md" and path.name != DASHBOARD:
            draft.stray(path, f"are folders of events, {REFERENCE} and {MARTS}, and {DASHBOARD}")
    draft.events.sort(key=lambda pair: (pair[1].name, pair[1].order))
    _check_together(draft)
    if not draft.sources and not draft.strays:
        draft.strays.append(Complaint(draft.file(folder), None, "", "no contract", f"is at least one file *{SUFFIX}"))
    elif (folder / DASHBOARD).is_file():
        _read_dashboard(draft, folder / DASHBOARD)
    return draft


def _read_dashboard(draft: Draft, path: Path) -> None:
    source = read_source(path, draft.file(path))
    if source.data is not None and not draft.complaints:  # only then is it certain which columns there are
        draft.panels = panels_of(source, draft.domain)
    draft.sources.append(source)


def visible(folder: Path) -> list[Path]:
    """What stands in a folder, by name, without what is hidden by a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read(draft: Draft, path: Path, kind: Kind) -> Source | None:
    source = read_source(path, draft.file(path))
    draft.sources.append(source)
    if source.data is None:
        return None
    check_standard(source)
    check_vendor(source, kind)
    return source


def _read_event(draft: Draft, folder: Path) -> None:
    name = folder.name
    if not NAME.fullmatch(name):
        draft.stray(folder, _NAMES)
        return
    files = [path for path in visible(folder) if path.suffix != ".md"]
    if all(path.name.endswith(PATCH_SUFFIX) for path in files):
        draft.stray(folder, f"is at least one file <version>{SUFFIX} in it")
    for path in files:
        version = path.name.removesuffix(SUFFIX)
        if path.name.endswith(PATCH_SUFFIX):
            _read_patch(draft, path)
            continue
        if not path.name.endswith(SUFFIX) or not VERSION.fullmatch(version):
            allowed = f"are files named <version>{SUFFIX}, as in 1.0.0{SUFFIX}, and <name>{PATCH_SUFFIX}"
            draft.stray(path, allowed)
            continue
        source = _read(draft, path, Kind.EVENT)
        if source is not None:
            draft.events.append((source, event_of(source, draft.name, name, version)))
        if source is None or source.complaints:
            draft.broken.add(f"silver.{name}")


def _read_patch(draft: Draft, path: Path) -> None:
    name = path.name.removesuffix(PATCH_SUFFIX)
    if not NAME.fullmatch(name):
        draft.stray(path, _NAMES)
        return
    source = read_source(path, draft.file(path))
    draft.sources.append(source)
    patch = None if source.data is None else patch_of(source, draft.name, path.parent.name, name)
    if patch is not None:
        draft.patches.append((source, patch))


def _named(draft: Draft, folder: Path, others: set[str]) -> Iterator[tuple[Path, str]]:
    """The contracts of a folder and their names; complains about all but them and the files they need."""
    contracts = [path for path in visible(folder) if path.name.endswith(SUFFIX)]
    known = {path.name for path in contracts} | others
    for path in visible(folder):
        if path.name not in known and path.suffix != ".md":
            draft.stray(path, f"are files *{SUFFIX} and the files they belong to")
    for path in contracts:
        name = path.name.removesuffix(SUFFIX)
        if NAME.fullmatch(name):
            yield path, name
        else:
            draft.stray(path, _NAMES)


def _read_references(draft: Draft, folder: Path) -> None:
    data = {path.name for path in visible(folder) if path.suffix in {".parquet", ".csv"}}
    for path, name in _named(draft, folder, data):
        source = _read(draft, path, Kind.REFERENCE)
        if source is not None:
            contract = reference_of(source, draft.name, name)
            draft.references.append((source, contract))
            if contract.file is not None:
                data.discard(contract.file.name)
        if source is None or source.complaints:
            draft.broken.add(f"reference.{name}")
            data.clear()  # whose file the others are is not known
    for name in sorted(data):
        draft.stray(folder / name, "are files that a contract beside them names")


def _read_marts(draft: Draft, folder: Path, bench: Bench) -> None:
    """Read all marts, then check each after those that it reads."""
    contracts = {path.name.removesuffix(SUFFIX) for path in visible(folder) if path.name.endswith(SUFFIX)}
    bench.name_marts(contracts)
    found: dict[str, tuple[Source, str, MartContract]] = {}
    for path, name in _named(draft, folder, {f"{name}.sql" for name in contracts}):
        source = _read(draft, path, Kind.MART)
        if source is None:
            continue
        sql_file = draft.file(folder / f"{name}.sql")
        mart = mart_of(source, sql_file, draft.name, name)
        if mart.fields and all(complaint.file != sql_file for complaint in source.complaints):
            mart = with_inputs(source, sql_file, mart, bench)
        found[name] = (source, sql_file, mart)
    marts = {name: mart for name, (_, _, mart) in found.items()}
    sound: set[str] = set()
    for name in in_order(marts):
        source, sql_file, mart = found[name]
        if circle := circle_of(name, marts):
            source.complaints.append(
                Complaint(sql_file, None, "", f"a circle: {' reads '.join(circle)}", "are marts below it")
            )
        elif set(mart.gold_inputs) <= sound and (mart.silver_inputs or mart.gold_inputs):
            check_mart(source, sql_file, mart, bench, marts)
            if not source.complaints:
                bench.add_mart(mart)
                sound.add(name)
        draft.marts.append((source, mart))


def _check_together(draft: Draft) -> None:
    """What can only be said with all of the domain's tables at hand."""
    versions: dict[str, list[tuple[Source, EventContract]]] = defaultdict(list)
    topics: dict[str, list[tuple[Source, EventContract]]] = defaultdict(list)
    for source, event in draft.events:
        versions[event.name].append((source, event))
    for name, pairs in versions.items():
        if f"silver.{name}" not in draft.broken:
            check_versions(pairs)
            topics[pairs[0][1].topic] += pairs
    for pairs in topics.values():
        check_topic(pairs)
    references = {item.name: item for source, item in draft.references if not source.complaints}
    for name, pairs in versions.items():
        if f"silver.{name}" not in draft.broken:
            versions[name] = with_columns(pairs, references, draft.broken)
    draft.events = [pair for pairs in versions.values() for pair in pairs]
    for name, pairs in versions.items():
        if any(source.complaints for source, _ in pairs):
            draft.broken.add(f"silver.{name}")
    events = {name: [event for _, event in pairs] for name, pairs in versions.items()}
    bench = Bench(
        events={name: found for name, found in events.items() if f"silver.{name}" not in draft.broken},
        references=[contract for source, contract in draft.references if not source.complaints],
        broken=draft.broken,
    )
    with closing(bench):
        _check_expressions(draft, versions, bench)
        if (draft.folder / MARTS).is_dir():
            _read_marts(draft, draft.folder / MARTS, bench)


def _check_expressions(draft: Draft, versions: Mapping[str, list[tuple[Source, EventContract]]], bench: Bench) -> None:
    """Try row rules, up-casts and patches over empty rows."""
    for source, event in draft.events:
        if not any(complaint.key.startswith("schema") for complaint in source.complaints):
            check_rules(source, event, bench)
    for name, pairs in versions.items():
        if f"silver.{name}" not in draft.broken:
            check_upcasts(pairs, bench)
            patches = [pair for pair in draft.patches if pair[1].event == name]
            check_patches(patches, [event for _, event in pairs], bench)


def _description(readme: Path) -> str:
    """The first paragraph of a domain's README, which nobody has to write."""
    if not readme.is_file() or readme.stat().st_size > MAX_BYTES:
        return ""
    paragraphs = readme.read_text(encoding="utf-8", errors="replace").split("\n\n")
    return next((text.strip() for text in paragraphs if text.strip() and not text.startswith("#")), "")
