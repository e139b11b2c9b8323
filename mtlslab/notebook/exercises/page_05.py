"""The exercises of notebook 05, mutual TLS server."""

from __future__ import annotations

import ssl
from email.message import Message
from typing import Any

from cryptography import x509

from mtlslab.authority import CertificateAuthority
from mtlslab.notebook.exercises.judges import checker, expect
from mtlslab.profiles import CLIENT
from mtlslab.server import Reply, Request


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
