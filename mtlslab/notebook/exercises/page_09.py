"""The exercises of notebook 09, openssl, node and curl."""

from __future__ import annotations

import ssl
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PosixPath, WindowsPath
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mtlslab import contexts, errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential, new_csr, new_private_key, read_certificates, read_credential
from mtlslab.notebook import programs
from mtlslab.notebook.exercises.judges import NotYet, checker, doors, expect, genuine, handshake
from mtlslab.profiles import CLIENT

__all__ = ["client_by_openssl", "two_minds"]

# --- a certificate for Alice -----------------------------------------------------------------------


@checker("the path of Alice's certificate")
def client_by_openssl(answer: Any) -> str:
    """Judge a client certificate for alice, for 30 days: shown at both doors, and to openssl on several days."""
    expect(type(answer) in (str, PosixPath, WindowsPath), "the answer is the path of a file: today / 'alice.crt'")
    path, folder = Path(answer), Path("lab-09") / "openssl"
    try:
        root = read_certificates(folder / "ca.crt")[0]
        shown = read_credential(path, path.with_suffix(".key"))
    except errors.MtlslabError as error:
        raise NotYet(str(error)) from None
    alice = shown.certificate
    names = [(attribute.oid, attribute.value) for attribute in alice.subject]
    expect(
        names == [(NameOID.COMMON_NAME, "alice")],
        "the subject is not CN=alice: see -subj when you make the CSR",
    )
    for other in folder.glob("*.crt"):
        with suppress(errors.MtlslabError):
            one = read_certificates(other)[0]
            theirs = one.subject != alice.subject and one.public_key() == alice.public_key()
            expect(not theirs, f"its key is that of {other.name}: alice could sign in the other's name. Make her own")
    try:
        said = doors(shown, root, "alice")
    except ssl.SSLError as error:
        raise NotYet(f"no program of today shows it, for its key or its signature is weak: {error.reason}") from None
    hints = {
        "unknown-ca": "the CA in lab-09/openssl did not sign it; give -CA ca.crt and -CAkey ca.key",
        "wrong-purpose": "its extendedKeyUsage is not for clients; a client's profile is not the server's",
        "non-conforming": "a strict server refuses it: see authorityKeyIdentifier, and give -extfile",
    }
    expect(not said["client"], f"a server refuses it: {hints.get(said['client'], said['client'])}")
    expect(bool(said["server"]), "it opens the other door as well: alice can pose as a server. See extendedKeyUsage")
    _conforms(alice)
    days = (alice.not_valid_after_utc - alice.not_valid_before_utc) / timedelta(days=1)
    expect(days == 30, f"it is valid for {days:g} days, and 30 were asked for (-days)")
    for day in (0, 29):  # the first of its days, and the last
        at = alice.not_valid_before_utc + timedelta(days=day, minutes=1)
        command = f"openssl verify -x509_strict -purpose sslclient -attime {int(at.timestamp())} -CAfile ca.crt"
        accepted = _openssl(f"{command} {path.resolve()}", folder).ok
        expect(accepted, f"openssl verify, {day} days from its first day, says no")
    return "a client's certificate and nothing else. -subj named Alice, -extfile said what she may do"


def _conforms(alice: x509.Certificate) -> None:
    there: dict[type, Any] = {type(extension.value): extension.value for extension in alice.extensions}
    basic, purposes = there.get(x509.BasicConstraints), there.get(x509.ExtendedKeyUsage)
    expect(not (basic and basic.ca), "it may sign certificates (CA:TRUE); a client's must not")
    expect(purposes is not None, "it has no extendedKeyUsage, so it opens either door; did you give -extfile?")
    expect(list(purposes or ()) == [x509.OID_CLIENT_AUTH], "its extendedKeyUsage is not clientAuth alone")
    usage = there.get(x509.KeyUsage)
    expect(bool(usage and usage.digital_signature), "its keyUsage lacks digitalSignature")
    expect(not (usage and (usage.key_cert_sign or usage.crl_sign)), "its keyUsage is a CA's: keyCertSign or cRLSign")
    san = there.get(x509.SubjectAlternativeName)
    expect(san is not None, "it has no subjectAltName, which cryptography wants")
    expect(san is None or list(san) == [x509.DNSName("alice")], "its subjectAltName names more, or others, than alice")


def _openssl(command: str, folder: Path) -> programs.Outcome:
    if absent := programs.missing("openssl"):
        raise NotYet(str(absent[0]))
    return programs.run(command, folder)


# --- of two minds ----------------------------------------------------------------------------------


_LINES = {
    "basicConstraints": (19, "critical, CA:FALSE"),
    "keyUsage": (15, "critical, digitalSignature"),
    "subjectKeyIdentifier": (14, "hash"),
    "authorityKeyIdentifier": (35, "keyid"),
    "extendedKeyUsage": (37, "serverAuth"),
    "subjectAltName": (17, "DNS:localhost, IP:127.0.0.1, IP:::1"),
}
"""The page's `FOR_SERVERS`; before each value the last number of its OID 2.5.29.… (RFC 5280 §4.2.1)."""


@checker("the text of an extension file, as FOR_SERVERS is one")
def two_minds(answer: Any) -> str:
    """Judge extensions of a server's certificate on which the strict and the lenient disagree."""
    text = genuine(answer, str, "the answer is the text of an extension file")
    expect("=" in text, "the answer is the text of an extension file, with lines such as keyUsage = …")
    _expect_one_change(text)
    certificate, ca, key = _minted(text)
    for wanted, (arc, _) in _LINES.items():  # cryptography may not read what is in it
        there = b"\x06\x03\x55\x1d" + bytes([arc]) in certificate.tbs_certificate_bytes
        expect(there, f"the certificate lacks {wanted}: leave none of the lines out")
    shown = Credential(certificate, key)
    lenient, strict = _met(shown, ca)
    expect(not lenient, f"the lenient refuse it too: {lenient}. Find a rule that only the strict hold it to")
    expect(
        bool(strict), "a strict Python accepts it as well, so that no upgrade breaks it; cryptography is not asked here"
    )
    expect(strict == "non-conforming", f"the strict refuse it, but because of {strict}")
    return "curl and Node.js would take it, Python 3.13 will not: a test with curl would not have found it"


def _expect_one_change(text: str) -> None:
    pairs = (line.partition("#")[0].partition("=") for line in text.splitlines())
    named = [(name.strip(), value.strip()) for name, equals, value in pairs if equals]
    lines = dict(named)
    for wanted in _LINES:
        expect(lines.get(wanted, "none") != "none", f"it lacks {wanted}: leave none of the lines out")
    expect("DNS:localhost" in lines["subjectAltName"], "it is for another host than localhost")
    for name, _ in named:
        expect([other for other, _ in named].count(name) == 1, f"{name} stands there twice: change a line, add none")
    good = {name: value for name, (_, value) in _LINES.items()}
    changed = [name for name, value in lines.items() if _parts(value) != _parts(good.get(name, ""))]
    expect(bool(changed), "no line is changed: this is FOR_SERVERS")
    expect(len(changed) == 1, f"{len(changed)} lines are changed ({', '.join(changed)}): one is to be what breaks it")


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",")]


def _minted(text: str) -> tuple[x509.Certificate, CertificateAuthority, Any]:
    ca, key = CertificateAuthority.create("example-ca"), new_private_key()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ca.save(folder)
        (folder / "server.ext").write_text(text)
        (folder / "server.csr").write_bytes(new_csr(key, "localhost").public_bytes(Encoding.PEM))
        sign = "openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days 30 -extfile server.ext -out server.crt"
        outcome = _openssl(sign, folder)
        if not outcome.ok:
            raise NotYet(f"openssl does not take it: {outcome.stderr.strip().splitlines()[-1]}")
        return read_certificates(folder / "server.crt")[0], ca, key


def _met(shown: Credential, ca: CertificateAuthority) -> tuple[str, str]:
    """Show a server's credential to a lenient client and to a strict one; return why each refuses it."""
    client, server = contexts.common(ssl.PROTOCOL_TLS_CLIENT), contexts.server_context(shown, client_ca=ca.certificate)
    contexts.trust(client, [ca.certificate])
    contexts.show(client, ca.issue("client", CLIENT))
    strict = handshake(client, server).refused
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return handshake(client, server).refused, strict
