"""Runs a notebook's exercises as a learner would who had found every solution."""

import ast
import contextlib
import io
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import notebook_form
from notebook_rules import Cell, Notebook

MODULE = "notebook_under_test"


NOT_NEEDED = {"matrix", "matrix-table", "matrix-words", "verdicts-table"}
"""The longest cells that no exercise builds on, of 09: the notebook's own run shows that they work."""


@dataclass(frozen=True)
class Outcome:
    """What a checker said of the folded solution of one exercise."""

    exercise: str
    said: str


def solve(notebook: Notebook, folder: Path) -> list[Outcome]:
    """Run the code of ``notebook`` in ``folder``, in place of each exercise's cell its solution.

    Plain Python runs it, in one namespace and in this process. Returns an Outcome for each exercise.
    Raises AssertionError if a cell tagged ``raises-exception`` does not, and what any other cell raises.
    """
    namespace = _module().__dict__
    outcomes: list[Outcome] = []
    cells = notebook.cells
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        try:
            for cell, following in zip(cells, [*cells[1:], None], strict=True):
                if not cell.is_code or cell.id in NOT_NEEDED:
                    continue
                source = solution(cell, following) if cell.is_exercise else cell.source
                value = _run(cell, source, f"{notebook.path.name} {cell.id}", namespace)
                if cell.is_exercise:
                    outcomes.append(Outcome(cell.id, repr(value)))
        finally:
            _stop_servers(namespace)
            sys.modules.pop(MODULE, None)
    return outcomes


def _module() -> ModuleType:
    """Return a module for the notebook's names: dataclasses look their own module up."""
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    module.__dict__["display"] = lambda *values, **_: [repr(value) for value in values]
    return module


def solution(cell: Cell, following: Cell | None) -> str:
    """Return the code that is folded into the cell after an exercise's."""
    blocks = following.blocks("python") if following is not None else []
    assert len(blocks) == 1, f"{cell} is not followed by one ```python block"
    return blocks[0]


def _run(cell: Cell, source: str, name: str, namespace: dict[str, Any]) -> object:
    """Run ``source`` and return the value of its last line, as the kernel would show it."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    planned = notebook_form.RAISES in cell.tags
    try:
        value = _evaluate(source, name, namespace)
    except Exception:
        if not planned:
            raise
        return None
    finally:
        del linecache.cache[name]
    assert not planned, f"{cell} is tagged {notebook_form.RAISES}, and raised nothing"
    return value


def _evaluate(source: str, name: str, namespace: dict[str, Any]) -> object:
    statements = ast.parse(source, name)
    last = statements.body.pop() if statements.body and isinstance(statements.body[-1], ast.Expr) else None
    exec(compile(statements, name, "exec", dont_inherit=True), namespace)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), namespace)


def _stop_servers(namespace: dict[str, Any]) -> None:
    """Stop the servers that the notebook leaves running for the learner's own terminal."""
    for value in _servers(namespace):
        value.stop()


def _servers(namespace: dict[str, Any]) -> Iterator[Any]:
    mtlslab = sys.modules.get("mtlslab")
    server = getattr(mtlslab, "Server", ())
    seen: set[int] = set()
    for value in list(namespace.values()):
        if isinstance(value, server) and id(value) not in seen:
            seen.add(id(value))
            yield value
