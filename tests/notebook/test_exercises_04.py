"""The checkers of notebook 04 try verifiers on chains, and authorities on requests, that they have not seen."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mtlslab import CertificateAuthority, Credential
from mtlslab.credentials import certificate_pem, new_private_key
from mtlslab.faults.minting import altered
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import judges
from mtlslab.notebook.exercises.page_04 import CLIENT_AUTH, SERVER_AUTH
from mtlslab.profiles import ISSUING_CA, SERVER

OTHERS: list[Any] = [0, "", "ca.crt", b"", [], {}, object(), Path("ca.crt"), lambda: None, int, mock.ANY, mock.Mock()]
CA = CertificateAuthority.create("example-ca", key_type="rsa-2048")


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the notebook."""
    monkeypatch.chdir(tmp_path)
    CA.save("lab-04")


# A verifier of chains

Asked = tuple[list[x509.Certificate], list[x509.Certificate], x509.ObjectIdentifier, str | None, datetime]


def signed(one: x509.Certificate, issuer: x509.Certificate, flag: bool = True) -> bool:
    """Whether one key signed the other's certificate, and may."""
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, InvalidSignature):
        return False
    return not flag or issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def names(leaf: x509.Certificate) -> list[str]:
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return san.get_values_for_type(x509.DNSName)


def wants_a_san(chain: list[x509.Certificate], *_: Any) -> bool:
    """The solution as it once was: it does not expect a leaf without one."""
    return bool(chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName))


def values(leaf: x509.Certificate) -> list[str]:
    sans = [one.value for one in leaf.extensions if isinstance(one.value, x509.SubjectAlternativeName)]
    return [str(name.value) for san in sans for name in san]


def ec_signed(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    return isinstance(issuer.public_key(), ec.EllipticCurvePublicKey) and signed(one, issuer)


def ec_links(chain: list[x509.Certificate], *_: Any) -> bool:
    return all(ec_signed(one, issuer) for one, issuer in pairwise(chain))


def ec_end(chain: list[x509.Certificate], roots: list[x509.Certificate], *_: Any) -> bool:
    return any(ec_signed(chain[-1], root) for root in roots)


QUESTIONS: dict[str, Callable[..., bool]] = {
    "links": lambda chain, *_: all(signed(one, issuer) for one, issuer in pairwise(chain)),
    "end": lambda chain, roots, *_: any(signed(chain[-1], root) for root in roots),
    "dates": lambda chain, *asked: all(c.not_valid_before_utc <= asked[-1] <= c.not_valid_after_utc for c in chain),
    "purpose": lambda chain, _, purpose, *__: (
        purpose in chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    ),
    "host": lambda chain, *asked: asked[2] is None or asked[2] in names(chain[0]),
}


def verifier(**changed: Callable[..., bool]) -> Callable[..., bool]:
    """The solution, with some of its questions asked otherwise."""
    return lambda *asked: all(question(*asked) for question in (QUESTIONS | changed).values())


def yes(*_: Any) -> bool:
    return True


def by_the_library(*asked: Any) -> bool:
    """Another right one."""
    chain, roots, purpose, host, now = asked
    policy = PolicyBuilder().store(Store(roots)).time(now)
    client = purpose == CLIENT_AUTH
    judge: Any = policy.build_client_verifier() if client else policy.build_server_verifier(x509.DNSName(host))
    try:
        return bool(judge.verify(chain[0], chain[1:]))
    except VerificationError:
        return False


def first_root_of_that_name(chain: list[x509.Certificate], roots: list[x509.Certificate], *_: Any) -> bool:
    for root in roots:
        if root.subject == chain[-1].issuer:
            return signed(chain[-1], root)
    return False


def by_name(chain: list[x509.Certificate], roots: list[x509.Certificate], *_: Any) -> bool:
    return chain[-1].issuer in [root.subject for root in roots]


def without_flag(chain: list[x509.Certificate], *_: Any) -> bool:
    return all(signed(one, issuer, flag=False) for one, issuer in pairwise(chain))


def of_today(chain: list[x509.Certificate], *_: Any) -> bool:
    return all(c.not_valid_before_utc <= datetime.now(UTC) <= c.not_valid_after_utc for c in chain)


def by_common_name(chain: list[x509.Certificate], *asked: Any) -> bool:
    cn = chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return asked[2] is None or asked[2] == cn or asked[2] in names(chain[0])


def part_of_a_name(chain: list[x509.Certificate], *asked: Any) -> bool:
    return asked[2] is None or any(asked[2] in name for name in names(chain[0]))


VERIFIERS: dict[str, tuple[Any, str | None]] = {
    "all of it": (verifier(), None),
    "the library": (by_the_library, None),
    "yes": (yes, "says True for a leaf that has ended: a stolen key would be of use for ever"),
    "no": (lambda *_: False, "says False for a server below a root"),
    "nothing": (lambda *_: None, "returns None"),
    "the chain": (lambda chain, *_: chain, "returned list, and not bool"),
    "no links": (verifier(links=yes), "Not yet: your function says True for a leaf"),
    "no flag": (verifier(links=without_flag), "that a server has signed: each server could make others"),
    "no end": (verifier(end=yes), "Not yet: your function says True for a leaf"),
    "the end by name": (verifier(end=by_name), "Not yet: your function says True for a leaf"),
    "the first root of a name": (verifier(end=first_root_of_that_name), "says False for a root that has a namesake"),
    "the first root": (verifier(end=lambda chain, roots, *_: signed(chain[-1], roots[0])), "says False for a server"),
    "no dates": (verifier(dates=yes), "says True for a leaf that has ended"),
    "today's dates": (verifier(dates=of_today), "says False for last year's chain, last year"),
    "the leaf's dates": (
        verifier(dates=lambda chain, *asked: QUESTIONS["dates"](chain[:1], *asked)),
        "below an issuing CA that has ended",
    ),
    "the end's dates": (
        verifier(dates=lambda chain, *asked: all(asked[-1] <= c.not_valid_after_utc for c in chain)),
        "says True for a leaf that has not begun",
    ),
    "no purpose": (verifier(purpose=yes), "a stolen client.key would run a server"),
    "a server's purpose": (
        verifier(purpose=lambda chain, *_: QUESTIONS["purpose"](chain, None, SERVER_AUTH)),
        "says False for a client",
    ),
    "no host": (verifier(host=yes), "says True for a leaf with the host in its common name alone"),
    "the common name": (verifier(host=by_common_name), "the host in its common name alone"),
    "part of a name": (verifier(host=part_of_a_name), "says True for a leaf for longer names"),
    "the first name": (
        verifier(host=lambda c, *a: a[2] in (None, *names(c[0])[:1])),
        "says False for a server below a",
    ),
    "two links": (
        lambda c, *a: len(c) < 3 and verifier()(c, *a),
        "says False for a server below two issuing CAs",
    ),
    "the first link and the end": (
        verifier(links=lambda chain, *_: len(chain) < 2 or signed(*chain[:2])),
        "below an issuing CA that the CA above it did not sign",
    ),
    "the first flag": (
        verifier(links=lambda chain, *_: all(signed(*two, flag=two[0] is chain[0]) for two in pairwise(chain))),
        "below two issuing CAs, the upper of which is no CA",
    ),
    "the end of the CAs' dates": (
        verifier(
            dates=lambda chain, *asked: (
                QUESTIONS["dates"](chain[:1], *asked) and all(asked[-1] <= c.not_valid_after_utc for c in chain)
            )
        ),
        "below an issuing CA that has not begun",
    ),
    "a name of any kind": (
        verifier(host=lambda chain, *asked: asked[2] in (None, *values(chain[0]))),
        "says True for a leaf with the host as a URI",
    ),
    "EC keys": (verifier(links=ec_links, end=ec_end), "Not yet: your function says False for a server"),
    "one link": (lambda c, *a: len(c) == 1 and verifier()(c, *a), "says False for a server below an issuing CA"),
    "servers alone": (lambda *a: a[3].endswith(".example") and verifier()(*a), "raised AttributeError"),
    "wants a SAN": (lambda *a: wants_a_san(*a) and verifier()(*a), "raised ExtensionNotFound"),
    "raises": (lambda *a: verifier()(*a) or 1 / 0, "raised ZeroDivisionError: division by zero in line"),
    "four arguments": (lambda chain, roots, purpose, host: (chain, roots, purpose, host), "raised TypeError"),
    "True": (True, "is wanted itself"),
}


@pytest.mark.parametrize("name", VERIFIERS)
def test_a_verifier_that_leaves_out_a_question_is_shown_whom_it_lets_in(name: str) -> None:
    """Links, end, dates, flag, purpose, host: who asks one wrongly, or not, is told what it would let happen."""
    function, hint = VERIFIERS[name]
    feedback = exercises.verifies_chains(function)
    assert feedback.correct is (hint is None), feedback
    assert (hint or "") in feedback.text


# A CA that must refuse

SERVICE = replace(SERVER, extended_key_usage=(SERVER_AUTH, CLIENT_AUTH))


def checked(csr: x509.CertificateSigningRequest) -> None:
    """The solution's own part: every name is a host below mesh.example."""
    san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    asked = [(x509.DNSName, attribute.value) for attribute in csr.subject] + [(type(n), n.value) for n in san]
    for kind, name in asked:
        if kind is not x509.DNSName or "*" in str(name) or not str(name).endswith(".mesh.example"):
            raise ValueError(f"{name} is no host below mesh.example")


def issue(
    csr: x509.CertificateSigningRequest, profile: Any = SERVICE, ca: CertificateAuthority = CA, **options: Any
) -> Any:
    """The solution."""
    checked(csr)
    return ca.sign(csr, profile, **{"days": 30, **options})


def san_alone(csr: x509.CertificateSigningRequest) -> Any:
    for name in csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ):
        if "*" in name or not name.endswith(".mesh.example"):
            raise ValueError(name)
    return CA.sign(csr, SERVICE, days=30)


def ends_alike(csr: x509.CertificateSigningRequest) -> Any:
    for name in csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value:
        if not name.value.endswith("mesh.example"):
            raise ValueError(name)
    return CA.sign(csr, SERVICE, days=30)


def by_hand(
    csr: x509.CertificateSigningRequest, copy: tuple[type, ...] = (), proven: bool = True, **changed: Any
) -> Any:
    """Another right one, which leaves out what the request wishes for; or copies some of it."""
    checked(csr)
    if proven and not csr.is_signature_valid:
        raise ValueError("no proof of possession")
    key = new_private_key()
    made = CA.sign(
        x509.CertificateSigningRequestBuilder()
        .subject_name(csr.subject)
        .add_extension(csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, False)
        .sign(key, hashes.SHA256()),
        SERVICE,
        days=30,
    )
    identifier = (x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), False)
    put: Any = [identifier, *((e.value, e.critical) for e in csr.extensions if isinstance(e.value, copy))]
    return altered(made, CA.private_key, put=put, public_key=mock.Mock(public_key=csr.public_key), **changed)


def below(name: str) -> bool:
    return "*" not in name and name.endswith(".mesh.example")


def by_rule(
    rule: Callable[[str], bool] = below,
    common: Callable[[list[str]], list[str]] = lambda found: found,
    oids: tuple[x509.ObjectIdentifier, ...] = (),
) -> Callable[[Any], Any]:
    """The solution, with another rule for names, or for some of them alone."""

    def made(csr: x509.CertificateSigningRequest) -> Any:
        san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        subject = [str(one.value) for one in csr.subject if not oids or one.oid in oids]
        asked = [*common(subject), *(str(name.value) for name in san)]
        if not all(isinstance(name, x509.DNSName) for name in san) or not all(map(rule, asked)):
            raise ValueError(asked)
        return CA.sign(csr, SERVICE, days=30)

    return made


def raw(csr: x509.CertificateSigningRequest, name: str = "") -> Any:
    """Certify names as they are, with cryptography alone."""
    checked(csr)
    if not csr.is_signature_valid:
        raise ValueError("no proof of possession")
    name = name or str(next(iter(csr.subject)).value)
    san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    put = [(san, False), (x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), False)]
    model = CA.issue(name, SERVICE, names=["a.mesh.example"]).certificate
    key = mock.Mock(public_key=csr.public_key)
    return altered(model, CA.private_key, put=put, public_key=key, days=(0, 30))


def usage(*given: str) -> x509.KeyUsage:
    every: tuple[str, ...] = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
    )
    every += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: name in given for name in every})


def copies_lists(csr: x509.CertificateSigningRequest) -> Any:
    wished = [e.value for e in csr.extensions if isinstance(e.value, x509.KeyUsage) and not e.value.key_cert_sign]
    return altered(by_hand(csr), CA.private_key, put=[(value, True) for value in wished])


TWO, DAYS = cycle((1, 2)), cycle(range(1, 29))


def numbered(made: x509.Certificate, serial: int) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        made.issuer, made.subject, made.public_key(), serial, made.not_valid_before_utc, made.not_valid_after_utc
    )
    for extension in made.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(CA.private_key, hashes.SHA256())


AT = x509.UniformResourceIdentifier("http://ca.mesh.example/")
LIST = x509.CRLDistributionPoints([x509.DistributionPoint([AT], None, None, None)])
SERVICE_AT = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, AT)])


def again(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda csr: change(issue(csr))


def swallowed(csr: x509.CertificateSigningRequest) -> Any:
    try:
        return issue(csr)
    except ValueError:
        return None


OTHER = CertificateAuthority.create("example-ca")
CAS = replace(SERVICE, ca=True, key_usage=SERVICE.key_usage | ISSUING_CA.key_usage)
EVERYTHING = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.CertificatePolicies)

AUTHORITIES: dict[str, tuple[Any, str | None]] = {
    "refuses": (issue, None),
    "leaves out": (by_hand, None),
    "with an address of its own list": (lambda csr: altered(issue(csr), CA.private_key, put=[(LIST, False)]), None),
    "with an address of its own service": (
        lambda csr: altered(issue(csr), CA.private_key, put=[(SERVICE_AT, False)]),
        None,
    ),
    "the first common name": (by_rule(common=lambda found: found[:1]), "refuse a request for a second common name"),
    "one wildcard": (by_rule(lambda name: name != "*.mesh.example" and name.endswith(".mesh.example")), "a wildcard"),
    "the domain itself": (
        by_rule(lambda name: below(f"a.{name}") and ("." + name).endswith(".mesh.example")),
        "the domain itself",
    ),
    "a name that C cuts short": (raw, "a request for a name with a null byte"),
    "the unit": (by_rule(oids=(NameOID.COMMON_NAME,)), "admins is in the certificate"),
    "a name of its own": (lambda csr: altered(raw(csr, "root"), CA.private_key), "Not yet: "),
    "signs lists": (
        lambda csr: altered(issue(csr), CA.private_key, put=[(usage("digital_signature", "crl_sign"), True)]),
        "could revoke",
    ),
    "copies keyUsage without keyCertSign": (copies_lists, "could revoke"),
    "two serial numbers": (lambda csr: numbered(issue(csr, days=next(DAYS)), next(TWO)), "share a serial number"),
    "a week": (lambda csr: issue(csr, days=7), None),
    "by ca.sign alone": (lambda csr: CA.sign(csr, SERVICE, days=30), "Not yet: it did not refuse a request for"),
    "names of the SAN alone": (san_alone, "Not yet: it did not refuse"),
    "names that end alike": (ends_alike, "Not yet: it did not refuse"),
    "servers only": (lambda csr: issue(csr, SERVER), "shown by a client"),
    "clients only": (lambda csr: issue(csr, replace(SERVER, extended_key_usage=(CLIENT_AUTH,))), "shown by a server"),
    "without a purpose": (
        lambda csr: issue(csr, replace(SERVER, extended_key_usage=())),
        "other purposes than the two",
    ),
    "a CA": (lambda csr: issue(csr, CAS), "a service signed for bank.example"),
    "a year": (lambda csr: issue(csr, days=365), "lives for more than 30 days"),
    "backdated": (lambda csr: by_hand(csr, days=(-60, 29)), "lives for more than 30 days"),
    "another example-ca": (lambda csr: issue(csr, ca=OTHER), "is refused: "),
    "tomorrow": (lambda csr: issue(csr, not_before=datetime.now(UTC) + timedelta(days=1)), "is refused: not-yet-valid"),
    "over": (lambda csr: by_hand(csr, days=(-9, -1)), "is refused: expired"),
    "unproven": (lambda csr: by_hand(csr, proven=False), "nobody has shown to hold the key"),
    "copies everything": (lambda csr: by_hand(csr, EVERYTHING), "Not yet: "),
    "copies the flag": (lambda csr: by_hand(csr, (x509.BasicConstraints, x509.KeyUsage)), "Not yet: "),
    "copies purposes": (lambda csr: by_hand(csr, (x509.ExtendedKeyUsage,)), "Not yet: "),
    "copies policies": (lambda csr: by_hand(csr, (x509.CertificatePolicies,)), "boast of a check that nobody made"),
    "copies the unknown": (lambda csr: by_hand(csr, (x509.UnrecognizedExtension,)), "Not yet: "),
    "no AKI": (lambda csr: by_hand(csr, without=(x509.AuthorityKeyIdentifier,)), "is refused: "),
    "another SAN": (
        lambda csr: (
            by_hand(csr)
            and altered(
                by_hand(csr),
                CA.private_key,
                put=[(x509.SubjectAlternativeName([x509.DNSName("a.mesh.example")]), False)],
            )
        ),
        "is refused: wrong-host",
    ),
    "another key": (
        lambda csr: altered(issue(csr), CA.private_key, public_key=new_private_key()),
        "another key than the",
    ),
    "nobody": (lambda _: 1 / 0, "turns away an honest request: it raised ZeroDivisionError"),
    "None": (swallowed, "Not yet: it did not refuse"),
    "PEM": (again(certificate_pem), "it returned bytes"),
    "a mock": (again(lambda made: mock.Mock(spec=type(made))), "it returned Mock"),
    "a certificate": (CA.certificate, "is wanted itself"),
}


@pytest.mark.parametrize("name", AUTHORITIES)
def test_an_authority_is_shown_what_became_of_a_greedy_wish(name: str) -> None:
    """Who refuses the greedy, or leaves their wishes out, is right; the others made something dangerous."""
    function, hint = AUTHORITIES[name]
    feedback = exercises.refuses_the_greedy(function)
    assert feedback.correct is (hint is None), feedback
    assert (hint or "") in feedback.text


@pytest.mark.parametrize("name", ["verifies_chains", "refuses_the_greedy"])
def test_no_answer_is_not_a_wrong_one_and_another_kind_gets_a_hint(name: str) -> None:
    """None says 'Not attempted yet', and no answer, of whatever type, ends in a traceback."""
    check = exercises.CHECKERS[name]
    assert check(None).text.startswith("Not attempted yet")
    for other in OTHERS:
        assert check(other).text.startswith("Not yet: "), other


def test_verifiers_differ_on_a_critical_purpose() -> None:
    """What the page says: OpenSSL's strict mode takes a critical extendedKeyUsage, cryptography's verifier does not."""
    made = CA.issue("localhost", SERVER, names=["localhost"])
    critical = altered(made.certificate, CA.private_key, put=[(x509.ExtendedKeyUsage([SERVER_AUTH]), True)])
    assert not judges.doors(Credential(critical, made.private_key), CA.certificate)["server"]
    verifier = PolicyBuilder().store(Store([CA.certificate])).build_server_verifier(x509.DNSName("localhost"))
    assert verifier.verify(made.certificate, [])
    with pytest.raises(VerificationError):
        verifier.verify(critical, [])
