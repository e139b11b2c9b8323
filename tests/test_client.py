"""curl's words: which options are refused, what is verified, and how each failure comes back."""

import contextlib
import errno
import inspect
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from given import CURL_VERSION, LOCALHOST, Call, Serve, needs_curl
from mtlslab import Answer, CertificateAuthority, Credential, Reply, Request, Server, errors, request
from mtlslab.client import exchange
from mtlslab.contexts import client_context, server_context
from mtlslab.credentials import certificate_pem, private_key_pem
from mtlslab.faults.verdicts import curl_exit_code
from mtlslab.profiles import SERVER
from mutants import mutants
from real_curl import exit_codes


def refusal_of(answer: Answer) -> tuple[str, str, int]:
    """Return who refused, why, and curl's exit code."""
    assert answer.refusal is not None, answer
    assert (answer.ok, answer.status, answer.text) == (False, None, "")
    return answer.refusal.by, answer.refusal.reason, answer.refusal.curl_exit_code


@pytest.fixture(scope="module")
def url(ca: CertificateAuthority, server_credential: Credential) -> Iterator[str]:
    """The address of an honest server, whose visits nobody counts."""
    with Server(server_credential, client_ca=ca.certificate, port=0) as server:
        yield server.url


# --- options --------------------------------------------------------------------------------------


def test_files_are_named_as_text_or_as_paths(url: str, files: Path) -> None:
    """Either way of naming a file works, for each of the three."""
    paths = {"cacert": "ca.crt", "cert": "client.crt", "key": "client.key"}
    for kind in (str, Path):
        options: dict[str, Any] = {option: kind(files / name) for option, name in paths.items()}
        assert request(url, **options).text == "Hello World\n"


def test_relative_paths_are_relative_to_the_working_folder(
    url: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in curl, and in the article."""
    monkeypatch.chdir(files)
    assert request(url, cacert="ca.crt", cert="client.crt", key="client.key").ok


def test_one_file_may_hold_certificate_and_key(
    url: str, call: Call, client_credential: Credential, tmp_path: Path
) -> None:
    """Without key=, the key is looked for beside the certificate, as in curl."""
    for number, parts in enumerate(
        (
            [certificate_pem(client_credential.certificate), private_key_pem(client_credential.private_key)],
            [private_key_pem(client_credential.private_key), certificate_pem(client_credential.certificate)],
        )
    ):
        combined = tmp_path / f"{number}.pem"
        combined.write_bytes(b"".join(parts))
        assert call(url, cert=combined, key=None).ok


def test_a_byte_order_mark_does_not_hide_a_ca(url: str, call: Call, files: Path, tmp_path: Path) -> None:
    """Editors on Windows begin a file with one; OpenSSL alone would find no certificate after it."""
    (tmp_path / "ca.crt").write_bytes(b"\xef\xbb\xbf" + (files / "ca.crt").read_bytes())
    assert call(url, cacert=tmp_path / "ca.crt").ok


def test_a_file_that_openssl_alone_refuses_is_named(call: Call, tmp_path: Path) -> None:
    """Where OpenSSL refuses a client's files that we can read, here for a weak key, the error names file and cure."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "weak")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    weak = Credential(builder.sign(key, hashes.SHA256()), key)
    certificate_path, key_path = weak.save(tmp_path, "client")
    with pytest.raises(errors.FileContents, match=r"OpenSSL does not take it .*have it issued again") as refused:
        call("https://localhost:1", cert=certificate_path, key=key_path)
    assert refused.value.path == certificate_path


BAD_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("tls_max", {"tls_max": "1.1"}),
    ("tls_max", {"tls_max": "TLSv1.3"}),
    ("tls_max", {"tls_max": 1.3}),
    ("key", {"cert": None}),
    ("timeout", {"timeout": 0}),
    ("timeout", {"timeout": -1}),
    ("timeout", {"timeout": "5"}),
    ("timeout", {"timeout": float("nan")}),
    ("method or headers", {"headers": {"X": "1\r\nY: 2"}}),
    ("method or headers", {"headers": {"X": "☃"}}),
    ("method or headers", {"headers": {"X": 1}}),
    ("method or headers", {"headers": {"X Y": "1"}}),
    ("method or headers", {"headers": {None: "1"}}),
    ("method or headers", {"headers": 7}),
    ("method or headers", {"headers": {"Content-Length": "7"}, "content": "x"}),
    ("method or headers", {"method": "G ET"}),
    ("method or headers", {"method": ""}),
    ("method or headers", {"method": None}),
    ("method or headers", {"method": 7}),
    ("content", {"content": 7}),
    ("content", {"content": ["x"]}),
    ("content", {"content": "\udc80"}),
    ("password", {"password": 7}),
]


def test_an_option_that_cannot_be_used_is_named(url: str, call: Call) -> None:
    """A wrong option is the caller's own error: it is raised, and not taken for a refusal."""
    for option, options in BAD_OPTIONS:
        with pytest.raises(errors.OptionRefused) as refused:
            call(url, **options)
        assert refused.value.option == option, options


BAD_URLS = ["", "localhost:3000", "https://", "https:///x", "//x", "ftp://x", "https://:3000", "https://[::1"]
BAD_URLS += ["https://localhost:99999", "https://a..b/", f"https://{'a' * 64}.example", "https://☃☃☃"]


def test_a_url_that_is_none_is_refused(call: Call) -> None:
    """Each malformed URL is refused with an example of a good one."""
    for url in (*BAD_URLS, None, 7, b"https://localhost"):
        with pytest.raises(errors.OptionRefused, match="it looks like https://localhost:3000") as refused:
            call(url)
        assert refused.value.option == "url", url


def test_a_missing_file_is_raised_before_anyone_is_called(serve: Serve, call: Call, tmp_path: Path) -> None:
    """A wrong path is the caller's own error: nobody is dialled, and the file is named."""
    server = serve()
    for option in ("cacert", "cert", "key"):
        with pytest.raises(errors.FileMissing, match=r"nowhere\.pem"):
            call(server.url, **{option: tmp_path / "nowhere.pem"})
    assert server.visits == []


def test_a_certificate_without_its_key_says_what_is_missing(call: Call) -> None:
    """cert= alone needs the key in the same file, and the error says so."""
    with pytest.raises(errors.FileContents, match="name the file of its key"):
        call("https://localhost:1", key=None)


# --- what is verified -----------------------------------------------------------------------------


def test_there_is_no_way_to_turn_verification_off() -> None:
    """No option speaks of verifying, and every context verifies chain and name, strictly, from TLS 1.2 on."""
    options = set(inspect.signature(request).parameters) | set(inspect.signature(client_context).parameters)
    assert options == {
        *("url", "cacert", "cert", "key", "tls_max", "password"),
        *("method", "headers", "content", "timeout"),
    }
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


NAMES: list[tuple[list[str], str, bool]] = [
    (LOCALHOST, "localhost", True),
    (LOCALHOST, "127.0.0.1", True),
    (["localhost"], "127.0.0.1", False),
    (["127.0.0.1"], "localhost", False),
    (["example.org"], "localhost", False),
    (["*.localhost.example"], "localhost", False),
]


def test_the_host_is_held_against_the_certificate(serve: Serve, call: Call, ca: CertificateAuthority) -> None:
    """A server whose certificate is for another name is refused before it gets the request."""
    server = serve()
    for names, host, right in NAMES:
        server.renew(ca.issue("server", SERVER, names=names))
        answer = call(f"https://{host}:{server.port}")
        assert answer.ok == right, (names, host)
        assert right or refusal_of(answer) == ("client", "wrong-host", 60), (names, host)
    assert [visit.status for visit in server.visits] == [200 if right else None for _, _, right in NAMES]


def test_a_server_of_another_ca_is_refused(serve: Serve, call: Call, tmp_path: Path) -> None:
    """Only the CAs of cacert= are trusted."""
    CertificateAuthority.create("foreign-ca").save(tmp_path)
    server = serve()
    assert refusal_of(call(server.url, cacert=tmp_path / "ca.crt")) == ("client", "unknown-ca", 60)
    assert [visit.status for visit in server.visits] == [None]


def test_without_cacert_the_system_decides(url: str, call: Call, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cacert= the system's trust store is used, as in curl: our CA is not in it, unless it is put there."""
    assert refusal_of(call(url, cacert=None)) == ("client", "unknown-ca", 60)
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(files / "ca.crt"))
    assert call(url, cacert=None).ok


def test_proxies_of_the_environment_are_left_alone(url: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable does not send the lesson elsewhere."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert call(url).ok


# --- what comes back ------------------------------------------------------------------------------


def test_nobody_there_is_a_refusal(call: Call) -> None:
    """A port where nothing listens."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # its port is taken, and nobody listens
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        assert refusal_of(call(url)) == ("server", "connection-refused", 7)


def test_an_unknown_host_is_a_refusal(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that the resolver does not know, and nobody is dialled."""
    asked = []

    def knows_nothing(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", knows_nothing)
    assert refusal_of(call("https://no-such-host.invalid")) == ("client", "host-not-found", 6)
    assert {str(host) for host in asked} == {"no-such-host.invalid"}


def test_a_host_that_cannot_be_reached_is_a_refusal(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no way leads to an address, it is as if nobody were there."""
    for number in (errno.EHOSTUNREACH, errno.ENETUNREACH):

        def is_far(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, "no way there")

        monkeypatch.setattr(socket, "create_connection", is_far)
        assert refusal_of(call("https://192.0.2.1"))[1:] == ("connection-refused", 7)


@pytest.fixture
def odd_server(server_credential: Credential) -> Iterator[Callable[[bytes | None], str]]:
    """Start servers that answer one TLS caller with certain bytes, or, with None, do not even begin."""
    open_sockets: list[socket.socket] = []
    context = server_context(server_credential, client_auth="none")

    def start(reply: bytes | None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        open_sockets.append(listener)

        def answer() -> None:
            with (
                contextlib.suppress(OSError),  # the client may have heard enough
                listener.accept()[0] as plain,
                context.wrap_socket(plain, server_side=True) as tls,
            ):
                tls.recv(1 << 16)
                tls.sendall(reply or b"")
                tls.unwrap()

        if reply is not None:
            threading.Thread(target=answer, daemon=True).start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for each in open_sockets:
        each.close()


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
REPLIES: dict[str, tuple[bytes, tuple[str, int]]] = {
    "nothing": (b"", ("connection-lost", 52)),
    "no HTTP": (b"220 mail.example.org\r\n\r\n", ("protocol-error", 1)),
    "half a status line": (b"HTTP/1.1 20", ("connection-lost", 52)),
    "no more than 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n", ("connection-lost", 52)),
    "an upgrade": (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", ("protocol-error", 52)),
    "a header without a colon": (HEAD + b"X y\r\n\r\n", ("protocol-error", 8)),
    "a header that goes on before it begins": (HEAD + b" X: y\r\n\r\n", ("protocol-error", 43)),
    "a head of 200 kB": (HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n", ("protocol-error", 27)),
    "half a body": (HEAD + b"Content-Length: 40\r\n\r\nabcd", ("protocol-error", 18)),
    "a length that is none": (HEAD + b"Content-Length: many\r\n\r\nabcd", ("protocol-error", 8)),
    "two lengths": (HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", ("protocol-error", 0)),
    "a chunk that is none": (CHUNKED + b"xyz\r\nabc", ("protocol-error", 56)),
    "a chunk that is too long": (CHUNKED + b"4\r\nabcdXX0\r\n\r\n", ("protocol-error", 56)),
    "half a chunk": (CHUNKED + b"9\r\nabcd", ("protocol-error", 18)),
    "no last chunk": (CHUNKED + b"4\r\nabcd\r\n", ("protocol-error", 18)),
    "a coding that nobody knows": (HEAD + b"Transfer-Encoding: odd\r\n\r\nx", ("protocol-error", 61)),
}
"""What a server says, and what the refusal is: why, and with which exit code."""

IN_CURL = {
    "a header that goes on before it begins": "continuation line",
    "a head of 200 kB": "Receive buffer too long",
    "two lengths": "conflicting Content-Length",
}
"""The rows of `refusals.CURL` where curl has changed its mind."""


def test_an_odd_reply_is_a_refusal(odd_server: Callable[[bytes | None], str], files: Path) -> None:
    """Whatever comes back over the network becomes a refusal by the server with a reason, and never an exception."""
    context = client_context(cacert=files / "ca.crt")
    for kind, (reply, expected) in REPLIES.items():
        answer = exchange(odd_server(reply), context, sent_certificate=False)
        assert refusal_of(answer) == ("server", *expected), kind


@needs_curl
def test_the_real_curl_exits_as_our_refusals_say(odd_server: Callable[[bytes | None], str], files: Path) -> None:
    """The exit codes of faults of HTTP are those of the real curl; of one that is not of another age."""
    expected = {kind: code for kind, (_, (_, code)) in REPLIES.items()}
    expected |= {kind: curl_exit_code(words, CURL_VERSION) for kind, words in IN_CURL.items()}
    codes = exit_codes([(odd_server(reply), {"cacert": files / "ca.crt"}) for reply, _ in REPLIES.values()])
    assert dict(zip(REPLIES, codes, strict=True)) == expected


ODD_BODIES = [
    (b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "abcd"),  # curl does not look
    (b"Content-Length: 3\r\n\r\na\xffb", "a\N{REPLACEMENT CHARACTER}b"),
    *(
        (b"Content-Type: text/plain; charset=%b\r\nContent-Length: 1\r\n\r\nx" % charset, "x")
        for charset in (b"base64", b"undefined", b"hex", b"no-such", b"", b"'", b"a\xff")
    ),
    (b"Content-Type: text/plain; charset=latin-1\r\nContent-Length: 1\r\n\r\n\xe9", "\N{REPLACEMENT CHARACTER}"),
]


def test_an_odd_body_is_a_reply(odd_server: Callable[[bytes | None], str], files: Path) -> None:
    """What a server says of its body's encoding cannot make the call fail; the body is there, as well as can be."""
    context = client_context(cacert=files / "ca.crt")
    for reply, text in ODD_BODIES:
        answer = exchange(odd_server(HEAD + reply), context, sent_certificate=False)
        assert (answer.status, answer.text) == (200, text), reply


def test_a_redirect_to_nowhere_is_a_reply(call: Call, odd_server: Callable[[bytes | None], str]) -> None:
    """A Location that is no URL is shown like any other."""
    answer = call(odd_server(b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n"))
    assert (answer.status, answer.headers["location"]) == (302, "http://[::1")


def test_silence_is_a_refusal(call: Call, odd_server: Callable[[bytes | None], str]) -> None:
    """Who says nothing at all is not waited for."""
    assert refusal_of(call(odd_server(None), timeout=0.3)) == ("client", "timed-out", 28)


def endlessly(plain: socket.socket, context: ssl.SSLContext | None, first: bytes, then: bytes, pause: float) -> None:
    """Say `first`, and `then` again and again, until the caller has gone."""
    with contextlib.suppress(OSError):
        wire = context.wrap_socket(plain, server_side=True) if context else plain
        wire.recv(1 << 16)
        wire.sendall(first)
        while True:
            wire.sendall(then)
            time.sleep(pause)


DRIPS = {
    "head": ("https", b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "not yet": ("http", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": ("http", HEAD + b"Content-Length: 1000000\r\n\r\n", b"a"),
    "body without an end": ("https", HEAD + b"Connection: close\r\n\r\n", b"a"),
    "chunks": ("https", CHUNKED, b"1\r\na\r\n"),
}


def test_a_server_that_drips_is_left(call: Call, server_credential: Credential) -> None:
    """The timeout is for the whole call: a server that says a little, again and again, is hung up on."""
    context = server_context(server_credential, client_auth="none")

    def left(where: str) -> tuple[str, str, int]:
        scheme, first, then = DRIPS[where]
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                with listener.accept()[0] as plain:
                    endlessly(plain, context if scheme == "https" else None, first, then, 0.02)

            threading.Thread(target=serve, daemon=True).start()
            return refusal_of(call(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2))

    began = time.monotonic()
    with ThreadPoolExecutor(len(DRIPS)) as threads:
        found = dict(zip(DRIPS, threads.map(left, DRIPS), strict=True))
    assert found == dict.fromkeys(DRIPS, ("client", "timed-out", 28))
    assert time.monotonic() - began < 30


def test_a_server_that_floods_is_left(call: Call, server_credential: Credential) -> None:
    """No more of a reply is read than there is room for."""
    context = server_context(server_credential, client_auth="none")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as plain:
                endlessly(plain, context, HEAD + b"Connection: close\r\n\r\n", b"a" * (1 << 20), 0)

        threading.Thread(target=serve, daemon=True).start()
        answer = call(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=60)
        assert refusal_of(answer) == ("client", "too-long", 63)


def test_no_changed_reply_makes_a_call_fail_or_outlast_its_timeout(
    call: Call, ca: CertificateAuthority, server_credential: Credential
) -> None:
    """Of servers that say almost the right thing, each gets an answer or a refusal, and none more time."""
    contexts = [server_context(server_credential, client_ca=ca.certificate) for _ in range(2)]
    contexts[1].maximum_version = ssl.TLSVersion.TLSv1_2
    with mutants(contexts, seed=1) as port:
        for number in range(24):
            began = time.monotonic()
            answer = call(f"{'https' if number % 8 else 'http'}://127.0.0.1:{port}", timeout=0.2)
            assert (answer.refusal is None) == (answer.status is not None)
            assert time.monotonic() - began < 5


def test_plain_http_at_a_tls_port_is_a_refusal(serve: Serve, call: Call) -> None:
    """http:// where https:// is meant: the client hears nothing, the server knows why."""
    server = serve()
    assert refusal_of(call(f"http://localhost:{server.port}")) == ("server", "connection-lost", 52)
    refusal = server.visits[-1].refusal
    assert refusal is not None
    assert refusal.reason == "plain-http"


def test_an_answer_is_ok_below_400(serve: Serve, call: Call) -> None:
    """A reply is no refusal, whatever its status; a redirect is shown and not followed, as curl does."""
    cases = {204: True, 302: True, 399: True, 400: False, 503: False}

    def app(asked: Request) -> Reply:
        status = int(asked.path[1:])
        return Reply("" if status == 204 else "text", status, {"Location": "https://localhost:1/"})

    url = serve(app=app).url
    answers = {status: call(f"{url}/{status}") for status in cases}
    assert {status: (one.status, one.ok, one.refusal) for status, one in answers.items()} == {
        status: (status, ok, None) for status, ok in cases.items()
    }


def test_an_answer_says_how_it_came(url: str, call: Call) -> None:
    """The TLS version is the one that was asked for at most; the text of an answer shows it."""
    for tls_max, version in (("1.2", "TLSv1.2"), ("1.3", "TLSv1.3"), (None, "TLSv1.3")):
        answer = call(url, tls_max=tls_max)
        assert answer.tls_version == version
        assert repr(answer) == f"<Answer 200 over {version}: 'Hello World\\n'>"
        assert answer.headers["content-type"].startswith("text/plain")


def test_a_refused_answer_shows_its_refusal(url: str, call: Call) -> None:
    """The text of an answer that is none is its refusal."""
    answer = call(url, cert=None, key=None)
    assert repr(answer) == f"<Answer {answer.refusal!r}>"
