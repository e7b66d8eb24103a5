"""A domain made by hand, so that what is expected of the definitions stands in one place."""

from datetime import timedelta
from pathlib import Path

from analytics_platform.contract.model import (
    Domain,
    EventContract,
    Field,
    Header,
    Identity,
    KeyMode,
    LogicalType,
    MartContract,
    ReferenceContract,
    Rules,
    Window,
)

KEY = Field("idempotency_key", LogicalType.STRING, True, "Identifies the event.")
DELAY = Field("delay", LogicalType.INTEGER, False, "Departure delay.", Rules(minimum=-120.0), unit="min")
SEATS = Field(
    "seats",
    LogicalType.ARRAY,
    False,
    "Sold.",
    item=Field("item", LogicalType.OBJECT, True, "", fields=(Field("row", LogicalType.STRING, True, ""),)),
)


def header(name: str, *, digest: str, version: str = "1.0.0") -> Header:
    return Header(
        id=f"urn:{name}",
        name=name,
        version=version,
        status="active",
        domain="flights",
        description=f"About {name}.",
        owners=("team:aviation",),
        tags=("demo",),
        path=Path(f"contracts/flights/{name}/{version}.odcs.yaml"),
        digest=digest,
    )


def event(name: str, topic: str, *, digest: str = "a", version: str = "1.0.0") -> EventContract:
    return EventContract(
        header=header(name, digest=digest, version=version),
        topic=topic,
        fields=(KEY, DELAY, SEATS),
        envelope={"idempotency_key": "idempotency_key"},
        identity=Identity(("id",), KeyMode.TRUST, None, timedelta(days=1)),
        freshness=timedelta(minutes=15),
        max_quarantined_share=0.05,
    )


def flights() -> Domain:
    """Two topics, three event types, of which one has two versions, a reference table and a mart."""
    return Domain(
        name="flights",
        events=(
            event("flight_departed", "flights.departures"),
            event("flight_departed", "flights.departures", digest="b", version="1.10.0"),
            event("flight_cancelled", "flights.departures"),
            event("flight_arrived", "flights.arrivals"),
        ),
        references=(
            ReferenceContract(header("airlines", digest="c"), (KEY,), ("idempotency_key",), Path("airlines.parquet")),
        ),
        marts=(
            MartContract(
                header("carrier_daily", digest="d"),
                fields=(KEY, DELAY),
                grain=("idempotency_key", "delay"),
                window=Window("day", timedelta(days=1), "America/New_York", {"flight_departed": "occurred_at"}),
                sql="select 1",
                sql_path=Path("carrier_daily.sql"),
                silver_inputs=("flight_arrived", "flight_departed"),
                reference_inputs=("airlines",),
            ),
        ),
    )
