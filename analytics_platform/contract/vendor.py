"""What the platform adds to the standard: custom properties whose vendor is `analytics_platform`.

Other vendors' properties are nobody's business here; ours are known, or refused.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from analytics_platform.contract.complaint import nearest, one_of, shown
from analytics_platform.contract.source import Node, Source

VENDOR = "analytics_platform"


class Kind(StrEnum):
    """What a file describes; its folder says so."""

    EVENT = "event"
    REFERENCE = "reference"
    MART = "mart"


_OF_CONTRACT: Mapping[Kind, tuple[str, ...]] = {
    Kind.EVENT: (
        "envelope",
        "identity",
        "quarantine",
        "watermark",
        "compatibility",
        "deprecation",
        "upcast",
        "subject",
        "wire",
        "enrich",
    ),
    Kind.REFERENCE: (),
    Kind.MART: ("window",),
}
_OF_FIELD: Mapping[Kind, tuple[str, ...]] = {
    Kind.EVENT: ("unit", "deprecation", "treatment"),
    Kind.REFERENCE: ("unit", "deprecation"),
    Kind.MART: ("unit", "deprecation"),
}


def ours(node: Node, name: str) -> Node:
    """The value of our custom property `name` of a contract or a field; without a value if it is not there."""
    for item in node["customProperties"]:
        if item["vendor"].value == VENDOR and item["property"].value == name:
            return item["value"]
    return Node(node.source, (*node.path, "customProperties", name), None)


def check_vendor(source: Source, kind: Kind) -> None:
    """Complain about custom properties and quality rules that look like ours but would not be read."""
    for node in _nodes(source.root):
        if "customProperties" in node:
            _check_properties(node, _names_at(node, kind))
        engine = node["engine"]
        if node.path[-2:-1] == ("quality",) and (near := nearest(engine.value, [VENDOR])):
            engine.refuse(f"is {near} for a rule of ours, or a name that cannot be mistaken for it")


def check_keys(node: Node, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> bool:
    """Complain unless the node is a mapping with the required keys and no unknown ones; whether it is a mapping."""
    known = (*required, *optional)
    if not isinstance(node.value, dict):
        node.refuse(f"is a mapping of {', '.join(known)}")
        return False
    for key in node.keys:
        if key not in known:
            node[key].refuse(one_of(known, key), "an unknown key")
    for key in required:
        if node.value.get(key) is None:
            node[key].refuse("is a value: it is required", "nothing")
    return True


def _check_properties(node: Node, known: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for item in node["customProperties"]:
        name, vendor = item["property"], item["vendor"]
        if vendor.value == VENDOR:
            if name.value not in known:
                name.refuse(one_of(known, name.value))
            elif name.text in seen:
                name.refuse("is each property once", f"{shown(name.value)} a second time")
            seen.add(name.text)
        elif vendor.value is None and name.value in known:
            vendor.refuse(f"is {VENDOR}: without it the platform does not read {shown(name.value)}")
        elif near := nearest(vendor.value, [VENDOR]):
            vendor.refuse(f"is {near}, or a name that cannot be mistaken for it")


def _names_at(node: Node, kind: Kind) -> tuple[str, ...]:
    if not node.path:
        return _OF_CONTRACT[kind]
    is_field = node.path[0] == "schema" and (node.path[-2:-1] == ("properties",) or node.path[-1] == "items")
    return _OF_FIELD[kind] if is_field else ()


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for key in node.keys:
        # What a custom property holds is its vendor's own.
        if not (key == "value" and node.path[-2:-1] == ("customProperties",)):
            yield from _nodes(node[key])
    for item in node:
        yield from _nodes(item)
