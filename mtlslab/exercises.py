"""The checkers of *Your turn*.

A checker takes the reader's answer and says "Not attempted yet", "Not yet: <a hint>" or "Correct: <why>". It
never raises, whatever it is given. Each is a function that raises `NotYet` with a hint, or returns why the answer is
right.
"""

from __future__ import annotations

import copy
import inspect
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import wraps
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import new_private_key
from mtlslab.profiles import CLIENT, SERVER, Profile
from mtlslab.server import Reply, Request


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


# --- 01 TLS basics --------------------------------------------------------------------------------


# --- 02 certificate authority ---------------------------------------------------------------------


# --- 03 certificate signing request ---------------------------------------------------------------


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
        "anyExtendedKeyUsage is every purpose there is, code signing too; name the two that are meant",
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


# --- 07 inside the handshake ----------------------------------------------------------------------


# --- 08 when mutual TLS says no -------------------------------------------------------------------


# --- 09 openssl, node and curl --------------------------------------------------------------------
