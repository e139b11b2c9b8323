"""A fault on stage: its files written, its server running."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from mtlslab import errors
from mtlslab.client import exchange
from mtlslab.contexts import TLSVersion, client_context
from mtlslab.credentials import (
    certificate_pem,
)
from mtlslab.exchanges import Answer
from mtlslab.faults.setup import LOCAL_NAMES, Lab, Setup
from mtlslab.faults.table import FAULTS
from mtlslab.faults.verdicts import Fault, Verdict
from mtlslab.server import Server, Visit


class PlainServer:
    """HTTP without TLS, on loopback."""

    visits: Sequence[Visit] = ()

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _PlainHandler)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _PlainHandler(BaseHTTPRequestHandler):
    """Answers whatever comes with HTTP, as servers do: 400 to what it cannot read."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@dataclass(frozen=True)
class Case:
    """A fault on stage: the client's files in `folder`, and the server running.

    Fields: `fault`; `lab`, what it was minted from; `setup`; `folder`; `server`, whose `visits` tell the server's view
    (none, where it does not speak TLS).
    """

    fault: Fault
    lab: Lab
    setup: Setup
    folder: Path
    server: Server | PlainServer

    @property
    def verdict(self) -> Verdict:
        """What this must lead to."""
        return self.fault.verdicts[self.lab.tls]

    @property
    def url(self) -> str:
        """What the client dials. Where nobody has the setup's host, this is localhost: see `server_name`."""
        host = "localhost" if self.server_name else self.setup.host
        if not self.setup.speaks_tls:
            host = "127.0.0.1"
        return f"{self.setup.scheme}://{host}:{self.server.port}"

    @property
    def server_name(self) -> str | None:
        """The name to expect, where it is not the URL's."""
        return None if self.setup.host in LOCAL_NAMES else self.setup.host

    @property
    def files(self) -> dict[str, Path]:
        """The client's files, by `request`'s and curl's names for them: cacert, cert, key."""
        names = {"cacert": "ca.crt"} | ({"cert": "client.crt", "key": "client.key"} if self.setup.client else {})
        return {option: self.folder / name for option, name in names.items()}

    def client_context(self) -> ssl.SSLContext:
        """Make the client's SSL context. Raises what `mtlslab.client.client_context` raises."""
        files = self.files
        if not self.setup.careless:
            context = client_context(
                cacert=files["cacert"], cert=files.get("cert"), key=files.get("key"), tls_max=self.lab.tls
            )
        else:
            context = client_context(cacert=files["cacert"], tls_max=self.lab.tls)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.load_cert_chain(files["cert"], files["key"])
        self.setup.tune_client(context)
        return context

    def request(self) -> Answer:
        """Make the request, with `mtlslab`'s client. Raises `errors.MtlslabError` where the files are the fault."""
        if self.setup.act is not None:
            return self.setup.act(self)
        return exchange(
            self.url,
            self.client_context(),
            sent_certificate=self.setup.client is not None,
            server_name=self.server_name,
        )

    def curl(self) -> tuple[list[str], dict[str, str]]:
        """Return the same request as a command for the real curl, and the environment that it needs."""
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "10", "--tls-max", self.lab.tls]
        for option, path in self.files.items():
            command += [f"--{option}", str(path)]
        if self.server_name:
            command += ["--connect-to", f"::localhost:{self.server.port}"]
        url = f"https://{self.server_name}" if self.server_name else self.url
        return [*command, *self.setup.curl, url], self._careless_environment()

    def _careless_environment(self) -> dict[str, str]:
        if not self.setup.careless:
            return {}
        path = self.folder / "careless.cnf"
        path.write_text(_CARELESS_CNF)
        return {"OPENSSL_CONF": str(path)}


_CARELESS_CNF = """\
openssl_conf = openssl
[openssl]
ssl_conf = ssl
[ssl]
system_default = system
[system]
CipherString = DEFAULT:@SECLEVEL=0
"""


@contextmanager
def stage(name: str, folder: str | os.PathLike[str], *, tls: TLSVersion | None = None, port: int = 0) -> Iterator[Case]:
    """Mint a fault: write the client's files (ca.crt, client.crt, client.key) into `folder`, and run its server.

    `tls` is the highest version that the client offers (default: the highest that has the fault); `port` 0 takes a free
    one. What `folder` holds under these names is replaced. Raises `errors.OptionRefused` for a name that is no fault's,
    and for a version that does not have it.
    """
    if name not in FAULTS:
        raise errors.OptionRefused("name", f"{name!r} is no fault; the names are {', '.join(FAULTS)}")
    versions = FAULTS[name].verdicts
    if tls is not None and tls not in versions:
        raise errors.OptionRefused("tls", f"{name} is a fault of TLS {' and '.join(sorted(versions))}, not of {tls!r}")
    with staged(FAULTS[name], folder, tls=tls or max(versions), port=port) as case:
        yield case


@contextmanager
def staged(fault: Fault, folder: str | os.PathLike[str], *, tls: TLSVersion = "1.3", port: int = 0) -> Iterator[Case]:
    """Do what `stage` does, for a fault of one's own."""
    lab, folder = Lab(tls), Path(folder)
    setup = fault.mint(lab)
    write_files(setup, folder)
    with running(setup, port) as server:
        yield Case(fault, lab, setup, folder, server)


def write_files(setup: Setup, folder: Path) -> None:
    """Write the client's files into `folder`: ca.crt, and client.crt and client.key if it has them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.crt").write_bytes(certificate_pem(setup.server_ca))
    if setup.client is not None:
        setup.client.save(folder, "client", overwrite=True)
    setup.spoil(folder)


def running(setup: Setup, port: int = 0) -> Server | PlainServer:
    """Make the setup's server; use it in a `with` statement. `port` 0 takes a free one."""
    if not setup.speaks_tls:
        return PlainServer()
    return Server(
        setup.server,
        client_ca=None if setup.client_auth == "none" else setup.client_ca,
        client_auth=setup.client_auth,
        port=port,
        tune=setup.tune_server,
    )
