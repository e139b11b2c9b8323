"""Why does this connection fail? A diagnosis of a real one, to any server.

First the files are read, then the server is called, and heard before it is spoken to; what that leaves open is tried
in another call, or on the files, before it is said. Every call verifies the server. What is found has the names of
`mtlslab.faults` where they fit, and of `causes` where not.
"""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mtlslab import errors
from mtlslab.client import check_timeout
from mtlslab.contexts import TLSVersion
from mtlslab.credentials import FilePath
from mtlslab.diagnosis import course
from mtlslab.diagnosis.files import PUT_UP_WITH, Files, of_files, of_loading
from mtlslab.diagnosis.finding import BLOCKING, Diagnosis, Finding, Unknown, ranked
from mtlslab.diagnosis.inquiry import Inquiry
from mtlslab.diagnosis.target import target
from mtlslab.faults import FAULTS

__all__ = ["Diagnosis", "Finding", "Unknown", "diagnose"]


def diagnose(
    url: str,
    *,
    cacert: FilePath | None = None,
    cert: FilePath | None = None,
    key: FilePath | None = None,
    tls_max: TLSVersion | None = None,
    password: str | None = None,
    timeout: float = 5.0,
    connect_to: str | None = None,
    server_name: str | None = None,
    starttls: str | None = None,
) -> Diagnosis:
    """Find out why a request to `url` fails, or that it does not.

    `url` may be an address without a scheme, or with another protocol's (amqps://, postgres://), which is then greeted
    and not asked. The files are those of `mtlslab.request`, and as people have them: `cert` may be PKCS#12, `cacert` a
    folder, each a pipe. `connect_to` is HOST:PORT to dial instead; `server_name`, whom to ask for and to expect;
    `starttls`, the protocol that begins in the clear; `timeout` is in seconds, for each step. Raises
    `errors.OptionRefused` for arguments that make no sense; what is wrong with files or with the other end is a
    finding.
    """
    aim = target(url, connect_to=connect_to, server_name=server_name, starttls=starttls)
    check_timeout(timeout)
    if key is not None and cert is None:
        raise errors.OptionRefused("key", "a key without a certificate proves nothing; give cert= as well")
    files = Files(cacert, cert, key, password, timeout)
    findings = list(of_files(files))
    if any(f.cause in BLOCKING and f.likelihood == "certain" for f in findings):
        return Diagnosis(aim.shown, ranked(findings))
    inquiry = Inquiry(aim, files, tls_max, timeout)
    try:
        inquiry.context()
    except ssl.SSLError as error:
        return Diagnosis(aim.shown, ranked([of_loading(error, files), *findings]))
    seen = list(course.findings(inquiry))
    findings = _weighed(findings, seen, inquiry)
    unknown = _unknown_here(files, findings) if inquiry.blames_client else ()
    return Diagnosis(aim.shown, ranked(findings), unknown, inquiry.answer)


_STRICT = frozenset(name for name, fault in FAULTS.items() if fault.verdicts["1.2"].reason == "non-conforming")


def _weighed(of_files: Sequence[Finding], seen: Sequence[Finding], inquiry: Inquiry) -> list[Finding]:
    """Weigh what the files show against what became of the call."""
    if inquiry.accepts_client:  # the server has verified it: what was only likely is refuted
        kept = [f for f in of_files if f.likelihood == "certain" or f in inquiry.files.unusual]
        return [*kept, *seen]
    kept = [replace(f, likelihood="possible") if f.cause in PUT_UP_WITH else f for f in of_files]
    if not inquiry.reached:
        return [*seen, *kept]
    told = [f for f in kept if f.likelihood == "certain"]
    if inquiry.blames_client and (
        told or any(f.likelihood == "certain" for f in seen)
    ):  # then nothing is left to guess
        seen = [f for f in seen if f.likelihood != "possible" or f.cause in _STRICT]
        seen = [f if f.likelihood == "certain" and not told else replace(f, likelihood="possible") for f in seen]
    return [*kept, *seen]


def _unknown_here(files: Files, findings: Iterable[Finding]) -> tuple[Unknown, ...]:
    """Say what only the server's end can tell, with the command to type there."""
    file = shlex.quote(Path(files.cert_path).name) if files.cert_path else "client.crt"
    verify = f"openssl verify -x509_strict -purpose sslclient -CAfile CLIENT-CA.crt -untrusted {file} {file}"
    unknown = [Unknown("which CA the server trusts for clients", "openssl x509 -noout -subject -in CLIENT-CA.crt")]
    if files.leaf is not None:
        unknown.append(Unknown("what the server's verifier says of the certificate", verify))
        unknown.append(Unknown("whether the server's clock is right", "date -u"))
    if any(f.cause.startswith("crl-") for f in findings):
        unknown.append(Unknown("whether it uses a CRL, and how old", "openssl crl -noout -nextupdate -in CRL.pem"))
    return tuple(unknown)
