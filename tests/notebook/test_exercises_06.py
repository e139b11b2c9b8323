"""The checkers of notebook 06 tell wrong answers from right ones, and say what to look at."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mtlslab import Answer, CertificateAuthority, Refusal, Server, Visit, request
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, SERVER

WRONG_TYPES = [0, "", "expired", b"", [], {}, (), (1, 2, 3, 4), object(), Path("ca.crt"), lambda: None, int, True]
CHECKERS = [exercises.both_at_fault, exercises.too_early, exercises.open_vault]


@pytest.mark.parametrize("check", CHECKERS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("answer", WRONG_TYPES)
def test_anything_else_gets_a_hint(check: Any, answer: Any) -> None:
    """A checker answers something of another kind with a hint, and never raises."""
    feedback = check(answer)
    assert feedback.correct is False
    assert feedback.text.startswith("Not yet: ")


@pytest.mark.parametrize("check", CHECKERS, ids=lambda check: check.__name__)
def test_no_answer_is_not_an_attempt(check: Any) -> None:
    """None is no attempt, and no mistake."""
    assert check(None).text.startswith("Not attempted yet")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (("server", "no-client-certificate", "certificate_required", 56), "think of the order"),
        (("client", "unknown-ca", "unknown_ca", 60), "which word of the tables"),
        (("client", "expired", "bad_certificate", 60), "the alert"),
        (("client", "expired", "certificate_expired", 56), "what does curl return"),
        (("client", "expired", "certificate_expired", "60"), "what does curl return"),
        (("client", "expired", "certificate_expired"), "a tuple of four"),
    ],
)
def test_both_at_fault_says_which_part_is_wrong(answer: Any, hint: str) -> None:
    """A prediction that is wrong in one place gets the hint for that place."""
    feedback = exercises.both_at_fault(answer)
    assert feedback.correct is False
    assert hint in feedback.text


def test_both_at_fault_takes_the_truth() -> None:
    """The right prediction is what the checker's own request comes to."""
    assert exercises.both_at_fault(("client", "expired", "certificate_expired", 60)).correct


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[CertificateAuthority, Server]]:
    ca = CertificateAuthority.create("example-ca")
    ca.save(tmp_path)
    with Server(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=ca.certificate, port=0) as server:
        yield ca, server


def _call(stage: tuple[CertificateAuthority, Server], folder: Path, days_from_now: int) -> tuple[Answer, Visit]:
    ca, server = stage
    begin = datetime.now(UTC) + timedelta(days=days_from_now)
    ca.issue("client", CLIENT, not_before=begin, days=1).save(folder, "client")
    answer = request(server.url, cacert=folder / "ca.crt", cert=folder / "client.crt", key=folder / "client.key")
    return answer, server.visits[-1]


def test_too_early_wants_the_servers_view(stage: tuple[CertificateAuthority, Server], tmp_path: Path) -> None:
    """The visit of a certificate that begins tomorrow is right; the client's view of the same event is not."""
    answer, visit = _call(stage, tmp_path, days_from_now=1)
    assert exercises.too_early(visit).correct
    feedback = exercises.too_early(answer)
    assert feedback.correct is False
    assert "the client's view, which holds only 'bad-certificate'" in feedback.text


def test_too_early_is_not_too_late(stage: tuple[CertificateAuthority, Server], tmp_path: Path) -> None:
    """An expired certificate is refused as well, and gets the hint that it is over already."""
    _, visit = _call(stage, tmp_path, days_from_now=-5)
    assert "over already" in exercises.too_early(visit).text


def test_too_early_knows_the_other_mistakes(stage: tuple[CertificateAuthority, Server], tmp_path: Path) -> None:
    """An honest visit, one without a certificate, one where the client refused: each has its own hint."""
    _, server = stage
    _, honest = _call(stage, tmp_path, days_from_now=0)
    request(server.url, cacert=tmp_path / "ca.crt")
    bare = server.visits[-1]
    request(server.url)
    distrusted = server.visits[-1]
    hints = [exercises.too_early(visit).text for visit in (honest, bare, distrusted)]
    wanted = ["the server let this one in", "the client showed nothing", "the client refused the server"]
    assert all(want in hint for want, hint in zip(wanted, hints, strict=True)), hints


def test_the_vault_opens_to_one_choice_of_files(tmp_path: Path) -> None:
    """Of all choices of CA and certificate, one opens the vault; each other gets a hint at the file that is wrong."""
    with exercises.vault(tmp_path) as vault:
        said = {
            (ca, who): exercises.open_vault(
                request(
                    vault.url, cacert=tmp_path / f"{ca}.crt", cert=tmp_path / f"{who}.crt", key=tmp_path / f"{who}.key"
                )
            )
            for ca in ("ca-a", "ca-b")
            for who in ("alice", "bob", "carol")
        }
        bare = exercises.open_vault(request(vault.url, cacert=tmp_path / "ca-a.crt"))
    assert [choice for choice, feedback in said.items() if feedback.correct] == [("ca-a", "bob")]
    assert "your --cacert is right" in said["ca-a", "alice"].text
    assert "extendedKeyUsage" in said["ca-a", "carol"].text
    assert "which CA issued the vault's own certificate" in said["ca-b", "bob"].text
    assert "cert= and key=" in bare.text


def test_the_vault_is_not_any_server(stage: tuple[CertificateAuthority, Server], tmp_path: Path) -> None:
    """A reply from another server, or a refusal made up, does not pass for the vault's."""
    answer, _ = _call(stage, tmp_path, days_from_now=0)
    assert answer.ok
    assert "another server" in exercises.open_vault(answer).text
    made_up = Answer(refusal=Refusal("server", "expired", None, 56, "", ""))
    assert exercises.open_vault(made_up).correct is False


def test_the_vault_can_be_set_up_again(tmp_path: Path) -> None:
    """Running the vault's cell twice works."""
    with exercises.vault(tmp_path), exercises.vault(tmp_path) as again:
        assert again.url.startswith("https://localhost:")
