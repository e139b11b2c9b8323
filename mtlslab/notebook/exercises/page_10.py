"""The exercises of notebook 10, who is calling."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from itertools import product
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtlslab.authority import CertificateAuthority
from mtlslab.client import exchange
from mtlslab.contexts import common, show, trust
from mtlslab.credentials import Credential, new_private_key, signature_hash
from mtlslab.exchanges import Answer
from mtlslab.notebook.exercises.guard import Guarded, Outcome
from mtlslab.notebook.exercises.judges import Case, NotYet, checker, expect, genuine, lab_ca, try_cases
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.server import Reply, Request, Server

__all__ = ["four_doors", "guards_the_reports", "mended_door", "reads_the_caller"]

# --- a reader that nobody fools --------------------------------------------------------------------

PLACE = ".callers.example"
_EDITED = "whoever can edit a file is whoever they like"


class _Reading(Case):
    """A certificate to read. Whoever is called somebody has a hint that says what that would let happen."""

    def judge(self, outcome: Outcome, what: str) -> None:
        """Raise `NotYet` unless the reader said what is wanted."""
        said = outcome.value
        expect(outcome.error is None, f"for {self.name}, {what} raised {outcome.told}; let it return a name, or None")
        expect(said is not None or self.wants is None, f"{what} says None for {self.name}: {self.lets}")
        expect(self.wants is not None or said is None, f"{what} says {repr(said)[:60]} for {self.name}: {self.lets}")
        super().judge(outcome, what)


@checker("a function of a certificate and its authority's, which returns a name or None")
def reads_the_caller(answer: Any) -> str:
    """A function that returns the name in a certificate's one DNS name, or None."""
    try_cases(answer, _readings, "your reader")
    return "one kind of name, exactly one of it, the whole of it as it is written, and the word of its own authority"


def _readings() -> Iterator[_Reading]:
    """Yield honest callers, and others who would like to be one of them."""
    ca = CertificateAuthority.create("callers-ca")
    name = random.choice(("alice", "bob", "carol", "dave")) + str(random.randrange(10**4))
    whole = name + PLACE
    common, dns, uri = f"CN={name}", x509.DNSName, x509.UniformResourceIdentifier
    honest: dict[str, tuple[str, list[x509.GeneralName]]] = {
        "a caller": (common, [dns(whole)]),
        "a caller with two common names": (f"CN=root,{common}", [dns(whole)]),
        "a caller with no subject": ("", [dns(whole)]),
        "a caller with another common name": ("CN=root", [dns(whole)]),
        "a caller with a URI and an address beside": (
            common,
            [uri("https://root.callers.example/"), dns(whole), x509.RFC822Name("root@callers.example")],
        ),
    }
    for what, (subject, names) in honest.items():
        yield _Reading(f"{what}, {name}", name, "an honest caller stays outside", _asked(ca, subject, names))
    yield from _rare(ca, name)
    for what, lets, names in _lookalikes(name):
        yield _Reading(what, None, lets, _asked(ca, common, names))
    foreign = (
        (
            "a certificate that another authority signed",
            "other-ca",
            "any authority that TLS trusts may speak for yours",
        ),
        ("one of another authority of the same name", "callers-ca", "an authority chooses its name: compare the key"),
    )
    for what, other, lets in foreign:
        signed = _asked(CertificateAuthority.create(other), common, [dns(whole)])[0]
        yield _Reading(what, None, lets, (signed, ca.certificate))
    forged = _forged(_asked(ca, "CN=mallory", [dns("m" * len(name) + PLACE)])[0], b"m" * len(name), name.encode())
    yield _Reading(
        "a certificate that was altered after it was signed",
        None,
        _EDITED,
        (forged, ca.certificate),
    )


def _rare(ca: CertificateAuthority, name: str) -> Iterator[_Reading]:
    """Yield honest callers with short names and a long one, one whose authority has another kind of key, and a twin."""
    other = CertificateAuthority.create("callers-ca", key_type="ed25519")
    rare = (random.choice("abcxyz"), str(random.randrange(10**4)), "a1" * 31)
    for what, called in zip(("a caller", "another caller", "a third caller"), rare, strict=True):
        asked = _asked(ca, f"CN={called}", [x509.DNSName(called + PLACE)])
        yield _Reading(f"{what}, {called}", called, "an honest caller stays outside", asked)
    asked = _asked(other, f"CN={name}", [x509.DNSName(name + PLACE)])
    yield _Reading("a caller whose authority has another kind of key", name, "an honest caller stays outside", asked)
    one = _asked(ca, f"CN={name}", [x509.DNSName(name + PLACE)])[0]
    yield _Reading("one more caller", name, "an honest caller stays outside", (one, ca.certificate))
    twin = _forged(one, one.signature, one.signature[:-1] + bytes([one.signature[-1] ^ 1]))
    yield _Reading("the same certificate under another signature", None, _EDITED, (twin, ca.certificate))


def _lookalikes(name: str) -> Iterator[tuple[str, str, list[x509.GeneralName]]]:
    """Yield what a caller is, what would happen if it were taken for `name`, and its names."""
    dns, whole = x509.DNSName, name + PLACE
    nobody = "the common name is text of any kind, and was not to count"
    yield "a certificate with a common name alone", nobody, []
    yield "a certificate whose only DNS name is elsewhere", nobody, [dns(f"{name}.example")]
    second = "who has two names is whichever the next program looks at"
    yield "two DNS names", second, [dns(whole), dns("root" + PLACE)]
    yield "two DNS names that are the same", "exactly one, it said", [dns(whole), dns(whole)]
    yield "two DNS names, the second somewhere else", second, [dns(whole), dns("www.example.org")]
    yield "two DNS names, the first somewhere else", second, [dns("www.example.org"), dns(whole)]
    part = "who owns another domain is your caller: look at the whole name"
    yield "a DNS name that goes on", part, [dns(f"{whole}.evil.example")]
    yield "a DNS name that begins earlier", part, [dns(f"www.{whole}")]
    yield "a DNS name without the first dot", "a dot in a pattern is any character", [dns(f"{name}xcallers.example")]
    yield "a DNS name without the second dot", "a dot in a pattern is any character", [dns(f"{name}.callersxexample")]
    yield "the place without a name", "an empty name is a caller", [dns("callers.example")]
    yield "an empty name in the place", "an empty name is a caller", [dns(PLACE)]
    spelling = "two spellings are one caller, and the next program may think otherwise"
    yield "a DNS name in upper case", spelling, [dns(whole.upper())]
    yield "a name with a capital", spelling, [dns(whole.capitalize())]
    yield "a DNS name with a dot at its end", spelling, [dns(whole + ".")]
    yield "a DNS name with a space before it", spelling, [dns(" " + whole)]
    yield (
        "a DNS name with a line break after it",
        "`$` also matches before a line break: fullmatch",
        [dns(whole + "\n")],
    )
    yield (
        "a DNS name with a null byte",
        "a program in C reads as far as the null byte",
        [dns(whole + "\0.evil.example")],
    )
    yield "a wildcard", "one certificate is everybody", [dns("*" + PLACE)]
    yield "a Cyrillic letter, as DNS writes it", "what looks like alice is alice", [dns("xn--lice-53d" + PLACE)]
    for mark in "-_":
        yield f"a name with {mark}", "letters and digits, it said", [dns(f"a{mark}{name}{PLACE}")]
    yield from _of_other_kinds(name, whole)


def _of_other_kinds(name: str, whole: str) -> Iterator[tuple[str, str, list[x509.GeneralName]]]:
    kind = "another kind of name counts, which its authority may never have checked"
    yield "the name in a URI", kind, [x509.UniformResourceIdentifier(f"https://{whole}/")]
    yield "the whole name as a URI", kind, [x509.UniformResourceIdentifier(whole)]
    yield "the name in an e-mail address", kind, [x509.RFC822Name(f"{name}@callers.example")]
    directory = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, whole)])
    yield "the name in a directoryName", kind, [x509.DirectoryName(directory)]


def _asked(
    ca: CertificateAuthority, subject: str, names: list[x509.GeneralName]
) -> tuple[x509.Certificate, x509.Certificate]:
    """Sign a client's certificate with any subject and names, whatever they are. Returns it, and the CA's own."""
    model, key = _model(ca), new_private_key().public_key()
    builder = x509.CertificateBuilder().subject_name(x509.Name.from_rfc4514_string(subject)).issuer_name(model.issuer)
    builder = builder.public_key(key).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(model.not_valid_before_utc).not_valid_after(model.not_valid_after_utc)
    for extension in model.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName | x509.SubjectKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject)
    return builder.sign(ca.private_key, signature_hash(ca.private_key)), ca.certificate


@lru_cache(maxsize=4)
def _model(ca: CertificateAuthority) -> x509.Certificate:
    """Issue a client's certificate, whose issuer, dates and profile others take over."""
    return ca.issue("model", CLIENT, days=1).certificate


def _forged(certificate: x509.Certificate, old: bytes, new: bytes) -> x509.Certificate:
    """Write another name of the same length into a certificate, under the old signature."""
    return x509.load_der_x509_certificate(certificate.public_bytes(Encoding.DER).replace(old, new))


# --- guard the reports -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """One call of an ASGI application.

    Fields: `who`, `method`, `raw` (the path as sent), `allowed`, `lets`, `headers`, `without`: "who" or "state", where
    that is not in the scope.
    """

    who: str | None
    method: str
    raw: str
    allowed: bool
    lets: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    without: str = ""

    def __str__(self) -> str:
        sent = "".join(f" with {name.decode()}: {value.decode()}" for name, value in self.headers)
        without = f", with no {self.without} in the scope" if self.without else ""
        return f"{self.method} {self.raw} by {self.who or 'nobody'}{sent}{without}"

    def scope(self) -> dict[str, Any]:
        path, _, query = self.raw.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "https",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"localhost"), *self.headers],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 3000),
            "extensions": {},
            **({} if self.without == "state" else {"state": {} if self.without == "who" else {"who": self.who}}),
        }


@checker("an ASGI application: async def answer(scope, receive, send)")
def guards_the_reports(answer: Any) -> str:
    """An ASGI application that lets each caller do what the rules allow, and nothing else."""
    guarded = Guarded(lambda calls: asyncio.run(_served(answer, calls)), "your application")
    expect(callable(answer), "the answer is the function itself, without parentheses after its name")
    for _ in range(2):
        calls = [*_honest(), *_attacks()]
        statuses = dict(guarded(random.sample(calls, len(calls))))
        for call in calls:
            _judge(call, statuses[call])
    return f"{len(calls)} calls, twice, in any order: what a rule allows, and nothing else"


async def _served(application: Callable[..., Any], calls: list[_Call]) -> list[tuple[_Call, object]]:
    return [(call, await _status(application, call)) for call in calls]


async def _status(application: Callable[..., Any], call: _Call) -> object:
    """Run one call. Returns the status that was sent, or a text that says what went wrong."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        del sent[100:-1]  # of who sends for ever, these tell enough

    try:
        await application(call.scope(), receive, send)
    except Exception as error:
        return f"it raised {type(error).__name__}: {error}"
    begun = [message for message in sent if message.get("type") == "http.response.start"]
    if len(begun) != 1 or sent[-1].get("type") != "http.response.body":
        return "it has to send one http.response.start, and then a body"
    return begun[0].get("status")


def _judge(call: _Call, status: object) -> None:
    if type(status) is not int and not isinstance(status, HTTPStatus):
        raise NotYet(f"{call}: {status if isinstance(status, str) else f'the status is {status!r}'}")
    answered = 200 <= status < 300
    if call.allowed:
        expect(answered, f"{call} is allowed, and gets {status}: an honest caller stays outside")
    elif not call.who:
        lets = call.lets if answered else "nobody, wherever it is, gets 401"
        expect(status == 401, f"{call} gets {status}, and 401 is wanted: {lets}")
    else:
        lets = call.lets if answered else "refuse with a status from 400 to 499"
        expect(400 <= status < 500, f"{call} gets {status}: {lets}")


def _honest() -> Iterator[_Call]:
    number = random.randrange(1000)
    for who in ("alice", "bob"):
        for path in (
            "/reports",
            f"/reports/{number}",
            f"/reports/2026/q{number}.pdf",
            f"/reports/{number}?as=pdf&x=../",
        ):
            yield _Call(who, "GET", path, True)
    yield _Call("alice", "POST", "/reports", True)
    yield _Call("alice", "POST", f"/reports/{number}", True)
    for method in ("GET", "DELETE"):
        for path in ("/admin", "/admin/users", f"/admin/users/{number}"):
            yield _Call("carol", method, path, True)
    for who in ("alice", "bob", "carol", f"guest{number}"):
        yield _Call(who, "GET", "/health", True)


_BELOW = "what only begins alike is below it: /reportsx is another place"
_CROOKED = "a forgiving server behind it serves /admin: take a path in its plain form only"
_METHODS = "a method that no rule names is allowed"
_HEADERS = "a header, which any caller can send, overrules the certificate"
_NAMES = "a name that only looks like alice's is hers: compare the whole name, as it is"

_CROOKED_PATHS = (
    "/reports/../admin",
    "/reports/%2e%2e/admin",
    "/reports/..%2fadmin",
    "/reports/x/../../admin",
    "/reports/./../admin",
    "/reports//../admin",
    "/reports/..",
    "/reports\\..\\admin",
    "/reports/..\\admin",
    "/reports/..;/admin",
    "/reports/%00",
    "/reports//admin",
)


_RULES = {"alice": {"/reports": "GET POST"}, "bob": {"/reports": "GET"}, "carol": {"/admin": "GET DELETE"}}
_KNOWN_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
_KNOWN_PATHS = ("/reports", "/reports/1", "/admin", "/admin/users", "/health")


def _attacks() -> Iterator[_Call]:
    """Yield what must be refused."""
    for path in ("/", "/reports", "/reports/1", "/admin", "/health", "/nothing", "//admin", "/%61dmin"):
        for without in ("", "who", "state"):
            lets = "who has no name is let in" if path != "/health" else "/health is for everybody known"
            yield _Call(None, "GET", path, False, lets, without=without)
    for who in ("alice", "bob", "mallory"):
        yield from (_Call(who, "GET", path, False, _CROOKED) for path in _CROOKED_PATHS)
        for path in (
            "/admin",
            "/admin/users",
            "//admin",
            "/%61dmin",
            "/ADMIN",
            "/./admin",
            "/admin/",
            "/health/../admin",
        ):
            yield _Call(who, "GET", path, False, "what belongs to carol is anybody's")
    for path in ("/reportsx", "/reports-old/1", "/reports.bak", "/administrator", "/", "/healthz", "/health/x", "/etc"):
        yield from (_Call(who, "GET", path, False, _BELOW) for who in ("alice", "carol"))
    yield from (_Call("carol", "GET", path, False, "carol reads the reports") for path in ("/reports", "/reports/1"))
    yield from (_Call("alice", method, "/reports/1", False, _METHODS) for method in ("TRACE", "POSTX", "post"))
    yield from (_Call("carol", method, "/admin/users", False, _METHODS) for method in ("TRACE", "GETX", "get"))
    for name, method, path in product((*_RULES, "mallory", None), _KNOWN_METHODS, _KNOWN_PATHS):
        place = "/" + path.split("/")[1]
        named = _RULES.get(name or "", {}).get(place, "").split() + ["GET"] * (path == "/health")
        named += ["HEAD"] * ("GET" in named)  # some take it for a GET
        if not name or method not in named:
            lets = _METHODS if name and named else "what belongs to others is anybody's"
            yield _Call(name, method, path, False, lets if name else "who has no name is let in")
    yield from _disguises()


def _disguises() -> Iterator[_Call]:
    """Yield who would be somebody else: by a name that looks like it, a header, or the query."""
    for who in (
        "mallory",
        "Alice",
        "ALICE",
        "alice ",
        " alice",
        "alice.example",
        "\u0430lice",
        "alic",
        "malice",
        "alice,bob",
    ):
        yield _Call(who, "GET", "/reports/1", False, _NAMES)
    for header in (b"x-forwarded-user", b"x-client-cert", b"authorization", b"x-remote-user"):
        yield _Call("mallory", "GET", "/reports/1", False, _HEADERS, ((header, b"alice"),))
    yield _Call("bob", "GET", "/admin", False, _HEADERS, ((b"x-original-url", b"/reports"),))
    yield _Call("bob", "POST", "/reports/1", False, _HEADERS, ((b"x-http-method-override", b"GET"),))
    yield _Call("mallory", "GET", "/reports/1?who=alice", False, "the query says who is calling")
    yield _Call("bob", "GET", "/admin?x=/reports/1", False, "the query is taken for the path")


# --- the open door ---------------------------------------------------------------------------------

Door = dict[str, Any]


def _cn(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _leaves_it_to_tls(_: Request) -> Reply:
    return Reply("welcome\n")


def _asks_for_a_name(req: Request) -> Reply:
    return Reply("who are you?\n", status=401) if req.client is None else Reply(f"Hello {_cn(req.client)}\n")


def _takes_none_for_not_needed(req: Request) -> Reply:
    if req.client is not None and not _cn(req.client):
        return Reply("who are you?\n", status=401)
    return Reply("welcome\n")


def _falls_back(req: Request) -> Reply:
    try:
        name = _cn(req.client)  # type: ignore[arg-type]
    except AttributeError:
        name = "guest"
    return Reply(f"Hello {name}\n")


def _minds_the_path(req: Request) -> Reply:
    if req.path.startswith("/admin") and req.client is None:
        return Reply("who are you?\n", status=401)
    return Reply("welcome\n")


_SAFE: tuple[Door, ...] = (
    {"client_auth": "required", "app": _leaves_it_to_tls},
    {"client_auth": "optional", "app": _asks_for_a_name},
    {"client_auth": "required", "app": _falls_back},
)
_OPEN: tuple[Door, ...] = (
    {"client_auth": "none", "app": _leaves_it_to_tls},
    {"client_auth": "optional", "app": _takes_none_for_not_needed},
    {"client_auth": "optional", "app": _falls_back},
    {"client_auth": "optional", "app": _minds_the_path},
)

_drawn: dict[str, Door] = {}
"""The doors of the last drawing, as they were: the reader may have changed theirs since."""


def four_doors() -> dict[str, Door]:
    """Draw four deployments, as keyword arguments of a `Server`. One of them fails open: which, and why, is chance."""
    drawn = random.sample([*_SAFE, random.choice(_OPEN)], 4)
    _drawn.update({name: dict(door) for name, door in zip(("north", "east", "south", "west"), drawn, strict=True)})
    return {name: dict(door) for name, door in _drawn.items()}


@checker('a pair: the door\'s name and its mended arguments, as in ("north", {"client_auth": …, "app": …})')
def mended_door(answer: Any) -> str:
    """The one deployment of four that fails open, and arguments with which it does not."""
    expect(bool(_drawn), "no doors have been drawn yet: run the first line of this cell")
    expect(isinstance(answer, tuple | list) and len(answer) == 2, "the answer is a pair: a door's name, and arguments")
    name, mended = answer
    expect(isinstance(name, str) and name in _drawn, f"the doors are {', '.join(_drawn)}")
    mended = genuine(mended, dict, "the second part is a dictionary of arguments, as four_doors gives it")
    expect("client_auth" in mended, "say client_auth: what is left out is whatever the next server has for a default")
    expect(_drawn[name] not in _SAFE, f"{name} turns away who has no certificate, if you knock: it is another one")
    ca = lab_ca("lab-10")
    server = ca.issue("localhost", SERVER, names=["localhost"])
    _knock(server, ca, mended)
    return "what fails open looks like what works, until somebody knocks who has no certificate"


_Knock = tuple[str, Credential | None, str, str]


def _knocks(ca: CertificateAuthority) -> list[_Knock]:
    alice = ca.issue("alice", CLIENT)
    stranger = CertificateAuthority.create("example-ca").issue("alice", CLIENT)
    number = random.randrange(10**6)
    knocks = [("GET", path) for path in ("/", "/admin", f"/reports/{number}", "/health", f"/a/b/c/{number}")]
    knocks += [(method, "/") for method in ("POST", "PUT", "DELETE")]
    asked = [
        (who, shown, *knock) for who, shown in (("shows no certificate", None), ("alice", alice)) for knock in knocks
    ]
    # No application hears of a stranger's certificate: TLS refuses it, or has not asked.
    return [*asked, ("comes from another authority", stranger, *random.choice(knocks))]


def _knock(server: Credential, ca: CertificateAuthority, door: Door) -> None:
    """Knock at a mended door, in any order. Raises `NotYet` for arguments that no server can be started with."""
    expect(set(door) <= {"client_auth", "app"}, "client_auth and app are all that there is to change")
    guarded = Guarded(door["app"], "the application") if "app" in door else None
    options = {**door, **({"app": guarded} if guarded else {})}
    try:
        running = Server(server, client_ca=ca.certificate, port=0, **options)
    except Exception as error:
        raise NotYet(f"no server starts with these arguments: {error}") from None
    knocks = _knocks(ca)
    contexts = {who: _of_caller(ca, caller) for who, caller in {who: caller for who, caller, _, _ in knocks}.items()}
    first, wrong = len(knocks), NotYet()  # of many hints the first one is told, whatever came first
    stays_out = ""  # whom TLS asks in vain for a certificate: it has not heard yet what is wanted
    with running:
        for place in random.sample(range(first), first):
            who, caller, method, path = knocks[place]
            if place < first and who != stays_out:
                shows = caller is not None
                answered = exchange(running.url + path, contexts[who], sent_certificate=shows, method=method)
                if answered.refusal and answered.refusal.reason == "no-client-certificate":
                    stays_out = who
                try:
                    _as_wanted(who, method, path, answered)
                except NotYet as hint:
                    first, wrong = place, hint
    if first < len(knocks):
        raise wrong


def _as_wanted(who: str, method: str, path: str, answered: Answer) -> None:
    """Raise `NotYet` for who is let in, or turned away, and should not be."""
    if who == "alice":
        told = f"alice, whom it is for, is turned away ({answered.status or 'by TLS'}) at {method} {path}"
        by_a_rule = answered.status == 403 and (method, path) != ("GET", "/")  # who is known may be told no
        expect(answered.status == 200 or by_a_rule, told)
    else:
        expect(not answered.ok, f"with it a caller gets in who {who}, at {method} {path}")
        expect(answered.status is None or 400 <= answered.status < 500, f"who {who} gets {answered.status}")


def _of_caller(ca: CertificateAuthority, caller: Credential | None) -> ssl.SSLContext:
    context = common(ssl.PROTOCOL_TLS_CLIENT)
    trust(context, [ca.certificate])
    if caller is not None:
        show(context, caller)
    return context
