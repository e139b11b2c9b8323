"""What each TLS stack prints when it meets a refusal, and where that was seen, in November 2026, or read.

The end that *says* no knows the cause: `client` and `server`, by the fault's name. The end that is *told* no knows the
alert: `alerts`, by the alert's name. Where a stack's server tells a fault with another alert than OpenSSL's, `tells`
says so: "chain" stands for every client certificate that does not verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtlslab.faults import openssl

Texts = Mapping[str, tuple[str, ...]]

CHAIN = "chain"
"""In place of a fault: whichever makes a client's certificate not verify."""


@dataclass(frozen=True)
class Stack:
    """The words of one stack. Fields: `name`; `source`, where and when; the rest as in this module's first lines.

    `hung_up`: what its client prints of a server that hangs up, or answers 400, without an alert.
    """

    name: str
    source: str
    alerts: Texts = field(default_factory=dict)
    client: Texts = field(default_factory=dict)
    server: Texts = field(default_factory=dict)
    tells: Texts = field(default_factory=dict)
    hung_up: tuple[str, ...] = ()


def _each(*forms: str, **names: str) -> dict[str, tuple[str, ...]]:
    """Put each alert's name in this stack into the forms in which it is met."""
    return {alert: tuple(form.format(name) for form in forms) for alert, name in names.items()}


_OLD_IN_CHAIN = "self signed certificate in certificate chain"
_NODE_UNSPECIFIED: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("sha1-client", "client-name-not-permitted", "client-issued-by-a-leaf"), ("UNSPECIFIED",)
)

_GO: dict[str, Any] = {
    "alerts": _each(
        "remote error: tls: {}",
        handshake_failure="handshake failure",
        certificate_required="certificate required",
        unknown_ca="unknown certificate authority",
        access_denied="access denied",
        bad_certificate="bad certificate",
        certificate_expired="expired certificate",
        certificate_revoked="revoked certificate",
        certificate_unknown="unknown certificate",
        unsupported_certificate="unsupported certificate",
        decrypt_error="error decrypting message",
        protocol_version="protocol version not supported",
    ),
    "client": {
        **dict.fromkeys(
            ("unknown-server-ca", "self-signed-server", "server-without-intermediate"),
            ("x509: certificate signed by unknown authority",),
        ),
        **dict.fromkeys(
            ("expired-server", "not-yet-valid-server"), ("x509: certificate has expired or is not yet valid",)
        ),
        "wrong-host": ("x509: certificate is valid for",),
        "wildcard-too-deep": ("x509: certificate is valid for",),
        "ip-address-as-dns-name": (
            "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
        ),
        "name-in-common-name-only": ("x509: certificate relies on legacy Common Name field, use SANs instead",),
        "wrong-purpose-server": ("x509: certificate specifies an incompatible key usage",),
        "client-chain-reversed": ("tls: private key does not match public key",),
        "key-of-another-certificate": ("tls: private key does not match public key",),
        "der-for-pem": ("tls: failed to find any PEM data in certificate input",),
        "pkcs12-for-pem": ("tls: failed to find any PEM data in certificate input",),
        "encrypted-key": ("tls: failed to parse private key",),
        "plain-http-to-tls-port": ("Client sent an HTTP request to an HTTPS server",),
        "tls-to-plain-port": (
            "http: server gave HTTP response to HTTPS client",
            "tls: first record does not look like a TLS handshake",
        ),
    },
    "server": {
        "no-client-certificate": ("tls: client didn't provide a certificate",),
        **dict.fromkeys(
            (
                "unknown-client-ca",
                "self-signed-client",
                "client-ca-made-again",
                "sha1-client",
                "client-name-not-permitted",
                "client-without-intermediate",
                "client-issued-by-a-leaf",
            ),
            ("x509: certificate signed by unknown authority",),
        ),
        **dict.fromkeys(
            ("expired-client", "not-yet-valid-client"), ("x509: certificate has expired or is not yet valid",)
        ),
        "wrong-purpose-client": ("x509: certificate specifies an incompatible key usage",),
        "client-ca-for-servers-only": ("x509: certificate specifies an incompatible key usage",),
        "client-critical-extension": ("x509: unhandled critical extension",),
        "stolen-client-certificate": ("tls: invalid signature by the client certificate",),
        "client-path-too-long": ("x509: too many intermediates for path length constraint",),
        "plain-http-to-tls-port": ("client sent an HTTP request to an HTTPS server",),
        "no-version-in-common": ("tls: client offered only unsupported versions",),
        "no-cipher-in-common": ("tls: no cipher suite supported by both",),
    },
    "tells": {"bad_certificate": ("no-client-certificate", CHAIN), "certificate_expired": ("not-yet-valid-client",)},
    "hung_up": ('": EOF',),  # Get "https://localhost:3000": EOF
}

_PATH_BUILDING = (
    "PKIX path building failed",
    "unable to find valid certification path to requested target",
)
_VALIDITY = "validity check failed"
_TRUST_ANCHORS = "Path does not chain with any of the trust anchors"

_JAVA: dict[str, Any] = {
    "alerts": {
        alert: (f"Received fatal alert: {alert}",)
        for alert in (*openssl.WORDS["alerts"],)  # Java prints the RFC's names
    },
    "client": {
        **dict.fromkeys(("unknown-server-ca", "self-signed-server", "server-without-intermediate"), _PATH_BUILDING),
        "expired-server": (_VALIDITY, "CertificateExpiredException"),
        "not-yet-valid-server": (_VALIDITY, "CertificateNotYetValidException"),
        "wrong-host": ("No subject alternative DNS name matching", "No name matching"),
        "wildcard-too-deep": ("No subject alternative DNS name matching",),
        "ip-address-as-dns-name": ("No subject alternative names matching IP address",),
        "wrong-purpose-server": ("Extended key usage does not permit use for TLS server authentication",),
        "tls-to-plain-port": ("Unsupported or unrecognized SSL message",),
        "client-chain-reversed": ("Certificate chain is not valid",),
        "sha1-client": ("Received fatal alert: certificate_required",),  # it keeps the certificate to itself
    },
    "server": {
        "no-client-certificate": ("Empty client certificate chain",),
        **dict.fromkeys(("unknown-client-ca", "self-signed-client", "client-without-intermediate"), _PATH_BUILDING),
        "client-ca-made-again": (_TRUST_ANCHORS, *_PATH_BUILDING),
        "expired-client": (_VALIDITY, "CertificateExpiredException"),
        "not-yet-valid-client": (_VALIDITY, "CertificateNotYetValidException"),
        "wrong-purpose-client": ("Extended key usage does not permit use for TLS client authentication",),
        "client-issued-by-a-leaf": ("keyCertSign bit is not set",),
        "client-path-too-long": ("pathLenConstraint violated",),
        "stolen-client-certificate": ("Invalid CertificateVerify signature",),
    },
    "tells": {
        "bad_certificate": ("no-client-certificate",),
        "certificate_unknown": (CHAIN,),
        "handshake_failure": ("stolen-client-certificate",),
    },
}

_NUMBERS = {
    "handshake_failure": "40",
    "bad_certificate": "42",
    "unsupported_certificate": "43",
    "certificate_revoked": "44",
    "certificate_expired": "45",
    "certificate_unknown": "46",
    "unknown_ca": "48",
    "access_denied": "49",
    "decrypt_error": "51",
    "protocol_version": "70",
    "certificate_required": "116",
}

_GNUTLS: dict[str, Any] = {
    "alerts": _each("Received alert [{}]", **_NUMBERS),
    "client": {
        **dict.fromkeys(
            ("unknown-server-ca", "self-signed-server", "server-without-intermediate"),
            ("The certificate issuer is unknown",),
        ),
        "expired-server": ("The certificate chain uses expired certificate",),
        "not-yet-valid-server": ("The certificate chain uses not yet valid certificate",),
        **dict.fromkeys(
            ("wrong-host", "wildcard-too-deep", "ip-address-as-dns-name"),
            ("The name in the certificate does not match the expected",),
        ),
        "wrong-purpose-server": ("The certificate chain does not match the intended purpose",),
        "tls-to-plain-port": ("An unexpected TLS packet was received",),
    },
    "server": {
        "no-client-certificate": ("Error in handshake: Certificate is required",),
        CHAIN: ("Error in handshake: Error in the certificate",),
        "stolen-client-certificate": ("Public key signature verification has failed",),
    },
    "tells": {"access_denied": (CHAIN,)},
}

_NSS_ALERTS = {
    "certificate_required": ("SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT",),
    **_each(
        "SSL_ERROR_{}_ALERT",
        handshake_failure="HANDSHAKE_FAILURE",
        unknown_ca="UNKNOWN_CA",
        access_denied="ACCESS_DENIED",
        bad_certificate="BAD_CERT",
        certificate_expired="EXPIRED_CERT",
        certificate_revoked="REVOKED_CERT",
        certificate_unknown="CERTIFICATE_UNKNOWN",
        unsupported_certificate="UNSUPPORTED_CERT",
        decrypt_error="DECRYPT_ERROR",
        protocol_version="PROTOCOL_VERSION",
    ),
}
_NSS_CLIENT = {
    "unknown-server-ca": ("SEC_ERROR_UNKNOWN_ISSUER", "SEC_ERROR_UNTRUSTED_ISSUER"),
    "server-without-intermediate": ("SEC_ERROR_UNKNOWN_ISSUER",),
    "self-signed-server": ("MOZILLA_PKIX_ERROR_SELF_SIGNED_CERT", "SEC_ERROR_UNKNOWN_ISSUER"),
    "expired-server": ("SEC_ERROR_EXPIRED_CERTIFICATE",),
    "not-yet-valid-server": ("MOZILLA_PKIX_ERROR_NOT_YET_VALID_CERTIFICATE",),
    **dict.fromkeys(
        ("wrong-host", "wildcard-too-deep", "ip-address-as-dns-name", "name-in-common-name-only"),
        ("SSL_ERROR_BAD_CERT_DOMAIN",),
    ),
    "wrong-purpose-server": ("SEC_ERROR_INADEQUATE_CERT_TYPE",),
    "tls-to-plain-port": ("SSL_ERROR_RX_RECORD_TOO_LONG",),
    "no-client-certificate": ("NSS: client certificate not found",),
}

_CHROME = {
    CHAIN: ("ERR_BAD_SSL_CLIENT_AUTH_CERT",),
    "no-client-certificate": ("ERR_BAD_SSL_CLIENT_AUTH_CERT", "ERR_SSL_CLIENT_AUTH_CERT_NEEDED"),
    **dict.fromkeys(
        ("unknown-server-ca", "self-signed-server", "server-without-intermediate"), ("ERR_CERT_AUTHORITY_INVALID",)
    ),
    **dict.fromkeys(("expired-server", "not-yet-valid-server"), ("ERR_CERT_DATE_INVALID",)),
    **dict.fromkeys(
        ("wrong-host", "wildcard-too-deep", "ip-address-as-dns-name", "name-in-common-name-only"),
        ("ERR_CERT_COMMON_NAME_INVALID",),
    ),
    "wrong-purpose-server": ("ERR_CERT_INVALID",),
    "tls-to-plain-port": ("ERR_SSL_PROTOCOL_ERROR",),
    **dict.fromkeys(
        ("no-version-in-common", "no-cipher-in-common", "no-group-in-common"), ("ERR_SSL_VERSION_OR_CIPHER_MISMATCH",)
    ),
}

_UNKNOWN_SERVER = ("unknown-server-ca", "self-signed-server", "server-without-intermediate")

_RUSTLS_CLIENT = {
    **dict.fromkeys(_UNKNOWN_SERVER, ("UnknownIssuer",)),
    "expired-server": (
        "invalid peer certificate: Expired",
        "InvalidCertificate(Expired",
        "invalid peer certificate: certificate expired",
    ),
    "not-yet-valid-server": ("NotValidYet", "invalid peer certificate: certificate not valid yet"),
    **dict.fromkeys(
        ("wrong-host", "wildcard-too-deep", "ip-address-as-dns-name", "name-in-common-name-only"),
        ("NotValidForName", "invalid peer certificate: certificate not valid for name"),
    ),
    "wrong-purpose-server": ("InvalidPurpose",),
    "tls-to-plain-port": ("received corrupt message of type InvalidContentType",),
}
_RUSTLS_SERVER = {
    "no-client-certificate": ("peer sent no certificates", "NoCertificatesPresented"),
    **dict.fromkeys(
        ("unknown-client-ca", "self-signed-client", "client-without-intermediate", "client-ca-made-again"),
        ("UnknownIssuer",),
    ),
    "expired-client": _RUSTLS_CLIENT["expired-server"],
    "not-yet-valid-client": _RUSTLS_CLIENT["not-yet-valid-server"],
    "wrong-purpose-client": _RUSTLS_CLIENT["wrong-purpose-server"],
    "stolen-client-certificate": ("invalid peer certificate: BadSignature",),
}

_SCHANNEL_CLIENT = {
    **dict.fromkeys(
        _UNKNOWN_SERVER,
        (
            "SEC_E_UNTRUSTED_ROOT",
            "The certificate chain was issued by an authority that is not trusted",
            "CERT_TRUST_IS_UNTRUSTED_ROOT",
            "CERT_TRUST_IS_PARTIAL_CHAIN",
            "RemoteCertificateChainErrors",
        ),
    ),
    **dict.fromkeys(("expired-server", "not-yet-valid-server"), ("SEC_E_CERT_EXPIRED", "CERT_TRUST_IS_NOT_TIME_VALID")),
    **dict.fromkeys(
        ("wrong-host", "wildcard-too-deep", "ip-address-as-dns-name"),
        ("SEC_E_WRONG_PRINCIPAL", "RemoteCertificateNameMismatch"),
    ),
}
_APPLE = {
    "no-client-certificate": ("NSURLErrorClientCertificateRequired", "NSURLErrorDomain error -1206"),
    CHAIN: ("NSURLErrorClientCertificateRejected", "NSURLErrorDomain error -1205"),
    **dict.fromkeys(
        _UNKNOWN_SERVER,
        ("NSURLErrorServerCertificateUntrusted", "NSURLErrorDomain error -1202", "errSSLUnknownRootCert"),
    ),
    "expired-server": ("errSSLCertExpired",),
    "not-yet-valid-server": ("errSSLCertNotYetValid",),
    "wrong-host": ("errSSLHostNameMismatch",),
}

STACKS = (
    Stack(
        "OpenSSL 3 and 4",
        "seen: 3.0.22 to 3.6.5 in curl 7.88 to 8.23, Python 3.11 to 3.15, nginx 1.22, Node.js 20 and 24",
        **openssl.WORDS,
    ),
    Stack(
        "OpenSSL 1.1.1",
        "read: crypto/x509/x509_txt.c of 1.1.1; 3.0 put the hyphen in",
        client={"self-signed-server": ("self signed certificate",), "unknown-server-ca": (_OLD_IN_CHAIN,)},
        server={
            "self-signed-client": ("self signed certificate",),
            "unknown-client-ca": (_OLD_IN_CHAIN,),
            "client-ca-made-again": (_OLD_IN_CHAIN,),
        },
    ),
    Stack(
        "Node.js",
        "seen: authorizationError of the socket that tlsClientError brings, 20.20",
        server=_NODE_UNSPECIFIED,
    ),
    Stack("Go", "seen: 1.19.8 and 1.24; versions and suites read in crypto/tls", **_GO),
    Stack("Java", "seen: OpenJDK 17.0.15", **_JAVA),
    Stack("GnuTLS", "seen: gnutls-cli and gnutls-serv 3.7.9", **_GNUTLS),
    Stack(
        "Firefox, NSS",
        "read: security/nss/lib/ssl/ssl3con.c and SSLerrs.h; curl's lib/vtls/nss.c of 7.60, and the article",
        alerts=_NSS_ALERTS,
        client=_NSS_CLIENT,
    ),
    Stack(
        "Chrome",
        "seen: ERR_CERT_AUTHORITY_INVALID, ERR_SSL_PROTOCOL_ERROR in Chromium 156; the others read: net_error_list.h",
        client=_CHROME,
    ),
    Stack("Safari, macOS", "read: NSURLError.h, SecureTransport.h", client=_APPLE),
    Stack(
        "rustls",
        "read: rustls 0.23, src/error.rs",
        alerts=_each(
            "received fatal alert: {}",
            "AlertReceived({})",
            handshake_failure="HandshakeFailure",
            certificate_required="CertificateRequired",
            unknown_ca="UnknownCA",
            access_denied="AccessDenied",
            bad_certificate="BadCertificate",
            certificate_expired="CertificateExpired",
            certificate_revoked="CertificateRevoked",
            certificate_unknown="CertificateUnknown",
            unsupported_certificate="UnsupportedCertificate",
            decrypt_error="DecryptError",
            protocol_version="ProtocolVersion",
        ),
        client=_RUSTLS_CLIENT,
        server=_RUSTLS_SERVER,
    ),
    Stack(
        "Schannel, .NET",
        "read: curl's lib/vtls/schannel.c, curl/curl#6018 and #12239; .NET's SslPolicyErrors; Windows' event 36887",
        alerts=_each("fatal alert code is {}", **_NUMBERS),
        client=_SCHANNEL_CLIENT,
    ),
    Stack(
        "nginx",
        "seen: 1.22.1",
        client={
            "no-client-certificate": ("No required SSL certificate was sent",),
            "plain-http-to-tls-port": ("The plain HTTP request was sent to HTTPS port",),
        },
        server={
            "no-client-certificate": ("client sent no required SSL certificate",),
            "plain-http-to-tls-port": ("client sent plain HTTP request to HTTPS port",),
        },
        hung_up=("The SSL certificate error",),
    ),
    Stack(
        "HAProxy",
        "seen: 2.6.12",
        server={
            CHAIN: ("SSL client certificate not trusted", "SSL client CA chain cannot be verified"),
            **dict.fromkeys(("no-client-certificate", "stolen-client-certificate"), ("SSL handshake failure",)),
        },
    ),
)
"""Every stack whose words are known here."""
