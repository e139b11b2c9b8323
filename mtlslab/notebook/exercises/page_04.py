"""The exercises of notebook 04, signing certificates."""

from __future__ import annotations

import copy
import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import (
    new_private_key,
)
from mtlslab.notebook.exercises.judges import checker, expect
from mtlslab.profiles import CLIENT, SERVER, Profile


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
