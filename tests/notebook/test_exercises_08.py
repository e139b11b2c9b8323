"""The checkers of notebook 08: repairs are tried for real, and none may loosen anything."""
# ruff: noqa: ARG005 (a wrong answer may well ignore what it is given)

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mtlslab import CertificateAuthority
from mtlslab.credentials import certificate_pem, read_certificates
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import page_08
from mtlslab.notebook.exercises.judges import Feedback
from mtlslab.profiles import CLIENT

CHECKS = [exercises.repaired_chain, exercises.fresh_list, exercises.named_faults]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, with two broken deployments in it."""
    lab = tmp_path_factory.mktemp("page") / "lab-08"
    exercises.broken("client-without-intermediate", lab / "link")
    exercises.broken("crl-expired", lab / "stale")
    return lab


@pytest.fixture
def link(made: Path, tmp_path: Path) -> Path:
    """A copy of the first of them, for one test."""
    return Path(shutil.copytree(made / "link", tmp_path / "link"))


@pytest.fixture
def stale(made: Path, tmp_path: Path) -> Path:
    """A copy of the other."""
    return Path(shutil.copytree(made / "stale", tmp_path / "stale"))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[str | None, str | None]]:
    """What both ends log of a fault: each is staged once."""
    staged, folder = page_08._logs, tmp_path_factory.mktemp("logs")
    return cache(lambda name: staged(name, folder))


@pytest.fixture
def right(logs: Callable[..., tuple[str | None, str | None]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of three faults that are staged."""
    monkeypatch.setattr(page_08, "_logs", lambda name, _: logs(name))
    exercises.mystery(5, "nowhere")
    return list(page_08._MYSTERY)


def misjudged(check: Callable[[Any], Feedback], rows: Iterable[tuple[Any, str]]) -> dict[int, str]:
    """Return which wrong answers are not found wrong, or get another hint: their rows, and what they are told."""
    said = enumerate((check(wrong), hint) for wrong, hint in rows)
    return {row: told.text for row, (told, hint) in said if told.correct is not False or hint not in told.text}


def test_an_answer_of_another_kind_gets_a_hint(made: Path, right: list[str]) -> None:
    """Never a traceback."""
    odd = {"cacert": 1, "cert": 2, "key": 3}
    for check in CHECKS:
        assert check(None).correct is None
        for answer in (7, "client.crt", object(), [], {}, odd, mock.ANY, mock.MagicMock(), lambda: 1, int):
            assert check(answer).text.startswith("Not yet: "), (check, answer)


def test_without_a_deployment_there_is_nothing_to_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell above was not run."""
    monkeypatch.setattr(page_08, "_BROKEN", {})
    monkeypatch.setattr(page_08, "_MYSTERY", {})
    fresh = CertificateAuthority.create("example-ca").crl([])
    for check, answer in zip(CHECKS, ({"cacert": "a", "cert": "b", "key": "c"}, fresh, ["a", "b", "c"]), strict=True):
        assert "run the cell above" in check(answer).text


# The missing link


def files(folder: Path, **changes: str) -> dict[str, Any]:
    """Return three files of a folder."""
    names = {"cacert": "ca.crt", "cert": "client.crt", "key": "client.key"} | changes
    return {option: folder / name for option, name in names.items()}


def write(folder: Path, name: str, *parts: str) -> str:
    (folder / name).write_bytes(b"".join((folder / part).read_bytes() for part in parts))
    return name


def _whole(folder: Path) -> dict[str, Any]:
    return files(folder, cert=write(folder, "whole.crt", "client.crt", "issuing-ca.crt"))


def _in_place(folder: Path) -> dict[str, Any]:
    return files(folder, cert=write(folder, "client.crt", "client.crt", "issuing-ca.crt"))


def _as_text(folder: Path) -> dict[str, Any]:
    return {option: str(path) for option, path in _whole(folder).items()}


def _in_one_file(folder: Path) -> dict[str, Any]:
    write(folder, "all.pem", "client.crt", "issuing-ca.crt", "client.key")
    return files(folder, cert="all.pem", key="all.pem")


def _to_the_root(folder: Path) -> dict[str, Any]:
    """As many servers have it: the root goes along, and nobody needs it (RFC 8446 §4.4.2)."""
    return files(folder, cert=write(folder, "more.crt", "client.crt", "issuing-ca.crt", "ca.crt"))


def test_a_client_with_its_link_is_repaired(link: Path) -> None:
    """In a file of its own, in the client's own file as a terminal would do it, or all in one."""
    for right in (_whole, _as_text, _in_one_file, _to_the_root, _in_place):
        said = exercises.repaired_chain(right(link))
        assert said.correct, (right, said)


def _own_ca(folder: Path) -> dict[str, Any]:
    own = CertificateAuthority.create("example-issuing-ca")
    own.issue("client", CLIENT).save(folder, "own", overwrite=True)
    return files(folder, cert="own.crt", key="own.key")


def _garbage_too(folder: Path) -> dict[str, Any]:
    CertificateAuthority.create("stray-ca").save(folder / "stray", overwrite=True)
    return files(folder, cert=write(folder, "more.crt", "client.crt", "issuing-ca.crt", "stray/ca.crt"))


NOT_REPAIRED: list[tuple[Callable[[Path], Any], str]] = [
    (files, "still says no"),
    (lambda folder: files(folder, cert=write(folder, "x.crt", "issuing-ca.crt", "client.crt")), "before it dials"),
    (lambda folder: files(folder, cacert=write(folder, "x.crt", "ca.crt", "issuing-ca.crt")), "trusts more"),
    (lambda folder: files(folder, cacert="issuing-ca.crt"), ""),
    (_own_ca, "still says no"),
    (_garbage_too, "the file holds more"),
    (lambda folder: _whole(folder) | {"key": folder / "none.key"}, "there is no file"),
    (lambda folder: _whole(folder) | {"verify": False}, "stays on"),
    (lambda folder: {"cacert": folder / "ca.crt"}, "stays on"),
    (lambda folder: list(_whole(folder).values()), "a dictionary"),
    (lambda folder: {option: path.read_text() for option, path in _whole(folder).items()}, ""),
    (lambda folder: type("Files", (dict,), {})(_whole(folder)), "a dictionary"),
]


def test_a_client_without_its_link_is_not_repaired(link: Path) -> None:
    """The link in the wrong file or place, another client, a switch, and what is still broken."""
    assert misjudged(exercises.repaired_chain, ((wrong(link), hint) for wrong, hint in NOT_REPAIRED)) == {}


def test_checking_does_not_break_it_again(link: Path) -> None:
    """A repair made in a terminal lasts: only the cell that breaks the deployment writes files."""
    answer = _in_place(link)
    before = {path: path.read_bytes() for path in link.iterdir()}
    assert exercises.repaired_chain(answer).correct
    assert {path: path.read_bytes() for path in link.iterdir()} == before


# The stale list


def ca_of(stale: Path) -> CertificateAuthority:
    return CertificateAuthority.load(stale)


def revoked(stale: Path, *names: str) -> list[x509.Certificate]:
    return [read_certificates(stale / f"{name}.crt")[0] for name in names]


BOTH = ("mallory", "trudy")


def _by_serials(stale: Path) -> x509.CertificateRevocationList:
    """As the old list has them, entry by entry."""
    ca = ca_of(stale)
    old = x509.load_pem_x509_crl((stale / "clients.crl").read_bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(old.issuer, now - timedelta(minutes=5), now + timedelta(days=1))
    for entry in old:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(ca.private_key, hashes.SHA256())


FRESH: list[Callable[[Path], Any]] = [
    lambda stale: ca_of(stale).crl(revoked(stale, *BOTH)),
    lambda stale: ca_of(stale).crl(revoked(stale, *reversed(BOTH)), days=30),
    lambda stale: ca_of(stale).crl([*revoked(stale, *BOTH), ca_of(stale).issue("eve", CLIENT).certificate], days=1),
    _by_serials,
    lambda stale: _made(stale, -7, 7),
    lambda stale: _made(stale, -1, 7, number=1 << 159),
]


def test_a_fresh_list_of_the_same_names_is_right(stale: Path) -> None:
    """From the certificates or from the old list, in any order, for a day or a month, with one more on it."""
    for row, right in enumerate(FRESH):
        said = exercises.fresh_list(right(stale))
        assert said.correct, (row, said)


def _same_number(stale: Path) -> x509.CertificateRevocationList:
    old = x509.load_pem_x509_crl((stale / "clients.crl").read_bytes())
    return _made(stale, -1, 7, number=old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)


def _of_others(stale: Path) -> x509.CertificateRevocationList:
    """Make the list from the folder, where two others now lie under the old names."""
    for name in BOTH:
        ca_of(stale).issue(name, CLIENT).save(stale, name, overwrite=True)
    return ca_of(stale).crl(revoked(stale, *BOTH))


def _made(
    stale: Path, begin: int, end: float, key: Any = None, number: int | None = None
) -> x509.CertificateRevocationList:
    ca, now = ca_of(stale), datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(
        ca.certificate.subject, now + timedelta(days=begin), now + timedelta(days=end)
    )
    for certificate in revoked(stale, *BOTH):
        entry = x509.RevokedCertificateBuilder(certificate.serial_number, now).build()
        builder = builder.add_revoked_certificate(entry)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign(key or ca.private_key, hashes.SHA256())


NOT_FRESH: list[tuple[Callable[[Path], Any], str]] = [
    (lambda stale: x509.load_pem_x509_crl((stale / "clients.crl").read_bytes()), "expired"),
    (lambda stale: ca_of(stale).crl([]), "gets in again"),
    (lambda stale: ca_of(stale).crl(revoked(stale, "mallory")), "trudy, who was revoked, gets in again"),
    (lambda stale: ca_of(stale).crl(revoked(stale, *BOTH, "client")), "the client is refused: revoked"),
    (lambda stale: ca_of(stale).crl(revoked(stale, *BOTH), days=3650), "whoever is revoked tomorrow"),
    (lambda stale: CertificateAuthority.create("other-ca").crl([]), "is refused"),
    (lambda stale: _made(stale, -1, 7, CertificateAuthority.create("example-ca").private_key), "is refused"),
    (lambda stale: _made(stale, 1, 7), "is refused"),
    (lambda stale: _made(stale, -1, 0.0005), "in a moment"),
    (_same_number, "older than the stale one"),
    (lambda stale: _made(stale, -9, 7), "older than the stale one"),
    (lambda stale: stale / "clients.crl", "the list itself"),
    (lambda stale: [ca_of(stale).crl(revoked(stale, *BOTH))], "the list itself"),
    (lambda stale: mock.MagicMock(spec=x509.CertificateRevocationList), "the list itself"),
    (lambda stale: certificate_pem(ca_of(stale).certificate), "the list itself"),
    (_of_others, "mallory, who was revoked, gets in again"),  # changes the folder: the last one
]


def test_a_list_that_lets_somebody_in_or_honest_ones_out_is_wrong(stale: Path) -> None:
    """The hint says who: the revoked, the honest, or whoever is revoked tomorrow."""
    assert misjudged(exercises.fresh_list, ((wrong(stale), hint) for wrong, hint in NOT_FRESH)) == {}


# Three faults


def test_three_faults_are_named(right: list[str]) -> None:
    """The names that `mystery` staged, in their order."""
    assert exercises.named_faults(right).correct
    assert exercises.named_faults(tuple(right)).correct


def test_a_fault_that_looks_the_same_is_as_good_a_name(right: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell from both logs whether the client's certificate has the wrong purpose, or its CA."""
    monkeypatch.setattr(page_08, "_POOL", ("wrong-purpose-client", "expired-client", "unknown-client-ca"))
    exercises.mystery(5, "nowhere")
    twin = {"wrong-purpose-client": "client-ca-for-servers-only"}
    assert exercises.named_faults([twin.get(name, name) for name in page_08._MYSTERY]).correct


def test_every_number_has_its_faults_and_they_can_be_told_apart(
    right: list[str], logs: Callable[..., tuple[str | None, str | None]]
) -> None:
    """The same for the same number, others for others; and no two faults of the pool look the same at both ends."""
    first, second, again = (repr(exercises.mystery(number, "nowhere")) for number in (1, 2, 1))
    assert again == first != second
    seen: dict[tuple[str, str], str] = {}
    for name in page_08._POOL:
        ends = zip(("client", "server"), logs(name), strict=True)
        (told,) = [(end, log) for end, log in ends if log is not None and not log.startswith("told ")]
        assert seen.setdefault(told, name) == name


NOT_NAMED: list[tuple[Callable[[list[str]], Any], str]] = [
    (lambda right: right[::-1], "not the three"),
    (lambda right: right[:2], "a list of three names"),
    (lambda right: [*right, "expired-client"], "a list of three names"),
    (lambda right: [right[0]] * 3, "not the three"),
    (lambda right: [*right[:2], "wrong-host"], "not the three"),
    (lambda right: [*right[:2], "expired"], "the gallery has no 'expired'"),
    (lambda right: [mock.ANY] * 3, "a list of three names"),
    (", ".join, "a list of three names"),
    (dict.fromkeys, "a list of three names"),
    (lambda right: [name.replace("-", "_") for name in right], "the gallery has no"),
]


def test_other_names_are_told_where_to_look(right: list[str]) -> None:
    """A name that is none is told from one that is another fault's."""

    def named_after_another_look(names: Any) -> Feedback:
        exercises.mystery(5, "nowhere")
        return exercises.named_faults(names)

    assert misjudged(named_after_another_look, ((change(right), hint) for change, hint in NOT_NAMED)) == {}


def test_whoever_guesses_learns_nothing_and_has_one_try(right: list[str]) -> None:
    """No hint tells one wrong name from two or three, and after a wrong answer the right one needs the logs again."""
    said = set()
    for wrong in ([*right[:2], "wrong-host"], [right[0]] * 3, ["wrong-host"] * 3):
        exercises.mystery(5, "nowhere")
        said.add(exercises.named_faults(wrong).text)
        assert "run the cell above" in exercises.named_faults(right).text
    assert len(said) == 1
    exercises.mystery(5, "nowhere")
    assert exercises.named_faults(right).correct
