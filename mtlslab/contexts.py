"""The two SSL contexts of mutual TLS, side by side: versions, suites, flags, trust, revocation.

What both ends share is in `common`; the client's and the server's differ in who is asked for what. Every context of
this package is made here.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from cryptography import x509

from mtlslab import credentials, errors
from mtlslab.credentials import Credential, FilePath, certificate_pem, private_key_pem

TLSVersion = Literal["1.2", "1.3"]
ClientAuth = Literal["required", "optional", "none"]

TLS_VERSIONS: dict[TLSVersion, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY_MODES = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}

VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
"""What `ssl.create_default_context` sets from Python 3.13 on, set here on every Python: the same verdict everywhere."""

TLS12_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 with what TLS 1.3 insists on: ephemeral keys and AEAD (RFC 9325 §4.2). TLS 1.3 has suites of its own."""


def common(protocol: int, tls_max: TLSVersion | None = None) -> ssl.SSLContext:
    """Make what both contexts begin with. Raises `errors.OptionRefused` for a version other than "1.2" or "1.3"."""
    if tls_max is not None and tls_max not in TLS_VERSIONS:
        raise errors.OptionRefused("tls_max", f"{tls_max!r} is not one of {', '.join(map(repr, TLS_VERSIONS))}")
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls_max is not None:
        context.maximum_version = TLS_VERSIONS[tls_max]
    context.set_ciphers(TLS12_SUITES)
    context.verify_flags |= VERIFY_FLAGS
    return context


def client_context(
    *,
    cacert: FilePath | None = None,
    cert: FilePath | None = None,
    key: FilePath | None = None,
    tls_max: TLSVersion | None = None,
    password: str | None = None,
) -> ssl.SSLContext:
    """Make the `ssl.SSLContext` of a client that verifies the server, strictly, and may show a certificate of its own.

    `cacert`, `cert` and `key` are PEM files as in curl: the CAs to trust (default: the system's), the client's
    certificate with its chain, its private key (default: looked for in `cert`). An encrypted key needs `password`.
    Raises `errors.FileRefused`, `errors.KeyMismatch`, `errors.OptionRefused`.
    """
    if key is not None and cert is None:
        raise errors.OptionRefused("key", "a key without a certificate proves nothing; give cert= as well")
    context = common(ssl.PROTOCOL_TLS_CLIENT, tls_max)  # verifies chain and host name: CERT_REQUIRED, check_hostname
    if cacert is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        trusted = credentials.read_certificates(cacert)  # ours says what is wrong with a file; OpenSSL's error does not
        with _refused_by_openssl(cacert, "leave out the certificate that it stops at"):
            trust(context, trusted)
    if cert is not None:
        credential = credentials.read_credential(cert, key or cert, password=password)
        with _refused_by_openssl(cert, "have it issued again, and save it as plain PEM"):
            show(context, credential)
    return context


def server_context(
    credential: Credential,
    *,
    client_ca: x509.Certificate | Iterable[x509.Certificate] | None = None,
    client_auth: ClientAuth = "required",
    crls: Iterable[x509.CertificateRevocationList] = (),
    tickets: bool = False,
) -> ssl.SSLContext:
    """Make the `ssl.SSLContext` of a server that shows `credential` and asks for certificates issued by `client_ca`.

    `client_auth` says what becomes of a caller without one: "required" refuses it, "optional" lets it in; with "none"
    nobody is asked. A certificate that is shown must verify in any case; with `crls`, no certificate of its chain may
    stand on its issuer's list, and each issuer's list must be there (RFC 5280 §6.3). Without `tickets` no session is
    resumed under TLS 1.3: a resumption skips the certificates. Raises `errors.OptionRefused`, `errors.KeyMismatch`.
    """
    if client_auth not in VERIFY_MODES:
        raise errors.OptionRefused("client_auth", f"{client_auth!r} is not one of {', '.join(map(repr, VERIFY_MODES))}")
    if client_ca is None and client_auth != "none":
        raise errors.OptionRefused("client_ca", f"client_auth={client_auth!r} needs the CA of their certificates")
    if not isinstance(credential, Credential):
        raise errors.OptionRefused("credential", f"{credential!r} is not a Credential, such as ca.issue returns")
    context = common(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = VERIFY_MODES[client_auth]
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    with _refused_by_openssl(None, "have it issued again"):
        show(context, credential)
    if client_ca is not None:
        trust(context, all_of("client_ca", client_ca, x509.Certificate))
    hold_against(context, crls)
    return context


# --- terms that change ----------------------------------------------------------------------------


class Terms:
    """On which terms callers are let in: the context of the next handshake, and how to make the one after it."""

    def __init__(self, tune: Callable[[ssl.SSLContext], None] | None, **terms: Any) -> None:
        self._lock = threading.Lock()
        self._tune = tune or (lambda _: None)
        self._terms: dict[str, Any] = {}
        self.change(**terms)

    def change(self, **terms: Any) -> None:
        """Make one whole new context, then put it in the old one's place: all of a change, or nothing of it.

        A context in use is never changed: a pair that is loaded into it by halves would break every handshake, and a
        CA cannot be taken away again.
        """
        with self._lock:
            if isinstance(terms.get("crls"), Iterable):
                terms["crls"] = tuple(terms["crls"])  # it will be read more than once
            changed = self._terms | terms
            self._context = self._new_context(changed)
            self._terms = changed

    def _new_context(self, terms: dict[str, Any]) -> ssl.SSLContext:
        context = server_context(**terms)
        self._tune(context)
        return context

    def next_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake: one that remembers no session.

        TLS 1.2 resumes by session id (RFC 5246 §7.3), and the ssl module cannot turn that off. So a context that keeps
        a session has made its last handshake.
        """
        with self._lock:
            if self._context.session_stats()["number"]:
                self._context = self._new_context(self._terms)
            return self._context


# --- what a context shows, trusts and holds others against ------------------------------------------


def show(context: ssl.SSLContext, credential: Credential, key_pem: bytes | None = None) -> None:
    """Have a context show a credential, chain and all. `key_pem` takes the place of its private key.

    Raises `errors.KeyMismatch`, or the `ssl.SSLError` of a certificate that OpenSSL does not take.
    """
    if key_pem is None:
        if credential.certificate.public_key() != credential.private_key.public_key():
            raise errors.KeyMismatch(f"the private key does not belong to the certificate of {credential!r}")
        key_pem = private_key_pem(credential.private_key)
    with _file(key_pem + b"".join(map(certificate_pem, (credential.certificate, *credential.chain)))) as path:
        context.load_cert_chain(path)


def trust(context: ssl.SSLContext, certificates: Iterable[x509.Certificate]) -> None:
    """Have a context trust these CAs, beside those it trusts already: none can be taken away again."""
    context.load_verify_locations(cadata=b"".join(map(certificate_pem, certificates)).decode())


def hold_against(context: ssl.SSLContext, crls: Iterable[x509.CertificateRevocationList]) -> None:
    """Have a context refuse what stands on a revocation list, and whoever's list is missing. No lists: no check."""
    if lists := all_of("crls", crls, x509.CertificateRevocationList, at_least=0):
        with _file(b"".join(map(certificate_pem, lists))) as path:
            context.load_verify_locations(path)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


_Kind = TypeVar("_Kind")


def all_of(option: str, given: Any, kind: type[_Kind], at_least: int = 1) -> list[_Kind]:
    """Return one thing, or some, as a list. Raises `errors.OptionRefused`, naming the option."""
    listed: list[_Kind] = [given] if isinstance(given, kind) or not isinstance(given, Iterable) else list(given)
    if len(listed) < at_least or not all(isinstance(one, kind) for one in listed):
        raise errors.OptionRefused(option, f"{given!r} is not an x509.{kind.__name__}, nor a list of some")
    return listed


@contextmanager
def _file(data: bytes) -> Iterator[Path]:
    """Lay data in a file of ours alone while the block lasts: `ssl` reads keys and CRLs from files only."""
    with ExitStack() as afterwards, tempfile.NamedTemporaryFile(prefix="mtlslab-", delete=False) as file:  # mode 0600
        afterwards.callback(Path(file.name).unlink)
        file.write(data)
        file.close()
        yield Path(file.name)


@contextmanager
def _refused_by_openssl(file: FilePath | None, cure: str) -> Iterator[None]:
    """Put OpenSSL's word into an error that names the file, if it is one: it wants more than cryptography does."""
    try:
        yield
    except ssl.SSLError as error:
        problem = f"OpenSSL does not take it ({error.reason or error})"
        if file is None:
            raise errors.OptionRefused("credential", f"{problem}; {cure}") from None
        raise errors.FileContents(Path(file), problem, cure) from None
