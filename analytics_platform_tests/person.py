"""A shop whose orders hold personal data of every kind, and the search for it where it must not be."""

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Domain
from analytics_platform.lake.listing import live_tables
from analytics_platform.lake.table import Lake
from analytics_platform_tests import shop

KEY = "a5" * 32
_TREATED = "customProperties: [{{property: treatment, vendor: analytics_platform, value: {}}}]"


def _field(name: str, kind: str, treatment: str, rest: str = "") -> str:
    return f"{{name: {name}, {_typed(kind, treatment, rest)}}}"


def _typed(kind: str, treatment: str, rest: str = "") -> str:
    return f"logicalType: {kind}, classification: restricted, {rest}{_TREATED.format(treatment)}"


_FIELDS = f"""\
      - {_field("email", "string", "{op: hash, key: customers}", "logicalTypeOptions: {pattern: '[^ ]+@[^ ]+'}, ")}
      - {_field("phone", "string", "{op: mask, last: 2}", "logicalTypeOptions: {minLength: 5}, ")}
      - {_field("card", "string", "drop")}
      - {_field("note", "string", "keep", "logicalTypeOptions: {maxLength: 60}, ")}
      - {_field("born", "date", "drop")}
      - name: ship
        logicalType: object
        properties:
          - {_field("street", "string", "{op: mask}")}
          - {{name: city, logicalType: string}}
          - {{name: with, logicalType: array, items: {{{_typed("string", "{op: hash, key: customers}")}}}}}
    quality:
      - type: custom
        name: nobody_writes_to_himself
        description: The note is not the e-mail address.
        engine: analytics_platform
        implementation: {{scope: row, sql: "note <> email"}}"""
BREAKS_ON_A_VALUE = shop.DAILY_SQL.replace("sum(cents)", "sum(CAST(note AS bigint))")
"""A mart that stumbles over a value, which DuckDB then quotes."""


@cache
def domain(**changed: Any) -> Domain:
    """Orders and page views; orders name by `email` the person they are about."""
    without = shop.domain(events=("order_placed", "page_viewed"), extra=_FIELDS, **changed)
    file = next(event.header.path for event in without.events if event.name == "order_placed")
    subject = "  - {property: subject, vendor: analytics_platform, value: email}\n"
    if not file.read_text().endswith(subject):
        file.write_text(file.read_text() + subject)
    return load_catalog(contracts_of(without)).domains["shop"]


def contracts_of(of: Domain) -> Path:
    """The folder of all domains that a domain was loaded from."""
    return of.events[0].header.path.parents[2]


def order(name: str, who: str, **changes: Any) -> bytes:
    """A good order of somebody whose every value holds `who`."""
    personal = {
        "email": f"{who}@mail.example",
        "phone": f"+1-{who}-99",
        "card": f"4111-{who}",
        "note": f"ring twice, {who}",
        "born": "1931-07-19",
        "ship": {"street": f"1 {who} Road", "city": "Ghent", "with": [f"{who} senior", None]},
    }
    return shop.order(order_id=name, **(personal | changes))


def troubles(who: str) -> list[bytes]:
    """Orders of somebody that are wrong in every way: in shape, in rules, in rules over the row, in bytes."""
    good = json.loads(order("o", who))
    odd: list[dict[str, Any]] = [
        {"email": who},
        {"email": [who]},
        {"email": {who: who}},
        {"phone": f"{who} " * 9, "note": who * 20},
        {"note": f"{who}@mail.example"},
        {"born": who},
        {"born": f"1931-07-19{who}"},
        {"cents": who},
        {"cents": -1, "email": f"{who} at home"},
        {"occurred_at": who},
        {"placed_at": f"2024-07-01T10:00:00{who}"},
        {"ship": who},
        {"ship": [good["ship"]]},
        {"ship": {"street": 5, "with": who}},
        {"ship": {"street": f"1 {who} Road", "city": who, "with": [{who: 1}]}},
        {"idempotency_key": f"{who}-key"},
        {"schema_version": "7.0.0"},
        {who: {who: who}, "cents": None},
    ]
    text = order("o", who)
    broken = [
        text[:-1],
        text + b"}",
        text.replace(b'"card"', b'"email"'),
        text.replace(b"Road", b"\xff"),
        f'"{who}"'.encode(),
        f'["{who}"]'.encode(),
        f'{{"event_type": "order_placed", "schema_version": "1.0.0", "{who}": NaN}}'.encode(),
        b"[" * 200 + who.encode(),
        who.encode(),
    ]
    return [json.dumps(good | changes).encode() for changes in odd] + broken


# --- the search --------------------------------------------------------------------------------------------------------

RAW = {"key", "value", "headers"}


def found_in_tables(lake: Path, *words: str) -> list[str]:
    """The columns of live tables that hold one of some words, as `layer.name.column`."""
    found = []
    for table in live_tables(Lake(lake)):
        rows = table.snapshot.scan().collect()
        found += [f"{table.title}.{name}" for name in rows.columns if _holds(_plain(rows[name]), words)]
    return sorted(found)


def found_in_files(lake: Path, *words: str) -> list[str]:
    """The columns of all data files, live or not, that hold one of some words."""
    found = set()
    for path in lake.rglob("*.parquet"):
        if path.parent.name == "_delta_log":
            continue
        rows = pl.read_parquet(path)
        title = ".".join(path.parent.relative_to(lake).parts)
        found |= {f"{title}.{name}" for name in rows.columns if _holds(_plain(rows[name]), words)}
    return sorted(found)


def found_beside_the_rows(root: Path, *words: str) -> list[str]:
    """Files that hold one of some words anywhere but in the pages of data files: logs, checkpoints, footers, databases."""
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and _holds(_beside(path), words)
    )


def _beside(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".parquet":
        return content
    if path.parent.name == "_delta_log":  # pages are compressed
        return content + str(pl.read_parquet(path).to_dicts()).encode()
    footer = pq.ParquetFile(path).metadata
    chunks = [
        footer.row_group(group).column(n) for group in range(footer.num_row_groups) for n in range(footer.num_columns)
    ]
    starts = [min(one.data_page_offset, one.dictionary_page_offset or one.data_page_offset) for one in chunks]
    ends = [start + one.total_compressed_size for start, one in zip(starts, chunks, strict=True)]
    said = [
        f"{one.statistics.min} {one.statistics.max}" for one in chunks if one.statistics and one.statistics.has_min_max
    ]
    # Behind the last page come the indexes of columns and the footer, which hold minima and maxima.
    return content[max(ends, default=0) :] + " ".join(said).encode()


def _plain(column: pl.Series) -> bytes:
    return str(column.to_list()).encode()


def _holds(content: bytes, words: tuple[str, ...]) -> bool:
    return any(word.encode() in content for word in words)


def at(hour: datetime) -> str:
    """An hour as the command line takes it."""
    return hour.strftime("%Y-%m-%dT%H")
