"""What the caller's files tell before anybody is dialled."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import errors
from mtlslab.contexts import FilePath
from mtlslab.credentials import is_issued_by, read_certificates, read_private_key, weakness
from mtlslab.diagnosis.finding import Finding, as_sentence
from mtlslab.display import name
from mtlslab.faults import FAULTS

OF_LOADING = {"EE_KEY_TOO_SMALL": "weak-client-key", "CA_MD_TOO_WEAK": "sha1-client"}
"""The cause behind OpenSSL's word for a file that it does not load."""

PUT_UP_WITH = frozenset(f.name for f in FAULTS.values() if f.verdicts["1.2"].by is None)
"""What is wrong without being refused."""


class Files:
    """The caller's files, as far as they can be read."""

    def __init__(
        self, cacert: FilePath | None, cert: FilePath | None, key: FilePath | None, password: str | None
    ) -> None:
        self.cacert_path, self.cert_path, self.key_path, self.password = cacert, cert, key or cert, password
        self.problems: list[errors.FileRefused] = []
        self.authorities = [c for c in self._read(read_certificates, cacert) or [] if _is_named(c)]
        self.sent: list[x509.Certificate] = self._read(_read_own, cert) or []

    def _read(self, read: Any, path: FilePath | None, **options: Any) -> Any:
        if path is None:
            return None
        try:
            return read(path, **options)
        except errors.FileRefused as problem:
            self.problems.append(problem)
            return None

    @property
    def leaf(self) -> x509.Certificate | None:
        """The client's certificate."""
        return self.sent[0] if self.sent else None


def _is_named(certificate: x509.Certificate) -> bool:
    """Tell whether cryptography reads a CA's name: a bundle may hold stranger ones, which OpenSSL takes."""
    try:
        return bool(certificate.subject and certificate.issuer)
    except ValueError:
        return False


def _read_own(path: FilePath) -> list[x509.Certificate]:
    """Read the client's certificates, to the last field that is looked at here: cryptography parses on demand."""
    certificates = read_certificates(path)
    try:
        for c in certificates:
            _ = c.subject, c.issuer, c.public_key(), c.not_valid_before_utc, c.not_valid_after_utc
            _ = c.signature_hash_algorithm
    except (UnsupportedAlgorithm, *MALFORMED) as error:
        problem = f"it holds a certificate that cannot be read ({type(error).__name__})"
        raise errors.FileContents(Path(path), problem, "have it issued again") from None
    return certificates


def of_files(files: Files) -> Iterator[Finding]:
    """Say what is wrong with the files themselves."""
    key = files._read(read_private_key, files.key_path, password=files.password) if files.sent else None
    for problem in files.problems:
        yield _of_problem(problem)
    if key is not None and files.leaf is not None:
        yield from _of_pair(key.public_key(), files.sent)
    if files.leaf is not None:
        yield from _of_certificate(files.leaf, "client")
        yield from _of_chain(files.sent)


_OF_PROBLEM = {
    "PKCS#12": "pkcs12-for-pem",
    "DER": "der-for-pem",
    "encrypted": "encrypted-key",
    "password": "encrypted-key",
}
"""The cause behind a word of what `credentials` says of a file."""


def _of_problem(problem: errors.FileRefused) -> Finding:
    """Put what `credentials` says of a file into a finding: it knows which file it is, and so the command to type."""
    cause = next((cause for word, cause in _OF_PROBLEM.items() if word in problem.problem), "unreadable-file")
    evidence = f"{problem.path.name or problem.path}: {problem.problem}"
    file = shlex.quote(problem.path.name)
    advice = problem.cure.replace("NEWFILE", f"{file}.pem").replace("FILE", file)
    return Finding(cause, "certain", evidence, as_sentence(problem.problem), as_sentence(advice))


def _of_pair(public_key: object, sent: Sequence[x509.Certificate]) -> Iterator[Finding]:
    owners = [at for at, certificate in enumerate(sent) if certificate.public_key() == public_key]
    if owners and owners[0] > 0:
        yield Finding(
            "client-chain-reversed",
            "certain",
            f"the key belongs to certificate {owners[0] + 1} of the file, not to the first",
        )
    elif not owners:
        yield Finding(
            "key-of-another-certificate", "certain", f"the certificate is {name(sent[0].subject)}; the key is another's"
        )


_SIDE_OF_PURPOSE = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}


def _of_certificate(certificate: x509.Certificate, side: str) -> Iterator[Finding]:
    """Check one end's own certificate: what any verifier will."""
    now, who = datetime.now(UTC), f"{name(certificate.subject)}"
    if certificate.not_valid_after_utc < now:
        yield Finding(
            f"expired-{side}", "certain", f"{who} ended on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    if certificate.not_valid_before_utc > now:
        yield Finding(
            f"not-yet-valid-{side}", "certain", f"{who} begins on {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    if missing := purpose_missing(certificate, side):
        # Go takes anyExtendedKeyUsage, OpenSSL does not.
        any_purpose = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in (
            extension_of(certificate, x509.ExtendedKeyUsage) or ()
        )
        yield Finding(f"wrong-purpose-{side}", "likely" if any_purpose else "certain", f"{who}: {missing}")
    if certificate.subject == certificate.issuer and is_issued_by(certificate, certificate):
        yield Finding(f"self-signed-{side}", "likely", f"{who} is its own issuer")
    if side == "client":
        if certificate.version is x509.Version.v1:
            yield Finding("version-1-client", "certain", f"{who} is version 1, without extensions")
        if weak := weakness(certificate.public_key()):
            yield Finding("weak-client-key", "certain", weak)
        if (algorithm := certificate.signature_hash_algorithm) and algorithm.digest_size <= 20:
            yield Finding("sha1-client", "certain", f"{who} is signed with {algorithm.name.upper()}")


def _of_chain(sent: Sequence[x509.Certificate]) -> Iterator[Finding]:
    """Check what the client sends above its own certificate (RFC 5280 §6.1.4)."""
    for below, (certificate, issuer) in enumerate(pairwise(sent)):
        if certificate.issuer != issuer.subject:
            if certificate.issuer == certificate.subject:
                continue  # what follows a root is nobody's issuer
            later = any(certificate.issuer == c.subject for c in sent)
            where = "comes elsewhere in the file, and some servers want it next" if later else "is not in the file"
            yield Finding(
                "client-without-intermediate", "possible" if later else "likely", f"{name(certificate.issuer)} {where}"
            )
            continue
        yield from _of_ca(issuer, below)
        if is_forged(certificate, issuer):
            evidence = f"{name(issuer.subject)} in the file has another key than the one that signed"
            yield Finding("client-without-intermediate", "certain", evidence)


def _of_ca(ca: x509.Certificate, below: int) -> Iterator[Finding]:
    """Check a CA that the client sends, with so many CAs below it."""
    who, now = name(ca.subject), datetime.now(UTC)
    constraints, usage = extension_of(ca, x509.BasicConstraints), extension_of(ca, x509.KeyUsage)
    if lacks(ca, x509.BasicConstraints) or (constraints and not constraints.ca):
        yield Finding("client-issued-by-a-leaf", "certain", f"{who} has no CA:TRUE")
    elif usage is not None and not usage.key_cert_sign:
        yield Finding("client-issued-by-a-leaf", "certain", f"{who} has no keyCertSign")
    elif constraints and constraints.path_length is not None and below > constraints.path_length:
        allowed = constraints.path_length
        yield Finding("client-path-too-long", "certain", f"{who} allows {allowed} CAs below it, and has {below}")
    wrong = {
        "expired": ("has passed its notAfter", ca.not_valid_after_utc < now),
        "not-yet-valid": ("is not valid yet", ca.not_valid_before_utc > now),
        "wrong-purpose": ("is not for clients", ca.subject != ca.issuer and purpose_missing(ca, "client")),
    }
    for cause, (what, is_so) in wrong.items():
        if is_so:
            advice = "Put that CA's new certificate into the file; where there is none, have the CA make one."
            yield Finding(cause, "certain", f"{who} {what}", f"A CA above the client's certificate {what}.", advice)


def is_forged(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` has the right name and did not sign this."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return True
    except Exception:  # a kind of key or signature that cryptography does not read
        return False
    return False


MALFORMED = (ValueError, TypeError, KeyError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What cryptography raises for extensions that OpenSSL may well have accepted."""


def extension_of(certificate: x509.Certificate, kind: type[Any]) -> Any:
    """Return an extension's value; None if it is not there, or cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *MALFORMED):
        return None


def lacks(certificate: x509.Certificate, kind: type[Any]) -> bool:
    """Tell whether an extension is not there; not whether it cannot be read."""
    try:
        certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return True
    except MALFORMED:
        pass
    return False


def purpose_missing(certificate: x509.Certificate, side: str) -> str | None:
    """Say what keeps OpenSSL from taking a certificate for a purpose (RFC 5280 §4.2.1.3, §4.2.1.12); None if nothing.

    anyExtendedKeyUsage is not enough for it.
    """
    purposes = extension_of(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and _SIDE_OF_PURPOSE[side] not in purposes:
        return f"its extendedKeyUsage lacks {side}Auth"
    usage, constraints = extension_of(certificate, x509.KeyUsage), extension_of(certificate, x509.BasicConstraints)
    is_leaf = side == "client" and not (constraints and constraints.ca)
    if is_leaf and usage is not None and not (usage.digital_signature or usage.key_agreement):
        return "its keyUsage lacks digitalSignature"
    return None
