"""mtlslab: mutual TLS by hand and by name.

The package behind a series of notebooks. What a notebook builds in the open, the next ones call from here.
"""

from typing import TYPE_CHECKING, Any

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.client import Answer, request
from mtlslab.credentials import Credential, new_csr, new_private_key
from mtlslab.refusals import Refusal
from mtlslab.server import Reply, Request, Server, Visit

if TYPE_CHECKING:
    from mtlslab.diagnosis import Diagnosis, diagnose

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


def __getattr__(name: str) -> Any:
    """Import the diagnosis, and the table of faults behind it, when it is first asked for: few programs do."""
    if name in ("Diagnosis", "diagnose"):
        from mtlslab import diagnosis

        return getattr(diagnosis, name)
    raise AttributeError(f"module 'mtlslab' has no attribute {name!r}")
