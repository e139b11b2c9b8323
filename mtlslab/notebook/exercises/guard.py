"""The reader's own functions, called so that nothing they do harms the notebook."""

from __future__ import annotations

import contextlib
import ctypes
import io
import linecache
import queue
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 1.5
"""How many seconds all calls of one function may take together: a checker answers within two."""


class NotYet(Exception):
    """An answer that is not right; its text is the hint."""


def expect(holds: bool, hint: str) -> None:
    """Raise `NotYet` with the hint unless the condition holds."""
    if not holds:
        raise NotYet(hint)


_STEP = 0.05
"""In seconds: an interrupt does not end a long wait on every system. A step that a busy machine stretches counts as
one: it is not the function that takes long."""


@dataclass(frozen=True)
class Outcome:
    """What became of one call. Fields: `value`; `error`, what was raised, or None; `told`, its words and line."""

    value: Any = None
    error: BaseException | None = None
    told: str = ""


class Guarded:
    """A function of the reader's. Its calls run in a daemon thread, and all of them share `PATIENCE` seconds.

    Whatever it raises, `SystemExit` and `KeyboardInterrupt` too, stays in there; an interrupt by the reader, who waits
    in another thread, ends the call and gets through.
    """

    def __init__(self, function: object, what: str = "your function") -> None:
        """Take a function, called `what` in hints. Raises `NotYet` for what cannot be called."""
        expect(callable(function), f"{what} is wanted itself: its name, without parentheses after it")
        self.function: Callable[..., Any] = function  # type: ignore[assignment]
        self.what = what
        self._left = PATIENCE
        self._caller: _Caller | None = None

    def attempt(self, *given: Any, **options: Any) -> Outcome:
        """Call the function, and return what became of it. Raises `NotYet` if it does not come back."""
        caller = self._caller = self._caller or _Caller(self.function)
        self._left, outcome = max(self._left, 0.01), None
        caller.asked.put((given, options))
        try:
            while outcome is None and self._left > 0:
                begin = time.monotonic()
                with contextlib.suppress(queue.Empty):
                    outcome = caller.told.get(timeout=_STEP)
                self._left -= min(time.monotonic() - begin, 1.2 * _STEP)
        finally:
            if outcome is None:
                self._caller = None
                caller.dismiss()
                end_threads([caller])
        if outcome is None:
            raise NotYet(
                f"{self.what} does not come back in time, within {PATIENCE} seconds: whoever calls it would wait, too"
            )
        return outcome

    def __call__(self, *given: Any, **options: Any) -> Any:
        """Call the function, and return what it returns. Raises `NotYet`, with its own words, if it raises."""
        outcome = self.attempt(*given, **options)
        if isinstance(outcome.error, NotYet):  # a judge's own, that runs what may be the reader's
            raise outcome.error
        if outcome.error is not None:
            raise NotYet(f"{self.what} raised {outcome.told}")
        return outcome.value


class _Caller(threading.Thread):
    """Makes the calls of one function, in turn: to begin a thread for each takes longer than most calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(daemon=True)
        self._function, self._over = function, False
        self.asked = queue.SimpleQueue[tuple[tuple[Any, ...], dict[str, Any]]]()
        self.told = queue.SimpleQueue[Outcome]()
        self.start()

    def run(self) -> None:
        with contextlib.suppress(SystemExit):  # of `end_threads`, come too late for the call
            while not self._over:  # without a variable: what a call was given, and what it returned, die with it
                self.told.put(self._call(*self.asked.get()))

    def dismiss(self) -> None:
        """Have it end after the call that is under way."""
        self._over = True
        self.asked.put(((), {}))

    def _call(self, given: tuple[Any, ...], options: dict[str, Any]) -> Outcome:
        if self._over:
            return Outcome()
        sys.setprofile(threading.getprofile())  # as for a thread that begins now
        try:
            outcome = Outcome(self._function(*given, **options))
            if isinstance(outcome.value, Coroutine):  # nobody awaits it, and Python would say so in the notebook
                outcome.value.close()
        except BaseException as error:
            outcome = Outcome(None, error, _told(error))
        return outcome


def _told(error: BaseException) -> str:
    """Put an exception's name, its own words and its line in the reader's code into one line."""
    name = type(error).__name__
    with contextlib.suppress(BaseException):  # an exception of the reader's may have words of its own
        words = " ".join(str(error).split())
        name = f"{name}: {words}" if words else name
    line, source = _reader_line(error.__traceback__)
    return f"{name} in line {line}" + (f" ({source})" if source else "") if line else name


def _reader_line(at: TracebackType | None) -> tuple[int, str]:
    """Return the last line of the reader's own code on the way to an exception; 0 if there is none."""
    at = at.tb_next if at else None  # the first step is `_Caller._call`
    if at is None:
        return 0, ""
    namespace, line, file = at.tb_frame.f_globals, at.tb_lineno, at.tb_frame.f_code.co_filename
    while at := at.tb_next:
        if at.tb_frame.f_globals is namespace:  # all cells of a notebook share theirs
            line, file = at.tb_lineno, at.tb_frame.f_code.co_filename
    return line, linecache.getline(file, line).strip()


def end_threads(threads: list[threading.Thread]) -> None:
    """Have threads stop at their next step; who sleeps in a system call, when it wakes. Daemons outlive nothing."""
    left = 3  # an `except BaseException` may swallow the first
    for _ in range(12):
        known, alive = len(threads), [thread for thread in threads if thread.is_alive()]
        for thread in alive:
            ident = ctypes.c_ulong(thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
        deadline = time.monotonic() + 0.03
        for thread in alive:
            thread.join(max(deadline - time.monotonic(), 0))
        left = 3 if len(threads) > known else left - 1  # the list grows while one that is to end begins another
        if not left:
            break


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """While the block lasts, swallow what is printed and stay in this folder; then end the threads that calls began."""
    begun: list[threading.Thread] = []
    callers: list[_Caller] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        parent = threading.current_thread()
        if isinstance(thread, _Caller):
            callers.append(thread)
        elif isinstance(parent, _Caller) or parent in begun:
            thread.daemon = True
            begun.append(thread)
        start(thread)

    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(contextlib.chdir(Path.cwd()))
        setattr(threading.Thread, "start", noted)  # noqa: B010 (mypy)
        stack.callback(setattr, threading.Thread, "start", start)
        stack.callback(lambda: end_threads(begun))
        stack.callback(_dismiss, callers)
        yield


def _dismiss(callers: list[_Caller]) -> None:
    for caller in callers:
        caller.dismiss()
        caller.join(_STEP)
