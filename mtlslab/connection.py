"""One caller at the server: TLS through two `ssl.MemoryBIO`s, HTTP through h11.

    SHAKING_HANDS  →  READING  ⇄  ANSWERING
          ↓              ↓            ↓
          └───────→  LEAVING  ←───────┘

`Channel` is the TLS of it, `Conversation` the HTTP, both without I/O. `Connection` moves the bytes between them and
asyncio, and knows the states. What it needs of its server stands in `Keeper`.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import h11
from cryptography import x509

from mtlslab import refusals
from mtlslab.exchanges import FAILED, Reply, Request, Visit
from mtlslab.refusals import Refusal

MAX_BODY = 1 << 20
"""The longest request body that is read, in bytes."""

MAX_HEAD = 1 << 15
"""The longest request line and headers, in bytes, give or take a TLS record."""

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux only. A caller whose stack holds back small packets (Nagle) until the last one is acknowledged, and a kernel
that holds back acknowledgements, wait for each other: 40 ms between handshake and request."""


# --- TLS ------------------------------------------------------------------------------------------


class Channel:
    """TLS over one connection, without the connection: what crosses goes through two `ssl.MemoryBIO`s.

    Attributes: `incoming` and `outgoing`, the two; `client`, the caller's certificate, verified (None: none was shown),
    and `version`, such as "TLSv1.3": both None until the handshake is done.
    """

    def __init__(self) -> None:
        self.client: x509.Certificate | None = None
        self.version: str | None = None
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None  # from the first byte on: who says nothing costs a socket

    def shake_hands(self, next_context: Callable[[], ssl.SSLContext]) -> None:
        """Go on with the handshake as far as what has come allows. Raises `ssl.SSLWantReadError` where that is not all.

        Any other `OSError` is a refusal: see `refusal`. A session that is resumed is refused, too: nobody would have
        looked at the certificate since.
        """
        if self._tls is None:
            self._tls = next_context().wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._tls.do_handshake()
        if self._tls.session_reused:
            raise ssl.SSLError("the caller resumed a session, and nobody has looked at its certificate")
        self.version = self._tls.version()
        der = self._tls.getpeercert(binary_form=True)
        self.client = x509.load_der_x509_certificate(der) if der else None

    def read(self) -> bytes:
        """Return what the caller said. Raises `ssl.SSLWantReadError` if it is nothing yet; `OSError` at its end."""
        assert self._tls is not None
        if not (said := self._tls.read(1 << 16)):
            raise ssl.SSLZeroReturnError("the caller said goodbye")
        return said

    def write(self, data: bytes) -> None:
        """Say something to the caller."""
        assert self._tls is not None
        self._tls.write(data)

    def last_words(self) -> bytes:
        """Return what is to go to the caller before we leave, with close_notify (RFC 8446/9846 §6.1) if connected.

        The caller's own is not waited for.
        """
        if self._tls is not None and self.version is not None:
            with suppress(OSError, ValueError):
                self._tls.unwrap()
        return self.outgoing.read()

    def refusal(self, error: Exception) -> tuple[Refusal, str | None]:
        """Read the error of a handshake that failed. Returns the refusal, and the TLS version if one was agreed on."""
        # version() is None until a handshake is done, and a suite is set early under TLS 1.3, late under 1.2.
        is_tls13 = self._tls is not None and self._tls.cipher() is not None
        version = "TLSv1.3" if is_tls13 else "TLSv1.2"
        refusal = refusals.refusal(
            error, seen_by="server", tls_version=version, sent_certificate=False, in_handshake=not is_tls13
        )
        return refusal, version if is_tls13 or refusal.reason in refusals.CERTIFICATE_REASONS else None


# --- HTTP -----------------------------------------------------------------------------------------


class Conversation:
    """HTTP over one connection, without the connection: bytes in, requests out; replies in, bytes out.

    Attribute: `is_last`; once it is set, the next reply says that it is the last: `Connection: close` (RFC 9112 §9.6).
    """

    def __init__(self) -> None:
        self.is_last = False
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._head: h11.Request | None = None
        self._body = bytearray()

    def receive(self, data: bytes) -> None:
        """Take in what the caller said."""
        self._h11.receive_data(data)

    def next_event(self) -> Request | bytes | None:
        """Return what comes next: a whole request, or bytes to send at once. None: that is all, so far.

        Raises `h11.RemoteProtocolError`, whose `error_status_hint` is the answer to what is no HTTP (400), and to a
        head (431) or a body (413) that is too long.
        """
        while isinstance(event := self._h11.next_event(), h11.Request | h11.Data):
            if isinstance(event, h11.Data):
                self._body += event.data
            else:
                self._head, self._body = event, bytearray()
                if event.http_version not in (b"1.0", b"1.1"):
                    raise h11.RemoteProtocolError("this server speaks HTTP/1.1", error_status_hint=505)
            length = dict(self._head.headers).get(b"content-length", b"0") if self._head else b"0"
            if max(int(length), len(self._body)) > MAX_BODY:
                raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
            if self._h11.they_are_waiting_for_100_continue:  # or both ends wait (RFC 9110 §10.1.1)
                return self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        return self._request() if isinstance(event, h11.EndOfMessage) else None

    def asked(self) -> tuple[str, str] | tuple[None, None]:
        """Return the method and the path of the request that came last, as far as it could be read."""
        return (self._head.method.decode(), self._head.target.decode("latin-1")) if self._head else (None, None)

    def _request(self) -> Request:
        headers = Message()
        for name, value in self._head.headers if self._head else ():
            headers[name.decode("latin-1")] = value.decode("latin-1")
        method, path = self.asked()
        return Request(str(method), str(path), headers, bytes(self._body), None, None)

    def reply(self, reply: Reply | str) -> tuple[int, bytes]:
        """Return a reply's status, and all of it as bytes. Raises what makes it one that cannot be sent."""
        reply = Reply(reply) if isinstance(reply, str) else reply
        if not isinstance(reply, Reply):
            raise TypeError(f"an app returns a Reply or a str, not {type(reply).__name__}")
        content = reply.text.encode()
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in reply.headers.items()]
        headers += [(b"Date", formatdate(usegmt=True).encode()), (b"Content-Length", b"%d" % len(content))]
        headers += [(b"Connection", b"close")] if self.is_last else []
        reason = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else ""
        head = h11.Response(status_code=reply.status, headers=headers, reason=reason.encode())
        has_body = reply.status not in (204, 304) and self.asked()[0] != "HEAD"
        return reply.status, self._send(head, *([h11.Data(data=content)] if has_body else []), h11.EndOfMessage())

    def _send(self, *events: h11.Event) -> bytes:
        return b"".join(self._h11.send(event) or b"" for event in events)

    def goes_on(self) -> bool:
        """Tell whether another request may come, and get ready for it."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._head = None
        return True


# --- the connection -------------------------------------------------------------------------------


class State(enum.Enum):
    """How far a caller has come."""

    SHAKING_HANDS, READING, ANSWERING, LEAVING = range(4)


class Keeper(Protocol):
    """What a connection needs of its server."""

    next_context: Callable[[], ssl.SSLContext]

    def moved(self, connection: Connection) -> None:
        """Hear that a connection is new, or in another state."""

    def gone(self, connection: Connection) -> None:
        """Hear that a connection has ended."""

    def ask(self, connection: Connection, request: Request) -> None:
        """Have a request answered: `connection.answer` is called, but not from in here."""

    def remember(self, visit: Visit) -> None:
        """Keep a visit."""


class Connection(asyncio.Protocol):
    """One caller, from the first byte to the last. All of it runs in the server's loop."""

    def __init__(self, server: Keeper) -> None:
        self.server, self.tls, self.http = server, Channel(), Conversation()
        self.is_decided = self.is_heard_out = False  # whether there has been a visit; whether the caller sends no more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self.transport = transport
        self._enter(State.SHAKING_HANDS)

    def data_received(self, data: bytes) -> None:
        """Take in what the caller sent. Who has been taken leave of is read, and not listened to."""
        if self.state is not State.LEAVING:
            self.tls.incoming.write(data)
            self._go_on()

    def eof_received(self) -> bool:
        """Learn that the caller sends no more. It may still read: unless we have taken leave, keep the transport."""
        self.is_heard_out = True
        self.tls.incoming.write_eof()
        if self.state is not State.LEAVING:
            self._go_on()
        return self.state is not State.LEAVING

    def connection_lost(self, error: Exception | None) -> None:
        """Learn that the connection is gone."""
        if self.state is not State.ANSWERING:
            self._decide(error or ConnectionResetError("the caller left"))
        self.server.gone(self)

    def _enter(self, state: State) -> None:
        self.state, self.since = state, time.monotonic()
        self.server.moved(self)

    def _go_on(self) -> None:
        """Go as far as what has come allows."""
        try:
            if self.state is State.SHAKING_HANDS:
                self.tls.shake_hands(self.server.next_context)
                if _QUICKACK is not None:
                    self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _QUICKACK, True)
                self._enter(State.READING)
            while self.state is State.READING:
                self._read()
        except ssl.SSLWantReadError:
            self._send(self.tls.outgoing.read())
        except h11.RemoteProtocolError as no:
            self.http.is_last = True
            self.answer(Reply(f"{no}\n", no.error_status_hint))
        except Exception as error:  # refused, or said goodbye, or shows what only OpenSSL can read
            self._decide(error)
            self._leave()

    def _read(self) -> None:
        event = self.http.next_event()
        if event is None:
            self._send(self.tls.outgoing.read())
            self.http.receive(self.tls.read())
        elif isinstance(event, bytes):
            self.tls.write(event)
        else:
            self.transport.pause_reading()
            self._enter(State.ANSWERING)
            self.server.ask(self, replace(event, client=self.tls.client, tls_version=self.tls.version))

    def answer(self, reply: Reply | str, error: BaseException | None = None) -> None:
        """Send a reply, and go on. The visit is there before the caller knows. `error` is what the app raised."""
        visit = Visit(self.tls.client, None, self.tls.version, *self.http.asked())
        if self.transport.is_closing():
            return self._remember(replace(visit, error=ConnectionAbortedError("cut off before the reply")))
        try:
            status, data = self.http.reply(reply)
        except Exception as unfit:
            (status, data), error = self.http.reply(FAILED), unfit
        self._remember(replace(visit, status=status, error=error))
        self.tls.write(data)
        if not self.http.goes_on():
            return self._leave()
        self._enter(State.READING)
        self.transport.resume_reading()
        return self._go_on()

    def _leave(self) -> None:
        """Take leave so that the last word arrives, be it close_notify or an alert.

        A socket that is closed with unread input sends a reset, which can overtake what was written before it. So: say
        goodbye, shut down for writing, read what still comes, and throw it away.
        """
        self._send(self.tls.last_words())
        self._enter(State.LEAVING)
        if self.is_heard_out:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.resume_reading()
            with suppress(OSError):
                self.transport.write_eof()

    def dismiss(self, why: str) -> None:
        """Close at once: the caller has been idle for too long, or does not leave."""
        self._decide(TimeoutError(why))
        self._send(self.tls.last_words())
        self.transport.abort() if self.transport.get_write_buffer_size() else self.transport.close()

    def _send(self, data: bytes) -> None:
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def _decide(self, error: Exception) -> None:
        """Remember a handshake that failed, or a caller who left without asking anything, unless there was a visit."""
        if not self.is_decided:
            failed = self.state is State.SHAKING_HANDS and isinstance(error, OSError)
            refusal, version = self.tls.refusal(error) if failed else (None, self.tls.version)
            unforeseen = None if isinstance(error, OSError) else error
            self._remember(Visit(self.tls.client, refusal, version, error=unforeseen))

    def _remember(self, visit: Visit) -> None:
        self.is_decided = True
        self.server.remember(visit)
