"""The checkers of notebook 02 put roots to use and functions to the test, and its words on openssl hold."""

import contextlib
import itertools
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mtlslab import CertificateAuthority, Credential, Server, request
from mtlslab.credentials import certificate_pem, new_private_key, private_key_pem
from mtlslab.faults.minting import altered
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import page_02
from mtlslab.profiles import ROOT, SERVER

OTHERS: list[Any] = [0, "ca.crt", [], {}, object(), mock.ANY, mock.Mock()]


def usage(*given: str) -> x509.KeyUsage:
    """A keyUsage that holds what is given, in cryptography's spelling."""
    every = ROOT.key_usage | {"digital_signature", "content_commitment", "key_encipherment", "data_encipherment"}
    every |= {"key_agreement", "encipher_only", "decipher_only"}
    return x509.KeyUsage(**{name: name in given for name in every})


LEAD = (x509.BasicConstraints(True, 0), True)
UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
KEY = new_private_key()
FOREIGN = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
FOREIGN_ISSUER = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(FOREIGN)


def root(*put: tuple[x509.ExtensionType, bool], **changes: Any) -> Callable[[str, int], Any]:
    """A function that makes the root that is wanted, with something changed."""

    def make(name: str, days: int) -> Any:
        key_type, signer = changes.get("key_type", "ec-p256"), changes.get("signer")
        ca = CertificateAuthority.create(changes.get("name", name), days=changes.get("days", days), key_type=key_type)
        options: dict[str, Any] = {option: changes[option] for option in ("without", "issuer") if option in changes}
        if "span" in changes:
            options["days"] = changes["span"](days)
        extensions = {type(value): (value, critical) for value, critical in (LEAD, *put)}
        kept = [pair for kind, pair in extensions.items() if kind not in changes.get("without", ())]
        made = altered(ca.certificate, signer or ca.private_key, put=kept, **options)
        return made, ca.private_key

    return make


def again(change: Callable[[Any], Any]) -> Callable[[str, int], Any]:
    """Make the right root, and return something else made of the pair."""
    return lambda name, days: change(root()(name, days))


@cache
def kept(name: str, days: int) -> Any:
    return root()(name, days)


class Pair(NamedTuple):
    """Two, with names."""

    certificate: x509.Certificate
    key: Any


FOR_LOCALHOST = x509.NameConstraints([x509.DNSName("localhost")], None)


def weak(name: str, days: int) -> Any:
    ca, key = CertificateAuthority.create(name, days=days), ec.generate_private_key(ec.SECP192R1())
    return altered(ca.certificate, key, put=[LEAD], public_key=key), key


ONCE = root()("practice-ca", 30)
NOBODY = x509.Name.from_rfc4514_string("CN=somebody-above")
PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])

ROOTS: dict[str, tuple[Any, str | None]] = {
    "less and more, RSA": (
        root(
            (usage("key_cert_sign"), False),
            (UNKNOWN[0], False),
            without=(x509.AuthorityKeyIdentifier,),
            key_type="rsa-2048",
        ),
        None,
    ),
    "Ed25519, in a named tuple": (lambda *asked: Pair(*root(key_type="ed25519")(*asked)), None),
    "path length 1": (root((x509.BasicConstraints(True, 1), True)), "a CA below it signed for "),
    "not critical": (root((x509.BasicConstraints(True, 0), False)), "a strict client refuses a server"),
    "CA:FALSE": (root((x509.BasicConstraints(False, None), True)), "cannot sign for anybody"),
    "no basicConstraints": (root(without=(x509.BasicConstraints,)), "cannot sign for anybody"),
    "no keyUsage": (root(without=(x509.KeyUsage,)), "a strict client refuses a server"),
    "keyUsage of a leaf": (root((usage("digital_signature"), True)), "cannot sign for anybody"),
    "no SKI": (root(without=(x509.SubjectKeyIdentifier,)), "a strict client refuses a server"),
    "another key's SKI": (root((FOREIGN, False)), "a strict client refuses a server"),
    "another key's AKI": (root((FOREIGN_ISSUER, False)), "a strict client refuses a server"),
    "an unknown critical extension": (root(UNKNOWN), "a strict client refuses a server"),
    "for clients only": (root((PURPOSE, False)), "a strict client refuses a server"),
    "a name of its own": (root(name="practice-ca"), "it made CN=practice-ca"),
    "somebody above it": (root(issuer=NOBODY), "Subject and Issuer differ"),
    "another key's signature": (root(signer=KEY), "does not verify with its own key"),
    "expired": (root(span=lambda days: (-days, -1)), "it began before it was made"),
    "begins tomorrow": (root(span=lambda days: (1, days)), "it has not begun"),
    "backdated": (root(span=lambda days: (-3, days)), "it began before it was made"),
    "30 days, whatever was asked": (root(days=30), "Not yet: asked for"),
    "a year": (root(days=800), "it lives longer: a stolen key would, too"),
    "a day": (root(days=1), "it ends before"),
    "one and the same": (lambda *_: ONCE, "it made CN=practice-ca"),
    "kept by name": (kept, "its roots share a key"),
    "for localhost alone": (root((FOR_LOCALHOST, True)), "a strict client refuses a server"),
    "a weak key": (weak, "could be worked out"),
    "the certificate alone": (again(lambda pair: pair[0]), "let it return two"),
    "in the other order": (again(lambda pair: pair[::-1]), "the first that it returns is no certificate"),
    "the public key": (again(lambda pair: (pair[0], pair[0].public_key())), "no private key that can sign"),
    "another key": (again(lambda pair: (pair[0], KEY)), "do not belong together"),
    "a mock": (lambda *_: (mock.Mock(spec=x509.Certificate), KEY), "is no certificate"),
    "PEM": (again(lambda pair: (certificate_pem(pair[0]), pair[1])), "is no certificate"),
    "no days": (lambda name: root()(name, 30), "raised TypeError"),
    "the root itself": (ONCE[0], "is wanted itself"),
}


def test_a_root_is_put_to_use() -> None:
    """A root of any make that strict clients take, and that bears no CA, is accepted; the others do some harm."""
    for name, (function, hint) in ROOTS.items():
        feedback = exercises.root_on_a_short_lead(function)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, (name, feedback)


@cache
def honest_is_root(certificate: x509.Certificate) -> bool:
    """The solution of the second exercise."""
    try:
        certificate.verify_directly_issued_by(certificate)
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


def by_oid(certificate: x509.Certificate) -> bool:
    """Another right one, which looks before it verifies."""
    flags = [e.value for e in certificate.extensions if e.oid.dotted_string == "2.5.29.19"]
    return any(getattr(flag, "ca", False) for flag in flags) and only_signature(certificate)


def only_names(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def only_flag(certificate: x509.Certificate) -> bool:
    return any(getattr(e.value, "ca", False) for e in certificate.extensions)


@cache
def only_signature(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def by_key_usage(certificate: x509.Certificate) -> bool:
    """Take keyUsage for the flag."""
    signs = any(isinstance(e.value, x509.KeyUsage) and e.value.key_cert_sign for e in certificate.extensions)
    return signs and only_signature(certificate)


def without_names(certificate: x509.Certificate) -> bool:
    """Verify the signature, and leave out who is named."""
    key: Any = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        try:
            key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return only_flag(certificate)
    return honest_is_root(certificate)


def only_ecdsa(certificate: x509.Certificate) -> bool:
    """Verify as the notebook did by hand: that knows one kind of key."""
    key: Any = certificate.public_key()
    key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    return True


def by_hand(rsa: Callable[[x509.Certificate], bool] = lambda c: only_names(c) and only_flag(c)) -> Any:
    """Verify EC signatures by hand, always with SHA-256, and those of other keys in another way."""

    def made(certificate: x509.Certificate) -> bool:
        try:
            if not isinstance(certificate.public_key(), ec.EllipticCurvePublicKey):
                return rsa(certificate)
            return only_names(certificate) and only_flag(certificate) and only_ecdsa(certificate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False

    return made


def as_found_first(certificate: x509.Certificate) -> bool:
    """The solution as it once was: it does not expect a key that cannot sign."""
    try:
        certificate.verify_directly_issued_by(certificate)
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, InvalidSignature, x509.ExtensionNotFound):
        return False


COUNT = itertools.count()

FUNCTIONS: dict[str, tuple[Any, str | None]] = {
    "all three": (honest_is_root, None),
    "by identifier": (by_oid, None),
    "yes": (lambda _: True, "says True for a server's certificate"),
    "no": (lambda _: False, "says False for a root"),
    "nothing": (lambda _: None, "returns None"),
    "a word": (lambda _: "yes", "returned str"),
    "names": (only_names, "says True for an issuing CA with the name of its root"),
    "flag": (only_flag, "says True for an issuing CA:"),
    "names and flag": (lambda c: only_names(c) and only_flag(c), "says True for an issuing CA with the name"),
    "signature": (only_signature, "says True for a self-signed certificate with CA:FALSE"),
    "keyUsage for the flag": (by_key_usage, "says False for a root without keyUsage"),
    "no names": (without_names, "with its own key's signature and another's name"),
    "one kind of key": (only_ecdsa, "for a root with an RSA key, your function raised TypeError"),
    "four extensions": (lambda c: len(c.extensions) == 4 and honest_is_root(c), "says False for a root without"),
    "EC keys' signatures": (by_hand(), "Not yet: your function says True for"),
    "one hash": (by_hand(rsa=honest_is_root), "says False for a root with a P-384 key"),
    "six calls": (lambda c: next(COUNT) % 18 < 7 or honest_is_root(c), "Not yet: your function says"),
    "as it once was": (as_found_first, "for a certificate whose own key cannot sign, your function raised TypeError"),
    "an attribute": (lambda certificate: certificate.nothing, "raised AttributeError"),
    "no argument": (lambda: True, "raised TypeError"),
    "True": (True, "is wanted itself"),
    "a certificate": (ONCE[0], "is wanted itself"),
}


def test_a_function_that_leaves_out_a_mark_is_shown_the_case_it_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, flag and signature: who leaves one out is told for which certificate it matters."""
    cases = list(page_02._roots_and_others())  # to make them takes longer than to judge them
    monkeypatch.setattr(page_02, "_roots_and_others", lambda: cases)
    for name, (function, hint) in FUNCTIONS.items():
        feedback = exercises.tells_roots(function)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, (name, feedback)


def test_no_answer_is_not_a_wrong_one_and_another_kind_gets_a_hint() -> None:
    """None says 'Not attempted yet', and no answer, of whatever type, ends in a traceback."""
    for check in (exercises.root_on_a_short_lead, exercises.tells_roots):
        assert check(None).text.startswith("Not attempted yet")
        for other in OTHERS:
            assert check(other).text.startswith("Not yet: "), (check, other)


# What the notebook says of openssl, where there is one to ask

OPENSSL = shutil.which("openssl")
ARTICLE = ["req", "-new", "-x509", "-key", "ca.key", "-days", "365", "-subj", "/CN=example-ca"]
"""The article's, with a key that is there already."""
STRICT = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]


def openssl(*arguments: str) -> bytes:
    """Run the openssl program, and return what it prints."""
    assert OPENSSL
    return subprocess.run([OPENSSL, *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def accepts(ca: x509.Certificate, credential: Credential) -> bool:
    """Whether a strict client that trusts `ca` takes the credential's server."""
    Path("trusted.crt").write_bytes(certificate_pem(ca))
    with Server(credential, client_auth="none", port=0) as server:
        return request(server.url, cacert="trusted.crt").ok


@pytest.mark.skipif(not OPENSSL, reason="the openssl program is not installed")
def test_the_articles_root_lacks_key_usage_and_one_option_cures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The article's command makes the root that the notebook rebuilds; with -addext, as printed, clients take it."""
    if not openssl("version").startswith(b"OpenSSL 3"):
        pytest.skip("openssl is not of version 3")
    monkeypatch.chdir(tmp_path)
    Path("ca.key").write_bytes(private_key_pem(KEY))
    openssl(*ARTICLE, "-out", "ca.crt")
    old = CertificateAuthority.load(".")
    openssl(*ARTICLE, *STRICT, "-out", "ca.crt")
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


def test_no_client_checks_the_trust_anchors_own_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5280 §6.1: a root whose self-signature is damaged is a trust anchor like any other, strict or not."""
    monkeypatch.chdir(tmp_path)
    ca = CertificateAuthority.create("example-ca")
    der = ca.certificate.public_bytes(Encoding.DER)
    damaged = x509.load_der_x509_certificate(der[:-1] + bytes([der[-1] ^ 1]))
    with pytest.raises(InvalidSignature):
        damaged.verify_directly_issued_by(damaged)
    assert accepts(damaged, ca.issue("localhost", SERVER, names=["localhost"]))


def test_a_trust_anchors_own_dates_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5280 §6.1 takes an anchor's name and key alone; OpenSSL and cryptography refuse one that has ended."""
    monkeypatch.chdir(tmp_path)
    ca = CertificateAuthority.create("example-ca")
    credential = ca.issue("localhost", SERVER, names=["localhost"])
    ended = altered(ca.certificate, ca.private_key, days=(-9, -1))
    assert not accepts(ended, credential)
    for anchor, holds in ((ca.certificate, True), (ended, False)):
        verifier = PolicyBuilder().store(Store([anchor])).build_server_verifier(x509.DNSName("localhost"))
        with contextlib.nullcontext() if holds else pytest.raises(VerificationError):
            verifier.verify(credential.certificate, [])
