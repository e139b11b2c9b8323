"""The exercises of notebook 12, renew, replace, revoke."""

from __future__ import annotations

import gc
import opcode
import os
import random
import ssl
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import contexts
from mtlslab.authority import CertificateAuthority
from mtlslab.client import exchange
from mtlslab.credentials import Credential, certificate_pem, private_key_pem
from mtlslab.notebook.exercises import guard
from mtlslab.notebook.exercises.judges import (
    Guarded,
    NotYet,
    callers,
    checker,
    expect,
    expect_nothing_loose,
    fresh_name,
    handshake,
)
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.server import Request, Server

__all__ = ["renewing_pool", "six_steps", "surviving_reload"]

LOCALHOST = ("localhost", "127.0.0.1", "::1")


def _end(protocol: int, shown: Credential | None, trusted: list[x509.Certificate]) -> ssl.SSLContext:
    context = contexts.common(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    contexts.trust(context, trusted)
    if shown is not None:
        contexts.show(context, shown)
    return context


# --- the order of six steps ------------------------------------------------------------------------

REQUESTS = 2
"""How many requests each kind of client makes after each step."""

STEPS: dict[str, dict[str, str]] = {
    "the server trusts both": {"server trusts": "old new"},
    "the server shows new": {"server shows": "new"},
    "the server trusts new alone": {"server trusts": "new"},
    "the web clients trust both": {"web clients trusts": "old new"},
    "the web clients show new": {"web clients shows": "new"},
    "the kiosk is visited": {"kiosk trusts": "old new", "kiosk shows": "new"},
}
"""What each step changes. The kiosk's is one step: a technician comes once."""


class _World:
    """A server, its web clients and a kiosk, in the middle of a replacement of the root."""

    def __init__(self) -> None:
        self.cas = {name: CertificateAuthority.create(f"{name}-ca") for name in ("old", "new")}
        self.state = dict.fromkeys(
            [f"{end} {verb}" for end in ("server", "web clients", "kiosk") for verb in ("trusts", "shows")], "old"
        )
        self._shown = {
            (end, name): ca.issue("localhost", SERVER, names=LOCALHOST) if end == "server" else ca.issue(end, CLIENT)
            for end in ("server", "web clients", "kiosk")
            for name, ca in self.cas.items()
        }
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}

    def shown(self, end: str) -> Credential:
        return self._shown[end, self.state[f"{end} shows"]]

    def trusted(self, end: str) -> list[x509.Certificate]:
        return [self.cas[name].certificate for name in self.state[f"{end} trusts"].split()]

    def context(self, end: str) -> ssl.SSLContext:
        """Return what this kind of client dials with."""
        now = end, self.state[f"{end} trusts"], self.state[f"{end} shows"]
        if now not in self._contexts:
            self._contexts[now] = _end(ssl.PROTOCOL_TLS_CLIENT, self.shown(end), self.trusted(end))
        return self._contexts[now]

    def take(self, step: str, server: Server) -> None:
        before = dict(self.state)
        self.state |= STEPS[step]
        if self.state["server trusts"] != before["server trusts"]:
            server.trust(self.trusted("server"))
        if self.state["server shows"] != before["server shows"]:
            server.renew(self.shown("server"))

    def lost(self, url: str) -> Iterator[str]:
        """Let every client ask, and tell which of them lost how many requests, by whose word."""
        for end in ("web clients", "kiosk"):
            answers = [exchange(url, self.context(end), sent_certificate=True) for _ in range(REQUESTS)]
            noes = [answer.refusal for answer in answers if answer.refusal]
            if noes:
                verb = "refuses" if end == "kiosk" else "refuse"
                refused = f"the server refuses the {end}" if noes[0].by == "server" else f"the {end} {verb} the server"
                yield f"{len(noes)} of {REQUESTS}, {refused} ({noes[0].reason})"


@checker("a list of the six steps, in the order in which to take them")
def six_steps(answer: Any) -> str:
    """Put the six steps of replacing a root in an order that loses no request, a kiosk being visited once."""
    expect(not isinstance(answer, str | bytes), "the answer is a list of all six steps, each as it is spelled above")
    order = Guarded(lambda: list(islice(answer, 2 * len(STEPS))), "the list of the six steps")()
    for step in order:
        expect(type(step) is str and step in STEPS, f"{step!r} is none of the six steps; spell them as above")
    for step in STEPS:
        expect(order.count(step) == 1, f"{step!r} is there {order.count(step)} times; take each step once")
    world = _World()
    with Server(world.shown("server"), client_ca=world.trusted("server"), port=0) as server:
        for number, step in enumerate(order, 1):
            world.take(step, server)
            expect(not (lost := list(world.lost(server.url))), f"step {number}, {step!r}, lost {' and '.join(lost)}")
    return f"{2 * REQUESTS * len(STEPS)} requests on a real server, and none was lost at any step"


# --- a reload that survives half-written files -------------------------------------------------------


def _twins(ca: CertificateAuthority) -> tuple[Credential, Credential]:
    """Make two pairs whose certificates are of one length, to the byte."""
    made: dict[int, Credential] = {}
    while True:
        pair = ca.issue("localhost", SERVER, names=LOCALHOST)
        first = made.setdefault(len(pair.certificate.public_bytes(Encoding.DER)), pair)
        if first is not pair:
            return first, pair


class _Folder:
    """A server's folder, into which somebody copies new files, one piece at a time. A field for each whole pair."""

    def __init__(self, path: Path, ca: CertificateAuthority) -> None:
        issuing, again = (ca.create_issuing_ca("issuing-ca") for _ in range(2))
        self.crt, self.key = path / "server.crt", path / "server.key"
        self.pairs = [issuer.issue("localhost", SERVER, names=LOCALHOST) for issuer in (ca, ca, issuing, again)]
        self.pairs += _twins(ca)
        self._files = [
            (b"".join(map(certificate_pem, (pair.certificate, *pair.chain))), private_key_pem(pair.private_key))
            for pair in self.pairs
        ]
        self._write(0)

    def _write(self, crt: int | bytes, key: int | bytes | None = None) -> None:
        key = crt if key is None else key
        self.crt.write_bytes(self._files[crt][0] if isinstance(crt, int) else crt)
        self.key.write_bytes(self._files[key][1] if isinstance(key, int) else key)

    def story(self) -> Iterator[tuple[str, int]]:
        """Change the files, and yield what they hold now, and which pair callers must then see."""
        crt, key = self._files[2]
        leaf = certificate_pem(self.pairs[2].certificate)
        yield "nothing new", 0
        self._write(1, 0)
        yield "a new server.crt beside the old server.key", 0
        self._write(1, self._files[1][1][:100])
        yield "half a server.key", 0
        self._write(1, b"")
        yield "an empty server.key", 0
        self.key.unlink()
        yield "no server.key", 0
        self._write(1)
        yield "a whole new pair", 1
        self._write(b"", key)
        yield "an empty server.crt", 1
        self._write(leaf, key)
        yield "a server.crt that ends after its first certificate, with the issuing CA's still to come", 1
        self._write(crt[: len(leaf) + 300], key)
        yield "a server.crt that breaks off in its second certificate", 1
        self._write(2)
        yield "a whole new pair, with its chain", 2
        self._write(certificate_pem(self.pairs[3].certificate) + crt[len(leaf) :], self._files[3][1])
        yield "a new certificate before the old issuing CA's, while the new one's of that name is still to come", 2
        self._write(3)
        yield "a whole new pair, whose issuing CA was made again under its name", 3
        self._write(3, 4)
        yield "the next server.key beside this server.crt", 3
        self._write(4)
        yield "one more whole pair", 4
        old, new = self._files[4][0], self._files[5][0]
        self._write(new[:-60] + old[-60:], self._files[5][1])
        yield "a new server.crt, written over the old one but for its last line", 4
        self._write(5)
        yield "one more whole pair, as long as the old one", 5


@checker("a function of a context and a folder that returns a context")
def surviving_reload(answer: Any) -> str:
    """Want a function that reloads a server's files, and goes on with what it had while they are not whole."""
    reload = Guarded(answer)
    ca = CertificateAuthority.create("example-ca")
    (_, shown), *unwanted = callers(ca)

    @cache
    def client(caller: Credential | None) -> ssl.SSLContext:
        return _end(ssl.PROTOCOL_TLS_CLIENT, caller, [ca.certificate])

    with tempfile.TemporaryDirectory() as path:
        folder = _Folder(Path(path), ca)
        ca.save(path)
        current = contexts.server_context(folder.pairs[0], client_ca=ca.certificate)
        known = _terms(current)
        for what, wanted in _again_and_again(folder.story()):
            before, outcome = current, reload.attempt(current, Path(path))
            expect(outcome.error is None, f"with {what} in the folder it raised {outcome.told}: the server's loop ends")
            current = outcome.value
            is_a_servers = isinstance(current, ssl.SSLContext) and current.protocol != ssl.PROTOCOL_TLS_CLIENT
            expect(is_a_servers, f"with {what} in the folder it returned {current!r}, and no server's context")
            _expect_pair(current, client(shown), folder, what, wanted)
            terms = _terms(current)
            these = unwanted if terms != known else unwanted[:2] if current is not before else []
            _expect_no_other(current, [(who, client(caller)) for who, caller in these], f"with {what} in the folder")
            expect_nothing_loose(current, ca.certificate)
            known = terms
        _expect_no_other(current, [(who, client(caller)) for who, caller in unwanted], "when all is written")
    return "every caller of every moment was shown a whole pair, and nobody else got in"


def _terms(context: ssl.SSLContext) -> tuple[object, ...]:
    """Return what can be seen of whom a server's context lets in: whom the same refuse, they refuse again."""
    asks = context.verify_mode, context.verify_flags, context.post_handshake_auth
    return *asks, context.sni_callback, context.get_ca_certs(True)


def _expect_no_other(current: ssl.SSLContext, others: list[tuple[str, ssl.SSLContext]], when: str) -> None:
    for who, context in others:
        called = "a caller without a certificate" if who == "nobody" else who
        expect(handshake(context, current).refused != "", f"{when} it lets in {called}")


def _again_and_again(story: Iterator[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Stay at each moment for a call or two: whoever counts calls is not to know the moment."""
    for moment in story:
        yield from [moment] * random.choice((1, 2))


def _expect_pair(current: ssl.SSLContext, friend: ssl.SSLContext, folder: _Folder, what: str, wanted: int) -> None:
    """Let a friend shake hands, and expect that it is let in, and shown the pair that is wanted."""
    met = handshake(friend, current)
    expect(met.refused == "", f"with {what} in the folder nobody gets in any more: {met.refused}")
    if met.shown != folder.pairs[wanted].certificate.public_bytes(Encoding.DER):
        went = "it goes on with the old pair" if what.startswith(("a whole", "one more")) else "it shows another pair"
        raise NotYet(f"with {what} in the folder {went}: callers are to see the newest whole one")


# --- a pool that renews ------------------------------------------------------------------------------

IN_FLIGHT = 3
"""How many requests are in the server's app when the pool is renewed."""


class _Asking(threading.Thread):
    """One call of the reader's pool, in a thread of its own. `error` is what it raised, in words; "" if it did not."""

    def __init__(self, call: Callable[..., Any], *given: Any) -> None:
        super().__init__(daemon=True)
        self._call, self._given, self.value, self.error = call, given, None, ""
        self.start()

    def run(self) -> None:
        try:
            self.value = self._call(*self._given)
        except BaseException as error:
            self.error = f"{type(error).__name__}: {error}".rstrip(": ")

    @property
    def answered(self) -> bool:
        """Whether a reply came."""
        return getattr(self.value, "status_code", None) == 200

    def ends(self, seconds: float | None = None) -> bool:
        """Wait for the call to end, as long as a checker may."""
        self.join(max(0, guard.PATIENCE if seconds is None else seconds))
        return not self.is_alive()


class _Orders:
    """A server whose app holds each request to /slow until `finish` is set."""

    def __init__(self, ca: CertificateAuthority) -> None:
        self.began, self.finish, self.placed = threading.Semaphore(0), threading.Event(), 0
        self.last: x509.Certificate | None = None  # who asked for anything else
        shown = ca.issue("localhost", SERVER, names=LOCALHOST)
        self.server = Server(shown, client_ca=ca.certificate, app=self.app, port=0, timeout=3600)

    def app(self, request: Request) -> str:
        if request.path == "/slow":
            self.placed += 1
            self.began.release()
            self.finish.wait(60)
        else:
            self.last = request.client
        return "ok\n"


@checker("a class whose objects have get, renew and close")
def renewing_pool(answer: Any) -> str:
    """Want a pool that takes a new context while three requests are in flight, loses none, and leaves none open."""
    ca = CertificateAuthority.create("example-ca")
    shown = [ca.issue(fresh_name(), CLIENT) for _ in range(2)]
    orders = _Orders(ca)
    held: list[ssl.SSLSocket] = []

    def context(credential: Credential) -> ssl.SSLContext:
        return _holding(_end(ssl.PROTOCOL_TLS_CLIENT, credential, [ca.certificate]), held)

    old, new = map(context, shown)
    with warnings.catch_warnings(), orders.server as server:
        warnings.simplefilter("ignore", ResourceWarning)
        gc.freeze()  # what is there already is no litter of the reader's: let nobody wait until it is gone through
        try:
            pool = Guarded(answer, "your class")(old)
            for method in ("get", "renew", "close"):
                expect(callable(getattr(pool, method, None)), f"its objects have no method {method}")
            _expect_a_pool(pool, server.url, old)
            with _impostors(ca) as impostors:
                _expect_verification(pool, impostors)
                _renew_in_flight(pool, orders, new, shown[1].certificate)
                _expect_verification(pool, impostors)
            _renew_once_more(pool, orders, old, shown[0].certificate)
            _expect_no_gap(pool, server.url, lambda: context(shown[1]))
            _expect_nothing_left(pool, server)
            Guarded(pool.close, "close")()
        finally:
            gc.unfreeze()
            orders.finish.set()
            for connection in held:
                connection.close()
    return (
        f"{IN_FLIGHT} of {IN_FLIGHT} in flight were answered, the next one showed the new certificate, no old is left"
    )


def _holding(context: ssl.SSLContext, held: list[ssl.SSLSocket]) -> ssl.SSLContext:
    """Have each connection of a context stay open until somebody closes it: what is dropped is not closed."""

    class Held(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            held.append(self)
            super().do_handshake(block)

    context.sslsocket_class = Held
    return context


def _expect_a_pool(pool: Any, url: str, context: ssl.SSLContext) -> None:
    get = Guarded(pool.get, "get")
    for _ in range(2):
        got = get(url)
        expect(
            getattr(got, "status_code", None) == 200,
            f"get returned {got!r}, and no httpx.Response with status_code 200",
        )
    made = context.session_stats()["connect_good"]
    expect(made > 0, "it answers, and has made no handshake with the context that it was given")
    expect(made == 1, "it makes a new connection for each request: renewed at once, at the price of a handshake each")


@contextmanager
def _impostors(ca: CertificateAuthority) -> Iterator[dict[str, str]]:
    """Start servers that no client of localhost may take an answer from. Yields the address of each, by what it is."""
    stranger = CertificateAuthority.create("stranger-ca").issue("localhost", SERVER, names=LOCALHOST)
    another = ca.issue("another.example", SERVER, names=["another.example"])
    with ExitStack() as stack:
        yield {
            what: stack.enter_context(Server(shown, client_ca=ca.certificate, port=0)).url
            for shown, what in ((stranger, "that the context does not trust"), (another, "of another name"))
        }


def _expect_verification(pool: Any, impostors: dict[str, str]) -> None:
    for what, url in impostors.items():
        outcome = Guarded(pool.get, "get").attempt(url)
        expect(outcome.error is not None, f"it takes an answer from a server {what}")


def _renew_in_flight(pool: Any, orders: _Orders, new: ssl.SSLContext, renewed: x509.Certificate) -> None:
    url = orders.server.url
    flying = [_Asking(pool.get, url + "/slow") for _ in range(IN_FLIGHT)]
    for _ in flying:
        began = orders.began.acquire(timeout=guard.PATIENCE)
        expect(began, f"it does not send {IN_FLIGHT} requests at a time: one waits for the other")
    with ExitStack() as stack:
        renewing = _Asking(pool.renew, new)
        renewing.join(0.05)
        for _ in range(4 * IN_FLIGHT):  # whoever closed sockets under their readers: let no other get their numbers
            stack.enter_context(Path(os.devnull).open())
        _expect_renewed(pool, orders, renewing, renewed)
        orders.finish.set()
        end = time.monotonic() + guard.PATIENCE
        lost = [asking.error for asking in flying if not (asking.ends(end - time.monotonic()) and asking.answered)]
    expect(orders.placed == IN_FLIGHT, f"the server did {orders.placed} requests for {IN_FLIGHT}: some were sent twice")
    told = f" ({lost[0]})" if lost and lost[0] else ""
    expect(not lost, f"{len(lost)} of {IN_FLIGHT} in flight got no answer{told}, and the server had done their work")
    expect(renewing.ends(), "renew does not come back, though nothing is in flight any more")
    expect(not renewing.error, f"renew raised {renewing.error}")


def _expect_renewed(pool: Any, orders: _Orders, renewing: _Asking, renewed: x509.Certificate) -> None:
    """Ask while others are in flight. A `renew` that waits for those may take effect a moment later."""
    end = time.monotonic() + guard.PATIENCE
    while orders.last != renewed:
        returned = not renewing.is_alive()
        expect(not renewing.error, f"renew raised {renewing.error}")
        following = _Asking(pool.get, orders.server.url)
        waits = "while requests are in flight renew keeps everybody else waiting: an hour, if one takes that long"
        expect(following.ends(), waits)
        expect(following.answered, f"the request after renew got no answer: {following.error or repr(following.value)}")
        late = "the request after renew still shows the old certificate: all is well until that ends, and then nothing"
        expect(orders.last == renewed or (not returned and time.monotonic() < end), late)


def _expect_nothing_left(pool: Any, server: Server) -> None:
    """Expect that all connections made before are closed: once asked to, the new ones leave with their next answer."""
    gc.collect()  # what the tries before have left of the reader's frames; no connection is closed by that
    for _ in range(2):
        expect(_Asking(pool.get, server.url).ends(), "after all that, get does not come back")
        server.drain(timeout=0)
    left = server.drain(timeout=guard.PATIENCE)
    add_up = "renewed daily, they add up. A client that is dropped is not closed"
    expect(left == 0, f"{left} connections with the old certificate are still open: {add_up}")


_WITHIN = (
    *("LOAD_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "PUSH_NULL", "COPY", "SWAP"),
    *("JUMP_FORWARD", "JUMP_BACKWARD", "NOP", "RESUME", "PRECALL", "KW_NAMES"),
)
"""How the names of Python's operations begin that neither look at anything shared nor let go of anything."""


class _Stepping(_Asking):
    """One call of the reader's `get`, with somebody who renews between any two steps that the reader's code takes."""

    MOST = 100
    """How often, for no longer than half of what `get` may take: who begins again each time is to come through."""

    def __init__(self, pool: Any, url: str, context: Callable[[], ssl.SSLContext]) -> None:
        self.renewals: list[_Asking] = []
        self._pool, self._another, self._waited = pool, context, 0.0
        self._end = time.monotonic() + guard.PATIENCE / 2
        self._code = getattr(pool.get, "__globals__", None)
        super().__init__(pool.get, url)

    def run(self) -> None:
        sys.settrace(self._step)
        try:
            super().run()
        finally:
            sys.settrace(None)

    def _step(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_globals is not self._code:
            return None
        frame.f_trace_opcodes = True
        in_time = len(self.renewals) < self.MOST and time.monotonic() < self._end
        if event == "opcode" and in_time and not self._stays_within(frame):
            self._renew()
        return self._step

    @staticmethod
    def _stays_within(frame: FrameType) -> bool:
        """Whether the next step only lays out what the call has already: to renew before it is to renew after it."""
        return opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith(_WITHIN)

    def _renew(self) -> None:
        """Renew, and wait until it is done; not for long, as it may have to wait for this very call."""
        patience = 0.003
        if not self.renewals or not self.renewals[-1].is_alive():
            self.renewals.append(_Asking(self._pool.renew, self._another()))
            patience = 0.05
        if self._waited < 0.5 and not self.renewals[-1].ends(patience):
            self._waited += patience


def _expect_no_gap(pool: Any, url: str, context: Callable[[], ssl.SSLContext]) -> None:
    asking = _Stepping(pool, url, context)
    over = asking.ends(4 * guard.PATIENCE) and all(one.ends() for one in asking.renewals)
    expect(over, "renewed between two steps of get, one of the two does not come back")
    lost = f"renewed between two steps of get, it got no answer ({asking.error or repr(asking.value)})"
    expect(asking.answered, f"{lost}: from taking the client to being counted, nobody may come in between")


def _renew_once_more(pool: Any, orders: _Orders, context: ssl.SSLContext, renewed: x509.Certificate) -> None:
    Guarded(pool.renew, "renew, the second time,")(context)
    Guarded(pool.get, "get")(orders.server.url)
    expect(orders.last == renewed, "renewed the second time, it still shows the certificate before")
