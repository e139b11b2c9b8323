"""Two ends of a connection that work: a fault is that with one thing changed."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from mtlslab.authority import CertificateAuthority
from mtlslab.contexts import ClientAuth, TLSVersion
from mtlslab.credentials import (
    Credential,
)
from mtlslab.exchanges import Answer
from mtlslab.profiles import CLIENT, SERVER

if TYPE_CHECKING:
    from mtlslab.faults.staging import Case

Setting = Callable[[ssl.SSLContext], None]


def as_it_is(_: object) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Setup:
    """Both ends of a connection. `Lab.good` works; a fault is that with one thing changed.

    Fields: `server` and `client`, what each end shows (None: the client shows nothing); `server_ca`, whom the client
    trusts, and `client_ca`, whom the server trusts; `client_auth`; `host`, the name that the client dials and expects;
    `scheme`; `speaks_tls`, False for a server of plain HTTP; `tune_server` and `tune_client`, changes to the two SSL
    contexts; `curl`, curl's options for the latter; `spoil`, a change to the client's files once they are written;
    `careless`, whether the client's library sends its certificate without a look at it; `act`, what the client does.
    """

    server: Credential
    client: Credential | None
    server_ca: x509.Certificate
    client_ca: x509.Certificate
    client_auth: ClientAuth = "required"
    host: str = "localhost"
    scheme: str = "https"
    speaks_tls: bool = True
    tune_server: Setting = as_it_is
    tune_client: Setting = as_it_is
    curl: tuple[str, ...] = ()
    spoil: Callable[[Path], None] = as_it_is
    careless: bool = False
    act: Callable[[Case], Answer] | None = None


@dataclass(frozen=True)
class Lab:
    """What faults are minted from: a CA with a server's and a client's credential. Made when first asked for.

    Field: `tls`, the highest TLS version that the client will offer.
    """

    tls: TLSVersion = "1.3"

    @cached_property
    def ca(self) -> CertificateAuthority:
        """The CA that both ends trust."""
        return CertificateAuthority.create("example-ca")

    @cached_property
    def issuing_ca(self) -> CertificateAuthority:
        """A CA under `ca`."""
        return self.ca.create_issuing_ca("example-issuing-ca")

    @cached_property
    def stranger(self) -> CertificateAuthority:
        """A CA that neither end has heard of."""
        return CertificateAuthority.create("stranger-ca")

    @cached_property
    def server(self) -> Credential:
        """A good server's credential."""
        return self.server_of(self.ca)

    @cached_property
    def client(self) -> Credential:
        """A good client's credential."""
        return self.client_of(self.ca)

    @cached_property
    def good(self) -> Setup:
        """Two ends that get along."""
        return Setup(self.server, self.client, self.ca.certificate, self.ca.certificate)

    @staticmethod
    def server_of(ca: CertificateAuthority, *names: str) -> Credential:
        """Issue a server's credential, for localhost unless other names are given."""
        return ca.issue("localhost", SERVER, names=names or LOCAL_NAMES)

    @staticmethod
    def client_of(ca: CertificateAuthority, *names: str) -> Credential:
        """Issue a client's credential."""
        return ca.issue("client", CLIENT, names=names)


LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
