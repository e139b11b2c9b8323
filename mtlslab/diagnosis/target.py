"""What people type for an address, and what is dialled for it."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

from mtlslab import errors
from mtlslab.client import check_url

_PORTS = {
    "https": 443, "wss": 443, "http": 80, "ws": 80, "grpcs": 443, "amqps": 5671, "mqtts": 8883, "ldaps": 636,
    "smtps": 465, "imaps": 993, "pop3s": 995, "rediss": 6379, "nats": 4222, "tls": 443, "ssl": 443,
    "postgres": 5432, "postgresql": 5432, "mysql": 3306, "mariadb": 3306, "smtp": 25, "imap": 143, "pop3": 110,
    "ldap": 389,
}  # fmt: skip
"""Schemes, with the port that each stands for."""

_STARTTLS_OF = {"postgresql": "postgres", "mariadb": "mysql"}
STARTTLS = ("postgres", "mysql", "smtp", "imap", "pop3", "ldap")
"""Protocols that begin in the clear, and turn to TLS when asked to."""


@dataclass(frozen=True)
class Target:
    """Where to call, and as whom to greet what answers there.

    Fields: `shown`, the address without anything secret; `scheme`; `host` and `port`, what is dialled; `server_name`,
    whom to ask for and to expect; `authority` and `path` (with its query), for the request; `authorization`, the header
    that a user and a password in the URL stand for; `starttls`, what to say before TLS; `proxy`, through whom to call.
    """

    shown: str
    scheme: str
    host: str
    port: int
    server_name: str
    authority: str
    path: str = "/"
    authorization: str = ""
    starttls: str | None = None
    proxy: tuple[str, int] | None = None

    @property
    def speaks_http(self) -> bool:
        """Whether a request may be made there."""
        return self.scheme in ("https", "wss", "http", "ws") and self.starttls in (None, "proxy-protocol")


def target(
    url: str, *, connect_to: str | None = None, server_name: str | None = None, starttls: str | None = None
) -> Target:
    """Read an address: a URL, or a host with or without a port. Raises `errors.OptionRefused`.

    `connect_to` is HOST:PORT to dial in its place, also as curl writes it (HOST1:PORT1:HOST2:PORT2); `server_name` is
    whom to ask for and to expect there.
    """
    if not isinstance(url, str):
        check_url(url)  # says what is wrong
    scheme, rest = _split(url)
    user = re.match(r"[^/?#]*@", rest)
    rest = rest[user.end() :] if user else rest
    if scheme not in _PORTS:
        raise errors.OptionRefused("url", f"{scheme}:// is not known here; it looks like https://localhost:3000")
    try:
        parsed = check_url(f"{'http' if scheme == 'http' else 'https'}://{rest}")
    except errors.OptionRefused:
        if "@" not in rest:
            raise
        problem = "it is not one; write what is special in its user and password in percent: %2F for a slash"
        raise errors.OptionRefused("url", problem) from None  # which does not quote it: a password may be in it
    if starttls is not None and starttls not in STARTTLS:
        raise errors.OptionRefused("starttls", f"{starttls!r} is not one of {', '.join(STARTTLS)}")
    host, port = parsed.raw_host.decode(), parsed.port or _PORTS[scheme]
    named = f"[{host}]" if ":" in host else host
    authority = named if port == _PORTS[scheme] else f"{named}:{port}"
    dialled = _dialled(connect_to, host, port)
    implied = _STARTTLS_OF.get(scheme, scheme)
    return Target(
        shown=f"{starttls or scheme}://{authority}{parsed.raw_path.decode().split('?')[0].removesuffix('/')}",
        scheme=scheme,
        host=dialled[0],
        port=dialled[1],
        server_name=_checked_name(server_name or host),
        authority=authority,
        path=parsed.raw_path.decode(),
        authorization=_basic(user[0][:-1]) if user else "",
        starttls=starttls or (implied if implied in STARTTLS else None),
    )


def _split(url: str) -> tuple[str, str]:
    written = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://", url)
    return (written[1].lower(), url[written.end() :].rstrip()) if written else ("https", url.strip())


def _basic(user: str) -> str:
    """Write a user and a password as HTTP's header has them (RFC 7617)."""
    name, _, password = user.partition(":")
    return "Basic " + b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()


def _checked_name(name: str) -> str:
    try:
        name.encode("idna")
    except UnicodeError:
        raise errors.OptionRefused("server_name", f"{name!r} is not the name of a host") from None
    if not name or name.startswith(".") or "\0" in name:
        raise errors.OptionRefused("server_name", f"{name!r} is not the name of a host")
    return name.rstrip(".") or name


def _dialled(connect_to: str | None, host: str, port: int) -> tuple[str, int]:
    if connect_to is None:
        return host, port
    field = r"(\[[^\]]*\]|[^:\[\]]*)"
    found = re.fullmatch(rf"(?:{field}:\d*:)?{field}:(\d{{0,5}})", connect_to)
    if not found or not int(found[3] or 1) < 65536:
        raise errors.OptionRefused("connect_to", f"{connect_to!r} is not HOST:PORT, nor HOST1:PORT1:HOST2:PORT2")
    return found[2].strip("[]") or host, int(found[3] or port)


def proxy_of_environment(host: str) -> tuple[str, tuple[str, int]] | None:
    """Return the variable that sends other programs through a proxy, and the proxy's host and port: no password."""
    proxies = getproxies()
    name = next((name for name in ("https", "all") if proxies.get(name)), None)
    if name is None or proxy_bypass(host):
        return None
    address = re.fullmatch(
        r"(?:[a-z0-9+.-]+://)?(?:[^/@]*@)?(\[[^\]]+\]|[^:/\[\]]+)(?::(\d{1,5}))?/?", proxies[name], re.IGNORECASE
    )
    if address is None or not 0 < int(address[2] or 3128) < 65536:
        return None
    return f"{name.upper()}_PROXY", (address[1].strip("[]"), int(address[2] or 3128))
