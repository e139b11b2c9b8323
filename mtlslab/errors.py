"""The package's exceptions: each says what is wrong, where, and what to do about it.

Every one is an `MtlslabError` and also the built-in exception that a caller would expect, so that
`except FileExistsError` or `except ValueError` works. No message ever holds key material.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING


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


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Find the exceptions of the wings; they work under their names here as well."""
        return getattr(import_module("mtlslab.failures"), name)
