"""The faults of the family "name": whom they name."""

from dataclasses import replace

from mtlslab.faults.minting import constrained, ip_as_dns_name, without_san
from mtlslab.faults.verdicts import ACCEPTED, Fault, by_client, by_server, server_shows

ROWS = (
    Fault(
        "client-name-not-permitted",
        "client",
        "name",
        "The client's name lies outside its CA's nameConstraints.",
        constrained,
        by_server("name-constraints"),
        "Use a name within the constraint, or another CA.",
    ),
    Fault(
        "wrong-host",
        "server",
        "name",
        "The server's certificate is for another name than the URL's.",
        server_shows(lambda lab: lab.server_of(lab.ca, "example.com")),
        by_client("wrong-host"),
        "Dial a name of its subjectAltName, or have it issued with the name that you dial.",
    ),
    Fault(
        "name-in-common-name-only",
        "server",
        "name",
        "The server's name is in the common name, and there is no subjectAltName.",
        without_san,
        ACCEPTED,
        "Have it issued with a subjectAltName (RFC 9525 §2).",
        "Python's ssl, httpx and curl still look at the common name. Go, requests and browsers do not.",
    ),
    Fault(
        "ip-address-as-dns-name",
        "server",
        "name",
        "The URL has an IP address, and the certificate has it as a DNS name.",
        ip_as_dns_name,
        by_client("wrong-host"),
        "Have it issued with the address as an iPAddress (RFC 5280 §4.2.1.6).",
    ),
    Fault(
        "wildcard-too-deep",
        "server",
        "name",
        "The certificate is for *.example.com, and the client asks for a.shop.example.com.",
        lambda lab: replace(lab.good, server=lab.server_of(lab.ca, "*.example.com"), host="a.shop.example.com"),
        by_client("wrong-host"),
        "A wildcard stands for one label (RFC 9525 §6.3): have it issued with the whole name.",
    ),
)
