"""What recording a mutual handshake costs, against the same handshake in memory and nothing else.

Run it with `python tools/benchmark_handshake.py`. Not a test: it measures, and a busy machine measures badly.
"""

import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mtlslab import CertificateAuthority
from mtlslab.client import VERIFY_FLAGS
from mtlslab.credentials import KeyType, certificate_pem, private_key_pem
from mtlslab.handshake import Transcript, record
from mtlslab.profiles import CLIENT, SERVER


def milliseconds(work: Callable[[], object], times: int = 60) -> float:
    """Return the median of how long `work` takes."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


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


def compare(key_type: KeyType) -> list[tuple[str, float, float]]:
    """Return (kind of handshake, milliseconds bare, milliseconds recorded)."""
    ca = CertificateAuthority.create("example-ca", days=1)
    server = ca.issue("localhost", SERVER, names=["localhost"], key_type=key_type)
    client = ca.issue("client", CLIENT, key_type=key_type)
    trusted = certificate_pem(ca.certificate).decode()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for who, credential in (("server", server), ("client", client)):
            pem = private_key_pem(credential.private_key) + certificate_pem(credential.certificate)
            (folder / f"{who}.pem").write_bytes(pem)
        for tls, version in (("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)):
            floor = milliseconds(lambda version=version: bare(folder, trusted, version))  # type: ignore[misc]
            ours = milliseconds(lambda tls=tls: record(server, ca.certificate, client, tls))  # type: ignore[misc]
            rows.append((f"TLS {tls}, {key_type}", floor, ours))
    return rows


def reading() -> float:
    """Return how many milliseconds it takes to read a recorded mutual handshake."""
    ca = CertificateAuthority.create("example-ca", days=1)
    kept = record(ca.issue("localhost", SERVER, names=["localhost"]), ca.certificate, ca.issue("client", CLIENT))
    return milliseconds(lambda: Transcript.from_bytes(kept.flights, kept.keylog))


def main() -> None:
    """Print the table."""
    print(f"{'mutual handshake':<22} {'bare':>8} {'recorded':>9} {'allowed (2 x bare + 5)':>24}")
    for key_type in ("ec-p256", "rsa-2048", "ed25519"):
        for kind, floor, ours in compare(key_type):
            print(f"{kind:<22} {floor:5.1f} ms {ours:6.1f} ms {2 * floor + 5:21.1f} ms")
    print(f"reading a recording alone: {reading():.1f} ms")


if __name__ == "__main__":
    main()
