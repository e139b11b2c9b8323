"""What the server's answer shows, once TLS has let this client in: HTTP's status, or another protocol."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab.diagnosis.calls import Call
from mtlslab.diagnosis.files import Files, extension_of, lacks
from mtlslab.diagnosis.finding import Finding
from mtlslab.diagnosis.reply import Reply
from mtlslab.display import name

NGINX: dict[str, str | None] = {
    "No required SSL certificate was sent": "certificate_required",
    "The SSL certificate error": None,
}
"""nginx's words, as pages of status 400: it finishes the handshake first. With the alert that others would send."""


def refused_in_http(reply: Reply) -> str | None:
    """Return nginx's words for a client's certificate that it refuses, if that is what a reply is."""
    return next((text for text in NGINX if reply.status in (400, 495, 496) and text in reply.text), None)


def of_status(reply: Reply, call: Call, files: Files) -> Iterator[Finding]:
    """Say what a status of 300 or more means beside what TLS showed."""
    status = reply.status or 0
    seen = f"the server answered {status}" + (f": {reply.first_line}" if reply.first_line else "")
    if call.asks and files.leaf is not None and not call.held_back:
        seen += f"; the certificate of {name(files.leaf.subject)} was sent, and TLS let it pass"
    elif call.asks:
        seen += "; it had asked for a certificate, and none was sent"
    else:
        seen += "; it had not asked for a certificate"
    if 300 <= status < 400:
        yield Finding("redirected", "certain", f"{seen}; it leads to {reply.location or 'nowhere'}")
    elif status == 421:
        yield Finding("misdirected", "certain", seen)
    elif status >= 500:
        yield Finding("behind-the-server", "certain", seen)
    elif files.leaf is not None and not call.asks and status in (400, 401, 403, 495, 496):
        yield Finding("ends-in-front", "likely", seen)
    elif status in (401, 403, 407, 495, 496) or refused_in_http(reply):
        if files.leaf is None and call.asks:
            yield Finding("no-client-certificate", "likely", seen)
        yield Finding("refused-by-application", "certain" if call.asks else "likely", seen)
    elif status >= 400:
        yield Finding("http-error", "certain", seen)


_NOT_ASKED = "The server asked for no client certificate here: whoever reaches this address gets the same answer."


def of_success(status: int, call: Call, files: Files) -> Iterator[Finding]:
    """Say what is wrong though the request succeeded, or what may go wrong elsewhere."""
    chain, leaf = call.chain, files.leaf
    if chain and lacks(chain[0], x509.SubjectAlternativeName):
        yield Finding("name-in-common-name-only", "certain", f"{name(chain[0].subject)} has no subjectAltName")
    if call.asks_late:
        seen = f"its request for a certificate came after our request, which it answered with {status}"
        yield Finding("asks-late", "certain", f"{seen} (post-handshake, or renegotiation in TLS 1.2)")
    elif leaf is not None and chain and not call.asks:
        yield Finding("server-never-asks", "certain", "its handshake had no CertificateRequest", _NOT_ASKED)
    if leaf is not None and call.authorities and not call.held_back:
        issuers = {name(c.issuer) for c in files.sent}
        if not issuers & set(call.authorities):
            named = ", ".join(call.authorities[:5])
            yield Finding("client-issuer-not-named", "possible", f"it names {named}; the issuer is {min(issuers)}")


# --- what public CAs are about to do --------------------------------------------------------------

_PUBLIC_POLICIES = "2.23.140.1."  # CA/Browser Forum: domain, organisation, individual, extended validation
_LIMITS = ((date(2029, 3, 15), 47), (date(2027, 3, 15), 100), (date(2026, 3, 15), 200))
"""From when on a public certificate may live for how many days (CA/Browser Forum ballot SC-081v3)."""


def of_public_cas(call: Call, files: Files) -> Iterator[Finding]:
    """Say what the next certificate from a public CA will not have."""
    leaf = files.leaf
    if leaf is not None and _is_public(leaf):
        seen = f"{name(leaf.subject)} is from a public CA; Let's Encrypt ended client certificates in July 2026"
        if ExtendedKeyUsageOID.CLIENT_AUTH in (extension_of(leaf, x509.ExtendedKeyUsage) or ()):
            yield Finding("public-ca-clients", "possible", f"{seen}, and Chrome's root programme wants the same of all")
    if call.chain and _is_public(call.chain[0]):
        server = call.chain[0]
        days = (server.not_valid_after_utc - server.not_valid_before_utc).days
        due = max(server.not_valid_after_utc, datetime.now(UTC)).date()
        since, limit = next(((since, limit) for since, limit in _LIMITS if due >= since), (due, days))
        if days > limit:
            seen = f"{name(server.subject)} lives {days} days; its successor may live {limit}, as all from {since}"
            yield Finding("life-over-limit", "possible", f"{seen} on (CA/Browser Forum ballot SC-081v3)")


def _is_public(certificate: x509.Certificate) -> bool:
    policies = extension_of(certificate, x509.CertificatePolicies) or ()
    return any(p.policy_identifier.dotted_string.startswith(_PUBLIC_POLICIES) for p in policies)
