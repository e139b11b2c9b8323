"""What most tests need: a CA, a server's and a client's credential, their files, and a server."""

import contextlib
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mtlslab import Answer, CertificateAuthority, Credential, Server, credentials, request
from mtlslab.notebook.exercises import guard
from mtlslab.profiles import CLIENT, SERVER

LOCALHOST = ["localhost", "127.0.0.1", "::1"]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a checker wait for a function as long as a busy machine needs: no test depends on the machine's speed."""
    monkeypatch.setattr(guard, "PATIENCE", 60)


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Leave it to the system when it writes: what a save survives is tried by killing it, and not by a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def few_rsa_keys() -> Iterator[None]:
    """Have eight RSA keys take turns: to find the primes of one takes longer than most tests."""
    make, made = credentials._KEY_MAKERS["rsa-2048"], deque[credentials.PrivateKey](maxlen=8)

    def take_turns() -> credentials.PrivateKey:
        made.append(make() if len(made) < 8 else made[0])
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(credentials._KEY_MAKERS, "rsa-2048", take_turns)
        yield


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


def curl_version() -> tuple[int, int] | None:
    """Return the version of a curl that is built on OpenSSL; None where there is none."""
    if shutil.which("curl") is None:
        return None
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"curl (\d+)\.(\d+)\.\S+ .*\bOpenSSL/", said)
    return (int(found[1]), int(found[2])) if found else None


CURL_VERSION = curl_version() or (0, 0)
needs_curl = pytest.mark.skipif(CURL_VERSION == (0, 0), reason="needs a curl built on OpenSSL")


def curl(url: str, options: dict[str, Path], *more: str) -> int:
    """Let the real curl make the request; return its exit code. `options` are files, by curl's names for them."""
    files = [word for name, path in options.items() for word in (f"--{name}", str(path))]
    command = ["curl", "-q", "-sS", "-o", os.devnull, "--noproxy", "*", "--max-time", "10", *more, *files, url]
    return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode
