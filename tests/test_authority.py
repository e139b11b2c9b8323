"""The CA decides, the CSR asks: what a certificate holds, and which requests are refused."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from given import LOCALHOST
from mtlslab import CertificateAuthority, Credential, Server, errors, new_csr, new_private_key, request
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import KeyType, PrivateKey, certificate_pem, signature_hash
from mtlslab.profiles import CLIENT, ISSUING_CA, ROOT, SERVER, Profile

OID = ExtensionOID
FIVE_MINUTES = timedelta(minutes=5)


def usage(*set_bits: str) -> x509.KeyUsage:
    """Make a keyUsage with these bits."""
    bits = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    everything = {bit: bit in set_bits for bit in bits.split()}
    return x509.KeyUsage(**everything, encipher_only=False, decipher_only=False)


def asking(
    *extensions: x509.ExtensionType, key: PrivateKey | dsa.DSAPrivateKey | None = None, name: str = "client"
) -> x509.CertificateSigningRequest:
    """Make a CSR that asks for extensions, as anyone can with openssl."""
    key = key or new_private_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = hashes.SHA256() if isinstance(key, dsa.DSAPrivateKey) else signature_hash(key)
    return builder.sign(key, algorithm)


def raw(oid: x509.ObjectIdentifier, der: bytes) -> x509.UnrecognizedExtension:
    """Make an extension of any bytes."""
    return x509.UnrecognizedExtension(oid, der)


def patched(old: bytes, new: bytes, *extensions: x509.ExtensionType) -> x509.CertificateSigningRequest:
    """Make a CSR with some bytes changed, and signed only then, so that the signature holds."""
    key = ed25519.Ed25519PrivateKey.generate()
    csr = asking(*extensions, key=key)
    before = csr.tbs_certrequest_bytes
    after = before.replace(old, new)
    assert after != before
    der = csr.public_bytes(serialization.Encoding.DER).replace(before, after)
    return x509.load_der_x509_csr(der[:-64] + key.sign(after))


LOCALHOST_SAN = x509.SubjectAlternativeName([x509.DNSName("localhost")])


# --- what a certificate holds ---------------------------------------------------------------------


def test_only_key_subject_and_names_are_taken_from_a_csr(ca: CertificateAuthority) -> None:
    """Whatever else a CSR asks for does not get into the certificate, not even harmless things."""
    csr = asking(
        LOCALHOST_SAN,
        usage("digital_signature", "key_encipherment", "content_commitment"),
        x509.BasicConstraints(ca=False, path_length=None),
        x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.1"), None)]),
        x509.OCSPNoCheck(),
        x509.SubjectKeyIdentifier(b"chosen by the asker."),
        raw(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00"),
        raw(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), b"\x03\x02\x00\x04"),  # Netscape's "may be a CA"
    )
    certificate = ca.sign(csr, SERVER)
    assert certificate.public_key() == csr.public_key()
    assert certificate.subject == csr.subject
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).value == LOCALHOST_SAN
    assert {extension.oid for extension in extensions} == {
        OID.BASIC_CONSTRAINTS,
        OID.KEY_USAGE,
        OID.EXTENDED_KEY_USAGE,
        OID.SUBJECT_KEY_IDENTIFIER,
        OID.AUTHORITY_KEY_IDENTIFIER,
        OID.SUBJECT_ALTERNATIVE_NAME,
    }
    assert extensions.get_extension_for_class(x509.KeyUsage).value == usage("digital_signature")
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == own


@dataclass(frozen=True)
class Holds:
    """What a certificate of one profile must hold."""

    profile: Profile
    is_ca: bool
    path_length: int | None
    usage: x509.KeyUsage
    purposes: list[x509.ObjectIdentifier] | None


SIGNS = usage("key_cert_sign", "crl_sign")
HOLDS = [
    Holds(ROOT, True, None, SIGNS, None),
    Holds(ISSUING_CA, True, 0, SIGNS, None),
    Holds(SERVER, False, None, usage("digital_signature"), [ExtendedKeyUsageOID.SERVER_AUTH]),
    Holds(CLIENT, False, None, usage("digital_signature"), [ExtendedKeyUsageOID.CLIENT_AUTH]),
]


def test_a_profile_decides_what_a_certificate_may_do(ca: CertificateAuthority) -> None:
    """Each kind of certificate has its CA flag, key usages and purposes, marked as RFC 5280 wants, and no others."""
    for holds in HOLDS:
        certificate = ca.certificate if holds.profile is ROOT else ca.sign(asking(LOCALHOST_SAN), holds.profile)
        extensions = certificate.extensions
        assert certificate.version is x509.Version.v3
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        assert constraints == x509.BasicConstraints(holds.is_ca, holds.path_length), holds.profile
        assert extensions.get_extension_for_class(x509.KeyUsage).value == holds.usage, holds.profile
        if holds.purposes is None:
            assert OID.EXTENDED_KEY_USAGE not in {extension.oid for extension in extensions}, holds.profile
        else:
            assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == holds.purposes
        critical = {extension.oid for extension in extensions if extension.critical}
        assert critical == {OID.BASIC_CONSTRAINTS, OID.KEY_USAGE}, holds.profile


def test_key_identifiers_lead_from_a_certificate_to_its_issuer(ca: CertificateAuthority) -> None:
    """A certificate's authorityKeyIdentifier is its issuer's subjectKeyIdentifier, and a root's is its own."""
    issuing = ca.create_issuing_ca("issuing")
    leaf = issuing.issue("client", CLIENT).certificate
    for issued, issuer in ((leaf, issuing.certificate), (issuing.certificate, ca.certificate), (ca.certificate,) * 2):
        authority = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        subject = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert authority.key_identifier == subject.digest
        assert authority.authority_cert_issuer is None
        issued.verify_directly_issued_by(issuer)


def test_serial_numbers_are_random_and_short_enough(ca: CertificateAuthority) -> None:
    """RFC 5280 §4.1.2.2: positive, 20 octets at most, and no two alike."""
    serials = [ca.sign(asking(), CLIENT).serial_number for _ in range(30)]
    assert len(set(serials)) == len(serials)
    assert all(0 < serial < 1 << 159 for serial in serials)
    assert max(serials) > 1 << 140


def test_an_empty_subject_makes_the_names_critical(ca: CertificateAuthority) -> None:
    """RFC 5280 §4.2.1.6: where there is no subject, the subjectAltName is critical."""
    certificate = ca.sign(asking(LOCALHOST_SAN, name=""), SERVER)
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_issue_makes_a_whole_credential(ca: CertificateAuthority) -> None:
    """`issue` returns a key, its certificate with the names asked for, and what leads to the root."""
    issuing = ca.create_issuing_ca("issuing")
    credential = issuing.issue("localhost", SERVER, names=[*LOCALHOST, "spiffe://example.org/web"])
    assert credential.certificate.public_key() == credential.private_key.public_key()
    assert credential.chain == (issuing.certificate,)
    assert ca.issue("client", CLIENT).chain == ()
    san = credential.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in san] == [*LOCALHOST, "spiffe://example.org/web"]


def test_every_client_has_a_name_that_others_can_read(ca: CertificateAuthority) -> None:
    """A client that asks for no name has its own in a URI: gRPC reads those, DNS names and e-mail addresses only."""
    san = x509.SubjectAlternativeName
    names = {"client": "client", "Alice Smith": "Alice%20Smith", "\u0430lice": "%D0%B0lice", "a#b?%": "a%23b%3F%25"}
    for name, written in names.items():
        certificate = ca.issue(name, CLIENT).certificate
        shown = list(certificate.extensions.get_extension_for_class(san).value)
        assert shown == [x509.UniformResourceIdentifier(f"https://callers.example/{written}")]
    issuing = ca.issue("issuing", ISSUING_CA).certificate
    assert OID.SUBJECT_ALTERNATIVE_NAME not in {extension.oid for extension in issuing.extensions}


def test_a_subject_that_is_more_than_a_common_name_is_its_own_san(ca: CertificateAuthority) -> None:
    """One organisation's alice is not another's, and `..` is no end of a URI: such a subject stands whole."""
    key = new_private_key()
    for subject in ("CN=alice,O=Example", "O=Example", "CN=alice,CN=admin", "CN=.."):
        name = x509.Name.from_rfc4514_string(subject)
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        san = ca.sign(request, CLIENT).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(san) == [x509.DirectoryName(name)]


# --- validity -------------------------------------------------------------------------------------


def test_validity_has_slack_and_is_in_utc(ca: CertificateAuthority) -> None:
    """A certificate begins five minutes ago, so that a slow clock accepts it, and lasts the days asked for."""
    before = datetime.now(UTC).replace(microsecond=0)
    certificate = ca.sign(asking(), CLIENT, days=30)
    after = datetime.now(UTC)
    assert before - FIVE_MINUTES <= certificate.not_valid_before_utc <= after - FIVE_MINUTES
    assert before <= certificate.not_valid_after_utc - timedelta(days=30) <= after


def test_no_certificate_outlives_its_issuer() -> None:
    """However many days are asked for, a certificate ends with its CA's, all the way down."""
    ca = CertificateAuthority.create("short-lived", days=3)
    issuing = ca.create_issuing_ca("issuing", days=3650)
    leaf = issuing.sign(asking(), CLIENT, days=3650)
    assert leaf.not_valid_after_utc == issuing.certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc


def test_a_lifetime_is_a_sensible_number_of_days(ca: CertificateAuthority) -> None:
    """Anything but a whole number of days that ends before the year 10000 is refused: of a root, a leaf or a list."""
    days: Any
    for days in (0, -1, 3_000_000, 10**10, 10**30, 1.5, "365", None, float("nan"), True):
        for use in (
            partial(CertificateAuthority.create, "root"),
            partial(ca.issue, "client", CLIENT),
            partial(ca.crl, []),
        ):
            with pytest.raises(errors.CannotIssue, match="days="):
                use(days=days)


def test_the_start_can_be_chosen(ca: CertificateAuthority) -> None:
    """`not_before` is taken as it is, in whichever time zone it is given."""
    in_tokyo = datetime(2020, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    certificate = ca.sign(asking(), CLIENT, days=1, not_before=in_tokyo)
    assert certificate.not_valid_before_utc == datetime(2020, 1, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc == datetime(2020, 1, 2, tzinfo=UTC)


def test_an_impossible_start_is_refused(ca: CertificateAuthority) -> None:
    """A start without a time zone, outside X.509's years, or after the CA's own end is refused."""
    for not_before, says in (
        (datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001
        (datetime(1900, 1, 1, tzinfo=UTC), "1950"),
        (datetime(9999, 12, 31, tzinfo=UTC), "9999"),
        (datetime(2999, 1, 1, tzinfo=UTC), "ends before"),
    ):
        with pytest.raises(errors.CannotIssue, match=says):
            ca.sign(asking(), CLIENT, not_before=not_before)


def test_an_expired_ca_signs_nothing(ca: CertificateAuthority) -> None:
    """A CA whose certificate has ended refuses, even within the slack for clocks."""
    key = new_private_key()
    for ended in (timedelta(days=2), timedelta(minutes=1)):
        began = datetime.now(UTC) - ended - timedelta(days=1)
        expired = CertificateAuthority(ca.sign(new_csr(key, "old"), ISSUING_CA, days=1, not_before=began), key)
        with pytest.raises(errors.CannotIssue, match="create a new CA"):
            expired.issue("client", CLIENT)


# --- who may sign ---------------------------------------------------------------------------------


def test_an_issuing_ca_makes_no_further_cas(ca: CertificateAuthority) -> None:
    """The pathLenConstraint 0 is kept by the CA itself, not only by those who verify."""
    issuing = ca.create_issuing_ca("issuing")
    with pytest.raises(errors.CannotIssue, match="pathLenConstraint"):
        issuing.create_issuing_ca("third")


def test_a_root_is_not_signed_by_another(ca: CertificateAuthority) -> None:
    """The ROOT profile is for `create` alone: under another CA its path length would be unlimited."""
    with pytest.raises(errors.CannotIssue, match="ISSUING_CA"):
        ca.sign(asking(), ROOT)


def test_a_leaf_is_no_ca(client_credential: Credential) -> None:
    """A client's certificate and key do not make a CA."""
    with pytest.raises(errors.CannotIssue, match="CA:TRUE"):
        CertificateAuthority(client_credential.certificate, client_credential.private_key)


def test_a_ca_needs_its_own_key(ca: CertificateAuthority) -> None:
    """A CA certificate with another's key is refused at once, not at the first signature."""
    with pytest.raises(errors.KeyMismatch):
        CertificateAuthority(ca.certificate, new_private_key())


def test_a_ca_survives_saving_and_loading(ca: CertificateAuthority, tmp_path: Path) -> None:
    """A CA read back signs as before, and an issuing CA's chain is still there."""
    issuing = ca.create_issuing_ca("issuing")
    for number, made in enumerate((ca, issuing)):
        made.save(tmp_path / str(number))
        loaded = CertificateAuthority.load(tmp_path / str(number))
        assert (loaded.certificate, loaded.chain) == (made.certificate, made.chain)
        loaded.issue("client", CLIENT).certificate.verify_directly_issued_by(made.certificate)


def test_a_ca_never_shows_its_key(ca: CertificateAuthority) -> None:
    """A CA's text is its name."""
    assert repr(ca) == "<CertificateAuthority CN=example-ca>"


def test_an_issuing_ca_may_bear_its_roots_name(ca: CertificateAuthority, tmp_path: Path) -> None:
    """What makes a root is that it signed itself: a namesake below it keeps its chain when it is read back."""
    issuing = ca.create_issuing_ca("example-ca")
    issuing.save(tmp_path)
    assert CertificateAuthority.load(tmp_path).chain == issuing.chain == (issuing.certificate,)


def test_a_ca_that_cannot_be_read_is_refused(ca: CertificateAuthority) -> None:
    """A CA certificate with a malformed extension is refused with an error of ours."""
    own = ca.certificate
    builder = x509.CertificateBuilder().subject_name(own.subject).issuer_name(own.subject).serial_number(1)
    builder = builder.public_key(ca.private_key.public_key()).not_valid_before(own.not_valid_before_utc)
    builder = builder.not_valid_after(own.not_valid_after_utc)
    for extension in (OID.BASIC_CONSTRAINTS, OID.KEY_USAGE, OID.SUBJECT_KEY_IDENTIFIER):
        odd = builder.add_extension(raw(extension, b"garbage"), critical=False).sign(ca.private_key, hashes.SHA256())
        with pytest.raises(errors.CannotIssue, match="CN=example-ca has extensions that cannot be read"):
            CertificateAuthority(odd, ca.private_key)


# --- revocation lists -----------------------------------------------------------------------------


def test_a_list_says_who_is_revoked(ca: CertificateAuthority) -> None:
    """A list names its issuer and the revoked, counts for the days asked for, and is signed; a later one is greater."""
    revoked = [ca.issue(f"client-{number}", CLIENT).certificate for number in range(2)]
    before = datetime.now(UTC).replace(microsecond=0)
    empty, full = ca.crl([]), ca.crl(revoked, days=3)
    assert [entry.serial_number for entry in full] == [certificate.serial_number for certificate in revoked]
    assert list(empty) == []
    own = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for crl, days in ((empty, 7), (full, 3)):
        assert crl.issuer == ca.certificate.subject
        assert crl.is_signature_valid(cast("ec.EllipticCurvePublicKey", ca.certificate.public_key()))
        assert crl.next_update_utc is not None
        assert crl.last_update_utc <= before <= crl.next_update_utc - timedelta(days=days) <= datetime.now(UTC)
        authority = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert authority.key_identifier == own.digest
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in (empty, full)]
    assert numbers[0] < numbers[1]


def test_a_list_is_of_this_cas_own_certificates(ca: CertificateAuthority) -> None:
    """A certificate of another CA is refused, be it a namesake's or an issuing CA's below."""
    for other in (CertificateAuthority.create("example-ca"), ca.create_issuing_ca("issuing")):
        with pytest.raises(errors.CannotIssue, match="CN=client was not issued by this CA"):
            ca.crl([ca.issue("mine", CLIENT).certificate, other.issue("client", CLIENT).certificate])


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl on the PATH")
@pytest.mark.parametrize("kind", ["ec-p256", "rsa-2048", "ed25519"])
def test_openssl_refuses_who_is_on_the_list(kind: KeyType, tmp_path: Path) -> None:
    """Strict, `openssl verify` takes our lists, refuses the revoked and accepts the others, whatever the CA's key."""
    ca = CertificateAuthority.create("example-ca", key_type=kind)
    clients = {name: ca.issue(name, CLIENT).certificate for name in ("good.pem", "revoked.pem")}
    for name, certificate in (*clients.items(), ("root.pem", ca.certificate)):
        (tmp_path / name).write_bytes(certificate_pem(certificate))
    for listed in ([], [clients["revoked.pem"]]):
        (tmp_path / "list.pem").write_bytes(ca.crl(listed).public_bytes(serialization.Encoding.PEM))
        command = "openssl verify -x509_strict -crl_check_all -CAfile root.pem -CRLfile list.pem good.pem revoked.pem"
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert re.findall(r"^(\w+\.pem): OK$", done.stdout, re.MULTILINE) == list(clients)[: 1 if listed else 2], (
            done.stderr
        )
        assert ("certificate revoked" in done.stderr) == bool(listed)


# --- which requests are refused -------------------------------------------------------------------

EKU = x509.ExtendedKeyUsage
WISHES: list[tuple[str, Profile, x509.ExtensionType]] = [
    ("wants-ca", CLIENT, x509.BasicConstraints(ca=True, path_length=None)),
    ("wants-ca", SERVER, x509.BasicConstraints(ca=True, path_length=0)),
    ("wants-ca", CLIENT, usage("digital_signature", "key_cert_sign")),
    ("wants-ca", CLIENT, usage("crl_sign")),
    ("wants-purpose", CLIENT, EKU([ExtendedKeyUsageOID.SERVER_AUTH])),
    ("wants-purpose", CLIENT, EKU([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])),
    ("wants-purpose", CLIENT, EKU([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])),
    ("wants-purpose", CLIENT, EKU([ExtendedKeyUsageOID.CODE_SIGNING])),
    ("wants-purpose", SERVER, EKU([ExtendedKeyUsageOID.CLIENT_AUTH])),
    ("wants-purpose", SERVER, EKU([x509.ObjectIdentifier("1.3.6.1.4.1.55555.2")])),
]


def refused(ca: CertificateAuthority, csr: x509.CertificateSigningRequest, profile: Profile) -> errors.CSRRefused:
    """Return the error by which a CSR is refused."""
    with pytest.raises(errors.CSRRefused) as caught:
        ca.sign(csr, profile)
    return caught.value


def test_a_wish_beyond_the_profile_is_refused(ca: CertificateAuthority) -> None:
    """A CSR that asks to be a CA, or for another purpose than its profile's, is not signed at all."""
    for reason, profile, wish in WISHES:
        error = refused(ca, asking(LOCALHOST_SAN, wish), profile)
        assert error.reason == reason, wish
        assert profile.name in error.detail
        assert "for to " not in error.detail


def test_asking_for_what_the_profile_gives_is_fine(ca: CertificateAuthority) -> None:
    """A CSR may ask for exactly what it gets."""
    for profile in (SERVER, CLIENT):
        ca.sign(asking(LOCALHOST_SAN, x509.BasicConstraints(False, None), EKU(profile.extended_key_usage)), profile)


WEAK_KEYS: dict[str, Callable[[], PrivateKey | dsa.DSAPrivateKey]] = {
    "RSA of 1536 bits": lambda: rsa.generate_private_key(65537, 1536),
    "curve of 224 bits": lambda: ec.generate_private_key(ec.SECP224R1()),
    "DSA": lambda: dsa.generate_private_key(1024),
}


def test_a_weak_key_is_refused(ca: CertificateAuthority) -> None:
    """Keys below 2048 bits of RSA or 256 bits of a curve, and kinds that TLS 1.3 does not know, are refused."""
    for kind, make in WEAK_KEYS.items():
        error = refused(ca, asking(key=make()), CLIENT)
        assert error.reason == "weak-key", kind
        assert kind in str(error)


def test_a_larger_curve_is_fine(ca: CertificateAuthority) -> None:
    """P-384 and P-521 are strong enough."""
    for curve in (ec.SECP384R1(), ec.SECP521R1()):
        ca.sign(asking(key=ec.generate_private_key(curve)), CLIENT)


def test_a_csr_proves_possession(ca: CertificateAuthority) -> None:
    """A CSR changed after it was signed, or with another's public key, is refused (RFC 2986 §3)."""
    key, stolen = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    der = asking(name="mallory", key=key).public_bytes(serialization.Encoding.DER)
    swapped = der.replace(key.public_key().public_bytes_raw(), stolen.public_key().public_bytes_raw())
    for changed in (der.replace(b"mallory", b"alice.."), der[:-1] + bytes([der[-1] ^ 1]), swapped):
        assert refused(ca, x509.load_der_x509_csr(changed), CLIENT).reason == "bad-signature"


def names(*general_names: x509.GeneralName) -> x509.SubjectAlternativeName:
    """Make a subjectAltName."""
    return x509.SubjectAlternativeName(general_names)


def uri(text: str) -> x509.SubjectAlternativeName:
    """Make a subjectAltName of one URI, without the checks of `new_csr`."""
    return names(x509.UniformResourceIdentifier(text))


SAN = OID.SUBJECT_ALTERNATIVE_NAME
BAD_NAMES: dict[str, Callable[[], x509.CertificateSigningRequest]] = {
    "a slash in the subject": lambda: asking(name="a/b"),
    "a control character in the subject": lambda: asking(name="a\nb"),
    "a subject that is no UTF-8": lambda: patched(b"\x0c\x06client", b"\x0c\x06" + b"\xff\xfeient"),
    "a subject that is a BIT STRING": lambda: patched(b"\x0c\x06client", b"\x03\x06\0lient"),
    "a space in a host": lambda: asking(names(x509.DNSName("local host"))),
    "a wildcard in the middle": lambda: asking(names(x509.DNSName("a.*.example.com"))),
    "a wildcard for a whole domain": lambda: asking(names(x509.DNSName("*.com"))),
    "a null byte in a host": lambda: asking(names(x509.DNSName("localhost\0.example.org"))),
    "an e-mail address": lambda: asking(names(x509.RFC822Name("a@example.org"))),
    "a directory name": lambda: asking(names(x509.DirectoryName(x509.Name([])))),
    "a network": lambda: asking(names(x509.IPAddress(ip_network("10.0.0.0/8")))),
    "an address of five bytes": lambda: asking(raw(SAN, b"\x30\x07\x87\x05\x7f\x00\x00\x01\x00")),
    "a URI with a space": lambda: asking(uri("spiffe://example.org/a b")),
    "a URI without a scheme": lambda: asking(uri("//example.org")),
    "a URI with a line break": lambda: asking(uri("spiffe://example.org/\r\nx")),
    "names that are no names": lambda: asking(raw(SAN, b"garbage")),
    "a host that is no text": lambda: asking(raw(SAN, b"\x30\x03\x82\x01\xff")),
    "an ediPartyName": lambda: asking(raw(SAN, b"\x30\x07\xa5\x05\xa1\x03\x0c\x01x")),
    "two subjectAltNames": lambda: patched(
        b"\x55\x1d\x12", b"\x55\x1d\x11", LOCALHOST_SAN, raw(OID.ISSUER_ALTERNATIVE_NAME, b"\x30\x03\x82\x01x")
    ),
    "nobody": lambda: asking(name=""),
    "nobody, in an empty list": lambda: asking(raw(SAN, b"\x30\x00"), name=""),
}


def test_malformed_names_in_a_csr_are_refused(ca: CertificateAuthority) -> None:
    """The CA checks names by itself: a CSR need not come from `new_csr`, nor from an honest asker."""
    for fault, make in BAD_NAMES.items():
        csr = make()
        for profile in (SERVER, CLIENT, ISSUING_CA):
            assert refused(ca, csr, profile).reason in {"bad-name", "bad-request", "no-san"}, (fault, profile.name)


def test_a_rule_for_file_names_is_for_common_names_alone(ca: CertificateAuthority) -> None:
    """Other parts of a subject may hold a slash, and be as long as RFC 5280 says, but not what cannot be seen."""
    key = new_private_key()
    for oid, value in (
        (NameOID.ORGANIZATION_NAME, "A/S Foo"),
        (NameOID.ORGANIZATION_NAME, "名" * 64),
        (NameOID.LOCALITY_NAME, "a" * 128),
    ):
        for text, fine in ((value, True), (value[:-1] + "\u200b", False), (value + "a" * 300, False)):
            name = x509.Name([x509.NameAttribute(oid, text, _validate=False)])
            csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
            if fine:
                assert ca.sign(csr, CLIENT).subject == name
            else:
                assert refused(ca, csr, CLIENT).reason == "bad-name", text


def test_a_server_needs_a_name_that_clients_look_for(ca: CertificateAuthority) -> None:
    """A server without a DNS name or an IP address in its SAN is refused: RFC 9525 §2 leaves the common name out."""
    for csr in (asking(), asking(raw(SAN, b"\x30\x00")), asking(uri("spiffe://example.org/x"))):
        error = refused(ca, csr, SERVER)
        assert error.reason == "no-san"
        assert "names=" in str(error)


def test_an_issuing_ca_needs_a_subject(ca: CertificateAuthority) -> None:
    """RFC 5280 §4.1.2.6: a CA's subject is not empty, or its certificates would have no issuer."""
    assert refused(ca, asking(LOCALHOST_SAN, name=""), ISSUING_CA).reason == "bad-name"


def test_an_unreadable_wish_is_refused(ca: CertificateAuthority) -> None:
    """A CSR whose extensions cannot be read is refused, and not signed as if it had none."""
    for oid in (OID.BASIC_CONSTRAINTS, OID.KEY_USAGE, OID.EXTENDED_KEY_USAGE):
        assert refused(ca, asking(raw(oid, b"garbage")), CLIENT).reason == "bad-request", oid


# --- what verifiers say ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """A root, and a server and a client that lead to it, through an issuing CA or directly."""

    root: CertificateAuthority
    server: Credential
    client: Credential
    versions: tuple[TLSVersion, ...]


VERSIONS: dict[KeyType, tuple[TLSVersion, ...]] = {"ec-p256": ("1.2", "1.3"), "rsa-2048": ("1.2",), "ed25519": ("1.3",)}


@pytest.fixture(scope="module", params=VERSIONS)
def families(request: pytest.FixtureRequest) -> list[Family]:
    """With one kind of key: what a root has issued, and with the usual kind what an issuing CA has, too."""
    kind = cast("KeyType", request.param)
    root = CertificateAuthority.create("example-ca", key_type=kind)
    issuers = (root, root.create_issuing_ca("issuing-ca")) if kind == "ec-p256" else (root,)
    families = []
    for issuer in issuers:
        server = issuer.issue("localhost", SERVER, names=LOCALHOST, key_type=kind)
        csr = new_csr(server.private_key, "client", ["client.example.org"])  # another RSA key would take a while
        client = Credential(issuer.sign(csr, CLIENT), server.private_key, issuer.chain)
        families.append(Family(root, server, client, VERSIONS[kind]))
    return families


def test_strict_handshakes_accept_our_certificates(families: list[Family], tmp_path: Path) -> None:
    """Both ends of a handshake with VERIFY_X509_STRICT accept what we issue, over TLS 1.2 and 1.3."""
    for number, family in enumerate(families):
        folder = tmp_path / str(number)
        family.root.save(folder)
        certificate, key = family.client.save(folder, "client")
        with Server(family.server, client_ca=family.root.certificate, port=0) as server:
            for version in family.versions:
                answer = request(server.url, cacert=folder / "ca.crt", cert=certificate, key=key, tls_max=version)
                assert (answer.ok, answer.tls_version) == (True, f"TLSv{version}"), answer


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl on the PATH")
def test_openssl_accepts_our_certificates_for_their_purpose_only(families: list[Family], tmp_path: Path) -> None:
    """`openssl verify -x509_strict` accepts each certificate for its purpose, and refuses it for the other."""
    for family in families:
        (tmp_path / "root.pem").write_bytes(certificate_pem(family.root.certificate))
        (tmp_path / "chain.pem").write_bytes(b"".join(map(certificate_pem, family.server.chain)))
        for name, credential in (("sslserver", family.server), ("sslclient", family.client)):
            (tmp_path / name).write_bytes(certificate_pem(credential.certificate))
        for asked in ("sslserver", "sslclient"):
            command = ["openssl", "verify", "-x509_strict", "-purpose", asked, "-CAfile", "root.pem"]
            command += ["-untrusted", "chain.pem"] if family.server.chain else []
            command += ["sslserver", "sslclient"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert re.findall(r"^(\w+): OK$", done.stdout, re.MULTILINE) == [asked], done.stderr


def test_cryptography_accepts_our_certificates(families: list[Family]) -> None:
    """The verifier of `cryptography` accepts both, unless their keys are Ed25519, which the web forbids."""
    for family in families:
        policy = verification.PolicyBuilder().store(verification.Store([family.root.certificate]))
        server = policy.build_server_verifier(x509.DNSName("localhost"))
        if isinstance(family.server.private_key, ed25519.Ed25519PrivateKey):
            with pytest.raises(verification.VerificationError, match="Forbidden public key algorithm"):
                server.verify(family.server.certificate, list(family.server.chain))
            continue
        length = 3 if family.server.chain else 2
        assert len(server.verify(family.server.certificate, list(family.server.chain))) == length
        verified = policy.build_client_verifier().verify(family.client.certificate, list(family.client.chain))
        assert verified.subjects == [x509.DNSName("client.example.org")]
        with pytest.raises(verification.VerificationError):
            server.verify(family.client.certificate, list(family.client.chain))
