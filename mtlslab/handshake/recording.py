"""Handshakes recorded as they happen: between two ends in memory, or with a server on the network."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cryptography import x509

from mtlslab import contexts, errors
from mtlslab.client import check_timeout
from mtlslab.contexts import ClientAuth, TLSVersion, server_context
from mtlslab.credentials import Credential
from mtlslab.handshake.decoding import Flight
from mtlslab.handshake.der import key_that_claims
from mtlslab.handshake.transcript import Transcript


@dataclass(frozen=True)
class _Ends:
    """What a second handshake between the same two ends needs."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    server_name: str
    session: ssl.SSLSession | None = None
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def again(self, crl: x509.CertificateRevocationList | None) -> Transcript:
        """Resume the session, with a server that has been told of revoked certificates in the meantime.

        The contexts are changed for it, and OpenSSL must not meet a change in the middle of a handshake.
        """
        with self.one_at_a_time:
            contexts.hold_against(self.server, [] if crl is None else [crl])
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
    alpn: Sequence[str] = (),
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
    certificates. A `client_credential` whose key is not its certificate's is a thief's: see `der.key_that_claims`.

    Raises `errors.OptionRefused`, `errors.KeyMismatch`.
    """
    wanted = client_auth or ("none" if client_ca is None else "required")
    # Unlike `Server`'s, this context gives out tickets: how a handshake is resumed is something to look at.
    server = plain(server_context(server_credential, client_ca=client_ca, client_auth=wanted, tickets=True))
    client = _client_context(server_ca or server_credential.certificate, client_credential, tls)
    if server_group is not None:
        with _option("server_group"):
            server.set_ecdh_curve(server_group)
    for end in (server, client) if alpn else ():
        with _option("alpn"):
            end.set_alpn_protocols(alpn)
    contexts.hold_against(server, [] if crl is None else [crl])
    return _shake_hands(_Ends(client, server, server_name))


@contextlib.contextmanager
def _option(name: str) -> Iterator[None]:
    """Put what Python and OpenSSL say of an argument that they do not take into an error that names it."""
    try:
        yield
    except (AttributeError, TypeError, ValueError, ssl.SSLError) as error:
        raise errors.OptionRefused(name, str(error)) from None


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
    done the client sends `say`, then listens until the server closes, has been silent for `linger` seconds, or has
    said `ENOUGH`; `timeout` is in seconds, for all of it, and a server that talks on is cut short.
    Raises `OSError` when nobody answers there, `TimeoutError` when the server's part of the handshake takes too long,
    `errors.TranscriptError` where what it says is not TLS, `errors.OptionRefused`, `errors.KeyMismatch`.
    """
    check_timeout(timeout)
    context = _client_context(server_ca, client_credential, tls)
    with keylog_of(context) as keylog, _dial(host, port, timeout) as wire:
        client = _End("client", context, host if server_name is None else server_name)
        talk = _Talk(client, wire, time.monotonic() + timeout, linger)
        talk.run(say)
        # A client that stops first leaves the server in mid-record, wherever the network happened to cut.
        heard = Transcript.from_bytes(_joined(talk.flights), keylog(), whole=talk.closed)
        return replace(heard, client_error=client.error)


ENOUGH = 1 << 22
"""How much of what a server says is recorded, in bytes."""


def _dial(host: str, port: int, timeout: float) -> socket.socket:
    if not isinstance(port, int) or not 0 < port < 65536:
        raise errors.OptionRefused("port", f"{port!r} is not a number from 1 to 65535")
    with _option("host"):
        return socket.create_connection((host, port), timeout)


@dataclass
class _Talk:
    """A client's conversation with a server on the network, until `deadline`."""

    client: _End
    wire: socket.socket
    deadline: float
    linger: float
    flights: list[Flight] = field(default_factory=list)
    closed: bool = False

    def run(self, say: bytes) -> None:
        """Shake hands, `say` something, and listen."""
        received, heard = b"", 0
        while not self.client.error:
            self.client.step(received)
            if self.client.finished and say:
                self.client.tls.write(say)
                say = b""
            self._send()
            if self.client.error or (self.client.finished and (not self.linger or heard > ENOUGH)):
                break
            if not (received := self._receive()):
                break
            heard += len(received)
            self.flights.append(Flight("server", received))

    def _send(self) -> None:
        if sent := self.client.outgoing.read():
            self.flights.append(Flight("client", sent))
            try:
                self.wire.settimeout(self._left())
                self.wire.sendall(sent)
            except OSError as error:  # the server has gone, or does not listen; what it said is worth reading
                self.client.error = self.client.error or error

    def _receive(self) -> bytes:
        """Return what the server sends next; b"" when it has closed, or has nothing more to say."""
        try:
            self.wire.settimeout(min(self._left(), self.linger) if self.client.finished else self._left())
            received = self.wire.recv(65536)
        except TimeoutError:
            if self.client.finished:
                return b""
            raise
        except ConnectionError as error:
            self.client.error = error
            return b""
        self.closed = not received
        if self.closed and not self.client.finished:
            self.client.lose()
        return received

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the server took too long")
        return left


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
        with _option("server_name"):
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
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError as error:  # in 3.11.2 also where a BIO ends
            self.error = None if self.finished else error
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
    by_sender = itertools.groupby(flights, lambda flight: flight.sender)
    return [Flight(sender, b"".join(flight.data for flight in pieces)) for sender, pieces in by_sender]


@contextlib.contextmanager
def keylog_of(context: ssl.SSLContext) -> Iterator[Callable[[], str]]:
    """Have a context write its secrets to a file that lives as long as the block; yield what reads it."""
    handle, name = tempfile.mkstemp(prefix="mtlslab-")  # mode 0600: OpenSSL would make it readable for all
    os.close(handle)
    try:
        context.keylog_filename = name
        yield lambda: Path(name).read_text("ascii")
    finally:
        context.keylog_filename = None  # type: ignore[assignment]  # None closes the file
        Path(name).unlink()


# From 3.2 on, OpenSSL compresses a client's certificate (RFC 8879) where it was built so, with brotli or zstd if it
# can, and Python before 3.14 can undo neither. These are SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and its RX twin, as
# numbers: `ssl` has no names for them.
_NO_CERTIFICATE_COMPRESSION = 1 << 32 | 1 << 33

# --- the two ends' contexts -----------------------------------------------------------------------


def _client_context(server_ca: x509.Certificate, credential: Credential | None, tls: TLSVersion) -> ssl.SSLContext:
    context = contexts.common(ssl.PROTOCOL_TLS_CLIENT, tls)
    contexts.trust(context, [server_ca])
    if credential is not None:
        own, claimed = credential.private_key, credential.certificate
        honest = own.public_key() == claimed.public_key()
        contexts.show(context, credential, None if honest else key_that_claims(claimed, own))
    return plain(context)


def plain(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have certificates cross uncompressed."""
    if ssl.OPENSSL_VERSION_INFO >= (3, 2):
        context.options |= _NO_CERTIFICATE_COMPRESSION
    return context
