"""DER by hand (X.690 §8.1), and what it takes to lie in it."""

from __future__ import annotations

import ssl

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mtlslab import errors
from mtlslab.credentials import PrivateKey


def wrap(tag: int, *parts: bytes) -> bytes:
    """Write one value: tag, length, content."""
    content = b"".join(parts)
    size = len(content).to_bytes(4).lstrip(b"\0")
    return bytes([tag, len(content)] if len(content) < 128 else [tag, 128 + len(size), *size]) + content


def items(data: bytes) -> list[tuple[int, bytes]]:
    """Read a row of values into (tag, content) pairs."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(data[at : at + octets]), at + octets
        found.append((tag, data[at : at + length]))
        at += length
    return found


def key_that_claims(certificate: x509.Certificate, own: PrivateKey | None = None) -> bytes:
    """Make a private key file (PEM) for someone who has the certificate and not its key.

    Honest software does not load a key that is not its certificate's: it compares the public halves. A thief's would.
    So this file claims the certificate's public key beside a private one of another, `own` (default: a new one). What
    is signed with it does not verify, which is the point of the protocol. An EC key's file has both halves side by
    side (RFC 5915 §3), so that one can be exchanged. Raises `errors.KeyMismatch` for any other kind of key.
    """
    claimed = certificate.public_key()
    if not isinstance(claimed, ec.EllipticCurvePublicKey) or not isinstance(own, ec.EllipticCurvePrivateKey | None):
        raise errors.KeyMismatch("the key does not belong to the certificate; only an EC key can be passed off so")
    own = own or ec.generate_private_key(claimed.curve)
    if own.curve.name != claimed.curve.name:
        raise errors.KeyMismatch("the key does not belong to the certificate, and is on another curve")
    form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    der = own.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).replace(own.public_key().public_bytes(*form), claimed.public_bytes(*form))
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "EC PRIVATE KEY").encode()
