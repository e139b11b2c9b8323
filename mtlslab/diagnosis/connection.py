"""What a server says in its handshake, and what the request got."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from mtlslab import errors
from mtlslab.contexts import FilePath, TLSVersion, client_context
from mtlslab.display import printable
from mtlslab.handshake import record_with


@dataclass(frozen=True)
class Glimpse:
    """What a server says in its handshake, whether the client goes on or not.

    For TLS 1.3: RFC 8446 §4.3/9846 §4.4, RFC 8446 §4.4/9846 §4.5; for TLS 1.2: RFC 5246 §7.4.

    Fields: `chain`, its certificates; `asks`, whether it sent a CertificateRequest; `authorities`, the CAs named there.
    """

    chain: tuple[x509.Certificate, ...]
    asks: bool
    authorities: tuple[str, ...]


def look(host: str, port: int, cacert: FilePath | None, tls_max: TLSVersion | None, timeout: float) -> Glimpse | None:
    """Record a handshake that verifies the server, and read what that said; None if it did not speak TLS."""
    context = client_context(cacert=cacert, tls_max=tls_max)
    try:
        heard = record_with(context, host, port, timeout=timeout, linger=0)
    except (OSError, errors.TranscriptError):
        return None
    if not any(message.sender == "server" for message in heard.messages):
        return None
    said_by_server = {message.name: message.fields for message in heard.messages if message.sender == "server"}
    wishes = said_by_server.get("CertificateRequest", {})
    chain = said_by_server.get("Certificate", {}).get("certificates", ())
    authorities = tuple(map(printable, wishes.get("ca_names", ())))  # a stranger's names, like those in `chain`
    return Glimpse(chain, "CertificateRequest" in said_by_server, authorities)
