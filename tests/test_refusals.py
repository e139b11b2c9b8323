"""The vocabulary of refusals, and the way from an exception to its row."""

import errno
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

import pytest

from mtlslab.refusals import CERTIFICATE_REASONS, REASONS, End, Refusal, from_exception

ALERTS = {
    *("bad_certificate", "certificate_expired", "certificate_required", "certificate_unknown", "decrypt_error"),
    *("handshake_failure", "protocol_version", "unknown_ca", "unsupported_certificate", "certificate_revoked"),
}


def verification(code: int) -> ssl.SSLCertVerificationError:
    """Make what the ssl module raises for a certificate that does not verify."""
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] number {code}")
    error.verify_code = code
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    return error


def tls(reason: str) -> ssl.SSLError:
    """Make what the ssl module raises for anything else."""
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@dataclass(frozen=True)
class Case:
    """An exception, who met it and when, and the refusal behind it."""

    error: BaseException
    seen_by: End
    by: End
    reason: str
    alert: str | None
    curl: int
    tls_version: str = "TLSv1.3"
    more: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{getattr(self.error, 'reason', None) or type(self.error).__name__}-{self.seen_by}-{self.tls_version}"


LATE = {"in_handshake": False}
SENT = {"sent_certificate": True}
REQUIRED_13, REQUIRED_12 = tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), tls("SSLV3_ALERT_HANDSHAKE_FAILURE")
MISSING = tls("PEER_DID_NOT_RETURN_A_CERTIFICATE")
CASES = [
    # One end's verdict on the other's certificate.
    Case(verification(10), "client", "client", "expired", "certificate_expired", 60),
    Case(verification(10), "server", "server", "expired", "certificate_expired", 56, more=LATE),
    Case(verification(9), "client", "client", "not-yet-valid", "bad_certificate", 60),
    Case(verification(18), "client", "client", "self-signed", "unknown_ca", 60),
    Case(verification(19), "client", "client", "unknown-ca", "unknown_ca", 60),
    Case(verification(20), "server", "server", "unknown-ca", "unknown_ca", 56, more=LATE),
    Case(verification(20), "server", "server", "unknown-ca", "unknown_ca", 35, "TLSv1.2"),
    Case(verification(26), "client", "client", "wrong-purpose", "unsupported_certificate", 60),
    Case(verification(62), "client", "client", "wrong-host", "bad_certificate", 60),
    Case(verification(92), "client", "client", "non-conforming", "certificate_unknown", 0),
    Case(verification(9999), "client", "client", "bad-certificate", "certificate_unknown", 60),
    # The same, as the other end hears of it.
    Case(tls("TLSV1_ALERT_UNKNOWN_CA"), "client", "server", "unknown-ca", "unknown_ca", 56, more=LATE | SENT),
    Case(tls("TLSV1_ALERT_UNKNOWN_CA"), "client", "server", "unknown-ca", "unknown_ca", 35, "TLSv1.2", SENT),
    Case(tls("TLSV1_ALERT_UNKNOWN_CA"), "server", "client", "unknown-ca", "unknown_ca", 60),
    Case(tls("SSL/TLS_ALERT_BAD_CERTIFICATE"), "server", "client", "bad-certificate", "bad_certificate", 60),
    Case(tls("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "client", "server", "expired", "certificate_expired", 56, more=LATE),
    Case(tls("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "client", "server", "expired", "certificate_expired", 60, "TLSv1.2"),
    # No certificate where one is insisted on: TLS 1.2 has no word of its own for it.
    Case(REQUIRED_13, "client", "server", "no-client-certificate", "certificate_required", 56, more=LATE),
    Case(MISSING, "server", "server", "no-client-certificate", "certificate_required", 56, more=LATE),
    Case(REQUIRED_12, "client", "server", "no-client-certificate", "handshake_failure", 35, "TLSv1.2"),
    Case(MISSING, "server", "server", "no-client-certificate", "handshake_failure", 35, "TLSv1.2"),
    Case(REQUIRED_12, "client", "server", "handshake-failure", "handshake_failure", 35, "TLSv1.2", SENT),
    Case(REQUIRED_12, "server", "client", "handshake-failure", "handshake_failure", 35, "TLSv1.2"),
    # Other failures of TLS.
    Case(tls("TLSV1_ALERT_PROTOCOL_VERSION"), "client", "server", "protocol-version", "protocol_version", 35),
    Case(tls("UNSUPPORTED_PROTOCOL"), "server", "server", "protocol-version", "protocol_version", 35),
    Case(tls("NO_SHARED_CIPHER"), "server", "server", "handshake-failure", "handshake_failure", 35),
    Case(tls("BAD_SIGNATURE"), "server", "server", "bad-signature", "decrypt_error", 35),
    Case(tls("TLSV1_ALERT_INTERNAL_ERROR"), "client", "server", "protocol-error", "internal_error", 35),
    Case(tls("SOMETHING_NEW"), "client", "client", "protocol-error", None, 35),
    Case(tls("HTTP_REQUEST"), "server", "server", "plain-http", None, 52),
    Case(tls("WRONG_VERSION_NUMBER"), "client", "client", "not-tls", None, 35),
    # The network's.
    Case(tls("UNEXPECTED_EOF_WHILE_READING"), "server", "client", "connection-lost", None, 35),
    Case(ConnectionResetError(errno.ECONNRESET, "reset"), "client", "server", "connection-lost", None, 35),
    Case(BrokenPipeError(errno.EPIPE, "broken"), "server", "client", "connection-lost", None, 35),
    Case(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "client", "server", "connection-refused", None, 7),
    Case(OSError(errno.EHOSTUNREACH, "no route"), "client", "server", "connection-refused", None, 7),
    Case(socket.gaierror(socket.EAI_NONAME, "unknown"), "client", "client", "host-not-found", None, 6),
    Case(TimeoutError("timed out"), "client", "client", "timed-out", None, 28),
    Case(TimeoutError("timed out"), "server", "server", "timed-out", None, 28),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_exception_leads_to_its_row(case: Case) -> None:
    """Who said no, why, by which alert, what curl returns, the library's own words, and the advice for that end."""
    met: dict[str, Any] = {"sent_certificate": False, "in_handshake": True} | case.more
    refusal = from_exception(case.error, seen_by=case.seen_by, tls_version=case.tls_version, **met)
    row = REASONS[case.reason]
    advice = row.client_advice if case.by == "client" else row.server_advice
    assert refusal == Refusal(case.by, case.reason, case.alert, case.curl, str(case.error), advice)


def test_a_refusal_is_found_behind_other_exceptions() -> None:
    """Where httpx wraps the ssl module's error, the cause chain leads to it, and its own words are kept."""
    try:
        try:
            try:
                raise verification(62)
            except ssl.SSLError as inner:
                raise RuntimeError("a library in between") from inner
        except RuntimeError:
            raise ValueError("an outer one")  # noqa: B904
    except ValueError as outer:
        refusal = from_exception(outer, seen_by="client", tls_version=None, sent_certificate=False, in_handshake=True)
    assert refusal is not None
    assert (refusal.reason, refusal.message) == ("wrong-host", str(verification(62)))


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), FileNotFoundError(2, "no such file")])
def test_what_is_no_refusal_is_none(error: Exception) -> None:
    """An error of ours is not dressed up as somebody's refusal."""
    assert from_exception(error, seen_by="client", tls_version=None, sent_certificate=False, in_handshake=True) is None


def test_the_vocabulary_is_whole() -> None:
    """Each reason is a slug with a meaning, an alert that TLS knows or none, and advice for either end."""
    for name, row in REASONS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert row.meaning
        assert row.client_advice
        assert row.server_advice
        assert row.alert is None or row.alert in ALERTS


def test_no_two_reasons_claim_the_same_cause() -> None:
    """OpenSSL's numbers and names each lead to one reason."""
    codes = [code for row in REASONS.values() for code in row.verify_codes]
    names = [name for row in REASONS.values() for name in row.library_reasons]
    assert len(set(codes)) == len(codes)
    assert len(set(names)) == len(names)


def test_a_verdict_on_a_certificate_is_known_as_one() -> None:
    """These reasons, and no others, are about a certificate: there the advice names whose."""
    assert {name for name, row in REASONS.items() if row.verify_codes} <= CERTIFICATE_REASONS
    assert "no-client-certificate" in CERTIFICATE_REASONS
    assert CERTIFICATE_REASONS.isdisjoint(
        {"plain-http", "not-tls", "connection-lost", "timed-out", "handshake-failure"}
    )


def test_a_refusal_shows_what_matters() -> None:
    """A refusal's text says who, why, with which alert and exit code, and leaves out what varies by OpenSSL."""
    refusal = Refusal("server", "unknown-ca", "unknown_ca", 56, "[SSL: TLSV1_ALERT_UNKNOWN_CA]", "…")
    assert repr(refusal) == "<Refusal by the server: unknown-ca, alert unknown_ca, curl exit code 56>"
