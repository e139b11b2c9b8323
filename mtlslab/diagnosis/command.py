"""`python -m mtlslab diagnose`: its options, and its report."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mtlslab import errors
from mtlslab.diagnosis import Diagnosis, diagnose
from mtlslab.diagnosis.target import STARTTLS

_EXAMPLES = """\
What people type first:
  python -m mtlslab diagnose https://host:port --cacert ca.crt --cert client.crt --key client.key
  python -m mtlslab diagnose host:port --cacert ca.crt --cert client.p12 --password-file password.txt
  python -m mtlslab diagnose host:5432 --starttls postgres --cacert ca.crt --cert client.crt --key client.key
"""


def add_to(commands: Any) -> None:
    """Add this command to those of `argparse`."""
    command = commands.add_parser(
        "diagnose",
        help="find out why a connection fails",
        description="Find out why a connection fails. Every call verifies the server.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("url", help="such as https://localhost:3000, localhost:3000 or amqps://localhost")
    command.add_argument("--cacert", metavar="FILE", help="the CAs to trust (default: the system's)")
    command.add_argument("--cert", metavar="FILE", help="the client's certificate, then its intermediates; or PKCS#12")
    command.add_argument("--key", metavar="FILE", help="its private key (default: looked for in --cert)")
    command.add_argument("--password-file", metavar="FILE", help="its first line opens the private key, or PKCS#12")
    command.add_argument("--tls-max", choices=("1.2", "1.3"), help="the highest TLS version to offer")
    command.add_argument("--connect-to", metavar="HOST:PORT", help="dial this instead, and expect the URL's name there")
    command.add_argument("--servername", metavar="NAME", help="ask for this name (SNI), and expect it")
    command.add_argument("--starttls", choices=STARTTLS, help="ask for TLS first, in this protocol's way")
    command.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="for each step (default: 5)")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=partial(run, command))


def run(command: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Diagnose, print what was found, and return the exit status."""
    try:
        found = diagnose(
            options.url,
            cacert=options.cacert,
            cert=options.cert,
            key=options.key,
            tls_max=options.tls_max,
            password=password_of(command, options),
            timeout=options.timeout,
            connect_to=options.connect_to,
            server_name=options.servername,
            starttls=options.starttls,
        )
    except errors.OptionRefused as error:
        command.error(str(error))
    print(found.to_json() if options.json else "\n".join(_report(found)))  # noqa: T201 (this is the command line)
    return 0 if found.healthy else 1


_FILL = textwrap.TextWrapper(
    80, initial_indent="  ", subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False
)


def password_of(command: argparse.ArgumentParser, options: argparse.Namespace) -> str | None:
    """Return the first line of the file of --password-file, if there is one; exits with 2 if it cannot be read."""
    if not options.password_file:
        return None
    try:
        return next(iter(Path(options.password_file).read_text(encoding="utf-8").splitlines()), "")
    except (OSError, UnicodeDecodeError) as error:
        command.error(f"--password-file: {options.password_file!r} cannot be read ({error})")


def _report(found: Diagnosis) -> Iterator[str]:
    """Write what was found in lines that fit a terminal; a command to type stays on one line, however long."""
    if found.healthy:
        yield repr(found)
    for finding in found.findings:
        yield f"{finding.likelihood}: {finding.cause}"
        for label, text in (("what", finding.what), ("seen", finding.evidence), ("cure", finding.cure)):
            yield _FILL.fill(f"{label}: {text}")
    for unknown in found.unknown:
        yield f"not known here: {unknown.what}; at the other end, type\n        {unknown.command}"
