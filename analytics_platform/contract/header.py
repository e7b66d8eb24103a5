"""What every contract has in common: who owns it, which version it is, how fresh its table must be."""

import hashlib
import re
from datetime import timedelta

from analytics_platform.contract.complaint import nearest, one_of, shown
from analytics_platform.contract.model import Header
from analytics_platform.contract.source import Node, Source
from analytics_platform.contract.standard import API_VERSION

VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
STATUSES = ("proposed", "draft", "active", "deprecated", "retired")

_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,99}")
_EMAIL = re.compile(r"[A-Za-z0-9_.+\-]+@[A-Za-z0-9\-]+\.[A-Za-z0-9\-.]+")
_TAG = re.compile(r"[A-Za-z0-9_.\-]{1,63}")
_VARIABLE = re.compile(r"\$\{[A-Za-z_]")
_UNITS = {
    "seconds": ("s", "second", "seconds"),
    "minutes": ("m", "min", "minute", "minutes"),
    "hours": ("h", "hour", "hours"),
    "days": ("d", "day", "days"),
}


def header_of(source: Source, domain: str, name: str, version: str | None = None, sql: bytes | None = None) -> Header:
    """Compile what stands around the schema.

    Args:
        source: The file.
        domain: What its folder says.
        name: What its folder or file says.
        version: What its file says; None when the file is not named for its version.
        sql: The mart's SQL, which counts for the digest.
    """
    root = source.root
    _expect(root["apiVersion"], API_VERSION, "the version of the standard that is read")
    _expect(root["name"], name, "the name of its folder or file")
    _expect(root["domain"], domain, "the name of its folder")
    if version is not None:
        _expect(root["version"], version, "what its file is named for")
    elif not VERSION.fullmatch(root["version"].text):
        root["version"].refuse("is a version as in 1.0.0")
    if root["status"].text not in STATUSES:
        root["status"].refuse(one_of(STATUSES, root["status"].value))
    _check_variables(root)
    digest = source.digest
    if sql is not None:
        digest = hashlib.sha256(f"{digest} {hashlib.sha256(sql).hexdigest()}".encode()).hexdigest()
    return Header(
        id=root["id"].text,
        name=name,
        version=version or root["version"].text,
        status=root["status"].text,
        domain=domain,
        description=_description(root["description"]),
        owners=_owners(root["team"]),
        tags=_tags(root["tags"]),
        path=source.path,
        digest=digest,
    )


def schema_of(source: Source, name: str) -> Node:
    """The one schema object of a contract, which is named like it."""
    schema = source.root["schema"]
    objects = list(schema)
    if len(objects) != 1:
        schema.refuse("is a list of one object", f"{len(objects)} of them" if objects else None)
    node = objects[0] if objects else Node(source, (*schema.path, 0), None)
    if objects:
        _expect(node["name"], name, "the name of the contract")
        if not list(node["properties"]):
            node["properties"].refuse("is a list of fields")
    return node


def agreed(source: Source, name: str, among: tuple[str, ...] = ("freshness",)) -> timedelta | None:
    """The duration of the service level `name`, one of those that are read (`among`); None when it is not agreed."""
    found = None
    seen: set[str] = set()
    for item in source.root["slaProperties"]:
        label = item["property"]
        if near := nearest(label.value, among):
            label.refuse(one_of(among, label.value))
            continue
        if label.text in seen and label.text in among:
            label.refuse("is each of them once", f"{shown(label.value)} a second time")
        seen.add(label.text)
        if label.value == name and near is None:
            found = _duration(item)
    return found


def _duration(item: Node) -> timedelta | None:
    value, unit = item["value"].value, item["unit"]
    keyword = next((word for word, names in _UNITS.items() if unit.text in names), None)
    if keyword is None:
        unit.refuse(one_of(names[0] for names in _UNITS.values()))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= 1e6:
        item["value"].refuse("is a number above 0")
        return None
    return None if keyword is None else timedelta(**{keyword: value})


def _expect(node: Node, expected: str, what: str) -> None:
    if node.value != expected:
        node.refuse(f"is {expected}, {what}")


def _description(node: Node) -> str:
    known = ("purpose", "usage", "limitations", "authoritativeDefinitions", "customProperties")
    for key in node.keys:
        if key not in known:
            node[key].refuse(one_of(known, key), "an unknown key")
    if not node["purpose"].text.strip():
        node["purpose"].refuse("is text: what the table is for")
    return "\n\n".join(text for key in known[:3] if (text := node[key].text.strip()))


def _owners(team: Node) -> tuple[str, ...]:
    owners = []
    if team["name"].text:
        if not _TEAM.fullmatch(team["name"].text):
            team["name"].refuse("is a name of letters, digits, _ and -")
        owners.append(f"team:{team['name'].text}")
    # The standard's older form is a list of members without a team.
    for member in team["members"] if isinstance(team.value, dict) else team:
        if member["role"].value == "owner":
            if not _EMAIL.fullmatch(member["username"].text):
                member["username"].refuse("is an e-mail address, as the member is an owner")
            owners.append(member["username"].text)
    if not owners:
        team.refuse("is a team with a name, or with a member whose role is owner")
    return tuple(owners)


def _tags(node: Node) -> tuple[str, ...]:
    for tag in node:
        if not _TAG.fullmatch(tag.text):
            tag.refuse("is a tag of letters, digits, _, . and -, of at most 63 characters")
    return tuple(tag.text for tag in node)


def _check_variables(node: Node) -> None:
    """`${NAME}` of the standard is for servers, which are not read; anywhere else it would be taken as it stands."""
    for key in node.keys:
        if node.path or key != "servers":
            _check_variables(node[key])
    for item in node:
        _check_variables(item)
    if _VARIABLE.search(node.text):
        node.refuse("is the value itself: variables are not replaced here")
