"""The command line: `python -m mtlslab diagnose https://host:port --cacert ca.crt --cert client.crt --key client.key`.

Exit status: 0 when all is well, 1 when something was found, 2 on bad usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mtlslab import errors
from mtlslab.diagnosis import diagnose


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. argparse itself exits with 2 on bad usage."""
    parser = argparse.ArgumentParser(prog="python -m mtlslab", description="Mutual TLS by hand and by name.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("diagnose", help="find out why a connection fails", description="Files are PEM.")
    command.add_argument("url", help="such as https://localhost:3000")
    command.add_argument("--cacert", metavar="FILE", help="the CAs to trust (default: the system's)")
    command.add_argument("--cert", metavar="FILE", help="the client's certificate, then its intermediates")
    command.add_argument("--key", metavar="FILE", help="its private key (default: looked for in --cert)")
    command.add_argument("--tls-max", choices=("1.2", "1.3"), help="the highest TLS version to offer")
    command.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="for each step (default: 5)")
    command.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        found = diagnose(
            options.url,
            cacert=options.cacert,
            cert=options.cert,
            key=options.key,
            tls_max=options.tls_max,
            timeout=options.timeout,
        )
    except errors.OptionRefused as error:
        parser.error(str(error))
    print(found.to_json() if options.json else found)  # noqa: T201 (this is the command line)
    return 0 if found.healthy else 1


if __name__ == "__main__":
    sys.exit(main())
