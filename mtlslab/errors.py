"""The package's exceptions: each says what is wrong, where, and what to do about it.

Every one is an `MtlslabError` and also the built-in exception that a caller would expect, so that
`except FileExistsError` or `except ValueError` works. No message ever holds key material.
"""

from __future__ import annotations

from pathlib import Path


class MtlslabError(Exception):
    """Base of every exception that mtlslab raises on purpose."""


class NameRefused(MtlslabError, ValueError):
    """A name that may not stand in a certificate or a file name.

    Fields: `name` (the text refused) and `rule` (what it breaks, with its RFC section).
    """

    def __init__(self, name: str, rule: str) -> None:
        self.name, self.rule = name, rule
        super().__init__(f"the name {name!r} is refused: {rule}")


class CSRRefused(MtlslabError, ValueError):
    """A certificate signing request that the CA does not sign.

    Fields: `reason` (one of "bad-signature", "weak-key", "wants-ca", "wants-purpose", "no-san",
    "bad-name", "bad-request") and `detail` (the sentence that explains it and names the cure).
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


class CannotIssue(MtlslabError, ValueError):
    """What was asked of a CA cannot be signed by it, whatever the request says: the message tells why."""


class KeyTypeRefused(MtlslabError, ValueError):
    """A kind of private key that mtlslab does not make, or one too weak to use."""


class FileRefused(MtlslabError):
    """A PEM file that cannot be used.

    Fields: `path`, `problem` and `cure`. The subclasses tell a missing file, an unreadable one
    and one with the wrong contents apart.
    """

    def __init__(self, path: Path, problem: str, cure: str) -> None:
        self.path, self.problem, self.cure = path, problem, cure
        super().__init__(f"{path}: {problem}; {cure}")


class FileMissing(FileRefused, FileNotFoundError):
    """There is no such file."""


class FileUnreadable(FileRefused, PermissionError):
    """The file is there, but may not be read."""


class FileContents(FileRefused, ValueError):
    """The file can be read, but does not hold what it should."""


class FileInTheWay(FileRefused, FileExistsError):
    """A file of this name exists, and overwriting was not asked for."""


class FileUnwritable(FileRefused, OSError):
    """The files cannot be written into this folder."""


class KeyMismatch(MtlslabError, ValueError):
    """A private key and a certificate that do not belong together."""


class PortInUse(MtlslabError, OSError):
    """The port that was asked for is taken by another program.

    Field: `port`.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"port {port} is in use; stop the program that holds it, or leave out port= to get a free one")


class OptionRefused(MtlslabError, ValueError):
    """An argument that cannot be used. Fields: `option` (its name), `problem` (what is wrong, and the cure)."""

    def __init__(self, option: str, problem: str) -> None:
        self.option, self.problem = option, problem
        super().__init__(f"{option}: {problem}")


class NotStarted(MtlslabError, RuntimeError):
    """A server was asked for its address before it had one."""


class TranscriptError(MtlslabError, ValueError):
    """Recorded bytes that are not a TLS handshake: cut short, changed, or something else altogether.

    Fields: `sender` ("client", "server"; "key log" for the key log's text), `record` (which one, counted from 0 in
    the order in which they crossed; which line, in a key log), `offset` (which byte of it, the header included)
    and `reason`.
    """

    def __init__(self, sender: str, record: int, offset: int, reason: str) -> None:
        self.sender, self.record, self.offset, self.reason = sender, record, offset, reason
        super().__init__(f"record {record} (from the {sender}), byte {offset}: {reason}")


class ProgramMissing(MtlslabError, FileNotFoundError):
    """A program that is not on the PATH, or is there in a build that the course cannot use.

    Fields: `program` (its name), `problem` and `cure` (how to install it on this machine).
    """

    def __init__(self, program: str, problem: str, cure: str) -> None:
        self.program, self.problem, self.cure = program, problem, cure
        super().__init__(f"{program}: {problem}; {cure}")


class ProgramFailed(MtlslabError, RuntimeError):
    """A server program that ended, or stayed silent, instead of saying what was awaited: where it listens, if not told.

    Fields: `command` (as typed), `exit_code` (None: it still ran) and `stderr` (its own words).
    """

    def __init__(self, command: str, exit_code: int | None, stderr: str, awaited: str = "say where it listens") -> None:
        self.command, self.exit_code, self.stderr = command, exit_code, stderr
        what = f"does not {awaited}" if exit_code is None else f"ended with exit code {exit_code}"
        super().__init__(f"{command!r} {what}; it said: {stderr.strip() or 'nothing'}")


class ProgramTimeout(MtlslabError, TimeoutError):
    """A command that did not end in time, and was stopped. Fields: `command` (as typed), `seconds`."""

    def __init__(self, command: str, seconds: float) -> None:
        self.command, self.seconds = command, seconds
        super().__init__(f"{command!r} did not end within {seconds:g} s, and was stopped")


class IdentityRefused(MtlslabError, ValueError):
    """A certificate that is verified, or not, but names nobody by the rules that were asked for.

    Fields: `rule` (where it stands: "X509-SVID §2", "RFC 5280 §4.2.1.6") and `problem` (how the certificate breaks it).
    """

    def __init__(self, rule: str, problem: str) -> None:
        self.rule, self.problem = rule, problem
        super().__init__(f"{problem} ({rule})")


class ServerFailed(MtlslabError, RuntimeError):
    """A server in a thread of this process that ended, or stayed silent, instead of answering.

    Fields: `server` (its name) and `problem` (what it died of, in its own words).
    """

    def __init__(self, server: str, problem: str) -> None:
        self.server, self.problem = server, problem
        super().__init__(f"{server} does not serve: {problem}; see its options")


class HeaderRefused(MtlslabError, ValueError):
    """A header that should hold the caller's certificate, as a proxy hands it on, and may not be believed.

    Fields: `header` (its usual name), `rule` (what its value breaks, with the RFC's section where there is one) and
    `absent` (True where the value is a proxy's way of saying that the caller showed no certificate).
    """

    def __init__(self, header: str, rule: str, *, absent: bool = False) -> None:
        self.header, self.rule, self.absent = header, rule, absent
        super().__init__(f"{header}: {rule}")
