"""Every notebook keeps every rule, and its exercises can be solved."""

import shutil
from pathlib import Path

import pytest

import notebook_form
from notebook_rules import RULES, Notebook, Rule
from solutions import solve

NOTEBOOKS = notebook_form.course()
CORE = [
    "00-start-here",
    "01-tls-basics",
    "02-certificate-authority",
    "03-certificate-signing-request",
    "04-signing-certificates",
    "05-mutual-tls-server",
    "06-requests-with-and-without-credentials",
]

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@pytest.mark.parametrize("name", CORE)
def test_the_core_of_the_course_is_there(name: str) -> None:
    """No notebook can be lost, and the tests below never pass for want of one."""
    assert (notebook_form.NOTEBOOKS / f"{name}.ipynb").is_file()


@each_notebook
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_notebook_keeps_the_rule(path: Path, rule: Rule) -> None:
    """A notebook keeps each rule in notebook_rules.py; the failure says which it breaks, and where."""
    problems = list(rule(Notebook(path)))
    assert not problems, f"{rule.__doc__}\n" + "\n".join(f"- {problem}" for problem in problems)


SOLVED_HERE = [path for path in NOTEBOOKS if not path.stem.startswith("12-")]  # and 12 in test_page_12.py: it is long


@pytest.mark.parametrize("path", SOLVED_HERE, ids=[path.stem for path in SOLVED_HERE])
def test_each_checker_accepts_the_folded_solution(path: Path, tmp_path: Path) -> None:
    """A learner who types a notebook's own solutions is told 'Correct' each time, and nothing else breaks."""
    folder = tmp_path / "notebooks"
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("lab-*", ".ipynb_checkpoints"))
    outcomes = solve(Notebook(path), folder)
    assert outcomes
    for outcome in outcomes:
        assert outcome.said.startswith("Correct"), f"{outcome.exercise}: {outcome.said}"
