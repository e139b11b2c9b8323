"""How the package's objects show themselves in a notebook; a recorded handshake does that in `sequence`.

Everything here returns a `Table`, which JupyterLab draws as a table in the reader's own theme, and which
reads as plain text anywhere else. What varies from run to run (ports, dates, serial numbers) is left out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shutil
import ssl
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mtlslab.client import Answer
from mtlslab.exchanges import Visit
from mtlslab.profiles import PURPOSES
from mtlslab.refusals import REASONS, Refusal


@dataclass(frozen=True)
class Table:
    """Rows of text under headings. Shows itself as a Markdown table, and as aligned columns in plain text."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        lines = [self.headings, tuple("-" * len(h) for h in self.headings), *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.headings))]
        return "\n".join("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() for line in lines)

    def _repr_markdown_(self) -> str:
        lines = [self.headings, ("---",) * len(self.headings), *self.rows]
        return "\n".join("| " + " | ".join(_escaped(text) for text in line) + " |" for line in lines)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Make a `Table` from anything: True and False become yes and no, None a dash. Rows are as long as the headings."""
    made = tuple(tuple(_words(cell) for cell in row) for row in rows)
    if any(len(row) != len(headings) for row in made):
        raise ValueError(f"each row needs {len(headings)} cells, as many as there are headings")
    return Table(tuple(headings), made)


def _words(value: object) -> str:
    return {True: "yes", False: "no", None: "–"}[value] if value is None or isinstance(value, bool) else str(value)


def _escaped(text: str) -> str:
    return re.sub(r"([|*_<`\\$&]|~(?=~)|\](?=\())", r"\\\1", text).replace("\n", " ")


def said(refusal: Refusal) -> str:
    """Return a refusal's message without the line of CPython's source that it ends with: that differs by version."""
    return printable(re.sub(r"^_ssl\.c:\d+: | \(_ssl\.c:\d+\)$", "", refusal.message))


# --- certificates ---------------------------------------------------------------------------------


def name(of: x509.Name) -> str:
    """Write a distinguished name as openssl does: CN=example-ca. Strangers choose theirs: no control characters."""
    return printable(of.rfc4514_string()) or "(empty)"


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor, change its colours or end a row of a table."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def general_names(san: Iterable[x509.GeneralName]) -> str:
    """Write the names of a subjectAltName with their kinds: DNS:localhost, IP:127.0.0.1."""
    kinds = {
        x509.DNSName: "DNS",
        x509.IPAddress: "IP",
        x509.UniformResourceIdentifier: "URI",
        x509.RFC822Name: "email",
        x509.DirectoryName: "dirName",
    }
    values = ((n, name(n.value) if isinstance(n, x509.DirectoryName) else n.value) for n in san)
    return ", ".join(f"{kinds.get(type(n), 'other')}:{value}" for n, value in values)


def public_key(key: object) -> str:
    """Name the kind and size of a public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC, {key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def certificate(shown: x509.Certificate | x509.CertificateSigningRequest) -> Table:
    """Show what a certificate, or a CSR, says, by RFC 5280's names. Serial number and dates are left out."""
    rows: list[tuple[str, object]] = [("subject", name(shown.subject))]
    if isinstance(shown, x509.Certificate):
        days = (shown.not_valid_after_utc - shown.not_valid_before_utc).days
        rows = [
            ("version", shown.version.value + 1),
            *rows,
            ("issuer", name(shown.issuer)),
            ("validity", f"{days} days"),
        ]
    rows.append(("public key", public_key(shown.public_key())))
    for extension in shown.extensions:
        critical = " (critical)" if extension.critical else ""
        rows.append((extension.oid._name + critical, _extension(extension.value)))
    return table(("field", "value"), rows)


def _extension(value: x509.ExtensionType) -> str:
    match value:
        case x509.BasicConstraints():
            length = "" if value.path_length is None else f", path length {value.path_length}"
            return f"CA:{str(value.ca).upper()}{length}"
        case x509.KeyUsage():
            return ", ".join(_key_usages(value))
        case x509.ExtendedKeyUsage():
            return ", ".join(PURPOSES.get(oid, oid.dotted_string) for oid in value)
        case x509.SubjectAlternativeName():
            return general_names(value)
        case x509.SubjectKeyIdentifier():
            return "(a hash of the public key)"
        case x509.AuthorityKeyIdentifier():
            return "(the issuer's subjectKeyIdentifier)"
        case _:
            return "(present)"


_KEY_USAGE_NAMES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}


def _key_usages(usage: x509.KeyUsage) -> list[str]:
    return [name for attribute, name in _KEY_USAGE_NAMES.items() if getattr(usage, attribute)]


# --- requests, seen from both ends ----------------------------------------------------------------


def both_ends(answer: Answer, visit: Visit | None) -> Table:
    """Show one event as the client saw it and as the server saw it."""
    return table(("", "the client", "the server"), zip(_FACTS, _facts(answer), _facts(visit), strict=True))


_FACTS = ("outcome", "who said no", "reason", "TLS alert", "caller, verified", "TLS version")


def _facts(view: Answer | Visit | None) -> list[object]:
    if view is None:
        return ["no visit", None, None, None, None, None]
    outcome = "refused" if view.refusal else f"answered {view.status}" if view.status else "no request"
    refusal = view.refusal
    no = [refusal.by, refusal.reason, refusal.alert] if refusal else [None, None, None]
    client = name(view.client.subject) if isinstance(view, Visit) and view.client else None
    return [outcome, *no, client, view.tls_version]


def refusal(shown: Refusal) -> Table:
    """Show a refusal's fields, with what its reason means."""
    rows = (
        ("who said no", shown.by),
        ("reason", shown.reason),
        ("which means", REASONS[shown.reason].meaning),
        ("TLS alert", shown.alert),
        ("curl's exit code", shown.curl_exit_code),
        ("advice", shown.advice),
    )
    return table(("field", "value"), rows)


# --- the reader's machine -------------------------------------------------------------------------

_NEEDED = ("cryptography", "httpx", "jupyterlab", "nbval")
_HANDY = ("openssl", "curl", "node")


def environment() -> Table:
    """Check what the course needs: Python, OpenSSL, four packages; and the programs that some pages also use.

    Each row says "ok" or the cure. Versions are left out where they are good enough.
    """
    rows = [
        ("Python 3.11 or newer", _ok(sys.version_info >= (3, 11), "install Python 3.11 or newer")),
        (
            "OpenSSL 3 inside Python",
            _ok(ssl.OPENSSL_VERSION_INFO >= (3, 0), "use a Python built with OpenSSL 3"),
        ),
        ("TLS 1.3", _ok(ssl.HAS_TLSv1_3, "use a Python whose OpenSSL speaks TLS 1.3")),
    ]
    rows += [(package, _ok(_installed(package), f"pip install {package}")) for package in _NEEDED]
    return table(("needed", "found"), rows)


def tools() -> Table:
    """Show which of openssl, curl and node are on the PATH. Only some pages use them."""
    return table(("program", "found"), [(tool, shutil.which(tool) is not None) for tool in _HANDY])


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _ok(good: bool, cure: str) -> str:
    return "ok" if good else cure


def __getattr__(name: str) -> Any:
    """Find what has moved to the room of the faults; its old name still works."""
    if name in ("gallery", "index_of_messages"):
        return getattr(importlib.import_module("mtlslab.faults"), name)
    raise AttributeError(f"module 'mtlslab.display' has no attribute {name!r}")
