"""curl's words, httpx's work: one request, and what became of it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from mtlslab import errors, refusals
from mtlslab.contexts import FilePath, TLSVersion, client_context
from mtlslab.refusals import Refusal


@dataclass(frozen=True)
class Answer:
    """What became of a request: a reply, or a refusal.

    Fields: `status` (HTTP, None without a reply), `text`, `headers` (names in lower case), `refusal` (None if
    there was a reply), `tls_version` ("TLSv1.2", "TLSv1.3"; None without a reply or without TLS).
    """

    status: int | None = None
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    refusal: Refusal | None = None
    tls_version: str | None = None

    @property
    def ok(self) -> bool:
        """True for a reply with a status below 400."""
        return self.status is not None and self.status < 400

    def __repr__(self) -> str:
        return (
            f"<Answer {self.refusal!r}>"
            if self.refusal
            else f"<Answer {self.status} over {self.tls_version}: {self.text!r}>"
        )


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

    The files are those of `client_context`; `timeout` is in seconds, for each step. Whatever the network or the
    other end says no to comes back as `Answer.refusal`. Raises only for what can be seen before dialling:
    `errors.FileRefused`, `errors.KeyMismatch`, `errors.OptionRefused` (also for a URL that is none).
    """
    check_url(url)
    check_timeout(timeout)
    context = client_context(cacert=cacert, cert=cert, key=key, tls_max=tls_max, password=password)
    return exchange(
        url,
        context,
        sent_certificate=cert is not None,
        method=method,
        headers=headers,
        content=content,
        timeout=timeout,
    )


def exchange(
    url: str,
    context: ssl.SSLContext,
    *,
    sent_certificate: bool,
    server_name: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    content: bytes | str | None = None,
    timeout: float = 5.0,
    patience: float | None = None,
) -> Answer:
    """Make one request with a context of `client_context`, as `request` does.

    `server_name` is whom to ask for and to expect, where that is not the URL's host (curl's --connect-to).
    `timeout` is for each step; `patience` is for all of them, and the reply's body is then read up to `BEGINNING` only.
    """
    extensions: dict[str, Any] = {} if server_name is None else {"sni_hostname": server_name}
    expired = threading.Event()
    try:
        # trust_env=False: a proxy variable of the environment would send the request elsewhere.
        with (
            _hung_up_after(patience, expired) as extensions["trace"],
            httpx.Client(verify=context, trust_env=False, timeout=timeout) as client,
            client.stream(method, url, headers=headers, content=content, extensions=extensions) as reply,
        ):
            tls = reply.extensions["network_stream"].get_extra_info("ssl_object")
            tls_version = tls.version() if tls else None
            text = _whole(reply) if patience is None else _beginning(reply, expired)
            return Answer(reply.status_code, text, dict(reply.headers), None, tls_version)
    except (httpx.LocalProtocolError, UnicodeEncodeError) as error:
        raise errors.OptionRefused("method or headers", f"they cannot be sent: {error}") from None
    except httpx.RequestError as error:
        if expired.is_set():
            error.__cause__ = TimeoutError(f"the reply was not complete after {patience:g} s")
        return Answer(refusal=_refusal(error, sent_certificate=sent_certificate))


BEGINNING = 65536


def _whole(reply: httpx.Response) -> str:
    reply.read()
    return reply.text


def _beginning(reply: httpx.Response, expired: threading.Event) -> str:
    """Read a body that may have no end, or be slow in coming: what came in time is enough."""
    text = ""
    try:
        for piece in reply.iter_text():
            text += piece
            if len(text) >= BEGINNING:
                break
    except httpx.RequestError:
        if not expired.is_set():
            raise
    return text


@contextmanager
def _hung_up_after(seconds: float | None, expired: threading.Event) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """Hang up after `seconds`: httpx's timeouts are for each read, and a server may drip for ever.

    Yields a hook for httpx's "trace" extension, which learns of the connection.
    """
    streams: list[Any] = []

    def hang_up() -> None:
        expired.set()
        for stream in streams:
            with suppress(OSError):
                # Not SSLSocket's own shutdown: that would take TLS away under a read that still waits.
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)

    def trace(event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            streams.append(info["return_value"])
            if expired.is_set():
                hang_up()

    timer = threading.Timer(seconds or 0, hang_up)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield trace
    finally:
        timer.cancel()


def check_timeout(timeout: float) -> None:
    """Raise `errors.OptionRefused` for what is no number of seconds."""
    if not isinstance(timeout, int | float) or not 0 < timeout <= 86400:
        raise errors.OptionRefused("timeout", f"{timeout!r} is not a number of seconds, more than 0, a day at most")


def check_url(url: str) -> httpx.URL:
    """Read a URL as httpx will, its host in ASCII. Raises `errors.OptionRefused` for one that cannot be dialled."""
    parsed = httpx.URL()
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode().encode("idna")  # as the resolver will
        problem = ""
        if parsed.scheme not in {"https", "http"} or not parsed.host:
            problem = "it needs https:// and a host"
        elif parsed.port is not None and not 0 < parsed.port < 65536:
            problem = "a port is a number from 1 to 65535"
    except (httpx.InvalidURL, TypeError, UnicodeError) as error:
        problem = str(error)
    if problem:
        raise errors.OptionRefused("url", f"{url!r} is not one ({problem}); it looks like https://localhost:3000")
    return parsed


def _refusal(error: httpx.RequestError, *, sent_certificate: bool) -> Refusal:
    """Read an httpx error as the client's view of a refusal.

    httpx tells the moment: ConnectError in the handshake, ReadError or WriteError after it. A verdict on the client's
    certificate that comes after the client's handshake can only be TLS 1.3's (RFC 8446 §4.4.2.4/9846 §4.5.1.3,
    RFC 8446 §E.1.2/9846 §F.1.2).
    """
    in_handshake = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    refusal = refusals.from_exception(
        error,
        seen_by="client",
        tls_version="TLSv1.2" if in_handshake else "TLSv1.3",
        sent_certificate=sent_certificate,
        in_handshake=in_handshake,
    )
    if refusal is not None:
        return refusal
    reason = "connection-lost" if "disconnected" in str(error) else "protocol-error"
    return Refusal(
        "server",
        reason,
        None,
        52 if reason == "connection-lost" else 1,
        str(error),
        refusals.REASONS[reason].client_advice,
    )
