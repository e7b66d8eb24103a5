"""The property `envelope` of an event's contract: where the six fields of the envelope come from.

Either a mapping of all six to places, or `style: cloudevents` with what differs from CloudEvents' own attributes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analytics_platform.contract.cloudevents import ATTRIBUTES
from analytics_platform.contract.complaint import shown
from analytics_platform.contract.model import ENVELOPE, Field
from analytics_platform.contract.place import DATA, HEADER, Form
from analytics_platform.contract.source import Node
from analytics_platform.contract.vendor import check_keys

_MISSING = "missingTraceId"
_GENERATE = "generate"
_STYLE = "cloudevents"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,100}")
_NO_SOURCE = frozenset({"data", "specversion", "datacontenttype"})
_TYPE = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,198}[^\x00-\x20\x7f])?")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the property says, as `EventContract` has it."""

    places: Mapping[str, str]
    cloudevents: str | None = None
    generate_trace_id: bool = False


def envelope_of(node: Node, fields: Mapping[str, Field], name: str) -> Envelope:
    """Compile the property; of use only if the source has no complaints.

    Args:
        node: Its value.
        fields: The contract's, by name.
        name: The contract's own: what CloudEvents' `type` says unless another is declared.
    """
    if "style" in node:
        if not check_keys(node, ("style",), ("type", *ENVELOPE, _MISSING)):
            return Envelope({})
        if node["style"].value not in (None, _STYLE):
            node["style"].refuse(f"is {_STYLE}, or a mapping of {', '.join(ENVELOPE)} without a style")
        if "type" in node and not _TYPE.fullmatch(node["type"].text):
            node["type"].refuse("is text of at most 200 characters: the type by which CloudEvents name the event")
        places = {key: node[key].text or ATTRIBUTES[key] for key in ENVELOPE}
        _check_places(node, fields, cloudevents=True)
        return Envelope(places, node["type"].text or name, _generates(node))
    if not check_keys(node, ENVELOPE, (_MISSING,)):
        return Envelope({})
    _check_places(node, fields, cloudevents=False)
    return Envelope({key: node[key].text for key in ENVELOPE}, None, _generates(node))


def _generates(node: Node) -> bool:
    if _MISSING in node and node[_MISSING].value != _GENERATE:
        node[_MISSING].refuse(f"is {_GENERATE}: without this key, what a missing trace id means is up to required")
    return node[_MISSING].text == _GENERATE


def _check_places(node: Node, fields: Mapping[str, Field], *, cloudevents: bool) -> None:
    used: dict[str, str] = {}
    for key in ENVELOPE:
        written = node[key]
        if written.value is None and not (cloudevents and key not in node):
            continue
        whole = written.text if key in node else ATTRIBUTES[key]
        text = whole.removeprefix(Form.TRACEPARENT) if key == "trace_id" else whole
        if not is_place(text, cloudevents=cloudevents):
            written.refuse(_allowed(key, cloudevents=cloudevents))
            continue
        # A field of the payload may be described as such, too; an attribute is none.
        inside = text.removeprefix(DATA) if cloudevents else text
        described = fields.get(inside) if text.startswith(DATA) or not cloudevents else None
        if text in used:
            written.refuse("is each source once", f"{shown(text)} a second time (first for {used[text]})")
        elif described is not None and key in fields and described.type is not fields[key].type:
            written.refuse(f"is a field of type {fields[key].type}", f"{shown(text)} of type {described.type}")
        elif not cloudevents and not text.startswith(HEADER) and (near := _but_for_case(text, (*fields, *used))):
            written.refuse("is a name that no other has but for its case", f"{shown(text)} beside {shown(near)}")
        used.setdefault(text, key)


def is_place(text: str, *, cloudevents: bool) -> bool:
    """Whether a contract may name this place, without a form before it."""
    if text.startswith(HEADER):
        return _HEADER_NAME.fullmatch(text.removeprefix(HEADER)) is not None
    if not cloudevents:
        return _NAME.fullmatch(text) is not None
    if text.startswith(DATA):
        return _NAME.fullmatch(text.removeprefix(DATA)) is not None
    return _ATTRIBUTE.fullmatch(text) is not None and text not in _NO_SOURCE


def _allowed(key: str, *, cloudevents: bool) -> str:
    places = (
        f"is an attribute of CloudEvents, {DATA} and a field of data, or {HEADER} and the name of a header"
        if cloudevents
        else f"is a field of the value, or {HEADER} and the name of a header"
    )
    return f"{places}, after {Form.TRACEPARENT} where a W3C traceparent stands there" if key == "trace_id" else places


def _but_for_case(name: str, others: Iterable[str]) -> str | None:
    """A name that DuckDB would take for this one; the very same name is none."""
    return next((other for other in others if other != name and other.lower() == name.lower()), None)
