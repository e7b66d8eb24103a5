"""What the demo asks of Dagster's webserver, over GraphQL on loopback."""

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_OPEN = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")

_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    __typename ... on PythonError { message } } } } } }
"""
_RUNS = """
{ runsOrError(limit: 200) { ... on Runs { results { runId jobName status startTime endTime } } } }
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as the UI lists it."""

    run_id: str
    job: str
    status: str
    """In Dagster's words: QUEUED, STARTED, SUCCESS, …"""
    started_at: float | None
    """Seconds since 1970; None before it started."""
    ended_at: float | None

    @property
    def is_open(self) -> bool:
        """Whether it has yet to end."""
        return self.status in _OPEN


class Webserver:
    """A webserver that may still be starting."""

    def __init__(self, url: str) -> None:
        """`url`: without a slash at the end."""
        self.url = url
        # The demo's servers are on loopback, whatever proxy the machine uses for the world.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def location(self) -> str | None:
        """None until the code location is loaded; then an empty text, or why it could not be."""
        found = self._ask(_LOCATIONS)
        if found is None:
            return None
        for entry in found["workspaceOrError"].get("locationEntries", []):
            state = entry["locationOrLoadError"]
            if state is not None:
                return str(state.get("message", ""))
        return None

    def runs(self) -> list[Run]:
        """The last 200 runs, the newest first; empty while it does not answer."""
        found = self._ask(_RUNS)
        results = found["runsOrError"].get("results", []) if found else []
        return [
            Run(item["runId"], item["jobName"], item["status"], item["startTime"], item["endTime"]) for item in results
        ]

    def _ask(self, query: str) -> Mapping[str, Any] | None:
        request = urllib.request.Request(  # noqa: S310  loopback, by us
            f"{self.url}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._open.open(request, timeout=10) as answer:
                found = json.load(answer)
        except (OSError, ValueError):  # busy or not there yet; whoever needs an answer asks again
            return None
        data: Mapping[str, Any] | None = found.get("data")
        return data


def by_status(runs: list[Run]) -> dict[str, int]:
    """How many runs of each status."""
    return dict(sorted(Counter(run.status for run in runs).items()))
