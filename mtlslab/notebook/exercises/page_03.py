"""The exercises of notebook 03, certificate signing request."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import (
    general_name,
    new_csr,
    new_private_key,
    weakness,
)
from mtlslab.notebook.exercises.judges import NotYet, checker, expect
from mtlslab.profiles import CLIENT

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
    san = next((e.value for e in answer.extensions if isinstance(e.value, x509.SubjectAlternativeName)), None)
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
