"""Gold: marts kept up to date by recomputing only the windows that new silver rows fall into.

`table` says what a mart's table looks like, `source` what it reads and how far that is, `rows` runs its SQL,
`refresh` decides what to recompute and commits. A mart that starts over from more than a slice is cut by `slicing` and
built by `build` beside its table; `upkeep` goes over all marts.
"""

from analytics_platform.gold.build import Pace, builds, shadow
from analytics_platform.gold.refresh import Rewritten, touched_by
from analytics_platform.gold.source import Logs
from analytics_platform.gold.table import spec
from analytics_platform.gold.upkeep import Refreshed, refresh

__all__ = ["Logs", "Pace", "Refreshed", "Rewritten", "builds", "refresh", "shadow", "spec", "touched_by"]
