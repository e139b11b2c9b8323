"""The exercises of notebook 00, start here."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path, PosixPath, WindowsPath
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from mtlslab import errors
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential, read_certificates
from mtlslab.notebook.exercises.judges import NotYet, checker, dial, doors, expect, lab_ca
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
        as_server = doors(alice, ca.certificate)["server"]
        expect(bool(as_server), "with it Alice could pose as your server: see CLIENT")
        expect(as_server == "wrong-purpose", "with it Alice could pose as a server of another name: see CLIENT")
        return "she can check your server and show who she is, and has no key but her own"
    raise NotYet("Alice could sign certificates herself, in anyone's name")


def _expect_no_foreign_key(folder: Path, ca: CertificateAuthority) -> None:
    """Raise `NotYet` if a private key of somebody else is in the bag, under whatever name."""
    owners = {"the CA": (ca.certificate, "make a certificate in anyone's name")}
    for name, harm in (("server", "pose as your server"), ("client", "call in the name of client")):
        owners[f"the {name}"] = (read_certificates(f"lab-00/{name}.crt")[0], harm)
    found = list(islice(folder.rglob("*"), 100))
    expect(len(found) < 100, f"{folder.name} is no bag: it holds a hundred things and more")
    for file in found:
        expect(not file.is_symlink(), f"{file.name} is a link: what it leads to would travel, too. Pack copies")
    for file in (path for path in found if path.is_file()):
        expect(file.stat().st_size < 1 << 16, f"{file.name} is too long to look through: what is it for?")
        for public_key in _public_halves(file.read_bytes()):
            expect(
                public_key is not None, f"{file.name} holds a locked private key: whoever learns the password has it"
            )
            for owner, (certificate, harm) in owners.items():
                if certificate.public_key() == public_key:
                    raise NotYet(f"{file.name} holds the private key of {owner}: whoever has the bag can {harm}")


def _public_halves(data: bytes) -> list[Any]:
    """Return the public keys of all private keys in a file, None for one that does not open."""
    found: list[Any] = []
    pems = re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", data, re.DOTALL)
    for load, key in [(load_der_private_key, data), *((load_pem_private_key, pem) for pem in pems)]:
        try:
            found.append(load(key, password=None).public_key())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            found += [None] if key is not data else []
    if data[4:7] == b"\2\1\3":  # the version of PKCS #12 (RFC 7292 §4)
        try:
            key = load_pkcs12(data, None).key
        except ValueError:
            return [*found, None]
        found += [key.public_key()] if key else []
    return found
