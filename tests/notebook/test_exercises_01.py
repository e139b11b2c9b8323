"""The checkers of notebook 01 try functions on what they have not seen, and tell what goes wrong."""

import base64
import hashlib
import itertools
import random
import re
import shutil
import ssl
import subprocess
import textwrap
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import CertificateAuthority, Credential
from mtlslab.credentials import certificate_pem
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import judges, page_01
from mtlslab.notebook.exercises.judges import Feedback
from mtlslab.profiles import SERVER

OTHERS: list[Any] = [0, object(), [None], {"a": 1}, "no", mock.ANY, mock.Mock()]
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

ca = CertificateAuthority.create("example-ca")
server = ca.issue("localhost", SERVER, names=["localhost"])
alice = ca.issue("alice", SERVER, names=["localhost"])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds lab-01, as the page's cells leave it."""
    folder = tmp_path_factory.mktemp("page")
    ca.save(folder / "lab-01")
    server.save(folder / "lab-01", "server")
    return folder


@pytest.fixture(autouse=True)
def there(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where the notebook works."""
    monkeypatch.chdir(page)


def wrapped(der: bytes, width: int = 64, begin: str = BEGIN, end: str = END, newline: str = "\n") -> str:
    """PEM by hand, as the solution has it."""
    text = base64.b64encode(der).decode()
    return newline.join([begin, *(text[at : at + width] for at in range(0, len(text), width)), end, ""])


def with_an_empty_line(der: bytes) -> str:
    """PEM that counts its lines wrongly where the last one is full."""
    text = base64.b64encode(der).decode()
    return "\n".join([BEGIN, *(text[64 * n : 64 * n + 64] for n in range(len(text) // 64 + 1)), END, ""])


def sliced(text: bytes) -> bytes:
    return b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64))


class Loaded:
    """Load a certificate out of sight."""

    def __getitem__(self, der: bytes) -> x509.Certificate:
        """Take its DER."""
        return next(map(x509.load_der_x509_certificate, [der]))


LOADED = Loaded()
BY_SSL = ssl.DER_cert_to_PEM_cert
CALLS = itertools.count()
ONCE = wrapped(alice.certificate.public_bytes(Encoding.DER))

PEM: dict[str, tuple[Any, str | None]] = {
    "by slices of bytes": (lambda der: BEGIN + "\n" + sliced(base64.b64encode(der)).decode() + END, None),
    "by encodebytes": (
        lambda der: "\n".join([BEGIN, *textwrap.wrap("".join(base64.encodebytes(der).decode().split()), 64), END]),
        None,
    ),
    "by ssl": (ssl.DER_cert_to_PEM_cert, "ssl.DER_cert_to_PEM_cert"),
    "by ssl, but the first": (
        lambda der: BY_SSL(der) if next(CALLS) else wrapped(der),
        "ssl.DER_cert_to_PEM_cert",
    ),
    "by ssl, within": (lambda der: str(ssl.DER_cert_to_PEM_cert(der)).strip(), "ssl.DER_cert_to_PEM_cert"),
    "by ssl, under another name": (partial(BY_SSL), "ssl.DER_cert_to_PEM_cert"),
    "by cryptography": (
        lambda der: x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode(),
        "load_der_x509_certificate does the work",
    ),
    "by mtlslab": (lambda der: certificate_pem(LOADED[der]).decode(), "public_bytes does the work"),
    "by a call of a call": (
        lambda der: methodcaller("public_bytes", Encoding.PEM)(x509.load_der_x509_certificate(der)).decode(),
        "load_der_x509_certificate does the work",
    ),
    "by openssl": (
        lambda der: subprocess.check_output(["openssl", "x509", "-inform", "der"], input=der).decode(),
        "subprocess" if shutil.which("openssl") else "FileNotFoundError",
    ),
    "with CR LF": (partial(wrapped, newline="\r\n"), None),
    "with a line break that is none": (partial(wrapped, newline="\u2028"), "the first line says what follows"),
    "with a form feed": (partial(wrapped, newline="\f"), "the first line says what follows"),
    "one long line": (partial(wrapped, width=10**6), "a strict parser wants 64"),
    "76, as in e-mail": (lambda der: f"{BEGIN}\n{base64.encodebytes(der).decode()}{END}\n", "wants 64"),
    "63": (partial(wrapped, width=63), "wants 64"),
    "an empty line": (with_an_empty_line, "and none empty"),
    "bytes": (lambda der: wrapped(der).encode(), "returns bytes"),
    "no first line": (lambda der: wrapped(der).partition("\n")[2], "the first line says what follows"),
    "four dashes": (partial(wrapped, begin=BEGIN[1:]), "the first line says what follows"),
    "another label": (partial(wrapped, begin="-----BEGIN PRIVATE KEY-----"), "the first line says"),
    "no last line": (partial(wrapped, end=""), "a line of its own"),
    "the end not on its own line": (lambda der: wrapped(der).replace(f"\n{END}", END), "a line of its own"),
    "one and the same": (lambda _: ONCE, "Not yet: "),
    "base64 for the Web": (lambda der: wrapped(der).translate({43: "-", 47: "_"}), "another certificate"),
    "the key's bytes": (lambda der: wrapped(der[::-1]), "another certificate"),
    "the text": (ONCE, "is wanted itself"),
    "hexadecimal": (lambda der: der.hex(), "the first line says what follows"),
}


def misjudged(check: Callable[[Any], Feedback], table: dict[str, tuple[Any, str | None]]) -> dict[str, str]:
    """Return which answers get another verdict or hint than the table says (None: right), and what they are told."""
    said = {name: (check(answer), hint) for name, (answer, hint) in table.items()}
    return {
        name: told.text
        for name, (told, hint) in said.items()
        if told.correct is not (hint is None) or (hint or "") not in told.text
    }


def test_pem_is_tried_on_certificates_of_every_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """PEM of any make is accepted; what a strict parser would refuse, for one length only, is not."""
    made = list(page_01._certificates_of_many_lengths())
    monkeypatch.setattr(page_01, "_certificates_of_many_lengths", lambda: random.sample(made, len(made)))
    assert misjudged(exercises.pem_by_hand, PEM) == {}


def candidates(wire: bytes, begins: bytes = rb"\x30\x82") -> list[bytes]:
    """Return all that begins as a certificate does, as long as it says that it is."""
    places = [at.start() for at in re.finditer(begins, wire, re.DOTALL)]
    return [wire[at : at + 4 + int.from_bytes(wire[at + 2 : at + 4], "big")] for at in places]


def parses(der: bytes) -> bool:
    try:
        return bool(x509.load_der_x509_certificate(der))
    except ValueError:
        return False


def by_parsing(wire: bytes) -> bytes | None:
    """Find the first thing that begins as a certificate does, and is one: the solution."""
    return next(filter(parses, candidates(wire)), None)


def by_sequence(wire: bytes) -> bytes | None:
    """Find the first thing that begins as a certificate does: the solution as it once was."""
    return next(iter(candidates(wire)), None)


def by_messages(wire: bytes) -> bytes | None:
    """Read the handshake's messages, as RFC 5246 §7.4 lays them out."""
    stream = b""
    while wire[:1] == b"\x16":
        end = 5 + int.from_bytes(wire[3:5], "big")
        stream, wire = stream + wire[5:end], wire[end:]
    while stream:
        end = 4 + int.from_bytes(stream[1:4], "big")
        if stream[0] == 11:
            return stream[10 : 10 + int.from_bytes(stream[7:10], "big")]
        stream = stream[end:]
    return None


def by_index(wire: bytes) -> bytes:
    wire.index(b"\x30\x82")
    found = [der for der in candidates(wire) if parses(der)]
    return found[0]


def behind_a_head(wire: bytes) -> bytes | None:
    """Look for the Certificate message anywhere, and for what stands in it."""
    at = re.search(rb"\x0b\0..\0..\0..(?=\x30\x82)", wire, re.DOTALL)
    return by_sequence(wire[at.end() :]) if at else None


def the_last(wire: bytes) -> bytes | None:
    return next(filter(parses, reversed(candidates(wire))), None)


def one_jump(wire: bytes) -> bytes | None:
    """Go on behind what does not parse, as if it were as long as it says."""
    while found := by_sequence(wire):
        if parses(found):
            return found
        wire = wire.partition(found)[2]
    return None


def changed(function: Callable[[bytes], bytes | None], change: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Do as a right function, and something to its answer."""
    return lambda wire: change(found) if (found := function(wire)) else None


WIRE: dict[str, tuple[Any, str | None]] = {
    "by parsing": (by_parsing, None),
    "by the message, parsed": (
        lambda wire: der if (der := by_messages(wire)) and parses(der) else by_parsing(wire),
        None,
    ),
    "by 30 82": (by_sequence, "other 30 82 are chance"),
    "by what certificates begin with": (
        lambda wire: next(iter(candidates(wire, rb"\x30\x82..\x30\x82..\xa0\x03\x02\x01\x02")), None),
        "other 30 82 are chance",
    ),
    "by the message's head": (behind_a_head, "an RSA server that speaks TLS 1.2"),
    "the longest": (
        lambda wire: max(filter(parses, candidates(wire)), key=len, default=None),
        "an issuing CA's server",
    ),
    "the shortest": (lambda wire: min(candidates(wire), key=len, default=None), "other 30 82 are chance"),
    "the second": (lambda wire: next(iter(candidates(wire)[1:]), None), "other 30 82 are chance"),
    "in one jump": (one_jump, "Not yet: "),
    "behind the random": (lambda wire: by_sequence(wire[43:]), "what looks like one is chance"),
    "by messages": (by_messages, None),
    "always": (lambda wire: wire[100:900], "Not yet: "),
    "never": (lambda _: None, "for an EC server that speaks TLS 1.2, your function returns None"),
    "the last": (the_last, "an issuing CA's server that speaks TLS 1.2"),
    "to the end of the wire": (changed(by_parsing, lambda der: der + b"\0"), "from 30 82 to its end"),
    "without its head": (changed(by_parsing, lambda der: der[4:]), "from 30 82 to its end"),
    "cut short": (changed(by_parsing, lambda der: der[:-1]), "from 30 82 to its end"),
    "PEM": (changed(by_parsing, ssl.DER_cert_to_PEM_cert), "returned str, and not bytes"),
    "parsed": (changed(by_parsing, x509.load_der_x509_certificate), "returned Certificate, and not bytes"),
    "raises": (by_index, "that speaks TLS 1.3, your function raised IndexError: list index out of range in line"),
    "nothing as bytes": (
        lambda wire: by_parsing(wire) or b"",
        "b'' for an EC server that speaks TLS 1.3: its certificate is",
    ),
    "the lab's": (lambda _: server.certificate.public_bytes(Encoding.DER), "from 30 82"),
    "the wire": (lambda wire: wire, "from 30 82"),
    "the answer itself": (b"\x30\x82", "is wanted itself"),
}


@pytest.fixture(scope="module")
def wires() -> list[judges.Case]:
    """The wires of one round: to shake hands takes longer than to look for certificates."""
    return list(page_01._wires())


@pytest.fixture
def overheard_once(wires: list[judges.Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all answers see the same wires, in copies; the notebooks' own solutions see fresh ones."""
    monkeypatch.setattr(page_01, "_wires", lambda: wires)


def test_a_certificate_is_found_on_wires_not_seen_before(overheard_once: None) -> None:
    """Whoever finds the server's own certificate, and none in TLS 1.3, is right, by whatever way."""
    assert misjudged(exercises.certificate_off_the_wire, WIRE) == {}


def signs(who: Credential = server, algorithm: hashes.HashAlgorithm | None = None) -> Callable[[bytes], bytes]:
    """A function that signs with somebody's key."""
    key = who.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return lambda challenge: key.sign(challenge, ec.ECDSA(algorithm or hashes.SHA256()))


def in_two_steps(challenge: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(challenge)
    assert isinstance(server.private_key, ec.EllipticCurvePrivateKey)
    return server.private_key.sign(digest.finalize(), ec.ECDSA(Prehashed(hashes.SHA256())))


def prehashed_if_short(challenge: bytes) -> bytes:
    """Take 32 bytes for a digest."""
    assert isinstance(server.private_key, ec.EllipticCurvePrivateKey)
    algorithm = Prehashed(hashes.SHA256()) if len(challenge) == 32 else hashes.SHA256()
    return server.private_key.sign(challenge, ec.ECDSA(algorithm))


def remembering(part: Callable[[bytes], object]) -> Callable[[bytes], bytes]:
    """Sign what looks new, and send the old signature for what looks the same."""
    known: dict[object, bytes] = {}
    return lambda challenge: known.setdefault(part(challenge), signs()(challenge))


def of(part: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Sign a part of the challenge, or something made of it."""
    return lambda challenge: signs()(part(challenge))


OVERHEARD: list[bytes] = []


def replays(challenge: bytes) -> bytes:
    OVERHEARD.append(signs()(challenge))
    return OVERHEARD[0]


PROOFS: dict[str, tuple[Any, str | None]] = {
    "signs": (signs(), None),
    "the hash first": (in_two_steps, None),
    "remembering": (remembering(lambda challenge: challenge), None),
    "by length": (remembering(len), "is for another challenge"),
    "by its beginning": (remembering(lambda challenge: challenge[:1000]), "is for another challenge"),
    "by its end": (remembering(lambda challenge: challenge[-1000:]), "is for another challenge"),
    "by id": (remembering(id), "is for another challenge"),
    "digests as they are": (prehashed_if_short, "anybody could have made it"),
    "stripped": (of(bytes.strip), "Not yet"),
    "without a line break": (of(lambda challenge: challenge.rstrip(b"\n")), "Not yet"),
    "to the first null byte": (of(lambda challenge: challenge.split(b"\0")[0]), "Not yet"),
    "the first kilobyte": (of(lambda challenge: challenge[:1024]), "Sign the challenge as it is"),
    "as text": (of(lambda challenge: challenge.decode("utf-8", "ignore").encode()), "Not yet"),
    "as a number": (of(lambda challenge: challenge.lstrip(b"\0")), "Not yet"),
    "with other line breaks": (of(lambda challenge: challenge.replace(b"\r\n", b"\n")), "Not yet"),
    "its digest": (of(lambda challenge: hashlib.sha256(challenge).digest()), "Sign the challenge as it is"),
    "another's key": (signs(alice), "anybody could have made it"),
    "the CA's key": (signs(Credential(ca.certificate, ca.private_key)), "with the CA's key"),
    "replays": (replays, "is for another challenge"),
    "signs nothing": (lambda _: signs()(b""), "is for another challenge"),
    "another hash": (signs(algorithm=hashes.SHA384()), "ECDSA with SHA-256"),
    "signs all but the end": (lambda challenge: signs()(challenge[:-1] or b"x"), "anybody could have made it"),
    "the certificate's signature": (lambda _: server.certificate.signature, "anybody could have made it"),
    "the certificate": (lambda _: server.certificate.public_bytes(Encoding.DER), "anybody could have made it"),
    "the challenge": (lambda challenge: challenge, "anybody could have made it"),
    "nothing": (lambda _: None, "returns NoneType"),
    "a pair": (lambda challenge: (server.certificate, signs()(challenge)), "returns tuple"),
    "text": (lambda challenge: signs()(challenge).hex(), "returns str"),
    "one signature": (signs()(b"once"), "is wanted itself"),
}


def test_a_key_is_proved_by_signing_what_nobody_could_foresee() -> None:
    """Another key, another hash, a replay: none of them proves the key of server.crt."""
    assert misjudged(exercises.proof_of_the_key, PROOFS) == {}


CHECKS = [exercises.pem_by_hand, exercises.certificate_off_the_wire, exercises.proof_of_the_key]


def test_no_answer_is_not_attempted_and_another_kind_gets_a_hint(overheard_once: None) -> None:
    """None is no attempt, and what is no function of that kind is not right."""
    for check in CHECKS:
        assert check(None).text.startswith("Not attempted yet")
        for other in OTHERS:
            assert check(other).text.startswith("Not yet: "), (check, other)


def test_whoever_begins_with_the_exercises_is_sent_to_the_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without server.crt there is no key to prove."""
    monkeypatch.chdir(tmp_path)
    assert "run the cells above" in exercises.proof_of_the_key(signs()).text


def test_a_certificate_of_ones_own_making_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever puts another CA's certificate in the place of server.crt has proved a key that nobody asked about."""
    other = CertificateAuthority.create("example-ca").issue("localhost", SERVER, names=["localhost"])
    monkeypatch.chdir(tmp_path)
    ca.save("lab-01")
    other.save("lab-01", "server")
    assert "did not sign this server.crt" in exercises.proof_of_the_key(signs(other)).text
