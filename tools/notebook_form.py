"""The one form in which a notebook of the course is kept, whoever ran it and wherever.

``tools/rerun.py`` writes this form and the tests insist on it, so both read it from here.
"""

import copy
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

RAISES = "raises-exception"
VARIES = "nbval-ignore-output"
TAGS = {RAISES, VARIES}

PREDICTION = "**Before you run the next cell"
"""What a page says where the reader is to guess: the stored output of the next code cell is folded away."""

_VARYING = re.compile(
    r"""[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+              # a fingerprint, a serial number
      | [A-Za-z0-9+/]{16,}={0,2}(?:\n[A-Za-z0-9+/]+={0,2}$)*   # base64, line after line
      | \b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b
      | [0-9a-f]*[0-9][0-9a-f]*                         # a number, in decimal or hexadecimal
      | \s+""",
    re.VERBOSE | re.MULTILINE,
)


def course(folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the course's notebooks in their order; a learner's own beside them are left out."""
    return sorted(folder.glob("[0-9][0-9]-*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Return the notebook at ``path``. Raises nbformat's errors where it is not one."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> NotebookNode:
    """Return the notebook that ``text``, the content of an ``.ipynb`` file, holds."""
    node = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    assert isinstance(node, NotebookNode)
    return node


def dump(notebook: NotebookNode) -> str:
    """Return the text of ``notebook``'s file: keys sorted, lines split, a newline at the end."""
    text = nbformat.writes(notebook, version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    return str(text).rstrip("\n") + "\n"


def write(path: Path, notebook: NotebookNode) -> bool:
    """Put ``notebook`` at ``path``, whole or not at all. Returns whether the file's text changed."""
    text = dump(notebook)
    if path.exists() and path.read_bytes() == text.encode():
        return False
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def tags(cell: NotebookNode) -> list[str]:
    """Return the cell's tags."""
    return list(cell.get("metadata", {}).get("tags", []))


def canonical(notebook: NotebookNode, stored: NotebookNode | None = None) -> NotebookNode:
    """Return a copy of ``notebook`` in the course's form.

    Metadata say nothing of who ran it, cells keep their tags alone, and counts that grow down the page become
    1, 2, 3, … . Outputs are folded where the reader is to predict them, and nowhere else. Pieces of a stream
    that only chance kept apart are one, and a planned error keeps its name and message without the traceback,
    which differs from one Python to the next.

    With ``stored``, the notebook as it was before it ran: a cell tagged ``nbval-ignore-output`` keeps its
    stored output if its code is the same and the new output differs in nothing but numbers and base64.
    """
    result = copy.deepcopy(notebook)
    result.nbformat, result.nbformat_minor = 4, 5
    result.metadata = nbformat.from_dict(METADATA)  # type: ignore[no-untyped-call]
    before = {cell.id: cell for cell in stored.cells} if stored is not None else {}
    predicted = False
    for cell in result.cells:
        metadata: dict[str, Any] = {"tags": tags(cell)} if tags(cell) else {}
        if cell.cell_type == "code":
            if predicted:
                metadata["jupyter"] = {"outputs_hidden": True}
            predicted = False
        elif PREDICTION in cell.source:
            predicted = True
        cell.metadata = nbformat.from_dict(metadata)  # type: ignore[no-untyped-call]
        if not cell.get("attachments", True):
            del cell["attachments"]
        if cell.cell_type == "code":
            cell.outputs = _outputs(cell)
            _keep_what_may_vary(cell, before.get(cell.id))
    _renumber([cell for cell in result.cells if cell.cell_type == "code"])
    return result


def _outputs(cell: NotebookNode) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in cell.outputs:
        output.pop("transient", None)
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
            continue
        if output.output_type == "error" and RAISES in tags(cell):
            output.traceback = [f"{output.ename}: {output.evalue}"]
        kept.append(output)
    return kept


def _keep_what_may_vary(cell: NotebookNode, stored: NotebookNode | None) -> None:
    if stored is None or VARIES not in tags(cell) or stored.source != cell.source:
        return
    if _shape(stored.outputs) == _shape(cell.outputs):
        cell.outputs = copy.deepcopy(stored.outputs)


def _shape(outputs: list[NotebookNode]) -> list[Any]:
    """Return what is the same on every run of outputs that may differ in numbers and base64."""
    return [
        (output.output_type, [(kind, _VARYING.sub("#", str(part))) for kind, part in sorted(_parts(output))])
        for output in outputs
    ]


def _parts(output: NotebookNode) -> list[tuple[str, str]]:
    if output.output_type == "stream":
        return [(output.name, output.text)]
    if output.output_type == "error":
        return [(output.ename, output.evalue)]
    return [(kind, str(part)) for kind, part in output.data.items()]


def _renumber(cells: list[NotebookNode]) -> None:
    counts = [cell.execution_count for cell in cells]
    if None in counts or counts != sorted(set(counts)):
        return
    for number, cell in enumerate(cells, 1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
