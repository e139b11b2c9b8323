"""The caller's certificate in a header, as a proxy that ends TLS hands it on (RFC 9440), and three older forms.

A value that decodes is well formed, and no more: whoever can reach the application can write one, for a certificate is
public. It says who calls only where the proxy strips what callers send, and nobody can go round the proxy.

Each decoder takes exactly what its proxy writes. RFC 8941 §4.2.7 lets a reader be lenient about padding; then two
readers may find two certificates in one value. Here a value has one reading or none.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import failures
from mtlslab.credentials import certificate_pem

MAX_LENGTH = 16384
"""The longest value that is read, in characters. No RFC sets it; many servers stop at half of that for a header."""

MAX_CHAIN = 10
"""The longest chain that is read, in certificates."""

_HEADER, _CHAIN = "Client-Cert", "Client-Cert-Chain"
_BYTE_SEQUENCE = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
"""RFC 8941 §3.3.5."""

_ABSENT = frozenset({"", "::", "-", "(null)"})
"""What proxies send for a caller without a certificate: nginx, Envoy nothing; HAProxy and Caddy an empty byte sequence
where the colons were configured; Apache "(null)"; access-log habits a hyphen."""


# --- RFC 9440 -------------------------------------------------------------------------------------


def encode(certificate: x509.Certificate) -> str:
    """Return the value of Client-Cert for a certificate: its DER in Base64, between colons (RFC 9440 §2.1, §2.2)."""
    return f":{base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()}:"


def encode_chain(certificates: Iterable[x509.Certificate]) -> str:
    """Return the value of Client-Cert-Chain: the certificates above the caller's own, in TLS's order (§2.3)."""
    return ", ".join(map(encode, certificates))


def decode(value: str | bytes) -> x509.Certificate:
    """Return the certificate in a value of Client-Cert. Raises `errors.HeaderRefused`, which names the rule."""
    return _decode(_text(value, _HEADER), _HEADER)


def decode_chain(value: str | bytes) -> list[x509.Certificate]:
    """Return the certificates in a value of Client-Cert-Chain: they are claims, and nobody has verified them.

    Many proxies pass on whatever their caller sent beside its own certificate. Raises `errors.HeaderRefused`.
    """
    text = _text(value, _CHAIN, MAX_CHAIN * MAX_LENGTH)
    parts = re.split(r"[ \t]*,[ \t]*", text)  # a list as of RFC 8941 §4.2.1
    if len(parts) > MAX_CHAIN:
        raise failures.HeaderRefused(_CHAIN, f"{len(parts)} certificates; {MAX_CHAIN} are the most that are read")
    return [_decode(part, _CHAIN) for part in parts]


def _decode(text: str, header: str) -> x509.Certificate:
    if "," in text:
        raise failures.HeaderRefused(header, "a list, or a header that came twice; it has one value (RFC 9440 §2.2)")
    if not (found := _BYTE_SEQUENCE.fullmatch(text)):
        raise failures.HeaderRefused(
            header, "not a byte sequence, Base64 between colons (RFC 9440 §2.1, RFC 8941 §3.3.5)"
        )
    return _certificate(found[1], header)


# --- the older forms ------------------------------------------------------------------------------


def decode_nginx(value: str | bytes) -> x509.Certificate:
    """Return the certificate in what nginx writes for `$ssl_client_escaped_cert`: PEM, percent-encoded.

    Raises `errors.HeaderRefused`.
    """
    header = "$ssl_client_escaped_cert"
    return _escaped_pem(_text(value, header), header)


def decode_apache(value: str | bytes) -> x509.Certificate:
    """Return the certificate in what Apache writes for `%{SSL_CLIENT_CERT}s`: PEM, with blanks for line breaks.

    Raises `errors.HeaderRefused`.
    """
    header = "%{SSL_CLIENT_CERT}s"
    text = _text(value, header)
    words = text.rstrip(" ").split(" ")
    return _pem(
        [" ".join(words[:2]), *words[2:-2], " ".join(words[-2:])], header
    )  # the markers hold a blank themselves


def decode_envoy(value: str | bytes) -> x509.Certificate:
    """Return the certificate in Envoy's X-Forwarded-Client-Cert (XFCC), from its field Cert.

    There must be one element, as with `SANITIZE_SET`: where each proxy appends its own, the first may be the caller's.
    A Hash beside it must be the certificate's. Raises `errors.HeaderRefused`.
    """
    header = "X-Forwarded-Client-Cert"
    text = _text(value, header)
    fields: dict[str, str] = {}
    place = 0
    while place < len(text):
        found = _XFCC_FIELD.match(text, place)
        if not found:
            what = "more than one element" if text[place - 1 : place] == "," else "not of the form Key=Value;Key=Value"
            raise failures.HeaderRefused(header, what)
        if (key := found["key"].lower()) in fields and key not in _XFCC_REPEATED:
            raise failures.HeaderRefused(header, f"the field {found['key']} twice")
        fields[key] = found["bare"] or re.sub(r"\\(.)", r"\1", found["quoted"] or "")
        place = found.end()
        if found["end"] == ",":
            raise failures.HeaderRefused(header, "more than one element; let the proxy set it (SANITIZE_SET)")
    if "cert" not in fields:
        raise failures.HeaderRefused(header, "no field Cert; have Envoy add it (set_current_client_cert_details)")
    certificate = _escaped_pem(fields["cert"], header)
    if "hash" in fields and fields["hash"].lower() != certificate.fingerprint(SHA256()).hex():
        raise failures.HeaderRefused(header, "its Hash is not that of its Cert")
    return certificate


_XFCC_FIELD = re.compile(
    r'(?P<key>[A-Za-z]+)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^",;=]*))(?P<end>;(?=.)|,|\Z)', re.DOTALL
)
_XFCC_REPEATED = frozenset({"by", "uri", "dns"})
"""A certificate may have several names, and the proxy's own too."""


def _escaped_pem(text: str, header: str) -> x509.Certificate:
    pem = unquote(text, encoding="latin-1")
    if quote(pem, safe="", encoding="latin-1") != text:
        raise failures.HeaderRefused(header, "not percent-encoded as the proxy does it")
    return _pem(pem.removesuffix("\n").split("\n"), header)


def _pem(lines: list[str], header: str) -> x509.Certificate:
    if (lines[0], lines[-1]) != ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"):
        raise failures.HeaderRefused(header, "not one certificate in PEM, from its BEGIN to its END")
    certificate = _certificate("".join(lines[1:-1]), header)
    if certificate_pem(certificate).decode().splitlines() != lines:
        raise failures.HeaderRefused(header, "not PEM as the proxy writes it, in lines of 64 characters")
    return certificate


# --- what they share ------------------------------------------------------------------------------


def _text(value: str | bytes, header: str, longest: int = MAX_LENGTH) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise failures.HeaderRefused(header, "not the text of a header: a str, or bytes")
    if text in _ABSENT:
        raise failures.HeaderRefused(header, "no certificate: the caller showed none", absent=True)
    if len(text) > longest:
        raise failures.HeaderRefused(header, f"longer than the {longest} characters that are read")
    return text


def _certificate(text: str, header: str) -> x509.Certificate:
    """Read Base64 of DER that there is one way to write."""
    try:
        der = base64.b64decode(text, validate=True)
        if base64.b64encode(der).decode() != text:
            raise failures.HeaderRefused(header, "not the one Base64 of its bytes (RFC 4648 §3.5)")
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
    except (binascii.Error, UnicodeError):
        raise failures.HeaderRefused(header, "not Base64 (RFC 4648 §4)") from None
    except failures.HeaderRefused:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise failures.HeaderRefused(
            header, "not one certificate in DER, whole and nothing more (RFC 5280 §4.1)"
        ) from None
    return certificate
