"""The faults of the family "revocation": what was withdrawn."""

from dataclasses import replace

from mtlslab.faults.minting import insists_on_crl, old_crl
from mtlslab.faults.verdicts import Fault, by_server

ROWS = (
    Fault(
        "revoked-client",
        "client",
        "revocation",
        "The client's certificate stands on the CA's revocation list.",
        lambda lab: replace(lab.good, tune_server=insists_on_crl(lab.ca.crl([lab.client.certificate]))),
        by_server("revoked"),
        "Have a new one issued for a new key, and find out why the old one was revoked.",
    ),
    Fault(
        "crl-missing",
        "client",
        "revocation",
        "The server insists on a revocation list, and has none.",
        lambda lab: replace(lab.good, tune_server=insists_on_crl()),
        by_server("crl-missing"),
        "Give the server the CRL of the CA.",
        "The client is told unknown_ca, though the server knows its CA perfectly well.",
    ),
    Fault(
        "crl-expired",
        "client",
        "revocation",
        "The server's revocation list is past its nextUpdate.",
        lambda lab: replace(lab.good, tune_server=insists_on_crl(old_crl(lab.ca))),
        by_server("crl-expired"),
        "Give the server a fresh CRL.",
        "The client is told certificate_expired. Its certificate is good; the server's list is stale.",
    ),
)
