"""One connection to a server, by way of memory: what crossed, what was said, and what ended it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from cryptography import x509

from mtlslab import failures
from mtlslab.credentials import printable
from mtlslab.diagnosis.protocols import PREAMBLES, Declined, lead_in
from mtlslab.diagnosis.target import Target
from mtlslab.handshake import Flight, Message
from mtlslab.handshake.decoding import Decoder
from mtlslab.handshake.recording import keylog_of, plain
from mtlslab.refusals import End

Moment = Literal["dialling", "preamble", "handshake", "listening", "answering"]

_SLICE = 0.02
MOST = 1 << 17
"""How many bytes of what a server says are kept."""


@dataclass
class Call:
    """What one connection showed.

    Fields: `moment`, how far it came; `error`, what ended it (None: this end hung up); `closed`, whether the server
    did, in good order; `raw`, the first bytes from the server; `preamble`, what it said before TLS; `greeting`, what it
    said before it was asked; `reply`, what it said afterwards; `messages`, those of the handshake and after; `version`
    and `alpn`, what was agreed on; `sent`, how many bytes went out.
    """

    moment: Moment = "dialling"
    error: OSError | None = None
    closed: bool = False
    raw: bytes = b""
    preamble: bytes = b""
    greeting: bytes = b""
    reply: bytes = b""
    messages: tuple[Message, ...] = ()
    version: str | None = None
    alpn: str | None = None
    sent: int = 0
    context: ssl.SSLContext | None = None
    _flights: list[Flight] = field(default_factory=list)
    _tls: ssl.SSLObject | None = None

    @property
    def reason(self) -> str:
        """OpenSSL's name for what ended it, if it has one."""
        return getattr(self.error, "reason", None) or ""

    @property
    def session(self) -> ssl.SSLSession | None:
        """What may be resumed with `context`."""
        return self._tls.session if self._tls else None

    def _said(self, sender: str, name: str) -> list[Message]:
        return [m for m in self.messages if m.sender == sender and m.name == name and m.opened]

    @property
    def speaks_tls(self) -> bool:
        """Whether the server said anything in TLS."""
        return self.raw[:1] in (b"\x15", b"\x16") and self.raw[1:2] == b"\x03"

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The server's certificates."""
        shown = self._said("server", "Certificate")
        return tuple(shown[0].fields.get("certificates", ())) if shown else ()

    @property
    def _request(self) -> Message | None:
        return next(iter(self._said("server", "CertificateRequest")), None)

    @property
    def asks(self) -> bool:
        """Whether the server asked for a certificate (RFC 8446 §4.3.2/9846 §4.4.2; RFC 5246 §7.4.4)."""
        return self._request is not None

    @property
    def asks_late(self) -> bool:
        """Whether it asked only after it had read the request (RFC 8446 §4.6.2/9846 §4.7.2; TLS 1.2: renegotiation)."""
        names = [(m.sender, m.name) for m in self.messages if m.opened]
        asked = names.index(("server", "CertificateRequest")) if self.asks else 0
        return ("server", "HelloRequest") in names or ("client", "Finished") in names[:asked]

    @property
    def authorities(self) -> tuple[str, ...]:
        """The CAs that the server names: a stranger's text, made printable."""
        return tuple(map(printable, self._request.fields.get("ca_names", ()))) if self._request else ()

    @property
    def schemes(self) -> tuple[str, ...]:
        """The signatures that the server takes from a client."""
        return self._request.fields.get("signature_algorithms", ()) if self._request else ()

    @property
    def alerts(self) -> dict[End, int]:
        """The number of the last alert that each end sent: `ssl` has no word for some."""
        return {cast("End", m.sender): m.raw[1] for m in self.messages if m.name == "Alert" and m.opened}

    @property
    def held_back(self) -> bool:
        """Whether this client was asked, and answered with no certificate."""
        return any(not m.fields.get("certificates", True) for m in self._said("client", "Certificate"))

    @property
    def has_tickets(self) -> bool:
        """Whether the server handed out tickets of TLS 1.3: it has read all that this client sent in its handshake."""
        return self.version == "TLSv1.3" and bool(self._said("server", "NewSessionTicket"))


def call(
    target: Target,
    context: ssl.SSLContext,
    *,
    timeout: float,
    listen: float,
    say: Callable[[str | None], bytes] = lambda _: b"",
    enough: Callable[[bytes], bool] = bool,
    session: ssl.SSLSession | None = None,
) -> Call:
    """Connect, shake hands, listen for `listen` seconds, then `say`, and hear the reply until it is `enough`.

    What to say may depend on the application protocol that the server chose (ALPN). The handshake may take `timeout`
    seconds, and so may the reply. Whatever goes wrong is in what is returned.
    """
    seen = Call(context=context)
    plain(context)
    with keylog_of(context) as keylog:
        try:
            with _dialled(target, timeout, seen) as wire:
                line = _Line(wire, context, target.server_name, session, seen)
                line.shake_hands(time.monotonic() + timeout)
                seen.moment = "listening"
                line.listen(listen)
                if (words := say(seen.alpn)) and not seen.closed and not seen.greeting:
                    seen.moment = "answering"
                    line.say(words)
                    patience = min(timeout, 1.0) if seen.alpn == "h2" else timeout  # its first frame comes at once
                    if not line.hear("reply", time.monotonic() + patience, enough) and not seen.closed:
                        raise TimeoutError(f"the reply was not complete after {patience:g} s")
                line.take_leave()
        except OSError as error:
            seen.error = error
        _decode(seen, keylog())
    return seen


@contextmanager
def _dialled(target: Target, timeout: float, seen: Call) -> Iterator[socket.socket]:
    """Connect, through a proxy if there is one, and say what comes before TLS."""
    deadline = time.monotonic() + timeout
    with socket.create_connection(target.proxy or (target.host, target.port), timeout) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def receive() -> bytes:
            wire.settimeout(max(deadline - time.monotonic(), 0.001))
            return wire.recv(4096)

        seen.moment = "preamble"
        if target.proxy:
            wire.sendall(f"CONNECT {target.authority} HTTP/1.1\r\nHost: {target.authority}\r\n\r\n".encode())
            said = b""
            while b"\r\n\r\n" not in said:
                more = receive()
                said += more
                if not more or len(said) > MOST:
                    raise Declined(said)
            if not said.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")):
                raise Declined(said)
        if target.starttls:
            seen.preamble = lead_in(PREAMBLES[target.starttls], receive, wire.sendall)
        seen.moment = "handshake"
        yield wire


class _Line:
    """TLS over a socket, with memory in between, so that what crosses can be read again."""

    def __init__(
        self, wire: socket.socket, context: ssl.SSLContext, name: str, session: ssl.SSLSession | None, seen: Call
    ) -> None:
        self._wire, self._seen = wire, seen
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)
        self._looked_at, self._ticket = 0, False
        seen._tls = self._tls

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._seen._flights.append(Flight("client", data))
            self._seen.sent += len(data)
            self._wire.sendall(data)

    def _receive(self, deadline: float) -> bool:
        """Take in what comes next; False when nothing does until the deadline."""
        self._flush()
        self._wire.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = self._wire.recv(65536)
        except TimeoutError:
            return False
        if not data:
            self._incoming.write_eof()
            return True
        if sum(len(f.data) for f in self._seen._flights) < 4 * MOST:
            self._seen._flights.append(Flight("server", data))
        self._seen.raw = (self._seen.raw + data)[:400] if len(self._seen.raw) < 400 else self._seen.raw
        self._incoming.write(data)
        return True

    def _step(self, act: Callable[[], Any], deadline: float) -> Any:
        """Do `act` as soon as what it needs has come; None when that does not until the deadline."""
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                if time.monotonic() > deadline or not self._receive(deadline):
                    return None
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # our own alert
                raise

    def shake_hands(self, deadline: float) -> None:
        def act() -> bool:
            self._tls.do_handshake()
            return True

        if not self._step(act, deadline):
            raise TimeoutError("the handshake was not complete in time")
        self._flush()
        self._seen.version, self._seen.alpn = self._tls.version(), self._tls.selected_alpn_protocol()

    def listen(self, seconds: float) -> None:
        """Hear what the server says by itself; for a quarter of the time, once it has handed out tickets."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds and not self._seen.closed:
            if self.hear("greeting", min(began + seconds, began + passed + _SLICE), bool) or self._seen.greeting:
                return
            if passed > seconds / 4 and self._has_ticket():
                return

    def _has_ticket(self) -> bool:
        """Tell whether it has handed one out; look again only when more has come, for `ssl` copies a session."""
        if self._looked_at != (so_far := len(self._seen._flights)):
            self._looked_at, session = so_far, self._tls.session
            self._ticket = session is not None and session.has_ticket
        return self._ticket

    def hear(self, what: Literal["greeting", "reply"], deadline: float, enough: Callable[[bytes], bool]) -> bool:
        """Keep what comes until it is enough; tell whether it was."""
        heard = b""
        try:
            while len(heard) < MOST and not (heard and enough(heard)):
                piece = self._step(lambda: self._tls.read(65536), deadline)
                if not piece:
                    self._seen.closed = piece is not None
                    return False
                heard += piece
                if time.monotonic() > deadline:
                    return False
            return True
        except ssl.SSLZeroReturnError:
            self._seen.closed = True
            return False
        finally:
            setattr(self._seen, what, heard)

    def say(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def take_leave(self) -> None:
        """Say goodbye without waiting for an answer."""
        with suppress(OSError):
            self._tls.unwrap()
        with suppress(OSError):
            self._flush()


def _decode(seen: Call, keylog: str) -> None:
    """Read the messages of what crossed, as far as they can be read."""
    decoder = Decoder(keylog)
    with suppress(failures.TranscriptError):
        for flight in seen._flights:
            decoder.feed(flight.sender, flight.data)
    seen.messages, seen.version = tuple(decoder.messages), seen.version or decoder.version
