"""Every notebook keeps every rule, and its exercises can be solved."""

import ast
import contextlib
import io
import shutil
from pathlib import Path
from typing import Any

import pytest

import notebook_form
from notebook_rules import RULES, Cell, Notebook, Rule
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


def test_the_core_of_the_course_is_there() -> None:
    """No notebook can be lost, and the tests below never pass for want of one."""
    assert set(CORE) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_notebooks_keep_the_rule(rule: Rule) -> None:
    """Every notebook keeps each rule in notebook_rules.py; the failure says which breaks it, and where."""
    problems = [f"{path.name}: {problem}" for path in NOTEBOOKS for problem in rule(Notebook(path))]
    assert not problems, f"{rule.__doc__}\n" + "\n".join(f"- {problem}" for problem in problems)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_each_checker_accepts_the_folded_solution(path: Path, tmp_path: Path) -> None:
    """A learner who types a notebook's own solutions is told 'Correct' each time, and nothing else breaks."""
    folder = tmp_path / "notebooks"
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("lab-*", ".ipynb_checkpoints"))
    outcomes = solve(Notebook(path), folder)
    assert outcomes
    for outcome in outcomes:
        assert outcome.said.startswith("Correct"), f"{outcome.exercise}: {outcome.said}"


# --- 12, whatever the version of TLS -----------------------------------------------------------------


def shown(cell: Cell, source: str, namespace: dict[str, Any]) -> str:
    """Run a cell as the kernel would, and return what it shows."""
    statements = ast.parse(source)
    last = statements.body.pop() if isinstance(statements.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(statements, cell.id, "exec", dont_inherit=True), namespace)
        value = (
            eval(compile(ast.Expression(last.value), cell.id, "eval"), namespace)
            if isinstance(last, ast.Expr)
            else None
        )
    return printed.getvalue() + ("" if value is None else repr(value))


def test_every_count_is_the_same_under_tls_1_2(tmp_path: Path) -> None:
    """Under TLS 1.2 a reader sees what is stored for 1.3, to the last request."""
    namespace: dict[str, Any] = {"__name__": "page_12"}
    told, path = set[str](), next(notebook_form.NOTEBOOKS.glob("12-*.ipynb"))
    with contextlib.chdir(tmp_path):
        for cell in Notebook(path).code:
            if '"1.2"' in cell.source:  # it tries both versions
                continue
            older = cell.source.replace('TLS = "1.3"', 'TLS = "1.2"')
            told |= {cell.id} if older != cell.source else set()
            stored = "".join(str(output.get("text", "")) for output in cell.outputs) + "".join(cell.data("text/plain"))
            assert shown(cell, older, namespace) == stored, cell
    assert told == {"credentials"}
    assert namespace["clients"].callers[0].context.maximum_version.name == "TLSv1_2"
