"""Other people's programs: found on the PATH, run as typed, and gone afterwards.

A command runs without a shell, in a folder, with a time limit, and in a clean environment: no proxy, no
configuration file, no certificate store but the system's. So it does on every machine what its words say.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal

from mtlslab import errors

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
    "PATH",
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


def find(name: str) -> Path:
    """Return where a program is. One of `PROGRAMS` must also be of the build that the course needs.

    Raises `errors.ProgramMissing`, with how to install it here.
    """
    found = shutil.which(name)
    program = PROGRAMS.get(name)
    cure = f"install it: {program.install[system()]}" if program else "install it, or give its whole path"
    if found is None:
        raise errors.ProgramMissing(name, "it is not on the PATH", cure)
    if program and not re.search(program.pattern, version := _version(found, program.version), re.MULTILINE):
        said = version.splitlines()[0] if version.strip() else "nothing about its version"
        raise errors.ProgramMissing(name, f"it says {said!r}, and the course needs {program.wanted}", cure)
    return Path(found)


@lru_cache
def _version(path: str, argument: str) -> str:
    try:
        ran = subprocess.run(
            [path, argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout


def missing(*names: str) -> tuple[errors.ProgramMissing, ...]:
    """Return an error for each program that is missing, in the order of `names`: empty if all are there."""
    found: list[errors.ProgramMissing] = []
    for name in names:
        try:
            find(name)
        except errors.ProgramMissing as error:
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
    return kept | dict.fromkeys(_HOME_VARIABLES, home) | {"LC_ALL": "C"}


def run(command: str, folder: str | os.PathLike[str], *, stdin: str = "", timeout: float = 20.0) -> Outcome:
    """Run a command line in `folder`, and return what became of it, whatever its exit code.

    `command` is split into words as a shell does; there is no shell, so no pipes, variables or redirections. `stdin`
    is what the program reads. Raises `errors.ProgramMissing`, and `errors.ProgramTimeout` after `timeout` seconds.
    """
    try:
        ran = subprocess.run(
            _words(command),
            cwd=folder,
            env=clean_environment(folder),
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise errors.ProgramTimeout(command, timeout) from None
    return Outcome(command, ran.returncode, ran.stdout, ran.stderr)


def _words(command: str) -> list[str]:
    name, *arguments = shlex.split(command.replace("\\\n", " "))
    return [str(find(name)), *arguments]


# --- servers --------------------------------------------------------------------------------------

_ANNOUNCEMENT = re.compile(r":(\d{1,5})$")
"""How a server says where it listens: a line that ends in a colon and the port. `openssl s_server` does by itself."""

_GRACE_SECONDS = 2.0
"""How long a server may take to end when asked to, before it is made to."""


class Running:
    """A server program that listens. Attributes: `command` (as typed), `port`, `url`, `pid`."""

    def __init__(self, command: str, process: subprocess.Popen[str]) -> None:
        self.command = command
        self.pid = process.pid
        self.port = 0
        self._process = process
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._announced = threading.Event()
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

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines[name].append(line.rstrip())
                if name == "stdout" and not self.port and (found := _ANNOUNCEMENT.search(line.rstrip())):
                    self.port = int(found[1])
                    self._announced.set()
        self._announced.set()  # it has ended, or never will say

    def _wait_until_it_listens(self, timeout: float) -> None:
        self._announced.wait(timeout)
        if not self.port:
            with suppress(subprocess.TimeoutExpired):  # between the end of its output and its own
                self._process.wait(1 if self._announced.is_set() else 0)
            exit_code = self._process.poll()
            _end(self._process)
            self._read_the_rest()
            raise errors.ProgramFailed(self.command, exit_code, "\n".join(self._lines["stderr"]))

    def _read_the_rest(self) -> None:
        for reader in self._readers:
            reader.join(2)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process, if it has not ended by itself, and wait until it is gone."""
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
    finally:  # also where this is interrupted in its turn
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def serving(command: str, folder: str | os.PathLike[str], *, timeout: float = 10.0) -> Iterator[Running]:
    """Start a server program in `folder`, wait until it listens, and end it when the block ends, however it ends.

    The program chooses a free port of the loopback itself (it is told to listen on port 0), and says which: its first
    line on stdout that ends in ":PORT". So no port is taken by another program between the choice and the use.
    Raises `errors.ProgramMissing`, and `errors.ProgramFailed` with the program's stderr if it ends, or says nothing
    for `timeout` seconds.
    """
    words = _words(command)
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=clean_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    running = None
    try:
        running = Running(command, process)
        running._wait_until_it_listens(timeout)
        yield running
    finally:
        _end(process)
        if running is not None:
            running._read_the_rest()
