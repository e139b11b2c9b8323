"""Proxies run as the page runs them: right configurations let nothing through, and each hole its own attack."""

import contextlib
import http.server
import os
import re
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import needed_programs
from given import LOCALHOST
from mtlslab import CertificateAuthority, client_cert, display, errors, failures, request
from mtlslab.notebook import programs, proxies, servers
from mtlslab.probe import Report, attacks, probe
from mtlslab.profiles import CLIENT, SERVER

VALUE = ":{http.request.tls.client.certificate_der_base64}:"
SET, STRIP, NO_UPGRADE = f"header_up Client-Cert {VALUE}", "request_header -Client*", "request_header -Upgrade"
CADDY = """\
{
  admin off
  auto_https off
}
https://localhost:@PORT@ {
  bind 127.0.0.1
  tls server.crt server.key {
    client_auth {
      mode require_and_verify
      trust_pool file ca.crt
    }
  }
  request_header -Client*
  request_header -Upgrade
  reverse_proxy @APP@ {
    header_up Client-Cert :{http.request.tls.client.certificate_der_base64}:
  }
}
"""
DECODERS: dict[str, Callable[[str], Any]] = {
    "caddy": client_cert.decode,
    "nginx": client_cert.decode_nginx,
    "haproxy": client_cert.decode,
}
RIGHT = {"caddy": CADDY, "nginx": proxies.NGINX, "haproxy": proxies.HAPROXY}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everybody's files, as the page's."""
    folder = tmp_path_factory.mktemp("proxy")
    ca = CertificateAuthority.create("example-ca")
    ca.save(folder)
    ca.issue("localhost", SERVER, names=LOCALHOST).save(folder, "server")
    (folder / "server.pem").touch(0o600)
    (folder / "server.pem").write_bytes((folder / "server.crt").read_bytes() + (folder / "server.key").read_bytes())
    for name in ("alice", "bob"):
        ca.issue(name, CLIENT).save(folder, name)
    inner = CertificateAuthority.create("inner-ca")
    inner.save(folder / "inner")
    inner.issue("proxy", CLIENT).save(folder, "proxy")
    return folder


@pytest.fixture(autouse=True)
def few_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the prober forge the two headers alone that the applications here believe."""
    monkeypatch.setattr(attacks, "NAMES", {name: attacks.NAMES[name] for name in ("Client-Cert", "Client-Cert-Chain")})


def needed(proxy: str) -> None:
    """Skip a test whose proxy is missing, unless nothing may be."""
    if (error := proxies.missing(proxy)) and not needed_programs.are_required():
        pytest.skip(str(error))


def identify(headers: Any, decode: Callable[[str], Any]) -> str:
    try:
        text = display.name(decode(headers.get("client-cert", "")).subject)
        chain = headers.get("client-cert-chain")
        return f"{text} via {display.name(client_cert.decode(chain).subject)}" if chain else text
    except ValueError:
        return "nobody"


def asgi(decode: Callable[[str], Any]) -> proxies.ASGIApp:
    async def app(scope: proxies.Scope, _: object, send: Callable[[Any], Any]) -> None:
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": identify(headers, decode).encode()})

    return app


@contextlib.contextmanager
def uvicorn(app: Any) -> Iterator[str]:
    """Serve an application with uvicorn. Yields its address."""
    with servers.uvicorn(app) as url:
        yield url.removeprefix("https://").replace("localhost", "127.0.0.1")


def files(lab: Path, name: str) -> dict[str, Any]:
    return {"cacert": lab / "ca.crt", "cert": lab / f"{name}.crt", "key": lab / f"{name}.key"}


def probed(url: str, lab: Path, **options: Any) -> Report:
    return probe(url, **files(lab, "bob"), victim=lab / "alice.crt", **options)


def attacked(proxy: str, configuration: str, lab: Path, serve: Any = proxies.behind, direct: bool = False) -> Report:
    needed(proxy)
    with serve(asgi(DECODERS[proxy])) as app, proxies.running(proxy, configuration, lab, app) as running:
        assert request(running.url, **files(lab, "alice")).text == "CN=alice"  # the prober itself asks as bob
        return probed(running.url, lab, **({"direct": f"http://{app}"} if direct else {}))


# --- right configurations -------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_a_right_configuration_lets_nothing_through(proxy: str, lab: Path) -> None:
    """The prober finds nothing wrong with nginx and HAProxy as they should be, before uvicorn.

    Nor with Caddy before hypercorn, or a server of our own with mutual TLS: see the page and its exercise.
    """
    assert attacked(proxy, RIGHT[proxy], lab, uvicorn).through == ()


class ByHand(http.server.BaseHTTPRequestHandler):
    """The application as a handler of http.server's, which knows no address of a caller over a UNIX socket."""

    def do_GET(self) -> None:
        text = identify(self.headers, client_cert.decode).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815 (http.server's name)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.mark.skipif(os.name == "nt", reason="Windows' Python has no UNIX sockets")
def test_a_unix_socket_leaves_no_port_to_dial(lab: Path, tmp_path: Path) -> None:
    """Caddy reaches the application over a UNIX socket, and nothing gets through there either."""
    needed("caddy")
    path = tmp_path / "app.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), ByHand) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        try:
            with proxies.running("caddy", CADDY, lab, f"unix/{path}") as running:
                assert probed(running.url, lab).through == ()
        finally:
            server.shutdown()


# --- each hole ------------------------------------------------------------------------------------

STRANGER, PAST = "another CA's certificate with the victim's name", "past the proxy"
ADMIN = "Caddy's admin interface"
KNOWN = "@known vars_regexp {http.request.tls.client.subject} ."

WEBSOCKETS = """\
proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "Upgrade, HTTP2-Settings";
    proxy_set_header HTTP2-Settings $http_http2_settings;"""

HOLES = {
    "Caddy, set for the known only, with an open admin interface": (
        "caddy",
        [
            ("  admin off\n", "  persist_config off\n"),
            ("require_and_verify", "verify_if_given"),
            (SET, ""),
            (STRIP, f"{KNOWN}\n  request_header @known Client-Cert {VALUE}"),
        ],
        {"a header named in Connection", "a forged header", "a forged header, without a certificate", PAST, ADMIN},
    ),
    "nginx takes any CA, and passes upgrades": (
        "nginx",
        [
            ("ssl_verify_client on", "ssl_verify_client optional_no_ca"),
            ("location / {", "location / {\n      proxy_http_version 1.1;"),
            ("proxy_set_header Client-Cert-Chain", f"{WEBSOCKETS}\n    proxy_set_header Client-Cert-Chain"),
        ],
        {STRANGER, "an upgrade"},
    ),
    "HAProxy strips nothing, ignores the verdict, and sets the header by an if": (
        "haproxy",
        [
            ("verify required", "verify optional crt-ignore-err all"),
            ("  http-request del-header client-cert -m beg\n", ""),
            ("  http-request del-header upgrade\n", ""),
            ("base64]:", "base64]: if { ssl_c_used }"),
        ],
        {STRANGER, "a forged header", "a forged header, without a certificate", "an upgrade"},
    ),
}
"""Holes: the proxy, the lines of its right configuration to change, and the families of attacks that get through."""


def haproxy_version() -> tuple[int, ...]:
    said = subprocess.run([proxies._find("haproxy"), "-v"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


@pytest.mark.parametrize("hole", HOLES)
def test_each_hole_lets_its_own_attack_through(hole: str, lab: Path) -> None:
    """Lines that are changed or left out are found by the prober, and nothing else is blamed.

    So is the application's own port, where `direct` names it: it believes whoever dials it. Caddy's other holes are in
    its exercise: whoever has any certificate, and an upgrade, with their number.
    """
    proxy, changes, families = HOLES[hole]
    configuration = RIGHT[proxy]
    if ADMIN in families and programs._answers(2019):  # another Caddy has that port
        changes, families = changes[1:], families - {ADMIN}
    for old, new in changes:
        assert old in configuration
        configuration = configuration.replace(old, new)
    through = {probe.family for probe in attacked(proxy, configuration, lab, direct=PAST in families).through}
    if proxy == "haproxy" and families - through == {"an upgrade"}:  # seen with 3.2.26; 2.6 passes it on
        assert haproxy_version() >= (3, 0)
    else:
        assert through == families


# --- starting and stopping ------------------------------------------------------------------------


def test_a_missing_proxy_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the program, the error says how to install it, and nothing is started or left."""

    def nothing(name: str, *_: object) -> Path:
        raise failures.ProgramMissing(name, "it is not on the PATH", "install it")

    monkeypatch.setattr(programs, "find", nothing)
    error = proxies.missing("caddy")
    assert error is not None
    assert ".[servers]" in str(error)
    with pytest.raises(failures.ProgramMissing), proxies.running("caddy", CADDY, tmp_path, "127.0.0.1:1"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the program")
def test_an_old_caddy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Caddy 2.6 passes names with an underscore on: the page's table would not hold, and the error says so."""
    old = tmp_path / "caddy"
    old.write_text("#!/bin/sh\necho v2.6.2\n")
    old.chmod(0o755)
    monkeypatch.setattr(programs, "find", lambda *_: old)
    error = proxies.missing("caddy")
    assert error is not None
    assert "v2.6.2" in error.problem
    assert "2.10" in error.cure


def test_a_proxy_that_dies_tells_why(lab: Path) -> None:
    """A configuration that Caddy refuses is an error with Caddy's own words, and its file is gone."""
    needed("caddy")
    before = set(lab.iterdir())
    bad = CADDY.replace("reverse_proxy", "reverse_prxy")
    with (
        pytest.raises(failures.ProgramFailed, match="reverse_prxy"),
        proxies.running("caddy", bad, lab, "127.0.0.1:1"),
    ):
        pass
    assert {path for path in set(lab.iterdir()) - before if path.name != "caddy"} == set()


def test_a_taken_port_is_an_error(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that another program took between the choice and the start is told, and not mistaken for the proxy."""
    needed("caddy")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(proxies, "free_port", lambda: taken.getsockname()[1])
        with pytest.raises(errors.PortInUse), proxies.running("caddy", CADDY, lab, "127.0.0.1:1"):
            pass


@pytest.mark.parametrize("proxy", ["caddy", "nginx"])
def test_nothing_is_left_running(proxy: str, lab: Path) -> None:
    """When the block ends by an interrupt, the proxy is gone, its port is free, and so is the application's."""
    needed(proxy)
    before = threading.active_count()
    with (
        pytest.raises(KeyboardInterrupt),
        proxies.behind(asgi(client_cert.decode)) as app,
        proxies.running(proxy, RIGHT[proxy], lab, app) as running,
    ):
        raise KeyboardInterrupt
    for port in (running.port, int(app.rsplit(":", 1)[1])):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()
    assert threading.active_count() <= before
    if os.name != "nt":
        with pytest.raises(ProcessLookupError):
            os.kill(running.pid, 0)


def test_it_listens_on_loopback_alone() -> None:
    """Every address that a configuration listens on is this machine's."""
    for proxy, configuration in RIGHT.items():
        lines = [line.split() for line in configuration.splitlines()]
        binds = [line[1].split(":")[0] for line in lines if line and line[0] in ("bind", "listen")]
        assert binds == ["127.0.0.1"], proxy
