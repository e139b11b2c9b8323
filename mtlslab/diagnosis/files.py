"""What the caller's files tell before anybody is dialled."""

from __future__ import annotations

import re
import shlex
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import contexts, errors
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import BROKEN, Credential, FilePath, PrivateKey, is_issued_by, is_pkcs12, weakness
from mtlslab.diagnosis.finding import Finding, as_sentence
from mtlslab.diagnosis.reading import certificates_among, certificates_in, key_in, read_once, unread_by_openssl
from mtlslab.display import name
from mtlslab.faults import FAULTS

_OF_LOADING = {"EE_KEY_TOO_SMALL": "weak-client-key", "CA_MD_TOO_WEAK": "sha1-client"}
"""The cause behind OpenSSL's word for a certificate that it does not show."""

PUT_UP_WITH = frozenset(f.name for f in FAULTS.values() if f.verdicts["1.2"].by is None)
"""What is wrong without being refused."""

_Read = TypeVar("_Read")


class Files:
    """The caller's files, as far as they can be read: each is read once.

    Fields: `cacert_path`, `cert_path`, `key_path`; `authorities`, the CAs of the first; `sent`, the client's
    certificate and what follows it; `private_key`; `neighbours` and `lists`, certificates and CRLs that lie
    beside the client's; `problems`, what cannot be used; `unusual`, what can be, though not by every program.
    """

    def __init__(
        self, cacert: FilePath | None, cert: FilePath | None, key: FilePath | None, password: str | None, timeout: float
    ) -> None:
        self.cacert_path, self.cert_path, self.key_path = cacert, cert, key or cert
        self.problems: list[errors.FileRefused] = []
        self.unusual: list[Finding] = []
        self.authorities: list[x509.Certificate] = []
        self.sent: list[x509.Certificate] = []
        self.private_key: PrivateKey | None = None
        self._password, self._timeout = password, timeout
        self._data: dict[FilePath, bytes] = {}
        if cacert is not None:
            found = self._tried(lambda: self._all_of(cacert)) or []
            self.authorities = [c for c in found if _is_named(c)]
        if cert is not None:
            self._tried(lambda: self._read_own(cert, key or cert))
        beside = list(_beside(Path(cert))) if self.sent and cert is not None else []
        self.neighbours = [c for _, data in beside for c in certificates_among(data) if _is_named(c)]
        self.lists = [(file.name, crl) for file, data in beside for crl in _lists(data)]

    @property
    def leaf(self) -> x509.Certificate | None:
        """The client's certificate."""
        return self.sent[0] if self.sent else None

    def context(self, tls_max: TLSVersion | None, *, strict: bool, show: bool) -> ssl.SSLContext:
        """Make the SSL context of a client with these files, which verifies the server. Raises `ssl.SSLError`."""
        context = contexts.common(ssl.PROTOCOL_TLS_CLIENT, tls_max)
        context.set_ciphers("DEFAULT")  # as curl: what is merely old-fashioned is not what is wrong
        if not strict:
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.cacert_path is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        elif self.authorities:
            contexts.trust(context, self.authorities)
        if show and self.sent and self.private_key is not None:
            contexts.show(context, self.credential)
        return context

    @property
    def credential(self) -> Credential:
        """What the client shows."""
        if self.private_key is None:
            raise LookupError("there is no private key")
        return Credential(self.sent[0], self.private_key, tuple(self.sent[1:]))

    def _tried(self, read: Callable[[], _Read]) -> _Read | None:
        try:
            return read()
        except errors.FileRefused as problem:
            self.problems.append(problem)
            return None

    def _bytes(self, path: FilePath) -> bytes:
        if path not in self._data:
            self._data[path] = read_once(path, self._timeout)
        return self._data[path]

    def _all_of(self, path: FilePath) -> list[x509.Certificate]:
        """Read the CAs of a file, or of a folder."""
        if Path(path).is_dir():
            read = (c for _, data in _beside(Path(path) / "any", 10_000) for c in certificates_among(data))
            found = list(dict.fromkeys(filter(_is_named, read)))  # openssl rehash makes a link to each
            if not found:
                raise errors.FileContents(Path(path), "no file of this folder holds a PEM certificate", "name a file")
            self.unusual.append(Finding("folder-of-cas", "possible", f"{Path(path).name} is a folder of {len(found)}"))
            return found
        data = self._bytes(path)
        certificates = certificates_in(path, data)
        unread_by_openssl(path, data)
        return certificates

    def _read_own(self, cert: FilePath, key: FilePath) -> None:
        """Read the client's certificates and its key."""
        data = self._bytes(cert)
        if is_pkcs12(data) and key == cert:
            self.sent, self.private_key = _of_pkcs12(cert, data, self._password)
            evidence = f"{Path(cert).name} holds PKCS#12; it was opened here"
            self.unusual.append(Finding("pkcs12-for-pem", "possible", evidence, _P12, _FROM_P12.format(_quoted(cert))))
            return
        self.sent = _read_to_the_end(cert, certificates_in(cert, data))
        key_data = self._bytes(key)
        self.private_key = key_in(key, key_data, self._password)
        unread_by_openssl(cert, data, key_data, self._password)


_P12 = "The client's file is PKCS#12 (.p12, .pfx): this program reads it, and most that want PEM do not."
_FROM_P12 = (
    "Where PEM is wanted: openssl pkcs12 -in {0} -out {0}.pem (with -legacy if OpenSSL 3 says unsupported); "
    "curl takes it as it is with --cert-type P12."
)


def _quoted(path: FilePath) -> str:
    return shlex.quote(Path(path).name)


def _of_pkcs12(path: FilePath, data: bytes, password: str | None) -> tuple[list[x509.Certificate], PrivateKey]:
    """Take PKCS#12 apart: the certificate, then its issuers as far as they are there; the key."""
    for secret in (password.encode(),) if password else (None, b""):
        try:
            key, leaf, others = pkcs12.load_key_and_certificates(data, secret)
        except (ValueError, UnsupportedAlgorithm):
            continue
        if leaf is None or not isinstance(key, PrivateKey):
            raise errors.FileContents(Path(path), "its PKCS#12 holds no certificate with a key", "export both")
        chain, rest = [leaf], [c for c in others if c.subject != c.issuer]
        while above := next((c for c in rest if c.subject == chain[-1].issuer), None):
            chain.append(above)
            rest.remove(above)
        return chain, key
    problem = "it holds PKCS#12, and the password does not open it" if password else "it holds PKCS#12, not PEM"
    apart = "openssl pkcs12 -in FILE -out NEWFILE (with -legacy if OpenSSL 3 says unsupported)"
    cure = f"give its password (--password-file), or take it apart: {apart}"
    raise errors.FileContents(Path(path), problem, cure)


def _is_named(certificate: x509.Certificate) -> bool:
    """Tell whether cryptography reads a CA's name: a bundle may hold stranger ones, which OpenSSL takes."""
    try:
        return bool(certificate.subject and certificate.issuer)
    except BROKEN:
        return False


def _read_to_the_end(path: FilePath, certificates: list[x509.Certificate]) -> list[x509.Certificate]:
    """Read the client's certificates, to the last field that is looked at here: cryptography parses on demand."""
    try:
        for c in certificates:
            _ = c.subject, c.issuer, c.public_key(), c.not_valid_before_utc, c.not_valid_after_utc
            _ = c.signature_hash_algorithm
    except BROKEN as error:
        problem = f"it holds a certificate that cannot be read ({type(error).__name__})"
        raise errors.FileContents(Path(path), problem, "have it issued again") from None
    return certificates


def _beside(path: Path, most: int = 100) -> Iterator[tuple[Path, bytes]]:
    """Read the small files that lie beside one: an issuer's certificate or a CRL may be among them."""
    with suppress(OSError, ValueError):
        for file in islice(sorted(path.absolute().parent.iterdir()), most):
            if file.is_file() and file.stat().st_size < 1 << 16:
                with suppress(OSError):
                    yield file, file.read_bytes()


def _lists(data: bytes) -> list[x509.CertificateRevocationList]:
    with suppress(*BROKEN):
        if b"BEGIN X509 CRL-----" in data:
            crl = x509.load_pem_x509_crl(data)
            _ = crl.issuer, crl.next_update_utc, list(crl.extensions)
            return [crl]
    return []


def of_files(files: Files) -> Iterator[Finding]:
    """Say what is wrong with the files themselves."""
    for problem in files.problems:
        yield _of_problem(problem)
    mismatch = list(_of_pair(files.private_key.public_key(), files.sent)) if files.private_key and files.sent else []
    yield from mismatch
    if files.leaf is not None and not mismatch:  # or it is another's that is looked at
        yield from _of_certificate(files.leaf, "client")
        yield from _of_chain(files.sent)
    yield from files.unusual


def of_loading(error: ssl.SSLError, files: Files) -> Finding:
    """Say why OpenSSL does not show the client's certificate."""
    file = Path(files.cert_path or "").name
    cause = _OF_LOADING.get(error.reason or "", "unreadable-file")
    advice = "" if cause in FAULTS else "Have it issued again."
    return Finding(cause, "certain", f"{file}: OpenSSL does not take it ({error.reason or error})", advice=advice)


_OF_PROBLEM = {
    "PKCS#12": "pkcs12-for-pem",
    "DER": "der-for-pem",
    "encrypted": "encrypted-key",
    "password": "encrypted-key",
}
"""The cause behind a word of what `credentials` says of a file."""

_OPEN = "give its password (--password-file), or make a copy without one: openssl pkey -in FILE -out NEWFILE"


def _of_problem(problem: errors.FileRefused) -> Finding:
    """Put what `credentials` says of a file into a finding: it knows which file it is, and so the command to type."""
    cause = next((cause for word, cause in _OF_PROBLEM.items() if word in problem.problem), "unreadable-file")
    evidence = f"{problem.path.name or problem.path}: {problem.problem}"
    file = _quoted(problem.path)
    cure = _OPEN if problem.problem == "the private key is encrypted" else problem.cure
    advice = re.sub("(NEW)?FILE", lambda found: f"{file}.pem" if found[1] else file, cure)
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
            if certificate.issuer == certificate.subject or certificate == issuer:
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
        "client-ca-for-servers-only": ("is not for clients", ca.subject != ca.issuer and purpose_missing(ca, "client")),
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


def extension_of(certificate: x509.Certificate, kind: type[Any]) -> Any:
    """Return an extension's value; None if it is not there, or cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *BROKEN):
        return None


def lacks(certificate: x509.Certificate, kind: type[Any]) -> bool:
    """Tell whether an extension is not there; not whether it cannot be read."""
    try:
        certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return True
    except BROKEN:
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
