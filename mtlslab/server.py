"""An HTTPS server that asks its callers for a certificate, and remembers each visit.

`Server` is what its user holds. `_Hall` is its other half, in a thread of its own: an asyncio loop, in which every
caller is a `mtlslab.connection.Connection`. Who stops in the middle of a handshake costs a socket, and holds up nobody.
A thread is for who is being answered by an app.

Room is bounded. When more callers are idle than `max_connections`, the longest idle ones have to go, so idle callers
cannot shut out honest ones. A moment of grace is everybody's, so a burst cannot either.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Self

from cryptography import x509

from mtlslab import errors
from mtlslab.connection import Connection, State
from mtlslab.contexts import ClientAuth, Terms, all_of
from mtlslab.credentials import Credential
from mtlslab.exchanges import FAILED, App, Reply, Request, Visit

__all__ = ["App", "Reply", "Request", "Server", "Visit", "hello_world"]

USUAL_PORT = 3000
"""The article's port, taken when it is free and no other was asked for."""

LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""Both addresses that `localhost` may mean: whoever dials either must reach this server and no other."""

_SETTLE_SECONDS, _STOP_SECONDS = 1.0, 0.5

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


_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""What the system says where it has no ::1."""


def hello_world(_: Request) -> str:
    """Answer as the article's server does."""
    return "Hello World\n"


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
        self._terms = Terms(tune, credential=credential, client_ca=authorities, client_auth=client_auth, crls=crls)
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
            self._changed.wait_for(lambda: self._hall is None or self._hall.is_settled(), _SETTLE_SECONDS)
            return list(self._visits)

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

    def __exit__(self, *_: object) -> None:
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
        self._terms.change(crls=crls)

    def drain(self, timeout: float = 1.0) -> int:
        """Have every caller who is connected now leave after its next reply (`Connection: close`, RFC 9112 §9.6).

        Waits up to `timeout` seconds for that; returns how many are still there. They are not cut off: an idle one is
        told with its next reply, whenever it asks for it.
        """
        return self._hall.drain(timeout) if self._hall else 0

    def hang_up(self, certificate: x509.Certificate) -> int:
        """Cut every connection of the caller with this certificate, whatever is under way. Returns how many it were."""
        return self._hall.hang_up(certificate) if self._hall else 0


class _Hall:
    """The server's other half: who is there, in a loop and a thread of its own."""

    def __init__(self, server: Server, listeners: list[socket.socket]) -> None:
        self._server = server
        self.next_context, self.changed = server._terms.next_context, server._changed
        self.callers: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # those whom we do not work for, the longest idle first
        opened = threading.Event()
        run = partial(asyncio.run, self._serve(listeners, opened))
        self._thread = threading.Thread(target=run, name="mtlslab-server", daemon=True)
        self._thread.start()
        opened.wait()

    async def _serve(self, sockets: list[socket.socket], opened: threading.Event) -> None:
        self.loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self.loop.set_exception_handler(self._hear_of_mishap)
        doors = [await self.loop.create_server(lambda: Connection(self), sock=one, backlog=_BACKLOG) for one in sockets]
        opened.set()
        self._sweep()
        await self._closing.wait()
        with suppress(NotImplementedError):  # Windows: there who is let in is here at once
            [self.loop.remove_reader(one) for one in sockets]
        for _ in range(10):  # rounds, until who has just been let in is here: asyncio loses them once a door is closed
            await asyncio.sleep(0)
        for door in doors:
            door.close()
        for caller in [caller for caller in self.callers if caller.state is not State.LEAVING]:
            caller.dismiss("the server was stopped")
        end = time.monotonic() + _STOP_SECONDS
        while self.callers and time.monotonic() < end:  # noqa: ASYNC110 (the last word of who was refused is to arrive)
            await asyncio.sleep(0.005)
        for caller in self.callers:
            caller.transport.abort()
        await asyncio.sleep(0)

    def close(self) -> None:
        """Take leave of everyone, and end the loop."""
        self.loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def is_settled(self) -> bool:
        """Tell whether there is nobody who has only just come, and of whom a visit may still come."""
        undecided = [c for c in tuple(self.callers) if not c.is_decided and c.state is not State.ANSWERING]
        return not any(time.monotonic() - caller.since < _SETTLE_SECONDS for caller in undecided)

    def drain(self, timeout: float) -> int:
        there = tuple(self.callers)
        for caller in there:
            caller.http.is_last = True
        return _left_of(self, there, timeout)

    def hang_up(self, certificate: x509.Certificate) -> int:
        known = [caller for caller in tuple(self.callers) if caller.tls.client == certificate]
        for caller in known:
            self.loop.call_soon_threadsafe(caller.transport.abort)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result()  # by then, their sockets are closed
        return len(known)

    # --- what connections ask of it: `mtlslab.connection.Keeper`

    def moved(self, connection: Connection) -> None:
        """Put who comes in, or goes on, at the end of the line. Where it is too long, the first one has to go."""
        self.callers.add(connection)
        self._idle.pop(connection, None)
        if connection.state is not State.ANSWERING:
            self._idle[connection] = None
        if len(self.callers) > self._server.max_connections + _CROWD and self._idle:
            self._dismiss(next(iter(self._idle)), "others were waiting")

    def gone(self, connection: Connection) -> None:
        self.callers.discard(connection)
        self._idle.pop(connection, None)
        with self.changed:
            self.changed.notify_all()

    def remember(self, visit: Visit) -> None:
        with self.changed:
            self._server._visits.append(visit)
            self.changed.notify_all()

    def ask(self, connection: Connection, request: Request) -> None:
        """Have a request answered: the greeting at once, an app's answer in a thread.

        A daemon, unlike the threads of concurrent.futures: an app that never returns does not hold up the exit.
        """
        if self._server.app is hello_world:
            self.loop.call_soon(connection.answer, hello_world(request))
        else:
            threading.Thread(target=self._work, args=(connection, request), daemon=True).start()

    def _work(self, connection: Connection, request: Request) -> None:
        try:
            answer: tuple[Reply | str, BaseException | None] = self._server.app(request), None
        except BaseException as raised:
            answer = FAILED, raised
        with suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(connection.answer, *answer)

    # --- who has to go

    def _sweep(self) -> None:
        """Let go who has been idle for too long, which in a crowd is soon; and look again in a moment."""
        now, crowd = time.monotonic(), len(self._idle) - self._server.max_connections
        for number, caller in enumerate(list(self._idle)):
            patience = _DRAIN_SECONDS if caller.state is State.LEAVING else self._server.timeout
            if now - caller.since > (min(patience, _GRACE_SECONDS) if number < crowd else patience):
                self._dismiss(caller, "the caller took too long")
        self.loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _dismiss(self, caller: Connection, why: str) -> None:
        del self._idle[caller]
        caller.dismiss(why)

    def _hear_of_mishap(self, _: asyncio.AbstractEventLoop, mishap: dict[str, Any]) -> None:
        """Print nothing. Where there are no more sockets, half of the idle have to go: asyncio soon tries again."""
        if getattr(mishap.get("exception"), "errno", None) in _NO_ROOM:
            for caller in list(self._idle)[: len(self._idle) // 2 + 1]:
                self._dismiss(caller, "others were waiting")


def _left_of(hall: _Hall, callers: Iterable[Connection], timeout: float) -> int:
    """Wait until callers have gone, or have been taken leave of; return how many have not."""

    def left() -> int:
        return sum(one in hall.callers and one.state is not State.LEAVING for one in callers)

    with hall.changed:
        hall.changed.wait_for(lambda: not left(), timeout)
        return left()


# --- options and sockets --------------------------------------------------------------------------


def _check_options(timeout: Any, max_connections: Any, port: Any) -> None:
    if type(timeout) not in (int, float) or not 0 < timeout <= 86400:
        raise errors.OptionRefused("timeout", f"{timeout!r} is not a number of seconds, more than 0, a day at most")
    if type(max_connections) is not int or max_connections < 1:
        raise errors.OptionRefused("max_connections", f"{max_connections!r} is not a whole number, 1 or more")
    if port is not None and (type(port) is not int or not 0 <= port <= 65535):
        raise errors.OptionRefused("port", f"{port!r} is not a port; give a number from 0 (any free one) to 65535")


def _listen(wanted: int | None) -> list[socket.socket]:
    """Open a listener on each loopback address that this machine has, all with the same port."""
    free = (0,) * 20  # a free port of one address may be taken on the other: draw again
    for port in (USUAL_PORT, *free) if wanted is None else (wanted,) if wanted else free:
        with ExitStack() as opened:
            listeners: list[socket.socket] = []
            try:
                for family, address in LOOPBACK:
                    same = listeners[0].getsockname()[1] if listeners else port
                    listener = socket.create_server((address, same), family=family, backlog=_BACKLOG)
                    listeners.append(opened.enter_context(listener))
            except OSError as error:
                if error.errno == errno.EACCES and wanted is not None:  # nobody asked for 3000: draw another
                    raise errors.OptionRefused("port", f"{port} needs more rights; take one from 1024 up") from None
                if error.errno not in _NO_SUCH_ADDRESS or not listeners:
                    continue
            opened.pop_all()
            return listeners
    raise errors.PortInUse(wanted or 0)
