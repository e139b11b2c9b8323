"""The exercises of notebook 05, mutual TLS server."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, product
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtlslab import contexts, errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential, read_certificates
from mtlslab.faults import altered
from mtlslab.notebook.exercises.judges import (
    Guarded,
    Met,
    NotYet,
    afresh,
    checker,
    expect,
    expect_nothing_loose,
    fresh_name,
    genuine,
    handshake,
    meet,
)
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.server import Reply, Request

__all__ = ["authorizing_app", "insisting_context", "lets_go"]

# --- a context that insists ------------------------------------------------------------------------

_LET_IN = {
    "nobody": "a caller without a certificate gets in: it asks, and takes no for an answer, or does not ask; "
    "see verify_mode",
    "a stranger": "a stranger gets in, with a certificate from a CA of their own: see what it trusts",
    "a namesake": "it believes another CA that is called example-ca as well: load ca.crt, and nothing else",
    "a server": "a server's certificate gets in as a client's",
    "a friend of last year": "a certificate that has expired gets in: see verify_flags",
    "a friend of next year": "a certificate that is not valid yet gets in: see verify_flags",
}


@checker("an ssl.SSLContext")
def insisting_context(answer: Any) -> str:
    """The context of a server that takes TLS 1.3 only and insists on a client certificate from example-ca."""
    context = genuine(answer, ssl.SSLContext, "the answer is an ssl.SSLContext, as make_context returns it")
    expect(context.protocol != ssl.PROTOCOL_TLS_CLIENT, "this is a client's context; take ssl.PROTOCOL_TLS_SERVER")
    expect(context.sni_callback is None, "it may put another context in its place: leave sni_callback alone")
    try:
        ca = CertificateAuthority.load("lab-05")
    except errors.MtlslabError:
        raise NotYet("the folder lab-05 has no CA: run the page's first cells") from None
    for who, met in meet(context, ca):
        if who == "a friend":
            _welcomes_the_friend(met)
        else:
            expect(bool(met.refused), _LET_IN[who])
        if who == "nobody":
            _expect_strictness(context, ca)
    for name in _other_authorities(ca):
        met = _shown(context, ca, _claims_to_be_from(name, ca))
        expect(met.server == "unknown-ca", f"it believes {name.rfc4514_string()} too: load ca.crt, and nothing else")
    return "six callers of seven were refused, and the seventh only gets in with TLS 1.3"


def _expect_strictness(context: ssl.SSLContext, ca: CertificateAuthority) -> None:
    expect_nothing_loose(context, ca.certificate)
    _, friend = next(meet(context, ca, "1.2"))
    expect(bool(friend.refused), "it still takes TLS 1.2: see minimum_version")
    expect(bool(_shown(context, ca, _lax_friend(ca)).refused), "it does not verify strictly: see verify_flags")


def _welcomes_the_friend(met: Met) -> None:
    empty_handed = ("handshake-failure", "protocol-version")  # OpenSSL's words for a server with nothing to show
    expect(
        met.refused not in empty_handed, "it has nothing to show: see load_cert_chain, with server.crt and server.key"
    )
    expect(not met.client, f"a client that trusts example-ca refuses what it shows ({met.client}): is it server.crt?")
    why = "it trusts no authority, or not this one: load lab-05/ca.crt" if met.server == "unknown-ca" else met.server
    expect(not met.server, f"a client with a certificate from example-ca is refused: {why}")


def _shown(server: ssl.SSLContext, ca: CertificateAuthority, shown: Credential) -> Met:
    client = contexts.common(ssl.PROTOCOL_TLS_CLIENT)
    contexts.trust(client, [ca.certificate])
    contexts.show(client, shown)
    return handshake(client, server)


def _lax_friend(ca: CertificateAuthority) -> Credential:
    friend = ca.issue(fresh_name(), CLIENT)
    lax = altered(friend.certificate, ca.private_key, without=(x509.AuthorityKeyIdentifier,))
    return Credential(lax, friend.private_key)


def _claims_to_be_from(issuer: x509.Name, ca: CertificateAuthority) -> Credential:
    """Make a certificate that says it is from `issuer`: whoever knows one of that name gets further than that."""
    liar = ca.issue(fresh_name(), CLIENT)
    claims = altered(liar.certificate, ca.private_key, issuer=issuer, without=(x509.AuthorityKeyIdentifier,))
    return Credential(claims, liar.private_key)


def _other_authorities(ca: CertificateAuthority) -> Iterator[x509.Name]:
    """Return the names of CAs that a context may find without having loaded them, in a folder or in the system."""
    system = ssl.get_default_verify_paths()
    folder = sorted(Path(system.capath).glob("*.[0p]*"))[:3] if system.capath else []
    found: list[x509.Name] = []
    for path in [*Path("lab-05").rglob("*.*"), *folder]:
        with suppress(errors.MtlslabError, ValueError, OSError):
            found += [each.issuer for each in read_certificates(path)]
    yield from dict.fromkeys(name for name in found if name != ca.certificate.subject)


# --- who may do what -------------------------------------------------------------------------------

_DETOURS = (
    "//admin",
    "/%61dmin",
    "/ADMIN",
    "/x/../admin",
    "/./admin",
    "/admin%2fusers",
    "/admin;x",
    "\\admin",
    "/Admin/",
)


_RARE = ("PATCH", "TRACE", "CONNECT", "PROPFIND")

_CLAIMS = {
    **dict.fromkeys(("X-Client", "X-Forwarded-User", "X-Remote-User", "Client-Cert", "From", "Host"), "alice"),
    **dict.fromkeys(("X-SSL-Client-S-DN-CN", "X-SSL-Client-CN"), "alice"),
    "X-SSL-Client-S-DN": "CN=alice",
    "X-Forwarded-Client-Cert": 'Subject="CN=alice";DNS=alice',
    "X-Forwarded-For": "127.0.0.1",
    "Authorization": "Basic YWxpY2U6YWxpY2U=",
    "Cookie": "user=alice",
}


@checker("a function that takes a Request and returns text or a Reply")
def authorizing_app(answer: Any) -> str:
    """An app that greets callers by name, keeps /admin for alice, and sends strangers away."""
    app = Guarded(answer, "your app")
    ca = CertificateAuthority.create("example-ca")
    asked = list(_asked(ca))
    first, hint = len(asked), ""  # of many hints the first one, whatever came first
    for place in random.sample(range(first), first):
        if place < first:
            try:
                _as_it_should(app, *asked[place])
            except NotYet as wrong:
                first, hint = place, str(wrong)
    expect(not hint, hint)
    return f"{len(asked)} requests; TLS says who they are, and your function what they may do"


_Asked = tuple[str, Request, "tuple[int, ...] | str | range", str]


def _as_it_should(app: Callable[[Request], Any], who: str, request: Request, wanted: Any, lets: str) -> None:
    """Raise `NotYet` if the app does not treat this request as it should."""
    said = app(afresh(request))
    at = f"{who} at {request.method} {request.path}"
    expect(said is not None, f"it returns nothing for {at}")
    expect(type(said) in (str, Reply), f"for {at} it returns {type(said).__name__}; text or a Reply is wanted")
    reply = Reply(said) if type(said) is str else said
    numbered = type(reply.status) is int or isinstance(reply.status, HTTPStatus)
    expect(numbered and type(reply.text) is str, f"for {at} the Reply has no status or no text")
    if isinstance(wanted, str):
        expect(reply.status == 200, f"{at} gets {reply.status}: {lets}")
        expect(reply.text.strip() == wanted, f"{at} should read {wanted!r}, and reads {reply.text.strip()!r}")
    else:
        expect(reply.status in wanted, f"{at} gets {reply.status}: {lets}")


def _asked(ca: CertificateAuthority) -> Iterator[_Asked]:
    """Yield (who, request, the statuses or the text that are right, what another answer would let happen).

    What is closed to everybody is asked for by alice, and by one of the others, who take turns.
    """
    refused = range(400, 500)
    people = {
        name: _person(ca, name) for name in ("client", "alice.example", "malice", "alic", "ALICE-2", fresh_name())
    }
    below = ["/admin", "/admin/", f"/admin/{fresh_name()}", "/admin/users/1", f"/admin/users/1/{fresh_name()}/a.b"]
    alice, others = _person(ca, "alice"), cycle(random.sample(sorted(people.items()), len(people)))
    lets = "another method is another way in"
    for path, method in (*product(("/", *below), ("POST", "PUT", "DELETE")), *product(("/", "/admin"), _RARE)):
        for name, shown in (("alice", alice), next(others)):
            yield name, _request(shown, path, method), refused, lets
    for name, shown in {**people, "alice": alice}.items():
        yield name, _request(shown, "/"), f"Hello {name}", "everybody with a certificate may have /"
    for path, (name, shown) in product(("/administrator", f"/{fresh_name()}"), (("alice", alice), next(others))):
        yield name, _request(shown, path), (404,), "it is neither / nor below /admin, and gets 404"
    for path in below:
        yield "alice", _request(alice, path), (200,), "what is below /admin is for alice"
        for name, shown in people.items():
            nobodys = f"what is below /admin is for alice alone, and {name} is not alice"
            yield name, _request(shown, path), (403,), nobodys
        name, shown = next(others)
        yield name, _request(shown, path, "HEAD"), refused, lets
        yield "nobody", _request(None, path), (401,), "a caller without a certificate is nobody yet"
    beside = ca.issue("alice", CLIENT, names=["spiffe://example.org/malice", "alice", "192.0.2.7"]).certificate
    yield "alice", _request(beside, "/admin"), (200,), "names of other kinds may stand beside her DNS name"
    yield from _asked_by_nobody()
    for path in _DETOURS:
        yield "malice", _request(people["malice"], path), refused, "some servers read this path as /admin"
    yield from _asked_otherwise(people["malice"], alice)
    for who, shown in _odd_ones(ca).items():
        yield who, _request(shown, "/admin"), refused, "no single DNS name in it says alice"
        if len(names := _dns_names(shown)) != 1:
            yield who, _request(shown, "/"), (401,), f"who has {len(names)} DNS names is nobody yet"


_METHODS = dict.fromkeys(("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"), "GET")


class _Boasts(Message):
    """Headers that say alice, whichever is asked for."""

    def get(self, *_: object) -> Any:
        """Say alice."""
        return "alice"

    __getitem__ = get


def _asked_otherwise(malice: x509.Certificate, alice: x509.Certificate) -> Iterator[_Asked]:
    """Ask with headers, a query and a body that say otherwise who asks, for what, and how."""
    word = "a header is the caller's own word"
    for name, claim in _CLAIMS.items():
        claims = {name: claim}
        yield "malice", _request(malice, "/admin", claims=claims), (403,), word
        yield "malice", _request(malice, "/", claims=claims), "Hello malice", word
        yield "nobody", _request(None, "/", claims=claims), (401,), word
    yield "malice", _request(malice, "/admin?user=alice"), range(400, 500), "a query is the caller's own word"
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Uri"):
        yield "malice", _request(malice, "/admin", claims={name: "/"}), (403,), word
        yield "malice", _request(malice, "/", claims={name: "/admin"}), "Hello malice", word
    lets = "another method is another way in, whatever a header, the query or the body says"
    for path, (who, shown) in product(("/", "/admin"), (("malice", malice), ("alice", alice))):
        for at in (path, f"{path}?_method=GET"):
            yield who, _request(shown, at, "POST", _METHODS, b"_method=GET"), range(400, 500), lets
    yield "malice", replace(_request(malice, "/admin"), headers=_Boasts()), (403,), word
    yield "nobody", replace(_request(None, "/admin"), headers=_Boasts()), (401,), word


def _asked_by_nobody() -> Iterator[_Asked]:
    lets = "a caller without a certificate is nobody yet"
    for path in ("/", "/x", *_DETOURS):
        yield "nobody", _request(None, path), (401,), lets
    for path, method in product(("/", "/x", "/admin"), ("POST", "PUT", "DELETE")):
        yield "nobody", _request(None, path, method), range(400, 500), lets


def _odd_ones(ca: CertificateAuthority) -> dict[str, x509.Certificate]:
    """Make certificates in which alice stands somewhere, and which are not hers."""
    alice = x509.NameAttribute(NameOID.COMMON_NAME, "alice")
    bare = ca.issue("alice", CLIENT).certificate
    two = ca.issue("malice", CLIENT, names=["malice", "alice"]).certificate
    uri = ca.issue("malice", CLIENT, names=["spiffe://example.org/alice"]).certificate
    several = x509.Name([alice, x509.NameAttribute(NameOID.COMMON_NAME, "malice")])
    builder = x509.CertificateBuilder(
        ca.certificate.subject, several, bare.public_key(), 7, bare.not_valid_before_utc, bare.not_valid_after_utc
    )
    for extension in _person(ca, "malice").extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return {
        "CN=alice without a DNS name": altered(bare, ca.private_key, without=(x509.SubjectAlternativeName,)),
        "CN=alice with the DNS name malice": ca.issue("alice", CLIENT, names=["malice"]).certificate,
        "a certificate for malice and alice": two,
        "a URI that ends in alice": uri,
        "CN=alice, CN=malice": builder.sign(ca.private_key, bare.signature_hash_algorithm),  # type: ignore[arg-type]
    }


def _dns_names(certificate: x509.Certificate) -> list[str]:
    names = [each.value for each in certificate.extensions if isinstance(each.value, x509.SubjectAlternativeName)]
    return [name for san in names for name in san.get_values_for_type(x509.DNSName)]


def _person(ca: CertificateAuthority, name: str) -> x509.Certificate:
    return ca.issue(name, CLIENT, names=[name]).certificate


def _request(
    client: x509.Certificate | None,
    path: str,
    method: str = "GET",
    claims: dict[str, str] | None = None,
    body: bytes = b"",
) -> Request:
    headers = Message()
    for name, value in (claims or {}).items():
        headers[name] = value
    body, tls = body or random.choice((b"", b"name=alice")), random.choice(("TLSv1.2", "TLSv1.3"))  # no reasons
    return Request(method, path, headers, body, client, tls)


# --- a handler that lets go ------------------------------------------------------------------------

_LIMIT = 0.5
_GRACE = 0.4
_PATIENCE = _LIMIT + _GRACE + 1

_HANGERS_ON = {
    "who says nothing at all": (),
    "who says half a ClientHello": (b"\x16\x03\x01\x02\x00\x01",),
    "who shakes hands and then says nothing": (None,),
    "who shakes hands and asks a letter at a time": (None, *(bytes([letter]) for letter in b"GET / HTTP/1.1\r\nX: ")),
}


@checker("a class, as Hello is, for ThreadingHTTPServer")
def lets_go(answer: Any) -> str:
    """A handler that answers who asks, and lets go of whoever has not asked after half a second."""
    expect(
        isinstance(answer, type) and issubclass(answer, BaseHTTPRequestHandler),
        "the answer is the class itself, and it inherits from Hello",
    )
    ca = CertificateAuthority.create("example-ca")
    with _serving(answer, ca) as port, ExitStack() as stack:
        gone, client = set[str](), _client(ca)
        for who, says in _HANGERS_ON.items():
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", port), _PATIENCE))
            threading.Thread(target=_hang_on, args=(who, says, plain, client, gone), daemon=True).start()
        patient = list[bool]()
        slow = threading.Thread(target=lambda: patient.append(_is_patient(port, client)), daemon=True)
        slow.start()
        before, left = _ask(port, client), _LIMIT + _GRACE
        while before == "Hello World" and len(gone) < len(_HANGERS_ON) and left > 0:
            begin = time.monotonic()
            time.sleep(0.02)
            left -= min(time.monotonic() - begin, 0.03)  # a step that other work stretches counts as one
        slow.join()  # what it makes a handler print is not to come later
        answered = "who asks at once should be answered, and is not"
        expect(before == "Hello World", answered)
        for who in _HANGERS_ON:
            expect(who in gone, f"a caller {who} still has its thread: a thousand of them have a thousand")
        expect(_ask(port, client) == "Hello World", answered)
        expect(patient == [True], "who is honest, and has asked after a third of a second, is cut off")
    return "neither silence nor a letter at a time holds a thread for long, and who asks is answered"


class _Quiet(ThreadingHTTPServer):
    """What a handler raises is its caller's affair, and is not printed under the cell."""

    daemon_threads, block_on_close = True, False

    def handle_error(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], ca: CertificateAuthority) -> Iterator[int]:
    context = contexts.server_context(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=ca.certificate)
    with _Quiet(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield int(server.server_port)
        finally:
            server.shutdown()


def _client(ca: CertificateAuthority) -> ssl.SSLContext:
    context = contexts.common(ssl.PROTOCOL_TLS_CLIENT)
    contexts.trust(context, [ca.certificate])
    contexts.show(context, ca.issue("client", CLIENT))
    return context


def _hang_on(
    who: str, says: tuple[bytes | None, ...], plain: socket.socket, client: ssl.SSLContext, gone: set[str]
) -> None:
    """Say what this caller says (None: shake hands), slowly; note when the server has hung up."""
    with suppress(OSError, ValueError):
        for word in says:
            if word is None:
                plain = client.wrap_socket(plain, server_hostname="localhost")
                continue
            plain.sendall(word)
            if _hung_up(plain, 0.1):
                break
        else:
            if not _hung_up(plain, _PATIENCE):
                return
    gone.add(who)


def _hung_up(caller: socket.socket, seconds: float) -> bool:
    caller.settimeout(seconds)
    try:
        return not caller.recv(1)
    except TimeoutError:
        return False


def _is_patient(port: int, client: ssl.SSLContext) -> bool:
    """Ask slowly, but in time. When other work kept this caller from it, nothing was seen: it asks again."""
    for _ in range(30):
        begin = time.monotonic()
        if _ask(port, client, 0.1) == "Hello World":
            return True
        if time.monotonic() - begin < 0.8 * _LIMIT:
            return False
    return True


def _ask(port: int, client: ssl.SSLContext, pause: float = 0) -> str:
    """Ask as an honest client does, with three pauses. Returns the body, or what went wrong."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as plain:
            time.sleep(pause)
            with client.wrap_socket(plain, server_hostname="localhost") as tls:
                for part in (b"GET / HTTP", b"/1.0\r\n\r\n"):
                    time.sleep(pause)
                    tls.sendall(part)
                heard = b""
                while not heard.endswith(b"World\n") and (more := tls.recv(4096)):
                    heard += more
    except OSError as error:
        return str(error)
    return heard.rpartition(b"\r\n\r\n")[2].decode().strip()
