"""`diagnose` against servers, files and arguments that mean it no good, or are merely unusual."""

import base64
import contextlib
import io
import json
import random
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

import mtlslab
from mtlslab import errors, faults
from mtlslab.__main__ import main
from mtlslab.credentials import Credential, certificate_pem, new_private_key
from mtlslab.diagnosis import Diagnosis
from mtlslab.faults import Case, Fault, Lab, Setup, altered, minting

lets_in = mock.patch("mtlslab.diagnosis.inquiry.LISTEN", 0.01)
"""For servers that let the client in and say nothing by themselves: nothing is missed by listening to them for less."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run `serve` for each caller; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def one(caller: socket.socket) -> None:
            with caller, contextlib.suppress(OSError):
                serve(caller)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of two ends that get along: server, client, ca.crt. Nobody changes them."""
    lab, folder = Lab(), tmp_path_factory.mktemp("ends")
    lab.server.save(folder, "server")
    lab.client.save(folder, "client")
    (folder / "ca.crt").write_bytes(certificate_pem(lab.ca.certificate))
    return folder


@contextmanager
def https(folder: Path, say: Callable[[ssl.SSLSocket], None], *, asks: bool = True) -> Iterator[int]:
    """Run an HTTPS server that reads a request, and then does `say`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    if asks:
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL

    def serve(caller: socket.socket) -> None:
        with context.wrap_socket(caller, server_side=True) as tls:
            tls.recv(4096)
            say(tls)

    with listening(serve) as port:
        yield port


def diagnose(port: int, folder: Path, *, timeout: float = 1.0) -> Diagnosis:
    files: dict[str, Any] = {"cacert": folder / "ca.crt", "cert": folder / "client.crt", "key": folder / "client.key"}
    return mtlslab.diagnose(f"https://localhost:{port}", **files, timeout=timeout)


def files_of(case: Case) -> dict[str, Any]:
    return dict(case.files)


def staged(setup: Callable[[Lab], Setup], folder: Path) -> Diagnosis:
    """Diagnose a setup of one's own."""
    with faults.staged(Fault("x", "client", "trust", "", setup, faults.ACCEPTED, ""), folder) as case:
        return mtlslab.diagnose(case.url, **files_of(case))


def causes(found: Diagnosis) -> list[str]:
    return [finding.cause for finding in found.findings]


TOLD = (40, 43, 44, 70, 71, 80, 112, 116, 120)
"""The alerts that `diagnose` reads something out of before it was asked for a certificate."""
UNTOLD = (10, 42, 48, 115, 200)
"""Some of the others: of a message, a certificate, its CA, a secret; and one that nobody knows."""


def test_a_refused_connection_is_never_healthy(ends: Path) -> None:
    """Whatever the alert, known or not, with a client certificate or without."""
    told = [0]

    def refuse(caller: socket.socket) -> None:
        caller.recv(4096)
        caller.sendall(b"\x15\x03\x03\x00\x02\x02" + bytes(told[-1:]))
        caller.recv(4096)

    with listening(refuse) as port:
        for code in (*TOLD, *UNTOLD):
            told.append(code)
            without = mtlslab.diagnose(f"https://localhost:{port}", cacert=ends / "ca.crt")
            for found in (without, diagnose(port, ends)) if code in (*TOLD, 48) else (without,):
                assert not found.healthy, code
                assert "no-client-certificate" not in causes(found), code  # it has not asked yet


def _drip(tls: ssl.SSLSocket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100:
        tls.sendall(bytes([byte]))
        time.sleep(0.1)


def _continue(tls: ssl.SSLSocket) -> None:
    while True:
        tls.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def _no_end(tls: ssl.SSLSocket) -> None:
    tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        tls.sendall(b"a" * 65536)


def _events(tls: ssl.SSLSocket) -> None:
    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        tls.sendall(b": still here\n\n")
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("say", "expected"), [(_drip, ["timed-out"]), (_continue, ["timed-out"]), (_no_end, []), (_events, [])]
)
def test_no_reply_is_waited_for_without_end(
    say: Callable[[ssl.SSLSocket], None], expected: list[str], ends: Path
) -> None:
    """Headers that drip are a finding; a body that has no end is none."""
    began = time.monotonic()
    with https(ends, say) as port:
        assert causes(diagnose(port, ends, timeout=0.3)) == expected
    assert time.monotonic() - began < 5


def test_the_network_may_cut_anywhere(tmp_path: Path) -> None:
    """The server's certificate is seen though the client stops in the middle of a record."""
    sizes = [50, 300]
    with faults.stage("ip-address-as-dns-name", tmp_path) as case:

        def relay(caller: socket.socket) -> None:
            size = sizes.pop()
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with socket.create_connection(("127.0.0.1", case.server.port)) as server:
                server.sendall(caller.recv(65536))
                flight = server.recv(65536)
                for at in range(0, len(flight), size):
                    caller.sendall(flight[at : at + size])
                    time.sleep(0.005)
                caller.recv(4096)

        with listening(relay) as port:
            while sizes:
                found = mtlslab.diagnose(f"https://127.0.0.1:{port}", cacert=case.files["cacert"])
                assert causes(found)[0] == "ip-address-as-dns-name", sizes


def test_a_url_that_cannot_be_dialled_is_refused() -> None:
    """Before anything is dialled, on every Python, as `request` does."""
    for url in (
        "https://a..b", "https://" + "a" * 64 + ".com", "https://localhost/\0", "https://xn--zzzzzz.example",
        "https://localhost:0", "https://local\thost", "https://" + "a" * 70000, 7, b"https://a",
    ):  # fmt: skip
        with pytest.raises(errors.OptionRefused, match="url"):
            mtlslab.diagnose(url)  # type: ignore[arg-type]


def test_a_timeout_that_is_none_is_refused() -> None:
    """As an argument: exit status 2."""
    for timeout in (0, -1, float("nan"), float("inf"), 1e20, "5", None):
        with pytest.raises(errors.OptionRefused, match="timeout"):
            mtlslab.diagnose("https://localhost", timeout=timeout)  # type: ignore[arg-type]


def test_the_scheme_may_be_in_capitals(tmp_path: Path) -> None:
    """HTTP:// is http://."""
    with faults.stage("plain-http-to-tls-port", tmp_path) as case:
        found = mtlslab.diagnose(case.url.replace("http:", "HTTP:"), cacert=case.files["cacert"])
    assert causes(found) == ["plain-http-to-tls-port"]


@lets_in
def test_a_name_that_cryptography_does_not_read_is_no_end(tmp_path: Path) -> None:
    """A server's x400Address in its subjectAltName: OpenSSL takes it."""

    class X400(x509.UnrecognizedExtension):
        oid = x509.OID_SUBJECT_ALTERNATIVE_NAME

    def mint(lab: Lab) -> Setup:
        odd = X400(
            x509.OID_SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("300f8209") + b"localhost" + bytes.fromhex("a3023000")
        )
        good = lab.server.certificate
        made = altered(good, lab.ca.private_key, without=(x509.SubjectAlternativeName,), put=[(odd, False)])
        return replace(lab.good, server=replace(lab.server, certificate=made))

    assert staged(mint, tmp_path).healthy


@pytest.mark.parametrize("which", ["cert", "cacert"])
def test_a_certificate_of_no_known_version_is_a_finding(which: str, tmp_path: Path) -> None:
    """Version 4 is none; OpenSSL does not mind, cryptography does."""
    with faults.stage("no-client-certificate", tmp_path) as case:
        der = case.lab.client.certificate.public_bytes(serialization.Encoding.DER)
        odd = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020103"), 1)
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(odd) + b"-----END CERTIFICATE-----\n"
        (tmp_path / "odd.crt").write_bytes(pem)
        found = mtlslab.diagnose(case.url, **{**files_of(case), which: tmp_path / "odd.crt"})
    assert causes(found) == ["unreadable-file"]


def test_a_stranger_does_not_write_to_the_terminal(tmp_path: Path) -> None:
    """A server's names are a stranger's text: no colours, no new lines."""

    def mint(lab: Lab) -> Setup:
        cn = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x\x1b[31m\ncertain  all-is-well")])
        stranger = lab.stranger
        server = lab.server_of(stranger)
        made = altered(server.certificate, stranger.private_key, issuer=cn)
        return replace(lab.good, server=replace(server, certificate=made))

    shown = repr(staged(mint, tmp_path))
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("certain  all-is-well")]


# --- what is healthy, and what comes first --------------------------------------------------------


@lets_in
def test_what_the_server_has_accepted_is_no_fault(tmp_path: Path) -> None:
    """A self-signed client certificate that the server trusts; a chain in another order."""

    def pinned(lab: Lab) -> Setup:
        key = new_private_key()
        own = altered(lab.client.certificate, key, public_key=key, issuer=lab.client.certificate.subject,
                      put=minting.own_akid(key))  # fmt: skip
        return replace(lab.good, client=Credential(own, key), client_ca=own)

    def with_root_between(lab: Lab) -> Setup:
        client = lab.client_of(lab.issuing_ca)
        return replace(lab.good, client=replace(client, chain=(lab.ca.certificate, *client.chain)))

    assert staged(pinned, tmp_path / "pinned").healthy
    assert staged(with_root_between, tmp_path / "order").healthy


def test_an_expired_root_is_not_an_expired_server(tmp_path: Path) -> None:
    """OpenSSL's words are the same; the file of --cacert tells."""

    def mint(lab: Lab) -> Setup:
        old = minting.ca_again(lab.ca, days=(-9, -1))
        return replace(lab.good, server_ca=old.certificate)

    found = staged(mint, tmp_path)
    assert causes(found) == ["expired"]
    assert "in the file of --cacert" in found.findings[0].evidence


def test_an_expired_intermediate_of_the_client_is_seen_in_its_file(tmp_path: Path) -> None:
    """The server's alert is about it; the client's own certificate is valid."""

    def mint(lab: Lab) -> Setup:
        client = lab.client_of(lab.issuing_ca)
        old = altered(lab.issuing_ca.certificate, lab.ca.private_key, days=(-9, -1))
        return replace(lab.good, client=replace(client, chain=(old,)))

    assert causes(staged(mint, tmp_path))[0] == "expired"


def test_a_gap_in_the_servers_chain_is_told_from_an_unknown_ca(tmp_path: Path) -> None:
    """It sends the upper intermediate and not the lower one; the client trusts the root."""

    def mint(lab: Lab) -> Setup:
        lower = mtlslab.CertificateAuthority.create("example-lower-ca")
        server = lab.server_of(lower)
        return replace(lab.good, server=replace(server, chain=(lab.issuing_ca.certificate,)))

    assert causes(staged(mint, tmp_path))[0] == "server-without-intermediate"


@pytest.mark.parametrize("asks", [True, False])
def test_a_server_that_hangs_up_without_having_asked(asks: bool, ends: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that was never asked for is not to blame."""
    monkeypatch.setattr("mtlslab.diagnosis.course.SHORT", 0.2)  # it says nothing to who says nothing
    with https(ends, lambda _: None, asks=asks) as port:
        found = mtlslab.diagnose(f"https://localhost:{port}", cacert=ends / "ca.crt")
        sent = diagnose(port, ends)
    assert causes(found)[0] == ("no-client-certificate" if asks else "connection-lost")
    assert found.findings[0].likelihood == "likely"
    assert causes(sent)[0] == ("speaks-another-protocol" if asks else "connection-lost")


# --- files ----------------------------------------------------------------------------------------


def test_the_cure_is_for_the_file_that_is_wrong(tmp_path: Path) -> None:
    """A key in DER is not converted with `openssl x509`; every broken file is named."""
    with faults.stage("no-client-certificate", tmp_path) as case:
        case.lab.client.save(tmp_path, "client")
        key = case.lab.client.private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "my key.der").write_bytes(key)
        (found,) = mtlslab.diagnose(
            case.url, cacert=tmp_path / "ca.crt", cert=tmp_path / "client.crt", key=tmp_path / "my key.der"
        ).findings
        both = mtlslab.diagnose(case.url, cacert=tmp_path / "no.ca", cert=tmp_path / "no.crt")
    assert found.cure == "Convert it: openssl pkey -inform DER -in 'my key.der' -out 'my key.der'.pem."
    assert "client's certificate" not in found.what
    assert [f.evidence.split(":")[0] for f in both.findings] == ["no.ca", "no.crt"]


def test_a_wrong_password_is_not_a_missing_one(tmp_path: Path) -> None:
    """The sentence says which."""
    with faults.stage("encrypted-key", tmp_path) as case:
        (found,) = mtlslab.diagnose(case.url, **files_of(case), password="wrong").findings
    assert found.cause == "encrypted-key"
    assert "nobody gave" not in found.what


def test_what_openssl_does_not_load_comes_first(tmp_path: Path) -> None:
    """A weak key that has also expired: both are found, each with its own evidence."""

    def mint(lab: Lab) -> Setup:
        weak = minting.weak(lab)
        old = altered(weak.certificate, lab.ca.private_key, days=(-9, -1))
        return replace(lab.good, client=replace(weak, certificate=old))

    found = staged(mint, tmp_path)
    assert causes(found) == ["weak-client-key", "expired-client"]
    assert "ended on" in found.findings[1].evidence


# --- what is printed ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_any_file_name_can_be_printed(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that knows ASCII only, and half a character (a byte that is no UTF-8) in a name."""
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", out)
    assert main(["diagnose", "https://localhost", "--cacert", str(tmp_path / "ключ\udcff.crt"), *options]) == 1
    out.seek(0)
    printed = out.read()
    assert not options or json.loads(printed)["findings"][0]["cause"] == "unreadable-file"


# --- before TLS, inside it, and changed on the way ------------------------------------------------


def _for_ever(what: bytes) -> Callable[[socket.socket], None]:
    def say(caller: socket.socket) -> None:
        while True:
            caller.sendall(what)
            time.sleep(0.001)

    return say


def _no(caller: socket.socket) -> None:
    caller.sendall(b"-ERR \x1b[31mno\r\n")
    caller.recv(4096)


def _no_in_numbers(caller: socket.socket) -> None:
    caller.sendall(b"554 \x1b[31mno\r\n")
    caller.recv(4096)


def _all_bytes(caller: socket.socket) -> None:
    caller.sendall(bytes(range(256)))


def _hang_up(_: socket.socket) -> None:
    pass


def _hear_and_hang_up(caller: socket.socket) -> None:
    caller.recv(4096)


def _silence(caller: socket.socket) -> None:
    caller.recv(4096)
    caller.recv(4096)


_LINES, _LETTERS = _for_ever(b"220-more\r\n"), _for_ever(b"a" * 999)


_NO_GOOD: list[tuple[str, Callable[[socket.socket], None]]] = [
    ("smtp", _hang_up), ("postgres", _hang_up), ("imap", _hear_and_hang_up), ("ldap", _hear_and_hang_up),
    ("pop3", _silence), ("postgres", _silence), ("mysql", _all_bytes), ("postgres", _all_bytes), ("smtp", _LINES),
    ("imap", _LINES), ("mysql", _LETTERS), ("ldap", _LETTERS), ("smtp", _no_in_numbers), ("pop3", _no),
    ("postgres", lambda caller: caller.sendall(b"S" * 9)), ("imap", lambda caller: caller.sendall(b"S" * 9)),
]  # fmt: skip
"""Of postgres and ldap the client speaks first, of the others the server."""


def test_starttls_with_a_server_that_means_no_good(ends: Path) -> None:
    """Silence, floods, garbage, a no: a finding each time, in time, and nothing that moves a terminal's cursor."""
    for row, (scheme, say) in enumerate(_NO_GOOD):
        began = time.monotonic()
        with listening(say) as port:
            found = mtlslab.diagnose(f"{scheme}://localhost:{port}", cacert=ends / "ca.crt", timeout=0.2)
        assert not found.healthy, row
        assert say not in (_no, _no_in_numbers) or causes(found) == ["starttls-declined"]
        assert "\x1b" not in repr(found) + found.to_json(), row
        assert time.monotonic() - began < 30, row  # and not for ever


_SETTINGS = b"\0\0\x12\4\0\0\0\0\0"
_GREETINGS = (
    _SETTINGS, b"\0\0\0\4\0\0\0\0\0" * 9000, b"\xff" * 200_000, b"220 \x1b[31mmail\r\n", b"* OK \xff\xfe\r\n",
)  # fmt: skip


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
def test_greetings_of_any_kind(alpn: str, ends: Path) -> None:
    """What comes before a request is no crash, no hang, and no reason to blame a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ends / "server.crt", ends / "server.key")
    context.load_verify_locations(ends / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([alpn])
    said = [b""]

    def serve(caller: socket.socket) -> None:
        with context.wrap_socket(caller, server_side=True) as tls:
            tls.sendall(said[-1])
            tls.recv(4096)

    with listening(serve) as port:
        for first in _GREETINGS if alpn == "h2" else (_SETTINGS, b"HTTP/1.1 200 OK\r\n\r\n"):
            said.append(first)
            found = diagnose(port, ends)
            assert causes(found)[0] in ("speaks-another-protocol", "speaks-http2-only"), (first[:50], found)
            assert "\x1b" not in repr(found) + found.to_json()


def _saying(answer: bytes) -> Callable[[ssl.SSLSocket], None]:
    return lambda tls: tls.sendall(answer)


def _mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(changed))
        match chance.randrange(3):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at : at + chance.choice((1, 5, 50))] = b""
            case _:
                changed[at:at] = chance.randbytes(chance.choice((1, 4)))
        changed = changed or bytearray(b"\0")
    return bytes(changed)


@lets_in
def test_mutated_answers_and_files(ends: Path, tmp_path: Path) -> None:
    """Whatever is changed in an answer, or in a file, there is a diagnosis, and no key in it."""
    for seed in range(6):
        chance = random.Random(seed)
        answer = _mutated(OK if seed % 2 else b"HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nno!", chance)
        folder = ends if seed % 3 else Path(shutil.copytree(ends, tmp_path / str(seed)))
        with https(ends, _saying(answer)) as port:
            if seed % 3 == 0:
                file = folder / chance.choice(("ca.crt", "client.crt", "client.key"))
                file.write_bytes(_mutated(file.read_bytes(), chance))
            found = diagnose(port, folder, timeout=0.3)
            key = (folder / "client.key").read_text("latin-1").splitlines()
        assert found.to_json(), seed
        assert not any(line in repr(found) for line in key if len(line) > 20 and "-----" not in line), seed


def test_every_cause_has_its_sentence_and_its_cure() -> None:
    """A cause that the code names is one of the tables'."""
    from mtlslab.diagnosis.causes import CAUSES
    from mtlslab.faults import FAULTS
    from mtlslab.refusals import REASONS

    assert not CAUSES.keys() & FAULTS.keys()
    known = CAUSES.keys() | FAULTS.keys() | REASONS.keys()
    folder = Path(mtlslab.__file__).parent / "diagnosis"
    named = {
        found
        for path in folder.glob("*.py")
        for found in re.findall(r'(?:Finding\(\s*|else |cause = )"([a-z0-9-]+)"', path.read_text(encoding="utf-8"))
    }
    assert len(named) > 40
    assert named - {"possible", "likely", "certain"} <= known
