"""The checkers of notebook 08: repairs are tried for real, and none may loosen anything."""

from pathlib import Path
from typing import Any

import pytest

from mtlslab import CertificateAuthority
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import page_08
from mtlslab.profiles import CLIENT, SERVER

REPAIRS = {
    "repaired_key": "key-of-another-certificate",
    "repaired_chain": "client-without-intermediate",
    "repaired_purpose": "wrong-purpose-client",
}


def files(folder: Path, cert: str = "client.crt", key: str = "client.key") -> dict[str, Path]:
    """Return three files of a folder."""
    return {"cacert": folder / "ca.crt", "cert": folder / cert, "key": folder / key}


@pytest.mark.parametrize(("name", "fault"), REPAIRS.items())
def test_what_is_still_broken_is_not_yet_repaired(name: str, fault: str, tmp_path: Path) -> None:
    """The deployment as it was found."""
    exercises.broken(fault, tmp_path)
    assert exercises.CHECKERS[name](files(tmp_path)).correct is False


@pytest.mark.parametrize(("name", "fault"), REPAIRS.items())
def test_a_repair_that_loosens_something_is_none(name: str, fault: str, tmp_path: Path) -> None:
    """Nothing but three files is taken: no switch, and no CA less."""
    exercises.broken(fault, tmp_path)
    check, right = exercises.CHECKERS[name], files(tmp_path)
    for loosened in ({**right, "verify": False}, {**right, "client_auth": "none"}, {"cacert": right["cacert"]}):
        feedback = check(loosened)
        assert feedback.correct is False
        assert "stays on" in feedback.text


@pytest.mark.parametrize("name", REPAIRS)
@pytest.mark.parametrize("answer", [7, "client.crt", object(), [], {"cacert": 1, "cert": 2, "key": 3}])
def test_an_answer_of_another_kind_gets_a_hint(name: str, answer: Any, tmp_path: Path) -> None:
    """Never a traceback."""
    exercises.broken(REPAIRS[name], tmp_path)
    assert exercises.CHECKERS[name](answer).text.startswith("Not yet: ")
    assert exercises.CHECKERS[name](None).correct is None


def test_the_right_chain_in_the_wrong_order(tmp_path: Path) -> None:
    """The key then belongs to the second certificate, and the client stops before it dials."""
    exercises.broken("client-without-intermediate", tmp_path)
    pems = [(tmp_path / name).read_text() for name in ("issuing-ca.crt", "client.crt")]
    (tmp_path / "whole.crt").write_text("".join(pems))
    assert "before it dials" in exercises.repaired_chain(files(tmp_path, "whole.crt")).text
    (tmp_path / "whole.crt").write_text("".join(reversed(pems)))
    assert exercises.repaired_chain(files(tmp_path, "whole.crt")).correct


def test_a_certificate_for_the_wrong_purpose_or_from_the_wrong_ca(tmp_path: Path) -> None:
    """Another server's certificate, or the right kind from a CA of one's own."""
    exercises.broken("wrong-purpose-client", tmp_path)
    own = CertificateAuthority.load(tmp_path)
    for ca, profile, reason in (
        (own, SERVER, "wrong-purpose"),
        (CertificateAuthority.create("example-ca"), CLIENT, "unknown-ca"),
    ):
        ca.issue("client", profile, names=["localhost"]).save(tmp_path, "mine", overwrite=True)
        assert reason in exercises.repaired_purpose(files(tmp_path, "mine.crt", "mine.key")).text


def test_without_a_deployment_there_is_nothing_to_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell above was not run."""
    monkeypatch.setattr(page_08, "_BROKEN", {})
    assert "run the cell above" in exercises.repaired_key({"cacert": "a", "cert": "b", "key": "c"}).text
