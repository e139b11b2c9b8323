"""Why the server refuses this client: each suspicion is tried on the files and on what the server said."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from mtlslab.contexts import TLSVersion
from mtlslab.credentials import is_issued_by
from mtlslab.diagnosis.calls import Call
from mtlslab.diagnosis.files import Files, extension_of, is_forged
from mtlslab.diagnosis.finding import Finding, Likelihood
from mtlslab.diagnosis.rehearsal import rehearse
from mtlslab.display import name, public_key

_OF_ALERT = {
    "certificate_revoked": "revoked-client",
    "unsupported_certificate": "wrong-purpose-client",
    "unrecognized_name": "no-such-site",
    "no_application_protocol": "no-application-protocol",
}
"""The cause behind an alert that tells it."""

_BEFORE_ASKING: dict[str | None, tuple[str, ...]] = {
    "protocol_version": ("no-version-in-common",),
    "handshake_failure": ("no-cipher-in-common", "no-group-in-common", "server-pair-half-written"),
    "insufficient_security": ("no-cipher-in-common",),
}
"""What a server may lack that has not asked for a certificate yet."""

_OF_ISSUER = (None, "unknown_ca", "bad_certificate", "certificate_unknown", "decrypt_error", "access_denied",
              "handshake_failure", "internal_error", "bad_certificate_status_response")  # fmt: skip
"""What servers say of a chain that does not verify, and may mean by it: Java, Go, Node.js and uvicorn say it of all."""

_OF_VERIFY_CODE = {
    25: "client-path-too-long", 26: "wrong-purpose-client", 34: "client-critical-extension", 66: "weak-client-key",
    67: "weak-client-key", 68: "sha1-client", 24: "client-issued-by-a-leaf", 32: "client-issued-by-a-leaf",
    79: "client-issued-by-a-leaf", 47: "client-name-not-permitted", 48: "client-name-not-permitted",
}  # fmt: skip
"""The cause behind what OpenSSL's verifier says of the client's certificate (X509_V_ERR numbers)."""

_NO_CA = "The client's certificate is signed by one that is no CA: no CA:TRUE, or no keyCertSign."


@dataclass(frozen=True)
class Refused:
    """A no of the server's. Fields: `alert` (None: it hung up, or said no in HTTP); `evidence`, the same in words."""

    alert: str | None
    evidence: str


def of_refusal(refused: Refused, call: Call, files: Files, tls_max: TLSVersion | None) -> Iterator[Finding]:
    """Say why the server may have refused this client. What the files show comes first: see `of_files`."""
    alert, evidence = refused.alert, refused.evidence
    if alert in _OF_ALERT and not (alert == "unsupported_certificate" and files.leaf is None):
        yield Finding(_OF_ALERT[alert], "likely", evidence)
    elif not call.asks:  # then no certificate of the client's is to blame, nor its absence
        if alert in _BEFORE_ASKING:
            missing = _BEFORE_ASKING[alert]
            sure: Likelihood = "likely" if len(missing) == 1 else "possible"
            yield from (Finding(cause, sure, evidence) for cause in missing)
        elif alert == "internal_error":
            evidence = f"{evidence}: Go's servers say so when they have no certificate to show"
            yield Finding("no-such-site", "possible", evidence)
        elif alert is None:
            yield Finding("connection-lost", "likely", f"{evidence}; it had not asked for a certificate")
            if files.leaf is None:  # IIS and Apache may ask for some pages only, once they have read the request
                yield Finding("no-client-certificate", "possible", "none was given, and the server may ask late")
    elif files.leaf is None:
        sure = "certain" if alert else "likely"
        yield Finding("no-client-certificate", sure, f"{evidence}; it had asked for a certificate, and none was given")
    elif call.held_back:
        takes = ", ".join(call.schemes[:8])
        held = f"{evidence}: a certificate was given, and not sent. Its key is {public_key(files.leaf.public_key())}"
        yield Finding("no-signature-in-common", "certain", f"{held}; the server takes the signatures {takes}")
    else:
        yield from _of_certificate(refused, call, files, tls_max)


def _of_certificate(refused: Refused, call: Call, files: Files, tls_max: TLSVersion | None) -> Iterator[Finding]:
    """Say what may be wrong with a certificate that was sent."""
    alert, evidence, leaf = refused.alert, refused.evidence, files.sent[0]
    yield from of_rehearsal(call, files, tls_max)
    yield from _of_lists(evidence, files)
    if alert == "certificate_expired" and leaf.not_valid_after_utc > datetime.now(UTC):
        until = f"{evidence}, and the certificate is valid until {leaf.not_valid_after_utc:%Y-%m-%d}, by our clock"
        named = extension_of(leaf, x509.CRLDistributionPoints) is not None
        clock = Finding("client-clock-or-server-clock", "possible", f"{until}: is the server's clock ahead?")
        crl = Finding("crl-expired", "possible", f"{until}: is the server's list (CRL) past its nextUpdate?")
        yield from (crl, clock) if named else (clock, crl)
    elif alert in _OF_ISSUER:
        yield from Issuer(refused, call, files).findings()
    elif alert == "certificate_required":
        yield Finding("no-client-certificate", "likely", f"{evidence}, though one was sent: was it lost on the way?")


def _of_lists(evidence: str, files: Files) -> Iterator[Finding]:
    """Say what the CRLs that lie beside the client's certificate say of it: the server may have the same."""
    for file, crl in files.lists:
        if crl.issuer == files.sent[0].issuer:
            until = crl.next_update_utc
            if crl.get_revoked_certificate_by_serial_number(files.sent[0].serial_number) is not None:
                yield Finding("revoked-client", "likely", f"{evidence}; {file}, beside the certificate, lists it")
            elif until is not None and until < datetime.now(UTC):
                stale = f"{file}, beside the certificate, is past its nextUpdate of {until:%Y-%m-%d}"
                yield Finding("crl-expired", "likely", f"{evidence}; {stale}")


def of_rehearsal(call: Call, files: Files, tls_max: TLSVersion | None) -> Iterator[Finding]:
    """Say what OpenSSL's own verifier says of the client's chain, with a server that trusts what is at hand."""
    if files.private_key is None or files.leaf is None:
        return
    known = [*files.authorities, *files.neighbours, *call.chain[1:]]
    trusted = [c for c in known if any(c.subject == s.issuer and is_issued_by(s, c) for s in files.sent)]
    try:
        error, strict = rehearse(files.credential, trusted or files.sent[-1:], tls_max)
    except (ssl.SSLError, ValueError):
        return
    if error is not None and (cause := _OF_VERIFY_CODE.get(error.verify_code)):
        sentence = _NO_CA if cause == "client-issued-by-a-leaf" else ""
        yield Finding(cause, "certain", f"OpenSSL's verifier refuses it here too: {error.verify_message}", sentence)
    elif error is None and strict is not None:
        yield Finding("client-chain-not-strict", "possible", f"OpenSSL, told to be strict: {strict.verify_message}")


_COMMON_WORDS = {
    "ca", "root", "issuing", "intermediate", "sub", "subca", "authority", "certificate", "certification", "the", "of",
    "server", "client", "services", "internal", "inc", "ltd", "llc", "gmbh", "global", "my", "test", "example", "old",
    "new", "other", "own", "trust", "pki", "tls", "ssl", "cn", "ou", "dc", "signing",
}  # fmt: skip


def _words(of: str) -> set[str]:
    """Return the words of a name that tell one organisation from another."""
    return {w for w in re.findall(r"[^\W\d_]+", of.lower()) if len(w) > 2} - _COMMON_WORDS


def _names_key_of(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Tell whether a certificate names this very key as its issuer's (RFC 5280 §4.2.1.1)."""
    issuer, own = extension_of(certificate, x509.AuthorityKeyIdentifier), extension_of(ca, x509.SubjectKeyIdentifier)
    return bool(issuer and own and issuer.key_identifier == own.digest)


def _sounds_below(one: str, above: Sequence[str]) -> bool:
    """Tell whether a CA's name sounds like an intermediate's, or shares a word with one of those above."""
    sounds = re.search(r"issuing|intermediate|sub.?ca|signing|\b[RE]\d+\b", one, re.IGNORECASE)
    return bool(sounds) or any(_words(one) & _words(other) for other in above)


def _top(sent: Sequence[x509.Certificate]) -> x509.Certificate:
    """Follow the client's chain upwards, as far as it was sent."""
    top, rest = sent[0], list(sent[1:])
    while above := next((c for c in rest if c.subject == top.issuer), None):
        top = above
        rest.remove(above)
    return top


class Issuer:
    """The question of the client's issuer: is it at hand, did it sign, does the server name it?"""

    def __init__(self, refused: Refused, call: Call, files: Files) -> None:
        self.refused, self.call, self.files = refused, call, files
        self.top = _top(files.sent)
        self.name = name(self.top.issuer)
        self.known = [*files.authorities, *call.chain, *files.neighbours]
        self.signers = [c for c in self.known if c.subject == self.top.issuer and is_issued_by(self.top, c)]
        self.forged = [c for c in self.known if c.subject == self.top.issuer and is_forged(self.top, c)]
        self.named = call.authorities
        self.is_named = self.name in self.named
        self.lower = next((n for c in files.sent if (n := name(c.issuer)) in self.named and n != self.name), None)

    def findings(self) -> Iterator[Finding]:
        """Name what the tests leave."""
        evidence = self.refused.evidence
        if not self.signers and any(_names_key_of(self.top, c) for c in self.forged):
            seen = f"{evidence}; it names the key of {self.name}, and that key's signature does not fit: it was changed"
            yield Finding("bad-signature", "certain", seen)
        elif self.forged and (not self.signers or self._serves_with(self.forged)):
            seen = f"{evidence}; a CA named {self.name} is at hand, and its key is not the one that signed"
            if self.signers:
                seen = f"{evidence}; the server's certificate is from another CA named {self.name} than the client's"
            yield Finding("client-ca-made-again", "certain", seen)
        elif self.refused.alert == "decrypt_error":  # the client's own signature is right: its key was tried
            seen = f"{evidence}; the issuer is {self.name}: has that name another key at the server?"
            yield Finding("client-ca-made-again", "likely", seen)
        elif self.lower is not None and not self.is_named:
            seen = f"{evidence}; it names {self.lower}, and not {self.name} above it"
            yield Finding("root-missing-at-server", "likely", seen)
            yield from self._what_is_left(seen)
        elif self.named and not self.is_named:
            yield from self._not_named()
        elif self.is_named:
            yield from self._named()
        else:
            yield from self._nobody_named()

    def _serves_with(self, cas: Sequence[x509.Certificate]) -> bool:
        chain = self.call.chain
        return any(c.issuer == ca.subject and is_issued_by(c, ca) for c in chain[:1] for ca in cas)

    @property
    def _is_link(self) -> bool:
        """Whether the issuer is at hand, and is no root."""
        return any(c.subject != c.issuer for c in self.signers)

    @property
    def _looks_like_link(self) -> bool:
        """Whether the issuer's name sounds like an intermediate below a CA that is known."""
        roots = [name(c.subject) for c in self.files.authorities if c.subject == c.issuer]
        return not self.signers and _sounds_below(self.name, [*self.named, *roots])

    def _not_named(self) -> Iterator[Finding]:
        trusts = ", ".join(self.named[:5]) + (", …" if len(self.named) > 5 else "")
        seen = f"{self.refused.evidence}; it names {trusts}, and the issuer is {self.name}"
        own = name(self.files.sent[0].subject)
        if self._is_link:
            yield Finding("client-without-intermediate", "likely", f"{seen}, an intermediate, which was not sent")
        elif self._looks_like_link:
            yield Finding("client-without-intermediate", "likely", f"{seen}: an intermediate by its name, and not sent")
            yield Finding("unknown-client-ca", "possible", f"{seen}: is it a root?")
        else:
            yield Finding("unknown-client-ca", "likely", seen)
            if not self.signers:
                yield Finding("client-without-intermediate", "possible", f"{self.name} may be one, and was not sent")
        if own in self.named:
            yield Finding("client-certificate-pinned", "likely", f"the server names {own} itself among its CAs")

    def _nobody_named(self) -> Iterator[Finding]:
        seen = f"{self.refused.evidence}; the server names no CAs, and the issuer is {self.name}"
        if self.refused.alert == "certificate_unknown":  # OpenSSL has other words for a CA that is not known
            yield Finding("client-name-not-permitted", "likely", f"{self.refused.evidence}: a rule beside the chain")
        if self._is_link or self._looks_like_link:
            yield Finding("client-without-intermediate", "likely", f"{seen}, an intermediate, which was not sent")
        shared = any(c in self.files.authorities or c in self.call.chain for c in self.signers)
        yield Finding("unknown-client-ca", "possible" if shared or self._is_link else "likely", seen)
        if not self.signers:
            yield Finding("client-without-intermediate", "possible", f"{self.name} may be an intermediate, not sent")
        yield from self._what_is_left(seen)

    def _named(self) -> Iterator[Finding]:
        seen = f"{self.refused.evidence}, though it names {self.name} among the CAs it trusts"
        if not self.signers:
            yield Finding("root-missing-at-server", "possible", f"{seen}: is that a root, or has it the root as well?")
        else:
            seen = f"{seen}, and {self.name} did sign it"
        if self._is_link:
            yield Finding(
                "root-missing-at-server", "likely", f"{seen}; it is an intermediate: has it the root as well?"
            )
        yield from self._what_is_left(seen)

    def _what_is_left(self, seen: str) -> Iterator[Finding]:
        """Name what a server says the same of, though it knows the CA: first what has evidence."""
        leaf, alert = self.files.sent[0], self.refused.alert
        below = len(self.files.sent) - 1 - (self.top.subject == self.top.issuer)
        is_pinned = name(leaf.subject) in self.named and leaf.subject != leaf.issuer
        if below and alert in (
            None,
            "unknown_ca",
            "internal_error",
        ):  # Apache's word for a chain that it finds too long
            sure: Likelihood = "likely" if below >= 2 or alert == "internal_error" else "possible"
            how_many = "1 CA stands" if below == 1 else f"{below} CAs stand"
            yield Finding("verify-depth", sure, f"{seen}; {how_many} between it and the certificate")
        if below and not self.named:
            yield Finding("root-missing-at-server", "possible", f"{seen}: has it {self.name}, or a CA below it only?")
        if is_pinned:
            own = f"the server names {name(leaf.subject)} itself among its CAs"
            yield Finding("client-certificate-pinned", "likely", own)
        if alert == "bad_certificate" and self.is_named:
            clock = f"{seen}; OpenSSL says bad_certificate where the certificate is not valid yet by the server's clock"
            yield Finding("not-yet-valid-client", "possible" if is_pinned else "likely", clock)
        if responders := _responders(leaf):
            yield Finding("ocsp", "possible", f"the certificate names the OCSP responder {responders[0]}")
        for cause, alerts, question in _LEFT if self.is_named else _LEFT[:1]:
            if alert in alerts and not (is_pinned and cause == "client-certificate-pinned"):
                yield Finding(cause, "possible", f"{seen}: {question.format(self.name)}")


_ANY = (None, "bad_certificate", "certificate_unknown", "internal_error")
_LEFT = (
    ("crl-missing", (*_ANY, "unknown_ca"), "does it check a CRL, and is that there, and fresh?"),
    ("client-clock-or-server-clock", (None, "certificate_unknown"), "what does its clock say?"),
    (
        "client-certificate-pinned",
        (*_ANY, "unknown_ca"),
        "does its file hold CAs, or clients' certificates themselves?",
    ),
    ("client-ca-made-again", (*_ANY, "unknown_ca"), "is the key of its {} the one that signed?"),
)
"""What is left when nothing more can be tried: the cause, after which alerts, and what would settle it."""


def _responders(leaf: x509.Certificate) -> list[str]:
    access = extension_of(leaf, x509.AuthorityInformationAccess) or ()
    places = [a.access_location for a in access if a.access_method == AuthorityInformationAccessOID.OCSP]
    return [str(p.value) for p in places if isinstance(p, x509.UniformResourceIdentifier)]
