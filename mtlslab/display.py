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

from mtlslab.credentials import BROKEN, distinguished_name, printable
from mtlslab.exchanges import Answer, Visit
from mtlslab.profiles import KEY_USAGES, PURPOSES
from mtlslab.refusals import Refusal


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
    made = tuple(tuple(_words(cell) for _, cell in zip(headings, row, strict=True)) for row in rows)
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


_KINDS = {
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
    x509.DirectoryName: "dirName",
}


def general_names(san: Iterable[x509.GeneralName]) -> str:
    """Write the names of a subjectAltName with their kinds: DNS:localhost, IP:127.0.0.1. None can pass for two."""
    shown = []
    for one in san:
        value = name(one.value) if isinstance(one, x509.DirectoryName) else printable(str(one.value))
        shown.append(
            f"{_KINDS.get(type(one), 'other')}:{json.dumps(value, ensure_ascii=False) if ', ' in value else value}"
        )
    return ", ".join(shown)


def public_key(key: object) -> str:
    """Name the kind and size of a public key."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC, {key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def certificate(shown: x509.Certificate | x509.CertificateSigningRequest) -> Table:
    """Show what a certificate, or a CSR, says, by RFC 5280's names. Serial number and dates are left out.

    The validity is rounded to whole days: a certificate that ends with its issuer may be some minutes short of them.
    """
    rows = [("subject", distinguished_name(shown)), ("public key", _read(lambda: public_key(shown.public_key())))]
    if isinstance(shown, x509.Certificate):
        days = _read(lambda: f"{_days(shown)} days")
        rows[1:1] = [("issuer", distinguished_name(shown, "issuer")), ("validity", days)]
        rows.insert(0, ("version", str(shown.version.value + 1)))
    try:
        with warnings.catch_warnings(action="ignore"):  # of names longer than their kind may be
            extensions = list(shown.extensions)
    except BROKEN as error:
        return table(("field", "value"), [*rows, ("extensions", f"(unreadable: {error})")])
    for extension in extensions:
        critical = " (critical)" if extension.critical else ""
        words = _EXTENSIONS.get(type(extension.value), lambda _: "(present)")
        rows.append((extension.oid._name + critical, words(extension.value)))
    return table(("field", "value"), rows)


def _days(of: x509.Certificate) -> int:
    return round((of.not_valid_after_utc - of.not_valid_before_utc).total_seconds() / 86400)


def _read(part: Callable[[], str]) -> str:
    try:
        return part()
    except BROKEN as error:
        return f"(unreadable: {error})"


def _basic_constraints(of: x509.BasicConstraints) -> str:
    return f"CA:{str(of.ca).upper()}" + ("" if of.path_length is None else f", path length {of.path_length}")


_EXTENSIONS: dict[type[x509.ExtensionType], Callable[[Any], str]] = {
    x509.BasicConstraints: _basic_constraints,
    x509.KeyUsage: lambda usage: ", ".join(said for bit, said in KEY_USAGES.items() if getattr(usage, f"_{bit}")),
    x509.ExtendedKeyUsage: lambda purposes: ", ".join(PURPOSES.get(oid, oid.dotted_string) for oid in purposes),
    x509.SubjectAlternativeName: general_names,
    x509.SubjectKeyIdentifier: lambda _: "(a hash of the public key)",
    x509.AuthorityKeyIdentifier: lambda _: "(the issuer's subjectKeyIdentifier)",
}


# --- requests, seen from both ends ----------------------------------------------------------------


def both_ends(answer: Answer, visit: Visit | None) -> Table:
    """Show one event as the client saw it and as the server saw it."""
    facts = ("outcome", "who said no", "reason", "TLS alert", "caller, verified", "TLS version")
    return table(("", "the client", "the server"), zip(facts, _facts(answer), _facts(visit), strict=True))


def _facts(view: Answer | Visit | None) -> list[object]:
    if view is None:
        return ["no visit", *[None] * 5]
    no = view.refusal
    outcome = "refused" if no else f"answered {view.status}" if view.status else "no request"
    client = name(view.client.subject) if isinstance(view, Visit) and view.client else None
    return [outcome, *((no.by, no.reason, no.alert) if no else [None] * 3), client, view.tls_version]


def __getattr__(name: str) -> Any:
    """Find what lives in the rooms of the faults and of the notebooks; its name here works as well."""
    if name in ("gallery", "index_of_messages", "environment", "tools"):
        room = "mtlslab.notebook.machine" if name in ("environment", "tools") else "mtlslab.faults"
        return getattr(importlib.import_module(room), name)
    raise AttributeError(f"module 'mtlslab.display' has no attribute {name!r}")
