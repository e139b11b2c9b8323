"""What each kind of certificate may do: frozen data, nothing else.

RFC 5280 keeps three answers in three extensions: *may it sign certificates?* in basicConstraints
(§4.2.1.9), *what may its key do?* in keyUsage (§4.2.1.3), *what may it be shown for?* in
extKeyUsage (§4.2.1.12). A profile is one choice of the three.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID


@dataclass(frozen=True)
class Profile:
    """One kind of certificate.

    Fields: `name`, for people; `ca`, whether it may sign certificates; `path_length`, how many CAs
    may stand below it (None: any number); `key_usage`, RFC 5280's names in Python's spelling, as
    `cryptography.x509.KeyUsage` takes them; `extended_key_usage`, the purposes; `needs_san`,
    whether a subjectAltName must be there.
    """

    name: str
    ca: bool
    path_length: int | None
    key_usage: frozenset[str]
    extended_key_usage: tuple[ObjectIdentifier, ...]
    needs_san: bool


PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}
"""The purposes that matter to TLS, with RFC 5280's names for them."""

KEY_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
    "encipher_only": "encipherOnly",
    "decipher_only": "decipherOnly",
}
"""What a key may do, in cryptography's spelling and in RFC 5280's (§4.2.1.3)."""

_SIGNS_CERTIFICATES = frozenset({"key_cert_sign", "crl_sign"})
_SIGNS_HANDSHAKES = frozenset({"digital_signature"})

ROOT = Profile("root CA", True, None, _SIGNS_CERTIFICATES, (), False)
"""A root: signs itself, signs others, identifies nobody to a TLS peer."""

ISSUING_CA = Profile("issuing CA", True, 0, _SIGNS_CERTIFICATES, (), False)
"""An intermediate CA: signed by a root, signs leaves, and no CA below it."""

SERVER = Profile("server", False, None, _SIGNS_HANDSHAKES, (ExtendedKeyUsageOID.SERVER_AUTH,), True)
"""A TLS server. Its names are its subjectAltName: RFC 9525 §2 leaves the common name out."""

CLIENT = Profile("client", False, None, _SIGNS_HANDSHAKES, (ExtendedKeyUsageOID.CLIENT_AUTH,), False)
"""A TLS client. Its subject says who it is; a SAN may say it better."""
