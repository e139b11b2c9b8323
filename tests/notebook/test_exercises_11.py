"""The checkers of notebook 11: wrong answers that people do give, right ones that look otherwise."""

import base64
import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import needed_programs
import notebook_form
from mtlslab import CertificateAuthority, client_cert, failures
from mtlslab.credentials import certificate_pem
from mtlslab.notebook import exercises, programs, proxies, servers
from mtlslab.notebook.exercises import page_11
from mtlslab.probe import attacks
from mtlslab.profiles import CLIENT
from notebook_rules import Notebook

PAGE = notebook_form.NOTEBOOKS / "11-behind-a-proxy.ipynb"
VALUE = ":{http.request.tls.client.certificate_der_base64}:"

Headers = list[tuple[str, str]]
Reader = Callable[[Headers], Any]


def needs_caddy() -> None:
    if (error := proxies.missing("caddy")) and not needed_programs.are_required():
        pytest.skip(str(error))


# --- a strict reader ------------------------------------------------------------------------------


def values(headers: Headers) -> list[str]:
    return [value for name, value in headers if name.lower() == "client-cert"]


def by_the_package(headers: Headers) -> x509.Certificate | None:
    found = values(headers)
    if len(found) > 1:
        raise ValueError("twice")
    try:
        return client_cert.decode(found[0]) if found else None
    except failures.HeaderRefused as error:
        if error.absent and found[0] != "-":
            return None
        raise


def by_encoding_again(headers: Headers) -> x509.Certificate | None:
    """Lean on the comparison alone, and refuse an underscore outright."""
    if any("_" in name for name, _ in headers):
        raise ValueError("an underscore")
    found = values(headers)
    if found in ([], [""], ["::"]):
        return None
    (only,) = found
    certificate = x509.load_der_x509_certificate(base64.b64decode(only))
    if client_cert.encode(certificate) != only or len(only) > 16384:
        raise ValueError("not its own spelling")
    return certificate


@pytest.mark.parametrize("reader", [by_the_package, by_encoding_again])
def test_right_readers_are_accepted(reader: Reader) -> None:
    """Two readers that are as strict as asked for, each in its own way."""
    feedback = exercises.strict_reader(reader)
    assert feedback.correct, feedback.text


def strict(headers: Headers, **changes: Any) -> x509.Certificate | None:
    """Read strictly, but for what `changes` lets go."""
    get = changes.get
    name = get("name", lambda name: name.lower() == "client-cert")
    found = [value for header, value in headers if name(header)]
    if len(found) > 1 and not get("last") and not get("first"):
        raise ValueError("twice")
    if not found or found[0] in get("nobody", ("", "::")):
        return None
    text = found[-1] if get("last") else found[0]
    if get("split"):
        text = text.split(",")[0]
    if get("strip"):
        text = text.strip()
    if len(text) > get("longest", 16384):
        raise ValueError("too long")
    inner = re.fullmatch(get("pattern", r":([A-Za-z0-9+/]+=*):"), text)
    if not inner:
        raise ValueError("not a byte sequence")
    padded = inner[1] + "=" * (-len(inner[1]) % 4) if get("pad") else inner[1]
    certificate = x509.load_der_x509_certificate(base64.b64decode(padded, validate=not get("lenient")))
    if not get("respelt") and client_cert.encode(certificate).strip(":") != padded.strip(":"):
        raise ValueError("not its own spelling")
    return certificate


def wrong(**changes: Any) -> Reader:
    return lambda headers: strict(headers, **changes)


def raises_type_error(headers: Headers) -> Any:
    try:
        return strict(headers)
    except ValueError:
        raise TypeError from None


def or_none(headers: Headers) -> Any:
    try:
        return strict(headers)
    except ValueError:
        return None


class Lookalike:
    """Says that it is a certificate, and equal to any."""

    __class__ = x509.Certificate  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


WRONG_READERS: dict[str, tuple[Any, str]] = {
    "the first of two": (wrong(first=True), "came twice"),
    "the last of two": (wrong(last=True), "came twice"),
    "a list's first": (wrong(split=True), "two values in one header"),
    "with blanks around": (wrong(strip=True), "lenient decoder"),
    "no colons needed": (wrong(pattern=r":?([A-Za-z0-9+/]+=*):?"), "colons"),
    "anything between colons": (
        wrong(pattern=r":((?s:.)+?):", lenient=True, respelt=True),
        "believes a doubtful header",
    ),
    "padding added": (wrong(pad=True), "one Base64"),
    "another spelling": (wrong(respelt=True), "one Base64"),
    "no longest": (wrong(longest=10**9), "16,384"),
    "too long a longest": (wrong(longest=17000), "16,384"),
    "too short a longest": (wrong(longest=16000), "as long as this one"),
    "a lookalike": (lambda headers: strict(headers) and Lookalike(), "the x509.Certificate itself"),
    "an underscore": (wrong(name=lambda name: name.lower().replace("_", "-") == "client-cert"), "Client_Cert"),
    "its beginning": (wrong(name=lambda name: name.lower().startswith("client-cert")), "another header"),
    "its end": (wrong(name=lambda name: name.lower().endswith("client-cert")), "another header"),
    "the case matters": (wrong(name=lambda name: name == "client-cert"), "case"),
    "nobody is an error": (wrong(nobody=()), "nobody"),
    ":: is an error": (wrong(nobody=("",)), ":: "),
    "the wrong exception": (raises_type_error, "not ValueError"),
    "None for every doubt": (or_none, "believes a doubtful header"),
    "the name alone": (lambda headers: (c := strict(headers)) and c.subject, "the x509.Certificate itself"),
    "DER": (lambda headers: (c := strict(headers)) and c.public_bytes(Encoding.DER), "the x509.Certificate itself"),
    "nothing": (lambda _: None, "the caller's certificate"),
    "always an error": (lambda headers: headers[99], "raises IndexError"),
    "a certificate": (CertificateAuthority.create("x").certificate, "without parentheses"),
}


def test_wrong_readers_get_their_hint() -> None:
    """Each leniency is found by a value that it lets in, and named."""
    for name, (reader, hint) in WRONG_READERS.items():
        feedback = exercises.strict_reader(reader)
        assert feedback.correct is False, name
        assert hint in feedback.text, name


# --- a mended configuration -----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def few_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the prober forge the two headers alone that the application believes: the solution meets all of them."""
    monkeypatch.setattr(attacks, "NAMES", {name: attacks.NAMES[name] for name in ("Client-Cert", "Client-Cert-Chain")})


LINES = "\n".join(line for line in exercises.BROKEN.splitlines() if "@known" not in line)
ARRIVAL = "request_header -Client*\n  request_header -Upgrade"
MENDED = LINES.replace("mode request", "mode verify_if_given").replace(
    "reverse_proxy @APP@", f"{ARRIVAL}\n  reverse_proxy @APP@ {{\n    header_up Client-Cert {VALUE}\n  }}"
)

SNIPPET = """\
(guard) {
  request_header -Client-Cert
  request_header -Client-Cert-Chain
}
"""
BY_CALLER = f"""
  log
  request_header -Connection
  request_header -X-SSL*
  route {{
    @up header Upgrade *
    respond @up 400
    @known vars_regexp {{http.request.tls.client.subject}} .
    handle @known {{
      reverse_proxy @APP@ {{
        header_up -Client-Cert-Chain
        header_up Client-Cert {VALUE}
      }}
    }}
    handle {{
      import guard
      reverse_proxy @APP@
    }}
  }}"""
OTHERWISE = (
    LINES.replace("https://", f"{SNIPPET}https://")
    .replace("mode request", "mode verify_if_given")
    .replace("bind 127.0.0.1", "bind 127.0.0.1 ::1")
    .replace("  reverse_proxy @APP@", BY_CALLER)
)


def test_a_right_configuration_is_accepted() -> None:
    """Another text does what is asked for, too, than the folded solution, which is tried with the notebook's others.

    It strips on departure for who is known, and on arrival, by a snippet in a route, for who is not; it refuses
    upgrades, keeps a log, and listens on both loopbacks.
    """
    needs_caddy()
    feedback = exercises.mended_configuration(OTHERWISE)
    assert feedback.correct, feedback.text


BESIDE = """http://localhost:0 {
  bind 127.0.0.1
  reverse_proxy @APP@
}
"""

GUARDED = MENDED[MENDED.index("  request_header -Client*") :].rstrip().removesuffix("}")
UNGUARDED = exercises.BROKEN[exercises.BROKEN.index("  @known") :].rstrip().removesuffix("}")


def guarded(matcher: str, *more: str) -> str:
    """A mended configuration that guards what matches, and leaves the rest as it was."""
    head = MENDED[: MENDED.index("  request_header -Client*")]
    return "\n".join([head, *more, f"handle {matcher} {{\n{GUARDED}}}", f"handle {{\n{UNGUARDED}}}", "}\n"])


def responding(matcher: str, answer: str) -> str:
    """A mended configuration in which the proxy itself answers what matches."""
    lines = f"  @odd {matcher}\n  respond @odd {answer}\n  request_header -Upgrade"
    return MENDED.replace("  request_header -Upgrade", lines)


KNOWN = "{http.request.tls.client.subject}"

WRONG_CONFIGURATIONS: dict[str, tuple[Any, str]] = {
    "unchanged": (exercises.BROKEN, "who shows no certificate is caller-.* by a Client-Cert of their own, at GET /"),
    "another site beside": (f"{MENDED}\n{BESIDE}", "another door"),
    "admin on": (MENDED.replace("admin off", "admin localhost:0"), "leave admin off"),
    "required": (MENDED.replace("verify_if_given", "require_and_verify"), "let in, as nobody"),
    "any certificate, upgrades, and set on arrival": (
        MENDED.replace("verify_if_given", "request")
        .replace(f"    header_up Client-Cert {VALUE}\n", "")
        .replace("  request_header -Upgrade\n", f"  request_header Client-Cert {VALUE}\n"),
        r"\(4 got through\); the first: another CA's certificate .* verify what is shown",
    ),
    "both deleted": (
        MENDED.replace("header_up", "header_up -Client-Cert\n    header_up"),
        "who is honest, is nobody",
    ),
    "guarded at / alone": (guarded("/"), "by a Client-Cert of their own, at POST /reports/7"),
    "guarded for alice, bob and nobody alone": (
        guarded("@those", f"@those not vars_regexp {KNOWN} ^CN=[^ab]"),
        "Client-Cert-Chain arrives",
    ),
    "the chain for GET alone": (
        MENDED.replace("request_header -Client*", "@get method GET\n  request_header @get -Client*"),
        "Client-Cert-Chain arrives",
    ),
    "nobody is answered by the proxy": (
        responding(f"not vars_regexp {KNOWN} .", '"nobody"'),
        "the application was not asked",
    ),
    "whoever has a cookie stays outside": (
        responding("header Cookie *", "403"),
        "who is honest, is status 403",
    ),
    "whoever posts stays outside": (
        responding("method POST", "405"),
        "who is honest, is status 405 now at POST",
    ),
    "another CA beside": (
        MENDED.replace("trust_pool file ca.crt", "trust_pool file ca.crt\n      trusted_ca_cert MIIB"),
        "whoever another CA signs for",
    ),
    "admin off elsewhere": (
        "(unused) {\n  admin off\n}\n" + MENDED.replace("admin off", "admin localhost:0", 1),
        "leave admin off",
    ),
    "no bind": (MENDED.replace("  bind 127.0.0.1\n", ""), "bind 127.0.0.1"),
    "every address": (MENDED.replace("bind 127.0.0.1", "bind 0.0.0.0"), "bind 127.0.0.1"),
    "no port": (MENDED.replace("@PORT@", "3000"), "@PORT@"),
    "a slip": (MENDED.replace("request_header -Upgrade", "requestheader -Upgrade"), "requestheader"),
    "another kind": (["request_header -Client*"], "as text"),
}


@pytest.mark.parametrize("name", WRONG_CONFIGURATIONS)
def test_wrong_configurations_get_their_hint(name: str) -> None:
    """What still gets through, or no longer gets through, is told."""
    needs_caddy()
    configuration, hint = WRONG_CONFIGURATIONS[name]
    feedback = exercises.mended_configuration(configuration)
    assert feedback.correct is False
    assert re.search(hint, feedback.text)


# --- bob as alice ---------------------------------------------------------------------------------

CA = CertificateAuthority.create("example-ca")
ALICE, BOB = (CA.issue(name, CLIENT).certificate for name in ("alice", "bob"))
OWN = CertificateAuthority.create("alice").certificate
ALICE_2 = CA.issue("alice-2", CLIENT).certificate
ESCAPED = quote(certificate_pem(ALICE).decode(), safe="")
DROP = "close, Client-Cert"
RIGHT_HEADERS: dict[str, Any] = {
    "as in the solution": {"Connection": DROP, "X-SSL-Client-Cert": ESCAPED},
    "in lower case": {"connection": "client-cert", "x-ssl-client-cert": ESCAPED},
    "pairs": [("Connection", "Client-Cert"), ("X-SSL-Client-Cert", ESCAPED.removesuffix("%0A"))],
    "lines": f"Connection: close, Client-Cert\nX-SSL-Client-Cert: {ESCAPED}\n",
    "bytes": {b"Connection": DROP.encode(), b"X-SSL-Client-Cert": ESCAPED.encode()},
    "in two lines": [("Connection", "close"), ("Connection", "CLIENT-CERT"), ("X-SSL-Client-Cert", ESCAPED)],
    "of a CA of bob's own": {"Connection": DROP, "X-SSL-Client-Cert": quote(certificate_pem(OWN).decode(), safe="")},
    "with more": {"Connection": DROP, "X-SSL-Client-Cert": ESCAPED, "Client-Cert": "FORGED", "Accept": "*/*"},
}


@pytest.fixture(scope="module")
def leaky() -> Iterator[page_11._Deployment]:
    """The deployment to get past, run once: an answer is one request to it."""
    needs_caddy()
    with page_11._deployed(exercises.LEAKY, exercises.identify, "bob") as deployment:
        yield deployment


@pytest.fixture
def at_the_leaky_one(leaky: page_11._Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_11, "_deployed", lambda *_: contextlib.nullcontext(leaky))


@pytest.mark.usefixtures("at_the_leaky_one")
def test_the_way_in_is_accepted_in_any_form() -> None:
    """A dictionary, pairs or lines; either case; alice's certificate with or without its last line break."""
    for name, headers in RIGHT_HEADERS.items():
        feedback = exercises.bob_as_alice(headers)
        assert feedback.correct, f"{name}: {feedback.text}"


WRONG_HEADERS: dict[str, tuple[Any, str]] = {
    "the new header": ({"Client-Cert": client_cert.encode(ALICE)}, "overwrites Client-Cert"),
    "the old header": ({"X-SSL-Client-Cert": ESCAPED}, "Can you make that go away?"),
    "Connection alone": ({"Connection": DROP}, "something else to believe"),
    "both dropped": ({"Connection": f"{DROP}, X-SSL-Client-Cert", "X-SSL-Client-Cert": ESCAPED}, "something else"),
    "the wrong one dropped": (
        {"Connection": "close, X-SSL-Client-Cert", "X-SSL-Client-Cert": ESCAPED},
        "which one has to go",
    ),
    "RFC 9440 in the old": ({"Connection": DROP, "X-SSL-Client-Cert": client_cert.encode(ALICE)}, "refuses it"),
    "a name": ({"Connection": DROP, "X-SSL-Client-Cert": "CN=alice"}, "refuses it"),
    "bob's": (
        {"Connection": DROP, "X-SSL-Client-Cert": quote(certificate_pem(BOB).decode(), safe="")},
        "bob's certificate",
    ),
    "another alice's": (
        {"Connection": DROP, "X-SSL-Client-Cert": quote(certificate_pem(ALICE_2).decode(), safe="")},
        "CN=alice-2; alice is wanted",
    ),
    "twice": ({"Connection": DROP, "X-SSL-Client-Cert": f"{ESCAPED}, {ESCAPED}"}, "refuses it"),
    "as it is": ({"Connection": DROP, "X-SSL-Client-Cert": certificate_pem(ALICE).decode()}, "cannot be sent"),
    "without end": (((f"X-{count}", "1") for count in itertools.count()), "Not yet"),
    "an underscore": ({"Connection": DROP, "X_SSL_Client_Cert": ESCAPED}, "something else to believe"),
    "upgrade": ({"Connection": "Upgrade", "Upgrade": "h2c"}, "it is still bob"),
    "the chain": ({"Client-Cert-Chain": client_cert.encode(ALICE)}, "it is still bob"),
    "a line break": ({"X": f"1\r\nClient-Cert: {client_cert.encode(ALICE)}"}, "cannot be sent"),
    "another host": ({"Host": "evil.example"}, "421"),
    "empty": ({}, "give the headers"),
    "a URL": ("https://localhost", "it is still bob"),
    "a number": (5, "a dictionary of headers"),
    "a key": (CA.private_key, "a dictionary of headers"),
}


@pytest.mark.usefixtures("at_the_leaky_one")
def test_other_requests_get_their_hint() -> None:
    """Half of the way is told from none of it."""
    for name, (headers, hint) in WRONG_HEADERS.items():
        feedback = exercises.bob_as_alice(headers)
        assert feedback.correct is False, name
        assert hint in feedback.text, name


# --- the page -------------------------------------------------------------------------------------


def test_without_caddy_exercises_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who has no Caddy is told what to install, and not that the answer is wrong."""
    monkeypatch.setattr(programs, "find", _nothing)
    for checker, answer in ((exercises.mended_configuration, MENDED), (exercises.bob_as_alice, {"A": "b"})):
        feedback = checker(answer)
        assert feedback.correct is False
        assert ".[servers]" in feedback.text


def _nothing(name: str, *_: object) -> Any:
    raise failures.ProgramMissing(name, "it is not on the PATH", "install it")


@pytest.mark.parametrize("absent", ["everything", "hypercorn"])
def test_cells_say_what_is_missing_and_do_not_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str], absent: str
) -> None:
    """Without a proxy, or without hypercorn, the page runs to its end, and its cells name what is missing."""
    if absent == "hypercorn":
        monkeypatch.setattr(
            servers, "missing", lambda *_: (failures.ProgramMissing("hypercorn", "it is not here", "install"),)
        )
    else:
        monkeypatch.setattr(programs, "find", _nothing)
        monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for cell in Notebook(PAGE).code:
        exec(compile(cell.source, cell.id, "exec", dont_inherit=True), namespace)
    said = capsys.readouterr().out
    for name in ("caddy", "nginx", "haproxy") if absent == "everything" else ("hypercorn",):
        assert f"{name}: it is not" in said
