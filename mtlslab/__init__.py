"""mtlslab: mutual TLS by hand and by name.

The package behind a series of notebooks. What a notebook builds in the open, the next ones call from here.
"""

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.client import Answer, request
from mtlslab.credentials import Credential, new_csr, new_private_key
from mtlslab.diagnose import Diagnosis, diagnose
from mtlslab.refusals import Refusal
from mtlslab.server import Reply, Request, Server, Visit

__all__ = [
    "Answer",
    "CertificateAuthority",
    "Credential",
    "Diagnosis",
    "Refusal",
    "Reply",
    "Request",
    "Server",
    "Visit",
    "diagnose",
    "errors",
    "new_csr",
    "new_private_key",
    "request",
]
