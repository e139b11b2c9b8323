"""Why this client refuses the server: from OpenSSL's words and the server's certificates to a cause."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from mtlslab import refusals
from mtlslab.credentials import is_issued_by, printable
from mtlslab.diagnosis.files import Files, extension_of, is_forged, purpose_missing
from mtlslab.diagnosis.finding import Finding
from mtlslab.display import general_names, name, said
from mtlslab.refusals import Refusal

_OF_WORDS = {
    "certificate has expired": "expired-server",
    "certificate is not yet valid": "not-yet-valid-server",
    "unsuitable certificate purpose": "wrong-purpose-server",
    "CA cert does not include key usage extension": "ca-without-key-usage",
    "Basic Constraints of CA cert not marked critical": "basic-constraints-not-critical",
    "Missing Subject Key Identifier": "ca-without-subject-key-identifier",
    "Missing Authority Key Identifier": "server-without-authority-key-identifier",
}
"""The cause behind OpenSSL's words for what the client finds wrong with the server's chain."""


def is_strictness(error: BaseException | None) -> bool:
    """Tell whether only a strict verifier refuses this: Python's from 3.13 on; not curl, nor Node.js."""
    codes = refusals.REASONS["non-conforming"].verify_codes
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in codes


def of_strictness(refusal: Refusal) -> Finding:
    """Say what a strict verifier refuses, where others do not."""
    words = said(refusal)
    cause = next((cause for text, cause in _OF_WORDS.items() if text in words), refusal.reason)
    return Finding(cause, "possible", f"Python 3.13 and newer refuse this, curl does not: {words}")


def of_verification(refusal: Refusal, host: str, files: Files, chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    """Say what this client found wrong with the server."""
    words = said(refusal)
    is_namesake = bool(chain) and chain[0].subject == chain[0].issuer and not is_issued_by(chain[0], chain[0])
    if is_namesake and refusal.reason in ("self-signed", "unknown-ca"):
        evidence = f"{words}: subject and issuer are both {name(chain[0].subject)}, and it did not sign itself"
        yield from _of_unknown_ca(words, chain, files)
        yield Finding("server-named-like-its-ca", "possible", evidence)
    elif cause := next((cause for text, cause in _OF_WORDS.items() if text in words), None):
        yield _of_verdict(cause, words, chain, files)
    elif refusal.reason == "wrong-host":
        yield _of_host(words, host, chain)
    elif refusal.reason == "unknown-ca":
        yield from _of_unknown_ca(words, chain, files)
    elif refusal.reason == "invalid-ca":
        yield _of_invalid_ca(words, chain, files)
    elif refusal.reason == "self-signed":
        is_root = bool(chain) and not is_issued_by(chain[0], chain[0])
        yield Finding("unknown-server-ca" if is_root else "self-signed-server", "certain", words)
    else:
        yield Finding(refusal.reason, "certain", words)
    yield from _of_environment(files, refusal)


def _of_environment(files: Files, refusal: Refusal) -> Iterator[Finding]:
    """Say where the CAs came from, where it was not --cacert."""
    given = {n: os.environ[n] for n in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(n)}
    if files.cacert_path is None and given and refusal.reason in ("unknown-ca", "self-signed"):
        missing = [n for n, path in given.items() if not all(Path(p).exists() for p in path.split(os.pathsep))]
        evidence = printable(", ".join(f"{n} is {p}{': nothing is there' * (n in missing)}" for n, p in given.items()))
        yield Finding("trust-from-environment", "certain" if missing else "likely", evidence)


# --- the name -------------------------------------------------------------------------------------


def _of_host(words: str, host: str, chain: Sequence[x509.Certificate]) -> Finding:
    san = extension_of(chain[0], x509.SubjectAlternativeName) if chain else None
    names = [n.lower() for n in san.get_values_for_type(x509.DNSName)] if san else []
    host = host.lower()
    below = [host[: -len(n[1:])] for n in names if n.startswith("*.") and host.endswith(n[1:])]
    cause = "wrong-host"
    if any("." in label for label in below):
        cause = "wildcard-too-deep"
    if any("." not in label for label in below) and "_" in host.split(".")[0]:
        cause = "underscore-under-wildcard"
    if host in names:
        cause = "ip-address-as-dns-name"
    return Finding(cause, "certain", f"{words} {_some_names(san)}" if san else words)


def _some_names(san: x509.SubjectAlternativeName) -> str:
    """Say whom a certificate is for: it may have a hundred names, and they are a stranger's."""
    more = f" and {len(list(san)) - 5} more" if len(list(san)) > 5 else ""
    return f"It is for {printable(general_names(list(san)[:5]))}{more}."


# --- the chain ------------------------------------------------------------------------------------


def _of_unknown_ca(words: str, chain: Sequence[x509.Certificate], files: Files) -> Iterator[Finding]:
    """Follow the server's chain as far as it goes, and say who is missing there."""
    if not chain:
        yield Finding("unknown-server-ca", "likely", words)
        yield Finding("server-without-intermediate", "possible", words)
        return
    last, rest = chain[0], list(chain[1:])
    while above := next((c for c in rest if c.subject == last.issuer and c.subject != c.issuer), None):
        last = above
        rest.remove(above)
    many = "1 certificate" if len(chain) == 1 else f"{len(chain)} certificates"
    seen = f"the server sent {many}, leading up to {name(last.issuer)}"
    namesakes = [c for c in files.authorities if c.subject == last.issuer]
    if namesakes and all(is_forged(last, c) for c in namesakes):
        yield Finding("server-ca-made-again", "certain", f"{seen}; --cacert has a CA of that name, with another key")
        return
    strays = [c for c in rest if c.subject != last.issuer]
    link = next((c for c in files.neighbours if c.subject == last.issuer and is_issued_by(last, c)), None)
    if link is not None and any(link.issuer == c.subject != link.subject for c in files.authorities):
        yield Finding("server-without-intermediate", "certain", f"{seen}, an intermediate that lies beside --cert")
        return
    if strays and not namesakes:  # what was sent does not hang together
        yield Finding("server-without-intermediate", "likely", f"{seen}; {name(strays[0].subject)} is not its issuer")
    yield Finding("unknown-server-ca", "likely", seen)
    if not namesakes and last.subject != last.issuer:
        yield Finding("server-without-intermediate", "possible", f"{seen}; is that a root, or an intermediate?")


def _of_invalid_ca(words: str, chain: Sequence[x509.Certificate], files: Files) -> Finding:
    """Say which certificate is no CA."""
    issuers = {c.issuer for c in chain}
    where = {f"in {Path(files.cacert_path or '').name}": files.authorities, "which the server sent": chain[1:]}
    for place, certificates in where.items():
        for c in (c for c in certificates if c.subject in issuers):
            constraints, usage = extension_of(c, x509.BasicConstraints), extension_of(c, x509.KeyUsage)
            if not (constraints and constraints.ca) or (usage and not usage.key_cert_sign):
                lacks = "keyCertSign" if constraints and constraints.ca else "CA:TRUE"
                if c.version is x509.Version.v1:
                    lacks = "CA:TRUE: it is version 1, without extensions"
                evidence = f"{words}: {name(c.subject)}, {place}, has no {lacks}"
                cure = "Make that CA's certificate again, under the same key and name, with CA:TRUE and keyCertSign."
                return Finding("invalid-ca", "certain", evidence, advice=cure)
    return Finding("invalid-ca", "certain", words)


_IS_GUILTY: dict[str, Callable[[x509.Certificate], bool]] = {
    "expired-server": lambda certificate: certificate.not_valid_after_utc < datetime.now(UTC),
    "not-yet-valid-server": lambda certificate: certificate.not_valid_before_utc > datetime.now(UTC),
    "wrong-purpose-server": lambda certificate: purpose_missing(certificate, "server") is not None,
}
_OF_CA = {
    "expired-server": ("expired", "A CA above the server's certificate has passed its notAfter."),
    "not-yet-valid-server": ("not-yet-valid", "A CA above the server's certificate is not valid yet."),
    "wrong-purpose-server": ("wrong-purpose", "A CA above the server's certificate is not for servers."),
}
"""What is wrong with a CA, where OpenSSL's words are the same as for the server's own certificate."""


def _of_verdict(cause: str, words: str, chain: Sequence[x509.Certificate], files: Files) -> Finding:
    """Say which certificate OpenSSL's words are about: they do not."""
    is_guilty = _IS_GUILTY.get(cause)
    if not chain or is_guilty is None or is_guilty(chain[0]):
        return Finding(cause, "certain", words)
    issuers = {certificate.issuer for certificate in chain}
    above = {
        "which the server sent": chain[1:],
        "in the file of --cacert": [c for c in files.authorities if c.subject in issuers],
    }
    found = ((c, where) for where, certificates in above.items() for c in certificates if is_guilty(c))
    if (guilty := next(found, None)) is None:
        return Finding(cause, "certain", words)
    evidence = f"{words}: it is {name(guilty[0].subject)}, {guilty[1]}"
    cure = "Have that CA's certificate made again under the same key and name, and put it in the old one's place."
    cross = next((c for c in chain[1:] if c.issuer == guilty[0].subject and c.issuer != c.subject), None)
    if cross is not None and cause == "expired-server" and guilty[0].subject == guilty[0].issuer:
        root = name(cross.subject)
        evidence = f"{evidence}; the server sends a cross-signed {root}, which leads there"
        cure = f"If {root} is a root of its own by now, trust that one: put it into --cacert, and take the old one out."
    return Finding(_OF_CA[cause][0], "certain", evidence, _OF_CA[cause][1], cure)
