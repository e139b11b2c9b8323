"""The prober finds each hole it knows, blames nobody who has none, and harms nothing on the way."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from given import LOCALHOST
from mtlslab import CertificateAuthority, Credential, Reply, Request, Server, display, errors
from mtlslab.__main__ import main
from mtlslab.probe import MOST_REQUESTS, Report, attacks, probe
from mtlslab.probe.targets import Markers
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

    def probed(self, app: App, client_auth: str = "required", **options: Any) -> Report:
        with Server(self.server, client_ca=self.ca.certificate, client_auth=client_auth, app=app, port=0) as server:  # type: ignore[arg-type]
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


@pytest.mark.parametrize("client_auth", ["required", "optional"])
def test_an_honest_server_lets_nothing_through(deployment: Deployment, client_auth: str) -> None:
    """Where TLS alone says who is calling, no attack gets through, whether or not a certificate must be shown."""
    report = deployment.probed(who, client_auth)
    assert report.through == ()
    assert (report.me, report.victim) == ("CN=bob", "CN=alice")
    assert len(report.probes) > 60


@pytest.mark.parametrize("client_auth", ["required", "optional"])
def test_each_header_that_is_believed_is_named(deployment: Deployment, client_auth: str) -> None:
    """An application that believes a header is caught with it, whichever it is, with and without a certificate."""
    through = deployment.probed(believing(*attacks.NAMES), client_auth).through
    assert {probe.seen for probe in through} == {"the victim"}
    for family in ("a forged header", "a forged header, without a certificate"):
        named = {probe.attack.split(",")[0] for probe in through if probe.family == family}
        assert named == (set(attacks.NAMES) if client_auth == "optional" or family == "a forged header" else set())


@pytest.mark.parametrize("name", ["Client-Cert", "X-SSL-Client-Cert", "X-Client-DN"])
def test_no_other_header_is_blamed(deployment: Deployment, name: str) -> None:
    """An application that believes one header is caught with that one alone."""
    through = deployment.probed(believing(name)).through
    assert {probe.attack.split()[0].rstrip(",") for probe in through} == {name}


def test_an_underscore_is_a_header_of_its_own(deployment: Deployment) -> None:
    """What WSGI would merge into the header is tried as well, for each."""
    spelt = [name.replace("-", "_") for name in attacks.NAMES]
    through = deployment.probed(believing(*spelt)).through
    assert {probe.family for probe in through} == {"a forged header, with _ for -"}
    assert [probe.attack.split(",")[0] for probe in through] == spelt


def test_a_lost_identity_is_a_hole(deployment: Deployment) -> None:
    """Whoever makes the proxy drop the header by naming it in Connection becomes nobody: the header is named."""

    def app(request: Request) -> str:
        return "nobody" if "ssl-client-cert" in request.headers.get("connection", "").lower() else who(request)

    through = deployment.probed(app).through
    assert {probe.seen for probe in through} == {"nobody"}
    assert [probe.attack for probe in through] == [
        f"Connection: {name}" for name in ("all of them at once", "SSL-Client-Cert", "X-SSL-Client-Cert")
    ]


def test_an_application_that_names_both_is_no_witness(deployment: Deployment) -> None:
    """An answer with the victim's name beside one's own counts as through."""
    through = deployment.probed(lambda r: who(r) + (", CN=alice" if r.headers.get("X-Client-DN") else "")).through
    assert {probe.seen for probe in through} == {"me and the victim"}


def test_the_way_past_the_proxy_is_tried(deployment: Deployment) -> None:
    """With `direct`, the application itself is asked, with every header."""
    with Server(
        deployment.server, client_ca=deployment.ca.certificate, app=believing("X-ARR-ClientCert"), port=0
    ) as app:
        through = deployment.probed(who, direct=app.url).through
        assert [probe.attack for probe in through] == ["past the proxy: X-ARR-ClientCert, Base64"]
    with Server(deployment.server, client_ca=CertificateAuthority.create("inner-ca").certificate, port=0) as app:
        assert deployment.probed(who, direct=app.url).through == ()


def test_the_longest_run_keeps_to_its_number(deployment: Deployment) -> None:
    """With everything asked for and everything open, no more than 200 requests go out, and none is left untried."""

    def app(request: Request) -> Reply | str:
        return "nobody" if "," in request.headers.get("connection", "") else believing(*attacks.NAMES)(request)

    with Server(deployment.server, client_ca=deployment.ca.certificate, app=app, port=0) as other:
        report = deployment.probed(app, "optional", direct=other.url, public="127.0.0.1")
    assert 150 < report.requests < MOST_REQUESTS
    assert len(report.probes) > 150


def test_no_private_key_is_sent(deployment: Deployment) -> None:
    """Nothing that the deployment gets to see holds a line of the private key."""
    seen: list[str] = []

    def app(request: Request) -> str:
        seen.append(f"{request.path} {request.headers} {request.body!r}")
        return who(request)

    deployment.probed(app, "optional")
    lines = [line for line in (deployment.folder / "bob.key").read_text().splitlines() if "-----" not in line]
    assert seen
    assert lines
    assert not [line for line in lines if any(line in text for text in seen)]
    assert not any("PRIVATE" in text for text in seen)


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


def test_a_limit_on_requests_is_no_clean_bill(deployment: Deployment) -> None:
    """A deployment that refuses everybody after some requests has not stopped the attacks: the run says so."""
    count = iter(range(1000))
    with pytest.raises(errors.OptionRefused, match=r"stopped answering .*429"):
        deployment.probed(lambda request: who(request) if next(count) < 20 else Reply("slow down", 429))


def test_bad_options_are_named(deployment: Deployment, tmp_path: Path) -> None:
    """The wrong CA, oneself as the victim, no TLS, no such file: each error names its option or file."""
    other = CertificateAuthority.create("other-ca")
    other.save(tmp_path)
    options = deployment.options()
    with Server(deployment.server, client_ca=deployment.ca.certificate, app=who, port=0) as server:
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


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("CN=bob", "me"),
        ("you are BOB.", "me"),
        ("CN=alice", "the victim"),
        ("hello bob, hello alice", "me and the victim"),
        ("bobby", "nobody"),
        ("malice", "nobody"),
        ("alice2", "nobody"),
        ("alice-admin", "nobody"),
        ("", "nobody"),
    ],
)
def test_a_name_is_read_whole(deployment: Deployment, text: str, named: str) -> None:
    """A name inside another is not that name."""
    me, victim = (Credential.load(deployment.folder, name).certificate for name in ("bob", "alice"))
    markers = Markers.of(me, victim)
    assert markers.named(text) == named
    assert markers.named("alice.example") == "the victim"
    assert markers.named(f"serial {me.serial_number:X}") == "me"


def test_the_command_tells_by_its_exit_status(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when nothing got through, 1 when something did, 2 when it could not be tried; --json is JSON."""
    for app, status in ((who, 0), (believing("Client-Cert"), 1)):
        with Server(deployment.server, client_ca=deployment.ca.certificate, app=app, port=0) as server:
            assert main(["probe", server.url, *deployment.arguments()]) == status
            plain = capsys.readouterr().out
            assert main(["probe", server.url, *deployment.arguments(), "--json"]) == status
            found = json.loads(capsys.readouterr().out)
        assert (found["through"] > 0) == status == any(probe["through"] for probe in found["probes"])
        assert ("strip this header" in plain) == bool(status)
    with pytest.raises(SystemExit) as caught:
        main(["probe", server.url, *deployment.arguments()])
    assert caught.value.code == 2
    assert "not let in" in capsys.readouterr().err


def test_a_forged_credential_is_the_victims_to_the_letter(deployment: Deployment) -> None:
    """The look-alike has the victim's names and its CA's name, and another key."""
    from mtlslab.probe.targets import lookalike

    alice = Credential.load(deployment.folder, "alice").certificate
    made = lookalike(alice)
    assert (made.certificate.subject, made.certificate.issuer) == (alice.subject, alice.issuer)
    assert made.certificate.public_key() != alice.public_key()
    assert made.certificate.public_key() == made.private_key.public_key()
    assert replace(made, certificate=alice) != made
