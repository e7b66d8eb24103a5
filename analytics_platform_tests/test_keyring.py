import base64
from pathlib import Path

import pytest

from analytics_platform.errors import SettingsError
from analytics_platform.keyring import KeyRing, key_of, read_keys
from analytics_platform.settings import Secret, Settings

HEX = "00112233445566778899aabbccddeeff"
KEY = bytes.fromhex(HEX)
BASE64 = base64.b64encode(b"an unguessable key").decode()


def file_of(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_digest_is_hmac_sha256() -> None:
    """Test case 2 of RFC 4231, which nobody here wrote."""
    ring = KeyRing({"jefe": b"Jefe"})
    assert ring.digests("jefe", ["what do ya want for nothing?"]) == [
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    ]


@pytest.mark.parametrize(("text", "key"), [(HEX, KEY), (f" {HEX.upper()} ", KEY), (BASE64, b"an unguessable key")])
def test_keys_in_hex_and_base64(text: str, key: bytes) -> None:
    assert key_of(text) == key


@pytest.mark.parametrize("text", ["", "short", HEX[:30], HEX[:-1], "c2hvcnQ=", "not a key, by no means!", "ü" * 40])
def test_texts_that_are_no_key_are_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes in hex or base64") as caught:
        key_of(text)
    assert not text or text not in str(caught.value)


def test_a_file_of_keys(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"# keys of the shop\n\ncustomers: {HEX}\nerasure:{BASE64}\n", 0o640)
    assert read_keys(path) == {"customers": KEY, "erasure": b"an unguessable key"}


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="open to every user of this machine; chmod 600 it"):
        read_keys(file_of(tmp_path, f"customers: {HEX}\n", 0o604))


def test_all_that_is_wrong_with_a_file_and_no_key_shown(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"customers: {HEX}\n{HEX}\ncustomers: {HEX}\nOther: {HEX}\nweak: {HEX[:8]}\n")
    with pytest.raises(SettingsError) as caught:
        read_keys(path)
    where = f"ANALYTICS_KEYS_FILE: {path}"
    assert caught.value.complaints == (
        f"{where}:2: allowed is `name: key`, the name of a-z, 0-9 and _",
        f"{where}:3: customers stands there a second time",
        f"{where}:4: allowed is `name: key`, the name of a-z, 0-9 and _",
        f"{where}:5: weak: allowed is a key of at least 16 bytes in hex or base64",
    )


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys(tmp_path / "keys")


def test_keys_of_variables_and_file_together(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"erasure: {BASE64}\n")
    found = Settings.from_env({"ANALYTICS_KEYS_FILE": str(path), "ANALYTICS_KEY_CUSTOMERS": HEX})
    assert found.key_ring() == KeyRing({"erasure": b"an unguessable key", "customers": KEY})
    assert Settings.from_env(found.environ()) == found
    assert found.keys == (("customers", Secret(HEX)),)


def test_a_key_in_both_places(tmp_path: Path) -> None:
    found = Settings(keys_file=file_of(tmp_path, f"a: {HEX}\n"), keys=(("a", Secret(HEX)),))
    with pytest.raises(SettingsError, match=r"ANALYTICS_KEY_A: a stands in .* too"):
        found.key_ring()


def test_variables_that_hold_no_key_are_named_without_it() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"ANALYTICS_KEY_": HEX, "ANALYTICS_KEY_A": HEX[:20]})
    assert caught.value.complaints == (
        "ANALYTICS_KEY_: allowed are names of keys, of A-Z, 0-9 and _",
        "ANALYTICS_KEY_A: allowed is a key of at least 16 bytes in hex or base64",
    )
    assert HEX[:20] not in str(caught.value)


def test_keys_are_not_shown() -> None:
    found = Settings.from_env({"ANALYTICS_KEY_A": HEX})
    for shown in (repr(found), str(found), repr(found.key_ring()), f"{found.key_ring()}", repr(found.keys)):
        assert HEX not in shown
        assert repr(KEY) not in shown
