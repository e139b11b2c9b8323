"""The vocabulary of refusals: one table, and the way from an exception to its row.

When TLS fails, one end says no and the other is told why in one byte, the description of an alert (RFC 8446/9846 §6).
Each end's library then words it in its own manner. A `Refusal` puts the two views into the same few words. Every
refusal is made here, and what curl returns is known here.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

End = Literal["client", "server"]


@dataclass(frozen=True)
class Refusal:
    """One no, as one end saw it.

    Fields: `by`, the end that said no; `reason`, a key of `REASONS`; `alert`, the RFCs' name of the TLS alert that was
    sent or received (see `ALERTS`), None if there was none; `curl_exit_code`, what curl returns to its caller in this
    case (0: curl would not notice; where versions differ, that of 7.88); `message`, the library's own
    words, unedited; `advice`, what to do about it.
    """

    by: End
    reason: str
    alert: str | None
    curl_exit_code: int
    message: str
    advice: str

    def __repr__(self) -> str:
        told = f"alert {self.alert or 'none'}, curl exit code {self.curl_exit_code}"
        return f"<Refusal by the {self.by}: {self.reason}, {told}>"


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


def _certificate(
    alert: str, codes: tuple[int, ...], meaning: str, cure: str, client_cure: str = "", names: str = ""
) -> Reason:
    """A verdict on a certificate. `cure` is for its owner; the client's is another where `client_cure` is given."""
    of_server = "about the server's certificate: " + cure.format(owner="server", verifier="client")
    of_client = "about the client's certificate: " + (client_cure or cure).format(owner="client", verifier="server")
    return Reason(meaning, alert, of_server, of_client, codes, tuple(names.split()))


def _connection(alert: str | None, meaning: str, cure: str, names: str = "") -> Reason:
    return Reason(meaning, alert, cure, cure, library_reasons=tuple(names.split()))


# fmt: off
REASONS: dict[str, Reason] = {
    "no-client-certificate": Reason("the server insists on a client certificate, and got none", "certificate_required",
        "send a certificate: --cert and --key", "the client must send a certificate: --cert and --key",
        library_reasons=("PEER_DID_NOT_RETURN_A_CERTIFICATE",)),
    "unknown-ca": _certificate("unknown_ca", (2, 19, 20, 21), "the certificate leads to no CA that this end trusts",
        "give the client the CA that issued it (--cacert), or the server its intermediates",
        "use one from a CA that the server trusts, followed by its intermediates"),
    "self-signed": _certificate("unknown_ca", (18,), "the certificate is signed with its own key, and no trusted one",
        "have a CA sign it, and give the client that CA (--cacert)", "have a CA that the server trusts sign it"),
    "expired": _certificate("certificate_expired", (10,), "the certificate's notAfter has passed",
        "have it issued again; if it looks valid, check the {verifier}'s clock"),
    "not-yet-valid": _certificate("bad_certificate", (9,), "the certificate's notBefore is still to come",
        "check both clocks; the {verifier}'s may be behind"),
    "revoked": _certificate("certificate_revoked", (23,), "the certificate stands on its CA's revocation list (CRL)",
        "replace it, and find out why it was revoked"),
    "crl-missing": _certificate("unknown_ca", (3, 33), "this end wants the issuer's revocation list (CRL): it has none",
        "give the {verifier} the CRL of the CA that issued it; the certificate itself may be good"),
    "crl-expired": _certificate("certificate_expired", (12,), "the issuer's revocation list (CRL) is past nextUpdate",
        "give the {verifier} a fresh CRL; the certificate itself may be good"),
    "wrong-host": _certificate("bad_certificate", (62, 64), "the certificate is not for the name in the URL",
        "use a name from its subjectAltName, or have it issued for the name that the {verifier} expects"),
    "wrong-purpose": _certificate("unsupported_certificate", (26,),
        "the certificate's extendedKeyUsage, or keyUsage, is not for this end of TLS",
        "have it issued again with extendedKeyUsage {owner}Auth"),
    "non-conforming": _certificate("certificate_unknown", tuple(range(80, 94)),
        "a certificate of the chain breaks a rule of RFC 5280 that strict verifiers hold it to",
        "have the certificate that the message names made again, as version 3 with the extensions of RFC 5280 §4.2"),
    "invalid-ca": _certificate("unknown_ca", (32, 37, 79), "the chain holds an issuer without CA:TRUE or keyCertSign",
        "have it issued by a CA; a {owner}'s certificate signs no others"),
    "path-length": _certificate("unknown_ca", (25,), "there are more CAs in the chain than a pathLenConstraint allows",
        "have it issued by the CA that holds the constraint, or that CA issued again with a longer one"),
    "name-constraints": _certificate("certificate_unknown", (47, 48, 49, 51, 52, 53),
        "a CA above may not vouch for a name in the certificate", "use a name within nameConstraints, or another CA"),
    "weak-key": _certificate("bad_certificate", (66, 67), "a key in the chain is too short",
        "have it issued for a new key: P-256, or RSA of 2048 bits", names="EE_KEY_TOO_SMALL CA_KEY_TOO_SMALL"),
    "weak-signature": _certificate("bad_certificate", (68,), "a signature in the chain rests on a broken hash (SHA-1)",
        "have it issued again, signed with SHA-256", names="CA_MD_TOO_WEAK"),
    "bad-signature": _certificate("decrypt_error", (4, 7), "a signature is wrong: a changed certificate, or other key",
        "check that the {owner} holds the key of its certificate, and sends the right issuer", names="BAD_SIGNATURE"),
    "bad-certificate": _certificate("certificate_unknown", (),
        "the certificate was refused, for a cause that the alert does not tell, or that has no word of its own here",
        "read the {verifier}'s log: the cause is known there"),
    "key-mismatch": _connection(None, "the private key does not belong to the first certificate of the file",
        "use the key of its CSR, and put the certificate before its chain", "KEY_VALUES_MISMATCH KEY_TYPE_MISMATCH"),
    "unreadable-file": _connection(None, "a file is missing, or does not hold the PEM that is meant",
        "read which file the message names, and convert or replace it"),
    "handshake-failure": _connection("handshake_failure",
        "the two ends could not agree on how to speak; under TLS 1.2 also: a client certificate was missing",
        "compare both ends' cipher suites, groups and signature algorithms; under TLS 1.2 also send a certificate",
        "NO_SHARED_ NO_SUITABLE_ NO_CIPHERS_AVAILABLE"),
    "protocol-version": _connection("protocol_version", "the two ends have no TLS version in common",
        "let both ends speak TLS 1.2 or 1.3", "UNSUPPORTED_PROTOCOL NO_PROTOCOLS_AVAILABLE"),
    "plain-http": _connection(None, "a client spoke HTTP without TLS to a TLS port", "write https://, not http://",
        "HTTP_REQUEST HTTPS_PROXY_REQUEST"),
    "not-tls": _connection(None, "what came back, or came in, is not TLS", "check who answers, or calls, at that port",
        "WRONG_VERSION_NUMBER UNKNOWN_PROTOCOL PACKET_LENGTH_TOO_LONG RECORD_LAYER_FAILURE BAD_RECORD_TYPE"),
    "protocol-error": _connection(None, "one end broke a rule of TLS or HTTP", "look for what is in between the two"),
    "connection-refused": _connection(None, "nothing listens at that address", "start the server, or check the port"),
    "connection-lost": _connection(None, "the connection ended in mid-sentence, and no alert said why",
        "read the other end's log; look for a proxy or firewall in between", "UNEXPECTED_EOF_WHILE_READING"),
    "host-not-found": _connection(None, "the host's name has no address", "check its spelling, or its DNS entry"),
    "timed-out": _connection(None, "the other end did not answer in time", "see that it runs; look for a firewall"),
    "too-long": _connection(None, "the reply is longer than this client reads", "fetch it with another program"),
}
"""The closed vocabulary of `Refusal.reason`."""

ALERTS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
    30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate",
    43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
    60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
    86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
    110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity",
    116: "certificate_required", 117: "general_error", 120: "no_application_protocol", 121: "ech_required",
}
"""The alerts of RFC 8446/9846 §6, those retired since (RFC 5246 §7.2, RFC 6066 §9), and that of RFC 9849."""

_REASON_OF_ALERT = {
    "close_notify": "connection-lost", "protocol_version": "protocol-version", "unknown_ca": "unknown-ca",
    "handshake_failure": "handshake-failure", "insufficient_security": "handshake-failure",
    "bad_certificate": "bad-certificate", "certificate_unknown": "bad-certificate", "decrypt_error": "bad-signature",
    "certificate_revoked": "revoked", "certificate_expired": "expired", "unsupported_certificate": "wrong-purpose",
    "certificate_required": "no-client-certificate",
}
"""What an alert tells the end that receives it; any other alert is a protocol-error."""

CURL = {
    "host-not-found": 6, "connection-refused": 7, "timed-out": 28, "plain-http": 52, "too-long": 63,
    "unreadable-file": 58, "unreadable-key": 58, "key-mismatch": 58,
    # What h11 and httpcore say of HTTP that they cannot read; and anything else:
    "Server disconnected": 52, "complete message body": 18, "illegal header line": 8, "bad Content-Length": 8,
    "conflicting Content-Length": 0, "Receive buffer too long": 27, "Transfer-Encoding": 61, "chunk": 56,
    "continuation line": 43, "_SWITCH_UPGRADE": 52, "": 1,
}
"""The exit codes of curl 7.88 for what has one of its own, whoever notices."""

_ALERT_OF_VERIFY_CODE = {
    1: "internal_error", 17: "internal_error", 69: "internal_error", 70: "internal_error", 5: "decrypt_error",
    8: "decrypt_error", 22: "unknown_ca", 24: "unknown_ca", 32: "certificate_unknown", 37: "certificate_unknown",
    **dict.fromkeys((6, 11, 13, 14, 15, 16, 27, 28, 63, 94), "bad_certificate"),
}
"""What OpenSSL sends where it is not the alert of the reason's row (its table is in ssl/statem/statem_lib.c)."""

_REASON_OF_EXCEPTION: tuple[tuple[type[BaseException], str, bool], ...] = (
    (ssl.SSLEOFError, "connection-lost", True), (ssl.SSLZeroReturnError, "connection-lost", True),
    (ssl.SSLSyscallError, "connection-lost", True), (socket.gaierror, "host-not-found", False),
    (TimeoutError, "timed-out", False), (ConnectionRefusedError, "connection-refused", True),
    (ConnectionError, "connection-lost", True), (OverflowError, "too-long", False),
)
"""The reason behind an exception, and whether it was the other end's doing."""
# fmt: on

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EHOSTDOWN, errno.ENETDOWN}
"""No way leads to that address: to a caller the same as nobody there."""

CERTIFICATE_REASONS = frozenset(name for name, row in REASONS.items() if row.client_advice != row.server_advice)
"""The reasons that are a verdict on a certificate: the two ends had agreed on a TLS version before."""

_REASON_OF_VERIFY_CODE = {code: name for name, row in REASONS.items() for code in row.verify_codes}
_REASON_OF_NAME = {text: name for name, row in REASONS.items() for text in row.library_reasons}


class _Found(NamedTuple):
    """What an exception tells: `by_other`, whether the other end said it; `curl`, the exit code where that is known."""

    reason: str
    alert: str | None
    by_other: bool
    curl: int | None = None


def from_exception(
    error: BaseException,
    *,
    seen_by: End,
    tls_version: str | None,
    sent_certificate: bool,
    in_handshake: bool,
    asked: bool | None = None,
    alerts: Mapping[End, int] | None = None,
) -> Refusal | None:
    """Find the refusal behind an exception of `ssl`, `socket` or httpx, or behind one on its cause chain.

    `seen_by` is the end that caught it. `tls_version` is "TLSv1.2", "TLSv1.3" or None where not known.
    `sent_certificate` tells whether the client sent a certificate, `in_handshake` whether the client still was in its
    handshake, `asked` whether the server had asked for a certificate (None: not known, and taken for granted under TLS
    1.2). `alerts`, by sender, are the numbers of the alerts that were seen on the wire, where somebody looked: `ssl`
    keeps quiet about some. Returns None for an exception that is no refusal; see `refusal`.
    """
    read = next(((cause, found) for cause in _causes(error) if (found := _read(cause))), None)
    if read is None:
        return None
    cause, (reason, alert, by_other, curl) = read
    by: End = seen_by if not by_other else "server" if seen_by == "client" else "client"
    in_handshake = in_handshake or (seen_by == "server" and by == "client")  # who says no there is not done
    if reason == "connection-lost" and curl is None:  # for curl an alert that was a mere warning changes nothing
        curl = 35 if in_handshake else 56
    told = isinstance(cause, ssl.SSLError) or reason == "connection-lost"
    number = (alerts or {}).get(by) if told else None
    if number or (number == 0 and (in_handshake or reason != "connection-lost")):  # close_notify may be a goodbye
        alert = ALERTS.get(number, f"0x{number:04x}")
        reason = (by_other and reason_of_alert(alert)) or reason
    elif reason == "no-client-certificate" and not by_other and tls_version != "TLSv1.3":
        alert = "handshake_failure"  # TLS 1.2 has no alert of its own for it (RFC 5246 §7.4.6)
    had_to = tls_version == "TLSv1.2" if asked is None else asked
    if by == "server" != seen_by and had_to and not sent_certificate:  # OpenSSL says the first of these, Go the second
        reason = "no-client-certificate" if alert in ("handshake_failure", "bad_certificate") else reason
    row = REASONS[reason]
    curl = _curl_exit_code(by, reason, alert, in_handshake) if curl is None else curl
    return Refusal(by, reason, alert, curl, str(cause), row.client_advice if by == "client" else row.server_advice)


def refusal(error: BaseException, **met: Any) -> Refusal:
    """Do what `from_exception` does, always: an exception that tells nothing is a connection that was lost."""
    found = from_exception(error, **met) or from_exception(ConnectionError(str(error)), **met)
    assert found is not None
    return found


def reason_of_alert(alert: str | None) -> str | None:
    """Return what an alert tells the end that receives it; None for no alert."""
    return None if alert is None else _REASON_OF_ALERT.get(alert, "protocol-error")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an exception to what caused it, innermost last; httpx keeps the ssl module's error there."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _read(error: BaseException) -> _Found | None:
    """Return what this exception tells, None where it tells nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", 0)
        reason = _REASON_OF_VERIFY_CODE.get(code, "bad-certificate")
        return _Found(reason, _ALERT_OF_VERIFY_CODE.get(code, REASONS[reason].alert), False)
    for kind, reason, by_other in _REASON_OF_EXCEPTION:
        if isinstance(error, kind):
            return _Found(reason, None, by_other)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
        return _read_name(_name(error))
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return _Found("connection-refused", None, True)
    if type(error).__name__ == "RemoteProtocolError":  # httpx's, which a server does without
        fault = next(words for words in CURL if words in str(error))
        reason = "connection-lost" if fault == "Server disconnected" else "protocol-error"
        return _Found(reason, None, True, CURL[fault])
    return None


def _name(error: ssl.SSLError) -> str:
    """Return OpenSSL's name for what went wrong: `ssl` does not know all of them, but has the words they stand for."""
    words = re.sub(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$", "", str(error.args[-1]) if error.args else "")
    return re.sub(r"\W+", "_", getattr(error, "reason", None) or words).upper()


def _read_name(name: str) -> _Found:
    """Return what OpenSSL's name tells. That of an alert which was received begins with the version that brought it.

    For an alert that it has no name for, it has no words either; every error of its own has some.
    """
    said = re.fullmatch(r"(?:SSLV3|TLSV1|TLSV13|TLS|SSL_TLS)_(ALERT_)?(.+)", name)
    alert = said[2].lower().replace("cancelled", "canceled") if said else name.lower()
    if (said and (said[1] or alert in ALERTS.values())) or name == "NO_RENEGOTIATION":
        return _Found(reason_of_alert(alert) or "", alert, True)
    reason = next((_REASON_OF_NAME[text] for text in _REASON_OF_NAME if name.startswith(text)), "protocol-error")
    sent = None if name.endswith("_AVAILABLE") else REASONS[reason].alert  # that was before anything was sent
    return _Found(reason, sent, reason == "connection-lost" or name.startswith("UNKNOWN_ERROR"))


def _curl_exit_code(by: End, reason: str, alert: str | None, in_handshake: bool) -> int:
    """60: curl refuses the server's certificate; 35: a failed handshake; 56: a failed read; else `CURL`.

    Three exceptions (curl built on OpenSSL, in lib/vtls/openssl.c). The alert certificate_expired in the handshake,
    though it is about curl's certificate, counts as 60 too; certificate_required there, under TLS 1.2, is 98. And curl
    is not strict: it does not notice what is merely non-conforming.
    """
    if reason in CURL:
        return CURL[reason]
    if by == "client" and reason in CERTIFICATE_REASONS:
        return 0 if reason == "non-conforming" else 60
    early = {"certificate_expired": 60, "certificate_required": 98}.get(alert or "", 35)
    return early if in_handshake else 56
