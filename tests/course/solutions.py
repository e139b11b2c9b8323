"""Runs a notebook's exercises as a learner would who had found every solution."""

import ast
import contextlib
import io
import linecache
import symtable
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from notebook_rules import Cell, Notebook

MODULE = "notebook_under_test"

WRITE_FILES = {"credentials", "today-commands"}
"""The cells of 05 and 09 that an exercise needs for their files, and not for a name."""


@dataclass(frozen=True)
class Outcome:
    """What a checker said of the folded solution of one exercise."""

    exercise: str
    said: str


def solve(notebook: Notebook, folder: Path) -> list[Outcome]:
    """Run the exercises of ``notebook`` in ``folder`` with their solutions, all that follows, and what they build on.

    Plain Python runs it, in one namespace and in this process. Returns an Outcome for each exercise.
    Raises what a cell raises.
    """
    namespace = _module().__dict__
    outcomes: list[Outcome] = []
    cells = notebook.cells
    sources = {
        cell: solution(cell, following) if cell.is_exercise else cell.source
        for cell, following in zip(cells, [*cells[1:], None], strict=True)
        if cell.is_code
    }
    needed = _needed(sources)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        try:
            for cell, source in sources.items():
                code = source if cell in needed else _imports(source)
                value = _run(code, f"{notebook.path.name} {cell.id}", namespace)
                if cell.is_exercise:
                    outcomes.append(Outcome(cell.id, repr(value)))
        finally:
            _stop_servers(namespace)
            sys.modules.pop(MODULE, None)
    return outcomes


def _needed(sources: dict[Cell, str]) -> set[Cell]:
    """Return the cells from the first exercise on, and those before it that bind what these use, and so on."""
    names = {cell: _names(source) for cell, source in sources.items()}
    cells = list(sources)
    first = next(place for place, cell in enumerate(cells) if cell.is_exercise)
    needed = {cell for place, cell in enumerate(cells) if place >= first or cell.id in WRITE_FILES}
    while True:
        used = {name for cell in needed for name in names[cell][1]}
        more = {cell for cell in cells if used & names[cell][0]} - needed
        if not more:
            return needed
        needed |= more


def _imports(source: str) -> str:
    """Return what a cell imports, and nothing else of it."""
    return "\n".join(
        ast.unparse(line) for line in ast.parse(source).body if isinstance(line, ast.Import | ast.ImportFrom)
    )


def _names(source: str) -> tuple[set[str], set[str]]:
    """Return the names that a cell binds, but for imports, and those of others that it uses, also in its functions."""
    top = symtable.symtable(source, "cell", "exec")
    symbols, tables = top.get_symbols(), list(top.get_children())
    bound = {symbol.get_name() for symbol in symbols if symbol.is_assigned() and not symbol.is_imported()}
    used = {symbol.get_name() for symbol in symbols if symbol.is_referenced()}
    for table in tables:
        tables += table.get_children()
        used |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return bound, used - bound


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


def _run(source: str, name: str, namespace: dict[str, Any]) -> object:
    """Run ``source`` and return the value of its last line, as the kernel would show it."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        return _evaluate(source, name, namespace)
    finally:
        del linecache.cache[name]


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
