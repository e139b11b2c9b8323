"""What all checkers share: what they say, how they are made, and the trials that they put an answer to."""

from __future__ import annotations

import json
import os
import random
import re
import reprlib
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, wraps
from pathlib import Path, PosixPath, WindowsPath
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtlslab import contexts, errors, refusals
from mtlslab.authority import CertificateAuthority
from mtlslab.client import request
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import Credential
from mtlslab.exchanges import Answer
from mtlslab.notebook.exercises.guard import Guarded, NotYet, Outcome, contained, expect
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.refusals import End

__all__ = [
    "CHECKERS",
    "Case",
    "Feedback",
    "Guarded",
    "Met",
    "NotYet",
    "Outcome",
    "afresh",
    "callers",
    "checker",
    "dial",
    "door",
    "doors",
    "expect",
    "expect_nothing_loose",
    "fresh_name",
    "genuine",
    "handshake",
    "lab_ca",
    "meet",
    "try_cases",
]


@dataclass(frozen=True)
class Feedback:
    """What a checker says. Fields: `correct` (None: not attempted), `text`."""

    correct: bool | None
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        verdict, colon, rest = self.text.partition(":")
        return f"**{verdict}{colon}**{rest}"


CHECKERS: dict[str, Callable[[Any], Feedback]] = {}
"""Every checker, by name."""

SOLVED = ".solved.json"
"""The file in a notebook's `lab-NN` that remembers which of its exercises are solved."""


def checker(wants: str) -> Callable[[Callable[[Any], str]], Callable[[Any], Feedback]]:
    """Make a checker of a function that raises `NotYet` or returns why the answer is right.

    `wants` names what an answer is, for those that are something else altogether. What is solved is remembered.
    """

    def decorate(judge: Callable[[Any], str]) -> Callable[[Any], Feedback]:
        @wraps(judge)
        def check(answer: Any) -> Feedback:
            if answer is None:
                return Feedback(None, "Not attempted yet: replace None with your answer, and run this cell again")
            try:
                with contained():
                    reason = judge(answer)
            except NotYet as hint:
                return Feedback(False, f"Not yet: {hint}")
            except (Exception, SystemExit):  # an answer of another kind than the judge expected
                return Feedback(False, f"Not yet: the answer is {wants}")
            _remember(judge)
            return Feedback(True, f"Correct: {reason}")

        CHECKERS[judge.__name__] = check
        return check

    return decorate


def _remember(judge: Callable[[Any], str]) -> None:
    page = re.search(r"page_(\d\d)$", judge.__module__)
    file = Path(f"lab-{page[1]}" if page else "", SOLVED)
    if page and file.parent.is_dir():
        with suppress(OSError, ValueError):
            solved = json.loads(file.read_text()) if file.exists() else []
            file.write_text(json.dumps(sorted({*solved, judge.__name__})) + "\n")


# --- what an answer is -----------------------------------------------------------------------------


_Kind = TypeVar("_Kind")


def genuine(answer: object, kind: type[_Kind], hint: str) -> _Kind:
    """Return the answer if it is exactly of this type, and not of one that only looks like it; else raise `NotYet`."""
    if type(answer) is not kind:
        raise NotYet(hint)
    return answer


def fresh_name() -> str:
    """Make up a common name that no answer can have been fitted to."""
    return f"{random.choice(('alice', 'bob', 'carol', 'printer', 'orders', 'billing'))}-{random.randrange(10**6):06}"


def lab_ca(folder: str) -> CertificateAuthority:
    """Load the CA that a notebook has made in its folder. Raises `NotYet` where it has not."""
    try:
        return CertificateAuthority.load(folder)
    except errors.MtlslabError as error:
        raise NotYet(f"the checker needs {folder}: run the cells above first ({error})") from None


# --- a function, on cases it has not seen ----------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One thing to try a function on.

    Fields: `name`, what it is, as in "a root with an Ed25519 key"; `wants`, what must be returned; `lets`, what
    another answer would let happen; `given`, the function's arguments.
    """

    name: str
    wants: object
    lets: str
    given: tuple[Any, ...]

    def judge(self, outcome: Outcome, what: str) -> None:
        """Raise `NotYet` unless the call returned what is wanted, and that very type."""
        expect(outcome.error is None, f"for {self.name}, {what} raised {outcome.told}")
        kind = type(self.wants).__name__
        said = outcome.value
        expect(said is not None or self.wants is None, f"for {self.name}, {what} returns None; let it return {kind}")
        expect(
            self.wants is None or type(said) is type(self.wants),
            f"for {self.name}, {what} returned {type(said).__name__}, and not {kind}",
        )
        expect(said == self.wants, f"{what} says {reprlib.repr(said)} for {self.name}: {self.lets}")


def try_cases(
    function: object,
    cases: Callable[[], Iterable[Case]],
    what: str = "your function",
    read: Callable[[Any], object] = lambda value: value,
) -> None:
    """Call a function on every case, twice: fresh ones and in another order each time. Raises `NotYet`.

    What it is given dies with each call: whoever goes by `id()` takes the next one for it. `read` turns what it
    returns into what the cases want; it may raise `NotYet`.
    """
    guarded, places = Guarded(function, what), set[int]()
    for _ in range(2):
        listed = list(cases())
        wrong: NotYet | None = None
        first = len(listed)  # of many hints the first one is told, whatever came first: what stands below need no try
        for place in random.sample(range(first), first):
            if place < first:
                case = listed[place]
                outcome = guarded.attempt(*_in_an_old_place(case.given, places))
                try:
                    case.judge(outcome if outcome.error else Outcome(read(outcome.value)), what)
                except NotYet as hint:
                    first, wrong = place, hint
        if wrong:
            raise wrong


_LOADERS: dict[Any, Callable[[bytes], Any]] = {
    x509.Certificate: x509.load_der_x509_certificate,
    x509.CertificateSigningRequest: x509.load_der_x509_csr,
}


def afresh(given: Any) -> Any:
    """Return the same once more, in new objects."""
    for kind, load in _LOADERS.items():
        if isinstance(given, kind):
            return load(given.public_bytes(Encoding.DER))
    if is_dataclass(given) and not isinstance(given, type):
        return replace(given, **{name: afresh(part) for name, part in vars(given).items() if type(part) is not tuple})
    if type(given) in (list, tuple, set):
        return type(given)(map(afresh, given))
    return bytes(bytearray(given)) if type(given) is bytes else given


def _in_an_old_place(given: tuple[Any, ...], places: set[int]) -> tuple[Any, ...]:
    """Return arguments afresh, the first of them where another lay before, if that can be had within a few tries."""
    first, *others = given
    tries = [afresh(first)]
    while id(tries[-1]) not in places and len(tries) < 20:
        tries.append(afresh(first))
    places.add(id(tries[-1]))
    return tries[-1], *map(afresh, others)


# --- handshakes, in memory -------------------------------------------------------------------------


@dataclass(frozen=True)
class Met:
    """How a handshake ended. Fields: `client` and `server`, the reason for which each end said no, "" if it did not;
    `version`, as in "TLSv1.3"; `caller`, the client's certificate as the server has it, and `shown`, the server's as
    the client has it, both in DER.
    """

    client: str
    server: str
    version: str | None
    caller: bytes | None
    shown: bytes | None

    @property
    def refused(self) -> str:
        """Why there is no connection: the reason of whoever said no first; "" if there is one."""
        return self.client or self.server


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost") -> Met:
    """Let two contexts shake hands in memory, under guard: a context may hold functions of the reader's."""
    met: Met = Guarded(_shake, "the handshake")(client, server, host)
    return met


def _shake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> Met:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends: dict[End, ssl.SSLObject] = {
        "client": client.wrap_bio(to_client, to_server, server_hostname=host),
        "server": server.wrap_bio(to_server, to_client, server_side=True),
    }
    said: dict[End, str] = {"client": "", "server": ""}
    done: set[End] = set()
    for end in ("client", "server") * 4:
        if end in done:
            continue
        try:
            ends[end].do_handshake()
            done.add(end)
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            said[end] = _reason(error, end)
            break
    if not any(said.values()) and len(done) < 2:
        said["server"] = "connection-lost"
    caller = ends["server"].getpeercert(binary_form=True) if "server" in done else None
    shown = ends["client"].getpeercert(binary_form=True) if "client" in done else None
    return Met(said["client"], said["server"], ends["server"].version(), caller, shown)


def _reason(error: ssl.SSLError, end: End) -> str:
    found = refusals.from_exception(error, seen_by=end, tls_version=None, sent_certificate=True, in_handshake=True)
    return found.reason if found else error.reason or str(error)


def _end(
    protocol: int, trusted: x509.Certificate, shown: Credential | None, tls_max: TLSVersion | None = None
) -> ssl.SSLContext:
    """Make one strict end of mutual TLS."""
    context = contexts.common(protocol, tls_max)
    context.verify_mode = ssl.CERT_REQUIRED
    contexts.trust(context, [trusted])
    if shown is not None:
        contexts.show(context, shown)
    return context


def door(
    role: End, shown: Credential, root: x509.Certificate, host: str = "localhost", *, partial_chain: bool = True
) -> str:
    """Show a credential as a server, or as a client, to a strict other end that trusts `root` alone.

    Returns the reason of the refusal, "" where the door opens. Without `partial_chain` the chain has to end at a
    self-signed certificate.
    """
    others, judge = _doorkeeper(role, root, partial_chain)
    if role == "server":
        return handshake(judge, _end(ssl.PROTOCOL_TLS_SERVER, others, shown), host).refused
    return handshake(_end(ssl.PROTOCOL_TLS_CLIENT, others, shown), judge).refused


def doors(shown: Credential, root: x509.Certificate, host: str = "localhost") -> dict[End, str]:
    """Show a credential at both doors. Returns for each role the reason of the refusal, "" where the door opens."""
    return {"server": door("server", shown, root, host), "client": door("client", shown, root, host)}


@lru_cache(maxsize=16)
def _doorkeeper(role: End, root: x509.Certificate, partial_chain: bool) -> tuple[x509.Certificate, ssl.SSLContext]:
    """Make the other end of this role, which trusts `root`. Returns first the CA that its own certificate is from."""
    other = CertificateAuthority.create("other-ca")
    if role == "server":
        judge = _end(ssl.PROTOCOL_TLS_CLIENT, root, other.issue("caller", CLIENT))
    else:
        judge = _end(ssl.PROTOCOL_TLS_SERVER, root, other.issue("localhost", SERVER, names=["localhost"]))
    if not partial_chain:
        judge.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
    return other.certificate, judge


def callers(ca: CertificateAuthority) -> Iterator[tuple[str, Credential | None]]:
    """Make whoever may knock at a server that trusts `ca`, one after the other: a friend first, then all the others."""
    name = str(ca.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    now = datetime.now(UTC)
    yield "a friend", ca.issue(fresh_name(), CLIENT)
    yield "nobody", None
    yield "a stranger", CertificateAuthority.create("stranger-ca").issue(fresh_name(), CLIENT)
    yield "a namesake", CertificateAuthority.create(name).issue(fresh_name(), CLIENT)
    yield "a server", ca.issue("localhost", SERVER, names=["localhost"])
    yield "a friend of last year", ca.issue(fresh_name(), CLIENT, not_before=now - timedelta(days=400), days=30)
    yield "a friend of next year", ca.issue(fresh_name(), CLIENT, not_before=now + timedelta(days=30), days=30)


def meet(
    server: ssl.SSLContext, ca: CertificateAuthority, tls_max: TLSVersion | None = None, host: str = "localhost"
) -> Iterator[tuple[str, Met]]:
    """Let the `callers` of `ca`, who trust it, shake hands with a server's context. Yields who, and how they fared."""
    for who, shown in callers(ca):
        yield who, handshake(_end(ssl.PROTOCOL_TLS_CLIENT, ca.certificate, shown, tls_max), server, host)


_LOOSE = ssl.VerifyFlags(0x10 | 0x40)
"""X509_V_FLAG_IGNORE_CRITICAL and X509_V_FLAG_ALLOW_PROXY_CERTS, for which Python has no names."""


def expect_nothing_loose(context: ssl.SSLContext, ca: x509.Certificate) -> None:
    """Raise `NotYet` if a server's context takes weak keys, overlooks something, or trusts others than `ca`."""
    level = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).security_level
    expect(context.security_level >= level, "it takes keys that can be worked out: leave @SECLEVEL as it is")
    expect(not context.verify_flags & _LOOSE, "it overlooks what it does not know, or takes proxies: see verify_flags")
    written = context.keylog_filename in (None, os.environ.get("SSLKEYLOGFILE"))
    expect(written, "it writes its secrets into a file, and whoever has that reads every word: see keylog_filename")
    loaded = {x509.load_der_x509_certificate(der) for der in context.get_ca_certs(binary_form=True)}
    only = loaded == {ca} and context.cert_store_stats()["x509"] == 1
    expect(only, "it believes other authorities too: load its ca.crt, and nothing else")


# --- a real connection -----------------------------------------------------------------------------


def dial(url: str, answer: object, **options: Any) -> Answer:
    """Make a real request with the reader's files. `answer` maps cacert, cert and key to paths, and nothing else.

    Raises `NotYet` for other options, for what is no regular file, and where the client does not even dial.
    """
    files: dict[Any, Any] = genuine(answer, dict, "the answer is a dictionary: cacert, cert and key")
    expect(
        all(type(option) is str and option in ("cacert", "cert", "key") for option in files),
        "name files, cacert, cert and key; verification is on at both ends, and stays on",
    )
    for option, file in files.items():
        expect(type(file) in (str, PosixPath, WindowsPath), f"{option} is the path of a file, as str or Path")
        expect(Path(file).is_file(), f"{option}: there is no file {Path(file).name}")
    try:
        return request(url, **files, **options)
    except errors.MtlslabError as error:
        raise NotYet(f"the client stops before it dials: {error}") from None
