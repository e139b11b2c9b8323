"""What is sent, as data: header names and the forms that proxies give a certificate in them, and odd requests."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import client_cert
from mtlslab.credentials import certificate_pem

Who = Literal["me", "nobody", "a stranger", "both"]
"""As whom an attack is sent: with my credential; without; with another CA's in the victim's name; with mine and the
victim's certificate beside it."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "Client-Cert": ("RFC 9440", "Base64", "escaped PEM", "PEM with blanks"),
    "Client-Cert-Chain": ("RFC 9440",),
    "X-Client-Cert": ("RFC 9440", "Base64", "escaped PEM", "PEM with blanks"),
    "SSL-Client-Cert": ("escaped PEM", "Base64", "PEM with blanks"),
    "X-SSL-Client-Cert": ("escaped PEM", "Base64", "PEM with blanks"),
    "X-SSL-Cert": ("escaped PEM", "PEM with blanks"),
    "X-Forwarded-Client-Cert": ("XFCC", "escaped PEM"),
    "X-Forwarded-Tls-Client-Cert": ("Base64", "escaped PEM"),
    "X-Forwarded-Tls-Client-Cert-Info": ("Traefik's info",),
    "X-ARR-ClientCert": ("Base64",),
    "X-Amzn-Mtls-Clientcert": ("escaped PEM",),
    "X-Amzn-Mtls-Clientcert-Leaf": ("escaped PEM",),
    "Cf-Client-Cert-Der-Base64": ("Base64",),
    "X-SSL-Client-S-DN": ("subject", "subject with slashes"),
    "X-SSL-Client-DN": ("subject", "subject with slashes"),
    "X-Client-DN": ("subject",),
    "X-Client-Subject": ("subject",),
}
"""The headers in which proxies and load balancers hand a certificate on, each with the forms that are seen in it; the
first is the usual one."""

SPELLINGS = {"lower case": str.lower, "upper case": str.upper}

STRIP = "strip this header from every request on arrival, whether or not there is a certificate"
UNDERSCORE = "strip names with an underscore too: WSGI and CGI read Client_Cert as Client-Cert"
CONNECTION = "set the header in the last step before the request goes on, and strip Connection's list from callers"


@dataclass(frozen=True)
class Attack:
    """One request, and what to make of it.

    Fields: `family`, which it is reported with; `name`; `by`, as whom it is sent; `lines`, header lines as they are
    sent; `cure`, for whom it gets through to; `allowed`, whom an answer may name; `method`, `version`, `body`; `host`
    and `path`, empty for the deployment's own.
    """

    family: str
    name: str
    by: Who
    lines: tuple[str, ...]
    cure: str
    allowed: tuple[str, ...] = ("me",)
    method: str = "GET"
    version: str = "1.1"
    body: bytes = b""
    host: str = ""
    path: str = ""


NONE = Attack("", "", "me", (), "")

CALLERS = (
    Attack(
        "no certificate",
        "no certificate",
        "nobody",
        (),
        "require and verify a certificate, or answer as to nobody",
        ("nobody",),
    ),
    Attack(
        "another CA's certificate with the victim's name",
        "another CA's certificate with the victim's name",
        "a stranger",
        (),
        "verify what is shown: Caddy require_and_verify, nginx ssl_verify_client on, HAProxy verify required",
        ("nobody",),
    ),
    Attack(
        "the victim's certificate beside mine",
        "the victim's certificate beside mine",
        "both",
        (),
        "read the caller's own certificate, the first; the others prove nothing",
    ),
)

ADMIN = Attack(
    "Caddy's admin interface",
    "Caddy's admin interface",
    "nobody",
    (),
    "admin off, or a UNIX socket that only its owner may open",
    ("nobody",),
    path="/config/",
)


def forms(certificate: x509.Certificate) -> dict[str, str]:
    """Return every form that a certificate, or its subject, is written in."""
    pem = certificate_pem(certificate).decode()
    escaped, subject = quote(pem, safe=""), certificate.subject.rfc4514_string()
    xfcc_subject = subject.replace('"', '\\"')
    fingerprint = certificate.fingerprint(SHA256()).hex()
    return {
        "RFC 9440": client_cert.encode(certificate),
        "Base64": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        "escaped PEM": escaped,
        "PEM with blanks": pem.strip().replace("\n", " "),
        "XFCC": f'Hash={fingerprint};Cert="{escaped}";Subject="{xfcc_subject}"',
        "Traefik's info": quote(f'Subject="{subject}"', safe=""),
        "subject": subject,
        "subject with slashes": "".join(f"/{part.rfc4514_string()}" for part in certificate.subject.rdns),
    }


def forged(victim: x509.Certificate, by: Who) -> Iterator[Attack]:
    """Every header in its forms and spellings, with the victim's certificate: what a proxy must strip."""
    written, allowed = forms(victim), (by,)
    family = "a forged header" if by == "me" else "a forged header, without a certificate"
    for name, kinds in NAMES.items():
        for kind in kinds:
            yield Attack(family, f"{name}, {kind}", by, _lines(name, written[kind], written), STRIP, allowed)
        spelt = name.replace("-", "_")
        yield Attack(
            f"{family}, with _ for -",
            f"{spelt}, {kinds[0]}",
            by,
            (f"{spelt}: {written[kinds[0]]}",),
            UNDERSCORE,
            allowed,
        )
    for word, spell in SPELLINGS.items():
        yield Attack(
            family, f"Client-Cert, {word}", by, (f"{spell('Client-Cert')}: {written['RFC 9440']}",), STRIP, allowed
        )


def past_the_proxy(victim: x509.Certificate) -> Iterator[Attack]:
    """The same, to the application itself, in its usual spelling."""
    cure = "let the application listen where only the proxy gets: mutual TLS with a CA of its own, or a UNIX socket"
    for attack in forged(victim, "me"):
        if "_" not in attack.name:
            yield replace(
                attack,
                family="past the proxy",
                name=f"past the proxy: {attack.name}",
                cure=cure,
                allowed=_NOT_THE_VICTIM,
            )


_NOT_THE_VICTIM = ("nobody", "me")


def _lines(name: str, value: str, written: Mapping[str, str]) -> tuple[str, ...]:
    """A subject is believed beside a verdict, where one is looked at."""
    verdicts = ("X-SSL-Client-Verify: SUCCESS", "X-Client-Verify: SUCCESS") if value == written["subject"] else ()
    return (f"{name}: {value}", *verdicts)


def named_in_connection() -> Iterator[Attack]:
    """Connection's list names headers that end at the next hop (RFC 9110 §7.6.1): also one that the proxy has set?"""
    family = "a header named in Connection"
    yield Attack(
        family, "Connection: all of them at once", "me", (f"Connection: close, {', '.join(NAMES)}",), CONNECTION
    )
    for name in NAMES:
        yield Attack(family, f"Connection: {name}", "me", (f"Connection: close, {name}",), CONNECTION)


def odd(victim: x509.Certificate) -> Iterator[Attack]:
    """Requests that two parsers may read differently."""
    name, value = "Client-Cert", client_cert.encode(victim)
    line = f"{name}: {value}"
    cure = "let the proxy refuse what RFC 9112 calls malformed, and the application refuse a value that is not one"
    rows: dict[str, tuple[str, ...]] = {
        "twice": (line, line),
        "a blank before the colon": (f"{name} : {value}",),
        "folded into another header": ("X-A: 1", f" {line}"),
        "after a bare LF": (f"X-A: 1\n{line}",),
        "after a bare CR": (f"X-A: 1\r{line}",),
        "60 KiB of it": (f"{name}: :{'A' * 61440}:",),
    }
    for what, lines in rows.items():
        yield Attack("a malformed request", f"{name} {what}", "me", lines, cure)
    yield Attack("a malformed request", f"{name} over HTTP/1.0", "me", (line,), cure, version="1.0")
    yield Attack(
        "a malformed request",
        f"{name} as a trailer",
        "me",
        ("Transfer-Encoding: chunked", f"Trailer: {name}"),
        "never merge trailers into headers (RFC 9110 §6.5.1)",
        method="POST",
        body=f"1\r\nx\r\n0\r\n{line}\r\n\r\n".encode(),
    )
    yield Attack(
        "an upgrade",
        "Upgrade: h2c",
        "me",
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        "strip Upgrade, or pass on websocket alone: behind an upgrade the proxy reads nothing any more",
    )
