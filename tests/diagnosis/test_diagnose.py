"""`diagnose` names the true cause first, wherever this end can see it; and finds nothing where nothing is wrong."""

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_diagnose_hostile import lets_in

import mtlslab
from mtlslab import errors, faults
from mtlslab.__main__ import main
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import certificate_pem
from mtlslab.diagnosis import Diagnosis
from mtlslab.faults import FAULTS, Case, Lab, Setup, running, write_files

NOT_SEEN_FROM_HERE = {
    "client-without-intermediate": "whether the issuer is a root or an intermediate, only its certificate tells",
    "server-without-intermediate": "the same, for the server's issuer",
    "root-missing-at-server": "the same, for a server that names no CAs",
    "crl-missing": "a server that names no CAs says the same to a stranger",
    "crl-expired": "a server whose clock is ahead says the same",
    "stolen-client-certificate": "the forged key file is refused as unreadable",
    "no-cipher-in-common": "diagnose offers every suite that Python has",
    "no-group-in-common": "diagnose offers every group that OpenSSL has",
    "server-pair-half-written": "a server that has only suites of its own says the same",
    "pool-with-old-certificate": "diagnose opens new connections",
}
NEWEST: dict[str, TLSVersion] = {
    name: "1.2" if name == "no-version-in-common" else max(fault.verdicts)  # diagnose never insists on TLS 1.3
    for name, fault in FAULTS.items()
    if name not in NOT_SEEN_FROM_HERE
}
# In TLS 1.2 a no comes at another moment, and one is handshake_failure there. nginx is asked with 1.2 below.
OLDER: dict[str, TLSVersion] = dict.fromkeys(("no-client-certificate", "expired-client", "client-path-too-long"), "1.2")
LABS = {tls: Lab(tls) for tls in ("1.2", "1.3")}


def diagnose(case: Case) -> Diagnosis:
    """Diagnose a case with its own files."""
    files, url = case.files, f"{case.setup.scheme}://{case.setup.host}:{case.server.port}"
    return mtlslab.diagnose(
        url, cacert=files["cacert"], cert=files.get("cert"), key=files.get("key"), tls_max=case.lab.tls
    )


@contextmanager
def staged(name: str, tls: TLSVersion, folder: Path) -> Iterator[Case]:
    """Do what `faults.stage` does, with one CA for all."""
    lab = LABS[tls]
    setup = FAULTS[name].mint(lab)
    write_files(setup, folder)
    with running(setup) as server:
        yield Case(FAULTS[name], lab, setup, folder, server)


needs_posix = pytest.mark.skipif(os.name == "nt", reason="hands open sockets to another program")


@pytest.fixture(autouse=True)
def all_names_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every host that a fault dials resolve to this machine, but for those that must not."""
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *others: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(".example.com") else host, *others, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


def test_the_true_cause_comes_first(tmp_path: Path) -> None:
    """For every fault that this end can see; with TLS 1.2, too, for some that the server tells."""
    wrong = {}
    for name, tls in [*NEWEST.items(), *OLDER.items()]:
        with staged(name, tls, tmp_path / f"{name} {tls}") as case, ExitStack() as stack:
            if case.verdict.by != "server":
                stack.enter_context(lets_in)
            found = diagnose(case)
        if [f.cause for f in found.findings][:1] != [name]:
            wrong[name, tls] = found
    assert not wrong


def test_a_cause_that_cannot_be_told_apart_is_among_the_findings(tmp_path: Path) -> None:
    """Not first, but there."""
    for name in (
        "client-without-intermediate",
        "server-without-intermediate",
        "root-missing-at-server",
        "crl-missing",
        "crl-expired",
    ):
        with staged(name, "1.3", tmp_path / name) as case:
            found = diagnose(case)
        assert name in [f.cause for f in found.findings], (name, found)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@lets_in
def test_a_healthy_connection_has_no_findings(tls: TLSVersion, tmp_path: Path) -> None:
    """Nothing is found, and nothing is left unknown."""
    fault = faults.Fault("none", "neither", "trust", "", lambda lab: lab.good, faults.ACCEPTED, "")
    with faults.staged(fault, tmp_path, tls=tls) as case:
        found = diagnose(case)
    assert found.healthy, found
    assert not found.unknown


@lets_in
def test_a_chain_that_is_whole_is_healthy(tmp_path: Path) -> None:
    """Intermediates at both ends are no fault."""

    def mint(lab: Lab) -> Setup:
        ca = lab.ca.certificate
        return Setup(lab.server_of(lab.issuing_ca), lab.client_of(lab.issuing_ca), ca, ca)

    fault = faults.Fault("none", "neither", "trust", "", mint, faults.ACCEPTED, "")
    with faults.staged(fault, tmp_path) as case:
        assert diagnose(case).healthy


# --- other servers --------------------------------------------------------------------------------

_NODE = """
const fs = require('fs'), https = require('https');
const answer = (request, response) => { response.writeHead(200); response.end('Hello World\\n'); };
for (const [folder, fd] of Object.entries(JSON.parse(process.argv[2]))) {
  const read = (name) => fs.readFileSync(`${folder}/${name}`);
  const options = {ca: read('client-ca.crt'), cert: read('server.crt'), key: read('server.key'),
    requestCert: true, rejectUnauthorized: true};
  https.createServer(options, answer).on('tlsClientError', () => {}).listen({fd});
}
"""

_NGINX = """
daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  {servers}
}}
"""
_NGINX_SERVER = """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/server.crt; ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/client-ca.crt; ssl_verify_client on; ssl_verify_depth 3;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ return 200 "Hello World\\n"; }}
  }}
"""


@contextmanager
def _foreign(program: str, setups: dict[str, Setup], root: Path) -> Iterator[dict[str, int]]:
    """Run Node.js or nginx with a server for each setup, its files in a folder of its name; yield their ports.

    The program inherits sockets that already listen: no port can be lost to another process in between, and a caller
    who comes too early waits in the kernel.
    """
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    with ExitStack() as stack:
        listeners = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in setups}
        ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        descriptors = {name: listener.fileno() for name, listener in listeners.items()}
        for name, setup in setups.items():
            write_files(setup, root / name)
            setup.server.save(root / name, "server")
            (root / name / "client-ca.crt").write_bytes(certificate_pem(setup.client_ca))
        servers = (_NGINX_SERVER.format(folder=root / name, port=port) for name, port in ports.items())
        (root / "nginx.conf").write_text(_NGINX.format(root=root, servers="".join(servers)))
        (root / "server.js").write_text(_NODE)
        given = {"node": ["server.js", json.dumps(descriptors)], "nginx": ["-p", str(root), "-c", f"{root}/nginx.conf"]}
        inherited = "".join(f"{descriptor};" for descriptor in descriptors.values())  # how nginx is told
        process = subprocess.Popen(
            [path, *given[program]],
            cwd=root,
            env={**os.environ, "NGINX": inherited},
            pass_fds=tuple(descriptors.values()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield ports
        finally:
            process.terminate()
            process.wait(5)


def _by_files_alone() -> dict[str, Setup]:
    """Mint "healthy", each fault that another server has to tell and that is in the files alone, and one that it has
    not: what this end finds wrong is the same whoever shows it.
    """
    lab = LABS["1.3"]
    verdicts = {name: FAULTS[name].verdicts[tls] for name, tls in NEWEST.items()}
    met = [name for name, verdict in verdicts.items() if (verdict.by, verdict.moment) == ("server", "first read")]
    minted = {"healthy": lab.good} | {name: FAULTS[name].mint(lab) for name in (*met, "expired-server")}
    settings = ("client_auth", "scheme", "speaks_tls", "tune_server", "tune_client", "act")
    return {
        name: setup
        for name, setup in minted.items()
        if all(getattr(setup, setting) == getattr(lab.good, setting) for setting in settings)
    }


@needs_posix
@pytest.mark.parametrize(("program", "usual", "other"), [("node", "1.3", "1.2"), ("nginx", "1.2", "1.3")])
def test_with_other_servers_too(program: str, usual: TLSVersion, other: TLSVersion, tmp_path: Path) -> None:
    """Node.js hangs up without an alert, nginx answers 400: the true cause comes first all the same.

    What tells one cause from another without an alert depends neither on the version nor on who it is that sends none:
    one of each kind shows that the no itself is understood.
    """
    setups = _by_files_alone()
    del setups["client-name-not-permitted"]  # only the alert tells, and neither sends it
    kinds = ("healthy", "no-client-certificate", "unknown-client-ca", "expired-client", "wrong-purpose-client")
    assert len(setups) > 13
    if program == "node":
        setups = {name: setups[name] for name in kinds}
    tried = [*((name, usual) for name in setups), *((name, other) for name in kinds[:3])]
    # A CA of the right name is at hand, and did sign: that the server has another of that name cannot be seen.
    depth = {"client-ca-made-again": 9}
    with _foreign(program, setups, tmp_path) as ports:

        def diagnosed(row: tuple[str, TLSVersion]) -> Diagnosis:
            name, tls = row
            folder, url = tmp_path / name, f"https://{setups[name].host}:{ports[name]}"
            cert, key = (folder / "client.crt", folder / "client.key") if setups[name].client else (None, None)
            return mtlslab.diagnose(url, cacert=folder / "ca.crt", cert=cert, key=key, tls_max=tls)

        def wrong(said: dict[tuple[str, TLSVersion], Diagnosis]) -> dict[tuple[str, TLSVersion], Diagnosis]:
            named = {row: [*(f.cause for f in found.findings), "healthy"] for row, found in said.items()}
            return {row: found for row, found in said.items() if row[0] not in named[row][: depth.get(row[0], 1)]}

        with ThreadPoolExecutor(12) as together:  # a diagnosis waits more than it works
            left = wrong(dict(zip(tried, together.map(diagnosed, tried), strict=True)))
        for _ in range(2):  # other servers close at once after their alert, and the reset may overtake it
            left = wrong({row: diagnosed(row) for row in left})
    assert not left


# --- addresses that are no TLS servers ------------------------------------------------------------


@contextmanager
def _listener(says: bytes | None) -> Iterator[int]:
    """Accept, say something (None: nothing), and keep the line open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                held.append(caller)
                if says is not None:
                    caller.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for caller in held:
            caller.close()


@pytest.mark.parametrize(
    ("says", "cause"),
    [(None, "timed-out"), (b"SSH-2.0-OpenSSH_9.2\r\n", "tls-to-plain-port"), (b"\0" * 64, "tls-to-plain-port")],
)
def test_what_is_not_tls_is_named(says: bytes | None, cause: str, files: Path) -> None:
    """Silence ends at the timeout, and may be a large packet's that was lost; garbage is no TLS."""
    began = time.monotonic()
    with _listener(says) as port:
        found = mtlslab.diagnose(f"https://127.0.0.1:{port}", cacert=files / "ca.crt", timeout=10 if says else 0.3)
    assert found.findings[0].cause == cause, found
    assert ("large packets" in found.findings[0].advice) == (says is None)
    assert time.monotonic() - began < 5


def test_nobody_there(files: Path) -> None:
    """A port where nothing listens, a host that does not exist."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # its port is taken, and nobody listens
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        assert mtlslab.diagnose(url).findings[0].cause == "connection-refused"
    assert mtlslab.diagnose("https://nowhere.invalid", cacert=files / "ca.crt").findings[0].cause == "host-not-found"


def test_a_url_that_is_none_is_refused() -> None:
    """As an argument, not as a finding."""
    for url in ("", "ftp://localhost", "https://", "https://localhost:99999", "localhost:1:2"):
        with pytest.raises(errors.OptionRefused, match="url"):
            mtlslab.diagnose(url)


# --- the command line -----------------------------------------------------------------------------


def test_exit_status_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when all is well, 1 with a finding, 2 on bad usage; never a key in what is printed."""
    with faults.stage("expired-client", tmp_path) as case:
        files = [f"--{option}={path}" for option, path in case.files.items()]
        assert main(["diagnose", case.url, *files, "--json"]) == 1
        printed = json.loads(capsys.readouterr().out)
        case.lab.client.save(tmp_path, "client", overwrite=True)
        assert main(["diagnose", case.url, *files]) == 0
        assert "nothing wrong" in capsys.readouterr().out
        assert main(["diagnose", case.url, f"--cacert={case.files['cacert']}"]) == 1
        report = capsys.readouterr().out
    assert printed["findings"][0]["cause"] == "expired-client"
    assert printed["unknown"]
    assert report.startswith("certain: no-client-certificate\n  what: ")
    assert "not known here: which CA the server trusts" in report
    for bad in (["diagnose"], ["diagnose", "ftp://localhost"], [], ["diagnose", "https://localhost", "--key", "k"]):
        with pytest.raises(SystemExit) as ended:
            main(bad)
        assert ended.value.code == 2


def test_a_password_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An encrypted key is opened by the first line of --password-file, and a file that is not there is bad usage."""
    (tmp_path / "password").write_text("password\n")
    with faults.stage("encrypted-key", tmp_path) as case:
        files = [f"--{option}={path}" for option, path in case.files.items()]
        assert main(["diagnose", case.url, *files]) == 1
        assert main(["diagnose", case.url, *files, f"--password-file={tmp_path / 'password'}"]) == 0
        with pytest.raises(SystemExit):
            main(["diagnose", case.url, *files, "--password-file=nowhere"])
    assert "password-file" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:'mtlslab.__main__' found in sys.modules:RuntimeWarning")
def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m mtlslab` runs it: this is what -m does."""
    monkeypatch.setattr(sys, "argv", ["mtlslab", "diagnose", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("mtlslab", run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    assert "--cacert" in capsys.readouterr().out


def test_no_finding_shows_a_key(tmp_path: Path) -> None:
    """Not even when the key is what is wrong."""
    for name in ("encrypted-key", "key-of-another-certificate", "der-for-pem"):
        with staged(name, "1.3", tmp_path / name) as case:
            found = diagnose(case)
        assert "PRIVATE KEY" not in found.to_json() + repr(found)
