"""Whom a run attacks, as whom, and by which words an answer names them."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.client import check_url
from mtlslab.credentials import Credential, new_private_key, signature_hash
from mtlslab.probe.wire import Wire


def wire_to(url: str, option: str, this_is_mine: str | None, timeout: float) -> Wire:
    """Look a URL's host up, once. Raises `errors.OptionRefused` for another machine's that was not named once more."""
    parsed = check_url(url)
    if option == "url" and parsed.scheme != "https":
        raise errors.OptionRefused(option, f"{url!r} is not https: without TLS nobody has a certificate")
    host = parsed.host
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise errors.OptionRefused(option, f"there is no address for {host!r} ({error})") from None
    addresses = [str(entry[4][0]) for entry in found]
    if host != this_is_mine and not all(ipaddress.ip_address(a.split("%")[0]).is_loopback for a in addresses):
        cure = f"these are attacks; if it is your own, say so: --this-is-mine {host}"
        raise errors.OptionRefused(option, f"{host!r} is another machine than this one; {cure}")
    return Wire(_answering(addresses, port, timeout), port, host if parsed.scheme == "https" else None, timeout)


def _answering(addresses: list[str], port: int, timeout: float) -> str:
    """Return the first address where somebody listens, or the first."""
    for address in addresses:
        try:
            socket.create_connection((address, port), timeout).close()
        except OSError:
            continue
        return address
    return addresses[0]


def lookalike(victim: x509.Certificate) -> Credential:
    """Make a credential with the victim's names, from a CA with its CA's name: nobody should believe it.

    It names that other CA's key, so that a verifier looks for it, and does not find it, instead of finding its own CA's
    signature wrong: the first is what some proxies let pass.
    """
    authority = CertificateAuthority.create("lookalike")
    key, now = new_private_key(), datetime.now(UTC)
    builder = x509.CertificateBuilder(
        victim.issuer,
        victim.subject,
        key.public_key(),
        x509.random_serial_number(),
        now - timedelta(hours=1),
        now + timedelta(hours=1),
    )
    for extension in victim.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName | x509.ExtendedKeyUsage | x509.KeyUsage):
            builder = builder.add_extension(extension.value, extension.critical)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.private_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return Credential(builder.sign(authority.private_key, signature_hash(authority.private_key)), key)


@dataclass(frozen=True)
class Markers:
    """By which words an answer names each of two callers: their names, fingerprints and serial numbers."""

    me: re.Pattern[str]
    victim: re.Pattern[str]

    @classmethod
    def of(cls, me: x509.Certificate, victim: x509.Certificate) -> Markers:
        """Take what only one of the two has. Raises `errors.OptionRefused` for one caller, twice."""
        mine, theirs = _words(me), _words(victim)
        if not mine - theirs or not theirs - mine:
            raise errors.OptionRefused("victim", "it has the names of --cert; take the certificate of another caller")
        return cls(_any_of(mine - theirs), _any_of(theirs - mine))

    def named(self, text: str) -> str:
        """Return "me", "the victim", "me and the victim" or "nobody"."""
        me, victim = self.me.search(text), self.victim.search(text)
        return "me and the victim" if me and victim else "me" if me else "the victim" if victim else "nobody"


def _words(certificate: x509.Certificate) -> set[str]:
    words = {str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        words |= {name.value for name in names if isinstance(name, x509.DNSName | x509.RFC822Name)}
        words |= {name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)}
    except (x509.ExtensionNotFound, ValueError):
        pass
    fingerprint = certificate.fingerprint(SHA256()).hex()
    return words | {fingerprint, ":".join(re.findall("..", fingerprint)), f"{certificate.serial_number:x}"}


def _any_of(words: set[str]) -> re.Pattern[str]:
    """Match a word, whole: `al` does not stand in `alice`, nor `alice` in `alice2`."""
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, words))})(?![\w-]|\.\w)", re.IGNORECASE)
