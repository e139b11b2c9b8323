"""Certificates that no CA would sign, and files that no program can use: how each fault is minted."""

from __future__ import annotations

import copy
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.contexts import hold_against, show
from mtlslab.credentials import (
    Credential,
    PrivateKey,
    certificate_pem,
    new_private_key,
    private_key_pem,
    signature_hash,
)
from mtlslab.exchanges import Answer
from mtlslab.faults.setup import Lab, Setting, Setup
from mtlslab.handshake.der import items, wrap

if TYPE_CHECKING:
    from mtlslab.faults.staging import Case


def altered(
    certificate: x509.Certificate,
    signer: PrivateKey,
    *,
    without: tuple[type[x509.ExtensionType], ...] = (),
    put: Iterable[tuple[x509.ExtensionType, bool]] = (),
    issuer: x509.Name | None = None,
    public_key: PrivateKey | None = None,
    days: tuple[int, int] | None = None,
) -> x509.Certificate:
    """Make a certificate again with something changed, signed by `signer`.

    `without`: extensions to leave out; `put`: extensions to add or to put in place of one, each with whether it is
    critical; `public_key`: a private key whose public half goes in; `days`: first and last day, counted from today.
    """
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if days is not None:
        begin, end = (now() + timedelta(days=count) for count in days)
    added = list(put)
    left_out = (*without, *(type(value) for value, _ in added))
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(issuer or certificate.issuer)
        .public_key(public_key.public_key() if public_key else certificate.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    kept = [(e.value, e.critical) for e in certificate.extensions if not isinstance(e.value, left_out)]
    for value, critical in (*kept, *added):
        builder = builder.add_extension(value, critical)
    return builder.sign(signer, signature_hash(signer))


def version_1(certificate: x509.Certificate, signer: PrivateKey) -> x509.Certificate:
    """Make a certificate again as version 1, without extensions, as OpenSSL 3.0 makes the article's.

    In TBSCertificate (RFC 5280 §4.1) the version and the extensions are the two optional fields tagged [0] and [3].
    """
    fields = [f for f in items(items(certificate.tbs_certificate_bytes)[0][1]) if f[0] not in (0xA0, 0xA3)]
    return _assembled(b"".join(wrap(tag, content) for tag, content in fields), signer, fields[1][1], hashes.SHA256())


def signed_with_sha1(certificate: x509.Certificate, signer: PrivateKey) -> x509.Certificate:
    """Make a certificate again, signed with ECDSA over SHA-1."""
    fields = items(items(certificate.tbs_certificate_bytes)[0][1])
    algorithm = wrap(0x06, bytes.fromhex("2a8648ce3d0401"))  # ecdsa-with-SHA1 (RFC 3279 §2.2.3)
    body = b"".join(wrap(tag, algorithm if at == 2 else content) for at, (tag, content) in enumerate(fields))
    return _assembled(body, signer, algorithm, hashes.SHA1())


def _assembled(
    tbs_fields: bytes, signer: PrivateKey, algorithm: bytes, hash_: hashes.HashAlgorithm
) -> x509.Certificate:
    tbs = wrap(0x30, tbs_fields)
    if isinstance(signer, rsa.RSAPrivateKey):
        signature = signer.sign(tbs, padding.PKCS1v15(), hash_)
    elif isinstance(signer, ec.EllipticCurvePrivateKey):
        signature = signer.sign(tbs, ec.ECDSA(hash_))
    else:
        raise errors.KeyTypeRefused("a certificate is taken apart and signed again with an EC or an RSA key only")
    return x509.load_der_x509_certificate(wrap(0x30, tbs + wrap(0x30, algorithm) + wrap(0x03, b"\0" + signature)))


# --- how each fault is minted ---------------------------------------------------------------------


def now() -> datetime:
    """Return the time, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def self_signed(good: Credential) -> Credential:
    """Make a credential again, signed with its own key."""
    key = new_private_key()
    certificate = altered(good.certificate, key, public_key=key, issuer=good.certificate.subject, put=own_akid(key))
    return Credential(certificate, key)


def own_akid(key: PrivateKey) -> list[tuple[x509.ExtensionType, bool]]:
    """Return the two key identifiers of a certificate that a key signs for itself."""
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return [(own, False), (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), False)]


def again(lab: Lab, good: Credential, **changes: Any) -> Credential:
    """A good credential whose certificate the CA signed again with something changed."""
    return replace(good, certificate=altered(good.certificate, lab.ca.private_key, **changes))


def ca_again(ca: CertificateAuthority, **changes: Any) -> CertificateAuthority:
    """A root made again with something changed. It may be too broken for `CertificateAuthority` to check."""
    broken = copy.copy(ca)
    broken.certificate = altered(ca.certificate, ca.private_key, **changes)
    return broken


def issued_by_a_leaf(lab: Lab, good: Credential) -> Credential:
    """A credential below one that is not a CA, which poses as one: "any certificate signs any other"."""
    leaf = lab.client_of(lab.ca)
    identifier = leaf.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer_akid = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    made = altered(good.certificate, leaf.private_key, issuer=leaf.certificate.subject, put=[(issuer_akid, False)])
    return Credential(made, good.private_key, (leaf.certificate,))


def below_two_cas(lab: Lab) -> Credential:
    """A credential two CAs below a root's `pathLenConstraint` that allows one."""
    lower = CertificateAuthority.create("example-lower-ca")
    upper = lab.issuing_ca
    identifier = upper.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    akid = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    lower.certificate = altered(
        lower.certificate, upper.private_key, issuer=upper.certificate.subject, put=[(akid, False)]
    )
    lower.chain = (lower.certificate, *upper.chain)
    return lab.client_of(lower)


UNHEARD_OF = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x0c\x05hello")
"""An extension that no library knows: a text under a number that is nobody's."""


def issued_for_servers_only(lab: Lab) -> Credential:
    """A client's credential below an issuing CA that is for servers."""
    issuing, purpose = copy.copy(lab.issuing_ca), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    issuing.certificate = altered(issuing.certificate, lab.ca.private_key, put=[(purpose, False)])
    issuing.chain = (issuing.certificate,)
    return lab.client_of(issuing)


def root_missing(lab: Lab) -> Setup:
    """A server that was given an issuing CA alone, and follows chains to a root, as OpenSSL does by itself."""

    def to_a_root(context: ssl.SSLContext) -> None:
        context.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN

    issuing = lab.issuing_ca
    return replace(lab.good, client=lab.client_of(issuing), client_ca=issuing.certificate, tune_server=to_a_root)


def constrained(lab: Lab) -> Setup:
    """A root that may vouch for names under example.com only, and a client with another name."""
    constraint = x509.NameConstraints([x509.DNSName("example.com")], None)
    ca = ca_again(lab.ca, put=[(constraint, True)])
    return replace(lab.good, client=lab.client_of(lab.ca, "client.example.org"), client_ca=ca.certificate)


def old_crl(ca: CertificateAuthority) -> x509.CertificateRevocationList:
    """A revocation list (RFC 5280 §5) made eight days ago, for seven."""
    made = now() - timedelta(days=8)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    builder = builder.last_update(made).next_update(made + timedelta(days=7))
    akid = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private_key.public_key())
    builder = builder.add_extension(akid, False).add_extension(x509.CRLNumber(1), False)
    return builder.sign(ca.private_key, hashes.SHA256())


def insists_on_crl(*lists: x509.CertificateRevocationList) -> Setting:
    """Have a context check leaves against revocation lists; it may have none."""

    def tune(context: ssl.SSLContext) -> None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        hold_against(context, lists)

    return tune


def weak(lab: Lab) -> Credential:
    """Make a client's credential with an RSA key of 1024 bits."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return replace(again(lab, lab.client, public_key=key, put=[(identifier, False)]), private_key=key)


def without_san(lab: Lab) -> Setup:
    """Let the server's certificate have no subjectAltName."""
    return replace(lab.good, server=again(lab, lab.server, without=(x509.SubjectAlternativeName,)))


def ip_as_dns_name(lab: Lab) -> Setup:
    """Write an IP address into the server's certificate as if it were a DNS name."""
    san = x509.SubjectAlternativeName([x509.DNSName("127.0.0.1")])
    return replace(lab.good, server=again(lab, lab.server, put=[(san, False)]), host="127.0.0.1")


def ca_remade(lab: Lab) -> Setup:
    """The server trusts a CA of the right name and another key: somebody made `ca.crt` again, as the article does."""
    client = replace(lab.client, certificate=version_1(lab.client.certificate, lab.ca.private_key))
    return replace(lab.good, client=client, client_ca=CertificateAuthority.create("example-ca").certificate)


def spoil(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a change to one of the client's files."""

    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def encrypted(pem: bytes) -> bytes:
    """Encrypt a private key file."""
    key = serialization.load_pem_private_key(pem, None)
    pkcs8, password = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"password")
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, password)


def to_der(pem: bytes) -> bytes:
    """Turn a certificate file from PEM into DER."""
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def spoil_with_pkcs12(lab: Lab) -> Callable[[bytes], bytes]:
    """Turn the client's two files into one, PKCS#12."""

    def change(_: bytes) -> bytes:
        key = lab.client.private_key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        nothing = serialization.NoEncryption()
        return pkcs12.serialize_key_and_certificates(b"client", key, lab.client.certificate, None, nothing)

    return change


def reversed_pem(pem: bytes) -> bytes:
    """Write the certificates of a file in reverse order."""
    return b"".join(map(certificate_pem, reversed(x509.load_pem_x509_certificates(pem))))


def no_version(lab: Lab) -> Setup:
    """One end stops at TLS 1.2, the other begins at 1.3."""
    if lab.tls == "1.2":
        return replace(lab.good, tune_server=from_1_3)
    return replace(lab.good, tune_server=up_to_1_2, tune_client=from_1_3, curl=("--tlsv1.3",))


def from_1_3(context: ssl.SSLContext) -> None:
    """Begin at TLS 1.3."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def up_to_1_2(context: ssl.SSLContext) -> None:
    """Stop at TLS 1.2."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def no_cipher(lab: Lab) -> Setup:
    """Give the two ends different TLS 1.2 suites."""
    ours, theirs = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"
    return replace(
        lab.good,
        tune_server=lambda context: context.set_ciphers(ours),
        tune_client=lambda context: context.set_ciphers(theirs),
        curl=("--ciphers", theirs),
    )


def no_group(lab: Lab) -> Setup:
    """Give the two ends different groups."""
    return replace(
        lab.good,
        tune_server=lambda context: context.set_ecdh_curve("secp384r1"),
        tune_client=lambda context: context.set_ecdh_curve("prime256v1"),
        curl=("--curves", "prime256v1"),
    )


def loads_half_a_pair(lab: Lab) -> Setting:
    """Have a server load a new certificate beside its old key, into the context that it serves with."""
    old_key, new = private_key_pem(lab.server.private_key), lab.server_of(lab.ca)

    def load(context: ssl.SSLContext) -> None:
        with suppress(ssl.SSLError):  # too late: the old pair is gone
            show(context, new, old_key)

    return load


def renewed_behind_a_pool(case: Case) -> Answer:
    """Ask, renew the files on disk, and ask again through the same `httpx.Client`."""
    with httpx.Client(verify=case.client_context(), trust_env=False) as pool:
        pool.get(case.url)
        case.lab.client_of(case.lab.ca).save(case.folder, "client", overwrite=True)
        reply = pool.get(case.url)
    return Answer(reply.status_code, reply.text)
