"""Why does this connection fail? A diagnosis of a real one, to any server.

First the files are read, then the server is called: once the way curl would, and once to record the handshake, whose
messages show the server's certificates and its wishes also where verification fails. Every call verifies the server.
What is found has the names of `mtlslab.faults`, so sentence and cure come from the same table.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import errors, refusals
from mtlslab.client import Answer, FilePath, TLSVersion, check_timeout, check_url, client_context, exchange
from mtlslab.credentials import is_issued_by, read_certificates, read_private_key, weakness
from mtlslab.display import Table, general_names, name, printable, public_key, said, table
from mtlslab.faults import FAULTS
from mtlslab.handshake import record_with
from mtlslab.refusals import REASONS, Refusal

Likelihood = Literal["certain", "likely", "possible"]
_ORDER = ("certain", "likely", "possible")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Fields: `cause`, a name of `faults.FAULTS`, or of `refusals.REASONS` for what is no fault of TLS; `likelihood`;
    `evidence`, what was seen; `sentence` and `advice`, where the table's own do not fit what was seen.
    """

    cause: str
    likelihood: Likelihood
    evidence: str
    sentence: str = ""
    advice: str = ""

    @property
    def what(self) -> str:
        """What is wrong, in a sentence."""
        if self.sentence:
            return self.sentence
        fault = FAULTS.get(self.cause)
        return fault.sentence if fault else _as_sentence(REASONS[self.cause].meaning)

    @property
    def cure(self) -> str:
        """What to do about it."""
        fault = FAULTS.get(self.cause)
        return self.advice or (fault.cure if fault else _as_sentence(REASONS[self.cause].client_advice))


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True)
class Unknown:
    """What cannot be known from this end. Fields: `what`; `command`, what to type at the other end to find out."""

    what: str
    command: str


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. Fields: `url`; `findings`, likeliest first; `unknown`; `answer`, what the request got."""

    url: str
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...] = ()
    answer: Answer | None = None

    @property
    def healthy(self) -> bool:
        """True when nothing was found."""
        return not self.findings

    def table(self) -> Table:
        """Return the findings, and what to ask the other end, as a table."""
        rows: list[tuple[str, ...]] = [(f.likelihood, f.cause, f.evidence, f.cure) for f in self.findings]
        rows += [("not known here", u.what, "only the other end can tell", u.command) for u in self.unknown]
        return table(("how sure", "what", "evidence", "what to do"), rows)

    def __repr__(self) -> str:
        return f"nothing wrong was found with {self.url}" if self.healthy else repr(self.table())

    def _repr_markdown_(self) -> str:
        return repr(self) if self.healthy else self.table()._repr_markdown_()

    def to_json(self) -> str:
        """Return it as JSON, for programs. It holds no key."""
        findings = [
            {"cause": f.cause, "likelihood": f.likelihood, "what": f.what, "evidence": f.evidence, "cure": f.cure}
            for f in self.findings
        ]
        unknown = [{"what": u.what, "command": u.command} for u in self.unknown]
        found = {"url": self.url, "healthy": self.healthy, "findings": findings, "unknown": unknown}
        return json.dumps(found, indent=2)  # in ASCII: any terminal takes it, and half a character too


def diagnose(
    url: str,
    *,
    cacert: FilePath | None = None,
    cert: FilePath | None = None,
    key: FilePath | None = None,
    tls_max: TLSVersion | None = None,
    password: str | None = None,
    timeout: float = 5.0,
) -> Diagnosis:
    """Find out why a request to `url` fails, or that it does not.

    Takes what `mtlslab.request` takes; `timeout` is in seconds, for each step. The server is called twice, with one
    GET request among them. Raises `errors.OptionRefused` for arguments that make no sense; what is wrong
    with files or with the other end is a finding.
    """
    parsed = check_url(url)
    check_timeout(timeout)
    host, port = parsed.raw_host.decode(), parsed.port or {"https": 443, "http": 80}[parsed.scheme]
    if key is not None and cert is None:
        raise errors.OptionRefused("key", "a key without a certificate proves nothing; give cert= as well")
    files = _Files(cacert, cert, key, password)
    findings = list(_of_files(files))
    if any(finding.cause in _BLOCKING for finding in findings):
        return Diagnosis(url, _ranked(findings))
    if parsed.scheme == "http":
        findings += _of_plain_url(url, host, port, timeout)
        return Diagnosis(url, _ranked(findings))
    try:
        context = client_context(cacert=cacert, cert=cert, key=key, tls_max=tls_max, password=password)
    except errors.FileRefused as error:
        cause = next((cause for text, cause in _OF_LOADING.items() if text in error.problem), "unreadable-file")
        refused = Finding(cause, "certain", f"{error.path.name}: {error.problem}", advice=_as_sentence(error.cure))
        return Diagnosis(url, _ranked([refused, *findings]))
    answer = exchange(url, context, sent_certificate=cert is not None, timeout=timeout, patience=4 * timeout)
    glimpse = _look(host, port, cacert, tls_max, timeout)
    blamed = bool(answer.refusal and answer.refusal.by == "server") or _refused_in_http(answer)
    if answer.refusal is not None or blamed:  # then what verifiers put up with is not to blame
        findings = [replace(f, likelihood="possible") if f.cause in _PUT_UP_WITH else f for f in findings]
    elif glimpse is not None and glimpse.asks:  # the server has verified it: what was only likely is refuted
        findings = [f for f in findings if f.likelihood == "certain"]
    guesses = list(_of_answer(answer, host, files, glimpse))
    if blamed and any(f.likelihood == "certain" for f in findings):  # the files have told already
        guesses = [replace(f, likelihood="possible") for f in guesses]
    findings += [*guesses, *_of_success(answer, files, glimpse)]
    return Diagnosis(url, _ranked(findings), _unknown(files, findings) if blamed else (), answer)


def _ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order by likelihood, first come first among equals, each cause once."""
    best: dict[tuple[str, str], Finding] = {}
    for finding in sorted(findings, key=lambda f: _ORDER.index(f.likelihood)):
        of_file = finding.evidence if finding.cause in _BLOCKING else ""  # two files may both be broken
        best.setdefault((finding.cause, of_file), finding)
    return tuple(best.values())


# --- the files, before dialling -------------------------------------------------------------------

_BLOCKING = frozenset(
    fault.name
    for fault in FAULTS.values()
    if any(verdict.moment == "before dialling" for verdict in fault.verdicts.values())
) | {"unreadable-file"}
"""What stops a client before it dials."""


_OF_LOADING = {"EE_KEY_TOO_SMALL": "weak-client-key", "CA_MD_TOO_WEAK": "sha1-client"}
"""The cause behind OpenSSL's word for a file that it does not load."""

_PUT_UP_WITH = frozenset(f.name for f in FAULTS.values() if f.verdicts["1.2"].by is None)
"""What is wrong without being refused."""


class _Files:
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
    except (UnsupportedAlgorithm, *_MALFORMED) as error:
        problem = f"it holds a certificate that cannot be read ({type(error).__name__})"
        raise errors.FileContents(Path(path), problem, "have it issued again") from None
    return certificates


def _of_files(files: _Files) -> Iterator[Finding]:
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
    return Finding(cause, "certain", evidence, _as_sentence(problem.problem), _as_sentence(advice))


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
    if missing := _purpose_missing(certificate, side):
        # Go takes anyExtendedKeyUsage, OpenSSL does not.
        any_purpose = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in (
            _extension(certificate, x509.ExtendedKeyUsage) or ()
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
        if _is_forged(certificate, issuer):
            evidence = f"{name(issuer.subject)} in the file has another key than the one that signed"
            yield Finding("client-without-intermediate", "certain", evidence)


def _of_ca(ca: x509.Certificate, below: int) -> Iterator[Finding]:
    """Check a CA that the client sends, with so many CAs below it."""
    who, now = name(ca.subject), datetime.now(UTC)
    constraints, usage = _extension(ca, x509.BasicConstraints), _extension(ca, x509.KeyUsage)
    if _lacks(ca, x509.BasicConstraints) or (constraints and not constraints.ca):
        yield Finding("client-issued-by-a-leaf", "certain", f"{who} has no CA:TRUE")
    elif usage is not None and not usage.key_cert_sign:
        yield Finding("client-issued-by-a-leaf", "certain", f"{who} has no keyCertSign")
    elif constraints and constraints.path_length is not None and below > constraints.path_length:
        allowed = constraints.path_length
        yield Finding("client-path-too-long", "certain", f"{who} allows {allowed} CAs below it, and has {below}")
    wrong = {
        "expired": ("has passed its notAfter", ca.not_valid_after_utc < now),
        "not-yet-valid": ("is not valid yet", ca.not_valid_before_utc > now),
        "wrong-purpose": ("is not for clients", ca.subject != ca.issuer and _purpose_missing(ca, "client")),
    }
    for cause, (what, is_so) in wrong.items():
        if is_so:
            advice = "Put that CA's new certificate into the file; where there is none, have the CA make one."
            yield Finding(cause, "certain", f"{who} {what}", f"A CA above the client's certificate {what}.", advice)


def _is_forged(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return True
    except Exception:  # a kind of key or signature that cryptography does not read
        return False
    return False


_MALFORMED = (ValueError, TypeError, KeyError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What cryptography raises for extensions that OpenSSL may well have accepted."""


def _extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *_MALFORMED):
        return None


def _lacks(certificate: x509.Certificate, kind: type[Any]) -> bool:
    """Tell whether an extension is not there; not whether it cannot be read."""
    try:
        certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return True
    except _MALFORMED:
        pass
    return False


# --- a look at the handshake ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Glimpse:
    """What a server says in its handshake, whether the client goes on or not (RFC 8446 §4.3, §4.4; RFC 5246 §7.4).

    Fields: `chain`, its certificates; `asks`, whether it sent a CertificateRequest; `authorities`, the CAs named there.
    """

    chain: tuple[x509.Certificate, ...]
    asks: bool
    authorities: tuple[str, ...]


def _look(host: str, port: int, cacert: FilePath | None, tls_max: TLSVersion | None, timeout: float) -> _Glimpse | None:
    """Record a handshake that verifies the server, and read what that said; None if it did not speak TLS."""
    context = client_context(cacert=cacert, tls_max=tls_max)
    try:
        heard = record_with(context, host, port, timeout=timeout, linger=0)
    except (OSError, errors.TranscriptError):
        return None
    if not any(message.sender == "server" for message in heard.messages):
        return None
    said_by_server = {message.name: message.fields for message in heard.messages if message.sender == "server"}
    wishes = said_by_server.get("CertificateRequest", {})
    chain = said_by_server.get("Certificate", {}).get("certificates", ())
    authorities = tuple(map(printable, wishes.get("ca_names", ())))  # a stranger's names, like those in `chain`
    return _Glimpse(chain, "CertificateRequest" in said_by_server, authorities)


# --- what the request got -------------------------------------------------------------------------

_OF_VERIFY_CODE = {
    "certificate has expired": "expired-server",
    "certificate is not yet valid": "not-yet-valid-server",
    "unsuitable certificate purpose": "wrong-purpose-server",
    "CA cert does not include key usage extension": "ca-without-key-usage",
    "Basic Constraints of CA cert not marked critical": "basic-constraints-not-critical",
    "Missing Subject Key Identifier": "ca-without-subject-key-identifier",
    "Missing Authority Key Identifier": "server-without-authority-key-identifier",
}
"""The cause behind OpenSSL's words for what the client finds wrong with the server's chain."""

_OF_CLIENT_REASON = {"self-signed": "self-signed-server", "not-tls": "tls-to-plain-port"}

_BEFORE_ASKING = ("no-version-in-common", "no-cipher-in-common")
"""What a server that gets as far as asking for a certificate has not found."""

_OF_SERVER_ALERT = {
    "certificate_revoked": "revoked-client",
    "unsupported_certificate": "wrong-purpose-client",
    "decrypt_error": "client-ca-made-again",
    "protocol_version": "no-version-in-common",
    "certificate_unknown": "client-name-not-permitted",
    "handshake_failure": "no-cipher-in-common",
}
"""The likeliest cause behind an alert, where the files showed none."""

_NO_SUCH_SITE = "Dial a name that the server has a certificate for, or give it one for this name; its log says which."
_OF_OTHER_ALERT = {
    "unrecognized_name": ("The server has no site of the name in the URL.", _NO_SUCH_SITE),
    "internal_error": (
        "Something failed in the server; Go's says so when it has no certificate to show.",
        _NO_SUCH_SITE,
    ),
}
"""What an alert with no fault of its own means, and what to do."""


def _of_answer(answer: Answer, host: str, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    refusal = answer.refusal
    if refusal is None:
        if _refused_in_http(answer):
            headline = _headline(answer)
            yield from _of_server_refusal(
                _HTTP_REFUSALS[headline], f"the server answered {answer.status}: {headline}", files, glimpse
            )
    elif refusal.by == "client" and refusal.reason in refusals.CERTIFICATE_REASONS:
        yield from _of_client_refusal(refusal, host, files, glimpse)
    elif refusal.by == "client" or (refusal.alert is None and refusal.reason != "connection-lost"):
        yield Finding(_OF_CLIENT_REASON.get(refusal.reason, refusal.reason), "certain", said(refusal))
    elif refusal.reason == "connection-lost" and glimpse is None:
        yield Finding("connection-lost", "likely", said(refusal))
    else:
        evidence = (
            f"the server sent the alert {refusal.alert}" if refusal.alert else "the server hung up without an alert"
        )
        found = list(_of_server_refusal(refusal.alert, evidence, files, glimpse))
        sentence, advice = _OF_OTHER_ALERT.get(refusal.alert or "", ("", _as_sentence(refusal.advice)))
        yield from found or [Finding(refusal.reason, "likely", evidence, sentence, advice)]


def _of_client_refusal(refusal: Refusal, host: str, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    """Say what this client found wrong with the server, from OpenSSL's words and the server's certificates."""
    words, chain = said(refusal), glimpse.chain if glimpse else ()
    for text, cause in _OF_VERIFY_CODE.items():
        if text in words:
            yield _of_verdict(cause, words, chain, files.authorities)
            return
    if refusal.reason == "wrong-host":
        san = _extension(chain[0], x509.SubjectAlternativeName) if chain else None
        yield Finding(_cause_of_host(host, chain), "certain", f"{words} {_some_names(san)}" if san else words)
    elif refusal.reason == "unknown-ca":
        yield from _of_unknown_ca(words, chain, files.authorities)
    else:
        yield Finding(_OF_CLIENT_REASON.get(refusal.reason, refusal.reason), "certain", words)


def _some_names(san: x509.SubjectAlternativeName) -> str:
    """Say whom a certificate is for: it may have a hundred names, and they are a stranger's."""
    more = f" and {len(list(san)) - 5} more" if len(list(san)) > 5 else ""
    return f"It is for {printable(general_names(list(san)[:5]))}{more}."


def _of_unknown_ca(
    words: str, chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]
) -> Iterator[Finding]:
    """Follow the server's chain as far as it goes, and say who is missing there."""
    if not chain:
        yield Finding("unknown-server-ca", "likely", words)
        yield Finding("server-without-intermediate", "possible", words)
        return
    last, rest = chain[0], list(chain[1:])
    while above := next((c for c in rest if c.subject == last.issuer), None):
        last = above
        rest.remove(above)
    many = "1 certificate" if len(chain) == 1 else f"{len(chain)} certificates"
    seen = f"the server sent {many}, leading up to {name(last.issuer)}"
    namesakes = [c for c in trusted if c.subject == last.issuer]
    if rest and not namesakes:  # what was sent does not hang together
        yield Finding("server-without-intermediate", "likely", f"{seen}; {name(rest[0].subject)} is not its issuer")
    is_twin = namesakes and all(_is_forged(last, c) for c in namesakes)
    twin = "; --cacert has a CA of that name, with another key: was it made again?" if is_twin else ""
    yield Finding("unknown-server-ca", "likely", seen + twin)
    if not namesakes and last.subject != last.issuer:
        yield Finding("server-without-intermediate", "possible", f"{seen}; is that a root, or an intermediate?")


_IS_GUILTY: dict[str, Callable[[x509.Certificate], bool]] = {
    "expired-server": lambda certificate: certificate.not_valid_after_utc < datetime.now(UTC),
    "not-yet-valid-server": lambda certificate: certificate.not_valid_before_utc > datetime.now(UTC),
    "wrong-purpose-server": lambda certificate: _purpose_missing(certificate, "server") is not None,
}
_OF_CA = {
    "expired-server": ("expired", "A CA above the server's certificate has passed its notAfter."),
    "not-yet-valid-server": ("not-yet-valid", "A CA above the server's certificate is not valid yet."),
    "wrong-purpose-server": ("wrong-purpose", "A CA above the server's certificate is not for servers."),
}
"""What is wrong with a CA, where OpenSSL's words are the same as for the server's own certificate."""


def _of_verdict(
    cause: str, words: str, chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]
) -> Finding:
    """Say which certificate OpenSSL's words are about: they do not."""
    is_guilty = _IS_GUILTY.get(cause)
    if not chain or is_guilty is None or is_guilty(chain[0]):
        return Finding(cause, "certain", words)
    issuers = {certificate.issuer for certificate in chain}
    above = {
        "which the server sent": chain[1:],
        "in the file of --cacert": [c for c in trusted if c.subject in issuers],
    }
    found = ((c, where) for where, certificates in above.items() for c in certificates if is_guilty(c))
    if (guilty := next(found, None)) is None:
        return Finding(cause, "certain", words)
    evidence = f"{words}: it is {name(guilty[0].subject)}, {guilty[1]}"
    cure = "Have that CA's certificate made again under the same key and name, and put it in the old one's place."
    return Finding(_OF_CA[cause][0], "certain", evidence, _OF_CA[cause][1], cure)


def _purpose_missing(certificate: x509.Certificate, side: str) -> str | None:
    """Say what keeps OpenSSL from taking a certificate for a purpose (RFC 5280 §4.2.1.3, §4.2.1.12); None if nothing.

    anyExtendedKeyUsage is not enough for it.
    """
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and _SIDE_OF_PURPOSE[side] not in purposes:
        return f"its extendedKeyUsage lacks {side}Auth"
    usage, constraints = _extension(certificate, x509.KeyUsage), _extension(certificate, x509.BasicConstraints)
    is_leaf = side == "client" and not (constraints and constraints.ca)
    if is_leaf and usage is not None and not (usage.digital_signature or usage.key_agreement):
        return "its keyUsage lacks digitalSignature"
    return None


def _cause_of_host(host: str, chain: Sequence[x509.Certificate]) -> str:
    san = _extension(chain[0], x509.SubjectAlternativeName) if chain else None
    host = host.lower()
    names = [n.lower() for n in san.get_values_for_type(x509.DNSName)] if san else []
    if host in names:
        return "ip-address-as-dns-name"
    deep = any(n.startswith("*.") and host.endswith(n[1:]) and "." in host[: -len(n[1:])] for n in names)
    return "wildcard-too-deep" if deep else "wrong-host"


def _of_server_refusal(alert: str | None, evidence: str, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    """Say why the server may have refused this client. What the files show comes first: see `_of_files`."""
    leaf = files.leaf
    asked = glimpse is not None and glimpse.asks
    if glimpse is not None and not asked:  # then no certificate of the client's is to blame, nor its absence
        if alert is None:
            yield Finding("connection-lost", "likely", f"{evidence}; it had not asked for a certificate")
            if leaf is None:  # IIS and Apache may ask for some pages only, once they have read the request
                yield Finding("no-client-certificate", "possible", "none was given, and the server may ask late")
    elif leaf is None:
        if alert in (None, "certificate_required", "handshake_failure", "bad_certificate"):
            sure: Likelihood = "certain" if alert and asked else "likely"
            yield Finding("no-client-certificate", sure, f"{evidence}; none was given")
    elif alert == "certificate_required" or (alert == "handshake_failure" and asked):
        yield from _of_unsent(evidence, leaf)
    elif alert in (None, "unknown_ca", "bad_certificate"):
        yield from _of_issuer(evidence, files, glimpse)
    elif alert == "certificate_expired" and leaf.not_valid_after_utc > datetime.now(UTC):
        yield Finding(
            "crl-expired", "likely", f"{evidence}, and the certificate is valid; or the server's clock is wrong"
        )
        yield Finding("expired-client", "possible", "the server's clock may be ahead")
    cause = _OF_SERVER_ALERT.get(alert or "")
    if cause and not (asked and cause in _BEFORE_ASKING) and (leaf is not None or cause in _BEFORE_ASKING):
        yield Finding(cause, "likely", evidence)
    elif leaf is not None and alert == "bad_certificate":
        yield Finding("not-yet-valid-client", "possible", f"{evidence}; the server's clock may be behind")


def _of_unsent(evidence: str, leaf: x509.Certificate) -> Iterator[Finding]:
    """Say why the server missed a certificate that was given: OpenSSL sends none that the server could not verify."""
    yield Finding(
        "handshake-failure",
        "likely",
        f"{evidence}: a certificate was given, and not sent. Its key is {public_key(leaf.public_key())}",
        "The server takes no signature that the client's key can make, so the client sent no certificate.",
        "Use a certificate for another kind of key, such as P-256, or let the server take this kind.",
    )


def _of_issuer(evidence: str, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    """Ask of the client's issuer: does the server name it among those it trusts?"""
    top = files.sent[-1]
    named = glimpse.authorities if glimpse else ()
    known = glimpse.chain if glimpse else ()
    issuer = name(top.issuer)
    is_link = any(c.subject == top.issuer and c.subject != c.issuer for c in (*known, *files.authorities))
    if is_link:
        yield Finding(
            "client-without-intermediate", "likely", f"{evidence}; {issuer} is an intermediate, and was not sent"
        )
    if issuer in named:
        evidence = f"{evidence}, though it names {issuer} among the CAs it trusts"
        yield Finding("client-ca-made-again", "likely", f"{evidence}; is its key still the one that signed?")
        yield Finding("crl-missing", "possible", evidence)
    elif named:
        listed = ", ".join(named)
        yield Finding("unknown-client-ca", "likely", f"{evidence}; it trusts {listed}, and the issuer is {issuer}")
        yield Finding("client-without-intermediate", "possible", f"{issuer} may be an intermediate, which was not sent")
    else:
        yield Finding("unknown-client-ca", "likely", f"{evidence}; the issuer is {issuer}")
        yield Finding("client-without-intermediate", "possible", f"{issuer} may be an intermediate, which was not sent")
        yield Finding("crl-missing", "possible", "a server that misses a CRL says the same")


_HTTP_REFUSALS = {
    "No required SSL certificate was sent": "certificate_required",
    "The SSL certificate error": None,
}
"""nginx's words, as pages of status 400: it finishes the handshake first. With the alert that others would send."""


def _refused_in_http(answer: Answer) -> bool:
    return answer.status in (400, 495, 496) and any(text in answer.text for text in _HTTP_REFUSALS)


def _headline(answer: Answer) -> str:
    return next(text for text in _HTTP_REFUSALS if text in answer.text)


def _of_success(answer: Answer, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    """Say what is wrong though the request succeeded."""
    if answer.status is None or glimpse is None:
        return
    if glimpse.chain and _lacks(glimpse.chain[0], x509.SubjectAlternativeName):
        yield Finding("name-in-common-name-only", "certain", f"{name(glimpse.chain[0].subject)} has no subjectAltName")
    if files.leaf is not None and glimpse.chain and not glimpse.asks:
        yield Finding("server-never-asks", "certain", "its handshake had no CertificateRequest")


def _of_plain_url(url: str, host: str, port: int, timeout: float) -> Iterator[Finding]:
    if _look(host, port, None, None, timeout) is not None:
        yield Finding(
            "plain-http-to-tls-port", "certain", f"a TLS server answers on port {port}, and the URL says http://"
        )
    else:
        answer = exchange(url, client_context(), sent_certificate=False, timeout=timeout, patience=4 * timeout)
        cause = answer.refusal.reason if answer.refusal else "not-tls"
        yield Finding(cause, "certain", said(answer.refusal) if answer.refusal else "it answers HTTP without TLS")


def _unknown(files: _Files, findings: Sequence[Finding]) -> tuple[Unknown, ...]:
    """Say what only the server's end can tell, with the command to type there."""
    file = shlex.quote(Path(files.cert_path).name) if files.cert_path else "client.crt"
    verify = f"openssl verify -x509_strict -purpose sslclient -CAfile CLIENT-CA.crt -untrusted {file} {file}"
    unknown = [Unknown("which CA the server trusts for clients", "openssl x509 -noout -subject -in CLIENT-CA.crt")]
    if files.leaf is not None:
        unknown.append(Unknown("what the server's verifier says of the certificate", verify))
        unknown.append(Unknown("whether the server's clock is right", "date -u"))
    if any(f.cause.startswith("crl-") for f in findings):
        unknown.append(Unknown("whether it uses a CRL, and how old", "openssl crl -noout -nextupdate -in CRL.pem"))
    return tuple(unknown)
