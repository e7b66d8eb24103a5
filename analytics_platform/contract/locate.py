"""Where in its file a part of a contract is written: for annotations that stand beside the line to mend."""

from pathlib import Path

from analytics_platform.contract.source import Node, read_source
from analytics_platform.contract.vendor import ours

_OURS = {"identity", "envelope", "compatibility", "quarantine", "upcast", "window"}
_ELSEWHERE = {"version": "deprecation"}


def line_of(path: Path, part: str) -> int | None:
    """The line of a field (`lines[].sku`) or a part (`identity`, `quality.rule`); of what it is missing from, if it is.

    None when the file cannot be read.
    """
    source = read_source(path, path.name)
    root = source.root
    head, _, rest = part.partition(".")
    schema = next(iter(root["schema"]), root)
    if head in _OURS:
        node = ours(root, head)
        return source.line((node[rest] if rest else node).path)
    if head == "version":
        return (
            source.line(ours(root, _ELSEWHERE[head]).path) if _has(root, "deprecation") else source.line(("version",))
        )
    if head == "quality":
        found = [item for item in schema["quality"] if item["name"].value == rest]
        return source.line((found[0] if found else schema["quality"]).path)
    if head == "topic":
        return source.line(schema["physicalName"].path)
    if part in root and part != "schema":
        return source.line((part,))
    return source.line(_field(schema, part).path)


def _has(root: Node, name: str) -> bool:
    return ours(root, name).value is not None


def _field(holder: Node, part: str) -> Node:
    """The deepest node of a field's path that is written down."""
    for name in part.split("."):
        plain = name.removesuffix("[]")
        found = [item for item in holder["properties"] if item["name"].value == plain]
        if not found:
            return holder["properties"]
        holder = found[0]
        for _ in range(name.count("[]")):
            holder = holder["items"]
    return holder
