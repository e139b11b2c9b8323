"""`python -m mtlslab probe`: its options, and its report."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Any

from mtlslab import errors
from mtlslab.diagnosis.command import password_of
from mtlslab.probe.prober import MOST_REQUESTS, Report, probe

_DESCRIPTION = f"""Attack a deployment of your own with forged identities, and see which the application believes.
The URL's answer must say who is calling. Files are PEM. At most {MOST_REQUESTS} requests; no private key is ever sent.
Exit status: 0 when nothing got through, 1 when something did, 2 when it could not be tried."""


def add_to(commands: Any) -> None:
    """Add this command to those of `argparse`."""
    command = commands.add_parser(
        "probe", help="attack your own proxy with forged identities", description=_DESCRIPTION
    )
    command.add_argument("url", help="a path that says who is calling, such as https://localhost:3000/whoami")
    command.add_argument("--cert", metavar="FILE", required=True, help="a client's certificate that is let in")
    command.add_argument("--key", metavar="FILE", help="its private key (default: looked for in --cert)")
    command.add_argument("--password-file", metavar="FILE", help="its first line opens the private key")
    command.add_argument(
        "--victim", metavar="FILE", required=True, help="another client's certificate, without its key"
    )
    command.add_argument("--cacert", metavar="FILE", help="the CAs of the server's certificate (default: the system's)")
    command.add_argument("--direct", metavar="URL", help="the application itself, past the proxy")
    command.add_argument("--public", metavar="NAME", help="another name of this server, that needs no certificate")
    command.add_argument("--this-is-mine", metavar="HOST", help="the URL's host once more, if it is another machine's")
    command.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="for each step (default: 5)")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=partial(run, command))


def run(command: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Probe, print what was seen, and return the exit status."""
    try:
        report = probe(
            options.url,
            cert=options.cert,
            key=options.key,
            victim=options.victim,
            cacert=options.cacert,
            direct=options.direct,
            public=options.public,
            password=password_of(command, options),
            this_is_mine=options.this_is_mine,
            timeout=options.timeout,
        )
    except errors.MtlslabError as error:
        command.error(str(error))
    print(report.to_json() if options.json else "\n".join(_lines(report)))  # noqa: T201 (this is the command line)
    return 1 if report.through else 0


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.requests} requests to {report.url}; me: {report.me}, the victim: {report.victim}"
    yield ""
    yield repr(report.table())
    yield ""
    yield f"{len(report.through) or 'nothing'} got through"
