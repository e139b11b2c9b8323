"""What mtlslab costs, beside the same work done without it: prints a Markdown table.

Run it with `python tools/benchmark.py`, on a machine that is otherwise quiet; `--suite` adds the time of
`pytest --nbval`, `--rounds` sets how often each measure is taken. The two sides of a row take turns, and medians are
shown. A row whose programs are missing (openssl, node, ab) is left out, and says so. Not a test: it measures.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtlslab import CertificateAuthority, Server, request
from mtlslab.contexts import TLS_VERSIONS, VERIFY_FLAGS
from mtlslab.credentials import KeyType, certificate_pem, private_key_pem
from mtlslab.handshake import record
from mtlslab.profiles import CLIENT, SERVER

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One line of the table. `ratio` is ours divided by the other's; `held` tells whether it meets the target."""

    what: str
    ours: str
    other: str
    ratio: float
    target: str
    held: bool

    def __str__(self) -> str:
        verdict = "yes" if self.held else "**no**"
        return f"| {self.what} | {self.ours} | {self.other} | {self.ratio:.3g} | {self.target} | {verdict} |"


class Missing(Exception):
    """Programs that a row needs, and that are not on the PATH."""


def need(*programs: str) -> None:
    """Raise `Missing` unless all programs are there."""
    if missing := [program for program in programs if not shutil.which(program)]:
        raise Missing(", ".join(missing))


def medians(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """Let measures take turns, after one turn that does not count, and return the median of each."""
    taken = [[measure() for measure in measures] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Return how long `work` takes once, done so many times."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


# --- issuing --------------------------------------------------------------------------------------


def issue_directly(ca: CertificateAuthority) -> x509.Certificate:
    """Do what `ca.issue("client", CLIENT)` does, with nothing but cryptography: key, CSR, checks, certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    if not csr.is_signature_valid:
        raise ValueError("a CSR that does not prove possession")
    public_key, now = csr.public_key(), datetime.now(UTC)
    own = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(ca.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(min(now + timedelta(days=365), ca.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(csr.subject)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .sign(ca.private_key, hashes.SHA256())
    )


def issuing(rounds: int) -> Row:
    """Compare `ca.issue` with the same steps by hand."""
    ca = CertificateAuthority.create("example-ca")
    ours, other = medians(
        rounds * 5,
        lambda: seconds(lambda: ca.issue("client", CLIENT), 20),
        lambda: seconds(lambda: issue_directly(ca), 20),
    )
    ratio = ours / other
    what = "`ca.issue`, beside the same steps with `cryptography`"
    return Row(what, f"{ours * 1000:.2f} ms", f"{other * 1000:.2f} ms", ratio, "≤ 1.5", ratio <= 1.5)


OPENSSL = """
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out client.key
openssl req -new -key client.key -subj /CN=client -out client.csr
openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out client.crt
"""


def issuing_with_openssl(rounds: int) -> Row:
    """Compare `ca.issue` with the article's three commands, for the same kind of key."""
    need("openssl")
    with tempfile.TemporaryDirectory() as folder:
        ca = CertificateAuthority.create("example-ca")
        ca.save(folder)
        commands = [line.split() for line in OPENSSL.strip().splitlines()]

        def three_commands() -> None:
            for command in commands:
                subprocess.run(command, cwd=folder, check=True, capture_output=True)

        ours, other = medians(
            rounds, lambda: seconds(lambda: ca.issue("client", CLIENT), 20), lambda: seconds(three_commands)
        )
    what = "`ca.issue`, beside the article's three `openssl` commands (P-256)"
    return Row(what, f"{ours * 1000:.2f} ms", f"{other * 1000:.1f} ms", ours / other, "≤ 0.02", ours / other <= 0.02)


# --- serving --------------------------------------------------------------------------------------

OUR_SERVER = """
import sys, time
from mtlslab import CertificateAuthority, Credential, Server
server = Server(Credential.load(".", "server"), client_ca=CertificateAuthority.load(".").certificate, port=0).start()
print(server.port, flush=True)
for _ in sys.stdin:
    print(time.process_time(), flush=True)
"""

THE_ARTICLES_SERVER = """
const fs = require('fs'), https = require('https');
const options = {ca: fs.readFileSync('ca.crt'), cert: fs.readFileSync('server.crt'), key: fs.readFileSync('server.key'),
                 requestCert: true, rejectUnauthorized: true};
const server = https.createServer(options, (request, response) => {
  response.statusCode = 200;
  response.setHeader('Content-Type', 'text/plain');
  response.end('Hello World\\n');
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('data', () => {
  const used = process.cpuUsage();
  console.log((used.user + used.system) / 1e6);
});
process.stdin.on('end', () => process.exit());
"""


class Serving:
    """A server in a process of its own, which tells how much processor time it has used."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid
        self.url = f"https://127.0.0.1:{self._say()}/"
        self.failed = 0

    def _say(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def _used(self) -> float:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._say())

    def load(self, folder: str, connections: int) -> float:
        """Make so many TLS 1.3 connections of one request each; return the processor time that one took."""
        command = ["ab", "-q", "-n", str(connections), "-c", "8", "-f", "TLS1.3", "-E", "client.pem", self.url]
        before = self._used()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        after = self._used()
        counts = {name: int(count) for name, count in re.findall(r"^([\w -]+): +(\d+)$", done.stdout, re.MULTILINE)}
        unanswered = connections - counts["Complete requests"]
        self.failed += counts["Failed requests"] + unanswered + counts.get("Non-2xx responses", 0)
        return (after - before) / connections


@contextlib.contextmanager
def serving(command: list[str], folder: str) -> Iterator[Serving]:
    """Start a server; end it by closing its stdin."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as process:
        yield Serving(process)
        assert process.stdin
        process.stdin.close()


@contextlib.contextmanager
def both_servers() -> Iterator[tuple[str, Serving, Serving]]:
    """Run `Server` and the article's server with the same certificates; yield the folder and both."""
    need("node", "ab")
    with tempfile.TemporaryDirectory() as folder:
        ca = CertificateAuthority.create("example-ca")
        ca.save(folder)
        ca.issue("localhost", SERVER, names=["localhost", "127.0.0.1"]).save(folder, "server")
        client = ca.issue("client", CLIENT)
        pem = certificate_pem(client.certificate) + private_key_pem(client.private_key)
        (Path(folder) / "client.pem").touch(0o600)
        (Path(folder) / "client.pem").write_bytes(pem)
        with (
            serving([sys.executable, "-c", OUR_SERVER], folder) as our,
            serving(["node", "-e", THE_ARTICLES_SERVER], folder) as node,
        ):
            yield folder, our, node


def answering(rounds: int) -> Row:
    """Compare `Server` with the article's Node.js server: same certificates, a new TLS 1.3 connection per request."""
    with both_servers() as (folder, our, node):
        ours, other = medians(rounds, lambda: our.load(folder, 1000), lambda: node.load(folder, 1000))
    return Row(
        "`Server`, beside the article's Node.js server: processor time per connection (`ab`, TLS 1.3)",
        f"{ours * 1000:.2f} ms, {our.failed} failed",
        f"{other * 1000:.2f} ms, {node.failed} failed",
        ours / other,
        "≤ 1, 0 failed",
        ours <= other and our.failed == 0,
    )


def remembering(_: int) -> Row:
    """Compare the memory of both servers after 5,000 connections, by when neither grows any more (Linux)."""
    with both_servers() as (folder, our, node):
        megabytes = []
        for server in (our, node):
            server.load(folder, 5000)
            status = Path(f"/proc/{server.pid}/status").read_text()
            megabytes.append(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024)
    ours, other = megabytes
    what = "`Server`, beside the article's Node.js server: memory after 5,000 connections"
    return Row(what, f"{ours:.0f} MB", f"{other:.0f} MB", ours / other, "≤ 0.5", ours <= 0.5 * other)


def in_a_crowd(_: int) -> Row:
    """Take the slowest of 15 requests while up to 1,500 callers, who have begun a handshake, hang on."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ca = CertificateAuthority.create("example-ca")
        ca.save(folder)
        ca.issue("client", CLIENT).save(folder, "client")
        cacert, cert, key = (Path(folder, name) for name in ("ca.crt", "client.crt", "client.key"))
        server = stack.enter_context(
            Server(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=ca.certificate, port=0)
        )

        def call() -> None:
            if not request(server.url, cacert=cacert, cert=cert, key=key).ok:
                raise RuntimeError("an honest caller was not answered")

        alone, slowest = seconds(call), 0.0
        for number in range(1500):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            caller.sendall(b"\x16")
            if number % 100 == 99:
                slowest = max(slowest, seconds(call))
    what = "`Server`, the slowest of 15 requests among 1,500 half handshakes, beside one alone"
    return Row(what, f"{slowest * 1000:.0f} ms", f"{alone * 1000:.0f} ms", slowest / alone, "≤ 1 s", slowest <= 1)


# --- recording a handshake ------------------------------------------------------------------------


def bare(folder: Path, trusted: str, tls: ssl.TLSVersion) -> None:
    """A mutual handshake in memory, written as plainly as `ssl` allows: contexts, files, two pairs of MemoryBIO."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.verify_mode = ssl.CERT_REQUIRED
    for context, name in ((client_context, "client"), (server_context, "server")):
        context.maximum_version = tls
        context.verify_flags |= VERIFY_FLAGS
        context.load_verify_locations(cadata=trusted)
        context.load_cert_chain(folder / f"{name}.pem")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass


def recording(rounds: int) -> Row:
    """Compare `handshake.record` with the same mutual handshake in memory, and return the worst of six kinds."""
    kinds: list[tuple[float, Row]] = []
    for key_type in get_args(KeyType):
        ca = CertificateAuthority.create("example-ca", days=1)
        server = ca.issue("localhost", SERVER, names=["localhost"], key_type=key_type)
        client = ca.issue("client", CLIENT, key_type=key_type)
        with tempfile.TemporaryDirectory() as name:
            folder, trusted = Path(name), certificate_pem(ca.certificate).decode()
            for who, credential in (("server", server), ("client", client)):
                pem = private_key_pem(credential.private_key) + certificate_pem(credential.certificate)
                (folder / f"{who}.pem").write_bytes(pem)
            for tls, version in TLS_VERSIONS.items():
                ours, other = medians(
                    rounds * 5,
                    partial(seconds, partial(record, server, ca.certificate, client, tls)),
                    partial(seconds, partial(bare, folder, trusted, version)),
                )
                what = f"`handshake.record`, TLS {tls}, {key_type}, beside the bare handshake"
                share = ours / (2 * other + 0.005)
                ms = f"{ours * 1000:.1f} ms", f"{other * 1000:.1f} ms"
                kinds.append((share, Row(what, *ms, ours / other, "≤ 2, and 5 ms", share <= 1)))
    return max(kinds, key=lambda kind: kind[0])[1]


# --- importing, and the suite ---------------------------------------------------------------------


def import_time(modules: str) -> float:
    """Return the processor time of an import in a fresh interpreter."""
    code = f"import time; began = time.process_time(); import {modules}; print(time.process_time() - began)"
    compiled = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # as installed packages are: the first round compiles ours
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, env=compiled, capture_output=True, text=True, check=True).stdout)


def importing(rounds: int) -> Row:
    """Compare importing the package with importing what it is built on."""
    ours, other = medians(rounds * 3, lambda: import_time("mtlslab"), lambda: import_time("cryptography.x509, httpx"))
    ratio = ours / other
    what = "`import mtlslab`, beside `import cryptography.x509, httpx`"
    return Row(what, f"{ours * 1000:.0f} ms", f"{other * 1000:.0f} ms", ratio, "≤ 1.2", ratio <= 1.2)


def bare_kernels(count: int) -> float:
    """Return how long so many kernels take that start, answer and stop, one after another."""
    from jupyter_client.manager import start_new_kernel

    began = time.perf_counter()
    for _ in range(count):
        manager, client = start_new_kernel(stderr=subprocess.DEVNULL)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return time.perf_counter() - began


def suite(_: int) -> Row:
    """Compare `pytest --nbval` with as many bare kernels as it runs notebooks."""
    kernels = len(list((REPOSITORY / "notebooks").glob("[0-9]*.ipynb")))
    other = bare_kernels(kernels)
    command = [sys.executable, "-m", "pytest", "--nbval", "-q"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    ours = time.perf_counter() - began
    other = (other + bare_kernels(kernels)) / 2
    said = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "it said nothing"
    what = f"`pytest --nbval` ({said}), beside {kernels} bare kernels"
    return Row(what, f"{ours:.1f} s", f"{other:.1f} s", ours / other, "≤ 45 s", ours <= 45 and done.returncode == 0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each measure is taken (default: 7)")
    parser.add_argument("--suite", action="store_true", help="run pytest --nbval too")
    options = parser.parse_args()
    print("| what | ours | beside it | ratio | target | held |")
    print("|---|---|---|---|---|---|")
    measures = [
        issuing,
        issuing_with_openssl,
        answering,
        remembering,
        in_a_crowd,
        recording,
        importing,
        *([suite] if options.suite else []),
    ]
    for measure in measures:
        try:
            print(measure(options.rounds), flush=True)
        except Missing as programs:
            print(f"| {measure.__name__.replace('_', ' ')} | left out: {programs} is not on the PATH | | | | |")


if __name__ == "__main__":
    main()
