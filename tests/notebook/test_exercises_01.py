"""The checkers of notebook 01 turn wrong answers down, each with the hint that helps."""

import ssl
from base64 import b64encode
from textwrap import wrap
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import CertificateAuthority, Credential
from mtlslab.contexts import server_context
from mtlslab.credentials import certificate_pem
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, SERVER

OTHERS: list[Any] = [
    0,
    1.5,
    True,
    object(),
    [None],
    {"a": 1},
    (),
    (1,),
    (1, 2, 3),
    "",
    "no",
    b"",
    b"\x16",
    lambda: None,
]
ECDSA = ec.ECDSA(hashes.SHA256())
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

ca = CertificateAuthority.create("example-ca")
server = ca.issue("localhost", SERVER, names=["localhost"])
alice = ca.issue("Alice", CLIENT)


def key_of(credential: Credential) -> ec.EllipticCurvePrivateKey:
    assert isinstance(credential.private_key, ec.EllipticCurvePrivateKey)
    return credential.private_key


# A certificate wrapped by hand


def pem(certificate: x509.Certificate, width: int = 64) -> str:
    lines = wrap(b64encode(certificate.public_bytes(Encoding.DER)).decode(), width)
    return "\n".join([BEGIN, *lines, END, ""])


def test_pem_made_by_hand_is_what_the_library_writes() -> None:
    """The right answer is accepted with and without the last newline, and is no other text than cryptography's."""
    assert pem(alice.certificate) == certificate_pem(alice.certificate).decode()
    assert exercises.pem_by_hand(pem(alice.certificate)).correct
    assert exercises.pem_by_hand(pem(alice.certificate).rstrip()).correct


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (certificate_pem(alice.certificate), "that is bytes"),
        (alice.certificate, "the text of a PEM file"),
        (pem(server.certificate), "the certificate of CN=localhost"),
        (pem(alice.certificate, 10_000), "exactly 64 characters"),
        (pem(alice.certificate, 76), "exactly 64 characters"),
        (pem(alice.certificate).replace(BEGIN + "\n", ""), "the first line"),
        (pem(alice.certificate).replace("CERTIFICATE", "ALICE"), "the first line"),
        (pem(alice.certificate).replace("\n" + END, END), "the last line"),
        (pem(alice.certificate).replace(BEGIN, BEGIN + "\n" + "MIIB" * 16), "no certificate"),
        (f"{BEGIN}\nhello\n{END}\n", "no certificate"),
    ],
)
def test_another_wrapping_is_turned_down(answer: Any, hint: str) -> None:
    """Each slip of the wrapping, and the wrong certificate, has its hint."""
    feedback = exercises.pem_by_hand(answer)
    assert feedback.correct is False
    assert hint in feedback.text


# What TLS 1.2 lets slip


def wire(version: ssl.TLSVersion) -> tuple[bytes, bytes]:
    """Return what crosses the wire in a handshake of one version, to the server and to the client."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=certificate_pem(ca.certificate).decode())
    client.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server_context(server, client_auth="none").wrap_bio(to_server, to_client, server_side=True),
    ]
    crossed = [b"", b""]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
            bio, which = (to_server, 0) if end.server_side is False else (to_client, 1)
            sent = bio.read()
            crossed[which] += sent
            bio.write(sent)
    return crossed[0], crossed[1]


def test_the_certificate_is_read_off_a_wire_of_tls_1_2() -> None:
    """The checker finds whose certificate crossed in clear, so it has really looked."""
    feedback = exercises.wire_of_tls12(wire(ssl.TLSVersion.TLSv1_2)[1])
    assert feedback.correct
    assert "CN=localhost" in feedback.text


def test_another_wire_is_turned_down() -> None:
    """TLS 1.3, the other direction, both directions, HTTP and the head alone: each has its hint."""
    older, newer = wire(ssl.TLSVersion.TLSv1_2), wire(ssl.TLSVersion.TLSv1_3)
    for answer, hint in [
        (newer[1], "this is TLS 1.3"),
        (older[0], "what went to the server"),
        (newer[0], "what went to the server"),
        (older, "the second part of wire.result()"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "give overhear both contexts"),
        (older[1][5:], "uncut"),
        (certificate_pem(server.certificate), "uncut"),
        (older[1][:200], "Not yet: the answer is"),
    ]:
        feedback = exercises.wire_of_tls12(answer)
        assert feedback.correct is False
        assert hint in feedback.text


# A key proved


def test_the_holder_of_the_key_is_believed() -> None:
    """The challenge signed with the certificate's own key is the proof."""
    answer = server.certificate, key_of(server).sign(exercises.CHALLENGE, ECDSA)
    assert exercises.proof_of_the_key(answer).correct


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((server.certificate, key_of(alice).sign(exercises.CHALLENGE, ECDSA)), "with the key in lab-01/server.key"),
        ((server.certificate, key_of(server).sign(b"something else", ECDSA)), "sign exercises.CHALLENGE as it is"),
        ((server.certificate, key_of(server).sign(exercises.CHALLENGE, ec.ECDSA(hashes.SHA384()))), "SHA-256"),
        ((server.certificate, server.certificate.signature), "sign exercises.CHALLENGE"),
        ((server.certificate, exercises.CHALLENGE), "sign exercises.CHALLENGE"),
        ((alice.certificate, key_of(alice).sign(exercises.CHALLENGE, ECDSA)), "you are the server"),
        ((server.private_key, b""), "the first of the pair"),
        ((server.certificate, "signed"), "the second of the pair"),
        (server.certificate, "the pair (certificate, signature)"),
    ],
)
def test_an_impostor_is_not_believed(answer: Any, hint: str) -> None:
    """Another key, another message, another hash, a copied signature: none of them proves the key."""
    feedback = exercises.proof_of_the_key(answer)
    assert feedback.correct is False
    assert hint in feedback.text


@pytest.mark.parametrize("check", [exercises.pem_by_hand, exercises.wire_of_tls12, exercises.proof_of_the_key])
def test_no_answer_is_not_attempted_and_another_type_gets_a_hint(check: Any) -> None:
    """None is no attempt, and nothing whatever makes a checker raise."""
    assert check(None).text.startswith("Not attempted yet")
    for other in OTHERS:
        assert check(other).text.startswith("Not yet: "), other
