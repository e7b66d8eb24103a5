"""The schemas by which a domain's framed values were written: asked of the registry once, then kept in the lake.

Bronze holds bytes that nobody can read without their schema, so that schema stands in the lake before anything made by
it does: a rebuild in ten years needs no registry, and a registry that is down stops new schemas alone.

An id means one schema for as long as records name it. A registry that is moved must keep its ids.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import polars as pl

from analytics_platform.contract.model import EventContract
from analytics_platform.contract.unframe import schema_keys
from analytics_platform.errors import RegistryNotSet
from analytics_platform.kafka.frame import RegisteredSchema, Schemas, WireFormat
from analytics_platform.lake.commit import Change, commit
from analytics_platform.lake.files import Snapshot
from analytics_platform.lake.table import Lake, TableSpec
from analytics_platform.settings import RegistrySettings

if TYPE_CHECKING:
    from analytics_platform.kafka.registry import Registry

SCHEMA = pl.Schema(
    {
        "key": pl.String(),
        "kind": pl.String(),
        "text": pl.String(),
        "references": pl.List(pl.Struct({"name": pl.String(), "text": pl.String()})),
        "registry": pl.String(),
    }
)
"""`key` as in `Schemas`; `registry` is the address it came from, for audit. A key may stand twice, with the same schema."""


def spec(domain: str) -> TableSpec:
    """The table of a domain's schemas."""
    return TableSpec("registry", domain, SCHEMA, (), f"By which schemas values of the domain {domain} were written.")


class SchemaBook:
    """Finds the schemas of records. For one thread."""

    def __init__(self, lake: Lake, domain: str, registry: RegistrySettings) -> None:
        """Ask nothing yet."""
        self._lake, self._domain, self._settings = lake, domain, registry
        self._known: dict[str, RegisteredSchema] = {}
        self._registry: Registry | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection to the registry, if there is one."""
        if self._registry is not None:
            self._registry.close()
            self._registry = None

    def of(self, records: pl.DataFrame, contracts: Sequence[EventContract]) -> Schemas:
        """Every schema by which records of one topic were written; None for one that the registry does not have.

        Durable on return: those that the lake did not have.
        If it dies halfway: some of them stand; calling again asks for the others.

        Raises:
            RegistryNotSet: the lake lacks some, and the settings name no registry.
            RegistryUnavailable: the registry does not answer.
            RegistryRefused: it refuses us.
        """
        keys = schema_keys(records, contracts)
        if keys - self._known.keys():
            self._known |= self._kept()
        missing = sorted(keys - self._known.keys())
        if missing:
            found = {key: schema for key, schema in self._asked(missing).items() if schema is not None}
            if found:
                self._keep(found)
            self._known |= found
        return {key: self._known.get(key) for key in keys}

    def at_hand(self, records: pl.DataFrame, contracts: Sequence[EventContract]) -> Schemas:
        """As `of`, without asking the registry: None also for those that the lake does not have."""
        keys = schema_keys(records, contracts)
        known = {**self._known, **self._kept()} if keys - self._known.keys() else self._known
        return {key: known.get(key) for key in keys}

    def _asked(self, keys: Sequence[str]) -> Schemas:
        if self._settings.url is None:
            raise RegistryNotSet(self._domain, keys[0])
        if self._registry is None:
            from analytics_platform.kafka.registry import Registry  # noqa: PLC0415 - half a second, and most need none

            self._registry = Registry(self._settings)
        return self._registry.schemas(keys)

    def _kept(self) -> Mapping[str, RegisteredSchema]:
        table = self._lake.newest(spec(self._domain))
        if table is None:
            return {}
        rows = Snapshot.of(table).scan().collect().iter_rows(named=True)
        return {
            row["key"]: RegisteredSchema(
                WireFormat(row["kind"]), row["text"], tuple((one["name"], one["text"]) for one in row["references"])
            )
            for row in rows
        }

    def _keep(self, found: Mapping[str, RegisteredSchema]) -> None:
        rows = [
            (
                key,
                str(schema.kind),
                schema.text,
                [{"name": name, "text": text} for name, text in schema.references],
                self._settings.url,
            )
            for key, schema in found.items()
        ]
        frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
        commit(self._lake, spec(self._domain), lambda _table, _left: Change(frame))
