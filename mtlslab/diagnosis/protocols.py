"""Who speaks what: the first words of protocols, and what to say to those that turn to TLS later."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

GREETINGS: tuple[tuple[str, bytes], ...] = (
    ("SSH", rb"SSH-"),
    ("SMTP", rb"[2-5]\d\d[ -](?=.*E?SMTP)|[2-5]\d\d[ -]\d\.\d\.\d |(500|502|421)[ -]"),
    ("FTP", rb"220[ -](?=.*FTP)|530[ -]"),
    ("SMTP or FTP", rb"220[ -]"),
    ("NNTP", rb"20[01] "),
    ("IMAP", rb"\* (OK|PREAUTH|BYE|BAD)|[A-Z]+ BAD |\* NO"),
    ("POP3", rb"\+OK"),
    ("HTTP", rb"HTTP/1\.[01] |\s*<!doctype html|\s*<html"),
    ("HTTP/2", rb"\0[\0-\x40].[\x04\x07][\0\x01]\0\0\0\0"),
    ("AMQP", rb"AMQP|\x01\0\0\0\0..\0\x0a\0\x0a"),
    ("MQTT", rb"\x20\x02\0|\x20.\0[\0-\xa2]"),
    ("Redis", rb"-(ERR|NOAUTH|DENIED|MISCONF|NOPERM|WRONGPASS)|\+PONG"),
    ("MySQL or MariaDB", rb"..\0\0[\x0a\xff]"),
    ("PostgreSQL", rb"E\0\0..S(FATAL|ERROR)|E(FATAL|SFATAL|could not|unsupported)|R\0\0\0"),
    ("NATS", rb"INFO \{"),
    ("memcached", rb"ERROR\r\n"),
    ("VNC", rb"RFB \d"),
    ("rsync", rb"@RSYNCD"),
    ("XMPP", rb"<\?xml|<stream:"),
    ("ZooKeeper", rb"ZooKeeper"),
    ("Kafka", rb"\0\0..\0\0\0\x07"),
    ("LDAP", rb"0.{1,5}\x02\x01.[ax]"),
    ("RDP", rb"\x03\0\0.\x0e?\xd0"),
)
"""What protocols say first, or back: the name, and a pattern for the first bytes."""

QUESTIONS: tuple[tuple[str, bytes], ...] = (
    ("MQTT", bytes.fromhex("101300044d5154540402003c00076d746c736c6162")),  # CONNECT (MQTT 3.1.1 §3.1)
    ("Redis", b"PING\r\n"),
    ("AMQP", b"AMQP\0\0\x09\x01"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),  # RFC 9113 §3.4: the preface, empty SETTINGS
    ("Kafka", bytes.fromhex("0000000a0012000000000007ffff")),  # ApiVersions, version 0
    ("LDAP", bytes.fromhex("300c020101600702010304008000")),  # an anonymous bind (RFC 4511 §4.2)
)
"""A harmless first word of protocols whose servers wait for one."""

HTTP2_PREFACE = dict(QUESTIONS)["HTTP/2"]


def recognised(data: bytes) -> str | None:
    """Name the protocol that begins like this; None for one that is not known here."""
    first = data[:400]
    return next((name for name, p in GREETINGS if re.match(p, first, re.DOTALL | re.IGNORECASE)), None)


class Preamble(NamedTuple):
    """What to say before TLS, once what is awaited (a pattern) has come; `no` is how the server declines."""

    steps: tuple[tuple[bytes, bytes], ...]
    no: bytes = rb"(?!)"


PREAMBLES: dict[str, Preamble] = {
    "postgres": Preamble(((b"", bytes.fromhex("0000000804d2162f")), (b"S", b"")), rb"[^S].*"),  # SSLRequest
    "mysql": Preamble(
        ((rb"..\0\0\x0a.+", bytes.fromhex("20000001008a0000000000012d") + bytes(23)),), rb"..\0\0\xff.*"
    ),  # SSLRequest
    "smtp": Preamble(
        ((rb"(.*\n)?220 .*\n", b"EHLO mtlslab\r\n"), (rb"(.*\n)?250 .*\n", b"STARTTLS\r\n"), (rb"220.*\n", b"")),
        rb"[45]\d\d.*\n",
    ),  # RFC 3207
    "imap": Preamble(
        ((rb"\* (OK|PREAUTH).*\n", b"a STARTTLS\r\n"), (rb"(.*\n)?a OK.*\n", b"")), rb"(.*\n)?(\* BYE|a (NO|BAD)).*\n"
    ),  # RFC 9051 §6.2.1
    "pop3": Preamble(((rb"\+OK.*\n", b"STLS\r\n"), (rb"\+OK.*\n", b"")), rb"-.*\n"),  # RFC 2595 §4
    "ldap": Preamble(
        (
            (b"", bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"),
            (rb"0.+\x78.*\x0a\x01\0.*", b""),
        ),
        rb"0.+\x78.*\x0a\x01[^\0].*",
    ),  # RFC 4511 §4.14
    "proxy-protocol": Preamble(((b"", b"PROXY UNKNOWN\r\n"),)),  # haproxy's PROXY protocol, version 1
}


class Declined(ConnectionError):
    """A server that does not turn to TLS. Field: `said`, its own words."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        super().__init__("the server did not turn to TLS")


LONGEST_PREAMBLE = 8192


def lead_in(preamble: Preamble, receive: Callable[[], bytes], send: Callable[[bytes], None]) -> bytes:
    """Go through a preamble; return all that the server said. Raises `Declined`."""
    heard = b""
    for awaited, say in preamble.steps:
        said = b""
        while awaited and not re.fullmatch(awaited, said, re.DOTALL):
            more = receive()
            said += more
            if not more or len(said) > LONGEST_PREAMBLE or re.fullmatch(preamble.no, said, re.DOTALL):
                raise Declined(heard + said)
        heard += said
        if say:
            send(say)
    return heard
