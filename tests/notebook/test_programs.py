"""Programs are found or named, run as typed, and never outlive the block that started them."""

import os
import shlex
import socket
import sys
import time
from pathlib import Path

import pytest

from mtlslab import errors
from mtlslab.notebook import programs

PYTHON = shlex.quote(Path(sys.executable).as_posix())


def python(folder: Path, code: str) -> str:
    """Return a command line that runs ``code``."""
    (folder / "program.py").write_text(code, encoding="utf-8")
    return f"{PYTHON} program.py"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


SERVER = """\
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print("ready to serve", flush=True)
print(f"listening on localhost:{listener.getsockname()[1]}", flush=True)
print("a word", file=sys.stderr, flush=True)
time.sleep(60)
"""


def test_a_program_that_is_not_there_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the program and the command that installs it on this system."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.ProgramMissing, match=r"^curl: it is not on the PATH; install it: ") as caught:
        programs.find("curl")
    assert programs.PROGRAMS["curl"].install[programs.system()] in caught.value.cure
    assert isinstance(caught.value, FileNotFoundError)
    assert [error.program for error in programs.missing("openssl", "node")] == ["openssl", "node"]
    with pytest.raises(errors.ProgramMissing):
        programs.run("curl https://localhost:3000", tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the program")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("openssl", "LibreSSL 3.3.6"),
        ("openssl", "OpenSSL 1.1.1w  11 Sep 2023"),
        ("curl", "curl 8.7.1 (x86_64-apple-darwin24.0) libcurl/8.7.1 (SecureTransport) LibreSSL/3.3.6 zlib/1.2.12"),
        ("curl", "curl 8.13.0 (Windows) libcurl/8.13.0 Schannel zlib/1.3.1 WinIDN"),
        ("node", "v16.20.2"),
        ("node", ""),
    ],
)
def test_another_build_of_a_program_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, says: str
) -> None:
    """LibreSSL's openssl, a curl without OpenSSL and an old Node.js speak otherwise, so each is named as what it is."""
    (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.ProgramMissing, match=f"the course needs {programs.PROGRAMS[name].wanted}"):
        programs.find(name)


def test_every_program_can_be_had_on_every_system() -> None:
    """Each program has a way to install it on Debian/Ubuntu, macOS and Windows."""
    for name, program in programs.PROGRAMS.items():
        assert program.name == name
        assert set(program.install) == {"Debian/Ubuntu", "macOS", "Windows"}
        assert all(program.install.values())


def test_a_command_runs_as_typed(tmp_path: Path) -> None:
    """Quotes and line continuations mean what they mean in a shell; exit code and both outputs come back."""
    command = python(
        tmp_path, "import sys; print(sys.argv[1:], sys.stdin.read()); print('e', file=sys.stderr); exit(3)"
    )
    outcome = programs.run(f"{command} -subj '/CN=a b' \\\n  --last", tmp_path, stdin="heard")
    assert outcome.stdout == "['-subj', '/CN=a b', '--last'] heard\n"
    assert outcome.stderr == "e\n"
    assert (outcome.exit_code, outcome.ok) == (3, False)


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, no certificate store, no configuration and no home of the caller's reaches a command."""
    for name in ("https_proxy", "ALL_PROXY", "SSL_CERT_FILE", "OPENSSL_CONF", "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.setenv(name, "elsewhere")
    command = python(tmp_path, "import os; print(sorted(os.environ.items()))")
    said = programs.run(command, tmp_path).stdout
    assert "elsewhere" not in said
    assert f"('HOME', {str(tmp_path)!r})" in said


@pytest.mark.skipif(bool(programs.missing("curl")), reason="needs curl")
def test_nobodys_curlrc_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A .curlrc in the user's home changes nothing."""
    home, lab = tmp_path / "home", tmp_path / "lab"
    home.mkdir()
    lab.mkdir()
    (home / ".curlrc").write_text("no-such-option-at-all\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CURL_HOME", str(home))
    assert programs.run("curl https://localhost:1", lab).exit_code == 7


def test_a_command_that_hangs_is_stopped(tmp_path: Path) -> None:
    """After the time limit the process is gone, and the error says so."""
    command = python(
        tmp_path, "import os, time, pathlib; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    )
    with pytest.raises(errors.ProgramTimeout, match=r"did not end within 1 s") as caught:
        programs.run(command, tmp_path, timeout=1)
    assert isinstance(caught.value, TimeoutError)
    if os.name == "posix":
        assert not is_alive(int((tmp_path / "pid").read_text()))


def test_a_server_listens_inside_its_block_and_is_gone_after_it(tmp_path: Path) -> None:
    """Inside the block its port answers; afterwards the process is gone, and its words are kept."""
    with programs.serving(python(tmp_path, SERVER), tmp_path) as server:
        assert server.url == f"https://localhost:{server.port}"
        socket.create_connection(("127.0.0.1", server.port)).close()
        deadline = time.monotonic() + 10
        while server.log[-1] != "a word" and time.monotonic() < deadline:
            time.sleep(0.01)
    assert server.log[0] == "ready to serve"
    assert server.log[-1] == "a word"
    if os.name == "posix":
        assert not is_alive(server.pid)


@pytest.mark.skipif(os.name == "nt", reason="asks for a process by its id")
@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_server_is_gone_however_its_block_ends(tmp_path: Path, ending: type[BaseException]) -> None:
    """A cell that fails or is interrupted leaves no process behind."""
    with pytest.raises(ending), programs.serving(python(tmp_path, SERVER), tmp_path) as server:
        raise ending
    assert not is_alive(server.pid)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal that a program could ignore")
def test_a_server_that_will_not_end_is_made_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that ignores SIGTERM is gone after the grace time."""
    monkeypatch.setattr(programs, "_GRACE_SECONDS", 0.2)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    with programs.serving(python(tmp_path, stubborn), tmp_path) as server:
        pass
    assert not is_alive(server.pid)


def test_a_server_that_dies_is_quoted(tmp_path: Path) -> None:
    """The error holds the program's exit code and what it wrote to stderr."""
    command = python(tmp_path, "import sys; sys.exit('no such file: server.crt')")
    with (
        pytest.raises(errors.ProgramFailed, match=r"exit code 1; it said: no such file: server\.crt"),
        programs.serving(command, tmp_path),
    ):
        pass


def test_a_server_that_never_listens_is_given_up(tmp_path: Path) -> None:
    """A program that says nothing within the time limit is ended, and named."""
    command = python(tmp_path, "import time; time.sleep(60)")
    with (
        pytest.raises(errors.ProgramFailed, match=r"does not say where it listens; it said: nothing") as caught,
        programs.serving(command, tmp_path, timeout=0.5),
    ):
        pass
    assert caught.value.exit_code is None
