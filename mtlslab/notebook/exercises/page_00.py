"""The exercises of notebook 00, start here."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from contextlib import suppress
from itertools import islice
from pathlib import Path, PosixPath, WindowsPath
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential, read_certificates
from mtlslab.notebook.exercises.judges import NotYet, checker, dial, door, expect, lab_ca
from mtlslab.profiles import SERVER
from mtlslab.server import Server

__all__ = ["bag_for_alice", "refused_by_the_client"]


def _server(ca: CertificateAuthority) -> Server:
    """Make a server like the page's, that the reader has not seen."""
    return Server(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=ca.certificate, port=0)


@checker("a dictionary of files, such as {'cert': lab / 'client.crt'}")
def refused_by_the_client(answer: Any) -> str:
    """Want files with which the client refuses the server, and the server would let the client in."""
    ca = lab_ca("lab-00")
    with _server(ca) as server:
        refusal = dial(server.url, answer).refusal
        if refusal is None:
            raise NotYet("this request was answered, so the client could check the server: what does it check with?")
        expect(refusal.by == "client", f"here the server said no ({refusal.reason}): show it what it asks for")
        expect(refusal.reason == "unknown-ca", f"the client said no, but for {refusal.reason}: it is to miss the CA")
        refusal = dial(server.url, {**answer, "cacert": "lab-00/ca.crt"}).refusal
    if refusal is not None:
        raise NotYet(f"the client said no, but so would the server ({refusal.reason}): whom does it want to see?")
    return (
        "the client refused the server. Without example-ca among those it trusts, a sound certificate is worth "
        "nothing to it; curl's exit code for this is 60"
    )


@checker("a folder: a Path, such as lab / 'alice'")
def bag_for_alice(answer: Any) -> str:
    """Want a folder with which Alice can call the server, and can do nothing else."""
    expect(type(answer) in (str, PosixPath, WindowsPath), "the answer is a folder: a Path, such as lab / 'alice'")
    folder, ca = Path(answer), lab_ca("lab-00")
    expect(folder.is_dir(), f"there is no folder {folder.name}: save makes it")
    _expect_no_foreign_key(folder, ca)
    files = {"cacert": folder / "ca.crt", "cert": folder / "alice.crt", "key": folder / "alice.key"}
    with _server(ca) as server:
        refusal = dial(server.url, files).refusal
        caller = server.visits[-1].client
    if refusal is not None or caller is None:
        raise NotYet(
            f"with these files the {refusal.by if refusal else 'server'} says no: {refusal and refusal.reason}"
        )
    name = caller.subject.rfc4514_string()
    expect(name == "CN=alice", f"the server lets it in, as {name}: what Alice does would be put down to somebody else")
    expect(
        read_certificates(files["cacert"]) == [ca.certificate],
        "Alice's client would trust another CA too: whoever holds that one's key could pose as your server to her",
    )
    alice = Credential.load(folder, "alice")
    try:
        CertificateAuthority(alice.certificate, alice.private_key)
    except errors.CannotIssue:
        as_server = door("server", alice, ca.certificate)
        expect(bool(as_server), "with it Alice could pose as your server: see CLIENT")
        expect(as_server == "wrong-purpose", "with it Alice could pose as a server of another name: see CLIENT")
        return "she can check your server and show who she is, and has no key but her own"
    raise NotYet("Alice could sign certificates herself, in anyone's name")


def _expect_no_foreign_key(folder: Path, ca: CertificateAuthority) -> None:
    """Raise `NotYet` if a private key of somebody else is in the bag, however it is written."""
    owners: dict[str, tuple[Any, str]] = {"the CA": (ca.private_key, "make a certificate in anyone's name")}
    for name, harm in (("server", "pose as your server"), ("client", "call in the name of client")):
        owners[f"the {name}"] = (Credential.load("lab-00", name).private_key, harm)
    found = list(islice(folder.rglob("*"), 100))
    expect(len(found) < 100, f"{folder.name} is no bag: it holds a hundred things and more")
    for file in found:
        expect(not file.is_symlink(), f"{file.name} is a link: what it leads to would travel, too. Pack copies")
    for file in (path for path in found if path.is_file()):
        expect(file.stat().st_size < 1 << 16, f"{file.name} is too long to look through: what is it for?")
        data = file.read_bytes()
        for owner, (key, harm) in owners.items():
            expect(
                not _tells(data, key), f"{file.name} holds the private key of {owner}: whoever has the bag can {harm}"
            )
        locked = f"{file.name} holds something locked or packed: whoever opens that has what is in it, a key perhaps"
        expect(_is_open(data), locked)


def _tells(data: bytes, key: Any) -> bool:
    """Whether a file holds the number that makes a private key: as it is, in hexadecimal, or in Base64."""
    numbers = key.private_numbers() if hasattr(key, "private_numbers") else None
    number = getattr(numbers, "private_value", None) or getattr(numbers, "p", None)
    secret = number.to_bytes((number.bit_length() + 7) // 8) if number else key.private_bytes_raw()
    text = re.sub(rb"\\[nr]|[\s:,]", b"", data)
    shifted = (b64encode(bytes(shift) + secret)[4:-4] for shift in range(3))
    in_base64 = any(part in text.translate(bytes.maketrans(b"-_", b"+/")) for part in shifted)
    in_hex = secret.hex().lstrip("0").encode() in text.lower().replace(b"0x", b"")  # Base64 may hold a 0x of its own
    return secret in data or in_hex or in_base64


_PEM = rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----"
_BLOB = rb"[A-Za-z0-9+/_-]{60,}|(?:[A-Za-z0-9][A-Za-z0-9+/_-]{15,}=*\s*){3,}"
"""What no letter to Alice holds: a long word of Base64, or several in a row."""
_HARMLESS = rb"https?://\S+|\b[0-9A-Fa-f]{64}\b"
"""What a letter may hold: an address, and a fingerprint to compare with."""


def _is_open(data: bytes) -> bool:
    """Whether everybody can see what is in a file: text, certificates, keys without a lock."""
    try:
        text = re.sub(_HARMLESS, b"", re.sub(_PEM, b"", data, flags=re.DOTALL))
        parts = [b64decode(body) for _, body in re.findall(_PEM, data, re.DOTALL)]
        is_text = not re.search(r"[\0-\b\x0e-\x1f]", text.decode())
    except ValueError:
        is_text, parts = False, []
    return all(map(_is_known, parts)) and not re.search(_BLOB, text) if is_text else _is_known(data)


def _is_known(der: bytes) -> bool:
    locks: tuple[Any, ...] = (load_der_private_key, load_pkcs12)
    for load in (x509.load_der_x509_certificate, x509.load_der_x509_csr, load_der_public_key, *locks):
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            load(der, None) if load in locks else load(der)
            return True
    return der[:1] == b"\x06" and len(der) < 16  # the name of a curve, which openssl ecparam writes before the key
