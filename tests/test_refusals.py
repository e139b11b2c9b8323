"""The vocabulary of refusals, and the way from an exception to its row."""

import contextlib
import errno
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import mtlslab
from given import CURL_VERSION, Call, needs_curl
from mtlslab import CertificateAuthority, Credential
from mtlslab.client import exchange
from mtlslab.contexts import TLS_VERSIONS, client_context, common, server_context, trust
from mtlslab.faults.verdicts import curl_exit_code
from mtlslab.refusals import ALERTS, CERTIFICATE_REASONS, CURL, REASONS, End, Refusal, from_exception, refusal
from real_curl import exit_codes
from telling import MOMENTS, telling


def verification(code: int) -> ssl.SSLCertVerificationError:
    """Make what the ssl module raises for a certificate that does not verify."""
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] number {code}")
    error.verify_code = code
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    return error


def tls(reason: str) -> ssl.SSLError:
    """Make what the ssl module raises for anything else that it has a name for."""
    error = ssl.SSLError(1, f"[SSL: {reason}] words (_ssl.c:1006)")
    error.reason = reason
    return error


def unnamed(words: str) -> ssl.SSLError:
    """Make what the ssl module raises for what OpenSSL alone has words for."""
    error = ssl.SSLError(1, f"[SSL] {words} (_ssl.c:1006)")
    error.reason = None  # type: ignore[assignment]  # as it does
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

    def made(self) -> Refusal | None:
        """What becomes of the exception."""
        met: dict[str, Any] = {"sent_certificate": False, "in_handshake": True} | self.more
        return from_exception(self.error, seen_by=self.seen_by, tls_version=self.tls_version, **met)

    def expected(self) -> Refusal:
        """What should."""
        row = REASONS[self.reason]
        advice = row.client_advice if self.by == "client" else row.server_advice
        return Refusal(self.by, self.reason, self.alert, self.curl, str(self.error), advice)


def heard(**alerts: int) -> dict[str, Any]:
    """Whose alert of which number was seen on the wire."""
    return {"alerts": alerts}


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
    Case(tls("NO_PROTOCOLS_AVAILABLE"), "client", "client", "protocol-version", None, 35),  # nothing was sent
    Case(unnamed("no suitable groups"), "server", "server", "handshake-failure", "handshake_failure", 35),
    Case(ssl.SSLError("made by Python itself"), "server", "server", "protocol-error", None, 35),
    Case(ssl.SSLError(), "client", "client", "protocol-error", None, 35),
    # Alerts that OpenSSL has no name for, or `ssl` none: 3.11 to 3.15 differ in that.
    Case(
        unnamed("tlsv1 alert no application protocol"),
        "client",
        "server",
        "protocol-error",
        "no_application_protocol",
        35,
    ),
    Case(
        tls("TLSV1_ALERT_NO_APPLICATION_PROTOCOL"), "client", "server", "protocol-error", "no_application_protocol", 35
    ),
    Case(unnamed("tlsv1 alert unknown psk identity"), "server", "client", "protocol-error", "unknown_psk_identity", 35),
    Case(tls("TLSV1_CERTIFICATE_UNOBTAINABLE"), "client", "server", "protocol-error", "certificate_unobtainable", 35),
    Case(
        tls("TLSV1_BAD_CERTIFICATE_HASH_VALUE"), "server", "client", "protocol-error", "bad_certificate_hash_value", 35
    ),
    Case(tls("TLSV1_ALERT_USER_CANCELLED"), "client", "server", "protocol-error", "user_canceled", 35),
    Case(tls("NO_RENEGOTIATION"), "client", "server", "protocol-error", "no_renegotiation", 35),
    Case(unnamed("unknown error"), "client", "server", "protocol-error", None, 35),
    Case(unnamed("unknown error"), "client", "server", "protocol-error", "general_error", 35, more=heard(server=117)),
    Case(unnamed("unknown error"), "server", "client", "protocol-error", "0x00ff", 35, more=heard(client=255)),
    Case(unnamed("unknown error (0xa00045d)"), "client", "server", "protocol-error", None, 35),  # so since 3.14
    Case(
        unnamed("unknown error (0xa00045d)"),
        *("client", "server", "protocol-error", "general_error", 35),
        more=heard(server=117),
    ),
    # What is said is kept, and told by what was seen on the wire.
    Case(
        tls("TLSV1_ALERT_INSUFFICIENT_SECURITY"), "client", "server", "handshake-failure", "insufficient_security", 35
    ),
    Case(REQUIRED_13, "client", "server", "no-client-certificate", "certificate_required", 98, "TLSv1.2"),
    Case(REQUIRED_12, "client", "server", "handshake-failure", "handshake_failure", 35, "TLSv1.2", {"asked": False}),
    Case(
        tls("TLSV1_ALERT_BAD_CERTIFICATE"),
        "client",
        "server",
        "no-client-certificate",
        "bad_certificate",
        35,
        "TLSv1.2",
    ),
    Case(tls("DECODE"), "server", "server", "protocol-error", "decode_error", 35, more=heard(server=50)),
    Case(ssl.SSLEOFError(8, "EOF"), "client", "server", "expired", "certificate_expired", 35, more=heard(server=45)),
    Case(
        ssl.SSLZeroReturnError(6, "closed"),
        "client",
        "server",
        "connection-lost",
        "close_notify",
        35,
        more=heard(server=0),
    ),
    Case(ssl.SSLEOFError(8, "EOF"), "client", "server", "connection-lost", None, 56, more=LATE | heard(server=0)),
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


def test_an_exception_leads_to_its_row() -> None:
    """Who said no, why, by which alert, what curl returns, the library's own words, and the advice for that end."""
    assert [(case, made) for case in CASES if (made := case.made()) != case.expected()] == []


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
        found = from_exception(outer, seen_by="client", tls_version=None, sent_certificate=False, in_handshake=True)
    assert found is not None
    assert (found.reason, found.message) == ("wrong-host", str(verification(62)))


EARLY: dict[str, Any] = {"tls_version": None, "sent_certificate": False, "in_handshake": True}


def test_what_is_no_refusal_is_none() -> None:
    """An error of ours is not dressed up as somebody's refusal."""
    for error in (ValueError("x"), KeyError("y"), FileNotFoundError(2, "no such file")):
        assert from_exception(error, seen_by="client", **EARLY) is None, error


def test_there_is_always_a_refusal_for_who_needs_one() -> None:
    """What tells nothing is a connection that the other end lost, in the words that there are."""
    ends: list[tuple[End, End]] = [("client", "server"), ("server", "client")]
    for error in (ValueError("x"), OSError("y"), ssl.SSLWantReadError()):
        for seen_by, by in ends:
            made = refusal(error, seen_by=seen_by, **EARLY)
            assert (made.by, made.reason, made.message) == (by, "connection-lost", str(error))
    assert refusal(tls("HTTP_REQUEST"), seen_by="server", **EARLY).reason == "plain-http"


def test_a_refusal_is_made_in_one_place() -> None:
    """Nothing else in the package makes a Refusal by hand, so nothing else can get it wrong."""
    package = Path(mtlslab.__file__).parent
    by_hand = {path.name for path in package.rglob("*.py") if re.search(r"\bRefusal\(", path.read_text("utf-8"))}
    assert by_hand == {"refusals.py"}


def alert_in_clear(data: bytes) -> int | None:
    """Return the number of the alert that bytes of the wire end with; None if with none, or with an encrypted one."""
    found = re.search(rb"\x15\x03[\x00-\x04]\x00\x02[\x01\x02](.)\Z", data, re.DOTALL)
    return found[1][0] if found else None


# --- every alert, at every moment, by real connections ---------------------------------------------

RFC_8446 = [0, 10, 20, 22, 40, *range(42, 52), 70, 71, 80, 86, 90, 109, 110, 112, 113, 115, 116, 120]
RFC_5246 = [21, 30, 41, 60, 100, 111, 114]
NUMBERS = [*RFC_8446, *RFC_5246, 117, 121, 1, 127, 255]


def test_the_alerts_have_the_names_of_the_registry() -> None:
    """Every alert of RFC 8446 and 5246, and the two that came later."""
    assert set(ALERTS) == {*RFC_8446, *RFC_5246, 117, 121}
    assert (ALERTS[0], ALERTS[116], ALERTS[117], ALERTS[121]) == (
        *("close_notify", "certificate_required", "general_error", "ech_required"),
    )


@dataclass(frozen=True)
class Told:
    """A moment at which a server says an alert, and what is then so."""

    version: str
    moment: str
    level: int

    def __str__(self) -> str:
        return f"{self.version} {self.moment} {'warning' if self.level == 1 else 'fatal'}"

    @property
    def early(self) -> bool:
        """Whether the client is still in its handshake."""
        return self.moment in MOMENTS[:2] or (self.version == "1.2" and self.moment == MOMENTS[2])

    def says(self, number: int) -> str | None:
        """The alert that the refusal has: a goodbye after the handshake is none."""
        goodbye = number == 0 and not self.early and (self.level == 1 or self.version == "1.3")
        return None if goodbye else ALERTS.get(number, f"0x{number:04x}")


TOLD = [Told(version, moment, 2) for version in ("1.2", "1.3") for moment in MOMENTS]
TOLD += [*(Told("1.2", moment, 1) for moment in MOMENTS), *(Told("1.3", moment, 1) for moment in MOMENTS[1::2])]
ODD = (0, 40, 45, 90, 100, 116, 117, 255)
"""What OpenSSL, curl or we treat otherwise than the rest: goodbyes, what has no name, and one that is like the rest."""
WARNINGS = (0, 45, 90, 100, 117)
"""Of these, the ones that are tried as warnings: goodbyes, which are meant to be, and two that are not."""


def odd_of(told: Told) -> tuple[int, ...]:
    """Choose the alerts that curl hears, too."""
    return ODD if told.level == 2 else WARNINGS


def numbers_of(told: Told) -> list[int]:
    """Choose alerts for a moment: the odd ones, and where they are fatal a share of the others."""
    shares = [one for one in TOLD if one.level == 2]
    others = [number for number in NUMBERS if number not in ODD]
    return [*odd_of(told), *(others[shares.index(told) :: len(shares)] if told in shares else ())]


Refusals = dict[tuple[str, int], Refusal | None]


@pytest.fixture(scope="module")
def alert_servers(
    ca: CertificateAuthority, server_credential: Credential, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Told, str]]:
    """The URLs of servers that say alerts at one moment each: once all that we are to hear, and then curl's."""
    with contextlib.ExitStack() as stack:
        urls = {}
        for told in TOLD:
            alerts = [bytes([told.level, number]) for number in (*numbers_of(told), *odd_of(told))]
            folder = tmp_path_factory.mktemp("told")
            server = telling(server_credential, told.version, told.moment, alerts, folder, ca.certificate)
            urls[told] = f"https://127.0.0.1:{stack.enter_context(server)}"
        yield urls


@pytest.fixture(scope="module")
def refused(alert_servers: dict[Told, str], files: Path) -> Refusals:
    """Our refusals, by the moment's name and the alert's number."""
    context = client_context(cacert=files / "ca.crt")
    return {
        (str(told), number): exchange(url, context, sent_certificate=False).refusal
        for told, url in alert_servers.items()
        for number in numbers_of(told)
    }


def test_every_alert_is_told_as_it_was_said(refused: Refusals) -> None:
    """Bare or in context, encrypted or not, with a name or without: the refusal is the server's, and has its alert."""
    found = {key: (one.by, one.alert) if one else None for key, one in refused.items()}
    assert found == {(str(told), number): ("server", told.says(number)) for told in TOLD for number in numbers_of(told)}
    assert {number for _, number in refused} == set(NUMBERS)


@needs_curl
def test_the_real_curl_exits_as_the_refusal_says(
    alert_servers: dict[Told, str], refused: Refusals, files: Path
) -> None:
    """Of the alerts that curl makes something of, and of some others, it makes what a refusal says that it does."""
    expected, asked = {}, [(told, number) for told in TOLD for number in odd_of(told)]
    for told, number in asked:
        if one := refused[str(told), number]:
            later = one.curl_exit_code == CURL["Server disconnected"] and number
            code = curl_exit_code("Server disconnected", CURL_VERSION) if later else one.curl_exit_code
            expected[str(told), number] = code
    codes = exit_codes([(alert_servers[told], {"cacert": files / "ca.crt"}) for told, _ in asked])
    assert {(str(told), number): code for (told, number), code in zip(asked, codes, strict=True)} == expected


def test_a_certificate_was_missing_only_where_one_was_asked_for(
    files: Path, ca: CertificateAuthority, server_credential: Credential, tmp_path: Path
) -> None:
    """Under TLS 1.2 handshake_failure means that only after a CertificateRequest, and if the client sent none."""
    cacert, cert, key = (files / name for name in ("ca.crt", "client.crt", "client.key"))
    contexts = {True: client_context(cacert=cacert, cert=cert, key=key), False: client_context(cacert=cacert)}
    for moment, ask in product(MOMENTS[:3], (ca.certificate, None)):
        with telling(server_credential, "1.2", moment, [b"\x02\x28"] * 2, tmp_path, ask) as port:
            for shows, context in contexts.items():
                refused = exchange(f"https://127.0.0.1:{port}", context, sent_certificate=shows).refusal
                assert refused is not None
                missing = ask and not shows and moment != "at once"
                assert (refused.reason, refused.alert) == (
                    *("no-client-certificate" if missing else "handshake-failure", "handshake_failure"),
                ), (moment, bool(ask), shows)


# --- as the server sees it -------------------------------------------------------------------------


class Ends:
    """A client and a server in memory, whose contexts can be changed first; `meet` goes as far as the server does."""

    def __init__(self, ca: CertificateAuthority, server: Credential, version: str) -> None:
        self.client_context = common(ssl.PROTOCOL_TLS_CLIENT)
        self.client_context.minimum_version = self.client_context.maximum_version = TLS_VERSIONS[version]  # type: ignore[index]
        trust(self.client_context, [ca.certificate])
        self.server_context = server_context(server, client_ca=ca.certificate)
        self.said = b""

    def meet(self, instead: bytes | None = None) -> Refusal:
        """Shake hands, and return the refusal of the server, which `instead` may answer in the client's place."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
        server = self.server_context.wrap_bio(to_server, to_client, server_side=True)
        for turn in range(3):
            with contextlib.suppress(ssl.SSLError):
                client.do_handshake()
            if turn and instead is not None:
                to_server.read()
                to_server.write(instead)
            try:
                server.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except OSError as error:
                self.said = to_client.read()
                early = server.cipher() is None
                met: dict[str, Any] = {"tls_version": "TLSv1.2" if early else "TLSv1.3", "in_handshake": early}
                alerts = {"client": alert_in_clear(instead or b""), "server": alert_in_clear(self.said)}
                met |= {"alerts": {end: number for end, number in alerts.items() if number is not None}}
                return refusal(error, seen_by="server", sent_certificate=False, **met)
        raise AssertionError("the server was content")


def test_the_server_hears_every_alert(ca: CertificateAuthority, server_credential: Credential) -> None:
    """What a client says in the middle of its handshake is the client's refusal, under the name of its number."""
    for version in ("1.2", "1.3"):
        ends = Ends(ca, server_credential, version)
        for number in NUMBERS:
            if (version, number) == ("1.3", 90):
                continue  # user_canceled is no error there (RFC 8446 §6.1)
            heard = ends.meet(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))
            assert (heard.by, heard.alert) == ("client", ALERTS.get(number, f"0x{number:04x}"))


def another_group(ends: Ends) -> None:
    ends.server_context.set_ecdh_curve("secp384r1")
    ends.client_context.set_ecdh_curve("prime256v1")


SERVER_FAULTS: dict[str, tuple[str, Callable[[Ends], object], str]] = {
    "no certificate, 1.2": ("1.2", lambda _: None, "no-client-certificate"),
    "no certificate, 1.3": ("1.3", lambda _: None, "no-client-certificate"),
    "no version": (
        *("1.2", lambda ends: setattr(ends.server_context, "minimum_version", ssl.TLSVersion.TLSv1_3)),
        "protocol-version",
    ),
    "no suite": (
        "1.2",
        lambda ends: ends.client_context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256"),
        "handshake-failure",
    ),
    "no group, 1.2": ("1.2", another_group, "handshake-failure"),
    "no group, 1.3": ("1.3", another_group, "handshake-failure"),
}


def test_what_the_server_finds_is_what_it_says(ca: CertificateAuthority, server_credential: Credential) -> None:
    """Where nothing is shared the refusal is the server's, and its alert is the one on the wire."""
    for kind, (version, change, reason) in SERVER_FAULTS.items():
        ends = Ends(ca, server_credential, version)
        change(ends)
        found = ends.meet()
        assert (found.by, found.reason) == ("server", reason), kind
        on_the_wire = alert_in_clear(ends.said)
        assert found.alert == (ALERTS[on_the_wire] if on_the_wire is not None else "certificate_required"), kind


NO_HANDSHAKES = {
    b"GET / HTTP/1.1\r\n\r\n": ("server", "plain-http", None),
    b"CONNECT localhost:443 HTTP/1.1\r\n\r\n": ("server", "plain-http", None),
    b"SSH-2.0-OpenSSH\r\n": ("server", "not-tls", None),
    b"\0" * 99: ("server", "not-tls", None),
    b"\x16\x03\x01\x00\x04\x01\x00\x00\x00": ("server", "protocol-error", "decode_error"),
    b"\x16\x03\x01\x02": ("client", "connection-lost", None),
    b"": ("client", "connection-lost", None),
}


def test_what_is_no_handshake_is_named(server_credential: Credential) -> None:
    """Plain HTTP, another protocol, garbage, half a record, nothing."""
    context = server_context(server_credential, client_auth="none")
    for said, expected in NO_HANDSHAKES.items():
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(said)
        incoming.write_eof()
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        with pytest.raises(OSError) as caught:  # noqa: PT011 (several)
            server.do_handshake()
        sent = alert_in_clear(outgoing.read())
        found = refusal(caught.value, seen_by="server", alerts={} if sent is None else {"server": sent}, **EARLY)
        assert (found.by, found.reason, found.alert) == expected, said


VERIFY_CODES = {
    **dict.fromkeys((2, 19, 20, 21), ("unknown-ca", "unknown_ca")),
    18: ("self-signed", "unknown_ca"),
    10: ("expired", "certificate_expired"),
    9: ("not-yet-valid", "bad_certificate"),
    23: ("revoked", "certificate_revoked"),
    **dict.fromkeys((3, 33), ("crl-missing", "unknown_ca")),
    12: ("crl-expired", "certificate_expired"),
    26: ("wrong-purpose", "unsupported_certificate"),
    **dict.fromkeys((62, 64), ("wrong-host", "bad_certificate")),
    **dict.fromkeys(range(80, 94), ("non-conforming", "certificate_unknown")),
    **dict.fromkeys((32, 37), ("invalid-ca", "certificate_unknown")),
    79: ("invalid-ca", "unknown_ca"),
    25: ("path-length", "unknown_ca"),
    **dict.fromkeys((47, 48, 49, 51, 52, 53), ("name-constraints", "certificate_unknown")),
    **dict.fromkeys((66, 67), ("weak-key", "bad_certificate")),
    68: ("weak-signature", "bad_certificate"),
    **dict.fromkeys((4, 7), ("bad-signature", "decrypt_error")),
    **dict.fromkeys((5, 8), ("bad-certificate", "decrypt_error")),
    **dict.fromkeys((6, 11, 13, 14, 15, 16, 27, 28, 63, 94), ("bad-certificate", "bad_certificate")),
    **dict.fromkeys((22, 24), ("bad-certificate", "unknown_ca")),
    **dict.fromkeys((1, 17, 69, 70), ("bad-certificate", "internal_error")),
}
"""OpenSSL's table of alerts (ssl/statem/statem_lib.c), and our word for each."""


def test_every_verdict_of_openssl_has_its_reason_and_its_alert() -> None:
    """What the table leaves out is certificate_unknown."""
    met: dict[str, Any] = {"tls_version": "TLSv1.3", "sent_certificate": True, "in_handshake": False}
    found = {code: refusal(verification(code), seen_by="server", **met) for code in range(1, 100)}
    assert {code: (one.reason, one.alert) for code, one in found.items()} == {
        code: VERIFY_CODES.get(code, ("bad-certificate", "certificate_unknown")) for code in found
    }


# --- against others ---------------------------------------------------------------------------------

OPENSSL = shutil.which("openssl")
S_SERVER: dict[str, tuple[list[str], dict[str, Any], tuple[str, str, str]]] = {
    "no suite": (
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-CCM"],
        {},
        ("server", "handshake-failure", "handshake_failure"),
    ),
    "another ALPN": (["-alpn", "h3"], {}, ("server", "protocol-error", "no_application_protocol")),
    "no certificate, 1.2": (
        *(["-Verify", "1", "-tls1_2"], {"cert": None, "key": None}),
        ("server", "no-client-certificate", "handshake_failure"),
    ),
    "no signature algorithm": (
        ["-sigalgs", "RSA-PSS+SHA256"],
        {},
        ("server", "handshake-failure", "handshake_failure"),
    ),
}


@pytest.mark.skipif(OPENSSL is None or sys.platform == "win32", reason="needs the openssl program")
def test_what_openssl_s_server_refuses(call: Call, server_credential: Credential, files: Path, tmp_path: Path) -> None:
    """Who refused, why, and by which alert, where OpenSSL's own server says no."""
    certificate, key = server_credential.save(tmp_path, "server")
    start = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", str(certificate), "-key", str(key)]
    start += ["-CAfile", str(files / "ca.crt"), "-verify_return_error"]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    for kind, (options, more, expected) in S_SERVER.items():
        with subprocess.Popen([*start, *options], text=True, **pipes) as server:
            try:
                assert server.stdout
                port = next(int(line.rsplit(":", 1)[1]) for line in server.stdout if line.startswith("ACCEPT"))
                refused = call(f"https://127.0.0.1:{port}", **more).refusal
            finally:
                server.kill()
        assert refused is not None, kind
        assert (refused.by, refused.reason, refused.alert) == expected, kind


def test_the_vocabulary_is_whole() -> None:
    """Each reason is a slug with a meaning, an alert that TLS knows or none, and advice for either end."""
    for name, row in REASONS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert row.meaning
        assert row.client_advice
        assert row.server_advice
        assert row.alert is None or row.alert in ALERTS.values()


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
    made = Refusal("server", "unknown-ca", "unknown_ca", 56, "[SSL: TLSV1_ALERT_UNKNOWN_CA]", "…")
    assert repr(made) == "<Refusal by the server: unknown-ca, alert unknown_ca, curl exit code 56>"
