"""Python's servers in a thread: up when the block begins, gone when it ends, and a clear error in between."""

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import TestCase

import httpx
import pytest

from mtlslab import CertificateAuthority, errors, failures, request
from mtlslab.contexts import client_context, server_context
from mtlslab.notebook import servers
from mtlslab.profiles import SERVER

Stopped = Callable[[], Awaitable[object]]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    ca = CertificateAuthority.create("example-ca")
    ca.save(folder)
    ca.issue("localhost", SERVER, names=["localhost"]).save(folder, "server")
    return folder


def greeting(lab: Path) -> servers.Serve:
    """Serve `hello` to everybody with asyncio's own server."""
    ca = CertificateAuthority.load(lab)
    context = server_context(ca.issue("localhost", SERVER, names=["localhost"]), client_auth="none")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async def serve(listener: socket.socket, stopped: Stopped) -> None:
        server = await asyncio.start_server(answer, sock=listener, ssl=context)
        await stopped()
        server.close()

    return serve


def nobody_listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")}


def test_it_answers_inside_the_block_and_is_gone_behind_it(lab: Path) -> None:
    """The URL works as soon as it is known; afterwards port and thread are free again, three times in a row."""
    before = threads()
    for _ in range(3):
        with servers.serving("greeting", greeting(lab)) as url:
            assert request(url, cacert=lab / "ca.crt").text == "hello"
        assert nobody_listens(url)
    assert threads() <= before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_it_is_gone_however_the_block_ends(lab: Path, error: type[BaseException]) -> None:
    """An interrupt, an exit and an error in the block all end the server, and get through."""
    before, urls = threads(), []

    def leave(url: str) -> None:
        urls.append(url)
        raise error

    with pytest.raises(error), servers.serving("greeting", greeting(lab)) as url:
        leave(url)
    assert nobody_listens(urls[0])
    assert threads() <= before


def test_a_taken_port_is_named(lab: Path) -> None:
    """Who asks for a port that another program holds is told which, and nothing has been started."""
    before = threads()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.PortInUse, match=str(port)), servers.serving("greeting", greeting(lab), port=port):
            pass
    assert threads() <= before


async def raises(_: socket.socket, __: Stopped) -> None:
    raise OSError("no such certificate")


async def exits(_: socket.socket, __: Stopped) -> None:
    sys.exit(3)


async def ends(_: socket.socket, __: Stopped) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("serve", "said"), [(raises, "no such certificate"), (exits, "SystemExit: 3"), (ends, "it has ended")]
)
def test_a_server_that_does_not_come_up_says_why(serve: servers.Serve, said: str) -> None:
    """A server that raises, exits or ends at its start is an error with its own words, and nothing is left running."""
    before = threads()
    with pytest.raises(failures.ServerFailed, match=said) as caught, servers.serving("broken", serve):
        pass
    assert caught.value.server == "broken"
    assert threads() <= before


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing is an error after the time-out, and is ended."""
    monkeypatch.setattr(servers, "_GRACE_SECONDS", 0.1)

    async def silent(listener: socket.socket, _: Stopped) -> None:
        listener.setblocking(False)
        await asyncio.get_running_loop().sock_accept(listener)
        await asyncio.sleep(3600)

    before = threads()
    with pytest.raises(failures.ServerFailed, match="does not answer"), servers.serving("silent", silent, timeout=0.2):
        pass
    assert threads() <= before


def test_a_stubborn_server_is_ended(monkeypatch: pytest.MonkeyPatch, lab: Path) -> None:
    """A server that does not stop when asked to is cancelled."""
    monkeypatch.setattr(servers, "_GRACE_SECONDS", 0.1)

    async def stubborn(listener: socket.socket, stopped: Stopped) -> None:
        await greeting(lab)(listener, lambda: asyncio.sleep(3600))

    before = threads()
    with servers.serving("stubborn", stubborn) as url:
        assert request(url, cacert=lab / "ca.crt").text == "hello"
    assert threads() <= before
    assert nobody_listens(url)


def test_a_reply_in_two_pieces_waits_for_nobody(lab: Path) -> None:
    """Nagle's algorithm is off for each caller: with it, a second piece waits 40 ms for an ACK."""
    seen: list[bool] = []

    async def looks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        seen.append(bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
        writer.write(b"!")
        writer.close()

    async def serve(listener: socket.socket, stopped: Stopped) -> None:
        async with await asyncio.start_server(looks, sock=listener):
            await stopped()

    with servers.serving("looks", serve):
        assert seen == [True]


def test_a_mishap_in_a_callback_stays_out_of_the_notebook(lab: Path) -> None:
    """What asyncio would log of an error that nobody awaits is not logged: without handlers, logging prints."""

    async def stumbles(listener: socket.socket, stopped: Stopped) -> None:
        asyncio.get_running_loop().call_soon([].pop)
        await greeting(lab)(listener, stopped)

    with TestCase().assertNoLogs(), servers.serving("stumbles", stumbles) as url:
        assert request(url, cacert=lab / "ca.crt").text == "hello"


def test_a_server_that_dies_in_between_leaves_nothing(lab: Path) -> None:
    """If it dies while it serves, callers are told, and the block ends as always."""
    dead = threading.Event()

    async def mortal(listener: socket.socket, stopped: Stopped) -> None:
        serving = asyncio.ensure_future(greeting(lab)(listener, stopped))
        await asyncio.to_thread(dead.wait)
        serving.cancel()

    before = threads()
    with servers.serving("mortal", mortal) as url:
        dead.set()
        while not nobody_listens(url):
            time.sleep(0.01)  # or the queue of callers is full, and the next of them waits a second
        assert request(url, cacert=lab / "ca.crt").refusal is not None
    assert threads() <= before


def test_who_stays_connected_does_not_hold_up_uvicorn_s_end(lab: Path) -> None:
    """A caller who keeps a connection open is cut off, and the application is told of the end, as of the beginning."""
    pytest.importorskip("uvicorn")
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan" and "lifespan.shutdown" not in told:
            told.append((await receive())["type"])
            await send({"type": f"{told[-1]}.complete"})
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    pair: dict[str, Any] = {"ssl_certfile": str(lab / "server.crt"), "ssl_keyfile": str(lab / "server.key")}
    with httpx.Client(verify=client_context(cacert=lab / "ca.crt"), trust_env=False) as caller:
        with servers.uvicorn(app, lifespan="on", **pair) as url:
            assert caller.get(url).status_code == 204
        assert nobody_listens(url)
    assert told == ["lifespan.startup", "lifespan.shutdown"]


def test_what_is_missing_comes_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not installed is named, with the command that installs it, by its name at PyPI."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("uvicorn", "grpc") else object())
    found = servers.missing("uvicorn", "aiohttp", "grpc")
    assert [error.program for error in found] == ["uvicorn", "grpc"]
    assert "pip install grpcio" in found[1].cure
    with pytest.raises(failures.ProgramMissing, match="pip install uvicorn"):
        servers.uvicorn(None)


BAD_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("uvicorn", {"ssl_certfile": "none.crt", "ssl_keyfile": "none.key"}),
    ("uvicorn", {"ssl_certfile": "server.crt", "ssl_keyfile": "ca.key"}),
    ("uvicorn", {"http": "nonsense"}),
    ("hypercorn", {"certfile": "none.crt", "keyfile": "none.key"}),
    ("hypercorn", {"certfile": "server.crt", "keyfile": "ca.key"}),
    ("aiohttp", {"ssl_context": "nonsense"}),
]


@pytest.mark.parametrize(("name", "options"), BAD_OPTIONS)
def test_a_bad_option_is_an_error_at_once(
    name: str, options: dict[str, Any], lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each server's own complaint about its options reaches the reader, without its log, and no thread stays."""
    pytest.importorskip(name)
    monkeypatch.chdir(lab)
    before = threads()
    application: Any = None
    if name == "aiohttp":
        from aiohttp import web

        application = web.Application()
    with pytest.raises(failures.ServerFailed, match=name) as caught, getattr(servers, name)(application, **options):
        pass
    assert "PRIVATE KEY" not in str(caught.value)
    assert threads() <= before
