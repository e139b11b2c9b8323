"""Other people's Python servers, in a thread of this process: on a free port of the loopback, and gone afterwards.

Each function is a context manager that yields the server's URL. Its options are the server's own, by the names that
its documentation gives them; what it adds keeps the server's log out of the notebook. Nothing is imported before it
is asked for: the course works without these packages.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mtlslab import errors, failures

PACKAGES = {
    "uvicorn": "uvicorn",
    "hypercorn": "hypercorn",
    "gunicorn": "gunicorn",
    "aiohttp": "aiohttp",
    "grpc": "grpcio",
}
"""The modules that some notebooks use, and the package that pip installs each by."""

Serve = Callable[[socket.socket, Callable[[], Awaitable[object]]], Awaitable[object]]
"""Serves on a listening socket, until what its second argument returns has been awaited."""

_GRACE_SECONDS, _END_SECONDS = 5.0, 5.0
"""How long a server may take to end when asked to, before its tasks are cancelled; and how long from then on."""


def missing(*modules: str) -> tuple[failures.ProgramMissing, ...]:
    """Return an error for each module that is not installed, with the cure: empty if all are there."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    where = "Unix only" if sys.platform == "win32" and "gunicorn" in absent else "not installed"
    return tuple(
        failures.ProgramMissing(name, f"it is {where}", f"{sys.executable} -m pip install {PACKAGES.get(name, name)}")
        for name in absent
    )


def uvicorn(app: object, *, port: int = 0, **options: Any) -> Any:
    """Run `uvicorn.run(app, **options)`. Raises what `serving` raises."""
    module = _package("uvicorn")
    # Before 0.39 its ciphers are "TLSv1": it shares none with a careful client of TLS 1.2.
    settings = {"log_config": None, "log_level": "critical", "lifespan": "off", "ssl_ciphers": "DEFAULT", **options}

    async def serve(listener: socket.socket, stopped: Callable[[], Awaitable[object]]) -> None:
        server = module.Server(module.Config(app, **settings))
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listener]))
            await stopped()
            serving.cancel()  # asked to exit, it looks so every tenth of a second, and then waits for one more
        for door in getattr(server, "servers", ()):
            door.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await server.lifespan.shutdown()

    return serving("uvicorn", serve, port=port)


def hypercorn(app: object, *, port: int = 0, **options: Any) -> Any:
    """Run hypercorn with the attributes of its `Config`. Raises what `serving` raises."""
    module, settings = _package("hypercorn.asyncio"), _package("hypercorn.config")
    config = settings.Config()
    for name, value in {"errorlog": None, "accesslog": None, "graceful_timeout": 0.5, **options}.items():
        setattr(config, name, value)

    async def serve(listener: socket.socket, stopped: Callable[[], Awaitable[object]]) -> None:
        secure, plain = ([listener], []) if config.ssl_enabled else ([], [listener])
        config.create_sockets = lambda: settings.Sockets(secure, plain, [])  # and none for QUIC
        await module.serve(app, config, shutdown_trigger=stopped)

    return serving("hypercorn", serve, port=port)


def aiohttp(app: object, *, port: int = 0, **options: Any) -> Any:
    """Run `aiohttp.web.run_app(app, **options)`. Raises what `serving` raises."""
    web = _package("aiohttp.web")

    async def serve(listener: socket.socket, stopped: Callable[[], Awaitable[object]]) -> None:
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.SockSite(runner, listener, **options).start()
            await stopped()
        finally:
            await runner.cleanup()

    return serving("aiohttp", serve, port=port)


def _package(module: str) -> Any:
    for error in missing(module.partition(".")[0]):
        raise error
    return importlib.import_module(module)


@contextmanager
def serving(name: str, serve: Serve, *, port: int = 0, timeout: float = 10.0) -> Iterator[str]:
    """Run an asyncio server in a thread until the block ends, however it ends; yield its URL once it answers.

    Raises `errors.PortInUse`, and `errors.ServerFailed` if the server ends, or says nothing for `timeout` seconds.
    """
    running = _Running(name, serve, port)
    running.start()
    try:
        running.wait_until_it_answers(timeout)
        yield f"https://localhost:{running.port}"
    finally:
        running.stop()


class _Running(threading.Thread):
    def __init__(self, name: str, serve: Serve, port: int) -> None:
        super().__init__(name=name, daemon=True)
        # Named by its protocol, or asyncio does not switch Nagle's algorithm off: 40 ms for each reply in two pieces.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if sys.platform != "win32":
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", port))
            self._listener.listen()
        except OSError:
            self._listener.close()
            raise errors.PortInUse(port) from None
        self.port: int = self._listener.getsockname()[1]
        self._serve = serve
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # what a caller's end does to a server is not for the page
        self._asked_to_stop = asyncio.Event()
        self._task: asyncio.Future[object] | None = None
        self._problem = ""

    def run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._until_stopped())
        except BaseException as error:  # SystemExit, too: uvicorn's word for a bad start
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self._problem = f"{type(error).__name__}: {error}"
        finally:
            self._listener.close()

    async def _until_stopped(self) -> None:
        self._task = asyncio.ensure_future(self._serve(self._listener, self._asked_to_stop.wait))
        with suppress(asyncio.CancelledError):
            await self._task

    def wait_until_it_answers(self, timeout: float) -> None:
        """Greet the server as a TLS client, and wait for its first byte: then it is up, whatever it thinks of us."""
        hello = ssl.MemoryBIO()
        greeting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        with suppress(ssl.SSLWantReadError):
            greeting.do_handshake()
        hung_up = True
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout) as probe:
                probe.sendall(hello.read())
                if probe.recv(1):
                    return
        except TimeoutError:
            hung_up = False
        except OSError:
            pass
        self.join(0.5 if hung_up else 0)  # it may be about to end
        silent = f"it does not answer a TLS client within {timeout:g} s" if self.is_alive() else "it has ended"
        raise failures.ServerFailed(self.name, self._problem or silent)

    def stop(self) -> None:
        for end, patience in ((self._asked_to_stop.set, _GRACE_SECONDS), (self._cancel, _END_SECONDS)):
            with suppress(RuntimeError):  # its loop is closed: it has ended
                self._loop.call_soon_threadsafe(end)
            self.join(patience)
            if not self.is_alive():
                return

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
