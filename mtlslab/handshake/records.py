"""TLS records: how a secret becomes keys, and how keys open what crossed the wire.

RFC 8446/9846 §5 and §7 for TLS 1.3, RFC 5246 §5 and §6 for TLS 1.2. Functions from bytes to bytes; which key opens
which record is decided in `handshake`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import aead
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from mtlslab.failures import TranscriptError
from mtlslab.handshake.codepoints import CONTENT_TYPES, CipherSuite

HEADER_LENGTH = 5
# RFC 8446/9846 §5.2 allows 256 bytes over the 2^14 of a plaintext, RFC 5246 §6.2.3 allows 2048.
LONGEST_RECORD = 2**14 + 2048


class Span(NamedTuple):
    """Where bytes came from: those from `position` on lie in record `record`, from its byte `offset` on."""

    position: int
    record: int
    offset: int


class Reader:
    """Bytes read from front to back, each number and vector where it is due.

    Reading past the end, or leaving bytes over, raises `TranscriptError` for the record and byte where it
    happened: `spans` say which those are.
    """

    def __init__(
        self,
        data: bytes,
        sender: str,
        spans: Sequence[Span] = (Span(0, 0, 0),),
        start: int = 0,
        end: int | None = None,
    ) -> None:
        self._data, self._sender, self._spans = data, sender, spans
        self._at = start
        self._end = len(data) if end is None else end

    def fail(self, reason: str, back: int = 0) -> TranscriptError:
        """Return the error that says `reason` of the byte that is `back` before the next one."""
        return TranscriptError(self._sender, *self._place(self._at - back), reason)

    def _place(self, at: int) -> tuple[int, int]:
        span = max((span for span in self._spans if span.position <= at), default=self._spans[0])
        return span.record, span.offset + at - span.position

    def __bool__(self) -> bool:
        """True while there is something left to read."""
        return self._at < self._end

    def take(self, length: int, what: str) -> bytes:
        """Read `length` bytes."""
        if self._at + length > self._end:
            raise self.fail(f"{what} needs {length} bytes, and {self._end - self._at} are left")
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self, length: int, what: str) -> int:
        """Read a big-endian number of `length` bytes."""
        return int.from_bytes(self.take(length, what))

    def vector(self, length_length: int, what: str) -> Reader:
        """Read a length of `length_length` bytes, then that many; return these to be read (RFC 8446/9846 §3.4)."""
        length = self.number(length_length, f"the length of {what}")
        start = self._at
        self.take(length, what)
        return Reader(self._data, self._sender, self._spans, start, start + length)

    def within(self, data: bytes) -> Reader:
        """Return a reader of what these bytes stood for. Whatever is wrong in it is placed where it came from."""
        return Reader(data, self._sender, [Span(0, *self._place(self._at))])

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(self._end - self._at, "the rest")

    def done(self, what: str) -> None:
        """Check that nothing is left."""
        if self:
            raise self.fail(f"{self._end - self._at} bytes too many after {what}")


# --- the record layer -----------------------------------------------------------------------------


def record_length(header: bytes, sender: str, index: int) -> int | None:
    """Return the length of the record that begins with `header`, its five first bytes included.

    None when too little of the header has come to tell. Raises `TranscriptError` when it is not TLS
    (RFC 8446/9846 §5.1).
    """
    reader = Reader(header, sender, (Span(0, index, 0),))
    if header and header[0] not in CONTENT_TYPES:
        said = f": {header!r}, plain text?" if header[:3].isalpha() else ""
        raise reader.fail(f"0x{header[0]:02x} is not a TLS content type{said}")
    if len(header) < HEADER_LENGTH:
        return None
    reader.take(1, "content type")
    if header[1] != 3:
        raise reader.fail(f"0x{header[1]:02x}{header[2]:02x} is not a TLS version")
    reader.take(2, "version")
    length = int.from_bytes(header[3:5])
    if length > LONGEST_RECORD:
        raise reader.fail(f"a record of {length} bytes is longer than TLS allows")
    return HEADER_LENGTH + length


# --- from secrets to keys -------------------------------------------------------------------------


class Keys(NamedTuple):
    """What protects one direction of a connection: the key and the fixed part of the nonce, as bytes."""

    suite: CipherSuite
    key: bytes
    iv: bytes


def hash_of(suite: CipherSuite) -> hashes.HashAlgorithm:
    """Return the hash function of a cipher suite, SHA-256 or SHA-384."""
    return hashes.SHA384() if suite.hash == "SHA384" else hashes.SHA256()


def hkdf_expand_label(secret: bytes, label: str, context: bytes, length: int, algorithm: hashes.HashAlgorithm) -> bytes:
    """Derive `length` bytes from a secret for the purpose that `label` names.

    This is HKDF-Expand-Label (RFC 8446/9846 §7.1).
    """
    full_label = b"tls13 " + label.encode()
    info = length.to_bytes(2) + bytes([len(full_label)]) + full_label + bytes([len(context)]) + context
    return HKDFExpand(algorithm, length, info).derive(secret)


def traffic_keys(secret: bytes, suite: CipherSuite) -> Keys:
    """Return the key and IV that a traffic secret of TLS 1.3 stands for (RFC 8446/9846 §7.3)."""
    algorithm = hash_of(suite)
    key = hkdf_expand_label(secret, "key", b"", suite.key_length, algorithm)
    return Keys(suite, key, hkdf_expand_label(secret, "iv", b"", 12, algorithm))


def next_secret(secret: bytes, suite: CipherSuite) -> bytes:
    """Return the traffic secret that follows this one after a KeyUpdate (RFC 8446/9846 §7.2)."""
    return hkdf_expand_label(secret, "traffic upd", b"", len(secret), hash_of(suite))


def tls12_prf(secret: bytes, label: str, seed: bytes, length: int, algorithm: hashes.HashAlgorithm) -> bytes:
    """Derive `length` bytes from a secret of TLS 1.2 (PRF and P_hash, RFC 5246 §5)."""

    def mac(data: bytes) -> bytes:
        code = hmac.HMAC(secret, algorithm)
        code.update(data)
        return code.finalize()

    seed = label.encode() + seed
    output, a = b"", seed
    while len(output) < length:
        a = mac(a)
        output += mac(a + seed)
    return output[:length]


def tls12_keys(master_secret: bytes, client_random: bytes, server_random: bytes, suite: CipherSuite) -> dict[str, Keys]:
    """Return both directions' keys, "client" and "server", of a TLS 1.2 connection (RFC 5246 §6.3).

    The suites with an AEAD need no MAC keys. GCM and CCM take 4 bytes of each nonce from here (RFC 5288 §3,
    RFC 6655 §3), ChaCha20 all 12 (RFC 7905 §2).
    """
    iv_length = 12 if suite.aead == "ChaCha20Poly1305" else 4
    size = 2 * (suite.key_length + iv_length)
    block = tls12_prf(master_secret, "key expansion", server_random + client_random, size, hash_of(suite))
    keys, ivs = block[: 2 * suite.key_length], block[2 * suite.key_length :]
    return {
        "client": Keys(suite, keys[: suite.key_length], ivs[:iv_length]),
        "server": Keys(suite, keys[suite.key_length :], ivs[iv_length:]),
    }


# --- opening a record -----------------------------------------------------------------------------


def _cipher(keys: Keys) -> aead.AESGCM | aead.AESCCM | aead.ChaCha20Poly1305:
    if keys.suite.aead == "AESCCM":
        return aead.AESCCM(keys.key, keys.suite.tag_length)
    return aead.ChaCha20Poly1305(keys.key) if keys.suite.aead == "ChaCha20Poly1305" else aead.AESGCM(keys.key)


def nonce(iv: bytes, sequence: int) -> bytes:
    """Return the nonce of a record: the IV, with the record's number XORed into its end (RFC 8446/9846 §5.3)."""
    return bytes(a ^ b for a, b in zip(iv, sequence.to_bytes(len(iv)), strict=True))


def open_record(record: bytes, keys: Keys, sequence: int) -> tuple[int, bytes]:
    """Open a protected record of TLS 1.3 (RFC 8446/9846 §5.2): return its content's type, and the content.

    `record` is the whole record with its header, `sequence` how many this sender protected with these keys
    before. Raises `ValueError` when the bytes are not what those keys protected.
    """
    header, sealed = record[:HEADER_LENGTH], record[HEADER_LENGTH:]
    try:
        inner = _cipher(keys).decrypt(nonce(keys.iv, sequence), sealed, header)
    except InvalidTag:
        raise ValueError("it does not open with its key: the bytes were changed, or the key log is another's") from None
    content = inner.rstrip(b"\0")  # RFC 8446/9846 §5.4: the content, then its type, then padding with zeros
    if not content:
        raise ValueError("it holds padding and no content type")
    return content[-1], content[:-1]


def open_tls12_record(record: bytes, keys: Keys, sequence: int) -> tuple[int, bytes]:
    """Open a protected record of TLS 1.2 with an AEAD (RFC 5246 §6.2.3.3): as `open_record`."""
    header, sealed = record[:HEADER_LENGTH], record[HEADER_LENGTH:]
    if keys.suite.aead == "ChaCha20Poly1305":
        number = nonce(keys.iv, sequence)
    else:  # the other 8 bytes of the nonce are sent along
        number, sealed = keys.iv + sealed[:8], sealed[8:]
    length = len(sealed) - keys.suite.tag_length
    if length < 0:
        raise ValueError("it is too short to be protected")
    associated = sequence.to_bytes(8) + header[:3] + length.to_bytes(2)
    try:
        return header[0], _cipher(keys).decrypt(number, sealed, associated)
    except InvalidTag:
        raise ValueError("it does not open with its key: the bytes were changed, or the key log is another's") from None


def explicit_nonce_length(keys: Keys, version: str) -> int:
    """Return how many bytes of a protected record come before its content: 8 with GCM in TLS 1.2, else 0."""
    return 8 if version == "TLSv1.2" and keys.suite.aead != "ChaCha20Poly1305" else 0
