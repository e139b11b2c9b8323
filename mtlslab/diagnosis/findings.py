"""From what was seen to its causes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from mtlslab import refusals
from mtlslab.client import Answer
from mtlslab.contexts import client_context
from mtlslab.diagnosis.connection import Glimpse, look
from mtlslab.diagnosis.files import Files, extension_of, is_forged, lacks, purpose_missing
from mtlslab.diagnosis.finding import Finding, Likelihood, Unknown, as_sentence
from mtlslab.diagnosis.patience import exchange
from mtlslab.display import general_names, name, printable, public_key, said
from mtlslab.refusals import Refusal

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


def of_answer(answer: Answer, host: str, files: Files, glimpse: Glimpse | None) -> Iterator[Finding]:
    """Say what the request's answer shows."""
    refusal = answer.refusal
    if refusal is None:
        if refused_in_http(answer):
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
        sentence, advice = _OF_OTHER_ALERT.get(refusal.alert or "", ("", as_sentence(refusal.advice)))
        told = refusal.reason if refusal.reason != "no-client-certificate" else "protocol-error"  # it has not asked
        yield from found or [Finding(told, "likely", evidence, sentence, advice)]


def _of_client_refusal(refusal: Refusal, host: str, files: Files, glimpse: Glimpse | None) -> Iterator[Finding]:
    """Say what this client found wrong with the server, from OpenSSL's words and the server's certificates."""
    words, chain = said(refusal), glimpse.chain if glimpse else ()
    for text, cause in _OF_VERIFY_CODE.items():
        if text in words:
            yield _of_verdict(cause, words, chain, files.authorities)
            return
    if refusal.reason == "wrong-host":
        san = extension_of(chain[0], x509.SubjectAlternativeName) if chain else None
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
    is_twin = namesakes and all(is_forged(last, c) for c in namesakes)
    twin = "; --cacert has a CA of that name, with another key: was it made again?" if is_twin else ""
    yield Finding("unknown-server-ca", "likely", seen + twin)
    if not namesakes and last.subject != last.issuer:
        yield Finding("server-without-intermediate", "possible", f"{seen}; is that a root, or an intermediate?")


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


def _cause_of_host(host: str, chain: Sequence[x509.Certificate]) -> str:
    san = extension_of(chain[0], x509.SubjectAlternativeName) if chain else None
    host = host.lower()
    names = [n.lower() for n in san.get_values_for_type(x509.DNSName)] if san else []
    if host in names:
        return "ip-address-as-dns-name"
    deep = any(n.startswith("*.") and host.endswith(n[1:]) and "." in host[: -len(n[1:])] for n in names)
    return "wildcard-too-deep" if deep else "wrong-host"


def _of_server_refusal(alert: str | None, evidence: str, files: Files, glimpse: Glimpse | None) -> Iterator[Finding]:
    """Say why the server may have refused this client. What the files show comes first: see `of_files`."""
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


def _of_issuer(evidence: str, files: Files, glimpse: Glimpse | None) -> Iterator[Finding]:
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


def refused_in_http(answer: Answer) -> bool:
    """Tell whether a reply is nginx's refusal of a client's certificate."""
    return answer.status in (400, 495, 496) and any(text in answer.text for text in _HTTP_REFUSALS)


def _headline(answer: Answer) -> str:
    return next(text for text in _HTTP_REFUSALS if text in answer.text)


def of_success(answer: Answer, files: Files, glimpse: Glimpse | None) -> Iterator[Finding]:
    """Say what is wrong though the request succeeded."""
    if answer.status is None or glimpse is None:
        return
    if glimpse.chain and lacks(glimpse.chain[0], x509.SubjectAlternativeName):
        yield Finding("name-in-common-name-only", "certain", f"{name(glimpse.chain[0].subject)} has no subjectAltName")
    if files.leaf is not None and glimpse.chain and not glimpse.asks:
        yield Finding("server-never-asks", "certain", "its handshake had no CertificateRequest")


def of_plain_url(url: str, host: str, port: int, timeout: float) -> Iterator[Finding]:
    """Say what answers where the URL says http://."""
    if look(host, port, None, None, timeout) is not None:
        yield Finding(
            "plain-http-to-tls-port", "certain", f"a TLS server answers on port {port}, and the URL says http://"
        )
    else:
        answer = exchange(url, client_context(), sent_certificate=False, timeout=timeout, patience=4 * timeout)
        cause = answer.refusal.reason if answer.refusal else "not-tls"
        yield Finding(cause, "certain", said(answer.refusal) if answer.refusal else "it answers HTTP without TLS")


def unknown_here(files: Files, findings: Sequence[Finding]) -> tuple[Unknown, ...]:
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
