"""From recorded bytes to records and messages: which key opens which record, where a message begins and ends.

The order of things is RFC 8446/9846 §2, §5, §7 for TLS 1.3 and RFC 5246 §6 and §7 for TLS 1.2. What stands in a
message is read in `messages`, how a record is opened in `records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mtlslab.failures import TranscriptError
from mtlslab.handshake import codepoints, records
from mtlslab.handshake.messages import read_alert, read_handshake_message
from mtlslab.handshake.records import Keys, Reader, Span


class Flight(NamedTuple):
    """Bytes that one side sent before it waited for the other: `sender` ("client" or "server") and `data`."""

    sender: str
    data: bytes


@dataclass(frozen=True)
class Record:
    """One TLS record: `sender`, `raw` (as it crossed, header and all), `content_type`, and `content` opened.

    `content` is None for a record that no key was at hand for; `encrypted` tells whether a key was needed.
    """

    sender: str
    raw: bytes = field(repr=False)
    content_type: str
    content: bytes | None = field(repr=False)
    encrypted: bool


@dataclass(frozen=True)
class Message:
    """One message of a handshake, or an alert, or what else a record held.

    `name` is the RFC's own ("CertificateVerify"), `raw` its bytes from its type and length on, decrypted,
    `records` the indexes of the records that it came in, `encrypted` whether the wire hid it, `fields` what
    stands in it. A message that could not be opened has `opened` False, and `raw` as it crossed.
    """

    sender: str
    name: str
    content_type: str
    raw: bytes = field(repr=False)
    records: tuple[int, ...]
    encrypted: bool
    opened: bool = True
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """The message's length in bytes, its header included."""
        return len(self.raw)

    @property
    def record(self) -> int:
        """The index of the record that the message begins in."""
        return self.records[0]


@dataclass
class _Direction:
    """What one side has sent so far, and what protects it now."""

    sender: str
    unread: bytearray = field(default_factory=bytearray)  # the beginning of a record
    joined: bytearray = field(default_factory=bytearray)  # the beginning of a handshake message
    spans: list[Span] = field(default_factory=list)
    protected: bool = False
    keys: Keys | None = None
    secret: bytes = b""
    sequence: int = 0


def decode(flights: Iterable[Flight], keylog: str, *, whole: bool = True) -> Decoder:
    """Read a conversation; what was found is in the decoder returned. Raises `TranscriptError`.

    Unless it is `whole`, it may end anywhere: who recorded it stopped listening.
    """
    decoder = Decoder(keylog)
    for flight in flights:
        decoder.feed(flight.sender, flight.data)
    if whole:
        decoder.finish()
    return decoder


class _Protection:
    """What the two ends agreed on, and the keys that follow from that and from a key log."""

    def __init__(self, keylog: str) -> None:
        self.version: str | None = None
        self.suite: codepoints.CipherSuite | None = None
        self.client_random = self.server_random = b""
        self._keylog = _read_keylog(keylog)

    def agree(self, fields: Mapping[str, Any], directions: Iterable[_Direction], index: int) -> None:
        """Take in a ServerHello, which came in record `index`."""
        self.version, self.server_random = fields["version"], fields["random"]
        if self.version not in ("TLSv1.2", "TLSv1.3"):
            raise TranscriptError("server", index, 9, f"{self.version} is not read here, only TLSv1.2 and TLSv1.3")
        by_name = {suite.name: suite for suite in codepoints.CIPHER_SUITES.values()}
        self.suite = by_name.get(fields["cipher_suite"])
        if self.version == "TLSv1.3":
            for side in directions:
                self.change_secret(side, f"{side.sender.upper()}_HANDSHAKE_TRAFFIC_SECRET", index)

    def open(self, side: _Direction, raw: bytes, index: int) -> tuple[str, bytes | None, int]:
        """Open a record: its content's type, the content (None: no key), and where that begins."""
        outer = codepoints.CONTENT_TYPES[raw[0]]
        if side.keys is None:
            return outer, None, 5
        opener = records.open_record if self.version == "TLSv1.3" else records.open_tls12_record
        try:
            code, content = opener(raw, side.keys, side.sequence)
        except ValueError as error:
            raise TranscriptError(side.sender, index, 5, str(error)) from None
        side.sequence += 1
        if code not in codepoints.CONTENT_TYPES or (self.version == "TLSv1.3" and code == 20):
            raise TranscriptError(
                side.sender, index, 5 + len(content), f"{code} is not what a protected record may hold"
            )
        offset = 5 + records.explicit_nonce_length(side.keys, self.version or "")
        return codepoints.CONTENT_TYPES[code], content, offset

    def _secret(self, label: str) -> bytes:
        return self._keylog.get((label, self.client_random), b"")

    def change_secret(self, side: _Direction, label: str, index: int) -> None:
        """Go on with the secret of that label of the key log (TLS 1.3)."""
        side.protected = True
        self.use(side, self._secret(label), index)

    def use(self, side: _Direction, secret: bytes, index: int) -> None:
        """Go on with another secret, b"" for one that is not known."""
        if side.joined:
            raise TranscriptError(side.sender, index, 5, "the keys change in mid-record (RFC 8446/9846 §5.1)")
        side.secret, side.sequence, side.keys = secret, 0, None
        if secret and self.suite and self.suite.aead:
            side.keys = records.traffic_keys(secret, self.suite)

    def tls12_change(self, side: _Direction, index: int) -> None:
        """Take in a ChangeCipherSpec of TLS 1.2, or one that tells nothing."""
        if side.protected:
            raise TranscriptError(side.sender, index, 5, "a second ChangeCipherSpec: renegotiation is not read here")
        if self.version is None:  # TLS 1.3's dummy, sent after the first ClientHello (RFC 8446 §D.4/9846 §E.4)
            return
        side.protected = True
        master = self._secret("CLIENT_RANDOM")
        if master and self.suite and self.suite.aead:
            keys = records.tls12_keys(master, self.client_random, self.server_random, self.suite)
            side.keys = keys[side.sender]


class Decoder:
    """Reads a conversation from its first byte on, record by record, in the order in which they crossed.

    `records` and `messages` are what was found so far, `version` and `suite` what the ends agreed on.
    """

    def __init__(self, keylog: str) -> None:
        self.directions = {"client": _Direction("client"), "server": _Direction("server")}
        self.records: list[Record] = []
        self.messages: list[Message] = []
        self._protection = _Protection(keylog)

    @property
    def version(self) -> str | None:
        """The TLS version, such as "TLSv1.3"; None before the ServerHello."""
        return self._protection.version

    @property
    def suite(self) -> codepoints.CipherSuite | None:
        """The cipher suite; None before the ServerHello."""
        return self._protection.suite

    def feed(self, sender: str, data: bytes) -> None:
        """Take in what `sender` ("client" or "server") said next."""
        if sender not in self.directions:
            raise ValueError(f"a sender is 'client' or 'server', not {sender!r}")
        side = self.directions[sender]
        side.unread += data
        while length := records.record_length(bytes(side.unread[:5]), sender, len(self.records)):
            if len(side.unread) < length:
                break
            raw = bytes(side.unread[:length])
            del side.unread[:length]
            self._record(side, raw)

    def finish(self) -> None:
        """Say that nothing more comes."""
        for side in self.directions.values():
            if side.unread:
                problem = "the bytes end in the middle of this record"
                raise TranscriptError(side.sender, len(self.records), len(side.unread), problem)
            if side.joined:
                last = side.spans[-1]
                at = last.offset + len(side.joined) - last.position
                problem = "the bytes end in the middle of a handshake message"
                raise TranscriptError(side.sender, last.record, at, problem)

    # -- records

    def _record(self, side: _Direction, raw: bytes) -> None:
        index, outer = len(self.records), codepoints.CONTENT_TYPES[raw[0]]
        sealed = side.protected and (self.version == "TLSv1.2" or outer == "application_data")
        if self.version == "TLSv1.3" and side.protected and outer == "handshake":
            raise TranscriptError(side.sender, index, 0, "a handshake record in the clear where all are encrypted")
        if not side.protected and outer == "application_data":
            problem = "application data before any keys: not a handshake from its first byte, or 0-RTT"
            raise TranscriptError(side.sender, index, 0, problem)
        content_type, content, offset = self._protection.open(side, raw, index) if sealed else (outer, raw[5:], 5)
        self.records.append(Record(side.sender, raw, content_type, content, sealed))
        if content is None:
            names = {"handshake": "Finished", "alert": "Alert", "application_data": "ApplicationData"}
            name = names.get(outer, outer) if self.version == "TLSv1.2" else "EncryptedRecord"
            self.messages.append(Message(side.sender, name, outer, raw[5:], (index,), True, opened=False))
            return
        if side.joined and content_type != "handshake":
            raise TranscriptError(side.sender, index, 0, f"{content_type} in the middle of a handshake message")
        if content_type == "handshake":
            self._handshake(side, content, index, offset, sealed)
        else:
            self._other(side, content_type, content, index, offset, sealed)

    def _other(self, side: _Direction, kind: str, content: bytes, index: int, offset: int, sealed: bool) -> None:
        reader = Reader(content, side.sender, (Span(0, index, offset),))
        fields: Mapping[str, Any] = {}
        name = "ApplicationData"
        if kind == "alert":
            name, fields = "Alert", read_alert(reader)
        elif kind == "change_cipher_spec":
            name = "ChangeCipherSpec"
            if reader.number(1, name) != 1:
                raise reader.fail("a ChangeCipherSpec is the single byte 1", 1)
            reader.done(name)
        self.messages.append(Message(side.sender, name, kind, content, (index,), sealed, fields=fields))
        if kind == "change_cipher_spec" and self.version != "TLSv1.3":
            self._protection.tls12_change(side, index)

    # -- handshake messages

    def _handshake(self, side: _Direction, content: bytes, index: int, offset: int, sealed: bool) -> None:
        if not content:
            raise TranscriptError(
                side.sender, index, offset, "an empty handshake record (RFC 8446/9846 §5.1 forbids it)"
            )
        side.spans.append(Span(len(side.joined), index, offset))
        side.joined += content
        while len(side.joined) >= 4:
            length = 4 + int.from_bytes(side.joined[1:4])
            if len(side.joined) < length:
                return
            raw, spans = bytes(side.joined[:length]), [span for span in side.spans if span.position < length]
            del side.joined[:length]
            # What is left over all came in the last record: a longer message would not be complete yet.
            last = side.spans[-1]
            side.spans = [Span(last.position - length, last.record, last.offset)] if side.joined else []
            self._message(side, raw, spans, sealed)

    def _message(self, side: _Direction, raw: bytes, spans: list[Span], sealed: bool) -> None:
        suite = self.suite.name if self.suite else None
        name, fields = read_handshake_message(Reader(raw, side.sender, spans), self.version, suite)
        numbers = tuple(dict.fromkeys(span.record for span in spans))
        self.messages.append(Message(side.sender, name, "handshake", raw, numbers, sealed, fields=fields))
        if name == "ClientHello":
            self._protection.client_random = self._protection.client_random or fields["random"]
        if name == "ServerHello":
            self._protection.agree(fields, self.directions.values(), numbers[0])
        if self.version == "TLSv1.3":
            if name == "Finished":
                self._protection.change_secret(side, f"{side.sender.upper()}_TRAFFIC_SECRET_0", numbers[-1])
            if name == "KeyUpdate" and side.secret and self.suite:
                self._protection.use(side, records.next_secret(side.secret, self.suite), numbers[-1])


def _read_keylog(text: str) -> dict[tuple[str, bytes], bytes]:
    """Return the secrets of an SSLKEYLOGFILE by label and client random. Comments are skipped."""
    secrets = {}
    for number, line in enumerate(text.splitlines()):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            label, random, secret = line.split()
            secrets[label, bytes.fromhex(random)] = bytes.fromhex(secret)
        except ValueError:
            raise TranscriptError("key log", number, 0, "a line of a key log is a label and two hex strings") from None
    return secrets
