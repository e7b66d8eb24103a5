"""Where a table is, what it looks like, and how to get hold of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from polars.datatypes import DataTypeClass

from analytics_platform.errors import SchemaChanged
from analytics_platform.lake.durability import sync_folder, sync_folders, sync_version

LAYERS = ("bronze", "quarantine", "silver", "gold", "reference", "erasure", "registry")

BUILDING = "building"
"""The layer of tables that are not there yet: no list of tables and no view shows them."""

UNREADABLE = (DeltaError, OSError, pl.exceptions.ComputeError)
"""What reading a table raises whose log or files are damaged or gone."""

_UNSURE = 3
"""So many of the newest versions may have been left unforced by processes that died: one each."""

Kind = pl.DataType | DataTypeClass | type[pl.DataType]
Schema = Mapping[str, Kind]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """What a table must look like.

    `stats` names the columns for which files keep minimum and maximum: only those by which files are skipped, so that
    no other value ever stands in the table's log.
    """

    layer: str
    name: str
    schema: Schema
    stats: tuple[str, ...]
    description: str = ""
    private: tuple[str, ...] = ()
    """Columns whose values stand in a data file's pages and nowhere else in it: its footer keeps no statistics of them."""

    @property
    def title(self) -> str:
        """`layer.name`, as SQL and messages have it."""
        return f"{self.layer}.{self.name}"


def table_path(lake: Path, layer: str, name: str) -> Path:
    """The folder of a table. `layer` and `name` come from contracts, whose names are checked when they are loaded."""
    if layer not in (*LAYERS, BUILDING) or not name.replace("_", "").isalnum():
        raise ValueError(f"not a table: {layer}.{name}")
    return lake / layer / name


def open_table(path: Path) -> DeltaTable | None:
    """The newest version of a table, or `None` where there is none yet."""
    try:
        return DeltaTable(path)
    except TableNotFoundError:
        return None


@dataclass(slots=True)
class Lake:
    """A folder of tables, and the handles this process has on them.

    A handle is a snapshot; `newest` moves it forward, which costs a listing of the log instead of a replay.
    One `Lake` belongs to one thread.
    """

    root: Path
    fsync: bool = True
    _handles: dict[str, DeltaTable] = field(default_factory=dict, repr=False)
    _forced: dict[str, int] = field(default_factory=dict, repr=False)

    def path(self, spec: TableSpec) -> Path:
        """The table's folder."""
        return table_path(self.root, spec.layer, spec.name)

    def newest(self, spec: TableSpec) -> DeltaTable | None:
        """The newest version of a table, `None` where there is none. The handle is shared: do not keep it."""
        table = self._handles.get(spec.title)
        if table is not None:
            try:
                table.update_incremental()
            except DeltaError:  # older than the log that is kept, or the table was made again: open it anew
                self.forget(spec)
            else:
                return table
        table = open_table(self.path(spec))
        if table is not None:
            self._handles[spec.title] = table
        return table

    def forget(self, spec: TableSpec) -> None:
        """Drop the handle, so that the next `newest` reads the log anew."""
        self._handles.pop(spec.title, None)

    def ensure(self, spec: TableSpec) -> DeltaTable:
        """The newest version of a table, made or widened first where that is needed.

        Added columns, and added fields of objects, are null in the rows that stand there. A table may have more of both
        than `spec`: newer contracts were here. Durable on return: the table and its columns.
        If it dies halfway: there is no table, or one without the new columns; the next call goes on.

        Raises:
            SchemaChanged: a column has another type than the table's, which no commit can mend.
        """
        table = self.newest(spec)
        if table is None:
            table = self._create(spec)
        have = pl.Schema(table.schema().to_arrow())
        wide = {name: widened(have.get(name, kind), kind) for name, kind in spec.schema.items()}
        changed = [f"{name} is {have[name]}, wanted {spec.schema[name]}" for name, kind in wide.items() if kind is None]
        if changed:
            raise SchemaChanged(spec.title, changed)
        missing = {name: kind for name, kind in wide.items() if kind is not None and have.get(name) != kind}
        if missing:
            try:
                table.alter.add_columns(delta_schema(missing).fields)
            except CommitFailedError:  # somebody else changed the table in this very moment: look again
                self.forget(spec)
                return self.ensure(spec)
            self.sync(spec, table.version())
        return table

    def sync(self, spec: TableSpec, version: int) -> None:
        """Force a table up to a version to the disk, where this lake does that.

        Also what others committed: a process may have died before it forced its last commit, and a later one must not
        stand on it while a power cut could still take it. So all versions since the last call are forced, and at the
        first call the newest few.
        """
        if self.fsync:
            for item in range(max(0, self._forced.get(spec.title, version - _UNSURE) + 1), version + 1):
                sync_version(self.path(spec), item)
            self._forced[spec.title] = version

    def sync_deletions(self, spec: TableSpec, version: int) -> None:
        """Force a table up to a version to the disk, and that files of it are gone, where this lake does that."""
        self.sync(spec, version)
        if self.fsync:
            sync_folder(self.path(spec))

    def _create(self, spec: TableSpec) -> DeltaTable:
        try:
            DeltaTable.create(
                self.path(spec),
                schema=delta_schema(_objects_last(spec.schema)),
                name=spec.title,
                description=spec.description,
                configuration={
                    # A commit's own JSON is read back until a checkpoint covers it: keep that tail short.
                    "delta.checkpointInterval": "50",
                    "delta.dataSkippingStatsColumns": ",".join(spec.stats),
                },
            )
        except DeltaError:
            if open_table(self.path(spec)) is None:  # else somebody made it in this very moment
                raise
        self.sync(spec, 0)
        if self.fsync:
            sync_folders(self.path(spec), up_to=self.root)
        table = self.newest(spec)
        assert table is not None, spec.title  # noqa: S101 - made or found just above
        return table


def widened(have: Kind, want: Kind) -> Kind | None:
    """The type that holds values of both: fields of objects are added, behind those there are; `None` if there is none."""
    if isinstance(have, pl.Struct) and isinstance(want, pl.Struct):
        fields = {field.name: field.dtype for field in have.fields}
        for field in want.fields:
            wide = widened(fields.get(field.name, field.dtype), field.dtype)
            if wide is None:
                return None
            fields[field.name] = wide
        return pl.Struct(fields)
    if isinstance(have, pl.List) and isinstance(want, pl.List):
        inner = widened(have.inner, want.inner)
        return None if inner is None else pl.List(inner)
    return have if have == want else None


def _objects_last(schema: Schema) -> Schema:
    """The columns in their order, but objects behind all others.

    deltalake 1.6 lists no statistics of columns that stand behind an object, and files without them are never skipped.
    """
    return dict(sorted(schema.items(), key=lambda column: isinstance(column[1], pl.Struct)))


def delta_schema(schema: Schema) -> DeltaSchema:
    """A polars schema as Delta has it; every column may be null."""
    return DeltaSchema.from_arrow(pl.DataFrame(schema=schema).to_arrow().schema)
