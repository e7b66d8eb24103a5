"""Addresses made of keys that anybody may have sent."""

import re
from urllib.parse import quote, urlsplit

from analytics_platform.lookup.answer import Key
from analytics_platform.lookup_settings import PLACE

LONGEST_KEY_BYTES = 1024
"""Parts of a key that have more in UTF-8, together, are not asked for: the cache and requests stay small."""
_TRAVELS = {"", ".", ".."}
"""Path segments that mean another resource (RFC 3986, 5.2.4), even percent-encoded, or none."""


def is_askable(key: Key) -> bool:
    """Whether any service may know a key: no part is null, and all together are text of a sensible length."""
    try:
        # Digits are few: whole numbers come from columns of 64 bits.
        length = sum(
            8 if isinstance(part, int) else len(part.encode()) if part is not None else 1 << 20 for part in key
        )
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return length <= LONGEST_KEY_BYTES


class Address:
    """Where a service is asked for a key."""

    def __init__(self, template: str) -> None:
        """`template`: as `LookupSettings.url` checked it."""
        parts = urlsplit(PLACE.sub("0", template))
        self.scheme, self.host = parts.scheme.encode(), (parts.hostname or "").encode()
        self.port = parts.port
        start = re.match(r"[^/]*//[^/?]*", template)
        rest = template[start.end() :] if start else ""
        self._path, _, query = rest.partition("?")
        self._query = f"?{query}" if query else ""
        self.parts = len(set(PLACE.findall(template)))
        """How many parts a key must have."""

    def target(self, key: Key) -> bytes | None:
        """Path and query for a key, in ASCII; None where a part would lead to another resource than it names.

        Every byte of a part but letters, digits and `-._~` is percent-encoded, so that none ends a segment, a line or a
        header. Servers that decode a path before they read it would still walk along `..`, so a part that has it
        between slashes makes no path.
        """
        texts = [str(part) for part in key]
        for segment in self._path.split("/"):
            if PLACE.search(segment):
                filled = PLACE.sub(lambda place: texts[int(place.group(1))], segment)
                if _TRAVELS & set(re.split(r"[/\\]", filled)):
                    return None
        path = PLACE.sub(lambda place: quote(texts[int(place.group(1))], safe=""), self._path)
        query = PLACE.sub(lambda place: quote(texts[int(place.group(1))], safe=""), self._query)
        return f"{path or '/'}{query}".encode("ascii")
