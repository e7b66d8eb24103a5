"""What mends records that were sent wrong: a declared change of some fields, for records that are refused without it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from analytics_platform.contract.reason import Reason

SUFFIX = ".patch.yaml"

REPAIRABLE = (
    Reason.UNKNOWN_EVENT_TYPE,
    Reason.UNKNOWN_SCHEMA_VERSION,
    Reason.VERSION_SUNSET,
    *(reason for reason in Reason if not reason.whole_record),
)
"""The codes of records that are JSON objects, so that fields of theirs can be set."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One file `contracts/<domain>/<event>/<name>.patch.yaml`. It belongs to all versions of its event."""

    name: str
    description: str
    event: str
    major: int
    """A mended record must be valid under a version of this major."""
    codes: tuple[Reason, ...]
    """It is for records with no other faults than these."""
    sources: tuple[str, ...]
    """Only of these senders; of all where it is empty."""
    start: datetime | None
    """Records ingested before are not mended; UTC."""
    end: datetime
    """Records ingested then or later are not mended; UTC."""
    where: str | None
    """A condition in DuckDB's SQL over `value` and `kafka_timestamp`."""
    fields: Mapping[str, str]
    """What to set: by the field's path (`delay`, `place.city`), an expression over the same columns."""
    withdrawn: bool
    """It mends nothing any more; the file stays for those who look for what it did."""
    path: Path
    digest: str
    """sha256 of the file's bytes, in hexadecimal."""
