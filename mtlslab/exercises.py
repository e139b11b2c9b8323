"""The checkers of *Your turn*.

A checker takes the reader's answer and says "Not attempted yet", "Not yet: <a hint>" or "Correct: <why>". It
never raises, whatever it is given. Each is a function that raises `NotYet` with a hint, or returns why the answer is
right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import PurePath
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mtlslab.client import Answer


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


# --- 03 certificate signing request ---------------------------------------------------------------


# --- 04 signing certificates ----------------------------------------------------------------------


# --- 05 mutual TLS server -------------------------------------------------------------------------


# --- 06 requests with and without credentials -----------------------------------------------------


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


# --- 09 openssl, node and curl --------------------------------------------------------------------
