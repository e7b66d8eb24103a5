"""Reference tables: files kept as tables, whole and checked, replaced in one step when the file or its contract changes.

With history a file that changed closes the versions of rows that changed or went, and opens those that are new.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from analytics_platform import history
from analytics_platform.contract.check import misfits, violations
from analytics_platform.contract.model import Domain, ReferenceContract
from analytics_platform.contract.schema import polars_schema, reference_columns, schema_of
from analytics_platform.contract.treatment import personal_columns
from analytics_platform.errors import ReferenceRefused
from analytics_platform.lake.commit import TOKEN, Change, Move, commit
from analytics_platform.lake.files import Pinned
from analytics_platform.lake.table import Lake, TableSpec

REWRITES = "rewrites"
"""The application id that counts the commits which took versions away that had been told; marts start over then."""

_LOADED = "loaded"
"""The application id that holds when a file with history was loaded last, in microseconds since 1970."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    stats += (history.FROM, history.COMMIT) if contract.history else ()
    stats += ("_partition", "_offset") if contract.changes is not None else ()
    return TableSpec("reference", contract.name, columns, stats, contract.header.description, private)


def spec_of(domain: Domain, name: str) -> TableSpec:
    """The table of one of a domain's reference files, by name."""
    return next(spec(contract) for contract in domain.references if contract.name == name)


def load_reference(lake: Lake, contract: ReferenceContract, now: datetime) -> ReferenceReport:
    """Bring a reference table to what its file holds now; costs one reading of the file when nothing changed.

    With history, versions begin and end at `now`, or just after those of the load before where that is later.

    Durable on return: the table holds exactly the file's rows; with history, those and what they were before.
    If it dies halfway: the table is as it was.

    Raises:
        ReferenceRefused: the file cannot be read or a row does not fit; the table stays as it was.
    """
    file = _file(contract)
    try:
        digest = hashlib.sha256(file.read_bytes() + contract.header.digest.encode()).hexdigest()
    except OSError as error:
        raise ReferenceRefused(contract.name, f"{file.name} cannot be read: {error.strerror}") from error
    number = int(digest[:15], 16)

    def change(table: Pinned, left: tuple[Move, ...]) -> Change | None:
        del left
        if table.progress("file") == number:
            return None
        if contract.history:
            return _next_versions(table, contract, number, now)
        return Change(_rows(contract), replaces_all=True, progress={"file": number})

    committed = commit(lake, spec(contract), change)
    table = lake.newest(spec(contract))
    rows = 0 if table is None else Pinned(table).snapshot().rows
    return ReferenceReport(contract.name, rows, changed=committed.change is not None)


def _next_versions(table: Pinned, contract: ReferenceContract, number: int, now: datetime) -> Change:
    """The table whole, as the file that made it is: what it was before, and what it is from now on."""
    rows, found = _rows(contract), table.snapshot().scan().collect()
    standing = found.filter(pl.col(history.FROM).is_not_null())
    loaded = (now - _EPOCH) // timedelta(microseconds=1)
    loaded = max(loaded, (table.progress(_LOADED) or loaded - 1) + 1)  # clocks go back, versions don't
    changes = history.differing(standing, rows, contract.primary_key).with_columns(
        pl.lit(_EPOCH + timedelta(microseconds=loaded), standing.schema[history.FROM]).alias(history.FROM),
        pl.lit((table.progress(TOKEN) or 0) + 1, pl.Int64()).alias(history.COMMIT),
    )
    # Columns that only the table has are those of older contracts: what they said of older versions stays.
    older = [pl.lit(None, kind).alias(name) for name, kind in found.schema.items() if name not in changes.columns]
    known = history.versions(standing, changes.with_columns(older), contract.primary_key, ())
    progress = {"file": number, _LOADED: loaded}
    if standing.height < found.height:  # rows from before the table had a history
        progress[REWRITES] = (table.progress(REWRITES) or 0) + 1
    return Change(known, replaces_all=True, progress=progress)


def _file(contract: ReferenceContract) -> Path:
    if contract.file is None:
        raise ValueError(f"reference.{contract.name} comes by a topic")
    return contract.file


def _rows(contract: ReferenceContract) -> pl.DataFrame:
    file, schema = _file(contract), polars_schema(contract.fields)
    try:
        read = pl.read_csv if file.suffix == ".csv" else pl.read_parquet
        found = read(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        # polars shows the text it could not read, which may be anybody's
        raise ReferenceRefused(contract.name, f"{file.name} cannot be read ({type(error).__name__})") from None
    unfit = misfits(found, schema)
    if unfit:
        raise ReferenceRefused(contract.name, f"{file.name}: not of its contract's type: {', '.join(unfit)}")
    rows = found.select(pl.col(name).cast(kind) for name, kind in schema.items())
    doubled = int(rows.select(contract.primary_key).is_duplicated().sum())
    if doubled:
        raise ReferenceRefused(contract.name, f"{doubled} rows share a {', '.join(contract.primary_key)}")
    complaints = violations(rows, contract.fields)
    if complaints:
        raise ReferenceRefused(contract.name, "; ".join(complaints))
    return rows
