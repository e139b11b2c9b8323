"""Private keys, certificate signing requests, credentials, and the PEM files that hold them.

A *credential* is what one side shows and proves in a handshake: a certificate, the private key
that belongs to it, and the intermediate certificates that lead towards a root.
"""

from __future__ import annotations

import ipaddress
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from mtlslab import errors
from mtlslab.pairs import read_pair, save_pair

KeyType = Literal["ec-p256", "rsa-2048", "ed25519"]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_KEY_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa-2048": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def new_private_key(key_type: KeyType = "ec-p256") -> PrivateKey:
    """Make a private key: P-256 ("ec-p256"), 2048-bit RSA ("rsa-2048") or Ed25519 ("ed25519").

    Raises `errors.KeyTypeRefused` for any other word.
    """
    if key_type not in _KEY_MAKERS:
        raise errors.KeyTypeRefused(f"key_type {key_type!r} is not one of {', '.join(_KEY_MAKERS)}")
    return _KEY_MAKERS[key_type]()


def weakness(public_key: object) -> str | None:
    """Say why a public key is too weak or of a kind not used in TLS certificates; None if it is neither."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"RSA of {public_key.key_size} bits; use 2048 or more" if public_key.key_size < 2048 else None
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        bits = public_key.curve.key_size
        return f"a curve of {bits} bits; use P-256 or a larger one" if bits < 256 else None
    if isinstance(public_key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return None
    return f"{type(public_key).__name__} does not sign TLS handshakes; use an EC, RSA or Ed25519 key"


def signature_hash(private_key: PrivateKey) -> hashes.SHA256 | None:
    """Return the hash to sign with: SHA-256, or None for Ed25519 and Ed448, which bring their own (RFC 8410)."""
    return None if isinstance(private_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()


# --- names ----------------------------------------------------------------------------------------

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_URI = re.compile(
    r"[a-z][a-z0-9+.-]*:(//([^][/?#@]*@)?(\[[0-9a-f:.]+]|[^][/?#@:]+)(:\d*)?([/?#].*)?|(?!//)[^?#].*)", re.IGNORECASE
)
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that Unicode calls letters, marks or symbols, and that show nothing."""

_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
"""What Windows takes for a device, whatever follows the dot."""


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor, change its colours or end a row of a table."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def distinguished_name(
    of: x509.Certificate | x509.CertificateSigningRequest, which: Literal["subject", "issuer"] = "subject"
) -> str:
    """Write a name as openssl does: CN=example-ca. Strangers choose theirs: nothing is in it that moves a cursor."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of one that is longer than its kind may be
            return printable(getattr(of, which).rfc4514_string()) or "(empty)"
    except BROKEN:
        return "(unreadable)"


def _checked(name: str, *rules: tuple[bool, str]) -> str:
    for broken, rule in rules:
        if broken:
            raise errors.NameRefused(name, rule)
    return name


def check_text(name: str, most: int = 64) -> str:
    """Return `name` if it may be a value in a subject; raise `errors.NameRefused` if not.

    RFC 5280, appendix A.1 allows 1 to `most` characters: 64 for most kinds of names. What cannot be seen is refused
    as well: names are printed.
    """
    if not isinstance(name, str):
        raise errors.NameRefused(name, "a name is text")
    unseen = not name.isprintable() or bool(_BLANK.search(name))
    return _checked(
        name,
        (not name, "it is empty"),
        (len(name) > most, f"it has {len(name)} characters, and may have {most}"),
        (unseen, "it holds a control character, half a character (a surrogate) or one that cannot be seen"),
        (name != name.strip(), "it begins or ends with a space"),
    )


def check_common_name(name: str) -> str:
    """Return `name` if it may be a certificate's common name; raise `errors.NameRefused` if not.

    It is text of 1 to 64 characters (RFC 5280, appendix A.1: ub-common-name), and of 64 bytes, without slashes: common
    names become names of files.
    """
    in_bytes = len(check_text(name).encode())
    return _checked(
        name,
        (in_bytes > 64, f"it takes {in_bytes} bytes in UTF-8, and cryptography writes 64 at most"),
        ("/" in name or "\\" in name, "it holds a slash"),
    )


def check_host(host: str) -> str:
    """Return `host` if it may be a dNSName; raise `errors.NameRefused` if not.

    RFC 5280 §4.2.1.6 wants the preferred name syntax: labels of letters, digits and hyphens, 63 characters
    at most, 253 in all. RFC 9525 §6.3 allows a wildcard as the whole leftmost label only.
    """
    first, *others = labels = host.split(".")
    plain = others if first == "*" else labels
    odd = not all(map(_LABEL.fullmatch, plain))
    return _checked(
        host,
        (first == "*" and len(others) < 2, "a wildcard needs at least two labels after it, as in *.example.com"),
        ("*" in "".join(plain), "a wildcard may only be the whole leftmost label (RFC 9525 §6.3)"),
        (len(host) > 253, "a host name has 253 characters at most"),
        (not host.isascii(), "write it in its ASCII form, xn--… (RFC 5280 §7.2)"),
        (odd, "a host name is labels of letters, digits and inner hyphens, 1 to 63 each, joined by dots"),
        (labels[-1].isdigit(), "it ends in a number like an IP address, but is not one"),
    )


def check_uri(uri: str) -> str:
    """Return `uri` if it may be a uniformResourceIdentifier; raise `errors.NameRefused` if not.

    RFC 5280 §4.2.1.6 wants an absolute one in ASCII: a scheme, and something after it.
    """
    odd = not uri.isascii() or re.search(r"[\x00-\x20\x7f<>\"{}|\\^`]|%(?![0-9A-Fa-f]{2})", uri)
    return _checked(
        uri,
        (bool(odd), "a URI is ASCII without spaces; percent-encode the rest (RFC 3986)"),
        (not _URI.fullmatch(uri), "a URI needs a scheme and a host or path, as in spiffe://example.org/client"),
    )


def general_name(name: str) -> x509.GeneralName:
    """Tell what a subject alternative name is: an IP address, a URI (with :// or urn:), else a DNS name.

    Raises `errors.NameRefused` for one that is none of them (RFC 5280 §4.2.1.6).
    """
    if not isinstance(name, str) or not name:
        raise errors.NameRefused(name, "a subject alternative name is text, and not empty")
    check_text(name, 65535)
    if "%" not in name:  # a zone (fe80::1%eth0) has no place in a certificate
        with suppress(ValueError):
            return x509.IPAddress(ipaddress.ip_address(name))
    if "://" in name or name.lower().startswith("urn:"):
        return x509.UniformResourceIdentifier(check_uri(name))
    return x509.DNSName(check_host(name))


def new_csr(private_key: PrivateKey, common_name: str, names: Iterable[str] = ()) -> x509.CertificateSigningRequest:
    """Make a certificate signing request (RFC 2986), signed with `private_key`.

    `names` become its subjectAltName: DNS names, IP addresses and URIs, told apart by their look.
    Raises `errors.NameRefused`.
    """
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise errors.NameRefused(names, "names= takes a list, as in names=['localhost', '127.0.0.1']")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_common_name(common_name))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if general_names := [general_name(name) for name in names]:
        builder = builder.add_extension(x509.SubjectAlternativeName(general_names), critical=False)
    return builder.sign(private_key, signature_hash(private_key))


# --- credentials ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Credential:
    """A certificate, its private key, and the intermediates that follow it in a handshake.

    Fields: `certificate`, `private_key` (cryptography objects; the key is never shown), `chain`
    (issuing CAs, nearest first, without the root).
    """

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    def __repr__(self) -> str:
        name, issuer = distinguished_name(self.certificate), distinguished_name(self.certificate, "issuer")
        return f"<Credential {name}, issued by {issuer}>"

    def save(self, folder: str | os.PathLike[str], name: str, *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write `name`.crt (PEM: this certificate, then the chain) and `name`.key (PEM, PKCS #8, mode 0600).

        Returns both paths. The folder is made if need be. Both files are replaced or neither, as `save_pair` says.
        Raises `errors.FileInTheWay` (a FileExistsError) where a file exists and `overwrite` is not set,
        `errors.FileUnwritable`, `errors.NameRefused`.
        """
        certificate_path, key_path = _pair(folder, name)
        certificates = b"".join(map(certificate_pem, (self.certificate, *self.chain)))
        secret, public = (key_path, private_key_pem(self.private_key)), (certificate_path, certificates)
        save_pair(secret, public, overwrite, partial(_read_both, key_path, None))
        return certificate_path, key_path

    @classmethod
    def load(cls, folder: str | os.PathLike[str], name: str, *, password: str | None = None) -> Credential:
        """Read `name`.crt and `name`.key from `folder`, as `read_credential` does, and raise what it raises."""
        return read_credential(*_pair(folder, name), password=password)


def _pair(folder: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    check_common_name(name)
    if name.startswith(".") or re.search(r'[:*?"<>|]', name) or _DEVICE.fullmatch(name):
        raise errors.NameRefused(name, 'a file name has no leading dot, none of :*?"<>|, and is no device of Windows')
    if not isinstance(folder, str | os.PathLike) or not isinstance(os.fspath(folder), str):
        raise errors.OptionRefused("folder", f"{folder!r} is not the path of a folder")
    return Path(folder) / f"{name}.crt", Path(folder) / f"{name}.key"


BROKEN = ValueError, TypeError, KeyError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType
"""What cryptography raises where a part of a certificate is malformed, or of a kind that it does not know."""


def belongs(private_key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Tell whether a private key is the one of a certificate. A public key that cannot be read is nobody's."""
    with suppress(*BROKEN):
        return certificate.public_key() == private_key.public_key()
    return False


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` has the issuer's name and the key that made the signature (RFC 5280 §6.1.3)."""
    with suppress(Exception):  # of a signature that does not verify, or of a kind of key that cannot
        certificate.verify_directly_issued_by(issuer)
        return True
    return False


# --- reading PEM files ----------------------------------------------------------------------------
#
# cryptography's `serialization` brings SSH's formats along: it is imported where a file is read or written, so that
# `import mtlslab` stays quick.

FilePath = str | os.PathLike[str]


def read_credential(certificate_path: FilePath, key_path: FilePath, *, password: str | None = None) -> Credential:
    """Read a certificate, with whatever chain follows it, and its private key from two PEM files.

    Nothing is written, and a pair that is being saved is read whole, as `pairs.read_pair` says. Raises the
    `errors.FileRefused` that fits the file, or `errors.KeyMismatch`.
    """
    return read_pair(partial(_read_both, key_path, password), Path(certificate_path))


def _read_both(key_path: FilePath, password: str | None, certificate_path: FilePath) -> Credential:
    certificate, *chain = read_certificates(certificate_path)
    private_key = read_private_key(key_path, password=password)
    if not belongs(private_key, certificate):
        problem = f"the key in {key_path} does not belong to the certificate in {certificate_path}"
        cure = "use the key that its CSR was made with, or have a new certificate issued for this key"
        raise errors.KeyMismatch(f"{problem}; {cure}")
    return Credential(certificate, private_key, tuple(chain))


def read_certificates(path: FilePath) -> list[x509.Certificate]:
    """Read every certificate of a PEM file, in the file's order; at least one.

    Raises `errors.FileMissing`, `errors.FileUnreadable` or `errors.FileContents`.
    """
    with _parsing(path, "certificate") as data:
        if data.count(b"-----BEGIN ") != data.count(b"-----END "):
            raise ValueError("a block without an end")  # which the parser would leave out without a word
        return x509.load_pem_x509_certificates(data)


def read_private_key(path: FilePath, *, password: str | None = None) -> PrivateKey:
    """Read a private key from a PEM file. An encrypted one needs `password`; nobody is ever prompted.

    Raises `errors.FileMissing`, `errors.FileUnreadable`, `errors.FileContents`, or `errors.OptionRefused` for a
    password that is no text.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        secret = password.encode() if password else None
    except (AttributeError, UnicodeError):
        raise errors.OptionRefused("password", "it is not text that can be written in UTF-8") from None
    with _parsing(path, "private key") as data:
        key = load_pem_private_key(data, secret if b"ENCRYPTED" in data else None)
        if not isinstance(key, PrivateKey):
            raise UnsupportedAlgorithm("it agrees on secrets, or signs no handshakes")
        return key


@contextmanager
def _parsing(path: FilePath, wanted: str) -> Iterator[bytes]:
    """Read a file, and say what is wrong with it, where reading it or the block fails."""
    file = Path(path)
    try:
        if file.exists() and not file.is_file():
            raise OSError(0, "it is a folder, or a device")  # which may have no end
        with file.open("rb") as opened:
            data = opened.read(10_000_000)
    except FileNotFoundError:
        cure = "check the path, or make the file first"
        raise errors.FileMissing(file, f"there is no such {wanted} file", cure) from None
    except (OSError, ValueError) as error:  # a ValueError is of the path: a NUL in it
        problem = f"the {wanted} file cannot be read ({getattr(error, 'strerror', error)})"
        cure = "check that it is a file and that its mode lets you read it"
        raise errors.FileUnreadable(file, problem, cure) from None
    try:
        yield data
    except UnsupportedAlgorithm:
        problem = "this kind of key does not sign TLS handshakes"
        raise errors.FileContents(file, problem, "use an EC, RSA or Ed25519 key") from None
    except Exception:  # of many kinds; `from None`: a parser's words may quote the file, and the file may hold a key
        raise errors.FileContents(file, *_explain(data, wanted)) from None


def _explain(data: bytes, wanted: str) -> tuple[str, str]:
    """Say what a file that would not parse holds instead, and the cure."""
    is_key, key, crt = wanted == "private key", b"PRIVATE KEY-----" in data, b"BEGIN CERTIFICATE-" in data
    convert = f"convert it: openssl {'pkey' if is_key else 'x509'} -inform DER -in FILE -out NEWFILE"
    explanations = (
        (not data.strip(), "the file is empty", "make it again, or copy it again"),
        (is_pkcs12(data), "it holds PKCS#12, not PEM", "take it apart: openssl pkcs12 -in FILE -noenc -out NEWFILE"),
        (data[:1] == b"\x30", "it holds DER, not PEM", convert),
        (b"-----BEGIN" not in data, "it holds no PEM block", f"a PEM file says -----BEGIN {wanted.upper()}-----"),
        (not is_key and key and not crt, "it holds a private key where a certificate is meant", "swap the two files"),
        (b"BEGIN CERTIFICATE REQUEST" in data, f"it holds a CSR where a {wanted} is meant", "have a CA sign it first"),
        (is_key and crt and not key, "it holds a certificate where a private key is meant", "name the file of its key"),
        (
            b"ENCRYPTED" in data,
            "the private key is encrypted",
            "give its password, as openssl pkey takes it",
        ),
        (True, f"its PEM block is not a well-formed {wanted}", "it may be cut short or damaged: make or copy it again"),
    )
    return next((problem, cure) for holds, problem, cure in explanations if holds)


def is_pkcs12(data: bytes) -> bool:
    """Tell PKCS#12 from other DER: its first field is its version, the number 3 (RFC 7292 §4)."""
    return data[:1] == b"\x30" and b"\x02\x01\x03" in data[:8]


# --- writing files --------------------------------------------------------------------------------


def certificate_pem(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Return the certificate, or the list of revoked ones, as PEM (RFC 7468)."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def private_key_pem(private_key: PrivateKey) -> bytes:
    """Return the private key as unencrypted PKCS #8 in PEM (RFC 7468 §10, RFC 5958)."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
