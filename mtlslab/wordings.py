"""One refusal, many wordings: what programs print when they meet it, so that a pasted message finds its fault.

A table in two parts, because there are two kinds of message. The end that is *told* no knows the alert and nothing
else: `OF_ALERT`. The end that *says* no knows the cause: `OF_FAULT`. Texts of curl, Python (httpx, requests) and
Node.js were seen by running them, with OpenSSL 3.0 and 3.5; Go's are those of its packages crypto/tls and crypto/x509.
"""

from __future__ import annotations

from mtlslab.faults import FAULTS, Fault

OF_ALERT: dict[str, tuple[str, ...]] = {
    # alert: OpenSSL 3.0 (Node.js 20 too), OpenSSL 3.5, Python, Node.js's code (EPROTO with TLS 1.2), Go
    "handshake_failure": (
        "sslv3 alert handshake failure",
        "ssl/tls alert handshake failure",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "remote error: tls: handshake failure",
    ),
    "certificate_required": (
        "tlsv13 alert certificate required",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "remote error: tls: certificate required",
    ),
    "unknown_ca": (
        "tlsv1 alert unknown ca",
        "TLSV1_ALERT_UNKNOWN_CA",
        "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
        "remote error: tls: unknown certificate authority",
    ),
    "bad_certificate": (
        "sslv3 alert bad certificate",
        "ssl/tls alert bad certificate",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE",
        "remote error: tls: bad certificate",
    ),
    "certificate_expired": (
        "sslv3 alert certificate expired",
        "ssl/tls alert certificate expired",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "remote error: tls: expired certificate",
        "curl: (60) SSL certificate verification failed",
    ),
    "certificate_revoked": (
        "sslv3 alert certificate revoked",
        "ssl/tls alert certificate revoked",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED",
        "remote error: tls: revoked certificate",
    ),
    "certificate_unknown": (
        "sslv3 alert certificate unknown",
        "ssl/tls alert certificate unknown",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "remote error: tls: unknown certificate",
    ),
    "unsupported_certificate": (
        "sslv3 alert unsupported certificate",
        "ssl/tls alert unsupported certificate",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "remote error: tls: unsupported certificate",
    ),
    "decrypt_error": (
        "tlsv1 alert decrypt error",
        "TLSV1_ALERT_DECRYPT_ERROR",
        "ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR",
        "remote error: tls: error decrypting message",
    ),
    "protocol_version": (
        "tlsv1 alert protocol version",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "remote error: tls: protocol version not supported",
    ),
}
"""What the end that is told no prints, by the alert's name."""

_UNKNOWN_CA = (
    "unable to get local issuer certificate",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "unable to verify the first certificate",
    "x509: certificate signed by unknown authority",
)
_WRONG_HOST = (
    "Hostname mismatch, certificate is not valid for",
    "no alternative certificate subject name matches target",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "Hostname/IP does not match certificate's altnames",
    "x509: certificate is valid for",
)
_MISMATCH = (
    "key values mismatch",
    "KEY_VALUES_MISMATCH",
    "unable to set private key file",
    "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
    "tls: private key does not match public key",
)
_NOT_PEM = (
    "could not load PEM client certificate",
    "no start line",
    "ERR_OSSL_PEM_NO_START_LINE",
    "[SSL] PEM lib",
    "tls: failed to find any PEM data in certificate input",
)
_EXPIRED = "x509: certificate has expired or is not yet valid"

OF_FAULT: dict[str, tuple[str, ...]] = {
    "unknown-server-ca": (
        *_UNKNOWN_CA,
        "self-signed certificate in certificate chain",
        "SELF_SIGNED_CERT_IN_CHAIN",
    ),
    "server-without-intermediate": _UNKNOWN_CA,
    "self-signed-server": ("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT", _UNKNOWN_CA[-1]),
    "expired-server": ("certificate has expired", "CERT_HAS_EXPIRED", _EXPIRED),
    "not-yet-valid-server": ("certificate is not yet valid", "CERT_NOT_YET_VALID", _EXPIRED),
    "wrong-host": _WRONG_HOST,
    "wildcard-too-deep": _WRONG_HOST,
    "ip-address-as-dns-name": (
        "IP address mismatch, certificate is not valid for",
        *_WRONG_HOST[1:4],
        "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
    ),
    "name-in-common-name-only": (
        _WRONG_HOST[0],
        "x509: certificate relies on legacy Common Name field, use SANs instead",
    ),
    "wrong-purpose-server": (
        "unsuitable certificate purpose",
        "INVALID_PURPOSE",
        "x509: certificate specifies an incompatible key usage",
    ),
    "ca-without-key-usage": ("CA cert does not include key usage extension",),
    "basic-constraints-not-critical": ("Basic Constraints of CA cert not marked critical",),
    "ca-without-subject-key-identifier": ("Missing Subject Key Identifier",),
    "server-without-authority-key-identifier": ("Missing Authority Key Identifier",),
    "client-chain-reversed": _MISMATCH,
    "key-of-another-certificate": _MISMATCH,
    "weak-client-key": ("EE_KEY_TOO_SMALL", "ee key too small"),
    "sha1-client": ("CA_MD_TOO_WEAK", "ca md too weak"),
    "plain-http-to-tls-port": (
        "Empty reply from server",
        "Server disconnected without sending a response",
        "Remote end closed connection without response",
        "The plain HTTP request was sent to HTTPS port",
        "Client sent an HTTP request to an HTTPS server",
    ),
    "tls-to-plain-port": (
        "wrong version number",
        "WRONG_VERSION_NUMBER",
        "http: server gave HTTP response to HTTPS client",
        "tls: first record does not look like a TLS handshake",
    ),
    "der-for-pem": _NOT_PEM,
    "pkcs12-for-pem": _NOT_PEM,
    "encrypted-key": (
        "Enter PEM pass phrase",
        "unable to set private key file",
        "ERR_OSSL_BAD_DECRYPT",
        "Client private key is encrypted, password is required",
    ),
    "no-client-certificate": ("No required SSL certificate was sent",),
}
"""What the end that says no prints, by the fault's name; and what programs say of it before they dial."""


def texts(fault: Fault) -> tuple[str, ...]:
    """Return every text by which a fault may be met, at the client's end."""
    told = [verdict.alert for verdict in fault.verdicts.values() if verdict.by == "server"]
    of_alerts = [text for alert in dict.fromkeys(told) for text in OF_ALERT.get(alert or "", ())]
    return (*OF_FAULT.get(fault.name, ()), *of_alerts)


def find(message: str) -> tuple[str, ...]:
    """Return the names of the faults whose texts occur in a message, in whatever case, in the table's order.

    The longest text counts: "unknown certificate authority" is not also an "unknown certificate".
    """
    pasted = " ".join(message.lower().split())
    found = {text.lower() for fault in FAULTS.values() for text in texts(fault) if text.lower() in pasted}
    longest = {text for text in found if not any(text != other and text in other for other in found)}
    return tuple(name for name, fault in FAULTS.items() if longest & {text.lower() for text in texts(fault)})
