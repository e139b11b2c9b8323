"""The causes that only `diagnose` knows, beside the table of faults: each with its sentence and its cure."""

from __future__ import annotations

from collections.abc import Mapping

CAUSES: Mapping[str, tuple[str, str]] = {
    # what the server's answer shows
    "speaks-http2-only": (
        "What answers speaks HTTP/2 only, as gRPC servers do; TLS and the certificates are fine.",
        "Use a client that speaks HTTP/2: grpcurl, curl --http2, httpx.Client(http2=True).",
    ),
    "speaks-another-protocol": (
        "TLS is fine, and what answers inside it is no web server.",
        "Use that protocol's own client, with the same three files.",
    ),
    "answers-nothing": (
        "TLS is fine, and nothing answers an HTTP request.",
        "Check that the port is a web server's: openssl s_server, for one, answers only with -www.",
    ),
    "no-application-protocol": (
        "The server takes none of the application protocols (ALPN) that web clients offer.",
        "Use that protocol's own client; curl can leave the offer out: --no-alpn.",
    ),
    "refused-by-application": (
        "TLS let this client in, and the application behind it said no.",
        "Ask who judges there: the application decides by the certificate's name, or by a login of its own.",
    ),
    "redirected": (
        "The server sends its callers elsewhere, as sites do that want a login in a certificate's place.",
        "Follow it in a browser, or ask for the address that takes certificates.",
    ),
    "misdirected": (
        "The server has another site under the name that was dialled (421 Misdirected Request, RFC 9110 §15.5.20).",
        "Let the name in the URL, in SNI and in the Host header be the same, on a new connection.",
    ),
    "http-error": (
        "TLS is fine, and the application answers with an error of its own.",
        "Read the answer, and the application's log.",
    ),
    "behind-the-server": (
        "TLS is fine up to this server: what is behind it fails.",
        "Read its log; a proxy needs a certificate and CAs of its own towards the servers behind it.",
    ),
    "asks-late": (
        "The server asks for a certificate only for this page, once it has read the request.",
        "curl and browsers answer (with HTTP/1.1); Python, Go and Java do not unless told to: ask for it everywhere.",
    ),
    "ends-in-front": (
        "What answers asks for no certificate, though one is wanted: TLS ends in front of it, or it asks later.",
        "Find what ends TLS in front, a proxy or a load balancer: it must ask for certificates, and hand them on.",
    ),
    # why a server may refuse a certificate whose CA it knows
    "verify-depth": (
        "The server follows the client's chain over fewer CAs than there are: nginx's default is 1.",
        "Let it follow more: nginx ssl_verify_depth, Apache SSLVerifyDepth.",
    ),
    "client-certificate-pinned": (
        "The server trusts certificates themselves (pinned), one by one, and this one is not among them.",
        "Give the server the new certificate itself: stunnel verifyPeer, MongoDB and others want that after a renewal.",
    ),
    "client-clock-or-server-clock": (
        "The server's clock is not ours: by its clock the client's certificate is expired, or not yet valid.",
        "Type date -u at both ends, and set the clocks right.",
    ),
    "ocsp": (
        "The server asks the CA's OCSP responder about the certificate, and gets no good answer.",
        "See whether the server reaches the responder; nginx: ssl_ocsp, and a resolver to find it.",
    ),
    "client-chain-not-strict": (
        "The client's chain breaks rules of RFC 5280 that strict servers hold it to, such as Python 3.13's.",
        "Make what is named again, with the extensions of RFC 5280 §4.2.",
    ),
    "client-issuer-not-named": (
        "The server names CAs, and none of them stands in the client's chain: Go and Java then send no certificate.",
        "Let the server name this client's CA too; nginx names those of ssl_client_certificate.",
    ),
    "no-signature-in-common": (
        "The server takes no signature that the client's key can make, so the client sent no certificate.",
        "Use a certificate for another kind of key, such as P-256, or let the server take this kind.",
    ),
    "key-file-mode": (
        "Others may read the private key's file: PostgreSQL's clients refuse such a key.",
        "Take that right away: chmod 600.",
    ),
    # the way there
    "needs-starttls": (
        "What answers speaks in the clear first: TLS begins only when it is asked for.",
        "Ask for it with --starttls.",
    ),
    "starttls-declined": (
        "The server does not turn to TLS when it is asked to.",
        "Let it have a certificate, and TLS turned on.",
    ),
    "wants-proxy-protocol": (
        "The server wants the PROXY protocol, which a load balancer says before TLS.",
        "Dial the load balancer; or let this listener do without: nginx proxy_protocol, haproxy accept-proxy.",
    ),
    "only-through-proxy": (
        "This machine does not reach the server directly, and its environment names a proxy.",
        "Other programs take the proxy: curl and requests by themselves. Check that it lets this host through.",
    ),
    "packet-size": (
        "Small packets arrive and large ones do not: a link with a smaller MTU, and a firewall that hides it.",
        "Lower the MTU of the interface (a VPN's, say), or let ICMP fragmentation-needed through.",
    ),
    "legacy-renegotiation": (
        "The server lacks secure renegotiation (RFC 5746), and OpenSSL 3 refuses such servers.",
        "Update the server. Where that cannot be, OpenSSL's Options = UnsafeLegacyServerConnect, there alone.",
    ),
    "server-too-weak": (
        "The server's key exchange or signature is too weak for OpenSSL 3: small Diffie-Hellman groups, SHA-1.",
        "Update the server, or its cipher suites; where that cannot be, OpenSSL's @SECLEVEL=1, for it alone.",
    ),
    "old-tls-only": (
        "The server speaks TLS 1.1 at most, which nobody should any longer (RFC 8996).",
        "Update the server, or put a proxy in front of it that speaks TLS 1.2 or newer.",
    ),
    "no-such-site": (
        "The server has no site of the name that was dialled.",
        "Dial a name that the server has a certificate for (--servername), or give it one for this name.",
    ),
    "resumption-fails": (
        "A new connection succeeds, and resuming it (TLS session resumption) does not: every second call fails.",
        "Let the server set a session id context (SSL_CTX_set_session_id_context), or turn its session cache off.",
    ),
    # the server's certificate
    "server-ca-made-again": (
        "The server's CA was made again under its old name: --cacert has that name with another key.",
        "Give the client the CA's present certificate.",
    ),
    "underscore-under-wildcard": (
        "The host's name has an underscore: OpenSSL (and so Python) lets no wildcard stand for one; curl does.",
        "Give the host a name without one (RFC 1123 §2.1), or have the certificate issued with the whole name.",
    ),
    "server-named-like-its-ca": (
        "The server's certificate has the same name as its CA, so it looks like its own issuer.",
        "Issue it again with a subject of its own, such as the host's name.",
    ),
    "trust-from-environment": (
        "A variable of the environment says which CAs are trusted, in place of the system's.",
        "Give the CA with --cacert, or set the variable right.",
    ),
    "folder-of-cas": (
        "--cacert is a folder: this program reads all certificates in it.",
        "curl wants --capath for it, and names that openssl rehash makes.",
    ),
    # what will fail
    "public-ca-clients": (
        "Public CAs no longer issue certificates for clients: the next one will be for servers only.",
        "Take client certificates from a CA of your own.",
    ),
    "life-over-limit": (
        "The next certificate from a public CA will live for a shorter time.",
        "Let it be renewed by a program.",
    ),
}
"""By name: what is wrong, and what to do about it."""

IN_GENERAL: Mapping[str, str] = {
    "wrong-purpose-client": "The client's certificate is not for clients: extendedKeyUsage, keyUsage or nsCertType.",
    "wrong-purpose-server": "The server's certificate is not for servers: extendedKeyUsage, keyUsage or nsCertType.",
    "wildcard-too-deep": "The certificate's wildcard stands for one label, and the name has more in its place.",
    "weak-client-key": "The client's key is too short.",
    "tls-to-plain-port": "The client speaks TLS to a port where something else answers.",
    "no-version-in-common": "The two ends have no TLS version in common.",
    "version-1-client": "The client's certificate is version 1: it has no extensions at all.",
    "client-issued-by-a-leaf": "The client's certificate is signed by one that is no CA.",
    "ca-without-key-usage": "The CA's certificate has no keyUsage, as openssl req -x509 often makes it.",
}
"""What is wrong, where the table of faults tells it of the example that it stages."""
