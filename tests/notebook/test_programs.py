"""Programs are found or named, run as typed, and never outlive the block that started them."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlslab import errors, failures
from mtlslab.notebook import programs

PYTHON = f"{shlex.quote(Path(sys.executable).as_posix())} -S -E"
"""Without its packages and settings, it starts in half the time."""


def python(folder: Path, code: str) -> str:
    """Return a command line that runs ``code``."""
    (folder / "program.py").write_text(code, encoding="utf-8")
    return f"{PYTHON} program.py"


def is_alive(pid: int) -> bool:
    """Tell whether a process runs. Who died without a parent that waits for it may linger as a zombie."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():  # Linux, where `ps` may be missing
        try:
            return status.read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
        except OSError:
            return False
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return told.strip()[:1] not in {"", "Z"}


def is_gone(pid: int) -> bool:
    """Wait until a process that was killed a moment ago is gone."""
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


def refusal(use: Callable[..., Any], *given: Any) -> errors.MtlslabError | None:
    """Return the error of a use that is refused."""
    try:
        use(*given)
    except errors.MtlslabError as error:
        return error
    return None


SERVER = """\
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print("ready to serve", flush=True)
print(f"listening on localhost:{listener.getsockname()[1]}", flush=True)
print("a word", file=sys.stderr, flush=True)
time.sleep(60)
"""

PARENT = """\
import os, pathlib, signal, subprocess, sys, time
{ignoring}
code = "import pathlib, signal, time; {ignoring}; pathlib.Path('ready').touch(); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-S", "-c", code])
pathlib.Path("child").write_text(str(child.pid))
"""
"""A program with a child that holds its outputs, and is `ready` when a file of this name is there.

It says nothing: Python writes a line and its end apart, and another's words may come in between.
"""

no_modes = pytest.mark.skipif(os.name == "nt", reason="asks for processes as POSIX does")


def test_a_program_that_is_not_there_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the program and the command that installs it on this system."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(failures.ProgramMissing, match=r"^curl: it is not on the PATH; install it: ") as caught:
        programs.find("curl")
    assert programs.PROGRAMS["curl"].install[programs.system()] in caught.value.cure
    assert isinstance(caught.value, FileNotFoundError)
    assert [error.program for error in programs.missing("openssl", "node")] == ["openssl", "node"]
    with pytest.raises(failures.ProgramMissing):
        programs.run("curl https://localhost:3000", tmp_path)


OTHER_BUILDS = [
    ("openssl", "LibreSSL 3.3.6"),
    ("openssl", "OpenSSL 1.1.1w  11 Sep 2023"),
    ("curl", "curl 8.7.1 (x86_64-apple-darwin24.0) libcurl/8.7.1 (SecureTransport) LibreSSL/3.3.6 zlib/1.2.12"),
    ("curl", "curl 8.13.0 (Windows) libcurl/8.13.0 Schannel zlib/1.3.1 WinIDN"),
    ("node", "v16.20.2"),
    ("node", ""),
]


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the program")
def test_another_build_of_a_program_counts_as_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LibreSSL's openssl, a curl without OpenSSL and an old Node.js speak otherwise, so each is named as what it is."""
    for number, (name, says) in enumerate(OTHER_BUILDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
        (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        assert f"the course needs {programs.PROGRAMS[name].wanted}" in str(refusal(programs.find, name)), says


def test_every_program_can_be_had_on_every_system() -> None:
    """Each program has a way to install it on Debian/Ubuntu, macOS and Windows."""
    for name, program in programs.PROGRAMS.items():
        assert program.name == name
        assert set(program.install) == {"Debian/Ubuntu", "macOS", "Windows"}
        assert all(program.install.values())


def test_a_command_runs_as_typed(tmp_path: Path) -> None:
    """Quotes and line continuations mean what they mean in a shell; exit code and both outputs come back."""
    command = python(
        tmp_path, "import sys; print(sys.argv[1:], sys.stdin.read()); print('e', file=sys.stderr); sys.exit(3)"
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


def test_what_is_named_is_what_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is seen from the command's folder, not looked for on the PATH; a folder on the PATH may be relative."""
    for folder in ("lab", "elsewhere"):
        (tmp_path / folder).mkdir()
    for path in ("lab/openssl", "openssl", "elsewhere/other"):
        (tmp_path / path).write_text(f"#!/bin/sh\necho {path}\n", encoding="utf-8")
        (tmp_path / path).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"elsewhere{os.pathsep}{os.environ['PATH']}")
    said = [programs.run(command, "lab").stdout for command in ("./openssl version", "../openssl", "other")]
    assert said == ["lab/openssl\n", "openssl\n", "elsewhere/other\n"]
    with pytest.raises(failures.ProgramMissing, match="no program to run there"):
        programs.run("./curl --version", "lab")


def test_the_programs_of_this_python_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this Python's environment is not activated, its python and its packages' programs are run all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code = "import shutil, sys; print(sys.prefix, bool(shutil.which('pytest')))"
    assert programs.run(f"python -c {shlex.quote(code)}", tmp_path).stdout == f"{sys.prefix} True\n"


USES = [programs.run, lambda *given: programs.serving(*given).__enter__()]
NO_COMMANDS: list[tuple[str, type[Exception], str]] = [
    ("", errors.OptionRefused, "command: it is empty"),
    (" \\\n ", errors.OptionRefused, "command: it is empty"),
    ("openssl 'x", errors.OptionRefused, "No closing quotation"),
    ("openssl x\\", errors.OptionRefused, "No escaped character"),
    ("''", failures.ProgramMissing, "not on the PATH"),
    (f"{PYTHON} \0", failures.ProgramMissing, "cannot be started"),
    ("./no-program", failures.ProgramMissing, "cannot be started (Exec format error)"),
]


@pytest.mark.parametrize("use", USES)
def test_a_command_that_is_none_is_refused(tmp_path: Path, use: Any) -> None:
    """An empty command, an open quote, a NUL and a file that no machine can run are errors of ours, with the cause."""
    (tmp_path / "no-program").write_bytes(b"\x7fNOPE")
    (tmp_path / "no-program").chmod(0o755)
    for command, error, says in NO_COMMANDS:
        refused = refusal(use, command, tmp_path)
        assert isinstance(refused, error), command
        assert says in str(refused), command


@pytest.mark.parametrize("use", USES)
def test_a_folder_that_is_none_is_named(tmp_path: Path, use: Any) -> None:
    """A folder that is missing, or a file, is named, and no program is blamed."""
    command = python(tmp_path, "")
    for folder in ("missing", "program.py", "nul\0"):
        with pytest.raises(errors.FileMissing, match="no such folder to run a program in; make it first") as refused:
            use(command, tmp_path / folder)
        assert refused.value.path == tmp_path / folder


def test_a_command_that_hangs_is_stopped(tmp_path: Path) -> None:
    """The error says so."""
    with pytest.raises(failures.ProgramTimeout, match=r"did not end within 0\.2 s") as caught:
        programs.run(python(tmp_path, "import time; time.sleep(60)"), tmp_path, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)


@no_modes
@pytest.mark.parametrize("end", ["exit 3", "sleep 60"], ids=["ends", "is stopped"])
def test_what_a_command_leaves_running_is_ended(tmp_path: Path, end: str) -> None:
    """A child that holds the outputs of a command neither makes it wait nor outlives it, timed out or not.

    It is a shell, which starts in a hundredth of the time that it gets before it is stopped.
    """
    (tmp_path / "program.sh").write_text(f"echo $$ > parent; sleep 60 & echo $! > child; {end}\n", encoding="utf-8")
    began = time.monotonic()
    if "exit" in end:
        assert programs.run("sh program.sh", tmp_path, timeout=30).exit_code == 3
    else:
        with pytest.raises(failures.ProgramTimeout):
            programs.run("sh program.sh", tmp_path, timeout=0.5)
    assert time.monotonic() - began < 20
    assert not is_alive(int((tmp_path / "parent").read_text()))
    assert is_gone(int((tmp_path / "child").read_text()))


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


@no_modes
def test_a_servers_children_are_gone_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the block a server and its child are gone, even those that do not mind SIGTERM."""
    monkeypatch.setattr(programs, "_GRACE_SECONDS", 0.2)
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with programs.serving(python(tmp_path, PARENT.format(ignoring=ignoring) + SERVER), tmp_path) as server:
        child = int((tmp_path / "child").read_text())
        assert is_alive(child)
        until = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < until:
            time.sleep(0.01)
    assert is_gone(child)
    assert is_gone(server.pid)
    assert not any(reader.is_alive() for reader in server._readers)  # nobody holds its outputs


@no_modes
def test_a_server_is_gone_when_its_notebook_is(tmp_path: Path) -> None:
    """Killed, which no `finally` sees, the Python that serves takes the server and its child along."""
    (tmp_path / "server.py").write_text(PARENT.format(ignoring="pass") + SERVER, encoding="utf-8")
    code = f"""\
import time
from mtlslab.notebook.programs import serving
with serving("{PYTHON} server.py", ".") as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    notebook = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with notebook:
        assert notebook.stdout
        server = int(notebook.stdout.readline())
        child = int((tmp_path / "child").read_text())
        assert is_alive(child)
        notebook.kill()
    assert is_gone(server)
    assert is_gone(child)


@pytest.mark.skipif(os.name == "nt", reason="asks for a process by its id")
def test_a_server_is_gone_when_its_block_is_interrupted(tmp_path: Path) -> None:
    """A cell that is interrupted, or that fails, leaves no process behind: `except Exception` would not do."""
    with pytest.raises(KeyboardInterrupt), programs.serving(python(tmp_path, SERVER), tmp_path) as server:
        raise KeyboardInterrupt
    assert not is_alive(server.pid)


def test_a_server_that_dies_is_quoted(tmp_path: Path) -> None:
    """The error holds the program's exit code and what it wrote to stderr."""
    command = python(tmp_path, "import sys; sys.exit('no such file: server.crt')")
    with (
        pytest.raises(failures.ProgramFailed, match=r"exit code 1; it said: no such file: server\.crt"),
        programs.serving(command, tmp_path),
    ):
        pass


def test_a_server_that_never_listens_is_given_up(tmp_path: Path) -> None:
    """A program that says nothing within the time limit is ended, and named."""
    command = python(tmp_path, "import time; time.sleep(60)")
    with (
        pytest.raises(failures.ProgramFailed, match=r"does not say where it listens; it said: nothing") as caught,
        programs.serving(command, tmp_path, timeout=0.05),
    ):
        pass
    assert caught.value.exit_code is None


LISTENS = """\
import socket, sys, time
listener = socket.create_server(("127.0.0.1", {port}))
port = listener.getsockname()[1]
print({words}, file=sys.{stream}, flush=True)
time.sleep(60)
"""


NO_PORTS = ("started at 12:30:45", "12:30", "server.py:45", "a@b.c:45", "localhost:99999", "localhost:0", "[45]: 45")
ANNOUNCED = "[2026-11-25 12:30:45 +0000] [45] [INFO] Listening at: https://127.0.0.1:{port} (4711)"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_port_is_a_port(tmp_path: Path, stream: str) -> None:
    """What a server says when it listens is understood; the time, a file's line or a number too large is no port."""
    code = f"import sys; print(*{NO_PORTS}, sep='\\n', file=sys.{stream})\n"
    code += LISTENS.format(port=0, words=f'f"{ANNOUNCED}"', stream=stream)
    with programs.serving(python(tmp_path, code), tmp_path) as server:
        socket.create_connection(("127.0.0.1", server.port)).close()


def test_every_server_s_words_are_understood() -> None:
    """An IPv6 address, a star, no address, and a URL beside another number: of each, the port; of no port, nothing."""
    said = ["ACCEPT [::1]:4711", "ACCEPT *:4711", "listening on :4711"]
    said.append("Serving HTTPS on :: port 1 (https://[::]:4711/) ...")
    assert [re.findall(programs._ANNOUNCEMENT, line) for line in said] == [["4711"]] * 4
    assert re.findall(programs._ANNOUNCEMENT, "at :12:30:45 by :1.2, localhost:45th, 127.0.0.1:1-2") == []


def test_a_free_port_is_none_that_a_system_gives_away() -> None:
    """Between its choice and the program's start, no other program is given it by asking for any port."""
    assert all(20_000 <= programs.free_port() < 32_000 for _ in range(20))


def test_how_a_server_announces_itself_can_be_told(tmp_path: Path) -> None:
    """A regular expression finds the port in other words, or the moment at which a port given beforehand is ready."""
    code = LISTENS.format(port=0, words='f"see localhost:1\\nready, door {port}"', stream="stdout")
    with programs.serving(python(tmp_path, code), tmp_path, announced=r"door (\d+)") as server:
        socket.create_connection(("127.0.0.1", server.port)).close()
    port = programs.free_port()
    code = LISTENS.format(port=port, words='"ready"', stream="stderr")
    with programs.serving(python(tmp_path, code), tmp_path, announced="^ready", port=port) as server:
        assert server.url == f"https://localhost:{port}"
        assert server.wait_for("read.") == "ready"
    with pytest.raises(errors.OptionRefused, match="announced: it has no group"):
        programs.serving(python(tmp_path, code), tmp_path, announced="^ready").__enter__()


def test_a_silent_server_is_waited_for_at_its_port(tmp_path: Path) -> None:
    """A server that says nothing is there once its port answers; a port that answers before is another's."""
    port = programs.free_port()
    command = python(tmp_path, LISTENS.format(port=port, words="input()", stream="stderr"))
    with programs.serving(command, tmp_path, port=port, stdin="a configuration\n") as server:
        assert server.port == port
        assert server.wait_for("config") == "a configuration"
        with pytest.raises(errors.PortInUse), programs.serving(command, tmp_path, port=port):
            pass
    with (
        pytest.raises(failures.ProgramFailed, match="exit code 1; it said: no"),
        programs.serving(python(tmp_path, "import sys; sys.exit('no')"), tmp_path, port=port),
    ):
        pass


def test_a_line_of_the_log_can_be_waited_for(tmp_path: Path) -> None:
    """What a server says of a caller is there when it is asked for; what it does not say is named."""
    code = LISTENS.format(port=0, words='f"localhost:{port}"', stream="stdout")
    code = code.replace("time.sleep(60)", "listener.accept(); print('refused: no certificate', file=sys.stderr)")
    with programs.serving(python(tmp_path, code), tmp_path) as server:
        with pytest.raises(failures.ProgramFailed, match="does not say 'refused'"):
            server.wait_for("refused", timeout=0.05)
        socket.create_connection(("127.0.0.1", server.port)).close()
        assert server.wait_for("refused") == "refused: no certificate"
        with pytest.raises(failures.ProgramFailed, match="ended with exit code 0"):
            server.wait_for("forgiven")
