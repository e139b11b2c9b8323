"""What OpenSSL's verifier says of the client's certificate: a handshake in memory, with a server that knows its CA."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from cryptography import x509

from mtlslab import contexts
from mtlslab.authority import CertificateAuthority
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import Credential
from mtlslab.profiles import SERVER


def rehearse(
    shown: Credential, trusted: Sequence[x509.Certificate], tls_max: TLSVersion | None, *, strict: bool = False
) -> ssl.SSLCertVerificationError | None:
    """Show a credential to a server that trusts these certificates; return why it refuses it, None if it does not."""
    ca = CertificateAuthority.create("rehearsal")
    server_context = contexts.server_context(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=trusted)
    client_context = contexts.common(ssl.PROTOCOL_TLS_CLIENT, tls_max)
    contexts.trust(client_context, [ca.certificate])
    contexts.show(client_context, shown)
    if not strict:
        server_context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(up, down, server_side=True)
    client = client_context.wrap_bio(down, up, server_hostname="localhost")
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error
        except ssl.SSLError:  # no signature in common, say: nothing about the certificate
            return None
    return None
