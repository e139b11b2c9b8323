"""What most tests need: a CA, a server's and a client's credential, their files, and a server."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mtlslab import Answer, CertificateAuthority, Credential, Server, request
from mtlslab.profiles import CLIENT, SERVER

LOCALHOST = ["localhost", "127.0.0.1", "::1"]

Call = Callable[..., Answer]
Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def ca() -> CertificateAuthority:
    """The CA that both sides trust."""
    return CertificateAuthority.create("example-ca")


@pytest.fixture(scope="session")
def server_credential(ca: CertificateAuthority) -> Credential:
    """What the server shows."""
    return ca.issue("localhost", SERVER, names=LOCALHOST)


@pytest.fixture(scope="session")
def client_credential(ca: CertificateAuthority) -> Credential:
    """What the client shows."""
    return ca.issue("client", CLIENT)


@pytest.fixture(scope="session")
def files(ca: CertificateAuthority, client_credential: Credential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.crt, client.crt and client.key."""
    folder = tmp_path_factory.mktemp("files")
    ca.save(folder)
    client_credential.save(folder, "client")
    return folder


@pytest.fixture
def serve(ca: CertificateAuthority, server_credential: Credential) -> Iterator[Serve]:
    """Start servers that are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Server:
            options.setdefault("client_ca", ca.certificate)
            options.setdefault("port", 0)
            return stack.enter_context(Server(server_credential, **options))

        yield start


@pytest.fixture
def call(files: Path) -> Call:
    """Make a request with every credential."""

    def with_credentials(url: str, **options: Any) -> Answer:
        for option, name in (("cacert", "ca.crt"), ("cert", "client.crt"), ("key", "client.key")):
            options.setdefault(option, files / name)
        return request(url, **options)

    return with_credentials
