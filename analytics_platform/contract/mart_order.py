"""Marts that read marts: which comes after which."""

from collections.abc import Mapping

from analytics_platform.contract.model import MartContract


def in_order(marts: Mapping[str, MartContract]) -> list[str]:
    """The names, each after those that it reads, else by the alphabet; those that read each other in a circle come last."""
    placed: list[str] = []
    left = sorted(marts)
    while ready := [name for name in left if not set(marts[name].gold_inputs) & set(left)]:
        placed += ready
        left = [name for name in left if name not in ready]
    return placed + left


def circle_of(name: str, marts: Mapping[str, MartContract]) -> list[str]:
    """The way from a mart through those that it reads back to itself, itself first and last; empty where there is none."""
    ways = [[name]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for other in marts[way[-1]].gold_inputs if way[-1] in marts else ():
            if other == name:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []
