"""The exceptions of the wings: of recordings, of identities and headers, and of other people's programs.

They are made as those of the core are, and go by their names in `mtlslab.errors` as well.
"""

from __future__ import annotations

from mtlslab.errors import MtlslabError


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
