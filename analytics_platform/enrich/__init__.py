"""Columns that rows get from elsewhere, between check and silver.

    good rows ──> what each enrichment's source knows of their keys ──┬── known ────> the columns, and since when
                                                                      ├── unknown ──> null, and since when; or quarantine
                                                                      └── missing ──> null: filled later, see fill.py

Every enrichment fails alone: a source that is not there leaves its own columns empty and stops nothing. What a source
says later does not change rows that have been enriched; silver holds what was known, and a rebuild asks again.
"""

from analytics_platform.enrich.missing import missing_marks
from analytics_platform.enrich.remote import NOBODY, Asks
from analytics_platform.enrich.rows import enriched, remembering
from analytics_platform.enrich.source import Sources

__all__ = ["NOBODY", "Asks", "Sources", "enriched", "missing_marks", "remembering"]
