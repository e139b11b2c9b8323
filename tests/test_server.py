"""The server outlives its callers, remembers each of them, and lets go of its port."""

import contextlib
import functools
import gc
import os
import re
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import mtlslab.connection
import mtlslab.server
from given import Call, Serve
from mtlslab import CertificateAuthority, Credential, Reply, Request, Server, Visit, errors
from mtlslab.connection import MAX_BODY
from mtlslab.contexts import ClientAuth, TLSVersion, client_context, server_context
from mtlslab.credentials import certificate_pem
from mtlslab.profiles import CLIENT, SERVER

SOON = 4.0
"""In seconds. Sooner than the 5 after which a server lets silent callers go, later than a busy machine needs to answer.
How quick it is on a quiet one, tools/benchmark.py measures."""

pytestmark = [
    pytest.mark.usefixtures("nothing_is_printed"),
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]
ADDRESSES = [(one.family, one.getsockname()[0]) for one in mtlslab.server._listen(0)]
"""Where this machine can be reached from itself; not all have ::1."""


@pytest.fixture
def nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever callers do, not a word gets into the notebook."""
    yield
    assert capfd.readouterr() == ("", "")


def dial(server: Server) -> socket.socket:
    """Open a TCP connection."""
    assert server.port
    return socket.create_connection(("127.0.0.1", server.port), timeout=5)


@functools.cache
def honest(files: Path, tls_max: TLSVersion = "1.3") -> ssl.SSLContext:
    """Make the context of a client that shows its certificate."""
    return client_context(cacert=files / "ca.crt", cert=files / "client.crt", key=files / "client.key", tls_max=tls_max)


@contextlib.contextmanager
def speaking_tls(server: Server, files: Path, tls_max: TLSVersion = "1.3") -> Iterator[ssl.SSLSocket]:
    """Open a TLS connection that shows a certificate, and that notices an end without close_notify."""
    tls = honest(files, tls_max).wrap_socket(dial(server), server_hostname="localhost", suppress_ragged_eofs=False)
    with tls:
        yield tls


def read_all(tls: socket.socket) -> bytes:
    """Read to the end."""
    return b"".join(iter(lambda: tls.recv(1 << 16), b""))


def visit_number(count: int, server: Server) -> Visit:
    """Return the n-th visit, once it is there."""
    deadline = time.monotonic() + 5
    while len(visits := server.visits) < count:
        assert time.monotonic() < deadline, visits
        time.sleep(0.01)
    assert len(visits) == count, visits
    return visits[-1]


# --- address, start and stop ----------------------------------------------------------------------


def test_it_is_there_whatever_localhost_means(serve: Serve, call: Call) -> None:
    """Both loopback addresses reach the server, with the same port."""
    port = serve().port
    for host in ("localhost", *("[::1]" if ":" in address else address for _, address in ADDRESSES)):
        assert call(f"https://{host}:{port}").text == "Hello World\n", host


def test_a_taken_port_is_an_error_where_it_was_asked_for(serve: Serve) -> None:
    """A port that another program holds, on one of the two addresses, is named; none of the two is served."""
    for family, address in ADDRESSES:
        with socket.create_server((address, 0), family=family) as other:
            port = other.getsockname()[1]
            with pytest.raises(errors.PortInUse, match=f"port {port} is in use; stop the program") as refused:
                serve(port=port)
            assert refused.value.port == port
            assert isinstance(refused.value, OSError)
        assert serve(port=port).port == port


def test_a_free_port_is_taken_where_none_was_asked_for(
    serve: Serve, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The article's port where it is free, any other where it is taken."""
    for family, address in ADDRESSES:
        with socket.create_server((address, 0), family=family) as other:
            usual = other.getsockname()[1]
            monkeypatch.setattr(mtlslab.server, "USUAL_PORT", usual)
            server = serve(port=None)
            assert server.port != usual, address
            assert call(server.url).ok
        assert serve(port=None).port == usual, address


def test_a_port_that_may_not_be_bound_matters_only_where_it_was_asked_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows reserves ranges of ports, which may hold the article's: then another is taken."""
    create_server = socket.create_server

    def forbid(address: tuple[str, int], **options: Any) -> socket.socket:
        if address[1] == mtlslab.server.USUAL_PORT:
            raise PermissionError(13, "forbidden")
        return create_server(address, **options)

    monkeypatch.setattr(socket, "create_server", forbid)
    assert serve(port=None).port != mtlslab.server.USUAL_PORT
    with pytest.raises(errors.OptionRefused, match="needs more rights"):
        serve(port=mtlslab.server.USUAL_PORT)


def test_stopping_frees_the_port_at_once(serve: Serve, call: Call) -> None:
    """A cell that starts a server can be run again: the port of the stopped one is free, and nobody answers there."""
    server = serve()
    for _ in range(2):
        assert call(server.url).ok
        server.stop()
        refusal = call(server.url).refusal
        assert refusal is not None
        assert refusal.reason == "connection-refused"
        server = serve(port=server.port)


def test_starting_and_stopping_can_be_repeated(serve: Serve, call: Call) -> None:
    """Start and stop may each come twice, a server can be entered again, and it keeps its visits."""
    server = serve()
    url = server.url
    assert server.start().url == url
    assert call(url).ok
    server.stop()
    server.stop()
    assert repr(server) == "<Server not running, client_auth='required', 1 visits>"
    with server, server:
        assert call(server.url).ok
        assert repr(server) == f"<Server {server.url}, client_auth='required', 2 visits>"
    assert len(server.visits) == 2


def test_a_server_that_never_started_has_no_address(server_credential: Credential, ca: CertificateAuthority) -> None:
    """Asking for the URL says what to do first; stopping does nothing."""
    server = Server(server_credential, client_ca=ca.certificate)
    server.stop()
    with pytest.raises(errors.NotStarted, match=r"call start\(\)"):
        _ = server.url


def test_stopping_is_quick_whoever_is_connected(serve: Serve, files: Path) -> None:
    """Silent callers, half handshakes, idle connections and an app that does not return do not hold up a stop."""
    stuck, proceed = threading.Event(), threading.Event()

    def app(request: Request) -> str:
        if request.path == "/stuck":
            stuck.set()
            proceed.wait(5)
        return "done"

    server = serve(app=app)
    with contextlib.ExitStack() as stack:
        stack.callback(proceed.set)
        for first_words in (b"", b"", b"\x16", b"\x16\x03\x01\x02\x00"):
            stack.enter_context(dial(server)).sendall(first_words)
        idle, waiting = (stack.enter_context(speaking_tls(server, files)) for _ in range(2))
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(1000)
        waiting.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stuck.wait(5)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < SOON


CHILD = """
import os, sys, time
from pathlib import Path
from mtlslab import CertificateAuthority, Credential, Server

if sys.argv[2:]:
    import asyncio.constants, resource
    asyncio.constants.ACCEPT_RETRY_DELAY = 0.1  # seconds; 1 is asyncio's own
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))

def app(request):
    if request.path == "/stuck":
        os.write(1, b"busy\\n")  # print() would hold a lock, and Python end badly that ends meanwhile
        time.sleep(60)
    return "done"

ca = CertificateAuthority.load(sys.argv[1])
server = Server(Credential.load(sys.argv[1], "server"), client_ca=ca.certificate, app=app, port=0).start()
print(server.port, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def child(files: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run a server in a process of its own until its stdin is closed."""
    command = [sys.executable, "-c", CHILD, str(files), *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture
def server_files(files: Path, server_credential: Credential) -> Path:
    """The folder of files, with the server's in it."""
    server_credential.save(files, "server", overwrite=True)
    return files


def test_a_server_never_stopped_does_not_hold_up_the_exit(server_files: Path, call: Call) -> None:
    """A kernel restarts at once, although a server runs, callers are connected, and the app is busy.

    And while it runs: where the system gives the server no more sockets, silent callers give way, and honest ones are
    answered. (Windows has no such limit to set.)
    """
    limit = () if os.name == "nt" else ("48",)
    with child(server_files, *limit) as (process, port), contextlib.ExitStack() as stack:
        for _ in range(50):  # asyncio looks again a moment later, and finds room for the others
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        began = time.monotonic()
        assert call(f"https://localhost:{port}").ok
        assert time.monotonic() - began < SOON
        stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(b"\x16")
        threading.Thread(target=call, args=[f"https://localhost:{port}/stuck"], daemon=True).start()
        assert process.stdout
        assert process.stdout.readline() == "busy\n"
        began = time.monotonic()
        _, errors_ = process.communicate(timeout=20)
        assert (process.returncode, errors_) == (0, "")
        assert time.monotonic() - began < SOON


# --- bad callers ----------------------------------------------------------------------------------


def hello(files: Path) -> bytes:
    """Make the first bytes of an honest client."""
    sent = ssl.MemoryBIO()
    tls = client_context(cacert=files / "ca.crt").wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return sent.read()


def reset(caller: socket.socket) -> None:
    """Close with a reset instead of a goodbye."""
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()


def leaves(caller: socket.socket, _: Path) -> None:
    caller.close()


def resets(caller: socket.socket, _: Path) -> None:
    reset(caller)


def speaks_http(caller: socket.socket, _: Path) -> None:
    caller.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    read_all(caller)


def sends_garbage(caller: socket.socket, _: Path) -> None:
    caller.sendall(bytes(range(255, 0, -1)) * 40)
    with contextlib.suppress(ConnectionError):
        read_all(caller)


def sends_text(caller: socket.socket, _: Path) -> None:
    caller.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
    read_all(caller)


def leaves_in_the_first_record(caller: socket.socket, files: Path) -> None:
    caller.sendall(hello(files)[:50])
    caller.close()


def leaves_after_hello(caller: socket.socket, files: Path) -> None:
    caller.sendall(hello(files))
    caller.recv(1)
    caller.close()


def resets_after_hello(caller: socket.socket, files: Path) -> None:
    caller.sendall(hello(files))
    caller.recv(1)
    reset(caller)


def closes_one_half_after_hello(caller: socket.socket, files: Path) -> None:
    caller.sendall(hello(files))
    caller.shutdown(socket.SHUT_WR)
    read_all(caller)


def sends_an_unknown_message(caller: socket.socket, files: Path) -> None:
    caller.sendall(hello(files) + b"\x17\x03\x03\x00\x20" + b"?" * 32)
    read_all(caller)


BAD_CALLERS: list[tuple[Callable[[socket.socket, Path], None], set[str]]] = [
    (leaves, {"connection-lost"}),
    (resets, {"connection-lost"}),
    (speaks_http, {"plain-http"}),
    (sends_garbage, {"not-tls", "protocol-error"}),
    (sends_text, {"not-tls"}),
    (leaves_in_the_first_record, {"connection-lost"}),
    (leaves_after_hello, {"connection-lost"}),
    (resets_after_hello, {"connection-lost"}),
    (closes_one_half_after_hello, {"connection-lost"}),
    (sends_an_unknown_message, {"protocol-error", "not-tls"}),
]


def test_a_bad_caller_is_a_visit_and_nothing_else(serve: Serve, call: Call, files: Path) -> None:
    """Each way to misbehave is remembered with its reason; the next caller is served, the honest one soon."""
    server = serve()
    for number, (misbehave, reasons) in enumerate(BAD_CALLERS, 1):
        with dial(server) as caller:
            misbehave(caller, files)
        visit = visit_number(number, server)
        assert visit.refusal is not None, misbehave
        assert visit.refusal.reason in reasons, misbehave
        assert visit.client is None
    began = time.monotonic()
    assert call(server.url).ok
    assert time.monotonic() - began < SOON


def test_a_silent_caller_is_let_go_in_time(serve: Serve) -> None:
    """Who does not go on within the timeout is sent away, and it was the server that said no."""
    server = serve(timeout=0.2)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(dial(server)) for _ in range(3)]
        began = time.monotonic()
        for caller, first_words in zip(silent, (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"), strict=True):
            caller.sendall(first_words)
        for caller in silent:
            read_all(caller)
            assert 0.1 < time.monotonic() - began < SOON
    visit_number(3, server)
    refusals = [visit.refusal for visit in server.visits]
    assert [one and (one.by, one.reason, one.alert) for one in refusals] == [("server", "timed-out", None)] * 3


def test_a_dripping_caller_is_let_go_in_time(serve: Serve, files: Path) -> None:
    """A handshake that comes byte by byte does not get more time for each byte."""
    server = serve(timeout=0.3)
    began = time.monotonic()
    with dial(server) as caller, contextlib.suppress(ConnectionError):
        for byte in hello(files):
            caller.sendall(bytes([byte]))
            time.sleep(0.02)
            if server._visits:
                break
    assert time.monotonic() - began < SOON
    refusal = visit_number(1, server).refusal
    assert refusal is not None
    assert refusal.reason == "timed-out"


def test_who_is_connected_and_asks_nothing_is_let_go_in_time(serve: Serve, files: Path) -> None:
    """After the handshake silence ends with close_notify, and the visit is that of a known caller, not a refusal."""
    server = serve(timeout=0.2)
    with speaking_tls(server, files) as tls:
        began = time.monotonic()
        assert read_all(tls) == b""
        assert 0.1 < time.monotonic() - began < SOON
    visit = visit_number(1, server)
    assert (visit.client is not None, visit.refusal, visit.method, visit.error) == (True, None, None, None)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something to happen, however slow this machine is today."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def callers(server: Server) -> list[mtlslab.connection.Connection]:
    """Return who is there, the longest idle first."""
    assert server._hall
    return list(server._hall._idle)


def test_a_handshake_waits_for_a_slow_reader(
    call: Call, files: Path, ca: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain that does not fit into the socket at once is sent on as the caller reads, while others are answered."""
    create_server = socket.create_server

    def create_with_small_buffers(address: tuple[str, int], **options: Any) -> socket.socket:
        listener = create_server(address, **options)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return listener

    monkeypatch.setattr(socket, "create_server", create_with_small_buffers)
    credential = replace(ca.issue("localhost", SERVER, names=["localhost"]), chain=(ca.certificate,) * 110)
    with Server(credential, client_ca=ca.certificate, port=0, timeout=60) as server, socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        plain.settimeout(60)
        plain.connect(("127.0.0.1", server.port))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = honest(files).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        plain.sendall(outgoing.read())
        wait_until(lambda: any(caller.transport.get_write_buffer_size() for caller in callers(server)))
        assert call(server.url).ok
        while not tls.version():
            incoming.write(plain.recv(4096))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
        tls.write(GET + b"Connection: close\r\n\r\n")
        plain.sendall(outgoing.read())
        incoming.write(read_all(plain))
        assert tls.read(1 << 16).endswith(b"Hello World\n")


def test_only_who_asks_takes_a_thread(serve: Serve, call: Call, files: Path) -> None:
    """Callers who are silent, in the middle of a handshake, refused or connected cost a socket and no thread."""
    server = serve()
    assert call(server.url).ok
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(dial(server))
            stack.enter_context(dial(server)).sendall(hello(files))
            stack.enter_context(dial(server)).sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
            stack.enter_context(speaking_tls(server, files))
        assert call(server.url).ok
        wait_until(lambda: len(callers(server)) >= 20)
        assert threading.active_count() <= threads


@pytest.mark.parametrize("first_words", [b"", b"\x16"], ids=["silent", "half a handshake"])
def test_idle_callers_give_way(serve: Serve, call: Call, first_words: bytes) -> None:
    """Where all places are taken by idle callers, the oldest one goes, and the honest one is answered at once."""
    server = serve(max_connections=3)
    with contextlib.ExitStack() as stack:
        idle = []
        for _ in range(12):
            idle.append(stack.enter_context(dial(server)))
            idle[-1].sendall(first_words)
        began = time.monotonic()
        assert call(server.url).ok
        assert time.monotonic() - began < SOON
        with contextlib.suppress(ConnectionError):
            assert read_all(idle[0]) == b""
        assert time.monotonic() - began < SOON  # and not only when its time was up
        wait_until(lambda: len(server._visits) >= 10)  # all idle ones but three, and the honest one
        refusals = [visit.refusal for visit in server._visits if visit.refusal]
    assert {(refusal.by, refusal.reason) for refusal in refusals} == {("server", "timed-out")}


def test_who_has_just_come_does_not_give_way(serve: Serve, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of silent callers right behind an honest one does not cost it its place before it can speak."""
    monkeypatch.setattr(mtlslab.server, "_GRACE_SECONDS", 60.0)
    server = serve(max_connections=3)
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(dial(server))
        for _ in range(12):
            stack.enter_context(dial(server))
        wait_until(lambda: len(callers(server)) + len(server._visits) >= 13)
        tls = stack.enter_context(honest(files).wrap_socket(plain, server_hostname="localhost"))
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(tls).endswith(b"Hello World\n")


def test_who_is_connected_gets_another_moment(serve: Serve, files: Path) -> None:
    """With its handshake done a caller does not have to give way before those who came after it and have not."""
    server = serve()
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(dial(server))
        for _ in range(3):
            stack.enter_context(dial(server))
        wait_until(lambda: len(callers(server)) == 4)
        stack.enter_context(honest(files).wrap_socket(plain, server_hostname="localhost"))
        shaking, reading = mtlslab.connection.State.SHAKING_HANDS, mtlslab.connection.State.READING
        wait_until(lambda: [caller.state for caller in callers(server)] == [shaking, shaking, shaking, reading])


def test_callers_who_are_being_answered_do_not_give_way(serve: Serve, call: Call) -> None:
    """A crowd of silent callers does not end a request that the app is working on."""
    working, proceed = threading.Event(), threading.Event()

    def app(_: Request) -> str:
        working.set()
        proceed.wait(5)
        return "done"

    server = serve(app=app, max_connections=2)
    answers = []
    caller = threading.Thread(target=lambda: answers.append(call(server.url)))
    with contextlib.ExitStack() as stack:
        stack.callback(proceed.set)
        caller.start()
        assert working.wait(5)
        for _ in range(10):
            stack.enter_context(dial(server)).sendall(b"\x16")
        deadline = time.monotonic() + 4
        while len(server._visits) < 8:  # until the crowd has pushed its own out
            assert time.monotonic() < deadline
            time.sleep(0.01)
        proceed.set()
        caller.join(5)
    assert [answer.text for answer in answers] == ["done"]


def raise_the_limit_of_open_files(wanted: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))


def resident_bytes() -> int:
    """Return how much memory this process holds, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def test_callers_by_the_thousand(serve: Serve, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """While 1,200 callers hang on in their handshake, honest ones are answered soon, in few threads, little memory."""
    monkeypatch.setattr(mtlslab.server, "_GRACE_SECONDS", 60.0)  # nobody goes but for those who come
    raise_the_limit_of_open_files(4096)
    server = serve(max_connections=100, timeout=60)
    threads, memory = threading.active_count(), resident_bytes()
    slowest, most = 0.0, 0
    with contextlib.ExitStack() as stack:
        for number in range(1200):
            try:
                caller = stack.enter_context(dial(server))
            except OSError as error:
                pytest.skip(f"this machine opens no more than {number} files ({error.strerror})")
            caller.sendall(b"\x16")
            most = max(most, len(callers(server)))
            if number % 300 == 299:
                began = time.monotonic()
                answer = call(server.url)
                slowest = max(slowest, time.monotonic() - began)
                assert answer.ok, answer
        assert most - 100 - mtlslab.server._CROWD in (0, 1)  # one, between who has just come and who has to go for it
        assert threading.active_count() <= threads
        assert resident_bytes() - memory < 50 << 20
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < SOON
    assert slowest < SOON
    assert len(server.visits) == 1000  # the last ones


def test_every_visit_is_remembered(serve: Serve, call: Call, files: Path) -> None:
    """Good and bad callers, from many threads at once: each is one visit, and none is lost."""
    server = serve()

    def come_and_go() -> None:
        assert call(server.url).ok
        with dial(server) as caller:
            speaks_http(caller, files)

    callers = [threading.Thread(target=come_and_go) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    visit_number(10, server)
    assert sorted(visit.status or 0 for visit in server.visits) == [0] * 5 + [200] * 5


def test_a_visit_is_there_when_the_caller_knows(serve: Serve, call: Call) -> None:
    """`visits` waits for what is under way: right after an answer or a refusal, it is the last one."""
    server = serve()
    for number in (1, 3, 5):
        assert call(server.url).ok
        assert len(server.visits) == number
        assert not call(server.url, cert=None, key=None).ok
        assert len(server.visits) == number + 1


# --- who is let in --------------------------------------------------------------------------------

IN, OUT = True, False
DOORS: dict[ClientAuth, list[tuple[str | None, bool, str | None]]] = {
    "required": [("client", IN, "CN=client"), (None, OUT, None), ("stranger", OUT, None)],
    "optional": [("client", IN, "CN=client"), (None, IN, None), ("stranger", OUT, None)],
    "none": [("client", IN, None), (None, IN, None), ("stranger", IN, None)],
}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of a client of another CA."""
    credential = CertificateAuthority.create("foreign-ca").issue("client", CLIENT)
    return credential.save(tmp_path_factory.mktemp("stranger"), "client")


@pytest.mark.parametrize("client_auth", DOORS)
def test_client_auth_decides_who_is_let_in(
    serve: Serve, call: Call, stranger: tuple[Path, Path], client_auth: ClientAuth
) -> None:
    """None is asked, optional may stay away, required must show a certificate; a foreign one is never taken."""
    calls: list[x509.Certificate | None] = []
    server = serve(client_auth=client_auth, app=lambda request: calls.append(request.client) or "in")  # type: ignore[func-returns-value]
    pairs: dict[str | None, dict[str, Path | None]] = {
        "client": {},
        "stranger": dict(zip(("cert", "key"), stranger, strict=True)),
        None: {"cert": None, "key": None},
    }
    rows = [(row, tls_max) for row in DOORS[client_auth] for tls_max in ("1.2", "1.3")]
    for number, ((who, let_in, known_as), tls_max) in enumerate(rows, 1):
        calls.clear()
        answer = call(server.url, tls_max=tls_max, **pairs[who])
        visit = visit_number(number, server)
        assert (answer.ok, visit.refusal is None, len(calls)) == (let_in, let_in, let_in), (who, tls_max)
        assert visit.tls_version == f"TLSv{tls_max}"
        assert (visit.client.subject.rfc4514_string() if visit.client else None) == known_as, (who, tls_max)
        assert calls == ([visit.client] if let_in else []), (who, tls_max)


def certificates_sent(context: ssl.SSLContext) -> list[bytes]:
    """Return the server's certificates as they come over the wire, in DER."""
    client_side, server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), context
    client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return [one.public_bytes(ssl._ssl.ENCODING_DER) for one in client._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]


def test_the_chain_is_the_one_that_openssl_would_send(tmp_path: Path) -> None:
    """The issuers that the server adds to its certificate are those that OpenSSL adds by itself, and no others."""
    own, foreign, namesake = (CertificateAuthority.create(name) for name in ("own", "foreign", "own"))
    issuing = own.create_issuing_ca("issuing")
    for signer, trusted, length in (
        (own, [own], 2),
        (own, [foreign], 1),
        (issuing, [own, issuing, foreign], 3),
        (own, [namesake, own], 2),
    ):
        credential = replace(signer.issue("localhost", SERVER, names=["localhost"]), chain=())
        authorities = [ca.certificate for ca in trusted]
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        plain.load_cert_chain(*credential.save(tmp_path, "server", overwrite=True))
        plain.verify_mode = ssl.CERT_REQUIRED
        plain.load_verify_locations(cadata=b"".join(map(certificate_pem, authorities)).decode())
        sent = certificates_sent(server_context(credential, client_ca=authorities))
        assert sent == certificates_sent(plain), trusted
        assert len(sent) == length, trusted


BAD_OPTIONS: list[tuple[str, Any]] = [
    ("client_auth", "sometimes"),
    ("client_auth", None),
    ("client_ca", None),
    ("client_ca", []),
    ("client_ca", "ca.crt"),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", float("nan")),
    ("timeout", "5"),
    ("timeout", None),
    ("max_connections", 0),
    ("max_connections", 1.5),
    ("port", -1),
    ("port", 65536),
    ("port", "3000"),
    ("port", 3000.0),
    ("port", True),
]


def test_an_option_that_cannot_be_used_is_named(serve: Serve) -> None:
    """A wrong option is refused before anything listens."""
    threads = threading.active_count()
    for option, value in BAD_OPTIONS:
        with pytest.raises(errors.OptionRefused) as refused:
            serve(**{option: value})
        assert refused.value.option == option, value
    assert threading.active_count() <= threads


# --- HTTP -----------------------------------------------------------------------------------------


def test_the_app_gets_the_whole_request(serve: Serve, call: Call, client_credential: Credential) -> None:
    """All there is to know of a request reaches the app, and its reply reaches the caller."""
    requests = []

    def app(request: Request) -> Reply:
        requests.append(request)
        return Reply("þú", 418, {"Content-Type": "text/plain; charset=utf-8", "X-Tea": "yes"})

    answer = call(serve(app=app).url + "/a/b?c=d", method="PUT", headers={"X-Who": "me"}, content=b"\0body")
    assert (answer.status, answer.text, answer.headers["x-tea"], answer.ok) == (418, "þú", "yes", False)
    (request,) = requests
    assert (request.method, request.path, request.headers["x-who"]) == ("PUT", "/a/b?c=d", "me")
    assert (request.body, request.client) == (b"\0body", client_credential.certificate)
    assert request.tls_version == "TLSv1.3"


def raises(_: Request) -> str:
    raise KeyError("secret")


def exits(_: Request) -> str:
    sys.exit("secret")


BAD_APPS: dict[str, tuple[Callable[[Request], Any], type[BaseException]]] = {
    "raises": (raises, KeyError),
    "exits": (exits, SystemExit),
    "returns nothing": (lambda _: None, TypeError),
    "returns bytes": (lambda _: b"secret", TypeError),
    "replies with bytes": (lambda _: Reply(b"secret"), Exception),  # type: ignore[arg-type]
    "replies with half a character": (lambda _: Reply("secret \ud800"), ValueError),
    "splits its reply": (lambda _: Reply("", headers={"X": "1\r\nSet-Cookie: secret"}), Exception),
    "replies with no status": (lambda _: Reply("secret", status=None), Exception),  # type: ignore[arg-type]
    "replies with half a status": (lambda _: Reply("secret", status=100), Exception),
}


def test_a_failing_app_is_a_500_and_an_error_in_the_visit(serve: Serve, call: Call) -> None:
    """The caller learns that the app failed and nothing more; the visit holds what was raised; the server goes on."""
    faults = list(BAD_APPS)
    server = serve(app=lambda request: BAD_APPS[faults[int(request.path[1:])]][0](request))
    for number, fault in enumerate(faults):
        answer = call(f"{server.url}/{number}")
        assert (answer.status, answer.text) == (500, "the server's app failed\n"), fault
        assert "secret" not in str(answer.headers), fault
        visit = visit_number(number + 1, server)
        assert visit.status == 500, fault
        assert isinstance(visit.error, BAD_APPS[fault][1]), fault


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKS = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUESTS: dict[str, tuple[bytes, int]] = {
    "GET": (GET + b"Connection: close\r\n\r\n", 200),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", 200),
    "a body": (POST + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", 200),
    "the longest body": (POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % MAX_BODY + b"a" * MAX_BODY, 200),
    "a longer body": (POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
    "an endless body": (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length of words": (POST + b"Content-Length: three\r\n\r\nabc", 400),
    "a length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "chunks": (CHUNKS + b"3\r\nabc\r\n0\r\n\r\n", 200),
    "the most chunks": (CHUNKS + b"%x\r\n" % MAX_BODY + b"a" * MAX_BODY + b"\r\n0\r\n\r\n", 200),
    "more chunks": (CHUNKS + b"%x\r\n" % (MAX_BODY + 1) + b"a" * (MAX_BODY + 1) + b"\r\n0\r\n\r\n", 413),
    "chunks of words": (CHUNKS + b"three\r\nabc\r\n0\r\n\r\n", 400),
    "chunks and a length": (CHUNKS[:-2] + b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
    "a method of its own": (b"BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "nonsense": (b"nonsense and more of it\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "zeros": (b"\0" * 40 + b"\r\n\r\n", 400),
    "a long path": (GET.replace(b"/ ", b"/" + b"a" * 70000 + b" ") + b"\r\n", 431),
    "an endless head": (GET + b"X: " + b"a" * 200000, 431),
    "a long header": (GET + b"X: " + b"a" * 70000 + b"\r\n\r\n", 431),
    "many headers": (GET + b"X: a\r\n" * 40000 + b"\r\n", 431),
}


def test_each_request_gets_a_reply_and_a_goodbye(serve: Serve, files: Path) -> None:
    """Good requests and bad ones get their status, end with close_notify, and are remembered with that status."""
    server, over_1_2 = serve(), ("GET", "a longer body", "an endless head")
    rows: list[tuple[str, TLSVersion]] = [*((what, "1.3") for what in REQUESTS), *((what, "1.2") for what in over_1_2)]
    for number, (what, tls_max) in enumerate(rows, 1):
        request, status = REQUESTS[what]
        with speaking_tls(server, files, tls_max) as tls:
            tls.sendall(request)
            reply = read_all(tls)  # without close_notify, this raises SSLEOFError
        assert re.match(rb"HTTP/1\.[01] %d " % status, reply), (what, reply[:80])
        visit = visit_number(number, server)
        assert (visit.status, visit.refusal, visit.error) == (status, None, None), what
        assert visit.client is not None, what


def test_head_has_no_body(serve: Serve, files: Path) -> None:
    """HEAD gets GET's headers alone (RFC 9110 §9.3.2)."""
    with speaking_tls(serve(), files) as tls:
        tls.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = read_all(tls).partition(b"\r\n\r\n")
    assert b"Content-Length: 12" in head
    assert body == b""


@pytest.mark.parametrize("tls_max", ["1.2", "1.3"])
def test_who_says_goodbye_is_not_waited_for(serve: Serve, call: Call, files: Path, tls_max: TLSVersion) -> None:
    """A caller who has been answered and ends with close_notify leaves the server at rest, and is one visit."""
    server = serve()
    with speaking_tls(server, files, tls_max) as tls:
        tls.sendall(GET + b"\r\n")
        assert tls.recv(1 << 16).endswith(b"Hello World\n")
        with contextlib.suppress(OSError):
            tls.unwrap()
        assert call(server.url).ok
    visit_number(2, server)


def test_many_requests_at_once_are_answered_in_turn(serve: Serve, files: Path) -> None:
    """Pipelined requests get their replies in order, however many of them come in one piece (RFC 9112 §9.3.2)."""
    paths = [b"/" + b"a" * 500 + b"%d" % number for number in range(80)]
    asked, replies = b"".join(GET.replace(b"/ ", path + b" ") + b"\r\n" for path in paths), b""
    assert len(asked) > mtlslab.connection.MAX_HEAD  # together they may be longer than one may be
    with speaking_tls(serve(app=lambda request: f"{request.path}\n", timeout=60), files) as tls:
        tls.setblocking(False)  # one thread asks and listens: OpenSSL does not let two use one connection at once
        while not replies.endswith(b"\r\n\r\n" + paths[-1] + b"\n"):
            select.select([tls], [tls] if asked else [], [], 0.05)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                asked = asked[tls.send(asked) :] if asked else b""
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                replies += tls.recv(1 << 16) or pytest.fail("the server hung up")
    assert re.findall(rb"^/a+\d+$", replies, re.MULTILINE) == paths


def test_a_connection_can_be_used_again(serve: Serve, files: Path) -> None:
    """Two requests over one connection are two visits of the same caller; so are two that come at once."""
    server = serve(app=lambda request: f"{request.path}\n")
    with speaking_tls(server, files) as tls:
        tls.sendall(GET.replace(b"/ ", b"/1 ") + b"\r\n")
        assert tls.recv(1 << 16).endswith(b"/1\n")
        tls.sendall(GET.replace(b"/ ", b"/2 ") + b"\r\n" + GET.replace(b"/ ", b"/3 ") + b"Connection: close\r\n\r\n")
        assert re.findall(rb"^/\d$", read_all(tls), re.MULTILINE) == [b"/2", b"/3"]
    assert [(visit.path, visit.status) for visit in server.visits] == [("/1", 200), ("/2", 200), ("/3", 200)]
    assert len({visit.client for visit in server.visits}) == 1


def test_who_asks_before_sending_a_body_is_answered(serve: Serve, files: Path) -> None:
    """`Expect: 100-continue` gets its 100 at once, and not only after the body that waits for it."""
    with speaking_tls(serve(app=lambda request: request.body.decode()), files) as tls:
        tls.sendall(POST + b"Connection: close\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert tls.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        tls.sendall(b"abc")
        assert read_all(tls).endswith(b"\r\n\r\nabc")


def test_half_a_body_does_not_reach_the_app(serve: Serve, files: Path) -> None:
    """Who leaves in the middle of a body has visited, but has not asked."""
    server = serve()
    with speaking_tls(server, files) as tls:
        tls.sendall(POST + b"Content-Length: 30\r\n\r\nabc")
    visit = visit_number(1, server)
    assert (visit.status, visit.refusal) == (None, None)
    assert visit.client is not None


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["closes", "resets"])
def test_a_reply_that_nobody_reads_does_no_harm(
    serve: Serve, call: Call, files: Path, leave: Callable[[socket.socket], None]
) -> None:
    """Who asks for much and leaves is remembered like everyone else, and nothing is printed about it."""
    server = serve(app=lambda request: "much" * (1 << 20) if request.path == "/much" else "done")
    with speaking_tls(server, files) as tls:
        tls.sendall(GET.replace(b"/ ", b"/much ") + b"\r\n")
        tls.recv(1)
        leave(tls)
    assert visit_number(1, server).status == 200
    assert call(server.url).ok


def test_a_visit_without_a_request_is_a_visit(serve: Serve, files: Path) -> None:
    """Who shows a certificate and then says nothing is known, and has asked nothing."""
    server = serve()
    with speaking_tls(server, files):
        pass
    visit = visit_number(1, server)
    assert visit.client is not None
    assert (visit.method, visit.path, visit.status, visit.refusal) == (None, None, None, None)
    assert repr(visit) == "<Visit by CN=client over TLSv1.3: no request>"


def test_a_visit_says_what_happened(serve: Serve, call: Call) -> None:
    """A visit's text names caller, TLS version, request and reply, or the refusal."""
    server = serve()
    call(server.url)
    assert repr(server.visits[-1]) == "<Visit by CN=client over TLSv1.3: GET / → 200>"
    call(server.url, cert=None, key=None)
    assert repr(server.visits[-1]) == f"<Visit {server.visits[-1].refusal!r}>"


def test_who_comes_as_the_server_stops_is_not_lost(serve: Serve) -> None:
    """No transport is left behind unclosed: from Python 3.14 on that prints an error of asyncio's, in any cell."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(12):
            server = serve()
            for _ in range(2):
                socket.create_connection(("127.0.0.1", server.port or 0)).close()
            server.stop()
        gc.collect()
    assert [str(one.message) for one in caught if "transport" in str(one.message)] == []
