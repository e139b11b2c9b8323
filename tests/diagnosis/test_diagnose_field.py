"""`diagnose` of what people run: Python's servers, gRPC, and other protocols played by plain sockets."""

import contextlib
import os
import shlex
import shutil
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from test_diagnose_hostile import lets_in, listening

import mtlslab
from mtlslab import errors, faults
from mtlslab.__main__ import main
from mtlslab.credentials import certificate_pem
from mtlslab.diagnosis import Diagnosis, Finding
from mtlslab.diagnosis.protocols import recognised
from mtlslab.faults import Fault, Lab, Setup
from mtlslab.notebook import programs, servers

needs_posix = pytest.mark.skipif(os.name == "nt", reason="hands open sockets to another program")


@pytest.fixture(scope="module")
def lab() -> Lab:
    """A CA, a server, a client, and a stranger."""
    return Lab()


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of both ends: server, client, stranger, ca.crt."""
    folder = tmp_path_factory.mktemp("made")
    lab.server.save(folder, "server")
    lab.client.save(folder, "client")
    lab.client_of(lab.stranger).save(folder, "stranger")
    (folder / "ca.crt").write_bytes(certificate_pem(lab.ca.certificate))
    return folder


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[mtlslab.Server]:
    """A server that lets the client in."""
    with mtlslab.Server(lab.server, client_ca=lab.ca.certificate, port=0) as server:
        yield server


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of these files, for one test."""
    return Path(shutil.copytree(made, tmp_path / "files"))


def diagnose(where: int | str, folder: Path, who: str | None = "client", **options: Any) -> Diagnosis:
    """Diagnose a port of this machine, or a URL, as somebody."""
    if who is not None:
        options = {"cert": folder / f"{who}.crt", "key": folder / f"{who}.key"} | options
    url = f"https://localhost:{where}" if isinstance(where, int) else where
    return mtlslab.diagnose(url, cacert=folder / "ca.crt", **{"timeout": 2.0, **options})


def causes(found: Diagnosis) -> list[str]:
    return [finding.cause for finding in found.findings]


def server_context(
    folder: Path, mode: ssl.VerifyMode = ssl.CERT_REQUIRED, alpn: tuple[str, ...] = ()
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = mode
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@contextmanager
def speaking(
    folder: Path,
    say: Callable[[ssl.SSLSocket], None],
    *,
    before: Callable[[socket.socket], None] = lambda _: None,
    **options: Any,
) -> Iterator[int]:
    """Run a server that says something in the clear, shakes hands, and says something in TLS."""
    context = server_context(folder, **options)

    def serve(caller: socket.socket) -> None:
        before(caller)
        with context.wrap_socket(caller, server_side=True) as tls:
            say(tls)
            tls.recv(4096)

    with listening(serve) as port:
        yield port


# --- Python's own servers -------------------------------------------------------------------------


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind.endswith("shutdown"):
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@contextmanager
def running(name: str, folder: Path, *, insists: bool = True) -> Iterator[int]:
    """Run a server of somebody else's; yield its port."""
    pytest.importorskip(name)
    key, certificate, ca = (str(folder / file) for file in ("server.key", "server.crt", "ca.crt"))
    if name == "gunicorn":
        (folder / "app.py").write_text("def wsgi(environ, start):\n    start('200 OK', [])\n    return [b'hello']\n")
        files = "--keyfile server.key --certfile server.crt --ca-certs ca.crt --cert-reqs 2"
        command = f"{shlex.quote(sys.executable)} -m gunicorn app:wsgi -b 127.0.0.1:0 {files}"
        with programs.serving(command, folder, announced=r"Listening at: https://127\.0\.0\.1:(\d+)") as process:
            yield process.port
        return
    asked = {"ssl_cert_reqs": ssl.CERT_REQUIRED} if insists else {}
    if name == "uvicorn":
        serving = servers.uvicorn(asgi, ssl_keyfile=key, ssl_certfile=certificate, ssl_ca_certs=ca, **asked)
    else:
        serving = servers.hypercorn(asgi, keyfile=key, certfile=certificate, ca_certs=ca, verify_mode=ssl.CERT_REQUIRED)
    with serving as url:
        yield int(url.rpartition(":")[2])


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn", "gunicorn"])
def test_python_servers_that_insist(name: str, folder: Path) -> None:
    """A good client is let in, a stranger is one, and a missing certificate is missed."""
    with running(name, folder) as port:
        assert diagnose(port, folder).healthy
        assert causes(diagnose(port, folder, "stranger"))[0] == "unknown-client-ca"
        assert causes(diagnose(port, folder, None))[0] == "no-client-certificate"


@lets_in
def test_uvicorn_that_does_not_ask(folder: Path) -> None:
    """Its --ssl-ca-certs alone asks nobody; and nothing says that everybody gets in everywhere."""
    with running("uvicorn", folder, insists=False) as port:
        found = diagnose(port, folder)
    assert causes(found) == ["server-never-asks"]
    assert "everybody gets in" not in found.to_json()


def test_grpc_speaks_http_2_only(folder: Path) -> None:
    """A good client is told of HTTP/2, not of its certificate; a stranger of its CA."""
    grpc = pytest.importorskip("grpc")
    futures = pytest.importorskip("concurrent.futures")
    server = grpc.server(futures.ThreadPoolExecutor(1))
    key, certificate, ca = ((folder / name).read_bytes() for name in ("server.key", "server.crt", "ca.crt"))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)], ca, True))
    server.start()
    try:
        good, stranger = diagnose(port, folder), diagnose(port, folder, "stranger")
    finally:
        server.stop(0)
    assert causes(good) == ["speaks-http2-only"]
    assert good.findings[0].likelihood == "certain"
    assert "accepted" in good.findings[0].evidence
    assert causes(stranger)[0] == "unknown-client-ca"


# --- other protocols inside TLS -------------------------------------------------------------------


def test_a_greeting_is_listened_to(folder: Path) -> None:
    """A mail server speaks first: the good client is told so, and no certificate is blamed."""
    with speaking(folder, lambda tls: tls.sendall(b"220 mail.example.com ESMTP\r\n")) as port:
        found, stranger = diagnose(port, folder), diagnose(port, folder, "stranger")
    assert causes(found) == ["speaks-another-protocol"]
    assert "speaks SMTP, not HTTP" in found.findings[0].what
    assert causes(stranger)[0] == "unknown-client-ca"


def test_a_broker_that_hangs_up_on_http(folder: Path) -> None:
    """A server that waits for MQTT is asked in MQTT; and its URL scheme says that no HTTP is wanted."""

    def broker(tls: ssl.SSLSocket) -> None:
        if not tls.recv(4096).startswith(b"\x10"):
            raise OSError("no MQTT")
        tls.sendall(b"\x20\x02\0\0")

    with speaking(folder, broker) as port:
        found = diagnose(port, folder)
        assert diagnose(f"mqtts://localhost:{port}", folder).healthy
    assert causes(found) == ["speaks-another-protocol"]
    assert "accepted" in found.findings[0].evidence
    assert "that is MQTT" in found.findings[0].evidence


@lets_in
def test_a_server_that_answers_nothing(folder: Path) -> None:
    """`openssl s_server` without -www: TLS is complete, and nothing comes."""
    with speaking(folder, lambda _: time.sleep(2)) as port:
        found = diagnose(port, folder, timeout=0.4)
    assert causes(found) == ["answers-nothing"]
    assert "accepted" in found.findings[0].evidence


def test_a_large_packet_that_does_not_arrive(folder: Path) -> None:
    """The flight with the certificate is dropped on its way: a handshake without one is answered."""
    with speaking(folder, lambda _: None) as port:

        def relay(caller: socket.socket) -> None:
            with socket.create_connection(("127.0.0.1", port)) as server:

                def back() -> None:
                    with contextlib.suppress(OSError):
                        while data := server.recv(65536):
                            caller.sendall(data)

                threading.Thread(target=back, daemon=True).start()
                server.sendall(caller.recv(65536))  # the ClientHello, which a post-quantum share makes large, too
                while len(data := caller.recv(65536)) in range(1, 700):
                    server.sendall(data)
                while data:  # what follows waits for what was lost
                    data = caller.recv(65536)

        with listening(relay) as narrow:
            found = diagnose(narrow, folder, timeout=0.5)
    assert causes(found) == ["timed-out", "packet-size"]
    assert found.findings[1].likelihood == "likely"


# --- before TLS -----------------------------------------------------------------------------------


def _hear(caller: socket.socket, expected: bytes, size: int = 100) -> None:
    """Hang up on a caller who says something else."""
    if not caller.recv(size).startswith(expected):
        raise OSError("somebody else's words")


def _postgres(caller: socket.socket) -> None:
    _hear(caller, bytes.fromhex("0000000804d2162f"), 8)
    caller.sendall(b"S")


def _smtp(caller: socket.socket) -> None:
    caller.sendall(b"220 mail.example.com ESMTP\r\n")
    _hear(caller, b"EHLO")
    caller.sendall(b"250-mail.example.com\r\n250 STARTTLS\r\n")
    _hear(caller, b"STARTTLS\r\n")
    caller.sendall(b"220 go ahead\r\n")


def _imap(caller: socket.socket) -> None:
    caller.sendall(b"* OK IMAP4rev1 ready\r\n")
    _hear(caller, b"a STARTTLS\r\n")
    caller.sendall(b"a OK begin\r\n")


def _mysql(caller: socket.socket) -> None:
    caller.sendall(b"\x4a\0\0\0\x0a8.4.0\0" + bytes(60))
    _hear(caller, b"\x20\0\0\1\0\x8a", 36)


def _proxy(caller: socket.socket) -> None:
    if caller.recv(6, socket.MSG_PEEK) != b"PROXY ":
        raise OSError("no line of the PROXY protocol")
    while caller.recv(1) != b"\n":
        pass


_ALSO = {"postgres": "postgresql", "mysql": "mariadb"}
"""Other names of schemes."""


@pytest.mark.parametrize(
    ("scheme", "before"), [("postgres", _postgres), ("smtp", _smtp), ("imap", _imap), ("mysql", _mysql)]
)
def test_tls_that_is_asked_for(scheme: str, before: Callable[[socket.socket], None], made: Path) -> None:
    """Named where TLS was expected at once; and asked for in the protocol's own way, by scheme or option."""
    with speaking(made, lambda _: None, before=before) as port:
        blind = diagnose(port, made)
        if scheme != "imap":
            asked = diagnose(f"{_ALSO.get(scheme, scheme)}://localhost:{port}", made)
        else:
            asked = diagnose(port, made, starttls=scheme)
            assert causes(diagnose(port, made, "stranger", starttls=scheme))[0] == "unknown-client-ca"
    assert causes(blind) == ["needs-starttls"], blind
    assert f"--starttls {scheme}" in blind.findings[0].cure
    assert asked.healthy, asked


def test_the_proxy_protocol_is_tried(folder: Path) -> None:
    """A listener behind a load balancer hangs up on TLS, and shakes hands after one line."""
    with speaking(folder, lambda _: None, before=_proxy) as port:
        assert causes(diagnose(port, folder)) == ["wants-proxy-protocol"]


def test_a_proxy_of_the_environment(folder: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the direct way is closed, the proxy's is tried, and its password is not printed."""
    with speaking(folder, lambda _: None) as port:

        def proxy(caller: socket.socket) -> None:
            assert caller.recv(4096).startswith(b"CONNECT localhost:1 HTTP/1.1\r\n")
            caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)) as server:
                server.sendall(caller.recv(4096))
                caller.sendall(server.recv(4096))

        with listening(proxy) as through:
            monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{through}")
            found = diagnose(1, folder)
    assert causes(found) == ["only-through-proxy", "connection-refused"]
    assert "secret" not in found.to_json()


def test_an_appliance_with_tls_1_1(folder: Path) -> None:
    """It refuses what is newer with an alert; a bare hello with the old version gets its ServerHello."""

    def old(caller: socket.socket) -> None:
        hello = caller.recv(4096)
        if hello[9:11] == b"\x03\x02":
            caller.sendall(bytes.fromhex("160302002a020000260302") + bytes(32) + bytes.fromhex("00c01400"))
        else:
            caller.sendall(bytes.fromhex("15030200020246"))
        caller.recv(4096)

    with listening(old) as port:
        found = diagnose(port, folder)
    assert causes(found) == ["old-tls-only"]
    assert "TLS 1.1" in found.findings[0].evidence


# --- what HTTP answers ----------------------------------------------------------------------------


_HEADS = {
    b"401 Unauthorized": "refused-by-application",
    b"403 Forbidden": "refused-by-application",
    b"502 Bad Gateway": "behind-the-server",
    b"302 Found\r\nLocation: https://u:secret@login.example.com/?code=secret": "redirected",
    b"421 Misdirected Request": "misdirected",
    b"429 Too Many Requests": "http-error",
}


def test_an_answer_counts(made: Path) -> None:
    """It is never "nothing wrong", and its secrets are not printed."""
    said = [b""]

    def answer(tls: ssl.SSLSocket) -> None:
        tls.recv(4096)
        tls.sendall(b"HTTP/1.1 " + said[-1] + b"\r\nContent-Length: 4\r\n\r\nsorr")

    with speaking(made, answer) as port:
        for head, cause in _HEADS.items():
            said.append(head)
            found = diagnose(port, made)
            assert causes(found) == [cause]
            assert head[:3].decode() in found.findings[0].evidence
            assert "secret" not in found.to_json()
        assert causes(diagnose(port, made, None, cert=None))[0] == "no-client-certificate"


def test_a_server_that_asks_late(folder: Path) -> None:
    """Post-handshake authentication (RFC 8446 §4.6.2), as Apache does it for a path: not "server never asks"."""

    def serve(caller: socket.socket) -> None:
        context = server_context(folder)
        context.post_handshake_auth = True
        with context.wrap_socket(caller, server_side=True) as tls:
            tls.recv(4096)
            tls.verify_client_post_handshake()
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            tls.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                tls.recv(4096)  # takes the client's answer in
            tls.sendall(b"ok")
            tls.settimeout(None)
            tls.recv(4096)

    with listening(serve) as port:
        found = diagnose(port, folder)
    assert causes(found)[0] == "asks-late", found


def test_a_server_that_does_not_resume(folder: Path) -> None:
    """All is well at the first call, and the second one, with that one's session, is refused."""
    met: list[socket.socket] = []

    def before(caller: socket.socket) -> None:
        met.append(caller)
        if len(met) > 1:
            caller.recv(4096)
            caller.sendall(bytes.fromhex("15030300020228"))

    def answer(tls: ssl.SSLSocket) -> None:
        tls.recv(4096)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with speaking(folder, answer, before=before) as port:
        found = diagnose(port, folder)
    assert causes(found) == ["resumption-fails"]
    assert len(met) == 2


# --- strictness, and two faults at once -----------------------------------------------------------


def staged(mint: Callable[[Lab], Setup], folder: Path) -> Diagnosis:
    """Diagnose a setup of one's own."""
    with faults.staged(Fault("x", "client", "trust", "", mint, faults.ACCEPTED, ""), folder) as case:
        files: dict[str, Any] = dict(case.files)
        return mtlslab.diagnose(case.url, **files)


def test_strictness_does_not_end_the_diagnosis(tmp_path: Path) -> None:
    """A CA of `openssl req -x509`, and a stranger's client: the second is what fails."""

    def mint(lab: Lab) -> Setup:
        plain = faults.altered(lab.ca.certificate, lab.ca.private_key, without=(x509.KeyUsage,))
        return replace(lab.good, server_ca=plain, client=lab.client_of(lab.stranger))

    found = staged(mint, tmp_path)
    assert causes(found)[0] == "unknown-client-ca"
    (strict,) = [f for f in found.findings if f.cause == "ca-without-key-usage"]
    assert strict.likelihood == "possible"


def test_a_chain_that_only_the_strict_refuse(tmp_path: Path) -> None:
    """A client's certificate does not name its issuer's key: OpenSSL takes it, and told to be strict refuses it."""

    def mint(lab: Lab) -> Setup:
        plain = faults.altered(lab.client.certificate, lab.ca.private_key, without=(x509.AuthorityKeyIdentifier,))
        return replace(lab.good, client=replace(lab.client, certificate=plain))

    (strict,) = [f for f in staged(mint, tmp_path).findings if f.cause == "client-chain-not-strict"]
    assert strict.likelihood == "possible"
    assert "strict" in strict.evidence


def test_a_changed_certificate_is_not_a_ca_made_again(tmp_path: Path) -> None:
    """It names the CA's very key, and the signature is not that key's."""

    def mint(lab: Lab) -> Setup:
        changed = faults.altered(lab.client.certificate, lab.stranger.private_key)
        return replace(lab.good, client=replace(lab.client, certificate=changed))

    assert causes(staged(mint, tmp_path))[0] == "bad-signature"


@lets_in
def test_a_certificate_of_a_public_ca(tmp_path: Path) -> None:
    """Its next one will not be for clients: said as what will fail, with the date and the source, and nothing more."""

    def mint(lab: Lab) -> Setup:
        policy = x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)
        put: list[tuple[x509.ExtensionType, bool]] = [(x509.CertificatePolicies([policy]), False)]
        client = faults.altered(lab.client.certificate, lab.ca.private_key, put=put)
        server = faults.altered(lab.server.certificate, lab.ca.private_key, put=put, days=(-1, 300))
        return replace(
            lab.good,
            client=replace(lab.client, certificate=client),
            server=replace(lab.server, certificate=server),
        )

    found = staged(mint, tmp_path)
    assert causes(found) == ["public-ca-clients", "life-over-limit"]
    assert {f.likelihood for f in found.findings} == {"possible"}
    assert "July 2026" in found.findings[0].evidence
    assert "SC-081v3" in found.findings[1].evidence


def test_an_underscore_under_a_wildcard(tmp_path: Path) -> None:
    """OpenSSL lets no wildcard stand for it."""

    def mint(lab: Lab) -> Setup:
        return replace(lab.good, server=lab.server_of(lab.ca, "*.example.com"))

    with faults.staged(Fault("x", "client", "trust", "", mint, faults.ACCEPTED, ""), tmp_path) as case:
        files: dict[str, Any] = dict(case.files)
        found = mtlslab.diagnose(case.url, **files, server_name="a_shop.example.com")
    assert causes(found) == ["underscore-under-wildcard"]


def test_no_staged_example_is_told_as_a_fact() -> None:
    """The table's sentence is about what a page stages; what is said of a real connection is not."""
    for name in ("wrong-purpose-client", "wildcard-too-deep", "weak-client-key", "version-1-client"):
        said = Finding(name, "certain", "").what
        assert said != faults.FAULTS[name].sentence
        assert not any(word in said for word in ("example.com", "serverAuth", "1024", "article")), name


# --- what people have -----------------------------------------------------------------------------


@lets_in
def test_ways_to_write_an_address(made: Path, server: mtlslab.Server) -> None:
    """Without a scheme, in capitals, with a password: that one is not printed."""
    for form in ("localhost:{}", "HTTPS://LOCALHOST:{}/a?b#c", "wss://localhost:{}/ws",
                 "https://user:pw@localhost:{}", " https://localhost:{} "):  # fmt: skip
        found = diagnose(form.format(server.port), made)
        assert found.healthy, (form, found)
        assert "pw" not in repr(found) + found.to_json()


@lets_in
def test_an_address_to_dial_and_a_name_to_expect(made: Path, server: mtlslab.Server) -> None:
    """`connect_to` as people write it and as curl does; `server_name` is held against the certificate."""
    elsewhere = diagnose("https://localhost", made, connect_to=f"127.0.0.1:{server.port}")
    named = diagnose("https://example.org", made, connect_to=f"::localhost:{server.port}", server_name="localhost")
    other = diagnose(server.url, made, server_name="example.org")
    assert elsewhere.healthy
    assert named.healthy
    assert causes(other)[0] == "wrong-host"


@needs_posix
@lets_in
def test_pipes_are_read_once(
    folder: Path, server: mtlslab.Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the shell's <(…) hands them over; and one that nobody writes into holds up nobody."""
    monkeypatch.setattr("mtlslab.diagnosis.reading._PATIENCE", 0.1)
    with contextlib.ExitStack() as stack:
        options = []
        for option, name in (("cacert", "ca.crt"), ("cert", "client.crt"), ("key", "client.key")):
            read, write = os.pipe()
            os.write(write, (folder / name).read_bytes())
            os.close(write)
            stack.callback(os.close, read)
            options += [f"--{option}", f"/dev/fd/{read}"]
        assert main(["diagnose", server.url, *options]) == 0, capsys.readouterr().out
        os.mkfifo(folder / "pipe.crt")
        found = diagnose(server.url, folder, cert=folder / "pipe.crt")
    assert causes(found) == ["unreadable-file"]
    assert "pipe" in found.findings[0].evidence


@lets_in
def test_pkcs12_and_a_folder_of_cas(folder: Path, lab: Lab, server: mtlslab.Server) -> None:
    """Both are used, and said to be what not every program takes."""
    sealed = pkcs12.serialize_key_and_certificates(
        b"me", lab.client.private_key, lab.client.certificate, None, BestAvailableEncryption(b"pw")
    )
    (folder / "client.p12").write_bytes(sealed)
    (folder / "cas").mkdir()
    (folder / "cas" / "any.pem").write_bytes(certificate_pem(lab.ca.certificate))
    found = mtlslab.diagnose(server.url, cacert=folder / "cas", cert=folder / "client.p12", password="pw")
    closed = mtlslab.diagnose(server.url, cacert=folder / "cas", cert=folder / "client.p12")
    assert causes(found) == ["folder-of-cas", "pkcs12-for-pem"]
    assert {f.likelihood for f in found.findings} == {"possible"}
    assert found.answer is not None
    assert found.answer.status == 200
    assert causes(closed)[0] == "pkcs12-for-pem"
    assert "-legacy" in closed.findings[0].cure


def _trusted(certificate: bytes) -> bytes:
    """Write a certificate as OpenSSL's TRUSTED CERTIFICATE: after it, what it is trusted for."""
    der = ssl.PEM_cert_to_DER_cert(certificate.decode()) + bytes.fromhex("300c300a06082b06010505070302")
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "TRUSTED CERTIFICATE").encode()


_AWKWARD: list[tuple[Callable[[bytes], bytes], str | None]] = [
    (lambda pem: b"\xff\xfe" + pem.decode().encode("utf-16-le"), "UTF-16"),
    (lambda pem: pem.replace(b"\n", b"\\n"), r"written as \n"),
    (lambda pem: pem.replace(b"\n", b"\r"), "carriage return"),
    (lambda pem: pem.replace(b"\n", b" "), "on one line"),
    (lambda pem: pem.strip() + pem, "share a line"),
    (lambda pem: b"".join(b"    " + line + b"\n" for line in pem.splitlines()), "indented"),
    (lambda pem: pem.replace(b"-----BEGIN", b"----BEGIN"), "five dashes"),
    (lambda _: b"<!DOCTYPE html><title>Sign in</title>", "web page"),
    (_trusted, None),
    (lambda pem: b"\xef\xbb\xbf" + pem.replace(b"\n", b"\r\n"), None),
]


@lets_in
def test_awkward_files_are_named(folder: Path, server: mtlslab.Server) -> None:
    """For what they are, where OpenSSL does not read them; and read where it does."""
    path = folder / "client.crt"
    pem = path.read_bytes()
    for change, said in _AWKWARD:
        path.write_bytes(change(pem))
        found = diagnose(server.url, folder)
        if said is None:
            assert found.healthy, found
        else:
            assert causes(found)[0] == "unreadable-file", (said, found)
            assert said in found.findings[0].evidence


# --- recognising ----------------------------------------------------------------------------------


def test_first_words_tell_a_protocol() -> None:
    """And what is not known is not guessed."""
    for first, protocol in (
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"), (b"220 mx ESMTP\r\n", "SMTP"), (b"220 (vsFTPd 3.0.3)\r\n", "FTP"),
        (b"* OK [CAPABILITY IMAP4rev1]\r\n", "IMAP"), (b"+OK ready\r\n", "POP3"), (b"HTTP/1.1 400 Bad\r\n", "HTTP"),
        (b"\0\0\x12\x04\0\0\0\0\0", "HTTP/2"), (b"AMQP\0\0\x09\x01", "AMQP"), (b"-ERR unknown\r\n", "Redis"),
        (b"\x4a\0\0\0\x0a8.4.0\0", "MySQL or MariaDB"), (b"INFO {}\r\n", "NATS"), (b"hello", None), (b"", None),
    ):  # fmt: skip
        assert recognised(first) == protocol


def test_a_url_that_is_none_is_not_quoted_with_its_password() -> None:
    """A slash in a password makes a port of its beginning: what is said of it does not repeat it."""
    with pytest.raises(errors.OptionRefused, match="%2F") as refused:
        mtlslab.diagnose("https://user:p/secret@localhost")
    assert "secret" not in str(refused.value)
