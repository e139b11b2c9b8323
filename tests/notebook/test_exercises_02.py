"""The checkers of notebook 02 tell wrong answers from right ones, and its words on openssl hold."""

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from mtlslab import CertificateAuthority, Credential, Server, request
from mtlslab.credentials import certificate_pem
from mtlslab.notebook import exercises
from mtlslab.profiles import SERVER

WRONG_TYPES = [0, "", "ca.crt", b"", b"ca.crt", [], {}, object(), Path("ca.crt"), lambda: None, int]

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def lab_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ec.EllipticCurvePrivateKey:
    """The key in lab-02/ca.key, as a reader has it who ran the notebook."""
    monkeypatch.chdir(tmp_path)
    ca = CertificateAuthority.create("example-ca")
    ca.save("lab-02")
    assert isinstance(ca.private_key, ec.EllipticCurvePrivateKey)
    return ca.private_key


def usage(*given: str) -> x509.KeyUsage:
    """A keyUsage that holds what is given, in cryptography's spelling."""
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
        "crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in given for name in every.split()})


Extensions = dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool]]


def root(
    *changed: tuple[x509.ExtensionType, bool],
    without: type[x509.ExtensionType] | None = None,
    common_name: str = "practice-ca",
    issuer: str | None = None,
    days: int = 30,
    key: ec.EllipticCurvePrivateKey = KEY,
    signed_with: ec.EllipticCurvePrivateKey | None = None,
) -> x509.Certificate:
    """The right answer to the first exercise, with something changed."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    extensions: Extensions = {
        x509.BasicConstraints: (x509.BasicConstraints(True, 0), True),
        x509.KeyUsage: (usage("key_cert_sign", "crl_sign"), True),
        x509.SubjectKeyIdentifier: (identifier, False),
    }
    extensions |= {type(value): (value, critical) for value, critical in changed}
    now = datetime.now(UTC)
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (common_name, issuer or common_name)
    ]
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=days))
    for kind, (value, critical) in extensions.items():
        if kind is not without:
            builder = builder.add_extension(value, critical)
    return builder.sign(signed_with or key, hashes.SHA256())


def test_the_root_that_was_asked_for_is_correct(lab_key: object) -> None:
    """The first exercise accepts a root that breaks none of its conditions, whoever made it."""
    assert exercises.root_on_a_short_lead(root()).correct


FOREIGN_IDENTIFIER = x509.SubjectKeyIdentifier.from_public_key(OTHER_KEY.public_key())


@pytest.mark.parametrize(
    ("made", "hint"),
    [
        (lambda: certificate_pem(root()), "the certificate itself"),
        (lambda: root(common_name="example-ca"), "not CN=practice-ca"),
        (lambda: root(issuer="example-ca"), "Subject and Issuer differ"),
        (lambda: root(signed_with=OTHER_KEY), "does not verify"),
        (lambda: root(days=365), "365 days, not 30"),
        (lambda: root(without=x509.BasicConstraints), "no basicConstraints"),
        (lambda: root((x509.BasicConstraints(True, 0), False)), "basicConstraints is not marked critical"),
        (lambda: root((x509.BasicConstraints(False, None), True)), "CA:FALSE"),
        (lambda: root((x509.BasicConstraints(True, None), True)), "no path length of 0"),
        (lambda: root((x509.BasicConstraints(True, 1), True)), "no path length of 0"),
        (lambda: root(without=x509.KeyUsage), "no keyUsage"),
        (lambda: root((usage("key_cert_sign"), False)), "keyUsage is not marked critical"),
        (lambda: root((usage("digital_signature"), True)), "lacks keyCertSign"),
        (lambda: root(without=x509.SubjectKeyIdentifier), "no subjectKeyIdentifier"),
        (lambda: root((FOREIGN_IDENTIFIER, False)), "that of another key"),
        (lambda: CertificateAuthority.create("practice-ca", days=30).certificate, "no path length of 0"),
    ],
)
def test_a_root_with_one_thing_wrong_gets_the_hint_for_it(made: Callable[[], Any], hint: str, lab_key: object) -> None:
    """Whatever one condition a root breaks, the reader is told which."""
    feedback = exercises.root_on_a_short_lead(made())
    assert feedback.correct is False
    assert hint in feedback.text


def test_a_new_root_wants_a_new_key(lab_key: ec.EllipticCurvePrivateKey) -> None:
    """The key of the notebook's own root is not taken for another one."""
    assert "a new root gets a new key" in exercises.root_on_a_short_lead(root(key=lab_key)).text


def honest_is_root(certificate: x509.Certificate) -> bool:
    """The solution of the second exercise."""
    try:
        certificate.verify_directly_issued_by(certificate)
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, InvalidSignature, x509.ExtensionNotFound):
        return False


def only_names(certificate: x509.Certificate) -> bool:
    """Look at the names alone."""
    return certificate.subject == certificate.issuer


def only_flag(certificate: x509.Certificate) -> bool:
    """Look at CA:TRUE alone."""
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def names_and_flag(certificate: x509.Certificate) -> bool:
    """Look at everything but the signature."""
    extensions = [e.value for e in certificate.extensions if isinstance(e.value, x509.BasicConstraints)]
    return only_names(certificate) and any(e.ca for e in extensions)


def only_signature(certificate: x509.Certificate) -> bool:
    """Look at names and signature, and not at the flag."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, InvalidSignature):
        return False
    return True


def only_ecdsa(certificate: x509.Certificate) -> bool:
    """Verify as the notebook did by hand: that knows one kind of key."""
    key: Any = certificate.public_key()
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return honest_is_root(certificate)


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (lambda _: True, "says True for a server's certificate"),
        (lambda _: False, "says False for a root"),
        (lambda _: None, "returns None"),
        (lambda _: "yes", "returned str"),
        (only_names, "CA:TRUE that another key has signed"),
        (only_flag, "an issuing CA"),
        (names_and_flag, "CA:TRUE that another key has signed"),
        (only_signature, "self-signed certificate with CA:FALSE"),
        (only_ecdsa, "Ed25519 key, it raised TypeError"),
        (lambda certificate: certificate.nothing, "it raised AttributeError"),
        (lambda: True, "it raised TypeError"),
        (True, "without brackets"),
        (root(), "the answer is a function"),
    ],
)
def test_a_function_that_leaves_out_a_mark_is_shown_the_case_it_misses(function: Any, hint: str) -> None:
    """Names, flag and signature: who leaves one out is told for which certificate it matters."""
    feedback = exercises.tells_roots(function)
    assert feedback.correct is False
    assert hint in feedback.text


def test_a_function_that_looks_at_all_three_is_correct() -> None:
    """The second exercise accepts what it asks for."""
    assert exercises.tells_roots(honest_is_root).correct


def pem(key: ec.EllipticCurvePrivateKey, password: bytes | None) -> bytes:
    """A private key in PEM, locked if there is a password."""
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


LOCK = BestAvailableEncryption(b"for practice")


@pytest.mark.parametrize(
    ("made", "hint"),
    [
        (lambda key: pem(key, None), "opens without a password"),
        (lambda key: pem(key, b"correct horse"), "does not open it"),
        (lambda _: pem(OTHER_KEY, b"for practice"), "another key"),
        (lambda key: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, LOCK), "Encoding.PEM"),
        (lambda key: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "public key"),
        (lambda _: certificate_pem(root()), "a certificate"),
        (lambda key: key, "is bytes"),
        (lambda _: b"for practice", "no private key in it"),
    ],
)
def test_a_copy_that_is_not_locked_as_asked_gets_the_hint_for_it(
    made: Callable[[Any], Any], hint: str, lab_key: object
) -> None:
    """An open key, another password, another key: each is told apart."""
    feedback = exercises.locked_key(made(lab_key))
    assert feedback.correct is False
    assert hint in feedback.text


def test_a_locked_copy_is_correct_as_bytes_and_as_text(lab_key: ec.EllipticCurvePrivateKey) -> None:
    """The third exercise accepts the locked key, also from a reader who decoded it."""
    locked = pem(lab_key, b"for practice")
    assert exercises.locked_key(locked).correct
    assert exercises.locked_key(locked.decode()).correct


def test_a_checker_that_needs_the_notebooks_key_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts with the exercises is sent to the cells above."""
    monkeypatch.chdir(tmp_path)
    assert "run the cells above" in exercises.locked_key(pem(KEY, b"for practice")).text


@pytest.mark.parametrize("answer", WRONG_TYPES)
@pytest.mark.parametrize("name", ["root_on_a_short_lead", "tells_roots", "locked_key"])
def test_an_answer_of_any_other_kind_gets_a_hint(name: str, answer: object, lab_key: object) -> None:
    """No answer, of whatever type, ends in a traceback."""
    assert re.match(r"Not yet: \S", exercises.CHECKERS[name](answer).text)


@pytest.mark.parametrize("name", ["root_on_a_short_lead", "tells_roots", "locked_key"])
def test_no_answer_is_not_a_wrong_one(name: str) -> None:
    """None says 'Not attempted yet'."""
    assert exercises.CHECKERS[name](None).text.startswith("Not attempted yet")


# What the notebook says of openssl, where there is one to ask

OPENSSL = shutil.which("openssl")
ARTICLE = ["req", "-new", "-x509", "-nodes", "-days", "365", "-subj", "/CN=example-ca"]
STRICT = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]

needs_openssl = pytest.mark.skipif(
    not OPENSSL
    or not subprocess.run([OPENSSL, "version"], capture_output=True, text=True, check=True).stdout.startswith(
        "OpenSSL 3"
    ),
    reason="the openssl program, version 3, is not installed",
)


def openssl(*arguments: str) -> None:
    """Run the openssl program."""
    assert OPENSSL
    subprocess.run([OPENSSL, *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL)


def accepts(ca: x509.Certificate, credential: Credential) -> bool:
    """Whether a strict client that trusts `ca` takes the credential's server."""
    Path("trusted.crt").write_bytes(certificate_pem(ca))
    with Server(credential, client_auth="none", port=0) as server:
        return request(server.url, cacert="trusted.crt").ok


@needs_openssl
def test_the_articles_root_lacks_key_usage_and_one_option_cures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The article's command makes the root that the notebook rebuilds; with -addext, strict clients take it."""
    monkeypatch.chdir(tmp_path)
    openssl(*ARTICLE, "-keyout", "ca.key", "-out", "ca.crt")
    old = CertificateAuthority.load(".")
    openssl(*ARTICLE[:3], *ARTICLE[4:], *STRICT, "-key", "ca.key", "-out", "ca.crt")
    cured = CertificateAuthority.load(".")
    credential = old.issue("localhost", SERVER, names=["localhost"])

    assert old.certificate.version is x509.Version.v3
    assert {(extension.oid._name, extension.critical) for extension in old.certificate.extensions} == {
        ("subjectKeyIdentifier", False),
        ("authorityKeyIdentifier", False),
        ("basicConstraints", True),
    }
    assert not accepts(old.certificate, credential)
    assert accepts(cured.certificate, credential)


@needs_openssl
def test_the_cured_command_makes_a_strict_root_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the notebook prints gives a root whose servers strict clients take."""
    monkeypatch.chdir(tmp_path)
    openssl(*ARTICLE, *STRICT, "-keyout", "ca.key", "-out", "ca.crt")
    ca = CertificateAuthority.load(".")
    assert accepts(ca.certificate, ca.issue("localhost", SERVER, names=["localhost"]))


def test_no_client_checks_the_trust_anchors_own_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5280 §6.1: a root whose self-signature is damaged is a trust anchor like any other, strict or not."""
    monkeypatch.chdir(tmp_path)
    ca = CertificateAuthority.create("example-ca")
    der = ca.certificate.public_bytes(Encoding.DER)
    damaged = x509.load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1]))
    with pytest.raises(InvalidSignature):
        damaged.verify_directly_issued_by(damaged)
    assert accepts(damaged, ca.issue("localhost", SERVER, names=["localhost"]))
