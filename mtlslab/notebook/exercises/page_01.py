"""The exercises of notebook 01, TLS basics."""

from __future__ import annotations

import contextlib
import os
import random
import re
import ssl
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import contexts, errors
from mtlslab.authority import CertificateAuthority
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import Credential, is_issued_by, read_certificates
from mtlslab.notebook.exercises.judges import Case, Guarded, NotYet, afresh, checker, expect, fresh_name, try_cases
from mtlslab.profiles import SERVER

__all__ = ["certificate_off_the_wire", "pem_by_hand", "proof_of_the_key"]

FIRST, LAST = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
SEQUENCE = b"\x30\x82"


@checker("a function that takes bytes and returns text")
def pem_by_hand(answer: Any) -> str:
    """Want a function that turns a certificate's DER into PEM, wrapped as RFC 7468 §2 says."""
    to_pem = Guarded(answer)
    for der in random.sample(certificates := [*_certificates_of_many_lengths()], len(certificates)):
        text = to_pem(der)
        expect(type(text) is not bytes, "it returns bytes, and a PEM file is text: b64encode(...).decode()")
        expect(type(text) is str, f"it returns {type(text).__name__}; let it return the text of a PEM file, a str")
        lines, right = re.split(r"\r\n|\r|\n", text.rstrip("\r\n")), ssl.DER_cert_to_PEM_cert(der).splitlines()
        expect(lines[:1] == [FIRST], f"the first line says what follows: {FIRST}")
        expect(lines[-1:] == [LAST], f"the last line is a line of its own: {LAST}")
        expect(
            [len(line) for line in lines] == [len(line) for line in right],
            f"for {len(der)} bytes its lines are {[len(line) for line in lines[1:-1]]} characters long; a strict "
            "parser wants 64 in each but the last, and none empty (RFC 7468 §2)",
        )
        expect(lines == right, "between the two lines is another certificate than the one that it was given")
    return "certificates of every length came back from your PEM, bit for bit"


def _certificates_of_many_lengths() -> Iterator[bytes]:
    """Make certificates of every length modulo 48: that many bytes fill a line of base64."""
    ca = CertificateAuthority.create("example-ca", key_type="ed25519")  # its signatures are all of one length
    for length in range(1, 49):
        name = "".join(random.choices("abcdefghij", k=length))
        yield ca.issue(name, SERVER, names=["localhost"]).certificate.public_bytes(Encoding.DER)


@checker("a function that takes bytes and returns bytes or None")
def certificate_off_the_wire(answer: Any) -> str:
    """Want a function that finds the server's certificate in what crossed the wire to the client, if it is there."""
    try_cases(answer, _wires)
    return (
        "you read who the servers are, without being asked in. TLS 1.2 sends the certificate before the encryption "
        "begins (RFC 5246 §7.3), TLS 1.3 after (RFC 8446/9846 §2)"
    )


def _wires() -> Iterator[Case]:
    ca = CertificateAuthority.create("example-ca")
    below = ca.create_issuing_ca(fresh_name())
    servers = {
        "an EC server": ca.issue(fresh_name(), SERVER, names=["localhost"]),
        "an RSA server": ca.issue(fresh_name(), SERVER, names=["localhost"], key_type="rsa-2048"),
        "an issuing CA's server": below.issue(fresh_name(), SERVER, names=["localhost"]),
    }
    for what, server in servers.items():
        for version in contexts.TLS_VERSIONS:
            der = server.certificate.public_bytes(Encoding.DER) if version == "1.2" else None
            lets = "the server's own certificate is there, the first of those that it sends, from 30 82 to its end"
            if der is None:
                lets = "what was taken for a certificate is encrypted, and there is None to be found"
            yield Case(f"{what} that speaks TLS {version}", der, lets, (_overheard(server, ca, version),))


def _overheard(shown: Credential, ca: CertificateAuthority, tls_max: TLSVersion) -> bytes:
    """Shake hands in memory, and return all that went to the client: 30 82 is in it for certificates alone."""
    while True:
        client, to_client = contexts.common(ssl.PROTOCOL_TLS_CLIENT, tls_max), ssl.MemoryBIO()
        contexts.trust(client, [ca.certificate])
        context = contexts.server_context(shown, client_auth="none")
        to_server, from_server, wire = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
        ends = [
            client.wrap_bio(to_client, to_server, server_hostname="localhost"),
            context.wrap_bio(to_server, from_server, server_side=True),
        ]
        for end in ends * 3:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            heard = from_server.read()
            to_client.write(heard)
            wire += heard
        sent = len(shown.chain) + 1 if tls_max == "1.2" else 0
        certificates = [one.public_bytes(Encoding.DER) for one in (shown.certificate, *shown.chain)]
        rest = wire
        for der in certificates[:sent]:
            rest = rest.replace(der, b"")
        if SEQUENCE not in rest:  # one handshake in some hundreds has it among its random bytes
            return wire


@checker("a function that takes bytes and returns bytes")
def proof_of_the_key(answer: Any) -> str:
    """Want a function that signs any challenge with the private key of lab-01/server.crt."""
    try:
        certificate, ca = (read_certificates(f"lab-01/{name}.crt")[0] for name in ("server", "ca"))
    except errors.MtlslabError as error:
        raise NotYet(f"the checker was shown no certificate yet ({error}); run the cells above first") from None
    expect(
        is_issued_by(certificate, ca), "example-ca did not sign this server.crt: who believes it? Run the cells again"
    )
    prove, public_key = Guarded(answer), certificate.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    challenges = [*_challenges()]
    for challenge in (b"", *random.sample(challenges, len(challenges)), *challenges[:3]):
        signature = prove(afresh(challenge))
        expect(
            type(signature) is bytes, f"it returns {type(signature).__name__}; let it return what sign returns, bytes"
        )
        try:
            public_key.verify(signature, challenge, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise NotYet(_why_not(signature, challenge, challenges, certificate)) from None
    return f"only the holder of the private key of {certificate.subject.rfc4514_string()} could sign all of these"


def _challenges() -> Iterator[bytes]:
    """Yield bytes that nobody could foresee: some as long as a digest, some long and nearly alike, some with an end
    that programs which take them for text would drop or change.
    """
    for length in (1, 32, 48, 64, 300):
        yield os.urandom(length)
    for end in (b"\0", b" ", b"\n", b"\r\n"):
        yield end + os.urandom(20) + end + os.urandom(20) + end
    long = os.urandom(100_000)
    yield from (long, long[:-1] + bytes([long[-1] ^ 1]), bytes([long[0] ^ 1]) + long[1:])


def _why_not(signature: bytes, challenge: bytes, challenges: list[bytes], certificate: x509.Certificate) -> str:
    keys = [(certificate, "is for another challenge: a signature that was overheard would do")]
    keys += [
        (ca, "was made with the CA's key: the server's own is wanted") for ca in read_certificates("lab-01/ca.crt")
    ]
    for shown, why in keys:
        key = shown.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for signed in {b"", challenge, *challenges}:
            try:
                key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return f"this signature {why}"
    return (
        "the public key in server.crt does not verify this: anybody could have made it. Sign the challenge as it is, "
        "with the key in lab-01/server.key and ECDSA with SHA-256"
    )
