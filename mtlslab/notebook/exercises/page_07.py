"""The exercises of notebook 07, inside the handshake."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mtlslab import contexts, new_private_key
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential
from mtlslab.handshake import Transcript, record
from mtlslab.handshake.codepoints import CIPHER_SUITES
from mtlslab.handshake.recording import _Ends
from mtlslab.handshake.records import traffic_keys
from mtlslab.notebook.exercises.judges import (
    Case,
    Guarded,
    NotYet,
    checker,
    expect,
    fresh_name,
    genuine,
    handshake,
    try_cases,
)
from mtlslab.profiles import CLIENT, SERVER

__all__ = ["no_certificate_crossed", "opens_records", "verifies_client"]

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

    def shake(shown: Credential | None, trusted: CertificateAuthority = ca) -> Transcript:
        return record(server, trusted.certificate, shown, client_auth="required")

    first, second = (ca.issue(fresh_name(), CLIENT) for _ in range(2))
    honest, later, stranger = shake(first), shake(first), other.issue("client", CLIENT)
    thief = shake(Credential(first.certificate, new_private_key()))
    copied = shake(*_with_a_copy_of(first))
    sent_again, somebodys = _with_proof_of(later, honest), _with_proof_of(shake(second), honest)
    for name in ("an honest client", "another honest client"):
        shown = first if name == "an honest client" else second
        yield Case(name, True, "an honest client would be sent away", (shake(shown), ca.certificate))
    for name, lets, transcript in (
        ("a thief with a copied certificate", "whoever has seen a certificate is its owner", thief),
        ("an old proof, sent again", "whoever has recorded one is the client", sent_again),
        ("the proof of somebody else", "one client can pass for another", somebodys),
        ("a client of a namesake CA", "anybody can make a CA of that name", shake(stranger, other)),
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


# --- in without a certificate ----------------------------------------------------------------------


@checker("a pair of transcripts: of the first visit and of the second")
def no_certificate_crossed(answer: Any) -> str:
    """Want two visits to a server that insists: a full one, and one that resumes it."""
    pair = genuine(answer, tuple, "the answer is a pair: (the first visit, the second)")
    expect(len(pair) == 2, "the answer is a pair: (the first visit, the second)")
    for one in pair:
        genuine(one, Transcript, "both are transcripts, as record and resume return them")
    first, second = (Transcript.from_bytes(one.flights, one.keylog) for one in pair)  # what crossed, and nothing else
    names = {(message.sender, message.name) for message in first.messages}
    expect(("server", "CertificateRequest") in names, "the server of the first visit asks nobody: it lets anyone in")
    expect(("client", "CertificateVerify") in names, "at the first visit the client proves nothing")
    for visit in (first, second):
        expect(visit.alert is None, f"a visit was refused by the {visit.refused_by} with {visit.alert}")
    senders = {message.sender for message in second.messages if message.name == "Certificate"}
    expect(not senders, f"at the second visit the {' and the '.join(sorted(senders))} still sends a certificate")
    expect(second.resumed, "the second visit did not get to its end")
    expect(_resumes(second, first), "the second visit's ticket is not from this first one")
    expect(first.flights != second.flights, "these are not two visits")
    _expect_insistence(pair[0], first)
    return (
        "a resumed handshake sends no certificates, and nobody looks at them again. Both sides go on from the secret "
        "of the first handshake, in which the client proved who it is"
    )


def _resumes(second: Transcript, first: Transcript) -> bool:
    tickets = [m.fields["ticket"] for m in first.messages if m.name == "NewSessionTicket" and m.opened]
    shown = second.message("ClientHello").raw
    return any(bytes(ticket) in shown for ticket in tickets)


def _expect_insistence(recorded: Transcript, crossed: Transcript) -> None:
    """Knock at the server of a recorded visit, as nobody and as a stranger."""
    ends = getattr(recorded._again, "__self__", None)
    if not isinstance(ends, _Ends) or not _resumes(recorded.resume(), crossed):
        raise NotYet("the first visit cannot be tried again: take it as record returns it")
    stranger = CertificateAuthority.create("stranger-ca").issue(fresh_name(), CLIENT)
    for who, shown in {"shows nothing": None, "comes from an unknown CA": stranger}.items():
        client = contexts.common(ssl.PROTOCOL_TLS_CLIENT)
        contexts.trust(client, crossed.message("Certificate", "server").fields["certificates"][:1])
        if shown:
            contexts.show(client, shown)
        refused = handshake(client, ends.server, ends.server_name).refused
        expect(bool(refused), f"its server does not insist: who {who} gets in as well, and the proof was a courtesy")
