"""The checkers of notebook 09, and what its page does where its programs are missing."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

import needed_programs
import notebook_form
from mtlslab import CertificateAuthority
from mtlslab.credentials import signature_hash
from mtlslab.notebook import exercises, programs
from mtlslab.profiles import CLIENT, SERVER
from notebook_rules import Notebook

PAGE = notebook_form.NOTEBOOKS / "09-openssl-node-and-curl.ipynb"

CA = CertificateAuthority.create("example-ca")


def alice(**changes: Any) -> x509.Certificate:
    """Return Alice's certificate as the exercise wants it, but for the changes."""
    settings: dict[str, Any] = {"name": "alice", "profile": CLIENT, "days": 30, "ca": CA} | changes
    key = CA.private_key
    made: CertificateAuthority = settings["ca"]
    credential = made.issue(settings["name"], settings["profile"], names=["alice"], days=settings["days"])
    certificate = credential.certificate
    builder = x509.CertificateBuilder(
        certificate.issuer,
        certificate.subject,
        certificate.public_key(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_before_utc + timedelta(days=settings["days"]),
    )
    for extension in certificate.extensions:
        if not isinstance(extension.value, settings.get("without", ())):
            builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key if made is CA else made.private_key, signature_hash(key))


def test_alices_certificate_is_accepted() -> None:
    """A client's certificate for 30 days, with all that strict verifiers want, is right."""
    assert exercises.client_by_openssl((alice(), CA.certificate)).correct


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"name": "client"}, "not CN=alice"),
        ({"profile": SERVER}, "not clientAuth alone"),
        ({"days": 365}, "365 days"),
        ({"without": x509.ExtendedKeyUsage}, "did you give -extfile"),
        ({"without": x509.KeyUsage}, "digitalSignature"),
        ({"without": x509.AuthorityKeyIdentifier}, "misses the authorityKeyIdentifier"),
        ({"without": x509.SubjectAlternativeName}, "no subjectAltName"),
        ({"ca": CertificateAuthority.create("example-ca")}, "did not sign it"),
    ],
)
def test_another_certificate_gets_its_hint(changes: dict[str, Any], hint: str) -> None:
    """Each way to miss the profile is named, and what to do about it."""
    feedback = exercises.client_by_openssl((alice(**changes), CA.certificate))
    assert feedback.correct is False
    assert hint in feedback.text


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ({"1.2": 116, "1.3": 40}, "the wrong way round"),
        ({"1.2": 116, "1.3": 116}, "new in TLS 1.3"),
        ({"1.2": 48, "1.3": 116}, "unknown_ca"),
        ({"1.2": 40, "1.3": 40}, "s_client's row"),
        ({"1.2": 42, "1.3": 116}, "SSL alert number"),
        ({"1.3": 116}, "both versions"),
    ],
)
def test_another_alert_gets_its_hint(answer: dict[str, int], hint: str) -> None:
    """A wrong number is told from a number in the wrong place."""
    feedback = exercises.alert_numbers(answer)
    assert feedback.correct is False
    assert hint in feedback.text


RIGHT = {
    "cryptography": False,
    "Python, strict": False,
    "openssl, strict": False,
    "Python, not strict": True,
    "openssl": True,
    "Node.js": True,
    "curl": True,
}


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (dict.fromkeys(RIGHT, True), "the good certificate"),
        (dict.fromkeys(RIGHT, False), "somebody accepts it"),
        (RIGHT | {"Python, strict": True}, "more verifiers than that insist"),
        (RIGHT | {"Node.js": False}, "can be built without it"),
        ({"curl": True}, "name the seven"),
        (RIGHT | {"curl": "yes"}, "True or False"),
    ],
)
def test_another_prediction_gets_its_hint(answer: dict[str, object], hint: str) -> None:
    """Neither extreme is right, and each half has its reason."""
    assert exercises.who_accepts_it(RIGHT).correct
    feedback = exercises.who_accepts_it(answer)
    assert feedback.correct is False
    assert hint in feedback.text


@pytest.mark.parametrize("name", ["client_by_openssl", "alert_numbers", "who_accepts_it"])
@pytest.mark.parametrize("answer", [0, "alice", b"", [], {}, (None, None), object(), CA.certificate])
def test_anything_else_gets_a_hint(name: str, answer: object) -> None:
    """An answer of another kind is told what is wanted, and nothing is raised."""
    assert exercises.CHECKERS[name](answer).text.startswith("Not yet: ")


def test_ci_does_not_leave_the_page_out() -> None:
    """Where MTLSLAB_REQUIRE_TOOLS is set, every program is there."""
    if not needed_programs.are_required():
        pytest.skip(f"{needed_programs.REQUIRED} is not set")
    assert programs.missing(*programs.PROGRAMS) == ()


def test_the_page_needs_what_it_looks_for() -> None:
    """The table of needed programs names a page that is there, and programs that can be installed."""
    for stem, names in needed_programs.NEEDED.items():
        assert (notebook_form.NOTEBOOKS / f"{stem}.ipynb").is_file()
        assert set(names) <= set(programs.PROGRAMS)


@pytest.mark.skipif(os.name == "nt", reason="makes a PATH of links")
@pytest.mark.parametrize("absent", [("openssl", "curl", "node"), ("node",)], ids="+".join)
def test_cells_say_what_is_missing_and_do_not_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], absent: tuple[str, ...]
) -> None:
    """Without one of its programs the page runs to its end; the cells that need it name it, with the cure."""
    present = set(programs.PROGRAMS) - set(absent)
    if programs.missing(*present):
        pytest.skip("needs the other programs")
    (tmp_path / "bin").mkdir()
    for name in present:
        (tmp_path / "bin" / name).symlink_to(programs.find(name))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for cell in Notebook(PAGE).code:
        exec(compile(cell.source, cell.id, "exec", dont_inherit=True), namespace)
    said = capsys.readouterr().out
    for name in absent:
        assert (
            f"{name}: it is not on the PATH; install it: {programs.PROGRAMS[name].install[programs.system()]}" in said
        )
