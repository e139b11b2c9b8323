"""An HTTPS server that asks its callers for a certificate, and remembers each visit.

A caller is in the lobby, at the price of one socket, until it is connected and asks something, or is refused and gone.
One thread goes on with any of these handshakes as something comes in for it: one that never ends holds up nobody else.
Who asks gets a thread of its own; so does every handshake while they are too many, or too costly, for the one. Lobby
and threads each have room for `max_connections`; when all of it is taken, the oldest one that is not being answered
gives way to the newcomer, so idle callers cannot shut out honest ones. A moment of grace is everybody's, so a burst
cannot either.
"""

from __future__ import annotations

import errno
import queue
import re
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self

from cryptography import x509

from mtlslab import errors, refusals
from mtlslab.contexts import ClientAuth, all_of, server_context
from mtlslab.credentials import Credential
from mtlslab.refusals import Refusal

USUAL_PORT = 3000
"""The article's port, taken when it is free and no other was asked for."""

LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""Both addresses that `localhost` may mean: whoever dials either must reach this server and no other."""

MAX_BODY = 1 << 20
"""The longest request body that is read, in bytes."""

_DRAIN_SECONDS = 1.0
_SETTLE_SECONDS = 1.0
_STOP_SECONDS = 0.5

_GRACE_SECONDS = 0.1
"""How long a caller keeps its place whoever comes next: enough for an honest handshake and request, not for idling."""

_ROUND_SECONDS = 0.05
"""How long the accepting thread goes on with handshakes before it looks who is new; the others get threads."""

_CROWD = 400
"""How many more callers than `max_connections` may be in the lobby for as long as that: with the usual 100 no more than
`select` can watch on Windows, which is 512."""

_BACKLOG = 4096
"""How many callers the kernel may keep waiting, if it will: the next one has to knock again, a second later."""

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux only. A caller whose stack holds back small packets (Nagle) until the last one is acknowledged, and a kernel
that holds back acknowledgements, wait for each other: 40 ms between handshake and request."""


@dataclass(frozen=True)
class Request:
    """What an `app` is called with.

    Fields: `method`, `path`, `headers` (an `email.message.Message`: look-up without regard to case), `body`
    (bytes), `client` (the caller's certificate, or None), `tls_version` ("TLSv1.2" or "TLSv1.3").
    """

    method: str
    path: str
    headers: Message
    body: bytes
    client: x509.Certificate | None
    tls_version: str | None


@dataclass(frozen=True)
class Reply:
    """What an `app` returns; a bare str stands for `Reply(text)`."""

    text: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain; charset=utf-8"})


App = Callable[[Request], Reply | str]


def hello_world(_: Request) -> str:
    """Answer as the article's server does."""
    return "Hello World\n"


@dataclass(frozen=True)
class Visit:
    """One event at the server: a request, a handshake that failed, or a caller who left without asking anything.

    Fields: `client` (the caller's certificate, None if none was shown or accepted), `refusal` (as the server saw it;
    None if the handshake succeeded), `tls_version` ("TLSv1.2", "TLSv1.3", or None where the two ends never agreed on
    one), `method`, `path` and `status` (None without a request), `error` (what `app` raised; the caller got a 500).
    """

    client: x509.Certificate | None = None
    refusal: Refusal | None = None
    tls_version: str | None = None
    method: str | None = None
    path: str | None = None
    status: int | None = None
    error: BaseException | None = None

    def __repr__(self) -> str:
        if self.refusal:
            return f"<Visit {self.refusal!r}>"
        who = self.client.subject.rfc4514_string() if self.client else "a client without a certificate"
        what = f"{self.method} {self.path} → {self.status}" if self.method else "no request"
        return f"<Visit by {who} over {self.tls_version}: {what}>"


class Server:
    """HTTPS on loopback, at both 127.0.0.1 and ::1 (where there is one), in threads of its own.

    Use it in a `with` statement, or call `start` and `stop`.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        client_ca: x509.Certificate | Iterable[x509.Certificate] | None = None,
        client_auth: ClientAuth = "required",
        app: App = hello_world,
        port: int | None = None,
        timeout: float = 5.0,
        max_connections: int = 100,
        tune: Callable[[ssl.SSLContext], None] | None = None,
    ) -> None:
        """Prepare a server; nothing listens yet.

        `credential`, `client_ca`, `client_auth`: see `server_context`. `app` turns a `Request` into a `Reply`.
        `port`: None takes 3000, or a free one where 3000 is taken; 0 takes a free one. `timeout`: how many seconds a
        caller may be silent. `tune` changes each SSL context that `server_context` makes for it, where the options do
        not say enough: a CRL, a range of TLS versions. Raises `errors.OptionRefused`.
        """
        if not (_is_number(timeout) and 0 < timeout <= 86400):
            raise errors.OptionRefused("timeout", f"{timeout!r} is not a number of seconds, more than 0, a day at most")
        if not (_is_number(max_connections) and isinstance(max_connections, int) and max_connections > 0):
            raise errors.OptionRefused("max_connections", f"{max_connections!r} is not a whole number, 1 or more")
        if port is not None and not (_is_number(port) and isinstance(port, int) and 0 <= port <= 65535):
            raise errors.OptionRefused("port", f"{port!r} is not a port; give a number from 0 (any free one) to 65535")
        authorities = None if client_ca is None else all_of("client_ca", client_ca, x509.Certificate)
        self._make_context = partial(server_context, credential, client_ca=authorities, client_auth=client_auth)
        self._tune = tune
        self._context = self._new_context()
        self.client_auth = client_auth
        self.app = app
        self.timeout = timeout
        self.max_connections = max_connections
        self.port: int | None = None
        self._wanted_port = port
        self._visits: deque[Visit] = deque(maxlen=1000)
        self._lobby: dict[_Connection, None] = {}  # who has not asked anything yet, the longest there first
        self._connections: dict[_Connection, None] = {}  # who has a thread, in order of arrival
        self._changed = threading.Condition()
        self._stopping = False
        self._acceptor: threading.Thread | None = None
        self._wake: socket.socket | None = None  # closed to stop the accepting thread

    def __repr__(self) -> str:
        state = self.url if self._acceptor else "not running"
        return f"<Server {state}, client_auth={self.client_auth!r}, {len(self._visits)} visits>"

    @property
    def url(self) -> str:
        """The server's address, such as https://localhost:3000. Raises `errors.NotStarted` before the first start."""
        if self.port is None:
            raise errors.NotStarted("the server has no address yet: call start(), or use it in a with statement")
        return f"https://localhost:{self.port}"

    @property
    def visits(self) -> list[Visit]:
        """Every visit so far, oldest first: the last 1,000.

        A visit is remembered when it is decided, a moment after the caller knows. So this waits for handshakes under
        way, a second at most.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: not any(c.is_new for c in (*self._lobby, *self._connections)), _SETTLE_SECONDS
            )
            return list(self._visits)

    def start(self) -> Self:
        """Listen, and return at once. Raises `errors.PortInUse` where a port was asked for and is taken."""
        if self._acceptor is not None:
            return self
        listeners = _listen(self._wanted_port)
        self._wake, woken = socket.socketpair()
        self._stopping = False
        self.port = listeners[0].getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(listeners, woken), daemon=True)
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Stop listening, end every connection and free the port. A server that is not running stays so."""
        if self._acceptor is None or self._wake is None:
            return
        self._stopping = True
        self._wake.close()
        self._acceptor.join()
        self._acceptor = None
        deadline = time.monotonic() + _STOP_SECONDS
        with self._changed:
            while self._connections and time.monotonic() < deadline:
                for connection in self._connections:
                    connection.hang_up("the server was stopped")
                self._changed.wait(0.05)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the accepting thread ---

    def _accept(self, listeners: list[socket.socket], woken: socket.socket) -> None:
        workers = _Workers()
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            stack.callback(workers.dismiss)
            for waited_for in (*listeners, woken):
                stack.enter_context(waited_for)
                selector.register(waited_for, selectors.EVENT_READ)
            while not self._stopping:
                ready = [key for key, _ in selector.select(self._patience())]
                enough = time.monotonic() + _ROUND_SECONDS
                for key in ready:  # before anyone new comes in: who asks something does not have to give way
                    if key.data is not None:
                        self._attend_to(key.data, selector, workers, enough)
                for key in ready:
                    if key.fileobj in listeners:
                        self._welcome(key.fileobj, selector)
                while self._patience() == 0:
                    self._send_away_first(selector, "the caller took too long")
            while self._lobby:
                self._send_away_first(selector, "the server was stopped")

    def _patience(self) -> float | None:
        """Return for how many more seconds the first one in the lobby may stay there; None if nobody is there.

        In a crowd that is the time that an honest caller needs for a handshake, whoever came in after it.
        """
        if not self._lobby:
            return None
        crowded = len(self._lobby) > self.max_connections
        allowed = min(self.timeout, _GRACE_SECONDS) if crowded else self.timeout
        return max(0.0, next(iter(self._lobby)).began + allowed - time.monotonic())

    def _welcome(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        """Let in who knocks; in one round no more than there is room for."""
        for _ in range(self.max_connections):
            try:
                plain, _ = listener.accept()
            except BlockingIOError:  # that was everyone
                return
            except OSError as error:  # the caller has left again; or no file descriptor is free: make one so
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    if self._lobby:
                        self._send_away_first(selector, "its place was needed")
                    else:
                        self._make_room(len(self._connections))
                        time.sleep(0.01)
                return
            if len(self._lobby) >= self.max_connections + _CROWD:
                self._send_away_first(selector, "its place was needed")
            plain.setblocking(False)
            connection = _Connection(self, plain)
            with self._changed:
                self._lobby[connection] = None
            selector.register(plain, selectors.EVENT_READ, connection)

    def _attend_to(
        self, connection: _Connection, selector: selectors.BaseSelector, workers: _Workers, enough: float
    ) -> None:
        """Go on with a handshake, and give a thread to who then asks something. Who is refused needs none to go."""
        in_time = connection.is_decided or time.monotonic() < enough
        if in_time and (awaited := connection.go_on()):
            selector.modify(connection.socket, awaited, connection)
            if connection.is_connected:  # that earns it another moment, to ask something
                with self._changed:
                    self._lobby[connection] = self._lobby.pop(connection)
                    connection.began = time.monotonic()
        elif connection.is_decided:
            self._send_away(connection, selector)
        else:
            selector.unregister(connection.socket)
            self._make_room(self.max_connections)
            with self._changed:
                del self._lobby[connection]
                connection.seated = time.monotonic()
                self._connections[connection] = None
            workers.submit(connection.run)

    def _send_away_first(self, selector: selectors.BaseSelector, why: str) -> None:
        connection = next(iter(self._lobby))
        connection.give_way(why)
        self._send_away(connection, selector)

    def _send_away(self, connection: _Connection, selector: selectors.BaseSelector) -> None:
        selector.unregister(connection.socket)
        connection.socket.close()
        with self._changed:
            del self._lobby[connection]

    def _make_room(self, limit: int) -> None:
        with self._changed:
            while len(self._connections) >= max(limit, 1) and not self._stopping:
                longest = next((c for c in self._connections if not c.answering), None)
                patience = longest.seated + _GRACE_SECONDS - time.monotonic() if longest else 0.05
                if longest and patience <= 0:
                    longest.hang_up("the caller was idle, and its place was needed")
                    patience = 0.05
                self._changed.wait(patience)

    # --- what connections call ---

    def _new_context(self) -> ssl.SSLContext:
        context = self._make_context()
        if self._tune is not None:
            self._tune(context)
        return context

    def _forget_sessions(self) -> None:
        """Leave the sessions that OpenSSL keeps for TLS 1.2 behind, with the context that keeps them.

        Only a connection that was there before can still resume one of them.
        """
        if self._context.session_stats()["number"]:
            self._context = self._new_context()

    def _remember(self, connection: _Connection, visit: Visit) -> None:
        with self._changed:
            connection.is_decided = True
            self._visits.append(visit)
            self._changed.notify_all()

    def _forget(self, connection: _Connection) -> None:
        with self._changed:  # closed in here, or `hang_up` might meet another socket with the same number
            connection.socket.close()
            self._connections.pop(connection, None)
            self._changed.notify_all()


class _Workers:
    """Daemon threads that go from one job to the next: a new thread costs OpenSSL a new random generator.

    The threads of `concurrent.futures` would keep the interpreter from exiting while a caller is connected.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._hired = 0

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False):
            with suppress(RuntimeError):  # the machine gives no more threads: one of those at work will take it
                threading.Thread(target=self._work, name="mtlslab-server", daemon=True).start()
                self._hired += 1

    def dismiss(self) -> None:
        """Let each thread end after its job."""
        for _ in range(self._hired):
            self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
            self._idle.release()


class _Connection:
    """One caller, from the handshake to the last reply."""

    def __init__(self, server: Server, plain: socket.socket) -> None:
        self.server = server
        self.socket = plain  # an ssl.SSLSocket from the first byte on
        self.began = self.seated = time.monotonic()
        self.client: x509.Certificate | None = None
        self.tls_version: str | None = None
        self.is_connected = False  # the state that a handshake ends in (RFC 8446 appendix A.2)
        self.is_decided = False
        self.is_leaving = False
        self.answering = False
        self.hung_up_because: str | None = None

    @property
    def is_new(self) -> bool:
        """True while the handshake's outcome may still come within the time that `Server.visits` waits."""
        return not self.is_decided and time.monotonic() - self.began < _SETTLE_SECONDS

    def hang_up(self, reason: str) -> None:
        """Wake the thread that waits on this connection; it will find the connection ended."""
        self.hung_up_because = reason
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def go_on(self) -> int:
        """Take the next step that needs no thread. Return which selector event to wait for then, 0 if there is none.

        None is left for who has been refused and has gone, and for who has asked something: the answer takes a thread.
        """
        if self.is_connected:
            return 0
        awaited = 0 if self.is_decided else self._shake_hands()
        return self._leave() if self.is_decided else awaited

    def _shake_hands(self) -> int:
        """Go on with the handshake as far as what has come allows. Return which selector event to wait for next.

        Nothing that goes wrong leaves this method, nor `run`: it ends up in a visit.
        """
        try:
            if not isinstance(self.socket, ssl.SSLSocket):
                if not self.socket.recv(1, socket.MSG_PEEK):  # Python 3.11 leaks a socket that is wrapped when lost
                    raise ConnectionResetError("the caller left without a word")
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                context = self.server._context
                self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self.socket.do_handshake()
            self.server._forget_sessions()
            if _QUICKACK is not None:
                self.socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, True)
            self.tls_version = self.socket.version()
            der = self.socket.getpeercert(binary_form=True)
            self.client = x509.load_der_x509_certificate(der) if der else None
            self.is_connected = True
        except (BlockingIOError, ssl.SSLWantReadError):
            return selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE
        except OSError as error:
            self._refuse(error)
        except Exception as error:  # for instance a certificate that OpenSSL can read, and cryptography cannot
            self._decide(None, error)
        return selectors.EVENT_READ

    def _leave(self) -> int:
        """Say goodbye as `_close_politely` does, without waiting."""
        try:
            if isinstance(self.socket, ssl.SSLSocket) and not self.is_leaving:
                self.is_leaving = True
                _say_goodbye(self.socket)
            return selectors.EVENT_READ if socket.socket.recv(self.socket, 1 << 16) else 0
        except BlockingIOError:
            return selectors.EVENT_READ
        except OSError:
            return 0

    def give_way(self, why: str) -> None:
        """Leave the lobby without having asked anything."""
        if not self.is_connected:
            self._refuse(TimeoutError(why))
        elif isinstance(self.socket, ssl.SSLSocket):
            self._decide(None)
            _say_goodbye(self.socket)

    def run(self) -> None:
        """Have this caller finish its handshake, answer it if it is connected, and take leave of it."""
        try:
            self.socket.settimeout(self.server.timeout)
            if not self.is_connected:
                self._shake_hands()
            if isinstance(self.socket, ssl.SSLSocket):  # else it vanished before the first byte
                if self.is_connected:
                    with suppress(OSError):
                        _Handler(self.socket, self)
                    self._decide(None)
                _close_politely(self.socket)
        except Exception as error:
            self._decide(None, error)
        finally:
            self.server._forget(self)

    def _refuse(self, error: OSError) -> None:
        """Remember a handshake that failed, and why."""
        # version() is None until a handshake is done, and a suite is set early under TLS 1.3, late under 1.2.
        is_tls13 = isinstance(self.socket, ssl.SSLSocket) and self.socket.cipher() is not None
        ended = TimeoutError(self.hung_up_because) if self.hung_up_because else error
        refusal = _refusal(ended, "TLSv1.3" if is_tls13 else "TLSv1.2")
        agreed = refusal.reason in refusals.CERTIFICATE_REASONS
        self.tls_version = "TLSv1.3" if is_tls13 else "TLSv1.2" if agreed else None
        self._decide(refusal)

    def _decide(self, refusal: Refusal | None, error: BaseException | None = None) -> None:
        """Remember this visit, unless it has been."""
        if not self.is_decided:
            self.server._remember(self, Visit(self.client, refusal, self.tls_version, error=error))

    def answer(self, request: Request) -> Reply:
        """Have the app answer, and remember the visit before the reply goes out, so that it is there in time."""
        error = None
        try:
            reply = _checked(self.server.app(request))
        except BaseException as raised:
            error, reply = raised, Reply("the server's app failed\n", 500)
        self.remember(request.method, request.path, reply.status, error)
        return reply

    def remember(self, method: str | None, path: str | None, status: int, error: BaseException | None = None) -> None:
        """Remember a request and the status of its reply."""
        visit = Visit(self.client, None, self.tls_version, method, path, status, error)
        self.server._remember(self, visit)


def _refusal(error: OSError, tls_version: str) -> Refusal:
    """Return the refusal behind an error of a handshake, as the server sees it."""
    is_tls13 = tls_version == "TLSv1.3"
    refusal = refusals.from_exception(
        error, seen_by="server", tls_version=tls_version, sent_certificate=False, in_handshake=not is_tls13
    )
    if refusal is not None:
        return refusal
    advice = refusals.REASONS["connection-lost"].server_advice
    return Refusal("client", "connection-lost", None, 35, str(error), advice)


def _checked(reply: object) -> Reply:
    """Return what an app answered as a `Reply` that can be sent; raise if it cannot."""
    if isinstance(reply, str):
        reply = Reply(reply)
    if not isinstance(reply, Reply):
        raise TypeError(f"an app returns a Reply or a str, not {type(reply).__name__}")
    if not (isinstance(reply.status, int) and 200 <= reply.status <= 599):
        raise ValueError(f"{reply.status!r} is not the status of a reply: 200 to 599 (RFC 9110 §15)")
    reply.text.encode()
    for field_line in reply.headers.items():
        if re.search(r"[\r\n\0]", "".join(field_line)):
            raise ValueError("a header holds a line break (RFC 9110 §5.5)")
        "".join(field_line).encode("latin-1")
    return reply


class _Handler(BaseHTTPRequestHandler):
    """The standard library's HTTP, with our `app` behind it."""

    protocol_version = "HTTP/1.1"
    default_request_version = (
        "HTTP/1.0"  # or a request that cannot be read gets a reply as in HTTP/0.9: without a status
    )
    server_version, sys_version = "mtlslab", ""
    wbufsize = 1 << 16  # head and body leave in one TLS record

    def __init__(self, tls: ssl.SSLSocket, connection: _Connection) -> None:
        self._connection = connection
        super().__init__(tls, ("", 0), None)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Print nothing: `Server.visits` is the log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that never reaches the app, and remember it like any other."""
        self._connection.remember(self.command, getattr(self, "path", None), code)
        super().send_error(code, message, explain)

    def handle_expect_100(self) -> bool:
        """Tell a caller who asks first to send its body; at once, or both ends wait (RFC 9110 §10.1.1)."""
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            return
        connection = self._connection
        connection.answering = True
        request = Request(self.command, self.path, self.headers, body, connection.client, connection.tls_version)
        reply = connection.answer(request)
        content = reply.text.encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()
        connection.answering = False

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815 (http.server's names)

    def _body(self) -> bytes | None:
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        length = lengths.pop()
        if "Transfer-Encoding" in self.headers:
            self.send_error(411)
        elif lengths or not re.fullmatch(r"[0-9]{1,20}", length):
            self.send_error(400)
        elif int(length) > MAX_BODY:
            self.send_error(413)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body  # else the caller left in the middle of it
        self.close_connection = True
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listen(wanted: int | None) -> list[socket.socket]:
    """Open a listener on each loopback address, all with the same port."""
    for port in (USUAL_PORT, 0) if wanted is None else (wanted,):
        for _ in range(20):  # a free port of one address may be taken on the other: draw again
            try:
                return _listen_everywhere(port)
            except OSError as error:
                if error.errno == errno.EACCES and wanted is not None:  # nobody asked for 3000: draw another
                    raise errors.OptionRefused("port", f"{port} needs more rights; take one from 1024 up") from None
            if port != 0:
                break
    raise errors.PortInUse(wanted or 0)


def _listen_everywhere(port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    try:
        for family, address in LOOPBACK:
            if family == socket.AF_INET6 and not _has_ipv6_loopback():
                continue
            listener = socket.create_server((address, port), family=family, backlog=_BACKLOG)
            listener.setblocking(False)
            listeners.append(listener)
            port = listener.getsockname()[1]
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _say_goodbye(tls: ssl.SSLSocket) -> None:
    """Send what there is to say, and that nothing more will come: close_notify (RFC 8446 §6.1), if there is TLS."""
    with suppress(OSError, ValueError):
        tls.setblocking(False)  # the caller's own close_notify is not waited for
        with suppress(OSError):
            tls.unwrap()
    with suppress(OSError):
        socket.socket.shutdown(tls, socket.SHUT_WR)


def _close_politely(tls: ssl.SSLSocket) -> None:
    """End a connection so that the last word arrives: close_notify after a reply, the alert after a refusal.

    A socket that is closed with unread input sends a reset, which can overtake what was written before it. So: say
    goodbye, shut down for writing, read what still comes until the caller closes or a second has passed, then close.
    """
    _say_goodbye(tls)
    with suppress(OSError):
        deadline = time.monotonic() + _DRAIN_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            tls.settimeout(left)
            if not socket.socket.recv(tls, 1 << 16):  # the plain socket's recv: what comes is not for TLS any more
                break
