"""What a server and its `app` hand each other, `Request` and `Reply`, and what either end keeps: `Visit`, `Answer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message

from cryptography import x509

from mtlslab.credentials import distinguished_name
from mtlslab.refusals import Refusal


@dataclass(frozen=True)
class Request:
    """What an `app` is called with.

    Fields: `method`, `path`, `headers` (an `email.message.Message`: look-up without regard to case), `body`
    (bytes), `client` (the caller's certificate, or None), `tls_version` ("TLSv1.2" or "TLSv1.3").
    """

    method: str
    path: str
    headers: Message
    body: bytes
    client: x509.Certificate | None
    tls_version: str | None


@dataclass(frozen=True)
class Reply:
    """What an `app` returns; a bare str stands for `Reply(text)`."""

    text: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain; charset=utf-8"})


App = Callable[[Request], Reply | str]

FAILED = Reply("the server's app failed\n", 500)
"""What the caller gets of an app that fails: no more."""


@dataclass(frozen=True)
class Visit:
    """One event at the server: a request, a handshake that failed, or a caller who left without asking anything.

    Fields: `client` (the caller's certificate, None if none was shown or accepted), `refusal` (as the server saw it;
    None if the handshake succeeded), `tls_version` ("TLSv1.2", "TLSv1.3", or None where the two ends never agreed on
    one), `method`, `path` and `status` (None without a request), `error` (what `app` raised; the caller got a 500).
    """

    client: x509.Certificate | None = None
    refusal: Refusal | None = None
    tls_version: str | None = None
    method: str | None = None
    path: str | None = None
    status: int | None = None
    error: BaseException | None = None

    def __repr__(self) -> str:
        if self.refusal:
            return f"<Visit {self.refusal!r}>"
        who = distinguished_name(self.client) if self.client else "a client without a certificate"
        what = f"{self.method} {self.path} → {self.status}" if self.method else "no request"
        return f"<Visit by {who} over {self.tls_version}: {what}>"


@dataclass(frozen=True)
class Answer:
    """What became of a request: a reply, or a refusal.

    Fields: `status` (HTTP, None without a reply), `text` (the body, read as UTF-8), `headers` (names in lower case),
    `refusal` (None if there was a reply), `tls_version` ("TLSv1.2", "TLSv1.3"; None without a reply or without TLS).
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
        reply = f"{self.status} over {self.tls_version}: {self.text!r}"
        return f"<Answer {self.refusal!r}>" if self.refusal else f"<Answer {reply}>"
