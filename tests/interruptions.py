"""Saves that are interrupted, or killed, at each of their lines."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from mtlslab import Credential
from mtlslab import pairs as saving
from mtlslab.credentials import certificate_pem, private_key_pem


def interrupt_after(lines: int, how: Callable[[], None]) -> Callable[..., Any]:
    """Return a trace function that calls `how` once a save has done so many lines of its work on files."""
    left, at_work = lines, False

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        nonlocal left, at_work
        if frame.f_code.co_filename != saving.__file__:
            return None
        at_work = at_work or frame.f_code.co_name == saving._replace_pair.__name__
        if at_work and event == "line":
            left -= 1
            if left < 0:
                how()
        return trace

    return trace


def save_until(lines: int, how: Callable[[], None], credential: Credential, folder: Path) -> bool:
    """Save a credential over what is there, but be interrupted after so many lines; return whether it was finished."""
    before = sys.gettrace()
    sys.settrace(interrupt_after(lines, how))
    try:
        credential.save(folder, "client", overwrite=True)
    except KeyboardInterrupt:
        return False
    finally:
        sys.settrace(before)
    return True


def write(credential: Credential, folder: Path) -> None:
    """Put a pair where it belongs, in a folder that was emptied."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "client.crt").write_bytes(certificate_pem(credential.certificate))
    (folder / "client.key").write_bytes(private_key_pem(credential.private_key))


def kill_at_every_line() -> None:
    """Run in a process of its own, without other threads, so that it can fork, and small, so that it forks quickly."""
    setattr(os, "fsync", lambda _: None)  # noqa: B010 # nobody cuts the power
    folder = Path("work")
    old, middle, new = (Credential.load(".", f"pair-{number}") for number in range(3))
    names = {old.certificate: "old", middle.certificate: "middle", new.certificate: "new"}

    def killed(lines: int, credential: Credential) -> bool:
        child = os.fork()
        if child == 0:
            save_until(lines, lambda: os._exit(9), credential, folder)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    def found() -> str:
        return names[Credential.load(folder, "client").certificate]

    write(old, folder)
    lines, after_one = 0, set()
    states: set[tuple[tuple[Path, bytes], ...]] = set()
    while killed(lines, new):
        states.add(tuple(sorted((path, path.read_bytes()) for path in folder.iterdir())))
        after_one.add(found())
        write(old, folder)
        lines += 1
    # The worst state to begin from: the new key is in place, its certificate is not.
    new_key, old_certificate = private_key_pem(new.private_key), certificate_pem(old.certificate)
    between = next(
        s for s in map(dict, states) if s[folder / "client.key"] == new_key and old_certificate in s.values()
    )
    after_two, lines, more = set(), 0, True
    while more:
        for path, data in between.items():
            path.write_bytes(data)
        more = killed(lines, middle)
        after_two.add(found())
        lines += 1
    sys.stdout.write(f"after one: {', '.join(sorted(after_one))}; after two: {', '.join(sorted(after_two))}")
