"""A server that changes while it runs: from the next handshake on, all or nothing, and nobody's request fails."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from given import LOCALHOST, Call, Serve
from mtlslab import Answer, CertificateAuthority, Credential, Request, Server, errors, new_private_key
from mtlslab.contexts import TLSVersion, client_context
from mtlslab.profiles import CLIENT, SERVER

VERSIONS: tuple[TLSVersion, ...] = ("1.2", "1.3")
each_tls = pytest.mark.parametrize("tls_max", VERSIONS)


@pytest.fixture
def context(files: Path) -> Callable[..., ssl.SSLContext]:
    """Make the honest client's context."""

    def make(tls_max: TLSVersion = "1.3") -> ssl.SSLContext:
        return client_context(
            cacert=files / "ca.crt", cert=files / "client.crt", key=files / "client.key", tls_max=tls_max
        )

    return make


class Kept(http.client.HTTPSConnection):
    """A caller who keeps one connection as long as the server lets it."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        super().__init__("localhost", server.port, context=context, timeout=60)

    def ask(self) -> tuple[int, str]:
        """Return the status, and the serial number of the certificate that the server showed on this connection."""
        if self.sock is None:
            self.connect()
        certificate = x509.load_der_x509_certificate(self.sock.getpeercert(True) or b"")
        self.request("GET", "/")
        reply = self.getresponse()
        reply.read()
        return reply.status, f"{certificate.serial_number:x}"


def is_closed(caller: Kept) -> bool:
    """Tell whether the server said `Connection: close`."""
    return caller.sock is None


def serial(credential: Credential) -> str:
    return f"{credential.certificate.serial_number:x}"


def resumption(server: Server, context: ssl.SSLContext) -> Iterator[bool]:
    """Connect again and again with the session of the time before; say whether it was taken up.

    Each connection ends with close_notify on both sides: OpenSSL forgets the session of one that breaks off.
    """
    session = None
    while True:
        plain = socket.create_connection(("localhost", server.port or 0), 60)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"".join(iter(lambda: tls.recv(4096), b"")).startswith(b"HTTP/1.1 200 ")
            resumed, session = bool(tls.session_reused), tls.session
            with contextlib.suppress(OSError):
                tls.unwrap()
        yield resumed


# --- renew, trust, revoke --------------------------------------------------------------------------


def test_changes_under_traffic_cost_no_request(
    serve: Serve, ca: CertificateAuthority, context: Callable[..., ssl.SSLContext]
) -> None:
    """While four callers ask, kept and new, TLS 1.2 and 1.3, many changes of every kind make no request fail."""
    server, over, failed, answered = serve(timeout=60), threading.Event(), [], [0] * 4

    def go_on_asking(number: int) -> None:
        mine = context("1.2" if number % 2 else "1.3")
        caller = Kept(server, mine)
        try:
            while not over.is_set():
                assert caller.ask()[0] == 200
                answered[number] += 1
                if number >= 2:
                    caller.close()
        except Exception as error:
            failed.append(error)
        finally:
            caller.close()

    callers = [threading.Thread(target=go_on_asking, args=[number]) for number in range(4)]
    for caller in callers:
        caller.start()
    other = CertificateAuthority.create("another-ca")
    for number in range(12):
        before = sum(answered)
        if number % 3 == 0:
            server.renew(ca.issue("localhost", SERVER, names=LOCALHOST))
        elif number % 3 == 1:
            server.trust([ca.certificate, other.certificate] if number % 2 else ca.certificate)
        else:
            server.revoke([ca.crl([ca.issue("somebody", CLIENT).certificate]), other.crl([])])
        server.drain(timeout=0)
        while sum(answered) < before + 4 and not failed:
            over.wait(0.001)
    over.set()
    for caller in callers:
        caller.join()
    assert failed == []
    assert min(answered) > 0


def test_a_renewed_credential_is_shown_from_the_next_handshake_on(
    serve: Serve, ca: CertificateAuthority, context: Callable[..., ssl.SSLContext]
) -> None:
    """Who is connected goes on with the old certificate, who comes sees the new one, under TLS 1.2 and 1.3 alike."""
    server, new, contexts = serve(timeout=60), ca.issue("localhost", SERVER, names=LOCALHOST), [*map(context, VERSIONS)]
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(contextlib.closing(Kept(server, mine))) for mine in contexts]
        before = {caller.ask() for caller in kept}
        server.renew(new)
        assert {caller.ask() for caller in kept} == before
        newcomers = [stack.enter_context(contextlib.closing(Kept(server, mine))) for mine in contexts]
        assert {caller.ask() for caller in newcomers} == {(200, serial(new))} != before


def test_a_context_in_use_is_never_changed(serve: Serve, ca: CertificateAuthority) -> None:
    """Each change makes a context of its own: a handshake that is under way ends on the terms that it began on."""
    contexts: list[ssl.SSLContext] = []
    server = serve(tune=contexts.append)
    server.renew(ca.issue("localhost", SERVER, names=LOCALHOST))
    server.trust(ca.certificate)
    server.revoke([ca.crl([])])
    assert len(set(map(id, contexts))) == 4
    assert [bool(one.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN & ~ssl.VERIFY_CRL_CHECK_LEAF) for one in contexts] == [
        False, False, False, True,
    ]  # fmt: skip


def test_whoever_is_trusted_no_more_is_refused(serve: Serve, call: Call, tmp_path: Path) -> None:
    """`trust` takes the old CA away, and lets the new one's clients in."""
    server, new = serve(), CertificateAuthority.create("new-ca")
    paths = dict(zip(("cert", "key"), new.issue("client", CLIENT).save(tmp_path, "client"), strict=True))
    refused = call(server.url, **paths).refusal
    assert refused
    assert (refused.by, refused.reason) == ("server", "unknown-ca")
    server.trust(new.certificate)
    assert call(server.url, **paths).ok
    for tls_max in VERSIONS:
        refused = call(server.url, tls_max=tls_max).refusal
        assert refused
        assert (refused.by, refused.reason) == ("server", "unknown-ca")


@each_tls
def test_a_revoked_client_is_out_at_its_next_handshake(
    serve: Serve,
    call: Call,
    ca: CertificateAuthority,
    client_credential: Credential,
    context: Callable[..., ssl.SSLContext],
    tls_max: TLSVersion,
) -> None:
    """The connection that it has goes on; a new one is refused as revoked, and so is a session that it would resume."""
    server, mine = serve(timeout=60), context(tls_max)
    again = resumption(server, mine)
    assert not next(again)
    with contextlib.closing(Kept(server, mine)) as kept:
        assert kept.ask()[0] == 200
        server.revoke([ca.crl([client_credential.certificate])])
        assert kept.ask()[0] == 200
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
        next(again)
    refusal = call(server.url, tls_max=tls_max).refusal
    assert refusal
    assert (refusal.by, refusal.reason, refusal.alert) == ("server", "revoked", "certificate_revoked")
    assert server.visits[-1].refusal
    server.revoke([ca.crl([])])
    assert call(server.url, tls_max=tls_max).ok
    server.revoke(())
    assert call(server.url, tls_max=tls_max).ok


@each_tls
def test_nobody_resumes_past_a_verdict(
    serve: Serve, context: Callable[..., ssl.SSLContext], tls_max: TLSVersion
) -> None:
    """A caller who offers the session of the time before gets a whole handshake, with its certificate looked at."""
    again = resumption(serve(), context(tls_max))
    assert [next(again) for _ in range(4)] == [False] * 4


def test_who_began_under_the_old_context_does_not_resume_in_it_either(
    serve: Serve, context: Callable[..., ssl.SSLContext]
) -> None:
    """A caller who sends one byte, gets a session elsewhere, and then goes on with that session is refused."""
    server, mine = serve(timeout=60), context("1.2")
    with socket.create_connection(("localhost", server.port or 0), 60) as early:
        early.sendall(b"\x16")  # the first byte of any ClientHello: the context of this handshake is chosen
        assert server._hall
        while not any(caller.tls._tls for caller in tuple(server._hall.callers)):
            time.sleep(0.005)
        plain = socket.create_connection(("localhost", server.port or 0), 60)
        with mine.wrap_socket(plain, server_hostname="localhost") as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"".join(iter(lambda: tls.recv(4096), b"")).startswith(b"HTTP/1.1 200 ")
            session = tls.session
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        again = mine.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
        with pytest.raises(ssl.SSLWantReadError):
            again.do_handshake()
        early.sendall(outgoing.read()[1:])
        incoming.write(early.recv(4096))
        again.do_handshake()
        assert again.session_reused
        again.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        early.sendall(outgoing.read())
        assert early.recv(4096) == b""
    assert [visit.status for visit in server.visits] == [200, None]
    assert server.visits[-1].refusal


def test_lists_are_held_against_the_whole_chain(
    serve: Serve, call: Call, tmp_path: Path, ca: CertificateAuthority
) -> None:
    """A client of an issuing CA that is revoked is refused; so is one whose issuing CA has sent no list."""
    issuing = ca.create_issuing_ca("issuing-ca")
    paths = dict(zip(("cert", "key"), issuing.issue("client", CLIENT).save(tmp_path, "client"), strict=True))
    server = serve(crls=[ca.crl([]), issuing.crl([])])
    assert call(server.url, **paths).ok
    for lists, reason in (([ca.crl([])], "crl-missing"), ([ca.crl([issuing.certificate]), issuing.crl([])], "revoked")):
        server.revoke(lists)
        assert not call(server.url, **paths).ok
        refusal = server.visits[-1].refusal
        assert refusal
        assert refusal.reason == reason


Change = Callable[[Server, CertificateAuthority, Credential], None]
BAD_CHANGES: dict[str, tuple[Change, type[Exception]]] = {
    "a mismatched pair": (
        lambda server, _, good: server.renew(replace(good, private_key=new_private_key())),
        errors.KeyMismatch,
    ),
    "no credential": (lambda server, _, __: server.renew(None), errors.OptionRefused),  # type: ignore[arg-type]
    "no CA": (lambda server, _, __: server.trust([]), errors.OptionRefused),
    "a path": (lambda server, _, __: server.trust("ca.crt"), errors.OptionRefused),  # type: ignore[arg-type]
    "rubbish": (lambda server, _, __: server.revoke([b"rubbish"]), errors.OptionRefused),  # type: ignore[list-item]
    "no list": (lambda server, _, __: server.revoke(7), errors.OptionRefused),  # type: ignore[arg-type]
    "a CA": (lambda server, ca, _: server.revoke([ca.certificate]), errors.OptionRefused),  # type: ignore[list-item]
}


def test_a_change_that_cannot_be_made_changes_nothing(
    serve: Serve, call: Call, ca: CertificateAuthority, server_credential: Credential
) -> None:
    """A change that raises names what is wrong, and the old state goes on, for those who come and for later changes."""
    server = serve(crls=[ca.crl([])])
    for change, error in BAD_CHANGES.values():
        with pytest.raises(error):
            change(server, ca, server_credential)
        assert call(server.url).ok, error
        server.renew(server_credential)
    assert call(server.url).ok


# --- drain and hang_up -----------------------------------------------------------------------------


def test_who_is_drained_is_answered_once_more_and_told_that_it_was_the_last_time(
    serve: Serve, context: Callable[..., ssl.SSLContext]
) -> None:
    """`drain` cuts nobody off: an idle caller counts as there, gets its next reply, and then comes anew."""
    server = serve(timeout=60)
    assert server.drain() == 0
    with contextlib.closing(Kept(server, context())) as kept:
        kept.ask()
        assert kept.sock
        port = kept.sock.getsockname()[1]
        assert server.drain(timeout=0) == 1
        assert kept.ask()[0] == 200
        assert is_closed(kept)
        assert server.drain() == 0
        kept.ask()
        assert kept.sock.getsockname()[1] != port


def a_caller_in_the_app(serve: Serve, call: Call) -> tuple[Server, threading.Thread, threading.Event, list[Answer]]:
    """Have a request that stays in the app until an event is set. Returns who asks, the event, and where answers go."""
    working, proceed, answers = threading.Event(), threading.Event(), list[Answer]()

    def app(_: Request) -> str:
        working.set()
        proceed.wait(60)
        return "done"

    server = serve(app=app)
    caller = threading.Thread(target=lambda: answers.append(call(server.url, timeout=60)))
    caller.start()
    assert working.wait(60)
    return server, caller, proceed, answers


def test_drain_waits_for_those_who_are_busy(serve: Serve, call: Call) -> None:
    """A request that is in the app when `drain` comes gets its answer; `drain` returns when it has left."""
    server, caller, proceed, answers = a_caller_in_the_app(serve, call)
    assert server.drain(timeout=0) == 1
    threading.Timer(0.05, proceed.set).start()
    assert server.drain(timeout=60) == 0
    caller.join()
    assert [answer.text for answer in answers] == ["done"]


def test_hang_up_cuts_one_caller_and_no_other(
    serve: Serve, ca: CertificateAuthority, tmp_path: Path, context: Callable[..., ssl.SSLContext]
) -> None:
    """Every connection of the caller with this certificate is gone when `hang_up` returns; the others go on."""
    server, other = serve(timeout=60), ca.issue("other", CLIENT)
    ca.save(tmp_path)
    cert, key = other.save(tmp_path, "other")
    others = [client_context(cacert=tmp_path / "ca.crt", cert=cert, key=key, tls_max=tls_max) for tls_max in VERSIONS]
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(contextlib.closing(Kept(server, one))) for one in (context(), *others)]
        for caller in kept:
            caller.ask()
        assert server.hang_up(other.certificate) == 2
        assert server.hang_up(other.certificate) == 0
        assert kept[0].ask()[0] == 200
        for caller in kept[1:]:
            with pytest.raises((ConnectionError, http.client.RemoteDisconnected, ssl.SSLError)):
                caller.ask()


def test_a_request_that_is_cut_off_is_remembered_as_that(
    serve: Serve, call: Call, client_credential: Credential
) -> None:
    """`hang_up` loses the request that is in the app: no reply, and a visit that says so."""
    server, caller, proceed, answers = a_caller_in_the_app(serve, call)
    assert server.hang_up(client_credential.certificate) == 1
    caller.join()
    proceed.set()
    while not server.visits:
        proceed.wait(0.01)
    assert [answer.ok for answer in answers] == [False]
    (visit,) = server.visits
    assert (visit.path, visit.status, type(visit.error)) == ("/", None, ConnectionAbortedError)


def test_a_server_that_is_not_running_has_nobody_to_part_from(
    server_credential: Credential, ca: CertificateAuthority
) -> None:
    """Changing, draining and hanging up are fine before the start."""
    server = Server(server_credential, client_ca=ca.certificate)
    server.renew(server_credential)
    server.trust(ca.certificate)
    assert (server.drain(), server.hang_up(server_credential.certificate)) == (0, 0)
