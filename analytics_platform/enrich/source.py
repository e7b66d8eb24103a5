"""Everything that rows are enriched from, as one."""

from dataclasses import dataclass

import polars as pl

from analytics_platform.contract.model import Domain, Enrichment
from analytics_platform.enrich.answer import Answered
from analytics_platform.enrich.remote import NOBODY, Asks, remote_answers
from analytics_platform.enrich.table import References
from analytics_platform.lake.table import Lake


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a domain's rows are enriched from."""

    lake: Lake
    domain: Domain
    lookups: Asks = NOBODY

    def there(self, item: Enrichment) -> bool:
        """Whether the source may be asked, as far as can be told without asking it."""
        return item.reference is None or References(self.lake, self.domain).there(item)

    def answered(self, rows: pl.DataFrame, item: Enrichment) -> Answered:
        """What an enrichment's source knows of some rows.

        Args:
            rows: Of an event, with the fields that the enrichment names.
            item: Which source, and what of it.
        """
        if item.reference is None:
            return remote_answers(self.lookups, rows, item)
        return References(self.lake, self.domain).answered(rows, item)
