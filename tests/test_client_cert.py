"""Client-Cert and its older forms: what a proxy writes is read, anything else is refused by name."""

import base64
import string
from collections.abc import Callable
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import CertificateAuthority, client_cert, failures
from mtlslab.credentials import certificate_pem
from mtlslab.profiles import CLIENT

CA = CertificateAuthority.create("example-ca")
ISSUING = CA.create_issuing_ca("issuing-ca")
ALICE, BOB = (ISSUING.issue(name, CLIENT).certificate for name in ("alice", "bob"))
PEM = certificate_pem(ALICE).decode()
RIGHT = client_cert.encode(ALICE)
BASE64 = RIGHT.strip(":")
ESCAPED = quote(PEM, safe="")
HASH = ALICE.fingerprint(SHA256()).hex()

Decoder = Callable[[str | bytes], x509.Certificate]


def refused(decode: Callable[[str | bytes], object], value: object) -> failures.HeaderRefused:
    """Return the error by which a value is refused; where it is taken, say which."""
    try:
        decode(value)  # type: ignore[arg-type]
    except failures.HeaderRefused as error:
        return error
    raise AssertionError(f"{decode.__name__} takes {value!r}")


def test_a_certificate_comes_back_as_it_went() -> None:
    """What `encode` writes is RFC 9440's form, and `decode` reads it, from text and from bytes."""
    assert base64.b64decode(BASE64, validate=True) == ALICE.public_bytes(Encoding.DER)
    assert client_cert.decode(RIGHT) == client_cert.decode(RIGHT.encode()) == ALICE
    assert client_cert.decode_chain(client_cert.encode_chain([ISSUING.certificate])) == [ISSUING.certificate]
    assert client_cert.decode_chain(f"{RIGHT},{RIGHT}\t, {RIGHT}") == [ALICE] * 3


DECODERS = (client_cert.decode, client_cert.decode_nginx, client_cert.decode_apache, client_cert.decode_envoy)
OLDER: list[tuple[Decoder, str]] = [
    (client_cert.decode_nginx, ESCAPED),
    (client_cert.decode_nginx, ESCAPED.removesuffix("%0A")),
    (client_cert.decode_apache, PEM.replace("\n", " ")),
    (client_cert.decode_apache, PEM.replace("\n", " ").rstrip()),
    (client_cert.decode_envoy, f'Cert="{ESCAPED}"'),
    (
        client_cert.decode_envoy,
        f'By=spiffe://a/b;Hash={HASH};Cert="{ESCAPED}";Subject="CN=al,O=\\"x;y\\"";URI=;DNS=a;DNS=b',
    ),
]


def test_each_older_form_is_read_under_its_own_name() -> None:
    """nginx's, Apache's and Envoy's form each have a decoder, and no other decoder takes it."""
    for decode, value in OLDER:
        assert decode(value) == ALICE, value
        for other in DECODERS:
            if other is not decode:
                refused(other, value)


ANYTHING_ELSE: list[tuple[object, str]] = [
    (f"{RIGHT}, {RIGHT}", "RFC 9440 §2.2"),
    (f"FORGED,{RIGHT}", "RFC 9440 §2.2"),
    (RIGHT + RIGHT, "RFC 8941"),
    (BASE64, "RFC 8941"),
    (RIGHT[1:], "RFC 8941"),
    (RIGHT[:-1], "RFC 8941"),
    (f" {RIGHT}", "RFC 8941"),
    (f"{RIGHT}\n", "RFC 8941"),
    (f"{RIGHT};a=1", "RFC 8941"),
    (f":{BASE64[:64]}\n{BASE64[64:]}:", "RFC 8941"),
    (f":{BASE64[:64]} {BASE64[64:]}:", "RFC 8941"),
    (f":{BASE64.replace('A', '-')}:", "RFC 8941"),
    (f":{BASE64}é:", "RFC 8941"),
    (f":{BASE64}٣:", "RFC 8941"),
    ("FORGED", "RFC 8941"),
    (":FORGED:", "RFC 4648 §4"),
    (":AAAAA:", "RFC 4648 §4"),
    (":AAAA====:", "RFC 8941"),
    (":AAAA:", "DER"),
    (f":{base64.b64encode(ALICE.public_bytes(Encoding.DER) + b'x').decode()}:", "DER"),
    (f":{base64.b64encode(ALICE.public_bytes(Encoding.DER)[:-1]).decode()}:", "DER"),
    (f":{base64.b64encode(PEM.encode()).decode()}:", "DER"),
    (f":{'A' * 16384}:", "longer than"),
    (b"\xff\xfe", "RFC 8941"),
    (None, "a str, or bytes"),
    (ALICE, "a str, or bytes"),
]


def test_anything_else_is_refused_with_its_rule() -> None:
    """Doubled, cut, spread, over-long or foreign: no certificate comes out, and the error says which rule it breaks."""
    for value, rule in ANYTHING_ELSE:
        error = refused(client_cert.decode, value)
        assert rule in error.rule, value
        assert error.header == "Client-Cert"
        assert not error.absent, value
        assert isinstance(error, ValueError)


def test_a_certificate_has_one_spelling() -> None:
    """Base64 whose unused bits are set, or without its padding, is refused: two readers could differ about it."""
    for name in ("a", "bb", "ccc", "dddd", "eeeee"):  # until a length with padding comes
        good = client_cert.encode(CA.issue(name, CLIENT).certificate)
        if good.endswith("=:"):
            break
    stem, pad = good.strip(":").rstrip("="), good.count("=")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    other = stem[:-1] + alphabet[alphabet.index(stem[-1]) + 1] + "=" * pad
    assert base64.b64decode(other) == base64.b64decode(good.strip(":"))
    assert "RFC 4648" in refused(client_cert.decode, f":{other}:").rule
    assert "RFC 4648" in refused(client_cert.decode, f":{stem}:").rule


def test_nobody_is_told_from_a_forgery() -> None:
    """What proxies write for a caller without a certificate is refused too, and marked as nobody."""
    for value in ("", "::", "(null)", "-", b""):
        for decode in DECODERS:
            assert refused(decode, value).absent, value


NO_PROXYS = [
    PEM,
    ESCAPED.lower(),
    ESCAPED.replace("%2B", "+").replace("%0A", "\n"),
    ESCAPED + ESCAPED,
    f"{ESCAPED},{ESCAPED}",
    ESCAPED.replace("%0A", "%0D%0A"),
    ESCAPED[: len(ESCAPED) // 2],
    quote(PEM.replace("-----BEGIN", "FORGED\n-----BEGIN"), safe=""),
    quote(PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), safe=""),
    quote("-----BEGIN CERTIFICATE-----\n" + BASE64 + "\n-----END CERTIFICATE-----\n", safe=""),
    "%",
    "FORGED",
]


def test_pem_that_no_proxy_wrote_is_refused() -> None:
    """The escaped form is read as nginx writes it and in no other spelling; text around the PEM is a forgery."""
    for value in NO_PROXYS:
        refused(client_cert.decode_nginx, value)
        refused(client_cert.decode_apache, value)
        refused(client_cert.decode_envoy, f'Cert="{value}"')


DOUBTFUL = [
    (f'Cert="{ESCAPED}",Cert="{ESCAPED}"', "more than one element"),
    (f'Cert="{ESCAPED}";Hash={HASH},Hash={HASH}', "more than one element"),
    (f'Cert="{ESCAPED}";Cert="{ESCAPED}"', "twice"),
    (f'Cert="{ESCAPED}";cert="{ESCAPED}"', "twice"),
    (f"Hash={HASH};Subject=alice", "no field Cert"),
    (f'Hash={"0" * 64};Cert="{ESCAPED}"', "Hash"),
    (f'Cert="{ESCAPED}";', "Key=Value"),
    (f'Cert="{ESCAPED}', "Key=Value"),
    (f'Subject="a";b";Cert="{ESCAPED}"', "Key=Value"),
    (f';Cert="{ESCAPED}"', "Key=Value"),
    (f'Cert="{ESCAPED}";Hash=a=b', "Key=Value"),
]


def test_a_doubtful_xfcc_is_refused() -> None:
    """Two elements, a field twice, none, a hash of another certificate or broken quotes: nobody is believed."""
    for value, rule in DOUBTFUL:
        assert rule in refused(client_cert.decode_envoy, value).rule, value


def test_a_chain_is_as_strict_as_its_links() -> None:
    """One bad link, an empty one, or more than ten refuse the whole chain."""
    for value in (f"{RIGHT}, FORGED", f"{RIGHT},", f"{RIGHT},, {RIGHT}", ", ".join([RIGHT] * 11), "FORGED"):
        refused(client_cert.decode_chain, value)


def test_no_error_repeats_the_value() -> None:
    """What a caller wrote does not get into a log by way of the error."""
    for decode in DECODERS:
        assert "EVIL" not in str(refused(decode, "EVIL\x1b[31m"))
