"""Private keys, certificate signing requests, credentials, and the PEM files that hold them.

A *credential* is what one side shows and proves in a handshake: a certificate, the private key
that belongs to it, and the intermediate certificates that lead towards a root.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from mtlslab import errors

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
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # and what turns text around
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def check_common_name(name: str) -> str:
    """Return `name` if it may be a certificate's common name; raise `errors.NameRefused` if not.

    RFC 5280, appendix A.1 allows 1 to 64 characters (ub-common-name). Control characters and slashes
    are refused as well: names are printed, and become names of files.
    """
    if not isinstance(name, str):
        raise errors.NameRefused(name, "a name is text")
    in_bytes = len(name.encode(errors="replace"))
    rules = (
        (not name, "it is empty; RFC 5280 wants 1 to 64 characters"),
        (len(name) > 64, f"it has {len(name)} characters; RFC 5280 wants 1 to 64 (ub-common-name)"),
        (bool(_UNPRINTABLE.search(name)), "it holds a control character"),
        (bool(_SURROGATE.search(name)), "it holds half a character, a surrogate"),
        (in_bytes > 64, f"it takes {in_bytes} bytes in UTF-8, and cryptography writes 64 at most"),
        ("/" in name or "\\" in name, "it holds a slash"),
        (name != name.strip(), "it begins or ends with a space"),
    )
    for broken, rule in rules:
        if broken:
            raise errors.NameRefused(name, rule)
    return name


def check_host(host: str) -> str:
    """Return `host` if it may be a dNSName; raise `errors.NameRefused` if not.

    RFC 5280 §4.2.1.6 wants the preferred name syntax: labels of letters, digits and hyphens, 63 characters
    at most, 253 in all. RFC 9525 §6.3 allows a wildcard as the whole leftmost label only.
    """
    labels = host.split(".")
    if labels[0] == "*":
        if len(labels) < 3:
            raise errors.NameRefused(host, "a wildcard needs at least two labels after it, as in *.example.com")
        labels = labels[1:]
    if "*" in "".join(labels):
        raise errors.NameRefused(host, "a wildcard may only be the whole leftmost label (RFC 9525 §6.3)")
    if len(host) > 253:
        raise errors.NameRefused(host, "a host name has 253 characters at most")
    if not host.isascii():
        raise errors.NameRefused(host, "write it in its ASCII form, xn--… (RFC 5280 §7.2)")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise errors.NameRefused(
            host, "a host name is labels of letters, digits and inner hyphens, 1 to 63 each, joined by dots"
        )
    if labels[-1].isdigit():
        raise errors.NameRefused(host, "it ends in a number like an IP address, but is not one")
    return host


def check_uri(uri: str) -> str:
    """Return `uri` if it may be a uniformResourceIdentifier; raise `errors.NameRefused` if not.

    RFC 5280 §4.2.1.6 wants an absolute one in ASCII: a scheme, and something after it.
    """
    if not uri.isascii() or re.search(r"[\x00-\x20\x7f<>\"{}|\\^`]", uri):
        raise errors.NameRefused(uri, "a URI is ASCII without spaces; percent-encode the rest (RFC 3986)")
    rule = "a URI needs a scheme and a host or path, as in spiffe://example.org/client"
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise errors.NameRefused(uri, rule) from None
    if not parts.scheme or not (parts.netloc or (parts.path and "://" not in uri)):
        raise errors.NameRefused(uri, rule)
    return uri


def general_name(name: str) -> x509.GeneralName:
    """Tell what a subject alternative name is: an IP address, a URI (with :// or urn:), else a DNS name.

    Raises `errors.NameRefused` for one that is none of them (RFC 5280 §4.2.1.6).
    """
    if not isinstance(name, str) or not name:
        raise errors.NameRefused(name, "a subject alternative name is text, and not empty")
    if _UNPRINTABLE.search(name):
        raise errors.NameRefused(name, "it holds a control character")
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
    if isinstance(names, str):
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
        name, issuer = (n.rfc4514_string() for n in (self.certificate.subject, self.certificate.issuer))
        return f"<Credential {name}, issued by {issuer}>"

    def save(self, folder: str | os.PathLike[str], name: str, *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write `name`.crt (PEM: this certificate, then the chain) and `name`.key (PEM, PKCS #8, mode 0600).

        Returns both paths. The folder is made if need be. Both files are replaced or neither: a save that is
        cut short leaves the old pair or the new one. Raises `errors.FileInTheWay` (a FileExistsError) where a
        file exists and `overwrite` is not set, `errors.FileUnwritable`, `errors.NameRefused`.
        """
        certificate_path, key_path = _pair(folder, name)
        for path in (certificate_path, key_path):
            if path.exists() and not overwrite:
                raise errors.FileInTheWay(
                    path, "the file exists", "save elsewhere, or pass overwrite=True to replace it"
                )
        certificates = b"".join(map(certificate_pem, (self.certificate, *self.chain)))
        try:
            certificate_path.parent.mkdir(parents=True, exist_ok=True)
            _replace_pair(key_path, private_key_pem(self.private_key), certificate_path, certificates)
        except OSError as error:
            problem = f"the pair cannot be written ({error.strerror or error})"
            cure = "check that this is a folder you may write to, and that the disk has room"
            raise errors.FileUnwritable(certificate_path.parent, problem, cure) from error
        return certificate_path, key_path

    @classmethod
    def load(cls, folder: str | os.PathLike[str], name: str, *, password: str | None = None) -> Credential:
        """Read `name`.crt and `name`.key from `folder`.

        Raises the `errors.FileRefused` that fits the file, or `errors.KeyMismatch`.
        """
        certificate_path, key_path = _pair(folder, name)
        _finish_cut_short_save(key_path, certificate_path)
        return read_credential(certificate_path, key_path, password=password)


def read_credential(
    certificate_path: str | os.PathLike[str], key_path: str | os.PathLike[str], *, password: str | None = None
) -> Credential:
    """Read a certificate, with whatever chain follows it, and its private key from two PEM files.

    Raises the `errors.FileRefused` that fits the file, or `errors.KeyMismatch`.
    """
    certificate, *chain = read_certificates(certificate_path)
    private_key = read_private_key(key_path, password=password)
    if certificate.public_key() != private_key.public_key():
        raise errors.KeyMismatch(
            f"the key in {key_path} does not belong to the certificate in {certificate_path}; "
            "use the key that its CSR was made with, or have a new certificate issued for this key"
        )
    return Credential(certificate, private_key, tuple(chain))


# --- PEM files ------------------------------------------------------------------------------------
#
# cryptography's `serialization` brings SSH's formats along: it is imported where a file is read or written, so that
# `import mtlslab` stays quick.


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return the certificate as PEM (RFC 7468)."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def private_key_pem(private_key: PrivateKey) -> bytes:
    """Return the private key as unencrypted PKCS #8 in PEM (RFC 7468 §10, RFC 5958)."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_certificates(path: str | os.PathLike[str]) -> list[x509.Certificate]:
    """Read every certificate of a PEM file, in the file's order; at least one.

    Raises `errors.FileMissing`, `errors.FileUnreadable` or `errors.FileContents`.
    """

    def parse(data: bytes) -> list[x509.Certificate]:
        if data.count(b"-----BEGIN ") != data.count(b"-----END "):
            raise ValueError("a block without an end")  # which the parser would leave out without a word
        return x509.load_pem_x509_certificates(data)

    return _parse(path, "certificate", parse)


def read_private_key(path: str | os.PathLike[str], *, password: str | None = None) -> PrivateKey:
    """Read a private key from a PEM file. An encrypted one needs `password`; nobody is ever prompted.

    Raises `errors.FileMissing`, `errors.FileUnreadable` or `errors.FileContents`.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    secret = password.encode() if password else None

    def parse(data: bytes) -> PrivateKey:
        try:
            key = load_pem_private_key(data, secret)
        except TypeError:  # cryptography's word for a password missing, or one too many
            if secret is None:
                raise _Refused(
                    "the private key is encrypted", "give its password, or remove it: openssl pkey"
                ) from None
            key = load_pem_private_key(data, None)
        if not isinstance(key, PrivateKey):
            raise _Refused("this kind of key does not sign TLS handshakes", "use an EC, RSA or Ed25519 key")
        return key

    return _parse(path, "private key", parse)


_Parsed = TypeVar("_Parsed")


class _Refused(Exception):
    """Carries a problem and its cure up to `_parse`, which knows the path."""


def _parse(path: str | os.PathLike[str], wanted: str, parse: Callable[[bytes], _Parsed]) -> _Parsed:
    file = Path(path)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise errors.FileMissing(
            file, f"there is no such {wanted} file", "check the path, or make the file first"
        ) from None
    except (OSError, ValueError) as error:  # a ValueError is of the path: a NUL in it
        problem = f"the {wanted} file cannot be read ({getattr(error, 'strerror', error)})"
        raise errors.FileUnreadable(
            file, problem, "check that it is a file and that its mode lets you read it"
        ) from None
    try:
        return parse(data)
    except _Refused as refused:
        raise errors.FileContents(file, *refused.args) from None
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        # `from None`: a parser's own words may quote the file, and the file may hold a key.
        raise errors.FileContents(file, *_explain(data, wanted)) from None


def _explain(data: bytes, wanted: str) -> tuple[str, str]:
    """Say what a file that would not parse holds instead, and the cure."""
    openssl = "x509" if wanted == "certificate" else "pkey"
    label = wanted.upper()
    explanations = (
        (not data.strip(), "the file is empty", "make it again, or copy it again"),
        (
            is_pkcs12(data),
            "it holds PKCS#12, not PEM",
            "take it apart: openssl pkcs12 -in FILE -out NEWFILE",
        ),
        (
            data[:1] == b"\x30",
            "it holds DER, not PEM",
            f"convert it: openssl {openssl} -inform DER -in FILE -out NEWFILE",
        ),
        (b"-----BEGIN" not in data, "it holds no PEM block", f"a PEM {wanted} has a line -----BEGIN {label}-----"),
        (
            wanted == "certificate" and b"PRIVATE KEY-----" in data and b"BEGIN CERTIFICATE-" not in data,
            "it holds a private key where a certificate is meant",
            "swap the two files",
        ),
        (
            b"BEGIN CERTIFICATE REQUEST" in data,
            f"it holds a CSR where a {wanted} is meant",
            "have a CA sign the CSR first",
        ),
        (
            wanted == "private key" and b"BEGIN CERTIFICATE-" in data and b"PRIVATE KEY-----" not in data,
            "it holds a certificate where a private key is meant",
            "name the file of its key, or swap the two files",
        ),
        (b"ENCRYPTED" in data, "the password does not open it", "check the password"),
    )
    for holds, problem, cure in explanations:
        if holds:
            return problem, cure
    return f"its PEM block is not a well-formed {wanted}", "it may be cut short or damaged: make it or copy it again"


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` has the issuer's name and the key that made the signature (RFC 5280 §6.1.3)."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # a signature that does not verify, or a kind of key that cannot
        return False
    return True


def is_pkcs12(data: bytes) -> bool:
    """Tell PKCS#12 from other DER: its first field is its version, the number 3 (RFC 7292 §4)."""
    return data[:1] == b"\x30" and b"\x02\x01\x03" in data[:8]


def _pair(folder: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    check_common_name(name)
    if name.startswith(".") or re.search(r'[:*?"<>|]', name):
        raise errors.NameRefused(name, 'a file name does not begin with a dot or hold any of :*?"<>|')
    return Path(folder) / f"{name}.crt", Path(folder) / f"{name}.key"


def _pending(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    # Created with mode 0600: there is no moment at which others can read it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace_pair(key_path: Path, key: bytes, certificate_path: Path, certificate: bytes) -> None:
    """Replace two files as one step: all is written beside them first, and only then renamed into place.

    Between the two renames a failure puts the old key back; a process killed there leaves the new certificate
    waiting, and the next load, or save, finishes the step.
    """
    _finish_cut_short_save(key_path, certificate_path)
    new_key, new_certificate = _pending(key_path), _pending(certificate_path)
    new_certificate.unlink(missing_ok=True)
    old_key = key_path.read_bytes() if key_path.exists() else None
    try:
        _write_private(new_key, key)
        _write_private(new_certificate, certificate)
        new_certificate.chmod(0o644)
        new_key.replace(key_path)
        with suppress(FileNotFoundError):  # another process loads this pair, and has finished the step already
            new_certificate.replace(certificate_path)
    except BaseException:
        if new_certificate.exists() and not new_key.exists():  # between the two renames
            _put_back(key_path, old_key)
        new_certificate.unlink(missing_ok=True)
        new_key.unlink(missing_ok=True)
        raise


def _put_back(key_path: Path, old_key: bytes | None) -> None:
    if old_key is None:
        key_path.unlink()
    else:
        _write_private(_pending(key_path), old_key)
        _pending(key_path).replace(key_path)


def _finish_cut_short_save(key_path: Path, certificate_path: Path) -> None:
    pending = _pending(certificate_path)
    with suppress(errors.MtlslabError):
        if pending.exists():
            read_credential(pending, key_path)  # raises unless the two belong together
            pending.replace(certificate_path)
            _pending(key_path).unlink(missing_ok=True)
