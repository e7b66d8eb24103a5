"""Whether a domain's contracts are still those that were loaded, for a process that follows by them."""

import hashlib
from pathlib import Path

from analytics_platform.contract.draft import MARTS, REFERENCE, SUFFIX
from analytics_platform.contract.load import load_sound
from analytics_platform.contract.model import Domain
from analytics_platform.contract.patch import SUFFIX as PATCH_SUFFIX


class Edition:
    """The event contracts of a domain, and their patches, as they were loaded.

    Marts and reference tables do not count: they are made anew from what is in silver, whenever that is.
    """

    def __init__(self, domain: Domain, folder: Path) -> None:
        """`folder`: of all contracts. Reads nothing yet."""
        self.domain = domain.name
        """Its name."""
        self._folder = folder.absolute()
        patches = {patch.digest for event in domain.events for patch in event.patches}
        self._looked_at = frozenset(event.header.digest for event in domain.events) | patches

    def is_superseded(self) -> bool:
        """Whether others stand in the folder, and sound ones.

        Files are hashed, and read as contracts only when they differ from those looked at last, so that it costs about
        a millisecond. Contracts that are complained about supersede nothing: somebody is at work on them, and what is
        loaded goes on.
        """
        found = self._digests()
        if found is None or found == self._looked_at:
            return False
        self._looked_at = found
        catalog, _ = load_sound(self._folder)
        return self.domain in catalog.domains

    def _digests(self) -> frozenset[str] | None:
        """Of every event contract and patch, as their headers have it; `None` while a file cannot be read."""
        try:
            return frozenset(
                hashlib.sha256(path.read_bytes()).hexdigest()
                for suffix in (SUFFIX, PATCH_SUFFIX)
                for path in (self._folder / self.domain).glob(f"[!.]*/[!.]*{suffix}")
                if path.parent.name not in {MARTS, REFERENCE}
            )
        except OSError:
            return None
