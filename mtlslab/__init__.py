"""mtlslab: mutual TLS by hand and by name.

The package behind a series of notebooks. What a notebook builds in the open, the next ones call from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential, new_csr, new_private_key
from mtlslab.exchanges import Answer, Reply, Request, Visit
from mtlslab.refusals import Refusal

if TYPE_CHECKING:
    from mtlslab.client import request
    from mtlslab.diagnosis import Diagnosis, diagnose
    from mtlslab.server import Server

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


_LATER = {
    "Diagnosis": "mtlslab.diagnosis",
    "Server": "mtlslab.server",
    "diagnose": "mtlslab.diagnosis",
    "request": "mtlslab.client",
}
"""What is imported when it is first asked for: a server needs no httpx, a client no asyncio."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'mtlslab' has no attribute {name!r}")
