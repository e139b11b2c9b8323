"""What all checkers share: what they say, and how they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass(frozen=True)
class Feedback:
    """What a checker says. Fields: `correct` (None: not attempted), `text`."""

    correct: bool | None
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        verdict, colon, rest = self.text.partition(":")
        return f"**{verdict}{colon}**{rest}"


class NotYet(Exception):
    """An answer that is not right; its text is the hint."""


CHECKERS: dict[str, Callable[[Any], Feedback]] = {}
"""Every checker, by name."""


def checker(wants: str) -> Callable[[Callable[[Any], str]], Callable[[Any], Feedback]]:
    """Make a checker of a function that raises `NotYet` or returns why the answer is right.

    `wants` names what an answer is, for those that are something else altogether.
    """

    def decorate(judge: Callable[[Any], str]) -> Callable[[Any], Feedback]:
        @wraps(judge)
        def check(answer: Any) -> Feedback:
            if answer is None:
                return Feedback(None, "Not attempted yet: replace None with your answer, and run this cell again")
            try:
                return Feedback(True, f"Correct: {judge(answer)}")
            except NotYet as hint:
                return Feedback(False, f"Not yet: {hint}")
            except Exception:  # an answer of another kind than the judge expected
                return Feedback(False, f"Not yet: the answer is {wants}")

        CHECKERS[judge.__name__] = check
        return check

    return decorate


def expect(holds: bool, hint: str) -> None:
    """Raise `NotYet` with the hint unless the condition holds."""
    if not holds:
        raise NotYet(hint)
