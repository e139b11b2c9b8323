"""Why does this connection fail? A diagnosis of a real one, to any server.

First the files are read, then the server is called: once the way curl would, and once to record the handshake, whose
messages show the server's certificates and its wishes also where verification fails. Every call verifies the server.
What is found has the names of `mtlslab.faults`, so sentence and cure come from the same table.
"""

from __future__ import annotations

from dataclasses import replace

from mtlslab import errors
from mtlslab.client import check_timeout, check_url
from mtlslab.contexts import FilePath, TLSVersion, client_context
from mtlslab.diagnosis.connection import look
from mtlslab.diagnosis.files import OF_LOADING, PUT_UP_WITH, Files, of_files
from mtlslab.diagnosis.finding import BLOCKING, Diagnosis, Finding, Unknown, as_sentence, ranked
from mtlslab.diagnosis.findings import of_answer, of_plain_url, of_success, refused_in_http, unknown_here
from mtlslab.diagnosis.patience import exchange

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
) -> Diagnosis:
    """Find out why a request to `url` fails, or that it does not.

    Takes what `mtlslab.request` takes; `timeout` is in seconds, for each step. The server is called twice, with one
    GET request among them. Raises `errors.OptionRefused` for arguments that make no sense; what is wrong
    with files or with the other end is a finding.
    """
    parsed = check_url(url)
    check_timeout(timeout)
    host, port = parsed.raw_host.decode(), parsed.port or {"https": 443, "http": 80}[parsed.scheme]
    if key is not None and cert is None:
        raise errors.OptionRefused("key", "a key without a certificate proves nothing; give cert= as well")
    files = Files(cacert, cert, key, password)
    findings = list(of_files(files))
    if any(finding.cause in BLOCKING for finding in findings):
        return Diagnosis(url, ranked(findings))
    if parsed.scheme == "http":
        findings += of_plain_url(url, host, port, timeout)
        return Diagnosis(url, ranked(findings))
    try:
        context = client_context(cacert=cacert, cert=cert, key=key, tls_max=tls_max, password=password)
    except errors.FileRefused as error:
        cause = next((cause for text, cause in OF_LOADING.items() if text in error.problem), "unreadable-file")
        refused = Finding(cause, "certain", f"{error.path.name}: {error.problem}", advice=as_sentence(error.cure))
        return Diagnosis(url, ranked([refused, *findings]))
    answer = exchange(url, context, sent_certificate=cert is not None, timeout=timeout, patience=4 * timeout)
    glimpse = look(host, port, cacert, tls_max, timeout)
    blamed = bool(answer.refusal and answer.refusal.by == "server") or refused_in_http(answer)
    if answer.refusal is not None or blamed:  # then what verifiers put up with is not to blame
        findings = [replace(f, likelihood="possible") if f.cause in PUT_UP_WITH else f for f in findings]
    elif glimpse is not None and glimpse.asks:  # the server has verified it: what was only likely is refuted
        findings = [f for f in findings if f.likelihood == "certain"]
    guesses = list(of_answer(answer, host, files, glimpse))
    if blamed and any(f.likelihood == "certain" for f in findings):  # the files have told already
        guesses = [replace(f, likelihood="possible") for f in guesses]
    findings += [*guesses, *of_success(answer, files, glimpse)]
    return Diagnosis(url, ranked(findings), unknown_here(files, findings) if blamed else (), answer)
