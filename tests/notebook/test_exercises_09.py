"""The checkers of notebook 09, and what its page does where its programs are missing."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import needed_programs
import notebook_form
from mtlslab import CertificateAuthority, new_private_key
from mtlslab.credentials import private_key_pem
from mtlslab.notebook import exercises, programs
from mtlslab.notebook.exercises.judges import Feedback
from mtlslab.profiles import SERVER
from notebook_rules import Notebook

PAGE = notebook_form.NOTEBOOKS / "09-openssl-node-and-curl.ipynb"

needs_openssl = pytest.mark.skipif(bool(programs.missing("openssl")), reason="needs openssl")

EXT = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
EC = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
FOR_CLIENTS = EXT + "extendedKeyUsage = clientAuth\nsubjectAltName = DNS:alice\n"
FOR_SERVERS = EXT + "extendedKeyUsage = serverAuth\nsubjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1\n"


def misjudged(check: Callable[[Any], Feedback], rows: Iterable[tuple[Any, str]]) -> dict[int, str]:
    """Return which wrong answers are not found wrong, or get another hint: their rows, and what they are told."""
    said = enumerate((check(wrong), hint) for wrong, hint in rows)
    return {row: told.text for row, (told, hint) in said if told.correct is not False or hint not in told.text}


def test_anything_else_gets_a_hint() -> None:
    """An answer of another kind is told what is wanted, and nothing is raised."""
    for check in (exercises.client_by_openssl, exercises.two_minds):
        assert check(None).text.startswith("Not attempted yet")
        for answer in (0, "alice", b"", [], {}, (None, None), object(), mock.ANY, mock.MagicMock(), Path("none"), int):
            assert check(answer).text.startswith("Not yet: "), (check, answer)


# A certificate for Alice


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page's folder, and beside it a CA of the same name that somebody else made."""
    folder = tmp_path_factory.mktemp("page") / "lab-09" / "openssl"
    ca = CertificateAuthority.create("example-ca")
    ca.save(folder)
    ca.issue("localhost", SERVER, names=["localhost"]).save(folder, "server")
    CertificateAuthority.create("example-ca").save(folder / "namesake")
    (folder / "rsa.key").write_bytes(private_key_pem(new_private_key("rsa-2048")))
    with contextlib.chdir(folder.parent.parent):
        yield Path("lab-09") / "openssl"


def openssl(command: str, today: Path) -> None:
    outcome = programs.run(command, today)
    assert outcome.ok, outcome.stderr


@functools.cache
def requested(today: Path, key: str, subject: str) -> tuple[bytes, bytes]:
    """Make a key and a request for a certificate with openssl as the page does. Returns both files."""
    openssl(f"{key} -out new.key", today)
    openssl(f"openssl req -new -key new.key -subj '{subject}' -out new.csr", today)
    return (today / "new.key").read_bytes(), (today / "new.csr").read_bytes()


def sign(today: Path, *, ext: str = FOR_CLIENTS, **changes: str) -> Path:
    """Make Alice's certificate as the page does, but for the changes, and with `req -x509`: `x509` takes 20 ms more."""
    settings = {"subject": "/CN=alice", "days": "30", "ca": "ca", "key": EC, "name": "alice"} | changes
    name = settings["name"]
    key, csr = requested(today, settings["key"], settings["subject"])
    (today / f"{name}.key").write_bytes(key)
    (today / f"{name}.csr").write_bytes(csr)
    extensions = "x509_extensions = ext\n[dn]\n[ext]" if ext else "[dn]"
    (today / f"{name}.cnf").write_text(f"[req]\ndistinguished_name = dn\n{extensions}\n{ext}")
    authority = f"-CA {settings['ca']}.crt -CAkey {settings['ca']}.key -days {settings['days']}"
    openssl(f"openssl req -x509 -in {name}.csr {authority} -config {name}.cnf -out {name}.crt", today)
    return today / f"{name}.crt"


@needs_openssl
def test_alices_certificate_is_accepted(today: Path) -> None:
    """As the page makes it, with an RSA key, under another name, with what does no harm; as str or as Path."""
    harmless = FOR_CLIENTS.replace("digitalSignature", "digitalSignature, keyAgreement")
    harmless = harmless.replace("keyid", "keyid:always").replace("extendedKeyUsage = ", "extendedKeyUsage = critical, ")
    assert exercises.client_by_openssl(str(sign(today))).correct
    for changes in ({"key": "openssl pkey -in rsa.key", "name": "her"}, {"ext": harmless}):
        said = exercises.client_by_openssl(sign(today, **changes))
        assert said.correct, (changes, said)


NOT_ALICES: list[tuple[dict[str, str], str]] = [
    ({"subject": "/CN=alice/CN=admin"}, "not CN=alice"),
    ({"days": "30 -sha1"}, "weak"),
    ({"key": "openssl pkey -in server.key"}, "its key is that of server.crt"),
    ({"days": "31"}, "31 days"),
    ({"ca": "namesake/ca"}, "did not sign it"),
    ({"ext": FOR_SERVERS}, "not for clients"),
    ({"ext": FOR_CLIENTS.replace("clientAuth", "clientAuth, serverAuth")}, "the other door as well"),
    ({"ext": FOR_CLIENTS.replace("clientAuth", "clientAuth, codeSigning")}, "not clientAuth alone"),
    ({"ext": FOR_CLIENTS.replace("extendedKeyUsage = clientAuth\n", "")}, "the other door as well"),
    ({"ext": FOR_CLIENTS.replace("CA:FALSE", "CA:TRUE")}, "CA:TRUE"),
    ({"ext": FOR_CLIENTS.replace("digitalSignature", "digitalSignature, keyCertSign")}, ""),
    ({"ext": FOR_CLIENTS.replace("digitalSignature", "keyAgreement")}, ""),
    ({"ext": FOR_CLIENTS.replace("= keyid", "= none")}, "authorityKeyIdentifier"),
    ({"ext": FOR_CLIENTS.replace("subjectAltName = DNS:alice\n", "")}, "no subjectAltName"),
    ({"ext": FOR_CLIENTS.replace("DNS:alice", "DNS:alice, DNS:bob")}, "more, or others, than alice"),
]


@needs_openssl
def test_another_certificate_gets_its_hint(today: Path) -> None:
    """Each way to miss the profile is named, by what it would let happen where it can be."""
    made = ((sign(today, **changes), hint) for changes, hint in NOT_ALICES)
    assert misjudged(exercises.client_by_openssl, made) == {}


@needs_openssl
def test_another_s_files_are_not_alice_s(today: Path) -> None:
    """A certificate with the wrong key beside it, the CA's own, one that is not there."""
    path = sign(today)
    path.with_suffix(".key").write_bytes((today / "ca.key").read_bytes())
    for wrong in (path, today / "ca.crt", today / "none.crt", path.read_bytes(), [path], (path, today / "ca.crt")):
        assert exercises.client_by_openssl(wrong).correct is False


@needs_openssl
def test_a_certificate_that_outlives_its_ca_is_not_right(tmp_path: Path) -> None:
    """It is for 30 days, and on the last of them openssl says no."""
    CertificateAuthority.create("example-ca", days=10).save(tmp_path / "lab-09" / "openssl")
    with contextlib.chdir(tmp_path):
        said = exercises.client_by_openssl(sign(Path("lab-09") / "openssl"))
    assert "openssl verify, 29 days from its first day, says no" in said.text


# Of two minds

STRICT_TOO = "a strict Python accepts it as well, so that no upgrade breaks it; cryptography is not asked"
TWO_CHANGED = FOR_SERVERS.replace("critical, CA:FALSE", "CA:FALSE, pathlen:3").replace("critical, digital", "digital")


ONLY_THE_STRICT = [
    ("CA:FALSE", "CA:FALSE, pathlen:0"),
    ("critical, digitalSignature", "critical, digitalSignature, keyEncipherment, keyCertSign"),
    ("critical, CA:FALSE", "critical,CA:FALSE,pathlen:1\n\n# and the rest"),
]


@needs_openssl
def test_what_only_the_strict_refuse_is_right() -> None:
    """A path length, or the right to sign certificates, in what is no CA."""
    for change in ONLY_THE_STRICT:
        said = exercises.two_minds(FOR_SERVERS.replace(*change))
        assert said.correct, (change, said)


NOT_OF_TWO_MINDS: list[tuple[Any, str]] = [
    (FOR_SERVERS, "no line is changed"),
    (FOR_SERVERS.replace("critical, ", "critical,").replace("IP:::1", "IP:0:0:0:0:0:0:0:1"), STRICT_TOO),
    (TWO_CHANGED, "2 lines are changed (basicConstraints, keyUsage)"),
    (FOR_SERVERS.replace("CA:FALSE", "CA:FALSE, pathlen:0") + "nsComment = x\n", "(basicConstraints, nsComment)"),
    (FOR_SERVERS + "keyUsage = critical, keyCertSign\n", "keyUsage stands there twice"),
    (FOR_SERVERS.replace("CA:FALSE", "CA:TRUE"), ""),
    (FOR_SERVERS.replace("= keyid", "= none"), "lacks authorityKeyIdentifier"),
    (FOR_SERVERS.replace("= keyid", "= none") + "[x]\nauthorityKeyIdentifier = keyid\n", "authorityKeyIdentifier"),
    (FOR_SERVERS.replace("subjectKeyIdentifier = hash\n", ""), "lacks subjectKeyIdentifier"),
    (FOR_SERVERS.replace("subjectAltName", "issuerAltName"), "lacks subjectAltName"),
    (FOR_SERVERS.replace("DNS:localhost", "DNS:example.org"), "another host"),
    (FOR_SERVERS.replace("serverAuth", "clientAuth"), "the lenient refuse it too: wrong-purpose"),
    (FOR_CLIENTS, "another host"),
    (FOR_SERVERS.replace("= hash", "= critical, hash"), ""),
    (FOR_SERVERS.replace("serverAuth", "nonsense"), "openssl does not take it"),
    (FOR_SERVERS + "1.2.3.4 = critical, ASN1:NULL\n", "the lenient refuse it too"),
    ("", "the text of an extension file"),
    (FOR_SERVERS.encode(), "the text of an extension file"),
    (type("Text", (str,), {})(FOR_SERVERS), "the text of an extension file"),
]


@needs_openssl
def test_what_both_accept_or_both_refuse_is_wrong() -> None:
    """The hint says whether nobody would notice, or everybody."""
    assert misjudged(exercises.two_minds, NOT_OF_TWO_MINDS) == {}


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


OPENSSL_ALONE = (
    *("article-run", "article-inspect", "article-extensions"),
    *("today-commands", "today-verify", "suspects-made"),
    *("copy-extensions", "copy-extensions-abused", "copy-extensions-refused"),
)
"""Cells that make keys and certificates, slowly, for each other, or for cells that need Node.js too: of them stays what
they import, and the article's folder."""


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
        source = cell.source
        if absent == ("node",) and cell.id in OPENSSL_ALONE:
            source = "\n".join(line for line in source.splitlines() if line.startswith(("from ", "import ", "article")))
        exec(compile(source, cell.id, "exec", dont_inherit=True), namespace)
    said = capsys.readouterr().out
    for name in absent:
        assert (
            f"{name}: it is not on the PATH; install it: {programs.PROGRAMS[name].install[programs.system()]}" in said
        )
