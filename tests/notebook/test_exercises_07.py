"""The checkers of notebook 07: each accepts its solution, rejects what people answer instead, and never raises."""

from functools import cache

import pytest

from mtlslab import CertificateAuthority
from mtlslab.handshake import Transcript, record
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, SERVER


@cache
def mutual() -> Transcript:
    """A mutual handshake, as the notebook makes it."""
    ca = CertificateAuthority.create("example-ca")
    server = ca.issue("localhost", SERVER, names=["localhost"])
    return record(server, ca.certificate, ca.issue("client", CLIENT))


@cache
def refused() -> Transcript:
    """A handshake that the server refuses."""
    ca = CertificateAuthority.create("example-ca")
    return record(ca.issue("localhost", SERVER, names=["localhost"]), ca.certificate)


def says(checker: str, answer: object) -> str:
    """What a checker says of an answer, up to the colon."""
    return exercises.CHECKERS[checker](answer).text.partition(":")[0]


@pytest.mark.parametrize("checker", ["message_that_proves", "record_number", "no_certificate_crossed"])
@pytest.mark.parametrize("answer", [None, object(), 3.5, [], b"", "x" * 10000, True, {}])
def test_any_answer_gets_a_hint(checker: str, answer: object) -> None:
    """Whatever the answer is, there is a hint and no traceback."""
    assert says(checker, answer) == ("Not attempted yet" if answer is None else "Not yet")


@pytest.mark.parametrize("answer", ["CertificateVerify", "certificate verify", " CertificateVerify\n"])
def test_certificate_verify_proves(answer: str) -> None:
    """The message's name is taken in any spelling."""
    assert says("message_that_proves", answer) == "Correct"


@pytest.mark.parametrize("answer", ["Certificate", "Finished", "CertificateRequest", "ClientHello"])
def test_no_other_message_proves(answer: str) -> None:
    """The certificate itself, above all, proves nothing."""
    assert says("message_that_proves", answer) == "Not yet"


def test_the_record_number_is_that_of_the_recording() -> None:
    """The right number is the one that counting in a real handshake gives, and its neighbours are wrong."""
    encrypted = [m for m in mutual().messages if m.sender == "server" and m.encrypted]
    right = encrypted.index(mutual().message("CertificateVerify", "server"))
    assert says("record_number", right) == "Correct"
    assert {says("record_number", wrong) for wrong in (-1, 0, right - 1, right + 1, right + 3)} == {"Not yet"}


def test_only_a_resumed_handshake_sends_no_certificate() -> None:
    """A full handshake and a refused one are not it, nor is a recording that stops after the greetings."""
    assert says("no_certificate_crossed", mutual().resume()) == "Correct"
    greetings = Transcript.from_bytes(mutual().flights[:1])
    assert {says("no_certificate_crossed", wrong) for wrong in (mutual(), refused(), greetings)} == {"Not yet"}
