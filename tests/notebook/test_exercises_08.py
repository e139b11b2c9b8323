"""The checkers of notebook 08: repairs are tried for real, and none may loosen anything."""
# ruff: noqa: ARG005 (a wrong answer may well ignore what it is given)

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mtlslab import CertificateAuthority, display, faults
from mtlslab.credentials import certificate_pem, read_certificates
from mtlslab.notebook import exercises
from mtlslab.notebook.exercises import page_08
from mtlslab.profiles import CLIENT

NAMES = ["repaired_chain", "fresh_list", "named_faults"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of the page, with everything broken in it, and the faults that are to be named."""
    lab = tmp_path_factory.mktemp("page") / "lab-08"
    exercises.broken("client-without-intermediate", lab / "link")
    exercises.broken("crl-expired", lab / "stale")
    exercises.mystery(5, lab)
    return lab, dict(page_08._MYSTERY)


@pytest.fixture
def page(made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, for one test, and the faults as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page_08, "_MYSTERY", dict(made[1]))
    return Path(shutil.copytree(made[0], "lab-08"))


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_of_another_kind_gets_a_hint(name: str, page: Path) -> None:
    """Never a traceback."""
    assert page.is_dir()
    assert exercises.CHECKERS[name](None).correct is None
    odd = {"cacert": 1, "cert": 2, "key": 3}
    for answer in (7, "client.crt", object(), [], {}, odd, mock.ANY, mock.MagicMock(), lambda: 1, int):
        assert exercises.CHECKERS[name](answer).text.startswith("Not yet: "), answer


@pytest.mark.parametrize("name", NAMES)
def test_without_a_deployment_there_is_nothing_to_repair(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell above was not run."""
    monkeypatch.setattr(page_08, "_BROKEN", {})
    monkeypatch.setattr(page_08, "_MYSTERY", [])
    answers = {"fresh_list": CertificateAuthority.create("example-ca").crl([]), "named_faults": ["a", "b", "c"]}
    answer = answers.get(name, {"cacert": "a", "cert": "b", "key": "c"})
    assert "run the cell above" in exercises.CHECKERS[name](answer).text


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


@pytest.mark.parametrize("right", [_whole, _in_place, _as_text, _in_one_file, _to_the_root])
def test_a_client_with_its_link_is_repaired(right: Callable[[Path], Any], page: Path) -> None:
    """In a file of its own, in the client's own file as a terminal would do it, or all in one."""
    said = exercises.repaired_chain(right(page / "link"))
    assert said.correct, said


def _own_ca(folder: Path) -> dict[str, Any]:
    own = CertificateAuthority.create("example-issuing-ca")
    own.issue("client", CLIENT).save(folder, "own", overwrite=True)
    return files(folder, cert="own.crt", key="own.key")


def _garbage_too(folder: Path) -> dict[str, Any]:
    CertificateAuthority.create("stray-ca").save(folder / "stray", overwrite=True)
    return files(folder, cert=write(folder, "more.crt", "client.crt", "issuing-ca.crt", "stray/ca.crt"))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (files, "still says no"),
        (lambda folder: files(folder, cert=write(folder, "x.crt", "issuing-ca.crt", "client.crt")), "before it dials"),
        (lambda folder: files(folder, cacert=write(folder, "x.crt", "ca.crt", "issuing-ca.crt")), "trusts more"),
        (lambda folder: files(folder, cacert="issuing-ca.crt"), ""),
        (lambda folder: files(folder, cert="issuing-ca.crt"), "before it dials"),
        (
            lambda folder: _whole(folder) | {"cacert": folder / write(folder, "x.crt", "ca.crt", "issuing-ca.crt")},
            "more",
        ),
        (_own_ca, "still says no"),
        (_garbage_too, "the file holds more"),
        (lambda folder: _whole(folder) | {"key": folder / "none.key"}, "there is no file"),
        (lambda folder: _whole(folder) | {"verify": False}, "stays on"),
        (lambda folder: {"cacert": folder / "ca.crt"}, "stays on"),
        (lambda folder: list(_whole(folder).values()), "a dictionary"),
        (lambda folder: {option: path.read_text() for option, path in _whole(folder).items()}, ""),
        (lambda folder: type("Files", (dict,), {})(_whole(folder)), "a dictionary"),
    ],
)
def test_a_client_without_its_link_is_not_repaired(wrong: Callable[[Path], Any], hint: str, page: Path) -> None:
    """The link in the wrong file or place, another client, a switch, and what is still broken."""
    said = exercises.repaired_chain(wrong(page / "link"))
    assert said.correct is False
    assert hint in said.text


def test_checking_does_not_break_it_again(page: Path) -> None:
    """A repair made in a terminal lasts: only the cell that breaks the deployment writes files."""
    answer = _in_place(page / "link")
    before = {path: path.read_bytes() for path in page.rglob("*.*") if path.suffix != ".json"}
    assert exercises.repaired_chain(answer).correct
    assert exercises.repaired_chain(answer).correct
    assert {path: path.read_bytes() for path in page.rglob("*.*") if path.suffix != ".json"} == before


# The stale list


def ca_of(page: Path) -> CertificateAuthority:
    return CertificateAuthority.load(page / "stale")


def revoked(page: Path, *names: str) -> list[x509.Certificate]:
    return [read_certificates(page / "stale" / f"{name}.crt")[0] for name in names]


BOTH = ("mallory", "trudy")


def _by_serials(page: Path) -> x509.CertificateRevocationList:
    """As the old list has them, entry by entry."""
    ca = ca_of(page)
    old = x509.load_pem_x509_crl((page / "stale" / "clients.crl").read_bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(old.issuer, now - timedelta(minutes=5), now + timedelta(days=1))
    for entry in old:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(ca.private_key, hashes.SHA256())


@pytest.mark.parametrize(
    "right",
    [
        lambda page: ca_of(page).crl(revoked(page, *BOTH)),
        lambda page: ca_of(page).crl(revoked(page, *reversed(BOTH)), days=30),
        lambda page: ca_of(page).crl([*revoked(page, *BOTH), ca_of(page).issue("eve", CLIENT).certificate], days=1),
        _by_serials,
        lambda page: _made(page, -7, 7),
        lambda page: _made(page, -1, 7, number=1 << 159),
    ],
)
def test_a_fresh_list_of_the_same_names_is_right(right: Callable[[Path], Any], page: Path) -> None:
    """From the certificates or from the old list, in any order, for a day or a month, with one more on it."""
    said = exercises.fresh_list(right(page))
    assert said.correct, said


def _same_number(page: Path) -> x509.CertificateRevocationList:
    old = x509.load_pem_x509_crl((page / "stale" / "clients.crl").read_bytes())
    return _made(page, -1, 7, number=old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)


def _of_others(page: Path) -> x509.CertificateRevocationList:
    """Make the list from the folder, where two others now lie under the old names."""
    for name in BOTH:
        ca_of(page).issue(name, CLIENT).save(page / "stale", name, overwrite=True)
    return ca_of(page).crl(revoked(page, *BOTH))


def _made(
    page: Path, begin: int, end: float, key: Any = None, number: int | None = None
) -> x509.CertificateRevocationList:
    ca, now = ca_of(page), datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(
        ca.certificate.subject, now + timedelta(days=begin), now + timedelta(days=end)
    )
    for certificate in revoked(page, *BOTH):
        entry = x509.RevokedCertificateBuilder(certificate.serial_number, now).build()
        builder = builder.add_revoked_certificate(entry)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign(key or ca.private_key, hashes.SHA256())


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda page: x509.load_pem_x509_crl((page / "stale" / "clients.crl").read_bytes()), "expired"),
        (lambda page: ca_of(page).crl([]), "gets in again"),
        (lambda page: ca_of(page).crl(revoked(page, "mallory")), "trudy, who was revoked, gets in again"),
        (lambda page: ca_of(page).crl(revoked(page, *BOTH, "client")), "the client is refused: revoked"),
        (lambda page: ca_of(page).crl(revoked(page, *BOTH), days=3650), "whoever is revoked tomorrow"),
        (lambda page: CertificateAuthority.create("example-ca").crl([]), "is refused"),
        (lambda page: CertificateAuthority.create("other-ca").crl([]), "is refused"),
        (lambda page: _made(page, -1, 7, CertificateAuthority.create("example-ca").private_key), "is refused"),
        (lambda page: _made(page, 1, 7), "is refused"),
        (lambda page: _made(page, -1, 0.0005), "in a moment"),
        (lambda page: _made(page, -30, -1), "expired"),
        (lambda page: _made(page, -1, 7, number=1), "older than the stale one"),
        (_same_number, "older than the stale one"),
        (lambda page: _made(page, -9, 7), "older than the stale one"),
        (_of_others, "mallory, who was revoked, gets in again"),
        (lambda page: page / "stale" / "clients.crl", "the list itself"),
        (lambda page: [ca_of(page).crl(revoked(page, *BOTH))], "the list itself"),
        (lambda page: mock.MagicMock(spec=x509.CertificateRevocationList), "the list itself"),
        (lambda page: certificate_pem(ca_of(page).certificate), "the list itself"),
    ],
)
def test_a_list_that_lets_somebody_in_or_honest_ones_out_is_wrong(
    wrong: Callable[[Path], Any], hint: str, page: Path
) -> None:
    """The hint says who: the revoked, the honest, or whoever is revoked tomorrow."""
    said = exercises.fresh_list(wrong(page))
    assert said.correct is False
    assert hint in said.text


# Three faults


def test_three_faults_are_named(page: Path) -> None:
    """The names that `mystery` staged, in their order."""
    assert page.is_dir()
    assert exercises.named_faults(list(page_08._MYSTERY)).correct
    assert exercises.named_faults(tuple(page_08._MYSTERY)).correct


def test_a_fault_that_looks_the_same_is_as_good_a_name(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell from both logs whether the client's certificate has the wrong purpose, or its CA."""
    monkeypatch.setattr(page_08, "_POOL", ("wrong-purpose-client", "expired-client", "unknown-client-ca"))
    exercises.mystery(5, page)
    twin = {"wrong-purpose-client": "client-ca-for-servers-only"}
    assert exercises.named_faults([twin.get(name, name) for name in page_08._MYSTERY]).correct


def test_every_number_has_its_faults_and_they_can_be_told_apart(tmp_path: Path) -> None:
    """The same for the same number, others for others; and no two faults of the pool look the same at both ends."""
    first, second, again = (repr(exercises.mystery(number, tmp_path)) for number in (1, 2, 1))
    assert again == first != second
    seen: dict[str, str] = {}
    for name in page_08._POOL:
        with faults.stage(name, tmp_path) as case:
            answer, visit = case.request(), case.server.visits[-1]
        assert answer.refusal
        assert visit.refusal
        told = answer.refusal if answer.refusal.by == "client" else visit.refusal
        assert seen.setdefault(f"{told.by} {display.said(told)}", name) == name


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda right: right[::-1], "not the three"),
        (lambda right: right[:2], "a list of three names"),
        (lambda right: [*right, "expired-client"], "a list of three names"),
        (lambda right: [right[0]] * 3, "not the three"),
        (lambda right: [*right[:2], "wrong-host"], "not the three"),
        (lambda right: [*right[:2], "expired"], "the gallery has no 'expired'"),
        (lambda right: [name.upper() for name in right], "the gallery has no"),
        (lambda right: [mock.ANY] * 3, "a list of three names"),
        (", ".join, "a list of three names"),
        (dict.fromkeys, "a list of three names"),
        (lambda right: [name.replace("-", "_") for name in right], "the gallery has no"),
    ],
)
def test_other_names_are_told_where_to_look(change: Any, hint: str, page: Path) -> None:
    """A name that is none is told from one that is another fault's."""
    assert page.is_dir()
    said = exercises.named_faults(change(list(page_08._MYSTERY)))
    assert said.correct is False
    assert hint in said.text


def test_whoever_guesses_learns_nothing_and_has_one_try(page: Path) -> None:
    """No hint tells one wrong name from two or three, and after a wrong answer the right one needs the logs again."""
    right = list(page_08._MYSTERY)
    said = set()
    for wrong in ([*right[:2], "wrong-host"], [right[0]] * 3, ["wrong-host"] * 3):
        exercises.mystery(5, page)
        said.add(exercises.named_faults(wrong).text)
        assert "run the cell above" in exercises.named_faults(right).text
    assert len(said) == 1
    exercises.mystery(5, page)
    assert exercises.named_faults(right).correct
