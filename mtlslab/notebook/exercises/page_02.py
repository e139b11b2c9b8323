"""The exercises of notebook 02, certificate authority."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import (
    read_private_key,
    weakness,
)
from mtlslab.notebook.exercises.judges import NotYet, checker, expect
from mtlslab.profiles import SERVER


@checker("a certificate: an x509.Certificate, as self_signed returns it")
def root_on_a_short_lead(answer: x509.Certificate) -> str:
    """Want a strict, self-signed root "practice-ca" for 30 days with path length 0."""
    expect(
        not isinstance(answer, bytes | str),
        "that is text or bytes; the answer is the certificate itself, as self_signed returns it",
    )
    own_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "practice-ca")])
    expect(answer.subject == own_name, "its subject is not CN=practice-ca; self_signed takes name=")
    expect(answer.issuer == own_name, "Subject and Issuer differ; nobody stands above a root")
    expect(_signed_itself(answer), "its signature does not verify with its own public key; sign with the same key")
    days = (answer.not_valid_after_utc - answer.not_valid_before_utc) / timedelta(days=1)
    expect(29.9 < days < 30.1, f"it is valid for {days:.0f} days, not 30; self_signed takes days=")
    constraints = _critical(answer, x509.BasicConstraints, "basicConstraints")
    expect(constraints.ca, "its basicConstraints say CA:FALSE")
    expect(
        constraints.path_length == 0,
        "its basicConstraints hold no path length of 0; a path length of None means any number of CAs below it",
    )
    usage = _critical(answer, x509.KeyUsage, "keyUsage")
    expect(usage.key_cert_sign, "its keyUsage lacks keyCertSign: a key that may not sign certificates makes no CA")
    identifier = _get(answer, x509.SubjectKeyIdentifier)
    expect(identifier is not None, "it has no subjectKeyIdentifier: strict clients miss it")
    expect(
        identifier == x509.SubjectKeyIdentifier.from_public_key(answer.public_key()),
        "its subjectKeyIdentifier is that of another key; make the extensions from the new key",
    )
    expect(weakness(answer.public_key()) is None, f"its key is weak: {weakness(answer.public_key())}")
    expect(answer.public_key() != _lab_public_key(), "it holds the key of lab-02/ca.key; a new root gets a new key")
    return "a root that strict clients take, and that can sign servers and clients but never another CA"


@checker("a function that takes a certificate and returns True or False")
def tells_roots(answer: Callable[[x509.Certificate], bool]) -> str:
    """Want a function that tells self-signed roots from impostors of several kinds."""
    expect(not isinstance(answer, bool), "the answer is the function itself: answer = is_root, without brackets")
    expect(callable(answer), "the answer is a function: answer = is_root")
    for is_root, what, certificate in _roots_and_others():
        try:
            said = answer(certificate)
        except Exception as error:
            raise NotYet(f"for {what}, it raised {type(error).__name__}; return True or False instead") from None
        expect(said is not None, "it returns None; let it return True or False")
        expect(isinstance(said, bool), f"for {what}, it returned {type(said).__name__}; let it return True or False")
        expect(said == is_root, f"it says {said} for {what}")
    return "names, flag and signature: it takes all three to make a root"


@checker("bytes in PEM: what private_bytes returns")
def locked_key(answer: bytes) -> str:
    """Want the private key of lab-02/ca.key in PEM, locked with the password "for practice"."""
    pem = answer.encode() if isinstance(answer, str) else answer
    expect(isinstance(pem, bytes), "the answer is bytes, as private_bytes returns them")
    expect(not pem.startswith(b"0"), "that is DER; ask for Encoding.PEM")
    expect(b"CERTIFICATE" not in pem, "that is a certificate, which is public anyway; lock the private key")
    expect(b"PUBLIC KEY" not in pem, "that is a public key, which needs no lock; take the private one")
    expect(b"PRIVATE KEY-----" in pem, "there is no private key in it; its first line would say so")
    expect(b"ENCRYPTED" in pem, "it opens without a password; NoEncryption() is the -nodes of the article")
    try:
        key = load_pem_private_key(pem, b"for practice")
    except ValueError:
        raise NotYet("the password 'for practice' does not open it") from None
    expect(key.public_key() == _lab_public_key(), "it opens, and holds another key than lab-02/ca.key; take that key")
    return "only who knows the password can sign for example-ca with this copy"


def _roots_and_others() -> list[tuple[bool, str, x509.Certificate]]:
    """Return (is it a root?, what it is, the certificate) for the cases that `tells_roots` tries."""
    ca = CertificateAuthority.create("example-ca")
    namesake = CertificateAuthority.create("example-ca")
    other = CertificateAuthority.create("other-ca", key_type="ed25519")
    return [
        (True, "a root", ca.certificate),
        (True, "a root with an Ed25519 key", other.certificate),
        (False, "a server's certificate", ca.issue("localhost", SERVER, names=["localhost"]).certificate),
        (False, "an issuing CA, which a root has signed", other.create_issuing_ca("example-ca").certificate),
        (
            False,
            "a certificate with Subject = Issuer and CA:TRUE that another key has signed",
            namesake.create_issuing_ca("example-ca").certificate,
        ),
        (False, "a self-signed certificate with CA:FALSE", _self_signed(x509.BasicConstraints(False, None))),
        (False, "a self-signed certificate without basicConstraints", _self_signed()),
    ]


def _self_signed(*extensions: x509.ExtensionType) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example-ca")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, hashes.SHA256())


def _signed_itself(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def _get(of: x509.Certificate | x509.CertificateSigningRequest, kind: type[_Extension]) -> _Extension | None:
    try:
        return of.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _critical(of: x509.Certificate, kind: type[_Extension], name: str) -> _Extension:
    """Return an extension that has to be there and critical; raise `NotYet` if it is not."""
    value = _get(of, kind)
    if value is None:
        raise NotYet(f"it has no {name}; a strict client refuses such a root")
    expect(of.extensions.get_extension_for_class(kind).critical, f"its {name} is not marked critical")
    return value


def _lab_public_key() -> object:
    """Return the public key of the key file that notebook 02 writes. Raises `NotYet` if it is not there."""
    try:
        return read_private_key("lab-02/ca.key").public_key()
    except errors.FileRefused:
        raise NotYet("lab-02/ca.key is not there; run the cells above first") from None
