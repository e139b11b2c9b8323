"""Servers that say almost the right thing: the bytes of real ones, with a few of them changed, at random but seeded."""

import contextlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import Iterator

REPLIES = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n\r\nHello\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n1;x=y\r\n\n\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: https://localhost:1/x?y#z\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip, deflate\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.0 401 No\r\nWWW-Authenticate: Digest realm=\"x\"\r\nContent-Type: text/html; charset*=utf-8''x\r\n\r\nno",
    b"HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x16\x03\x03\x00\x31\x02\x00\x00\x2d\x03\x03" + bytes(32) + b"\x00\xc0\x2b\x00\x00\x05\xff\x01\x00\x01\x00",
    b"SSH-2.0-OpenSSH_9.2\r\n",
)
SNIPPETS = (b"\r\n", b"\0", b"\xff" * 8, b" ", b"-1", b"9" * 30, b"charset=idna", b"\xe2\x98\x83", b"\x15\x03\x03")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Change a few of these bytes: other values, pieces left out, said twice, or put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, to = sorted((rng.randint(0, len(changed)), rng.randint(0, len(changed))))
        to = min(to, at + rng.choice((1, 2, 16, 4096)))
        kind = rng.randrange(5)
        if kind == 0:
            changed[at:to] = rng.randbytes(to - at)
        elif kind == 1:
            del changed[at:to]
        elif kind == 2:
            changed[at:at] = changed[at:to]
        elif kind == 3:
            changed[at:at] = rng.choice(SNIPPETS)
        elif at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def converse(plain: socket.socket, context: ssl.SSLContext, rng: random.Random) -> None:
    """Serve a caller as a real server does, but for the bytes that are changed: those of TLS, or those in it."""
    inside = rng.random() < 0.5
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while data := plain.recv(65536):
        incoming.write(data)
        asked = False
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            asked = bool(tls.read(65536))
            tls.write(mutated(rng.choice(REPLIES), rng) if inside else REPLIES[0])
        said = outgoing.read()
        plain.sendall(said if inside or rng.random() < 0.5 else mutated(said, rng))
        if asked:
            return


def serve_one(plain: socket.socket, contexts: list[ssl.SSLContext], rng: random.Random) -> None:
    """Serve one caller, and leave it in one of the ways that there are: with a goodbye, a reset, or not at all."""
    with plain, contextlib.suppress(OSError):
        plain.settimeout(5)
        if rng.random() < 0.6:
            converse(plain, rng.choice(contexts), rng)
        else:
            plain.recv(65536)
            plain.sendall(mutated(rng.choice(REPLIES), rng))
        if (leaves := rng.random()) < 0.1:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif leaves > 0.97:
            while plain.recv(65536):
                pass


@contextlib.contextmanager
def mutants(contexts: list[ssl.SSLContext], seed: int) -> Iterator[int]:
    """Run such servers, one for each caller; yield their port."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def serve() -> None:
            for number in range(1 << 30):
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                serve_one(plain, contexts, random.Random(seed << 32 | number))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
