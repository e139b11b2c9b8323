"""The checkers of notebook 06 try what they are given, on live servers."""
# ruff: noqa: ARG005 (a wrong answer may well ignore what it is given)

import errno
import ssl
import time
from collections.abc import Callable, Iterator
from enum import IntEnum, StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import httpx
import pytest

from mtlslab import Answer, CertificateAuthority, Server, refusals
from mtlslab.credentials import read_certificates
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import guard, page_06
from mtlslab.profiles import CLIENT, SERVER

WRONG_TYPES = [0, "", "expired", b"", [], {}, (), (1, 2, 3, 4), object(), Path("ca.crt"), int, True, mock.ANY]
CHECKERS = [exercises.both_at_fault, exercises.who_refused, exercises.open_vault]


@pytest.fixture(scope="module")
def failures() -> list[page_06._Failure]:
    """What became of the connections of one round: to make them takes longer than to judge what they raised."""
    return list(page_06._failures())


_both_at_fault = cache(page_06._both_at_fault)


@pytest.fixture(autouse=True)
def made_once(failures: list[page_06._Failure], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all tests see the same failures; the notebooks' own solutions see fresh ones."""
    monkeypatch.setattr(page_06, "_failures", lambda: (failure for failure in failures))
    monkeypatch.setattr(page_06, "_both_at_fault", _both_at_fault)


@pytest.mark.parametrize("check", CHECKERS, ids=lambda check: check.__name__)
def test_anything_else_gets_a_hint(check: Any) -> None:
    """A checker answers something of another kind with a hint, and never raises; None is no attempt, and no mistake."""
    assert check(None).text.startswith("Not attempted yet")
    for answer in WRONG_TYPES:
        feedback = check(answer)
        assert feedback.correct is False, answer
        assert feedback.text.startswith("Not yet: ")


# Both at fault


class Lying(str):
    """Equal to any text."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


class LyingNumber(int):
    """Equal to any number."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return True


class Four(NamedTuple):
    by: str
    reason: str
    alert: str
    code: int


class Reason(StrEnum):
    """The tables' words."""

    EXPIRED = "expired"


class Code(IntEnum):
    """curl's."""

    PEER_FAILED_VERIFICATION = 60


NOT_BOTH_AT_FAULT: list[tuple[Any, str]] = [
    (("server", "no-client-certificate", "certificate_required", 56), "think of the order"),
    (("nobody", "expired", "certificate_expired", 60), "think of the order"),
    (("client", "unknown-ca", "unknown_ca", 60), "which word of the tables"),
    (("client", "wrong-host", "bad_certificate", 60), "which word of the tables"),
    (("client", "expired", "bad_certificate", 60), "the alert"),
    (("client", "expired", "certificate_expired", 56), "what does curl return"),
    (("client", "expired", "certificate_expired", 35), "what does curl return"),
    (("client", "expired", "certificate_expired", "60"), "what does curl return"),
    (("client", "expired", "certificate_expired", 60.0), "what does curl return"),
    (("client", "expired", "certificate_expired", True), "what does curl return"),
    (("client", "expired", "certificate_expired"), "a tuple of four"),
    (["client", "expired", "certificate_expired"], "a tuple of four"),
    ({"client": 1, "expired": 2, "certificate_expired": 3, "60": 60}, "a tuple of four"),
    ((Lying("server"), "expired", "certificate_expired", 60), "think of the order"),
    ((Lying("client"), "expired", Lying("unknown_ca"), 60), "the alert"),
    (("client", "expired", "certificate_expired", LyingNumber(56)), "what does curl return"),
    (("client", "expired", "certificate_required", 60), "the alert"),
    (("client", "not-yet-valid", "certificate_expired", 60), "which word of the tables"),
    (("client", "expired", 45, 60), "text, as in the tables"),
    (("client", "expired", "certificate_expired", 60, None), "a tuple of four"),
    ((mock.ANY, mock.ANY, mock.ANY, mock.ANY), "text, as in the tables"),
]


def test_both_at_fault_says_which_part_is_wrong() -> None:
    """A prediction that is wrong in one place gets the hint for that place."""
    for answer, hint in NOT_BOTH_AT_FAULT:
        feedback = exercises.both_at_fault(answer)
        assert feedback.correct is False, answer
        assert hint in feedback.text, answer


def test_both_at_fault_takes_the_truth() -> None:
    """The right prediction is what the checker's own request comes to, in whatever kind of row it is written."""
    for answer in (
        ("client", "expired", "certificate_expired", 60),
        ["client", "expired", "certificate_expired", 60],
        Four("client", "expired", "certificate_expired", 60),
        ("client", Reason.EXPIRED, "certificate_expired", Code.PEER_FAILED_VERIFICATION),
    ):
        assert exercises.both_at_fault(answer).correct, answer


# Who refused?


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def by_type(error: BaseException) -> str | None:
    """The folded solution's way."""
    for one in chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return "client"
        if isinstance(one, ssl.SSLError) and "_ALERT_" in (one.reason or ""):
            return "server"
    return None


def by_reason(error: BaseException) -> str | None:
    """By OpenSSL's words alone."""
    reasons = [getattr(one, "reason", None) or "" for one in chain(error)]
    if "CERTIFICATE_VERIFY_FAILED" in reasons:
        return "client"
    return "server" if any("ALERT" in reason for reason in reasons) else None


def by_message(error: BaseException) -> str | None:
    """By the text of httpx's own exception."""
    said = str(error)
    return "client" if "CERTIFICATE_VERIFY_FAILED" in said else "server" if " alert " in said else None


def by_name(error: BaseException) -> str | None:
    """With this course's own vocabulary."""
    found = refusals.from_exception(error, seen_by="client", tls_version=None, sent_certificate=True, in_handshake=True)
    return found.by if found and (found.alert or found.reason in refusals.CERTIFICATE_REASONS) else None


_SEEN = ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "CERTIFICATE_EXPIRED", "UNSUPPORTED_CERTIFICATE", "HANDSHAKE_FAILURE")


def _words(error: BaseException) -> str:
    return " ".join(str(getattr(one, "reason", "")) for one in chain(error))


def by_walking_back(error: BaseException) -> str | None:
    """From the first cause on, over the context alone."""
    reasons = [one.reason or "" for one in reversed(list(chain(error))) if isinstance(one, ssl.SSLError)]
    told = [
        {"CERTIFICATE_VERIFY_FAILED": "client"}.get(one) or ("server" if "_ALERT_" in one else None) for one in reasons
    ]
    return next(filter(None, told), None)


def by_code(error: BaseException) -> str | None:
    """By the number that a verifier leaves."""
    if any(getattr(one, "verify_code", 0) for one in chain(error)):
        return "client"
    return "server" if "_ALERT_" in _words(error) else None


def test_who_tells_by_the_cause_is_right() -> None:
    """By type, by reason, by message: what counts is whose verdict it was."""
    for right in (by_type, by_reason, by_message, by_walking_back, by_code):
        said = exercises.who_refused(right)
        assert said.correct, said


def _counting() -> Callable[[BaseException], str | None]:
    calls: list[int] = []

    def tells(error: BaseException) -> str | None:
        calls.append(1)
        return by_type(error) if len(calls) < 5 else "server"

    return tells


def _hangs(_: BaseException) -> str:
    while True:
        time.sleep(0.001)


WRONG: list[Any] = [
    lambda error: "client",
    lambda error: "server",
    lambda error: None,
    lambda error: "client" if isinstance(error, httpx.ConnectError) else "server",
    lambda error: "server" if isinstance(error, httpx.ReadError) else "client",
    lambda error: "client" if any(isinstance(one, ssl.SSLError) for one in chain(error)) else "server",
    lambda error: by_type(error) or "server",
    lambda error: by_type(error) or "client",
    lambda error: "server" if "ALERT" in str(error) else "client",
    lambda error: {"client": "server", "server": "client"}.get(by_type(error) or ""),
    lambda error: "client" if isinstance(error.__cause__, ssl.SSLCertVerificationError) else None,
    lambda error: by_type(error) and mock.ANY,
    lambda error: [by_type(error)],
    lambda error: (by_type(error) or "").upper() or None,
    lambda error: True if by_type(error) == "client" else None,
    lambda error: error.errno == errno.ECONNREFUSED,
    lambda error: error.__traceback__.tb_frame.f_locals["by"],
    lambda error: "client" if "verify" in str(error) else "server" if str(error) else None,
    lambda error: None if by_type(error) == "server" and "CERT" not in _words(error) else by_type(error),
    lambda error: None if "INTERNAL" in _words(error) or "ACCESS" in _words(error) else by_type(error),
    lambda error: "server" if any(word in _words(error) for word in _SEEN) else by_type(error) and "client",
    lambda error: "server" if isinstance(error, httpx.ReadError) else by_type(error) and "client",
    lambda error: None if isinstance(error, httpx.ReadError) else by_type(error),
    lambda error: "client" if "verify" in str(error) else "server" if "certificate" in str(error) else None,
    lambda error: by_type(error.__context__ or ValueError()) if error.__cause__ is None else "client",
    _counting(),
    "client",
]


def test_who_tells_by_something_else_is_wrong() -> None:
    """The moment, the kind of exception, one's own side always: none tells whose verdict it was."""
    assert [row for row, wrong in enumerate(WRONG) if exercises.who_refused(wrong).correct is not False] == []


def test_who_never_tells_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that does not come back is not waited for."""
    monkeypatch.setattr(guard, "PATIENCE", 0.5)
    assert "does not come back" in exercises.who_refused(_hangs).text


def test_an_exception_of_the_reader_s_own_is_shown() -> None:
    """With its own words, so that it can be found."""
    assert "ZeroDivisionError" in exercises.who_refused(lambda error: 1 // 0).text


# The vault


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    exercises.vault(tmp_path)
    yield tmp_path
    page_06._VAULTS.pop().stop()


def files(folder: Path, ca: str, who: str) -> dict[str, Path]:
    return {"cacert": folder / f"{ca}.crt", "cert": folder / f"{who}.crt", "key": folder / f"{who}.key"}


def test_the_vault_opens_to_one_choice_of_files(folder: Path) -> None:
    """Of all choices of CA and certificate, one opens the vault; each other gets a hint at the file that is wrong."""
    choices = [(ca, who) for ca in ("ca-a", "ca-b") for who in ("alice", "bob", "carol")]
    said = {choice: exercises.open_vault(files(folder, *choice)) for choice in choices}
    assert [choice for choice, feedback in said.items() if feedback.correct] == [("ca-a", "bob")]
    assert "your cacert is right" in said["ca-a", "alice"].text
    assert "extendedKeyUsage" in said["ca-a", "carol"].text
    assert "which CA issued the vault's own certificate" in said["ca-b", "bob"].text


def test_the_vault_takes_paths_as_curl_does(folder: Path) -> None:
    """A str is a path too, and a copy of a file is as good."""
    (folder / "copy.crt").write_bytes((folder / "ca-a.crt").read_bytes())
    right = {option: str(path) for option, path in files(folder, "copy", "bob").items()}
    assert exercises.open_vault(right).correct


def _wrong(folder: Path) -> dict[str, Any]:
    right = files(folder, "ca-a", "bob")
    own = CertificateAuthority.create("ca-b")
    own.issue("bob", CLIENT).save(folder, "forged")
    with Server(own.issue("localhost", SERVER, names=["localhost"]), client_auth="none", port=0) as other:
        answer = mock.MagicMock(spec=Answer, text=page_06.VAULT_TEXT, refusal=None)
        return {
            "no certificate": {"cacert": right["cacert"]},
            "no CA": {"cert": right["cert"], "key": right["key"]},
            "another's key": right | {"key": folder / "alice.key"},
            "a missing file": right | {"cert": folder / "dave.crt"},
            "a folder": right | {"cert": folder},
            "a forged client": right | {"cert": folder / "forged.crt", "key": folder / "forged.key"},
            "another option": right | {"verify": False},
            "another url": right | {"url": other.url},
            "an answer": Answer(status=200, text=page_06.VAULT_TEXT),
            "a mock": answer,
            "a subclass": type("Files", (dict,), {})(right),
            "the contents": {option: path.read_bytes() for option, path in right.items()},
        }


def test_nothing_but_the_vault_s_own_files_open_it(folder: Path) -> None:
    """A forged client, a reply made by hand or by another server, a switch: none is the key to the vault."""
    for what, answer in _wrong(folder).items():
        feedback = exercises.open_vault(answer)
        assert feedback.correct is False, what
        assert len(feedback.text) > 15


def test_who_believes_both_cas_has_not_looked(folder: Path) -> None:
    """A file with every CA in it opens the vault, and any other server that the other CA's holder sets up."""
    both = folder / "both.crt"
    both.write_bytes((folder / "ca-a.crt").read_bytes() + (folder / "ca-b.crt").read_bytes())
    said = exercises.open_vault(files(folder, "both", "bob"))
    assert said.correct is False
    assert "whoever holds the key of the other" in said.text


def test_the_vault_stays_as_strict_as_it_was_left(folder: Path) -> None:
    """Who makes the vault believe another CA has opened a vault of their own."""
    vault = exercises.vault(folder)
    vault.trust(read_certificates(folder / "ca-a.crt"))
    assert "does not know the CA" in exercises.open_vault(files(folder, "ca-a", "alice")).text
    exercises.vault(folder)


def test_no_ca_key_lies_about(folder: Path) -> None:
    """With one, a client could be forged that the vault believes."""
    assert not list(folder.glob("ca-*.key"))


def test_the_vault_can_be_set_up_again_and_leaves_nothing_behind(folder: Path) -> None:
    """Running the vault's cell twice works, and one vault is left."""
    before = page_06._VAULTS[-1]
    again = exercises.vault(folder)
    assert [again] == page_06._VAULTS
    assert "not running" in repr(before)
    assert exercises.open_vault(files(folder, "ca-a", "bob")).correct


def test_without_a_vault_there_is_nothing_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell above was not run."""
    monkeypatch.setattr(page_06, "_VAULTS", [])
    assert "run the cell above" in exercises.open_vault({"cacert": "a"}).text
