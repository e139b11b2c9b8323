"""The run: send each attack, compare the answer with who is calling, and report what got through."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

import httpx
from cryptography import x509

from mtlslab import display, errors
from mtlslab.client import check_timeout
from mtlslab.contexts import client_context, show
from mtlslab.credentials import FilePath, read_certificates, read_credential
from mtlslab.probe import attacks
from mtlslab.probe.attacks import Attack
from mtlslab.probe.targets import Markers, lookalike, wire_to
from mtlslab.probe.wire import Reply, Wire, Written

MOST_REQUESTS = 200
"""How many requests a run sends at most."""

CADDY_ADMIN_PORT = 2019


@dataclass(frozen=True)
class Probe:
    """What became of one attack.

    Fields: `family`, `attack`, `expected` and `seen`, in words; `through`, whether it got through; `cure`.
    """

    family: str
    attack: str
    expected: str
    seen: str
    through: bool
    cure: str


@dataclass(frozen=True)
class Report:
    """What a run found. Fields: `url`, `me`, `victim` (subjects), `requests` (how many were sent), `probes`."""

    url: str
    me: str
    victim: str
    requests: int
    probes: tuple[Probe, ...] = field(repr=False)

    @property
    def through(self) -> tuple[Probe, ...]:
        """The attacks that got through."""
        return tuple(probe for probe in self.probes if probe.through)

    def table(self) -> display.Table:
        """Show each attack that got through, with its cure; then, of each family, how many did not."""
        rows = [(probe.attack, probe.expected, probe.seen, probe.cure) for probe in self.through]
        held: dict[tuple[str, str], list[Probe]] = {}
        for probe in self.probes:
            if not probe.through:
                held.setdefault((probe.family, probe.expected), []).append(probe)
        for (family, expected), probes in held.items():
            seen = " or ".join(dict.fromkeys(probe.seen for probe in probes))
            rows.append((f"{family} ({len(probes)})" if len(probes) > 1 else family, expected, seen, "–"))
        return display.table(("attack", "expected", "seen", "cure"), rows)

    def to_json(self) -> str:
        """Return everything as JSON; `through` says how many attacks got through."""
        return json.dumps({**asdict(self), "through": len(self.through)}, indent=2, ensure_ascii=False)


def probe(
    url: str,
    *,
    cert: FilePath,
    victim: FilePath,
    key: FilePath | None = None,
    cacert: FilePath | None = None,
    direct: str | None = None,
    public: str | None = None,
    password: str | None = None,
    this_is_mine: str | None = None,
    timeout: float = 5.0,
) -> Report:
    """Attack the deployment at `url`, whose answer must say who is calling, and report what got through.

    `cert` and `key` are a credential that it lets in, `victim` the public certificate of another caller of it, `cacert`
    the CAs of its own certificate; PEM files. `direct` is the URL of the application itself, past the proxy; `public`
    another name of the same server, one that needs no certificate. Only this machine is attacked, unless
    `this_is_mine` repeats the URL's host. At most 200 requests, none of which holds a private key.
    Raises `errors.OptionRefused`, also where the answer does not tell the two callers apart, `errors.FileRefused`,
    `errors.KeyMismatch`.
    """
    check_timeout(timeout)
    deployment = wire_to(url, "url", this_is_mine, timeout)
    past = wire_to(direct, "direct", this_is_mine, timeout) if direct else None
    credential = read_credential(cert, key or cert, password=password)
    other = read_certificates(victim)[0]
    contexts = {who: client_context(cacert=cacert) for who in ("me", "nobody", "a stranger", "both")}
    show(contexts["me"], credential)
    show(contexts["a stranger"], lookalike(other))
    show(contexts["both"], replace(credential, chain=(*credential.chain, other)))
    for context in contexts.values():
        context.set_alpn_protocols(["http/1.1"])
    prober = _Prober(httpx.URL(url), deployment, contexts, Markers.of(credential.certificate, other))
    probes = tuple(_run(prober, other, past, public))
    return Report(url, display.name(credential.certificate.subject), display.name(other.subject), prober.sent, probes)


class _Prober:
    """Sends attacks, counts them, and says what it saw."""

    def __init__(self, url: httpx.URL, wire: Wire, contexts: Mapping[str, ssl.SSLContext], markers: Markers) -> None:
        self.host, self.path = url.netloc.decode(), url.raw_path.decode()
        self.wire, self.contexts, self.markers = wire, contexts, markers
        self.sent = 0

    def ask(
        self, attack: Attack, *, past: Wire | None = None, tls_name: str | None = None, resume: bool = False
    ) -> Reply:
        """Send one attack, to the proxy or `past` it; with another `tls_name`, or resuming the session before."""
        if self.sent >= MOST_REQUESTS:  # the table of attacks is short enough, and a test counts it
            return Reply(error=RuntimeError("enough requests"))
        self.sent += 1
        wire = past or self.wire
        host = attack.host or (wire.authority if past else self.host)
        request = Written(attack.lines, host, attack.path or self.path, attack.method, attack.version, attack.body)
        context = self.contexts[attack.by] if wire.name else None
        return wire.ask(request, context, tls_name, wire.session if resume else None)

    def judge(self, attack: Attack, reply: Reply) -> Probe:
        """Compare an answer with who was calling."""
        named = self.markers.named(reply.text) if reply.ok else None
        through = reply.status == 101 or (named is not None and named not in attack.allowed)
        allowed = f"refused, or {attack.allowed[0]}"
        return Probe(attack.family, attack.name, allowed, self.seen(reply), through, attack.cure)

    def seen(self, reply: Reply) -> str:
        """Put an answer into a few words."""
        if reply.ok:
            return self.markers.named(reply.text)
        if isinstance(reply.error, ssl.SSLCertVerificationError):
            return "not tried: the server's certificate does not verify"
        if reply.status == 101:
            return "101, a tunnel"
        return "refused" if reply.status is None else f"refused: {reply.status}"

    def try_out(self, attack: Attack, past: Wire | None = None) -> Probe:
        """Send an attack and judge it."""
        return self.judge(attack, self.ask(attack, past=past))


def _run(prober: _Prober, victim: x509.Certificate, past: Wire | None, public: str | None) -> Iterator[Probe]:
    _must_tell_who_calls(prober)
    callers = [prober.try_out(attack) for attack in attacks.CALLERS]
    yield from callers
    nobody_is_answered = not callers[0].seen.startswith(("refused", "not tried"))
    for by in ("me", "nobody") if nobody_is_answered else ("me",):
        yield from map(prober.try_out, attacks.forged(victim, by))
    all_names, *names = attacks.named_in_connection()
    yield (first := prober.try_out(all_names))
    yield from map(prober.try_out, names if first.through else ())
    yield from map(prober.try_out, attacks.odd(victim))
    if past:
        yield from (prober.try_out(attack, past) for attack in attacks.past_the_proxy(victim))
    if public:
        yield from _another_name(prober, public)
    yield _admin(prober)
    _must_still_answer(prober)


def _must_still_answer(prober: _Prober) -> None:
    """A refusal says something only where the same credential, without an attack, is let in before and afterwards."""
    reply = prober.ask(attacks.NONE)
    if prober.markers.named(reply.text if reply.ok else "") != "me":
        problem = f"it stopped answering the good credential during the run ({prober.seen(reply)})"
        raise errors.OptionRefused("url", f"{problem}, so a refusal proves nothing; lift its limit on requests")


def _must_tell_who_calls(prober: _Prober) -> None:
    reply = prober.ask(attacks.NONE)
    if isinstance(reply.error, ssl.SSLCertVerificationError):
        problem = f"the server's certificate does not verify ({reply.error.verify_message})"
        raise errors.OptionRefused("cacert", f"{problem}; give the CA that it comes from")
    if not reply.ok:
        cure = "find out why with python -m mtlslab diagnose"
        raise errors.OptionRefused(
            "cert", f"it is not let in ({prober.seen(reply)}), so nothing can be compared; {cure}"
        )
    if prober.markers.named(reply.text) != "me":
        raise errors.OptionRefused("url", "its answer does not say who is calling; give the path of one that does")


def _another_name(prober: _Prober, public: str) -> Iterator[Probe]:
    """The name in TLS chooses the rules for certificates, the one in Host the content (RFC 9110 §7.4: 421)."""
    family = "another name in TLS than in Host"
    cure = "refuse a Host other than TLS's name (421)"
    crossed = Attack(family, f"{public} in TLS, the private name in Host", "nobody", (), cure, ("nobody",))
    yield prober.judge(crossed, prober.ask(crossed, tls_name=public))
    prober.ask(replace(crossed, host=public), tls_name=public)
    cure = "no sessions across names: no tickets and no cache, or a session context for each name"
    resumed = Attack(family, f"a session of {public}, resumed", "nobody", (), cure, ("nobody",))
    yield prober.judge(resumed, prober.ask(resumed, resume=True))


def _admin(prober: _Prober) -> Probe:
    """Caddy's admin interface answers without credentials, and this deployment's holds its port."""
    wire = Wire(prober.wire.address, CADDY_ADMIN_PORT, None, prober.wire.timeout)
    reply = prober.ask(attacks.ADMIN, past=wire)
    ours = reply.ok and f":{prober.wire.port}" in reply.text
    return replace(prober.judge(attacks.ADMIN, reply), seen="open" if ours else "refused, or another's", through=ours)
