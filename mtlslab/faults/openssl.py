"""What OpenSSL prints, and the programs that pass its words on: curl, Python, Node.js. A part of `stacks`."""

from __future__ import annotations

from typing import Any


def _of_alert(alert: str, first: str, *later: str) -> tuple[str, ...]:
    """Give an alert's words, Python's reason and Node.js's code, before and since OpenSSL 3.2."""
    words = [f"{era} alert {alert}" for era in (first, *later)]
    codes = [f"{era.upper()}_ALERT_{alert.replace(' ', '_').upper()}" for era in (first, *later)]
    return (*words, codes[0], *(f"ERR_SSL_{code}" for code in codes))


_OLD = ("sslv3", "ssl/tls")
_MISMATCH = ("key values mismatch", "KEY_VALUES_MISMATCH", "ERR_OSSL_X509_KEY_VALUES_MISMATCH")
_NOT_PEM = ("could not load PEM client certificate", "no start line", "ERR_OSSL_PEM_NO_START_LINE", "[SSL] PEM lib")
_WRONG_HOST = ("Hostname mismatch, certificate is not valid for", "ERR_TLS_CERT_ALTNAME_INVALID")
_WRONG_NAME = (
    "no alternative certificate subject name matches target",
    "does not match target host name",
    "Hostname/IP does not match certificate's altnames",
)
_UNKNOWN = ("unable to get local issuer certificate", "unable to verify the first certificate")
_NODE_UNKNOWN = ("UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
_IN_CHAIN = ("self-signed certificate in certificate chain", "SELF_SIGNED_CERT_IN_CHAIN")
WORDS: dict[str, Any] = {
    "alerts": {
        "handshake_failure": _of_alert("handshake failure", *_OLD),
        "certificate_required": _of_alert("certificate required", "tlsv13"),
        "unknown_ca": _of_alert("unknown ca", "tlsv1"),
        "access_denied": _of_alert("access denied", "tlsv1"),
        "bad_certificate": _of_alert("bad certificate", *_OLD),
        "certificate_expired": _of_alert("certificate expired", *_OLD),
        "certificate_revoked": _of_alert("certificate revoked", *_OLD),
        "certificate_unknown": _of_alert("certificate unknown", *_OLD),
        "unsupported_certificate": _of_alert("unsupported certificate", *_OLD),
        "decrypt_error": _of_alert("decrypt error", "tlsv1"),
        "protocol_version": _of_alert("protocol version", "tlsv1"),
    },
    "client": {
        "unknown-server-ca": (*_UNKNOWN, *_NODE_UNKNOWN, *_IN_CHAIN),
        "server-without-intermediate": (*_UNKNOWN, *_NODE_UNKNOWN),
        "self-signed-server": ("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        "expired-server": ("certificate has expired", "CERT_HAS_EXPIRED"),
        "not-yet-valid-server": ("certificate is not yet valid", "CERT_NOT_YET_VALID"),
        "wrong-host": (*_WRONG_HOST, *_WRONG_NAME),
        "wildcard-too-deep": (*_WRONG_HOST, *_WRONG_NAME),
        "ip-address-as-dns-name": ("IP address mismatch, certificate is not valid for", _WRONG_HOST[1], *_WRONG_NAME),
        "name-in-common-name-only": _WRONG_HOST[:1],
        "wrong-purpose-server": (
            "unsuitable certificate purpose",
            "unsupported certificate purpose",
            "INVALID_PURPOSE",
        ),
        "ca-without-key-usage": ("CA cert does not include key usage extension",),
        "basic-constraints-not-critical": ("Basic Constraints of CA cert not marked critical",),
        "ca-without-subject-key-identifier": ("Missing Subject Key Identifier",),
        "server-without-authority-key-identifier": ("Missing Authority Key Identifier",),
        # the alert certificate_expired, in TLS 1.2, in curl's words; with Go 1.24 also of one that is not valid yet
        **dict.fromkeys(
            ("expired-client", "not-yet-valid-client", "crl-expired"),
            ("curl: (60) SSL certificate verification failed",),
        ),
        "client-chain-reversed": (*_MISMATCH, "unable to set private key file"),
        "key-of-another-certificate": (*_MISMATCH, "unable to set private key file"),
        "weak-client-key": ("EE_KEY_TOO_SMALL", "ee key too small"),
        "sha1-client": ("CA_MD_TOO_WEAK", "ca md too weak"),
        "tls-to-plain-port": ("wrong version number", "WRONG_VERSION_NUMBER", "packet length too long"),
        "der-for-pem": _NOT_PEM,
        "pkcs12-for-pem": _NOT_PEM,
        "encrypted-key": (
            "Enter PEM pass phrase",
            "unable to set private key file",
            "ERR_OSSL_BAD_DECRYPT",
            "DECODER routines::unsupported",  # the same: one key in 256 seems to decrypt with no password
            "Client private key is encrypted, password is required",
        ),
    },
    "server": {
        "no-client-certificate": ("peer did not return a certificate", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        "unknown-client-ca": (*_UNKNOWN, *_NODE_UNKNOWN, *_IN_CHAIN),
        "client-without-intermediate": (*_UNKNOWN, *_NODE_UNKNOWN),
        "self-signed-client": ("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT"),
        # which one depends on whether the certificate names its issuer's key, and on whether the client sends its root
        "client-ca-made-again": (
            "certificate signature failure",
            "CERT_SIGNATURE_FAILURE",
            "ERR_SSL_EVP_LIB",
            "asn1 encoding routines::EVP lib",
            *_UNKNOWN,
            *_NODE_UNKNOWN,
            *_IN_CHAIN,
        ),
        "expired-client": ("certificate has expired", "CERT_HAS_EXPIRED"),
        "not-yet-valid-client": ("certificate is not yet valid", "CERT_NOT_YET_VALID"),
        "wrong-purpose-client": (
            "unsuitable certificate purpose",
            "unsupported certificate purpose",
            "INVALID_PURPOSE",
        ),
        "client-ca-for-servers-only": (
            "unsuitable certificate purpose",
            "unsupported certificate purpose",
            "INVALID_PURPOSE",
        ),
        "client-critical-extension": ("unhandled critical extension",),
        "root-missing-at-server": ("unable to get issuer certificate",),
        "stolen-client-certificate": ("bad signature", "BAD_SIGNATURE"),
        "revoked-client": ("certificate revoked", "CERT_REVOKED"),
        "crl-missing": ("unable to get certificate CRL", "UNABLE_TO_GET_CRL"),
        "crl-expired": ("CRL has expired", "CRL_HAS_EXPIRED"),
        "weak-client-key": ("EE certificate key too weak",),
        "sha1-client": ("CA signature digest algorithm too weak",),
        "client-issued-by-a-leaf": ("invalid CA certificate", "key usage does not include certificate signing"),
        "client-path-too-long": ("path length constraint exceeded", "PATH_LENGTH_EXCEEDED"),
        "client-name-not-permitted": ("permitted subtree violation",),
        "plain-http-to-tls-port": ("HTTP_REQUEST", "routines::http request"),
        "no-version-in-common": ("unsupported protocol", "UNSUPPORTED_PROTOCOL"),
        **dict.fromkeys(("no-cipher-in-common", "server-pair-half-written"), ("no shared cipher", "NO_SHARED_CIPHER")),
        "no-group-in-common": (
            "no suitable key share",
            "NO_SUITABLE_KEY_SHARE",
            "no shared cipher",
            "NO_SHARED_CIPHER",
        ),
    },
    # a version 3 certificate that names its issuer's key
    "tells": {"unknown_ca": ("client-ca-made-again",)},
    "hung_up": (
        "Empty reply from server",
        "Connection reset by peer",
        "SSL_ERROR_SYSCALL",
        "Server disconnected without sending a response",
        "EOF occurred in violation of protocol",
        "UNEXPECTED_EOF_WHILE_READING",
        "unexpected eof while reading",
        "Remote end closed connection without response",
        "socket hang up",
        "Client network socket disconnected before secure TLS connection was established",
    ),
}
