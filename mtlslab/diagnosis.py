"""Why does this connection fail? A diagnosis of a real one, to any server.

First the files are read, then the server is called: once the way curl would, and once more with TLS 1.2, whose server
still sends its certificates and its wishes in the clear, so that they can be read where verification fails. Every call
verifies the server. What is found has the names of `mtlslab.faults`, so sentence and cure come from the same table.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import errors, refusals
from mtlslab.client import Answer, FilePath, TLSVersion, client_context, exchange
from mtlslab.credentials import read_certificates, read_private_key, weakness
from mtlslab.display import Table, name, said, table
from mtlslab.faults import FAULTS, der_items
from mtlslab.refusals import REASONS, Refusal

Likelihood = Literal["certain", "likely", "possible"]
_ORDER = ("certain", "likely", "possible")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Fields: `cause`, a name of `faults.FAULTS`, or of `refusals.REASONS` for what is no fault of TLS; `likelihood`;
    `evidence`, what was seen.
    """

    cause: str
    likelihood: Likelihood
    evidence: str

    @property
    def what(self) -> str:
        """What is wrong, in a sentence."""
        fault = FAULTS.get(self.cause)
        return (
            fault.sentence if fault else f"{REASONS[self.cause].meaning[:1].upper()}{REASONS[self.cause].meaning[1:]}."
        )

    @property
    def cure(self) -> str:
        """What to do about it."""
        fault = FAULTS.get(self.cause)
        return fault.cure if fault else f"Cure: {REASONS[self.cause].client_advice}."


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
        return json.dumps(found, indent=2, ensure_ascii=False)


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

    Takes what `mtlslab.request` takes; `timeout` is in seconds, for each step. The server is called up to three times,
    with one GET request among them. Raises `errors.OptionRefused` for arguments that make no sense; what is wrong
    with files or with the other end is a finding.
    """
    host, port = _address(url)
    if key is not None and cert is None:
        raise errors.OptionRefused("key", "a key without a certificate proves nothing; give cert= as well")
    files = _Files(cacert, cert, key, password)
    findings = list(_of_files(files))
    if any(finding.cause in _BLOCKING for finding in findings):
        return Diagnosis(url, _ranked(findings))
    if url.startswith("http:"):
        findings += _of_plain_url(url, host, port, timeout)
        return Diagnosis(url, _ranked(findings))
    try:
        context = client_context(cacert=cacert, cert=cert, key=key, tls_max=tls_max, password=password)
    except errors.FileRefused as error:
        cause = next((f.cause for f in findings), "unreadable-file")
        return Diagnosis(url, _ranked([Finding(cause, "certain", error.problem)]))
    answer = exchange(url, context, sent_certificate=cert is not None, timeout=timeout)
    glimpse = _look(host, port, cacert, timeout)
    if answer.refusal is not None:  # then what verifiers put up with is not to blame
        findings = [replace(f, likelihood="possible") if f.cause in _PUT_UP_WITH else f for f in findings]
    findings += [*_of_answer(answer, host, files, glimpse), *_of_success(answer, files, glimpse)]
    blamed = bool(answer.refusal and answer.refusal.by == "server") or _refused_in_http(answer)
    return Diagnosis(url, _ranked(findings), _unknown(files, findings) if blamed else (), answer)


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("https", "http"):
        raise errors.OptionRefused("url", f"{url!r} is not one; it looks like https://localhost:3000")
    return host, port or {"https": 443, "http": 80}[parts.scheme]


def _ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order by likelihood, first come first among equals, each cause once."""
    best: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda f: _ORDER.index(f.likelihood)):
        best.setdefault(finding.cause, finding)
    return tuple(best.values())


# --- the files, before dialling -------------------------------------------------------------------

_BLOCKING = frozenset(
    fault.name
    for fault in FAULTS.values()
    if any(verdict.moment == "before dialling" for verdict in fault.verdicts.values())
) | {"unreadable-file"}
"""What stops a client before it dials."""


_PUT_UP_WITH = frozenset(f.name for f in FAULTS.values() if f.verdicts["1.2"].by is None)
"""What is wrong without being refused."""


class _Files:
    """The caller's files, as far as they can be read."""

    def __init__(
        self, cacert: FilePath | None, cert: FilePath | None, key: FilePath | None, password: str | None
    ) -> None:
        self.cacert_path, self.cert_path, self.key_path, self.password = cacert, cert, key or cert, password
        self.problems: list[errors.FileRefused] = []
        self.authorities = self._read(read_certificates, cacert) or []
        self.sent: list[x509.Certificate] = self._read(read_certificates, cert) or []

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


def _of_files(files: _Files) -> Iterator[Finding]:
    key = files._read(read_private_key, files.key_path, password=files.password) if files.sent else None
    for problem in files.problems:
        yield Finding(_cause_of_file(problem), "certain", f"{problem.path.name}: {problem.problem}")
    if key is not None and files.leaf is not None:
        yield from _of_pair(key.public_key(), files.sent)
    if files.leaf is not None:
        yield from _of_certificate(files.leaf, "client")
        yield from _of_chain(files.sent)


def _cause_of_file(problem: errors.FileRefused) -> str:
    """Tell PKCS#12 from DER: its first field is the version, the number 3 (RFC 7292 §4)."""
    data = b""
    with suppress(OSError):
        data = problem.path.read_bytes()
    if data[:1] == b"\x30":
        return "pkcs12-for-pem" if b"\x02\x01\x03" in data[:8] else "der-for-pem"
    return "encrypted-key" if b"ENCRYPTED" in data else "unreadable-file"


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
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    wanted = {_SIDE_OF_PURPOSE[side], ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and not wanted & set(purposes):
        yield Finding(f"wrong-purpose-{side}", "certain", f"{who}: its extendedKeyUsage lacks {side}Auth")
    if certificate.subject == certificate.issuer and _signed_by(certificate, certificate):
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
            yield Finding(
                "client-without-intermediate", "likely", f"{name(certificate.issuer)} is not what follows in the file"
            )
            continue
        constraints = _extension(issuer, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            yield Finding("client-issued-by-a-leaf", "certain", f"{name(issuer.subject)} has no CA:TRUE")
        elif constraints.path_length is not None and below > constraints.path_length:
            allowed = constraints.path_length
            yield Finding(
                "client-path-too-long",
                "certain",
                f"{name(issuer.subject)} allows {allowed} CAs below it, and has {below}",
            )


def _extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # a signature that does not verify, or a kind of key that cannot
        return False
    return True


# --- a look at a TLS 1.2 handshake ----------------------------------------------------------------


@dataclass(frozen=True)
class _Glimpse:
    """What a TLS 1.2 server says in the clear (RFC 5246 §7.4).

    Fields: `chain`, its certificates; `asks`, whether it sent a CertificateRequest; `authorities`, the CAs named there.
    """

    chain: tuple[x509.Certificate, ...] = ()
    asks: bool = False
    authorities: tuple[x509.Name, ...] = ()


def _look(host: str, port: int, cacert: FilePath | None, timeout: float) -> _Glimpse | None:
    """Begin a TLS 1.2 handshake that verifies the server, and read what came until it ended; None if nothing did."""
    context = client_context(cacert=cacert, tls_max="1.2")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
    came = bytearray()
    with suppress(OSError, ValueError), socket.create_connection((host, port), timeout) as plain:
        while len(came) < 1 << 18:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                if not (data := plain.recv(1 << 14)):
                    break
                came += data
                incoming.write(data)
            except ssl.SSLError:  # refused by one end or the other: what came before is what we want
                plain.sendall(outgoing.read())
                break
    try:
        return _glimpse(bytes(came))
    except (IndexError, ValueError):
        return None


def _glimpse(came: bytes) -> _Glimpse | None:
    chain: list[x509.Certificate] = []
    asks, authorities = False, []
    messages = dict(_handshake_messages(came))
    if not messages:
        return None
    if certificates := messages.get(11):  # Certificate: a vector of vectors, each length of 3 bytes
        chain = [x509.load_der_x509_certificate(der) for der in _vectors(certificates[3:], 3)]
    if (wishes := messages.get(13)) is not None:  # CertificateRequest: types, signature algorithms, names
        asks = True
        at = 1 + wishes[0]
        at += 2 + int.from_bytes(wishes[at : at + 2], "big")
        authorities = list(_names(_vectors(wishes[at + 2 :], 2)))
    return _Glimpse(tuple(chain), asks, tuple(authorities))


def _handshake_messages(came: bytes) -> Iterator[tuple[int, bytes]]:
    stream, at = b"", 0
    while at + 5 <= len(came) and came[at] == 22:  # records of handshake messages (RFC 5246 §6.2.1)
        length = int.from_bytes(came[at + 3 : at + 5], "big")
        stream, at = stream + came[at + 5 : at + 5 + length], at + 5 + length
    at = 0
    while at + 4 <= len(stream):
        length = int.from_bytes(stream[at + 1 : at + 4], "big")
        if at + 4 + length > len(stream):
            return
        yield stream[at], stream[at + 4 : at + 4 + length]
        at += 4 + length


def _vectors(data: bytes, width: int) -> Iterator[bytes]:
    at = 0
    while at + width <= len(data):
        length = int.from_bytes(data[at : at + width], "big")
        yield data[at + width : at + width + length]
        at += width + length


def _names(ders: Iterable[bytes]) -> Iterator[x509.Name]:
    for der in ders:
        with suppress(ValueError, IndexError):  # a name that RFC 5280 does not allow is nobody's issuer here
            yield x509.Name([x509.NameAttribute(oid, value) for oid, value in _attributes(der)])


def _attributes(der: bytes) -> Iterator[tuple[x509.ObjectIdentifier, str]]:
    """Read a DER Name (RFC 5280 §4.1.2.4), which cryptography reads inside a certificate only."""
    for _, relative in der_items(der_items(der)[0][1]):
        for _, attribute in der_items(relative):
            (_, oid), (_, value) = der_items(attribute)
            yield _object_identifier(oid), value.decode()


def _object_identifier(encoded: bytes) -> x509.ObjectIdentifier:
    """Read an OID: base 128, the first two numbers in one (X.690 §8.19)."""
    numbers, number = [], 0
    for octet in encoded:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return x509.ObjectIdentifier(".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]])))


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

_OF_SERVER_ALERT = {
    "certificate_required": "no-client-certificate",
    "certificate_revoked": "revoked-client",
    "unsupported_certificate": "wrong-purpose-client",
    "decrypt_error": "client-ca-made-again",
    "protocol_version": "no-version-in-common",
    "certificate_unknown": "client-name-not-permitted",
    "handshake_failure": "no-cipher-in-common",
}
"""The likeliest cause behind an alert, where the files showed none."""


def _of_answer(answer: Answer, host: str, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    refusal = answer.refusal
    if refusal is None:
        if _refused_in_http(answer):
            yield from _of_server_refusal(
                None, f"the server answered {answer.status}: {_headline(answer)}", files, glimpse
            )
    elif refusal.by == "client" and refusal.reason in refusals.CERTIFICATE_REASONS:
        yield from _of_client_refusal(refusal, host, glimpse)
    elif refusal.by == "client" or (refusal.alert is None and refusal.reason != "connection-lost"):
        yield Finding(_OF_CLIENT_REASON.get(refusal.reason, refusal.reason), "certain", said(refusal))
    elif refusal.reason == "connection-lost" and glimpse is None:
        yield Finding("connection-lost", "likely", said(refusal))
    else:
        evidence = (
            f"the server sent the alert {refusal.alert}" if refusal.alert else "the server hung up without an alert"
        )
        yield from _of_server_refusal(refusal.alert, evidence, files, glimpse)


def _of_client_refusal(refusal: Refusal, host: str, glimpse: _Glimpse | None) -> Iterator[Finding]:
    """Say what this client found wrong with the server, from OpenSSL's words and the server's certificates."""
    words, chain = said(refusal), glimpse.chain if glimpse else ()
    for text, cause in _OF_VERIFY_CODE.items():
        if text in words:
            yield Finding(cause, "certain", words)
            return
    if refusal.reason == "wrong-host":
        yield Finding(_cause_of_host(host, chain), "certain", words)
    elif refusal.reason == "unknown-ca":
        seen = (
            f"the server sent {len(chain)} certificates; the last was issued by {name(chain[-1].issuer)}"
            if chain
            else words
        )
        yield Finding("unknown-server-ca", "likely", seen)
        if not chain or chain[-1].subject != chain[-1].issuer:
            yield Finding("server-without-intermediate", "possible", f"{seen}; is that a root, or an intermediate?")
    else:
        yield Finding(_OF_CLIENT_REASON.get(refusal.reason, refusal.reason), "certain", words)


def _cause_of_host(host: str, chain: Sequence[x509.Certificate]) -> str:
    san = _extension(chain[0], x509.SubjectAlternativeName) if chain else None
    names = san.get_values_for_type(x509.DNSName) if san else []
    if host in names:
        return "ip-address-as-dns-name"
    deep = any(n.startswith("*.") and host.endswith(n[1:]) and "." in host[: -len(n[1:])] for n in names)
    return "wildcard-too-deep" if deep else "wrong-host"


def _of_server_refusal(alert: str | None, evidence: str, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    """Say why the server may have refused this client. What the files show comes first: see `_of_files`."""
    leaf = files.leaf
    if leaf is None:
        if alert in (None, "certificate_required", "handshake_failure", "bad_certificate"):
            asks = glimpse is None or glimpse.asks
            yield Finding("no-client-certificate", "certain" if asks else "possible", f"{evidence}; none was given")
        if alert == "certificate_required":
            return
    elif alert in (None, "unknown_ca", "bad_certificate"):
        yield from _of_issuer(evidence, files, glimpse)
    elif alert == "certificate_expired":
        yield Finding(
            "crl-expired", "likely", f"{evidence}, and the certificate is valid; or the server's clock is wrong"
        )
        yield Finding("expired-client", "possible", "the server's clock may be ahead")
    if alert in _OF_SERVER_ALERT:
        yield Finding(_OF_SERVER_ALERT[alert], "likely", evidence)
    elif leaf is not None and alert == "bad_certificate":
        yield Finding("not-yet-valid-client", "possible", f"{evidence}; the server's clock may be behind")


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
    if named and top.issuer in named:
        yield Finding("crl-missing", "likely", f"{evidence}, though it names {issuer} among the CAs it trusts")
    elif named:
        listed = ", ".join(map(name, named))
        yield Finding("unknown-client-ca", "likely", f"{evidence}; it trusts {listed}, and the issuer is {issuer}")
        yield Finding("client-without-intermediate", "possible", f"{issuer} may be an intermediate, which was not sent")
    else:
        yield Finding("unknown-client-ca", "likely", f"{evidence}; the issuer is {issuer}")
        yield Finding("client-without-intermediate", "possible", f"{issuer} may be an intermediate, which was not sent")
        yield Finding("crl-missing", "possible", "a server that misses a CRL says the same")


_HTTP_REFUSALS = ("No required SSL certificate was sent", "The SSL certificate error")
"""nginx's words, as pages of status 400: it finishes the handshake first."""


def _refused_in_http(answer: Answer) -> bool:
    return answer.status in (400, 495, 496) and any(text in answer.text for text in _HTTP_REFUSALS)


def _headline(answer: Answer) -> str:
    return next(text for text in _HTTP_REFUSALS if text in answer.text)


def _of_success(answer: Answer, files: _Files, glimpse: _Glimpse | None) -> Iterator[Finding]:
    """Say what is wrong though the request succeeded."""
    if answer.status is None or glimpse is None:
        return
    if glimpse.chain and _extension(glimpse.chain[0], x509.SubjectAlternativeName) is None:
        yield Finding("name-in-common-name-only", "certain", f"{name(glimpse.chain[0].subject)} has no subjectAltName")
    if files.leaf is not None and glimpse.chain and not glimpse.asks:
        yield Finding("server-never-asks", "certain", "with TLS 1.2 it sent no CertificateRequest")


def _of_plain_url(url: str, host: str, port: int, timeout: float) -> Iterator[Finding]:
    if _look(host, port, None, timeout) is not None:
        yield Finding(
            "plain-http-to-tls-port", "certain", f"a TLS server answers on port {port}, and the URL says http://"
        )
    else:
        answer = exchange(url, client_context(), sent_certificate=False, timeout=timeout)
        cause = answer.refusal.reason if answer.refusal else "not-tls"
        yield Finding(cause, "certain", said(answer.refusal) if answer.refusal else "it answers HTTP without TLS")


def _unknown(files: _Files, findings: Sequence[Finding]) -> tuple[Unknown, ...]:
    """Say what only the server's end can tell, with the command to type there."""
    file = Path(files.cert_path).name if files.cert_path else "client.crt"
    verify = f"openssl verify -x509_strict -purpose sslclient -CAfile CLIENT-CA.crt -untrusted {file} {file}"
    unknown = [Unknown("which CA the server trusts for clients", "openssl x509 -noout -subject -in CLIENT-CA.crt")]
    if files.leaf is not None:
        unknown.append(Unknown("what the server's verifier says of the certificate", verify))
        unknown.append(Unknown("whether the server's clock is right", "date -u"))
    if any(f.cause.startswith("crl-") for f in findings):
        unknown.append(Unknown("whether it uses a CRL, and how old", "openssl crl -noout -nextupdate -in CRL.pem"))
    return tuple(unknown)
