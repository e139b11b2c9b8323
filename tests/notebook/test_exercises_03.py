"""The checkers of notebook 03 tell wrong answers from right ones, and its words on names hold."""

import re
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mtlslab import CertificateAuthority, Credential, Server, new_csr, new_private_key, request
from mtlslab.credentials import certificate_pem
from mtlslab.notebook import exercises
from mtlslab.profiles import SERVER

CHECKERS = ["csr_of_a_service", "steal_a_public_key", "kinds_of_names"]
WRONG_TYPES = [0, "", "server.csr", b"", [], (), object(), Path("server.csr"), lambda: None, int, True]

SERVICE = "api.example.org"
NAMES = (SERVICE, "192.0.2.7", "spiffe://example.org/api")
KEY = ec.generate_private_key(ec.SECP256R1())


def csr_by_hand(*names: x509.GeneralName, key: Any = KEY) -> x509.CertificateSigningRequest:
    """A CSR for the service with any names at all, which new_csr would refuse."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVICE)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())


def tampered() -> x509.CertificateSigningRequest:
    """The right answer to the first exercise, with a bit of its signature changed."""
    der = new_csr(KEY, SERVICE, NAMES).public_bytes(Encoding.DER)
    return x509.load_der_x509_csr(der[:-1] + bytes([der[-1] ^ 1]))


def mistyped() -> x509.CertificateSigningRequest:
    """The three names, each as a DNS name."""
    return csr_by_hand(*(x509.DNSName(name) for name in NAMES))


def weak() -> x509.CertificateSigningRequest:
    """The three names, and a key that no CA should sign for."""
    names = new_csr(KEY, SERVICE, NAMES).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return csr_by_hand(*names, key=rsa.generate_private_key(public_exponent=65537, key_size=1024))


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]], ids=["in order", "in another order"])
def test_the_request_that_was_asked_for_is_correct(names: tuple[str, ...]) -> None:
    """The first exercise accepts the three names in any order, and any good key."""
    assert exercises.csr_of_a_service(new_csr(KEY, SERVICE, names)).correct
    assert exercises.csr_of_a_service(new_csr(new_private_key("ed25519"), SERVICE, names)).correct


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (new_csr(KEY, SERVICE), "no subjectAltName"),
        (new_csr(KEY, SERVICE, NAMES[:2]), "spiffe://example.org/api is missing"),
        (new_csr(KEY, SERVICE, NAMES[1:]), "api.example.org is missing"),
        (new_csr(KEY, SERVICE, [*NAMES, "localhost"]), "more than the three"),
        (new_csr(KEY, "api", NAMES), "common name is not api.example.org"),
        (mistyped(), "192.0.2.7 is in its SAN as a DNS name"),
        (tampered(), "does not verify"),
        (weak(), "1024 bits"),
        (CertificateAuthority.create(SERVICE).certificate, "that is a certificate"),
        (new_csr(KEY, SERVICE, NAMES).public_bytes(Encoding.PEM), "the answer is a CSR"),
    ],
)
def test_a_request_with_one_thing_wrong_gets_the_hint_for_it(answer: Any, hint: str) -> None:
    """Whatever one condition a CSR breaks, the reader is told which."""
    feedback = exercises.csr_of_a_service(answer)
    assert feedback.correct is False
    assert hint in feedback.text


def swap(name: str, victims: x509.CertificateSigningRequest, *, flip: int = 0) -> x509.CertificateSigningRequest:
    """A CSR for `name` with the victim's public key, some bits of its last byte flipped."""
    own = ec.generate_private_key(ec.SECP256R1())
    mine, stolen = (
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for key in (own.public_key(), victims.public_key())
    )
    stolen = stolen[:-1] + bytes([stolen[-1] ^ flip])
    return x509.load_der_x509_csr(new_csr(own, name).public_bytes(Encoding.DER).replace(mine, stolen))


def test_a_stolen_public_key_is_correct_and_refused_by_the_ca() -> None:
    """The second exercise accepts the forgery, because the CA does not."""
    feedback = exercises.steal_a_public_key(lambda victims: swap("mallory", victims))
    assert feedback.correct
    assert "refuses it: bad-signature" in feedback.text


@pytest.mark.parametrize(
    ("forge", "hint"),
    [
        (lambda victims: victims, "it names CN=client"),
        (lambda _: new_csr(KEY, "mallory"), "another public key"),
        (lambda victims: swap("client", victims), "it names CN=client"),
        (lambda victims: swap("mallory", victims, flip=1), "swap the whole SubjectPublicKeyInfo"),
        (lambda victims: swap("mallory", victims).public_bytes(Encoding.DER), "it returned bytes"),
        (lambda _: None, "it returned NoneType"),
        (lambda _: x509.load_der_x509_csr(b"mallory"), "it raised ValueError"),
        (lambda: None, "it raised TypeError"),
        (new_csr(KEY, "mallory"), "without brackets"),
    ],
)
def test_a_forgery_that_steals_nothing_gets_a_hint(forge: Any, hint: str) -> None:
    """An honest CSR of Mallory's, or the victim's own, is no theft."""
    feedback = exercises.steal_a_public_key(forge)
    assert feedback.correct is False
    assert hint in feedback.text


KINDS = {
    "*.example.org": "DNS",
    "*.org": "refused",
    "2001:db8::7": "IP",
    "192.0.2.300": "refused",
    "xn--mnchen-3ya.example": "DNS",
    "spiffe://example.org/db": "URI",
    "example.org:443": "refused",
    "localhost": "DNS",
}


def test_the_kinds_of_names_are_those_of_new_csr() -> None:
    """The third exercise accepts what new_csr makes of each name."""
    assert exercises.kinds_of_names(KINDS).correct


@pytest.mark.parametrize("name", KINDS)
def test_each_wrong_kind_gets_its_own_hint(name: str) -> None:
    """A name that is put into the wrong drawer is the one that the hint speaks of."""
    for wrong in {"DNS", "IP", "URI", "refused"} - {KINDS[name]}:
        feedback = exercises.kinds_of_names(KINDS | {name: wrong})
        assert feedback.correct is False
        assert f"{name} is not {wrong}: " in feedback.text


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ({}, "is not in it"),
        (dict.fromkeys(KINDS, "DNS"), "*.org is not DNS"),
        (dict.fromkeys(KINDS, "dns"), "'dns' is not one of"),
        ({name: kind for name, kind in KINDS.items() if name != "localhost"}, "localhost is not in it"),
        (list(KINDS.values()), "is a dictionary"),
    ],
)
def test_a_dictionary_that_does_not_fit_gets_a_hint(answer: Any, hint: str) -> None:
    """Missing names and unknown words are told apart from wrong ones."""
    feedback = exercises.kinds_of_names(answer)
    assert feedback.correct is False
    assert hint in feedback.text


@pytest.mark.parametrize("answer", WRONG_TYPES)
@pytest.mark.parametrize("name", CHECKERS)
def test_an_answer_of_any_other_kind_gets_a_hint(name: str, answer: object) -> None:
    """No answer, of whatever type, ends in a traceback."""
    assert re.match(r"Not yet: \S", exercises.CHECKERS[name](answer).text)


@pytest.mark.parametrize("name", CHECKERS)
def test_no_answer_is_not_a_wrong_one(name: str) -> None:
    """None says 'Not attempted yet'."""
    assert exercises.CHECKERS[name](None).text.startswith("Not attempted yet")


# What the notebook says of names


def accepts(ca: x509.Certificate, credential: Credential) -> bool:
    """Whether a strict client that trusts `ca` takes the credential's server."""
    Path("trusted.crt").write_bytes(certificate_pem(ca))
    with Server(credential, client_auth="none", port=0) as server:
        return request(server.url, cacert="trusted.crt").ok


def test_openssl_reads_the_common_name_unless_a_dns_name_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6125 §6.4.4 as OpenSSL reads it: an IP address in the SAN does not end the fallback, a DNS name does."""
    monkeypatch.chdir(tmp_path)
    assert ssl.HAS_NEVER_CHECK_COMMON_NAME
    ca = CertificateAuthority.create("example-ca")
    key = new_private_key()
    lax = replace(SERVER, needs_san=False)
    verdicts = {
        names: accepts(ca.certificate, Credential(ca.sign(new_csr(key, "localhost", names), lax), key))
        for names in ((), ("127.0.0.1",), ("other.example",))
    }
    assert verdicts == {(): True, ("127.0.0.1",): True, ("other.example",): False}


OPENSSL = shutil.which("openssl")


@pytest.mark.skipif(not OPENSSL, reason="the openssl program is not installed")
def test_the_printed_command_asks_for_the_names_in_the_san(tmp_path: Path) -> None:
    """With -addext, openssl makes the CSR that new_csr makes; without it, the article's command asks for no SAN."""
    assert OPENSSL
    key = str(tmp_path / "server.key")
    subprocess.run([OPENSSL, "genrsa", "-out", key], capture_output=True, check=True)
    article = [OPENSSL, "req", "-new", "-key", key, "-subj", "/CN=localhost"]
    san = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    bare, named = (
        x509.load_pem_x509_csr(subprocess.run(command, capture_output=True, check=True).stdout)
        for command in (article, article + san)
    )
    public_key = bare.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    assert public_key.key_size == 2048
    assert not list(bare.extensions)
    ours = new_csr(KEY, "localhost", ["localhost", "127.0.0.1", "::1"])
    assert list(named.extensions) == list(ours.extensions)
