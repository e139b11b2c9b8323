"""Other people's programs: found on the PATH, run as typed, and gone afterwards.

A command runs without a shell, in a folder, with a time limit, and in a clean environment: no proxy, no
configuration file, no certificate store but the system's. So it does on every machine what its words say.
Whatever it starts in its turn ends with it.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal, TypeVar

from mtlslab import errors, failures

System = Literal["Debian/Ubuntu", "macOS", "Windows"]


@dataclass(frozen=True)
class Program:
    """A program that some notebooks run.

    Fields: `name`, as typed; `wanted`, the build that the course needs, in words; `version`, the argument that makes it
    tell its version, and `pattern`, what is to be found there; `install`, how to get it, by system.
    """

    name: str
    wanted: str
    version: str
    pattern: str
    install: Mapping[System, str]


PROGRAMS: dict[str, Program] = {
    "openssl": Program(
        "openssl",
        "OpenSSL 3",
        "version",
        r"^OpenSSL (?:[3-9]|\d\d)\.",  # macOS ships LibreSSL under this name
        {
            "Debian/Ubuntu": "sudo apt install openssl",
            "macOS": "brew install openssl@3, then put its bin (see brew --prefix openssl@3) first on the PATH",
            "Windows": "winget install Git.Git, then put its folder mingw64/bin first on the PATH",
        },
    ),
    "curl": Program(
        "curl",
        "curl built on OpenSSL 3",
        "--version",
        r"^curl .* OpenSSL/(?:[3-9]|\d\d)\.",  # macOS builds on LibreSSL, Windows on Schannel
        {
            "Debian/Ubuntu": "sudo apt install curl ca-certificates",
            "macOS": "brew install curl, then put its bin (see brew --prefix curl) first on the PATH",
            "Windows": "winget install Git.Git, then put its folder mingw64/bin first on the PATH",
        },
    ),
    "node": Program(
        "node",
        "Node.js 18 or newer",
        "--version",
        r"^v(?:1[89]|[2-9]\d)\.",
        {
            "Debian/Ubuntu": "sudo apt install nodejs",
            "macOS": "brew install node",
            "Windows": "winget install OpenJS.NodeJS.LTS",
        },
    ),
}
"""The programs of the article, by name."""

_KEPT_VARIABLES = (
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "TMPDIR",
    "TEMP",
    "TMP",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
)
"""What a program needs in order to start. Everything else stays out: `https_proxy` sends curl elsewhere, SSL_CERT_FILE
and NODE_EXTRA_CA_CERTS change whom a client trusts, OPENSSL_CONF what a certificate holds."""

_HOME_VARIABLES = ("HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "CURL_HOME")
"""Where programs look for their user's settings, such as .curlrc."""


# --- finding them ---------------------------------------------------------------------------------


def system() -> System:
    """Return which of the three kinds of machine this is; Linux counts as Debian."""
    return "macOS" if sys.platform == "darwin" else "Windows" if os.name == "nt" else "Debian/Ubuntu"


def find(name: str, folder: str | os.PathLike[str] = ".") -> Path:
    """Return where a program is. One of `PROGRAMS` must also be of the build that the course needs.

    A name with a slash in it is a path, seen from `folder`; any other is looked for on the PATH, after the programs
    that were installed with this Python's packages. Raises `errors.ProgramMissing`, with how to install it here.
    """
    is_path = Path(name).name != name
    found = shutil.which(str(Path(folder).absolute() / name) if is_path else name, path=_search_path())
    program = PROGRAMS.get(name)
    cure = f"install it: {program.install[system()]}" if program else "install it, or give its whole path"
    if found is None:
        problem = "there is no program to run there" if is_path else "it is not on the PATH"
        raise failures.ProgramMissing(name, problem, cure)
    path = Path(found).absolute()
    if program and not re.search(program.pattern, version := _version(path, program.version), re.MULTILINE):
        said = version.splitlines()[0] if version.strip() else "nothing about its version"
        raise failures.ProgramMissing(name, f"it says {said!r}, and the course needs {program.wanted}", cure)
    return path


def _search_path() -> str:
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


@lru_cache
def _version(path: Path, argument: str) -> str:
    try:
        return _run(path.name, [str(path), argument], Path.cwd(), "", 20).stdout
    except (failures.ProgramMissing, failures.ProgramTimeout):
        return ""


def missing(*names: str) -> tuple[failures.ProgramMissing, ...]:
    """Return an error for each program that is missing, in the order of `names`: empty if all are there."""
    found: list[failures.ProgramMissing] = []
    for name in names:
        try:
            find(name)
        except failures.ProgramMissing as error:
            found.append(error)
    return tuple(found)


# --- running them ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a command. Fields: `command` (as typed), `exit_code`, `stdout`, `stderr`."""

    command: str
    exit_code: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)

    @property
    def ok(self) -> bool:
        """True for exit code 0."""
        return self.exit_code == 0

    @property
    def output(self) -> str:
        """What a terminal would show, first stdout, then stderr."""
        return self.stdout + self.stderr


def clean_environment(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return the environment that commands get: what they need to start, with `folder` as their home."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    home = str(Path(folder).resolve())
    settings = {"PATH": _search_path(), "LC_ALL": "C", "PYTHONUNBUFFERED": "1"}
    return kept | dict.fromkeys(_HOME_VARIABLES, home) | settings


def run(command: str, folder: str | os.PathLike[str], *, stdin: str = "", timeout: float = 20.0) -> Outcome:
    """Run a command line in `folder`, and return what became of it, whatever its exit code.

    `command` is split into words as a shell does; there is no shell, so no pipes, variables or redirections. `stdin`
    is what the program reads. What it leaves running in the background is ended.
    Raises `errors.OptionRefused` for a command that is none, `errors.FileMissing` without the folder,
    `errors.ProgramMissing`, and `errors.ProgramTimeout` after `timeout` seconds.
    """
    return _run(command, _words(command, folder), folder, stdin, timeout)


def _run(command: str, words: list[str], folder: str | os.PathLike[str], stdin: str, timeout: float) -> Outcome:
    # Into files: a pipe would end no sooner than the last of the program's children.
    with _text_file() as stdout, _text_file() as stderr:
        with _started(words, folder, stdin, stdout, stderr) as process:
            try:
                exit_code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise failures.ProgramTimeout(command, timeout) from None
        stdout.seek(0)
        stderr.seek(0)
        return Outcome(command, exit_code, stdout.read(), stderr.read())


def _text_file(newline: str | None = None) -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", newline=newline)


def _words(command: str, folder: str | os.PathLike[str]) -> list[str]:
    try:
        words = shlex.split(command.replace("\\\n", " "))
    except ValueError as error:
        raise errors.OptionRefused("command", f"{command!r} cannot be split into words: {error}") from None
    if not words:
        raise errors.OptionRefused("command", "it is empty; begin with the name of a program")
    if not Path(folder).is_dir():
        raise errors.FileMissing(Path(folder), "there is no such folder to run a program in", "make it first")
    return [str(find(words[0], folder)), *words[1:]]


@contextmanager
def _started(
    words: list[str], folder: str | os.PathLike[str], stdin: str, stdout: IO[str] | int, stderr: IO[str] | int
) -> Iterator[subprocess.Popen[str]]:
    """Start a program, and end it and its children when the block ends, however it ends."""
    with _text_file(newline="") as given:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=clean_environment(folder),
                stdin=given,
                stdout=stdout,
                stderr=stderr,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # a group that can be ended as a whole; Windows does not look at it
            )
        except (OSError, ValueError) as error:
            problem = f"it cannot be started ({getattr(error, 'strerror', None) or error})"
            raise failures.ProgramMissing(words[0], problem, "check that it is a program for this machine") from None
        with _ended_with_its_children(process):
            yield process


# --- ending them ----------------------------------------------------------------------------------

_GRACE_SECONDS = 2.0
"""How long a server may take to end when asked to, before it is made to."""

if sys.platform == "win32":

    @contextmanager
    def _ended_with_its_children(process: subprocess.Popen[str]) -> Iterator[None]:
        """Put a process into a job, whose processes end with its handle: when the block ends, or this Python does."""
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32")
        kernel32.CreateJobObjectW.restype = ctypes.c_void_p
        job = ctypes.c_void_p(kernel32.CreateJobObjectW(None, None))
        limits = ctypes.create_string_buffer(
            144 if sys.maxsize > 2**32 else 112
        )  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
        limits[16:20] = (0x2000).to_bytes(4, "little")  # LimitFlags: JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        kernel32.SetInformationJobObject(job, 9, limits, len(limits))
        kernel32.AssignProcessToJobObject(job, ctypes.c_void_p(int(process._handle)))
        try:
            yield
        finally:
            kernel32.CloseHandle(job)
            process.kill()
            process.wait()

else:

    @contextmanager
    def _ended_with_its_children(process: subprocess.Popen[str]) -> Iterator[None]:
        """End a process's group when the block ends. A shell stands by to do so should this Python be killed."""
        shell = None
        try:
            stand_by = ["/bin/sh", "-c", 'read _; kill -s KILL -- "-$0"', str(process.pid)]  # read ends with our pipe
            shell = subprocess.Popen(
                stand_by,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            yield
        finally:
            try:
                _signal_group(process, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_SECONDS)
            finally:  # also where this is interrupted in its turn
                _signal_group(process, signal.SIGKILL)
                process.wait()
                if shell is not None:
                    shell.kill()
                    shell.communicate()

    def _signal_group(process: subprocess.Popen[str], number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # gone, in the words of Linux and of macOS
            os.killpg(process.pid, number)


# --- servers --------------------------------------------------------------------------------------

_ANNOUNCEMENT = r"""(?ix) (?<! [^\s/('"=] )
    (?: localhost | 127 (?:\.\d+){3} | 0\.0\.0\.0 | \[ [0-9a-f.]* : [0-9a-f:.]* \] | \* | )
    : (\d{1,5}) (?! \w | [.:-]\d )"""
"""How a server says where it listens: an address of this machine (or none), a colon, and the port."""

_Found = TypeVar("_Found")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on, for a program that has to be told one.

    It is below those that a system hands out by itself: another program would be given one of them, and be taken for
    this one, before this one has begun to listen.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Running:
    """A server program that listens. Attributes: `command` (as typed), `port`, `url`, `pid`."""

    def __init__(self, command: str, process: subprocess.Popen[str]) -> None:
        self.command = command
        self.pid = process.pid
        self.port = 0
        self._process = process
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def __repr__(self) -> str:
        return f"<Running {self.command!r}>"

    @property
    def url(self) -> str:
        """The server's address, https://localhost:PORT."""
        return f"https://localhost:{self.port}"

    @property
    def log(self) -> list[str]:
        """The lines that the program has printed so far, on stdout and then on stderr. Complete once it has ended."""
        return [*self._lines["stdout"], *self._lines["stderr"]]

    def wait_for(self, pattern: str, *, timeout: float = 5.0) -> str:
        """Return the first line of the log in which a regular expression is found, as soon as it is there.

        Raises `errors.ProgramFailed` when it is not there after `timeout` seconds, or when the program has ended.
        """
        wanted = re.compile(pattern)
        return self._wait(lambda: next(filter(wanted.search, self.log), None), timeout, f"say {pattern!r}")

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self._lines[name].append(line.rstrip())
                    self._news.notify_all()

    def _wait(self, look: Callable[[], _Found | None], timeout: float, awaited: str) -> _Found:
        """Return what `look` finds, looking again whenever the program has said something."""
        until = time.monotonic() + timeout
        while True:
            exit_code = self._process.poll()
            if exit_code is not None:
                self._read_the_rest()
            with self._news:
                if (found := look()) is not None:
                    return found
                if exit_code is not None or time.monotonic() > until:
                    said = "\n".join(self._lines["stderr"])
                    raise failures.ProgramFailed(self.command, exit_code, said, awaited)
                self._news.wait(0.01)  # or until there is news: that it has ended, or answers, is none

    def _wait_until_it_listens(self, announced: str | None, port: int, timeout: float) -> None:
        wanted = re.compile(announced or _ANNOUNCEMENT)
        if not port and not wanted.groups:
            raise errors.OptionRefused("announced", "it has no group for the port; add one, or pass port=")

        def look() -> int | None:
            if self._process.poll() is not None:  # whoever answers there now
                return None
            if port and announced is None:
                return port if _answers(port) else None
            said = (port or found[1] for line in self.log for found in wanted.finditer(line))
            return next((int(p) for p in said if str(p).isdecimal() and 0 < int(p) < 65536), None)

        self.port = self._wait(look, timeout, "say where it listens" if not port else f"listen on port {port}")

    def _read_the_rest(self) -> None:
        for reader in self._readers:
            reader.join(1)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def serving(
    command: str,
    folder: str | os.PathLike[str],
    *,
    announced: str | None = None,
    port: int = 0,
    stdin: str = "",
    timeout: float = 10.0,
) -> Iterator[Running]:
    """Start a server program in `folder`, wait until it listens, and end it when the block ends, however it ends.

    Best, the program chooses a free port of the loopback itself (it is told to listen on port 0) and says which, on
    stdout or stderr: as localhost:PORT, 127.0.0.1:PORT, [::1]:PORT, https://localhost:PORT or the like. One that says
    it in other words has them told by `announced`, a regular expression whose first group is the port. One that cannot
    choose is told a `free_port()`, and so is this: `port` is then waited for, by connecting to it, or, with
    `announced`, by what the program says. `stdin` is what it reads.
    Raises what `run` raises, `errors.PortInUse` where `port` is taken, and `errors.ProgramFailed` with the program's
    stderr if it ends, or does not listen for `timeout` seconds.
    """
    if port and _answers(port):
        raise errors.PortInUse(port)
    words, running = _words(command, folder), None
    try:
        with _started(words, folder, stdin, subprocess.PIPE, subprocess.PIPE) as process:
            running = Running(command, process)
            running._wait_until_it_listens(announced, port, timeout)
            yield running
    finally:
        if running is not None:
            running._read_the_rest()
