"""Every fault gets the verdict of its row: at both ends, over real sockets, and from the real curl."""

import functools
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from given import CURL_VERSION
from mtlslab import errors, faults, refusals
from mtlslab.contexts import TLS_VERSIONS, TLSVersion
from mtlslab.exchanges import Answer
from mtlslab.faults import FAULTS, Case, Fault, Lab, Setup, wordings
from mtlslab.faults.staging import running
from mtlslab.refusals import Refusal

EARLY = {f.verdicts["1.2"].reason: name for name, f in FAULTS.items() if f.verdicts["1.2"].by == "server"}
ROWS = [(name, max(fault.verdicts)) for name, fault in FAULTS.items()] + [(name, "1.2") for name in EARLY.values()]
"""Each fault under TLS 1.3 if it has it, and where the server refuses under 1.2: one of each reason, for the versions
differ in when and how the client hears of it, and in nothing else."""
BEFORE = {"key-mismatch": errors.KeyMismatch, "unreadable-file": errors.FileContents}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Case]]:
    """Put a row of the table on stage, once for all the tests of it, and with one CA for all faults.

    A client that offers no more than TLS 1.2 meets the same server, unless the set-up is another, or used up.
    """
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("rows")
        labs = {tls: Lab(tls) for tls in TLS_VERSIONS}

        @functools.cache
        def staged(name: str, tls: Any) -> Case:
            if tls == "1.2" and name not in ("no-version-in-common", "no-cipher-in-common"):
                return replace(staged(name, "1.3"), lab=labs[tls])
            setup, files = FAULTS[name].mint(labs[tls]), folder / f"{name}-{tls}"
            faults.write_files(setup, files)
            server = running(setup)
            stack.enter_context(server)
            return Case(FAULTS[name], labs[tls], setup, files, server)

        yield staged


def view(refusal: Refusal | None) -> tuple[str | None, str | None, str | None]:
    return (refusal.by, refusal.reason, refusal.alert) if refusal else (None, None, None)


@pytest.mark.parametrize("tls", ["1.3", "1.2"])
def test_both_ends_see_what_the_row_says(stage: Callable[[str, str], Case], tls: str) -> None:
    """Who refuses, why, with which alert, at which moment (as curl exits), and what the other end makes of it."""
    for name, _ in (row for row in ROWS if row[1] == tls):
        row = stage(name, tls)
        verdict = row.verdict
        if verdict.moment == "before dialling":
            with pytest.raises(BEFORE[verdict.reason or ""]):
                row.request()
            assert not row.server.visits, name
            continue
        answer, visits = row.request(), row.server.visits
        found, told = (verdict.by, verdict.reason, verdict.alert), (verdict.by, verdict.told, verdict.alert)
        assert view(answer.refusal) == (told if verdict.by == "server" else found), name
        if visits:
            assert view(visits[-1].refusal) == (told if verdict.by == "client" else found), name
        else:
            assert not row.setup.speaks_tls, name
        assert answer.ok == (verdict.by is None), name
        assert answer.refusal is None or name in wordings.find(answer.refusal.message)
        if visits and (seen := visits[-1].refusal):
            assert name in wordings.find(seen.message, "server")
        assert (answer.refusal.curl_exit_code if answer.refusal else 0) == (verdict.curl or 0), name


@pytest.mark.skipif(CURL_VERSION < (7, 75), reason="needs a curl that tells what became of each request")
def test_the_real_curl_returns_each_row_s_exit_code(stage: Callable[[str, str], Case]) -> None:
    """And for an alert, its text is one of those that the row can be found by. (One curl has no pool to renew behind.)

    It takes a list of requests, and tells what became of each: to start it anew takes longer than to ask.
    """
    asked = [case for row in ROWS if (case := stage(*row)).verdict.curl is not None]
    assert len(asked) > len(ROWS) - 3
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    otherwise = {}
    for careless in (False, True):
        left = [case for case in asked if case.setup.careless == careless]
        told = "%{stderr}%{exitcode} is what it exits with\n"  # after what it says itself
        while left:  # after what it takes for a fault of its own, curl makes no more requests
            words = [word for case in left for word in ("--next", "--write-out", told, *case.curl()[0][1:])]
            environment = {**os.environ, **left[0].curl()[1]}
            done = subprocess.run(["curl", *words[1:]], check=False, env=environment, text=True, **quiet)
            found = re.findall(r"(.*?)^(\d+) is what it exits with$", done.stderr, re.MULTILINE | re.DOTALL)
            assert done.returncode == int(found[-1][1])
            for case, (text, code) in zip(left, found, strict=False):
                as_it_should = int(code) == case.verdict.curl_of(CURL_VERSION)
                if not as_it_should or (code != "0" and case.fault.name not in wordings.find(text)):
                    otherwise[case.fault.name, case.lab.tls] = int(code), text
            left = left[len(found) :]
    assert otherwise == {}


# --- other clients ---

ACCEPTED = {name for name, fault in FAULTS.items() if {v.curl for v in fault.verdicts.values()} <= {0, None}}
"""What curl accepts without a word, and other clients may."""


def _with_requests(case: Case) -> str:
    """Make a case's request with the library requests; return what it raised, or nothing."""
    import requests

    files, host = {option: str(path) for option, path in case.files.items()}, case.server_name or "localhost"
    pair = (files["cert"], files["key"]) if "cert" in files else None
    with requests.Session() as session:
        session.trust_env = False
        try:
            url = case.url if not case.server_name else f"https://{host}:{case.server.port}"
            session.get(url, verify=files["cacert"], cert=pair, timeout=5)
        except (requests.RequestException, OSError) as error:
            return str(error)
    return ""


def test_each_row_is_found_by_the_words_of_requests(
    stage: Callable[[str, str], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library requests passes Python's words on, wrapped in its own: a fault of each kind shows how."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *others, **options: resolve("127.0.0.1", *others, **options))
    verdicts = {name: fault.verdicts["1.3"] for name, fault in FAULTS.items() if "1.3" in fault.verdicts}
    one_of_each = {(one.by, one.moment, one.alert is None): name for name, one in verdicts.items()}
    cases = [stage(name, "1.3") for name in one_of_each.values()]
    assert len(cases) > 6
    said = {case.fault.name: _with_requests(case) for case in cases if not case.setup.curl}  # a setting for curl only
    assert not {name: text for name, text in said.items() if name not in (wordings.find(text) if text else ACCEPTED)}


_NODE_CLIENT = """
const fs = require('fs'), http = require('http'), https = require('https');
const HERE = {address: '127.0.0.1', family: 4};
const lookup = (host, options, then) => options.all ? then(null, [HERE]) : then(null, HERE.address, HERE.family);
const ask = ({url, tls, ...files}) => new Promise((resolve) => {
  const say = (error) => resolve(error ? `${error.code} ${error.message}` : '');
  const options = {agent: false, lookup, maxVersion: `TLSv${tls}`};
  try {
    for (const name in files) options[{cacert: 'ca'}[name] ?? name] = fs.readFileSync(files[name]);
    const get = url.startsWith('https') ? https.get : http.get;
    get(url, options, (reply) => reply.resume().on('end', () => say())).on('error', say);
  } catch (error) { say(error); }
});
(async () => {
  const said = {};
  for (const [name, one] of Object.entries(JSON.parse(fs.readFileSync(0)))) said[name] = await ask(one);
  console.log(JSON.stringify(said));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_row_is_found_by_the_words_of_node(stage: Callable[[str, str], Case]) -> None:
    """One Node.js client calls every fault's server in turn: with TLS 1.3, and with 1.2 where the row has another."""
    asked: dict[str, dict[str, str]] = {}
    for name, tls in ROWS:
        verdicts = FAULTS[name].verdicts
        if tls == "1.2" and verdicts[tls] == verdicts.get("1.3"):
            continue
        case = stage(name, tls)
        if case.setup.curl:
            continue  # it takes a setting that only curl is given
        url = f"{case.setup.scheme}://{case.setup.host}:{case.server.port}"
        files = {option: str(path) for option, path in case.files.items()}
        asked[f"{name} {tls}"] = {"url": url, "tls": tls, **files}
    command = ["node", "-e", _NODE_CLIENT]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True)
    said = json.loads(done.stdout)
    assert said.keys() == asked.keys()
    found = {row: wordings.find(text) if text else ACCEPTED for row, text in said.items()}
    assert not {row: said[row] for row, names in found.items() if row.split()[0] not in names}


def test_two_ends_that_work_are_the_starting_point(tmp_path: Path) -> None:
    """Without a fault the request succeeds: each refusal above comes from the one thing changed."""
    fault = Fault("none", "neither", "trust", "", lambda lab: lab.good, faults.ACCEPTED, "")
    versions: tuple[TLSVersion, ...] = ("1.2", "1.3")
    for tls in versions:
        with faults.staged(fault, tmp_path / tls, tls=tls) as case:
            assert case.request().ok
            assert case.server.visits[-1].client == case.lab.client.certificate


def test_each_row_is_complete() -> None:
    """A kebab-case name, sentences that end, a reason of the vocabulary."""
    for fault in FAULTS.values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", fault.name)
        for text in (fault.sentence, fault.cure, fault.lesson or "None."):
            assert text.endswith("."), fault.name
        for verdict in fault.verdicts.values():
            assert verdict.reason is None or verdict.reason in refusals.REASONS, fault.name


def test_a_server_that_never_asks_lets_anybody_in(tmp_path: Path) -> None:
    """With a certificate or without: the server knows nobody."""
    with faults.stage("server-never-asks", tmp_path) as case:
        assert case.request().ok
        visit = case.server.visits[-1]
    assert visit.client is None


def test_a_pool_shows_the_old_certificate(tmp_path: Path) -> None:
    """Files renewed on disk do not reach a connection that is open, nor the context that opened it."""
    with faults.stage("pool-with-old-certificate", tmp_path) as case:
        case.request()
        seen = [visit.client for visit in case.server.visits]
    assert seen == [case.lab.client.certificate] * 2
    assert "BEGIN CERTIFICATE" in (tmp_path / "client.crt").read_text()
    assert case.lab.client.certificate not in map(_read, [tmp_path / "client.crt"])


def _read(path: Path) -> object:
    from mtlslab.credentials import read_certificates

    return read_certificates(path)[0]


def test_the_version_1_certificate_opens_either_door(tmp_path: Path) -> None:
    """It has no purpose, so a server may show what was meant for a client: why the row is a fault."""
    lab = Lab()
    made = faults.version_1(lab.server.certificate, lab.ca.private_key)
    assert made.version.name == "v1"
    made.verify_directly_issued_by(lab.ca.certificate)
    both = replace(lab.server, certificate=made)
    fault = Fault("both", "neither", "purpose", "", lambda _: replace(lab.good, server=both, client=both), {}, "")
    with faults.staged(fault, tmp_path) as case:
        assert case.request().ok


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    """With the names there are."""
    with pytest.raises(errors.OptionRefused, match="expired-client"), faults.stage("expired-cat", tmp_path):
        pass


def test_a_refused_client_learns_the_alert(tmp_path: Path) -> None:
    """Also when it writes before it reads: never a bare reset."""
    with faults.stage("unknown-client-ca", tmp_path) as case:
        alerts = {a.refusal.alert for a in (_write_first(case) for _ in range(10)) if a.refusal}
    assert alerts == {"unknown_ca"}


def _write_first(case: Case) -> Answer:
    from mtlslab.client import exchange

    return exchange(case.url, case.client_context(), sent_certificate=True, method="POST", content=b"x" * 200_000)


def test_the_good_setup_is_shared_by_nothing() -> None:
    """Two labs have two CAs: a fault cannot leak into another."""
    first, second = Lab().good, Lab().good
    assert isinstance(first, Setup)
    assert first.server_ca != second.server_ca


def test_the_longest_text_counts() -> None:
    """A message is not also what a part of it says."""
    assert wordings.find("remote error: tls: unknown certificate")[0] == "client-name-not-permitted"
    assert "client-name-not-permitted" not in wordings.find("remote error: tls: unknown certificate authority")
    assert wordings.find("SSL certificate problem: self-signed certificate in certificate chain") == (
        "unknown-server-ca",
    )
    assert wordings.find("all is well") == ()


def test_an_encrypted_key_has_two_messages_in_node() -> None:
    """One key in 256 seems to decrypt with no password, and then is no key: Node.js words that in another way."""
    for said in (
        "ERR_OSSL_BAD_DECRYPT error:1C800064:Provider routines::bad decrypt",
        "ERR_OSSL_UNSUPPORTED error:1E08010C:DECODER routines::unsupported",
    ):
        assert wordings.find(said) == ("encrypted-key",)


def test_the_real_curl_of_today_exits_otherwise_for_some_files() -> None:
    """Where curl has changed its mind about the client's files, the rows know since when: three of them, since 8.16."""
    changed = {
        name: fault.verdicts["1.2"].curl_of((8, 16))
        for name, fault in FAULTS.items()
        if fault.verdicts["1.2"].curl_of((8, 16)) != fault.verdicts["1.2"].curl_of((8, 15))
    }
    assert changed == dict.fromkeys(("client-chain-reversed", "key-of-another-certificate", "encrypted-key"), 43)


def test_a_version_without_the_fault_is_refused(tmp_path: Path) -> None:
    """Only a version that has the fault can be staged, and the error says which these are."""
    versions: tuple[Any, ...] = ("1.1", "1.4", "TLSv1.3", 1.3)
    for name, tls in (*(("expired-client", tls) for tls in versions), ("no-cipher-in-common", "1.3")):
        with (
            pytest.raises(errors.OptionRefused, match=r"is a fault of TLS 1\.2"),
            faults.stage(name, tmp_path, tls=tls),
        ):
            pass


def test_a_fault_can_be_staged_by_its_name_alone(tmp_path: Path) -> None:
    """The version is then the highest that has the fault."""
    for name, tls in (("expired-client", "1.3"), ("no-cipher-in-common", "1.2")):
        with faults.stage(name, tmp_path / name) as case:
            assert case.lab.tls == tls == max(FAULTS[name].verdicts)
            assert case.verdict == FAULTS[name].verdicts[case.lab.tls]
