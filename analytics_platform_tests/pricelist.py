"""A shop whose prices come by a compacted topic, and records of that."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from analytics_platform import bronze, derive, reference
from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Domain, ReferenceContract
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.lake.files import Snapshot
from analytics_platform_tests import shop

PRICES = "shop.prices"

CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: urn:contract:shop:prices
name: prices
version: 1.0.0
status: active
domain: shop
description: {purpose: Prices.}
team: {name: shop}
schema:
  - name: prices
    physicalName: shop.prices
    physicalType: topic
    properties:
      - {name: product, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: cents, logicalType: integer, required: true, logicalTypeOptions: {minimum: 0}}
      - {name: note, logicalType: string}
      - {name: changed_at, logicalType: timestamp, required: true, logicalTypeOptions: {timezone: true}}
"""
VALID_FROM = "customProperties: [{property: validFrom, vendor: analytics_platform, value: changed_at}]\n"

Sent = tuple[bytes | None, bytes | None]
"""Key and value of a record."""

_FOLDERS: list[TemporaryDirectory[str]] = []


PRICED_SQL = """\
SELECT date_trunc('hour', occurred_at) AS hour, CAST(sum(p.cents) AS bigint) AS placed, CAST(0 AS bigint) AS cancelled
FROM silver.order_placed AS o
JOIN reference.prices AS p
  ON o.product = p.product AND occurred_at >= p._valid_from AND (p._valid_to IS NULL OR occurred_at < p._valid_to)
GROUP BY ALL
"""
"""What orders were worth by the prices of their time, in place of `sales_hourly`."""


@cache
def domain(contract: str = CONTRACT + VALID_FROM, *, priced: bool = False, as_of: bool = True) -> Domain:
    """The shop's contracts and that of its prices; `priced` has a mart join them, and say whether it does so `asOf`."""
    folder = TemporaryDirectory(prefix="prices-")
    _FOLDERS.append(folder)
    root = Path(folder.name) / "contracts"
    shutil.copytree(shop.domain().references[0].header.path.parent.parent.parent, root)
    (root / "shop/reference/prices.odcs.yaml").write_text(contract)
    if priced:
        (root / "shop/marts/sales_hourly.sql").write_text(PRICED_SQL)
        mart = root / "shop/marts/sales_hourly.odcs.yaml"
        hours = "{order_placed: occurred_at}" + (", asOf: true" if as_of else "")
        changed = mart.read_text().replace("{order_placed: occurred_at, order_cancelled: occurred_at}", hours)
        mart.write_text(changed)
    return load_catalog(root).domains["shop"]


def contract_of(found: Domain) -> ReferenceContract:
    (one,) = found.followed
    return one


def at(minute: int) -> datetime:
    return datetime(2024, 7, 1, 12, tzinfo=UTC) + timedelta(minutes=minute)


def price(product: str, cents: int | None, minute: int = 0, /, **more: Any) -> Sent:
    """A price from a minute on; None says that the product is gone, since the record's own time."""
    if cents is None:
        return product.encode(), None
    return product.encode(), json.dumps({"cents": cents, "changed_at": at(minute).isoformat(), **more}).encode()


@dataclass
class Prices(shop.Shop):
    """A shop that gets prices with their keys; a record of offset n was sent at minute n."""

    sent: Mapping[int, Sequence[Sent]] = field(default_factory=dict)

    def slice(self, topic: str, ranges: Iterable[OffsetRange], topic_id: str = "t1") -> derive.Slice:
        found = tuple(ranges)
        part = super().slice(topic, found, topic_id)
        if topic != PRICES:
            return part
        rows = [
            (item.partition, offset, at(offset), key, value, None if value is None else len(value))
            for item in found
            for offset, (key, value) in enumerate(self.sent[item.partition][item.start : item.end], item.start)
        ]
        names = ("partition", "offset", "kafka_timestamp", "key", "value", "value_bytes")
        raw = pl.DataFrame(rows, schema={name: bronze.SCHEMA[name] for name in names}, orient="row")
        raw = raw.with_columns(timestamp_type=pl.lit("create"), headers=pl.lit(None, bronze.SCHEMA["headers"]))
        return derive.Slice(part.log, part.ranges, bronze.rows(raw, part.log, bronze.instant(self.now)))

    def history(self) -> list[tuple[object, ...]]:
        """product, cents, and from which minute on up to which."""
        spec = reference.spec(contract_of(self.domain))
        rows = Snapshot.of(self.lake.ensure(spec)).scan().collect().sort("product", "_valid_from")
        minutes = [((pl.col(name) - at(0)).dt.total_minutes()) for name in ("_valid_from", "_valid_to")]
        return rows.select("product", "cents", *minutes).rows()


def prices(root: Path, *sent: Sent, of: Domain | None = None) -> Prices:
    found = domain() if of is None else of
    topics: dict[str, Mapping[int, Sequence[bytes | None]]] = {shop.ORDERS: {}, shop.VISITS: {}}
    return Prices(root / "lake", {**topics, PRICES: {0: [value for _, value in sent]}}, found, sent={0: sent})
