"""What the pages say of other people's programs, tried where the program is at hand."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import verification

from mtlslab import CertificateAuthority, contexts, request
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import Credential, certificate_pem
from mtlslab.exchanges import Answer
from mtlslab.faults import altered
from mtlslab.notebook.exercises.judges import handshake
from mtlslab.notebook.programs import free_port
from mtlslab.profiles import CLIENT, SERVER

VERSIONS: tuple[TLSVersion, ...] = ("1.2", "1.3")
CALLERS: dict[str, str | None] = {"nobody": None, "a good one": "client", "a stranger": "stranger"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server, a client and a stranger."""
    place, ca = tmp_path_factory.mktemp("stacks"), CertificateAuthority.create("example-ca")
    ca.save(place)
    ca.issue("localhost", SERVER, names=["localhost", "127.0.0.1", "::1"]).save(place, "server")
    ca.issue("client", CLIENT).save(place, "client")
    CertificateAuthority.create("other-ca").issue("stranger", CLIENT).save(place, "stranger")
    pair = (place / "server.crt").read_bytes() + (place / "server.key").read_bytes()
    (place / "pair.pem").write_bytes(pair)
    return place


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


_STOP = {"haproxy": signal.SIGUSR1, "nginx": signal.SIGQUIT} if os.name == "posix" else {}
"""How servers are asked to end that drop what they have not logged yet if they are told to, and not asked."""


@contextmanager
def running(command: list[str], folder: Path, *ports: int) -> Iterator[list[str]]:
    """Run a server until the block ends; yields the lines that it has printed, which are all there afterwards."""
    log: list[str] = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            end, silent = time.monotonic() + 10, list(ports)
            while silent and time.monotonic() < end:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", silent[-1])) == 0:
                        silent.pop()
                    else:
                        time.sleep(0.02)
            yield log
        finally:
            process.send_signal(_STOP.get(Path(command[0]).name, signal.SIGTERM))
            try:
                said, _ = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
            log += said.splitlines()


def free_ports(number: int) -> list[int]:
    found = set[int]()
    while len(found) < number:
        found.add(free_port())
    return list(found)


def call(folder: Path, port: int, who: str | None, tls: TLSVersion = "1.3") -> Answer:
    files: dict[str, Any] = {"cert": folder / f"{who}.crt", "key": folder / f"{who}.key"} if who else {}
    return request(f"https://127.0.0.1:{port}", cacert=folder / "ca.crt", tls_max=tls, **files)


_NODE = """
const fs = require('fs');
for (const [at, [asks, insists]] of JSON.parse(process.argv[1]).entries())
  require('https').createServer({
    ca: fs.readFileSync('ca.crt'), cert: fs.readFileSync('server.crt'), key: fs.readFileSync('server.key'),
    requestCert: asks, ...(insists !== null && {rejectUnauthorized: insists}),
  }, (req, res) => res.end(`${req.socket.authorized}`)).listen(Number(process.argv[2 + at]), '127.0.0.1');
"""

NODE_OPTIONS = {
    (False, None): ["false", "false", "false"],
    (False, True): ["false", "false", "false"],
    (True, None): ["refused", "true", "refused"],
    (True, True): ["refused", "true", "refused"],
    (True, False): ["false", "true", "false"],
}
"""Of requestCert and rejectUnauthorized (None: not given), what they make of each of the callers."""


Node = dict[tuple[bool, bool | None], int]


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[Node]:
    """The port of a server of Node.js for each pair of options."""
    ports = free_ports(len(NODE_OPTIONS))
    command = ["node", "-e", _NODE, json.dumps(list(NODE_OPTIONS)), *map(str, ports)]
    with running(command, folder, *ports):
        yield dict(zip(NODE_OPTIONS, ports, strict=True))


@needs("node")
def test_node_s_options(node: Node, folder: Path) -> None:
    """Who is let in, by requestCert and rejectUnauthorized, and what `authorized` says of them: TLS 1.2 and 1.3."""
    for (options, wanted), tls in zip(NODE_OPTIONS.items(), cycle(VERSIONS), strict=False):
        answers = [call(folder, node[options], who, tls) for who in CALLERS.values()]
        assert [answer.text if answer.ok else "refused" for answer in answers] == wanted, options


@needs("node")
def test_node_hangs_up_on_a_bad_certificate_without_an_alert(node: Node, folder: Path) -> None:
    """And tells who shows nothing why."""
    port = node[True, True]
    for tls in VERSIONS:
        bad, none = call(folder, port, "stranger", tls).refusal, call(folder, port, None, tls).refusal
        assert bad
        assert (bad.reason, bad.alert) == ("connection-lost", None)
        assert none
        assert none.reason == "no-client-certificate"


@needs("gnutls-serv")
def test_gnutls_has_one_word_for_every_bad_certificate(folder: Path) -> None:
    """08: access_denied; and certificate_required for none."""
    port = free_port()
    command = ["gnutls-serv", "--http", "-p", str(port), "--x509cafile", "ca.crt", "--x509certfile", "server.crt"]
    command += ["--x509keyfile", "server.key", "--require-client-cert", "--verify-client-cert"]
    with running(command, folder, port):
        bad, none = call(folder, port, "stranger").refusal, call(folder, port, None).refusal
    assert bad
    assert bad.alert == "access_denied"
    assert none
    assert none.alert == "certificate_required"


@needs("haproxy")
def test_haproxy_s_log_names_the_cause_where_it_is_told_to(folder: Path) -> None:
    """08: its own line is one for all; `error-log-format` with %[ssl_c_err] has the verifier's number."""
    plain, told = free_ports(2)
    answer = "  http-request return status 200 content-type text/plain string ok\n"
    (folder / "h.cfg").write_text(
        "global\n  log stdout format raw local0\n  httpclient.ssl.ca-file ca.crt\n"
        "defaults\n  mode http\n  log global\n  option httplog\n"
        "  timeout client 3s\n  timeout server 3s\n  timeout connect 3s\n"
        f"frontend plain\n  bind 127.0.0.1:{plain} ssl crt pair.pem ca-file ca.crt verify required\n{answer}"
        f"frontend told\n  bind 127.0.0.1:{told} ssl crt pair.pem ca-file ca.crt verify required\n{answer}"
        '  error-log-format "c_err=%[ssl_c_err]"\n'
    )
    with running(["haproxy", "-f", "h.cfg"], folder, plain, told) as log:
        assert call(folder, plain, "stranger").refusal
        assert call(folder, told, "stranger").refusal
    assert len([line for line in log if "SSL client certificate not trusted" in line]) == 1
    assert len([line for line in log if "c_err=20" in line]) == 1


def test_there_is_no_one_order_of_strictness(folder: Path) -> None:
    """09: `*.localhost` is accepted by cryptography and not by OpenSSL."""
    ca = CertificateAuthority.load(folder)
    names = x509.SubjectAlternativeName([x509.DNSName("*.localhost")])
    plain = ca.issue("wild", SERVER, names=["localhost"])
    wild = Credential(altered(plain.certificate, ca.private_key, put=[(names, False)]), plain.private_key)
    store = verification.Store([ca.certificate])
    verifier = verification.PolicyBuilder().store(store).build_server_verifier(x509.DNSName("a.localhost"))
    assert verifier.verify(wild.certificate, [])
    assert _openssl_says(wild, ca, "a.localhost") == "wrong-host"


def test_an_intermediate_as_anchor_divides_them(folder: Path) -> None:
    """09: cryptography ends the chain at any anchor; OpenSSL wants a root unless it has PARTIAL_CHAIN."""
    ca = CertificateAuthority.load(folder)
    issuing = ca.create_issuing_ca("example-issuing-ca")
    leaf = issuing.issue("localhost", SERVER, names=["localhost"])
    store = verification.Store([issuing.certificate])
    verifier = verification.PolicyBuilder().store(store).build_server_verifier(x509.DNSName("localhost"))
    assert verifier.verify(leaf.certificate, [])
    assert _openssl_says(leaf, issuing, "localhost", partial=False) == "unknown-ca"
    assert _openssl_says(leaf, issuing, "localhost", partial=True) == ""


def _openssl_says(shown: Credential, ca: CertificateAuthority, host: str, *, partial: bool = True) -> str:
    """Return why Python's ssl, strict, refuses a server's certificate; "" if it does not."""
    client = contexts.common(ssl.PROTOCOL_TLS_CLIENT)
    if not partial:
        client.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=certificate_pem(ca.certificate).decode())
    bare = Credential(shown.certificate, shown.private_key)
    return handshake(client, contexts.server_context(bare, client_auth="none"), host).refused
