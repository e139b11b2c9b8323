"""The command line: `python -m mtlslab diagnose https://host:port --cacert ca.crt --cert client.crt --key client.key`,
and `probe`, which attacks one's own deployment behind a proxy.

Exit status: 0 when all is well, 1 when something was found, 2 on bad usage.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from mtlslab.diagnosis import command as diagnose
from mtlslab.probe import command as probe

COMMANDS = (diagnose, probe)
"""Each adds its parser with `add_to`, and that parser's default `run` does the work and returns the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status. argparse itself exits with 2 on bad usage."""
    parser = argparse.ArgumentParser(prog="python -m mtlslab", description="Mutual TLS by hand and by name.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name in the text may be more than this terminal's encoding has
        sys.stdout.reconfigure(errors="backslashreplace")
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
