"""The exercises of notebook 06, requests with and without credentials."""

from __future__ import annotations

import os
import random
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509

from mtlslab import contexts
from mtlslab.authority import CertificateAuthority
from mtlslab.client import request
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import Credential, certificate_pem, read_certificates
from mtlslab.notebook.exercises.judges import Guarded, NotYet, checker, dial, expect, fresh_name
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.refusals import End, Refusal
from mtlslab.server import Server

__all__ = ["VAULT_TEXT", "both_at_fault", "open_vault", "vault", "who_refused"]

# --- who refused -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Failure:
    """A request that failed. Fields: `what`; `by`, who said no, None if nobody did; `error`, httpx's."""

    what: str
    by: End | None
    error: httpx.TransportError


@checker("a function that takes httpx's exception and returns 'client', 'server' or None")
def who_refused(answer: Any) -> str:
    """A function that tells from the exception alone who said no, tried on connections that have just failed."""
    tells = Guarded(answer, "your function")
    failed = 0
    with closing(_failures()) as failures:
        for failure in failures:
            failed += 1
            said = tells(failure.error)
            expect(
                said is None or (type(said) is str and said in ("client", "server")),
                f"your function returns {said!r}; 'client', 'server' or None is wanted",
            )
            expect(said == failure.by, f"{failure.what}: your function says {said!r}. {_HINTS[failure.by]}")
    return f"{failed} connections failed, and your function told each time whose no it was"


_HINTS: dict[End | None, str] = {
    "client": "This end judged a certificate: look for ssl.SSLCertVerificationError on the chain of causes",
    "server": "An alert came in: look for ALERT in the reason of an ssl.SSLError on the chain of causes",
    None: "No certificate was judged by this end, and no alert came: nobody has refused a certificate here",
}


@dataclass(frozen=True)
class _Way:
    """A way to fail. Fields: `what`; `by`; `server`, who is called, by URL; `client`, with which context."""

    what: str
    by: End | None
    server: AbstractContextManager[str]
    client: ssl.SSLContext


def _failures() -> Generator[_Failure, None, None]:
    """Fail in every way, in any order, on live servers; whoever has heard enough goes before the rest is tried."""
    ca, other = CertificateAuthority.create("example-ca"), CertificateAuthority.create("other-ca")
    with _serving(ca.issue("localhost", SERVER, names=["localhost"]), ca) as strict:
        ways = [*_client_says_no(ca, other), *_server_says_no(ca, other, strict), *_nobody_says_no(ca)]
        for way in random.sample(ways, len(ways)):
            with way.server as url:
                failure = _failed(way, url)
            yield failure


def _client_says_no(ca: CertificateAuthority, other: CertificateAuthority) -> Iterator[_Way]:
    client = _context(ca, ca.issue(fresh_name(), CLIENT))
    for what, shown in {
        "a server of an unknown CA": other.issue("localhost", SERVER, names=["localhost"]),
        "a server with another name": ca.issue("example.org", SERVER, names=["example.org"]),
        "a server whose certificate has expired": ca.issue("localhost", SERVER, names=["localhost"], **_last_year()),
        "a server that shows a client's certificate": ca.issue("localhost", CLIENT, names=["localhost"]),
    }.items():
        yield _Way(what, "client", _serving(shown, ca), client)


def _server_says_no(ca: CertificateAuthority, other: CertificateAuthority, strict: str) -> Iterator[_Way]:
    """With alerts of both versions, and with some that name no certificate."""
    for what, shown in {
        "a client without a certificate": None,
        "a client of an unknown CA": other.issue(fresh_name(), CLIENT),
        "a client whose certificate has expired": ca.issue(fresh_name(), CLIENT, **_last_year()),
        "a client that shows a server's certificate": ca.issue("localhost", SERVER, names=["localhost"]),
    }.items():
        for tls in contexts.TLS_VERSIONS:
            yield _Way(f"{what}, TLS {tls}", "server", nullcontext(strict), _context(ca, shown, tls))
    client = _context(ca, None)
    for name, code in _ALERTS.items():
        alert = _rude(_says(b"\x15\x03\x03\0\2\2" + bytes([code])))
        yield _Way(f"a server that says {name}", "server", alert, client)


def _nobody_says_no(ca: CertificateAuthority) -> Iterator[_Way]:
    client = _context(ca, ca.issue(fresh_name(), CLIENT))
    for what, answer in _RUDE.items():
        yield _Way(what, None, _rude(answer), client)
    yield _Way("a port where nobody listens", None, _deaf(), client)


def _last_year() -> dict[str, Any]:
    return {"not_before": datetime.now(UTC) - timedelta(days=400), "days": 30}


def _context(ca: CertificateAuthority, shown: Credential | None, tls_max: TLSVersion | None = None) -> ssl.SSLContext:
    context = contexts.common(ssl.PROTOCOL_TLS_CLIENT, tls_max)
    contexts.trust(context, [ca.certificate])
    if shown is not None:
        contexts.show(context, shown)
    return context


def _failed(way: _Way, url: str) -> _Failure:
    try:
        httpx.get(url, verify=way.client, trust_env=False, timeout=0.3 if way.what == _SILENT else 60)
    except httpx.TransportError as error:
        return _Failure(way.what, way.by, error.with_traceback(None))  # which leads to `by`
    raise AssertionError(f"{way.what}: the request succeeded")


_ALERTS = {"handshake_failure": 40, "access_denied": 49, "insufficient_security": 71, "internal_error": 80}
"""Some that name no certificate (RFC 8446/9846 §6.2)."""


def _says(words: bytes) -> Callable[[socket.socket], object]:
    return lambda caller: caller.sendall(words)


_SILENT = "a server that does not answer"
_RUDE: dict[str, Callable[[socket.socket], object]] = {
    "a server that hangs up without a word": lambda _: None,
    "a server that speaks HTTP without TLS": _says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    _SILENT: lambda caller: caller.recv(4096) and caller.recv(1),
}


@contextmanager
def _serving(shown: Credential, ca: CertificateAuthority) -> Iterator[str]:
    """Run a server that shows a certificate, and trusts the CA for clients."""
    with Server(shown, client_ca=ca.certificate, port=0) as server:
        yield server.url


@contextmanager
def _deaf() -> Iterator[str]:
    """Hold a port, and do not listen."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        yield f"https://localhost:{deaf.getsockname()[1]}"


@contextmanager
def _rude(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Listen, take one caller, hear it out, answer, hang up."""

    def serve() -> None:
        caller, _ = listener.accept()
        with caller:
            caller.settimeout(60)
            try:
                caller.recv(4096)
                answer(caller)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"https://localhost:{listener.getsockname()[1]}"


# --- both at fault ---------------------------------------------------------------------------------


@checker('a tuple of four, such as ("server", "unknown-ca", "unknown_ca", 56)')
def both_at_fault(answer: Any) -> str:
    """Predict (by, reason, alert, curl's code): TLS 1.3, an expired server certificate, a client that shows nothing."""
    expect(isinstance(answer, tuple | list) and len(answer) == 4, "the answer is a tuple of four")
    *words, code = answer
    expect(all(isinstance(word, str) for word in words), "the first three are text, as in the tables")
    number = isinstance(code, int) and type(code) is not bool
    expect(number, "the fourth is a number: what does curl return when curl itself is the one that refuses?")
    by, reason, alert = map(str.__str__, words)  # whatever a subclass says of itself
    refusal = _both_at_fault()
    order = "think of the order: whose certificate has crossed the wire when the other end decides what to send?"
    expect(by == refusal.by, order)
    what = f"the {refusal.by} says no; which word of the tables fits the certificate it has just been shown?"
    expect(reason == refusal.reason, what)
    told = "the alert tells the other end what was wrong with its certificate; look at the tables"
    expect(alert == refusal.alert, told)
    expect(
        int.__int__(code) == refusal.curl_exit_code, "what does curl return when curl itself is the one that refuses?"
    )
    return "the server's certificate comes first, so the client has refused before anybody misses a client certificate"


def _both_at_fault() -> Refusal:
    ca = CertificateAuthority.create("example-ca")
    begin = datetime.now(UTC) - timedelta(days=10)
    expired = ca.issue("localhost", SERVER, names=["localhost"], not_before=begin, days=1)
    with tempfile.TemporaryDirectory() as folder, Server(expired, client_ca=ca.certificate, port=0) as server:
        ca.save(folder)
        refusal = request(server.url, cacert=Path(folder, "ca.crt"), tls_max="1.3").refusal
    if refusal is None:
        raise AssertionError("a client accepted an expired server certificate")
    return refusal


# --- the vault -------------------------------------------------------------------------------------

VAULT_TEXT = "the vault is open\n"

_VAULTS: list[Server] = []
"""The vault that runs; a new one takes its place."""

_PLANS: list[tuple[Credential, x509.Certificate, x509.Certificate]] = []
"""What it was left with: what it shows, the CA of that, and the one that it believes of clients."""


def vault(folder: str | os.PathLike[str]) -> Server:
    """Start a server that a colleague left, and put its files into `folder`, together with some that do not fit.

    The vault that ran before, if any, is stopped.
    """
    while _VAULTS:
        _VAULTS.pop().stop()
    ours, theirs = CertificateAuthority.create("ca-a"), CertificateAuthority.create("ca-b")
    for name, authority, profile in (("alice", ours, CLIENT), ("bob", theirs, CLIENT), ("carol", theirs, SERVER)):
        authority.issue(name, profile, names=[f"{name}.example"]).save(folder, name, overwrite=True)
    for name, authority in (("ca-a", ours), ("ca-b", theirs)):
        Path(folder, f"{name}.crt").write_bytes(certificate_pem(authority.certificate))
    credential = ours.issue("localhost", SERVER, names=["localhost", "127.0.0.1", "::1"])
    _PLANS[:] = [(credential, ours.certificate, theirs.certificate)]
    _VAULTS.append(Server(credential, client_ca=theirs.certificate, app=lambda _: VAULT_TEXT, port=0).start())
    return _VAULTS[-1]


@checker("a dictionary of three files: cacert, cert and key")
def open_vault(answer: Any) -> str:
    """Bring the files that open the vault, which trusts one CA for clients and comes from another."""
    if not _VAULTS or not _VAULTS[-1].url:
        raise NotYet("there is no vault: run the cell above")
    credential, ours, theirs = _PLANS[-1]
    with Server(credential, client_ca=theirs, app=lambda _: VAULT_TEXT, port=0) as as_it_was_left:
        said = dial(as_it_was_left.url, answer)
    refusal = said.refusal
    if refusal is not None:
        expect(
            refusal.by == "server",
            f"the client refuses, with the reason {refusal.reason!r}; which CA issued the vault's own certificate?",
        )
        hints = {
            "no-client-certificate": "the vault wants to see a certificate: cert and key",
            "unknown-ca": "your cacert is right; the vault does not know the CA of the certificate you show",
            "wrong-purpose": "the vault knows this certificate's CA, but look at its extendedKeyUsage",
        }
        raise NotYet(hints.get(refusal.reason, f"the vault refuses, with the reason {refusal.reason!r}"))
    trusted = set(read_certificates(answer["cacert"]))
    expect(
        trusted == {ours},
        "it opens, but your client believes another CA as well: whoever holds the key of the other could pose as the "
        "vault. Which CA issued the vault's own certificate?",
    )
    return "each end trusts a CA of its own choice, and they need not be the same one"
