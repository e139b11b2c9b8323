"""What notebook 12 counts does not depend on the version of TLS, and its exercises can be solved."""

import ast
import contextlib
import io
from pathlib import Path
from typing import Any

import notebook_form
from notebook_rules import Cell, Notebook
from solutions import solution

PATH = next(notebook_form.NOTEBOOKS.glob("12-*.ipynb"))


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
    """Under TLS 1.2 a reader sees what is stored for 1.3, to the last request, and each folded solution is Correct."""
    namespace: dict[str, Any] = {"__name__": "page_12"}
    told = set[str]()
    cells = Notebook(PATH).cells
    with contextlib.chdir(tmp_path):
        for cell, following in zip(cells, [*cells[1:], None], strict=True):
            if not cell.is_code:
                continue
            older = cell.source.replace('TLS = "1.3"', 'TLS = "1.2"')
            told |= {cell.id} if older != cell.source else set()
            stored = "".join(str(output.get("text", "")) for output in cell.outputs) + "".join(cell.data("text/plain"))
            assert shown(cell, older, namespace) == stored, cell
            if cell.is_exercise:
                assert shown(cell, solution(cell, following), namespace).startswith("Correct"), cell
    assert told == {"credentials"}
    assert namespace["clients"].callers[0].context.maximum_version.name == "TLSv1_2"
