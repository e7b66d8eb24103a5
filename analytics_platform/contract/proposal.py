"""Contracts that are not in force yet, read as strictly as if they were."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from analytics_platform.contract.complaint import Complaint
from analytics_platform.contract.draft import SUFFIX, visible
from analytics_platform.contract.header import VERSION
from analytics_platform.contract.load import load_catalog, load_domain
from analytics_platform.contract.model import NAME, Domain
from analytics_platform.contract.patch import SUFFIX as PATCH_SUFFIX
from analytics_platform.contract.source import Source, read_source
from analytics_platform.errors import ContractError

_ELSEWHERE = "is a draft that stands outside of the contracts in force"


def load_proposal(path: Path, contracts: Path) -> tuple[Domain, ...]:
    """Read what is proposed: every domain it concerns, as it would be.

    Args:
        path: A file is one event contract or one patch; it is judged as if it stood in its event's folder, in place of
            the version or patch it names or beside the others. A folder is a domain's, or that of all domains, and is taken whole.
        contracts: The folder of the contracts in force. Paths in the result may no longer exist.

    Raises:
        ContractError: With every complaint; those about a single file name it as it was given.
    """
    if not path.is_dir():
        return (_with_file(path, contracts.absolute()),)
    if path.resolve() in {contracts.resolve(), *(item.resolve() for item in contracts.glob("*"))}:
        raise ContractError([Complaint(str(path), None, "", "the contracts in force", _ELSEWHERE)])
    if any(path.glob(f"*/*{SUFFIX}")):
        return (load_domain(path),)
    return tuple(load_catalog(path).domains.values())


def _with_file(path: Path, contracts: Path) -> Domain:
    source = read_source(path.absolute(), str(path))
    is_patch = path.name.endswith(PATCH_SUFFIX)
    domain, name, version = (source.root[key] for key in ("domain", "event" if is_patch else "name", "version"))
    if source.data is not None:
        for node in (domain, name):
            if not NAME.fullmatch(node.text):
                node.refuse("is a name of a-z, 0-9 and _: it says where the contract would stand")
        if not is_patch and not VERSION.fullmatch(version.text):
            version.refuse("is a version as in 1.0.0")
    _stop(source)
    place = Path(domain.text, name.text, path.name if is_patch else f"{version.text}{SUFFIX}")
    if (contracts / place).exists() and path.resolve() == (contracts / place).resolve():
        source.complain((), "a contract in force", _ELSEWHERE)
        _stop(source)
    with _overlaid(path.absolute(), contracts, place) as folder:
        try:
            return load_domain(folder)
        except ContractError as error:
            own = (Path(contracts.name) / place).as_posix()
            raise ContractError(_renamed(error.complaints, own, str(path))) from None


def _stop(source: Source) -> None:
    if source.complaints:
        raise ContractError(source.complaints)


@contextmanager
def _overlaid(path: Path, contracts: Path, place: Path) -> Iterator[Path]:
    """The domain's folder with the file at its place: links to what stands there, and nothing copied."""
    domain, name, file = place.parts
    with TemporaryDirectory(prefix="proposal-") as root:
        folder = Path(root) / contracts.name / domain
        (folder / name).mkdir(parents=True)
        for standing in visible(contracts / domain) if (contracts / domain).is_dir() else ():
            if standing.name != name:
                (folder / standing.name).symlink_to(standing)
        for standing in visible(contracts / domain / name) if (contracts / domain / name).is_dir() else ():
            if standing.name != file:
                (folder / name / standing.name).symlink_to(standing)
        (folder / name / file).symlink_to(path)
        yield folder


def _renamed(complaints: Iterable[object], file: str, name: str) -> list[object]:
    return [
        replace(item, file=name) if isinstance(item, Complaint) and item.file == file else item for item in complaints
    ]
