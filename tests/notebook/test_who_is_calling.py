"""What notebook 10 builds, run as it stands on the page: five servers and their callers, and fifty impostors."""

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

import notebook_form
from mtlslab import CertificateAuthority, Credential, Server
from mtlslab.contexts import TLSVersion, client_context, server_context, show
from mtlslab.notebook import programs, servers
from mtlslab.probe.wire import Wire, Written
from mtlslab.profiles import CLIENT, SERVER
from notebook_rules import Cell, Notebook

PAGE = notebook_form.NOTEBOOKS / "10-who-is-calling.ipynb"
ALICE = "https://callers.example/alice"
VERSIONS: tuple[TLSVersion, ...] = ("1.2", "1.3")
Asks = Literal["required", "optional", "forgotten"]
HTTP_SERVERS = ("uvicorn", "hypercorn", "gunicorn", "aiohttp")


ASIDE = ("constrained-callers", "silence", "four-doors")
"""The cells whose names nobody asks for here."""


@functools.cache
def cells() -> tuple[list[Cell], list[Cell]]:
    """Return the page's cells until it comes to other servers, and from there; no exercises, and not what is aside."""
    code = [cell for cell in Notebook(PAGE).code if cell.id not in ASIDE and not cell.is_exercise]
    place = next(place for place, cell in enumerate(code) if cell.id == "knock")
    return code[:place], code[place:]


def run(some: list[Cell], names: dict[str, Any]) -> dict[str, Any]:
    """Run some of the page's cells; return the names, with theirs."""
    for cell in some:
        exec(compile(cell.source, f"{PAGE.name} {cell.id}", "exec"), names)
    return names


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's cells define before it comes to other people's servers."""
    (set_up, *others), _ = cells()
    folder = tmp_path_factory.mktemp("page")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        names = run([set_up], {"__name__": "page_10"})
        names["lab"] = folder.resolve() / names["lab"]
        return run(others, names)


@pytest.fixture(scope="module")
def page(callers: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The names that the page's cells define, up to the exercises.

    The servers that they set up have run where the notebook did: here it is the tests that start them, and knock.
    """

    def idle(*_: object, **__: object) -> Any:
        return contextlib.nullcontext(SimpleNamespace(url="", log=()))

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            module = importlib.import_module("hypercorn.asyncio.run")
            stack.callback(setattr, module, "TCPServer", module.TCPServer)
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
            for name in ("servers.uvicorn", "servers.hypercorn", "servers.aiohttp", "programs.serving"):
                patch.setattr(f"mtlslab.notebook.{name}", idle)
            _, (knock, *others) = cells()
            names = run([knock], dict(callers))
            names["knock"] = lambda _: [""] * len(names["people"])
            run([cell for cell in others if cell.id != "find-out-who"], names)
        yield names


def test_the_page_goes_on_without_the_packages(
    callers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where none of the five is installed, each of their cells says how to get it, and the others do without."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in servers.PACKAGES else object())
    names = run(cells()[1], dict(callers))
    said = capsys.readouterr().out
    for package in servers.PACKAGES.values():
        assert f"pip install {package}" in said
    assert names["results"] == {}


# --- the servers' rows ----------------------------------------------------------------------------


def started(page: dict[str, Any], name: str, asks: Asks) -> AbstractContextManager[str]:
    """Run a server as the page does: it insists, or takes no for an answer, or knows whom to trust and does not ask."""
    pytest.importorskip(name)
    mode = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "forgotten": None}[asks]
    if name == "uvicorn":
        extra = {} if mode is None else {"ssl_cert_reqs": mode}
        return servers.uvicorn(page["app"], http=page["WhoIsCalling"], **page["options"], **extra)  # type: ignore[no-any-return]
    if name == "hypercorn":
        extra = {} if mode is None else {"verify_mode": mode}
        return servers.hypercorn(page["app"], **page["files"], **extra)  # type: ignore[no-any-return]
    if name == "gunicorn":
        tls = page["TLS"].removesuffix(" --cert-reqs 2") + ("" if mode is None else f" --cert-reqs {int(mode)}")
        return in_gunicorn(page, tls)
    context = server_context(page["server"], client_ca=page["ca"].certificate)
    context.verify_mode = ssl.CERT_NONE if mode is None else mode  # the server's
    return servers.aiohttp(new_aiohttp(page), ssl_context=context)  # type: ignore[no-any-return]


@contextmanager
def in_gunicorn(page: dict[str, Any], tls: str) -> Iterator[str]:
    with programs.serving(page["GUNICORN"] + tls, page["lab"], announced=page["LISTENS"]) as running:
        try:
            yield running.url
        finally:  # asked to end, it takes a third of a second to
            os.kill(running.pid, signal.SIGKILL)


def new_aiohttp(page: dict[str, Any]) -> Any:
    application = page["web"].Application()
    application.router.add_get("/", page["hello"])
    return application


def knock(page: dict[str, Any], url: str, caller: Credential | None, version: TLSVersion) -> str:
    """Call as the page does. Returns the status and the text, or "refused"."""
    answer = page["call"](url, caller, tls_max=version)
    if answer.refusal:
        assert answer.refusal.by == "server"
        return "refused"
    return f"{answer.status} {answer.text}".strip()


IN = f"200 {ALICE}"


@pytest.fixture(scope="module")
def insisting(page: dict[str, Any]) -> Iterator[Callable[[str], str]]:
    """Start each server that insists once, when it is first asked for; return its URL."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda name: stack.enter_context(started(page, name, "required")))


@pytest.mark.parametrize("name", HTTP_SERVERS)
def test_a_server_that_insists_lets_alice_in_and_knows_her(
    page: dict[str, Any], insisting: Callable[[str], str], name: str
) -> None:
    """Each server's row of the page's table, with TLS 1.2 too: alice by her name, and the other three refused."""
    said = [knock(page, insisting(name), caller, "1.2") for caller in page["people"].values()]
    assert list(page["people"]) == ["alice", "a stranger", "alice, expired", "nobody"]
    assert said == [IN, "refused", "refused", "refused"]


@pytest.mark.parametrize(("name", "version"), [*zip(HTTP_SERVERS, cycle(VERSIONS), strict=False)])
def test_the_forgotten_switch_lets_everybody_in(page: dict[str, Any], name: str, version: TLSVersion) -> None:
    """A CA without the word to ask asks nobody: all are in, alice unknown. This is how the page says they fail open."""
    with started(page, name, "forgotten") as url:
        said = {knock(page, url, caller, version) for caller in page["people"].values()}
    assert len(said) == 1
    assert "refused" not in said
    assert ALICE not in said.pop()


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn", "aiohttp"])
def test_optional_lets_nobody_through_to_the_application(page: dict[str, Any], name: str) -> None:
    """With CERT_OPTIONAL a bad certificate is refused and a missing one is not: the page's applications know nobody."""
    with started(page, name, "optional") as url:
        said = {who: knock(page, url, caller, "1.3") for who, caller in page["people"].items()}
    assert said["alice"] == IN
    assert said["a stranger"] == said["alice, expired"] == "refused"
    assert said["nobody"] not in ("refused", IN)


@pytest.mark.parametrize("name", HTTP_SERVERS)
def test_who_is_held_up_by_a_silent_caller(page: dict[str, Any], insisting: Callable[[str], str], name: str) -> None:
    """One caller who says nothing blocks gunicorn's default worker; the asyncio servers answer alice meanwhile."""
    url = insisting(name)
    with socket.create_connection(("localhost", int(url.rpartition(":")[2]))):
        answer = page["call"](url, page["alice"], timeout=0.2 if name == "gunicorn" else 10)
    assert (answer.refusal.reason if answer.refusal else answer.text) == ("timed-out" if name == "gunicorn" else ALICE)


def test_middleware_that_trusts_a_missing_extension_fails_open(page: dict[str, Any]) -> None:
    """No TLS extension is filled by uvicorn: middleware that needs none to pass lets in who shows no certificate."""
    pytest.importorskip("uvicorn")
    seen: list[object] = []

    async def notes(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        seen.append(scope.get("extensions", {}).get("tls"))
        await page["trusting"](scope, receive, send)

    middleware = page["certified_only"](notes)
    with servers.uvicorn(middleware, ssl_cert_reqs=ssl.CERT_OPTIONAL, **page["options"]) as url:
        assert knock(page, url, None, "1.3") == knock(page, url, page["alice"], "1.3") == "200 welcome"
    assert seen == [None, None]


def test_gunicorn_says_why(page: dict[str, Any], insisting: Callable[[str], str]) -> None:
    """The caller gets an alert with TLS 1.2, too, as the page's table says; its log is on the page."""
    pytest.importorskip("gunicorn")
    alerts = {page["call"](insisting("gunicorn"), None, tls_max="1.2").refusal.alert for _ in range(3)}
    assert alerts == {"handshake_failure"}


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn", "aiohttp"])
def test_asyncio_can_be_made_to_say_why(page: dict[str, Any], name: str) -> None:
    """With the page's lines in the running loop, asyncio tells each refusal with OpenSSL's reason."""
    pytest.importorskip(name)
    page["refused"].clear()
    if name == "aiohttp":
        context = server_context(page["server"], client_ca=page["ca"].certificate)
        application = new_aiohttp(page)

        async def begin(_: object) -> None:
            page["tell_refusals"]()

        application.on_startup.append(begin)
        serving = servers.aiohttp(application, ssl_context=context)
    elif name == "hypercorn":
        serving = servers.hypercorn(page["telling"], verify_mode=ssl.CERT_REQUIRED, **page["files"])
    else:
        required = {**page["options"], "ssl_cert_reqs": ssl.CERT_REQUIRED}
        serving = servers.uvicorn(page["telling"], lifespan="on", **required)
    with serving as url:
        for version in VERSIONS:
            assert knock(page, url, None, version) == knock(page, url, page["expired"], version) == "refused"
    told = "\n".join(map(str, page["refused"]))
    assert told.count("PEER_DID_NOT_RETURN_A_CERTIFICATE") == 2
    assert told.count("certificate has expired") == 2


# --- gRPC -----------------------------------------------------------------------------------------


@contextmanager
def grpc_server(page: dict[str, Any], insists: bool, answer: Callable[..., bytes] | None = None) -> Iterator[int]:
    grpc = pytest.importorskip("grpc")
    lab = page["lab"]
    pair = [((lab / "server.key").read_bytes(), (lab / "server.crt").read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, (lab / "ca.crt").read_bytes(), require_client_auth=insists)
    method = grpc.unary_unary_rpc_method_handler(answer or page["answer_with_name"])
    server = grpc.server(page["ThreadPoolExecutor"](2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("lab.Who", {"Call": method})])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def hears_back(page: dict[str, Any], port: int, caller: Credential | None, version: TLSVersion) -> bool:
    """Shake hands as an HTTP/2 client, and tell whether gRPC then speaks: it begins with its settings."""
    context = client_context(cacert=page["lab"] / "ca.crt", tls_max=version)
    context.set_alpn_protocols(["h2"])
    if caller is not None:
        show(context, caller)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            return bool(tls.recv(1))
    except OSError:
        return False


def test_grpc_that_insists_knows_alice(page: dict[str, Any]) -> None:
    """The row of gRPC: alice by her name; a stranger, an expired certificate and nobody refused; TLS 1.2 and 1.3."""
    pytest.importorskip("grpc")
    assert page["results"]["gRPC"] == [f"OK {ALICE}", *["UNAVAILABLE"] * 3]
    with grpc_server(page, insists=True) as port:
        for version in VERSIONS:
            heard = {who: hears_back(page, port, caller, version) for who, caller in page["people"].items()}
            assert heard == {who: who == "alice" for who in page["people"]}, version


def test_grpc_that_does_not_insist_asks_nobody(page: dict[str, Any]) -> None:
    """Without require_client_auth=True everybody is in, alice unknown: gRPC's way to fail open."""
    with grpc_server(page, insists=False) as port:
        said = {page["ask"](f"localhost:{port}", caller) for caller in page["people"].values()}
    assert said == {"OK nobody I know"}


def test_our_clients_have_a_name_in_grpc(page: dict[str, Any]) -> None:
    """`peer_identities` tells our callers apart; with a directoryName alone, everybody is `other types of SAN`."""
    with grpc_server(page, insists=True, answer=lambda _, context: b"|".join(context.peer_identities())) as port:
        target = f"localhost:{port}"
        for name in ("alice", "bob"):
            assert page["ask"](target, page["ca"].issue(name, CLIENT)) == f"OK https://callers.example/{name}"
        for name in ("alice", "bob"):
            directory = x509.DirectoryName(x509.Name.from_rfc4514_string(f"CN={name}"))
            assert page["ask"](target, page["mint"](f"CN={name}", directory)) == "OK other types of SAN"


# --- fifty impostors ------------------------------------------------------------------------------


NAMES = [
    *("", "Alice", "ALICE", "alice/", "alice.", "alice ", " alice", "alice\n", "alice\x00", "alice\x00.evil"),
    *("alice#", "alice?x", "alice/..", "alice/admin", "admin/../alice", "./alice", "/alice", "%61lice", "alice%00"),
    *("%D0%B0lice", "alice,CN=admin", "alice;bob", "alice,bob", "malice", "alice2", "xn--lice-53d", "*"),
]
"""What may stand after https://callers.example/ without being alice."""

URIS = [
    *("http://callers.example/alice", "HTTPS://callers.example/alice", "https://callers.example:443/alice"),
    *("https://CALLERS.example/alice", "https://callers.example./alice", "https://alice@callers.example/"),
    *("https://callers.example.evil.example/alice", "https://evil.example/https://callers.example/alice"),
    *("https://callersxexample/alice", "https://partner.example/alice", "spiffe://callers.example/alice", "alice"),
    *(" https://callers.example/alice", "https://callers.example//alice", "https:/callers.example/alice"),
]


def lookalikes(page: dict[str, Any]) -> Iterator[tuple[str, Credential]]:
    """Whoever has a certificate from the right authority, and looks like alice to somebody."""
    mint, uri, dns, mail = page["mint"], page["URI"], page["DNS"], page["Email"]
    place = "https://callers.example/"
    for text in [*(place + name for name in NAMES), *URIS]:
        yield f"URI {text!r}", mint("CN=alice", uri(text))
    yield "two URIs, alice first", mint("CN=alice", uri(ALICE), uri(place + "mallory"))
    yield "two URIs, alice last", mint("CN=alice", uri(place + "mallory"), uri(ALICE))
    yield "alice twice", mint("CN=alice", uri(ALICE), uri(ALICE))
    yield "no SAN", mint("CN=alice")
    yield "the URI as a common name", mint("CN=" + ALICE)
    yield "the URI as a DNS name", mint("CN=alice", dns(ALICE))
    yield "the URI as an address", mint("CN=alice", mail(ALICE))
    yield "a directoryName", mint("CN=alice", x509.DirectoryName(x509.Name.from_rfc4514_string("CN=alice")))
    yield "two common names", mint("CN=alice,CN=mallory", uri(place + "mallory"))
    yield "mallory as herself", mint("CN=mallory", uri(place + "mallory"))


def strangers(page: dict[str, Any]) -> Iterator[tuple[str, Credential]]:
    """Whoever has alice's very name, and not from her authority, not for a client, or not for now."""
    mint, uri, ca = page["mint"], page["URI"], page["ca"]
    for name in ("example-ca", "partner-ca", "elsewhere-ca"):
        yield f"an unknown {name}", mint("CN=alice", uri(ALICE), by=CertificateAuthority.create(name))
    yield "the partner, who is trusted", mint("CN=alice", uri(ALICE), by=page["partner"])
    yield (
        "the partner, in its own place and ours",
        mint("CN=alice", uri("https://partner.example/alice"), uri(ALICE), by=page["partner"]),
    )
    yield "a server's certificate", ca.issue("alice", SERVER, names=["localhost", ALICE])
    yield (
        "one for signing code",
        ca.issue("alice", replace(CLIENT, extended_key_usage=(page["x509"].ObjectIdentifier("1.3.6.1.5.5.7.3.3"),))),
    )
    now = datetime.now(UTC)
    yield "last year's", ca.issue("alice", CLIENT, not_before=now - timedelta(days=400), days=30)
    yield "next year's", ca.issue("alice", CLIENT, not_before=now + timedelta(days=300), days=30)
    mallory = mint("CN=mallory", uri("https://callers.example/mallo"))
    signed = ca.issue("alice", CLIENT).certificate
    builder = x509.CertificateBuilder().subject_name(signed.subject).issuer_name(mallory.certificate.subject)
    builder = builder.serial_number(7).not_valid_before(signed.not_valid_before_utc)
    builder = builder.not_valid_after(signed.not_valid_after_utc)
    for one in signed.extensions:
        builder = builder.add_extension(one.value, one.critical)
    own = mallory.private_key
    yield "signed by mallory, a leaf", Credential(builder.public_key(own.public_key()).sign(own, hashes.SHA256()), own)
    altered = mallory.certificate.public_bytes(Encoding.DER).replace(b"example/mallo", b"example/alice")
    yield "altered after it was signed", Credential(x509.load_der_x509_certificate(altered), mallory.private_key)
    stolen = ca.issue("alice", CLIENT)
    yield "alice's certificate with another key", Credential(stolen.certificate, mallory.private_key)


@pytest.fixture(scope="module")
def alikes(page: dict[str, Any]) -> dict[str, Credential]:
    """The lookalikes, once for all tests."""
    return dict(lookalikes(page))


@pytest.fixture(scope="module")
def others(page: dict[str, Any]) -> dict[str, Credential]:
    """The strangers."""
    return dict(strangers(page))


def dialled(port: int, context: ssl.SSLContext, caller: Credential) -> int | None:
    try:
        show(context, caller)
    except Exception:
        return None  # OpenSSL does not even send it
    return Wire("127.0.0.1", port, "localhost", 10).ask(Written((), "localhost", "/reports/7"), context).status


def test_no_impostor_is_called_alice(
    page: dict[str, Any], alikes: dict[str, Credential], others: dict[str, Credential]
) -> None:
    """None of fifty gets a reply as alice, from TLS 1.2 or 1.3; the real one does, before and after them.

    TLS says no to a stranger, and each version does it in its own way. A lookalike gets past it with either, so every
    other one tries; the readers below, one of which decides here, are shown all of them.
    """
    knocking = dict(islice(alikes.items(), 0, None, 2))
    contexts = [client_context(cacert=page["lab"] / "ca.crt", tls_max=version) for version in VERSIONS]
    got: dict[str, set[int | None]] = {who: set() for who in (*knocking, *others)}
    with Server(page["server"], client_ca=page["both"], app=page["guarded"], port=0) as running:
        port = int(running.url.rpartition(":")[2])
        for context in contexts:
            assert dialled(port, context, page["alice"]) == 200
            for who, caller in others.items():
                got[who].add(dialled(port, context, caller))
        for (who, caller), context in zip(knocking.items(), cycle(contexts), strict=False):
            got[who].add(dialled(port, context, caller))
        assert [dialled(port, context, page["alice"]) for context in contexts] == [200, 200]
    assert not {who: statuses for who, statuses in got.items() if 200 in statuses}
    assert not {who for who in knocking if None in got[who]}


@pytest.mark.parametrize("reader", ["who", "the_name"])
def test_no_lookalike_is_called_alice_by_a_reader(
    page: dict[str, Any], alikes: dict[str, Credential], others: dict[str, Credential], reader: str
) -> None:
    """The page's two careful readers, without TLS before them, call no lookalike alice, and raise for none."""
    assert page[reader](page["ca"].issue("alice", CLIENT).certificate) in (ALICE, "alice")
    for who, caller in alikes.items():
        assert page[reader](caller.certificate) not in (ALICE, "alice"), who
    for who, caller in others.items():
        if reader == "who" and any(word in who for word in ("unknown", "partner", "leaf", "altered")):
            assert page["who"](caller.certificate) is None, who


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_connection_is_whose_it_was(
    page: dict[str, Any], insisting: Callable[[str], str], version: TLSVersion
) -> None:
    """A session of mallory's stays mallory's under uvicorn, and a session from another server opens no door."""
    pytest.importorskip("uvicorn")
    mallory = page["ca"].issue("mallory", CLIENT)
    context, stranger = (client_context(cacert=page["lab"] / "ca.crt", tls_max=version) for _ in range(2))
    show(context, mallory)
    with started(page, "uvicorn", "forgotten") as url:
        elsewhere, _, _ = resumed(stranger, url, None)
    url = insisting("uvicorn")
    session, first, _ = resumed(context, url, None)
    _, second, reused = resumed(context, url, session)
    assert "https://callers.example/mallory" in first
    assert "https://callers.example/mallory" in second
    assert reused
    assert resumed(stranger, url, elsewhere)[1] == ""


def resumed(
    context: ssl.SSLContext, url: str, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, str, bool]:
    """Ask for / with a session. Returns the new session, who the server says we are, and whether it was resumed."""
    port = int(url.rpartition(":")[2])
    text, reused, kept = b"", False, None
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while piece := tls.recv(4096):
            text += piece
        reused, kept = bool(tls.session_reused), tls.session
    return kept, text.decode(), reused
