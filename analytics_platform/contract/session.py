"""What a mart's contract says of sessions: how long a silence ends one, and whose they are."""

from datetime import timedelta

from analytics_platform.contract.complaint import one_of, shown
from analytics_platform.contract.model import LogicalType, MartContract, Session
from analytics_platform.contract.schema import polars_type
from analytics_platform.contract.source import Node
from analytics_platform.contract.sql import Bench
from analytics_platform.contract.watermark import duration_of

_KEYS = (LogicalType.STRING, LogicalType.INTEGER, LogicalType.BOOLEAN, LogicalType.DATE)
"""Types whose values are equal or not, beyond doubt."""


def session_of(node: Node, schema: Node, grain: tuple[str, ...]) -> Session:
    """The sessions of a mart by its contract; `check_session` holds them against what its SQL reads.

    Args:
        node: The contract's window.
        schema: The mart's schema.
        grain: Its primary key.
    """
    gap = duration_of(node["gap"])
    if gap == timedelta(0):
        node["gap"].refuse("is longer than nothing, as in 8h")
    by: list[str] = []
    allowed = [name for name in grain if name != node["column"].value]
    kinds = {item["name"].text: item["logicalType"].text for item in schema["properties"]}
    for item in node["by"]:
        if item.value in by:
            item.refuse("is each column once", f"{shown(item.value)} a second time")
        elif item.value not in allowed:
            item.refuse(one_of(allowed, item.value, "the primary key beside the session's start"))
        elif kinds.get(item.text) not in _KEYS:
            item.refuse(one_of(_KEYS, what="what a session's key may be"), f"a column of type {kinds[item.text]}")
        by.append(item.text)
    if node["by"].value is not None and not by:
        node["by"].refuse("is a list of the columns by which rows belong together")
    return Session(gap or timedelta(0), tuple(by))


def check_session(node: Node, mart: MartContract, bench: Bench) -> None:
    """Complain where the tables that a mart reads cannot be cut into its sessions."""
    if mart.gold_inputs:
        found = f"sessions over gold.{mart.gold_inputs[0]}"
        node["gap"].refuse("is over silver and reference tables alone: the time of a mart's row is a window's", found)
    fields = {field.name: field for field in mart.fields}
    for item in node["by"]:
        if item.text not in fields:
            continue
        kind = polars_type(fields[item.text])
        for name in mart.silver_inputs:
            columns = bench.silver(name)
            if item.text not in columns:
                own = [one for one in columns if not one.startswith("_")]
                item.refuse(one_of(own, item.value, f"the columns of silver.{name}, which its SQL reads"))
            elif columns[item.text] != kind:
                item.refuse(f"is a column of the same type here and in silver.{name}")
