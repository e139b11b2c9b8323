"""An HTTPS server that asks its callers for a certificate, and remembers each visit.

`Server` is what its user holds. `_Hall` is its other half, in a thread of its own: an asyncio loop in which every caller
is a `mtlslab.connection.Connection`. One that stops in the middle of its handshake costs a socket and holds up nobody.
Only an app that is ours to wait for gets a thread.

Room is bounded. When more callers are idle than `max_connections`, the longest idle one gives way to the newcomer, so
idle callers cannot shut out honest ones. A moment of grace is everybody's, so a burst cannot either.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from cryptography import x509

from mtlslab import errors
from mtlslab.connection import FAILED, App, Connection, Reply, Request, State, Visit
from mtlslab.contexts import ClientAuth, all_of, server_context
from mtlslab.credentials import Credential

__all__ = ["App", "Reply", "Request", "Server", "Visit", "hello_world"]

USUAL_PORT = 3000
"""The article's port, taken when it is free and no other was asked for."""

LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""Both addresses that `localhost` may mean: whoever dials either must reach this server and no other."""

_SETTLE_SECONDS = 1.0
_STOP_SECONDS = 0.5

_SWEEP_SECONDS = 0.05
"""How often the server looks who has to go."""

_DRAIN_SECONDS = 1.0
"""How long who has been taken leave of may take to leave."""

_GRACE_SECONDS = 0.1
"""How long a caller keeps its place whoever comes next: enough for an honest handshake and request, not for idling."""

_CROWD = 400
"""How many more callers than `max_connections` may be there for as long as that."""

_BACKLOG = 4096
"""How many callers the kernel may keep waiting, if it will: the next one has to knock again, a second later."""

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""What the system says when it has no more sockets to give."""


def hello_world(_: Request) -> str:
    """Answer as the article's server does."""
    return "Hello World\n"


class _Terms:
    """On which terms callers are let in: the context of the next handshake, and how to make the one after it."""

    def __init__(self, tune: Callable[[ssl.SSLContext], None] | None, **terms: Any) -> None:
        self._lock = threading.Lock()
        self._tune = tune
        self._terms: dict[str, Any] = {}
        self.change(**terms)

    def change(self, **terms: Any) -> None:
        """Make one whole new context, then put it in the old one's place: all of a change, or nothing of it.

        A context in use is never changed: a pair that is loaded into it by halves would break every handshake, and a
        CA cannot be taken away again.
        """
        with self._lock:
            changed = self._terms | terms
            self._context = self._new_context(changed)
            self._terms = changed

    def _new_context(self, terms: dict[str, Any]) -> ssl.SSLContext:
        context = server_context(**terms)
        if self._tune is not None:
            self._tune(context)
        return context

    def next_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake: one that remembers no session.

        TLS 1.2 resumes by session id (RFC 5246 §7.3), and the ssl module cannot turn that off. So a context that keeps
        a session has made its last handshake.
        """
        with self._lock:
            if self._context.session_stats()["number"]:
                self._context = self._new_context(self._terms)
            return self._context


class Server:
    """HTTPS on loopback, at both 127.0.0.1 and ::1 (where there is one), in a thread of its own.

    Use it in a `with` statement, or call `start` and `stop`.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        client_ca: x509.Certificate | Iterable[x509.Certificate] | None = None,
        client_auth: ClientAuth = "required",
        crls: Iterable[x509.CertificateRevocationList] = (),
        app: App = hello_world,
        port: int | None = None,
        timeout: float = 5.0,
        max_connections: int = 100,
        tune: Callable[[ssl.SSLContext], None] | None = None,
    ) -> None:
        """Prepare a server; nothing listens yet.

        `credential`, `client_ca`, `client_auth`, `crls`: see `server_context`. `app` turns a `Request` into a `Reply`.
        `port`: None takes 3000, or a free one where 3000 is taken; 0 takes a free one. `timeout`: how many seconds a
        caller may be silent. `tune` changes each SSL context that `server_context` makes for it, where the options do
        not say enough, such as a range of TLS versions. Raises `errors.OptionRefused`, `errors.KeyMismatch`.
        """
        _check_options(timeout, max_connections, port)
        authorities = None if client_ca is None else all_of("client_ca", client_ca, x509.Certificate)
        self._terms = _Terms(
            tune, credential=credential, client_ca=authorities, client_auth=client_auth, crls=tuple(crls)
        )
        self._changed = threading.Condition()
        self.client_auth, self.app = client_auth, app
        self.timeout, self.max_connections = timeout, max_connections
        self.port: int | None = None
        self._wanted_port = port
        self._visits: deque[Visit] = deque(maxlen=1000)
        self._hall: _Hall | None = None

    def __repr__(self) -> str:
        state = self.url if self._hall else "not running"
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

        A handshake that its caller has ended may still be under way here: it is waited for, a second at most.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._is_unsettled(), _SETTLE_SECONDS)
            return list(self._visits)

    def _is_unsettled(self) -> bool:
        callers, now = tuple(self._hall.callers) if self._hall else (), time.monotonic()
        return any(not caller.is_decided and now - caller.since < _SETTLE_SECONDS for caller in callers)

    # --- start and stop

    def start(self) -> Self:
        """Listen, and return at once. Raises `errors.PortInUse` where a port was asked for and is taken."""
        if self._hall is None:
            listeners = _listen(self._wanted_port)
            self.port = listeners[0].getsockname()[1]
            self._hall = _Hall(self, listeners)
        return self

    def stop(self) -> None:
        """Stop listening, end every connection and free the port. A server that is not running stays so."""
        hall, self._hall = self._hall, None
        if hall is not None:
            hall.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- changing while it runs

    def renew(self, credential: Credential) -> None:
        """Show another credential from the next handshake on. Raises as `Server` does; then nothing has changed."""
        self._terms.change(credential=credential)

    def trust(self, client_ca: x509.Certificate | Iterable[x509.Certificate]) -> None:
        """Trust these CAs for clients, and no others, from the next handshake on. Raises `errors.OptionRefused`."""
        self._terms.change(client_ca=all_of("client_ca", client_ca, x509.Certificate))

    def revoke(self, crls: Iterable[x509.CertificateRevocationList]) -> None:
        """Hold callers against these lists, and no others, from the next handshake on. See `server_context`."""
        self._terms.change(crls=tuple(crls))

    def drain(self, timeout: float = 1.0) -> int:
        """Have every caller who is connected now leave after its next reply (`Connection: close`, RFC 9112 §9.6).

        Waits up to `timeout` seconds for that; returns how many are still there. They are not cut off: an idle one is
        told with its next reply, whenever it asks for it.
        """
        return 0 if self._hall is None else self._hall.drain(timeout)

    def hang_up(self, certificate: x509.Certificate) -> int:
        """Cut every connection of the caller with this certificate, whatever is under way. Returns how many it were."""
        return 0 if self._hall is None else self._hall.hang_up(certificate)


class _Hall:
    """The server's other half: who is there, in a loop of its own. What `Server` calls runs outside that loop."""

    def __init__(self, server: Server, listeners: list[socket.socket]) -> None:
        self._server = server
        self.callers: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # whom no app is at work for, the longest idle first
        self._asked: deque[tuple[Connection, Request]] = deque()  # requests that wait for a thread
        self._at_work = 0
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        opened = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listeners, opened), name="mtlslab-server", daemon=True)
        self._thread.start()
        opened.wait()

    def close(self) -> None:
        """Take leave of everyone, and end the loop."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def drain(self, timeout: float) -> int:
        """See `Server.drain`."""
        there = self._each(lambda caller: True, lambda caller: setattr(caller.http, "is_last", True))
        return self._left_of(there, timeout)

    def hang_up(self, certificate: x509.Certificate) -> int:
        """See `Server.hang_up`."""
        known = self._each(lambda caller: caller.tls.client == certificate, lambda caller: caller.transport.abort())
        self._left_of(known, _STOP_SECONDS)
        return len(known)

    def _each(self, wanted: Callable[[Connection], bool], act: Callable[[Connection], object]) -> list[Connection]:
        """Do something to callers of some kind, in the loop, and return them."""

        async def done() -> list[Connection]:
            found = [caller for caller in self.callers if wanted(caller)]
            for caller in found:
                act(caller)
            return found

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    def _left_of(self, callers: list[Connection], timeout: float) -> int:
        """Wait until they have gone, or have been taken leave of; return how many have not."""

        def left() -> list[Connection]:
            return [one for one in callers if one in self.callers and one.state is not State.LEAVING]

        with self._server._changed:
            self._server._changed.wait_for(lambda: not left(), timeout)
            return len(left())

    def _run(self, listeners: list[socket.socket], opened: threading.Event) -> None:
        with contextlib.closing(self._loop):
            self._loop.set_exception_handler(self._hear_of_mishap)
            self._loop.run_until_complete(self._serve(listeners, opened))

    async def _serve(self, listeners: list[socket.socket], opened: threading.Event) -> None:
        new = partial(Connection, self)
        doors = [await self._loop.create_server(new, sock=one, backlog=_BACKLOG) for one in listeners]
        opened.set()
        self._sweep()
        await self._closing.wait()
        for door in doors:
            door.close()
        for caller in [caller for caller in self.callers if caller.state is not State.LEAVING]:
            caller.dismiss("the server was stopped")
        end = time.monotonic() + _STOP_SECONDS
        while self.callers and time.monotonic() < end:
            await asyncio.sleep(0.005)
        for caller in self.callers:
            caller.transport.abort()
        await asyncio.sleep(0)

    # --- what connections ask of it: `mtlslab.connection.Keeper`

    def next_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        return self._server._terms.next_context()

    def moved(self, connection: Connection) -> None:
        """Put who comes in, or goes on, at the end of the line; let others go if there is no more room."""
        self._idle.pop(connection, None)
        self._idle[connection] = None
        if connection not in self.callers:
            self.callers.add(connection)
            if len(self._idle) > self._server.max_connections + _CROWD:
                self._dismiss(next(iter(self._idle)), "others were waiting")

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        self.callers.discard(connection)
        self._idle.pop(connection, None)
        with self._server._changed:
            self._server._changed.notify_all()

    def remember(self, visit: Visit) -> None:
        """Keep a visit."""
        with self._server._changed:
            self._server._visits.append(visit)
            self._server._changed.notify_all()

    def ask(self, connection: Connection, request: Request) -> None:
        """Have a request answered: the greeting at once, an app's answer in a thread."""
        if self._server.app is hello_world:
            self._loop.call_soon(connection.answer, hello_world(request))
        else:
            self._asked.append((connection, request))
            self._hire()

    # --- the app's threads

    def _hire(self) -> None:
        while self._asked and self._at_work < self._server.max_connections:
            connection, request = self._asked.popleft()
            if self._idle.pop(connection, self) is None:  # else it has been dismissed
                self._at_work += 1
                # A daemon, unlike a thread of concurrent.futures: an app that never returns must not hold up the exit.
                threading.Thread(target=self._work, args=(connection, request), daemon=True).start()

    def _work(self, connection: Connection, request: Request) -> None:
        error = None
        try:
            reply = self._server.app(request)
        except BaseException as raised:
            reply, error = FAILED, raised
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._take_back, connection, reply, error)

    def _take_back(self, connection: Connection, reply: Reply | str, error: BaseException | None) -> None:
        self._at_work -= 1
        self._hire()
        connection.answer(reply, error)

    # --- who has to go

    def _sweep(self) -> None:
        """Let go who has been idle for too long, which in a crowd is soon; and look again in a moment."""
        now, crowd = time.monotonic(), len(self._idle) - self._server.max_connections
        for number, caller in enumerate(list(self._idle)):
            patience = _DRAIN_SECONDS if caller.state is State.LEAVING else self._server.timeout
            if now - caller.since > (min(patience, _GRACE_SECONDS) if number < crowd else patience):
                self._dismiss(caller, "the caller took too long")
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _dismiss(self, caller: Connection, why: str) -> None:
        del self._idle[caller]
        caller.dismiss(why)

    def _hear_of_mishap(self, _: asyncio.AbstractEventLoop, mishap: dict[str, Any]) -> None:
        """Print nothing. Where the system has no more sockets, let half of the idle go: asyncio knocks again by itself."""
        if getattr(mishap.get("exception"), "errno", None) in _NO_ROOM:
            for caller in list(self._idle)[: len(self._idle) // 2 + 1]:
                self._dismiss(caller, "others were waiting")


# --- options and sockets --------------------------------------------------------------------------


def _check_options(timeout: object, max_connections: object, port: object) -> None:
    if type(timeout) not in (int, float) or not 0 < timeout <= 86400:
        raise errors.OptionRefused("timeout", f"{timeout!r} is not a number of seconds, more than 0, a day at most")
    if type(max_connections) is not int or max_connections < 1:
        raise errors.OptionRefused("max_connections", f"{max_connections!r} is not a whole number, 1 or more")
    if port is not None and (type(port) is not int or not 0 <= port <= 65535):
        raise errors.OptionRefused("port", f"{port!r} is not a port; give a number from 0 (any free one) to 65535")


def _listen(wanted: int | None) -> list[socket.socket]:
    """Open a listener on each loopback address, all with the same port."""
    free = (0,) * 20  # a free port of one address may be taken on the other: draw again
    for port in (USUAL_PORT, *free) if wanted is None else (wanted,) if wanted else free:
        listeners: list[socket.socket] = []
        try:
            for family, address in LOOPBACK:
                if family != socket.AF_INET6 or _has_ipv6_loopback():
                    listeners.append(socket.create_server((address, port), family=family, backlog=_BACKLOG))
                    port = listeners[0].getsockname()[1]
            return listeners
        except OSError as error:
            for listener in listeners:
                listener.close()
            if error.errno == errno.EACCES and wanted is not None:  # nobody asked for 3000: draw another
                raise errors.OptionRefused("port", f"{port} needs more rights; take one from 1024 up") from None
    raise errors.PortInUse(wanted or 0)


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
