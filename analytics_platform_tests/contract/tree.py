"""One small valid tree of contracts: a shop with an event, a reference table and a mart."""

from pathlib import Path

import polars as pl

ORDER = """\
apiVersion: v3.2.0
kind: DataContract
id: urn:contract:shop:order_placed
name: order_placed
version: 1.0.0
status: active
domain: shop
description: {purpose: Orders., limitations: None known.}
tags: [sales]
team:
  name: checkout
  members: [{username: ana@example.com, role: owner}, {username: bo}]
schema:
  - name: order_placed
    physicalName: shop.orders-v1
    physicalType: topic
    logicalType: object
    properties:
      - {name: occurred_at, logicalType: timestamp, required: true, logicalTypeOptions: {timezone: true}}
      - {name: idempotency_key, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: event_type, logicalType: string, required: true, enum: [{value: order_placed}]}
      - {name: schema_version, logicalType: string, required: true}
      - {name: trace_id, logicalType: string}
      - {name: source, logicalType: string}
      - name: order_id
        logicalType: string
        required: true
        logicalTypeOptions: {pattern: 'O-[0-9]{3}', maxLength: 5}
      - {name: placed_at, logicalType: timestamp, required: true}
      - name: cents
        logicalType: integer
        required: true
        description: Total.
        logicalTypeOptions: {minimum: 0, exclusiveMaximum: 1000000, multipleOf: 5}
        customProperties: [{property: unit, vendor: analytics_platform, value: cent}]
      - {name: currency, logicalType: string, enum: [{value: EUR}, {value: USD}]}
      - name: lines
        logicalType: array
        logicalTypeOptions: {minItems: 1}
        items:
          logicalType: object
          properties:
            - {name: sku, logicalType: string, required: true}
            - {name: weight_kg, logicalType: number, logicalTypeOptions: {exclusiveMinimum: 0}}
    quality:
      - type: custom
        name: currency_is_known
        engine: analytics_platform
        implementation: {scope: row, sql: cents = 0 OR currency IS NOT NULL}
slaProperties:
  - {property: freshness, value: 2, unit: h}
  - {property: retention, value: 3, unit: y}
customProperties:
  - property: envelope
    vendor: analytics_platform
    value:
      idempotency_key: id
      event_type: type
      schema_version: header:ce_version
      trace_id: header:traceparent
      occurred_at: placed_at
      source: source
  - {property: identity, vendor: analytics_platform, value: {mode: derive, by: [order_id, placed_at], timeField: placed_at}}
  - {property: quarantine, vendor: analytics_platform, value: {maxBadRatio: 0.1}}
  - {property: rating, vendor: somebody, value: [1, 2]}
"""

CURRENCIES = """\
apiVersion: v3.2.0
kind: DataContract
id: urn:contract:shop:currencies
name: currencies
version: 2.1.0
status: active
domain: shop
description: {purpose: Currencies.}
team: {name: finance}
schema:
  - name: currencies
    physicalName: currencies.parquet
    physicalType: parquet
    properties:
      - {name: code, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: digits, logicalType: integer}
"""

SALES = """\
apiVersion: v3.2.0
kind: DataContract
id: urn:contract:shop:sales_daily
name: sales_daily
version: 1.0.0
status: active
domain: shop
description: {purpose: Sales.}
team: {name: analytics}
schema:
  - name: sales_daily
    properties:
      - {name: day, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: currency, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: orders, logicalType: integer, required: true}
      - {name: mean_cents, logicalType: number}
slaProperties: [{property: freshness, value: 1, unit: d}]
customProperties:
  - property: window
    vendor: analytics_platform
    value: {column: day, size: 1d, timezone: Europe/Berlin, timeFields: {order_placed: placed_at}}
"""

SALES_SQL = """\
WITH placed AS (
    SELECT CAST(timezone('Europe/Berlin', placed_at) AS date) AS day, coalesce(currency, '?') AS currency, cents
    FROM silver.order_placed
)
SELECT day, currency, count(*) AS orders, avg(cents) AS mean_cents
FROM placed
LEFT JOIN reference.currencies ON code = currency
GROUP BY day, currency
"""

DASHBOARD = """\
panels:
  - title: Orders per day
    table: gold.sales_daily
    x: day
    y: orders
    by: currency
    last: 31
  - title: Digits, for want of a place
    table: silver.order_placed
    x: currency
    y: cents
    aggregate: mean
    map: {reference: currencies, latitude: digits, longitude: digits}
"""

DASHBOARD_FILE = "contracts/shop/dashboard.yaml"
ORDER_FILE = "contracts/shop/order_placed/1.0.0.odcs.yaml"
CURRENCIES_FILE = "contracts/shop/reference/currencies.odcs.yaml"
SALES_FILE = "contracts/shop/marts/sales_daily.odcs.yaml"
SQL_FILE = "contracts/shop/marts/sales_daily.sql"


def write_tree(folder: Path) -> Path:
    """Write the tree; returns the folder of all domains."""
    files = {
        ORDER_FILE: ORDER,
        CURRENCIES_FILE: CURRENCIES,
        SALES_FILE: SALES,
        SQL_FILE: SALES_SQL,
    }
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    frame = pl.DataFrame({"code": ["EUR"], "digits": [2], "sign": ["€"]}, schema_overrides={"digits": pl.Int8})
    frame.write_parquet(folder / "contracts/shop/reference/currencies.parquet")
    return folder / "contracts"


def change(folder: Path, file: str, old: str, new: str) -> None:
    """Replace the one occurrence of `old` in a file of the tree."""
    path = folder / file
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))
