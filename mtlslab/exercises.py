"""The checkers of *Your turn*.

A checker takes the reader's answer and says "Not attempted yet", "Not yet: <a hint>" or "Correct: <why>". It
never raises, whatever it is given. Each is a function that raises `NotYet` with a hint, or returns why the answer is
right.
"""

from __future__ import annotations

import copy
import inspect
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import wraps
from pathlib import Path, PurePath
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtlslab import errors, faults
from mtlslab.authority import CertificateAuthority
from mtlslab.client import Answer, request
from mtlslab.credentials import (
    Credential,
    certificate_pem,
    general_name,
    new_csr,
    new_private_key,
    read_private_key,
    weakness,
)
from mtlslab.profiles import CLIENT, SERVER, Profile
from mtlslab.refusals import Refusal
from mtlslab.server import Reply, Request, Server, Visit


@dataclass(frozen=True)
class Feedback:
    """What a checker says. Fields: `correct` (None: not attempted), `text`."""

    correct: bool | None
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        verdict, colon, rest = self.text.partition(":")
        return f"**{verdict}{colon}**{rest}"


class NotYet(Exception):
    """An answer that is not right; its text is the hint."""


CHECKERS: dict[str, Callable[[Any], Feedback]] = {}
"""Every checker, by name."""


def checker(wants: str) -> Callable[[Callable[[Any], str]], Callable[[Any], Feedback]]:
    """Make a checker of a function that raises `NotYet` or returns why the answer is right.

    `wants` names what an answer is, for those that are something else altogether.
    """

    def decorate(judge: Callable[[Any], str]) -> Callable[[Any], Feedback]:
        @wraps(judge)
        def check(answer: Any) -> Feedback:
            if answer is None:
                return Feedback(None, "Not attempted yet: replace None with your answer, and run this cell again")
            try:
                return Feedback(True, f"Correct: {judge(answer)}")
            except NotYet as hint:
                return Feedback(False, f"Not yet: {hint}")
            except Exception:  # an answer of another kind than the judge expected
                return Feedback(False, f"Not yet: the answer is {wants}")

        CHECKERS[judge.__name__] = check
        return check

    return decorate


def expect(holds: bool, hint: str) -> None:
    """Raise `NotYet` with the hint unless the condition holds."""
    if not holds:
        raise NotYet(hint)


# --- 00 start here --------------------------------------------------------------------------------


@checker("what request(...) returned, as in: answer = request(server.url, ...)")
def refused_by_the_client(answer: Any) -> str:
    """Want the `Answer` to a request whose client does not know the server's CA."""
    expect(isinstance(answer, Answer), "the answer is what request(...) returns, not a part of it")
    refusal = answer.refusal
    if refusal is None:
        raise NotYet("this request was answered, so the client could check the server; leave cacert out")
    expect(
        refusal.reason != "connection-refused",
        "nobody was listening: make the request inside the with block, while the server runs",
    )
    expect(
        refusal.by == "client",
        f"here the server said no ({refusal.reason}); give cert and key, so that only the CA is missing",
    )
    expect(refusal.reason == "unknown-ca", f"the client said no, but for {refusal.reason}; leave out cacert alone")
    return (
        "the client refused the server. Without cacert it asks the system's trust store, which does not know "
        f"example-ca; curl's exit code for this is {refusal.curl_exit_code}"
    )


@checker('a set of file names, such as {"ca.crt", "server.crt"}')
def files_for_the_client(answer: Any) -> str:
    """Want the names of the three files that a client of mutual TLS needs, and of no private key but its own."""
    expect(not isinstance(answer, str), 'the answer is a set of file names, such as {"ca.crt", "server.crt"}')
    names = {PurePath(file).name for file in answer}
    everything = {f"{owner}.{kind}" for owner in ("ca", "client", "server") for kind in ("crt", "key")}
    expect(names <= everything, f"lab-00 does not hold {', '.join(sorted(names - everything))}")
    expect("ca.key" not in names, "whoever holds ca.key can make a certificate in anyone's name; it stays with the CA")
    expect("server.key" not in names, "whoever holds server.key can pose as the server; it stays with the server")
    expect("ca.crt" in names, "the client could not check the server: which file did request get as cacert?")
    expect("client.crt" in names, "the client has nothing to show: which file did request get as cert?")
    expect("client.key" in names, "a certificate proves nothing without its private key: anyone may have a copy of it")
    expect("server.crt" not in names, "server.crt does no harm, but the server shows it in every handshake anyway")
    return "ca.crt to check the server, client.crt to show, and client.key to prove that client.crt is its own"


# --- 01 TLS basics --------------------------------------------------------------------------------

CHALLENGE = b"whoever holds the private key of this certificate, sign these words"
"""What `proof_of_the_key` wants signed."""


@checker("the text of a PEM file, as str")
def pem_by_hand(answer: Any) -> str:
    """Want the certificate of Alice as PEM, wrapped as RFC 7468 §2 says."""
    expect(not isinstance(answer, bytes), "that is bytes, and a PEM file is text: b64encode(...).decode()")
    expect(isinstance(answer, str), "the answer is the text of a PEM file, as str")
    begin, *body, end = answer.strip().splitlines()
    expect(begin == "-----BEGIN CERTIFICATE-----", "the first line says what follows: -----BEGIN CERTIFICATE-----")
    expect(end == "-----END CERTIFICATE-----", "the last line is a line of its own: -----END CERTIFICATE-----")
    expect(
        all(len(line) == 64 for line in body[:-1]) and len(body[-1]) <= 64,
        "each line of base64 but the last has exactly 64 characters (RFC 7468 §2)",
    )
    try:
        certificate = x509.load_pem_x509_certificate(answer.encode())
    except ValueError:
        raise NotYet("between the two lines is no certificate; encode alice.public_bytes(Encoding.DER)") from None
    owner = certificate.subject.rfc4514_string()
    expect(owner.startswith("CN=Alice"), f"this is the certificate of {owner}, and Alice's is wanted")
    return f"a well-formed PEM file with the certificate of {owner}"


@checker("the bytes that went to the client: the second part of wire.result()")
def wire_of_tls12(answer: Any) -> str:
    """Want what a TLS 1.2 server sent, with its certificate in clear."""
    expect(
        isinstance(answer, bytes),
        "the answer is the bytes that went to the client: the second part of wire.result()",
    )
    expect(not answer.startswith(b"HTTP/"), "that is HTTP in clear; give overhear both contexts")
    messages = _readable_handshake(answer)
    expect(bool(messages), "this does not begin with a TLS handshake; hand over what crossed the wire, uncut")
    expect(1 not in messages, "this is what went to the server; the server's messages went to the client")
    if 11 not in messages:
        raise NotYet("no certificate in sight, so this is TLS 1.3; set maximum_version on the client's context")
    # RFC 5246 §7.4.2: three bytes of the list's length, three of the first certificate's, then that.
    length = int.from_bytes(messages[11][3:6], "big")
    certificate = x509.load_der_x509_certificate(messages[11][6 : 6 + length])
    return (
        f"the eavesdropper reads the certificate of {certificate.subject.rfc4514_string()}. TLS 1.2 sends it before "
        "the encryption begins (RFC 5246 §7.3), TLS 1.3 after (RFC 8446 §2)"
    )


def _readable_handshake(wire: bytes) -> dict[int, bytes]:
    """Return the handshake messages that cross a wire before anything else does, by type (RFC 5246 §7.4)."""
    stream = b""
    while wire[:1] == b"\x16":
        end = 5 + int.from_bytes(wire[3:5], "big")
        stream += wire[5:end]
        wire = wire[end:]
    messages: dict[int, bytes] = {}
    while stream:
        end = 4 + int.from_bytes(stream[1:4], "big")
        messages[stream[0]] = stream[4:end]
        stream = stream[end:]
    return messages


@checker("the pair (certificate, signature)")
def proof_of_the_key(answer: Any) -> str:
    """Want a certificate, and `CHALLENGE` signed with its private key."""
    certificate, signature = answer
    expect(isinstance(certificate, x509.Certificate), "the first of the pair is the certificate, as x509 loads it")
    owner = certificate.subject.rfc4514_string()
    expect(owner == "CN=localhost", f"this is the certificate of {owner}, and you are the server: lab-01/server.crt")
    expect(isinstance(signature, bytes), "the second of the pair is what sign returns, bytes")
    try:
        certificate.public_key().verify(signature, CHALLENGE, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise NotYet(
            "the certificate's public key does not verify this; sign exercises.CHALLENGE as it is, "
            "with the key in lab-01/server.key and ECDSA with SHA-256"
        ) from None
    return f"only the holder of the private key of {owner} could sign the challenge"


# --- 02 certificate authority ---------------------------------------------------------------------


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


# --- 03 certificate signing request ---------------------------------------------------------------

_SERVICE = "api.example.org"
_SERVICE_NAMES = (_SERVICE, "192.0.2.7", "spiffe://example.org/api")


@checker("a CSR: an x509.CertificateSigningRequest, as new_csr returns it")
def csr_of_a_service(answer: x509.CertificateSigningRequest) -> str:
    """Want a CSR for api.example.org, 192.0.2.7 and spiffe://example.org/api, each as its own kind."""
    expect(not isinstance(answer, x509.Certificate), "that is a certificate; the answer is what one asks a CA with")
    expect(answer.is_signature_valid, "its signature does not verify: it proves possession of nothing")
    weak = weakness(answer.public_key())
    expect(weak is None, f"no CA should sign for its key: {weak}")
    common_names = [attribute.value for attribute in answer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    expect(common_names == [_SERVICE], f"its common name is not {_SERVICE}")
    san = _get(answer, x509.SubjectAlternativeName)
    expect(san is not None, "it has no subjectAltName; RFC 9525 §2 wants a server's names there, and nowhere else")
    held = list(san or ())
    for name in held:
        if isinstance(name, x509.DNSName) and not isinstance(general_name(name.value), x509.DNSName):
            raise NotYet(f"{name.value} is in its SAN as a DNS name, and it is none: a client compares kinds as well")
    for wanted in _SERVICE_NAMES:
        expect(general_name(wanted) in held, f"{wanted} is missing from its SAN")
    expect(len(held) == len(_SERVICE_NAMES), "its SAN holds more than the three names; ask for no more than you need")
    return "three names of three kinds, and a signature that shows you hold the key"


@checker("a function that takes a CSR and returns a CSR")
def steal_a_public_key(answer: Callable[[x509.CertificateSigningRequest], x509.CertificateSigningRequest]) -> str:
    """Want a function that puts the public key of a CSR under the name mallory, in a form that parses."""
    expect(
        not isinstance(answer, x509.CertificateSigningRequest),
        "the answer is the function itself: answer = forge, without brackets",
    )
    expect(callable(answer), "the answer is a function: answer = forge")
    victims = new_csr(new_private_key(), "client")
    try:
        forged = answer(victims)
    except Exception as error:
        raise NotYet(f"it raised {type(error).__name__}: {error}") from None
    expect(
        isinstance(forged, x509.CertificateSigningRequest),
        f"it returned {type(forged).__name__}; let it return what x509.load_der_x509_csr returns",
    )
    expect(
        forged.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory")]),
        f"it names {forged.subject.rfc4514_string() or 'nobody'}; the theft is to be in the name of mallory",
    )
    try:
        stolen = forged.public_key()
    except ValueError:
        raise NotYet("it parses, but its public key cannot be read; swap the whole SubjectPublicKeyInfo") from None
    expect(stolen == victims.public_key(), "it holds another public key than the CSR that it was given")
    try:
        CertificateAuthority.create("example-ca").sign(forged, CLIENT)
    except errors.CSRRefused as refused:
        return (
            f"it parses, it names mallory, it holds the victim's public key, and the CA refuses it: {refused.reason}. "
            "Mallory cannot sign with a key that she has only seen"
        )
    raise NotYet("the CA signed it, which should be impossible; please report this")


_NAMES = {
    "*.example.org": "the star stands for one label, and two labels follow",
    "*.org": "how much would that wildcard cover?",
    "2001:db8::7": "colons and hexadecimal digits",
    "192.0.2.300": "look at the last number",
    "xn--mnchen-3ya.example": "letters, digits and hyphens alone",
    "spiffe://example.org/db": "it has a scheme",
    "example.org:443": "does a certificate name ports?",
    "localhost": "one label is a host name too",
}
"""The names of the third exercise, each with a hint."""


@checker("a dictionary from each of the eight names to 'DNS', 'IP', 'URI' or 'refused'")
def kinds_of_names(answer: dict[str, str]) -> str:
    """Want a dictionary from eight names to the kind of subjectAltName that each makes, if any."""
    expect(isinstance(answer, dict), "the answer is a dictionary, with the eight names as its keys")
    missing = [name for name in _NAMES if name not in answer]
    expect(not missing, f"{', '.join(missing)} is not in it")
    words = ("DNS", "IP", "URI", "refused")
    for name, hint in _NAMES.items():
        expect(answer[name] in words, f"{answer[name]!r} is not one of {', '.join(words)}")
        expect(answer[name] == _kind_of_name(name), f"{name} is not {answer[name]}: {hint}")
    return "eight names, told apart as the CA tells them"


def _kind_of_name(name: str) -> str:
    kinds = {x509.DNSName: "DNS", x509.IPAddress: "IP", x509.UniformResourceIdentifier: "URI"}
    try:
        return kinds[type(general_name(name))]
    except errors.NameRefused:
        return "refused"


# --- 04 signing certificates ----------------------------------------------------------------------


@checker("the certificate itself, as sign(…) returns it")
def both_roles(answer: Any) -> str:
    """A certificate for a TLS server that is a TLS client as well, and nothing else."""
    answer = getattr(answer, "certificate", answer)
    expect(isinstance(answer, x509.Certificate), "the answer is the certificate, as sign(…) returns it")
    purposes = _wish(answer, x509.ExtendedKeyUsage)
    expect(
        purposes is not None, "without extendedKeyUsage it opens both doors, and so does every stolen one; name both"
    )
    expect(
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in purposes,
        "OpenSSL does not take anyExtendedKeyUsage for a particular purpose; name the two that are meant",
    )
    expect(ExtendedKeyUsageOID.SERVER_AUTH in purposes, "a server would be refused with it: serverAuth is missing")
    expect(ExtendedKeyUsageOID.CLIENT_AUTH in purposes, "a client would be refused with it: clientAuth is missing")
    expect(len(list(purposes)) == 2, "exactly two purposes were asked for, each of them once")
    constraints = _wish(answer, x509.BasicConstraints)
    expect(constraints is None or not constraints.ca, "it may sign certificates; two roles in TLS do not need that")
    expect(_wish(answer, x509.SubjectAlternativeName) is not None, "as a server it needs a name: the subjectAltName")
    expect(answer.issuer != answer.subject, "it signed itself; let example-ca sign it")
    return "serverAuth and clientAuth, both named: two doors, on purpose, and no third"


def _wish(of: x509.Certificate | x509.CertificateSigningRequest, kind: type[x509.ExtensionType]) -> Any:
    try:
        return of.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


_MYSTERY: dict[str, set[str]] = {
    "a": {"CA flag"},
    "b": set(),
    "c": {"validity", "purpose"},
    "d": {"signature"},
}


def mystery_certificates(ca: CertificateAuthority) -> dict[str, tuple[x509.Certificate, x509.Certificate]]:
    """Make the certificates that `failing_checks` asks about, by letter, each with its alleged issuer.

    `ca` has an RSA key, and so have all the others.
    """
    host = ca.issue("localhost", SERVER, names=["localhost"], key_type="rsa-2048")
    twin = CertificateAuthority.create(ca.certificate.subject.rfc4514_string().removeprefix("CN="), key_type="rsa-2048")
    rogue = copy.copy(ca)  # the constructor would not let a leaf sign
    rogue.certificate, rogue.private_key = host.certificate, host.private_key

    def leaf(issuer: CertificateAuthority, profile: Profile, **options: Any) -> x509.Certificate:
        return issuer.issue("localhost", profile, names=["localhost"], **options).certificate

    last_week = datetime.now(UTC) - timedelta(days=7)
    return {
        "a": (leaf(rogue, SERVER), host.certificate),
        "b": (host.certificate, ca.certificate),
        "c": (leaf(ca, CLIENT, days=1, not_before=last_week), ca.certificate),
        "d": (leaf(twin, SERVER), ca.certificate),
    }


@checker('a dictionary from each letter to a set of checks, such as {"a": {"names"}, "b": set()}')
def failing_checks(answer: Any) -> str:
    """Which checks each of `mystery_certificates` fails, shown by a server."""
    checks = {"signature", "names", "validity", "CA flag", "purpose"}
    given = {letter: {failed} if isinstance(failed, str) else set(failed) for letter, failed in dict(answer).items()}
    expect(set(given) == set(_MYSTERY), f"there are four certificates: {', '.join(_MYSTERY)}")
    for letter, failed in given.items():
        expect(failed <= checks, f"{letter}: the checks are called {', '.join(sorted(checks))}")
    for letter, truth in _MYSTERY.items():
        expect(
            not given[letter] - truth,
            f"{letter} passes a check that you say it fails; ask check(leaf, issuer, purpose)",
        )
        expect(given[letter] == truth, f"{letter} fails a check that you have not named; the role is the server's")
    return "one is sound, two have one fault each, and one has two"


@checker("a function that takes a CSR and returns True or False")
def asks_to_be_a_ca(answer: Any) -> str:
    """A function that tells requests for a CA's power from honest ones."""
    expect(callable(answer), "the answer is the function itself, without parentheses after its name")
    for asks, extensions, hint in _REQUESTS:
        said = answer(_request(extensions))
        expect(isinstance(said, bool), f"it returns {type(said).__name__}; True or False is wanted")
        expect(said is asks, hint)
    return "CA:TRUE and keyCertSign are both found, and no honest request is turned away"


def _key_usage(**usages: bool) -> x509.KeyUsage:
    names = inspect.signature(x509.KeyUsage).parameters
    return x509.KeyUsage(**{name: usages.get(name, False) for name in names})


_REQUESTS: tuple[tuple[bool, tuple[x509.ExtensionType, ...], str], ...] = (
    (False, (), "it turns away a request without any extension, which asks for nothing"),
    (False, (x509.SubjectAlternativeName([x509.DNSName("localhost")]),), "it turns away a request for a name alone"),
    (True, (x509.BasicConstraints(ca=True, path_length=None),), "it lets through a request that asks for CA:TRUE"),
    (
        True,
        (x509.BasicConstraints(ca=True, path_length=0), _key_usage(key_cert_sign=True)),
        "it lets through a request for CA:TRUE with a pathLenConstraint",
    ),
    (
        True,
        (_key_usage(key_cert_sign=True),),
        "it lets through a request that asks for keyCertSign, without a word about CA:TRUE",
    ),
    (
        False,
        (x509.BasicConstraints(ca=False, path_length=None), _key_usage(digital_signature=True)),
        "it turns away a request that says CA:FALSE and asks to sign handshakes: having an extension is no crime",
    ),
)


def _request(extensions: tuple[x509.ExtensionType, ...]) -> x509.CertificateSigningRequest:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "printer")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(new_private_key(), hashes.SHA256())


# --- 05 mutual TLS server -------------------------------------------------------------------------


@checker("an ssl.SSLContext")
def insisting_context(answer: Any) -> str:
    """The context of a server that takes TLS 1.3 only and insists on a client certificate from example-ca."""
    expect(isinstance(answer, ssl.SSLContext), "the answer is an ssl.SSLContext, as make_context returns it")
    expect(answer.protocol != ssl.PROTOCOL_TLS_CLIENT, "this is a client's context; take ssl.PROTOCOL_TLS_SERVER")
    expect(answer.verify_mode != ssl.CERT_NONE, "it does not ask for a certificate: see verify_mode")
    expect(answer.verify_mode == ssl.CERT_REQUIRED, "it asks, but takes no for an answer: see verify_mode")
    expect(answer.minimum_version == ssl.TLSVersion.TLSv1_3, "it still takes TLS 1.2: see minimum_version")
    newest = (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3)
    expect(answer.maximum_version in newest, "it ends below TLS 1.3: see maximum_version")
    expect(bool(answer.verify_flags & ssl.VERIFY_X509_STRICT), "it does not verify strictly: see verify_flags")
    trusted = answer.get_ca_certs(binary_form=True)
    expect(bool(trusted), "it trusts no authority, so it would refuse everybody: see load_verify_locations")
    names = {x509.load_der_x509_certificate(der).subject.rfc4514_string() for der in trusted}
    expect(names == {"CN=example-ca"}, "it believes other authorities too: load ca.crt, and nothing else")
    said = _handshake_without_certificate(answer, trusted[0])
    # OpenSSL has several words for a server without a certificate: it can offer no suite, no version, no signature.
    empty_handed = ("NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "NO_SUITABLE_SIGNATURE_ALGORITHM")
    expect(said not in empty_handed, "it has nothing to show: see load_cert_chain, with server.crt and server.key")
    expect(
        said != "CERTIFICATE_VERIFY_FAILED", "a client that trusts example-ca refuses what it shows: is it server.crt?"
    )
    expect(
        said == "PEER_DID_NOT_RETURN_A_CERTIFICATE", f"a client without a certificate ended the handshake with {said}"
    )
    return "a client without a certificate shook hands with it, and was refused"


def _handshake_without_certificate(server: ssl.SSLContext, ca: bytes) -> str:
    """Shake hands in memory with a client that trusts `ca` (DER). Returns OpenSSL's word for what went wrong, or ""."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=ca)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):  # each end has at most two turns
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return error.reason or str(error)
    return ""


@checker("a function that takes a Request and returns text or a Reply")
def authorizing_app(answer: Any) -> str:
    """An app that greets callers by name, keeps /admin for alice, and sends strangers away."""
    expect(callable(answer), "the answer is the function itself, without parentheses after its name")
    for caller, path, status, hint in _CALLS:
        reply = answer(_call(caller, path))
        expect(reply is not None, f"it returns nothing for {caller or 'a caller without a certificate'} at {path}")
        reply = Reply(reply) if isinstance(reply, str) else reply
        expect(isinstance(reply, Reply), f"it returns {type(reply).__name__}; text or a Reply is wanted")
        expect(reply.status == status, f"{hint}: expected {status}, and got {reply.status}")
        if path == "/" and status == 200:
            greeted = reply.text.strip() == f"Hello {caller}"
            expect(greeted, f"{caller} at / should read 'Hello {caller}', and reads {reply.text.strip()!r}")
    return "TLS says who they are, and your function what they may do"


_CALLS = (
    ("client", "/", 200, "everybody with a certificate may have /"),
    ("alice", "/", 200, "everybody with a certificate may have /, alice too"),
    ("alice", "/admin", 200, "/admin is for alice"),
    ("alice", "/admin/users", 200, "what is below /admin is for alice"),
    ("client", "/admin", 403, "/admin is for alice alone"),
    ("client", "/admin/users", 403, "what is below /admin is for alice alone"),
    ("alice.example", "/admin", 403, "alice.example is not alice: compare the whole common name"),
    ("malice", "/admin", 403, "malice is not alice: compare the whole common name"),
    (None, "/", 401, "a caller without a certificate is nobody yet"),
    (None, "/admin", 401, "a caller without a certificate is nobody yet, at /admin too"),
)


def _call(caller: str | None, path: str) -> Request:
    client = CertificateAuthority.create("example-ca").issue(caller, CLIENT).certificate if caller else None
    return Request("GET", path, Message(), b"", client, "TLSv1.3")


@checker("a dictionary from a, b and c to ssl.CERT_… or None")
def from_node(answer: Any) -> str:
    """What Node.js's options for asking are in Python."""
    given = dict(answer)
    expect(set(given) == {"a", "b", "c"}, "there are three servers: a, b and c")
    known = all(value is None or isinstance(value, ssl.VerifyMode) for value in given.values())
    expect(known, "each value is ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED or None")
    expect(given["a"] is ssl.CERT_REQUIRED, "a: rejectUnauthorized is not mentioned, so it has its default. Which?")
    expect(given["b"] is ssl.CERT_NONE, "b: does this server ever send a CertificateRequest?")
    expect(given["c"] is None, "c: what becomes of a bad certificate there, and what does each verify_mode do with it?")
    return "asking, insisting and judging are three things, and each server has its own way to switch them"


# --- 06 requests with and without credentials -----------------------------------------------------


@checker('a tuple of four, such as ("server", "unknown-ca", "unknown_ca", 56)')
def both_at_fault(answer: Any) -> str:
    """Predict (by, reason, alert, curl's code): TLS 1.3, an expired server certificate, a client that shows nothing."""
    by, reason, alert, code = answer
    refusal = _both_at_fault()
    expect(
        by == refusal.by,
        "think of the order: whose certificate has already crossed the wire when the other end decides what to send?",
    )
    expect(
        reason == refusal.reason,
        f"the {refusal.by} says no; which word of the tables fits the certificate it has just been shown?",
    )
    expect(
        alert == refusal.alert, "the alert tells the other end what was wrong with its certificate; look at the tables"
    )
    expect(
        code == refusal.curl_exit_code and not isinstance(code, bool),
        "what does curl return when curl itself is the one that refuses?",
    )
    return "the server's certificate comes first, so the client has refused before anybody misses a client certificate"


def _both_at_fault() -> Refusal:
    ca = CertificateAuthority.create("example-ca")
    begin = datetime.now(UTC) - timedelta(days=10)
    expired = ca.issue("localhost", SERVER, names=["localhost"], not_before=begin, days=1)
    with tempfile.TemporaryDirectory() as folder, Server(expired, client_ca=ca.certificate, port=0) as server:
        ca.save(folder)
        refusal = request(server.url, cacert=Path(folder, "ca.crt"), tls_max="1.3").refusal
    if refusal is None:
        raise AssertionError("a client accepted an expired server certificate")
    return refusal


@checker("a visit: server.visits[-1], after the request")
def too_early(answer: Any) -> str:
    """Bring a visit that the server refused because the client's certificate is not valid yet."""
    if isinstance(answer, Answer):
        told = answer.refusal.reason if answer.refusal else "an answer"
        raise NotYet(f"that is the client's view, which holds only {told!r}; the exercise wants the server's visit")
    expect(isinstance(answer, Visit), "the answer is a visit: server.visits[-1], after the request")
    refusal = answer.refusal
    expect(refusal is not None, "the server let this one in; its certificate has to begin in the future: not_before=")
    expect(refusal.by == "server", "here the client refused the server; give it the right cacert")
    expect(refusal.reason != "no-client-certificate", "the client showed nothing; pass cert= and key=")
    expect(
        refusal.reason != "unknown-ca", "this certificate is from a CA that the server does not know; issue it from ca"
    )
    expect(refusal.reason != "expired", "this one is over already; it has to begin in the future: not_before=")
    expect(refusal.reason == "not-yet-valid", f"the server refused, with the reason {refusal.reason!r}")
    return "the server knows that it came too early; the alert, bad_certificate, has no room for that"


VAULT_TEXT = "the vault is open\n"


def vault(folder: str | os.PathLike[str]) -> Server:
    """Start a server that a colleague left, and put its files into `folder`, together with some that do not fit."""
    ours, theirs = CertificateAuthority.create("ca-a"), CertificateAuthority.create("ca-b")
    for name, authority, profile in (("alice", ours, CLIENT), ("bob", theirs, CLIENT), ("carol", theirs, SERVER)):
        authority.issue(name, profile, names=[f"{name}.example"]).save(folder, name, overwrite=True)
    for name, authority in (("ca-a", ours), ("ca-b", theirs)):
        Credential(authority.certificate, authority.private_key).save(folder, name, overwrite=True)
    credential = ours.issue("localhost", SERVER, names=["localhost", "127.0.0.1", "::1"])
    return Server(credential, client_ca=theirs.certificate, app=lambda _: VAULT_TEXT, port=0).start()


@checker("the Answer of a request: request(vault.url, …)")
def open_vault(answer: Any) -> str:
    """Bring the answer of the vault, which trusts one CA for clients and comes from another."""
    expect(isinstance(answer, Answer), "the answer is what request(vault.url, …) returns")
    refusal = answer.refusal
    if refusal is not None:
        expect(
            refusal.by == "server",
            f"the client refuses, with the reason {refusal.reason!r}; which CA issued the vault's own certificate?",
        )
        hints = {
            "no-client-certificate": "the vault wants to see a certificate: cert= and key=",
            "unknown-ca": "your --cacert is right; the vault does not know the CA of the certificate you show",
            "wrong-purpose": "the vault knows this certificate's CA, but look at its extendedKeyUsage",
        }
        raise NotYet(hints.get(refusal.reason, f"the vault refuses, with the reason {refusal.reason!r}"))
    expect(answer.text == VAULT_TEXT, "this answer is from another server than the vault")
    return "each end trusts a CA of its own choice, and they need not be the same one"


# --- 07 inside the handshake ----------------------------------------------------------------------


@checker("the name of a message, as text")
def message_that_proves(answer: Any) -> str:
    """Want the message that proves who the client is."""
    expect(isinstance(answer, str), "the answer is the name of a message, as text")
    name = "".join(answer.split()).lower()
    expect(name != "certificate", "a certificate is public: whoever has seen one can send a copy of it")
    expect(name != "certificaterequest", "that is the server's question; who answers it, and with what?")
    expect(
        name != "finished",
        "Finished shows that both sides have the same keys, which any client does; nothing in it needs the "
        "certificate's private key",
    )
    expect(name == "certificateverify", "look for the one message that only the holder of the private key can make")
    return (
        "CertificateVerify is a signature over this very handshake (RFC 8446 §4.4.3). Without the certificate's "
        "private key nobody can make it, and nobody can use it a second time"
    )


@checker("a number, such as 0")
def record_number(answer: Any) -> str:
    """Want how many records the server encrypted before its CertificateVerify, in a mutual handshake of TLS 1.3."""
    expect(isinstance(answer, int) and not isinstance(answer, bool), "the answer is a number, such as 0")
    expect(answer >= 0, "the first record has the number 0")
    expect(answer != 0, "number 0 is the server's first encrypted record, EncryptedExtensions")
    expect(answer != 4, "count from 0, and count encrypted records only")
    expect(answer not in (5, 6), "the ServerHello and the ChangeCipherSpec are not encrypted, so they do not count")
    expect(answer == 3, "which encrypted records does the server send before it? Count them from 0 in the diagram")
    return (
        "EncryptedExtensions 0, CertificateRequest 1, Certificate 2, CertificateVerify 3. Each direction counts for "
        "itself and starts again with each new key (RFC 8446 §5.3), so no nonce is ever used twice"
    )


@checker("a transcript, as handshake.record and resume return it")
def no_certificate_crossed(answer: Any) -> str:
    """Want the transcript of a resumed handshake."""
    from mtlslab.handshake import Transcript

    expect(isinstance(answer, Transcript), "the answer is a transcript, as handshake.record and resume return it")
    expect(
        answer.alert is None,
        f"this handshake was refused by the {answer.refused_by} with {answer.alert}; make one that succeeds",
    )
    senders = {message.sender for message in answer.messages if message.name == "Certificate"}
    expect("client" not in senders, "here the client sends a Certificate message; what happens at the second visit?")
    expect(not senders, "here the server still sends its certificate; what happens at the second visit?")
    expect(answer.resumed, "this handshake did not get to its end")
    return (
        "a resumed handshake sends no certificates, and nobody looks at them again. Both sides go on from the secret "
        "of the first handshake, in which the client proved who it is"
    )


# --- 08 when mutual TLS says no -------------------------------------------------------------------

PUZZLES = ("crl-missing", "client-without-intermediate", "crl-expired", "not-yet-valid-client", "client-ca-made-again")
"""Five faults whose messages do not give them away. Guess first."""

_BROKEN: dict[str, faults.Setup] = {}
"""The deployments that `broken` wrote, by the fault's name: their servers are the checkers'."""


def broken(fault: str, folder: Path) -> None:
    """Write a broken deployment into `folder`, with what its repair needs beside it."""
    lab = faults.Lab()
    setup = faults.FAULTS[fault].mint(lab)
    faults.write_files(setup, folder)
    if fault == "key-of-another-certificate":
        lab.client.save(folder, "old", overwrite=True)
        (folder / "old.crt").unlink()
    elif fault == "client-without-intermediate":
        (folder / "issuing-ca.crt").write_bytes(certificate_pem(lab.issuing_ca.certificate))
    else:
        lab.ca.save(folder, overwrite=True)
    _BROKEN[fault] = setup


def _repaired(fault: str, answer: Any) -> x509.Certificate:
    """Connect with the answer's files to the deployment's own server, which is as strict as ever."""
    setup = _BROKEN.get(fault)
    if setup is None:
        raise NotYet("there is no deployment to repair yet: run the cell above")
    files = {str(option): path for option, path in dict(answer).items()}
    expect(
        set(files) == {"cacert", "cert", "key"},
        "name three files, cacert, cert and key; verification is on at both ends, and stays on",
    )
    with faults.running(setup) as server:
        try:
            refusal = request(f"https://localhost:{server.port}", **files).refusal
        except errors.MtlslabError as error:
            raise NotYet(f"the client stops before it dials: {error}") from None
        visit = server.visits[-1]
    if refusal is not None and visit.refusal is not None:
        raise NotYet(f"the {refusal.by} still says no; client: {refusal.reason}, server: {visit.refusal.reason}")
    if visit.client is None:
        raise NotYet("the server never saw a certificate")
    return visit.client


_THREE_FILES = "a dictionary of three files: cacert, cert and key"


@checker(_THREE_FILES)
def repaired_key(answer: Any) -> str:
    """Judge a repair of a certificate whose key is not the one beside it."""
    _repaired("key-of-another-certificate", answer)
    return "the server knows the client again. A certificate and its key are one thing in two files"


@checker(_THREE_FILES)
def repaired_chain(answer: Any) -> str:
    """Judge a repair of a client that sends no intermediate."""
    _repaired("client-without-intermediate", answer)
    return "the server could climb from the client to the root, over the intermediate that you put into the file"


@checker(_THREE_FILES)
def repaired_purpose(answer: Any) -> str:
    """Judge a repair of a client that shows a server's certificate."""
    client = _repaired("wrong-purpose-client", answer)
    try:
        purposes = list(client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        raise NotYet("it is let in, but without an extendedKeyUsage it opens either door") from None
    expect(
        purposes == [ExtendedKeyUsageOID.CLIENT_AUTH], "it is let in, but it can pose as a server too: clientAuth alone"
    )
    return "the same CA signed for the right purpose, and nothing else had to change"


# --- 09 openssl, node and curl --------------------------------------------------------------------


@checker("a pair of certificates: Alice's and the CA's, as x509.load_pem_x509_certificate returns them")
def client_by_openssl(answer: Any) -> str:
    """Judge a client certificate for alice, for 30 days, that strict verifiers accept; with its CA's certificate."""
    alice, ca = answer
    names = [attribute.value for attribute in alice.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    expect(names == ["alice"], "the subject is not CN=alice; it comes from -subj when you make the CSR")
    try:
        alice.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise NotYet("this CA did not sign it; give -CA ca.crt and -CAkey ca.key, and that ca.crt here") from None
    expect(alice != ca, "the first of the pair is Alice's certificate, the second the CA's")
    there = {type(extension.value): extension for extension in alice.extensions}
    basic = there.get(x509.BasicConstraints)
    expect(not (basic and basic.value.ca), "it may sign certificates (CA:TRUE); a client's must not")
    purposes = there.get(x509.ExtendedKeyUsage)
    expect(bool(purposes), "it has no extendedKeyUsage, so it opens either door; did you give -extfile?")
    expect(
        list(purposes.value) == [ExtendedKeyUsageOID.CLIENT_AUTH] if purposes else False,
        "its extendedKeyUsage is not clientAuth alone; a client's profile is not the server's",
    )
    usage = there.get(x509.KeyUsage)
    expect(bool(usage and usage.value.digital_signature), "its keyUsage lacks digitalSignature")
    expect(x509.AuthorityKeyIdentifier in there, "a strict verifier misses the authorityKeyIdentifier")
    expect(x509.SubjectAlternativeName in there, "it has no subjectAltName, which cryptography wants")
    days = (alice.not_valid_after_utc - alice.not_valid_before_utc).days
    expect(days == 30, f"it is valid for {days} days, and 30 were asked for (-days)")
    return "a client's certificate and nothing else. -subj named Alice, -extfile said what she may do"


@checker('a dictionary with the keys "1.2" and "1.3", and a number for each')
def alert_numbers(answer: Any) -> str:
    """Judge the numbers of the alerts that a client without a certificate gets, by TLS version."""
    given = {str(version): int(number) for version, number in dict(answer).items()}
    expect(set(given) == {"1.2", "1.3"}, 'give both versions: {"1.2": …, "1.3": …}')
    expect(given != {"1.2": 116, "1.3": 40}, "the right numbers, the wrong way round")
    expect(48 not in given.values(), "48 is unknown_ca: did the server refuse a certificate, instead of none?")
    expect(given["1.3"] == 116, "under TLS 1.3 it is in the table above, in s_client's row")
    expect(given["1.2"] != 116, "116 is new in TLS 1.3 (RFC 8446 §6); TLS 1.2 has no alert for a missing certificate")
    expect(given["1.2"] == 40, "look for 'SSL alert number' in what s_client -tls1_2 writes to stderr")
    return "40, handshake_failure, tells the caller little; 116, certificate_required, tells the cause"


_SEVEN = {
    "cryptography": False,
    "Python, strict": False,
    "openssl, strict": False,
    "Python, not strict": True,
    "openssl": True,
    "Node.js": True,
    "curl": True,
}


@checker("a dictionary from each of the seven verifiers' names to True (accepts) or False, as verdicts() returns it")
def who_accepts_it(answer: Any) -> str:
    """Judge who accepts a server certificate that lacks nothing but its authorityKeyIdentifier."""
    given = dict(answer)
    expect(set(given) == set(_SEVEN), f"name the seven verifiers: {', '.join(_SEVEN)}")
    expect(all(isinstance(verdict, bool) for verdict in given.values()), "each verdict is True or False")
    expect(not all(given.values()), "that is the good certificate; is its authorityKeyIdentifier gone?")
    expect(any(given.values()), "somebody accepts it; was it shown with ca=, host= and the key that belong to it?")
    strict = [name for name, accepts in _SEVEN.items() if not accepts]
    expect(
        not any(given[name] for name in strict),
        "RFC 5280 §4.2.1.1 wants an authorityKeyIdentifier, and more verifiers than that insist on it",
    )
    expect(given == _SEVEN, "the chain can be built without it, and who is not strict does not miss it")
    return "only the three strict ones miss it, so a test with curl would not have found it"
