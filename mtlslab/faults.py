"""One fault, one name: broken credentials and settings, minted on demand, each with the verdict it must get.

A fault is a working pair of ends (`Setup`) with one thing changed. `FAULTS` is the table: its rows are what the
gallery of notebook 08 shows, what the tests hold against real connections, and what `mtlslab.diagnose` knows.

    with faults.stage("expired-client", folder) as case:
        answer = case.request()
        case.server.visits[-1].refusal
"""

from __future__ import annotations

import base64
import copy
import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.client import Answer, TLSVersion, client_context, exchange
from mtlslab.credentials import (
    Credential,
    PrivateKey,
    certificate_pem,
    new_private_key,
    private_key_pem,
    signature_hash,
)
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.refusals import REASONS, End, reason_of_alert
from mtlslab.server import ClientAuth, Server, Visit

Family = Literal["trust", "time", "name", "purpose", "chain", "revocation", "files", "protocol"]
Side = Literal["client", "server", "neither"]
Moment = Literal["before dialling", "handshake", "first read"]
Setting = Callable[[ssl.SSLContext], None]


# --- two ends that work ---------------------------------------------------------------------------


def _as_it_is(_: object) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Setup:
    """Both ends of a connection. `Lab.good` works; a fault is that with one thing changed.

    Fields: `server` and `client`, what each end shows (None: the client shows nothing); `server_ca`, whom the client
    trusts, and `client_ca`, whom the server trusts; `client_auth`; `host`, the name that the client dials and expects;
    `scheme`; `speaks_tls`, False for a server of plain HTTP; `tune_server` and `tune_client`, changes to the two SSL
    contexts; `curl`, curl's options for the latter; `spoil`, a change to the client's files once they are written;
    `careless`, whether the client's library sends its certificate without a look at it; `act`, what the client does.
    """

    server: Credential
    client: Credential | None
    server_ca: x509.Certificate
    client_ca: x509.Certificate
    client_auth: ClientAuth = "required"
    host: str = "localhost"
    scheme: str = "https"
    speaks_tls: bool = True
    tune_server: Setting = _as_it_is
    tune_client: Setting = _as_it_is
    curl: tuple[str, ...] = ()
    spoil: Callable[[Path], None] = _as_it_is
    careless: bool = False
    act: Callable[[Case], Answer] | None = None


@dataclass(frozen=True)
class Lab:
    """What faults are minted from: a CA with a server's and a client's credential. Made when first asked for.

    Field: `tls`, the highest TLS version that the client will offer.
    """

    tls: TLSVersion = "1.3"

    @cached_property
    def ca(self) -> CertificateAuthority:
        """The CA that both ends trust."""
        return CertificateAuthority.create("example-ca")

    @cached_property
    def issuing_ca(self) -> CertificateAuthority:
        """A CA under `ca`."""
        return self.ca.create_issuing_ca("example-issuing-ca")

    @cached_property
    def stranger(self) -> CertificateAuthority:
        """A CA that neither end has heard of."""
        return CertificateAuthority.create("stranger-ca")

    @cached_property
    def server(self) -> Credential:
        """A good server's credential."""
        return self.server_of(self.ca)

    @cached_property
    def client(self) -> Credential:
        """A good client's credential."""
        return self.client_of(self.ca)

    @cached_property
    def good(self) -> Setup:
        """Two ends that get along."""
        return Setup(self.server, self.client, self.ca.certificate, self.ca.certificate)

    @staticmethod
    def server_of(ca: CertificateAuthority, *names: str) -> Credential:
        """Issue a server's credential, for localhost unless other names are given."""
        return ca.issue("localhost", SERVER, names=names or LOCAL_NAMES)

    @staticmethod
    def client_of(ca: CertificateAuthority, *names: str) -> Credential:
        """Issue a client's credential."""
        return ca.issue("client", CLIENT, names=names)


LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


# --- certificates that no CA would sign -----------------------------------------------------------


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
        begin, end = (_now() + timedelta(days=count) for count in days)
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
    fields = [f for f in _der_items(_der_items(certificate.tbs_certificate_bytes)[0][1]) if f[0] not in (0xA0, 0xA3)]
    return _assembled(b"".join(_der(tag, content) for tag, content in fields), signer, fields[1][1], hashes.SHA256())


def signed_with_sha1(certificate: x509.Certificate, signer: PrivateKey) -> x509.Certificate:
    """Make a certificate again, signed with ECDSA over SHA-1."""
    fields = _der_items(_der_items(certificate.tbs_certificate_bytes)[0][1])
    algorithm = _der(0x06, bytes.fromhex("2a8648ce3d0401"))  # ecdsa-with-SHA1 (RFC 3279 §2.2.3)
    body = b"".join(_der(tag, algorithm if at == 2 else content) for at, (tag, content) in enumerate(fields))
    return _assembled(body, signer, algorithm, hashes.SHA1())


def _assembled(
    tbs_fields: bytes, signer: PrivateKey, algorithm: bytes, hash_: hashes.HashAlgorithm
) -> x509.Certificate:
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    tbs = _der(0x30, tbs_fields)
    signature = signer.sign(tbs, ec.ECDSA(hash_))
    return x509.load_der_x509_certificate(_der(0x30, tbs + _der(0x30, algorithm) + _der(0x03, b"\0" + signature)))


def _der(tag: int, content: bytes) -> bytes:
    """Write one DER value: tag, length, content (X.690 §8.1)."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _der_items(data: bytes) -> list[tuple[int, bytes]]:
    """Read a row of DER values into (tag, content) pairs."""
    items, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(data[at : at + octets], "big"), at + octets
        items.append((tag, data[at : at + length]))
        at += length
    return items


def key_that_claims(certificate: x509.Certificate) -> bytes:
    """Make a private key file (PEM) that names `certificate`'s public key, and holds another private one.

    OpenSSL compares public keys when it loads a pair, so it takes this one; what it signs will not verify. That is all
    a thief has who got the certificate and not its key.
    """
    public_key = certificate.public_key()
    wrong = ec.generate_private_key(ec.SECP256R1())
    right_point, wrong_point = (
        key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for key in (public_key, wrong.public_key())
        if isinstance(key, ec.EllipticCurvePublicKey)
    )
    der = wrong.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).replace(wrong_point, right_point)
    return b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der) + b"-----END PRIVATE KEY-----\n"


# --- how each fault is minted ---------------------------------------------------------------------


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _self_signed(good: Credential) -> Credential:
    key = new_private_key()
    certificate = altered(good.certificate, key, public_key=key, issuer=good.certificate.subject, put=_own_akid(key))
    return Credential(certificate, key)


def _own_akid(key: PrivateKey) -> list[tuple[x509.ExtensionType, bool]]:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return [(own, False), (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), False)]


def _again(lab: Lab, good: Credential, **changes: Any) -> Credential:
    """A good credential whose certificate the CA signed again with something changed."""
    return replace(good, certificate=altered(good.certificate, lab.ca.private_key, **changes))


def _ca_again(ca: CertificateAuthority, **changes: Any) -> CertificateAuthority:
    """A root made again with something changed. It may be too broken for `CertificateAuthority` to check."""
    broken = copy.copy(ca)
    broken.certificate = altered(ca.certificate, ca.private_key, **changes)
    return broken


def _issued_by_a_leaf(lab: Lab, good: Credential) -> Credential:
    """A credential below one that is not a CA, which poses as one: "any certificate signs any other"."""
    leaf = lab.client_of(lab.ca)
    identifier = leaf.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer_akid = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    made = altered(good.certificate, leaf.private_key, issuer=leaf.certificate.subject, put=[(issuer_akid, False)])
    return Credential(made, good.private_key, (leaf.certificate,))


def _below_two_cas(lab: Lab) -> Credential:
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


def _constrained(lab: Lab) -> Setup:
    """A root that may vouch for names under example.com only, and a client with another name."""
    constraint = x509.NameConstraints([x509.DNSName("example.com")], None)
    ca = _ca_again(lab.ca, put=[(constraint, True)])
    return replace(lab.good, client=lab.client_of(lab.ca, "client.example.org"), client_ca=ca.certificate)


def _crl(ca: CertificateAuthority, revoked: Iterable[x509.Certificate] = (), *, age: int = 0) -> bytes:
    """A revocation list (RFC 5280 §5), PEM, made `age` days ago for seven days."""
    made = _now() - timedelta(days=age, minutes=5)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    builder = builder.last_update(made).next_update(made + timedelta(days=7))
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(made)
        builder = builder.add_revoked_certificate(entry.build())
    akid = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private_key.public_key())
    builder = builder.add_extension(akid, False).add_extension(x509.CRLNumber(1), False)
    return builder.sign(ca.private_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _insists_on_crl(crl: bytes | None) -> Setting:
    def tune(context: ssl.SSLContext) -> None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if crl is not None:
            with tempfile.TemporaryDirectory() as folder:  # the ssl module reads CRLs from files only
                path = Path(folder, "crl.pem")
                path.write_bytes(crl)
                context.load_verify_locations(path)

    return tune


def _weak(lab: Lab) -> Credential:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return replace(_again(lab, lab.client, public_key=key, put=[(identifier, False)]), private_key=key)


def _without_san(lab: Lab) -> Setup:
    return replace(lab.good, server=_again(lab, lab.server, without=(x509.SubjectAlternativeName,)))


def _ip_as_dns_name(lab: Lab) -> Setup:
    san = x509.SubjectAlternativeName([x509.DNSName("127.0.0.1")])
    return replace(lab.good, server=_again(lab, lab.server, put=[(san, False)]), host="127.0.0.1")


def _ca_remade(lab: Lab) -> Setup:
    """The server trusts a CA of the right name and another key: somebody made `ca.crt` again, as the article does."""
    client = replace(lab.client, certificate=version_1(lab.client.certificate, lab.ca.private_key))
    return replace(lab.good, client=client, client_ca=CertificateAuthority.create("example-ca").certificate)


def _spoil(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _encrypted(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    pkcs8, password = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"password")
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, password)


def _to_der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def _spoil_with_pkcs12(lab: Lab) -> Callable[[bytes], bytes]:
    def change(_: bytes) -> bytes:
        key = lab.client.private_key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        nothing = serialization.NoEncryption()
        return pkcs12.serialize_key_and_certificates(b"client", key, lab.client.certificate, None, nothing)

    return change


def _reversed_pem(pem: bytes) -> bytes:
    return b"".join(map(certificate_pem, reversed(x509.load_pem_x509_certificates(pem))))


def _no_version(lab: Lab) -> Setup:
    """One end stops at TLS 1.2, the other begins at 1.3."""
    if lab.tls == "1.2":
        return replace(lab.good, tune_server=_from_1_3)
    return replace(lab.good, tune_server=_up_to_1_2, tune_client=_from_1_3, curl=("--tlsv1.3",))


def _from_1_3(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def _up_to_1_2(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def _no_cipher(lab: Lab) -> Setup:
    ours, theirs = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"
    return replace(
        lab.good,
        tune_server=lambda context: context.set_ciphers(ours),
        tune_client=lambda context: context.set_ciphers(theirs),
        curl=("--ciphers", theirs),
    )


def _no_group(lab: Lab) -> Setup:
    return replace(
        lab.good,
        tune_server=lambda context: context.set_ecdh_curve("secp384r1"),
        tune_client=lambda context: context.set_ecdh_curve("prime256v1"),
        curl=("--curves", "prime256v1"),
    )


def _renewed_behind_a_pool(case: Case) -> Answer:
    """Ask, renew the files on disk, and ask again through the same `httpx.Client`."""
    with httpx.Client(verify=case.client_context(), trust_env=False) as pool:
        pool.get(case.url)
        case.lab.client_of(case.lab.ca).save(case.folder, "client", overwrite=True)
        reply = pool.get(case.url)
    return Answer(reply.status_code, reply.text)


# --- verdicts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What a fault must lead to, for one TLS version.

    Fields: `by`, who says no (None: nobody does, and that is the fault); `reason`, what the refuser found, a key of
    `refusals.REASONS`; `alert`, what it tells the other end; `told`, the reason that the other end reads out of that
    (None: it learns of nothing); `moment`, when the client learns of it; `curl`, the real curl's exit code (None: not
    something that curl does).
    """

    by: End | None
    reason: str | None
    alert: str | None
    told: str | None
    moment: Moment | None
    curl: int | None


Verdicts = Mapping[TLSVersion, Verdict]


def _both(verdict: Verdict, **changes_1_2: Any) -> Verdicts:
    return {"1.2": replace(verdict, **changes_1_2), "1.3": verdict}


def _by_server(reason: str, **changes: Any) -> Verdicts:
    """The server refuses the client's certificate: in the handshake with TLS 1.2, after the client's own with 1.3."""
    alert = REASONS[reason].alert
    verdict = Verdict("server", reason, alert, reason_of_alert(alert), "first read", 56)
    # curl takes this alert in the handshake for a verdict on the server's certificate.
    early = 60 if alert == "certificate_expired" else 35
    return _both(replace(verdict, **changes), moment="handshake", curl=early)


def _by_client(reason: str, **changes: Any) -> Verdicts:
    """The client refuses the server's certificate, in the handshake."""
    alert = REASONS[reason].alert
    return _both(replace(Verdict("client", reason, alert, reason_of_alert(alert), "handshake", 60), **changes))


def _before_dialling(reason: str) -> Verdicts:
    """The client's own library refuses its files."""
    return _both(Verdict("client", reason, None, None, "before dialling", 58))


ACCEPTED = _both(Verdict(None, None, None, None, None, 0))


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One row of the gallery.

    Fields: `name`; `side`, where the fault lies; `family`; `sentence`, what is wrong; `mint`, from a `Lab` to the
    broken `Setup`; `verdicts` by the highest TLS version offered (one may be missing: the fault is not there);
    `cure`, for who owns the broken thing; `lesson`, what to know when this one looks like another, or like none.
    """

    name: str
    side: Side
    family: Family
    sentence: str
    mint: Callable[[Lab], Setup]
    verdicts: Verdicts
    cure: str
    lesson: str = ""


def _client(change: Callable[[Lab], Credential | None]) -> Callable[[Lab], Setup]:
    return lambda lab: replace(lab.good, client=change(lab))


def _server(change: Callable[[Lab], Credential]) -> Callable[[Lab], Setup]:
    return lambda lab: replace(lab.good, server=change(lab))


def _client_files(change: Callable[[Path], None]) -> Callable[[Lab], Setup]:
    return lambda lab: replace(lab.good, spoil=change)


_ROWS = (
    # --- the client's side ---
    Fault(
        "no-client-certificate",
        "client",
        "trust",
        "The server insists on a client certificate, and the client sends none.",
        _client(lambda _: None),
        _both(
            Verdict(
                "server", "no-client-certificate", "certificate_required", "no-client-certificate", "first read", 56
            ),
            alert="handshake_failure",
            moment="handshake",
            curl=35,
        ),
        "Send one: --cert and --key.",
        "TLS 1.2 has no alert of its own for this: it says handshake_failure, as it does for a cipher suite.",
    ),
    Fault(
        "unknown-client-ca",
        "client",
        "trust",
        "The client's certificate comes from a CA that the server does not trust.",
        _client(lambda lab: lab.client_of(lab.stranger)),
        _by_server("unknown-ca"),
        "Have it issued by the CA that the server trusts, or let the server trust that CA.",
        "unknown_ca has many causes; the alert does not tell which.",
    ),
    Fault(
        "self-signed-client",
        "client",
        "trust",
        "The client's certificate is signed with its own key.",
        _client(lambda lab: _self_signed(lab.client)),
        _by_server("self-signed"),
        "Have a CA that the server trusts sign it.",
    ),
    Fault(
        "client-ca-made-again",
        "client",
        "trust",
        "The CA was made again under its old name, with a new key; the client's certificate is from the old one.",
        _ca_remade,
        _by_server("bad-signature"),
        "Keep one CA, or issue everything again from the new one.",
        "With authority key identifiers the verifier sees that it is another CA, and says unknown_ca.",
    ),
    Fault(
        "expired-client",
        "client",
        "time",
        "The client's certificate has passed its notAfter.",
        _client(lambda lab: _again(lab, lab.client, days=(-2, -1))),
        _by_server("expired"),
        "Renew it; and check the server's clock.",
    ),
    Fault(
        "not-yet-valid-client",
        "client",
        "time",
        "The client's certificate is not valid yet, by the server's clock.",
        _client(lambda lab: _again(lab, lab.client, days=(1, 30))),
        _by_server("not-yet-valid"),
        "Set the clocks right; let a CA date its certificates a few minutes back.",
        "OpenSSL's alert for it is bad_certificate: not a word about time.",
    ),
    Fault(
        "wrong-purpose-client",
        "client",
        "purpose",
        "The client shows a server's certificate: its extendedKeyUsage is serverAuth.",
        _client(lambda lab: lab.server),
        _by_server("wrong-purpose"),
        "Have one issued with extendedKeyUsage clientAuth.",
    ),
    Fault(
        "client-without-intermediate",
        "client",
        "chain",
        "The client sends its certificate without the issuing CA's that leads to the root.",
        _client(lambda lab: replace(lab.client_of(lab.issuing_ca), chain=())),
        _by_server("unknown-ca"),
        "Put the intermediate into the file, after the certificate: cat issuing-ca.crt >> client.crt.",
        "The right CA, the right certificate, and the same unknown_ca as for a stranger.",
    ),
    Fault(
        "client-chain-reversed",
        "client",
        "chain",
        "The client's file has the intermediate first and its own certificate last.",
        lambda lab: replace(lab.good, client=lab.client_of(lab.issuing_ca), spoil=_spoil("client.crt", _reversed_pem)),
        _before_dialling("key-mismatch"),
        "The client's own certificate comes first, then its issuer's, and so on (RFC 8446 §4.4.2).",
        "The message speaks of the key. The key is right: it is held against the first certificate of the file.",
    ),
    Fault(
        "key-of-another-certificate",
        "client",
        "files",
        "The private key belongs to another certificate.",
        _client_files(_spoil("client.key", lambda _: private_key_pem(new_private_key()))),
        _before_dialling("key-mismatch"),
        "Use the key that the certificate's CSR was made with.",
    ),
    Fault(
        "stolen-client-certificate",
        "client",
        "trust",
        "The client shows somebody's good certificate, and has not its private key.",
        lambda lab: replace(
            lab.good,
            spoil=_spoil("client.key", lambda _: key_that_claims(lab.client.certificate)),
            careless=True,
        ),
        _by_server("bad-signature"),
        "None: mutual TLS at work. Certificates are public; CertificateVerify proves the key (RFC 8446 §4.4.3).",
        "An honest library refuses to load such a pair. This one was forged to get past it.",
    ),
    Fault(
        "revoked-client",
        "client",
        "revocation",
        "The client's certificate stands on the CA's revocation list.",
        lambda lab: replace(lab.good, tune_server=_insists_on_crl(_crl(lab.ca, [lab.client.certificate]))),
        _by_server("revoked"),
        "Have a new one issued for a new key, and find out why the old one was revoked.",
    ),
    Fault(
        "crl-missing",
        "client",
        "revocation",
        "The server insists on a revocation list, and has none.",
        lambda lab: replace(lab.good, tune_server=_insists_on_crl(None)),
        _by_server("crl-missing"),
        "Give the server the CRL of the CA.",
        "The client is told unknown_ca, though the server knows its CA perfectly well.",
    ),
    Fault(
        "crl-expired",
        "client",
        "revocation",
        "The server's revocation list is past its nextUpdate.",
        lambda lab: replace(lab.good, tune_server=_insists_on_crl(_crl(lab.ca, age=8))),
        _by_server("crl-expired"),
        "Give the server a fresh CRL.",
        "The client is told certificate_expired. Its certificate is good; the server's list is stale.",
    ),
    Fault(
        "weak-client-key",
        "client",
        "trust",
        "The client's key is RSA of 1024 bits.",
        lambda lab: replace(lab.good, client=_weak(lab), careless=True),
        _by_server("weak-key"),
        "Make a key of RSA 2048 or P-256, and have a certificate issued for it.",
        "Most clients' own OpenSSL refuses to load it (EE_KEY_TOO_SMALL). This one was told not to look.",
    ),
    Fault(
        "sha1-client",
        "client",
        "trust",
        "The client's certificate is signed with SHA-1.",
        lambda lab: replace(
            lab.good,
            client=replace(lab.client, certificate=signed_with_sha1(lab.client.certificate, lab.ca.private_key)),
            careless=True,
        ),
        _by_server("weak-signature"),
        "Have it issued again, signed with SHA-256.",
        "Most clients' own OpenSSL refuses to load it (CA_MD_TOO_WEAK). This one was told not to look.",
    ),
    Fault(
        "client-issued-by-a-leaf",
        "client",
        "chain",
        "The client's certificate is signed by another client's, which is no CA.",
        _client(lambda lab: _issued_by_a_leaf(lab, lab.client)),
        _by_server("invalid-ca"),
        "Have a CA sign it. Without CA:TRUE nobody may (RFC 5280 §4.2.1.9).",
    ),
    Fault(
        "client-path-too-long",
        "client",
        "chain",
        "One more CA stands in the client's chain than a pathLenConstraint allows.",
        _client(_below_two_cas),
        _by_server("path-length"),
        "Have it issued by the upper CA, or that CA issued again with a longer path.",
    ),
    Fault(
        "client-name-not-permitted",
        "client",
        "name",
        "The client's name lies outside its CA's nameConstraints.",
        _constrained,
        _by_server("name-constraints"),
        "Use a name within the constraint, or another CA.",
    ),
    Fault(
        "version-1-client",
        "client",
        "purpose",
        "The client's certificate is version 1, as OpenSSL 3.0 makes the article's: no extensions at all.",
        _client(lambda lab: replace(lab.client, certificate=version_1(lab.client.certificate, lab.ca.private_key))),
        ACCEPTED,
        "Have it issued as version 3, with extendedKeyUsage clientAuth.",
        "It is accepted. Without a purpose it opens either door: the client could pose as a server.",
    ),
    # --- the server's side ---
    Fault(
        "unknown-server-ca",
        "server",
        "trust",
        "The server's certificate comes from a CA that the client does not trust.",
        _server(lambda lab: lab.server_of(lab.stranger)),
        _by_client("unknown-ca"),
        "Give the client the CA that issued it: --cacert.",
    ),
    Fault(
        "self-signed-server",
        "server",
        "trust",
        "The server's certificate is signed with its own key.",
        _server(lambda lab: _self_signed(lab.server)),
        _by_client("self-signed"),
        "Have a CA sign it, and give the client that CA: --cacert.",
    ),
    Fault(
        "expired-server",
        "server",
        "time",
        "The server's certificate has passed its notAfter.",
        _server(lambda lab: _again(lab, lab.server, days=(-2, -1))),
        _by_client("expired"),
        "Renew it, and have the server load it; and check the client's clock.",
    ),
    Fault(
        "not-yet-valid-server",
        "server",
        "time",
        "The server's certificate is not valid yet, by the client's clock.",
        _server(lambda lab: _again(lab, lab.server, days=(1, 30))),
        _by_client("not-yet-valid"),
        "Set the clocks right.",
    ),
    Fault(
        "wrong-host",
        "server",
        "name",
        "The server's certificate is for another name than the URL's.",
        _server(lambda lab: lab.server_of(lab.ca, "example.com")),
        _by_client("wrong-host"),
        "Dial a name of its subjectAltName, or have it issued with the name that you dial.",
    ),
    Fault(
        "name-in-common-name-only",
        "server",
        "name",
        "The server's name is in the common name, and there is no subjectAltName.",
        _without_san,
        ACCEPTED,
        "Have it issued with a subjectAltName (RFC 9525 §2).",
        "Python's ssl, httpx and curl still look at the common name. Go, requests and browsers do not.",
    ),
    Fault(
        "ip-address-as-dns-name",
        "server",
        "name",
        "The URL has an IP address, and the certificate has it as a DNS name.",
        _ip_as_dns_name,
        _by_client("wrong-host"),
        "Have it issued with the address as an iPAddress (RFC 5280 §4.2.1.6).",
    ),
    Fault(
        "wildcard-too-deep",
        "server",
        "name",
        "The certificate is for *.example.com, and the client asks for a.shop.example.com.",
        lambda lab: replace(lab.good, server=lab.server_of(lab.ca, "*.example.com"), host="a.shop.example.com"),
        _by_client("wrong-host"),
        "A wildcard stands for one label (RFC 9525 §6.3): have it issued with the whole name.",
    ),
    Fault(
        "wrong-purpose-server",
        "server",
        "purpose",
        "The server shows a certificate with extendedKeyUsage clientAuth.",
        _server(
            lambda lab: _again(lab, lab.server, put=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)])
        ),
        _by_client("wrong-purpose"),
        "Have it issued with extendedKeyUsage serverAuth.",
    ),
    Fault(
        "server-without-intermediate",
        "server",
        "chain",
        "The server sends its certificate without the issuing CA's that leads to the root.",
        _server(lambda lab: replace(lab.server_of(lab.issuing_ca), chain=())),
        _by_client("unknown-ca"),
        "Let the server send its whole chain: the intermediate after its certificate, in one file.",
        "Some clients hide this one: the certificate may say where to fetch the issuer's (RFC 5280 §4.2.2.1).",
    ),
    Fault(
        "ca-without-key-usage",
        "server",
        "chain",
        "The CA's certificate has no keyUsage, as the article's command (openssl req -x509) makes it.",
        lambda lab: replace(lab.good, server_ca=_ca_again(lab.ca, without=(x509.KeyUsage,)).certificate),
        _by_client("non-conforming", curl=0),
        "Make the CA again with keyUsage keyCertSign, cRLSign, under the same key and name, and hand it out.",
        "A strict verifier refuses it, and Python 3.13's default is strict. curl and Node.js are not.",
    ),
    Fault(
        "basic-constraints-not-critical",
        "server",
        "chain",
        "The CA's basicConstraints is not marked critical.",
        lambda lab: replace(
            lab.good, server_ca=_ca_again(lab.ca, put=[(x509.BasicConstraints(True, None), False)]).certificate
        ),
        _by_client("non-conforming", curl=0),
        "Make the CA again with basicConstraints=critical,CA:TRUE (RFC 5280 §4.2.1.9).",
        "Only a strict verifier refuses it.",
    ),
    Fault(
        "ca-without-subject-key-identifier",
        "server",
        "chain",
        "The CA's certificate has no subjectKeyIdentifier.",
        lambda lab: replace(lab.good, server_ca=_ca_again(lab.ca, without=(x509.SubjectKeyIdentifier,)).certificate),
        _by_client("non-conforming", curl=0),
        "Make the CA again with subjectKeyIdentifier=hash (RFC 5280 §4.2.1.2).",
        "Only a strict verifier refuses it.",
    ),
    Fault(
        "server-without-authority-key-identifier",
        "server",
        "chain",
        "The server's certificate has no authorityKeyIdentifier.",
        _server(lambda lab: _again(lab, lab.server, without=(x509.AuthorityKeyIdentifier,))),
        _by_client("non-conforming", curl=0),
        "Have it issued with authorityKeyIdentifier=keyid (RFC 5280 §4.2.1.1).",
        "Only a strict verifier refuses it.",
    ),
    # --- neither side's, or the one in front of the keyboard ---
    Fault(
        "plain-http-to-tls-port",
        "neither",
        "protocol",
        "The client speaks HTTP without TLS to a TLS port: http:// for https://.",
        lambda lab: replace(lab.good, scheme="http"),
        _both(Verdict("server", "plain-http", None, "connection-lost", "first read", 52)),
        "Write https://.",
    ),
    Fault(
        "tls-to-plain-port",
        "neither",
        "protocol",
        "The client speaks TLS to a port where HTTP without TLS answers.",
        lambda lab: replace(lab.good, speaks_tls=False),
        _both(Verdict("client", "not-tls", None, None, "handshake", 35)),
        "Check the port; or the server was started without TLS.",
        "wrong version number is no version: it is two letters of an answer that is not TLS, such as the TT of HTTP.",
    ),
    Fault(
        "no-version-in-common",
        "neither",
        "protocol",
        "One end stops at TLS 1.2, the other begins at TLS 1.3.",
        _no_version,
        _both(Verdict("server", "protocol-version", "protocol_version", "protocol-version", "handshake", 35)),
        "Let both ends speak TLS 1.3, or both 1.2.",
    ),
    Fault(
        "no-cipher-in-common",
        "neither",
        "protocol",
        "The two ends have no TLS 1.2 cipher suite in common.",
        _no_cipher,
        {"1.2": Verdict("server", "handshake-failure", "handshake_failure", "handshake-failure", "handshake", 35)},
        "Leave the cipher suites alone, or compare the two lists.",
        "The same alert as for a missing certificate under TLS 1.2. TLS 1.3 has suites of its own.",
    ),
    Fault(
        "no-group-in-common",
        "neither",
        "protocol",
        "The two ends have no key exchange group (curve) in common.",
        _no_group,
        _both(Verdict("server", "handshake-failure", "handshake_failure", "handshake-failure", "handshake", 35)),
        "Leave the groups alone, or let both have X25519 or P-256.",
    ),
    Fault(
        "der-for-pem",
        "neither",
        "files",
        "The client's certificate file is DER, not PEM.",
        _client_files(_spoil("client.crt", _to_der)),
        _before_dialling("unreadable-file"),
        "Convert it: openssl x509 -inform DER -in client.crt -out client.pem.",
    ),
    Fault(
        "pkcs12-for-pem",
        "neither",
        "files",
        "The client's certificate file is PKCS#12 (.p12, .pfx), not PEM.",
        lambda lab: replace(lab.good, spoil=_spoil("client.crt", _spoil_with_pkcs12(lab))),
        _before_dialling("unreadable-file"),
        "Take it apart: openssl pkcs12 -in client.p12 -out client.pem (-legacy if it is old); or curl --cert-type P12.",
    ),
    Fault(
        "encrypted-key",
        "neither",
        "files",
        "The private key is encrypted, and nobody gave its password.",
        _client_files(_spoil("client.key", _encrypted)),
        _before_dialling("unreadable-file"),
        "Give the password (password=, curl --pass), or decrypt it: openssl pkey -in client.key -out plain.key.",
    ),
    Fault(
        "pool-with-old-certificate",
        "neither",
        "files",
        "The certificate was renewed on disk; the client's connection pool goes on with the old one.",
        lambda lab: replace(lab.good, act=_renewed_behind_a_pool),
        _both(replace(ACCEPTED["1.3"], curl=None)),
        "Make a new client, or restart the program, after renewing its files.",
        "All is well until the old certificate expires, with the new one in its place for weeks.",
    ),
    Fault(
        "server-never-asks",
        "neither",
        "protocol",
        "The server does not ask for a client certificate at all: everybody gets in.",
        lambda lab: replace(lab.good, client_auth="none"),
        ACCEPTED,
        'Let the server require one: client_auth="required"; Node.js requestCert; nginx ssl_verify_client on.',
        "Everything works, and that is the fault. Test that a caller without a certificate is refused.",
    ),
)

FAULTS: Mapping[str, Fault] = {row.name: row for row in _ROWS}
"""Every fault, by name."""


# --- a fault on stage -----------------------------------------------------------------------------


class _PlainServer:
    """HTTP without TLS, on loopback."""

    visits: Sequence[Visit] = ()

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _PlainHandler)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _PlainHandler(BaseHTTPRequestHandler):
    """Answers whatever comes with HTTP, as servers do: 400 to what it cannot read."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@dataclass(frozen=True)
class Case:
    """A fault on stage: the client's files in `folder`, and the server running.

    Fields: `fault`; `lab`, what it was minted from; `setup`; `folder`; `server`, whose `visits` tell the server's view
    (none, where it does not speak TLS).
    """

    fault: Fault
    lab: Lab
    setup: Setup
    folder: Path
    server: Server | _PlainServer

    @property
    def verdict(self) -> Verdict:
        """What this must lead to."""
        return self.fault.verdicts[self.lab.tls]

    @property
    def url(self) -> str:
        """What the client dials. Where nobody has the setup's host, this is localhost: see `server_name`."""
        host = "localhost" if self.server_name else self.setup.host
        if not self.setup.speaks_tls:
            host = "127.0.0.1"
        return f"{self.setup.scheme}://{host}:{self.server.port}"

    @property
    def server_name(self) -> str | None:
        """The name to expect, where it is not the URL's."""
        return None if self.setup.host in LOCAL_NAMES else self.setup.host

    @property
    def files(self) -> dict[str, Path]:
        """The client's files, by `request`'s and curl's names for them: cacert, cert, key."""
        names = {"cacert": "ca.crt"} | ({"cert": "client.crt", "key": "client.key"} if self.setup.client else {})
        return {option: self.folder / name for option, name in names.items()}

    def client_context(self) -> ssl.SSLContext:
        """Make the client's SSL context. Raises what `mtlslab.client.client_context` raises."""
        files = self.files
        if not self.setup.careless:
            context = client_context(
                cacert=files["cacert"], cert=files.get("cert"), key=files.get("key"), tls_max=self.lab.tls
            )
        else:
            context = client_context(cacert=files["cacert"], tls_max=self.lab.tls)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.load_cert_chain(files["cert"], files["key"])
        self.setup.tune_client(context)
        return context

    def request(self) -> Answer:
        """Make the request, with `mtlslab`'s client. Raises `errors.MtlslabError` where the files are the fault."""
        if self.setup.act is not None:
            return self.setup.act(self)
        return exchange(
            self.url,
            self.client_context(),
            sent_certificate=self.setup.client is not None,
            server_name=self.server_name,
        )

    def curl(self) -> tuple[list[str], dict[str, str]]:
        """Return the same request as a command for the real curl, and the environment that it needs."""
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "10", "--tls-max", self.lab.tls]
        for option, path in self.files.items():
            command += [f"--{option}", str(path)]
        if self.server_name:
            command += ["--connect-to", f"::localhost:{self.server.port}"]
        url = f"https://{self.server_name}" if self.server_name else self.url
        return [*command, *self.setup.curl, url], self._careless_environment()

    def _careless_environment(self) -> dict[str, str]:
        if not self.setup.careless:
            return {}
        path = self.folder / "careless.cnf"
        path.write_text(_CARELESS_CNF)
        return {"OPENSSL_CONF": str(path)}


_CARELESS_CNF = """\
openssl_conf = openssl
[openssl]
ssl_conf = ssl
[ssl]
system_default = system
[system]
CipherString = DEFAULT:@SECLEVEL=0
"""


@contextmanager
def stage(name: str, folder: str | os.PathLike[str], *, tls: TLSVersion = "1.3", port: int = 0) -> Iterator[Case]:
    """Mint a fault: write the client's files (ca.crt, client.crt, client.key) into `folder`, and run its server.

    `tls` is the highest version that the client offers; `port` 0 takes a free one. What `folder` holds under these
    names is replaced. Raises `errors.OptionRefused` for a name that is no fault's.
    """
    if name not in FAULTS:
        raise errors.OptionRefused("name", f"{name!r} is no fault; the names are {', '.join(FAULTS)}")
    with staged(FAULTS[name], folder, tls=tls, port=port) as case:
        yield case


@contextmanager
def staged(fault: Fault, folder: str | os.PathLike[str], *, tls: TLSVersion = "1.3", port: int = 0) -> Iterator[Case]:
    """Do what `stage` does, for a fault of one's own."""
    lab, folder = Lab(tls), Path(folder)
    setup = fault.mint(lab)
    write_files(setup, folder)
    with running(setup, port) as server:
        yield Case(fault, lab, setup, folder, server)


def write_files(setup: Setup, folder: Path) -> None:
    """Write the client's files into `folder`: ca.crt, and client.crt and client.key if it has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.crt").write_bytes(certificate_pem(setup.server_ca))
    if setup.client is not None:
        setup.client.save(folder, "client", overwrite=True)
    setup.spoil(folder)


def running(setup: Setup, port: int = 0) -> Server | _PlainServer:
    """Make the setup's server; use it in a `with` statement. `port` 0 takes a free one."""
    if not setup.speaks_tls:
        return _PlainServer()
    return Server(
        setup.server,
        client_ca=None if setup.client_auth == "none" else setup.client_ca,
        client_auth=setup.client_auth,
        port=port,
        tune=setup.tune_server,
    )
