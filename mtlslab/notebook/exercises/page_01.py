"""The exercises of notebook 01, TLS basics."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mtlslab.notebook.exercises.judges import NotYet, checker, expect

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
        "the encryption begins (RFC 5246 §7.3), TLS 1.3 after (RFC 8446/9846 §2)"
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
