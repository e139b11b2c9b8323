"""What we read in a handshake against what the real `tshark` and `openssl` read in the same bytes.

`openssl s_client` talks with `openssl s_server` through a proxy that records; both write down every message
they send (-msg). tshark then opens all the captures, those and our own recordings, in one run.
"""

import contextlib
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import IO

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from test_handshake import (
    KEY_TYPES,
    REFUSED,
    VERSIONS,
    authority,
    client_credential,
    mutual,
    one_way,
    recut,
    refused,
    retried,
    server_credential,
)

from mtlslab.handshake import Flight, Message, Transcript, codepoints, record_from
from mtlslab.handshake.capture import pcap


def usable_openssl() -> str | None:
    """Find an OpenSSL 3. macOS brings LibreSSL under that name; on Windows s_client does not read from a pipe."""
    found = shutil.which("openssl")
    if found is None or sys.platform == "win32":
        return None
    said = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
    return found if said.startswith("OpenSSL 3") else None


OPENSSL = usable_openssl()
TSHARK = shutil.which("tshark")
NODE = shutil.which("node")

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl 3 here: apt-get install openssl")
needs_tshark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: apt-get install tshark")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")

ASK = ["-Verify", "1", "-verify_return_error", "-CAfile", "ca.crt"]
WEAK = ["-cipher", "DEFAULT:@SECLEVEL=0"]  # without it newer OpenSSL refuses CCM_8
SHOW = ["-cert", "client.crt", "-key", "client.key"]


@dataclass(frozen=True)
class Talk:
    """How a client and a server of OpenSSL are to talk: their options, and what is typed into the client."""

    server: Iterable[str] = ()
    client: Iterable[str] = ()
    key_type: str = "ec-p256"
    tls: str = "1_3"
    typed: tuple[str, ...] = ("Q\n",)
    twice: bool = False


TALKS = {
    "no certificate": Talk(ASK),
    "server unknown": Talk((), ["-CAfile", "other.crt"]),
    "resumed": Talk(ASK, SHOW, twice=True),
    "one-way, another group": Talk(["-groups", "P-384"]),
    "short records": Talk(ASK, [*SHOW, "-maxfraglen", "512"]),
    "mutual, key update": Talk(ASK, SHOW, typed=("K\n", "Q\n")),
    **{
        suite: Talk([*ASK, "-ciphersuites", suite, *WEAK], [*SHOW, "-ciphersuites", suite, *WEAK])
        for suite in (codepoints.CIPHER_SUITES[code].name for code in (0x1301, 0x1303, 0x1305))
    },
    "mutual ed25519, 1.2": Talk(ASK, SHOW, "ed25519", tls="1_2"),
    "mutual chacha, 1.2": Talk(ASK, [*SHOW, "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], tls="1_2"),
    "one-way ccm, 1.2": Talk(["-cipher", "ECDHE-ECDSA-AES128-CCM"], ["-cipher", "ECDHE-ECDSA-AES128-CCM"], tls="1_2"),
    "aria, 1.2": Talk(
        ["-cipher", "ECDHE-ECDSA-ARIA128-GCM-SHA256"],
        ["-cipher", "ECDHE-ECDSA-ARIA128-GCM-SHA256"],
        tls="1_2",
    ),
    "mutual dhe, 1.2": Talk(ASK, [*SHOW, "-cipher", "DHE-RSA-AES128-GCM-SHA256"], "rsa-2048", tls="1_2"),
    "rsa without dhe, 1.2": Talk((), ["-cipher", "AES256-GCM-SHA384"], "rsa-2048", tls="1_2"),
    "cbc, 1.2": Talk(ASK, [*SHOW, "-cipher", "ECDHE-ECDSA-AES256-SHA384"], tls="1_2"),
}
"""All that has a way of its own to be read. Refusals and resumptions under TLS 1.2 we record ourselves, for tshark."""
UNOPENED = {"cbc, 1.2", "aria, 1.2"}


@dataclass(frozen=True)
class Heard:
    """What crossed, the key log, and what each end says it sent: (kind, bytes) in order."""

    flights: list[Flight]
    keylog: str
    sent: dict[str, list[tuple[str, bytes]]]


def relay(
    ends: dict[socket.socket, tuple[str, socket.socket]], typed: Iterator[str], keyboard: IO[str]
) -> list[Flight]:
    """Pass bytes on between two sockets, and keep them. When both are quiet, type into the client."""
    flights: list[Flight] = []
    ended = time.monotonic() + 20
    while ends and time.monotonic() < ended:
        ready, _, _ = select.select(list(ends), [], [], 0.2)
        if not ready:
            with contextlib.suppress(OSError, ValueError):
                keyboard.write(next(typed, "Q\n"))
                keyboard.flush()
        for end in ready:
            sender, other = ends[end]
            data = b""
            with contextlib.suppress(OSError):
                data = end.recv(65536)
            if data:
                flights.append(Flight(sender, data))
            with contextlib.suppress(OSError):
                if data:
                    other.sendall(data)
                else:
                    del ends[end]
                    other.shutdown(socket.SHUT_WR)
    return flights


def converse(talk: Talk, folder: Path, work: Path) -> Heard:
    """Let s_client and s_server talk through a recording proxy; the last of two conversations is kept."""
    work.mkdir()
    files = ("-cert", f"server-{talk.key_type}.crt", "-key", f"server-{talk.key_type}.key")
    say = ("-msg", "-msgfile", str(work / "server.msg"))
    turns = 1 + talk.twice
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", str(turns), f"-tls{talk.tls}"]
    with ended([*command, *files, *talk.server, *say], folder, stdout=subprocess.PIPE) as server:
        assert server.stdout
        port = next(int(line.rsplit(":", 1)[1]) for line in server.stdout if line.startswith("ACCEPT"))
        threading.Thread(target=drain, args=(server.stdout,), daemon=True).start()
        flights = [dial(talk, folder, work, port, turn) for turn in range(turns)][-1]
        server.wait(10)
    last = turns - 1
    keylog = (work / f"keys{last}").read_text() if (work / f"keys{last}").exists() else ""
    sent = {"client": sent_messages(work / f"client{last}.msg"), "server": sent_messages(work / "server.msg")}
    return Heard(flights, keylog, sent)


def dial(talk: Talk, folder: Path, work: Path, port: int, turn: int) -> list[Flight]:
    """Let s_client talk to the server at `port`, for the first time or again, and record it."""
    mine = [arg.replace("client.", f"client-{talk.key_type}.") for arg in talk.client]
    mine += [] if "-CAfile" in mine else ["-CAfile", "ca.crt"]
    if talk.twice:
        mine += ["-sess_in" if turn else "-sess_out", str(work / "session")]
    say = ("-keylogfile", str(work / f"keys{turn}"), "-msg", "-msgfile", str(work / f"client{turn}.msg"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", f"-tls{talk.tls}"]
        command += ["-servername", "localhost", "-verify_return_error"]
        with ended([*command, *mine, *say], folder, stdout=subprocess.DEVNULL) as client:
            assert client.stdin
            near, _ = listener.accept()
            with near, socket.create_connection(("127.0.0.1", port)) as far:
                ends = {near: ("client", far), far: ("server", near)}
                flights = relay(ends, iter(talk.typed), client.stdin)
            client.wait(10)
    return flights


@contextlib.contextmanager
def ended(command: list[str], folder: Path, stdout: int) -> Iterator[subprocess.Popen[str]]:
    """Run a program that is gone when the block ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": stdout, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=folder, text=True, **pipes) as program:  # type: ignore[call-overload]
        try:
            yield program
        finally:
            program.kill()


def drain(lines: IO[str]) -> None:
    """Read what nobody reads, to the end."""
    with contextlib.suppress(ValueError):  # it was closed meanwhile
        lines.read()


def sent_messages(path: Path) -> list[tuple[str, bytes]]:
    """Read what an end with -msg wrote down of what it sent: ("ClientHello", bytes) and so on."""
    found: list[tuple[str, bytes]] = []
    wanted = False
    for line in path.read_text(errors="replace").splitlines():
        if head := re.match(r"(<<<|>>>) .*, (\w+) \[length \w+\](?:, (\w+))?", line):
            kind = head[2]
            wanted = head[1] == ">>>" and kind in ("Handshake", "ChangeCipherSpec", "Alert")
            if wanted:
                found.append((head[3] if kind == "Handshake" else kind, b""))
        elif wanted and line.startswith("    "):
            found[-1] = (found[-1][0], found[-1][1] + bytes.fromhex(line))
    return found


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Heard]:
    """All the talks, several at a time."""
    if OPENSSL is None:
        return {}
    folder = tmp_path_factory.mktemp("talks")
    authority().save(folder)
    authority("other-ca").save(folder / "other")
    shutil.copy(folder / "other" / "ca.crt", folder / "other.crt")
    for key_type in KEY_TYPES:
        server_credential(key_type).save(folder, f"server-{key_type}")
        client_credential(key_type).save(folder, f"client-{key_type}")
    with ThreadPoolExecutor(8) as pool:
        done = {
            name: pool.submit(converse, talk, folder, folder / f"talk{n}")
            for n, (name, talk) in enumerate(TALKS.items())
        }
        return {name: future.result() for name, future in done.items()}


SAVED = "mutual 1.3 ed25519"
"""The recording that `Transcript.wireshark` saves: nothing else tells of that handshake."""


def recorded() -> dict[str, Transcript]:
    """Recordings of this package, of every kind."""
    return {
        "retried": retried(),
        "recut": Transcript.from_bytes(recut(mutual(), 300), mutual().keylog),
        "in one record": Transcript.from_bytes(recut(mutual(), 16000), mutual().keylog),
        **{f"one-way {tls}": one_way(tls) for tls in VERSIONS},
        **{f"mutual {tls} {key}": mutual(tls, key) for tls in VERSIONS for key in KEY_TYPES},
        **{f"resumed {tls}": mutual(tls).resume() for tls in VERSIONS},
        **{f"{fault} {tls}": refused(fault, tls) for fault, tls in REFUSED},
    }


# --- openssl -msg -----------------------------------------------------------------------------------


@needs_openssl
def test_agrees_with_openssl(heard: dict[str, Heard]) -> None:
    """Every message that an end says it sent is the one we read, byte for byte, and there are no others."""
    for name, sender in product(TALKS, ("client", "server")):
        transcript = Transcript.from_bytes(heard[name].flights, heard[name].keylog)
        mine = [m for m in transcript.messages if m.sender == sender and m.content_type != "application_data"]
        theirs = heard[name].sent[sender]
        if TALKS[name].twice:
            theirs = theirs[-len(mine) :]
        assert [m.name.replace("HelloRetryRequest", "ServerHello") for m in mine] == [kind for kind, _ in theirs], name
        opened = [m.raw for m in mine if m.opened]
        assert opened == [raw for m, (_, raw) in zip(mine, theirs, strict=True) if m.opened], name
        assert all(m.opened for m in mine) or name in UNOPENED, name


@needs_openssl
def test_the_talks_are_what_their_names_say(heard: dict[str, Heard]) -> None:
    """The agreement is about the kinds of handshake that it should be about."""
    read = {name: Transcript.from_bytes(h.flights, h.keylog) for name, h in heard.items()}
    assert {t.tls_version for name, t in read.items() if "1.2" not in name} == {"TLSv1.3"}
    assert all(name == t.cipher_suite for name, t in read.items() if name.startswith("TLS_"))
    assert read["mutual, key update"].cipher_suite == "TLS_AES_256_GCM_SHA384"
    assert (read["no certificate"].refused_by, read["no certificate"].alert) == (
        "server",
        "certificate_required",
    )
    assert (read["server unknown"].refused_by, read["server unknown"].alert) == ("client", "unknown_ca")
    assert read["one-way, another group"].message("HelloRetryRequest").sender == "server"
    assert len(read["short records"].message("Certificate", "server").records) > 1
    assert {m.sender for m in read["mutual, key update"].messages if m.name == "KeyUpdate"} >= {"client"}
    assert read["resumed"].resumed
    assert read["mutual, key update"].message("CertificateRequest").fields["ca_names"] == ("CN=example-ca",)
    assert read["mutual chacha, 1.2"].message("CertificateRequest").fields["ca_names"] == ("CN=example-ca",)
    assert not any(m.name == "CertificateRequest" for n in read if "one-way" in n for m in read[n].messages)
    schemes = {read[n].message("CertificateVerify", "client").fields["scheme"] for n in read if "mutual" in n}
    assert schemes == {"ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "ed25519"}


# --- tshark -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A message as tshark or we see it. What tshark does not tell of its kind is None."""

    sender: str
    name: str
    size: int | None = None
    contents: tuple[str, ...] = ()


def seen_by_us(message: Message) -> Seen:
    """Reduce a message to what tshark tells: sender, name, size, and the contents that differ every time."""
    name = message.name.replace("HelloRetryRequest", "ServerHello")
    if not message.opened or message.content_type != "handshake":
        alert = message.fields.get("description")
        return Seen(message.sender, name, contents=(alert,) if alert else ())
    fields = message.fields
    contents = [c.public_bytes(Encoding.DER).hex() for c in fields.get("certificates", ())]
    contents += [fields["random"].hex()] if "random" in fields else []
    contents += [fields["signature"].hex()] if name == "CertificateVerify" else []
    contents += [fields["cipher_suite"]] if name == "ServerHello" else []
    return Seen(message.sender, name, message.size, tuple(contents))


def seen_in(proto: ET.Element, sender: str) -> Iterator[Seen]:
    """Walk the TLS part of one packet in tshark's PDML."""
    contents = [f"tls.handshake.{f}" for f in ("certificate", "random", "client_cert_vrfy.sig")]
    kinds = ("tls.handshake", "tls.change_cipher_spec", "tls.alert_message", "tls.app_data")
    for field in (field for field in proto.iter("field") if field.get("name") in kinds):
        inside = [(str(f.get("name")), f.get("value") or "") for f in field.iter("field")]
        values = dict(inside)
        kind = field.get("name")
        if kind == "tls.handshake" and "tls.handshake.type" in values:
            name = codepoints.HANDSHAKE_TYPES[int(values["tls.handshake.type"], 16)]
            found = [value for each, value in inside if each in contents]
            if name == "ServerHello":
                suite = int(values["tls.handshake.ciphersuite"], 16)
                found.append(codepoints.name(codepoints.CIPHER_SUITES, suite))
            yield Seen(sender, name, 4 + int(values["tls.handshake.length"], 16), tuple(found))
        elif kind == "tls.handshake" and "Encrypted" in (field.get("showname") or ""):
            yield Seen(sender, "Finished")
        elif kind == "tls.change_cipher_spec":
            yield Seen(sender, "ChangeCipherSpec")
        elif kind == "tls.alert_message":
            alerts = [codepoints.ALERTS[int(v, 16)] for k, v in inside if k == "tls.alert_message.desc"]
            yield Seen(sender, "Alert", contents=tuple(alerts))
        elif kind == "tls.app_data":
            yield Seen(sender, "ApplicationData")


@pytest.fixture(scope="module")
def seen_by_tshark(
    heard: dict[str, Heard], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Transcript, list[Seen]]]:
    """One run of tshark over one capture of all handshakes, told apart by the client's port.

    Of the one that is SAVED it has the two files of `Transcript.wireshark`, and nothing else.
    """
    pytest.importorskip("dpkt")
    assert TSHARK
    folder = tmp_path_factory.mktemp("capture")
    transcripts = {
        **{f"openssl: {n}": Transcript.from_bytes(h.flights, h.keylog) for n, h in heard.items()},
        **recorded(),
    }
    capture, keylog = transcripts[SAVED].wireshark(folder)  # its client's port is the first
    names = dict(zip(range(50000, 60000), sorted(transcripts, key=lambda name: name != SAVED), strict=False))
    others = [(pcap(transcripts[name].flights, port), transcripts[name].keylog) for port, name in names.items()][1:]
    (folder / "all.pcap").write_bytes(capture.read_bytes() + b"".join(each[24:] for each, _ in others))
    (folder / "all.keylog").write_text("\n".join([keylog.read_text(), *(each for _, each in others)]))
    options = ["-o", f"tls.keylog_file:{folder / 'all.keylog'}", "-T", "pdml", "-Y", "tls", "-J", "tcp tls"]
    done = subprocess.run(
        [TSHARK, "-r", str(folder / "all.pcap"), *options], capture_output=True, timeout=60, check=True
    )
    seen: dict[str, list[Seen]] = {name: [] for name in transcripts}
    for packet in ET.fromstring(done.stdout):
        ports = {f.get("name"): f.get("show") for f in packet.findall("proto[@name='tcp']/field")}
        source, target = int(ports["tcp.srcport"] or 0), int(ports["tcp.dstport"] or 0)
        sender, port = ("client", source) if target == 443 else ("server", target)
        for proto in packet.findall("proto[@name='tls']"):
            seen[names[port]] += seen_in(proto, sender)
    return {name: (transcripts[name], seen[name]) for name in transcripts}


@needs_tshark
def test_agrees_with_tshark(seen_by_tshark: dict[str, tuple[Transcript, list[Seen]]]) -> None:
    """The same messages, from the same senders, in the same order, with the same sizes and contents.

    And the two files of `Transcript.wireshark` are all that it needs of what one of them tells.
    """
    assert len(seen_by_tshark) >= len(recorded())
    assert seen_by_tshark[SAVED][1]
    for name, (transcript, seen) in seen_by_tshark.items():
        assert all(m.opened for m in transcript.messages) or name.removeprefix("openssl: ") in UNOPENED, name
        mine = [seen_by_us(m) for m in transcript.messages]
        assert [(m.sender, m.name) for m in mine] == [(s.sender, s.name) for s in seen], name
        for message, ours, theirs in zip(transcript.messages, mine, seen, strict=True):
            # We open what zlib has compressed (RFC 8879). The tshark of Debian 13 lists it, and looks no further.
            unseen = message.name == "CompressedCertificate" and not theirs.contents
            assert not message.opened or ours == (replace(theirs, contents=ours.contents) if unseen else theirs), name


# --- a server of Node.js ----------------------------------------------------------------------------

NODE_SERVER = """
const https = require('https'), fs = require('fs');
const server = https.createServer({
  ca: fs.readFileSync('ca.crt'), cert: fs.readFileSync('server.crt'), key: fs.readFileSync('server.key'),
  requestCert: true, rejectUnauthorized: true,
}, (request, reply) => reply.end('Hello World\\n'));
server.listen(0, '127.0.0.1', () => console.log(`${server.address().port}`));
"""


@needs_node
def test_a_node_server_names_its_cas(tmp_path: Path) -> None:
    """Node.js lists the names of the CAs it trusts in its CertificateRequest, and records show it."""
    assert NODE
    authority().save(tmp_path)
    server_credential().save(tmp_path, "server")
    with subprocess.Popen([NODE, "-e", NODE_SERVER], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout
            port = int(node.stdout.readline())
            transcripts = [
                record_from(
                    "127.0.0.1",
                    port,
                    server_ca=authority().certificate,
                    client_credential=client_credential(),
                    server_name="localhost",
                    tls=tls,
                    say=b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                    linger=5,
                )
                for tls in VERSIONS
            ]
        finally:
            node.kill()
    for transcript, tls in zip(transcripts, VERSIONS, strict=True):
        assert transcript.tls_version == f"TLSv{tls}"
        assert transcript.message("CertificateRequest").fields["ca_names"] == ("CN=example-ca",)
        assert any(m.raw.endswith(b"Hello World\n") for m in transcript.messages if m.name == "ApplicationData")
