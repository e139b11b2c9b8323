"""curl's words, httpx's work: one request, and what became of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from mtlslab import errors, refusals
from mtlslab.contexts import TLSVersion, client_context
from mtlslab.credentials import FilePath
from mtlslab.exchanges import Answer


def request(
    url: str,
    *,
    cacert: FilePath | None = None,
    cert: FilePath | None = None,
    key: FilePath | None = None,
    tls_max: TLSVersion | None = None,
    password: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    content: bytes | str | None = None,
    timeout: float = 5.0,
) -> Answer:
    """Make one HTTPS request over a new connection, as `curl --cacert … --cert … --key … URL` does.

    The files are those of `client_context`; `timeout` is in seconds, for all of it (curl's --max-time), but for the
    resolver. Whatever the network or the other end says no to comes back as `Answer.refusal`, also a reply of more
    than `MAX_REPLY` bytes. Raises only for what can be seen before dialling: `errors.FileRefused`,
    `errors.KeyMismatch`, `errors.OptionRefused` (also for a URL that is none).
    """
    check_url(url)
    check_timeout(timeout)
    context = client_context(cacert=cacert, cert=cert, key=key, tls_max=tls_max, password=password)
    asked: dict[str, Any] = {"method": method, "headers": headers, "content": content}
    return exchange(url, context, sent_certificate=cert is not None, timeout=timeout, **asked)


MAX_REPLY = 1 << 24
"""The longest reply that is read, in bytes (curl's --max-filesize)."""


def exchange(
    url: str,
    context: ssl.SSLContext,
    *,
    sent_certificate: bool,
    server_name: str | None = None,
    timeout: float = 5.0,
    **asked: Any,
) -> Answer:
    """Make one request with a context of `client_context`, as `request` does. No other may use the context meanwhile.

    `server_name` is whom to ask for and to expect, where that is not the URL's host (curl's --connect-to).
    `timeout` is in seconds, for everything; `asked` is for `method`, `headers`, `content`.
    """
    import h11  # httpx, too, waits for its first request before it does

    ear = context._msg_callback = _Ear()  # type: ignore[attr-defined]
    with _hung_up_after(timeout) as (expired, trace):
        extensions = {"trace": trace, "timeout": dict.fromkeys(("connect", "read", "write"), timeout)}
        message = _message(url, extensions | ({"sni_hostname": server_name} if server_name else {}), **asked)
        try:
            # trust_env=False: a proxy variable of the environment would send the request elsewhere.
            with (
                httpx.HTTPTransport(verify=context, trust_env=False) as transport,
                contextlib.closing(transport.handle_request(message)) as reply,
            ):
                tls = reply.extensions["network_stream"].get_extra_info("ssl_object")
                text = _body(reply, expired).decode("utf-8", "replace")
                return Answer(reply.status_code, text, dict(reply.headers), None, tls.version() if tls else None)
        except (httpx.LocalProtocolError, h11.LocalProtocolError) as error:
            raise errors.OptionRefused("method or headers", f"they cannot be sent: {error}") from None
        except (httpx.RequestError, TimeoutError, OverflowError) as error:
            early = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)  # ReadError, WriteError: afterwards
            ended = TimeoutError(f"there was no whole reply after {timeout:g} s") if expired.is_set() else error
            met: dict[str, Any] = {"sent_certificate": sent_certificate, "in_handshake": early, **vars(ear)}
            return Answer(refusal=refusals.refusal(ended, seen_by="client", **met))


@dataclass
class _Ear:
    """Hears what crosses in a handshake, by a hook that `ssl` has for debugging: its errors do not tell all of it.

    The fields are those of `refusals.from_exception`. A server that went on after an alert of its own has not refused.
    """

    tls_version: str | None = None
    asked: bool = False
    alerts: dict[refusals.End, int] = field(default_factory=dict)

    def __call__(self, _: object, direction: str, version: int, kind: int, message: int, data: bytes) -> None:
        if kind == 21 and len(data) == 2:  # an alert (RFC 8446/9846 §5.1, §6)
            self.alerts["server" if direction == "read" else "client"] = data[1]
        elif kind == 22 and direction == "read":  # of the handshake (RFC 8446/9846 §4), perhaps CertificateRequest
            self.tls_version = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}.get(version)
            self.asked = self.asked or message == 13
            self.alerts.clear()


def _message(
    url: str, extensions: dict[str, Any], method: str = "GET", headers: Any = None, content: Any = None
) -> httpx.Request:
    """Put a request together, with curl's usual headers. Raises `errors.OptionRefused` for what fits into none."""
    try:
        body = content.encode() if isinstance(content, str) else content and bytes(memoryview(content))
    except (TypeError, ValueError) as error:
        raise errors.OptionRefused("content", f"it is neither bytes nor text that can be sent: {error}") from None
    try:
        sent = httpx.Headers({"Accept": "*/*", "User-Agent": "mtlslab"})
        sent.update(headers)
        return httpx.Request(method, url, headers=sent, content=body, extensions=extensions)
    except (AttributeError, TypeError, ValueError) as error:
        raise errors.OptionRefused("method or headers", f"they cannot be sent: {error}") from None


def _body(reply: httpx.Response, expired: threading.Event) -> bytes:
    """Read a body as it comes, undecoded: nothing was asked for but the plain one."""
    body = bytearray()
    for piece in reply.iter_raw():
        body += piece
        if len(body) > MAX_REPLY:
            raise OverflowError(f"the reply is longer than {MAX_REPLY} bytes")
    if expired.is_set():  # some bodies end where the connection does, and we have ended that
        raise TimeoutError
    return bytes(body)


@contextlib.contextmanager
def _hung_up_after(seconds: float) -> Iterator[tuple[threading.Event, Callable[[str, dict[str, Any]], None]]]:
    """Hang up after `seconds`: httpx's timeouts are for each step, and a server may drip for ever.

    Yields what tells that time is over, and a hook for httpx's "trace" extension, which learns of the connection.
    """
    expired, lines = threading.Event(), list[socket.socket]()

    def hang_up() -> None:
        expired.set()
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def trace(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":  # the socket itself goes into an SSLSocket
            lines.append(info["return_value"].get_extra_info("socket").dup())
            if expired.is_set():
                hang_up()

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield expired, trace
    finally:
        timer.cancel()
        timer.join()
        for line in lines:
            line.close()


def check_timeout(timeout: float) -> None:
    """Raise `errors.OptionRefused` for what is no number of seconds."""
    if not isinstance(timeout, int | float) or not 0 < timeout <= 86400:
        raise errors.OptionRefused("timeout", f"{timeout!r} is not a number of seconds, more than 0, a day at most")


def check_url(url: str) -> httpx.URL:
    """Read a URL as httpx will, its host in ASCII. Raises `errors.OptionRefused` for one that cannot be dialled."""
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode().encode("idna")  # as the resolver will
        told = "" if parsed.scheme in {"https", "http"} and parsed.host else "it needs https:// and a host"
        told = told if parsed.port is None or 0 < parsed.port < 65536 else "a port is a number from 1 to 65535"
    except (httpx.InvalidURL, TypeError, UnicodeError) as error:
        told = str(error)
    if told:
        raise errors.OptionRefused("url", f"{url!r} is not one ({told}); it looks like https://localhost:3000")
    return parsed
