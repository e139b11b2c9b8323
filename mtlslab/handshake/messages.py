"""What stands in the messages of a handshake: from a message's bytes to its fields.

RFC 8446/9846 §4 for TLS 1.3, RFC 5246 §7.4 for TLS 1.2. One small function for each kind of message, and one for
each extension that is worth reading; what is not read is named all the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mtlslab.handshake import codepoints
from mtlslab.handshake.codepoints import name
from mtlslab.handshake.der import wrap
from mtlslab.handshake.records import Reader

Fields = dict[str, Any]

# What cryptography raises for DER that is not what it should be. KeyError is of its version 45, and so are warnings,
# which somebody may have turned into errors.
_MALFORMED = (ValueError, TypeError, KeyError, Warning, x509.InvalidVersion, UnsupportedAlgorithm)

# A ServerHello with this random is a HelloRetryRequest (RFC 8446 §4.1.3/9846 §4.2.3): SHA-256 of "HelloRetryRequest".
HELLO_RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def _names(table: Mapping[int, str], body: Reader, length_length: int, what: str, size: int = 2) -> tuple[str, ...]:
    items = body.vector(length_length, what)
    found = []
    while items:
        found.append(name(table, items.number(size, what)))
    return tuple(found)


def _name_in_der(der: bytes) -> x509.Name:
    """Read a distinguished name: as an empty CSR's subject, for cryptography before 49 reads none alone."""
    ed25519 = bytes.fromhex("300506032b6570")
    key = wrap(0x30, ed25519, wrap(0x03, bytes(33)))
    request = wrap(0x30, b"\x02\x01\x00", der, key, b"\xa0\x00")
    return x509.load_der_x509_csr(wrap(0x30, request, ed25519, wrap(0x03, bytes(65)))).subject


def _distinguished_names(body: Reader) -> tuple[str, ...]:
    items, found = body.vector(2, "the list of CA names"), []
    while items:
        item = items.vector(2, "a CA name")
        der = item.rest()
        try:
            found.append(_name_in_der(der).rfc4514_string())
        except _MALFORMED:
            raise item.fail("this is not a distinguished name in DER", len(der)) from None
    return tuple(found)


def _certificate(item: Reader) -> x509.Certificate:
    der = item.rest()
    try:
        certificate = x509.load_der_x509_certificate(der)
        # These are read on demand: a fault shows here.
        _ = certificate.subject, certificate.issuer, certificate.public_key()
    except _MALFORMED:
        raise item.fail("this is not a certificate in DER", len(der)) from None
    return certificate


# --- extensions (RFC 8446 §4.2/9846 §4.3) -------------------------------------------------------------------


def _server_name(body: Reader, message: str) -> Fields:
    if message != "ClientHello":
        return {}  # the server's is empty, and says "I have used it" (RFC 6066 §3)
    items, host = body.vector(2, "server_name"), None
    while items:
        kind = items.number(1, "the kind of name")
        text = items.vector(2, "the host name").rest()
        host = text.decode("ascii", "backslashreplace") if kind == 0 else host
    return {"server_name": host}


def _alpn(body: Reader, message: str) -> Fields:
    items, protocols = body.vector(2, "the list of protocols"), []
    while items:
        protocols.append(items.vector(1, "a protocol's name").rest().decode("ascii", "backslashreplace"))
    if message == "ClientHello":
        return {"alpn": tuple(protocols)}
    if len(protocols) != 1:
        raise items.fail("a server chooses exactly one protocol")
    return {"alpn": protocols[0]}


def _supported_versions(body: Reader, message: str) -> Fields:
    if message == "ClientHello":
        return {"supported_versions": _names(codepoints.VERSIONS, body, 1, "supported_versions")}
    return {"version": name(codepoints.VERSIONS, body.number(2, "the version chosen"))}


def _key_share(body: Reader, message: str) -> Fields:
    if message == "HelloRetryRequest":
        return {"key_share": name(codepoints.NAMED_GROUPS, body.number(2, "the group wanted"))}

    def share(items: Reader) -> str:
        group = name(codepoints.NAMED_GROUPS, items.number(2, "a key share's group"))
        items.vector(2, "a key share").rest()
        return group

    if message == "ServerHello":
        return {"key_share": share(body)}
    items, groups = body.vector(2, "the list of key shares"), []
    while items:
        groups.append(share(items))
    return {"key_share": tuple(groups)}


def _pre_shared_key(body: Reader, message: str) -> Fields:
    if message == "ServerHello":
        return {"psk_chosen": body.number(2, "the ticket chosen")}
    items, identities = body.vector(2, "the list of tickets"), 0
    while items:
        items.vector(2, "a ticket").rest()
        items.number(4, "a ticket's age")
        identities += 1
    body.vector(2, "the list of binders").rest()
    return {"psk_offered": identities}


def _groups(body: Reader, _message: str) -> Fields:
    return {"supported_groups": _names(codepoints.NAMED_GROUPS, body, 2, "supported_groups")}


def _signature_algorithms(body: Reader, _message: str) -> Fields:
    return {"signature_algorithms": _names(codepoints.SIGNATURE_SCHEMES, body, 2, "signature_algorithms")}


def _certificate_authorities(body: Reader, _message: str) -> Fields:
    return {"ca_names": _distinguished_names(body)}


_EXTENSIONS: Mapping[str, Callable[[Reader, str], Fields]] = {
    "server_name": _server_name,
    "application_layer_protocol_negotiation": _alpn,
    "supported_versions": _supported_versions,
    "supported_groups": _groups,
    "signature_algorithms": _signature_algorithms,
    "key_share": _key_share,
    "pre_shared_key": _pre_shared_key,
    "certificate_authorities": _certificate_authorities,
}


def _extensions(body: Reader, message: str) -> Fields:
    items = body.vector(2, "the extensions")
    seen: list[str] = []
    fields: Fields = {}
    while items:
        extension = name(codepoints.EXTENSIONS, items.number(2, "an extension's type"))
        if extension in seen:
            raise items.fail(f"the extension {extension} comes twice", 2)
        seen.append(extension)
        content = items.vector(2, f"the extension {extension}")
        if extension in _EXTENSIONS:
            fields |= _EXTENSIONS[extension](content, message)
            content.done(f"the extension {extension}")
    return {"extensions": tuple(seen), **fields}


# --- messages -------------------------------------------------------------------------------------


def _client_hello(body: Reader) -> Fields:
    fields: Fields = {"legacy_version": name(codepoints.VERSIONS, body.number(2, "legacy_version"))}
    fields["random"] = body.take(32, "random")
    fields["session_id"] = body.vector(1, "the session id").rest()
    suites = body.vector(2, "the cipher suites")
    fields["cipher_suites"] = ()
    while suites:
        fields["cipher_suites"] += (name(codepoints.CIPHER_SUITES, suites.number(2, "a cipher suite")),)
    body.vector(1, "the compression methods").rest()
    return fields | (_extensions(body, "ClientHello") if body else {"extensions": ()})


def _server_hello(body: Reader) -> Fields:
    fields: Fields = {"legacy_version": name(codepoints.VERSIONS, body.number(2, "legacy_version"))}
    fields["random"] = body.take(32, "random")
    fields["session_id"] = body.vector(1, "the session id").rest()
    fields["cipher_suite"] = name(codepoints.CIPHER_SUITES, body.number(2, "the cipher suite"))
    body.number(1, "the compression method")
    fields["version"] = fields["legacy_version"]
    retry = fields["random"] == HELLO_RETRY_RANDOM
    message = "HelloRetryRequest" if retry else "ServerHello"
    return fields | (_extensions(body, message) if body else {"extensions": ()})


def _encrypted_extensions(body: Reader) -> Fields:
    return _extensions(body, "EncryptedExtensions")


def _certificate_12(body: Reader) -> Fields:
    items, certificates = body.vector(3, "the list of certificates"), []
    while items:
        certificates.append(_certificate(items.vector(3, "a certificate")))
    return {"certificates": tuple(certificates)}


def _certificate_13(body: Reader) -> Fields:
    context = body.vector(1, "the request's context").rest()
    items, certificates = body.vector(3, "the list of certificates"), []
    while items:
        certificates.append(_certificate(items.vector(3, "a certificate")))
        _extensions(items, "Certificate")
    return {"certificates": tuple(certificates), "context": context}


def _compressed_certificate(body: Reader) -> Fields:
    """A Certificate, compressed (RFC 8879 §4). zlib's are opened; Python has no brotli, and zstd only from 3.14 on."""
    fields: Fields = {"algorithm": name(codepoints.COMPRESSIONS, body.number(2, "the compression"))}
    fields["uncompressed_length"] = body.number(3, "the length before compression")
    packed = body.vector(3, "the compressed certificate").rest()
    if fields["algorithm"] != "zlib":
        return fields
    try:
        plain = zlib.decompressobj().decompress(packed, fields["uncompressed_length"] + 1)
    except zlib.error:
        raise body.fail("this does not decompress", len(packed)) from None
    if len(plain) != fields["uncompressed_length"]:
        raise body.fail("this decompresses to another length than it says", len(packed))
    inner = body.within(plain)
    fields |= _certificate_13(inner)
    inner.done("the compressed certificate")
    return fields


def _certificate_request_12(body: Reader) -> Fields:
    return {
        "certificate_types": _names(codepoints.CERTIFICATE_TYPES, body, 1, "the certificate types", size=1),
        "signature_algorithms": _names(codepoints.SIGNATURE_SCHEMES, body, 2, "signature_algorithms"),
        "ca_names": _distinguished_names(body),
    }


def _certificate_request_13(body: Reader) -> Fields:
    context = body.vector(1, "the request's context").rest()
    return {"ca_names": (), **_extensions(body, "CertificateRequest"), "context": context}


def _certificate_verify(body: Reader) -> Fields:
    scheme = name(codepoints.SIGNATURE_SCHEMES, body.number(2, "the signature's scheme"))
    return {"scheme": scheme, "signature": body.vector(2, "the signature").rest()}


def _server_key_exchange(body: Reader) -> Fields:
    if body.number(1, "the curve's type") != 3:  # named_curve, the only one in use (RFC 8422 §5.4)
        raise body.fail("the server's curve is not a named one", 1)
    group = name(codepoints.NAMED_GROUPS, body.number(2, "the group"))
    body.vector(1, "the server's key share").rest()
    return {"group": group, **_certificate_verify(body)}


def _new_session_ticket_12(body: Reader) -> Fields:
    lifetime = body.number(4, "the ticket's lifetime")
    return {"lifetime": lifetime, "ticket": body.vector(2, "the ticket").rest()}


def _new_session_ticket_13(body: Reader) -> Fields:
    fields = {"lifetime": body.number(4, "the ticket's lifetime")}
    body.number(4, "the ticket's age_add")
    return fields | {
        "nonce": body.vector(1, "the ticket's nonce").rest(),
        "ticket": body.vector(2, "the ticket").rest(),
        **_extensions(body, "NewSessionTicket"),
    }


def _finished(body: Reader) -> Fields:
    return {"verify_data": body.rest()}


def _key_update(body: Reader) -> Fields:
    wants = body.number(1, "request_update")
    if wants > 1:
        raise body.fail("request_update is neither 0 nor 1", 1)
    return {"request_update": wants == 1}


def _nothing(_body: Reader) -> Fields:
    return {}


def _unread(body: Reader) -> Fields:
    body.rest()
    return {}


_PARSERS: Mapping[str, Callable[[Reader], Fields]] = {
    "HelloRequest": _nothing,
    "ClientHello": _client_hello,
    "ServerHello": _server_hello,
    "EndOfEarlyData": _nothing,
    "EncryptedExtensions": _encrypted_extensions,
    "ServerKeyExchange": _server_key_exchange,
    "ServerHelloDone": _nothing,
    "CertificateVerify": _certificate_verify,
    "Finished": _finished,
    "KeyUpdate": _key_update,
}
_PARSERS_12 = {
    **_PARSERS,
    "Certificate": _certificate_12,
    "CertificateRequest": _certificate_request_12,
    "NewSessionTicket": _new_session_ticket_12,
}
_PARSERS_13 = {
    **_PARSERS,
    "Certificate": _certificate_13,
    "CompressedCertificate": _compressed_certificate,
    "CertificateRequest": _certificate_request_13,
    "NewSessionTicket": _new_session_ticket_13,
}


def read_handshake_message(message: Reader, version: str | None, suite: str | None) -> tuple[str, Fields]:
    """Return the name and the fields of a handshake message.

    `message` begins with the message's type and length (RFC 8446/9846 §4); `version` ("TLSv1.3") and `suite` (a
    name) are those of the connection so far, None before the ServerHello. Raises `TranscriptError`.
    """
    code = message.number(1, "a handshake message's type")
    if code not in codepoints.HANDSHAKE_TYPES:
        raise message.fail(f"{code} is not a handshake message's type", 1)
    kind = codepoints.HANDSHAKE_TYPES[code]
    body = message.vector(3, kind)
    parser = (_PARSERS_13 if version == "TLSv1.3" else _PARSERS_12).get(kind, _unread)
    if kind == "ServerKeyExchange" and "_ECDHE_" not in (suite or ""):
        parser = _unread  # finite-field Diffie-Hellman: nothing worth reading
    fields = parser(body)
    body.done(kind)
    message.done(kind)
    retry = kind == "ServerHello" and fields["random"] == HELLO_RETRY_RANDOM
    return ("HelloRetryRequest" if retry else kind), fields


def read_alert(alert: Reader) -> Fields:
    """Return the fields of an alert: `level` ("warning" or "fatal") and `description` (RFC 8446/9846 §6)."""
    level = alert.number(1, "the alert's level")
    if level not in (1, 2):
        raise alert.fail(f"{level} is not an alert's level", 1)
    description = name(codepoints.ALERTS, alert.number(1, "the alert's description"))
    alert.done("the alert")
    return {"level": "warning" if level == 1 else "fatal", "description": description}
