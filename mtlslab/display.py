"""How the package's objects show themselves in a notebook; a recorded handshake does that in `sequence`.

Everything here returns a `Table`, which JupyterLab draws as a table in the reader's own theme, and which
reads as plain text anywhere else. What varies from run to run (ports, dates, serial numbers) is left out.
"""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mtlslab import credentials
from mtlslab.client import Answer
from mtlslab.credentials import UNREADABLE, distinguished_name
from mtlslab.exchanges import Visit
from mtlslab.profiles import KEY_USAGES, PURPOSES
from mtlslab.refusals import REASONS, Refusal

printable = credentials.printable


@dataclass(frozen=True)
class Table:
    """Rows of text under headings. Shows itself as a Markdown table, and as aligned columns in plain text."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        head, *rows = (tuple(map(_one_line, line)) for line in (self.headings, *self.rows))
        lines = [head, tuple("-" * len(h) for h in head), *rows]
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


def _one_line(text: str) -> str:
    return printable(" ".join(text.splitlines()))


def _escaped(text: str) -> str:
    return re.sub(r"([|*_<`\\$&]|~(?=~)|\](?=\())", r"\\\1", _one_line(text))


def said(refusal: Refusal) -> str:
    """Return a refusal's message without the line of CPython's source that it ends with: that differs by version."""
    return printable(re.sub(r"^_ssl\.c:\d+: | \(_ssl\.c:\d+\)$", "", refusal.message))


# --- certificates ---------------------------------------------------------------------------------


def name(of: x509.Name) -> str:
    """Write a distinguished name as openssl does: CN=example-ca. Strangers choose theirs: no control characters."""
    return printable(of.rfc4514_string()) or "(empty)"


def general_names(san: Iterable[x509.GeneralName]) -> str:
    """Write the names of a subjectAltName with their kinds: DNS:localhost, IP:127.0.0.1. None can pass for two."""
    kinds = {
        x509.DNSName: "DNS",
        x509.IPAddress: "IP",
        x509.UniformResourceIdentifier: "URI",
        x509.RFC822Name: "email",
        x509.DirectoryName: "dirName",
    }
    values = ((n, name(n.value) if isinstance(n, x509.DirectoryName) else printable(str(n.value))) for n in san)
    return ", ".join(
        f"{kinds.get(type(n), 'other')}:{json.dumps(value, ensure_ascii=False) if ', ' in value else value}"
        for n, value in values
    )


def public_key(key: object) -> str:
    """Name the kind and size of a public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC, {key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def certificate(shown: x509.Certificate | x509.CertificateSigningRequest) -> Table:
    """Show what a certificate, or a CSR, says, by RFC 5280's names. Serial number and dates are left out."""
    rows = [("subject", distinguished_name(shown))]
    if isinstance(shown, x509.Certificate):
        days = _read(lambda: f"{(shown.not_valid_after_utc - shown.not_valid_before_utc).days} days")
        issuer = distinguished_name(shown, "issuer")
        rows = [("version", str(shown.version.value + 1)), *rows, ("issuer", issuer), ("validity", days)]
    rows.append(("public key", _read(lambda: public_key(shown.public_key()))))
    try:
        with warnings.catch_warnings(action="ignore"):  # of names longer than their kind may be
            extensions = list(shown.extensions)
    except UNREADABLE as error:
        rows.append(("extensions", f"(unreadable: {error})"))
        extensions = []
    for extension in extensions:
        critical = " (critical)" if extension.critical else ""
        rows.append((extension.oid._name + critical, _extension(extension.value)))
    return table(("field", "value"), rows)


def _read(part: Callable[[], str]) -> str:
    try:
        return part()
    except UNREADABLE as error:
        return f"(unreadable: {error})"


def _extension(value: x509.ExtensionType) -> str:
    match value:
        case x509.BasicConstraints():
            length = "" if value.path_length is None else f", path length {value.path_length}"
            return f"CA:{str(value.ca).upper()}{length}"
        case x509.KeyUsage():
            return ", ".join(said for bit, said in KEY_USAGES.items() if getattr(value, f"_{bit}"))
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


def __getattr__(name: str) -> Any:
    """Find what lives in the rooms of the faults and of the notebooks; its name here works as well."""
    if name in ("gallery", "index_of_messages", "environment", "tools"):
        room = "mtlslab.notebook.machine" if name in ("environment", "tools") else "mtlslab.faults"
        return getattr(importlib.import_module(room), name)
    raise AttributeError(f"module 'mtlslab.display' has no attribute {name!r}")
