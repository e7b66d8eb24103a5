"""Certificates made for a test: an authority, and what it signs."""

import hashlib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates for an hour, from an hour ago."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(_pem(self._signed(self._name, self._key, x509.BasicConstraints(True, 0))))

    def folder(self) -> Path:
        """A folder in which OpenSSL finds it: under the hash of its name (X509_NAME_hash)."""
        inner = self._name.public_bytes()[2:]  # without the outer sequence's two bytes
        name = int.from_bytes(hashlib.sha1(inner, usedforsecurity=False).digest()[:4], "little")
        found = self._folder / "authorities"
        found.mkdir()
        (found / f"{name:08x}.0").write_bytes(self.certificate.read_bytes())
        return found

    def signs(self, name: str, host: str = "127.0.0.1", password: str | None = None) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
        certificate, secret = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(_pem(self._signed(_name(name), key, hosts)))
        locked = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        return certificate, secret

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
