"""The vocabulary of refusals: one table, and the way from an exception to its row.

When TLS fails, one end says no and the other is told why in one byte, the description of an alert (RFC 8446/9846 §6).
Each end's library then words it in its own manner. A `Refusal` puts the two views into the same
few words.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

End = Literal["client", "server"]


@dataclass(frozen=True)
class Refusal:
    """One no, as one end saw it.

    Fields: `by`, the end that said no; `reason`, a key of `REASONS`; `alert`, RFC 8446's name of the TLS alert
    that was sent or received, None if there was none; `curl_exit_code`, what curl returns to its caller in this
    case (0: curl would not notice); `message`, the library's own words, unedited; `advice`, what to do about it.
    """

    by: End
    reason: str
    alert: str | None
    curl_exit_code: int
    message: str
    advice: str

    def __repr__(self) -> str:
        alert = self.alert or "none"
        return f"<Refusal by the {self.by}: {self.reason}, alert {alert}, curl exit code {self.curl_exit_code}>"


@dataclass(frozen=True)
class Reason:
    """One row of the vocabulary.

    Fields: `meaning`; `alert`, which a refuser that found this sends; `verify_codes`, OpenSSL's X509_V_ERR numbers for
    it; `library_reasons`, OpenSSL's other names for it; `client_advice`, the cure when the client refuses the server,
    and `server_advice`, the cure when the server refuses the client.
    """

    meaning: str
    alert: str | None
    client_advice: str
    server_advice: str
    verify_codes: tuple[int, ...] = ()
    library_reasons: tuple[str, ...] = ()


def _of_certificate(
    meaning: str,
    alert: str,
    server_cure: str,
    client_cure: str,
    codes: tuple[int, ...],
    library_reasons: tuple[str, ...] = (),
) -> Reason:
    return Reason(
        meaning,
        alert,
        client_advice=f"about the server's certificate: {server_cure}",
        server_advice=f"about the client's certificate: {client_cure}",
        verify_codes=codes,
        library_reasons=library_reasons,
    )


def _of_connection(meaning: str, alert: str | None, advice: str, *library_reasons: str) -> Reason:
    return Reason(meaning, alert, advice, advice, library_reasons=library_reasons)


_REISSUE = "have it issued again"

REASONS: dict[str, Reason] = {
    "no-client-certificate": Reason(
        "the server insists on a client certificate, and got none",
        "certificate_required",
        "send a certificate: --cert and --key",
        "the client must send a certificate: --cert and --key",
        library_reasons=("PEER_DID_NOT_RETURN_A_CERTIFICATE",),
    ),
    "unknown-ca": _of_certificate(
        "the certificate does not lead to a CA that this end trusts",
        "unknown_ca",
        "give the client the CA that issued it (--cacert), or the server its intermediates",
        "use one from a CA that the server trusts, followed by its intermediates",
        (2, 19, 20, 21),
    ),
    "self-signed": _of_certificate(
        "the certificate was signed with its own key, and is not itself trusted",
        "unknown_ca",
        "have a CA sign it, and give the client that CA (--cacert)",
        "have a CA that the server trusts sign it",
        (18,),
    ),
    "expired": _of_certificate(
        "the certificate's notAfter has passed",
        "certificate_expired",
        f"{_REISSUE}; if it looks valid, check the client's clock",
        f"{_REISSUE}; if it looks valid, check the server's clock",
        (10,),
    ),
    "not-yet-valid": _of_certificate(
        "the certificate's notBefore is still to come",
        "bad_certificate",
        "check both clocks; the client's may be behind",
        "check both clocks; the server's may be behind",
        (9,),
    ),
    "revoked": _of_certificate(
        "the certificate stands on its CA's revocation list (CRL)",
        "certificate_revoked",
        "replace it, and find out why it was revoked",
        "replace it, and find out why it was revoked",
        (23,),
    ),
    "crl-missing": _of_certificate(
        "this end insists on a revocation list (CRL), and has none from the certificate's issuer",
        "unknown_ca",
        "give the client the CRL of the CA that issued it",
        "give the server the CRL of the CA that issued it; the certificate itself may be good",
        (3, 33),
    ),
    "crl-expired": _of_certificate(
        "the revocation list (CRL) of the certificate's issuer is past its nextUpdate",
        "certificate_expired",
        "give the client a fresh CRL",
        "give the server a fresh CRL; the certificate itself may be good",
        (12,),
    ),
    "wrong-host": _of_certificate(
        "the certificate is not for the name in the URL",
        "bad_certificate",
        "use a name from its subjectAltName, or have it issued with the name you use",
        "have it issued for the name that the server expects",
        (62, 64),
    ),
    "wrong-purpose": _of_certificate(
        "the certificate's extendedKeyUsage, or keyUsage, is not for this end of TLS",
        "unsupported_certificate",
        f"{_REISSUE} with extendedKeyUsage serverAuth",
        f"{_REISSUE} with extendedKeyUsage clientAuth",
        (26,),
    ),
    "non-conforming": _of_certificate(
        "a certificate of the chain breaks a rule of RFC 5280 that strict verifiers hold it to",
        "certificate_unknown",
        "have the certificate that the message names made again, as version 3 with the extensions of RFC 5280 §4.2",
        "have the certificate that the message names made again, as version 3 with the extensions of RFC 5280 §4.2",
        tuple(range(80, 94)),
    ),
    "invalid-ca": _of_certificate(
        "a certificate of the chain was signed by one that is no CA: no CA:TRUE, or no keyCertSign",
        "unknown_ca",
        "have it issued by a CA; a server's certificate signs no others",
        "have it issued by a CA; a client's certificate signs no others",
        (32, 37, 79),
    ),
    "path-length": _of_certificate(
        "there are more CAs in the chain than a pathLenConstraint above them allows",
        "unknown_ca",
        "have it issued by the CA that holds the constraint, or that CA issued again with a longer one",
        "have it issued by the CA that holds the constraint, or that CA issued again with a longer one",
        (25,),
    ),
    "name-constraints": _of_certificate(
        "the certificate has a name that a CA above it may not vouch for",
        "certificate_unknown",
        "use a name within the CA's nameConstraints, or another CA",
        "use a name within the CA's nameConstraints, or another CA",
        (47, 48, 49, 51, 52, 53),
    ),
    "weak-key": _of_certificate(
        "a key in the chain is too short",
        "bad_certificate",
        f"{_REISSUE} for a new key: RSA of 2048 bits or more, or P-256",
        f"{_REISSUE} for a new key: RSA of 2048 bits or more, or P-256",
        (66, 67),
        ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL"),
    ),
    "weak-signature": _of_certificate(
        "a certificate of the chain is signed with a broken hash, such as SHA-1",
        "bad_certificate",
        f"{_REISSUE}, signed with SHA-256",
        f"{_REISSUE}, signed with SHA-256",
        (68,),
        ("CA_MD_TOO_WEAK",),
    ),
    "bad-signature": _of_certificate(
        "a signature does not verify: a changed certificate, or an end without the certificate's private key",
        "decrypt_error",
        "check that the server holds the key of its certificate, and sends the right issuer",
        "check that the client holds the key of its certificate, and sends the right issuer",
        (7,),
        ("BAD_SIGNATURE",),
    ),
    "bad-certificate": _of_certificate(
        "the other end refused the certificate, and its alert does not say why",
        "bad_certificate",
        "read the client's log: the cause is known there",
        "read the server's log: the cause is known there",
        (),
    ),
    "key-mismatch": _of_connection(
        "the private key does not belong to the first certificate of the file",
        None,
        "use the key that the certificate's CSR was made with; and in the file, put the certificate before its chain",
        "KEY_VALUES_MISMATCH",
        "KEY_TYPE_MISMATCH",
    ),
    "unreadable-file": _of_connection(
        "a file is missing, or does not hold the PEM that is meant",
        None,
        "read which file the message names, and convert or replace it",
    ),
    "handshake-failure": _of_connection(
        "the two ends could not agree on how to speak; under TLS 1.2 also: a client certificate was missing",
        "handshake_failure",
        "compare both ends' cipher suites, groups and signature algorithms; under TLS 1.2 also send a certificate",
        "NO_SHARED_CIPHER",
        "NO_SUITABLE_SIGNATURE_ALGORITHM",
        "NO_SUITABLE_GROUPS",
        "NO_SUITABLE_KEY_SHARE",
    ),
    "protocol-version": _of_connection(
        "the two ends have no TLS version in common",
        "protocol_version",
        "let both ends speak TLS 1.2 or 1.3",
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
    ),
    "plain-http": _of_connection(
        "a client spoke HTTP without TLS to a TLS port", None, "write https:// instead of http://", "HTTP_REQUEST"
    ),
    "not-tls": _of_connection(
        "what came back, or came in, is not TLS",
        None,
        "check the port: something else than a TLS server answers there, or something else than a TLS client calls",
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "BAD_RECORD_TYPE",
    ),
    "protocol-error": _of_connection(
        "one end broke a rule of TLS or of HTTP", None, "check that nothing between the two ends changes what they send"
    ),
    "connection-refused": _of_connection(
        "nothing listens at that address", None, "start the server, or check host and port"
    ),
    "connection-lost": _of_connection(
        "the connection ended in mid-sentence, without an alert",
        None,
        "read the other end's log; look for a proxy or firewall in between",
        "UNEXPECTED_EOF_WHILE_READING",
    ),
    "host-not-found": _of_connection(
        "the host's name has no address", None, "check the spelling of the host, or its DNS entry"
    ),
    "timed-out": _of_connection(
        "the other end did not answer in time", None, "check that it is running and that no firewall drops its packets"
    ),
}
"""The closed vocabulary of `Refusal.reason`."""

CERTIFICATE_REASONS = frozenset(name for name, row in REASONS.items() if row.client_advice != row.server_advice)
"""The reasons that are a verdict on a certificate: the two ends had agreed on a TLS version before."""

_REASON_OF_VERIFY_CODE = {code: name for name, row in REASONS.items() for code in row.verify_codes}
_REASON_OF_LIBRARY_REASON = {text: name for name, row in REASONS.items() for text in row.library_reasons}

_REASON_OF_ALERT = {
    "certificate_required": "no-client-certificate",
    "unknown_ca": "unknown-ca",
    "certificate_revoked": "revoked",
    "certificate_expired": "expired",
    "unsupported_certificate": "wrong-purpose",
    "bad_certificate": "bad-certificate",
    "certificate_unknown": "bad-certificate",
    "decrypt_error": "bad-signature",
    "handshake_failure": "handshake-failure",
    "insufficient_security": "handshake-failure",
    "protocol_version": "protocol-version",
}
"""What an alert tells the end that receives it; any other alert is a protocol-error."""

_CURL_BY_REASON = {
    "host-not-found": 6,
    "connection-refused": 7,
    "timed-out": 28,
    "plain-http": 52,
    "key-mismatch": 58,
    "unreadable-file": 58,
}
"""curl's exit codes for failures that have one of their own, whoever notices."""


def from_exception(
    error: BaseException, *, seen_by: End, tls_version: str | None, sent_certificate: bool, in_handshake: bool
) -> Refusal | None:
    """Find the refusal behind an exception of `ssl`, `socket` or httpx, or behind one on its cause chain.

    `seen_by` is the end that caught it. `tls_version` is "TLSv1.2", "TLSv1.3" or None where not known.
    `sent_certificate` tells whether the client sent a certificate, `in_handshake` whether the client still was in its
    handshake. Returns None for an exception that is no refusal.
    """
    found = next(filter(None, map(_reason_and_alert, _causes(error))), None)
    if found is None:
        return None
    cause, reason, alert, by_the_other = found
    other: End = "server" if seen_by == "client" else "client"
    by = other if by_the_other else seen_by
    if (
        reason == "handshake-failure"
        and by == "server"
        and by_the_other
        and not sent_certificate
        and tls_version != "TLSv1.3"
    ):
        reason = "no-client-certificate"  # TLS 1.2 has no alert of its own for it (RFC 5246 §7.4.6)
    if reason == "no-client-certificate" and tls_version != "TLSv1.3":
        alert = "handshake_failure"
    row = REASONS[reason]
    advice = row.client_advice if by == "client" else row.server_advice
    return Refusal(by, reason, alert, _curl_exit_code(by, reason, alert, in_handshake), str(cause), advice)


def reason_of_alert(alert: str | None) -> str | None:
    """Return what an alert tells the end that receives it; None for no alert."""
    return None if alert is None else _REASON_OF_ALERT.get(alert, "protocol-error")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an exception to what caused it, innermost last; httpx keeps the ssl module's error there."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason_and_alert(error: BaseException) -> tuple[BaseException, str, str | None, bool] | None:
    """Return (error, reason, alert, said by the other end?), or None where this exception does not tell."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _REASON_OF_VERIFY_CODE.get(error.verify_code, "bad-certificate")
        return error, reason, REASONS[reason].alert, False
    if isinstance(error, ssl.SSLError) and error.reason:
        if received := _RECEIVED_ALERT.search(error.reason):
            alert = received[received.lastindex or 1].lower()
            return error, reason_of_alert(alert) or "protocol-error", alert, True
        reason = _REASON_OF_LIBRARY_REASON.get(error.reason, "protocol-error")
        return error, reason, REASONS[reason].alert, reason == "connection-lost"
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return error, "connection-refused", None, True
    for kind, reason, by_the_other in _REASON_OF_EXCEPTION:
        if isinstance(error, kind):
            return error, reason, None, by_the_other
    return None


_RECEIVED_ALERT = re.compile(
    "_ALERT_(.+)|^TLSV1_(UNRECOGNIZED_NAME|UNSUPPORTED_EXTENSION|BAD_CERTIFICATE_STATUS_RESPONSE)$"
)
"""OpenSSL's names for what the other end's alert said. The extensions' alerts (RFC 6066 §9) lack the word."""

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
"""No way leads to that address: to a caller the same as nobody there."""

_REASON_OF_EXCEPTION: tuple[tuple[type[BaseException], str, bool], ...] = (
    (ssl.SSLEOFError, "connection-lost", True),
    (ssl.SSLZeroReturnError, "connection-lost", True),
    (socket.gaierror, "host-not-found", False),
    (TimeoutError, "timed-out", False),
    (ConnectionRefusedError, "connection-refused", True),
    (ConnectionError, "connection-lost", True),
)


def _curl_exit_code(by: End, reason: str, alert: str | None, in_handshake: bool) -> int:
    """60: curl refuses the server's certificate; 35: a failed handshake; 56: a failed read; else `_CURL_BY_REASON`.

    Two exceptions. The alert certificate_expired in the handshake, though it is about curl's certificate, counts as
    60 too (curl built on OpenSSL, in lib/vtls/openssl.c). And curl is not strict: it does not notice what is merely
    non-conforming.
    """
    if reason in _CURL_BY_REASON:
        return _CURL_BY_REASON[reason]
    if by == "client" and reason in CERTIFICATE_REASONS:
        return 0 if reason == "non-conforming" else 60
    if alert == "certificate_expired" and in_handshake:
        return 60
    return 35 if in_handshake else 56
