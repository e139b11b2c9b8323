"""A TLS server that says any alert at any moment, bare or in the middle of things: OpenSSL alone says what fits."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from mtlslab.contexts import server_context
from mtlslab.credentials import Credential
from mtlslab.handshake import Flight, records
from mtlslab.handshake.decoding import Decoder, decode

MOMENTS = ("at once", "after its hello", "after the client's part", "after the request")


def sealed(alert: bytes, decoder: Decoder) -> bytes:
    """Protect an alert as the server would now (RFC 8446 §5.2, RFC 5246 §6.2.3.3); it may still be in the clear."""
    side = decoder.directions["server"]
    keys, number = side.keys, side.sequence
    if keys is None:
        return b"\x15\x03\x03\x00\x02" + alert
    cipher, tag = records._cipher(keys), keys.suite.tag_length
    if decoder.version == "TLSv1.3":
        head = b"\x17\x03\x03" + (len(alert) + 1 + tag).to_bytes(2)
        return head + cipher.encrypt(records.nonce(keys.iv, number), alert + b"\x15", head)
    associated = number.to_bytes(8) + b"\x15\x03\x03\x00\x02"
    explicit = number.to_bytes(8) if records.explicit_nonce_length(keys, "TLSv1.2") else b""
    nonce = keys.iv + explicit if explicit else records.nonce(keys.iv, number)
    body = explicit + cipher.encrypt(nonce, alert, associated)
    return b"\x15\x03\x03" + len(body).to_bytes(2) + body


def hello_of(flight: bytes) -> bytes:
    """Cut a server's first flight before what is encrypted."""
    at = 0
    while at < len(flight) and flight[at] != 23:
        at += 5 + int.from_bytes(flight[at + 3 : at + 5])
    return flight[:at]


def tell(plain: socket.socket, context: ssl.SSLContext, keylog: Path, moment: str, alert: bytes) -> None:
    """Serve one caller as far as `moment`, say the alert, and hear out what still comes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    flights: list[Flight] = []
    spoken, ready = 0, moment == "at once"
    while data := plain.recv(65536):
        flights.append(Flight("client", data))
        incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            ready = ready or moment == "after the client's part" or bool(tls.read(65536))
        said = outgoing.read()
        ready = ready or (moment == "after the client's part" and spoken > 0 and not said)
        if moment == "at once":
            said = b""
        elif moment == "after its hello":
            said, ready = hello_of(said), True
        elif ready and moment == "after the client's part" and context.maximum_version == ssl.TLSVersion.TLSv1_2:
            said = b""  # instead of its own ChangeCipherSpec
        flights += [Flight("server", said)] if said else []
        spoken += 1
        if ready:
            said += sealed(alert, decode(flights, keylog.read_text("ascii") if keylog.exists() else "", whole=False))
        plain.sendall(said)
        if ready:
            break
    plain.shutdown(socket.SHUT_WR)
    while plain.recv(65536):
        pass


@contextlib.contextmanager
def telling(
    server: Credential, tls: str, moment: str, alerts: Iterable[bytes], folder: Path, ask: object = None
) -> Iterator[int]:
    """Run such a server, which says one alert to each caller, in their order; yield its port.

    `ask` is the CA of the clients that it asks for a certificate, None to ask nobody.
    """
    context = server_context(server, client_ca=ask, client_auth="optional" if ask else "none")  # type: ignore[arg-type]
    if tls == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    keylog = folder / "keylog"
    keylog.touch()
    context.keylog_filename = str(keylog)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for alert in alerts:
                try:
                    plain = listener.accept()[0]
                except OSError:
                    return
                with plain, contextlib.suppress(OSError):
                    tell(plain, context, keylog, moment, alert)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
