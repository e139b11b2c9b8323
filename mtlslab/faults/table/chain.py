"""The faults of the family "chain": the way from leaf to root."""

from dataclasses import replace

from cryptography import x509

from mtlslab.faults.minting import again, below_two_cas, ca_again, issued_by_a_leaf, reversed_pem, spoil
from mtlslab.faults.verdicts import Fault, before_dialling, by_client, by_server, client_shows, server_shows

ROWS = (
    Fault(
        "client-without-intermediate",
        "client",
        "chain",
        "The client sends its certificate without the issuing CA's that leads to the root.",
        client_shows(lambda lab: replace(lab.client_of(lab.issuing_ca), chain=())),
        by_server("unknown-ca"),
        "Put the intermediate into the file, after the certificate: cat issuing-ca.crt >> client.crt.",
        "The right CA, the right certificate, and the same unknown_ca as for a stranger.",
    ),
    Fault(
        "client-chain-reversed",
        "client",
        "chain",
        "The client's file has the intermediate first and its own certificate last.",
        lambda lab: replace(lab.good, client=lab.client_of(lab.issuing_ca), spoil=spoil("client.crt", reversed_pem)),
        before_dialling("key-mismatch"),
        "The client's own certificate comes first, then its issuer's, and so on (RFC 8446 §4.4.2/9846 §4.5.1).",
        "The message speaks of the key. The key is right: it is held against the first certificate of the file.",
    ),
    Fault(
        "client-issued-by-a-leaf",
        "client",
        "chain",
        "The client's certificate is signed by another client's, which is no CA.",
        client_shows(lambda lab: issued_by_a_leaf(lab, lab.client)),
        by_server("invalid-ca"),
        "Have a CA sign it. Without CA:TRUE nobody may (RFC 5280 §4.2.1.9).",
    ),
    Fault(
        "client-path-too-long",
        "client",
        "chain",
        "One more CA stands in the client's chain than a pathLenConstraint allows.",
        client_shows(below_two_cas),
        by_server("path-length"),
        "Have it issued by the upper CA, or that CA issued again with a longer path.",
    ),
    Fault(
        "server-without-intermediate",
        "server",
        "chain",
        "The server sends its certificate without the issuing CA's that leads to the root.",
        server_shows(lambda lab: replace(lab.server_of(lab.issuing_ca), chain=())),
        by_client("unknown-ca"),
        "Let the server send its whole chain: the intermediate after its certificate, in one file.",
        "Some clients hide this one: the certificate may say where to fetch the issuer's (RFC 5280 §4.2.2.1).",
    ),
    Fault(
        "ca-without-key-usage",
        "server",
        "chain",
        "The CA's certificate has no keyUsage, as the article's command (openssl req -x509) makes it.",
        lambda lab: replace(lab.good, server_ca=ca_again(lab.ca, without=(x509.KeyUsage,)).certificate),
        by_client("non-conforming", curl=0),
        "Make the CA again with keyUsage keyCertSign, cRLSign, under the same key and name, and hand it out.",
        "A strict verifier refuses it, and Python 3.13's default is strict. curl and Node.js are not.",
    ),
    Fault(
        "basic-constraints-not-critical",
        "server",
        "chain",
        "The CA's basicConstraints is not marked critical.",
        lambda lab: replace(
            lab.good, server_ca=ca_again(lab.ca, put=[(x509.BasicConstraints(True, None), False)]).certificate
        ),
        by_client("non-conforming", curl=0),
        "Make the CA again with basicConstraints = critical, CA:TRUE (RFC 5280 §4.2.1.9).",
        "Only a strict verifier refuses it.",
    ),
    Fault(
        "ca-without-subject-key-identifier",
        "server",
        "chain",
        "The CA's certificate has no subjectKeyIdentifier.",
        lambda lab: replace(lab.good, server_ca=ca_again(lab.ca, without=(x509.SubjectKeyIdentifier,)).certificate),
        by_client("non-conforming", curl=0),
        "Make the CA again with subjectKeyIdentifier = hash (RFC 5280 §4.2.1.2).",
        "Only a strict verifier refuses it.",
    ),
    Fault(
        "server-without-authority-key-identifier",
        "server",
        "chain",
        "The server's certificate has no authorityKeyIdentifier.",
        server_shows(lambda lab: again(lab, lab.server, without=(x509.AuthorityKeyIdentifier,))),
        by_client("non-conforming", curl=0),
        "Have it issued with authorityKeyIdentifier = keyid (RFC 5280 §4.2.1.1).",
        "Only a strict verifier refuses it.",
    ),
)
