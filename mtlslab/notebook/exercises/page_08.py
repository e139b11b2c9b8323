"""The exercises of notebook 08, when mutual TLS says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import errors, faults
from mtlslab.client import request
from mtlslab.credentials import (
    certificate_pem,
)
from mtlslab.notebook.exercises.judges import NotYet, checker, expect

PUZZLES = ("crl-missing", "client-without-intermediate", "crl-expired", "not-yet-valid-client", "client-ca-made-again")
"""Five faults whose messages do not give them away. Guess first."""

_BROKEN: dict[str, faults.Setup] = {}
"""The deployments that `broken` wrote, by the fault's name: their servers are the checkers'."""


def broken(fault: str, folder: Path) -> None:
    """Write a broken deployment into `folder`, with what its repair needs beside it."""
    lab = faults.Lab()
    setup = faults.FAULTS[fault].mint(lab)
    faults.write_files(setup, folder)
    if fault == "key-of-another-certificate":
        lab.client.save(folder, "old", overwrite=True)
        (folder / "old.crt").unlink()
    elif fault == "client-without-intermediate":
        (folder / "issuing-ca.crt").write_bytes(certificate_pem(lab.issuing_ca.certificate))
    else:
        lab.ca.save(folder, overwrite=True)
    _BROKEN[fault] = setup


def _repaired(fault: str, answer: Any) -> x509.Certificate:
    """Connect with the answer's files to the deployment's own server, which is as strict as ever."""
    setup = _BROKEN.get(fault)
    if setup is None:
        raise NotYet("there is no deployment to repair yet: run the cell above")
    files = {str(option): path for option, path in dict(answer).items()}
    expect(
        set(files) == {"cacert", "cert", "key"},
        "name three files, cacert, cert and key; verification is on at both ends, and stays on",
    )
    with faults.running(setup) as server:
        try:
            refusal = request(f"https://localhost:{server.port}", **files).refusal
        except errors.MtlslabError as error:
            raise NotYet(f"the client stops before it dials: {error}") from None
        visit = server.visits[-1]
    if refusal is not None and visit.refusal is not None:
        raise NotYet(f"the {refusal.by} still says no; client: {refusal.reason}, server: {visit.refusal.reason}")
    if visit.client is None:
        raise NotYet("the server never saw a certificate")
    return visit.client


_THREE_FILES = "a dictionary of three files: cacert, cert and key"


@checker(_THREE_FILES)
def repaired_key(answer: Any) -> str:
    """Judge a repair of a certificate whose key is not the one beside it."""
    _repaired("key-of-another-certificate", answer)
    return "the server knows the client again. A certificate and its key are one thing in two files"


@checker(_THREE_FILES)
def repaired_chain(answer: Any) -> str:
    """Judge a repair of a client that sends no intermediate."""
    _repaired("client-without-intermediate", answer)
    return "the server could climb from the client to the root, over the intermediate that you put into the file"


@checker(_THREE_FILES)
def repaired_purpose(answer: Any) -> str:
    """Judge a repair of a client that shows a server's certificate."""
    client = _repaired("wrong-purpose-client", answer)
    try:
        purposes = list(client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        raise NotYet("it is let in, but without an extendedKeyUsage it opens either door") from None
    expect(
        purposes == [ExtendedKeyUsageOID.CLIENT_AUTH], "it is let in, but it can pose as a server too: clientAuth alone"
    )
    return "the same CA signed for the right purpose, and nothing else had to change"
