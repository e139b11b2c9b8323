"""A certificate authority: the CSR asks, the CA decides.

`CertificateAuthority` takes from a request its public key, its subject and its subject alternative
names, after checking each. Everything else in the certificate comes from a profile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.x509.oid import NameOID

from mtlslab import credentials, errors
from mtlslab.credentials import BROKEN, Credential, KeyType, PrivateKey, distinguished_name, new_csr, signature_hash
from mtlslab.profiles import CLIENT, ISSUING_CA, KEY_USAGES, PURPOSES, ROOT, Profile

CLOCK_SKEW = timedelta(minutes=5)
"""How far before now a certificate begins, so that a peer whose clock is behind accepts it."""

CALLERS = "https://callers.example/"
"""Where the URI of a client begins that asks for no name of its own: a domain that nobody can own (RFC 2606 §2).

A URI is a name that every server can read, and that no client takes for a host's.
"""

_UPPER_BOUNDS = {NameOID.LOCALITY_NAME: 128, NameOID.STATE_OR_PROVINCE_NAME: 128, NameOID.EMAIL_ADDRESS: 255}
"""How many characters some values of a subject may have (RFC 5280, appendix A.1); 64 is right for the others."""


class CertificateAuthority:
    """A CA certificate and its private key.

    Attributes: `certificate`, `private_key` (cryptography objects) and `chain`, what follows a
    certificate of this CA in a handshake: () for a root, the issuing CA's own certificate first otherwise.
    """

    def __init__(
        self, certificate: x509.Certificate, private_key: PrivateKey, chain: Iterable[x509.Certificate] = ()
    ) -> None:
        """Take a CA certificate with its key. Raises `errors.KeyMismatch`, or `errors.CannotIssue` if it is no CA's."""
        if not credentials.belongs(private_key, certificate):
            raise errors.KeyMismatch("this private key does not belong to this CA certificate; load both from one CA")
        self.certificate, self.private_key, self.chain = certificate, private_key, tuple(chain)
        self._path_length, self._key_identifier = _may_sign(certificate)

    def __repr__(self) -> str:
        return f"<CertificateAuthority {distinguished_name(self.certificate)}>"

    @classmethod
    def create(cls, name: str, *, days: int = 365, key_type: KeyType = "ec-p256") -> CertificateAuthority:
        """Make a root: a new key, and a certificate that it signs for itself (RFC 5280 §3.2, §4.2.1.9).

        `name` becomes the common name, `days` the lifetime from now.
        Raises `errors.NameRefused`, `errors.KeyTypeRefused`, `errors.CannotIssue`.
        """
        private_key = credentials.new_private_key(key_type)
        csr = new_csr(private_key, name)
        key_identifier = x509.SubjectKeyIdentifier.from_public_key(csr.public_key())
        builder = _builder(csr, ROOT, _validity(days, None, None))
        return cls(_signed(builder, csr.subject, key_identifier, private_key), private_key)

    def create_issuing_ca(self, name: str, *, days: int = 365, key_type: KeyType = "ec-p256") -> CertificateAuthority:
        """Make an intermediate CA under this one. It may issue leaves only: pathLenConstraint 0 (RFC 5280 §4.2.1.9)."""
        made = self.issue(name, ISSUING_CA, days=days, key_type=key_type)
        return CertificateAuthority(made.certificate, made.private_key, (made.certificate, *made.chain))

    def sign(
        self,
        csr: x509.CertificateSigningRequest,
        profile: Profile,
        *,
        days: int = 365,
        not_before: datetime | None = None,
    ) -> x509.Certificate:
        """Sign a request (RFC 2986) for one purpose.

        `days` counts from `not_before` (an aware datetime; default: now, less `CLOCK_SKEW`); the certificate never
        outlives this CA's own. A client that asks for no name has its common name as one, in a URI after `CALLERS`, or
        its whole subject, where that is more than a common name (RFC 5280 §4.2.1.6).
        Raises `errors.CSRRefused`, or `errors.CannotIssue` where the fault is not the CSR's.
        """
        if profile is ROOT:
            raise errors.CannotIssue("a root signs itself: use CertificateAuthority.create, or the ISSUING_CA profile")
        _check_proof(csr)
        _refuse_wishes(csr, profile)
        names = _checked_names(csr, profile)
        builder = _builder(csr, profile, _validity(days, not_before, self.certificate.not_valid_after_utc))
        if names:
            # RFC 5280 §4.2.1.6: with an empty subject, the SAN is all there is, and critical.
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(csr.subject))
        if profile.ca and self._path_length == 0:
            raise errors.CannotIssue("pathLenConstraint 0: this CA issues leaves, and no CA (RFC 5280 §4.2.1.9)")
        return _signed(builder, self.certificate.subject, self._key_identifier, self.private_key)

    def issue(
        self,
        name: str,
        profile: Profile,
        *,
        names: Iterable[str] = (),
        days: int = 365,
        not_before: datetime | None = None,
        key_type: KeyType = "ec-p256",
    ) -> Credential:
        """Make a key, a CSR for it, and sign that: a whole credential in one step.

        `name` becomes the common name, `names` the subjectAltName. Raises what `new_csr` and `sign` raise.
        """
        private_key = credentials.new_private_key(key_type)
        certificate = self.sign(new_csr(private_key, name, names), profile, days=days, not_before=not_before)
        return Credential(certificate, private_key, self.chain)

    def crl(self, certificates: Iterable[x509.Certificate], *, days: int = 7) -> x509.CertificateRevocationList:
        """Sign the list of all certificates of this CA that are revoked as of now (RFC 5280 §5); it may be empty.

        `days` is how long the list counts: from then on a verifier that insists on one refuses everybody.
        Raises `errors.CannotIssue`; also for a certificate that another CA issued.
        """
        now, (begin, end), own = datetime.now(UTC), _validity(days, None, None), self.certificate
        builder = x509.CertificateRevocationListBuilder().issuer_name(own.subject).last_update(begin).next_update(end)
        builder = builder.add_extension(x509.CRLNumber(int(now.timestamp() * 1e6)), False)  # they grow, §5.2.3
        for certificate in certificates:
            if not credentials.is_issued_by(certificate, own):
                name = distinguished_name(certificate)
                raise errors.CannotIssue(f"{name} was not issued by this CA: its own CA must revoke it")
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_identifier)
        return builder.add_extension(identifier, False).sign(self.private_key, signature_hash(self.private_key))

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write ca.crt and ca.key (PEM; the key has mode 0600) into `folder`, as `Credential.save` does."""
        Credential(self.certificate, self.private_key, self.chain[1:]).save(folder, "ca", overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, password: str | None = None) -> CertificateAuthority:
        """Read ca.crt and ca.key from `folder`. Raises what `Credential.load` and the constructor raise."""
        credential = Credential.load(folder, "ca", password=password)
        # A root is who signed itself: an issuing CA may bear its root's name.
        is_root = credentials.is_issued_by(credential.certificate, credential.certificate)
        chain = () if is_root else (credential.certificate, *credential.chain)
        return cls(credential.certificate, credential.private_key, chain)


def _extensions(of: x509.Certificate | x509.CertificateSigningRequest) -> dict[type[x509.ExtensionType], Any]:
    return {type(extension.value): extension.value for extension in of.extensions}


def _may_sign(certificate: x509.Certificate) -> tuple[int | None, x509.SubjectKeyIdentifier]:
    """Return how many CAs may stand below one, and how its certificates point to it, if it is one."""
    name = distinguished_name(certificate)
    try:
        found = _extensions(certificate)
    except BROKEN:
        raise errors.CannotIssue(f"{name} has extensions that cannot be read: create a new CA") from None
    constraints, usage = found.get(x509.BasicConstraints), found.get(x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage and not usage.key_cert_sign):
        raise errors.CannotIssue(f"{name} is not a CA: its certificate lacks CA:TRUE or the keyCertSign usage")
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return constraints.path_length, found.get(x509.SubjectKeyIdentifier, own)


def _check_proof(csr: x509.CertificateSigningRequest) -> None:
    """Refuse a CSR whose key is weak, or whose signature does not show that the asker holds it (RFC 2986 §3)."""
    try:
        proven, weak = csr.is_signature_valid, credentials.weakness(csr.public_key())
    except BROKEN as error:
        raise errors.CSRRefused("bad-signature", f"its key or signature cannot be read ({error})") from None
    if weak:
        raise errors.CSRRefused("weak-key", weak)
    if not proven:
        raise errors.CSRRefused(
            "bad-signature", "its own private key did not sign it, or it was changed: make it again"
        )


def _refuse_wishes(csr: x509.CertificateSigningRequest, profile: Profile) -> None:
    """Refuse a CSR that asks for more than the profile gives. What else it asks for is left out."""
    try:
        found = _extensions(csr)
    except BROKEN as error:
        raise errors.CSRRefused("bad-request", f"its extensions cannot be read ({error})") from None
    constraints, usage = found.get(x509.BasicConstraints), found.get(x509.KeyUsage)
    foreign = set(found.get(x509.ExtendedKeyUsage, ())) - set(profile.extended_key_usage)
    wishes = (
        ("wants-ca", "CA:TRUE" if constraints and constraints.ca else ""),
        ("wants-ca", "keyCertSign or cRLSign" if usage and (usage.key_cert_sign or usage.crl_sign) else ""),
        ("wants-purpose", ", ".join(sorted(PURPOSES.get(oid, oid.dotted_string) for oid in foreign))),
    )
    for reason, wish in wishes:
        if wish and not profile.ca:
            raise errors.CSRRefused(reason, f"it asks for {wish}; a {profile.name} certificate never gets it")


def _checked_names(csr: x509.CertificateSigningRequest, profile: Profile) -> list[x509.GeneralName]:
    """Return the names for the subjectAltName, after checking every one of the CSR's, and its subject."""
    names = list(_extensions(csr).get(x509.SubjectAlternativeName, ()))
    try:
        subject = list(csr.subject)
        for attribute in subject:
            if attribute.oid == NameOID.COMMON_NAME:
                credentials.check_common_name(str(attribute.value))
            credentials.check_text(str(attribute.value), _UPPER_BOUNDS.get(attribute.oid, 64))
        for name in names:
            if credentials.general_name(str(name.value)) != name:  # as it reads, and of the kind that it looks like
                raise errors.NameRefused(str(name.value), "this CA vouches for DNS names, IPs and URIs (with ://) only")
    except BROKEN as error:
        problem = str(error) if isinstance(error, errors.NameRefused) else f"its subject cannot be read ({error})"
        raise errors.CSRRefused("bad-name", problem) from None
    if profile.needs_san and not any(isinstance(name, x509.DNSName | x509.IPAddress) for name in names):
        problem = "its subjectAltName has no host, and the common name must not stand in for one (RFC 9525 §2)"
        raise errors.CSRRefused("no-san", f"{problem}; give names=['localhost']")
    if not subject and (profile.ca or not names):
        raise errors.CSRRefused("bad-name", "it has no subject: nobody to certify (RFC 5280 §4.1.2.6)")
    # cryptography's verifier wants one of everybody, clients as well
    return names or ([_caller(csr.subject)] if profile is CLIENT else [])


def _caller(subject: x509.Name) -> x509.GeneralName:
    """Return the subject once more as a subjectAltName: a URI, which gRPC and Node.js read, or a directoryName."""
    attributes = list(subject)
    common_name = str(attributes[0].value)
    if len(attributes) > 1 or attributes[0].oid != NameOID.COMMON_NAME or not common_name.strip("."):
        return x509.DirectoryName(subject)
    return x509.UniformResourceIdentifier(CALLERS + quote(common_name, safe=""))


def _validity(days: int, not_before: datetime | None, issuer_end: datetime | None) -> tuple[datetime, datetime]:
    """Return a certificate's first and last moment. `issuer_end` is the CA's own last moment, None for a root."""
    if type(days) is not int or days < 1:
        raise errors.CannotIssue(f"days={days!r}: a lifetime is a whole number of days, 1 or more")
    if not_before is not None and not_before.tzinfo is None:
        raise errors.CannotIssue("not_before has no time zone; use datetime.now(timezone.utc)")
    if not_before is not None and not_before.astimezone(UTC).year < 1950:  # UTCTime's first (RFC 5280 §4.1.2.5.1)
        raise errors.CannotIssue(f"not_before={not_before:%Y-%m-%d}: a certificate begins in 1950 or later")
    begin = not_before or datetime.now(UTC).replace(microsecond=0)
    try:
        end = begin + timedelta(days=days)
    except OverflowError:
        raise errors.CannotIssue(f"days={days} ends after the year 9999, the last a certificate can name") from None
    if issuer_end is not None and issuer_end <= begin:
        raise errors.CannotIssue(f"the CA ends before this would begin ({issuer_end:%Y-%m-%d}); create a new CA")
    return not_before or begin - CLOCK_SKEW, min(end, issuer_end or end)


def _builder(
    csr: x509.CertificateSigningRequest, profile: Profile, validity: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    """Fill in all of a certificate (version 3, RFC 5280 §4.1) but its issuer and its names."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(x509.BasicConstraints(profile.ca, profile.path_length), critical=True)
        .add_extension(x509.KeyUsage(**{usage: usage in profile.key_usage for usage in KEY_USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
    )
    if profile.extended_key_usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(profile.extended_key_usage), critical=False)
    return builder


def _signed(
    builder: x509.CertificateBuilder, issuer: x509.Name, key_identifier: x509.SubjectKeyIdentifier, key: PrivateKey
) -> x509.Certificate:
    authority_key_identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier)
    builder = builder.issuer_name(issuer).add_extension(authority_key_identifier, critical=False)
    return builder.sign(key, signature_hash(key))
