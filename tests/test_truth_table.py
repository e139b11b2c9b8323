"""Every kind of caller against a server that insists, on real sockets: who is let in, who is told what, and by whom.

The rows are those of notebook 06, and some more. Where a curl built on OpenSSL is on the PATH, it makes the same
requests.
"""

import base64
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from given import CURL_VERSION, needs_curl
from mtlslab import Answer, CertificateAuthority, Credential, Request, Server, Visit, new_private_key, request
from mtlslab.contexts import VERIFY_FLAGS, ClientAuth
from mtlslab.credentials import certificate_pem, private_key_pem
from mtlslab.faults.verdicts import CURL_JUDGES_LATE
from mtlslab.profiles import CLIENT, SERVER
from real_curl import exit_codes

TLS = Literal["1.2", "1.3"]
TLS_VERSIONS: tuple[TLS, ...] = ("1.2", "1.3")
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
NAMES = ["localhost", "127.0.0.1", "::1"]
YESTERDAY = datetime.now(UTC) - timedelta(days=9)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


def sign_leaf(
    subject: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
) -> x509.Certificate:
    """Sign what no CertificateAuthority would: any subject, with any key, in any issuer's name. Both purposes."""
    usages = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    ) | {"digital_signature": True, "key_cert_sign": ca, "crl_sign": ca, "decipher_only": False}
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(minutes=5))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(**usages), critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(identifier, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def ec_key(key: object = None) -> ec.EllipticCurvePrivateKey:
    """Return the key, or a new one, as the kind that all keys of this file are."""
    key = key or new_private_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def self_signed(subject: str) -> Credential:
    key = ec_key()
    return Credential(sign_leaf(subject, key.public_key(), subject, key), key)


@dataclass
class Stage:
    """An authority, a server credential, an honest client's, and a folder with their files."""

    folder: Path
    ca: CertificateAuthority = field(default_factory=lambda: CertificateAuthority.create("example-ca"))
    other_ca: CertificateAuthority = field(default_factory=lambda: CertificateAuthority.create("other-ca"))

    def __post_init__(self) -> None:
        self.server_credential = self.ca.issue("localhost", SERVER, names=NAMES)
        self.honest = self.ca.issue("client", CLIENT)
        self.ca.save(self.folder)
        self.other_ca.save(self.folder / "other")
        self.clients: dict[str, Credential | None] = {
            "nothing": None,
            "good": self.honest,
            "foreign": self.other_ca.issue("client", CLIENT),
            "wrong-purpose": self.ca.issue("client", SERVER, names=["client"]),
            "expired": self.ca.issue("client", CLIENT, not_before=YESTERDAY, days=1),
            "not-yet-valid": self.ca.issue("client", CLIENT, not_before=TOMORROW),
            "self-signed": self_signed("client"),
        }
        self.servers: dict[str, Credential] = {
            "expired": self.ca.issue("localhost", SERVER, names=NAMES, not_before=YESTERDAY, days=1),
            "not-yet-valid": self.ca.issue("localhost", SERVER, names=NAMES, not_before=TOMORROW),
            "wrong-host": self.ca.issue("example.org", SERVER, names=["example.org"]),
            "wrong-purpose": self.ca.issue("localhost", CLIENT, names=NAMES),
            "self-signed": self_signed("localhost"),
        }
        for name, credential in self.clients.items():
            if credential:
                credential.save(self.folder, name)

    def options(self, shown: str, *, trusted: bool = True) -> dict[str, Path]:
        """The files that a client passes, by curl's names for the options."""
        cacert = self.folder / "ca.crt" if trusted else self.folder / "other" / "ca.crt"
        if self.clients[shown] is None:
            return {"cacert": cacert}
        return {"cacert": cacert, "cert": self.folder / f"{shown}.crt", "key": self.folder / f"{shown}.key"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


def ask(server: Server, options: dict[str, Path], tls_max: TLS) -> Answer:
    """Make the request with mtlslab."""
    cert, key = options.get("cert"), options.get("key")
    return request(server.url, cacert=options["cacert"], cert=cert, key=key, tls_max=tls_max)


# --- the truth table ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What becomes of a request: who refuses, the reason as each end has it, the alert, curl's exit code."""

    by: str
    client_reason: str
    server_reason: str
    alert: str
    code: int


def _refused_by_server(tls: TLS, server_reason: str, alert: str, code: int, client_reason: str | None = None) -> Row:
    return Row("server", client_reason or server_reason, server_reason, alert, code if tls == "1.2" else 56)


def expected(trusted: bool, shown: str, tls: TLS) -> Row | None:
    """The table, written out: None is a reply."""
    if not trusted:
        return Row("client", "unknown-ca", "unknown-ca", "unknown_ca", 60)
    missing = "handshake_failure" if tls == "1.2" else "certificate_required"
    return {
        "nothing": _refused_by_server(tls, "no-client-certificate", missing, 35),
        "good": None,
        "foreign": _refused_by_server(tls, "unknown-ca", "unknown_ca", 35),
        "wrong-purpose": _refused_by_server(tls, "wrong-purpose", "unsupported_certificate", 35),
        "expired": _refused_by_server(tls, "expired", "certificate_expired", 60),  # curl's own exception
        "not-yet-valid": _refused_by_server(tls, "not-yet-valid", "bad_certificate", 35, "bad-certificate"),
        "self-signed": _refused_by_server(tls, "self-signed", "unknown_ca", 35, "unknown-ca"),
    }[shown]


def expected_of_curl(trusted: bool, shown: str, tls: TLS) -> tuple[Row | None, int]:
    """What the server sees of a curl, by the table (None: no refusal), and the exit code."""
    row = expected(trusted, shown, tls)
    code = row.code if row else 0
    if row is None or row.by == "server" or CURL_VERSION < CURL_JUDGES_LATE:
        return row, code
    of_server = expected(True, shown, tls)
    return of_server, of_server.code if of_server and tls == "1.2" else code


SHOWN = ("nothing", "good", "foreign", "wrong-purpose", "expired", "not-yet-valid", "self-signed")

each_tls = pytest.mark.parametrize("tls", TLS_VERSIONS)
SERVER_UNTRUSTED = [(shown, False, tls) for shown in ("nothing", "good", "expired") for tls in TLS_VERSIONS]
ROWS = [*((shown, True, tls) for shown in SHOWN for tls in TLS_VERSIONS), *SERVER_UNTRUSTED]
"""To a server that it does not trust a client has shown nothing yet: three callers stand for all of them there."""


@pytest.fixture(scope="module")
def insisting(stage: Stage) -> Iterator[Server]:
    """The server of the table."""
    with Server(stage.server_credential, client_ca=stage.ca.certificate, port=0) as server:
        yield server


def seen_by_both(answer: Answer, visit: Visit) -> Row | None:
    """What became of a request, where both ends agree on who refused, with which alert; None is a reply."""
    if answer.ok:
        assert answer.refusal is visit.refusal is None
        return None
    client, server = answer.refusal, visit.refusal
    assert client is not None
    assert server is not None
    assert visit.client is None
    assert (client.by, client.alert, client.curl_exit_code) == (server.by, server.alert, server.curl_exit_code)
    return Row(client.by, client.reason, server.reason, str(client.alert), client.curl_exit_code)


def test_both_ends_agree_with_the_table(stage: Stage, insisting: Server) -> None:
    """Each request of the table ends as the table says: same refuser and alert at both ends, each end's own reason."""
    for shown, trusted, tls in ROWS:
        before = len(insisting.visits)
        answer = ask(insisting, stage.options(shown, trusted=trusted), tls)
        (visit,) = insisting.visits[before:]
        assert visit.tls_version == f"TLSv{tls}", (shown, trusted, tls)
        assert seen_by_both(answer, visit) == expected(trusted, shown, tls), (shown, trusted, tls)
        assert visit.client == (stage.honest.certificate if answer.ok else None), (shown, trusted, tls)


@needs_curl
def test_the_real_curl_exits_as_the_table_says(stage: Stage, insisting: Server) -> None:
    """The real curl, against the same server, exits with the code that a refusal gives, and is refused for the same."""
    before = len(insisting.visits)
    files = [stage.options(shown, trusted=trusted) for shown, trusted, _ in ROWS]
    codes = exit_codes([(insisting.url, each, "--tls-max", row[2]) for each, row in zip(files, ROWS, strict=True)])
    refusals = [visit.refusal for visit in insisting.visits[before:]]
    seen = [(one.by, one.reason, one.alert) if one else None for one in refusals]
    table = {row: expected_of_curl(row[1], row[0], row[2]) for row in ROWS}
    assert dict(zip(ROWS, codes, strict=True)) == {row: code for row, (_, code) in table.items()}
    assert dict(zip(ROWS, seen, strict=True)) == {
        row: (one.by, one.server_reason, one.alert) if one else None for row, (one, _) in table.items()
    }


SERVER_FAULTS = {
    "expired": Row("client", "expired", "expired", "certificate_expired", 60),
    "not-yet-valid": Row("client", "not-yet-valid", "bad-certificate", "bad_certificate", 60),
    "wrong-host": Row("client", "wrong-host", "bad-certificate", "bad_certificate", 60),
    "wrong-purpose": Row("client", "wrong-purpose", "wrong-purpose", "unsupported_certificate", 60),
    "self-signed": Row("client", "self-signed", "unknown-ca", "unknown_ca", 60),
}
"""What the real curl makes of these, the fault table's tests ask it."""


def test_a_client_refuses_a_server_at_fault(stage: Stage) -> None:
    """A server whose certificate has a fault is refused by the client, for that fault, under TLS 1.2 as well."""
    with Server(stage.server_credential, client_ca=stage.ca.certificate, port=0) as server:
        for fault, row in SERVER_FAULTS.items():
            server.renew(stage.servers[fault])
            answer = ask(server, stage.options("good"), "1.2")
            assert seen_by_both(answer, server.visits[-1]) == row, fault


# --- impostors ------------------------------------------------------------------------------------

Pair = tuple[list[x509.Certificate], bytes]
"""What a client shows, leaf first, and the key it proves it with (PEM)."""


class Door:
    """A server that insists, and counts whom its app has served."""

    def __init__(self, stage: Stage, client_auth: ClientAuth = "required") -> None:
        self.served: list[x509.Certificate | None] = []
        self.server = Server(
            stage.server_credential, client_ca=stage.ca.certificate, client_auth=client_auth, app=self._serve, port=0
        )

    def _serve(self, asked: Request) -> str:
        self.served.append(asked.client)
        return "come in\n"

    def __enter__(self) -> "Door":
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def knock(self, context: ssl.SSLContext, sent: bytes = GET, session: ssl.SSLSession | None = None) -> bytes:
        """Shake hands, write before reading, then read to the end. Raises what the ssl module raises."""
        assert self.server.port is not None
        with (
            socket.create_connection(("localhost", self.server.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(sent)
            return b"".join(iter(lambda: tls.recv(4096), b""))


def context_for(stage: Stage, tls: TLS, pair: Pair | None, folder: Path) -> ssl.SSLContext:
    """Make a client's context by hand, with whatever certificates and key (PEM): nothing of ours looks at them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= VERIFY_FLAGS
    context.load_verify_locations(stage.folder / "ca.crt")
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if tls == "1.2" else ssl.TLSVersion.TLSv1_3
    if pair:
        certificates, key = pair
        folder.joinpath("pair.pem").write_bytes(b"".join(map(certificate_pem, certificates)) + key)
        context.load_cert_chain(folder / "pair.pem")
    return context


def key_with_the_wrong_half(claimed: ec.EllipticCurvePublicKey) -> bytes:
    """An EC private key file (RFC 5915, PEM) that names a public key which its private half does not belong to."""
    private = ec_key().private_numbers().private_value.to_bytes(32, "big")
    point = claimed.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    der = b"\x30\x77\x02\x01\x01\x04\x20" + private + bytes.fromhex("a00a06082a8648ce3d030107a144034200") + point
    return b"-----BEGIN EC PRIVATE KEY-----\n" + base64.encodebytes(der) + b"-----END EC PRIVATE KEY-----\n"


def _of(credential: Credential | None) -> Pair:
    assert credential is not None
    return [credential.certificate, *credential.chain], private_key_pem(credential.private_key)


def _signed_by_a_leaf(stage: Stage, leaf: Credential, subject: str) -> Pair:
    key = ec_key()
    issuer = leaf.certificate.subject.rfc4514_string().removeprefix("CN=")
    forged = sign_leaf(subject, key.public_key(), issuer, ec_key(leaf.private_key))
    return [forged, leaf.certificate], private_key_pem(key)


def _below_an_issuing_ca(stage: Stage) -> Pair:
    issuing = stage.ca.create_issuing_ca("issuing-ca")
    middle_key, key = ec_key(), ec_key()
    middle = sign_leaf("middle-ca", middle_key.public_key(), "issuing-ca", ec_key(issuing.private_key), ca=True)
    leaf = sign_leaf("client", key.public_key(), "middle-ca", middle_key)
    return [leaf, middle, *issuing.chain], private_key_pem(key)


def _changed(stage: Stage) -> Pair:
    der = bytearray(stage.honest.certificate.public_bytes(serialization.Encoding.DER))
    place = bytes(der).index(b"client")  # in the subject: the signature no longer covers it
    der[place : place + 6] = b"boss66"
    return [x509.load_der_x509_certificate(bytes(der))], private_key_pem(stage.honest.private_key)


def _in_the_cas_name(stage: Stage) -> Pair:
    key = ec_key()
    return [sign_leaf("client", key.public_key(), "example-ca", ec_key())], private_key_pem(key)


def _with_the_real_ca_in_the_chain(stage: Stage) -> Pair:
    certificates, key = _of(stage.clients["foreign"])
    return [*certificates, stage.other_ca.certificate, stage.ca.certificate], key


def _before_the_honest_certificate(stage: Stage) -> Pair:
    certificates, key = _of(self_signed("client"))
    return [*certificates, stage.honest.certificate, stage.ca.certificate], key


IMPOSTORS: dict[str, Callable[[Stage], Pair | None]] = {
    "nothing": lambda _: None,
    "foreign": lambda stage: _of(stage.clients["foreign"]),
    "foreign, with the real CA in its chain": _with_the_real_ca_in_the_chain,
    "a CA of the same name": lambda _: _of(CertificateAuthority.create("example-ca").issue("client", CLIENT)),
    "signed in the CA's name with another key": _in_the_cas_name,
    "self-signed, with the honest client's subject": lambda _: _of(self_signed("client")),
    "self-signed, followed by the honest certificate": _before_the_honest_certificate,
    "self-signed, with the CA's subject": lambda _: _of(self_signed("example-ca")),
    "expired": lambda stage: _of(stage.clients["expired"]),
    "not yet valid": lambda stage: _of(stage.clients["not-yet-valid"]),
    "a server's certificate": lambda stage: _of(stage.server_credential),
    "the honest certificate without its key": lambda stage: (
        [stage.honest.certificate],
        key_with_the_wrong_half(ec_key(stage.honest.private_key).public_key()),
    ),
    "the CA's certificate without its key": lambda stage: (
        [stage.ca.certificate],
        key_with_the_wrong_half(ec_key(stage.ca.private_key).public_key()),
    ),
    "the honest certificate with another subject": _changed,
    "signed by the honest client": lambda stage: _signed_by_a_leaf(stage, stage.honest, "boss"),
    "signed by the honest server": lambda stage: _signed_by_a_leaf(stage, stage.server_credential, "boss"),
    "below a CA that may have no CA below it": _below_an_issuing_ca,
}


@pytest.fixture(scope="module")
def doors(stage: Stage) -> Iterator[dict[ClientAuth, Door]]:
    """The two doors at which impostors knock."""
    with Door(stage, "required") as insisting, Door(stage, "optional") as asking:
        yield {"required": insisting, "optional": asking}


@each_tls
def test_no_impostor_reaches_the_app(stage: Stage, doors: dict[ClientAuth, Door], tls: TLS, tmp_path: Path) -> None:
    """Whoever cannot prove an identity that the CA has given is told so by an alert, and the app never runs."""
    for impostor, pair in IMPOSTORS.items():
        context = context_for(stage, tls, pair(stage), tmp_path)
        for client_auth, door in doors.items():
            if (impostor, client_auth) == ("nothing", "optional"):
                continue  # a guest, no impostor
            before, said = len(door.server.visits), "it is let in"
            try:
                door.knock(context)
            except ssl.SSLError as error:
                said = str(error)
            assert "alert" in said.lower(), (impostor, client_auth, said)
            assert [visit.refusal and visit.refusal.by for visit in door.server.visits[before:]] == ["server"], impostor
            assert door.served == [], (impostor, client_auth)


@each_tls
def test_the_impostors_tools_would_let_an_honest_client_in(stage: Stage, tls: TLS, tmp_path: Path) -> None:
    """The same by-hand client with an honest pair is served: the impostors fail for what they show, not for how."""
    with Door(stage) as door:
        assert b"come in" in door.knock(context_for(stage, tls, _of(stage.honest), tmp_path))
        assert door.served == [stage.honest.certificate]


def test_nobody_gets_in_without_tls(stage: Stage, doors: dict[ClientAuth, Door]) -> None:
    """Plain HTTP and garbage on the TLS port never reach the app."""
    door = doors["required"]
    for sent in (GET, GET.replace(b"Host", b"X-Client-Verify: SUCCESS\r\nHost"), b"\x16\x03\x01" * 99):
        with socket.create_connection(("localhost", door.server.port or 0), timeout=10) as plain:
            plain.sendall(sent)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
        assert door.served == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl program")
@each_tls
def test_a_stolen_session_opens_no_door(stage: Stage, tls: TLS, tmp_path: Path) -> None:
    """Who resumes an honest client's saved session without a certificate, or with a bad one, never reaches the app."""
    saved = tmp_path / "session.pem"

    def s_client(door: Door, *options: str) -> None:
        command = ["openssl", "s_client", "-quiet", "-connect", f"localhost:{door.server.port}", f"-tls{tls}"]
        command = [word.replace("-tls1.", "-tls1_") for word in command]
        command += ["-CAfile", str(stage.folder / "ca.crt"), "-servername", "localhost", "-ign_eof", *options]
        subprocess.run(command, input=GET, capture_output=True, check=False, timeout=20)

    def pair(name: str) -> tuple[str, ...]:
        return ("-cert", str(stage.folder / f"{name}.crt"), "-key", str(stage.folder / f"{name}.key"))

    with Door(stage) as door:
        s_client(door, *pair("good"), "-sess_out", str(saved))
        assert door.served == [stage.honest.certificate]
        if saved.exists():  # under TLS 1.3 the server gives nothing to save
            s_client(door, "-sess_in", str(saved))
            s_client(door, *pair("expired"), "-sess_in", str(saved))
            s_client(door, *pair("foreign"), "-sess_in", str(saved))
        assert tls == "1.3" or saved.exists()
        assert door.served == [stage.honest.certificate]


# --- the honest, and those who are told why --------------------------------------------------------


def test_honest_clients_who_come_at_once_are_all_served(stage: Stage, tmp_path: Path) -> None:
    """Fifteen honest clients at once, under both versions and among impostors, all get their answer."""
    options = stage.options("good")
    bare = context_for(stage, "1.3", None, tmp_path)

    def call(number: int) -> bool:
        if number % 3 == 0:
            with pytest.raises(ssl.SSLError):
                door.knock(bare)
        answer = ask(door.server, options, TLS_VERSIONS[number % 2])
        return answer.ok and answer.text == "come in\n"

    with Door(stage) as door, ThreadPoolExecutor(15) as threads:
        assert all(threads.map(call, range(15)))
        assert door.served == [stage.honest.certificate] * 15


def test_a_refused_client_always_learns_the_alert(stage: Stage, tmp_path: Path) -> None:
    """A TLS 1.3 client that writes much before it reads gets the alert, never a bare reset, which could overtake it."""
    context = context_for(stage, "1.3", None, tmp_path)
    with Door(stage) as door:
        for _ in range(40):
            with pytest.raises(ssl.SSLError) as caught:
                door.knock(context, GET + b"x" * 60_000)
            assert caught.value.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        assert door.served == []
