"""How objects become text: tables that no text can break, and nothing that varies."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from given import Call, Serve
from mtlslab import Answer, CertificateAuthority, Credential, Refusal, Visit, display, new_csr, new_private_key
from mtlslab.profiles import CLIENT, SERVER


def test_a_table_is_aligned_in_plain_text() -> None:
    """In a terminal and in a comparison of outputs, a table's columns stand under their headings."""
    shown = display.table(("who", "allowed"), [("client", True), ("a stranger", False), ("nobody", None), (7, "x")])
    assert repr(shown).splitlines() == [
        "who         allowed",
        "---         -------",
        "client      yes",
        "a stranger  no",
        "nobody      –",
        "7           x",
    ]


def test_a_table_is_markdown_in_jupyterlab() -> None:
    """JupyterLab gets the same cells as a Markdown table."""
    shown = display.table(("who", "allowed"), [("client", True)])
    assert shown._repr_markdown_().splitlines() == ["| who | allowed |", "| --- | --- |", "| client | yes |"]


def test_no_text_breaks_a_markdown_table() -> None:
    """A certificate's name cannot add a cell or a line, be drawn as something else, or become a link."""
    for text in ("a|b", "*a*", "_a_", "<b>a</b>", "`a`", "a\\|b", "a\nb", "[a](b)", "$a$", "&lt;", "~~a~~"):
        lines = display.table(("name",), [(text,)])._repr_markdown_().splitlines()
        assert len(lines) == 3, text
        cell = lines[2].removeprefix("| ").removesuffix(" |")
        bare = re.sub(r"\\.", "", cell)
        assert not re.search(r"[|*_<`\\$&]|\]\(|~~", bare), cell
        assert re.sub(r"\\(.)", r"\1", cell) == text.replace("\n", " ")


def hostile_texts(random: Random, count: int) -> Iterator[str]:
    """Make up texts out of what ends lines, moves cursors, turns text around or means something in Markdown."""
    parts = [
        "\r",
        "\n",
        "\r\n",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x85",
        "\u2028",
        "\x1b[2J",
        "\x9b",
        "\b",
        "\0",
        "\x7f",
        "\u202e",
    ]
    parts += [
        "\u202e",
        "\u200b",
        "\ud800",
        "\U000e0041",
        *"|*_<`\\$&~[]( ,:",
        "](",
        "~~",
        "a",
        "DNS:b",
        "| x |",
        "é",
        "名",
    ]
    for _ in range(count):
        yield "".join(random.choices(parts, k=random.randrange(8)))


def assert_harmless(shown: display.Table) -> None:
    """Check that a table has its lines and its cells, and nothing that a terminal obeys, as text and as Markdown."""
    for text in (repr(shown), shown._repr_markdown_()):
        assert re.sub(r"\n", "", text).isprintable(), text
        assert len(text.split("\n")) == 2 + len(shown.rows), text
    for line in shown._repr_markdown_().splitlines():
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == len(shown.headings) + 1, line


def test_no_text_leaves_its_cell() -> None:
    """Of 200 texts none ends a row, adds a cell or reaches the terminal, in a heading or under it."""
    random = Random(11)
    for text in hostile_texts(random, 200):
        assert_harmless(display.Table((text, "b"), ((text, "x"), ("y", text))))


def with_names(*names: x509.GeneralName, subject: str = "client") -> x509.Certificate:
    """Make a certificate of any names, as a CA that checks nothing does."""
    key, now = new_private_key(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject, _validate=False)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def by_field(shown: display.Table) -> dict[str, str]:
    return {row[0]: row[1] for row in shown.rows}


def test_a_name_forges_no_row() -> None:
    """A line break or an escape code in any kind of name stays in its row, and no name passes for two."""
    hostile = "a\r\nsubject   CN=admin\x1b[2J"
    kinds = (x509.DNSName, x509.UniformResourceIdentifier)
    shown = display.certificate(with_names(*(kind(hostile) for kind in kinds), subject="a\nsubject  CN=b"))
    assert_harmless(shown)
    assert by_field(shown)["subjectAltName"].count(r"a\r\nsubject   CN=admin\x1b[2J") == 2
    shown = display.certificate(with_names(x509.DNSName("a, DNS:b"), x509.DNSName("c")))
    assert by_field(shown)["subjectAltName"] == 'DNS:"a, DNS:b", DNS:c'
    other = x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x02\r\n")
    assert_harmless(display.certificate(with_names(other, x509.RegisteredID(x509.ObjectIdentifier("1.2.3")))))


def damaged(der: bytes, random: Random, count: int) -> Iterator[bytes]:
    """Damage a certificate: by chance, and first so that what chance finds once in thousands is there."""
    yield der.replace(b"\x55\x1d\x0f", b"\x55\x1d\x13")  # keyUsage called basicConstraints, which is there as well
    yield der.replace(b"\x82\x12client.example.org", b"\xa3\x12client.example.org")  # an x400Address
    yield der.replace(b"\x0c\x06client", b"\x03\x06\x00lient")  # a common name that is a BIT STRING
    for _ in range(count):
        changed = bytearray(der)
        for _ in range(random.randrange(1, 4)):
            changed[random.randrange(len(der))] = random.randrange(256)
        yield bytes(changed)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_damaged_certificates_are_shown(ca: CertificateAuthority) -> None:
    """Whatever a certificate holds that can be parsed at all, it is shown, or the part named that cannot be read."""
    issued = ca.issue("client", CLIENT, names=["client.example.org", "127.0.0.1", "urn:a:b"]).certificate
    der, said = issued.public_bytes(serialization.Encoding.DER), list[str]()
    for changed in damaged(der, Random(11), 400):
        try:
            certificate = x509.load_der_x509_certificate(changed)
        except (ValueError, x509.InvalidVersion):
            continue
        shown = display.certificate(certificate)
        assert_harmless(shown)
        assert repr(Credential(certificate, ca.private_key)).isprintable()
        assert repr(Visit(certificate)).isprintable()
        said.append(by_field(shown).get("extensions", by_field(shown)["subject"]))
    assert said[0].startswith("(unreadable: Duplicate")
    assert said[1].startswith("(unreadable: x400Address")
    assert said[2] == "(unreadable)"
    assert len(said) > 40


def test_a_key_of_an_unknown_kind_is_shown_as_such() -> None:
    """A public key that cannot be read is named as unreadable, and the rest is shown."""
    der = with_names().public_bytes(serialization.Encoding.DER)
    p256, prime239v1 = (bytes.fromhex("06082a8648ce3d0301" + last) for last in ("07", "04"))
    rows = by_field(display.certificate(x509.load_der_x509_certificate(der.replace(p256, prime239v1))))
    assert rows["public key"] == "(unreadable: Curve 1.2.840.10045.3.1.4 is not supported)"
    assert rows["subject"] == "CN=client"


def test_a_row_has_as_many_cells_as_there_are_headings() -> None:
    """A table that does not fit is refused where it is made."""
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        display.table(("a", "b"), [("only one",)])


def test_a_slow_reader_is_shown_the_same_validity(ca: CertificateAuthority) -> None:
    """Whoever signs an hour after the CA was made sees 365 days, too, although the certificate ends with the CA."""
    for minutes in (0, 4, 6, 60):
        begin = ca.certificate.not_valid_before_utc + timedelta(minutes=minutes)
        issued = ca.issue("client", CLIENT, not_before=begin).certificate
        assert re.search(r"validity +365 days", repr(display.certificate(issued))), minutes


def test_a_certificate_is_shown_without_what_varies(ca: CertificateAuthority) -> None:
    """Names, flags and purposes are shown by RFC 5280's words; serial number, dates and keys are not."""
    issuing = ca.create_issuing_ca("issuing")
    names = ["localhost", "127.0.0.1", "urn:a:b"]
    shown = [repr(display.certificate(issuing.issue("web", SERVER, names=names).certificate)) for _ in range(2)]
    assert shown[0] == shown[1]
    assert dict(re.split(r"  +", line) for line in shown[0].splitlines()[2:]) == {
        "version": "3",
        "subject": "CN=web",
        "issuer": "CN=issuing",
        "validity": "365 days",
        "public key": "EC, secp256r1",
        "basicConstraints (critical)": "CA:FALSE",
        "keyUsage (critical)": "digitalSignature",
        "extendedKeyUsage": "serverAuth",
        "subjectKeyIdentifier": "(a hash of the public key)",
        "authorityKeyIdentifier": "(the issuer's subjectKeyIdentifier)",
        "subjectAltName": "DNS:localhost, IP:127.0.0.1, URI:urn:a:b",
    }
    assert "CA:TRUE, path length 0" in repr(display.certificate(issuing.certificate))
    assert "keyCertSign, cRLSign" in repr(display.certificate(issuing.certificate))


def test_a_csr_is_shown_as_what_it_is(ca: CertificateAuthority) -> None:
    """A CSR has no issuer and no validity, and an empty subject is shown as such."""
    shown = repr(display.certificate(new_csr(new_private_key("ed25519"), "client", ["localhost"])))
    assert [line.split("  ")[0] for line in shown.splitlines()[2:]] == ["subject", "public key", "subjectAltName"]
    assert "Ed25519" in shown
    assert display.name(x509.Name([])) == "(empty)"


def test_both_ends_stand_side_by_side(serve: Serve, call: Call) -> None:
    """One event, in the words of either end: an answer, a refusal, and a visit that never was."""
    server = serve()
    answered = display.both_ends(call(server.url), server.visits[-1])
    refused = display.both_ends(call(server.url, cert=None, key=None), server.visits[-1])
    assert answered.headings == ("", "the client", "the server")
    assert answered.rows == (
        ("outcome", "answered 200", "answered 200"),
        ("who said no", "–", "–"),
        ("reason", "–", "–"),
        ("TLS alert", "–", "–"),
        ("caller, verified", "–", "CN=client"),
        ("TLS version", "TLSv1.3", "TLSv1.3"),
    )
    assert refused.rows[:5] == (
        ("outcome", "refused", "refused"),
        ("who said no", "server", "server"),
        ("reason", "no-client-certificate", "no-client-certificate"),
        ("TLS alert", "certificate_required", "certificate_required"),
        ("caller, verified", "–", "–"),
    )
    assert display.both_ends(Answer(200), None).rows[0] == ("outcome", "answered 200", "no visit")
    assert display.both_ends(Answer(200), Visit(tls_version="TLSv1.2")).rows[0][2] == "no request"


def test_a_message_is_said_without_what_varies() -> None:
    """A refusal's message loses the line of CPython's source, which every version has elsewhere."""
    refusal = Refusal("server", "unknown-ca", "unknown_ca", 56, "[SSL] unknown ca (_ssl.c:2580)", "do this")
    assert display.said(refusal) == "[SSL] unknown ca"


def test_no_text_holds_a_key(ca: CertificateAuthority, client_credential: Credential) -> None:
    """Whatever shows a credential or a CA shows no key."""
    for shown in (repr(ca), repr(client_credential), str(ca), str(client_credential), f"{[ca, client_credential]}"):
        assert "PRIVATE" not in shown
        assert "PrivateKey" not in shown
