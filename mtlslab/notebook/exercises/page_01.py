"""The exercises of notebook 01, TLS basics."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import re
import ssl
import threading
from collections.abc import Iterator
from types import FrameType
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
from mtlslab.faults.minting import altered
from mtlslab.notebook.exercises.judges import Case, Guarded, NotYet, afresh, checker, expect, fresh_name, try_cases
from mtlslab.profiles import SERVER

__all__ = ["certificate_off_the_wire", "pem_by_hand", "proof_of_the_key"]

FIRST, LAST = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@checker("a function that takes bytes and returns text")
def pem_by_hand(answer: Any) -> str:
    """Want a function that turns a certificate's DER into PEM by hand, wrapped as RFC 7468 §2 says."""
    to_pem = Guarded(answer)
    for der in _certificates_of_many_lengths():
        text = _by_hand(to_pem, der)
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


_KNOW_PEM = ("load_der_x509_certificate", "public_bytes", "system")


def _by_hand(to_pem: Guarded, der: bytes) -> Any:
    """Call the reader's function, and raise `NotYet` if it leaves the work to a library that knows PEM."""
    left_to: list[str] = []

    def note(frame: FrameType, event: str, called: Any) -> None:
        module, name = str(frame.f_globals.get("__name__")), frame.f_code.co_name
        if event == "call" and module in ("ssl", "subprocess"):
            left_to.append(f"{module}.{name}")
        elif event == "c_call" and getattr(called, "__name__", "") in _KNOW_PEM:
            left_to.append(called.__name__)

    before, collects = threading.getprofile(), gc.isenabled()
    threading.setprofile(note)  # of the thread in which it is called
    gc.disable()  # or the end of somebody else's subprocess.Popen might fall into this call
    try:
        text = to_pem(der)
    finally:
        threading.setprofile(before)
        if collects:
            gc.enable()
    expect(
        not left_to, f"{''.join(left_to[:1])} does the work: build the text yourself, with base64 and string methods"
    )
    return text


def _certificates_of_many_lengths() -> Iterator[bytes]:
    """Make certificates of every length modulo 48, in any order: that many bytes fill a line of base64."""
    ca = CertificateAuthority.create("example-ca", key_type="ed25519")  # its signatures are all of one length
    for length in random.sample(range(1, 49), 48):
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
    longer = x509.IssuerAlternativeName([x509.DNSName(f"{'a' * 60}.example")])
    below.chain = (altered(below.certificate, ca.private_key, put=[(longer, False)]),)  # longer than a server's
    servers = {
        "an EC server": ca.issue(fresh_name(), SERVER, names=["localhost"]),
        "an RSA server": ca.issue(fresh_name(), SERVER, names=["localhost"], key_type="rsa-2048"),
        "an issuing CA's server": below.issue(fresh_name(), SERVER, names=["localhost"]),
    }
    for what, server in servers.items():
        for version in contexts.TLS_VERSIONS:
            der = server.certificate.public_bytes(Encoding.DER) if version == "1.2" else None
            lets = (
                "its own certificate is there, the first that it sends, from 30 82 to its end; other 30 82 are chance"
            )
            if der is None:
                lets = "its certificate is encrypted, and what looks like one is chance"
            wire = _by_chance(_overheard(server, ca, version), as_message=what == "an RSA server")
            yield Case(f"{what} that speaks TLS {version}", der, lets, (wire,))
    for what, wire in {
        "that refuses": b"\x15\x03\x03\x00\x02\x02\x28",
        "that speaks HTTP": b"HTTP/1.1 400\r\n\r\n",
    }.items():
        yield Case(f"a server {what}", None, "it sent no certificate", (wire,))


def _by_chance(wire: bytes, *, as_message: bool) -> bytes:
    """Write bytes that look like a certificate's first, or like the message's, where random ones are.

    Those are ServerHello's random, but for its end, which may speak of a downgrade (RFC 8446 §4.1.3/9846 §4.2.3), and
    the last message, which is encrypted.
    """
    length = random.choice((200, 700, 5000)).to_bytes(2)
    looks = b"\x30\x82" + length + b"\x30\x82" + os.urandom(2) + b"\xa0\x03\x02\x01\x02"
    if as_message:
        looks = b"\x0b\0" + length + b"\0" + length + b"\0" + length + looks[:4]
    random_at = 5 + 4 + 2  # behind the heads of record and message, and the version
    at = random.randrange(random_at, random_at + 24 - len(looks))
    changed = bytearray(wire)
    changed[at : at + len(looks)] = changed[-20 : len(looks) - 20] = looks
    return bytes(changed)


def _overheard(shown: Credential, ca: CertificateAuthority, tls_max: TLSVersion) -> bytes:
    """Shake hands in memory, and return all that went to the client."""
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
