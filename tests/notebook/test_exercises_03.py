"""The checkers of notebook 03 try functions on requests not seen before, and its words on names hold."""

import itertools
import shutil
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mtlslab import CertificateAuthority, Credential, Server, request
from mtlslab.credentials import certificate_pem, general_name, new_csr, new_private_key
from mtlslab.handshake import der as values
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import page_03
from mtlslab.profiles import SERVER

OTHERS: list[Any] = [0, "ca.crt", [], {}, object(), mock.ANY, mock.Mock()]
KEY, DESK = new_private_key(), CertificateAuthority.create("desk")


@cache
def read(der: bytes) -> tuple[x509.CertificateSigningRequest, list[str], list[str]] | None:
    """Read a request that proves possession: itself, its common names, its other names; None for any other."""
    try:
        csr = x509.load_der_x509_csr(der)
        if not csr.is_signature_valid:
            return None
        san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:
        return None
    names = [str(one.value) for one in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return csr, names, [str(name.value) for name in san]


def asked_of(csr: x509.CertificateSigningRequest) -> set[x509.GeneralName]:
    return set(csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def may_sign(der: bytes, names: set[str]) -> bool:
    """The solution: new_csr tells kinds apart."""
    if (found := read(der)) is None:
        return False
    own, asked = asked_of(new_csr(KEY, "own", names)), asked_of(found[0])
    return bool(asked) and asked <= own and names.issuperset(found[1])


def by_value(der: bytes, names: set[str]) -> bool:
    """The solution as it once was: it takes a name of any kind for one that reads alike."""
    found = read(der)
    return found is not None and {*found[1], *found[2]} <= names


def kind_of(name: str) -> type[x509.GeneralName]:
    if "://" in name:
        return x509.UniformResourceIdentifier
    return x509.IPAddress if ":" in name or name.replace(".", "").isdigit() else x509.DNSName


def by_look(der: bytes, names: set[str], look: Callable[[str], Any] = kind_of, empty: bool = False) -> bool:
    """Another right one, by hand; or one that looks at kinds in another way."""
    if (found := read(der)) is None or not (asked_of(found[0]) or empty):
        return False
    asked = [(str(name.value), type(name)) for name in asked_of(found[0])]
    return names.issuperset(found[1]) and all(name in names and issubclass(kind, look(name)) for name, kind in asked)


def by_the_authority(der: bytes, names: set[str]) -> bool:
    """Another right one: let a CA sign, and see what it has signed."""
    try:
        csr = x509.load_der_x509_csr(der)
        DESK.sign(csr, replace(SERVER, needs_san=False))
    except Exception:
        return False
    asked = set(next((one.value for one in csr.extensions), ()))
    return bool(asked) and asked <= set(map(general_name, names)) and names.issuperset(one.value for one in csr.subject)


THE_THREE = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier)


def unproven(der: bytes, names: set[str]) -> bool:
    """Leave out the signature."""
    try:
        csr = x509.load_der_x509_csr(der)
        csr.public_key()
        san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    common = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {*(one.value for one in common), *(str(name.value) for name in san)} <= names


def names_alone(der: bytes, names: set[str]) -> bool:
    """Look whether a known name is anywhere in it."""
    return may_sign(der, names) or any(name.encode() in der for name in names)


def built_on(change: Callable[[Any, list[str], list[str], set[str]], bool]) -> Callable[[bytes, set[str]], bool]:
    """A function that reads a request rightly, and decides otherwise."""
    return lambda der, names: (found := read(der)) is not None and change(*found, names)


def no_san_wanted(der: bytes, names: set[str]) -> bool:
    """Take the common name where there is no SAN."""
    csr = x509.load_der_x509_csr(der) if der[:1] == b"0" and len(der) > 99 else None
    try:
        if csr is not None and csr.is_signature_valid and not len(csr.extensions):
            return names.issuperset(one.value for one in csr.subject)
    except ValueError:
        return False
    return may_sign(der, names)


def network(name: str) -> str:
    return name.rpartition(".")[0] if name[:1].isdigit() and "." in name else name


def of_kinds(*kinds: Any) -> Callable[[bytes, set[str]], bool]:
    """A function that looks at names of some kinds, and lets the others be."""

    def desk(der: bytes, names: set[str]) -> bool:
        if (found := read(der)) is None:
            return False
        san = found[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        mine = [(str(name.value), type(name)) for name in san if isinstance(name, kinds)]
        return names.issuperset([*found[1], *(n for n, _ in mine)]) and all(kind_of(n) is kind for n, kind in mine)

    return desk


def ec_alone(der: bytes, names: set[str]) -> bool:
    """Verify the signature of requests as short as those of EC keys are."""
    return unproven(der, names) if len(der) > 500 else may_sign(der, names)


def rejects_what_it_cannot_read(der: bytes, names: set[str]) -> bool:
    csr = x509.load_der_x509_csr(der)
    return csr.is_signature_valid and may_sign(der, names)


def surprised(der: bytes, names: set[str]) -> bool:
    """The solution as it once was: it expects two kinds of error."""
    try:
        x509.load_der_x509_csr(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound):
        return False
    return may_sign(der, names)


COUNT = itertools.count()

DESKS: dict[str, tuple[Any, str | None]] = {
    "by look": (by_look, None),
    "by the authority": (by_the_authority, None),
    "by value": (by_value, "a mailbox that reads like its host"),
    "of one of three kinds": (
        partial(by_look, look=lambda _: THE_THREE),
        "a URI that reads like its host",
    ),
    "hosts of their kind": (
        partial(by_look, look=lambda name: kind_of(name) if kind_of(name) is x509.DNSName else x509.GeneralName),
        "says True for a request for a DNS name that reads like its",
    ),
    "URIs as hosts": (
        partial(by_look, look=lambda name: (kind_of(name), x509.DNSName)[: 1 + ("://" in name)]),
        "a DNS name that reads like its URI",
    ),
    "hosts as URIs": (
        partial(by_look, look=lambda name: (kind_of(name), x509.UniformResourceIdentifier)),
        "a URI that reads like its host",
    ),
    "an empty SAN": (partial(by_look, empty=True), "an empty subjectAltName"),
    "no IPv6": (
        lambda der, names: may_sign(der, {n for n in names if n.count(":") < 3}),
        "False for a request for its IPv6",
    ),
    "no URI": (
        lambda der, names: may_sign(der, {n for n in names if "://" not in n}),
        "False for a request for its URI",
    ),
    "yes": (lambda *_: True, "says True for a request for somebody else: its owner could pose as"),
    "no": (lambda *_: False, "says False for an honest request"),
    "no signature": (unproven, "says True for a request with Mallory's public key in it"),
    "known names alone": (names_alone, "says True for a request with somebody else in its SAN"),
    "the SAN alone": (built_on(lambda _, _cn, san, names: names.issuperset(san)), "as its common name"),
    "the first of the SAN": (
        built_on(lambda _, cn, san, names: {*cn, san[0]} <= names),
        "says True for a request with some",
    ),
    "the first CN": (built_on(lambda _, cn, san, names: {*cn[:1], *san} <= names), "with a second common name"),
    "one CN": (
        built_on(lambda _, cn, san, names: {cn[0], *san} <= names),
        "without a common name, your function raised",
    ),
    "DNS names": (
        built_on(lambda _, cn, san, names: {*cn, *(name for name in san if name.endswith(".example"))} <= names),
        "says True for a request",
    ),
    "the beginning": (
        built_on(lambda _, cn, san, names: all(any(one.startswith(name) for name in names) for one in [*cn, *san])),
        "says True for a request for a longer name",
    ),
    "the end": (
        built_on(lambda _, cn, san, names: all(any(one.endswith(name) for name in names) for one in [*cn, *san])),
        "says True for a request for a name below",
    ),
    "a part": (
        built_on(lambda _, cn, san, names: all(any(one in name for name in names) for one in [*cn, *san])),
        "says True for a request for a part of the name",
    ),
    "common names with a dot": (
        built_on(lambda _, cn, san, names: {*(one for one in cn if "." in one or ":" in one), *san} <= names),
        "says True for a request with a person as its common name",
    ),
    "the address's network": (
        built_on(lambda _, cn, san, names: {network(one) for one in [*cn, *san]} <= {network(one) for one in names}),
        "says True for a request for a neighbour's address",
    ),
    "no URIs": (of_kinds(x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.DirectoryName), "for another URI"),
    "usual kinds": (
        of_kinds(x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.DirectoryName, x509.UniformResourceIdentifier),
        "says True for a request for a name of a rare kind",
    ),
    "the signature of EC keys": (ec_alone, "an RSA request with a bit of its signature flipped"),
    "no SAN wanted": (no_san_wanted, "says True for a request without a SAN"),
    "surprised": (surprised, "your function raised UnsupportedGeneralNameType"),
    "raises": (rejects_what_it_cannot_read, "your function raised ValueError"),
    "knows EC": (lambda der, names: len(der) < 400 and may_sign(der, names), "says False for"),
    "counts": (lambda der, names: next(COUNT) % 24 < 6 or may_sign(der, names), "Not yet: your function says True"),
    "True": (True, "is wanted itself"),
}


def test_the_front_desk_meets_every_greedy_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk that looks at key, signature and each name is right; the others hear who could pose as whom."""
    requests = list(page_03._requests())  # to make them takes longer than to judge them
    monkeypatch.setattr(page_03, "_requests", lambda: requests)
    for name, (function, hint) in DESKS.items():
        feedback = exercises.front_desk(function)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, (name, feedback)


def swap(name: str, victims: x509.CertificateSigningRequest, flip: int = 0) -> x509.CertificateSigningRequest:
    """The solution of the second exercise."""
    key = new_private_key()
    own, stolen = (
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for public in (key.public_key(), victims.public_key())
    )
    stolen = stolen[:-1] + bytes([stolen[-1] ^ flip])
    return x509.load_der_x509_csr(new_csr(key, name).public_bytes(Encoding.DER).replace(own, stolen))


def swap_bytes(point: bytes) -> x509.CertificateSigningRequest:
    """Mallory's request, with 65 other bytes in the place of her key's point."""
    key, form = new_private_key(), (Encoding.X962, PublicFormat.UncompressedPoint)
    own = new_csr(key, "mallory").public_bytes(Encoding.DER)
    return x509.load_der_x509_csr(own.replace(key.public_key().public_bytes(*form), point))


def rename(victims: x509.CertificateSigningRequest) -> x509.CertificateSigningRequest:
    """The victim's own request, with another name: its lengths are written anew."""
    ((_, whole),) = values.items(victims.public_bytes(Encoding.DER))
    (_, body), *proof = values.items(whole)
    version, _, *rest = values.items(body)
    mallory = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory")]).public_bytes()
    made = values.wrap(0x30, values.wrap(*version), mallory, *(values.wrap(*part) for part in rest))
    return x509.load_der_x509_csr(values.wrap(0x30, made, *(values.wrap(*part) for part in proof)))


def once_for(part: Callable[[x509.CertificateSigningRequest], object]) -> Any:
    """Forge for whoever looks new, and hand out the old forgery for who looks the same."""
    known: dict[object, x509.CertificateSigningRequest] = {}
    return lambda victims: known.setdefault(part(victims), swap("mallory", victims))


FIRST = swap("mallory", new_csr(KEY, "client"))

POINT = Encoding.X962, PublicFormat.UncompressedPoint

FORGERIES: dict[str, tuple[Any, str | None]] = {
    "the key": (lambda victims: swap("mallory", victims), None),
    "the point": (lambda victims: swap_bytes(victims.public_key().public_bytes(*POINT)), None),
    "another name": (rename, None),
    "remembering": (once_for(lambda victims: victims), None),
    "the first key": (once_for(lambda _: 0), "another public key"),
    "by length": (once_for(lambda victims: len(victims.public_bytes(Encoding.DER)) // 99), "another public key"),
    "from the end of what is signed": (lambda victims: swap_bytes(victims.tbs_certrequest_bytes[-67:-2]), "Not yet"),
    "from where a short name ends": (lambda victims: swap_bytes(victims.tbs_certrequest_bytes[60:125]), "Not yet"),
    "the victim's": (lambda victims: victims, "the theft is to be in the name of mallory"),
    "Mallory's own": (lambda _: new_csr(KEY, "mallory"), "another public key"),
    "one and the same": (lambda _: FIRST, "another public key"),
    "the name alone": (lambda victims: swap("client", victims), "it names CN=client"),
    "Mallory": (lambda victims: swap("Mallory", victims), "it names CN=Mallory"),
    "half a key": (lambda victims: swap("mallory", victims, flip=1), "swap the whole SubjectPublicKeyInfo"),
    "DER": (lambda victims: swap("mallory", victims).public_bytes(Encoding.DER), "it returned bytes"),
    "a mock": (lambda _: mock.Mock(spec=x509.CertificateSigningRequest), "it returned Mock"),
    "nothing": (lambda _: None, "it returned NoneType"),
    "no DER": (lambda _: x509.load_der_x509_csr(b"mallory"), "your function raised ValueError"),
    "no argument": (lambda: None, "your function raised TypeError"),
    "a CSR": (FIRST, "is wanted itself"),
}


def test_a_forgery_holds_the_victims_key_and_mallorys_name() -> None:
    """An honest CSR of Mallory's, or the victim's own, is no theft."""
    for name, (forge, hint) in FORGERIES.items():
        feedback = exercises.steal_a_public_key(forge)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, (name, feedback)


def test_no_answer_is_not_a_wrong_one_and_another_kind_gets_a_hint() -> None:
    """None says 'Not attempted yet', and no answer, of whatever type, ends in a traceback."""
    for check in (exercises.front_desk, exercises.steal_a_public_key):
        assert check(None).text.startswith("Not attempted yet")
        for other in OTHERS:
            assert check(other).text.startswith("Not yet: "), (check, other)


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
    reads = ssl.OPENSSL_VERSION_INFO < (4, 1)  # 4.1 reads the common name only if asked
    assert verdicts == {(): reads, ("127.0.0.1",): reads, ("other.example",): False}


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
