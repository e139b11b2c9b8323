"""Who a certificate names: every name by its kind, one where one is wanted, and SPIFFE's rules to the letter."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from mtlslab import CertificateAuthority, failures
from mtlslab.credentials import signature_hash
from mtlslab.identity import Identity, spiffe_id
from mtlslab.profiles import CLIENT, ISSUING_CA, Profile

BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
WORKLOAD = replace(CLIENT, name="workload", extended_key_usage=BOTH)
WEB = "spiffe://lab.example/web"


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create("example-ca")


def changed(
    ca: CertificateAuthority,
    profile: Profile = WORKLOAD,
    *,
    names: list[x509.GeneralName] | None = None,
    subject: str = "CN=web",
    put: tuple[x509.ExtensionType, bool] | None = None,
    critical_names: bool = False,
    without: type[Any] | None = None,
) -> x509.Certificate:
    """Sign a certificate of a profile with other names, another subject, or another extension in place of its own."""
    model = ca.issue("web", profile, names=[WEB]).certificate
    builder = x509.CertificateBuilder().subject_name(x509.Name.from_rfc4514_string(subject)).issuer_name(model.issuer)
    builder = builder.public_key(model.public_key()).serial_number(model.serial_number)
    builder = builder.not_valid_before(model.not_valid_before_utc).not_valid_after(model.not_valid_after_utc)
    for one in model.extensions:
        value, critical = one.value, one.critical
        if isinstance(value, x509.SubjectAlternativeName):
            value, critical = x509.SubjectAlternativeName(names) if names is not None else value, critical_names
        if put and isinstance(value, type(put[0])):
            value, critical = put
        if not (without and isinstance(value, without)):
            builder = builder.add_extension(value, critical)
    return builder.sign(ca.private_key, signature_hash(ca.private_key))


def usage(*granted: str) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    return x509.KeyUsage(**{name: name in granted for name in every.split()}, encipher_only=False, decipher_only=False)


def rule_broken(read: Callable[..., object], *given: Any, **options: Any) -> str:
    """Return the rule by which reading an identity was refused."""
    with pytest.raises(failures.IdentityRefused) as caught:
        read(*given, **options)
    return caught.value.rule


# --- names by their kind --------------------------------------------------------------------------


def test_every_name_is_there_with_its_kind(ca: CertificateAuthority) -> None:
    """All kinds of RFC 5280 §4.2.1.6 are told apart, in their order, and no kind is there without a name."""
    directory = x509.Name.from_rfc4514_string("CN=alice,O=Example")
    names: list[x509.GeneralName] = [
        x509.DNSName("b.example"),
        x509.UniformResourceIdentifier(WEB),
        x509.DNSName("a.example"),
        x509.RFC822Name("alice@example.org"),
        x509.DirectoryName(directory),
        x509.RegisteredID(ObjectIdentifier("1.2.3")),
        x509.OtherName(ObjectIdentifier("1.2.4"), b"\x05\x00"),
    ]
    certificate = changed(ca, names=names, subject="CN=second,CN=first,O=Example")
    identity = Identity.of(certificate)
    assert dict(identity.names) == {
        "CN": ("first", "second"),
        "DNS": ("b.example", "a.example"),
        "URI": (WEB,),
        "email": ("alice@example.org",),
        "dirName": ("CN=alice,O=Example",),
        "other": ("1.2.3", "1.2.4:0500"),
    }
    assert (identity.subject, identity.issuer) == ("CN=second,CN=first,O=Example", "CN=example-ca")
    assert identity.serial == certificate.serial_number
    assert identity.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    assert re.fullmatch("[0-9a-f]{64}", identity.key)
    assert Identity.of(ca.issue("x", CLIENT, names=["127.0.0.1"]).certificate).only("IP") == "127.0.0.1"


def test_a_key_outlives_a_certificate(ca: CertificateAuthority) -> None:
    """Certificates for one key have the same `key`, and another serial and fingerprint; identities compare by all."""
    credential = ca.issue("alice", CLIENT)
    first = Identity.of(credential.certificate)
    csr = x509.CertificateSigningRequestBuilder().subject_name(credential.certificate.subject)
    second = Identity.of(ca.sign(csr.sign(credential.private_key, hashes.SHA256()), CLIENT))
    assert first.key == second.key != Identity.of(ca.issue("alice", CLIENT).certificate).key
    assert first.serial != second.serial
    assert first.fingerprint != second.fingerprint
    assert len({first, second, Identity.of(credential.certificate)}) == 2


def test_one_name_is_one_name(ca: CertificateAuthority) -> None:
    """`only` returns the one name of a kind; none, and a second, are refused, and so is what is no kind."""
    two = Identity.of(changed(ca, names=[x509.DNSName("a.example")], subject="CN=a,CN=b"))
    assert two.only("DNS") == "a.example"
    for kind in ("CN", "URI", "nonsense"):
        with pytest.raises(failures.IdentityRefused, match="a caller has one name") as caught:
            two.only(kind)
        assert kind in caught.value.problem


def test_nobody_has_no_identity() -> None:
    """What is no certificate is refused with its rule, not with an AttributeError: a server may hand out None."""
    given: Any
    for given in (None, "alice", b"", 7, object()):
        for read in (Identity.of, spiffe_id):
            with pytest.raises(failures.IdentityRefused, match=r"no x509\.Certificate"):
                read(given)


def test_what_cannot_be_read_names_nobody(ca: CertificateAuthority) -> None:
    """A subjectAltName with a kind that cryptography does not read is refused whole: nothing is read around it."""
    x400 = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, bytes.fromhex("3002a300"))
    certificate = changed(
        ca, put=(x509.SubjectAlternativeName([x509.DNSName("a")]), False), without=x509.SubjectAlternativeName
    )
    assert "DNS" not in Identity.of(certificate).names
    model = ca.issue("web", CLIENT).certificate
    builder = x509.CertificateBuilder().subject_name(model.subject).issuer_name(model.issuer)
    builder = builder.public_key(model.public_key()).serial_number(1).add_extension(x400, False)
    builder = builder.not_valid_before(model.not_valid_before_utc).not_valid_after(model.not_valid_after_utc)
    unreadable = builder.sign(ca.private_key, hashes.SHA256())
    for read in (Identity.of, spiffe_id):
        with pytest.raises(failures.IdentityRefused, match="cannot be read"):
            read(unreadable)


def test_an_unreadable_name_or_key_names_nobody(ca: CertificateAuthority) -> None:
    """A name in a kind of string that nobody knows, or of bits, or a key on an unknown curve, is refused."""
    der = ca.issue("alice", CLIENT).certificate.public_bytes(Encoding.DER)
    common_name, curve = b"\x06\x03\x55\x04\x03\x0c", b"\x2a\x86\x48\xce\x3d\x03\x01\x07"
    issuer, subject, key = der.find(common_name) + 5, der.rfind(common_name) + 5, der.find(curve) + 7
    odd = [der[:at] + b"\x5e" + der[at + 1 :] for at in (issuer, subject, key)]
    for damaged in (*odd, der.replace(b"\x0c\x05alice", b"\x03\x05\0lice")):
        with pytest.raises(failures.IdentityRefused, match="cannot be read"):
            Identity.of(x509.load_der_x509_certificate(damaged))


def test_an_identity_shows_no_control_characters(ca: CertificateAuthority) -> None:
    """A name that holds a line break or an escape cannot forge a line of a log that prints the identity."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice\n\x1b[31mroot")])
    model = ca.issue("web", CLIENT).certificate
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(model.issuer).public_key(model.public_key())
    builder = builder.serial_number(1).not_valid_before(model.not_valid_before_utc)
    certificate = builder.not_valid_after(model.not_valid_after_utc).sign(ca.private_key, hashes.SHA256())
    assert repr(Identity.of(certificate)).isprintable()


# --- SPIFFE ---------------------------------------------------------------------------------------


GOOD_IDS = [
    WEB,
    "spiffe://lab.example/a/b/c",
    "spiffe://10.0.0.1/web",
    "spiffe://under_score-1.example/A.b_c-d",
    "spiffe://lab.example/...",
    "spiffe://lab.example/.a",
    f"spiffe://{'a' * 255}/web",
    f"{WEB}/{'x' * (2048 - len(WEB) - 1)}",
]


def test_a_spiffe_id_of_a_leaf(ca: CertificateAuthority) -> None:
    """Every form that SPIFFE-ID §2 allows is returned as it is written."""
    assert [spiffe_id(changed(ca, names=[x509.UniformResourceIdentifier(uri)])) for uri in GOOD_IDS] == GOOD_IDS


CROOKED = {
    "https://lab.example/web": "SPIFFE-ID §2",
    "SPIFFE://lab.example/web": "SPIFFE-ID §2",
    "spiffe:lab.example/web": "SPIFFE-ID §2",
    "spiffe:/lab.example/web": "SPIFFE-ID §2",
    " spiffe://lab.example/web": "SPIFFE-ID §2",
    "spiffe:///web": "SPIFFE-ID §2.1",
    "spiffe://": "SPIFFE-ID §2.1",
    "spiffe://lab.example": "X509-SVID §3.1",
    "spiffe://lab.example/": "X509-SVID §3.1",
    "spiffe://Lab.example/web": "SPIFFE-ID §2.1",
    "spiffe://lab.example:443/web": "SPIFFE-ID §2.1",
    "spiffe://lab.example:/web": "SPIFFE-ID §2.1",
    "spiffe://alice@lab.example/web": "SPIFFE-ID §2.1",
    "spiffe://@lab.example/web": "SPIFFE-ID §2.1",
    "spiffe://lab%2eexample/web": "SPIFFE-ID §2.1",
    "spiffe://[::1]/web": "SPIFFE-ID §2.1",
    "spiffe://l\\b/web": "SPIFFE-ID §2.1",
    "spiffe://lab.example/web/": "SPIFFE-ID §2.2",
    "spiffe://lab.example//web": "SPIFFE-ID §2.2",
    "spiffe://lab.example/a/./b": "SPIFFE-ID §2.2",
    "spiffe://lab.example/a/../b": "SPIFFE-ID §2.2",
    "spiffe://lab.example/..": "SPIFFE-ID §2.2",
    "spiffe://lab.example/%77eb": "SPIFFE-ID §2.2",
    "spiffe://lab.example/a b": "SPIFFE-ID §2.2",
    "spiffe://lab.example/a:b": "SPIFFE-ID §2.2",
    "spiffe://lab.example/web\n": "SPIFFE-ID §2.2",
    "spiffe://lab.example/web\x00": "SPIFFE-ID §2.2",
    "spiffe://lab.example/web?x=1": "SPIFFE-ID §2",
    "spiffe://lab.example/web?": "SPIFFE-ID §2",
    "spiffe://lab.example/web#x": "SPIFFE-ID §2",
    f"spiffe://{'a' * 256}/web": "SPIFFE-ID §2.3",
    f"{WEB}/{'x' * 2048}": "SPIFFE-ID §2.3",
}


def test_a_crooked_id_is_refused_with_its_rule(ca: CertificateAuthority) -> None:
    """What SPIFFE-ID §2 rules out is refused, and the error names the section."""
    by_uri = {uri: changed(ca, names=[x509.UniformResourceIdentifier(uri)]) for uri in CROOKED}
    assert {uri: rule_broken(spiffe_id, certificate) for uri, certificate in by_uri.items()} == CROOKED


NO_LEAF: dict[str, tuple[dict[str, Any], str]] = {
    "no URI": ({"names": [x509.DNSName("a.example")]}, "X509-SVID §2"),
    "no SAN": ({"without": x509.SubjectAlternativeName}, "X509-SVID §2"),
    "two IDs": ({"names": [x509.UniformResourceIdentifier(WEB)] * 2}, "X509-SVID §2"),
    "another URI beside": (
        {"names": [x509.UniformResourceIdentifier(WEB), x509.UniformResourceIdentifier("urn:a:b")]},
        "X509-SVID §2",
    ),
    "no subject, SAN not critical": ({"subject": ""}, "X509-SVID §3.1"),
    "a CA": ({"put": (x509.BasicConstraints(True, None), True)}, "X509-SVID §4.1"),
    "no keyUsage": ({"without": x509.KeyUsage}, "X509-SVID §4.3"),
    "keyUsage not critical": ({"put": (usage("digital_signature"), False)}, "X509-SVID §4.3"),
    "keyCertSign": ({"put": (usage("digital_signature", "key_cert_sign"), True)}, "X509-SVID §4.3"),
    "cRLSign": ({"put": (usage("digital_signature", "crl_sign"), True)}, "X509-SVID §4.3"),
    "no digitalSignature": ({"put": (usage("key_agreement"), True)}, "X509-SVID §4.3"),
    "for clients alone": ({"put": (x509.ExtendedKeyUsage(BOTH[1:]), False)}, "X509-SVID §4.4"),
    "for servers alone": ({"put": (x509.ExtendedKeyUsage(BOTH[:1]), False)}, "X509-SVID §4.4"),
}


def test_what_is_no_leaf_svid_is_refused_with_its_rule(ca: CertificateAuthority) -> None:
    """Each MUST of X509-SVID §2 to §4 for a leaf is held, and the error names the section."""
    found = {name: rule_broken(spiffe_id, changed(ca, **change)) for name, (change, _) in NO_LEAF.items()}
    assert found == {name: rule for name, (_, rule) in NO_LEAF.items()}


def test_what_a_leaf_may_have_besides(ca: CertificateAuthority) -> None:
    """Other kinds of names, no extendedKeyUsage, more usages, and no subject with a critical SAN are all allowed."""
    uri = x509.UniformResourceIdentifier(WEB)
    for change in (
        {"names": [x509.DNSName("web.example"), uri, x509.RFC822Name("a@example.org")]},
        {"without": x509.ExtendedKeyUsage},
        {"put": (usage("digital_signature", "key_encipherment", "key_agreement"), True)},
        {"subject": "", "critical_names": True},
        {"put": (x509.ExtendedKeyUsage([*BOTH, ExtendedKeyUsageOID.CODE_SIGNING]), True)},
    ):
        assert spiffe_id(changed(ca, **change)) == WEB


def test_a_signer_names_a_trust_domain_and_no_caller(ca: CertificateAuthority) -> None:
    """A signing certificate's ID has no path (X509-SVID §3.2), and it authenticates nobody; a leaf signs nothing."""
    signer = ca.issue("lab", ISSUING_CA, names=["spiffe://lab.example"]).certificate
    assert spiffe_id(signer, signer=True) == "spiffe://lab.example"
    cases = (
        (signer, False, "X509-SVID §4.1"),
        (ca.issue("lab", ISSUING_CA, names=[WEB]).certificate, True, "X509-SVID §3.2"),
        (ca.issue("lab", ISSUING_CA, names=["spiffe://lab.example/"]).certificate, True, "X509-SVID §3.2"),
        (ca.issue("web", WORKLOAD, names=[WEB]).certificate, True, "X509-SVID §3.2"),
    )
    for certificate, as_signer, rule in cases:
        assert rule_broken(spiffe_id, certificate, signer=as_signer) == rule
