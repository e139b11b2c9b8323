"""The exercises of notebook 02, certificate authority."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import PrivateKey, weakness
from mtlslab.faults.minting import altered
from mtlslab.notebook.exercises.judges import (
    Case,
    Guarded,
    NotYet,
    checker,
    door,
    expect,
    fresh_name,
    genuine,
    try_cases,
)
from mtlslab.profiles import SERVER

__all__ = ["root_on_a_short_lead", "tells_roots"]


@checker("a function that takes a name and a number of days, and returns a certificate and its key")
def root_on_a_short_lead(answer: Any) -> str:
    """Want a function that makes strict roots with a path length of 0."""
    make_root, public_keys = Guarded(answer), set()
    asked = [(fresh_name(), days) for days in random.sample((7, 30, 400), 3)]
    for name, days in [*asked, asked[0]]:  # a name and its days do not make the key
        root, key = _pair(make_root(name, days))
        public_keys.add(root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        expect(root.subject == subject, f"asked for {name}, it made {root.subject.rfc4514_string() or 'nobody'}")
        expect(root.issuer == subject, "Subject and Issuer differ: clients would look for somebody above it")
        expect(_signed_itself(root), "its signature does not verify with its own key: nobody can tell a damaged copy")
        _expect_dates(root, days)
        _expect_strict_clients_content(root, key)
    expect(len(public_keys) == 4, "its roots share a key: who steals one of them has them all")
    return "strict clients take what your roots have signed, and nothing that a CA below them has"


def _pair(made: Any) -> tuple[x509.Certificate, PrivateKey]:
    two = isinstance(made, tuple | list)
    expect(
        two and len(made) == 2, f"it returned a {type(made).__name__}: let it return two, the certificate and its key"
    )
    pair = tuple(made)
    root = genuine(pair[0], x509.Certificate, "the first that it returns is no certificate, as .sign makes it")
    real = type(pair[1]).__module__.startswith("cryptography.")
    expect(real and hasattr(pair[1], "sign"), "the second that it returns is no private key that can sign")
    expect(pair[1].public_key() == root.public_key(), "certificate and key do not belong together: it can sign nothing")
    weak = weakness(root.public_key())
    expect(weak is None, f"its key is weak, and could be worked out: {weak}")
    return root, pair[1]


def _signed_itself(root: x509.Certificate) -> bool:
    try:
        root.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _expect_dates(root: x509.Certificate, days: int) -> None:
    now, slack = datetime.now(UTC), timedelta(hours=2)
    expect(root.not_valid_before_utc <= now, "it has not begun: clients refuse it today")
    expect(root.not_valid_before_utc >= now - slack, "it began before it was made: it vouches for a past without it")
    end = now + timedelta(days=days)
    expect(root.not_valid_after_utc <= end + slack, f"asked for {days} days, it lives longer: a stolen key would, too")
    expect(root.not_valid_after_utc >= end - slack, f"asked for {days} days, it ends before")


def _expect_strict_clients_content(root: x509.Certificate, key: PrivateKey) -> None:
    """Let the root sign a server, and a CA that signs a server, and show both to a strict client that trusts it."""
    try:
        ca = CertificateAuthority(root, key)
    except errors.CannotIssue as error:
        raise NotYet(f"it cannot sign for anybody: {error}") from None
    ca._path_length = None  # what it says of itself is to be tried, not believed
    host = f"{fresh_name()}.example"
    direct = ca.issue(host, SERVER, names=[host])
    refused = door("server", direct, root, host, partial_chain=False)
    expect(not refused, f"a strict client refuses a server that it has signed ({refused}): see `root_extensions`")
    below = ca.create_issuing_ca("below").issue(host, SERVER, names=[host])
    refused = door("server", below, root, host, partial_chain=False)
    expect(bool(refused), f"a CA below it signed for {host}, and a strict client took that: see path_length")


@checker("a function that takes a certificate and returns True or False")
def tells_roots(answer: Any) -> str:
    """Want a function that tells self-signed roots from impostors of many kinds."""
    try_cases(answer, _roots_and_others)
    return "names, flag and signature: it takes all three to make a root"


def _roots_and_others() -> Iterator[Case]:
    name, used = fresh_name(), "you would turn away what this root has signed"
    ca, kinds = CertificateAuthority.create(name), {"an RSA": "rsa-2048", "an Ed25519": "ed25519"}
    yield Case("a root", True, used, (ca.certificate,))
    others: list[tuple[str, x509.Certificate]] = []
    for kind, key_type in kinds.items():
        made: Any = CertificateAuthority.create(name, key_type=key_type)  # type: ignore[arg-type]
        yield Case(f"a root with {kind} key", True, used, (made.certificate,))
        others.append((f"{kind} root with a bit of its signature flipped", _damaged(made.certificate)))
    lead = (x509.BasicConstraints(True, random.randrange(4)), True)
    for what, changes in {
        "a root with a path length": {"put": [lead]},
        "a root without keyUsage, as the article's": {"without": (x509.KeyUsage,)},
        "a root without key identifiers": {"without": (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)},
        "a root whose flag is not critical": {"put": [(x509.BasicConstraints(True, None), False)]},
    }.items():
        yield Case(what, True, used, (altered(ca.certificate, ca.private_key, **changes),))  # type: ignore[arg-type]
    for what, certificate, lets in _impostors(ca, name):
        yield Case(what, False, lets, (certificate,))
    for what, damaged in others:
        yield Case(what, False, "a damaged file would pass", (damaged,))
    yield Case("a root with a P-384 key, and SHA-384", True, used, (_with_sha384(ca.certificate),))


def _impostors(ca: CertificateAuthority, name: str) -> Iterator[tuple[str, x509.Certificate, str]]:
    other = CertificateAuthority.create(name)
    believed = "whoever made it would sign for everybody who asks you"
    yield "a server's certificate", ca.issue("localhost", SERVER, names=["localhost"]).certificate, believed
    yield "an issuing CA", ca.create_issuing_ca(fresh_name()).certificate, "it is not the top: who stands above it?"
    yield "an issuing CA with the name of its root", ca.create_issuing_ca(name).certificate, "another key has signed it"
    forged = altered(ca.certificate, other.private_key)
    yield "a root's copy that another key has signed", forged, "anybody can write Subject = Issuer and CA:TRUE"
    yield "a root with a bit of its signature flipped", _damaged(ca.certificate), "a damaged file would pass"
    renamed = altered(
        ca.certificate, ca.private_key, issuer=ca.issue(fresh_name(), SERVER, names=["x.example"]).certificate.subject
    )
    yield (
        "a certificate with its own key's signature and another's name as issuer",
        renamed,
        "it says that somebody stands above it",
    )
    for what, changes in {
        "a self-signed certificate with CA:FALSE": {"put": [(x509.BasicConstraints(False, None), True)]},
        "a self-signed certificate without basicConstraints": {"without": (x509.BasicConstraints,)},
    }.items():
        no_ca = altered(ca.certificate, ca.private_key, **changes)  # type: ignore[arg-type]
        yield what, no_ca, "nothing in it says that it belongs to a CA; keyCertSign in keyUsage is about the key"
    unfit: Any = x25519.X25519PrivateKey.generate()  # a key for agreeing on keys, which cannot sign
    yield "a certificate whose own key cannot sign", altered(ca.certificate, ca.private_key, public_key=unfit), believed
    yield (
        "a certificate whose key cannot be read",
        _of_an_unknown_kind(name),
        "what you cannot verify, you cannot vouch for",
    )


def _damaged(certificate: x509.Certificate) -> x509.Certificate:
    der = certificate.public_bytes(Encoding.DER)
    return x509.load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1]))


def _with_sha384(model: x509.Certificate) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP384R1())
    begin, end = model.not_valid_before_utc, model.not_valid_after_utc
    builder = x509.CertificateBuilder(model.subject, model.subject, key.public_key(), 1, begin, end)
    return builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA384())


def _of_an_unknown_kind(name: str) -> x509.Certificate:
    """Make a root on the curve SM2, which cryptography does not know: its object identifier is as long as P-256's."""
    ca = CertificateAuthority.create(name)
    p256, sm2 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a811ccf5501822d")
    return x509.load_der_x509_certificate(ca.certificate.public_bytes(Encoding.DER).replace(p256, sm2))
