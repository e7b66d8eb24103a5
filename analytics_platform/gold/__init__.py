"""Gold: marts kept up to date by recomputing only the windows that new silver rows fall into.

`table` says what a mart's table looks like, `source` what it reads and how far that is, `rows` runs its SQL,
`refresh` decides what to recompute and commits.
"""

from analytics_platform.gold.refresh import Refreshed, Rewritten, refresh, touched_by
from analytics_platform.gold.source import Logs
from analytics_platform.gold.table import spec

__all__ = ["Logs", "Refreshed", "Rewritten", "refresh", "spec", "touched_by"]
