"""What the asset graph says of each table: key, upstream, owners, columns. All of it comes from the contracts."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta

import dagster as dg
import polars as pl
from dagster._core.definitions.definitions_load_context import (  # no public name for it yet (1.13)
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from polars._typing import PolarsDataType

from analytics_platform.contract.lineage import column_lineage
from analytics_platform.contract.model import (
    Domain,
    EventContract,
    Field,
    Header,
    MartContract,
    ReferenceContract,
    table_name,
)
from analytics_platform.contract.patch import Patch
from analytics_platform.contract.rule import in_words
from analytics_platform.contract.schema import (
    BRONZE,
    QUARANTINE,
    Column,
    gold_columns,
    reference_columns,
    silver_columns,
)
from analytics_platform.pages.place import dashboard_path
from analytics_platform.settings import Settings

SHORTEST_FRESHNESS = timedelta(seconds=60)
"""Dagster refuses a freshness window below a minute."""

_SQL_TYPES: tuple[tuple[type[pl.DataType], str], ...] = (
    (pl.String, "VARCHAR"),
    (pl.Int64, "BIGINT"),
    (pl.Int32, "INTEGER"),
    (pl.Float64, "DOUBLE"),
    (pl.Boolean, "BOOLEAN"),
    (pl.Datetime, "TIMESTAMP WITH TIME ZONE"),
    (pl.Date, "DATE"),
    (pl.Binary, "BLOB"),
)


def asset_key(layer: str, name: str) -> dg.AssetKey:
    """The asset of the table `<layer>.<name>`."""
    return dg.AssetKey([layer, name])


def events_by_type(domain: Domain) -> dict[str, tuple[EventContract, ...]]:
    """Each event type's contracts, oldest version first; types in order of name."""
    return {
        name: tuple(sorted(domain.versions_of(name), key=lambda contract: contract.order))
        for name in sorted({event.name for event in domain.events})
    }


def topic_specs(domain: Domain) -> list[dg.AssetSpec]:
    """The Kafka topics, which are outside of the platform: shown, never run."""
    return [
        dg.AssetSpec(
            asset_key("kafka", table_name(topic)),
            description=f"Kafka topic `{topic}`, carrying {_listed(domain.event_types_of(topic))}.",
            group_name=domain.name,
            kinds={"kafka"},
            owners=_owners(event.header for event in domain.events_of(topic)),
            metadata={"topic": topic},
        )
        for topic in domain.topics
    ]


def stream_specs(domain: Domain, settings: Settings) -> list[dg.AssetSpec]:
    """Every table a burst writes, upstream first: bronze, quarantine, silver, gold."""
    bronze = {topic: asset_key("bronze", table_name(topic)) for topic in domain.topics}
    specs = [_bronze(domain, topic, settings) for topic in domain.topics]
    specs.append(
        dg.AssetSpec(
            asset_key("quarantine", domain.name),
            deps=[bronze[topic] for topic in domain.topics],
            description=(
                f"Records of {domain.name} that could not become silver rows: their bytes, where they stand in Kafka, and "
                "why. Mend the contract and replay them, or discard them."
            ),
            group_name=domain.name,
            kinds={"deltalake"},
            owners=_owners(event.header for event in domain.events),
            code_version=_digest(
                (event.header for event in domain.events), (patch for event in domain.events for patch in event.patches)
            ),
            metadata=_metadata("quarantine", domain.name, settings, _columns(QUARANTINE)),
        )
    )
    for name, versions in events_by_type(domain).items():
        latest = versions[-1]
        specs.append(
            dg.AssetSpec(
                asset_key("silver", name),
                deps=[
                    *(bronze[topic] for topic in sorted({version.topic for version in versions})),
                    *(
                        asset_key("reference", name)
                        for name in sorted({one.reference for one in latest.enrichments if one.reference})
                    ),
                ],
                description=latest.header.description,
                group_name=domain.name,
                kinds={"deltalake", "polars"},
                owners=_owners(version.header for version in versions),
                tags=_tags(latest.header),
                code_version=_digest((version.header for version in versions), latest.patches),
                freshness_policy=_freshness(latest.freshness),
                metadata={
                    **_metadata(
                        "silver",
                        name,
                        settings,
                        _columns(silver_columns(versions), latest.fields, unique=("idempotency_key",)),
                    ),
                    "contract_versions": ", ".join(version.header.version for version in versions),
                },
            )
        )
    specs.extend(reference_spec(domain, contract, settings) for contract in domain.followed)
    specs.extend(_gold(domain, mart, settings) for mart in domain.marts)
    return specs


def reference_spec(domain: Domain, contract: ReferenceContract, settings: Settings) -> dg.AssetSpec:
    """A file, or what a topic says of its keys, kept as a table."""
    return dg.AssetSpec(
        asset_key("reference", contract.name),
        deps=[] if contract.changes is None else [asset_key("silver", contract.name)],
        description=contract.header.description,
        group_name=domain.name,
        kinds={"deltalake", "polars" if contract.file is None else contract.file.suffix.lstrip(".").lower()},
        owners=_owners([contract.header]),
        tags=_tags(contract.header),
        code_version=_digest([contract.header]),
        metadata={
            **_metadata(
                "reference",
                contract.name,
                settings,
                _columns(reference_columns(contract), contract.fields, unique=_single(contract.grain)),
            ),
            "contract_versions": contract.header.version,
        },
    )


def _bronze(domain: Domain, topic: str, settings: Settings) -> dg.AssetSpec:
    name = table_name(topic)
    return dg.AssetSpec(
        asset_key("bronze", name),
        deps=[asset_key("kafka", name)],
        description=f"Every record of the Kafka topic `{topic}` as it came, before any opinion. Append-only.",
        group_name=domain.name,
        kinds={"kafka", "deltalake"},
        owners=_owners(event.header for event in domain.events_of(topic)),
        metadata={**_metadata("bronze", name, settings, _columns(BRONZE)), "topic": topic},
    )


def _gold(domain: Domain, mart: MartContract, settings: Settings) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key("gold", mart.name),
        deps=[
            *(asset_key("silver", name) for name in mart.silver_inputs),
            *(asset_key("reference", name) for name in mart.reference_inputs),
            *(asset_key("gold", name) for name in mart.gold_inputs),
        ],
        description=f"{mart.header.description}\n\n```sql\n{mart.sql.strip()}\n```",
        group_name=domain.name,
        kinds={"duckdb", "deltalake"},
        owners=_owners([mart.header]),
        tags=_tags(mart.header),
        code_version=_digest([mart.header]),
        freshness_policy=_freshness(mart.freshness),
        metadata={
            **_metadata(
                "gold",
                mart.name,
                settings,
                _columns(gold_columns(mart), mart.fields, unique=_single(mart.grain)),
            ),
            "contract_versions": mart.header.version,
            "dashboard": dg.MetadataValue.path(str(dashboard_path(settings, domain.name).absolute())),
            **_lineage(domain, mart),
        },
    )


def _lineage(domain: Domain, mart: MartContract) -> dict[str, object]:
    """From which columns a mart's columns come. A run does not need to know, and would start later for it."""
    if DefinitionsLoadContext.get().load_type is DefinitionsLoadType.RECONSTRUCTION:
        return {}
    deps = {
        column: [dg.TableColumnDep(asset_key(one.layer, one.table), one.column) for one in sources]
        for column, sources in column_lineage(domain, mart).items()
        if sources
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)} if deps else {}


def _metadata(layer: str, name: str, settings: Settings, columns: Sequence[dg.TableColumn]) -> dict[str, object]:
    return {
        "dagster/table_name": f"{layer}.{name}",
        "dagster/uri": str(settings.lake / layer / name),
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


def _columns(
    columns: Sequence[Column], fields: Sequence[Field] = (), *, unique: tuple[str, ...] = ()
) -> list[dg.TableColumn]:
    """The table's columns; those that a contract describes with its units and rules."""
    by_name = {field.name: field for field in fields}
    described = []
    for column in columns:
        field = by_name.get(column.name)
        rules = [] if field is None else in_words(field.rules)
        described.append(
            dg.TableColumn(
                column.name,
                sql_type(column.type),
                description=column.description if field is None else _described(field),
                constraints=dg.TableColumnConstraints(
                    nullable=not column.required, unique=column.name in unique, other=rules
                ),
            )
        )
    return described


def sql_type(kind: PolarsDataType) -> str:
    """A column's type as DuckDB names it, which is where readers meet it."""
    if isinstance(kind, pl.List):
        return f"{sql_type(kind.inner)}[]"
    if isinstance(kind, pl.Struct):
        return f"STRUCT({', '.join(f'{field.name} {sql_type(field.dtype)}' for field in kind.fields)})"
    return next(name for base, name in _SQL_TYPES if kind == base)


def _described(field: Field) -> str:
    notes = [f"unit: {field.unit}"] if field.unit else []
    notes += [field.classification] if field.classification else []
    notes += ["deprecated"] if field.deprecated else []
    return f"{field.description} ({'; '.join(notes)})" if notes else field.description


def _single(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Dagster knows uniqueness of one column only; a key of several stays in the description of the contract."""
    return columns if len(columns) == 1 else ()


def _freshness(window: timedelta | None) -> dg.FreshnessPolicy | None:
    if window is None:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=max(window, SHORTEST_FRESHNESS))


def _owners(headers: Iterable[Header]) -> list[str]:
    return sorted({owner for header in headers for owner in header.owners})


def _tags(header: Header) -> dict[str, str]:
    return dict.fromkeys(header.tags, "")


def _digest(headers: Iterable[Header], patches: Iterable[Patch] = ()) -> str:
    """Changes when, and only when, one of the contracts or patches does."""
    digests = [*(header.digest for header in headers), *(patch.digest for patch in patches)]
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:16]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
