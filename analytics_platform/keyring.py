"""Named secret keys, by which values of fields are hashed; they show themselves nowhere."""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analytics_platform.errors import SettingsError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a key may be called."""
FEWEST_BYTES = 16
ERASURE = "erasure"
"""The key under which the platform remembers what it was told to forget."""

_WANTED = f"allowed is a key of at least {FEWEST_BYTES} bytes in hex or base64"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by name."""

    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of some names for which there is no key, sorted."""
        return sorted(set(names) - self.keys.keys())

    def digests(self, name: str, texts: Iterable[str]) -> list[str]:
        """HMAC-SHA256 (64 lower-case hexadecimal digits) of each text in UTF-8, about 500,000 a second.

        Raises:
            KeyError: there is no key of this name; ask `missing` first.
        """
        key = self.keys[name]
        return [hmac.digest(key, text.encode(), "sha256").hex() for text in texts]


NO_KEYS = KeyRing()


def key_of(text: str) -> bytes:
    """The key that a text in hex or base64 stands for; a text of nothing but hex digits is hex.

    Raises:
        ValueError: it is neither, or too short. The text is not shown.
    """
    text = text.strip()
    try:
        hexadecimal = re.fullmatch(r"[0-9A-Fa-f]+", text)
        key = bytes.fromhex(text) if hexadecimal else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(_WANTED) from None
    if len(key) < FEWEST_BYTES:
        raise ValueError(_WANTED)
    return key


def read_keys(path: Path) -> dict[str, bytes]:
    """The keys of a file of lines `name: key`; empty lines and those that begin with `#` say nothing.

    Raises:
        SettingsError: the file cannot be read, others than its owner and group may read or write it, or a line is none
            of these. No key is shown.
    """
    where = f"ANALYTICS_KEYS_FILE: {path}"
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{where} cannot be read ({getattr(error, 'strerror', None) or 'not text'})"]) from None
    if mode & 0o007:
        raise SettingsError([f"{where} is open to every user of this machine; chmod 600 it"])
    keys: dict[str, bytes] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, text = (part.strip() for part in line.partition(":"))
        if not colon or not NAME.fullmatch(name):
            wrong.append(f"{where}:{number}: allowed is `name: key`, the name of a-z, 0-9 and _")
        elif name in keys:
            wrong.append(f"{where}:{number}: {name} stands there a second time")
        else:
            try:
                keys[name] = key_of(text)
            except ValueError as error:
                wrong.append(f"{where}:{number}: {name}: {error}")
    if wrong:
        raise SettingsError(wrong)
    return keys
