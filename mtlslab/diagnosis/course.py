"""The course of a diagnosis: each call answers a question that the one before has left."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mtlslab.credentials import printable
from mtlslab.diagnosis.calls import Call
from mtlslab.diagnosis.finding import Finding, as_sentence
from mtlslab.diagnosis.inquiry import SHORT, WEB, Inquiry
from mtlslab.diagnosis.of_client import Refused, of_refusal, of_rehearsal
from mtlslab.diagnosis.of_reply import NGINX, of_public_cas, of_status, of_success, refused_in_http
from mtlslab.diagnosis.of_server import is_strictness, of_strictness, of_verification
from mtlslab.diagnosis.protocols import QUESTIONS, Declined, recognised
from mtlslab.diagnosis.target import proxy_of_environment
from mtlslab.display import said
from mtlslab.exchanges import Answer
from mtlslab.refusals import Refusal


def findings(inquiry: Inquiry) -> Iterator[Finding]:
    """Call, and call again where that left a question."""
    if inquiry.target.scheme in ("http", "ws"):
        yield from _of_plain_url(inquiry)
        return
    seen = inquiry.call()
    if is_strictness(seen.error):
        yield of_strictness(inquiry.refusal(seen))
        inquiry.strict = False
        seen = inquiry.call()
    if "NO_APPLICATION_PROTOCOL" in seen.reason:
        again = inquiry.call(offer=())
        if again.moment in ("listening", "answering"):
            evidence = f"the server refused the offer of {' and '.join(WEB)}, and goes on without"
            yield Finding("no-application-protocol", "certain", evidence)
            seen = again
    if seen.alpn == "h2" and (frame := recognised(seen.greeting or seen.reply)) in ("HTTP/2", None):
        plain = inquiry.call(offer=("http/1.1",), listen=0.02)
        if inquiry.reply.status is not None:
            seen = plain
        elif frame == "HTTP/2" or isinstance(seen.error, TimeoutError):
            yield _of_http2(inquiry, seen, sure=frame == "HTTP/2")
            return
        else:
            seen = inquiry.call()
    yield from _of_call(inquiry, _heard_out(inquiry, seen))


def _heard_out(inquiry: Inquiry, seen: Call) -> Call:
    """Where the server hung up on a request: does it on silence too? That is no matter of HTTP, and may say why."""
    hung_up = seen.closed or (seen.error is not None and not isinstance(seen.error, TimeoutError))
    if seen.moment == "answering" and hung_up and not seen.reply and "server" not in seen.alerts:
        quiet = inquiry.call(say=b"", listen=SHORT)
        if quiet.moment == "listening" and (quiet.greeting or quiet.closed or quiet.error is not None):
            return quiet
    return seen


def _of_plain_url(inquiry: Inquiry) -> Iterator[Finding]:
    """Say what answers where the URL says http://: nobody's certificate is shown there."""
    seen = inquiry.call(show=False, say=b"", listen=0)
    if seen.speaks_tls:
        port = inquiry.target.port
        evidence = f"a TLS server answers on port {port}, and the URL says {inquiry.target.scheme}://"
        yield Finding("plain-http-to-tls-port", "certain", evidence)
    elif seen.moment == "dialling":
        yield from _of_way(inquiry, inquiry.refusal(seen))
    elif recognised(seen.raw) == "HTTP":
        yield Finding("not-tls", "certain", "it answers HTTP without TLS")
    else:
        yield from _of_no_tls(inquiry, seen, inquiry.refusal(seen))


def _of_http2(inquiry: Inquiry, seen: Call, *, sure: bool) -> Finding:
    inquiry.accepts_client = True
    evidence = "it chose h2" + (", and sent HTTP/2's first frame" if sure else "")
    evidence += "; offered http/1.1 alone, it does not answer"
    if inquiry.files.leaf is not None and seen.asks:
        evidence += "; the client's certificate was accepted"
    return Finding("speaks-http2-only", "certain" if sure else "likely", evidence)


def _of_call(inquiry: Inquiry, seen: Call) -> Iterator[Finding]:
    """Say what a call showed."""
    inquiry.reached = seen.speaks_tls
    reply, refusal = inquiry.reply, inquiry.refusal(seen)
    if isinstance(seen.error, ssl.SSLCertVerificationError):
        yield from of_verification(refusal, inquiry.target.server_name, inquiry.files, seen.chain)
        yield from _second_fault(inquiry, seen)
    elif reply.status is not None:
        yield from _of_reply(inquiry, seen)
    elif seen.reply.startswith(b"HTTP/1.") and not reply.is_http:
        yield Finding("protocol-error", "certain", f"it said {_quoted(seen.reply)}, and went on with what is not HTTP")
    elif seen.greeting or (seen.reply and not reply.is_http):
        yield from _of_other_protocol(inquiry, seen, recognised(seen.greeting or seen.reply))
    elif seen.error is None and not seen.closed:  # what is no web server waits for its client
        inquiry.answer, inquiry.accepts_client = Answer(tls_version=seen.version), True
        yield from _of_success(inquiry, seen, 0)
    elif isinstance(seen.error, Declined):
        yield from _of_declined(seen.error)
    elif seen.moment in ("dialling", "preamble"):
        yield from _of_way(inquiry, refusal)
    elif seen.moment == "handshake" and not seen.speaks_tls:
        yield from _of_no_tls(inquiry, seen, refusal)
    elif isinstance(seen.error, TimeoutError):
        yield from _of_silence(inquiry, seen)
    else:
        yield from _of_end(inquiry, seen, refusal)


def _second_fault(inquiry: Inquiry, seen: Call) -> Iterator[Finding]:
    """The server names the CAs that it takes from clients: is this client's among them?"""
    if seen.asks and inquiry.files.leaf is None:
        yield Finding("no-client-certificate", "possible", "the server asks for a certificate, and none was given")
    elif seen.asks and seen.authorities and not seen.held_back:
        refused = Refused("unknown_ca", "the server's request for a certificate tells whom it trusts")
        for finding in of_refusal(refused, seen, inquiry.files, inquiry.tls_max):
            if finding.likelihood != "possible" and finding.cause in ("unknown-client-ca", "client-ca-made-again"):
                yield replace(finding, likelihood="possible")


# --- the way there --------------------------------------------------------------------------------


def _of_way(inquiry: Inquiry, refusal: Refusal) -> Iterator[Finding]:
    """Nobody was reached: is there a proxy that other programs take?"""
    found = proxy_of_environment(inquiry.target.server_name)
    if found is not None:
        variable, (host, port) = found
        through = inquiry.call(proxy=(host, port), timeout=min(SHORT, inquiry.timeout))  # type: ignore[arg-type]
        where = printable(f"{variable} names {host}:{port}")
        if through.speaks_tls:
            yield Finding("only-through-proxy", "certain", f"{said(refusal)}; {where}, and through it a server answers")
        else:
            yield Finding("only-through-proxy", "possible", f"{said(refusal)}; {where}, which leads nowhere now")
    yield Finding(refusal.reason, "certain", said(refusal))


def _of_declined(declined: Declined) -> Iterator[Finding]:
    heard = f"it said {_quoted(declined.said)}" if declined.said else "it hung up"
    if protocol := recognised(declined.said):
        heard += f": that is {protocol}"
    yield Finding("starttls-declined", "certain" if declined.said else "likely", f"asked for TLS, {heard}")


def _quoted(data: bytes) -> str:
    """Quote a stranger's first line."""
    line = data[:80].split(b"\n")[0].decode("utf-8", "backslashreplace")
    return f"'{printable(line.strip())}'"


_STARTTLS = {"PostgreSQL": "postgres", "MySQL or MariaDB": "mysql", "SMTP": "smtp", "SMTP or FTP": "smtp",
             "IMAP": "imap", "POP3": "pop3", "LDAP": "ldap"}  # fmt: skip


def _of_no_tls(inquiry: Inquiry, seen: Call, refusal: Refusal) -> Iterator[Finding]:
    """No TLS came back: what speaks there, and does it turn to TLS when asked to?"""
    short = min(SHORT, inquiry.timeout)
    if seen.raw:
        protocol = recognised(seen.raw)
        evidence = f"it said {_quoted(seen.raw)}" + (f": that is {protocol}" if protocol else "")
        starttls = _STARTTLS.get(protocol or "")
        if starttls and inquiry.call(starttls=starttls, timeout=short).speaks_tls:
            how = f"Ask for it: --starttls {starttls}."
            yield Finding("needs-starttls", "certain", f"{evidence}; asked for TLS, it turns to it", advice=how)
            return
        sentence = f"The client speaks TLS to a port where {protocol} without TLS answers." if protocol else ""
        yield Finding("tls-to-plain-port", "certain", evidence, sentence)
        return
    if inquiry.call(proxy=None, starttls="proxy-protocol", timeout=short).speaks_tls:
        evidence = f"{said(refusal)}; after a line of the PROXY protocol, it shakes hands"
        yield Finding("wants-proxy-protocol", "certain", evidence)
    elif asked := _turns_to_tls(inquiry, seen):
        protocol, starttls = asked
        evidence = f"asked in {protocol}'s own way whether it speaks TLS, it turned to it"
        yield Finding("needs-starttls", "certain", evidence, advice=f"Ask for it: --starttls {starttls}.")
    elif isinstance(seen.error, TimeoutError):
        evidence = f"{said(refusal)}: the port accepts, and says nothing"
        advice = "See that it runs; look for a firewall, also one that drops large packets: a ClientHello may be one."
        yield Finding("timed-out", "certain", evidence, advice=advice)
    elif old := _old_version(inquiry):
        yield Finding("old-tls-only", "certain", f"the server chose {old} when that was offered")
    else:
        yield Finding("connection-lost", "likely", f"{said(refusal)}, before a byte of TLS came back")


def _turns_to_tls(inquiry: Inquiry, seen: Call) -> tuple[str, str] | None:
    """Ask those that wait for their client's first words, and hang up on TLS's."""
    for protocol in ("PostgreSQL", "LDAP") if not isinstance(seen.error, TimeoutError) else ():
        if inquiry.call(starttls=_STARTTLS[protocol], timeout=min(SHORT, inquiry.timeout)).speaks_tls:
            return protocol, _STARTTLS[protocol]
    return None


# --- TLS, and then an end or silence --------------------------------------------------------------


def _of_silence(inquiry: Inquiry, seen: Call) -> Iterator[Finding]:
    """TLS was spoken, and then nothing came."""
    if seen.moment == "handshake":
        yield Finding("timed-out", "certain", "the handshake began, and the server's part of it did not end")
        return
    if seen.has_tickets or seen.version == "TLSv1.2" or not seen.asks:
        inquiry.accepts_client = True
        evidence = "the handshake is complete on both sides"
        if seen.asks and inquiry.files.leaf is not None:
            evidence += ": the client's certificate was accepted"
        heard = (
            f"; {len(seen.reply)} bytes of a reply came, and not its end" if seen.reply else "; a request got no answer"
        )
        cause = "timed-out" if seen.reply else "answers-nothing"
        yield Finding(cause, "certain", evidence + heard, "TLS is fine, and no whole answer came to a request of HTTP.")
        return
    yield Finding("timed-out", "certain", "nothing has come back since this client sent its last part of the handshake")
    if inquiry.files.leaf is not None:
        small = inquiry.call(show=False, timeout=min(SHORT, inquiry.timeout))
        answered = not isinstance(small.error, TimeoutError)
        evidence = f"a handshake of {seen.sent} bytes, with the certificate, was not answered; "
        evidence += f"one of {small.sent} bytes, without, {'was, at once' if answered else 'was not either'}"
        yield Finding("packet-size", "likely" if answered else "possible", evidence)


def _of_end(inquiry: Inquiry, seen: Call, refusal: Refusal) -> Iterator[Finding]:
    """The server, or TLS itself, ended the connection."""
    if seen.reason in _OF_LIBRARY_REASON:
        yield Finding(_OF_LIBRARY_REASON[seen.reason], "certain", said(refusal))
    elif refusal.by == "client" and refusal.alert is None and refusal.reason != "connection-lost":
        yield Finding("tls-to-plain-port" if refusal.reason == "not-tls" else refusal.reason, "certain", said(refusal))
    elif refusal.alert is None and seen.moment == "answering":
        yield from _of_hanging_up(inquiry, seen, refusal)
    elif (
        refusal.alert in ("protocol_version", "handshake_failure") and not seen.asks and (old := _old_version(inquiry))
    ):
        yield Finding("old-tls-only", "certain", f"the server chose {old} when that was offered")
    else:
        yield from _of_no(inquiry, seen, refusal)


_OF_LIBRARY_REASON = {
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "legacy-renegotiation",
    "DH_KEY_TOO_SMALL": "server-too-weak",
    "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED": "server-too-weak",
}
"""The cause behind OpenSSL's name for what it does not go along with."""


def _of_no(inquiry: Inquiry, seen: Call, refusal: Refusal) -> Iterator[Finding]:
    """The server said no to this client."""
    inquiry.blames_client = True
    alert = refusal.alert if refusal.by == "server" else None
    evidence = f"the server sent the alert {alert}" if alert else "the server hung up without an alert"
    found = list(of_refusal(Refused(alert, evidence), seen, inquiry.files, inquiry.tls_max))
    reason = "protocol-error" if refusal.reason == "no-client-certificate" else refusal.reason  # it has not asked
    if seen.asks and inquiry.files.leaf is not None and reason == "protocol-error":
        reason = "bad-certificate"  # what came last was the client's certificate
    yield from found or [Finding(reason, "likely", evidence, advice=as_sentence(refusal.advice))]


def _of_hanging_up(inquiry: Inquiry, seen: Call, refusal: Refusal) -> Iterator[Finding]:
    """The server hangs up when a request is made, and not before: who is it?"""
    protocol = _asked(inquiry)
    if protocol or (seen.asks and inquiry.files.leaf is not None):
        yield from _of_other_protocol(inquiry, seen, protocol)
    else:
        yield from _of_no(inquiry, seen, refusal)


def _asked(inquiry: Inquiry) -> str | None:
    """Ask in the words of other protocols who is there."""
    replies = (inquiry.call(say=question, offer=(), listen=0, timeout=0.5).reply for _, question in QUESTIONS)
    return next((protocol for reply in replies if (protocol := recognised(reply))), None)


def _of_other_protocol(inquiry: Inquiry, seen: Call, protocol: str | None) -> Iterator[Finding]:
    """What speaks inside TLS is no web server; and this client is in."""
    inquiry.answer, inquiry.accepts_client = Answer(tls_version=seen.version), True
    first = seen.greeting or seen.reply
    evidence = f"it said {_quoted(first)}" if first else "it hangs up when a request is made, and not before"
    if protocol:
        evidence += f": that is {protocol}"
    if seen.asks and inquiry.files.leaf is not None and not seen.held_back:
        evidence = f"the client's certificate was accepted; {evidence}"
    if inquiry.target.speaks_http:
        sentence = f"TLS is fine, and what answers inside it speaks {protocol}, not HTTP." if protocol else ""
        yield Finding("speaks-another-protocol", "certain" if first or protocol else "likely", evidence, sentence)
    yield from _of_success(inquiry, seen, 0)


def _old_version(inquiry: Inquiry) -> str | None:
    """Offer TLS 1.1 and older in a bare ClientHello, and return what the server chooses; None if it does not."""
    host = inquiry.target.server_name.encode("idna")
    sni = b"\0\0" + (len(host) + 5).to_bytes(2) + (len(host) + 3).to_bytes(2) + b"\0" + len(host).to_bytes(2) + host
    extensions = sni + bytes.fromhex("000a00080006001700180019000b00020100ff01000100")
    suites = bytes.fromhex("c009c00ac013c0140033003900 2f0035000ac008c012".replace(" ", ""))
    body = b"\x03\x02" + os.urandom(32) + b"\0" + len(suites).to_bytes(2) + suites + b"\x01\0"
    body += len(extensions).to_bytes(2) + extensions
    hello = b"\x16\x03\x01" + (len(body) + 4).to_bytes(2) + b"\x01" + len(body).to_bytes(3) + body
    with suppress(OSError), socket.create_connection((inquiry.target.host, inquiry.target.port), SHORT) as wire:
        wire.sendall(hello)
        heard = wire.recv(16)
        if heard[:2] == b"\x16\x03" and heard[5:6] == b"\x02":
            return {b"\x03\x02": "TLS 1.1", b"\x03\x01": "TLS 1.0", b"\x03\x00": "SSL 3"}.get(heard[9:11])
    return None


# --- an answer ------------------------------------------------------------------------------------


def _of_reply(inquiry: Inquiry, seen: Call) -> Iterator[Finding]:
    """HTTP came back."""
    reply, files = inquiry.reply, inquiry.files
    status = reply.status or 0
    inquiry.answer = Answer(status, reply.text, reply.headers, None, seen.version)
    words = refused_in_http(reply)
    if words and seen.asks:
        inquiry.blames_client = True
        refused = Refused(NGINX[words], f"the server answered {status}: {words}")
        yield from of_refusal(refused, seen, files, inquiry.tls_max)
    elif status >= 300:
        if not (status in (404, 405) and inquiry.target.path == "/"):  # nobody asked for that page
            yield from of_status(reply, seen, files)
        if status in (401, 403) and seen.asks:
            yield from of_rehearsal(seen, files, inquiry.tls_max)
            yield from _second_fault(inquiry, seen)
        yield from (f for f in of_success(status, seen, files) if f.cause != "server-never-asks")
    else:
        inquiry.accepts_client = True
        yield from _of_success(inquiry, seen, status)


def _of_success(inquiry: Inquiry, seen: Call, status: int) -> Iterator[Finding]:
    """All is well so far: what is wrong all the same, and does the second call succeed as well?"""
    yield from of_success(status, seen, inquiry.files)
    yield from of_public_cas(seen, inquiry.files)
    if seen.session is not None and seen.session.has_ticket | bool(seen.session.id):
        again = inquiry.resume(seen)
        if isinstance(again.error, ssl.SSLError) and again.moment == "handshake":
            evidence = (
                f"the second call, which resumed the first one's session, ended with: {printable(str(again.error))}"
            )
            yield Finding("resumption-fails", "certain", evidence)
    if inquiry.target.starttls == "postgres" and (mode := _key_mode(inquiry)):
        yield Finding("key-file-mode", "possible", f"its mode is {mode:o}; libpq wants 600, or 640 if root owns it")


def _key_mode(inquiry: Inquiry) -> int:
    """Return the mode of the key's file where libpq would refuse it, else 0."""
    with suppress(OSError):
        found = Path(inquiry.files.key_path or "").stat()
        allowed = 0o640 if found.st_uid == 0 else 0o600
        mode = stat.S_IMODE(found.st_mode)
        return mode if os.name == "posix" and stat.S_ISREG(found.st_mode) and mode & 0o777 & ~allowed else 0
    return 0
