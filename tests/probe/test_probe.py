"""The prober finds each hole it knows, blames nobody who has none, and harms nothing on the way."""

import http.server
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from given import LOCALHOST
from mtlslab import CertificateAuthority, Credential, Reply, Request, Server, display, errors
from mtlslab.__main__ import main
from mtlslab.contexts import ClientAuth, client_context, server_context
from mtlslab.probe import MOST_REQUESTS, Probe, Report, attacks, command, probe
from mtlslab.probe.targets import Markers
from mtlslab.probe.wire import Wire, Written
from mtlslab.profiles import CLIENT, SERVER

App = Callable[[Request], Reply | str]


@dataclass(frozen=True)
class Deployment:
    """A CA, its files, and the server's credential."""

    folder: Path
    ca: CertificateAuthority
    server: Credential

    def options(self) -> dict[str, Any]:
        return {
            "cacert": self.folder / "ca.crt",
            "cert": self.folder / "bob.crt",
            "key": self.folder / "bob.key",
            "victim": self.folder / "alice.crt",
        }

    def arguments(self) -> list[str]:
        return [word for name, path in self.options().items() for word in (f"--{name}", str(path))]

    def probed(self, app: App, client_auth: ClientAuth = "required", **options: Any) -> Report:
        with serving(self, app, client_auth) as server:
            return probe(server.url, **self.options(), **options)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    folder = tmp_path_factory.mktemp("probe")
    ca = CertificateAuthority.create("example-ca")
    ca.save(folder)
    for name in ("alice", "bob"):
        ca.issue(name, CLIENT, names=[f"{name}.example"]).save(folder, name)
    return Deployment(folder, ca, ca.issue("localhost", SERVER, names=LOCALHOST))


def who(request: Request) -> str:
    return display.name(request.client.subject) if request.client else "nobody"


def believing(*headers: str) -> App:
    """Return an app that takes whoever sends one of these headers for alice."""
    return lambda request: "CN=alice" if any(request.headers.get(name) for name in headers) else who(request)


def serving(deployment: Deployment, app: App, client_auth: ClientAuth = "required") -> Server:
    return Server(deployment.server, client_ca=deployment.ca.certificate, client_auth=client_auth, app=app, port=0)


@contextmanager
def plain(app: Callable[[Any], Reply | str]) -> Iterator[str]:
    """Serve an application over plain HTTP, as behind a proxy. Yields its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = str(app(SimpleNamespace(headers=self.headers, client=None))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


# --- whatever is open -----------------------------------------------------------------------------

SPELT = [name.replace("-", "_") for name in attacks.NAMES]


@dataclass(frozen=True)
class WideOpen:
    """A run against a deployment that is open in every way, with everything asked for, and what that got to see."""

    report: Report
    requests: tuple[Request, ...]

    def blamed(self, family: str) -> list[str]:
        return list(dict.fromkeys(p.attack.split(",")[0] for p in self.report.through if p.family == family))


@pytest.fixture(scope="module")
def wide_open(deployment: Deployment) -> WideOpen:
    seen: list[Request] = []
    believe = believing(*attacks.NAMES, *SPELT)

    def app(request: Request) -> Reply | str:
        seen.append(request)
        return "nobody" if "," in request.headers.get("connection", "") else believe(request)

    with plain(believe) as direct:
        report = deployment.probed(app, "optional", direct=direct, public="127.0.0.1")
    return WideOpen(report, tuple(seen))


def test_each_header_that_is_believed_is_named(wide_open: WideOpen) -> None:
    """An application that believes a header is caught with it, whichever it is, with and without a certificate.

    What WSGI would merge into the header is tried as well, for each.
    """
    for family in ("a forged header", "a forged header, without a certificate"):
        assert wide_open.blamed(family) == list(attacks.NAMES)
        assert wide_open.blamed(f"{family}, with _ for -") == SPELT
        assert {probe.seen for probe in wide_open.report.through if probe.family.startswith(family)} == {"the victim"}


def test_the_longest_run_keeps_to_its_number(wide_open: WideOpen) -> None:
    """With everything asked for and everything open, no more than 200 requests go out, and none is left untried."""
    assert 150 < wide_open.report.requests < MOST_REQUESTS
    assert len(wide_open.report.probes) > 150
    assert [probe.attack for probe in wide_open.report.probes if probe.family.startswith("another name")] == [
        "127.0.0.1 in TLS, the private name in Host",
        "a session of 127.0.0.1, resumed",
    ]


def test_each_attack_has_a_connection_of_its_own(wide_open: WideOpen) -> None:
    """An application may ask who is calling once for each connection: what came first in it would hide the others."""
    for request in wide_open.requests:
        assert {"close", "Upgrade"} & {word.strip() for word in request.headers["connection"].split(",")}


def test_no_private_key_is_sent(wide_open: WideOpen, deployment: Deployment) -> None:
    """Nothing that the deployment gets to see holds a line of the private key."""
    seen = "".join(f"{request.path} {request.headers} {request.body!r}" for request in wide_open.requests)
    lines = [line for line in (deployment.folder / "bob.key").read_text().splitlines() if "-----" not in line]
    assert seen
    assert lines
    assert not [line for line in lines if line in seen]
    assert "PRIVATE" not in seen


@pytest.fixture
def few_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a run forge some of the headers alone, one of each kind."""
    names = ("Client-Cert", "SSL-Client-Cert", "X-SSL-Client-Cert", "X-ARR-ClientCert", "X-Client-DN")
    monkeypatch.setattr(attacks, "NAMES", {name: attacks.NAMES[name] for name in names})


@pytest.mark.usefixtures("few_headers")
def test_nothing_else_is_blamed(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """A deployment with some holes is caught with each of them, and with those alone: in front, and past the proxy.

    It believes two headers; it names the victim, too, where it reads a third; and whoever makes the proxy drop another
    by naming it in Connection becomes nobody. The command's exit status is 1, and its JSON says all of it.
    """

    def app(request: Request) -> str:
        if "ssl-client-cert" in request.headers.get("connection", "").lower():
            return "nobody"
        told = believing("Client-Cert", "X-SSL-Client-Cert")(request)
        return f"{told}, CN=alice" if request.headers.get("X-Client-DN") else str(told)

    def behind(request: Any) -> str:
        told = "CN=bob" if request.headers.get("Client-Cert") else "nobody"
        return "CN=alice" if request.headers.get("X-ARR-ClientCert") else told

    with serving(deployment, app) as front, plain(behind) as direct:
        words = ["probe", front.url, *deployment.arguments(), "--direct", direct, "--json"]
        assert main(words) == 1
    found = json.loads(capsys.readouterr().out)
    through = [Probe(**probe) for probe in found["probes"] if probe["through"]]
    blamed = {(p.family, re.sub("^(Client-Cert) .*", r"\1", p.attack.split(",")[0]), p.seen) for p in through}
    assert found["through"] == len(through)
    assert blamed == {
        ("a forged header", "Client-Cert", "the victim"),
        ("a forged header", "X-SSL-Client-Cert", "the victim"),
        ("a forged header", "X-Client-DN", "me and the victim"),
        ("a malformed request", "Client-Cert", "the victim"),
        ("a header named in Connection", "Connection: all of them at once", "nobody"),
        ("a header named in Connection", "Connection: SSL-Client-Cert", "nobody"),
        ("a header named in Connection", "Connection: X-SSL-Client-Cert", "nobody"),
        ("past the proxy", "past the proxy: X-ARR-ClientCert", "the victim"),
    }


def test_the_session_of_a_name_is_offered_again(deployment: Deployment) -> None:
    """What a server gave a caller under a name, the next request shows it."""
    context = server_context(deployment.server, client_auth="none", tickets=True)

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            with context.wrap_socket(listener.accept()[0], server_side=True) as tls:
                tls.recv(65536)
                text = b"resumed" if tls.session_reused else b"new"
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)

    request, client = Written((), "localhost", "/"), client_context(cacert=deployment.folder / "ca.crt")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        wire = Wire("127.0.0.1", listener.getsockname()[1], "localhost", 5)
        assert wire.ask(request, client, "localhost").text == "new"
        assert wire.ask(request, client, session=wire.session).text == "resumed"
        thread.join()


# --- what is no finding ---------------------------------------------------------------------------


def test_another_machine_must_be_named_twice(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is not this machine is not even dialled, unless `this_is_mine` repeats it; so for `direct`."""
    dialled: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, *rest: object, **named: object) -> object:
        return real("192.0.2.1" if host == "shop.example" else host, *rest, **named)  # type: ignore[arg-type]

    def dial(address: tuple[str, int], *_: object) -> socket.socket:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", dial)
    with pytest.raises(errors.OptionRefused, match=r"another machine.*--this-is-mine shop.example"):
        probe("https://shop.example/", **deployment.options())
    with pytest.raises(errors.OptionRefused, match=r"^direct: .*another machine"):
        probe("https://localhost:3000/", **deployment.options(), direct="http://shop.example/")
    with pytest.raises(errors.OptionRefused, match="another machine"):
        probe("https://shop.example/", **deployment.options(), this_is_mine="other.example")
    assert "192.0.2.1" not in dialled
    with pytest.raises(errors.OptionRefused, match="not let in"):
        probe("https://shop.example/", **deployment.options(), this_is_mine="shop.example")
    assert "192.0.2.1" in dialled


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        (lambda _: "Hello World", "does not say who is calling"),
        (lambda _: "CN=alice", "does not say who is calling"),
        (lambda r: f"{who(r)}, not CN=alice", "does not say who is calling"),
        (lambda r: Reply(who(r), 403), "not let in .refused: 403"),
    ],
)
def test_what_cannot_be_compared_is_an_error(deployment: Deployment, app: App, problem: str) -> None:
    """An answer that does not tell two callers apart proves nothing, and is no clean bill."""
    with pytest.raises(errors.OptionRefused, match=problem):
        deployment.probed(app)


def test_a_limit_on_requests_is_no_clean_bill(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment that refuses everybody after some requests has not stopped the attacks: the run says so."""
    monkeypatch.setattr(attacks, "NAMES", {"Client-Cert": ("RFC 9440",)})
    count = iter(range(1000))
    with pytest.raises(errors.OptionRefused, match=r"stopped answering .*429"):
        deployment.probed(lambda request: who(request) if next(count) < 9 else Reply("slow down", 429))


def test_bad_options_are_named(deployment: Deployment, tmp_path: Path) -> None:
    """The wrong CA, oneself as the victim, no TLS, no such file: each error names its option or file."""
    other = CertificateAuthority.create("other-ca")
    other.save(tmp_path)
    options = deployment.options()
    with serving(deployment, who) as server:
        with pytest.raises(errors.OptionRefused, match=r"^cacert: .*does not verify"):
            probe(server.url, **options | {"cacert": tmp_path / "ca.crt"})
        with pytest.raises(errors.OptionRefused, match=r"^victim: "):
            probe(server.url, **options | {"victim": options["cert"]})
        with pytest.raises(errors.FileMissing, match=r"nobody\.crt"):
            probe(server.url, **options | {"victim": tmp_path / "nobody.crt"})
    with pytest.raises(errors.OptionRefused, match=r"^url: .*not https"):
        probe("http://localhost:3000", **options)
    with pytest.raises(errors.OptionRefused, match=r"^url: "):
        probe("localhost", **options)


CALLED = {
    "CN=bob": "me",
    "you are BOB.": "me",
    "CN=alice": "the victim",
    "alice.example": "the victim",
    "hello bob, hello alice": "me and the victim",
    "bobby": "nobody",
    "malice": "nobody",
    "alice2": "nobody",
    "alice-admin": "nobody",
    "alice.evil": "nobody",
    "": "nobody",
}


def test_a_name_is_read_whole(deployment: Deployment) -> None:
    """A name inside another is not that name."""
    me, victim = (Credential.load(deployment.folder, name).certificate for name in ("bob", "alice"))
    markers = Markers.of(me, victim)
    assert {text: markers.named(text) for text in CALLED} == CALLED
    assert markers.named(f"serial {me.serial_number:X}") == "me"


@pytest.mark.usefixtures("few_headers")
def test_an_honest_server_lets_nothing_through(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """Where TLS alone says who is calling, no attack gets through, with or without a certificate: exit status 0.

    Nor does any of all 116 on the page, behind Caddy.
    """
    with serving(deployment, who, "optional") as server:
        assert main(["probe", server.url, *deployment.arguments()]) == 0
    said = capsys.readouterr().out
    assert re.match(r"\d\d requests to https://localhost:\d+; me: CN=bob, the victim: CN=alice\n", said)
    assert said.endswith("\nnothing got through\n")


def test_what_got_through_has_its_cure_beside_it(wide_open: WideOpen) -> None:
    """The report as text has a line for each attack that got through, and says how many these are."""
    *table, _, last = command._lines(wide_open.report)
    rows = "\n".join(table).splitlines()
    for one in wide_open.report.through:
        assert any(row.startswith(one.attack) and row.endswith(one.cure) for row in rows)
    assert last == f"{len(wide_open.report.through)} got through"


def test_what_could_not_be_tried_has_its_own_exit_status(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """2, and the reason on stderr: neither of the other two is known."""
    with pytest.raises(SystemExit) as caught:
        main(["probe", "http://localhost:3000", *deployment.arguments()])
    assert caught.value.code == 2
    assert "not https" in capsys.readouterr().err


def test_a_forged_credential_is_the_victims_to_the_letter(deployment: Deployment) -> None:
    """The look-alike has the victim's names and its CA's name, and another key."""
    from mtlslab.probe.targets import lookalike

    alice = Credential.load(deployment.folder, "alice").certificate
    made = lookalike(alice)
    assert (made.certificate.subject, made.certificate.issuer) == (alice.subject, alice.issuer)
    assert made.certificate.public_key() != alice.public_key()
    assert made.certificate.public_key() == made.private_key.public_key()
    assert replace(made, certificate=alice) != made
