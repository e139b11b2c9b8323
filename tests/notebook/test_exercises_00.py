"""The checkers of notebook 00 try what they are given: right answers pass, wrong ones hear what they would allow."""

import json
import shutil
from base64 import b64decode, encodebytes, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from gzip import compress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from mtlslab import CertificateAuthority, Credential
from mtlslab.credentials import certificate_pem, new_csr, private_key_pem
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, ISSUING_CA, SERVER

OTHERS: list[Any] = [0, 1.5, True, object(), b"ca.crt", [None], (), "no", lambda: None, mock.ANY, mock.MagicMock()]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds lab-00, as the page's cells leave it, with keys that are hard to find.

    As one key in a hundred, the CA's has `0x` in its Base64; as one in sixteen, the client's begins with a zero.
    """
    folder = tmp_path_factory.mktemp("notebooks")
    while b"0x" not in urlsafe_b64encode(number((ca := CertificateAuthority.create("example-ca")).private_key))[4:-4]:
        pass
    while number((client := ca.issue("client", CLIENT)).private_key)[0] > 15:
        pass
    ca.save(folder / "lab-00")
    ca.issue("localhost", SERVER, names=["localhost"]).save(folder / "lab-00", "server")
    client.save(folder / "lab-00", "client")
    CertificateAuthority.create("example-ca").save(folder / "lab-00" / "namesake")
    return folder


@pytest.fixture(autouse=True)
def there(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where the notebook works."""
    monkeypatch.chdir(lab)


def files(**names: str) -> dict[str, Any]:
    """Files of lab-00, by option."""
    return {option: Path("lab-00", name) for option, name in names.items()}


OWN = {"cert": "client.crt", "key": "client.key"}

REFUSED: dict[str, tuple[Any, str | None]] = {
    "no cacert": (files(**OWN), None),
    "another CA of that name": (files(cacert="namesake/ca.crt", **OWN), None),
    "as str": ({"cert": "lab-00/client.crt", "key": "lab-00/client.key"}, None),
    "its own certificate as CA": (files(cacert="client.crt", **OWN), None),
    "all three": (files(cacert="ca.crt", **OWN), "was answered"),
    "the server's certificate as CA": (files(cacert="server.crt", **OWN), None),
    "the CA alone": (files(cacert="ca.crt"), "the server said no (no-client-certificate)"),
    "nothing": ({}, "but so would the server (no-client-certificate)"),
    "the server's": (files(cert="server.crt", key="server.key"), "but so would the server (wrong-purpose)"),
    "two that do not fit": (files(cert="client.crt", key="server.key"), "stops before it dials"),
    "no such file": (files(cert="nobody.crt", key="client.key"), "there is no file nobody.crt"),
    "a key alone": (files(key="client.key"), "stops before it dials"),
    "verify": ({**files(**OWN), "verify": False}, "verification is on"),
    "another option": ({**files(**OWN), "tls_max": "1.2"}, "verification is on"),
    "no paths": ({"cert": mock.ANY, "key": mock.ANY}, "is the path of a file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_client_is_to_refuse_and_the_server_would_not(name: str) -> None:
    """The request is made: only files that the server would take, and a client without the CA, are Correct."""
    answer, hint = REFUSED[name]
    feedback = exercises.refused_by_the_client(answer)
    assert feedback.correct is (hint is None), feedback
    assert (hint or "") in feedback.text


def pack(folder: Path, credential: Credential, ca_file: bytes | None = None) -> Path:
    """Pack a bag for Alice."""
    credential.save(folder, "alice")
    (folder / "ca.crt").write_bytes(ca_file or Path("lab-00/ca.crt").read_bytes())
    return folder


def copied(name: str, at: str) -> Callable[[Path, CertificateAuthority], Path]:
    """Pack a good bag, and a file of lab-00 as well."""

    def made(folder: Path, ca: CertificateAuthority) -> Path:
        shutil.copy(Path("lab-00", name), pack(folder, ca.issue("alice", CLIENT)) / at)
        return folder

    return made


def locked_ca_key(folder: Path, ca: CertificateAuthority) -> Path:
    lock = BestAvailableEncryption(b"alice knows")
    pem = ca.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    (pack(folder, ca.issue("alice", CLIENT)) / "backup.pem").write_bytes(pem)
    return folder


def long_file(folder: Path, ca: CertificateAuthority) -> Path:
    log = pack(folder, ca.issue("alice", CLIENT)) / "log.txt"
    log.write_bytes(b"#" * (1 << 16) + b"\n" + Path("lab-00/ca.key").read_bytes())
    return folder


def in_pkcs12(lock: KeySerializationEncryption) -> Callable[[Path, CertificateAuthority], Path]:
    def made(folder: Path, ca: CertificateAuthority) -> Path:
        key: Any = ca.private_key
        packed = pkcs12.serialize_key_and_certificates(b"ca", key, ca.certificate, None, lock)
        (pack(folder, ca.issue("alice", CLIENT)) / "backup.p12").write_bytes(packed)
        return folder

    return made


def packed(kind: str) -> Callable[[Path, CertificateAuthority], Path]:
    """A good bag, with an archive of the lab's keys in it."""

    def made(folder: Path, ca: CertificateAuthority) -> Path:
        shutil.make_archive(str(pack(folder, ca.issue("alice", CLIENT)) / "more"), kind, "lab-00", "ca.key")
        return folder

    return made


def spelt(change: Callable[[bytes], bytes], whose: str = "ca") -> Callable[[Path, CertificateAuthority], Path]:
    """A good bag, with a key of the lab's in another spelling."""

    def made(folder: Path, ca: CertificateAuthority) -> Path:
        note = pack(folder, ca.issue("alice", CLIENT)) / "note.txt"
        note.write_bytes(change(Path("lab-00", f"{whose}.key").read_bytes()))
        return folder

    return made


def number(key: Any) -> bytes:
    """The number that makes a key, given as it is or in PEM."""
    key = load_pem_private_key(key, None) if isinstance(key, bytes) else key
    return bytes(key.private_numbers().private_value.to_bytes(32))


def hers(ending: str, form: Callable[[Credential], bytes]) -> Callable[[Path, CertificateAuthority], Path]:
    """A good bag, with what is Alice's in another form beside."""

    def made(folder: Path, ca: CertificateAuthority) -> Path:
        own = ca.issue("alice", CLIENT)
        (pack(folder, own) / f"alice.{ending}").write_bytes(form(own))
        return folder

    return made


def _as_pkcs12(own: Credential) -> bytes:
    key: Any = own.private_key
    return pkcs12.serialize_key_and_certificates(b"alice", key, own.certificate, None, NoEncryption())


def _as_one(own: Credential) -> bytes:
    return certificate_pem(own.certificate) + private_key_pem(own.private_key)


def _with_its_curve(own: Credential) -> bytes:
    """As openssl ecparam -genkey writes a key."""
    return b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + private_key_pem(
        own.private_key
    )


def _as_request(own: Credential) -> bytes:
    text = "Certificate Request:\n    pub:\n        " + own.certificate.signature.hex(":")[:53]
    return text.encode() + b"\n" + new_csr(own.private_key, "alice").public_bytes(Encoding.PEM)


def linked(folder: Path, ca: CertificateAuthority) -> Path:
    try:
        (pack(folder, ca.issue("alice", CLIENT)) / "all").symlink_to(Path("lab-00").resolve(), target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    return folder


def noted(folder: Path) -> Path:
    fingerprint = Credential.load(folder, "alice").certificate.fingerprint(SHA256()).hex()
    address = "https://localhost:3000/an-address/that-goes-on-and-on/and-never-comes/to-an-end"
    (folder / "README.txt").write_text(f"Dear Alice, dial {address}\n{'=' * 70}\nand compare {fingerprint}\n— ☺")
    return folder


def for_alice(ca: CertificateAuthority, profile: Any = CLIENT, names: tuple[str, ...] = ()) -> Credential:
    return ca.issue("alice", profile, names=names)


def with_the_clients_key(ca: CertificateAuthority) -> Credential:
    key = Credential.load("lab-00", "client").private_key
    return Credential(ca.sign(new_csr(key, "alice"), CLIENT), key)


def emptied(folder: Path, file: str) -> Path:
    """A bag without one of its files."""
    (folder / file).unlink()
    return folder


BOTH = replace(CLIENT, extended_key_usage=CLIENT.extended_key_usage + SERVER.extended_key_usage)
LAX = replace(CLIENT, extended_key_usage=())
POWER = replace(
    ISSUING_CA, key_usage=ISSUING_CA.key_usage | CLIENT.key_usage, extended_key_usage=BOTH.extended_key_usage
)
OTHER = CertificateAuthority.create("other-ca")

BAGS: dict[str, tuple[Callable[[Path, CertificateAuthority], Any], str | None]] = {
    "three files": (lambda f, ca: pack(f, for_alice(ca)), None),
    "another kind of key": (lambda f, ca: pack(f, ca.issue("alice", CLIENT, key_type="ed25519")), None),
    "as str": (lambda f, ca: str(pack(f, for_alice(ca, names=("alice.example",)))), None),
    "a public file more": (copied("server.crt", "server.crt"), None),
    "ca.key in disguise": (copied("ca.key", "notes.txt"), "can make a certificate in anyone's name"),
    "ca.key, locked": (locked_ca_key, "holds something locked or packed"),
    "server.key": (copied("server.key", "server.key"), "can pose as your server"),
    "client.key": (copied("client.key", "client.key"), "can call in the name of client"),
    "the client's key": (lambda f, ca: pack(f, with_the_clients_key(ca)), "can call in the name of client"),
    "Alice in capitals": (lambda f, ca: pack(f, ca.issue("Alice", CLIENT)), "as CN=Alice"),
    "a stranger's alice": (lambda f, _: pack(f, for_alice(OTHER)), "the server says no: unknown-ca"),
    "a server": (lambda f, ca: pack(f, ca.issue("alice", SERVER, names=["alice"])), "says no: wrong-purpose"),
    "both purposes": (lambda f, ca: pack(f, for_alice(ca, BOTH, ("localhost",))), "pose as your server"),
    "no purpose, by her own name": (lambda f, ca: pack(f, for_alice(ca, LAX, ("alice",))), "pose as a server"),
    "ca.key at the end of a long file": (long_file, "too long to look through"),
    "ca.key in PKCS #12": (in_pkcs12(NoEncryption()), "can make a certificate in anyone's name"),
    "ca.key in PKCS #12, locked": (in_pkcs12(BestAvailableEncryption(b"alice knows")), "locked or packed"),
    "ca.key in a zip": (packed("zip"), "holds something locked or packed"),
    "ca.key in a tar.gz": (packed("gztar"), "holds something locked or packed"),
    "ca.key in a tar": (packed("tar"), "can make a certificate in anyone's name"),
    "the archive in Base64": (spelt(lambda key: encodebytes(compress(key))), "locked or packed"),
    "the archive as a certificate": (
        spelt(lambda key: b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % encodebytes(compress(key))),
        "locked or packed",
    ),
    "ca.key without its first and last line": (
        spelt(lambda key: b"".join(key.splitlines(True)[1:-1])),
        "can make a certificate in anyone's name",
    ),
    "ca.key in a word": (spelt(lambda key: b"see " + b"".join(key.split(b"\n")[1:-2])), "in anyone's name"),
    "ca.key in JSON": (spelt(lambda key: json.dumps({"key": key.decode()}).encode()), "in anyone's name"),
    "the number of ca.key": (spelt(lambda key: b"number: 0x" + number(key).hex().encode()), "in anyone's name"),
    "a number without its zeros": (
        spelt(lambda key: number(key).hex().lstrip("0").encode(), "client"),
        "can call in the name of client",
    ),
    "the number, in C": (
        spelt(lambda key: ", ".join(f"0X{byte:02X}" for byte in number(key)).encode()),
        "in anyone's name",
    ),
    "the number, as openssl prints it": (
        spelt(lambda key: b"priv:\n    " + number(key).hex(":").encode()),
        "in anyone's name",
    ),
    "the number, as JWK has it": (
        spelt(lambda key: b'{"d":"' + urlsafe_b64encode(number(key)).rstrip(b"=") + b'"}'),
        "in anyone's name",
    ),
    "ca.key in DER": (spelt(lambda key: b64decode(b"".join(key.splitlines()[1:-1]))), "in anyone's name"),
    "her own PKCS #12": (hers("p12", _as_pkcs12), None),
    "her key with its curve": (hers("key", _with_its_curve), None),
    "her own in one file": (hers("pem", _as_one), None),
    "her request and its text": (hers("csr", _as_request), None),
    "her certificate in DER": (hers("der", lambda own: own.certificate.public_bytes(Encoding.DER)), None),
    "a link to the folder": (linked, "is a link"),
    "a note": (lambda f, ca: noted(pack(f, for_alice(ca))), None),
    "a CA": (lambda f, ca: pack(f, for_alice(ca, POWER)), "sign certificates herself"),
    "the wrong ca.crt": (
        lambda f, ca: pack(f, for_alice(ca), certificate_pem(OTHER.certificate)),
        "the client says no: unknown-ca",
    ),
    "a CA too many": (
        lambda f, ca: pack(f, for_alice(ca), certificate_pem(ca.certificate) + certificate_pem(OTHER.certificate)),
        "trust another CA too",
    ),
    "no ca.crt": (lambda f, ca: emptied(pack(f, for_alice(ca)), "ca.crt"), "there is no file ca.crt"),
    "no key": (lambda f, ca: emptied(pack(f, for_alice(ca)), "alice.key"), "there is no file alice.key"),
    "no folder": (lambda f, _: f, "there is no folder"),
    "the whole disk": (lambda *_: Path("/"), "is no bag"),
    "the page's own": (lambda *_: Path("lab-00"), "holds the private key of the"),
}


@pytest.mark.parametrize("name", BAGS)
def test_the_bag_lets_alice_in_and_nothing_else(name: str, tmp_path: Path) -> None:
    """Whoever packs a key or a power too many is told what could be done with it."""
    made, hint = BAGS[name]
    feedback = exercises.bag_for_alice(made(tmp_path / "alice", CertificateAuthority.load("lab-00")))
    assert feedback.correct is (hint is None), feedback
    assert (hint or "") in feedback.text


@pytest.mark.parametrize("check", [exercises.refused_by_the_client, exercises.bag_for_alice])
def test_whoever_begins_with_the_exercises_is_sent_to_the_cells(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without lab-00 the checkers say what is missing; an answer of another kind gets a hint."""
    for other in OTHERS:
        assert check(other).text.startswith("Not yet: "), other
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alice").mkdir()
    assert exercises.refused_by_the_client({}).correct is False
    assert "run the cells above" in exercises.bag_for_alice("alice").text
