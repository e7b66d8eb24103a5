"""Telling somebody of findings that were never seen before: once per fingerprint, never per row."""

import json
import urllib.error
import urllib.request
from datetime import datetime, timedelta

import polars as pl

from analytics_platform.fingerprint import COLUMNS, fingerprints

MOST = 20
"""Findings named in one alert; of more only the number is told: a source may be made up for every record."""

_TIMEOUT = timedelta(seconds=5)
_TOLD = ("fingerprint", "contract", "topic", "code", "rule", "rows")
"""What an alert says of a finding: nothing that a record holds, so not its source either."""


def unseen(rows: pl.LazyFrame, since: datetime) -> pl.DataFrame:
    """The fingerprints whose first row was quarantined at or after a moment, as `fingerprint.SCHEMA`.

    Args:
        rows: A whole quarantine. `first_seen` and `last_seen` become times of its rows' statuses, so that rows which a
            crash kept waiting in bronze count from when they were quarantined.
        since: When a burst began.
    """
    by_status = rows.select(*(name for name in COLUMNS if name != "ingested_at"), ingested_at="status_at")
    return fingerprints(by_status).filter(pl.col("first_seen") >= since)


def post(url: str, domain: str, found: pl.DataFrame) -> str | None:
    """Send one alert for some findings; the sentence that says what went wrong, if something did.

    A POST of JSON: `domain`, `findings` (at most `MOST`) and `more`, how many are not named. It takes a few seconds at
    most and is not tried again.
    """
    named = found.select(_TOLD).head(MOST).to_dicts()
    body = json.dumps({"domain": domain, "findings": named, "more": found.height - len(named)}).encode()
    if not url.startswith(("http://", "https://")):
        return "The alert was not sent: ANALYTICS_ALERT_WEBHOOK is no http:// or https:// address."
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - looked at just above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT.total_seconds()):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return f"The alert was not taken: the webhook answered {error.code}."
    except (OSError, ValueError) as error:  # the address may hold a secret, so only the kind of trouble is told
        return f"The alert was not sent: {type(error).__name__}."
