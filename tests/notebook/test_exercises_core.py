"""What every checker of *Your turn* keeps to, whatever it checks."""

from collections.abc import Callable
from typing import Any

import pytest

from mtlslab.notebook.exercises import judges
from mtlslab.notebook.exercises.judges import CHECKERS, Feedback, NotYet, checker, expect


@pytest.fixture
def is_seven(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Feedback]:
    """A checker that wants a seven, and is not kept among the real ones."""
    monkeypatch.setattr(judges, "CHECKERS", {})

    @checker("a number")
    def is_seven(answer: Any) -> str:
        """Want a seven."""
        expect(answer + 0 == 7, "one more than six")
        return "it is seven"

    assert list(judges.CHECKERS) == ["is_seven"]
    return is_seven


class Hostile:
    """An answer that cannot be looked at in any way."""

    def fails(self, *_: object, **__: object) -> Any:
        raise RuntimeError("do not touch")

    __eq__ = __ne__ = __lt__ = __gt__ = __len__ = __iter__ = __bool__ = __getitem__ = __contains__ = fails
    __str__ = __repr__ = __int__ = __index__ = __add__ = __enter__ = __fspath__ = fails
    __hash__ = fails

    def __call__(self, *_: object, **__: object) -> Any:
        """What it returns when it is called cannot be looked at either."""
        return self

    def __getattr__(self, _: str) -> Any:
        raise RuntimeError("do not touch")


def test_no_answer_is_no_attempt(is_seven: Callable[[Any], Feedback]) -> None:
    """None is what every exercise begins with, and is neither right nor wrong."""
    feedback = is_seven(None)
    assert feedback.correct is None
    assert repr(feedback).startswith("Not attempted yet: replace None")


def test_a_wrong_answer_gets_the_hint(is_seven: Callable[[Any], Feedback]) -> None:
    """A wrong answer of the right kind gets the judge's own hint."""
    assert is_seven(6) == Feedback(False, "Not yet: one more than six")


def test_a_right_answer_gets_the_reason(is_seven: Callable[[Any], Feedback]) -> None:
    """A right answer is told why it is right."""
    assert is_seven(7) == Feedback(True, "Correct: it is seven")


def test_an_answer_of_another_kind_is_told_what_is_wanted(is_seven: Callable[[Any], Feedback]) -> None:
    """No answer makes a traceback, not even one that cannot be looked at."""
    for answer in ("7", [7], {}, object(), Hostile(), int, b"7"):
        assert is_seven(answer) == Feedback(False, "Not yet: the answer is a number"), type(answer)


def test_feedback_is_bold_in_jupyterlab() -> None:
    """The verdict stands out, and the rest is left as it is."""
    assert Feedback(True, "Correct: it is: seven")._repr_markdown_() == "**Correct:** it is: seven"


def test_a_checker_keeps_its_name_and_words(is_seven: Callable[[Any], Feedback]) -> None:
    """A checker's help is its judge's."""
    assert (is_seven.__name__, is_seven.__doc__) == ("is_seven", "Want a seven.")


def test_expect_is_quiet_where_it_holds() -> None:
    """`expect` raises its hint only where the condition does not hold."""
    expect(True, "not said")
    with pytest.raises(NotYet, match="said"):
        expect(False, "said")


WRONG_KINDS = [Hostile(), object(), 3.5j, b"\xff", [[]], {"": None}, float("nan"), Ellipsis, "", "☃" * 99]


def test_no_checker_is_fooled_or_upset_by_the_wrong_kind() -> None:
    """Each checker of the course says "Not attempted yet" of None and "Not yet", with a hint, of anything odd."""
    for name, check in CHECKERS.items():
        assert check.__name__ == name
        assert check(None).text.startswith("Not attempted yet"), name
        for answer in WRONG_KINDS:
            feedback = check(answer)
            assert feedback.correct is False, (name, type(answer))
            assert feedback.text.startswith("Not yet: "), (name, type(answer))
            assert len(feedback.text) > len("Not yet: ") + 5, (name, type(answer))
