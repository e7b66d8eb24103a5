"""Lookups that a team's own Python function answers."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from analytics_platform.lookup.answer import NOT_FOUND, Answer, Key, Unavailable, answer_of


class FunctionSource:
    """A function from keys to what is known of them; it is imported when it is first asked.

    It is given a list of keys, each a tuple, and returns a mapping from those it knows to mappings of values.
    """

    most = 500

    def __init__(self, name: str, most_bytes: int) -> None:
        """Import nothing yet.

        Args:
            name: `module:function`.
            most_bytes: What is known of a key may be so long, as JSON.
        """
        self._name, self._most_bytes = name, most_bytes

    def ask(self, keys: Sequence[Key]) -> Mapping[Key, Answer] | Unavailable:
        """The answers; what the function raises is raised."""
        function = self.function()
        if isinstance(function, Unavailable):
            return function
        known = function(list(keys))
        if not isinstance(known, Mapping):
            return Unavailable("function returned no mapping")
        return {key: self._answer(known[key]) if key in known else NOT_FOUND for key in keys}

    def function(self) -> Callable[[list[Key]], Any] | Unavailable:
        """The function, imported."""
        module, _, name = self._name.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except BaseException as error:  # noqa: BLE001 - a module may do anything
            return Unavailable(f"{self._name} cannot be imported: {type(error).__name__}")
        return found if callable(found) else Unavailable(f"{self._name} cannot be called")

    def close(self) -> None:
        """There is nothing to let go of."""

    def _answer(self, values: object) -> Answer:
        if not isinstance(values, Mapping):
            return Unavailable("function returned no mapping for a key")
        try:
            body = msgspec.json.encode(dict(values))
        except (TypeError, ValueError, RecursionError):
            return Unavailable("function returned what JSON cannot say")
        return answer_of(body, self._most_bytes)
