"""What each fault must lead to, by TLS version: who says no, why, and what the other end is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mtlslab.contexts import TLSVersion
from mtlslab.credentials import Credential
from mtlslab.faults.setup import Lab, Setup
from mtlslab.refusals import CURL, REASONS, End, reason_of_alert

Family = Literal["trust", "time", "name", "purpose", "chain", "revocation", "files", "protocol"]
Side = Literal["client", "server", "neither"]
Moment = Literal["before dialling", "handshake", "first read"]

CURL_SINCE = {
    "unreadable-key": ((8, 16), 43),
    "key-mismatch": ((8, 16), 43),
    "Receive buffer too long": ((8, 6), 100),
    "continuation line": ((8, 3), 0),
    "conflicting Content-Length": ((8, 17), 8),
    "Server disconnected": ((8, 14), 56),  # 8.14.1; and 52 still, where it said close_notify
}
"""Where curl's exit codes are no longer those of `refusals.CURL`: from which version on, and what they are."""

CURL_JUDGES_LATE = (8, 17)
"""From this version on curl judges a server's certificate after the handshake. It exits as before, and the server hears
no alert; where the server refuses curl, too, the server is the first to do so."""


def curl_exit_code(what: str, version: tuple[int, int] = (7, 88)) -> int:
    """Return what a version of curl exits with for a row of `refusals.CURL`."""
    since, later = CURL_SINCE.get(what, (version, CURL[what]))
    return later if version >= since else CURL[what]


@dataclass(frozen=True)
class Verdict:
    """What a fault must lead to, for one TLS version.

    Fields: `by`, who says no (None: nobody does, and that is the fault); `reason`, what the refuser found, a key of
    `refusals.REASONS`; `alert`, what it tells the other end; `told`, the reason that the other end reads out of that
    (None: it learns of nothing); `moment`, when the client learns of it; `curl`, the real curl's exit code (None: not
    something that curl does); `in_curl`, the row of `refusals.CURL` that tells it for later versions, if there is one.
    """

    by: End | None
    reason: str | None
    alert: str | None
    told: str | None
    moment: Moment | None
    curl: int | None
    in_curl: str | None = None

    def curl_of(self, version: tuple[int, int]) -> int | None:
        """Return the exit code of a version of curl, such as (8, 16)."""
        return curl_exit_code(self.in_curl, version) if self.in_curl else self.curl


Verdicts = Mapping[TLSVersion, Verdict]


def both(verdict: Verdict, **changes_1_2: Any) -> Verdicts:
    """Give one verdict for both versions, with what differs under TLS 1.2."""
    return {"1.2": replace(verdict, **changes_1_2), "1.3": verdict}


def by_server(reason: str, **changes: Any) -> Verdicts:
    """The server refuses the client's certificate: in the handshake with TLS 1.2, after the client's own with 1.3."""
    alert = REASONS[reason].alert
    verdict = Verdict("server", reason, alert, reason_of_alert(alert), "first read", 56)
    # curl takes this alert in the handshake for a verdict on the server's certificate.
    early = 60 if alert == "certificate_expired" else 35
    return both(replace(verdict, **changes), moment="handshake", curl=early)


def by_client(reason: str, **changes: Any) -> Verdicts:
    """The client refuses the server's certificate, in the handshake."""
    alert = REASONS[reason].alert
    return both(replace(Verdict("client", reason, alert, reason_of_alert(alert), "handshake", 60), **changes))


def before_dialling(reason: str, in_curl: str | None = None) -> Verdicts:
    """The client's own library refuses its files."""
    row = in_curl or reason
    return both(Verdict("client", reason, None, None, "before dialling", curl_exit_code(row), row))


ACCEPTED = both(Verdict(None, None, None, None, None, 0))


@dataclass(frozen=True)
class Fault:
    """One row of the gallery.

    Fields: `name`; `side`, where the fault lies; `family`; `sentence`, what is wrong; `mint`, from a `Lab` to the
    broken `Setup`; `verdicts` by the highest TLS version offered (one may be missing: the fault is not there);
    `cure`, for who owns the broken thing; `lesson`, what to know when this one looks like another, or like none.
    """

    name: str
    side: Side
    family: Family
    sentence: str
    mint: Callable[[Lab], Setup]
    verdicts: Verdicts
    cure: str
    lesson: str = ""


def client_shows(change: Callable[[Lab], Credential | None]) -> Callable[[Lab], Setup]:
    """Mint by changing what the client shows."""
    return lambda lab: replace(lab.good, client=change(lab))


def server_shows(change: Callable[[Lab], Credential]) -> Callable[[Lab], Setup]:
    """Mint by changing what the server shows."""
    return lambda lab: replace(lab.good, server=change(lab))


def client_has(change: Callable[[Path], None]) -> Callable[[Lab], Setup]:
    """Mint by changing the client's files."""
    return lambda lab: replace(lab.good, spoil=change)
