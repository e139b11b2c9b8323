"""The exercises of notebook 03, certificate signing request."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import general_name, new_csr, new_private_key, signature_hash
from mtlslab.notebook.exercises.judges import Case, Guarded, NotYet, afresh, checker, expect, fresh_name, try_cases
from mtlslab.profiles import CLIENT

__all__ = ["front_desk", "steal_a_public_key"]


@checker("a function that takes a CSR as DER, and a set of names, and returns True or False")
def front_desk(answer: Any) -> str:
    """Want a function that says which requests a CA may sign for who has shown to hold some names."""
    try_cases(answer, _requests)
    return "who asks gets a certificate for a key and for names that are theirs, and for nothing else"


def _requests() -> Iterator[Case]:
    host, last = f"{fresh_name()}.example", random.randrange(1, 255)
    address = f"192.0.2.{last}"
    uri, other = f"spiffe://example/{fresh_name()}", f"{fresh_name()}.example"
    long_address = f"2001:db8::{random.randrange(1, 9999):x}"
    own, key = {host, address, uri, long_address}, new_private_key()

    def signed(
        common_name: str | None, *names: str | x509.GeneralName, second: str | None = None, empty: bool = False
    ) -> bytes:
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in (common_name, second) if name]
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
        if names or empty:
            san = [general_name(name) if isinstance(name, str) else name for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        return builder.sign(key, signature_hash(key)).public_bytes(Encoding.DER)

    honest = signed(host, host, address)
    used = "its owner would wait in vain"
    for what, der in {
        "an honest request": honest,
        "a request without a common name": signed(None, host),
        "a request for its IPv4 address": signed(None, address),
        "a request for its IPv6 address": signed(None, long_address),
        "a request for its URI": signed(None, uri),
        "a request for all its names": signed(host, *own),
        "a request for an RSA key": new_csr(new_private_key("rsa-2048"), host, [host]).public_bytes(Encoding.DER),
        "a request for an Ed25519 key": new_csr(new_private_key("ed25519"), host, [address]).public_bytes(Encoding.DER),
    }.items():
        yield Case(what, True, used, (der, set(own)))
    greedy = (*_greedy(signed, host, other), *_near_misses(signed, host, last))
    for what, der, lets in (*greedy, *_spoilt(honest, host), *_of_other_kinds(signed, host, address, uri)):
        yield Case(what, False, lets, (der, set(own)))


def _greedy(signed: Any, host: str, other: str) -> Iterator[tuple[str, bytes, str]]:
    posed = f"its owner could pose as {other}"
    yield "a request for somebody else", signed(other, other), posed
    yield "a request with somebody else in its SAN", signed(host, host, other), posed
    yield "a request with somebody else first in its SAN", signed(host, other, host), posed
    yield (
        "a request with somebody else as its common name",
        signed(other, host),
        "programs that read the common name believe it",
    )
    yield (
        "a request with a second common name",
        signed(host, host, second=other),
        "some programs read the last of two names",
    )
    yield (
        "a request for a wildcard",
        signed(host, "*.example.com"),
        "its owner could pose as every host below example.com",
    )
    yield "a request for another address", signed(host, host, "203.0.113.9"), "its owner could pose as another machine"
    longer = f"{host}.example.com"
    yield "a request for a longer name", signed(host, longer), f"{longer} begins with the name, and belongs to others"
    yield (
        "a request for a mailbox",
        signed(host, host, x509.RFC822Name("boss@example.com")),
        "its owner could sign the boss's mail",
    )
    person = x509.DirectoryName(x509.Name.from_rfc4514_string("CN=director"))
    yield "a request for a person", signed(host, host, person), "its owner could pose as the director"
    yield (
        "a request without a SAN",
        signed(host),
        "the common name would have to stand in for it: clients refuse that, or should",
    )


def _near_misses(signed: Any, host: str, own_address: int) -> Iterator[tuple[str, bytes, str]]:
    for what, name in {
        "a name below": f"www.{host}",
        "a part of the name": host.partition(".")[2],
        "a neighbour's address": f"192.0.2.{own_address % 254 + 1}",
        "another URI": f"spiffe://example/{fresh_name()}",
    }.items():
        yield f"a request for {what}", signed(host, host, name), f"its owner could pose as {name}"
    rare = x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4"))
    yield (
        "a request for a name of a rare kind",
        signed(host, host, rare),
        "you would sign what nobody has shown to hold",
    )
    director = "programs that read the common name believe it"
    yield "a request with a person as its common name", signed("director", host), director


def _of_other_kinds(signed: Any, host: str, address: str, uri: str) -> Iterator[tuple[str, bytes, str]]:
    lets = "it was not shown as a name of that kind, and programs take it for another thing"
    for what, name in {
        "a mailbox that reads like its host": x509.RFC822Name(host),
        "a URI that reads like its host": x509.UniformResourceIdentifier(host),
        "a DNS name that reads like its IPv4 address": x509.DNSName(address),
        "a DNS name that reads like its URI": x509.DNSName(uri),
        "a URI that reads like its IPv4 address": x509.UniformResourceIdentifier(address),
    }.items():
        yield f"a request for {what}", signed(host, host, name), lets
    yield "a request with an empty subjectAltName", signed(host, empty=True), "it would name nobody"


def _spoilt(honest: bytes, host: str) -> Iterator[tuple[str, bytes, str]]:
    mallory = new_private_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    csr = x509.load_der_x509_csr(honest)
    theirs = csr.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    stolen = "whoever sits on the way could put a key of their own into it"
    yield "a request with Mallory's public key in it", honest.replace(theirs, mallory), stolen
    yield (
        "a request with a bit of its signature flipped",
        honest[:-1] + bytes([honest[-1] ^ 1]),
        "nobody has shown to hold the key",
    )
    renamed = honest.replace(host[:6].encode(), host[:5].encode() + bytes([host.encode()[5] ^ 1]))
    rsa = new_csr(new_private_key("rsa-2048"), host, [host]).public_bytes(Encoding.DER)
    flipped = rsa[:-1] + bytes([rsa[-1] ^ 1])
    yield "an RSA request with a bit of its signature flipped", flipped, "nobody has shown to hold the key"
    yield "a request with a letter changed", renamed, "it is not what its owner signed"
    off_the_curve = theirs[:-1] + bytes([theirs[-1] ^ 1])
    yield "a request whose key is none", honest.replace(theirs, off_the_curve), "there is no key in it to certify"
    yield "a request cut short", honest[:-1], "nobody can say what it asked for"
    yield (
        "a certificate",
        CertificateAuthority.create(host).certificate.public_bytes(Encoding.DER),
        "that is no request",
    )
    yield "nothing at all", b"", "that is no request"
    x400 = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3002a300"))
    odd, key = x509.CertificateSigningRequestBuilder().subject_name(csr.subject), new_private_key()
    der = odd.add_extension(x400, critical=False).sign(key, signature_hash(key)).public_bytes(Encoding.DER)
    yield "a request for a name of a kind that the library cannot read", der, "nobody can say what it asked for"


@checker("a function that takes a CSR and returns a CSR")
def steal_a_public_key(answer: Any) -> str:
    """Want a function that puts the public key of a CSR under the name mallory, in a form that parses."""
    forge, ca, refused = Guarded(answer), CertificateAuthority.create("example-ca"), ""
    for victims in _victims():
        forged = forge(afresh(victims))
        if type(forged) is not x509.CertificateSigningRequest:
            raise NotYet(f"it returned {type(forged).__name__}; let it return what x509.load_der_x509_csr returns")
        names = forged.subject.rfc4514_string()
        expect(names == "CN=mallory", f"it names {names or 'nobody'}; the theft is to be in the name of mallory")
        try:
            stolen = forged.public_key()
        except ValueError:
            raise NotYet("it parses, but its public key cannot be read; swap the whole SubjectPublicKeyInfo") from None
        expect(stolen == victims.public_key(), "it holds another public key than the CSR that it was given")
        try:
            ca.sign(forged, CLIENT)
        except errors.CSRRefused as error:
            refused = error.reason
        else:
            raise NotYet("the CA signed it, which should be impossible; please report this")
    return (
        f"they parse, they name mallory, they hold the victims' public keys, and the CA refuses them: {refused}. "
        "Mallory cannot sign with a key that she has only seen"
    )


def _victims() -> list[x509.CertificateSigningRequest]:
    """Make requests of several lengths, with a SAN and without, in any order, and one or two of them twice."""
    names = [fresh_name() for _ in range(3)] + [fresh_name() * 3, "x"]
    sans: list[list[str]] = [[], [], ["a.example"], ["b.example", "192.0.2.7"], ["spiffe://example/c"]]
    made = [new_csr(new_private_key(), name, san) for name, san in zip(names, random.sample(sans, 5), strict=True)]
    return random.sample(made, 5) + made[: random.randrange(1, 3)]
