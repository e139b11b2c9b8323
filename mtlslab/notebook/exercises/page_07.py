"""The exercises of notebook 07, inside the handshake."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mtlslab import new_private_key
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential
from mtlslab.faults.minting import altered
from mtlslab.handshake import Transcript, record
from mtlslab.handshake.codepoints import CIPHER_SUITES
from mtlslab.handshake.records import traffic_keys
from mtlslab.notebook.exercises.judges import Case, Guarded, checker, expect, fresh_name, try_cases
from mtlslab.profiles import CLIENT, SERVER

__all__ = ["guards_second_visit", "opens_records", "verifies_client"]

# --- open any record -------------------------------------------------------------------------------


@checker("a function from a secret, a record's number and the record to what it holds")
def opens_records(answer: Any) -> str:
    """A function that opens any record of a TLS 1.3 handshake, and notices one that was changed."""
    opens = Guarded(answer, "your function")
    ca = CertificateAuthority.create("example-ca")
    server = ca.issue("localhost", SERVER, names=["localhost"])
    tried = 0
    for secret, number, raw, wanted, what in _sealed(record(server, ca.certificate, ca.issue(fresh_name(), CLIENT))):
        outcome = opens.attempt(secret, number, raw)
        expect(outcome.error is None, f"{what}: it raised {outcome.told}. Which nonce does record {number} have?")
        said = outcome.value
        expect(type(said) is bytes, f"{what}: it returned {type(said).__name__}, not bytes")
        expect(said != wanted + b"\x16", f"{what}: the last byte is the record's true type; leave it off")
        expect(said == wanted, f"{what}: that is not what it holds")
        tried += 1
        for place in (*range(5), len(raw) - 1, random.randrange(5, len(raw))):
            spoiled = bytearray(raw)
            spoiled[place] ^= 1
            error = opens.attempt(secret, number, bytes(spoiled)).error
            expect(error is not None, f"with byte {place} changed on the way it still opens: nobody would notice")
            expect(
                isinstance(error, InvalidTag),
                f"of such a record let InvalidTag through, not {type(error).__name__}",
            )
    return f"{tried} records of a connection that you had not seen, from both sides, and a change noticed in each"


_Sealed = tuple[bytes, int, bytes, bytes, str]


def _sealed(transcript: Transcript) -> Iterator[_Sealed]:
    """Yield (secret, number, record, what it holds, a description) of a handshake's encrypted records, shuffled."""
    secrets = dict(line.split()[::2] for line in transcript.keylog.splitlines() if not line.startswith("#"))
    found: list[_Sealed] = []
    for sender in ("client", "server"):
        secret = bytes.fromhex(secrets[f"{sender.upper()}_HANDSHAKE_TRAFFIC_SECRET"])
        sent = [m for m in transcript.messages if (m.sender, m.content_type) == (sender, "handshake") and m.encrypted]
        sent = [message for message in sent if message.name != "NewSessionTicket"]  # those have the next secret
        for number, index in enumerate(dict.fromkeys(message.record for message in sent)):
            holds = b"".join(message.raw for message in sent if message.record == index)
            found.append((secret, number, transcript.records[index].raw, holds, f"record {number} of the {sender}"))
        number = random.randrange(1 << 8, 1 << 40)  # a connection that has lasted
        holds = random.randbytes(random.randrange(1, 300))
        found.append((secret, number, _seal(secret, number, holds), holds, f"record {number} of the {sender}"))
    yield from random.sample(found, len(found))


def _seal(secret: bytes, number: int, holds: bytes) -> bytes:
    """Seal a record as the exercise's cipher suite does (RFC 8446/9846 §5.2, §5.3)."""
    _, key, iv = traffic_keys(secret, CIPHER_SUITES[0x1302])
    nonce = (int.from_bytes(iv) ^ number).to_bytes(12)
    header = b"\x17\x03\x03" + (len(holds) + 17).to_bytes(2)
    return header + AESGCM(key).encrypt(nonce, holds + b"\x16", header)


# --- verify a client -------------------------------------------------------------------------------


@checker("a function from a transcript and a CA's certificate to True or False")
def verifies_client(answer: Any) -> str:
    """A function that does what the server does with the client's Certificate and CertificateVerify."""
    try_cases(answer, _handshakes)
    return "honest clients got in; a copied certificate, an old proof and a stranger did not"


def _handshakes() -> Iterator[Case]:
    ca, other = CertificateAuthority.create("example-ca"), CertificateAuthority.create("example-ca")
    server = ca.issue("localhost", SERVER, names=["localhost"])

    def shake(shown: Credential | None, trusted: Any = ca, **options: Any) -> Transcript:
        return record(server, trusted.certificate, shown, client_auth="required", **options)

    first, second = (ca.issue(fresh_name(), CLIENT) for _ in range(2))
    honest, later, stranger = shake(first), shake(first), other.issue("client", CLIENT)
    thief = shake(Credential(first.certificate, new_private_key()))
    copied, old = shake(*_with_a_copy_of(first)), shake(Credential(second.certificate, new_private_key()), tls="1.2")
    pointing = Credential(altered(second.certificate, other.private_key), second.private_key)
    another = shake(second)
    sent_again, somebodys = _with_proof_of(later, honest), _with_proof_of(another, honest)
    for name, transcript in (("an honest client", later), ("another honest client", another)):
        yield Case(name, True, "an honest client would be sent away", (transcript, ca.certificate))
    for name, lets, transcript in (
        ("a thief with a copied certificate", "whoever has seen a certificate is its owner", thief),
        ("an old proof, sent again", "whoever has recorded one is the client", sent_again),
        ("the proof of somebody else", "one client can pass for another", somebodys),
        ("a client of a namesake CA", "anybody can make a CA of that name", shake(stranger, other)),
        ("a client that points to the CA's key", "a key identifier is not a signature", shake(pointing, pointing)),
        ("a thief who speaks TLS 1.2", "whoever takes an older version is its owner", old),
        ("a visit that resumes another", "there is no proof in it", honest.resume()),
        ("a stranger with a copy of a friend's behind it", "a copy that anybody has vouches for a stranger", copied),
        ("a client that shows nothing", "whoever shows nothing gets in", shake(None)),
        ("a certificate without proof", "a certificate is enough", _without(honest, "CertificateVerify")),
        ("a handshake in which nobody was asked", "who was never asked is verified", record(server)),
        ("the server's proof in its place", "a proof of one side counts for the other", _mirrored(honest)),
    ):
        yield Case(name, False, lets, (transcript, ca.certificate))


def _with_a_copy_of(friend: Credential) -> tuple[Credential, CertificateAuthority]:
    """Make a stranger who shows a friend's certificate behind their own. Returns them, and who signed theirs."""
    mallory = CertificateAuthority.create("mallory-ca")
    own = mallory.issue("mallory", CLIENT)
    return Credential(own.certificate, own.private_key, (friend.certificate,)), mallory


def _changed(transcript: Transcript, change: Callable[[Any], Any]) -> Transcript:
    messages = tuple(kept for message in transcript.messages if (kept := change(message)) is not None)
    return replace(transcript, messages=messages)


def _with_proof_of(transcript: Transcript, other: Transcript) -> Transcript:
    proof = other.message("CertificateVerify", "client")
    return _changed(transcript, lambda m: proof if (m.name, m.sender) == ("CertificateVerify", "client") else m)


def _without(transcript: Transcript, name: str) -> Transcript:
    return _changed(transcript, lambda m: None if (m.name, m.sender) == (name, "client") else m)


def _mirrored(transcript: Transcript) -> Transcript:
    proof = replace(transcript.message("CertificateVerify", "server"), sender="client")
    return _changed(transcript, lambda m: proof if (m.name, m.sender) == ("CertificateVerify", "client") else m)


# --- guard the second visit ------------------------------------------------------------------------


@checker("a function of visits, a moment, and pairs of a CA's certificate and its CRL, to True or False")
def guards_second_visit(answer: Any) -> str:
    """A function that says whether a server may let in whoever shows the ticket of the last of some visits."""
    visits = cache(_Visits)
    try_cases(answer, lambda: visits().cases())
    return "who had proved themselves lately came in again; who was revoked, expired or disowned since did not"


_Trusted = list[tuple[x509.Certificate, x509.CertificateRevocationList]]
_Row = tuple[str, str, str, _Trusted]
"""A case: what it is, what another answer lets happen, the log of visits, and whom the server trusts now."""


class _Visits:
    """Visits to one server, each recorded, and what has become of their certificates since."""

    def __init__(self) -> None:
        self.ca, self.other = map(CertificateAuthority.create, ("example-ca", "other-ca"))
        self.server = self.ca.issue("localhost", SERVER, names=["localhost"])
        self.alice, self.bob, self.brief = (self.ca.issue(fresh_name(), CLIENT, days=n) for n in (365, 365, 1))
        self.full = {"alice": self._visit(self.alice), "bob": self._visit(self.bob), "brief": self._visit(self.brief)}
        self.again = {name: transcript.resume() for name, transcript in self.full.items()}
        self.full["thief"] = self._visit(Credential(self.alice.certificate, new_private_key()))
        self.full["stranger"] = self._visit(*_with_a_copy_of(self.alice))
        self.full["nobody"] = record(self.server, self.ca.certificate, client_auth="optional")
        self.full["not asked"] = record(self.server)

    def _visit(self, shown: Credential, trusted: CertificateAuthority | None = None) -> Transcript:
        return record(self.server, (trusted or self.ca).certificate, shown)

    def cases(self) -> Iterator[Case]:
        """Yield the cases, each on a day of its own. Alice and bob are valid on all of them; brief's end is near."""
        for wants, rows in ((True, self._welcome()), (False, self._unwelcome()), (False, self._disowned())):
            for name, lets, log, trusted in rows:
                now = self.brief.certificate.not_valid_after_utc + timedelta(minutes=-10 if wants else 10)
                if "brief" not in log:
                    now += timedelta(days=random.randrange(300), seconds=random.randrange(86400))
                yield Case(name, wants, lets, (self._played(log, now), now, trusted))

    def _played(self, log: str, now: datetime) -> list[tuple[datetime, Transcript]]:
        """Turn a log such as "alice 50, again 5" into visits: who came about how many minutes ago, in full or again."""
        who, visits = "", []
        for entry in log.split(", "):
            name, minutes = entry.rsplit(" ", 1)
            who = who if name == "again" else name
            transcript = (self.again if name == "again" else self.full)[who]
            visits.append((now - timedelta(minutes=int(minutes), seconds=random.randrange(-90, 90)), transcript))
        return visits

    def _trusted(self, *revoked: Credential) -> _Trusted:
        """Return what the server trusts: another CA, and the clients' with some of them on its list."""
        return random.sample([self._others(), self._own(*revoked)], 2)

    def _others(self) -> tuple[x509.Certificate, x509.CertificateRevocationList]:
        return self.other.certificate, _list(self.other)

    def _own(self, *revoked: Credential) -> tuple[x509.Certificate, x509.CertificateRevocationList]:
        return self.ca.certificate, _list(self.ca, *revoked)

    def _welcome(self) -> Iterator[_Row]:
        honest, now = "whoever does nothing wrong has to prove it all again", self._trusted()
        yield "a client of ten minutes ago", honest, "alice 10", now
        yield "a client back after 58 minutes", honest, "bob 58, again 20", [self._own()]
        yield "a client whose certificate ends in ten minutes", honest, "brief 20", now
        anew = "alice 140, again 110, bob 50, again 5"
        yield "a client that proved itself anew 50 minutes ago", honest, anew, now
        renewed = "who has a new certificate is sent away for the old one"
        yield "a client that replaced a certificate that is revoked now", renewed, anew, self._trusted(self.alice)
        lets = "a thief who is refused spoils the ticket of the owner"
        yield "a client of 40 minutes ago, with a thief refused since", lets, "alice 40, thief 10", now
        others = [(ca.certificate, _list(ca, self.alice)) for ca in (self.other, _namesake(self.ca))]
        lets = "one CA can throw out the clients of another"
        yield "a client whose serial number is on other CAs' lists alone", lets, "alice 10", [*others, self._own()]

    def _unwelcome(self) -> Iterator[_Row]:
        now, forever = self._trusted(), "with a new ticket at each visit, the first proof is good for ever"
        often = ", ".join(f"again {minutes}" for minutes in range(63, 0, -7))
        yield "the tenth visit in 70 minutes, all on one proof", forever, f"alice 70, {often}", now
        yield "a client of 62 minutes ago", "a proof counts for longer than the hour", "alice 62, again 40", now
        yield "a client of yesterday", "a ticket that was copied yesterday is good today", "bob 1470", now
        ahead = "after a clock is set back, a ticket is good for longer than it should be"
        yield "a client whose full handshake is still to come", ahead, "alice -20", now
        expired = "a ticket outlives the certificate that it stands for"
        yield "a client whose certificate has expired since", expired, "brief 30, again 20", now
        anybody = "whoever showed nothing then gets in now"
        yield "a client that was asked, and showed nothing", anybody, "nobody 10", now
        yield "a client that was not asked", anybody, "not asked 10", now
        lets = "who shows nothing gets in by somebody's earlier certificate"
        yield "a client that showed one, and none in the last full handshake", lets, "alice 40, not asked 10", now
        lets = "a thief with a copied certificate makes an old ticket young"
        yield "a client of 70 minutes ago, with a thief refused since", lets, "alice 70, thief 10", now
        lets = "a copy that anybody has vouches for a stranger"
        yield "a stranger with a copy of a friend's behind its own", lets, "stranger 10", now

    def _disowned(self) -> Iterator[_Row]:
        lets = "who was thrown out comes in by the back door"
        yield "a client that has been revoked since", lets, "alice 50, bob 30, again 10", self._trusted(self.bob)
        gone = "clients of a CA that you have taken away keep coming"
        yield "a client whose CA was taken away", gone, "alice 30", [self._others()]
        yield "a client, when no CA is trusted any more", gone, "bob 30, again 5", []
        namesakes = [(ca.certificate, _list(ca)) for ca in map(_namesake, [self.ca] * 2)]
        lets = "anybody can make a CA with all these names and numbers, and another key"
        yield "a client whose CA was replaced by a namesake", lets, "bob 30, again 5", [namesakes[0], self._others()]
        lets = "it is looked up on the list of a namesake, and anybody can sign that"
        among = [namesakes[0], self._own(self.alice), namesakes[1]]
        yield "a revoked client whose CA has namesakes", lets, "alice 30", among


def _namesake(ca: CertificateAuthority) -> CertificateAuthority:
    """Make a CA that differs in nothing but its key, with the same number and key identifier as well."""
    own, key = ca.certificate, new_private_key()
    builder = x509.CertificateBuilder(own.issuer, own.subject, key.public_key(), own.serial_number)
    builder = builder.not_valid_before(own.not_valid_before_utc).not_valid_after(own.not_valid_after_utc)
    for extension in own.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return CertificateAuthority(builder.sign(key, hashes.SHA256()), key)


def _list(ca: CertificateAuthority, *revoked: Credential) -> x509.CertificateRevocationList:
    """Sign a CA's list, with the numbers of these certificates, of whichever CA, and one that is nobody's."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    now = datetime.now(UTC)
    builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=400))
    for number in (x509.random_serial_number(), *(one.certificate.serial_number for one in revoked)):
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(number, now).build())
    return builder.sign(ca.private_key, hashes.SHA256())
