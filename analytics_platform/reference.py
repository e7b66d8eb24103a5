"""Reference tables: files kept as tables, whole and checked, replaced in one step when the file or its contract changes."""

import hashlib
from dataclasses import dataclass

import polars as pl

from analytics_platform.contract.check import misfits, violations
from analytics_platform.contract.model import Domain, ReferenceContract
from analytics_platform.contract.schema import reference_columns, schema_of
from analytics_platform.contract.treatment import personal_columns
from analytics_platform.errors import ReferenceRefused
from analytics_platform.lake.commit import Change, Move, commit
from analytics_platform.lake.files import Pinned
from analytics_platform.lake.table import Lake, TableSpec


@dataclass(frozen=True, slots=True)
class ReferenceReport:
    """One reference table brought up to date."""

    name: str
    rows: int
    changed: bool
    """Whether its file or contract had changed since it was last loaded."""


def spec(contract: ReferenceContract) -> TableSpec:
    """The table of a reference file."""
    columns = schema_of(reference_columns(contract))
    private = personal_columns(contract.fields)
    stats = tuple(name for name in contract.primary_key if name not in private)
    return TableSpec("reference", contract.name, columns, stats, contract.header.description, private)


def spec_of(domain: Domain, name: str) -> TableSpec:
    """The table of one of a domain's reference files, by name."""
    return next(spec(contract) for contract in domain.references if contract.name == name)


def load_reference(lake: Lake, contract: ReferenceContract) -> ReferenceReport:
    """Bring a reference table to what its file holds now; costs one reading of the file when nothing changed.

    Durable on return: the table holds exactly the file's rows.
    If it dies halfway: the table is as it was.

    Raises:
        ReferenceRefused: the file cannot be read or a row does not fit; the table stays as it was.
    """
    try:
        digest = hashlib.sha256(contract.file.read_bytes() + contract.header.digest.encode()).hexdigest()
    except OSError as error:
        raise ReferenceRefused(contract.name, f"{contract.file.name} cannot be read: {error.strerror}") from error
    number = int(digest[:15], 16)

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        del left
        if table.progress("file") == number:
            return None
        return Change(_rows(contract), replaces_all=True, progress={"file": number})

    committed = commit(lake, spec(contract), change)
    table = lake.newest(spec(contract))
    rows = 0 if table is None else Pinned(table).snapshot().rows
    return ReferenceReport(contract.name, rows, changed=committed.change is not None)


def _rows(contract: ReferenceContract) -> pl.DataFrame:
    schema = spec(contract).schema
    try:
        read = pl.read_csv if contract.file.suffix == ".csv" else pl.read_parquet
        found = read(contract.file)
    except (pl.exceptions.PolarsError, OSError) as error:
        # polars shows the text it could not read, which may be anybody's
        raise ReferenceRefused(contract.name, f"{contract.file.name} cannot be read ({type(error).__name__})") from None
    unfit = misfits(found, schema)
    if unfit:
        raise ReferenceRefused(contract.name, f"{contract.file.name}: not of its contract's type: {', '.join(unfit)}")
    rows = found.select(pl.col(name).cast(kind) for name, kind in schema.items())
    doubled = int(rows.select(contract.primary_key).is_duplicated().sum())
    if doubled:
        raise ReferenceRefused(contract.name, f"{doubled} rows share a {', '.join(contract.primary_key)}")
    complaints = violations(rows, contract.fields)
    if complaints:
        raise ReferenceRefused(contract.name, "; ".join(complaints))
    return rows
