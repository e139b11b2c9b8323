"""One refusal, many wordings: what programs print when they meet it, so that a pasted message finds its fault.

There are two kinds of message. The end that is *told* no knows the alert and nothing else: `OF_ALERT`. The end that
*says* no knows the cause: `OF_FAULT` where the client prints it, `OF_LOG` where it stands in the server's log. All
were seen by running the programs: curl, Python (httpx, requests), Node.js 20, nginx 1.22, Go 1.19 and 1.24; OpenSSL
3.0 and 3.5. (Go's two on versions and cipher suites were read in its sources.)
"""

from __future__ import annotations

from mtlslab.faults.table import FAULTS
from mtlslab.faults.verdicts import Fault
from mtlslab.refusals import End

OF_ALERT: dict[str, tuple[str, ...]] = {
    # alert: OpenSSL 3.0 and 3.5, Python, Node.js's code with either OpenSSL (EPROTO with TLS 1.2), Go
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
        "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE",
        "remote error: tls: bad certificate",
    ),
    "certificate_expired": (
        "sslv3 alert certificate expired",
        "ssl/tls alert certificate expired",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED",
        "remote error: tls: expired certificate",
    ),
    "certificate_revoked": (
        "sslv3 alert certificate revoked",
        "ssl/tls alert certificate revoked",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED",
        "ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_REVOKED",
        "remote error: tls: revoked certificate",
    ),
    "certificate_unknown": (
        "sslv3 alert certificate unknown",
        "ssl/tls alert certificate unknown",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN",
        "remote error: tls: unknown certificate",
    ),
    "unsupported_certificate": (
        "sslv3 alert unsupported certificate",
        "ssl/tls alert unsupported certificate",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "ERR_SSL_SSL/TLS_ALERT_UNSUPPORTED_CERTIFICATE",
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

HUNG_UP = (
    "Empty reply from server",
    "Connection reset by peer",
    "SSL_ERROR_SYSCALL",
    "Server disconnected without sending a response",
    "EOF occurred in violation of protocol",
    "UNEXPECTED_EOF_WHILE_READING",
    "Remote end closed connection without response",
    "socket hang up",
    "Client network socket disconnected before secure TLS connection was established",
    '": EOF',  # Go: Get "https://localhost:3000": EOF
)
"""What clients print of a server that hangs up without an alert, as Node.js does on a chain that does not verify."""

NGINX_400 = "The SSL certificate error"
"""The same at nginx, which answers the request instead."""

_GO_UNKNOWN_CA = "x509: certificate signed by unknown authority"
_UNKNOWN_CA = (
    "unable to get local issuer certificate",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "unable to verify the first certificate",
    _GO_UNKNOWN_CA,
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
_GO_PURPOSE = "x509: certificate specifies an incompatible key usage"
_GO_EXPIRED = "x509: certificate has expired or is not yet valid"

_CURL_60 = "curl: (60) SSL certificate verification failed"  # what the alert certificate_expired becomes, in TLS 1.2

OF_FAULT: dict[str, tuple[str, ...]] = {
    "unknown-server-ca": (
        *_UNKNOWN_CA,
        "self-signed certificate in certificate chain",
        "SELF_SIGNED_CERT_IN_CHAIN",
    ),
    "server-without-intermediate": _UNKNOWN_CA,
    "self-signed-server": ("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT", _GO_UNKNOWN_CA),
    "expired-server": ("certificate has expired", "CERT_HAS_EXPIRED", _GO_EXPIRED),
    "not-yet-valid-server": ("certificate is not yet valid", "CERT_NOT_YET_VALID", _GO_EXPIRED),
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
        _GO_PURPOSE,
    ),
    "ca-without-key-usage": ("CA cert does not include key usage extension",),
    "basic-constraints-not-critical": ("Basic Constraints of CA cert not marked critical",),
    "ca-without-subject-key-identifier": ("Missing Subject Key Identifier",),
    "server-without-authority-key-identifier": ("Missing Authority Key Identifier",),
    "expired-client": (_CURL_60,),
    "not-yet-valid-client": (_CURL_60,),  # with Go 1.24 at the other end
    "crl-expired": (_CURL_60,),
    "client-chain-reversed": _MISMATCH,
    "key-of-another-certificate": _MISMATCH,
    "weak-client-key": ("EE_KEY_TOO_SMALL", "ee key too small"),
    "sha1-client": ("CA_MD_TOO_WEAK", "ca md too weak"),
    "plain-http-to-tls-port": (
        *HUNG_UP,
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
        "DECODER routines::unsupported",  # the same: one key in 256 seems to decrypt with no password
        "Client private key is encrypted, password is required",
        "tls: failed to parse private key",
    ),
    "no-client-certificate": ("No required SSL certificate was sent",),
}
"""What a client that says no prints, by the fault's name; and what programs say of it before they dial."""

OF_LOG: dict[str, tuple[str, ...]] = {
    "no-client-certificate": (
        "peer did not return a certificate",
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "client sent no required SSL certificate",
        "tls: client didn't provide a certificate",
    ),
    "unknown-client-ca": (_UNKNOWN_CA[0], *_UNKNOWN_CA[2:]),
    "client-without-intermediate": (_UNKNOWN_CA[0], *_UNKNOWN_CA[2:]),
    "self-signed-client": ("self-signed certificate", _GO_UNKNOWN_CA),
    "client-ca-made-again": ("certificate signature failure", "ERR_SSL_EVP_LIB", _GO_UNKNOWN_CA),
    "expired-client": ("certificate has expired", _GO_EXPIRED),
    "not-yet-valid-client": ("certificate is not yet valid", _GO_EXPIRED),
    "wrong-purpose-client": ("unsuitable certificate purpose", _GO_PURPOSE),
    "stolen-client-certificate": ("bad signature", "BAD_SIGNATURE", "tls: invalid signature by the client certificate"),
    "revoked-client": ("certificate revoked",),
    "crl-missing": ("unable to get certificate CRL",),
    "crl-expired": ("CRL has expired",),
    "weak-client-key": ("EE certificate key too weak",),
    "sha1-client": ("CA signature digest algorithm too weak", _GO_UNKNOWN_CA),
    "client-issued-by-a-leaf": (
        "invalid CA certificate",
        "key usage does not include certificate signing",
        _GO_UNKNOWN_CA,
    ),
    "client-path-too-long": (
        "path length constraint exceeded",
        "x509: too many intermediates for path length constraint",
    ),
    "client-name-not-permitted": ("permitted subtree violation", _GO_UNKNOWN_CA),
    "plain-http-to-tls-port": (
        "HTTP_REQUEST",
        "client sent plain HTTP request to HTTPS port",
        "client sent an HTTP request to an HTTPS server",
    ),
    "no-version-in-common": (
        "unsupported protocol",
        "UNSUPPORTED_PROTOCOL",
        "tls: client offered only unsupported versions",
    ),
    "no-cipher-in-common": ("no shared cipher", "NO_SHARED_CIPHER", "tls: no cipher suite supported by both"),
    "no-group-in-common": ("no suitable key share", "NO_SUITABLE_KEY_SHARE", "no shared cipher", "NO_SHARED_CIPHER"),
}
"""What stands in the log of a server that says no, by the fault's name."""


def texts(fault: Fault, end: End = "client") -> tuple[str, ...]:
    """Return every text by which a fault may be met at one end."""
    own, other = (OF_FAULT, "server") if end == "client" else (OF_LOG, "client")
    told = [verdict.alert for verdict in fault.verdicts.values() if verdict.by == other]
    of_alerts = [text for alert in dict.fromkeys(told) for text in OF_ALERT.get(alert or "", ())]
    silent = (*HUNG_UP, NGINX_400) if end == "client" and _may_be_refused_in_silence(fault) else ()
    return (*own.get(fault.name, ()), *of_alerts, *silent)


def _may_be_refused_in_silence(fault: Fault) -> bool:
    """Tell whether it is the client's chain that does not verify: nginx and Node.js judge that after the handshake."""
    in_handshake = ("no-client-certificate", "stolen-client-certificate")
    by_server = any(verdict.by == "server" for verdict in fault.verdicts.values())
    return fault.side == "client" and by_server and fault.name not in in_handshake


def find(message: str, end: End = "client") -> tuple[str, ...]:
    """Return the names of the faults whose texts at `end` occur in a message, in whatever case, in the table's order.

    The longest text counts: "unknown certificate authority" is not also an "unknown certificate".
    """
    pasted = " ".join(message.lower().split())
    found = {text.lower() for fault in FAULTS.values() for text in texts(fault, end) if text.lower() in pasted}
    longest = {text for text in found if not any(text != other and text in other for other in found)}
    return tuple(name for name, fault in FAULTS.items() if longest & {text.lower() for text in texts(fault, end)})
