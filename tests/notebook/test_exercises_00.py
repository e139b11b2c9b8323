"""The checkers of notebook 00 turn wrong answers down, each with the hint that helps."""

from pathlib import Path
from typing import Any

import pytest

from mtlslab import Answer, CertificateAuthority, Server, request
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, SERVER

OTHERS: list[Any] = [0, 1.5, True, object(), b"ca.crt", [None], {"a": 1}, (), "no", lambda: None]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Real answers: to requests with every credential, without the client's, without the CA, and to nobody."""
    lab: Path = tmp_path_factory.mktemp("lab")
    ca = CertificateAuthority.create("example-ca")
    ca.save(lab)
    ca.issue("client", CLIENT).save(lab, "client")
    late = ca.issue("localhost", SERVER, names=["another-host"])
    cert, key = lab / "client.crt", lab / "client.key"
    with Server(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=ca.certificate, port=0) as server:
        made = {
            "every credential": request(server.url, cacert=lab / "ca.crt", cert=cert, key=key),
            "no client certificate": request(server.url, cacert=lab / "ca.crt"),
            "no ca": request(server.url, cert=cert, key=key),
        }
        url = server.url
    made["nobody there"] = request(url, cert=cert, key=key)
    with Server(late, client_ca=ca.certificate, port=0) as server:
        made["wrong host"] = request(server.url, cacert=lab / "ca.crt", cert=cert, key=key)
    return made


@pytest.mark.parametrize(
    ("which", "hint"),
    [
        ("every credential", "leave cacert out"),
        ("no client certificate", "give cert and key"),
        ("nobody there", "inside the with block"),
        ("wrong host", "but for wrong-host"),
    ],
)
def test_a_request_that_the_client_did_not_refuse_for_its_ca_is_turned_down(
    answers: dict[str, Answer], which: str, hint: str
) -> None:
    """Each way to miss the point of taking the CA away has a hint of its own."""
    feedback = exercises.refused_by_the_client(answers[which])
    assert feedback.correct is False
    assert hint in feedback.text


def test_a_request_without_the_ca_is_accepted_and_explained(answers: dict[str, Answer]) -> None:
    """The reader learns curl's exit code for what they have done."""
    feedback = exercises.refused_by_the_client(answers["no ca"])
    assert feedback.correct
    assert "60" in feedback.text


def test_a_part_of_the_answer_is_not_the_answer(answers: dict[str, Answer]) -> None:
    """The refusal alone, or its advice, does not tell what became of the request."""
    for part in (answers["no ca"].refusal, "unknown-ca"):
        assert "what request(...) returns" in exercises.refused_by_the_client(part).text


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ({"ca.crt", "ca.key", "client.crt", "client.key"}, "in anyone's name"),
        ({"ca.crt", "client.crt", "client.key", "server.key"}, "pose as the server"),
        ({"client.crt", "client.key"}, "could not check the server"),
        ({"ca.crt", "client.key"}, "nothing to show"),
        ({"ca.crt", "client.crt"}, "without its private key"),
        ({"ca.crt", "client.crt", "client.key", "server.crt"}, "shows it in every handshake"),
        ({"ca.crt", "client.crt", "client.pem"}, "does not hold client.pem"),
        ("ca.crt", "a set of file names"),
        (set(), "could not check the server"),
    ],
)
def test_a_bag_with_too_little_or_too_much_is_turned_down(files: Any, hint: str) -> None:
    """Each file too many or too few has its own reason."""
    feedback = exercises.files_for_the_client(files)
    assert feedback.correct is False
    assert hint in feedback.text


@pytest.mark.parametrize("wrap", [set, list, tuple, frozenset])
def test_any_collection_of_names_or_paths_will_do(wrap: Any) -> None:
    """What is asked is which files, not which Python type."""
    names = ["ca.crt", "client.crt", "client.key"]
    assert exercises.files_for_the_client(wrap(names)).correct
    assert exercises.files_for_the_client(wrap([Path("lab-00") / name for name in names])).correct


@pytest.mark.parametrize("check", [exercises.refused_by_the_client, exercises.files_for_the_client])
def test_no_answer_is_not_attempted_and_another_type_gets_a_hint(check: Any) -> None:
    """None is no attempt, and nothing whatever makes a checker raise."""
    assert check(None).text.startswith("Not attempted yet")
    for other in OTHERS:
        assert check(other).text.startswith("Not yet: "), other
