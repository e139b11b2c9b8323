"""One request as it is written, byte for byte, and what came back: no client library would send these."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h11

LONGEST_REPLY = 65536
"""How much of a reply's body is read, in bytes: enough to say who is calling."""


@dataclass(frozen=True)
class Reply:
    """What came back. Fields: `status` (HTTP; None without a reply), `text` (its body), `error` (why there is none)."""

    status: int | None = None
    text: str = ""
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """True for a reply from 200 to 299."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class Written:
    """A request as it goes out.

    Fields: `lines`, the header lines after Host, as they are; `host`, what Host says; `path`; `method`; `version` of
    HTTP; `body`, bytes as they are.
    """

    lines: tuple[str, ...]
    host: str
    path: str
    method: str = "GET"
    version: str = "1.1"
    body: bytes = b""

    def __bytes__(self) -> bytes:
        close = () if any(line.lower().startswith("connection") for line in self.lines) else ("Connection: close",)
        head = (f"{self.method} {self.path} HTTP/{self.version}", f"Host: {self.host}", *self.lines, *close, "", "")
        return "\r\n".join(head).encode("latin-1", "replace") + self.body


class Wire:
    """Where requests go. `address` and `port` are dialled; over TLS with `name` as the server's, or plain without one.

    After a request with a name of its own in TLS, `session` is its TLS session.
    """

    def __init__(self, address: str, port: int, name: str | None, timeout: float) -> None:
        self.address, self.port, self.name, self.timeout = address, port, name, timeout
        self.session: ssl.SSLSession | None = None

    def ask(
        self,
        request: Written,
        context: ssl.SSLContext | None,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Reply:
        """Send one request over a new connection, and read its reply. Whatever goes wrong comes back as `error`.

        In one that is kept, an application that asks who is calling once for each would hide all but the first answer:
        HAProxy, for one, goes on to it over the same connection, too.
        """
        try:
            with self._connected(context, name or self.name, session) as connection:
                connection.sendall(bytes(request))
                reply = _read(connection, request)
                if name and isinstance(connection, ssl.SSLSocket):  # to get at it takes a third of a handshake
                    self.session = connection.session
                return reply
        except (OSError, h11.ProtocolError, ValueError) as error:
            return Reply(error=error)

    @property
    def authority(self) -> str:
        """What Host says here."""
        return f"{self.name or 'localhost'}:{self.port}"

    @contextmanager
    def _connected(
        self, context: ssl.SSLContext | None, name: str | None, session: ssl.SSLSession | None
    ) -> Iterator[socket.socket]:
        with socket.create_connection((self.address, self.port), self.timeout) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Finished, then at once the request
            if context is None:
                yield plain
            else:
                with context.wrap_socket(plain, server_hostname=name, session=session) as connection:
                    yield connection


def _read(connection: socket.socket, request: Written) -> Reply:
    """Read one reply with h11, which is told of a well-formed request in place of the one that was sent."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_REPLY)
    asked = [("Host", "localhost")]
    if any(line.lower().startswith("upgrade:") for line in request.lines):
        asked += [("Connection", "Upgrade"), ("Upgrade", "h2c")]
    reader.send(h11.Request(method=request.method, target="/", headers=asked))
    reader.send(h11.EndOfMessage())
    status, body = None, b""
    while len(body) < LONGEST_REPLY:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            reader.receive_data(connection.recv(65536))
        elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            return Reply(101)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed | h11.PAUSED):
            break
    return Reply(status, body.decode("utf-8", "replace"))
