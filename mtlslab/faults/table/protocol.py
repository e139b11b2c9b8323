"""The faults of the family "protocol": what the two ends speak."""

from dataclasses import replace

from mtlslab.faults.minting import no_cipher, no_group, no_version
from mtlslab.faults.verdicts import ACCEPTED, Fault, Verdict, both

ROWS = (
    Fault(
        "plain-http-to-tls-port",
        "neither",
        "protocol",
        "The client speaks HTTP without TLS to a TLS port: http:// for https://.",
        lambda lab: replace(lab.good, scheme="http"),
        both(Verdict("server", "plain-http", None, "connection-lost", "first read", 52)),
        "Write https://.",
    ),
    Fault(
        "tls-to-plain-port",
        "neither",
        "protocol",
        "The client speaks TLS to a port where HTTP without TLS answers.",
        lambda lab: replace(lab.good, speaks_tls=False),
        both(Verdict("client", "not-tls", None, None, "handshake", 35)),
        "Check the port; or the server was started without TLS.",
        "wrong version number is no version: it is two letters of an answer that is not TLS, such as the TT of HTTP.",
    ),
    Fault(
        "no-version-in-common",
        "neither",
        "protocol",
        "One end stops at TLS 1.2, the other begins at TLS 1.3.",
        no_version,
        both(Verdict("server", "protocol-version", "protocol_version", "protocol-version", "handshake", 35)),
        "Let both ends speak TLS 1.3, or both 1.2.",
    ),
    Fault(
        "no-cipher-in-common",
        "neither",
        "protocol",
        "The two ends have no TLS 1.2 cipher suite in common.",
        no_cipher,
        {"1.2": Verdict("server", "handshake-failure", "handshake_failure", "handshake-failure", "handshake", 35)},
        "Leave the cipher suites alone, or compare the two lists.",
        "The same alert as for a missing certificate under TLS 1.2. TLS 1.3 has suites of its own.",
    ),
    Fault(
        "no-group-in-common",
        "neither",
        "protocol",
        "The two ends have no key exchange group (curve) in common.",
        no_group,
        both(Verdict("server", "handshake-failure", "handshake_failure", "handshake-failure", "handshake", 35)),
        "Leave the groups alone, or let both have X25519 or P-256.",
    ),
    Fault(
        "server-never-asks",
        "neither",
        "protocol",
        "The server does not ask for a client certificate at all: everybody gets in.",
        lambda lab: replace(lab.good, client_auth="none"),
        ACCEPTED,
        'Let the server require one: client_auth="required"; Node.js requestCert; nginx ssl_verify_client on.',
        "Everything works, and that is the fault. Test that a caller without a certificate is refused.",
    ),
)
