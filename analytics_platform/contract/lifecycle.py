"""The life of a contract as it is written down: what may change (`compatibility`), and what will end (`deprecation`)."""

from datetime import date

from analytics_platform.contract.complaint import one_of
from analytics_platform.contract.model import Compatibility, Deprecation, Mode
from analytics_platform.contract.source import Node
from analytics_platform.contract.vendor import check_keys, ours


def compatibility_of(root: Node) -> Compatibility:
    """The custom property `compatibility` of a contract; the defaults where it says nothing."""
    node = ours(root, "compatibility")
    if node.value is None or not check_keys(node, (), ("shape", "rules")):
        return Compatibility()
    usual = Compatibility()
    return Compatibility(_mode(node["shape"], usual.shape), _mode(node["rules"], usual.rules))


def deprecation_of(holder: Node) -> Deprecation | None:
    """The custom property `deprecation` of a field or a contract; None where nothing is announced."""
    node = ours(holder, "deprecation")
    if node.value is None or not check_keys(node, ("announcedOn", "removeAfter"), ("replacedBy",)):
        return None
    announced, removed = _day(node["announcedOn"]), _day(node["removeAfter"])
    if announced is None or removed is None:
        return None
    if removed < announced:
        node["removeAfter"].refuse(f"is no day before announcedOn, which is {announced}")
    successor = node["replacedBy"]
    if successor.value is not None and not successor.text:
        successor.refuse("is the name of the field, or the version, to use instead")
    return Deprecation(announced, removed, successor.text or None)


def check_deprecated(holder: Node, deprecation: Deprecation | None, key: str, value: object) -> None:
    """Complain unless what has a `deprecation` also says so by the standard's own key: tools read that one."""
    if deprecation is not None and holder[key].value != value:
        allowed = "true" if value is True else str(value)
        holder[key].refuse(f"is {allowed}, as there is a deprecation")


def _mode(node: Node, usual: Mode) -> Mode:
    if node.value is None:
        return usual
    if node.text not in set(Mode):
        node.refuse(one_of(Mode, node.value))
        return usual
    return Mode(node.text)


def _day(node: Node) -> date | None:
    if node.value is None:
        return None  # complained about as missing
    try:
        if len(node.text) == 10:
            return date.fromisoformat(node.text)
    except ValueError:
        pass
    node.refuse("is a day as in 2026-12-31")
    return None
