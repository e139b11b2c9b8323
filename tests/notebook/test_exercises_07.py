"""The checkers of notebook 07 try what they are given on handshakes that it has not seen."""
# ruff: noqa: ARG005 (a wrong answer may well ignore what it is given)

import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mtlslab import CertificateAuthority
from mtlslab.handshake import Transcript, record
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import page_07
from mtlslab.notebook.exercises.judges import Feedback
from mtlslab.profiles import CLIENT, SERVER

OTHER_KINDS = [object(), 3.5, [], "x" * 1000, True, {}, mock.ANY, mock.MagicMock()]


def misjudged(check: Callable[[Any], Feedback], rows: list[tuple[Any, str]]) -> dict[int, str]:
    """Return which wrong answers are not found wrong, or get another hint: their rows, and what they are told."""
    said = enumerate((check(wrong), hint) for wrong, hint in rows)
    return {row: told.text for row, (told, hint) in said if told.correct is not False or hint not in told.text}


@pytest.fixture(scope="module")
def made() -> SimpleNamespace:
    """What the checkers make: a handshake, and the cases of one round. To make them takes longer than to judge them."""
    ca = CertificateAuthority.create("example-ca")
    server = ca.issue("localhost", SERVER, names=["localhost"])
    recorded = record(server, ca.certificate, ca.issue("client", CLIENT))
    return SimpleNamespace(
        recorded=recorded, handshakes=list(page_07._handshakes()), visits=list(page_07._Visits().cases())
    )


@pytest.fixture(autouse=True)
def made_once(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all answers see the same ones, in copies; the notebooks' own solutions see fresh ones."""
    monkeypatch.setattr(page_07, "record", lambda *_: made.recorded)
    monkeypatch.setattr(page_07, "_handshakes", lambda: made.handshakes)
    monkeypatch.setattr(page_07, "_Visits", lambda: SimpleNamespace(cases=lambda: made.visits))


@pytest.mark.parametrize("checker", ["opens_records", "verifies_client", "guards_second_visit"])
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


WRONG_OPENERS: list[tuple[Any, str]] = [
    (_opened(lambda _: 0), "Which nonce"),
    (_opened(lambda number: number + 1), "Which nonce"),
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
    (lambda secret, number, raw: raw[5:-17], "not what it holds"),
    (lambda secret, number, raw: bytearray(open_record(secret, number, raw)), "bytearray"),
    (lambda secret, number, raw: mock.ANY, "not bytes"),
]


def test_a_function_that_opens_some_is_wrong() -> None:
    """One number for all, a seal that is not looked at, a cut in the wrong place: each has its hint."""
    assert misjudged(exercises.opens_records, WRONG_OPENERS) == {}


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


def pointed(transcript: Transcript, ca: x509.Certificate) -> bool:
    shown = transcript.message("Certificate", "client").fields["certificates"][0]
    to = shown.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return bool(to == ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest)


def _believes_the_name(transcript: Transcript, ca: x509.Certificate) -> bool:
    return there(transcript) and (
        transcript.message("Certificate", "client").fields["certificates"][0].issuer == ca.subject
        and proved(transcript)
    )


WRONG_VERIFIERS: list[tuple[Any, str]] = [
    (lambda transcript, ca: True, ""),
    (lambda transcript, ca: there(transcript) and issued(transcript, ca), "whoever"),
    (lambda transcript, ca: there(transcript) and proved(transcript), "make a CA of that name"),
    (_any_of_the_chain, "a copy of a friend's behind it"),
    (_remembering(), ""),
    (lambda transcript, ca: there(transcript) and pointed(transcript, ca) and proved(transcript), "key identifier"),
    (lambda transcript, ca: verify_client(transcript, ca) or transcript.resumed, "there is no proof in it"),
    (lambda transcript, ca: transcript.tls_version == "TLSv1.2" or verify_client(transcript, ca), "older version"),
    (lambda transcript, ca: there(transcript) and transcript.server_error is None, ""),
    (_believes_the_name, "make a CA of that name"),
    (lambda transcript, ca: there(transcript) and transcript.alert is None, ""),
    (lambda transcript, ca: transcript.alert is None and issued(transcript, ca), ""),
    (lambda transcript, ca: issued(transcript, ca) and proved(transcript), "raised"),
    (lambda transcript, ca: int(verify_client(transcript, ca)), "returned int"),
    (lambda transcript, ca: mock.ANY, "not bool"),
    (lambda transcript, ca: not verify_client(transcript, ca), ""),
]


def test_a_verifier_of_one_half_is_wrong() -> None:
    """The hint says who gets in: a thief, an old proof, a namesake, somebody who shows nothing."""
    assert misjudged(exercises.verifies_client, WRONG_VERIFIERS) == {}


def test_a_verifier_of_both_halves_is_right() -> None:
    """The chain and the proof; and what was given dies with each call.

    Whoever remembers handshakes by `id()` would take the next one for the last.
    """
    given: list[weakref.ref[Transcript]] = []
    alive: list[object] = []

    def verifies(transcript: Transcript, ca: x509.Certificate) -> bool:
        alive.extend(filter(None, [one() for one in given]))
        given.append(weakref.ref(transcript))
        return by_exceptions(transcript, ca)

    said = exercises.verifies_client(verifies)
    assert said.correct, said
    assert len(given) > 20
    assert not alive


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


# Guard the second visit


Visits = list[tuple[datetime, Transcript]]
Trusted = list[tuple[x509.Certificate, x509.CertificateRevocationList]]
HOUR = timedelta(hours=1)


def last_full(visits: Visits) -> tuple[datetime, Transcript]:
    return [visit for visit in visits if not visit[1].resumed and visit[1].alert is None][-1]


def recent(moment: datetime, now: datetime) -> bool:
    return timedelta(0) <= now - moment <= HOUR


def shown(full: Transcript) -> x509.Certificate | None:
    sent = [m for m in full.messages if (m.name, m.sender) == ("Certificate", "client")]
    return next(iter(sent[0].fields["certificates"]), None) if sent else None


def valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def by_signature(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    with suppress(ValueError, TypeError, InvalidSignature):
        certificate.verify_directly_issued_by(ca)
        return True
    return False


def listed(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def vouched(certificate: x509.Certificate, trusted: Trusted, issued: Any = by_signature) -> bool:
    """Whether one of the CAs issued it, and has not revoked it."""
    return any(issued(certificate, ca) and not listed(crl, certificate) for ca, crl in trusted)


def guard(
    full: Any = last_full, recent: Any = recent, shown: Any = shown, valid: Any = valid, vouched: Any = vouched
) -> Callable[[Visits, datetime, Trusted], bool]:
    """The folded solution, in pieces that can be replaced."""

    def still_welcome(visits: Visits, now: datetime, trusted: Trusted) -> bool:
        moment, transcript = full(visits)
        certificate = shown(transcript)
        return bool(certificate and recent(moment, now) and valid(certificate, now) and vouched(certificate, trusted))

    return still_welcome


def in_one_pass(visits: Visits, now: datetime, trusted: Trusted) -> bool:
    """Walks forward with what it knows, as a server does that keeps the state in its tickets."""
    kept = None
    for moment, transcript in visits:
        names = {message.name for message in transcript.messages}
        if "NewSessionTicket" in names and "EncryptedExtensions" in names and "CertificateVerify" in names:
            kept = moment, shown(transcript)
    return kept is not None and kept[1] is not None and guard(lambda _: kept, shown=lambda who: who)([], now, trusted)


def with_the_proof(visits: Visits, now: datetime, trusted: Trusted) -> bool:
    """Tells a refused thief by the proof, checked by hand once more."""
    good = [(m, t) for m, t in visits if not t.resumed and (shown(t) is None or proved(t))]
    return guard(full=lambda _: good[-1])(visits, now, trusted)


def by_bytes(visits: Visits, now: datetime, trusted: Trusted) -> bool:
    """Tells the issuer by its key alone, and reads each list from its first entry to its last."""

    def issued(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
        key: Any = ca.public_key()
        with suppress(InvalidSignature):
            key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
            return True
        return False

    def vouched(certificate: x509.Certificate, trusted: Trusted) -> bool:
        lists = [{entry.serial_number for entry in crl} for ca, crl in trusted if issued(certificate, ca)]
        return len(lists) == 1 and certificate.serial_number not in lists[0]

    return guard(vouched=vouched)(visits, now, trusted)


def by_policy(visits: Visits, now: datetime, trusted: Trusted) -> bool:
    """Lets the library's verifier judge, and wants the list signed."""
    moment, transcript = last_full(visits)
    for ca, crl in trusted:
        key: Any = ca.public_key()
        with suppress(VerificationError, LookupError):
            certificate = transcript.message("Certificate", "client").fields["certificates"][0]
            PolicyBuilder().store(Store([ca])).time(now).build_client_verifier().verify(certificate, [])
            return recent(moment, now) and crl.is_signature_valid(key) and not listed(crl, certificate)
    return False


def whatever_goes_wrong(visits: Visits, now: datetime, trusted: Trusted) -> bool:
    """Minutes, `not_valid_after_utc` alone (it was valid at the handshake), and a no for every exception."""
    while visits[-1][1].resumed or visits[-1][1].refused_by:
        visits.pop()
    try:
        certificate = visits[-1][1].message("Certificate", "client").fields["certificates"][0]
        minutes = (now - visits[-1][0]).total_seconds() / 60
        return 0 <= minutes <= 60 and now < certificate.not_valid_after_utc and vouched(certificate, trusted)
    except Exception:
        return False


@pytest.mark.parametrize("right", [in_one_pass, with_the_proof, by_bytes, by_policy, whatever_goes_wrong])
def test_a_guard_that_looks_back_to_the_proof_is_right(right: Any) -> None:
    """However it finds the last full handshake, the issuer and the list."""
    said = exercises.guards_second_visit(right)
    assert said.correct, said


def _any_certificate(transcript: Transcript) -> x509.Certificate | None:
    """The last one that the client sent, whoever's it is."""
    sent = [m for m in transcript.messages if (m.name, m.sender) == ("Certificate", "client")]
    return sent[0].fields["certificates"][-1] if sent and sent[0].fields["certificates"] else None


def _last_list_of_that_name(certificate: x509.Certificate, trusted: Trusted) -> bool:
    lists = {ca.subject: crl for ca, crl in trusted}
    return any(by_signature(certificate, ca) for ca, _ in trusted) and not listed(
        lists[certificate.issuer], certificate
    )


def _by_identifier(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    points_to = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == points_to


def _first_ca(certificate: x509.Certificate, trusted: Trusted) -> bool:
    return vouched(certificate, trusted[:1])


def _every_list(certificate: x509.Certificate, trusted: Trusted) -> bool:
    issued = any(by_signature(certificate, ca) for ca, _ in trusted)
    return issued and not any(listed(crl, certificate) for _, crl in trusted)


def asked(transcript: Transcript) -> bool:
    return any(message.name == "CertificateRequest" for message in transcript.messages)


def _remembers() -> Callable[[Visits, datetime, Trusted], bool]:
    known: dict[Any, bool] = {}
    return lambda visits, now, trusted: known.setdefault(shown(last_full(visits)[1]), guard()(visits, now, trusted))


WRONG_GUARDS: list[tuple[Any, str]] = [
    (lambda visits, now, trusted: True, "good for ever"),
    (guard(full=lambda visits: visits[-1]), "has to prove it all again"),  # a resumed one shows no certificate
    (guard(full=lambda visits: (visits[-1][0], last_full(visits)[1])), "good for ever"),
    (guard(full=lambda visits: visits[0]), "proved itself anew"),
    (guard(full=lambda visits: (last_full(visits)[0], visits[0][1])), "sent away for the old one"),
    (guard(full=lambda visits: [v for v in visits if not v[1].resumed][-1]), "makes an old ticket young"),
    (guard(full=lambda visits: ([v for v in visits if shown(v[1]) and not v[1].alert] or visits)[-1]), "earlier"),
    (guard(full=lambda visits: ([v for v in visits if shown(v[1])] or visits)[-1]), ""),
    (lambda visits, now, trusted: not visits[-1][1].alert and guard()(visits, now, trusted), "spoils the ticket"),
    (lambda visits, now, trusted: not asked(last_full(visits)[1]) or guard()(visits, now, trusted), "not asked"),
    (lambda visits, now, trusted: not shown(last_full(visits)[1]) or guard()(visits, now, trusted), "showed nothing"),
    (lambda visits, now, trusted: not trusted or guard()(visits, now, trusted), "keep coming"),
    (guard(recent=lambda moment, now: abs(now - moment) <= HOUR), "clock is set back"),
    (guard(recent=lambda moment, now: (now - moment).seconds <= 3600), "copied yesterday"),
    (guard(recent=lambda moment, now: timedelta(0) <= now - moment <= HOUR * 1.1), "longer than the hour"),
    (guard(recent=lambda moment, now: timedelta(0) <= now - moment <= HOUR / 1.1), "after 58 minutes"),
    (guard(recent=lambda moment, now: recent(moment, datetime.now(UTC))), "has to prove it all again"),
    (guard(valid=lambda certificate, now: valid(certificate, datetime.now(UTC))), "outlives the certificate"),
    (guard(valid=lambda certificate, now: valid(certificate, now + HOUR)), "ends in ten minutes"),
    (guard(shown=_any_certificate), "vouches for a stranger"),
    (guard(vouched=lambda *_: True), "stranger"),
    (guard(vouched=lambda certificate, trusted: any(by_signature(certificate, ca) for ca, _ in trusted)), "back door"),
    (guard(vouched=lambda c, trusted: vouched(c, trusted, _by_identifier)), "names and numbers"),
    (guard(vouched=_every_list), "throw out the clients of another"),
    (guard(vouched=_last_list_of_that_name), "list of a namesake"),
    (guard(vouched=_first_ca), ""),
    (_remembers(), ""),
]


def test_a_guard_that_overlooks_something_is_wrong() -> None:
    """The hint says who comes in, or who is sent away for nothing."""
    assert misjudged(exercises.guards_second_visit, WRONG_GUARDS) == {}
