"""The exercises of notebook 04, signing certificates."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential, PrivateKey, new_private_key, signature_hash
from mtlslab.faults.minting import altered
from mtlslab.notebook.exercises.judges import (
    Case,
    Guarded,
    NotYet,
    Outcome,
    afresh,
    checker,
    door,
    expect,
    fresh_name,
    lab_ca,
    try_cases,
)
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.refusals import End

__all__ = ["refuses_the_greedy", "verifies_chains"]

SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


# --- a verifier of chains --------------------------------------------------------------------------


@checker("a function verify(chain, roots, purpose, host, now) that returns True or False")
def verifies_chains(answer: Any) -> str:
    """Want a verifier of chains, from the leaf to one of some roots."""
    try_cases(answer, lambda: _Chains().cases())
    return "no chain with a weak link came through, and no sound one was turned away"


class _Chains:
    """Two CAs, one below the other, a namesake and a stranger, and what to ask a verifier about them."""

    def __init__(self) -> None:
        kinds: list[Any] = random.sample(("ec-p256", "rsa-2048"), 2)
        name = fresh_name()
        self.host, self.now = f"{fresh_name()}.example", datetime.now(UTC)
        self.root, self.namesake = (CertificateAuthority.create(name, key_type=kinds[0]) for _ in range(2))
        self.middle = self.root.create_issuing_ca(fresh_name(), key_type=kinds[1])
        self.stranger = CertificateAuthority.create(fresh_name())
        self.roots = [self.stranger.certificate, self.root.certificate]
        self.server = self.root.issue(self.host, SERVER, names=["first.example", self.host])
        self.below = self.middle.issue(self.host, SERVER, names=[self.host, "last.example"])
        self.client = self.middle.issue(fresh_name(), CLIENT)
        self.cas = _cas(self.root, 1, 0)

    def cases(self) -> Iterator[Case]:
        for what, lets, chain, changes in self._sound():
            yield self._case(what, True, lets, chain, changes)
        for what, lets, chain, changes in (*self._bad_leaves(), *self._bad_links(), *self._bad_questions()):
            yield self._case(what, False, lets, chain, changes)

    def _case(
        self, what: str, wants: bool, lets: str, chain: tuple[x509.Certificate, ...], changes: dict[str, Any]
    ) -> Case:
        asked: dict[str, Any] = {
            "roots": self.roots,
            "purpose": SERVER_AUTH,
            "host": self.host,
            "now": self.now,
        } | changes
        return Case(what, wants, lets, ([*chain], [*asked["roots"]], asked["purpose"], asked["host"], asked["now"]))

    def _sound(self) -> Iterator[tuple[str, str, tuple[x509.Certificate, ...], dict[str, Any]]]:
        server, below, client = (one.certificate for one in (self.server, self.below, self.client))
        waits = "honest callers would wait outside"
        yield "a server below a root", waits, (server,), {}
        yield "a server below an issuing CA", waits, (below, self.middle.certificate), {}
        yield "a server below two issuing CAs", waits, _chain(self.cas, self.host), {}
        unlimited = _chain(_cas(self.root, None, None), self.host)
        yield "a server below two issuing CAs without a path length", waits, unlimited, {}
        yield "a client", waits, (client, self.middle.certificate), {"purpose": CLIENT_AUTH, "host": None}
        both = [self.namesake.certificate, self.root.certificate]
        yield "a root that has a namesake", "try each root of that name", (server,), {"roots": both}
        old = altered(self.root.certificate, self.root.private_key, days=(-900, 900))
        last_year = {"now": self.now - timedelta(days=400), "roots": [old]}
        yield "last year's chain, last year", "judge by `now`, not by today", (self._aged(-500, -300),), last_year

    def _bad_leaves(self) -> Iterator[tuple[str, str, tuple[x509.Certificate, ...], dict[str, Any]]]:
        server, below, root = self.server.certificate, self.below.certificate, self.root
        yield "a leaf that has ended", "a stolen key would be of use for ever", (self._aged(-9, -1),), {}
        yield "a leaf that has not begun", "it is not to be used yet", (self._aged(1, 9),), {}
        flipped = server.public_bytes(Encoding.DER)
        damaged = x509.load_der_x509_certificate(flipped[:-1] + bytes([flipped[-1] ^ 1]))
        yield "a leaf with a bit of its signature flipped", "anybody could edit it", (damaged,), {}
        forged = altered(below, self.namesake.private_key, issuer=self.middle.certificate.subject)
        yield "a leaf that another key has signed", "anybody could write it", (forged, self.middle.certificate), {}
        other = root.issue(self.host, SERVER, names=["other.example"]).certificate
        yield "a leaf with the host in its common name alone", "a common name is free text", (other,), {}
        unnamed = altered(server, root.private_key, without=(x509.SubjectAlternativeName,))
        yield "a leaf without a subjectAltName", "a common name is free text", (unnamed,), {}
        longer = root.issue(self.host, SERVER, names=[f"{self.host}.example.com", f"my{self.host}"]).certificate
        yield "a leaf for longer names", "somebody else's host would pass for this one", (longer,), {}
        address = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(self.host), x509.DNSName("a.example")])
        of_a_kind = altered(other, root.private_key, put=[(address, False)])
        yield "a leaf with the host as a URI", "a CA may never have checked a name of that kind", (of_a_kind,), {}
        end = root.issue(self.host, SERVER, names=[self.host.partition(".")[2]]).certificate
        yield "a leaf for the end of the name", "whoever has the domain would have every host in it", (end,), {}
        elsewhere = altered(server, root.private_key, issuer=other.subject)
        yield "a leaf that names another issuer", "nobody could tell who vouches for it", (elsewhere,), {}
        client = root.issue(self.host, CLIENT, names=[self.host]).certificate
        yield "a client that poses as a server", "a stolen client.key would run a server", (client,), {}

    def _bad_links(self) -> Iterator[tuple[str, str, tuple[x509.Certificate, ...], dict[str, Any]]]:
        middle, name = self.middle, self.middle.certificate.subject.rfc4514_string().removeprefix("CN=")
        rogue = copy.copy(self.root)  # the constructor would not let a leaf sign
        rogue.certificate, rogue.private_key = self.server.certificate, self.server.private_key
        rogue._key_identifier = x509.SubjectKeyIdentifier.from_public_key(rogue.certificate.public_key())
        forged = rogue.issue(self.host, SERVER, names=[self.host]).certificate
        yield "a leaf that a server has signed", "each server could make others", (forged, rogue.certificate), {}
        ended = altered(middle.certificate, self.root.private_key, days=(-9, -1))
        yield "a leaf below an issuing CA that has ended", "it may sign no more", (self.below.certificate, ended), {}
        early = altered(middle.certificate, self.root.private_key, days=(1, 9))
        yield "a leaf below an issuing CA not yet begun", "it may not sign yet", (self.below.certificate, early), {}
        yield from _bad_cas(self.cas, self.root, self.host)
        yield from _below_a_generous_one(self.middle, self.root, self.host)
        copied = self.namesake.create_issuing_ca(name)
        fake = copied.issue(self.host, SERVER, names=[self.host]).certificate
        yield "a leaf below an issuing CA of a namesake", "a name proves nothing", (fake, copied.certificate), {}
        what = "a leaf below a CA that is nobody's root"
        yield what, "whoever makes a CA would be believed", (fake, *self._alone()), {}
        swapped = (self.below.certificate, copied.certificate)
        yield "a leaf beside an issuing CA that did not sign it", "the links do not hold together", swapped, {}

    def _alone(self) -> tuple[x509.Certificate, ...]:
        return self.namesake.create_issuing_ca(fresh_name()).certificate, self.namesake.certificate

    def _bad_questions(self) -> Iterator[tuple[str, str, tuple[x509.Certificate, ...], dict[str, Any]]]:
        server, two = self.server.certificate, (self.below.certificate, self.middle.certificate)
        later = {"now": self.now + timedelta(days=730)}
        yield "a chain of today, in two years", "judge by `now`, not by today", two, later
        yield "a chain without its issuing CA", "nobody knows who signed it", two[:1], {}
        yield "a chain to a root that is not chosen", "any CA would do", two, {"roots": self.roots[:1]}
        yield "a chain to its root's namesake", "a name proves nothing", two, {"roots": [self.namesake.certificate]}
        as_client = {"purpose": CLIENT_AUTH, "host": None}
        yield "a server that poses as a client", "a stolen server.key would call", two, as_client
        named = {"host": "other.example"}
        yield "a server asked for by another name", "each server could pose as each other", (server,), named

    def _aged(self, begin: int, end: int) -> x509.Certificate:
        return altered(self.server.certificate, self.root.private_key, days=(begin, end))


_Chain = tuple[x509.Certificate, ...]


def _cas(root: CertificateAuthority, *lengths: int | None) -> list[CertificateAuthority]:
    """Make issuing CAs, each below the one before, with these path lengths. mtlslab's own allow for none below."""
    cas = [root]
    for length in lengths:
        made, above = cas[-1].create_issuing_ca(fresh_name()), cas[-1].private_key
        constraints = (x509.BasicConstraints(True, length), True)
        cas.append(CertificateAuthority(altered(made.certificate, above, put=[constraints]), made.private_key))
        cas[-1]._path_length = None  # it signs, whether it may or not
    return cas[1:]


def _chain(cas: list[CertificateAuthority], host: str) -> _Chain:
    return cas[-1].issue(host, SERVER, names=[host]).certificate, *(ca.certificate for ca in reversed(cas))


def _bad_cas(
    cas: list[CertificateAuthority], root: CertificateAuthority, host: str
) -> Iterator[tuple[str, str, _Chain, dict[str, Any]]]:
    below, keys = "a leaf below two issuing CAs, the {} of which {}", (cas[0].private_key, root.private_key)
    leaf, *certificates = _chain(cas, host)
    what = "a leaf below an issuing CA that the CA above it did not sign"
    forged = altered(certificates[0], new_private_key())
    yield what, "whoever knows its name makes one like it", (leaf, forged, certificates[1]), {}
    kinds: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("is no CA", "each server could make CAs", {"put": [(x509.BasicConstraints(False, None), True)]}),
        ("lacks basicConstraints", "nothing says that it is a CA", {"without": (x509.BasicConstraints,)}),
        ("lacks keyCertSign in its keyUsage", "its key was meant for something else", {"put": [(_LISTS, True)]}),
        ("has ended", "it may sign no more", {"days": (-9, -1)}),
    )
    for what, lets, changes in kinds:
        for place, which in enumerate(("lower", "upper")):
            changed = [*certificates]
            changed[place] = altered(changed[place], keys[place], **changes)
            yield below.format(which, what), lets, (leaf, *changed), {}
    for what, lengths in {
        "a leaf below a CA that its issuing CA may not make": (0, None),
        "a leaf below three issuing CAs, where one at most may be below the first": (1, None, 0),
        "a leaf below three issuing CAs, where none may be below the second": (None, 0, 0),
    }.items():
        lets = "a CA that was to sign leaves alone, or few CAs, could make others"
        yield what, lets, _chain(_cas(root, *lengths), host), {}


def _below_a_generous_one(
    middle: CertificateAuthority, root: CertificateAuthority, host: str
) -> Iterator[tuple[str, str, _Chain, dict[str, Any]]]:
    put: Any = [x509.SubjectAlternativeName([x509.DNSName(host)]), x509.ExtendedKeyUsage([SERVER_AUTH, CLIENT_AUTH])]
    generous = altered(middle.certificate, root.private_key, put=[(extension, False) for extension in put])
    lets = "what counts is what the leaf is for, and whose"
    client = middle.issue(host, CLIENT, names=[host]).certificate
    yield "a client below an issuing CA that has every purpose", lets, (client, generous), {}
    other = middle.issue(fresh_name(), SERVER, names=["other.example"]).certificate
    yield "a leaf for another host below an issuing CA that has this name", lets, (other, generous), {}


# --- a CA that must refuse -------------------------------------------------------------------------

_DOMAIN = "mesh.example"
_OTHERS = (NameOID.TITLE, NameOID.LOCALITY_NAME, NameOID.EMAIL_ADDRESS, NameOID.USER_ID, NameOID.SURNAME)
_OWN = {"basicConstraints", "keyUsage", "extendedKeyUsage", "subjectAltName", "subjectKeyIdentifier"}
_OWN |= {"authorityKeyIdentifier"}


@checker("a function that takes a CSR and returns a certificate, or raises")
def refuses_the_greedy(answer: Any) -> str:
    """Want a function that signs for services below mesh.example, for both doors and 30 days, and for nobody else."""
    issue, ca, wishes = Guarded(answer), lab_ca("lab-04"), [*_wishes()]
    first, wrong = len(wishes), NotYet()  # of many hints the first one is told, whatever came first
    granted: dict[int, tuple[Credential, set[str]]] = {}
    for number in random.sample(range(first), first):
        if number < first:
            csr, key, hosts, must_refuse, lets = wishes[number]
            outcome = issue.attempt(afresh(csr))
            try:
                if _is_granted(outcome, must_refuse, lets):
                    _expect_no_wish(outcome.value, csr, hosts, lets)
                    granted[number] = Credential(outcome.value, key), hosts
            except NotYet as hint:
                first, wrong = number, hint
    if first < len(wishes):
        raise wrong
    different = {service.certificate for service, _ in granted.values()}
    serials = {certificate.serial_number for certificate in different}
    expect(
        1 < len(serials) == len(different), "some share a serial number: to revoke one would be to revoke the others"
    )
    for number in sorted(granted):
        service, hosts = granted[number]
        greedy = bool(wishes[number][4])  # one door will do: what a wish could have left there is looked for, too
        _expect_a_service(service, ca, hosts, _ROLES[number % 2 :][:1] if greedy else _ROLES)
    return "services get what they need, and nobody gets more than you decided"


def _is_granted(outcome: Outcome, must_refuse: str, lets: str) -> bool:
    """Tell whether a certificate was made. Raises `NotYet` where one should have been, or should not."""
    if must_refuse:
        expect(outcome.error is not None, f"it did not refuse {must_refuse}: {lets}")
    elif outcome.error is not None:
        expect(bool(lets), f"it turns away an honest request: it raised {outcome.told}")
    elif type(outcome.value) is not x509.Certificate:
        raise NotYet(f"it returned {type(outcome.value).__name__}: let it return a certificate, or raise")
    return outcome.error is None


def _expect_no_wish(made: x509.Certificate, csr: x509.CertificateSigningRequest, hosts: set[str], lets: str) -> None:
    """Expect that nothing of a request got into the certificate but its key and its hosts."""
    common = {str(name.value) for name in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    expect(common <= hosts, f"the common name is {', '.join(common)}: programs that read it believe it")
    wished = {str(name.value) for name in csr.subject} - hosts
    granted = sorted(wished & {str(name.value) for name in made.subject})
    expect(not granted, f"a request's {', '.join(granted)} is in the certificate: {lets or 'nobody checked that'}")
    wishes = [wish for wish in csr.extensions if wish.oid._name not in _OWN]
    granted = sorted(wish.oid._name for wish in wishes if wish.value in [each.value for each in made.extensions])
    expect(not granted, f"a request's {', '.join(granted)} is in the certificate: {lets or 'nobody asked for it'}")


_ROLES: tuple[End, ...] = ("server", "client")


def _expect_a_service(made: Credential, ca: CertificateAuthority, hosts: set[str], roles: tuple[End, ...]) -> None:
    certificate, host = made.certificate, max(hosts)
    expect(certificate.public_key() == made.private_key.public_key(), "it certifies another key than the request's")
    for role in roles:
        refused = door(role, made, ca.certificate, host)
        expect(not refused, f"shown by a {role}, its certificate for {host} is refused: {refused}")
    extensions = {extension.oid._name: extension.value for extension in certificate.extensions}
    purposes = set(extensions.get("extendedKeyUsage") or ())
    expect(purposes == {SERVER_AUTH, CLIENT_AUTH}, "it has other purposes than the two: see extendedKeyUsage")
    names = sorted(str(name.value) for name in extensions["subjectAltName"])
    expect(names == sorted(hosts), f"its subjectAltName is {names}, and {sorted(hosts)} was asked for")
    end = datetime.now(UTC) + timedelta(days=30, hours=2)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    short = certificate.not_valid_after_utc <= end and life <= timedelta(days=30, hours=2)
    expect(short, "it lives for more than 30 days: a stolen key would, too")
    if extensions.get("basicConstraints") != x509.BasicConstraints(False, None):
        _expect_no_ca(made, ca)
    usage = extensions.get("keyUsage")
    expect(not (usage and usage.crl_sign), "its keyUsage has cRLSign: in your name a service could revoke the others")


def _expect_no_ca(made: Credential, ca: CertificateAuthority) -> None:
    rogue = copy.copy(ca)
    rogue.certificate, rogue.private_key, rogue.chain = made.certificate, made.private_key, (made.certificate,)
    rogue._key_identifier = x509.SubjectKeyIdentifier.from_public_key(made.certificate.public_key())
    forged = rogue.issue("bank.example", SERVER, names=["bank.example"])
    taken = not door("server", forged, ca.certificate, "bank.example")
    expect(not taken, "with its certificate a service signed for bank.example, and a client believed it")


@cache
def _rsa_key() -> PrivateKey:
    """Make one for all, since that takes a while: what an answer must not foresee are names."""
    return new_private_key("rsa-2048")


def _wishes() -> Iterator[tuple[x509.CertificateSigningRequest, PrivateKey, set[str], str, str]]:
    """Return requests: (CSR, its key, its hosts, what must be refused or "", what it would let happen or "")."""
    key, host = new_private_key(), f"{fresh_name()}.{_DOMAIN}"
    for hosts in ({host}, {host}, {f"{fresh_name()}.{host}"}, {host, f"a.{host}"}):
        yield _csr(key, max(hosts), [x509.DNSName(name) for name in sorted(hosts)]), key, hosts, "", ""
    yield _csr(_rsa_key(), host), _rsa_key(), {host}, "", ""
    for what, (names, lets) in (_foreign_names(host) | _no_hosts()).items():
        yield _csr(key, host, names), key, {host}, f"a request for {what}", lets
    for name in ("director", f"*.{_DOMAIN}", f"-{host}", _DOMAIN):
        other, lets = _csr(key, name, [x509.DNSName(host)]), "programs that read the common name believe it"
        yield other, key, {host}, f"the common name {name}", lets
    der, mallory = _csr(key, host).public_bytes(Encoding.DER), new_private_key()
    theirs, hers = (
        one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for one in (key, mallory)
    )
    for name in (_DOMAIN, "mallory"):
        second = _csr(key, host, more=[x509.NameAttribute(NameOID.COMMON_NAME, name)])
        yield second, key, {host}, "a request for a second common name", "some programs read the last of two"
    for kind in (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME, random.choice(_OTHERS)):
        member = _csr(key, host, more=[x509.NameAttribute(kind, "admins")])
        yield member, key, {host}, "", "programs that go by groups would believe it"
    flipped = der[:-1] + bytes([der[-1] ^ 1])
    for what, changed in (("Mallory's public key in it", der.replace(theirs, hers)), ("a flipped bit", flipped)):
        lets = "nobody has shown to hold the key"
        yield x509.load_der_x509_csr(changed), key, {host}, f"a request with {what}", lets
    for extension, lets in _GREEDY:
        yield _csr(key, host, None, extension), key, {host}, "", lets


def _csr(
    key: PrivateKey,
    name: str,
    names: list[x509.GeneralName] | None = None,
    *extensions: x509.ExtensionType,
    more: Iterable[x509.NameAttribute[str]] = (),
) -> x509.CertificateSigningRequest:
    """Make a request for a name, and for others in its subjectAltName: the same one if none are given."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *more])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    san = [x509.DNSName(name)] if names is None else names
    for extension in (*([x509.SubjectAlternativeName(san)] if san else ()), *extensions):
        builder = builder.add_extension(extension, critical=bool(random.randrange(2)))
    return builder.sign(key, signature_hash(key))


def _foreign_names(host: str) -> dict[str, tuple[list[x509.GeneralName], str]]:
    posed, own = "a service could pose as a host that is not below mesh.example", x509.DNSName(host)
    return {
        "another domain": ([x509.DNSName("shop.example")], posed),
        "a second name elsewhere": ([own, x509.DNSName("bank.example")], posed),
        "a first name elsewhere": ([x509.DNSName("bank.example"), own], posed),
        "a domain that ends alike": ([x509.DNSName(f"evil{_DOMAIN}")], posed),
        "a domain that begins alike": ([x509.DNSName(f"{host}.evil.example")], posed),
        "a wildcard": ([x509.DNSName(f"*.{_DOMAIN}")], "one service could pose as all the others"),
        "a wildcard further down": ([x509.DNSName(f"*.{host}")], "one service could pose as others"),
        "the domain itself": ([x509.DNSName(_DOMAIN)], "a service could pose as the domain, which is not below itself"),
        "a name with a null byte": (
            [x509.DNSName(f"bank.example\0.{_DOMAIN}")],
            "a program in C reads as far as the null byte",
        ),
        "an address": ([own, x509.IPAddress(ip_address("192.0.2.7"))], "a service could pose as another machine"),
        "a URI": (
            [own, x509.UniformResourceIdentifier(f"spiffe://{host}")],
            "somebody may decide by names of that kind",
        ),
        "a mailbox": ([own, x509.RFC822Name(f"boss@{host}")], "somebody may decide by names of that kind"),
        "no name": ([], "a client would have to believe the common name"),
    }


def _no_hosts() -> dict[str, tuple[list[x509.GeneralName], str]]:
    """Return names that end right, and are none of a host."""
    labels = ("", "a.", "-x", "x-", "a b", "a_b", "a/b", "a\n", "a" * 64, ".".join(["a" * 60] * 4))
    names = [f"a.{_DOMAIN}\n", *(f"{label}.{_DOMAIN}" for label in labels)]
    unclear = "each program that reads it makes something else of it (notebook 03)"
    return {f"a name that is no host, {name!r}": ([x509.DNSName(name)], unclear) for name in names}


_NO_USE = dict.fromkeys(
    ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
) | dict.fromkeys(("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
_SIGNS = x509.KeyUsage(**_NO_USE | {"key_cert_sign": True, "crl_sign": True})
_LISTS = x509.KeyUsage(**_NO_USE | {"digital_signature": True, "crl_sign": True})
_AT = x509.UniformResourceIdentifier("http://mallory.example/")
_EXTENDED_VALIDATION = x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.1"), None)
_GREEDY: tuple[tuple[x509.ExtensionType, str], ...] = (
    (x509.BasicConstraints(True, None), "a service could sign in anyone's name"),
    (x509.BasicConstraints(True, 0), "a service could sign in anyone's name"),
    (_SIGNS, "a service could sign in anyone's name"),
    (_LISTS, "in your name a service could revoke the others"),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "it would be good for anything"),
    (x509.ExtendedKeyUsage([SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]), "it would sign programs, too"),
    (x509.CertificatePolicies([_EXTENDED_VALIDATION]), "it would boast of a check that nobody made"),
    (x509.CRLDistributionPoints([x509.DistributionPoint([_AT], None, None, None)]), "it would say who is revoked"),
    (
        x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, _AT)]),
        "it would say itself whether it is revoked",
    ),
    (x509.IssuerAlternativeName([x509.DNSName("bank.example")]), "it would pose as somebody else's"),
    (x509.OCSPNoCheck(), "nobody would ask whether it is revoked"),
    (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), "you would sign what you cannot read"),
)
