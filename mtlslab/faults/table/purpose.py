"""The faults of the family "purpose": what they are for."""

from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab.faults.minting import again, version_1
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
