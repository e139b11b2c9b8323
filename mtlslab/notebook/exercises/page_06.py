"""The exercises of notebook 06, requests with and without credentials."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mtlslab.authority import CertificateAuthority
from mtlslab.client import Answer, request
from mtlslab.credentials import (
    Credential,
)
from mtlslab.notebook.exercises.judges import NotYet, checker, expect
from mtlslab.profiles import CLIENT, SERVER
from mtlslab.refusals import Refusal
from mtlslab.server import Server, Visit


@checker('a tuple of four, such as ("server", "unknown-ca", "unknown_ca", 56)')
def both_at_fault(answer: Any) -> str:
    """Predict (by, reason, alert, curl's code): TLS 1.3, an expired server certificate, a client that shows nothing."""
    by, reason, alert, code = answer
    refusal = _both_at_fault()
    expect(
        by == refusal.by,
        "think of the order: whose certificate has already crossed the wire when the other end decides what to send?",
    )
    expect(
        reason == refusal.reason,
        f"the {refusal.by} says no; which word of the tables fits the certificate it has just been shown?",
    )
    expect(
        alert == refusal.alert, "the alert tells the other end what was wrong with its certificate; look at the tables"
    )
    expect(
        code == refusal.curl_exit_code and not isinstance(code, bool),
        "what does curl return when curl itself is the one that refuses?",
    )
    return "the server's certificate comes first, so the client has refused before anybody misses a client certificate"


def _both_at_fault() -> Refusal:
    ca = CertificateAuthority.create("example-ca")
    begin = datetime.now(UTC) - timedelta(days=10)
    expired = ca.issue("localhost", SERVER, names=["localhost"], not_before=begin, days=1)
    with tempfile.TemporaryDirectory() as folder, Server(expired, client_ca=ca.certificate, port=0) as server:
        ca.save(folder)
        refusal = request(server.url, cacert=Path(folder, "ca.crt"), tls_max="1.3").refusal
    if refusal is None:
        raise AssertionError("a client accepted an expired server certificate")
    return refusal


@checker("a visit: server.visits[-1], after the request")
def too_early(answer: Any) -> str:
    """Bring a visit that the server refused because the client's certificate is not valid yet."""
    if isinstance(answer, Answer):
        told = answer.refusal.reason if answer.refusal else "an answer"
        raise NotYet(f"that is the client's view, which holds only {told!r}; the exercise wants the server's visit")
    expect(isinstance(answer, Visit), "the answer is a visit: server.visits[-1], after the request")
    refusal = answer.refusal
    expect(refusal is not None, "the server let this one in; its certificate has to begin in the future: not_before=")
    expect(refusal.by == "server", "here the client refused the server; give it the right cacert")
    expect(refusal.reason != "no-client-certificate", "the client showed nothing; pass cert= and key=")
    expect(
        refusal.reason != "unknown-ca", "this certificate is from a CA that the server does not know; issue it from ca"
    )
    expect(refusal.reason != "expired", "this one is over already; it has to begin in the future: not_before=")
    expect(refusal.reason == "not-yet-valid", f"the server refused, with the reason {refusal.reason!r}")
    return "the server knows that it came too early; the alert, bad_certificate, has no room for that"


VAULT_TEXT = "the vault is open\n"


def vault(folder: str | os.PathLike[str]) -> Server:
    """Start a server that a colleague left, and put its files into `folder`, together with some that do not fit."""
    ours, theirs = CertificateAuthority.create("ca-a"), CertificateAuthority.create("ca-b")
    for name, authority, profile in (("alice", ours, CLIENT), ("bob", theirs, CLIENT), ("carol", theirs, SERVER)):
        authority.issue(name, profile, names=[f"{name}.example"]).save(folder, name, overwrite=True)
    for name, authority in (("ca-a", ours), ("ca-b", theirs)):
        Credential(authority.certificate, authority.private_key).save(folder, name, overwrite=True)
    credential = ours.issue("localhost", SERVER, names=["localhost", "127.0.0.1", "::1"])
    return Server(credential, client_ca=theirs.certificate, app=lambda _: VAULT_TEXT, port=0).start()


@checker("the Answer of a request: request(vault.url, …)")
def open_vault(answer: Any) -> str:
    """Bring the answer of the vault, which trusts one CA for clients and comes from another."""
    expect(isinstance(answer, Answer), "the answer is what request(vault.url, …) returns")
    refusal = answer.refusal
    if refusal is not None:
        expect(
            refusal.by == "server",
            f"the client refuses, with the reason {refusal.reason!r}; which CA issued the vault's own certificate?",
        )
        hints = {
            "no-client-certificate": "the vault wants to see a certificate: cert= and key=",
            "unknown-ca": "your --cacert is right; the vault does not know the CA of the certificate you show",
            "wrong-purpose": "the vault knows this certificate's CA, but look at its extendedKeyUsage",
        }
        raise NotYet(hints.get(refusal.reason, f"the vault refuses, with the reason {refusal.reason!r}"))
    expect(answer.text == VAULT_TEXT, "this answer is from another server than the vault")
    return "each end trusts a CA of its own choice, and they need not be the same one"
