"""The checkers of notebook 04 try verifiers on chains, and authorities on requests, that they have not seen."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle, pairwise
from pathlib import Path
from types import SimpleNamespace
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
from mtlslab.credentials import new_private_key
from mtlslab.faults.minting import altered
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import judges, page_04
from mtlslab.notebook.exercises.page_04 import CLIENT_AUTH, SERVER_AUTH
from mtlslab.profiles import ISSUING_CA, SERVER

OTHERS: list[Any] = [0, "ca.crt", [], {}, object(), mock.ANY, mock.Mock()]
CA = CertificateAuthority.create("example-ca")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds lab-04."""
    folder = tmp_path_factory.mktemp("page")
    CA.save(folder / "lab-04")
    return folder


@pytest.fixture(autouse=True)
def there(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where the notebook works."""
    monkeypatch.chdir(page)


# A verifier of chains

Asked = tuple[list[x509.Certificate], list[x509.Certificate], x509.ObjectIdentifier, str | None, datetime]


@cache
def found(certificate: x509.Certificate | x509.CertificateSigningRequest, kind: type[x509.ExtensionType]) -> Any:
    """Return the value of a certificate's extension of this kind, or None."""
    return next((one.value for one in certificate.extensions if isinstance(one.value, kind)), None)


@cache
def signed(one: x509.Certificate, issuer: x509.Certificate, flag: bool = True) -> bool:
    """Whether one key signed the other's certificate, and may."""
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, InvalidSignature):
        return False
    constraints = found(issuer, x509.BasicConstraints)
    return not flag or bool(constraints and constraints.ca)


@cache
def by_key(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Verify a signature, and compare no names."""
    key: Any = issuer.public_key()
    how: Any = one.signature_algorithm_parameters
    given = (how,) if isinstance(how, ec.ECDSA) else (how, one.signature_hash_algorithm)
    try:
        key.verify(one.signature, one.tbs_certificate_bytes, *given)
    except (InvalidSignature, TypeError):
        return False
    return signed(issuer, issuer) or bool(found(issuer, x509.BasicConstraints).ca)


def cas_may_sign(chain: list[x509.Certificate], *_: Any) -> bool:
    usages = [found(one, x509.KeyUsage) for one in chain[1:]]
    return all(usage is None or usage.key_cert_sign for usage in usages)


def short_enough(chain: list[x509.Certificate], *_: Any, more: int = 0) -> bool:
    """Count as RFC 5280 §4.2.1.9 does: the CAs between one and the leaf."""
    limits = [constraints.path_length for one in chain[1:] if (constraints := found(one, x509.BasicConstraints))]
    return all(limit is None or below + more <= limit for below, limit in enumerate(limits))


def from_the_root(chain: list[x509.Certificate], roots: list[x509.Certificate], *asked: Any) -> bool:
    """Another right one: walk down as RFC 5280 §6.1 does, from each root."""
    purpose, host, now = asked

    def down(left: int, issuer: x509.Certificate, path: list[x509.Certificate]) -> bool:
        one = path[-1]
        if not signed(one, issuer) or not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            return False
        if len(path) == 1:
            return purpose in found(one, x509.ExtendedKeyUsage) and (host is None or host.lower() in names(one))
        limit = found(one, x509.BasicConstraints)
        left = min(left - 1, 99 if limit is None or limit.path_length is None else limit.path_length)
        return left >= 0 and found(one, x509.KeyUsage).key_cert_sign and down(left, one, path[:-1])

    ends = [(99, root) for root in roots]
    return any(left_over(root, chain) and down(left, root, chain) for left, root in ends)


def left_over(root: x509.Certificate, chain: list[x509.Certificate]) -> bool:
    """Hold the root to its own path length, too, as OpenSSL does and RFC 5280 does not ask."""
    length = found(root, x509.BasicConstraints).path_length
    return length is None or len(chain) - 1 <= length


@cache
def names(leaf: x509.Certificate) -> list[str]:
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(san.get_values_for_type(x509.DNSName))


def wants_a_san(chain: list[x509.Certificate], *_: Any) -> bool:
    """The solution as it once was: it does not expect a leaf without one."""
    return bool(chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName))


@cache
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
    "usages": cas_may_sign,
    "lengths": short_enough,
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
    "the library": (by_the_library, None),
    "from the root": (from_the_root, None),
    "a path length of 0 alone": (
        verifier(lengths=lambda chain, *_: all(short_enough([one, upper]) for one, upper in pairwise(chain[1:]))),
        "Not yet: your function says True for a leaf below",
    ),
    "the upper path length": (
        verifier(
            lengths=lambda c, *_: (
                len(c) < 3
                or len(c) - 2
                <= (
                    99
                    if (last := found(c[-1], x509.BasicConstraints)) is None or last.path_length is None
                    else last.path_length
                )
            )
        ),
        "none may be below the second",
    ),
    "the leaf counted": (
        verifier(lengths=lambda *a: short_enough(*a, more=1)),
        "says False for a server below an issuing CA",
    ),
    "any path length ends it": (
        verifier(
            lengths=lambda chain, *_: all(found(one, x509.BasicConstraints).path_length is None for one in chain[2:])
        ),
        "says False for a server below two issuing CAs",
    ),
    "the first keyUsage": (
        verifier(usages=lambda chain, *_: cas_may_sign(chain[:2])),
        "lacks keyCertSign in its keyUsage",
    ),
    "no names": (
        verifier(
            links=lambda chain, *_: all(by_key(*two) for two in pairwise(chain)),
            end=lambda chain, roots, *_: any(by_key(chain[-1], root) for root in roots),
        ),
        "says True for a leaf that names another issuer",
    ),
    "the dates of two": (
        verifier(dates=lambda chain, *asked: QUESTIONS["dates"](chain[:2], *asked)),
        "below two issuing CAs, the upper of which has ended",
    ),
    "the last flag": (
        verifier(links=lambda chain, *_: all(signed(*two, flag=two[1] is chain[-1]) for two in pairwise(chain))),
        "below two issuing CAs, the lower of which is no CA",
    ),
    "any certificate's purpose": (
        verifier(
            purpose=lambda chain, _, purpose, *__: any(
                purpose in (found(c, x509.ExtendedKeyUsage) or ()) for c in chain
            )
        ),
        "below an issuing CA that has every purpose",
    ),
    "any certificate's name": (
        verifier(host=lambda chain, *asked: asked[2] is None or any(asked[2] in names(c) for c in chain)),
        "below an issuing CA that has this name",
    ),
    "a domain's end": (
        verifier(host=lambda c, *a: a[2] is None or any(a[2].endswith(name) for name in names(c[0]))),
        "says True for a leaf for the end of the name",
    ),
    "yes": (yes, "says True for a leaf that has ended: a stolen key would be of use for ever"),
    "no": (lambda *_: False, "says False for a server below a root"),
    "no flag": (verifier(links=without_flag, usages=yes), "that a server has signed: each server could make others"),
    "the end by name": (verifier(end=by_name), "Not yet: your function says True for a leaf"),
    "the first root of a name": (verifier(end=first_root_of_that_name), "says False for a root that has a namesake"),
    "the first root": (verifier(end=lambda chain, roots, *_: signed(chain[-1], roots[0])), "says False for a server"),
    "today's dates": (verifier(dates=of_today), "says False for last year's chain, last year"),
    "the end's dates": (
        verifier(dates=lambda chain, *asked: all(asked[-1] <= c.not_valid_after_utc for c in chain)),
        "says True for a leaf that has not begun",
    ),
    "no purpose": (verifier(purpose=yes), "a stolen client.key would run a server"),
    "a server's purpose": (
        verifier(purpose=lambda chain, *_: QUESTIONS["purpose"](chain, None, SERVER_AUTH)),
        "says False for a client",
    ),
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
    "the end of the CAs' dates": (
        verifier(
            dates=lambda chain, *asked: (
                QUESTIONS["dates"](chain[:1], *asked) and all(asked[-1] <= c.not_valid_after_utc for c in chain)
            )
        ),
        "below an issuing CA not yet begun",
    ),
    "a name of any kind": (
        verifier(host=lambda chain, *asked: asked[2] in (None, *values(chain[0]))),
        "says True for a leaf with the host as a URI",
    ),
    "EC keys": (verifier(links=ec_links, end=ec_end), "Not yet: your function says False for a server"),
    "servers alone": (lambda *a: a[3].endswith(".example") and verifier()(*a), "raised AttributeError"),
    "wants a SAN": (lambda *a: wants_a_san(*a) and verifier()(*a), "raised ExtensionNotFound"),
}


def test_a_verifier_that_leaves_out_a_question_is_shown_whom_it_lets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, end, limits, dates, purpose, host: who asks one wrongly, or not, is told what it would let happen."""
    chains = list(page_04._Chains().cases())  # to make them takes longer than to judge them
    monkeypatch.setattr(page_04, "_Chains", lambda: SimpleNamespace(cases=lambda: chains))
    for name, (function, hint) in VERIFIERS.items():
        feedback = exercises.verifies_chains(function)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, (name, feedback)


# A CA that must refuse

SERVICE = replace(SERVER, extended_key_usage=(SERVER_AUTH, CLIENT_AUTH))


def checked(csr: x509.CertificateSigningRequest) -> None:
    """The solution's own part: every name is a host below mesh.example."""
    san = list(csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    for name in san:
        if not isinstance(name, x509.DNSName) or "*" in name.value or not name.value.endswith(".mesh.example"):
            raise ValueError(f"{name} is no host below mesh.example")
    if csr.subject.rfc4514_string() not in [f"CN={name.value}" for name in san]:
        raise ValueError("the subject is another, or more, than one of these")


@cache
def sign(
    csr: x509.CertificateSigningRequest, profile: Any = SERVICE, ca: CertificateAuthority = CA, days: int = 30
) -> x509.Certificate:
    """Let a CA sign a request, once for all who ask it for the same."""
    return ca.sign(csr, profile, days=days)


def issue(csr: x509.CertificateSigningRequest, *options: Any, **named: Any) -> Any:
    """The solution."""
    checked(csr)
    return sign(csr, *options, **named)


def san_alone(csr: x509.CertificateSigningRequest) -> Any:
    for name in csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ):
        if "*" in name or not name.endswith(".mesh.example"):
            raise ValueError(name)
    return sign(csr)


def ends_alike(csr: x509.CertificateSigningRequest) -> Any:
    for name in csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value:
        if not name.value.endswith("mesh.example"):
            raise ValueError(name)
    return sign(csr)


A_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+mesh\.example", re.IGNORECASE)


def host_below(name: str) -> bool:
    """A host, as page 03 has it, below mesh.example."""
    return bool(A_HOST.fullmatch(name)) and max(map(len, name.split("."))) < 64 and len(name) < 254


def unchecked(
    rule: Callable[[str], bool] = host_below,
    leaves_out: tuple[x509.ObjectIdentifier, ...] | None = None,
    wishes: Callable[[x509.ExtensionType], bool] = lambda _: False,
    common_name: Callable[[str], bool] = host_below,
) -> Callable[[Any], Any]:
    """Sign, with cryptography alone, what a rule for names lets through. Of the subject it keeps the common names, or
    all but what it leaves out; of the other wishes those that it likes.
    """

    def made(csr: x509.CertificateSigningRequest) -> Any:
        names, common = found(csr, x509.SubjectAlternativeName), csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        asked = [name.value if isinstance(name, x509.DNSName) else "" for name in names]
        if not csr.is_signature_valid or len(common) > 1 or not asked or not all(map(rule, asked)):
            raise ValueError(asked)
        if not all(common_name(str(one.value)) for one in common):
            raise ValueError(asked)
        kept = common if leaves_out is None else [one for one in csr.subject if one.oid not in leaves_out]
        now, key = datetime.now(UTC), csr.public_key()
        builder = x509.CertificateBuilder(CA.certificate.subject, x509.Name(kept), key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(days=29))
        builder = builder.add_extension(x509.BasicConstraints(False, None), True).add_extension(names, False)
        builder = builder.add_extension(usage("digital_signature"), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([SERVER_AUTH, CLIENT_AUTH]), False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        issuer: Any = CA.certificate.public_key()
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
        for one in csr.extensions:
            if not isinstance(one.value, (*EVERYTHING, x509.SubjectAlternativeName)) and wishes(one.value):
                builder = builder.add_extension(one.value, one.critical)
        return builder.sign(CA.private_key, hashes.SHA256())

    return made


def below(name: str) -> bool:
    return "*" not in name and name.endswith(".mesh.example")


def by_rule(
    rule: Callable[[str], bool] = host_below,
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
        return sign(csr)

    return made


def raw(
    csr: x509.CertificateSigningRequest,
    name: str = "",
    proven: bool = True,
    wished: Callable[[x509.ExtensionType], bool] = lambda _: False,
) -> Any:
    """Certify names as they are, with cryptography alone, and copy some of what the request wishes for."""
    checked(csr)
    if proven and not csr.is_signature_valid:
        raise ValueError("no proof of possession")
    name = name or str(next(iter(csr.subject)).value)
    san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    put = [(san, False), (x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), False)]
    put += [(one.value, one.critical) for one in csr.extensions if wished(one.value)]
    key = mock.Mock(public_key=csr.public_key)
    return altered(model(name), CA.private_key, put=put, public_key=key, days=(0, 30))


@cache
def model(name: str) -> x509.Certificate:
    return CA.issue(name, SERVICE, names=["a.mesh.example"]).certificate


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


def copying(*kinds: type[x509.ExtensionType]) -> Callable[[Any], Any]:
    """Sign, and copy what a request wishes for, if it is of these kinds."""
    return lambda csr: raw(csr, wished=lambda wish: isinstance(wish, kinds))


def copies_lists(csr: x509.CertificateSigningRequest) -> Any:
    return raw(csr, wished=lambda wish: isinstance(wish, x509.KeyUsage) and not wish.key_cert_sign)


TWO, DAYS = cycle((1, 2)), cycle(range(1, 29))


def numbered(made: x509.Certificate, serial: int) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        made.issuer, made.subject, made.public_key(), serial, made.not_valid_before_utc, made.not_valid_after_utc
    )
    for extension in made.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(CA.private_key, hashes.SHA256())


AT = x509.UniformResourceIdentifier("http://ca.mesh.example/")
ELSEWHERE = [x509.DNSName("a.mesh.example")]
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
O, OU = NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME  # noqa: E741
CAS = replace(SERVICE, ca=True, key_usage=SERVICE.key_usage | ISSUING_CA.key_usage)
NO_HOST = "did not refuse a request for a name that is no host"
EVERYTHING = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.CertificatePolicies)

AUTHORITIES: dict[str, tuple[Any, str | None]] = {
    "for a week, with addresses of its own": (
        lambda csr: altered(issue(csr, days=7), CA.private_key, put=[(LIST, False), (SERVICE_AT, False)]),
        None,
    ),
    "by hand": (unchecked(), None),
    "names by word characters": (
        unchecked(lambda name: bool(re.fullmatch(r"[\w-]+(\.[\w-]+)*\.mesh\.example", name))),
        NO_HOST,
    ),
    "names with a line after them": (
        unchecked(lambda name: bool(re.match(A_HOST.pattern + "$", name)) and host_below(name.strip())),
        NO_HOST,
    ),
    "common names that end right": (unchecked(common_name=below), "the common name -"),
    "names right below": (unchecked(lambda n: host_below(n) and n.count(".") == 2), "turns away an honest request"),
    "EC keys": (
        lambda csr: issue(csr) if isinstance(csr.public_key(), ec.EllipticCurvePublicKey) else 1 / 0,
        "turns away an honest request: it raised ZeroDivisionError",
    ),
    "the subject without a unit and an organization": (unchecked(leaves_out=(OU, O)), "is in the certificate: "),
    "copies where to ask": (
        unchecked(wishes=lambda wish: not isinstance(wish, x509.UnrecognizedExtension)),
        "is in the certificate: ",
    ),
    "the first common name": (by_rule(common=lambda found: found[:1]), "refuse a request for a second common name"),
    "one wildcard": (by_rule(lambda name: name != "*.mesh.example" and name.endswith(".mesh.example")), "a wildcard"),
    "the domain itself": (
        by_rule(lambda name: below(f"a.{name}") and ("." + name).endswith(".mesh.example")),
        "the domain itself",
    ),
    "a name that C cuts short": (unchecked(lambda name: host_below(name.replace("\0", ""))), "with a null byte"),
    "a name of its own": (lambda csr: altered(raw(csr, "root"), CA.private_key), "Not yet: "),
    "copies keyUsage without keyCertSign": (copies_lists, "could revoke"),
    "two serial numbers": (lambda csr: numbered(issue(csr, days=next(DAYS)), next(TWO)), "share a serial number"),
    "by ca.sign alone": (sign, "Not yet: it did not refuse a request for"),
    "names of the SAN alone": (san_alone, "Not yet: it did not refuse"),
    "names that end alike": (ends_alike, "Not yet: it did not refuse"),
    "servers only": (lambda csr: issue(csr, SERVER), "shown by a client"),
    "clients only": (lambda csr: issue(csr, replace(SERVER, extended_key_usage=(CLIENT_AUTH,))), "shown by a server"),
    "without a purpose": (
        lambda csr: issue(csr, replace(SERVER, extended_key_usage=())),
        "other purposes than the two",
    ),
    "a CA": (lambda csr: issue(csr, CAS), "a service signed for bank.example"),
    "backdated": (lambda csr: altered(issue(csr), CA.private_key, days=(-60, 29)), "lives for more than 30 days"),
    "another example-ca": (lambda csr: issue(csr, ca=OTHER), "is refused: "),
    "unproven": (lambda csr: raw(csr, proven=False), "nobody has shown to hold the key"),
    "copies the flag": (copying(x509.BasicConstraints, x509.KeyUsage), "Not yet: "),
    "copies purposes": (copying(x509.ExtendedKeyUsage), "Not yet: "),
    "copies the unknown": (copying(x509.UnrecognizedExtension), "Not yet: "),
    "no AKI": (lambda csr: altered(issue(csr), CA.private_key, without=(x509.AuthorityKeyIdentifier,)), "is refused: "),
    "another SAN": (
        lambda csr: altered(issue(csr), CA.private_key, put=[(x509.SubjectAlternativeName(ELSEWHERE), False)]),
        "is refused: wrong-host",
    ),
    "another key": (
        lambda csr: altered(issue(csr), CA.private_key, public_key=new_private_key()),
        "another key than the",
    ),
    "nobody": (lambda _: 1 / 0, "turns away an honest request: it raised ZeroDivisionError"),
    "None": (swallowed, "Not yet: it did not refuse"),
    "a mock": (again(lambda made: mock.Mock(spec=type(made))), "it returned Mock"),
    "a certificate": (CA.certificate, "is wanted itself"),
}


def test_an_authority_is_shown_what_became_of_a_greedy_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who refuses the greedy, or leaves their wishes out, is right; the others made something dangerous."""
    wishes = list(page_04._wishes())  # to make them takes longer than to refuse them
    monkeypatch.setattr(page_04, "_wishes", lambda: wishes)
    for name, (function, hint) in AUTHORITIES.items():
        feedback = exercises.refuses_the_greedy(function)
        assert feedback.correct is (hint is None), (name, feedback)
        assert (hint or "") in feedback.text, (name, feedback)


def test_no_answer_is_not_a_wrong_one_and_another_kind_gets_a_hint() -> None:
    """None says 'Not attempted yet', and no answer, of whatever type, ends in a traceback."""
    for check in (exercises.verifies_chains, exercises.refuses_the_greedy):
        assert check(None).text.startswith("Not attempted yet")
        for other in OTHERS:
            assert check(other).text.startswith("Not yet: "), (check, other)


def test_verifiers_differ_on_a_critical_purpose() -> None:
    """What the page says: OpenSSL's strict mode takes a critical extendedKeyUsage, cryptography's verifier does not."""
    made = CA.issue("localhost", SERVER, names=["localhost"])
    critical = altered(made.certificate, CA.private_key, put=[(x509.ExtendedKeyUsage([SERVER_AUTH]), True)])
    assert not judges.door("server", Credential(critical, made.private_key), CA.certificate)
    verifier = PolicyBuilder().store(Store([CA.certificate])).build_server_verifier(x509.DNSName("localhost"))
    assert verifier.verify(made.certificate, [])
    with pytest.raises(VerificationError):
        verifier.verify(critical, [])
