"""The exercises of notebook 08, when mutual TLS says no."""

from __future__ import annotations

import os
import random
import ssl
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import contexts, display, errors, faults
from mtlslab.authority import CertificateAuthority
from mtlslab.credentials import Credential, certificate_pem, read_certificates, read_credential
from mtlslab.display import Table
from mtlslab.notebook.exercises.judges import (
    NotYet,
    checker,
    dial,
    expect,
    fresh_name,
    genuine,
    handshake,
)
from mtlslab.profiles import CLIENT

__all__ = ["PUZZLES", "broken", "fresh_list", "mystery", "named_faults", "repaired_chain"]

PUZZLES = ("crl-missing", "client-without-intermediate", "crl-expired", "not-yet-valid-client", "client-ca-made-again")
"""Five faults whose messages do not give them away. Guess first."""

_BROKEN: dict[str, tuple[faults.Lab, faults.Setup]] = {}
"""The deployments that `broken` wrote, by the fault's name: their servers are the checkers'."""

_STALE: list[tuple[x509.CertificateRevocationList, dict[str, Credential]]] = []
"""The list that was written last, and whom it names, as they were: files may have changed since."""


def broken(fault: str, folder: str | os.PathLike[str]) -> None:
    """Write a broken deployment into `folder`, with what its repair needs beside it. What was there is replaced."""
    lab, folder = faults.Lab(), Path(folder)
    setup = faults.FAULTS[fault].mint(lab)
    faults.write_files(setup, folder)
    if fault == "client-without-intermediate":
        (folder / "issuing-ca.crt").write_bytes(certificate_pem(lab.issuing_ca.certificate))
    else:
        lab.ca.save(folder, overwrite=True)
    if fault == "crl-expired":
        revoked = {name: lab.ca.issue(name, CLIENT) for name in ("mallory", "trudy")}
        for name, credential in revoked.items():
            credential.save(folder, name, overwrite=True)
        _STALE[:] = [(_stale(lab.ca, [*revoked.values()]), revoked)]
        (folder / "clients.crl").write_bytes(_STALE[0][0].public_bytes(Encoding.PEM))
    _BROKEN[fault] = lab, setup


def _stale(ca: CertificateAuthority, revoked: list[Credential]) -> x509.CertificateRevocationList:
    then = datetime.now(UTC) - timedelta(days=8)
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, then, then + timedelta(days=7))
    for credential in revoked:
        serial = credential.certificate.serial_number
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, then).build())
    akid = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.private_key.public_key())
    number = x509.CRLNumber(int(then.timestamp() * 1e6))  # as `ca.crl` counts
    builder = builder.add_extension(akid, critical=False).add_extension(number, critical=False)
    return builder.sign(ca.private_key, hashes.SHA256())


def _deployment(fault: str) -> tuple[faults.Lab, faults.Setup]:
    if fault not in _BROKEN:
        raise NotYet("there is no deployment to repair yet: run the cell above")
    return _BROKEN[fault]


# --- repairs by the client's files -----------------------------------------------------------------


def _repaired(fault: str, answer: Any) -> Credential:
    """Connect with the answer's files to the deployment's own server, which is as strict as ever."""
    _, setup = _deployment(fault)
    files = genuine(answer, dict, f"the answer is {_THREE_FILES}")
    expect(
        set(files) == {"cacert", "cert", "key"},
        "name three files, cacert, cert and key; verification is on at both ends, and stays on",
    )
    with faults.running(setup) as server:
        refusal = dial(f"https://localhost:{server.port}", answer).refusal
        visit = server.visits[-1]
    if refusal is not None and visit.refusal is not None:
        raise NotYet(f"the {refusal.by} still says no; client: {refusal.reason}, server: {visit.refusal.reason}")
    expect(
        set(read_certificates(files["cacert"])) == {setup.server_ca},
        "the client now trusts more than the CA of its server: leave ca.crt as it was",
    )
    expect(visit.client is not None, "the server never saw a certificate")
    return read_credential(files["cert"], files["key"])


_THREE_FILES = "a dictionary of three files: cacert, cert and key"


@checker(_THREE_FILES)
def repaired_chain(answer: Any) -> str:
    """Judge a repair of a client that sends no intermediate."""
    shown = _repaired("client-without-intermediate", answer)
    lab, setup = _deployment("client-without-intermediate")
    whose = setup.client.certificate if setup.client else None
    expect(shown.certificate == whose, "that is another client's certificate: this client keeps its own")
    expect(
        list(shown.chain) in ([lab.issuing_ca.certificate], [lab.issuing_ca.certificate, lab.ca.certificate]),
        "the file holds more than the client's certificate and its issuer's: a server needs nothing else",
    )
    return "the server could climb from the client to the root, over the intermediate that you put into the file"


# --- a repair at the server ------------------------------------------------------------------------


@checker("an x509.CertificateRevocationList, as ca.crl(…) returns it")
def fresh_list(answer: Any) -> str:
    """Judge a fresh revocation list: held against the friends and the revoked of a deployment, in handshakes."""
    crl = genuine(answer, x509.CertificateRevocationList, "the answer is the list itself, as ca.crl(…) returns it")
    (lab, _), (old, revoked) = _deployment("crl-expired"), _STALE[-1]
    server = contexts.server_context(lab.server, client_ca=lab.ca.certificate, crls=[crl])
    hint = {"crl-expired": "the list has expired already", "crl-missing": "this CA did not sign the list"}
    for who, friend in {"the client": lab.client, "a new client": lab.ca.issue(fresh_name(), CLIENT)}.items():
        reason = _refused(server, lab, friend)
        expect(not reason, f"{who} is refused: {hint.get(reason, reason)}")
    for who, shown in revoked.items():
        gets_in = f"{who}, who was revoked, gets in again: a fresh list still names whom the old one named"
        expect(_refused(server, lab, shown) == "revoked", gets_in)
    newer = crl.last_update_utc > old.last_update_utc and _number(crl) > _number(old)
    expect(newer, "it is older than the stale one, by its date or its CRL number: whoever holds both keeps that one")
    until = crl.next_update_utc
    expect(until is not None, "the list does not say when the next one comes")
    left = until - datetime.now(UTC) if until else timedelta()
    expect(left > timedelta(hours=1), "in a moment the list is stale again, and everybody is refused")
    days = left.days
    expect(
        days <= 31,
        f"a list for {days} days: whoever is revoked tomorrow gets in for as long",
    )
    return "honest clients are in again, and those who were revoked are still out"


def _number(crl: x509.CertificateRevocationList) -> int:
    """Return a list's number, which grows from one to the next (RFC 5280 §5.2.3); the highest, if it has none."""
    found = (each.value.crl_number for each in crl.extensions if isinstance(each.value, x509.CRLNumber))
    return next(found, 1 << 160)


def _refused(server: ssl.SSLContext, lab: faults.Lab, shown: Credential) -> str:
    client = contexts.common(ssl.PROTOCOL_TLS_CLIENT)
    contexts.trust(client, [lab.ca.certificate])
    contexts.show(client, shown)
    return handshake(client, server).refused


# --- three faults, from both ends' logs ------------------------------------------------------------

_POOL = (
    "no-client-certificate",
    "self-signed-client",
    "stolen-client-certificate",
    "weak-client-key",
    "expired-client",
    "client-name-not-permitted",
    "wrong-purpose-client",
    "client-path-too-long",
    "revoked-client",
    "crl-missing",
    "crl-expired",
    "self-signed-server",
    "expired-server",
    "wrong-purpose-server",
    "ca-without-key-usage",
)
"""Faults that both ends' logs together tell from each other."""

_MYSTERY: dict[str, tuple[str | None, str | None]] = {}


def mystery(number: int, folder: str | os.PathLike[str]) -> Table:
    """Stage three faults, another three for each number, and show what both ends logged. Their names stay here."""
    _MYSTERY.clear()
    _MYSTERY.update({name: _logs(name, folder) for name in random.Random(number).sample(_POOL, 3)})
    rows = [(place, *logs) for place, logs in enumerate(_MYSTERY.values(), 1)]
    return display.table(("fault", "the client's log", "the server's log"), rows)


def _logs(name: str, folder: str | os.PathLike[str]) -> tuple[str | None, str | None]:
    """Stage a fault, and return what the client logs, and what the server does."""
    with suppress(errors.MtlslabError), faults.stage(name, folder) as case:
        answer, visits = case.request(), case.server.visits
        ends = {"client": answer.refusal, "server": visits[-1].refusal if visits else None}
        said = {
            end: display.said(seen) if seen.by == end else f"told {seen.alert}" for end, seen in ends.items() if seen
        }
        return said.get("client"), said.get("server")
    return None, None


@checker("a list of three names, as the gallery has them")
def named_faults(answer: Any) -> str:
    """Judge the names of the three faults that `mystery` staged last."""
    expect(bool(_MYSTERY), "nothing is staged: run the cell above")
    names = list(answer) if type(answer) is tuple else genuine(answer, list, "the answer is a list of three names")
    expect(len(names) == 3 and all(type(name) is str for name in names), "the answer is a list of three names")
    unknown = [name for name in names if name not in faults.FAULTS]
    expect(not unknown, f"the gallery has no {', '.join(map(repr, unknown))}: copy the names from its first column")
    with tempfile.TemporaryDirectory() as scratch:  # a fault that looks the same at both ends is as good a name
        seen = zip(names, _MYSTERY.items(), strict=True)
        right = all(name == staged or _logs(name, scratch) == logs for name, (staged, logs) in seen)
    if not right:
        _MYSTERY.clear()
    expect(
        right,
        "those are not the three. Run the cell above again, and for each take the log of the end that said no, and "
        "wordings.find; stage the fault that you have in mind, and compare both logs",
    )
    return "three faults, none of which the refused end could have named"
