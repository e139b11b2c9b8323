"""The checkers of notebook 05 turn away the wrong answers that people give, each with a hint that helps."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from mtlslab import CertificateAuthority, Reply, Request
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, SERVER

OTHER_KINDS = [0, "", "yes", [], {}, object(), b"\x00", 3.5, lambda: 1, {"a": 1}, ["a"], ssl.CERT_REQUIRED]


@pytest.mark.parametrize("name", ["insisting_context", "authorizing_app", "from_node"])
def test_any_other_kind_of_answer_gets_a_hint(name: str) -> None:
    """Whatever a learner puts there, the checker says 'Not yet' and never raises; None is not attempted."""
    check = exercises.CHECKERS[name]
    assert check(None).text.startswith("Not attempted yet")
    for answer in OTHER_KINDS:
        assert check(answer).text.startswith("Not yet: "), answer


# A context of your own


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    ca = CertificateAuthority.create("example-ca")
    ca.save(folder)
    ca.issue("localhost", SERVER, names=["localhost"]).save(folder, "server")
    ca.issue("client", CLIENT).save(folder, "client")
    (folder / "other").mkdir()
    CertificateAuthority.create("other-ca").save(folder / "other")
    return folder


def right_context(lab: Path, shown: str = "server") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if shown:
        context.load_cert_chain(lab / f"{shown}.crt", lab / f"{shown}.key")
    context.load_verify_locations(lab / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_an_insisting_context_is_right(lab: Path) -> None:
    """A context made by hand is right, and so is one that began as a default context."""
    assert exercises.insisting_context(right_context(lab)).correct
    default = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(lab / "ca.crt"))
    default.minimum_version = ssl.TLSVersion.TLSv1_3
    default.verify_flags |= ssl.VERIFY_X509_STRICT
    default.verify_mode = ssl.CERT_REQUIRED
    default.load_cert_chain(lab / "server.crt", lab / "server.key")
    assert exercises.insisting_context(default).correct


def _not_asking(context: ssl.SSLContext, _: Path) -> None:
    context.verify_mode = ssl.CERT_NONE  # a server's


def _optional(context: ssl.SSLContext, _: Path) -> None:
    context.verify_mode = ssl.CERT_OPTIONAL


def _tls_1_2(context: ssl.SSLContext, _: Path) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2


def _lax(context: ssl.SSLContext, _: Path) -> None:
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT


def _too_trusting(context: ssl.SSLContext, lab: Path) -> None:
    context.load_verify_locations(lab / "other" / "ca.crt")


@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (_not_asking, "does not ask"),
        (_optional, "takes no for an answer"),
        (_tls_1_2, "still takes TLS 1.2"),
        (_lax, "does not verify strictly"),
        (_too_trusting, "other authorities too"),
    ],
)
def test_a_context_with_one_fault_is_told_which(
    lab: Path, spoil: Callable[[ssl.SSLContext, Path], None], hint: str
) -> None:
    """Each option that is not as asked gets a hint of its own."""
    context = right_context(lab)
    spoil(context, lab)
    said = exercises.insisting_context(context)
    assert said.correct is False
    assert hint in said.text


def test_a_context_must_show_a_server_certificate_and_be_a_servers(lab: Path) -> None:
    """The handshake finds what options do not tell: nothing to show, or a client's certificate to show."""
    assert "nothing to show" in exercises.insisting_context(right_context(lab, "")).text
    assert "is it server.crt?" in exercises.insisting_context(right_context(lab, "client")).text
    client = ssl.create_default_context(cafile=str(lab / "ca.crt"))
    assert "a client's context" in exercises.insisting_context(client).text
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert exercises.insisting_context(bare).correct is False


# Who may do what


def name_of(request: Request) -> str:
    assert request.client is not None
    return str(request.client.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def app_with(is_alice: Callable[[str], bool], under_admin: Callable[[str], bool]) -> Callable[[Request], Any]:
    def app(request: Request) -> Reply | str:
        if request.client is None:
            return Reply("who are you?\n", status=401)
        name = name_of(request)
        if under_admin(request.path) and not is_alice(name):
            return Reply("no\n", status=403)
        return f"Hello {name}\n"

    return app


def forgets_none(request: Request) -> str:
    return f"Hello {name_of(request)}\n"


def forbids_strangers(request: Request) -> Reply | str:
    if request.client is None:
        return Reply("no\n", status=403)
    return right_app(request)  # type: ignore[no-any-return]


right_app = app_with(lambda name: name == "alice", lambda path: path.startswith("/admin"))


def test_the_right_app_is_right() -> None:
    """An app that compares whole names and paths below /admin is right."""
    assert exercises.authorizing_app(right_app).correct


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda _: "Hello World\n", "should read 'Hello client'"),
        (forgets_none, "/admin is for alice alone"),
        (forbids_strangers, "nobody yet"),
        (app_with(lambda name: name == "alice", lambda path: path == "/admin"), "below /admin"),
        (app_with(lambda name: "alice" in name, lambda path: path.startswith("/admin")), "whole common name"),
        (app_with(lambda name: name.endswith("alice"), lambda path: path.startswith("/admin")), "malice is not alice"),
        (app_with(lambda _: False, lambda path: path.startswith("/admin")), "/admin is for alice"),
        (lambda _: None, "it returns nothing"),
        (lambda _: 200, "text or a Reply is wanted"),
        (lambda request: f"Hello {request.client.subject.rfc4514_string()}\n", "and reads 'Hello CN=client'"),
    ],
)
def test_an_app_that_decides_wrongly_is_told_about_whom(wrong: Any, hint: str) -> None:
    """The hint names a caller and a path for whom the app decides wrongly."""
    said = exercises.authorizing_app(wrong)
    assert said.correct is False
    assert hint in said.text


# From Node.js to Python


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"a": ssl.CERT_OPTIONAL}, "has its default"),
        ({"b": ssl.CERT_REQUIRED}, "CertificateRequest"),
        ({"c": ssl.CERT_OPTIONAL}, "a bad certificate"),
        ({"c": "CERT_OPTIONAL"}, "each value is"),
        ({"d": None}, "three servers"),
    ],
)
def test_each_server_of_nodes_has_its_own_hint(change: dict[str, Any], hint: str) -> None:
    """The usual mistake, taking rejectUnauthorized: false for optional, gets a question back."""
    right = {"a": ssl.CERT_REQUIRED, "b": ssl.CERT_NONE, "c": None}  # of servers
    assert exercises.from_node(right).correct
    said = exercises.from_node(right | change)
    assert said.correct is False
    assert hint in said.text
