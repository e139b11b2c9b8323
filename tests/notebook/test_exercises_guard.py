"""Nothing that a reader's function does harms the notebook, and no function is fitted to the cases."""

import _thread
import contextlib
import gc
import itertools
import json
import os
import signal
import ssl
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from mtlslab import CertificateAuthority, Server, contexts
from mtlslab.notebook.exercises import guard, judges
from mtlslab.notebook.exercises.guard import Guarded, NotYet
from mtlslab.notebook.exercises.judges import Case, checker, fresh_name, genuine, try_cases
from mtlslab.profiles import CLIENT, SERVER

Check = Callable[[Any], judges.Feedback]


def is_even() -> Iterator[Case]:
    """Numbers that no answer can have been fitted to."""
    for _ in range(20):
        number = int(fresh_name()[-6:])
        yield Case(f"the number {number}", number % 2 == 0, "a pair would be one short", (number,))


@pytest.fixture
def tells_even(monkeypatch: pytest.MonkeyPatch) -> Check:
    """A checker that wants a function from an int to a bool."""
    monkeypatch.setattr(judges, "CHECKERS", {})

    @checker("a function")
    def tells_even(answer: Any) -> str:
        """Want a function that tells even numbers."""
        try_cases(answer, is_even)
        return "even"

    return tells_even


async def answers_later(number: int) -> bool:
    return number % 2 == 0


def test_an_async_function_is_told_apart_without_noise(tells_even: Check) -> None:
    """Who writes `async def` hears what came back, and no warning of Python's about an awaitable falls out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said = tells_even(answers_later)
        gc.collect()
    assert "returned coroutine, and not bool" in said.text
    assert [str(warning.message) for warning in caught if "await" in str(warning.message)] == []


def exits(_: int) -> bool:
    sys.exit("bye")


def interrupts(_: int) -> bool:
    raise KeyboardInterrupt


def fails_in_line(_: int) -> bool:
    raise ValueError("no such number")


def sleeps(_: int) -> bool:
    ENDS[-1].wait()
    return True


ENDS: list[threading.Event] = []
"""Set when each test is over: who swallows every exception would go on for ever, and slow all tests after it."""


@pytest.fixture(autouse=True)
def at_rest_afterwards() -> Iterator[None]:
    over = threading.Event()
    ENDS.append(over)
    yield
    over.set()


def spins(_: int) -> bool:
    over = ENDS[-1]
    while not over.is_set():
        with contextlib.suppress(BaseException):
            while not over.is_set():
                pass
    return True


def hostile_words(_: int) -> bool:
    class Wordless(Exception):
        def __str__(self) -> str:  # noqa: PLE0307
            sys.exit()

    raise Wordless


COUNT = itertools.count()
FAILS_IN_LINE = fails_in_line.__code__.co_firstlineno + 1

WRONG: dict[str, tuple[Any, str]] = {
    "exits": (exits, "raised SystemExit: bye in line"),
    "interrupts": (interrupts, "raised KeyboardInterrupt in line"),
    "raises": (
        fails_in_line,
        f'raised ValueError: no such number in line {FAILS_IN_LINE} (raise ValueError("no such number"))',
    ),
    "raises without words": (hostile_words, "raised Wordless"),
    "sleeps": (sleeps, "does not come back in time, within 0.1 seconds"),
    "spins": (spins, "does not come back in time, within 0.1 seconds"),
    "counts": (lambda _: next(COUNT) % 2 == 0, "a pair would be one short"),
    "always": (lambda _: True, "your function says True for the number"),
    "nothing": (lambda _: None, "returns None; let it return bool"),
    "an int for a bool": (lambda n: 1 - n % 2, "returned int, and not bool"),
    "mock.ANY from a function": (lambda _: mock.ANY, "returned _ANY, and not bool"),
    "a mock": (mock.Mock(return_value=mock.ANY), "returned _ANY"),
    "no arguments": (lambda: True, "raised TypeError"),
    "the value": (True, "is wanted itself"),
    "mock.ANY": (mock.ANY, "is wanted itself"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_function_gets_its_own_words(name: str, tells_even: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raising, leaving, hanging, counting, guessing: each is told apart, and nothing gets out."""
    if name in ("sleeps", "spins"):
        monkeypatch.setattr(guard, "PATIENCE", 0.1)
    function, hint = WRONG[name]
    feedback = tells_even(function)
    assert feedback.correct is False
    assert hint in feedback.text


def test_a_good_function_is_correct(tells_even: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function, a method, a partial: whatever can be called counts."""
    assert tells_even(lambda number: number % 2 == 0).correct
    assert tells_even({0: True}.__class__(()).get).correct is False
    assert tells_even(mock.Mock(side_effect=lambda number: number % 2 == 0)).correct


def test_nothing_is_printed_and_no_thread_goes_on(
    tells_even: Check, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What a function prints is swallowed, its threads end with it, and the folder is the one that it was."""
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # in place of pytest's
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    stop, calls = False, itertools.count()

    def busy() -> None:
        while not stop:
            time.sleep(0.001)

    def noisy(number: int) -> bool:
        sys.stdout.write("noise")
        sys.stderr.write("noise")
        if next(calls) % 10 == 0:
            threading.Thread(target=lambda: threading.Thread(target=busy).start(), daemon=False).start()
            ThreadPoolExecutor().submit(busy)
        os.chdir(tmp_path if number % 2 else tmp_path / "elsewhere")
        return number % 2 == 0

    before = set(threading.enumerate())
    assert tells_even(noisy).correct
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before
    assert capsys.readouterr() == ("", "")
    assert Path.cwd() == tmp_path


def test_the_readers_own_interrupt_gets_through(tells_even: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who presses stop while a function hangs is out at once, and the function ends."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background may ignore it
    begun = threading.Event()
    caller: list[threading.Thread] = []

    def hangs(_: int) -> bool:
        caller.append(threading.current_thread())
        begun.set()
        while True:
            time.sleep(0.001)

    def press_stop() -> None:
        begun.wait(10)
        _thread.interrupt_main()

    threading.Thread(target=press_stop, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            tells_even(hangs)
    finally:
        signal.signal(signal.SIGINT, before)
    caller[0].join(10)
    assert not caller[0].is_alive()


def test_only_the_very_type_is_genuine() -> None:
    """What looks like a certificate, or equals everything, is none."""
    certificate = CertificateAuthority.create("example-ca").certificate
    kind = type(certificate)
    assert genuine(certificate, kind, "no certificate") is certificate
    for lookalike in (mock.ANY, mock.Mock(spec=kind), mock.NonCallableMock(spec=kind), mock.MagicMock(), b"", kind):
        with pytest.raises(NotYet, match="no certificate"):
            genuine(lookalike, kind, "no certificate")


def test_what_is_solved_is_remembered_in_the_notebooks_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A solved exercise is written down once, in lab-NN, and nowhere if there is none."""
    monkeypatch.setattr(judges, "CHECKERS", {})
    monkeypatch.chdir(tmp_path)

    def seven(answer: Any) -> str:
        judges.expect(answer == 7, "no")
        return "yes"

    seven.__module__ = "mtlslab.notebook.exercises.page_42"
    check = checker("a number")(seven)
    assert check(7).correct
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "lab-42").mkdir()
    check(6)
    assert list((tmp_path / "lab-42").iterdir()) == []
    assert check(7).correct
    assert check(7).correct
    assert json.loads((tmp_path / "lab-42" / ".solved.json").read_text()) == ["seven"]


def test_doors_open_to_the_purpose_and_the_date() -> None:
    """A credential opens the doors that it was made for, and no other; each refusal has its reason."""
    ca = CertificateAuthority.create("example-ca")
    server = ca.issue("localhost", SERVER, names=["localhost"])
    old = ca.issue("old", CLIENT, days=1, not_before=datetime.now(UTC) - timedelta(days=9))
    other = CertificateAuthority.create("example-ca").certificate
    assert judges.doors(server, ca.certificate) == {"server": "", "client": "wrong-purpose"}
    assert judges.doors(server, ca.certificate, "example.org") == {"server": "wrong-host", "client": "wrong-purpose"}
    assert judges.doors(ca.issue("client", CLIENT), ca.certificate) == {"server": "wrong-purpose", "client": ""}
    assert judges.doors(old, ca.certificate)["client"] == "expired"
    assert judges.doors(server, other)["server"] in ("unknown-ca", "bad-signature")


@pytest.mark.parametrize(
    ("client_auth", "in_", "tls_max"),
    [("required", 1, "1.2"), ("required", 1, "1.3"), ("optional", 2, "1.2"), ("none", 7, "1.3")],
)
def test_a_server_meets_everybody(client_auth: Any, in_: int, tls_max: Any) -> None:
    """Friend, nobody, stranger, namesake, and three whose certificate does not do: who gets in is what counts."""
    ca = CertificateAuthority.create("example-ca")
    credential = ca.issue("localhost", SERVER, names=["localhost"])
    context = contexts.server_context(credential, client_ca=ca.certificate, client_auth=client_auth)
    met = dict(judges.meet(context, ca, tls_max))
    assert [who for who, how in met.items() if not how.refused] == list(met)[:in_]
    assert (met["a friend"].caller is not None) == (client_auth != "none")
    assert met["a friend"].version == f"TLSv{tls_max}"


def test_a_context_with_functions_in_it_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context may call the reader's code in the handshake: if that never returns, the handshake is over."""
    monkeypatch.setattr(guard, "PATIENCE", 0.1)
    ca = CertificateAuthority.create("example-ca")
    context = contexts.server_context(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=ca.certificate)

    def never(*_: object) -> None:
        with contextlib.suppress(SystemExit):  # which nobody above could catch
            ENDS[-1].wait()

    context.sni_callback = never
    client = contexts.common(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(NotYet, match="does not come back"):
        judges.handshake(client, context)


def test_a_repair_is_dialled(tmp_path: Path) -> None:
    """Files are put to use at a server; what is no file, and no option for one, is told so."""
    ca = CertificateAuthority.create("example-ca")
    ca.save(tmp_path)
    ca.issue("client", CLIENT).save(tmp_path, "client")
    good: dict[str, Any] = {"cacert": tmp_path / "ca.crt", "cert": str(tmp_path / "client.crt")}
    good["key"] = tmp_path / "client.key"
    wrong: list[tuple[Any, str]] = [
        ([], "a dictionary"),
        (mock.ANY, "a dictionary"),
        ({**good, "verify": False}, "verification is on"),
        ({**good, "cert": mock.ANY}, "cert is the path of a file"),
        ({**good, "cert": tmp_path / "nobody.crt"}, "there is no file nobody.crt"),
        ({**good, "key": tmp_path / "ca.key"}, "stops before it dials"),
    ]
    with Server(ca.issue("localhost", SERVER, names=["localhost"]), client_ca=ca.certificate, port=0) as server:
        assert judges.dial(server.url, good).ok
        for answer, hint in wrong:
            with pytest.raises(NotYet, match=hint):
                judges.dial(server.url, answer)
        assert len(server.visits) == 1


def test_a_call_reports_what_it_raised() -> None:
    """A judge that wants an exception gets it, with its words."""
    outcome = Guarded(fails_in_line).attempt(1)
    assert type(outcome.error) is ValueError
    assert outcome.told.startswith("ValueError: no such number in line")


def test_a_call_after_one_that_never_came_back_has_its_own_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call returns after it was given up is nobody's answer."""
    monkeypatch.setattr(guard, "PATIENCE", 0.1)
    guarded = Guarded(lambda number: number or sleeps(number))
    with pytest.raises(NotYet, match="does not come back"):
        guarded(0)
    ENDS[-1].set()
    guarded._left = 60
    assert [guarded(number) for number in (1, 2, 3)] == [1, 2, 3]


def test_what_a_call_was_given_dies_with_it() -> None:
    """The thread that makes the next call keeps nothing of the last one: another may lie in its place."""
    given = Case("given", True, "", ())
    dies = weakref.ref(given)
    assert Guarded(lambda case: case.wants)(given) is True
    del given
    assert dies() is None
