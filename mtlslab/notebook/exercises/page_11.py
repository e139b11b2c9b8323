"""The exercises of notebook 11, behind a proxy."""

from __future__ import annotations

import base64
import re
import secrets
import ssl
import string
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtlslab import client_cert, display, errors, failures
from mtlslab.authority import CertificateAuthority
from mtlslab.client import exchange
from mtlslab.contexts import client_context
from mtlslab.credentials import certificate_pem, read_certificates
from mtlslab.exchanges import Answer
from mtlslab.notebook import proxies
from mtlslab.notebook.exercises.judges import Guarded, NotYet, checker, expect
from mtlslab.probe import probe
from mtlslab.profiles import CLIENT, SERVER

__all__ = ["BROKEN", "LEAKY", "bob_as_alice", "identify", "mended_configuration", "strict_reader"]

# --- a strict reader ------------------------------------------------------------------------------

Headers = list[tuple[str, str]]


@checker("a function that takes a list of (name, value) pairs, and returns a certificate or None, or raises ValueError")
def strict_reader(answer: Any) -> str:
    """Judge a reader of Client-Cert by what it makes of headers that it has not seen, right ones and forged ones."""
    reader = Guarded(answer)
    alice, bob, padded, long, huge = _five_certificates()
    for headers, wanted, hint in _rightful(alice, bob, padded, long):
        outcome = reader.attempt(list(headers))
        expect(outcome.error is None, f"it raises {outcome.told} where all is well: {hint}")
        got = outcome.value
        expect(got is None or type(got) is x509.Certificate, "return the x509.Certificate itself, or None")
        expect(got == wanted, hint)
    for headers, allowed, hint in _doubtful(alice, bob, padded, huge):
        outcome = reader.attempt(list(headers))
        if outcome.error is None:
            expect(outcome.value in allowed, f"it believes a doubtful header: {hint}")
        else:
            kind = type(outcome.error).__name__
            expect(isinstance(outcome.error, ValueError), f"where it doubts it raises {kind}, not ValueError: {hint}")
    return "it has one reading for each value, or none. mtlslab.client_cert.decode is as strict about the value"


def _five_certificates() -> tuple[x509.Certificate, ...]:
    """Two callers; one whose Base64 ends in padding; one that is as long as may be, and one that is too long."""
    ca, padded, long, huge = _by_length()
    alice, bob = (ca.issue(f"{name}-{secrets.token_hex(4)}", CLIENT).certificate for name in ("alice", "bob"))
    return alice, bob, padded, long, huge


@lru_cache(maxsize=1)  # takes longer than all the rest
def _by_length() -> tuple[CertificateAuthority, x509.Certificate, x509.Certificate, x509.Certificate]:
    ca = CertificateAuthority.create("example-ca")
    sized = (ca.issue("carol" + "l" * extra, CLIENT).certificate for extra in range(64))
    padded = next(one for one in sized if len(one.public_bytes(Encoding.DER)) % 3)
    names = [f"host-{number:04}.example" for number in range(628)]  # 624 of them make about 16,384 characters
    fewer = (ca.issue("many", CLIENT, names=names[:count]).certificate for count in range(628, 0, -1))
    huge = long = next(fewer)
    while len(client_cert.encode(long)) > 16384:
        huge, long = long, next(fewer)
    return ca, padded, long, huge


def _rightful(
    alice: x509.Certificate, bob: x509.Certificate, padded: x509.Certificate, long: x509.Certificate
) -> Iterator[tuple[Headers, x509.Certificate | None, str]]:
    value = client_cert.encode(alice)
    yield [("client-cert", value)], alice, "a good Client-Cert is the caller's certificate"
    yield [("Client-Cert", value)], alice, "the case of a header's name does not matter (RFC 9110 §5.1)"
    yield (
        [("host", "localhost"), ("CLIENT-CERT", client_cert.encode(bob)), ("accept", "*/*")],
        bob,
        "other headers may stand beside it",
    )
    yield [("client-cert", client_cert.encode(padded))], padded, "Base64 may end in = signs"
    yield [("client-cert", client_cert.encode(long))], long, "16,384 characters may be, or as long as this one"
    yield [], None, "without the header it is nobody: return None"
    yield [("host", "localhost")], None, "without the header it is nobody: return None"
    yield [("client-cert", "")], None, "nginx sends nothing for nobody, others an empty value: return None"
    yield [("client-cert", "::")], None, "Caddy and HAProxy write :: for a caller without a certificate: return None"


def _doubtful(
    alice: x509.Certificate, bob: x509.Certificate, padded: x509.Certificate, huge: x509.Certificate
) -> Iterator[tuple[Headers, tuple[x509.Certificate | None, ...], str]]:
    """Yield headers, what may be returned for them if no ValueError is raised, and the hint."""
    good, other = client_cert.encode(alice), client_cert.encode(bob)
    der, name = alice.public_bytes(Encoding.DER), "client-cert"
    twice = "a header that came twice has no right value (RFC 9440 §2.2)"
    for headers in ([(name, good), (name, other)], [(name, good), (name, good)], [("Client-Cert", good), (name, "")]):
        yield headers, (), twice
    yield [(name, "::"), (name, good)], (), twice
    junk = "a lenient decoder skips what is not Base64, and finds a certificate in it all the same"
    values = {
        "two values in one header": (f"{good}, {other}", f"{good},{other}", f"FORGED,{good}", good + other),
        "the colons belong to the form (RFC 9440 §2.1)": (good.strip(":"), good[1:], good[:-1], f":{good}:"),
        junk: (f":FORGED:{good}", good.replace("A", "A ", 1), good[:70] + "\n" + good[70:], good + "\n", f" {good}"),
        "no parameters: RFC 9440 defines none": (f"{good};a=1",),
        "it holds no certificate": ("FORGED", ":FORGED:", ":AAAA:", ":", "-"),
        "the certificate is not whole, or not alone": (_wrapped(der[:-1]), _wrapped(der + b"\0"), _wrapped(der + der)),
        "PEM inside is another form": (_wrapped(certificate_pem(alice)), certificate_pem(alice).decode()),
        "one certificate has one Base64: encode it again, and compare": (
            _respelt(padded),
            _unpadded(padded),
        ),
        "longer than 16,384 characters": (client_cert.encode(huge), f":{'A' * 20000}:"),
    }
    for hint, forged in values.items():
        for value in forged:
            yield [(name, value)], (), hint
    underscore = "Client_Cert is another header, which the proxy does not strip"
    yield [("client_cert", good)], (None,), underscore
    yield [("client_cert", good), (name, other)], (bob,), underscore
    for near in ("client-cert-chain", "x-client-cert", "client-certificate", "xclient-cert"):
        yield [(near, good)], (None,), f"{near} is another header"


def _wrapped(data: bytes) -> str:
    return f":{base64.b64encode(data).decode()}:"


def _unpadded(certificate: x509.Certificate) -> str:
    return client_cert.encode(certificate).replace("=", "")


def _respelt(certificate: x509.Certificate) -> str:
    """Set a bit that no byte needs: other text, the same bytes."""
    text = client_cert.encode(certificate).strip(":")
    stem = text.rstrip("=")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    return f":{stem[:-1]}{alphabet[alphabet.index(stem[-1]) + 1]}{text[len(stem) :]}:"


# --- two deployments ------------------------------------------------------------------------------

_HEAD = """\
{
  admin off
  auto_https off
}
https://localhost:@PORT@ {
  bind 127.0.0.1
"""

BROKEN = (
    _HEAD
    + """\
  tls server.crt server.key {
    client_auth {
      mode request
      trust_pool file ca.crt
    }
  }
  @known vars_regexp {http.request.tls.client.subject} .
  request_header @known Client-Cert :{http.request.tls.client.certificate_der_base64}:
  reverse_proxy @APP@
}
"""
)
"""A Caddyfile to mend: it should let callers without a certificate in as nobody, and nobody as somebody else."""

LEAKY = (
    _HEAD
    + """\
  tls server.crt server.key {
    client_auth {
      mode require_and_verify
      trust_pool file ca.crt
    }
  }
  request_header -Client-Cert-Chain
  request_header -Upgrade
  request_header Client-Cert :{http.request.tls.client.certificate_der_base64}:
  reverse_proxy @APP@
}
"""
)
"""A Caddyfile to get past: one request of bob's, and the application below takes him for alice."""


def identify(headers: Mapping[str, str]) -> str:
    """Say who is calling, as an application does that once stood behind nginx."""
    if value := headers.get("client-cert"):
        certificate = client_cert.decode(value)
    elif value := headers.get("x-ssl-client-cert"):  # the old proxy's
        certificate = client_cert.decode_nginx(value)
    else:
        return "nobody"
    return display.name(certificate.subject)


def _who(headers: Mapping[str, str]) -> str:
    """Say who is calling, and by way of which CA, as the page's application does."""
    try:
        caller = display.name(client_cert.decode(headers["client-cert"]).subject)
        chain = headers.get("client-cert-chain")
        return f"{caller} via {display.name(client_cert.decode(chain).subject)}" if chain else caller
    except (KeyError, ValueError):
        return "nobody"


_Reader = Callable[[Mapping[str, str]], str]


async def _answer(read: _Reader, scope: proxies.Scope, send: Callable[[Any], Any]) -> None:
    try:
        text, status = read({name.decode(): value.decode("latin-1") for name, value in scope["headers"]}), 200
    except failures.HeaderRefused as error:
        text, status = ("nobody", 200) if error.absent else (str(error), 400)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text.encode()})


class _Deployment:
    """Caddy with a configuration, the application behind it, and callers.

    `asked` has the names of the headers of each request that reached the application.
    """

    def __init__(self, folder: Path, url: str, asked: list[set[str]]) -> None:
        self.folder, self.url, self.asked = folder, url, asked
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def files(self, name: str) -> dict[str, Path]:
        return {
            "cacert": self.folder / "ca.crt",
            "cert": self.folder / f"{name}.crt",
            "key": self.folder / f"{name}.key",
        }

    def ask(self, name: str | None, path: str = "/", **asked: Any) -> Answer:
        if name not in self._contexts:
            files = self.files(name) if name else {"cacert": self.folder / "ca.crt"}
            self._contexts[name] = client_context(**files)  # type: ignore[arg-type]
        return exchange(self.url + path, self._contexts[name], sent_certificate=bool(name), **asked)


@contextmanager
def _deployed(configuration: str, read: _Reader, *callers: str) -> Iterator[_Deployment]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ca = CertificateAuthority.create("example-ca")
        ca.save(folder)
        ca.issue("localhost", SERVER, names=["localhost", "127.0.0.1"]).save(folder, "server")
        for caller in callers:
            ca.issue(caller, CLIENT, names=[f"{caller}.example"]).save(folder, caller)
        asked: list[set[str]] = []

        async def noting(scope: proxies.Scope, _: object, send: Callable[[Any], Any]) -> None:
            if scope["type"] == "http":
                asked.append({header.decode("latin-1") for header, _ in scope["headers"]})
                await _answer(read, scope, send)

        try:
            with proxies.behind(noting) as app, proxies.running("caddy", configuration, folder, app) as caddy:
                yield _Deployment(folder, caddy.url, asked)
        except failures.ProgramMissing as error:
            raise NotYet(f"this exercise needs it: {error}") from None
        except failures.ProgramFailed as error:
            raise NotYet(f"Caddy does not run with it; its last words: {_last_words(error.stderr)}") from None


def _last_words(log: str) -> str:
    """Return what Caddy said last, out of the JSON that it logs."""
    last = next(reversed(log.strip().splitlines()), "nothing")
    found = re.search(r'"(?:error|msg)":"((?:[^"\\]|\\.)*)"', last)
    return (found[1] if found else last)[-300:]


@checker("a Caddyfile, as text: BROKEN with some lines changed")
def mended_configuration(answer: Any) -> str:
    """Judge a Caddyfile by running it: honest callers are who they are, and no probe gets through."""
    expect(isinstance(answer, str), "the answer is a Caddyfile, as text")
    expect("@PORT@" in answer and "@APP@" in answer, "leave @PORT@ and @APP@ in: they stand for the two addresses")
    _expect_one_door(answer)
    me, victim = (f"caller-{secrets.token_hex(4)}" for _ in range(2))
    with _deployed(answer, _who, me, victim) as deployment:
        for caller, ways in ((me, _WAYS[::2]), (victim, _WAYS[1::2]), (None, _WAYS)):
            _expect_served(deployment, caller, ways)
        deployment.asked.clear()
        for caller, other, ways in ((me, victim, _WAYS[::2]), (victim, me, _WAYS[1::2]), (None, me, _WAYS)):
            _expect_no_forgery(deployment, caller, other, ways)
        _expect_no_chain(deployment)
        path = f"/{secrets.token_hex(4)}/{secrets.token_hex(4)}"
        report = probe(deployment.url + path, **deployment.files(me), victim=deployment.folder / f"{victim}.crt")  # type: ignore[arg-type]
        if report.through:
            one, count = report.through[0], len(report.through)
            told = f"{one.attack} (seen: {one.seen}). {one.cure}"
            raise NotYet(f"not every probe is stopped ({count} got through); the first: {told}")
        _expect_no_chain(deployment)
    return f"{report.requests} requests, and nothing got through. Each line that you changed was a way in"


_LOOPBACK = {"127.0.0.1", "::1", "[::1]", "localhost"}


def _expect_one_door(configuration: str) -> None:
    lines, depth, tops = [line.strip() for line in configuration.splitlines()], 0, []
    for line in lines:
        if line and depth == 0 and not line.startswith(("#", "{", "(")):
            tops.append(line)
        depth += line.count("{") - line.count("}")
    expect(len(tops) == 1, "one site is enough: a second one is another door, beside the one that you guard")
    words = [line.split() for line in lines]
    binds, admins = ([line[1:] for line in words if line[:1] == [word]] for word in ("bind", "admin"))
    loopback = bool(binds) and all(set(where) <= _LOOPBACK for where in binds)
    expect(loopback, "listen on loopback only: bind 127.0.0.1")
    closed = bool(admins) and all(where == ["off"] for where in admins)
    expect(closed, "leave admin off: whoever reaches that address changes the configuration")
    trusts = [line for line in words if line[:1] and re.match("trust", line[0])]
    more = [line for line in trusts if line[0] != "trusted_ca_cert_file" and line[:2] != ["trust_pool", "file"]]
    expect(not more, "leave trust_pool file ca.crt: whoever another CA signs for would be let in as well")


_HONEST = {"Cookie": "a=b", "X-Request-Id": "7", "Accept": "text/plain"}
_Ways = tuple[tuple[str, str], ...]
_WAYS: _Ways = (("GET", "/"), ("POST", "/reports/7"), ("DELETE", "/admin"))
"""What is asked for: each by somebody with a certificate, and each by somebody without."""


def _expect_served(deployment: _Deployment, caller: str | None, ways: _Ways) -> None:
    """Expect that an honest caller reaches the application as who they are, with any method, path and headers."""
    for method, path in ways:
        deployment.asked.clear()
        got = deployment.ask(caller, path, method=method, headers=_HONEST)
        if caller is None:
            expect(
                got.text == "nobody", f"a caller without a certificate must still be let in, as nobody: {_heard(got)}"
            )
        expect(bool(deployment.asked) or not got.ok, "the application was not asked: the proxy answers in its place")
        whole = f"{caller}, who is honest, is {_heard(got)} now at {method} {path}, not CN={caller}"
        expect(caller is None or got.text == f"CN={caller}", whole)


def _expect_no_forgery(deployment: _Deployment, caller: str | None, victim: str, ways: _Ways) -> None:
    """Expect that nobody is who they say, whoever they are and whatever they ask for."""
    value = client_cert.encode(read_certificates(deployment.folder / f"{victim}.crt")[0])
    for method, path in ways:
        got = deployment.ask(caller, path, method=method, headers={"Client-Cert": value, "Client-Cert-Chain": value})
        taken = f"{caller or 'who shows no certificate'} is {victim} by a Client-Cert of their own, at {method} {path}"
        expect(
            not got.text.startswith(f"CN={victim}"),
            f"not every probe is stopped: {taken}. Strip this header from every request",
        )


def _expect_no_chain(deployment: _Deployment) -> None:
    chain = any("client-cert-chain" in names for names in deployment.asked)
    expect(not chain, "Client-Cert-Chain arrives as the caller wrote it, for whoever reads it (RFC 9440 §2.4)")


def _heard(answer: Answer) -> str:
    return "refused" if answer.refusal else f"status {answer.status}" if not answer.ok else answer.text


@checker('a dictionary of headers, such as {"Client-Cert": "…"}')
def bob_as_alice(answer: Any) -> str:
    """Judge the headers of one request that bob sends: does the application take him for alice?"""
    read = Guarded(_as_headers, "the answer").attempt(answer)
    if read.error is not None:
        raise read.error
    headers = read.value
    names = {name.lower() for name in headers}
    with _deployed(LEAKY, identify, "bob") as deployment:
        try:
            got = deployment.ask("bob", headers=headers)
        except errors.OptionRefused as error:
            raise NotYet(f"of these headers, {error.problem}") from None
    if got.ok and got.text == "CN=alice":
        return "bob had the proxy throw away its own word, and put an older one in its place"
    expect(not got.refusal, "the proxy hung up; send one well-formed request")
    expect(got.text != "nobody", "the proxy's header is gone. Now give the application something else to believe")
    if got.status == 400:
        raise NotYet(f"the application looks at your header, and refuses it: {got.text}")
    expect(got.ok, f"that gets a {got.status} from the proxy")
    expect(got.text == "CN=bob", f"it takes bob for {got.text}; alice is wanted")
    if "x-ssl-client-cert" in names and "connection" not in names:
        raise NotYet("the old header arrives, and is not read while the new one is there. Can you make that go away?")
    if "connection" in names and "x-ssl-client-cert" in names:
        raise NotYet("you name other headers in Connection, or it is bob's certificate: which one has to go?")
    if "client-cert" in names:
        raise NotYet("the proxy overwrites Client-Cert; look for what it does not touch")
    raise NotYet("it is still bob; which header does the application read when the first one is not there?")


def _as_headers(answer: Any) -> dict[str, str]:
    """Take a mapping, pairs, or lines of text."""
    if isinstance(answer, str):
        answer = [line.split(":", 1) for line in answer.splitlines() if line.strip()]
    pairs: Iterable[Any] = answer.items() if isinstance(answer, Mapping) else answer
    made: dict[str, str] = {}
    for name, value in islice(pairs, 1000):
        key, text = (part.decode("latin-1") if isinstance(part, bytes) else str(part).strip() for part in (name, value))
        made[key] = f"{made[key]}, {text}" if key in made else text
    expect(bool(made), 'give the headers: {"Name": "value"}')
    return made
