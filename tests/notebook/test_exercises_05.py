"""The checkers of notebook 05 try what they are given: no wrong answer gets through, no right one is turned away."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from hashlib import sha1
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from posixpath import normpath
from threading import Timer
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, unquote

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mtlslab import CertificateAuthority, Reply, Request
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import page_05
from mtlslab.profiles import CLIENT, SERVER

NAMES = ["insisting_context", "authorizing_app", "lets_go"]
OTHER_KINDS = [0, "yes", [], object(), {"a": 1}, mock.ANY, mock.MagicMock(), int]


def test_any_other_kind_of_answer_gets_a_hint() -> None:
    """Whatever a learner puts there, the checker says 'Not yet' and never raises; None is not attempted."""
    for check in map(exercises.CHECKERS.__getitem__, NAMES):
        assert check(None).text.startswith("Not attempted yet")
        for answer in OTHER_KINDS:
            assert check(answer).text.startswith("Not yet: "), (check, answer)


# A context that insists


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the page, with some CAs that nobody should trust."""
    folder = tmp_path_factory.mktemp("page") / "lab-05"
    ca = CertificateAuthority.create("example-ca")
    ca.save(folder)
    ca.issue("localhost", SERVER, names=["localhost"]).save(folder, "server")
    ca.issue("client", CLIENT).save(folder, "client")
    CertificateAuthority.create("other-ca").save(folder / "other")
    CertificateAuthority.create("example-ca").save(folder / "namesake")
    CertificateAuthority.create("stray-ca").issue("stranger", CLIENT).save(folder, "stranger")
    with contextlib.chdir(folder.parent):
        yield folder


def context(lab: Path, *, shown: str = "server", mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    if shown:
        made.load_cert_chain(lab / f"{shown}.crt", lab / f"{shown}.key")
    made.load_verify_locations(lab / "ca.crt")
    made.verify_mode = mode
    return made


def changed(change: Callable[[ssl.SSLContext, Path], object]) -> Callable[[Path], ssl.SSLContext]:
    def make(lab: Path) -> ssl.SSLContext:
        made = context(lab)
        change(made, lab)
        return made

    return make


def _from_default(lab: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(lab / "ca.crt"))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(lab / "server.crt", lab / "server.key")
    return made


def _with_extras(made: ssl.SSLContext, lab: Path) -> None:
    made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    made.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1_2
    made.num_tickets = 0
    made.set_alpn_protocols(["http/1.1"])
    made.set_ciphers("ECDHE+AESGCM")
    made.load_verify_locations(lab / "ca.crt")


@pytest.mark.filterwarnings("ignore:ssl.OP_NO")
@pytest.mark.parametrize("make", [_from_default, changed(_with_extras)])
def test_a_context_that_insists_is_right(lab: Path, make: Callable[[Path], ssl.SSLContext]) -> None:
    """However it was made: by hand, from a default, TLS 1.2 off in the old way, with extras that let nobody in."""
    assert exercises.insisting_context(make(lab)).correct


def _lax(made: ssl.SSLContext, _: Path) -> None:
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT


def _timeless(made: ssl.SSLContext, _: Path) -> None:
    made.verify_flags |= ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME


def _flag(flag: int) -> Callable[[ssl.SSLContext, Path], None]:
    def change(made: ssl.SSLContext, _: Path) -> None:
        made.verify_flags |= ssl.VerifyFlags(flag)

    return change


def _folder_of_others(made: ssl.SSLContext, lab: Path) -> None:
    """Trust a folder, as OpenSSL does: CAs are looked up there by the hash of their names, one at a time."""
    name = CertificateAuthority.load(lab / "other").certificate.subject.public_bytes()
    digest = sha1(name[2:], usedforsecurity=False).digest()  # of a small name, what follows its outermost tag
    (lab / "hashed").mkdir(exist_ok=True)
    (lab / "hashed" / f"{digest[3::-1].hex()}.0").write_bytes((lab / "other" / "ca.crt").read_bytes())
    made.load_verify_locations(capath=lab / "hashed")


class Pretends(ssl.SSLContext):
    """Looks like a context."""


LOOSE_CONTEXTS: list[tuple[Callable[[Path], ssl.SSLContext], str]] = [
    (lambda lab: context(lab, mode=ssl.CERT_NONE), "does not ask"),  # a server's
    (lambda lab: context(lab, mode=ssl.CERT_OPTIONAL), "takes no for an answer"),
    (lambda lab: context(lab, shown=""), "nothing to show"),
    (lambda lab: context(lab, shown="client"), "is it server.crt?"),
    (changed(lambda made, _: setattr(made, "minimum_version", ssl.TLSVersion.TLSv1_2)), "still takes TLS 1.2"),
    (changed(lambda made, _: setattr(made, "maximum_version", ssl.TLSVersion.TLSv1_2)), "nothing to show"),
    (changed(_lax), "does not verify strictly"),
    (changed(_timeless), "expired gets in"),
    (changed(lambda made, _: made.set_ciphers("DEFAULT:@SECLEVEL=0")), "keys that can be worked out"),
    (changed(lambda made, lab: setattr(made, "keylog_filename", str(lab / "keys.log"))), "reads every word"),
    (changed(_flag(0x10)), "verify_flags"),  # X509_V_FLAG_IGNORE_CRITICAL
    (changed(_flag(0x40)), "verify_flags"),  # X509_V_FLAG_ALLOW_PROXY_CERTS
    (changed(lambda made, lab: made.load_verify_locations(lab / "other" / "ca.crt")), "other authorities too"),
    (changed(lambda made, lab: made.load_verify_locations(lab / "stranger.crt")), "other authorities too"),
    (changed(lambda made, _: setattr(made, "sni_callback", lambda *_: None)), "sni_callback"),
    (changed(lambda made, _: setattr(made, "post_handshake_auth", True)), "does not ask"),
    (lambda lab: ssl.create_default_context(cafile=str(lab / "ca.crt")), "a client's context"),
    (lambda _: Pretends(ssl.PROTOCOL_TLS_SERVER), "an ssl.SSLContext"),
    (lambda _: mock.MagicMock(spec=ssl.SSLContext), "an ssl.SSLContext"),
    (changed(_folder_of_others), "it believes CN=other-ca too"),
]


def test_a_context_that_lets_in_too_many_is_told_whom(lab: Path) -> None:
    """Each hole gets a hint at who comes through it, or at where to look."""
    for make, hint in LOOSE_CONTEXTS:
        said = exercises.insisting_context(make(lab))
        assert said.correct is False, hint
        assert hint in said.text


def test_the_page_s_own_ca_is_the_one_that_counts(lab: Path, tmp_path: Path) -> None:
    """A context for another example-ca is refused, and so is any where the page was not run."""
    other = CertificateAuthority.create("example-ca")
    other.save(tmp_path)
    other.issue("localhost", SERVER, names=["localhost"]).save(tmp_path, "server")
    assert "is it server.crt?" in exercises.insisting_context(context(tmp_path)).text
    with contextlib.chdir(tmp_path):
        assert "run the page's first cells" in exercises.insisting_context(context(lab)).text


# Who may do what


@cache
def in_the_san(certificate: x509.Certificate) -> list[str]:
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(san.get_values_for_type(x509.DNSName))


def dns_names(request: Request) -> list[str]:
    return [] if request.client is None else in_the_san(request.client)


def common_names(request: Request) -> list[str]:
    if request.client is None:
        return []
    return [str(one.value) for one in request.client.subject.get_attributes_for_oid(NameOID.COMMON_NAME)][:1]


def app(
    names: Callable[[Request], list[str]] = dns_names,
    is_alice: Callable[[str], bool] = lambda name: name == "alice",
    under_admin: Callable[[str], bool] = lambda path: path == "/admin" or path.startswith("/admin/"),
    methods: tuple[str, ...] = ("GET",),
    elsewhere: int = 404,
    forbidden: int = 403,
) -> Callable[[Request], Any]:
    def made(request: Request) -> Reply | str:
        known = names(request)
        if len(known) != 1:
            return Reply("who are you?\n", status=401)
        if request.method not in methods:
            return Reply("only GET\n", status=405)
        if under_admin(request.path):
            return "the controls\n" if is_alice(known[0]) else Reply("no\n", status=forbidden)
        return f"Hello {known[0]}\n" if request.path == "/" else Reply("nothing\n", status=elsewhere)

    return made


def by_parts(path: str) -> bool:
    return path.split("/")[1:2] == ["admin"]


def normalising(request: Request) -> Any:
    """Read a path as a web server would, and then decide."""
    path = "/" + normpath(unquote(request.path).lower().replace("\\", "/").partition(";")[0]).lstrip("/")
    return app()(replace(request, path=path))


def first(opens: Callable[[Request, list[str]], bool]) -> Callable[[Request], Any]:
    """An app that is right but for what it lets through first."""
    return lambda asked: f"Hello {''.join(dns_names(asked)[:1])}\n" if opens(asked, dns_names(asked)) else app()(asked)


def _remembers(key: Callable[[Request], object]) -> Callable[[Request], Any]:
    """Looks at a caller once, and then goes by what it remembers."""
    known: dict[object, list[str]] = {}
    return app(lambda asked: known.setdefault(key(asked), dns_names(asked)))


class AppObject:
    """An app may be an object as well, with statuses as http has them, other methods to read, and parts of a path.

    It looks at each caller once, and at no query.
    """

    def __init__(self) -> None:
        known = dict[object, list[str]]()
        self.app = app(
            lambda asked: known.setdefault(asked.client, dns_names(asked)),
            under_admin=by_parts,
            methods=("GET", "HEAD", "OPTIONS"),
        )

    def __call__(self, request: Request) -> Any:
        said = self.app(replace(request, **without_query(request)))
        return Reply(said.text, HTTPStatus(said.status)) if isinstance(said, Reply) else said


def said_otherwise(change: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Any]:
    """An app that is right, but for what it takes a request to be."""
    return lambda asked: app()(replace(asked, **change(asked)))


def by_header(field: str, header: str) -> Callable[[Request], Any]:
    return said_otherwise(lambda asked: {field: asked.headers.get(header, getattr(asked, field))})


def by_query(asked: Request) -> dict[str, Any]:
    path, _, query = asked.path.partition("?")
    return {"path": path, "method": dict(parse_qsl(query)).get("_method", asked.method)}


def by_body(asked: Request) -> dict[str, Any]:
    return {"method": dict(parse_qsl(asked.body.decode())).get("_method", asked.method)}


def from_query(asked: Request) -> list[str]:
    return [name] if (name := dict(parse_qsl(asked.path.partition("?")[2])).get("user")) else dns_names(asked)


def without_query(asked: Request) -> dict[str, Any]:
    return {"path": asked.path.partition("?")[0]}


def reads(header: str, names: Callable[[str], list[str]] = lambda said: [said]) -> Callable[[Request], Any]:
    return app(lambda asked: names(str(asked.headers[header])) if header in asked.headers else dns_names(asked))


@pytest.mark.parametrize("right", [AppObject(), normalising])
def test_the_right_app_is_right(right: Any) -> None:
    """Whole names and whole path segments are right, in whatever form the function comes.

    Who reads a detour as /admin, and keeps that for alice, has let nobody in.
    """
    said = exercises.authorizing_app(right)
    assert said.correct, said


def _only_dns(request: Request) -> list[str]:
    """The only name, if it is a DNS name."""
    if request.client is None:
        return []
    sans = [each.value for each in request.client.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
    return dns_names(request) if sum(map(len, map(list, sans))) == 1 else []


def _never_401(request: Request) -> Any:
    return app(lambda asked: dns_names(asked) or ["guest"])(request)


def _first_of_several(request: Request) -> Any:
    return app(lambda asked: dns_names(asked)[-1:])(request)


def _counts() -> Callable[[Request], Any]:
    calls: list[int] = []

    def made(request: Request) -> Any:
        calls.append(1)
        return "Hello client\n" if len(calls) < 3 else app()(request)

    return made


def _raises(request: Request) -> Any:
    raise SystemExit(f"no {request.path}")


WRONG_APPS: list[tuple[Any, str]] = [
    (lambda _: "Hello World\n", ""),
    (lambda _: None, "it returns nothing"),
    (lambda _: mock.MagicMock(spec=Reply), "text or a Reply is wanted"),
    (_raises, "SystemExit"),
    (app(under_admin=lambda path: path.startswith("/admin")), "it is neither / nor below /admin"),
    (app(is_alice=lambda name: name.endswith("alice")), "malice is not alice"),
    (app(is_alice=lambda name: name.startswith("alice")), "alice.example is not alice"),
    (app(is_alice=lambda _: False), "is for alice"),
    (app(common_names), "no single DNS name in it says alice"),
    (_first_of_several, "no single DNS name in it says alice"),
    (by_header("method", "X-HTTP-Method-Override"), "whatever a header, the query or the body says"),
    (said_otherwise(by_query), "whatever a header, the query or the body says"),
    (said_otherwise(by_body), "whatever a header, the query or the body says"),
    (by_header("path", "X-Rewrite-URL"), "a header is the caller's own word"),
    (reads("X-SSL-Client-S-DN", lambda said: [said.removeprefix("CN=")]), "a header is the caller's own word"),
    (lambda asked: app(lambda _: from_query(asked))(replace(asked, **without_query(asked))), "own word"),
    (_never_401, "nobody yet"),
    (app(elsewhere=200), "gets 404"),
    (app(forbidden=401), "for alice alone"),
    (_counts(), ""),
    (app(methods=("GET", "PATCH")), "another method is another way in"),
    (app(_only_dns), "names of other kinds may stand beside"),
    (first(lambda asked, _: asked.tls_version == "TLSv1.2"), ""),
    (
        app(lambda asked: [asked.headers.get("X-Act-As", name) for name in dns_names(asked)]),
        "the caller's own word",
    ),
    (
        app(lambda asked: ["alice"] if asked.path == "/" and [*asked.headers] == ["From"] else dns_names(asked)),
        "should read 'Hello malice'",
    ),
    (_remembers(lambda asked: id(asked.client)), ""),
    (first(lambda asked, names: asked.path == "/" and len(names) == 1), "another method is another way in"),
    (first(lambda asked, names: asked.method == "PUT" and names == ["alice"]), "another method is another way in"),
    (first(lambda asked, names: asked.method == "TRACE" and names not in ([], ["alice"])), "is another way in"),
    (first(lambda asked, names: asked.path == "/" and len(names) > 1), "is nobody yet"),
    (first(lambda asked, names: asked.path == "/" and asked.client is not None and not names), "is nobody yet"),
    (first(lambda asked, _: asked.client is None and asked.method == "POST"), "is nobody yet"),
    (app(under_admin=lambda path: by_parts(path) and path.count("/") < 4), "what is below /admin is for alice"),
]


def test_an_app_that_decides_wrongly_is_told_about_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names a caller and a path for whom the app decides wrongly, or the app's own exception."""
    asked = list(page_05._asked(CertificateAuthority.create("example-ca")))  # to make them takes longer than most apps
    monkeypatch.setattr(page_05, "_asked", lambda _: asked)
    for number, (wrong, hint) in enumerate(WRONG_APPS):
        said = exercises.authorizing_app(wrong)
        assert said.correct is False, number
        assert hint in said.text, number


# Let go


class Hello(BaseHTTPRequestHandler):
    """The page's handler."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b"Hello World\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class OnlyTimeout(Hello):
    """Each read may take half a second."""

    timeout = 0.5


class OneClock(Hello):
    """The folded solution's way."""

    timeout = limit = 0.5

    def handle(self) -> None:
        """End the connection when the clock says so."""
        over = Timer(self.limit, socket.socket.shutdown, [self.connection, socket.SHUT_RDWR])
        over.start()
        try:
            with contextlib.suppress(OSError):
                super().handle()
        finally:
            over.cancel()


def one_clock(seconds: float) -> type:
    """The folded solution, with another clock."""

    class Handler(OneClock):
        limit = seconds

    return Handler


class ByDeadline(Hello):
    """Another way: shake hands and read the head by hand, against a deadline."""

    def handle(self) -> None:
        """Read the head byte by byte, each with what is left of the time."""
        deadline, head = time.monotonic() + 0.4, b""
        with contextlib.suppress(OSError):
            while not head.endswith(b"\r\n\r\n"):
                self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
                if not (more := self.connection.recv(1)):
                    return
                head += more
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nHello World\n")


class Raises(Hello):
    """Fails for everybody."""

    def handle(self) -> None:
        """Fail."""
        raise ValueError


def test_a_handler_that_lets_go_is_right() -> None:
    """One clock for the whole visit, however it is kept: here by hand, and not as in the folded solution."""
    said = exercises.lets_go(ByDeadline)
    assert said.correct, said


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (Hello, "says nothing at all"),
        (OnlyTimeout, "a letter at a time"),
        (Raises, "is not"),
        (one_clock(0.25), "cut off"),
        (one_clock(1.2), "still has its thread"),
        (Hello.do_GET, "the class itself"),
        (object, "inherits from Hello"),
        (type("Empty", (), {}), "inherits from Hello"),
    ],
)
def test_a_handler_that_holds_on_is_told_for_whom(wrong: Any, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the caller who still has a thread, or says that nobody is answered."""
    if wrong is Hello:  # which never lets go: nobody has to wait for it
        monkeypatch.setattr(page_05, "_GRACE", -page_05._LIMIT)
    for _ in range(20):  # a clock that other work makes late may cut off nobody
        begin = time.monotonic()
        said = exercises.lets_go(wrong)
        assert time.monotonic() - begin < 8
        if hint != "cut off" or said.correct is False:
            break
    assert said.correct is False
    assert hint in said.text
