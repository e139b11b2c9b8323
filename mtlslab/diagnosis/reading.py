"""Files as people have them: read once, never waited for without end, and named for what they are."""

from __future__ import annotations

import binascii
import os
import re
import select
import ssl
import stat
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from cryptography import x509

from mtlslab import contexts, errors
from mtlslab.credentials import FilePath, PrivateKey, read_certificates, read_private_key

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_GLUED = re.compile(rb"-----END [A-Z0-9 ]+-----[ \t]*-----BEGIN")

_SHAPES: tuple[tuple[Callable[[bytes], object], str, str], ...] = (
    (
        lambda d: d[:2] in (b"\xff\xfe", b"\xfe\xff"),
        "it is text in UTF-16, as PowerShell's > writes it",
        "save it as ASCII: iconv -f UTF-16 -t ASCII FILE > NEWFILE",
    ),
    (lambda d: d[:2] == b"\x1f\x8b", "it is compressed with gzip", "unpack it: gunzip < FILE > NEWFILE"),
    (
        lambda d: d[:4] == b"\xfe\xed\xfe\xed",
        "it is a Java keystore (JKS)",
        "convert it: keytool -importkeystore -srckeystore FILE -destkeystore NEWFILE -deststoretype PKCS12",
    ),
    (
        lambda d: re.match(rb"\s*<(!doctype|html|\?xml)", d, re.IGNORECASE),
        "it is a web page, such as a sign-in page saved in its place",
        "download it again, signed in",
    ),
    (lambda d: d[:1] == b"{", "it is JSON", "take the PEM text out of it"),
    (
        lambda d: b"-----BEGIN" not in d and b"-----BEGIN" in _unwrapped(d),
        "it is PEM in base64 once more, as in a Kubernetes Secret",
        "decode it: base64 -d FILE > NEWFILE",
    ),
    (
        lambda d: b"BEGIN PKCS7" in d,
        "it is PKCS#7, a bundle of certificates",
        "convert it: openssl pkcs7 -print_certs -in FILE -out NEWFILE",
    ),
    (
        lambda d: b"BEGIN OPENSSH PRIVATE KEY" in d,
        "it is a key in OpenSSH's own format",
        "convert it, in a copy: ssh-keygen -p -m PKCS8 -f NEWFILE",
    ),
    (lambda d: d.startswith(b"PuTTY-User-Key-File"), "it is a key in PuTTY's format", "export it from puttygen as PEM"),
    (
        lambda d: b"PUBLIC KEY-----" in d and b"PRIVATE KEY-----" not in d,
        "it holds a public key",
        "name the file of the private key: a public one proves nothing",
    ),
    (
        lambda d: _BLOCK.search(d) and b"\\n" in d,
        "its line ends are written as \\n, as in an environment variable",
        "write them as line ends: printf '%b' \"$(cat FILE)\" > NEWFILE",
    ),
    (
        lambda d: _BLOCK.search(d) and b"\r" in d and b"\n" not in d,
        "its lines end with a carriage return alone",
        "give it line ends: tr '\\r' '\\n' < FILE > NEWFILE",
    ),
    (
        lambda d: _BLOCK.search(d) and b"\n" not in d.strip(),
        "it is all on one line",
        "copy it again with its line ends: PEM wants the BEGIN and END lines to stand alone",
    ),
    (
        _GLUED.search,
        "two of its blocks share a line: a line end is missing between them",
        "put a line end there: sed 's/----------/-----\\n-----/' FILE > NEWFILE",
    ),
    (
        lambda d: re.search(rb"^[ \t]+-----BEGIN", d, re.MULTILINE),
        "its lines are indented, as in a YAML file",
        "take the spaces away: sed 's/^ *//' FILE > NEWFILE",
    ),
    (
        lambda d: not _BLOCK.search(d) and re.search(rb"-+ ?BEGIN [A-Z]", d),
        "its BEGIN line has not five dashes on each side",
        "copy it again, dashes and all",
    ),
)
"""What a file may be instead of clean PEM: how to tell, what it is, and the cure."""

_OPENSSL = "OpenSSL does not read it, nor do the programs built on it; other readers may"
_PATIENCE = 1.0
"""How long nobody may write into a pipe, in seconds."""
_LARGEST = 1 << 24


def _unwrapped(data: bytes) -> bytes:
    try:
        return b64decode(b"".join(data[:4096].split())[: 4096 // 8 * 4], validate=True)
    except (binascii.Error, ValueError):
        return b""


def read_once(path: FilePath, timeout: float) -> bytes:
    """Read a file, or what comes through a pipe within `timeout` seconds. Raises `errors.FileRefused`."""
    file = Path(path)
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        read_certificates(file)  # says what is wrong
        raise errors.FileUnreadable(file, "the file cannot be read", "check its mode") from None
    mode = os.fstat(descriptor).st_mode
    try:
        if stat.S_ISDIR(mode):
            raise errors.FileUnreadable(file, "it is a folder", "name a file in it")
        if stat.S_ISREG(mode):
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                data = opened.read(_LARGEST + 1)
        else:
            data = _through_pipe(file, descriptor, timeout)
    except errors.FileRefused:
        raise
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror})"
        raise errors.FileUnreadable(file, problem, "check that it is a file, and its mode") from None
    finally:
        os.close(descriptor)
    if data is None or len(data) > _LARGEST:
        raise errors.FileContents(file, "it has no end, or is larger than any file of certificates", "check the path")
    return data


def _through_pipe(file: Path, descriptor: int, timeout: float) -> bytes:
    data, began = b"", time.monotonic()
    while len(data) <= _LARGEST:
        try:
            piece = os.read(descriptor, 65536)
        except BlockingIOError:
            if not select.select([descriptor], [], [], max(began + timeout - time.monotonic(), 0))[0]:
                problem = f"it is a pipe, and its writer has said nothing to the end for {timeout:g} s"
                raise errors.FileUnreadable(file, problem, "look at the program that writes into it") from None
            continue
        data += piece
        if not piece and (data or time.monotonic() > began + min(_PATIENCE, timeout)):
            break
        if not piece:
            time.sleep(0.02)  # a pipe by name, whose writer is still to come
    if not data:
        problem = "it is a pipe or a device, and nobody has written into it"
        raise errors.FileUnreadable(file, problem, "start the program that writes into it, or name a file")
    return data


_Parsed = TypeVar("_Parsed")


@contextmanager
def _laid_down(*contents: bytes) -> Iterator[list[Path]]:
    """Lay each of these in a file of ours alone while the block lasts."""
    with ExitStack() as afterwards:
        paths = []
        for data in contents:
            handle, name = tempfile.mkstemp(prefix="mtlslab-")  # mode 0600
            paths.append(Path(name))
            afterwards.callback(paths[-1].unlink)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
        yield paths


def _parsed(path: FilePath, data: bytes, read: Callable[[Path], _Parsed]) -> _Parsed:
    """Have the package's own reader read bytes, and say what they are where it does not."""
    with _laid_down(data) as (copy,):
        try:
            return read(copy)
        except errors.FileRefused as refused:
            raise _named(path, data) or errors.FileContents(Path(path), refused.problem, refused.cure) from None


def _named(path: FilePath, data: bytes) -> errors.FileContents | None:
    return next((errors.FileContents(Path(path), what, cure) for fits, what, cure in _SHAPES if fits(data)), None)


def certificates_in(path: FilePath, data: bytes) -> list[x509.Certificate]:
    """Read certificates, at least one, also from OpenSSL's TRUSTED blocks. Raises `errors.FileRefused`."""
    return _parsed(path, _without_trust(data), read_certificates)


def certificates_among(data: bytes) -> list[x509.Certificate]:
    """Read the certificates of a file that nobody named; none of one that `certificates_in` would refuse."""
    if b"CERTIFICATE-----" in data and data.count(b"-----BEGIN ") == data.count(b"-----END "):
        with suppress(Exception):  # of many kinds, and here they are all the same
            return x509.load_pem_x509_certificates(_without_trust(data))
    return []


def key_in(path: FilePath, data: bytes, password: str | None) -> PrivateKey:
    """Read a private key. Raises `errors.FileRefused`."""
    return _parsed(path, data, lambda copy: read_private_key(copy, password=password))


_TRUSTED = re.compile(rb"-----BEGIN TRUSTED CERTIFICATE-----(.*?)-----END TRUSTED CERTIFICATE-----", re.DOTALL)


def _without_trust(data: bytes) -> bytes:
    """Turn TRUSTED CERTIFICATE blocks into plain ones: a certificate, and after it what OpenSSL trusts it for."""

    def plain(block: re.Match[bytes]) -> bytes:
        with suppress(binascii.Error, ValueError):
            der = b64decode(block[1])
            count = der[1] & 0x7F if len(der) > 1 and der[1] & 0x80 else 0
            length = int.from_bytes(der[2 : 2 + count]) if count else der[1]
            return ssl.DER_cert_to_PEM_cert(der[: 2 + count + length]).encode().strip()
        return block[0]

    with suppress(IndexError):
        return _TRUSTED.sub(plain, data)
    return data


def unread_by_openssl(path: FilePath, data: bytes, key: bytes | None = None, password: str | None = None) -> None:
    """Have OpenSSL load a file as it stands: CAs, or a certificate with its `key`. Raises `errors.FileContents`.

    It is less lenient about lines than the reader here. What it says of a pair or of a weak key is not of interest.
    """
    context = contexts.common(ssl.PROTOCOL_TLS_CLIENT)
    with _laid_down(data, key or b"") as (certificates, keys):
        try:
            if key is None:
                context.load_verify_locations(certificates)
            else:
                context.load_cert_chain(certificates, keys, lambda: password or "")
        except ssl.SSLError as error:
            if error.reason in (None, "NO_START_LINE", "PEM_LIB", "BAD_END_LINE", "BAD_BASE64_DECODE") or key is None:
                cure = "copy it again, each block on lines of its own"
                raise _named(path, data) or errors.FileContents(Path(path), _OPENSSL, cure) from None
        except ValueError:  # a password that is too long for it
            return
