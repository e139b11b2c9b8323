"""What OpenSSL's verifier says of the client's certificate: a handshake in memory, with a server that knows its CA."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cache

from cryptography import x509

from mtlslab import contexts
from mtlslab.authority import CertificateAuthority
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import Credential
from mtlslab.profiles import SERVER


def rehearse(
    shown: Credential, trusted: Sequence[x509.Certificate], tls_max: TLSVersion | None
) -> tuple[ssl.SSLCertVerificationError | None, ssl.SSLCertVerificationError | None]:
    """Show a credential to a server that trusts these certificates: a lenient one, and a strict one.

    Returns why each refuses it, None if it does not.
    """
    ca, credential = _stage()
    server = contexts.server_context(credential, client_ca=trusted)
    client = contexts.common(ssl.PROTOCOL_TLS_CLIENT, tls_max)
    contexts.trust(client, [ca])
    contexts.show(client, shown)
    strict = _refused(client, server)
    if strict is None:  # then the lenient has nothing to say either
        return None, None
    server.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return _refused(client, server), strict


@cache
def _stage() -> tuple[x509.Certificate, Credential]:
    """Make what the server shows, and the CA that issued it."""
    ca = CertificateAuthority.create("rehearsal")
    return ca.certificate, ca.issue("localhost", SERVER, names=["localhost"])


def _refused(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLCertVerificationError | None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = server.wrap_bio(up, down, server_side=True)
    shows = client.wrap_bio(down, up, server_hostname="localhost")
    for end in (shows, asks, shows, asks):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error
        except ssl.SSLError:  # no signature in common, say: nothing about the certificate
            return None
    return None
