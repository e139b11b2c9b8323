"""The checkers of notebook 10 turn away the wrong answers that people give, each with a hint that helps."""

import contextlib
import re
import shutil
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mtlslab import CertificateAuthority, Reply
from mtlslab.identity import Identity
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import guard as guard_module
from mtlslab.notebook.exercises import judges, page_10

OTHER_KINDS = [0, "", "yes", [], {}, object(), b"\x00", 3.5, {"a": 1}, ["a"], ("a", "b"), ("north", None), lambda: 1]


def test_any_other_kind_of_answer_gets_a_hint() -> None:
    """Whatever a learner puts there, the checker says 'Not yet' and never raises; None is not attempted."""
    exercises.four_doors()
    for check in (exercises.reads_the_caller, exercises.guards_the_reports, exercises.mended_door):
        assert check(None).text.startswith("Not attempted yet")
        for answer in OTHER_KINDS:
            assert check(answer).text.startswith("Not yet: "), (check, answer)


# --- a reader that nobody fools -------------------------------------------------------------------

PATTERN = r"([a-z0-9]+)\.callers\.example"


@cache
def hosts(certificate: x509.Certificate) -> list[str]:
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return san.get_values_for_type(x509.DNSName)


@cache
def is_signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:
        return False
    return True


def reader(
    names: Callable[[x509.Certificate], list[str]] = hosts,
    pick: Callable[[list[str]], str | None] = lambda found: found[0] if len(found) == 1 else None,
    match: Callable[[str], re.Match[str] | None] = lambda host: re.fullmatch(PATTERN, host),
    signed: Callable[[x509.Certificate, x509.Certificate], bool] = is_signed,
) -> Callable[[x509.Certificate, x509.Certificate], str | None]:
    """A right reader, or one with a part of it replaced."""

    def read(certificate: x509.Certificate, authority: x509.Certificate) -> str | None:
        host = pick(names(certificate))
        found = match(host) if host is not None else None
        return found[1] if found and signed(certificate, authority) else None

    return read


def by_identity(certificate: x509.Certificate, authority: x509.Certificate) -> str | None:
    if not is_signed(certificate, authority):
        return None
    name, _, place = (Identity.of(certificate).names.get("DNS", ("",)) * 1)[0].partition(".")
    only = len(Identity.of(certificate).names.get("DNS", ())) == 1
    plain = name.isascii() and name.isalnum() and name == name.lower()
    return name if only and plain and place == "callers.example" else None


def whole(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())


def once() -> Callable[..., str | None]:
    """Reads each certificate once: what has the same fingerprint is the same."""
    known: dict[bytes, str | None] = {}
    return lambda certificate, authority: known.setdefault(whole(certificate), reader()(certificate, authority))


def test_a_right_reader_is_right() -> None:
    """A reader without a pattern is right, too, and so is one that reads each certificate once."""
    for right in (by_identity, once()):
        said = exercises.reads_the_caller(right)
        assert said.correct, (right, said)


def common_names(certificate: x509.Certificate) -> list[str]:
    return [
        str(name.value) + ".callers.example" for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]


def all_names(certificate: x509.Certificate) -> list[str]:
    return hosts(certificate) or common_names(certificate)


def hosts_and_uris(certificate: x509.Certificate) -> list[str]:
    found = hosts(certificate)
    for one in certificate.extensions:
        if isinstance(one.value, x509.SubjectAlternativeName) and not found:
            found = [
                uri.removeprefix("https://").rstrip("/")
                for uri in one.value.get_values_for_type(x509.UniformResourceIdentifier)
            ]
    return found


def remembering(part: Callable[[x509.Certificate], object]) -> Callable[..., str | None]:
    """Reads a certificate once, and then goes by a part of it."""
    known: dict[object, str | None] = {}
    return lambda certificate, authority: known.setdefault(part(certificate), reader()(certificate, authority))


def raises(certificate: x509.Certificate, authority: x509.Certificate) -> str | None:
    certificate.verify_directly_issued_by(authority)
    return str(
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )[0]
    )


def ec_alone(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    try:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except (AssertionError, InvalidSignature):
        return False
    return True


WRONG_READERS: dict[str, tuple[Callable[..., Any], str]] = {
    "the common name": (
        reader(common_names, lambda found: found[0] if found else None),
        "honest caller",
    ),
    "the common name where no DNS name is": (reader(all_names), "common name is text"),
    "a URI where no DNS name is": (reader(hosts_and_uris), "another kind of name"),
    "the last of two": (reader(pick=lambda found: found[-1] if found else None), "who has two names"),
    "any that fits": (
        reader(pick=lambda found: next((one for one in found if re.fullmatch(PATTERN, one)), None)),
        "who has two names",
    ),
    "match, not fullmatch": (reader(match=lambda host: re.match(PATTERN, host)), "owns another domain"),
    "a dollar": (reader(match=lambda host: re.match(PATTERN + "$", host)), "line break"),
    "dots not escaped": (reader(match=lambda host: re.fullmatch("([a-z0-9]+).callers.example", host)), "any character"),
    "any case": (reader(match=lambda host: re.fullmatch(PATTERN, host, re.IGNORECASE)), "two spellings"),
    "stripped": (reader(match=lambda host: re.fullmatch(PATTERN, host.strip().rstrip("."))), "two spellings"),
    "as C reads": (reader(match=lambda host: re.fullmatch(PATTERN, host.partition("\0")[0])), "null byte"),
    "a wildcard": (reader(match=lambda host: re.fullmatch(r"([a-z0-9*]+)\.callers\.example", host)), "everybody"),
    "hyphens": (
        reader(match=lambda host: re.fullmatch(r"([a-z0-9-]+)\.callers\.example", host)),
        "looks like|letters and digits",
    ),
    "an underscore": (reader(match=lambda host: re.fullmatch(r"([a-z0-9_]+)\.callers\.example", host)), "letters and"),
    "a set of names": (
        reader(lambda certificate: list(set(hosts(certificate)))),
        "two DNS names that are the same",
    ),
    "a letter first": (
        reader(match=lambda host: re.fullmatch(rf"([a-z][a-z0-9]*){PATTERN[12:]}", host)),
        "stays outside",
    ),
    "three letters at least": (
        reader(match=lambda host: re.fullmatch(rf"([a-z0-9]{{3,}}){PATTERN[12:]}", host)),
        "stays outside",
    ),
    "EC by hand": (reader(signed=ec_alone), "another kind of key: an honest"),
    "several labels": (reader(match=lambda host: re.fullmatch(r"(.+)\.callers\.example", host)), "Not yet"),
    "an empty name": (reader(match=lambda host: re.fullmatch(r"([a-z0-9]*)\.callers\.example", host)), "empty name"),
    "only its own authority's signature": (
        reader(signed=lambda one, ca: one.issuer != ca.subject or is_signed(one, ca)),
        "any authority that TLS trusts may speak for yours",
    ),
    "the issuer's name": (reader(signed=lambda one, ca: one.issuer == ca.subject), "compare the key|whoever can edit"),
    "by id": (remembering(id), "Not yet"),
    "by what was signed": (remembering(lambda certificate: certificate.tbs_certificate_bytes), "Not yet"),
    "sixty letters at most": (
        reader(match=lambda host: re.fullmatch(rf"([a-z0-9]{{1,60}}){PATTERN[12:]}", host)),
        "stays outside",
    ),
    "everybody is alice": (lambda *_: "alice", "Not yet"),
    "nobody is anybody": (lambda *_: None, "says None"),
    "the certificate's own objects": (lambda one, _: one.subject, "Not yet"),
    "a reader that raises": (raises, "raised|honest"),
    "a reader of one argument": (common_names, "raised"),
}


def test_a_careless_reader_learns_what_it_lets_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each careless reader is turned away with a hint that says who would get in."""
    rounds = cycle([list[judges.Case](page_10._readings()) for _ in range(2)])  # to make them takes longer
    monkeypatch.setattr(page_10, "_readings", lambda: next(rounds))
    for name, (wrong, hint) in WRONG_READERS.items():
        said = exercises.reads_the_caller(wrong)
        assert said.correct is False, name
        assert re.search(hint, said.text), (name, said)


# --- guard the reports ----------------------------------------------------------------------------

RULES = {"alice": {"/reports": "GET POST"}, "bob": {"/reports": "GET"}, "carol": {"/admin": "GET DELETE"}}
PLAIN = r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"


def guard(
    *,
    who: Callable[[dict[str, Any]], Any] = lambda scope: scope.get("state", {}).get("who"),
    path: Callable[[dict[str, Any]], str] = lambda scope: scope["path"],
    method: Callable[[dict[str, Any]], str] = lambda scope: scope["method"],
    plain: Callable[[str], object] = lambda path: re.fullmatch(PLAIN, path),
    below: Callable[[str, str], bool] = lambda path, place: path == place or path.startswith(place + "/"),
    nobody: int = 401,
    refused: int = 403,
    health: Callable[[Any, str, str], bool] = lambda who, method, path: (
        bool(who) and (method, path) == ("GET", "/health")
    ),
) -> Callable[..., Any]:
    """A right application, or one with a part of it replaced."""

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        name, there, how = who(scope), path(scope), method(scope)
        allowed = plain(there) and any(
            how in methods.split() and below(there, place) for place, methods in RULES.get(name, {}).items()
        )
        status = nobody if not name else 200 if allowed or health(name, how, there) else refused
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return application


class Application:
    """An application with a class around it, as Starlette's are."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await guard()(scope, receive, send)


def segments(path: str) -> bool:
    return path.startswith("/") and all(
        part not in ("", ".", "..") and re.fullmatch("[A-Za-z0-9._-]+", part) for part in path.split("/")[1:]
    )


def unless_it_is_none(who: Any) -> Any:
    """Take whoever has a name for somebody, as the page says: nobody is None, or not there."""
    return "" if who is None else who or "the nameless"


async def by_none(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await guard(who=lambda scope: unless_it_is_none(who_asks(scope)))(scope, receive, send)


RIGHT_GUARDS: dict[str, Callable[..., Any]] = {
    "None is nobody": by_none,
    "an HTTPStatus": guard(nobody=HTTPStatus.UNAUTHORIZED),
    "with 404": guard(refused=404),
    "by segments": guard(plain=segments),
    "a class": Application(),
    "by the raw path": guard(path=lambda s: s["raw_path"].decode()),
    "HEAD as GET": guard(method=lambda s: "GET" if s["method"] == "HEAD" else s["method"]),
}


def test_a_right_guard_is_right() -> None:
    """Patterns, segments, the path as it came, another status from 400 to 499, a class: all are right."""
    for name, right in RIGHT_GUARDS.items():
        said = exercises.guards_the_reports(right)
        assert said.correct, (name, said)


def test_the_attack_has_a_hundred_calls() -> None:
    """At least a hundred calls must be refused, and some twenty be answered."""
    assert len(list(page_10._attacks())) >= 100
    assert len(list(page_10._honest())) >= 20


def header(scope: dict[str, Any], name: bytes) -> str | None:
    return next((value.decode() for key, value in scope["headers"] if key == name), None)


def sticky() -> Callable[..., Any]:
    last: list[str] = []

    def who(scope: dict[str, Any]) -> Any:
        if name := scope.get("state", {}).get("who"):
            last[:] = [name]
        return last[0] if last else None

    return guard(who=who)


async def silent(scope: dict[str, Any], receive: Any, send: Any) -> None:
    pass


async def forgetful(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await guard(who=lambda scope: scope["state"]["who"])(scope, receive, send)


def synchronous(scope: dict[str, Any], receive: Any, send: Any) -> None:
    pass


def who_asks(scope: dict[str, Any]) -> Any:
    return scope.get("state", {}).get("who")


def healthy(who: Any, how: str, there: str) -> bool:
    return bool(who) and (how, there) == ("GET", "/health")


async def crooked_first(scope: dict[str, Any], receive: Any, send: Any) -> None:
    plain = re.fullmatch(PLAIN, scope["path"])
    await guard(nobody=401 if plain else 400)(scope, receive, send)


class Whatever(int):
    """A number that is equal to any, and greater, and less."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    __le__ = __ge__ = __lt__ = __gt__ = __eq__


WRONG_GUARDS: dict[str, tuple[Callable[..., Any], str]] = {
    "every place is below": (guard(below=lambda *_: True), "forgiving|anybody|no rule|begins alike"),
    "startswith without a slash": (
        guard(below=lambda path, place: path.startswith(place)),
        "reportsx is another place|begins alike",
    ),
    "anybody may delete": (
        guard(health=lambda who, how, there: bool(who) and (how == "DELETE" or (how, there) == ("GET", "/health"))),
        "belongs to others|no rule",
    ),
    "guests may post": (
        guard(health=lambda who, how, there: (who == "mallory" and how == "POST") or healthy(who, how, there)),
        "mallory gets 200",
    ),
    "anybody asks for options": (
        guard(health=lambda who, how, there: bool(who) and (how == "OPTIONS" or healthy(who, how, there))),
        "anybody|no rule",
    ),
    "carol looks at heads": (
        guard(health=lambda who, how, there: (who, how) == ("carol", "HEAD") or healthy(who, how, there)),
        "by carol gets 200",
    ),
    "carol puts": (
        guard(health=lambda who, how, there: (who, how) == ("carol", "PUT") or healthy(who, how, there)),
        "by carol gets 200",
    ),
    "nobody posts": (
        guard(who=lambda scope: who_asks(scope) or (scope["method"] != "GET" and "alice")),
        "by nobody gets",
    ),
    "a status that is whatever you like": (guard(nobody=Whatever(401), refused=Whatever(403)), "the status is"),
    "any path": (guard(plain=lambda _: True), "forgiving server"),
    "no dots after a slash only": (guard(plain=lambda path: "/../" not in path), "forgiving server"),
    "no double dots": (guard(plain=lambda path: ".." not in path), "forgiving server"),
    "lower case made": (guard(who=lambda scope: (scope.get("state", {}).get("who") or "").lower()), "looks like alice"),
    "stripped": (guard(who=lambda scope: (scope.get("state", {}).get("who") or "").strip()), "looks like alice"),
    "health for all methods": (guard(health=lambda who, _, path: bool(who) and path == "/health"), "method"),
    "health begins": (
        guard(health=lambda who, method, path: bool(who) and method == "GET" and path.startswith("/health")),
        "begins alike|carol",
    ),
    "403 for nobody": (guard(nobody=403), "gets 403, and 401 is wanted: nobody, wherever it is, gets 401"),
    "nobody's path looked at first": (crooked_first, "gets 400, and 401 is wanted: nobody, wherever it is, gets 401"),
    "None is somebody": (guard(who=lambda scope: str(who_asks(scope))), "by nobody gets"),
    "500 for the refused": (guard(refused=500), "gets 500: refuse with a status from 400 to 499"),
    "a redirect for the refused": (guard(refused=302), "gets 302: refuse with a status from 400 to 499"),
    "200 for the refused": (guard(refused=200), "gets 200"),
    "nobody is let in": (guard(nobody=200), "401"),
    "a header": (
        guard(who=lambda scope: header(scope, b"x-forwarded-user") or scope.get("state", {}).get("who")),
        "header",
    ),
    "a header for the method": (
        guard(method=lambda scope: header(scope, b"x-http-method-override") or scope["method"]),
        "header",
    ),
    "a header for the path": (guard(path=lambda scope: header(scope, b"x-original-url") or scope["path"]), "header"),
    "methods in upper case": (guard(method=lambda scope: scope["method"].upper()), "method"),
    "the path with its query": (
        guard(path=lambda scope: scope["path"] + (b"?" + scope["query_string"]).decode().rstrip("?")),
        "honest caller",
    ),
    "the last caller remembered": (sticky(), "401|looks|who has no name|nobody"),
    "no answer": (silent, "http.response.start"),
    "a state that must be there": (forgetful, "KeyError"),
    "no coroutine": (synchronous, "Not yet"),
    "nobody at all": (guard(below=lambda *_: False), "honest caller"),
}


def test_a_careless_guard_learns_what_it_lets_happen() -> None:
    """Each careless application is turned away with a hint that says what it lets happen."""
    for name, (wrong, hint) in WRONG_GUARDS.items():
        said = exercises.guards_the_reports(wrong)
        assert said.correct is False, name
        assert re.search(hint, said.text), (name, said)


def test_an_application_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker does not wait for ever, nor fill the memory, and leaves no thread behind that keeps Python alive."""
    monkeypatch.setattr(guard_module, "PATIENCE", 0.2)

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await send({"type": "http.response.start", "status": 200})

    tracemalloc.start()
    said = exercises.guards_the_reports(endless)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said.correct is False
    assert peak < 3_000_000
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


# --- the open door --------------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertificateAuthority]:
    """The CA that the page has made in its folder."""
    folder, made = tmp_path_factory.mktemp("page"), CertificateAuthority.create("example-ca")
    made.save(folder / "lab-10")
    with contextlib.chdir(folder):
        yield made


def the_open_one(doors: dict[str, Any]) -> str:
    return next(name for name, door in doors.items() if door not in page_10._SAFE)


def asks(req: Any) -> Reply:
    return Reply("", status=401) if req.client is None else Reply("hello")


def test_four_doors_are_drawn_anew() -> None:
    """Each drawing has three safe doors and an open one; which and why varies."""
    drawings = [exercises.four_doors() for _ in range(60)]
    assert all(sum(door in page_10._SAFE for door in doors.values()) == 3 for doors in drawings)
    assert {the_open_one(doors) for doors in drawings} == {"north", "east", "south", "west"}
    assert len({(door["client_auth"], door["app"]) for doors in drawings for door in doors.values()}) == 7


def test_each_open_door_is_mended_by_tls_that_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    """As each was drawn, who shows no certificate is in. TLS that insists is right, whatever the application does."""
    for fault in page_10._OPEN:
        monkeypatch.setattr(page_10, "_OPEN", (fault,))
        doors = exercises.four_doors()
        name = the_open_one(doors)
        let_in = "Not yet: with it a caller gets in who shows no"
        assert exercises.mended_door((name, doors[name])).text.startswith(let_in), fault
    said = exercises.mended_door((name, {**doors[name], "client_auth": "required"}))
    assert said.correct, said.text


def test_an_open_door_can_be_mended_by_an_application_that_asks() -> None:
    """An application that asks is right, if TLS asks too."""
    mended = {"client_auth": "optional", "app": asks}
    said = exercises.mended_door((the_open_one(exercises.four_doors()), mended))
    assert said.correct, said.text


def test_the_page_s_own_application_mends_it(ca: CertificateAuthority) -> None:
    """An application that asks for the name, its authority's key and a rule lets in alice, who has all three."""

    def guarded(req: Any) -> Reply:
        name = None
        if req.client and is_signed(req.client, ca.certificate):
            name = Identity.of(req.client).only("URI")
        is_alice = name == "https://callers.example/alice"
        allowed = is_alice and req.method == "GET" and (req.path == "/" or req.path.startswith("/reports/"))
        return Reply("", status=200 if allowed else 403 if name else 401)

    name = the_open_one(exercises.four_doors())
    said = exercises.mended_door((name, {"client_auth": "optional", "app": guarded}))
    assert said.correct, said.text


def test_without_the_page_s_ca_the_reader_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cells above have not run, the checker says so."""
    monkeypatch.chdir(tmp_path)
    said = exercises.mended_door((the_open_one(exercises.four_doors()), {"client_auth": "required"}))
    assert "run the cells above first" in said.text


WRONG_DOORS: dict[str, tuple[dict[str, Any], str]] = {
    "nobody is asked, and all are refused": ({"client_auth": "none", "app": asks}, "alice, whom it is for"),
    "nobody gets in": ({"client_auth": "required", "app": lambda _: Reply("", status=403)}, "alice, whom it is for"),
    "an error for nobody": ({"client_auth": "optional", "app": lambda req: str(req.client.subject)}, "gets 500"),
    "nothing": ({}, "say client_auth"),
    "an application alone": ({"app": lambda _: "hi"}, "say client_auth"),
    "another word": ({"client_auth": "sometimes", "app": asks}, "no server starts"),
    "another option": ({"client_auth": "required", "client_ca": None}, "all that there is to change"),
    "no application": ({"client_auth": "required", "app": 7}, "without parentheses"),
    "only GET is guarded": (
        {"client_auth": "optional", "app": lambda req: asks(req) if req.method == "GET" else Reply("in")},
        "shows no certificate, at POST",
    ),
    "alice may look, and do nothing": (
        {"client_auth": "required", "app": lambda req: "in" if req.method == "GET" else Reply("", status=405)},
        r"is turned away \(405\) at",
    ),
    "all but /health is guarded": (
        {"client_auth": "optional", "app": lambda req: Reply("in") if req.path == "/health" else asks(req)},
        "shows no certificate, at GET /health",
    ),
}


def test_a_door_that_is_not_mended_is_turned_away() -> None:
    """Each mending that lets nobody's caller in, or alice out, is turned away with a hint."""
    door = the_open_one(exercises.four_doors())
    for name, (mended, hint) in WRONG_DOORS.items():
        said = exercises.mended_door((door, mended))
        assert said.correct is False, name
        assert re.search(hint, said.text), (name, said)


def test_a_safe_door_is_not_the_open_one() -> None:
    """Whoever guesses is told to knock; so is who changes the drawn dictionary before naming a safe door."""
    doors = exercises.four_doors()
    for name in set(doors) - {the_open_one(doors)}:
        doors[name]["client_auth"] = "none"
        said = exercises.mended_door((name, {"client_auth": "required"}))
        assert said.correct is False
        assert "another one" in said.text
    assert exercises.mended_door(("middle", {"client_auth": "required"})).correct is False


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three checkers write no file beside the page's own, and leave no thread."""
    shutil.copytree("lab-10", tmp_path / "lab-10")
    monkeypatch.chdir(tmp_path)
    before = threading.active_count()
    doors = exercises.four_doors()
    assert exercises.reads_the_caller(reader()).correct
    assert exercises.guards_the_reports(guard()).correct
    assert exercises.mended_door((the_open_one(doors), {"client_auth": "required"})).correct
    assert {path.name for path in tmp_path.rglob("*")} == {"lab-10", "ca.crt", "ca.key", ".solved.json"}
    assert threading.active_count() <= before
