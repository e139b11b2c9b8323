"""Handshakes recorded as they happen: between two ends in memory, or with a server on the network."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mtlslab import contexts, errors
from mtlslab.contexts import ClientAuth, TLSVersion, server_context
from mtlslab.credentials import Credential, private_key_pem
from mtlslab.handshake.decoding import Flight
from mtlslab.handshake.transcript import Transcript


@dataclass(frozen=True)
class _Ends:
    """What a second handshake between the same two ends needs."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    server_name: str
    session: ssl.SSLSession | None = None

    def again(self, crl: x509.CertificateRevocationList | None) -> Transcript:
        """Resume the session, with a server that has been told of revoked certificates in the meantime."""
        if crl is not None:
            contexts.hold_against(self.server, [crl])
        return _shake_hands(self)


def record(
    server_credential: Credential,
    client_ca: x509.Certificate | None = None,
    client_credential: Credential | None = None,
    tls: TLSVersion = "1.3",
    *,
    server_ca: x509.Certificate | None = None,
    server_name: str = "localhost",
    client_auth: ClientAuth | None = None,
    server_group: str | None = None,
    alpn: Iterable[str] = (),
    crl: x509.CertificateRevocationList | None = None,
) -> Transcript:
    """Let a client and a server shake hands in memory, and return what crossed between them.

    Both are real OpenSSL ends, as strict as everything in this package; certificates cross uncompressed. A
    refusal is recorded too, up to and including its alert.

    `client_ca` is whom the server trusts to vouch for clients; with it the server asks for a certificate and
    insists (`client_auth` "required"; or "optional", "none"). `client_credential` is what the client answers
    with. `server_ca` is whom the client trusts; by default it trusts this server's own certificate.
    `server_name` is whom the client means to reach. `server_group`, such as "secp384r1", is the only group in
    which the server agrees on keys: one that the client sent no share for makes it ask again
    (HelloRetryRequest). `alpn` are protocols that both offer; `crl` tells the server of revoked client
    certificates.

    A `client_credential` whose key is not its certificate's is a thief's: see `_stolen_key_pem`.

    Raises `errors.OptionRefused`, `errors.KeyMismatch`.
    """
    wanted = client_auth or ("none" if client_ca is None else "required")
    # Unlike `Server`'s, this context gives out tickets: how a handshake is resumed is something to look at.
    server = plain(server_context(server_credential, client_ca=client_ca, client_auth=wanted, tickets=True))
    client = _client_context(server_ca or server_credential.certificate, client_credential, tls)
    if server_group is not None:
        try:
            server.set_ecdh_curve(server_group)
        except ValueError:
            raise errors.OptionRefused("server_group", f"OpenSSL knows no group {server_group!r}") from None
    if protocols := list(alpn):
        server.set_alpn_protocols(protocols)
        client.set_alpn_protocols(protocols)
    if crl is not None:
        contexts.hold_against(server, [crl])
    return _shake_hands(_Ends(client, server, server_name))


def record_from(
    host: str,
    port: int,
    *,
    server_ca: x509.Certificate,
    client_credential: Credential | None = None,
    tls: TLSVersion = "1.3",
    server_name: str | None = None,
    say: bytes = b"",
    timeout: float = 5.0,
    linger: float = 0.2,
) -> Transcript:
    """Shake hands with a server on the network, and return what crossed.

    As `record`, but for a server that is not ours: only the client's error is known. Once its handshake is
    done the client sends `say`, then listens until the server closes or has been silent for `linger` seconds.
    Raises `OSError` when nobody answers there, `TimeoutError` when the server's part of the handshake takes longer
    than `timeout` seconds.
    """
    context = _client_context(server_ca, client_credential, tls)
    return record_with(context, host, port, server_name=server_name, say=say, timeout=timeout, linger=linger)


def record_with(
    context: ssl.SSLContext,
    host: str,
    port: int,
    *,
    server_name: str | None = None,
    say: bytes = b"",
    timeout: float = 5.0,
    linger: float = 0.2,
) -> Transcript:
    """Do what `record_from` does, with an SSL context of one's own. It is changed: it asks for plain certificates.

    With `linger` 0 the recording ends with the client's handshake.
    """
    plain(context)
    flights: list[Flight] = []
    with keylog_of(context) as keylog, socket.create_connection((host, port), timeout) as wire:
        client = _End("client", context, server_name or host)
        deadline = time.monotonic() + timeout
        received = b""
        closed = False
        while not client.error:
            client.step(received)
            if client.finished and say:
                client.tls.write(say)
                say = b""
            if sent := client.outgoing.read():
                flights.append(Flight("client", sent))
                try:
                    wire.sendall(sent)
                except ConnectionError as error:  # the server has gone; what it said before is worth reading
                    client.error = client.error or error
            if client.error or (client.finished and not linger):
                break
            if not (received := _receive(wire, client, linger if client.finished else deadline - time.monotonic())):
                closed = True
                break
            flights.append(Flight("server", received))
        # A client that stops first leaves the server in mid-record, wherever the network happened to cut.
        heard = Transcript.from_bytes(_joined(flights), keylog(), whole=closed)
        return replace(heard, client_error=client.error)


def _receive(wire: socket.socket, client: _End, timeout: float) -> bytes:
    """Return what the server sends next; b"" when it has closed, or has nothing more to say."""
    try:
        wire.settimeout(max(timeout, 0.001))
        received = wire.recv(65536)
    except TimeoutError:
        if client.finished:
            return b""
        raise
    except ConnectionError as error:
        client.error = error
        return b""
    if not received and not client.finished:
        client.lose()
    return received


class _End:
    """One end of a connection, with memory where its socket would be."""

    def __init__(
        self,
        name: Literal["client", "server"],
        context: ssl.SSLContext,
        host: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.name = name
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=name == "server", server_hostname=host, session=session
        )
        self.finished = False
        self.error: OSError | None = None

    def step(self, received: bytes) -> None:
        """Take in what the other end sent, and go as far as that allows. The answer waits in `outgoing`."""
        if received:
            self.incoming.write(received)
        if self.error:
            return
        try:
            if not self.finished:
                self.tls.do_handshake()
                self.finished = True
            # TLS 1.3 goes on after the handshake: with tickets, or the refusal of the client's certificate.
            while self.tls.read(65536):
                pass
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except OSError as error:
            self.error = error

    def lose(self) -> None:
        """Learn that nothing more comes from the other end."""
        self.incoming.write_eof()
        self.step(b"")


def _shake_hands(ends: _Ends) -> Transcript:
    flights: list[Flight] = []
    with keylog_of(ends.client) as keylog:
        client = _End("client", ends.client, ends.server_name, ends.session)
        server = _End("server", ends.server)
        speaker, listener = client, server
        data, silent = b"", 0
        while silent < 2:  # until neither has anything left to say
            speaker.step(data)
            data = speaker.outgoing.read()
            silent = 0 if data else silent + 1
            if data:
                flights.append(Flight(speaker.name, data))
            speaker, listener = listener, speaker
        transcript = Transcript.from_bytes(flights, keylog())
    session = None if client.error or server.error else client.tls.session
    again = replace(ends, session=session).again if session else None
    return replace(transcript, client_error=client.error, server_error=server.error, _again=again)


def _joined(flights: Iterable[Flight]) -> list[Flight]:
    """Join what one side sent in several pieces with nothing from the other in between."""
    joined: list[Flight] = []
    for flight in flights:
        if joined and joined[-1].sender == flight.sender:
            joined[-1] = Flight(flight.sender, joined[-1].data + flight.data)
        else:
            joined.append(flight)
    return joined


@contextlib.contextmanager
def keylog_of(context: ssl.SSLContext) -> Iterator[Callable[[], str]]:
    """Have a context write its secrets to a file that lives as long as the block; yield what reads it."""
    with tempfile.TemporaryDirectory(prefix="mtlslab-") as folder:
        path = Path(folder) / "keylog"
        path.touch(0o600)  # OpenSSL would make it readable for all, and a process that is killed leaves it behind
        context.keylog_filename = str(path)
        try:
            yield lambda: path.read_text("ascii")
        finally:
            context.keylog_filename = None  # type: ignore[assignment]  # None closes the file


# From 3.2 on, OpenSSL compresses a client's certificate (RFC 8879) where it was built so, with brotli or zstd if it
# can, and Python before 3.14 can undo neither. These are SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and its RX twin, as
# numbers: `ssl` has no names for them.
_NO_CERTIFICATE_COMPRESSION = 1 << 32 | 1 << 33

# --- the two ends' contexts -----------------------------------------------------------------------


def _client_context(server_ca: x509.Certificate, credential: Credential | None, tls: TLSVersion) -> ssl.SSLContext:
    context = contexts.common(ssl.PROTOCOL_TLS_CLIENT, tls)
    contexts.trust(context, [server_ca])
    if credential is not None:
        contexts.show(context, credential, _key_pem(credential))
    return plain(context)


def plain(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have certificates cross uncompressed."""
    if ssl.OPENSSL_VERSION_INFO >= (3, 2):
        context.options |= _NO_CERTIFICATE_COMPRESSION
    return context


def _key_pem(credential: Credential) -> bytes:
    if credential.certificate.public_key() == credential.private_key.public_key():
        return private_key_pem(credential.private_key)
    return _stolen_key_pem(credential)


def _stolen_key_pem(credential: Credential) -> bytes:
    """Return a key file for someone who has the certificate and not its key.

    Honest software does not load a key that is not its certificate's. A thief's would: so this file claims
    the certificate's public key beside a private key of another. What is signed with it does not verify,
    which is the point of the protocol. An EC key's file has both halves side by side (RFC 5915 §3), so that one
    can be exchanged.
    """
    claimed, own = credential.certificate.public_key(), credential.private_key
    if not isinstance(own, ec.EllipticCurvePrivateKey) or not isinstance(claimed, ec.EllipticCurvePublicKey):
        raise errors.KeyMismatch("the key does not belong to the certificate; only an EC key can be passed off so")
    if own.curve.name != claimed.curve.name:
        raise errors.KeyMismatch("the key does not belong to the certificate, and is on another curve")
    form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    der = own.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).replace(own.public_key().public_bytes(*form), claimed.public_bytes(*form))
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "EC PRIVATE KEY").encode()
