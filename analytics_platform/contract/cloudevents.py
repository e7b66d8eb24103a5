"""CloudEvents 1.0 over Kafka: which mode a record is in, and where the fields of a contract stand in that mode.

The specifications: CloudEvents 1.0.2, its JSON event format, its Kafka protocol binding.

- Structured mode: the header `content-type` begins with `application/cloudevents`; the value is one JSON object that
  holds the attributes, and the payload as its member `data`.
- Binary mode: any other record with a header `ce_specversion`; attributes are headers named `ce_<attribute>`, UTF-8
  without percent-encoding (which is HTTP's), and the value is the payload.

Each mode of a contract is one reading: the same contract, with plain places for its fields. All that follows reads it
like any other contract, and knows no CloudEvents.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import polars as pl

from analytics_platform.contract.model import ENVELOPE, EventContract
from analytics_platform.contract.place import DATA, HEADER, Form, place

SPECVERSION = "1.0"
ATTRIBUTES = dict(zip(ENVELOPE, ("id", "type", "dataschema", "traceparent", "time", "source"), strict=True))
"""The attribute that each field of the envelope comes from, unless a contract says otherwise."""

ABOUT_DATA = ("specversion", "datacontenttype", "data_base64")
"""Members of a structured event that no field comes from, but that say whether it can be read."""
ABOUT_DATA_TYPES: Mapping[str, tuple[Any, bool]] = {
    "specversion": (Literal["1.0"], True),
    "datacontenttype": (Literal["application/json"] | None, False),
    "data_base64": (None, False),
}
"""What they mostly are, and whether they must be there; `unsupported` takes a little more."""

STRUCTURED, BINARY = 0, 1

_CONTENT_TYPE, _SPECVERSION_HEADER = "content-type", "ce_specversion"
_CLOUDEVENTS = "application/cloudevents"
_JSON = re.compile(r"\s*[^/;\s]+/(?:[^/;\s]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_FORMATS = re.compile(r"\s*application/cloudevents\+json\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)


def reading(contract: EventContract, mode: int) -> EventContract:
    """The contract as records of one mode (STRUCTURED or BINARY) are read."""
    places = {name: _place(text, name, mode) for name, text in contract.envelope.items()}
    return replace(contract, envelope=places, payload_in="data" if mode == STRUCTURED else None)


def modes(records: pl.DataFrame, *, framed: bool = False) -> tuple[pl.Series, list[str]]:
    """For each record its mode, or -1 minus the number of the sentence that says why it is in none.

    Where values come `framed`, and are in JSON by now, the data of binary mode may have had any content type.
    A record without a value, or with a part of one, has a mode whatever its headers: what it lacks is told first.
    """
    headers = records.select(_last(_CONTENT_TYPE), _last(_SPECVERSION_HEADER))
    # Producers share a few pairs of them, so distinct pairs are looked at, not records.
    found = headers.unique(maintain_order=True)
    verdicts = [_mode(*pair, framed=framed) for pair in found.iter_rows()]
    sentences = sorted({verdict for verdict in verdicts if isinstance(verdict, str)})
    numbers = [-1 - sentences.index(one) if isinstance(one, str) else one for one in verdicts]
    found = found.with_columns(pl.Series("mode", numbers, pl.Int32))
    joined = headers.join(found, on=headers.columns, how="left", nulls_equal=True, maintain_order="left")
    incomplete = records["value"].is_null() | (records["value_bytes"] > records["value"].bin.size())
    return joined["mode"].zip_with(
        ~incomplete.fill_null(False), pl.repeat(BINARY, records.height, dtype=pl.Int32, eager=True)
    ), sentences


def unsupported(envelope: object) -> str | None:
    """Why a structured event cannot be read; None when it can.

    Args:
        envelope: Has the members of ABOUT_DATA as attributes, None where there is none.
    """
    version, content_type, base64 = (getattr(envelope, name) for name in ABOUT_DATA)
    if version != SPECVERSION:
        return f"specversion: not {SPECVERSION}"
    if base64 is not None:
        return "data_base64: binary data is not read, only JSON in data"
    if content_type is not None and not (isinstance(content_type, str) and _is_json(content_type)):
        return "datacontenttype: not JSON"
    return None


def _place(text: str, name: str, mode: int) -> str:
    """Where a field stands in one mode, from where the contract says it comes from."""
    form, spots = place(text).form, place(text).spots
    if form is Form.PLAIN and name == "schema_version" and text == ATTRIBUTES[name]:
        form = Form.URI
    if form is Form.PLAIN and name == "trace_id" and text == ATTRIBUTES[name]:
        form = Form.TRACEPARENT
        # What set it on the record's way knows better than what its producer wrote down.
        return f"{form}{HEADER}{text}|{_attribute(text, mode)}"
    (spot,) = spots
    if spot.header:
        return f"{form}{HEADER}{spot.name}"
    if spot.data:
        return f"{form}{DATA if mode == STRUCTURED else ''}{spot.name}"
    return f"{form}{_attribute(spot.name, mode)}"


def _attribute(name: str, mode: int) -> str:
    return name if mode == STRUCTURED else f"{HEADER}ce_{name}"


def _last(name: str) -> pl.Expr:
    header = pl.element().struct
    values = pl.col("headers").list.eval(pl.element().filter(header.field("name") == name).struct.field("value"))
    return values.list.last().alias(name)


@lru_cache(maxsize=4096)
def _mode(content_type: bytes | None, specversion: bytes | None, *, framed: bool) -> int | str:
    """The mode that a record's headers say, or why it can't be read in any."""
    said = None if content_type is None else content_type.decode(errors="replace")
    if said is not None and said.lower().startswith(_CLOUDEVENTS):
        return STRUCTURED if _FORMATS.fullmatch(said) else f"header {_CONTENT_TYPE}: not {_CLOUDEVENTS}+json"
    if specversion is None:
        return f"neither a header {_CONTENT_TYPE} of {_CLOUDEVENTS}+json nor a header {_SPECVERSION_HEADER}"
    if specversion != SPECVERSION.encode():
        return f"header {_SPECVERSION_HEADER}: not {SPECVERSION}"
    if said is not None and not framed and not _is_json(said):
        return f"header {_CONTENT_TYPE}: not JSON"
    return BINARY


@lru_cache(maxsize=4096)
def _is_json(content_type: str) -> bool:
    return _JSON.fullmatch(content_type) is not None


def readings(contracts: Sequence[EventContract], mode: int) -> list[EventContract]:
    """All contracts of a topic as records of one mode are read."""
    return [reading(contract, mode) for contract in contracts]


def every_reading(contract: EventContract) -> list[EventContract]:
    """A contract in each of the ways in which its records are read: two for CloudEvents, else one."""
    return [contract] if contract.cloudevents is None else [reading(contract, mode) for mode in (STRUCTURED, BINARY)]
