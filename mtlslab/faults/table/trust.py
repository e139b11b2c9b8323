"""The faults of the family "trust": whom each end trusts."""

from dataclasses import replace

from mtlslab.faults.minting import ca_remade, root_missing, self_signed, signed_with_sha1, spoil, weak
from mtlslab.faults.verdicts import Fault, Verdict, both, by_client, by_server, client_shows, server_shows
from mtlslab.handshake.der import key_that_claims

ROWS = (
    Fault(
        "no-client-certificate",
        "client",
        "trust",
        "The server insists on a client certificate, and the client sends none.",
        client_shows(lambda _: None),
        both(
            Verdict(
                "server", "no-client-certificate", "certificate_required", "no-client-certificate", "first read", 56
            ),
            alert="handshake_failure",
            moment="handshake",
            curl=35,
        ),
        "Send one: --cert and --key.",
        "TLS 1.2 has no alert of its own for this: it says handshake_failure, as it does for a cipher suite.",
    ),
    Fault(
        "unknown-client-ca",
        "client",
        "trust",
        "The client's certificate comes from a CA that the server does not trust.",
        client_shows(lambda lab: lab.client_of(lab.stranger)),
        by_server("unknown-ca"),
        "Have it issued by the CA that the server trusts, or let the server trust that CA.",
        "unknown_ca has many causes; the alert does not tell which.",
    ),
    Fault(
        "root-missing-at-server",
        "client",
        "trust",
        "The server trusts the issuing CA, and not the root above it, which OpenSSL wants as well.",
        root_missing,
        by_server("unknown-ca"),
        "Give the server the root too: nginx's ssl_client_certificate takes both in one file.",
        "Go, and Python's default context from 3.13 on, end a chain at any CA they trust; OpenSSL by itself does not.",
    ),
    Fault(
        "self-signed-client",
        "client",
        "trust",
        "The client's certificate is signed with its own key.",
        client_shows(lambda lab: self_signed(lab.client)),
        by_server("self-signed"),
        "Have a CA that the server trusts sign it.",
    ),
    Fault(
        "client-ca-made-again",
        "client",
        "trust",
        "The CA was made again under its old name, with a new key; the client's certificate is from the old one.",
        ca_remade,
        by_server("bad-signature"),
        "Keep one CA, or issue everything again from the new one.",
        "A version 3 certificate with an authorityKeyIdentifier names its issuer's key: there the alert is unknown_ca.",
    ),
    Fault(
        "stolen-client-certificate",
        "client",
        "trust",
        "The client shows somebody's good certificate, and has not its private key.",
        lambda lab: replace(
            lab.good,
            spoil=spoil("client.key", lambda _: key_that_claims(lab.client.certificate)),
            careless=True,
        ),
        by_server("bad-signature"),
        "None: mutual TLS at work. Certificates are public; CertificateVerify proves the key.",
        "An honest library refuses to load such a pair. This one was forged to get past it.",
    ),
    Fault(
        "weak-client-key",
        "client",
        "trust",
        "The client's key is RSA of 1024 bits.",
        lambda lab: replace(lab.good, client=weak(lab), careless=True),
        by_server("weak-key"),
        "Make a key of RSA 2048 or P-256, and have a certificate issued for it.",
        "Most clients' own OpenSSL refuses to load it (EE_KEY_TOO_SMALL). This one was told not to look.",
    ),
    Fault(
        "sha1-client",
        "client",
        "trust",
        "The client's certificate is signed with SHA-1.",
        lambda lab: replace(
            lab.good,
            client=replace(lab.client, certificate=signed_with_sha1(lab.client.certificate, lab.ca.private_key)),
            careless=True,
        ),
        by_server("weak-signature"),
        "Have it issued again, signed with SHA-256.",
        "Most clients' own OpenSSL refuses to load it (CA_MD_TOO_WEAK). This one was told not to look.",
    ),
    Fault(
        "unknown-server-ca",
        "server",
        "trust",
        "The server's certificate comes from a CA that the client does not trust.",
        server_shows(lambda lab: lab.server_of(lab.stranger)),
        by_client("unknown-ca"),
        "Give the client the CA that issued it: --cacert.",
    ),
    Fault(
        "self-signed-server",
        "server",
        "trust",
        "The server's certificate is signed with its own key.",
        server_shows(lambda lab: self_signed(lab.server)),
        by_client("self-signed"),
        "Have a CA sign it, and give the client that CA: --cacert.",
    ),
)
