"""The faults of the family "purpose": what they are for."""

from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab.faults.minting import UNHEARD_OF, again, issued_for_servers_only, version_1
from mtlslab.faults.verdicts import ACCEPTED, Fault, by_client, by_server, client_shows, server_shows

ROWS = (
    Fault(
        "wrong-purpose-client",
        "client",
        "purpose",
        "The client shows a server's certificate: its extendedKeyUsage is serverAuth.",
        client_shows(lambda lab: lab.server),
        by_server("wrong-purpose"),
        "Have one issued with extendedKeyUsage clientAuth.",
    ),
    Fault(
        "client-critical-extension",
        "client",
        "purpose",
        "The client's certificate has a critical extension that the server's library does not know.",
        client_shows(lambda lab: again(lab, lab.client, put=[(UNHEARD_OF, True)])),
        by_server("bad-certificate"),
        "Have it issued without that extension, or with it marked as not critical (RFC 5280 §4.2).",
        "Critical means: whoever does not know this must say no. The alert does not tell which extension it is.",
    ),
    Fault(
        "client-ca-for-servers-only",
        "client",
        "purpose",
        "The issuing CA of the client's certificate is for servers only: its extendedKeyUsage is serverAuth.",
        client_shows(issued_for_servers_only),
        by_server("wrong-purpose"),
        "Have it issued by a CA that may vouch for clients.",
        "The certificate itself says clientAuth. A CA's extendedKeyUsage binds what is below it, in OpenSSL and Go.",
    ),
    Fault(
        "version-1-client",
        "client",
        "purpose",
        "The client's certificate is version 1, as OpenSSL 3.0 makes the article's: no extensions at all.",
        client_shows(
            lambda lab: replace(lab.client, certificate=version_1(lab.client.certificate, lab.ca.private_key))
        ),
        ACCEPTED,
        "Have it issued as version 3, with extendedKeyUsage clientAuth.",
        "It is accepted. Without a purpose it opens either door: the client could pose as a server.",
    ),
    Fault(
        "wrong-purpose-server",
        "server",
        "purpose",
        "The server shows a certificate with extendedKeyUsage clientAuth.",
        server_shows(
            lambda lab: again(lab, lab.server, put=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)])
        ),
        by_client("wrong-purpose"),
        "Have it issued with extendedKeyUsage serverAuth.",
    ),
)
