"""Handshakes recorded in memory: what is in them, in which order, and that they were opened right."""

import contextlib
import datetime
import inspect
import random
import socket
import ssl
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mtlslab import CertificateAuthority, Credential, Server, errors, failures, new_csr, new_private_key
from mtlslab.contexts import TLSVersion, server_context
from mtlslab.credentials import KeyType
from mtlslab.handshake import Flight, Message, Transcript, codepoints, record, record_from, records
from mtlslab.handshake.messages import read_handshake_message
from mtlslab.handshake.records import Keys, Reader
from mtlslab.profiles import CLIENT, SERVER
from mutants import mutants

KEY_TYPES: tuple[KeyType, ...] = ("ec-p256", "rsa-2048", "ed25519")
VERSIONS: tuple[TLSVersion, ...] = ("1.2", "1.3")


P = ParamSpec("P")
T = TypeVar("T")


def once(make: Callable[P, T]) -> Callable[P, T]:
    """Make each thing once for all tests, however its arguments are spelt."""
    made: dict[tuple[object, ...], T] = {}
    signature = inspect.signature(make)

    def get(*args: P.args, **options: P.kwargs) -> T:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        if bound.args not in made:
            made[bound.args] = make(*args, **options)
        return made[bound.args]

    return get


@once
def authority(name: str = "example-ca") -> CertificateAuthority:
    return CertificateAuthority.create(name, days=365)


@once
def server_credential(key_type: KeyType = "ec-p256") -> Credential:
    return authority().issue("localhost", SERVER, names=["localhost", "127.0.0.1"], key_type=key_type)


@once
def client_credential(key_type: KeyType = "ec-p256", ca: str = "example-ca") -> Credential:
    if key_type != "rsa-2048":
        return authority(ca).issue("client", CLIENT, key_type=key_type)
    key = server_credential(key_type).private_key  # to find another RSA key takes longer than most tests
    return Credential(authority(ca).sign(new_csr(key, "client"), CLIENT), key)


@once
def one_way(tls: TLSVersion = "1.3") -> Transcript:
    return record(server_credential(), tls=tls)


@once
def mutual(tls: TLSVersion = "1.3", key_type: KeyType = "ec-p256") -> Transcript:
    return record(
        server_credential(key_type),
        authority().certificate,
        client_credential(key_type),
        tls,
        alpn=["http/1.1"],
    )


@once
def retried() -> Transcript:
    return record(server_credential(), authority().certificate, client_credential(), server_group="secp384r1")


def names(transcript: Transcript, sender: str | None = None) -> list[str]:
    return [m.name for m in transcript.messages if sender in (None, m.sender)]


def secret(transcript: Transcript, label: str) -> bytes:
    return next(bytes.fromhex(line.split()[2]) for line in transcript.keylog.splitlines() if line.split()[0] == label)


# --- which messages ---------------------------------------------------------------------------------

SERVER_13 = ["ServerHello", "ChangeCipherSpec", "EncryptedExtensions"]
PROOF = ["Certificate", "CertificateVerify", "Finished"]
TICKETS = ["NewSessionTicket"] * 2


def test_one_way_tls13() -> None:
    """RFC 8446 figure 1, without the parts in brackets."""
    assert names(one_way(), "server") == [*SERVER_13, *PROOF, *TICKETS]
    assert names(one_way(), "client") == ["ClientHello", "ChangeCipherSpec", "Finished"]


def test_mutual_tls13_adds_three_messages() -> None:
    """CertificateRequest, Certificate, CertificateVerify are all that mutual TLS adds."""
    assert names(mutual(), "server") == [*SERVER_13, "CertificateRequest", *PROOF, *TICKETS]
    assert names(mutual(), "client") == ["ClientHello", "ChangeCipherSpec", *PROOF]
    added = [(m.sender, m.name) for m in mutual().messages]
    for message in one_way().messages:
        added.remove((message.sender, message.name))
    assert added == [
        ("server", "CertificateRequest"),
        ("client", "Certificate"),
        ("client", "CertificateVerify"),
    ]


def test_mutual_tls12() -> None:
    """RFC 5246 figure 1, with a ticket (RFC 5077)."""
    assert names(mutual("1.2")) == [
        "ClientHello",
        *("ServerHello", "Certificate", "ServerKeyExchange", "CertificateRequest", "ServerHelloDone"),
        *("Certificate", "ClientKeyExchange", "CertificateVerify", "ChangeCipherSpec", "Finished"),
        *("NewSessionTicket", "ChangeCipherSpec", "Finished"),
    ]


def test_who_sees_whose_certificate() -> None:
    """TLS 1.2 shows both certificates to whoever listens, TLS 1.3 neither."""
    for tls in VERSIONS:
        certificates = [m for m in mutual(tls).messages if m.name == "Certificate"]
        assert [m.sender for m in certificates] == ["server", "client"]
        assert {m.encrypted for m in certificates} == {tls == "1.3"}


def test_resumption_sends_no_certificate() -> None:
    """A resumed handshake proves nothing anew: it has no Certificate and no CertificateVerify."""
    for tls in VERSIONS:
        first = mutual(tls)
        second = first.resume()
        assert (first.resumed, second.resumed) == (False, True)
        assert not {"Certificate", "CertificateVerify", "CertificateRequest"} & set(names(second)), tls
        assert (second.client_error, second.server_error) == (None, None), tls


@pytest.mark.parametrize("tls", VERSIONS)
def test_a_client_revoked_in_between_resumes_all_the_same(tls: TLSVersion) -> None:
    """The CRL that refuses a full handshake is never looked at in a resumed one."""
    ca, client = authority(), client_credential()
    now = datetime.datetime.now(datetime.UTC)
    revoked = (
        x509.RevokedCertificateBuilder().serial_number(client.certificate.serial_number).revocation_date(now).build()
    )
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - datetime.timedelta(hours=1))
        .next_update(now + datetime.timedelta(days=1))
        .add_revoked_certificate(revoked)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private_key.public_key()), critical=False)
        .sign(ca.private_key, hashes.SHA256())
    )
    refused = record(server_credential(), ca.certificate, client, tls, crl=crl)
    assert (refused.refused_by, refused.alert) == ("server", "certificate_revoked")
    first = record(server_credential(), ca.certificate, client, tls)
    resumed = first.resume(crl=crl)
    assert resumed.resumed
    assert resumed.alert is None


def test_hello_retry_request() -> None:
    """A server that wants another group says so; the client then greets it again (RFC 8446 §4.1.4)."""
    assert names(retried())[:5] == [
        *("ClientHello", "HelloRetryRequest", "ChangeCipherSpec", "ChangeCipherSpec", "ClientHello")
    ]
    assert retried().message("HelloRetryRequest").fields["key_share"] == "secp384r1"
    assert retried().message("ServerHello").fields["key_share"] == "secp384r1"
    assert retried().alert is None


def expired() -> Credential:
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)
    key = new_private_key()
    good = client_credential().certificate
    builder = x509.CertificateBuilder(
        issuer_name=good.issuer,
        subject_name=good.subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=long_ago,
        not_valid_after=long_ago + datetime.timedelta(days=1),
        extensions=[e for e in good.extensions if not isinstance(e.value, x509.SubjectKeyIdentifier)],
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Credential(builder.sign(authority().private_key, hashes.SHA256()), key)


REFUSALS: dict[str, tuple[dict[str, Any], str, str | dict[str, str]]] = {
    "no certificate": (
        {"client_credential": None},
        "server",
        {"1.2": "handshake_failure", "1.3": "certificate_required"},
    ),
    "unknown CA": ({"client_credential": lambda: client_credential(ca="other-ca")}, "server", "unknown_ca"),
    "expired": ({"client_credential": expired}, "server", "certificate_expired"),
    "wrong purpose": ({"client_credential": server_credential}, "server", "unsupported_certificate"),
    "stolen": (
        {"client_credential": lambda: Credential(client_credential().certificate, new_private_key())},
        "server",
        "decrypt_error",
    ),
    "server unknown": ({"server_ca": lambda: authority("other-ca").certificate}, "client", "unknown_ca"),
    "wrong host": ({"server_name": "example.org"}, "client", "bad_certificate"),
}
REFUSED: list[tuple[str, TLSVersion]] = [(fault, "1.3") for fault in REFUSALS]
REFUSED += [("no certificate", "1.2"), ("expired", "1.2"), ("server unknown", "1.2")]
"""Each refusal, and under TLS 1.2, where alerts are in the clear, one of each kind."""


def refused(fault: str, tls: TLSVersion) -> Transcript:
    options, _, _ = REFUSALS[fault]
    options = {name: value() if callable(value) else value for name, value in options.items()}
    options = {"client_credential": client_credential(), **options}
    return record(server_credential(), authority().certificate, tls=tls, **options)


def test_a_refusal_is_recorded_up_to_its_alert() -> None:
    """The alert is the last message; its sender is who refused; both ends' own errors are kept."""
    for fault, tls in REFUSED:
        _, by, alert = REFUSALS[fault]
        transcript = refused(fault, tls)
        assert transcript.refused_by == by, (fault, tls)
        assert transcript.alert == (alert if isinstance(alert, str) else alert[tls]), (fault, tls)
        assert transcript.messages[-1].name == "Alert", (fault, tls)
        assert isinstance(transcript.client_error, ssl.SSLError), (fault, tls)
        assert isinstance(transcript.server_error, ssl.SSLError), (fault, tls)
        with pytest.raises(ValueError, match="nothing to resume"):
            transcript.resume()


def test_optional_lets_in_a_client_that_answers_with_nothing() -> None:
    """A CertificateRequest is answered even so: with a Certificate message that holds no certificate."""
    for tls in VERSIONS:
        transcript = record(server_credential(), authority().certificate, tls=tls, client_auth="optional")
        assert transcript.alert is None
        assert transcript.message("Certificate", "client").fields["certificates"] == ()
        with pytest.raises(LookupError, match="no CertificateVerify from the client; it has ClientHello"):
            transcript.message("CertificateVerify", "client")


# --- what stands in them ----------------------------------------------------------------------------


def test_fields() -> None:
    """The fields a reader looks for are there, under the RFC's names."""
    hello = mutual().message("ClientHello").fields
    assert hello["server_name"] == "localhost"
    assert hello["alpn"] == ("http/1.1",)
    assert hello["supported_versions"][0] == "TLSv1.3"
    assert "TLS_AES_128_GCM_SHA256" in hello["cipher_suites"]
    assert set(hello["key_share"]) <= set(hello["supported_groups"])
    assert {"ecdsa_secp256r1_sha256", "ed25519", "rsa_pss_rsae_sha256"} <= set(hello["signature_algorithms"])
    answer = mutual().message("ServerHello").fields
    assert answer["version"] == mutual().tls_version == "TLSv1.3"
    assert answer["legacy_version"] == "TLSv1.2"
    assert answer["cipher_suite"] == mutual().cipher_suite
    assert answer["key_share"] == hello["key_share"][0]
    assert mutual().message("EncryptedExtensions").fields["alpn"] == "http/1.1"
    assert mutual().message("NewSessionTicket").fields["lifetime"] > 0
    shown = mutual().message("Certificate", "client").fields["certificates"]
    assert shown[0] == client_credential().certificate
    assert not any(name.startswith("0x") for name in hello["extensions"])


def test_pythons_server_names_no_ca() -> None:
    """Python's ssl sends no CA names in its CertificateRequest, whatever it trusts."""
    for tls in VERSIONS:
        assert mutual(tls).message("CertificateRequest").fields["ca_names"] == ()


@pytest.mark.parametrize("tls", VERSIONS)
def test_every_byte_is_accounted_for(tls: TLSVersion) -> None:
    """The records put together are the flights, and every record belongs to a message."""
    transcript = mutual(tls)
    for sender in ("client", "server"):
        crossed = b"".join(flight.data for flight in transcript.flights if flight.sender == sender)
        assert crossed == b"".join(r.raw for r in transcript.records if r.sender == sender)
    assert {n for m in transcript.messages for n in m.records} == set(range(len(transcript.records)))
    assert all(
        m.size == len(m.raw) == 4 + int.from_bytes(m.raw[1:4])
        for m in transcript.messages
        if m.content_type == "handshake"
    )


def test_round_trips() -> None:
    """TLS 1.3 lets the client speak after one round trip, TLS 1.2 after two; mutual TLS costs none more."""
    assert [f.sender for f in mutual().flights][:3] == [f.sender for f in one_way().flights][:3]
    assert len(mutual("1.2").flights) == len(one_way("1.2").flights) == 4
    assert len(retried().flights) == len(mutual().flights) + 2


# --- that it was opened right: both sides' proofs, checked by hand ------------------------------------


def said_before(transcript: Transcript, message: Message) -> tuple[bytes, hashes.HashAlgorithm]:
    """What a CertificateVerify or Finished stands for: all handshake messages before it (RFC 8446 §4.4.1)."""
    suite = next(s for s in codepoints.CIPHER_SUITES.values() if s.name == transcript.cipher_suite)
    said = b""
    for each in transcript.messages:
        if each is message:
            return said, records.hash_of(suite)
        if each.name == "HelloRetryRequest":  # the first ClientHello is replaced by its hash
            said = b"\xfe\0\0" + bytes([records.hash_of(suite).digest_size]) + digest(said, records.hash_of(suite))
        if each.content_type == "handshake" and each.name != "HelloRequest":
            said += each.raw
    raise AssertionError


def digest(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    h = hashes.Hash(algorithm)
    h.update(data)
    return h.finalize()


def verify(public_key: object, scheme: str, signature: bytes, data: bytes) -> None:
    by_name: dict[str, hashes.HashAlgorithm] = {"384": hashes.SHA384(), "512": hashes.SHA512()}
    algorithm = by_name.get(scheme[-3:], hashes.SHA256())
    if isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(signature, data, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, data, ec.ECDSA(algorithm))
    else:
        assert isinstance(public_key, ed25519.Ed25519PublicKey)
        public_key.verify(signature, data)


def check_certificate_verify(transcript: Transcript, sender: str) -> None:
    message = transcript.message("CertificateVerify", sender)
    said, algorithm = said_before(transcript, message)
    signed = said
    if transcript.tls_version == "TLSv1.3":
        signed = b" " * 64 + f"TLS 1.3, {sender} CertificateVerify".encode() + b"\0" + digest(said, algorithm)
    public_key = transcript.message("Certificate", sender).fields["certificates"][0].public_key()
    verify(public_key, message.fields["scheme"], message.fields["signature"], signed)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_certificate_verify(key_type: KeyType) -> None:
    """The opened CertificateVerify is a signature over the opened messages before it (RFC 8446 §4.4.3).

    TLS 1.2 signs the messages themselves (RFC 5246 §7.4.8), and the server has another message for it.
    """
    check_certificate_verify(mutual("1.3", key_type), "client")
    check_certificate_verify(mutual("1.3", key_type), "server")
    check_certificate_verify(mutual("1.2", key_type), "client")


def test_certificate_verify_after_a_retry() -> None:
    """With a HelloRetryRequest the first ClientHello counts as its hash."""
    check_certificate_verify(retried(), "server")
    check_certificate_verify(retried(), "client")


def test_a_stolen_certificate_does_not_verify() -> None:
    """A copied certificate without its key signs nothing that its public key would verify."""
    for tls in VERSIONS:
        with pytest.raises(InvalidSignature):
            check_certificate_verify(refused("stolen", tls), "client")


def test_finished_tls13() -> None:
    """The opened Finished is the MAC that RFC 8446 §4.4.4 asks for."""
    for transcript in (one_way(), mutual(), retried(), mutual().resume()):
        for sender in ("client", "server"):
            message = transcript.message("Finished", sender)
            said, algorithm = said_before(transcript, message)
            base = secret(transcript, f"{sender.upper()}_HANDSHAKE_TRAFFIC_SECRET")
            key = records.hkdf_expand_label(base, "finished", b"", algorithm.digest_size, algorithm)
            code = hmac.HMAC(key, algorithm)
            code.update(digest(said, algorithm))
            code.verify(message.fields["verify_data"])


def test_finished_tls12() -> None:
    """The opened Finished is what RFC 5246 §7.4.9 asks for."""
    for transcript in (one_way("1.2"), mutual("1.2"), mutual("1.2").resume()):
        for sender in ("client", "server"):
            message = transcript.message("Finished", sender)
            said, algorithm = said_before(transcript, message)
            master, label = secret(transcript, "CLIENT_RANDOM"), f"{sender} finished"
            expected = records.tls12_prf(master, label, digest(said, algorithm), 12, algorithm)
            assert message.fields["verify_data"] == expected


def test_key_schedule_of_rfc_8448() -> None:
    """RFC 8448 §3 prints the secrets and keys of one handshake: ours come out the same."""
    traffic = bytes.fromhex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38")
    keys = records.traffic_keys(traffic, codepoints.CIPHER_SUITES[0x1301])
    assert keys.key == bytes.fromhex("3fce516009c21727d0f2e4e86ee403bc")
    assert keys.iv == bytes.fromhex("5d313eb2671276ee13000b30")


# --- records and messages that do not coincide ----------------------------------------------------------


def plain_record(content_type: int, content: bytes) -> bytes:
    return bytes([content_type, 3, 3]) + len(content).to_bytes(2) + content


def sealed_record(keys: Keys, sequence: int, content_type: int, content: bytes, zeros: int = 0) -> bytes:
    inner = content + bytes([content_type]) + bytes(zeros)
    header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
    return header + AESGCM(keys.key).encrypt(records.nonce(keys.iv, sequence), inner, header)


def recut(transcript: Transcript, size: int, zeros: int = 0) -> list[Flight]:
    """The same handshake, the server's encrypted messages cut into records of `size` bytes each."""
    suite = codepoints.CIPHER_SUITES[0x1302]
    assert transcript.cipher_suite == suite.name
    keys = records.traffic_keys(secret(transcript, "SERVER_HANDSHAKE_TRAFFIC_SECRET"), suite)
    flight = [m for m in transcript.messages if m.sender == "server" and m.name != "NewSessionTicket"]
    hidden = b"".join(m.raw for m in flight if m.encrypted)
    hello = plain_record(22, flight[0].raw) + plain_record(20, b"\1")
    pieces = [hidden[i : i + size] for i in range(0, len(hidden), size)]
    cut = b"".join(sealed_record(keys, n, 22, piece, zeros) for n, piece in enumerate(pieces))
    return [transcript.flights[0], Flight("server", hello + cut), *transcript.flights[2:]]


@pytest.mark.parametrize("size", [1, 100, 16000])
def test_messages_over_several_records_and_several_in_one(size: int) -> None:
    """However the sender cuts its messages into records, the messages are the same (RFC 8446 §5.1)."""
    again = Transcript.from_bytes(recut(mutual(), size, zeros=7), mutual().keylog)
    assert [m.raw for m in again.messages] == [m.raw for m in mutual().messages]
    shared = again.message("EncryptedExtensions").records, again.message("Finished", "server").records
    assert (shared[0] == shared[1]) == (size == 16000)
    assert (len(again.message("Certificate", "server").records) == 1) == (size == 16000)
    spans = [m.records for m in again.messages if m.sender == "server" and m.encrypted][:5]
    assert all(list(s) == list(range(s[0], s[-1] + 1)) for s in spans)
    assert all(after[0] - before[-1] in (0, 1) for before, after in pairwise(spans))


def test_tls12_messages_recut() -> None:
    """In TLS 1.2 too: the server's whole flight in one record, the client's certificate in many."""
    source = mutual("1.2")
    hello, _, answer, last = source.flights
    server = b"".join(m.raw for m in source.messages[1:6])
    clear = [m.raw for m in source.messages[6:9]]
    rest = answer.data[sum(5 + len(raw) for raw in clear) :]
    pieces = b"".join(plain_record(22, bytes([b])) for b in b"".join(clear))
    flights = [hello, Flight("server", plain_record(22, server)), Flight("client", pieces + rest), last]
    again = Transcript.from_bytes(flights, source.keylog)
    assert [m.raw for m in again.messages] == [m.raw for m in source.messages]
    assert len({m.records for m in again.messages[1:6]}) == 1


def test_flights_may_come_in_pieces() -> None:
    """Where reads end has nothing to do with where records end."""
    pieces = [(f.sender, bytes([b])) for f in mutual().flights for b in f.data]
    assert Transcript.from_bytes(pieces, mutual().keylog).messages == mutual().messages


def test_key_update_and_application_data() -> None:
    """After a KeyUpdate the next secret opens what follows (RFC 8446 §7.2)."""
    source, suite = mutual(), codepoints.CIPHER_SUITES[0x1302]
    traffic = secret(source, "CLIENT_TRAFFIC_SECRET_0")
    first, second = (records.traffic_keys(s, suite) for s in (traffic, records.next_secret(traffic, suite)))
    more = sealed_record(first, 0, 22, b"\x18\0\0\1\1") + sealed_record(second, 0, 23, b"hello")
    more += sealed_record(second, 1, 21, b"\1\0")
    again = Transcript.from_bytes([*source.flights, ("client", more)], source.keylog)
    assert [m.name for m in again.messages[-3:]] == ["KeyUpdate", "ApplicationData", "Alert"]
    assert again.messages[-3].fields["request_update"] is True
    assert again.messages[-2].raw == b"hello"
    assert again.alert is None  # close_notify refuses nothing


def test_a_compressed_certificate() -> None:
    """Newer OpenSSL compresses the client's certificate (RFC 8879): it is read, as far as Python can undo it."""
    plain = mutual().message("Certificate", "client")
    packed = zlib.compress(plain.raw[4:])

    def compressed(algorithm: int, length: int, data: bytes) -> dict[str, Any]:
        body = algorithm.to_bytes(2) + length.to_bytes(3) + len(data).to_bytes(3) + data
        raw = bytes([25]) + len(body).to_bytes(3) + body
        return read_handshake_message(Reader(raw, "client"), "TLSv1.3", None)[1]

    assert compressed(1, plain.size - 4, packed)["certificates"] == plain.fields["certificates"]
    assert compressed(2, 99, b"?") == {"algorithm": "brotli", "uncompressed_length": 99}
    for wrong in ((1, plain.size - 5, packed), (1, plain.size, packed), (1, 9, b"?")):
        with pytest.raises(failures.TranscriptError, match="byte 12: this d"):
            compressed(*wrong)


# --- the eavesdropper ------------------------------------------------------------------------------------


def test_without_the_key_log() -> None:
    """An eavesdropper of TLS 1.3 sees two Hellos and records; of TLS 1.2 all but the Finished."""
    blind = Transcript.from_bytes(mutual().flights)
    assert names(blind)[:4] == ["ClientHello", "ServerHello", "ChangeCipherSpec", "EncryptedRecord"]
    assert not any(m.opened for m in blind.messages if m.encrypted)
    assert b"example-ca" not in b"".join(f.data for f in mutual().flights)
    assert names(Transcript.from_bytes(mutual("1.2").flights)) == names(mutual("1.2"))
    assert b"example-ca" in b"".join(f.data for f in mutual("1.2").flights)


def test_another_handshakes_key_log() -> None:
    """Secrets are looked up by the client's random: another handshake's open nothing."""
    other = record(server_credential())
    assert "EncryptedRecord" in names(Transcript.from_bytes(mutual().flights, other.keylog))


# --- bytes that are not TLS ------------------------------------------------------------------------------


def failing(flights: Iterable[tuple[str, bytes]], keylog: str = "") -> tuple[str, int, int, str]:
    with pytest.raises(failures.TranscriptError) as caught:
        Transcript.from_bytes(flights, keylog)
    error = caught.value
    assert f"byte {error.offset}" in str(error)
    return error.sender, error.record, error.offset, error.reason


def test_errors_say_which_byte_of_which_record() -> None:
    """Sender, record, byte and reason, each as data."""
    hello, flight, *_ = mutual().flights
    assert failing([("client", b"GET / HTTP/1.1")])[:3] == ("client", 0, 0)
    assert "plain text" in failing([("client", b"GET / HTTP/1.1")])[3]
    assert failing([("client", b"\x16\x02\x00\0\0")])[:3] == ("client", 0, 1)
    assert failing([("client", b"\x16\x03\x01\xff\xff")])[:3] == ("client", 0, 3)
    assert failing([("client", hello.data[:100])])[:3] == ("client", 0, 100)
    assert failing([hello, ("server", flight.data[:-1])])[:2] == ("server", 7)
    odd = bytearray(flight.data)
    odd[10 + sum(len(r.raw) for r in mutual().records[1:3])] ^= 1
    kind = failing([hello, ("server", bytes(odd))], mutual().keylog)
    assert kind[:3] == ("server", 3, 5)
    assert "does not open" in kind[3]
    *first, answer, _ = mutual("1.2").flights  # it ends with the client's Finished
    odd = bytearray(answer.data)
    odd[-1] ^= 1
    assert "does not open" in failing([*first, ("client", bytes(odd))], mutual("1.2").keylog)[3]
    assert failing([("server", b"\x17\x03\x03\0\1\0")])[:3] == ("server", 0, 0)
    assert failing([("client", plain_record(22, b"\x63\0\0\0"))])[:3] == ("client", 0, 5)
    assert failing([("client", plain_record(22, b""))])[:3] == ("client", 0, 5)
    assert failing([("client", plain_record(22, b"\1\0") + plain_record(21, b"\2\x28"))])[:3] == (
        "client",
        1,
        0,
    )
    assert failing([("client", plain_record(21, b"\7\x28"))])[:3] == ("client", 0, 5)
    assert failing([hello], "CLIENT_RANDOM zz zz")[:3] == ("key log", 0, 0)


def test_what_comes_at_the_wrong_time_is_placed() -> None:
    """An old version, keys that change in mid-record, a message without its end, an odd ChangeCipherSpec."""
    hello, answer = mutual("1.2").flights[0], mutual("1.2").message("ServerHello").raw
    old = failing([hello, ("server", plain_record(22, answer[:4] + b"\3\2" + answer[6:]))])
    assert old[:3] == ("server", 1, 9)
    assert "TLSv1.1 is not read here" in old[3]
    mixed = mutual().message("ServerHello").raw + b"\x08\0"
    assert failing([mutual().flights[0], ("server", plain_record(22, mixed))])[:3] == ("server", 1, 5)
    assert failing([("client", plain_record(22, b"\1\0\0\x09ab"))])[:3] == ("client", 0, 11)
    assert failing([("client", plain_record(20, b"\2"))])[:3] == ("client", 0, 5)


def test_the_byte_is_right_across_records() -> None:
    """A fault in a message's second record is placed in that record."""
    source = mutual("1.2")
    raw = bytearray(source.message("Certificate", "server").raw)
    raw[10] ^= 0xFF  # the certificate's own first byte
    hello, answer = source.flights[0], source.message("ServerHello").raw
    flight = plain_record(22, answer) + plain_record(22, bytes(raw[:10])) + plain_record(22, bytes(raw[10:]))
    assert failing([hello, ("server", flight)])[:3] == ("server", 3, 5)


def mutations(original: bytes, rng: random.Random) -> bytes:
    """One way or another to spoil bytes."""
    data, at = bytearray(original), rng.randrange(len(original))
    match rng.randrange(6):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at] = rng.randrange(256)
        case 2:
            del data[at:]
        case 3:
            del data[at : at + rng.randrange(1, 40)]
        case 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 40))
        case 5:
            data[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff"])
    return bytes(data)


@pytest.mark.parametrize("kind", ["1.3", "1.2", "retried", "in the clear"])
def test_mutated_handshakes(kind: str) -> None:
    """Fifty spoiled transcripts of each kind: each is read and shown, or refused with TranscriptError."""
    rng = random.Random(kind)
    source = {"1.3": mutual, "1.2": lambda: mutual("1.2"), "retried": retried, "in the clear": mutual}[kind]()
    keylog = "" if kind == "in the clear" else source.keylog
    refusals = 0
    for _ in range(50):
        flights = list(source.flights)
        n = rng.randrange(len(flights))
        flights[n] = Flight(flights[n].sender, mutations(flights[n].data, rng))
        error, again = None, None
        try:
            again = Transcript.from_bytes(flights, keylog)
        except failures.TranscriptError as refusal:
            error = refusal
            refusals += 1
        assert error is None or 0 <= error.record <= len(source.records) + 40
        assert error is None or error.offset >= 0
        assert again is None or again._repr_mimebundle_()
    assert refusals > 10


@pytest.mark.parametrize("tls", VERSIONS)
def test_mutated_messages(tls: TLSVersion) -> None:
    """A thousand spoiled messages, beneath the encryption: each is read or refused with TranscriptError."""
    rng = random.Random(tls)
    source = mutual(tls)
    messages = [m for m in source.messages if m.content_type == "handshake"]
    for _ in range(1000):
        raw = mutations(rng.choice(messages).raw, rng)
        if rng.randrange(2) and len(raw) > 4:  # with a length that fits, the fault lies deeper
            raw = raw[:1] + (len(raw) - 4).to_bytes(3) + raw[4:]
        offset = 0
        try:
            read_handshake_message(Reader(raw, "client"), source.tls_version, source.cipher_suite)
        except failures.TranscriptError as error:
            offset = error.offset
        assert 0 <= offset <= len(raw)


# --- showing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", VERSIONS)
def test_shown_the_same_on_every_run(tls: TLSVersion) -> None:
    """Diagram and text hold names and verdicts, and nothing that varies."""

    def accepted() -> Transcript:
        return record(server_credential(), authority().certificate, client_credential(), tls)

    for recorded in (accepted, partial(refused, "no certificate", tls)):
        shown = recorded()._repr_mimebundle_()
        assert all(recorded()._repr_mimebundle_() == shown for _ in range(2))
        assert set(shown) == {"text/vnd.mermaid", "text/plain"}
        assert all(word in shown["text/vnd.mermaid"] for word in ("accTitle", "accDescr"))


def test_a_refusal_is_a_crossed_arrow() -> None:
    """In the diagram -x, in the text x; what is encrypted is drawn otherwise than what is not."""
    shown = refused("no certificate", "1.3")._repr_mimebundle_()
    assert "server--xclient: Alert: certificate_required" in shown["text/vnd.mermaid"]
    assert shown["text/vnd.mermaid"].count("rect ") == shown["text/vnd.mermaid"].count("    end")
    assert "client x==== server  Alert                certificate_required" in shown["text/plain"]
    shown = refused("no certificate", "1.2")._repr_mimebundle_()
    assert "server-xclient: Alert: handshake_failure" in shown["text/vnd.mermaid"]
    assert "-x" not in mutual()._repr_mimebundle_()["text/vnd.mermaid"]


def test_names_cannot_break_the_diagram() -> None:
    """A name of a certificate that means something to Mermaid is escaped."""
    credential = authority().issue("a;b#c<d>", CLIENT)
    shown = record(server_credential(), authority().certificate, credential)._repr_mimebundle_()
    assert "b#35;c" in shown["text/vnd.mermaid"]


# --- files, options, other servers -------------------------------------------------------------------------


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The files that `ssl` needs are gone when the recording ends, whether it succeeds or not."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    record(server_credential(), authority().certificate, client_credential()).resume()
    refused("no certificate", "1.2")
    with pytest.raises(errors.KeyMismatch):
        record(Credential(server_credential().certificate, new_private_key("ed25519")))
    assert list(tmp_path.iterdir()) == []


def test_options() -> None:
    """A wrong option is named with its cure."""
    wrong: list[dict[str, Any]] = [
        {"tls": "1.1"},
        {"client_auth": "required"},
        {"client_auth": "maybe"},
        {"server_group": "p1"},
    ]
    for options in wrong:
        with pytest.raises(errors.OptionRefused):
            record(server_credential(), **options)
    with pytest.raises(ValueError, match="nothing to resume"):
        Transcript.from_bytes(mutual().flights).resume()
    with pytest.raises(ValueError, match="sender"):
        Transcript.from_bytes([("nobody", b"")])


def test_wireshark_files(tmp_path: Path) -> None:
    """Two files, the secrets for their owner's eyes only, and none overwritten unasked."""
    pytest.importorskip("dpkt")
    capture, keylog = mutual().wireshark(tmp_path / "new")
    assert capture.read_bytes()[:4] == b"\xd4\xc3\xb2\xa1"
    assert keylog.read_text() == mutual().keylog
    if sys.platform != "win32":
        assert keylog.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        mutual().wireshark(tmp_path / "new")
    mutual().wireshark(tmp_path / "new", overwrite=True)


def test_wireshark_writes_both_files_or_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the capture cannot take its place, both files are as they were, and the key log lies nowhere else."""
    pytest.importorskip("dpkt")
    files = mutual().wireshark(tmp_path)
    before, replace = [path.read_bytes() for path in files], Path.replace

    def refuse(source: Path, target: Path) -> Path:
        if target.suffix == ".pcap":
            raise OSError(28, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(errors.FileUnwritable, match="No space left on device"):
        mutual("1.2").wireshark(tmp_path, overwrite=True)
    assert [path.read_bytes() for path in files] == before
    assert sorted(tmp_path.iterdir()) == sorted(files)


@pytest.mark.parametrize("tls", VERSIONS)
def test_record_from_a_server_on_the_network(tls: TLSVersion) -> None:
    """A real server's handshake is recorded from the client's end, its reply and its refusal too."""
    ca = authority().certificate
    with Server(server_credential(), client_ca=ca, port=0) as server:
        get = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert server.port
        dial = partial(
            record_from, "127.0.0.1", server.port, server_ca=ca, server_name="localhost", tls=tls, say=get, linger=5
        )
        heard = dial(client_credential=client_credential())
        assert (heard.tls_version, heard.alert, heard.client_error) == (f"TLSv{tls}", None, None)
        assert any(b"Hello World" in m.raw for m in heard.messages if m.name == "ApplicationData")
        assert heard.messages[-1].fields.get("description") == "close_notify"
        refusal = dial()
        assert refusal.refused_by == "server"
        assert isinstance(refusal.client_error, ssl.SSLError)


def dial_what_is_no_tls_server(then: Callable[[socket.socket], object], timeout: float = 60) -> Transcript:
    """Record a handshake with a server that does as it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=lambda: then(listener.accept()[0]))
        answering.start()
        try:
            ca = authority().certificate
            return record_from("127.0.0.1", listener.getsockname()[1], server_ca=ca, timeout=timeout, linger=0.1)
        finally:
            answering.join()


def test_record_from_what_is_no_tls_server() -> None:
    """Silence is waited for so long and no longer, another protocol is named, a hang-up is the client's error."""
    held: list[socket.socket] = []
    with pytest.raises(TimeoutError):
        dial_what_is_no_tls_server(held.append, timeout=0.2)
    held[0].close()
    with pytest.raises(failures.TranscriptError, match="plain text"):
        dial_what_is_no_tls_server(lambda plain: plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    left = dial_what_is_no_tls_server(lambda plain: plain.recv(65536))
    assert isinstance(left.client_error, ssl.SSLEOFError | ssl.SSLZeroReturnError)  # the latter: Python 3.11.2
    assert names(left) == ["ClientHello"]


def test_a_goodbye_in_mid_handshake_is_the_clients_error() -> None:
    """A client whose handshake was not done is not content, however politely the server ends it."""
    left = dial_what_is_no_tls_server(lambda plain: plain.sendall(b"\x15\x03\x03\x00\x02\x01\x00"))
    assert isinstance(left.client_error, ssl.SSLZeroReturnError)


def talk_on(plain: socket.socket, context: ssl.SSLContext | None, what: bytes, pause: float) -> None:
    """Say `what` again and again, until the caller has gone."""
    with contextlib.suppress(OSError):
        wire = context.wrap_socket(plain, server_side=True) if context else plain
        while True:
            wire.sendall(what)
            time.sleep(pause)


@pytest.mark.parametrize(
    ("tls", "what", "pause"), [("1.2", b"x", 0.02), ("1.3", b"x" * 100_000, 0)], ids=["drips", "floods"]
)
def test_a_server_that_talks_on_is_cut_short(tls: TLSVersion, what: bytes, pause: float) -> None:
    """It is listened to for as long as the timeout says, and for no more than enough; what it said so far is there."""
    context = server_context(server_credential(), client_auth="none")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: talk_on(listener.accept()[0], context, what, pause), daemon=True).start()
        heard = record_from(
            *("127.0.0.1", listener.getsockname()[1]),
            server_ca=authority().certificate,
            server_name="localhost",
            tls=tls,
            timeout=1 if pause else 60,
            linger=30,
        )
    assert heard.client_error is None
    assert heard.messages[-1].name == "ApplicationData"


def drip_a_record(plain: socket.socket) -> None:
    """Begin a ServerHello that takes minutes."""
    plain.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x30\x00")
    talk_on(plain, None, b"\x03", 0.01)


def test_a_server_that_drips_in_its_handshake_is_left() -> None:
    """The handshake's time is over when it is over, however often something comes."""
    with pytest.raises(TimeoutError):
        dial_what_is_no_tls_server(drip_a_record, timeout=0.2)


def test_no_changed_reply_makes_a_recording_fail_otherwise() -> None:
    """Of servers that say almost the right thing, each is recorded, or a documented error says why not."""
    contexts = [server_context(server_credential(), client_ca=authority().certificate) for _ in range(2)]
    contexts[1].maximum_version = ssl.TLSVersion.TLSv1_2
    ends = {"server_ca": authority().certificate, "client_credential": client_credential(), "server_name": "localhost"}
    recorded = 0
    with mutants(contexts, seed=2) as port:
        for _ in range(40):
            with contextlib.suppress(OSError, failures.TranscriptError):
                heard = record_from("127.0.0.1", port, **ends, timeout=0.2, linger=0.01, say=b"GET / HTTP/1.1\r\n\r\n")  # type: ignore[arg-type]
                recorded += bool(heard.messages)
    assert recorded > 4


def test_resumptions_at_once_are_recorded_one_after_the_other() -> None:
    """Threads that resume the same handshake at the same time all get their recording, and the process goes on."""
    first = record(server_credential(), authority().certificate, client_credential())
    with ThreadPoolExecutor(8) as threads:
        again = list(threads.map(lambda _: first.resume(), range(16)))
    assert all(transcript.resumed and transcript.alert is None for transcript in again)


BAD_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *(("server_name", {"server_name": name}) for name in ("", ".x", "a\0b", "x" * 300, 7)),
    *(("alpn", {"alpn": protocols}) for protocols in ([""], [7], ["é"], ["x" * 256], 7)),
    *(("server_group", {"server_group": group}) for group in ("no-such-group", 7)),
    ("tls_max", {"tls": "1.1"}),
    ("client_auth", {"client_auth": "always"}),
    ("crls", {"crl": 7}),
]


def test_an_option_that_cannot_be_used_is_named() -> None:
    """What Python or OpenSSL does not take is the caller's error, and named."""
    for option, options in BAD_OPTIONS:
        with pytest.raises(errors.OptionRefused) as refused:
            record(server_credential(), authority().certificate, **options)
        assert refused.value.option == option, options


BAD_ADDRESSES: list[tuple[str, dict[str, Any]]] = [
    *(("port", {"port": port}) for port in (0, 65536, -1, "443", None)),
    *(("host", {"host": host}) for host in (7, "x" * 300)),
    *(("timeout", {"timeout": timeout}) for timeout in (0, -1, "5", float("nan"))),
    ("server_name", {"server_name": ""}),
]


def test_an_address_that_cannot_be_dialled_is_named() -> None:
    """The same of `record_from`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = {"host": "127.0.0.1", "port": listener.getsockname()[1], "server_ca": authority().certificate}
        for option, options in BAD_ADDRESSES:
            with pytest.raises(errors.OptionRefused) as refused:
                record_from(**{**address, **options})
            assert refused.value.option == option, options


def test_who_says_goodbye_does_not_refuse() -> None:
    """Every alert but close_notify and user_canceled ends a handshake as an error, with a name or without."""
    hello = mutual().flights[0]
    for number, alert in ((0, None), (90, None), (117, "general_error"), (127, "0x007f")):
        heard = Transcript.from_bytes([hello, Flight("server", b"\x15\x03\x03\x00\x02\x02" + bytes([number]))])
        assert (heard.alert, heard.refused_by) == (alert, alert and "server")
