"""Two files that belong together, a secret and what goes with it: replaced as one step, and read as a whole.

No notebook rebuilds this. A credential is saved by it (client.key, client.crt), and a recording for Wireshark.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from mtlslab import errors

_Read = TypeVar("_Read")
_Reader = Callable[[Path], object]


def read_pair(read: Callable[[Path], _Read], public_path: Path) -> _Read:
    """Return what `read` makes of a pair, given its public file. Nothing is written.

    While another process saves the pair, the old one is read, or the new one; so it is where a save was killed.
    `read` raises `errors.KeyMismatch` for two files that do not belong together.
    """
    tries = 10
    while True:
        try:
            return read(public_path)
        except (errors.FileMissing, errors.FileUnreadable, errors.KeyMismatch) as error:
            with suppress(errors.FileRefused, errors.KeyMismatch):  # between the two steps of a save
                return read(_hidden(public_path))
            tries -= 1
            if not tries or not (isinstance(error, errors.KeyMismatch) or os.name == "nt"):
                raise
        time.sleep(0.005)  # the save may have ended between one file and the other


def save_pair(
    secret: tuple[Path, bytes], public: tuple[Path, bytes], overwrite: bool, read: _Reader | None = None
) -> None:
    """Write two files of one folder, a secret (mode 0600) and what belongs to it (0644), as one step.

    All is written under hidden names first, then renamed, the secret before the other. Savers take turns. One that
    fails leaves the old pair; one that is killed, the old pair or the new, whose second half may still be hidden until
    the next save: `read_pair` looks there, and `read` is as it is there. A symbolic link is replaced, and not followed.
    Raises `errors.FileInTheWay`, `errors.FileUnwritable`.
    """
    folder = secret[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _taking_turns(folder):
            for path in (public[0], secret[0]):
                if os.path.lexists(path) and not (overwrite and (path.is_file() or path.is_symlink())):
                    cure = "save elsewhere, or pass overwrite=True to replace it"
                    raise errors.FileInTheWay(path, "the file exists" if path.is_file() else "it is no file", cure)
            _finish_killed_save(secret[0], public[0], read)
            _replace_pair(*secret, *public)
    except errors.FileInTheWay:
        raise
    except (OSError, ValueError) as error:
        problem = f"the pair cannot be written ({getattr(error, 'strerror', None) or error})"
        cure = "check that this is a folder you may write to, and that the disk has room"
        raise errors.FileUnwritable(folder, problem, cure) from error


_TURNS: dict[int, int] = {}
"""The lock that each thread holds on a folder, or that was left to it by an interruption."""


@contextmanager
def _taking_turns(folder: Path) -> Iterator[None]:
    """Let one saver at a time into a folder. The system ends a turn with the process that has it."""
    me = threading.get_ident()
    if me in _TURNS:
        os.close(_TURNS.pop(me))
    if sys.platform == "win32":  # has no locks on folders
        import msvcrt

        _TURNS[me] = os.open(folder / ".saving", os.O_RDWR | os.O_CREAT)
        with suppress(OSError):
            msvcrt.locking(_TURNS[me], msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        _TURNS[me] = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(_TURNS[me], fcntl.LOCK_EX)
    try:
        yield
    finally:
        if sys.platform != "win32":
            with suppress(OSError):  # a child that another thread has forked meanwhile holds the folder open, too
                fcntl.flock(_TURNS[me], fcntl.LOCK_UN)
        os.close(_TURNS.pop(me))


def _hidden(path: Path) -> Path:
    return path.parent / f".{path.name}.new"


def _write_new(path: Path, data: bytes, mode: int) -> None:
    # Created with mode 0600: there is no moment at which others can read it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


def _move(source: Path, target: Path) -> None:
    for _ in range(100 if os.name == "nt" else 0):  # where nobody can replace a file while another reads it
        with suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(0.01)
    source.replace(target)


def _replace_pair(secret_path: Path, secret: bytes, public_path: Path, public: bytes) -> None:
    new_secret, new_public = _hidden(secret_path), _hidden(public_path)
    old_secret = secret_path.read_bytes() if secret_path.is_file() else None
    try:
        _write_new(new_secret, secret, 0o600)
        _write_new(new_public, public, 0o644)
        _move(new_secret, secret_path)
        _move(new_public, public_path)
    except BaseException:
        between = new_public.exists() and not new_secret.exists()
        try:
            if between and old_secret is None:
                secret_path.unlink()
            elif between:
                _write_new(new_secret, old_secret or b"", 0o600)
                _move(new_secret, secret_path)
            new_public.unlink(missing_ok=True)
        finally:
            new_secret.unlink(missing_ok=True)
        raise


def _finish_killed_save(secret_path: Path, public_path: Path, read: _Reader | None) -> None:
    """Take the second step of a save that was killed after the first, and remove what is left of any other."""
    for left in (*secret_path.parent.glob(".*.key.new"), _hidden(secret_path)):
        left.unlink(missing_ok=True)
    if read is not None:
        with suppress(errors.FileRefused, errors.KeyMismatch):
            read(_hidden(public_path))  # raises unless the two belong together
            _move(_hidden(public_path), public_path)
    _hidden(public_path).unlink(missing_ok=True)
