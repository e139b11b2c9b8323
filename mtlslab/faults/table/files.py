"""The faults of the family "files": the files in front of the keyboard."""

from dataclasses import replace

from mtlslab.credentials import (
    new_private_key,
    private_key_pem,
)
from mtlslab.faults.minting import (
    encrypted,
    loads_half_a_pair,
    renewed_behind_a_pool,
    spoil,
    spoil_with_pkcs12,
    to_der,
)
from mtlslab.faults.verdicts import ACCEPTED, Fault, Verdict, before_dialling, both, client_has

ROWS = (
    Fault(
        "key-of-another-certificate",
        "client",
        "files",
        "The private key belongs to another certificate.",
        client_has(spoil("client.key", lambda _: private_key_pem(new_private_key()))),
        before_dialling("key-mismatch"),
        "Use the key that the certificate's CSR was made with.",
    ),
    Fault(
        "der-for-pem",
        "neither",
        "files",
        "The client's certificate file is DER, not PEM.",
        client_has(spoil("client.crt", to_der)),
        before_dialling("unreadable-file"),
        "Convert it: openssl x509 -inform DER -in client.crt -out client.pem.",
    ),
    Fault(
        "pkcs12-for-pem",
        "neither",
        "files",
        "The client's certificate file is PKCS#12 (.p12, .pfx), not PEM.",
        lambda lab: replace(lab.good, spoil=spoil("client.crt", spoil_with_pkcs12(lab))),
        before_dialling("unreadable-file"),
        "Take it apart: openssl pkcs12 -in client.p12 -noenc -out client.pem (-legacy if it is old); or curl "
        "--cert-type P12.",
    ),
    Fault(
        "encrypted-key",
        "neither",
        "files",
        "The private key is encrypted, and nobody gave its password.",
        client_has(spoil("client.key", encrypted)),
        before_dialling("unreadable-file", in_curl="unreadable-key"),
        "Give the password (password=, curl --pass), or decrypt it: openssl pkey -in client.key -out plain.key.",
    ),
    Fault(
        "server-pair-half-written",
        "server",
        "files",
        "A new certificate was loaded beside the old key, into the context that the server serves with.",
        lambda lab: replace(lab.good, tune_server=loads_half_a_pair(lab)),
        both(Verdict("server", "handshake-failure", "handshake_failure", "handshake-failure", "handshake", 35)),
        "Load the whole pair, into a new context; and put that in the old one's place.",
        "The message does not speak of a certificate. The server has none left to show; who is connected goes on.",
    ),
    Fault(
        "pool-with-old-certificate",
        "neither",
        "files",
        "The certificate was renewed on disk; the client's connection pool goes on with the old one.",
        lambda lab: replace(lab.good, act=renewed_behind_a_pool),
        both(replace(ACCEPTED["1.3"], curl=None)),
        "Make a new client, or restart the program, after renewing its files.",
        "All is well until the old certificate expires, with the new one in its place for weeks.",
    ),
)
