"""Who a certificate names: every name in it by its kind, and the one name that SPIFFE allows.

TLS has verified the certificate by then. What it says is the word of its issuer, and no more: whether that CA may speak
for this name is the reader's to decide. The standards meant here are SPIFFE's X509-SVID and SPIFFE-ID, as of July 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtlslab import failures
from mtlslab.credentials import BROKEN

KINDS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
    x509.IPAddress: "IP",
    x509.DirectoryName: "dirName",
}
"""The kinds of names in a subjectAltName (RFC 5280 §4.2.1.6), as openssl writes them; all others are "other"."""


@dataclass(frozen=True)
class Identity:
    """What a certificate says of its holder. It is for reading: nothing here has been verified.

    Fields: `names`, a tuple of names for each kind that is there ("CN", "DNS", "URI", "email", "IP", "dirName",
    "other"), in the certificate's order; `subject` and `issuer` (RFC 4514); `serial`, which is unique to the issuer;
    `fingerprint`, the SHA-256 of the certificate, and `key`, that of its public key (SubjectPublicKeyInfo), in hex.
    """

    names: Mapping[str, tuple[str, ...]] = field(hash=False)
    subject: str
    issuer: str
    serial: int
    fingerprint: str
    key: str

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Identity:
        """Read a certificate. Raises `errors.IdentityRefused` if it is none, or cannot be read whole."""
        names: dict[str, list[str]] = {}
        for kind, name in [*_common_names(certificate), *_alternative_names(certificate)]:
            names.setdefault(kind, []).append(name)
        digest = hashes.Hash(hashes.SHA256())
        try:
            digest.update(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
            subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        except BROKEN as error:
            raise failures.IdentityRefused("RFC 5280 §4.1", f"its key or a name cannot be read: {error}") from None
        return cls(
            MappingProxyType({kind: tuple(found) for kind, found in names.items()}),
            subject,
            issuer,
            certificate.serial_number,
            certificate.fingerprint(hashes.SHA256()).hex(),
            digest.finalize().hex(),
        )

    def only(self, kind: str) -> str:
        """Return the one name of a kind. Raises `errors.IdentityRefused` where there is none, or a second."""
        found = self.names.get(kind, ())
        if len(found) != 1:
            raise failures.IdentityRefused("a caller has one name", f"{len(found)} names of the kind {kind}")
        return found[0]


def spiffe_id(certificate: x509.Certificate, *, signer: bool = False) -> str:
    """Return the SPIFFE ID of a leaf, or with `signer` that of a signing certificate, which names no caller.

    Checks what X509-SVID wants of a certificate that TLS has verified already (§5.2), and of the ID itself (SPIFFE-ID
    §2); IDs compare byte by byte. Raises `errors.IdentityRefused`, whose `rule` is the section.
    """
    uris = [name for kind, name in _alternative_names(certificate) if kind == "URI"]
    _expect(len(uris) == 1, "X509-SVID §2", f"{len(uris)} URIs in its subjectAltName, not one")
    san = _extension(certificate, x509.SubjectAlternativeName)
    named = bool(list(certificate.subject)) or (san is not None and san.critical)
    _expect(named, "X509-SVID §3.1", "it has no subject, and its subjectAltName is not marked critical")
    _check_limits(certificate, signer)
    return _check_id(uris[0], signer)


# --- reading --------------------------------------------------------------------------------------

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
    if not isinstance(certificate, x509.Certificate):
        raise failures.IdentityRefused("no certificate, no name", f"{certificate!r} is no x509.Certificate")
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
    except BROKEN as error:
        raise failures.IdentityRefused("RFC 5280 §4.2", f"its extensions cannot be read: {error}") from None


def _common_names(certificate: x509.Certificate) -> list[tuple[str, str]]:
    _extension(certificate, x509.SubjectAlternativeName)  # a certificate at all?
    try:
        return [("CN", str(name.value)) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except BROKEN as error:
        raise failures.IdentityRefused("RFC 5280 §4.1.2.6", f"its subject cannot be read: {error}") from None


def _alternative_names(certificate: x509.Certificate) -> list[tuple[str, str]]:
    san = _extension(certificate, x509.SubjectAlternativeName)
    return [(KINDS.get(type(name), "other"), _written(name)) for name in (san.value if san else ())]


def _written(name: x509.GeneralName) -> str:
    match name:
        case x509.DirectoryName():
            return name.value.rfc4514_string()
        case x509.OtherName():
            return f"{name.type_id.dotted_string}:{name.value.hex()}"
        case x509.RegisteredID():
            return name.value.dotted_string
        case _:
            return str(name.value)


# --- SPIFFE's rules -------------------------------------------------------------------------------


def _expect(holds: bool, rule: str, problem: str) -> None:
    if not holds:
        raise failures.IdentityRefused(rule, problem)


def _check_limits(certificate: x509.Certificate, signer: bool) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    _expect(usage is not None and usage.critical, "X509-SVID §4.3", "no keyUsage that is marked critical")
    is_ca = constraints is not None and constraints.value.ca
    signs = usage is not None and usage.value.key_cert_sign
    if signer:
        _expect(is_ca and signs, "X509-SVID §3.2", "it may not sign certificates: it is a leaf")
        return
    _expect(not is_ca, "X509-SVID §4.1", "it is a CA's, and a CA's identifies nobody")
    _expect(not signs, "X509-SVID §4.3", "it has keyCertSign, which no leaf may have")
    if usage is not None:
        _expect(not usage.value.crl_sign, "X509-SVID §4.3", "it has cRLSign, which no leaf may have")
        _expect(usage.value.digital_signature, "X509-SVID §4.3", "it lacks digitalSignature")
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    _expect(
        purposes is None or both <= set(purposes.value),
        "X509-SVID §4.4",
        "its extendedKeyUsage lacks serverAuth or clientAuth: a workload is both",
    )


def _check_id(uri: str, signer: bool) -> str:
    """Hold a URI against SPIFFE-ID §2; a leaf's has a path, a signer's has none (X509-SVID §3)."""
    _expect(uri.startswith("spiffe://"), "SPIFFE-ID §2", f"the URI {uri[:80]!r} does not begin with spiffe://")
    _expect(len(uri) <= 2048, "SPIFFE-ID §2.3", f"the ID has {len(uri)} bytes, more than 2048")
    _expect(not re.search(r"[?#]", uri), "SPIFFE-ID §2", "the ID has a query or a fragment")
    domain, slash, path = uri.removeprefix("spiffe://").partition("/")
    _expect(domain != "", "SPIFFE-ID §2.1", "the trust domain is empty")
    _expect(len(domain) <= 255, "SPIFFE-ID §2.3", f"the trust domain has {len(domain)} bytes, more than 255")
    found = re.fullmatch(r"[a-z0-9._-]+", domain)
    _expect(bool(found), "SPIFFE-ID §2.1", f"the trust domain {domain!r} is not of lower-case letters, digits and .-_")
    if signer:
        _expect(not slash, "X509-SVID §3.2", "a signer's ID has a path")
        return uri
    _expect(path != "", "X509-SVID §3.1", "the ID has no path: it names a trust domain, and nobody in it")
    for segment in path.split("/"):
        _expect(segment not in ("", ".", ".."), "SPIFFE-ID §2.2", f"the path has the segment {segment!r}")
        found = re.fullmatch(r"[A-Za-z0-9._-]+", segment)
        _expect(bool(found), "SPIFFE-ID §2.2", f"the path segment {segment!r} is not of letters, digits and .-_")
    return uri
