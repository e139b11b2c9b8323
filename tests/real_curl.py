"""Many requests by one run of the real curl: to start it takes longer than a request."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


def exit_codes(requests: Sequence[tuple[str, dict[str, Path], *tuple[str, ...]]]) -> list[int]:
    """Let the real curl make requests, each by itself as if it were another curl's; return its exit code for each.

    A request is a URL, files by curl's names for them, and further options. No connection is kept, and no session.
    """
    each = ["-sS", "-o", os.devnull, "--noproxy", "*", "--max-time", "10", "--no-sessionid", "-H", "Connection: close"]
    words: list[str] = []
    for url, files, *more in requests:
        named = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        words += ["--next", *each, "-w", "%{exitcode}\n", *more, *named, url]
    command = ["curl", "-q", *words[1:]]  # before the first URL, there is no next one
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    codes = [int(line) for line in done.stdout.split()]
    assert codes, done.stderr
    left = requests[len(codes) :]  # after what it takes for a fault of its own, such as 27, curl makes no more
    return [*codes, *(exit_codes(left) if left else ())]
