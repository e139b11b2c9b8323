"""The checkers of notebook 12 play an answer on real servers, and tell who would have been lost, and where."""

import contextlib
import itertools
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import verification

from mtlslab import CertificateAuthority, Credential, errors
from mtlslab.contexts import server_context
from mtlslab.credentials import certificate_pem
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import guard, page_12
from mtlslab.notebook.exercises.page_12 import STEPS

OTHERS: list[Any] = [0, object(), [None], {"a": 1}, (), "no", mock.ANY, mock.Mock(), int, print]


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """For answers that are wrong because they never come back, after others that do."""
    monkeypatch.setattr(guard, "PATIENCE", 1)


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """For answers that never come back at all."""
    monkeypatch.setattr(guard, "PATIENCE", 0.1)


def test_anything_else_gets_a_hint() -> None:
    """A checker answers something of another kind with a hint, and never raises; None is no attempt."""
    for check in (exercises.six_steps, exercises.surviving_reload, exercises.renewing_pool):
        assert check(None).text.startswith("Not attempted yet")
        for answer in OTHERS:
            assert check(answer).text.startswith("Not yet: "), (check, answer)


# The order of six steps

BOTH, SHOW, ALONE, WEB_BOTH, WEB_SHOW, KIOSK = STEPS


class Lying(str):
    """Equal to every step."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


class Fickle(list[str]):
    """Holds one order, and gives another."""

    def __iter__(self) -> Iterator[str]:
        return iter([KIOSK, BOTH, WEB_BOTH, SHOW, WEB_SHOW, ALONE])

    def count(self, _: object) -> int:
        """One of each."""
        return 1


ORDERS: dict[str, tuple[Any, str | None]] = {
    "one by one": (iter([BOTH, WEB_SHOW, WEB_BOTH, KIOSK, ALONE, SHOW]), None),
    "the page's order, and the kiosk last": (
        [BOTH, WEB_BOTH, SHOW, WEB_SHOW, ALONE, KIOSK],
        "step 3, 'the server shows new', lost 2 of 2, the kiosk refuses the server (unknown-ca)",
    ),
    "the visit first": ([KIOSK, BOTH, WEB_BOTH, SHOW, WEB_SHOW, ALONE], "the server refuses the kiosk (unknown-ca)"),
    "the server shows first": (
        [SHOW, BOTH, WEB_BOTH, KIOSK, WEB_SHOW, ALONE],
        "step 1, 'the server shows new', lost 2 of 2, the web clients refuse the server (unknown-ca) and 2 of 2, the",
    ),
    "the web shows before it is trusted": (
        [WEB_BOTH, WEB_SHOW, BOTH, KIOSK, SHOW, ALONE],
        "step 2, 'the web clients show new', lost 2 of 2, the server refuses the web clients (unknown-ca)",
    ),
    "dropped while the web shows old": (
        [BOTH, KIOSK, ALONE, WEB_BOTH, SHOW, WEB_SHOW],
        "step 3, 'the server trusts new alone', lost 2 of 2, the server refuses the web clients",
    ),
    "of lies": ([Lying(BOTH)] * 6, "none of the six steps"),
    "of anything": ([mock.ANY] * 6, "none of the six steps"),
    "fickle": (Fickle([BOTH, WEB_BOTH, KIOSK, SHOW, WEB_SHOW, ALONE]), "step 1"),
    "without end": (itertools.repeat(BOTH), "is there 12 times"),
    "in a list": ([[BOTH, WEB_BOTH, KIOSK, SHOW, WEB_SHOW, ALONE]], "none of the six steps"),
    "raising": ((1 // 0 for _ in STEPS), "raised ZeroDivisionError"),
    "a number": (6, "raised TypeError"),
    "five": ([BOTH, WEB_BOTH, KIOSK, SHOW, WEB_SHOW], "'the server trusts new alone' is there 0 times"),
    "one twice": ([BOTH, BOTH, WEB_BOTH, KIOSK, SHOW, WEB_SHOW, ALONE], "is there 2 times"),
    "one of its own": ([BOTH, "the kiosk is thrown away", WEB_BOTH, SHOW, WEB_SHOW, ALONE], "none of the six steps"),
    "text": (", ".join(STEPS), "a list of all six steps"),
}


def test_an_order_is_played_on_a_server() -> None:
    """Each order that loses nothing is right; another is told which step lost how many, and who refused whom."""
    for name, (order, hint) in ORDERS.items():
        feedback = exercises.six_steps(order)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, name


def test_an_order_that_never_ends_is_given_up(in_no_time: None) -> None:
    """What is read for ever holds up nobody."""
    at_rest = threading.Event()
    said = exercises.six_steps(at_rest.wait() for _ in STEPS)
    at_rest.set()
    assert "does not come back in time" in said.text


def test_few_orders_are_right() -> None:
    """Of the 720 orders 21 are: guessing does not help, and no right one is the page's own six steps in a row."""
    needs = [(BOTH, KIOSK), (BOTH, WEB_SHOW), (WEB_BOTH, SHOW), (KIOSK, SHOW), (KIOSK, ALONE), (WEB_SHOW, ALONE)]
    right = [
        order
        for order in itertools.permutations(STEPS)
        if all(order.index(first) < order.index(then) for first, then in needs)
    ]
    assert len(right) == 21
    assert [BOTH, WEB_BOTH, SHOW, WEB_SHOW, ALONE, KIOSK] not in map(list, right)


# A reload that survives half-written files


def by_name(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    """The folded solution."""
    try:
        ca = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        credential = Credential.load(folder, "server")
        verifier = verification.PolicyBuilder().store(verification.Store([ca]))
        verifier.build_server_verifier(x509.DNSName("localhost")).verify(credential.certificate, list(credential.chain))
        return server_context(credential, client_ca=ca)
    except (errors.MtlslabError, verification.VerificationError):
        return context


def fresh(folder: Path, mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.verify_mode = mode
    made.load_verify_locations(folder / "ca.crt")
    made.load_cert_chain(folder / "server.crt", folder / "server.key")
    return made


def in_place(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context


def in_place_guarded(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    try:
        return in_place(context, folder)
    except (ssl.SSLError, OSError):
        return context


def fresh_guarded(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    try:
        return fresh(folder)
    except (ssl.SSLError, OSError):
        return context


def by_a_trial(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    """Shake hands with what was loaded, as a client that trusts the CA would, before anybody else does."""
    made = fresh_guarded(context, folder)
    client = ssl.create_default_context(cafile=folder / "ca.crt")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = made.wrap_bio(there, back, server_side=True)
    caller = client.wrap_bio(back, there, server_hostname="localhost")
    for end in (caller, server, caller):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            return context
    return made


def _if(checks: Callable[[list[x509.Certificate]], bool]) -> Callable[..., ssl.SSLContext]:
    """A reload that looks at the certificates one by one, in its own way."""

    def reload(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
        try:
            credential, ca = Credential.load(folder, "server"), CertificateAuthority.load(folder)
        except errors.MtlslabError:
            return context
        chain = [credential.certificate, *credential.chain]
        good = checks([*chain, ca.certificate])
        return server_context(credential, client_ca=ca.certificate) if good else context

    return reload


def signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, InvalidSignature):
        return False
    return True


def named(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    return certificate.issuer == issuer.subject


def pointed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether one certificate's authorityKeyIdentifier is the other's subjectKeyIdentifier."""
    to = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return to == issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def checked_and_in_place(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    return context if by_a_trial(context, folder) is context else in_place(context, folder)


def _or_other(make: Callable[[], ssl.SSLContext], other: ssl.SSLContext | None) -> Any:
    try:
        return make()
    except (ssl.SSLError, OSError):
        return other


def exits(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    try:
        return fresh(folder)
    except (ssl.SSLError, OSError):
        raise SystemExit("restart me") from None


def then(change: Callable[[ssl.SSLContext], object]) -> Callable[[ssl.SSLContext, Path], ssl.SSLContext]:
    """A right reload that changes the context that it has made."""

    def reload(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
        made = by_name(context, folder)
        if made is not context:
            change(made)
        return made

    return reload


def counting() -> Callable[[ssl.SSLContext, Path], ssl.SSLContext]:
    """A reload that knows when the files are whole: at the sixth call, the tenth, the twelfth."""
    calls = itertools.count(1)
    return lambda context, folder: fresh(folder) if next(calls) in (6, 10, 12) else context


def politely_later() -> Callable[[ssl.SSLContext, Path], ssl.SSLContext]:
    """A reload that leaves all as it is, and from its third call on takes no for an answer."""
    calls = itertools.count(1)

    def reload(context: ssl.SSLContext, _: Path) -> ssl.SSLContext:
        if next(calls) == 3:
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    return reload


NO_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
STRAY = certificate_pem(CertificateAuthority.create("stray-ca").certificate).decode()

RELOADS: dict[str, tuple[Any, str | None]] = {
    "checked, then in place": (checked_and_in_place, None),
    "by the first signature, then names": (
        _if(lambda chain: all(map(named, chain, chain[1:])) and (len(chain) > 2 or signed(*chain))),
        "the old issuing CA's",
    ),
    "by the key identifiers": (
        _if(lambda chain: all(map(named, chain, chain[1:])) and all(map(pointed, chain, chain[1:]))),
        "but for its last line",
    ),
    "by counting": (counting(), ""),
    "without looking at dates": (then(lambda made: setattr(made, "verify_flags", NO_TIME)), "a friend of last year"),
    "another CA beside": (then(lambda made: made.load_verify_locations(cadata=STRAY)), "other authorities too"),
    "in place, guarded": (in_place_guarded, "beside the old server.key in the folder nobody gets in any more"),
    "fresh, guarded": (fresh_guarded, "ends after its first certificate, with the issuing CA's still to come"),
    "never": (lambda context, _: context, "it goes on with the old pair"),
    "None when it fails": (lambda _, folder: _or_other(lambda: fresh(folder), None), "it returned None, and no"),
    "asks politely, later": (politely_later(), "it lets in a caller without a certificate"),
    "without trust": (lambda _, folder: _no_trust(folder), "nobody gets in any more"),
    "exits": (exits, "it raised SystemExit: restart me in line "),
    "a client's context": (lambda *_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "and no server's context"),
}


def _no_trust(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(folder / "server.crt", folder / "server.key")
    return made


def test_a_reload_is_tried_on_files_that_are_being_written() -> None:
    """Any reload that always has a whole pair to show is right; another is told with which files who gets what."""
    for name, (reload, hint) in RELOADS.items():
        feedback = exercises.surviving_reload(reload)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, (name, feedback)


def test_a_reload_that_never_comes_back_is_told_so(in_no_time: None) -> None:
    """A reload that waits for the files to become whole waits in the server's only thread."""

    def waits(*_: object) -> None:
        while True:
            time.sleep(0.001)

    feedback = exercises.surviving_reload(waits)
    assert feedback.correct is False
    assert "does not come back in time" in feedback.text


# A pool that renews


def client_of(context: Any, **options: Any) -> httpx.Client:
    return httpx.Client(verify=context, trust_env=False, **{"timeout": 20} | options)


class Counting:
    """The folded solution: the last one out closes the door."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.lock, self.flying, self.client = threading.Lock(), Counter[httpx.Client](), client_of(context)

    def get(self, url: str) -> httpx.Response:
        with self.lock:
            client = self.client
            self.flying[client] += 1
        try:
            return client.get(url)
        finally:
            with self.lock:
                self.flying[client] -= 1
            self.tidy(client)

    def tidy(self, client: httpx.Client) -> None:
        with self.lock:
            unused = client is not self.client and not self.flying[client]
        if unused:
            client.close()

    def renew(self, context: ssl.SSLContext) -> None:
        with self.lock:
            old, self.client = self.client, client_of(context)
        self.tidy(old)

    def close(self) -> None:
        self.client.close()


class Dropping(Counting):
    """Drops the old client, whose sockets stay open until Python collects it."""

    def get(self, url: str) -> httpx.Response:
        return self.client.get(url)

    def renew(self, context: ssl.SSLContext) -> None:
        self.client = client_of(context)


class Unlocked(Counting):
    """Counts, and has no lock: between taking a client and counting itself in, a renewal may come."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.lock = contextlib.nullcontext()  # type: ignore[assignment]


class UnlockedInOneLine(Unlocked):
    def get(self, url: str) -> httpx.Response:
        self.flying[client := self.client] += 1
        try:
            return client.get(url)
        finally:
            self.flying[client] -= 1
            self.tidy(client)


class Waiting(Counting):
    """Takes a new client at once, and waits for the old one's answers before it closes it."""

    def renew(self, context: ssl.SSLContext) -> None:
        with self.lock:
            old, self.client = self.client, client_of(context)
        while self.flying[old]:
            threading.Event().wait(0.01)
        old.close()


class Again(Counting):
    """Closes a client that nobody has counted itself in with; whoever comes too late takes the next."""

    def get(self, url: str) -> httpx.Response:
        while True:
            client = self.client
            with self.lock:
                self.flying[client] += 1
            try:
                return client.get(url)
            except RuntimeError:  # it was closed, and nothing was sent
                continue
            finally:
                with self.lock:
                    self.flying[client] -= 1
                self.tidy(client)


class Held:
    """A client that is closed when nobody holds this any more."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def __del__(self) -> None:
        self.client.close()


class Holding:
    """Leaves the counting to Python's own references, and closes by name."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.renew(context)

    def get(self, url: str) -> httpx.Response:
        held = self.held
        return held.client.get(url)

    def renew(self, context: ssl.SSLContext) -> None:
        self.held = Held(client_of(context))

    def close(self) -> None:
        self.held.client.close()


class WaitingUnderACondition(Waiting):
    """One condition for everything, which is entered twice."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.lock = threading.Condition()  # type: ignore[assignment]


class Closing(Dropping):
    def renew(self, context: ssl.SSLContext) -> None:
        old, self.client = self.client, client_of(context)
        old.close()


class Never(Dropping):
    def renew(self, _: ssl.SSLContext) -> None:
        pass


class OneEach(Dropping):
    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def get(self, url: str) -> httpx.Response:
        with client_of(self.context) as client:
            return client.get(url)

    def renew(self, context: ssl.SSLContext) -> None:
        self.context = context

    def close(self) -> None:
        pass


class Retrying(Closing):
    """Sends again what has failed: the server does it twice."""

    def get(self, url: str) -> httpx.Response:
        try:
            return self.client.get(url)
        except Exception:
            return self.client.get(url)


def in_vain() -> None:
    """From here on, what the checker waits for does not come: it does not have to wait long."""
    guard.PATIENCE = 0.1


class Locked(Dropping):
    """One request at a time."""

    def get(self, url: str) -> httpx.Response:
        if self.lock.locked():
            in_vain()
        with self.lock:
            return super().get(url)


class WaitingLocked(Counting):
    """Lets nobody in until all are out."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.door = threading.Lock()

    def get(self, url: str) -> httpx.Response:
        with self.door:
            pass
        return super().get(url)

    def renew(self, context: ssl.SSLContext) -> None:
        with self.door:
            if self.flying.total():
                in_vain()
            while self.flying.total():
                threading.Event().wait(0.01)
            super().renew(context)


class CarelessLater(Dropping):
    """Verifies nobody, from the first renewal on."""

    def renew(self, context: ssl.SSLContext) -> None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        super().renew(context)


class AnyName(Dropping):
    """Takes any name for the one that was dialled."""

    def __init__(self, context: ssl.SSLContext) -> None:
        context.check_hostname = False
        super().__init__(context)


class Once(Counting):
    """Renews once."""

    renewed = False

    def renew(self, context: ssl.SSLContext) -> None:
        if not self.renewed:
            super().renew(context)
        self.renewed = True


class WithoutContext(Dropping):
    def renew(self, _: ssl.SSLContext) -> None:
        self.client = httpx.Client(trust_env=False)


class Raising(Dropping):
    def renew(self, context: ssl.SSLContext) -> None:
        raise NotImplementedError("to do")


POOLS: dict[str, tuple[Any, str | None]] = {
    "waiting, under a condition": (WaitingUnderACondition, None),
    "again": (Again, None),
    "holding, made by a function": (partial(Holding), None),
    "in one line, without a lock": (UnlockedInOneLine, "between two steps of get"),
    "closing": (Closing, "3 of 3 in flight got no answer"),
    "never": (Never, "still shows the old certificate"),
    "one each": (OneEach, "a new connection for each request"),
    "sent again": (Retrying, "some were sent twice|in flight got no answer"),  # which, the moment decides
    "without the context": (WithoutContext, "the request after renew got no answer: ConnectError"),
    "careless once renewed": (CarelessLater, "it takes an answer from a server that the context does not trust"),
    "of any name": (AnyName, "it takes an answer from a server of another name"),
    "once": (Once, "renewed the second time"),
    "raising": (Raising, "renew raised NotImplementedError: to do"),
    "a client": (httpx.Client, "raised TypeError"),
    "no close": (type("Pool", (), {"__init__": lambda *_: None, "get": print, "renew": print}), "no method close"),
}
HURRIED: dict[str, tuple[Any, str]] = {
    "locked": (Locked, "one waits for the other"),
    "lets nobody in": (WaitingLocked, "keeps everybody else waiting"),
    "dropping": (Dropping, "connections with the old certificate are still open"),
}


def test_a_pool_is_renewed_while_its_requests_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any pool that loses no answer and leaves no connection behind is right; another is told whom it would lose."""
    monkeypatch.setattr(page_12._Stepping, "MOST", 40)  # who begins again each time need not do so a hundred times
    for name, (pool, hint) in POOLS.items():
        feedback = exercises.renewing_pool(pool)
        assert feedback.correct is (hint is None), (name, feedback)
        assert any(part in feedback.text for part in (hint or "").split("|")), (name, feedback)


@pytest.mark.parametrize("name", HURRIED)
def test_a_pool_that_keeps_others_waiting_is_told_so(name: str, in_a_hurry: None) -> None:
    """What would be waited for in vain ends with the checker's patience, and a hint."""
    pool, hint = HURRIED[name]
    feedback = exercises.renewing_pool(pool)
    assert feedback.correct is False
    assert hint in feedback.text
