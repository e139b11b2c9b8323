"""The checkers of notebook 07 try what they are given on handshakes that it has not seen."""
# ruff: noqa: ARG005 (a wrong answer may well ignore what it is given)

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256, sha384
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from mtlslab import CertificateAuthority, Credential
from mtlslab.handshake import Transcript, record
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, SERVER

OTHER_KINDS = [object(), 3.5, [], b"", "x" * 1000, True, {}, int, mock.ANY, mock.MagicMock(), lambda *_: None]


@pytest.mark.parametrize("checker", ["opens_records", "verifies_client", "no_certificate_crossed"])
def test_any_answer_gets_a_hint(checker: str) -> None:
    """Whatever the answer is, a checker has something to say, and never raises."""
    assert exercises.CHECKERS[checker](None).text.startswith("Not attempted yet")
    for answer in OTHER_KINDS:
        assert exercises.CHECKERS[checker](answer).text.startswith("Not yet: "), answer


# Open any record


def expand_label(secret: bytes, label: str, length: int) -> bytes:
    full = b"tls13 " + label.encode()
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([0])
    return HKDFExpand(hashes.SHA384(), length, info).derive(secret)


def open_record(secret: bytes, number: int, raw: bytes) -> bytes:
    """The folded solution."""
    key, iv = expand_label(secret, "key", 32), expand_label(secret, "iv", 12)
    nonce = bytes(x ^ y for x, y in zip(iv, number.to_bytes(12, "big"), strict=True))
    return AESGCM(key).decrypt(nonce, raw[5:], raw[:5])[:-1]


def by_numbers(secret: bytes, number: int, raw: bytes) -> bytes:
    """The nonce as one big number, and the padding taken off as RFC 8446 has it."""
    key, iv = expand_label(secret, "key", 32), int.from_bytes(expand_label(secret, "iv", 12), "big")
    inside = AESGCM(key).decrypt((iv ^ number).to_bytes(12, "big"), raw[5:], raw[:5])
    return inside.rstrip(b"\0")[:-1]


@pytest.mark.parametrize("right", [open_record, by_numbers])
def test_a_function_that_opens_every_record_is_right(right: Any) -> None:
    """However it makes the nonce."""
    said = exercises.opens_records(right)
    assert said.correct, said


def _opened(number: Callable[[int], int], ends: slice = slice(None, -1), check: bool = True) -> Callable[..., bytes]:
    def opens(secret: bytes, count: int, raw: bytes) -> bytes:
        key, iv = expand_label(secret, "key", 32), expand_label(secret, "iv", 12)
        nonce = bytes(x ^ y for x, y in zip(iv, number(count).to_bytes(12, "big"), strict=True))
        try:
            return AESGCM(key).decrypt(nonce, raw[5:], raw[:5])[ends]
        except InvalidTag:
            if check:
                raise
            return b""

    return opens


def _no_header(secret: bytes, number: int, raw: bytes) -> bytes:
    key, iv = expand_label(secret, "key", 32), expand_label(secret, "iv", 12)
    nonce = bytes(x ^ y for x, y in zip(iv, number.to_bytes(12, "big"), strict=True))
    return AESGCM(key).decrypt(nonce, raw[5:], None)[:-1]


def _no_type_in_the_header(secret: bytes, number: int, raw: bytes) -> bytes:
    return open_record(secret, number, b"\x17" + raw[1:])


def _any_header(secret: bytes, number: int, raw: bytes) -> bytes:
    header = b"\x17\x03\x03" + (len(raw) - 5).to_bytes(2, "big")
    return open_record(secret, number, header + raw[5:])


def _counts_calls() -> Callable[..., bytes]:
    calls: list[int] = []

    def opens(secret: bytes, number: int, raw: bytes) -> bytes:
        calls.append(1)
        return open_record(secret, number, raw) if len(calls) < 6 else b"\x0b"

    return opens


def _another_error(secret: bytes, number: int, raw: bytes) -> bytes:
    try:
        return open_record(secret, number, raw)
    except InvalidTag:
        raise ValueError("spoiled") from None


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (_opened(lambda _: 0), "Which nonce"),
        (_opened(lambda number: number + 1), "Which nonce"),
        (_opened(lambda number: number * 2), "Which nonce"),
        (_opened(lambda number: number, slice(None)), "true type"),
        (_opened(lambda number: number, slice(1, -1)), "not what it holds"),
        (_opened(lambda number: number, slice(None, -2)), "not what it holds"),
        (_opened(lambda number: number, check=False), "nobody would notice"),
        (_no_header, "InvalidTag"),
        (_any_header, "nobody would notice"),
        (_another_error, "InvalidTag"),
        (_opened(lambda number: number % 256), "Which nonce"),
        (_no_type_in_the_header, "nobody would notice"),
        (_counts_calls(), ""),
        (lambda secret, number, raw: raw, "not what it holds"),
        (lambda secret, number, raw: raw[5:-17], "not what it holds"),
        (lambda secret, number, raw: bytearray(open_record(secret, number, raw)), "bytearray"),
        (lambda secret, number, raw: mock.ANY, "not bytes"),
        (lambda secret: secret, "TypeError"),
    ],
)
def test_a_function_that_opens_some_is_wrong(wrong: Any, hint: str) -> None:
    """One number for all, a seal that is not looked at, a cut in the wrong place: each has its hint."""
    said = exercises.opens_records(wrong)
    assert said.correct is False
    assert hint in said.text


# Verify a client


def signed(transcript: Transcript, digest: Any = sha384) -> bytes:
    proof = transcript.message("CertificateVerify", "client")
    before = transcript.messages[: transcript.messages.index(proof)]
    said = b"".join(message.raw for message in before if message.content_type == "handshake")
    return b" " * 64 + b"TLS 1.3, client CertificateVerify" + bytes([0]) + bytes(digest(said).digest())


def proved(transcript: Transcript) -> bool:
    proof = transcript.message("CertificateVerify", "client").fields
    key = transcript.message("Certificate", "client").fields["certificates"][0].public_key()
    try:
        key.verify(proof["signature"], signed(transcript), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def issued(transcript: Transcript, ca: x509.Certificate) -> bool:
    try:
        transcript.message("Certificate", "client").fields["certificates"][0].verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def there(transcript: Transcript) -> bool:
    sent = {message.name for message in transcript.messages if message.sender == "client"}
    return {"Certificate", "CertificateVerify"} <= sent and bool(
        transcript.message("Certificate", "client").fields["certificates"]
    )


def verify_client(transcript: Transcript, ca: x509.Certificate) -> bool:
    """The folded solution."""
    return there(transcript) and issued(transcript, ca) and proved(transcript)


def by_exceptions(transcript: Transcript, ca: x509.Certificate) -> bool:
    """Everything that goes wrong is a no."""
    try:
        return issued(transcript, ca) and proved(transcript)
    except (LookupError, IndexError):
        return False


@pytest.mark.parametrize("right", [verify_client, by_exceptions])
def test_a_verifier_of_both_halves_is_right(right: Any) -> None:
    """The chain and the proof, whichever way."""
    said = exercises.verifies_client(right)
    assert said.correct, said


def _any_of_the_chain(transcript: Transcript, ca: x509.Certificate) -> bool:
    if not there(transcript):
        return False
    for one in transcript.message("Certificate", "client").fields["certificates"]:
        with suppress(ValueError, TypeError, InvalidSignature):
            one.verify_directly_issued_by(ca)
            return proved(transcript)
    return False


def _remembering() -> Callable[[Transcript, x509.Certificate], bool]:
    known: dict[int, bool] = {}
    return lambda transcript, ca: known.setdefault(id(transcript), verify_client(transcript, ca))


def _believes_the_name(transcript: Transcript, ca: x509.Certificate) -> bool:
    return there(transcript) and (
        transcript.message("Certificate", "client").fields["certificates"][0].issuer == ca.subject
        and proved(transcript)
    )


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda transcript, ca: True, ""),
        (lambda transcript, ca: False, "sent away"),
        (lambda transcript, ca: there(transcript) and issued(transcript, ca), "whoever"),
        (lambda transcript, ca: there(transcript) and proved(transcript), "make a CA of that name"),
        (_any_of_the_chain, "a copy of a friend's behind it"),
        (_remembering(), ""),
        (_believes_the_name, "make a CA of that name"),
        (lambda transcript, ca: there(transcript) and transcript.alert is None, ""),
        (lambda transcript, ca: transcript.alert is None and issued(transcript, ca), ""),
        (lambda transcript, ca: issued(transcript, ca) and proved(transcript), "raised"),
        (lambda transcript, ca: int(verify_client(transcript, ca)), "returned int"),
        (lambda transcript, ca: verify_client(transcript, ca) or None, "returns None"),
        (lambda transcript, ca: mock.ANY, "not bool"),
        (lambda transcript, ca: not verify_client(transcript, ca), ""),
        (lambda transcript: True, "TypeError"),
    ],
)
def test_a_verifier_of_one_half_is_wrong(wrong: Any, hint: str) -> None:
    """The hint says who gets in: a thief, an old proof, a namesake, somebody who shows nothing."""
    said = exercises.verifies_client(wrong)
    assert said.correct is False
    assert hint in said.text


def test_a_verifier_that_hashes_otherwise_turns_honest_clients_away() -> None:
    """The transcript hash is the cipher suite's."""

    def wrong(transcript: Transcript, ca: x509.Certificate) -> bool:
        key = transcript.message("Certificate", "client").fields["certificates"]
        proof = transcript.message("CertificateVerify", "client").fields["signature"]
        try:
            key[0].public_key().verify(proof, signed(transcript, sha256), ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, IndexError, LookupError):
            return False
        return issued(transcript, ca)

    assert "sent away" in exercises.verifies_client(wrong).text


# In without a certificate


@cache
def ends() -> tuple[CertificateAuthority, Credential, Credential]:
    ca = CertificateAuthority.create("example-ca")
    return ca, ca.issue("localhost", SERVER, names=["localhost"]), ca.issue("client", CLIENT)


def visit(**options: Any) -> Transcript:
    ca, server, client = ends()
    return record(server, ca.certificate, client, **options)


RESUMED: list[dict[str, Any]] = [{}, {"tls": "1.2"}, {"alpn": ["h2"]}, {"server_group": "secp384r1"}]


@pytest.mark.parametrize("options", RESUMED, ids=str)
def test_two_visits_to_a_server_that_insists_are_right(options: dict[str, Any]) -> None:
    """Also with TLS 1.2, whose resumption sends no certificate either; and with other options of `record`."""
    first = visit(**options)
    first.resume()
    again = first.resume()
    said = exercises.no_certificate_crossed((first, again))
    assert said.correct, said


def anyone(**options: Any) -> Transcript:
    """A visit to a server that asks, and takes no for an answer."""
    return visit(client_auth="optional", **options)


def _dressed_up() -> tuple[Transcript, Transcript]:
    """A visit to a server that asks nobody, with the messages of another."""
    one, other = record(ends()[1]), visit()
    return replace(one, messages=other.messages), one.resume()


def _borrowed() -> tuple[Transcript, Transcript]:
    """A visit to a server that does not insist, tied to one that does."""
    one = anyone()
    return replace(one, _again=visit()._again), one.resume()


def _read_again() -> tuple[Transcript, Transcript]:
    one = visit()
    return Transcript.from_bytes(one.flights, one.keylog), one.resume()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda: (visit(), visit()), "still sends a certificate"),
        (lambda: visit().resume(), "the answer is a pair"),
        (lambda: (visit(),), "the answer is a pair"),
        (lambda: [visit(), visit().resume()], "the answer is a pair"),
        (lambda: (visit(), visit().resume()), "not from this first one"),
        (lambda: (record(ends()[1]), record(ends()[1]).resume()), "asks nobody"),
        (lambda: (one := record(ends()[1]), one.resume()), "asks nobody"),
        (lambda: (one := visit(client_auth="none"), one.resume()), "asks nobody"),
        (lambda: (visit(), record(ends()[1], ends()[0].certificate)), "refused by the server"),
        (lambda: (one := visit(), one), "still sends a certificate"),
        (lambda: (visit(), Transcript.from_bytes(visit().flights[:1])), "did not get to its end"),
        (lambda: (visit(), mock.MagicMock(spec=Transcript)), "both are transcripts"),
        (lambda: (visit().resume(), visit().resume()), "asks nobody"),
        (lambda: (one := anyone(), one.resume()), "shows nothing gets in"),
        (lambda: (one := anyone(tls="1.2"), one.resume()), "shows nothing gets in"),
        (_dressed_up, "asks nobody"),
        (_borrowed, "cannot be tried again"),
        (_read_again, "cannot be tried again"),
        (
            lambda: (one := record(ends()[1], ends()[0].certificate, None, client_auth="optional"), one.resume()),
            "proves",
        ),
    ],
)
def test_another_pair_is_told_what_is_missing(wrong: Callable[[], Any], hint: str) -> None:
    """A server that never asked, a ticket from another visit, a visit that was refused: each has its hint."""
    said = exercises.no_certificate_crossed(wrong())
    assert said.correct is False
    assert hint in said.text
