"""The course's one form of a notebook: what it drops, what it keeps, and how it reaches the disk."""

import copy
from pathlib import Path
from typing import Any

import nbformat
import pytest
import rerun
from nbformat import NotebookNode

import notebook_form

v4: Any = nbformat.v4


def notebook(*cells: NotebookNode) -> NotebookNode:
    made: NotebookNode = v4.new_notebook(cells=list(cells))
    return made


def code(source: str, *outputs: NotebookNode, tag: str | None = None) -> NotebookNode:
    metadata = {"tags": [tag]} if tag else {}
    cell: NotebookNode = v4.new_code_cell(
        source, id="only-cell", outputs=list(outputs), metadata=metadata, execution_count=1
    )
    return cell


def stream(text: str, name: str = "stdout") -> NotebookNode:
    output: NotebookNode = v4.new_output("stream", name=name, text=text)
    return output


def test_an_output_is_folded_where_it_is_to_be_predicted() -> None:
    """The code after "Before you run the next cell" is folded, whoever unfolded it, and no other."""
    asks = v4.new_markdown_cell("**Before you run the next cell:** which?", id="asks")
    cells = notebook_form.canonical(notebook(code("1"), asks, code("2"), code("3"))).cells
    assert [cell.metadata for cell in cells] == [{}, {}, {"jupyter": {"outputs_hidden": True}}, {}]


def test_what_an_editor_adds_is_dropped() -> None:
    """Saving in JupyterLab, or running with another tool, leaves nothing in the file but the outputs."""
    plain = notebook_form.canonical(notebook(v4.new_markdown_cell("# A", id="title"), code("1", stream("1\n"))))
    edited = copy.deepcopy(plain)
    edited.metadata["language_info"]["version"] = "3.13.0"
    edited.metadata["widgets"] = {}
    edited.nbformat_minor = 4
    edited.cells[0].attachments = {}
    edited.cells[1].metadata.update({"execution": {"iopub.status.busy": "2026-11-23"}, "scrolled": True})
    assert notebook_form.dump(notebook_form.canonical(edited)) == notebook_form.dump(plain)


def test_pieces_of_a_stream_are_joined() -> None:
    """How a kernel happened to cut its output into messages does not show; the order of streams does."""
    pieces = [stream("a\n"), stream("b\n"), stream("c\n", "stderr"), stream("d\n")]
    outputs = notebook_form.canonical(notebook(code("1", *pieces))).cells[0].outputs
    assert [(output.name, output.text) for output in outputs] == [
        ("stdout", "a\nb\n"),
        ("stderr", "c\n"),
        ("stdout", "d\n"),
    ]


@pytest.mark.parametrize(("tag", "lines"), [(notebook_form.RAISES, ["KeyError: 'x'"]), (None, ["a", "b"])])
def test_a_planned_error_has_no_traceback(tag: str | None, lines: list[str]) -> None:
    """A planned error is stored by its name and message; an unplanned one keeps what tells its cause."""
    error = v4.new_output("error", ename="KeyError", evalue="'x'", traceback=["a", "b"])
    assert notebook_form.canonical(notebook(code("1", error, tag=tag))).cells[0].outputs[0].traceback == lines


@pytest.mark.parametrize(
    ("counts", "stored"), [([21, 24], [1, 2]), ([3, 2], [3, 2]), ([None, 1], [None, 1]), ([2, 2], [2, 2])]
)
def test_counts_tell_a_run_from_top_to_bottom(counts: list[int | None], stored: list[int | None]) -> None:
    """Cells run in order are numbered from one; for cells run in another order the counts still say so."""
    cells = [v4.new_code_cell("1", id=f"cell-{place}", execution_count=n) for place, n in enumerate(counts)]
    result = notebook_form.canonical(notebook(*cells))
    assert [cell.execution_count for cell in result.cells] == stored


@pytest.mark.parametrize(
    ("source", "tag", "before", "after", "kept"),
    [
        (
            "1",
            notebook_form.VARIES,
            "12 ms, Nov  3, MIIB+aaaaaaaaaaaaaaaa\nbb==",
            "7 ms, Dec 24, MIIC" + "x" * 14,
            True,
        ),
        ("1", notebook_form.VARIES, "serial 0a:ff:00", "serial 71:0b:11:12", True),
        ("1", notebook_form.VARIES, "12 ms", "12 seconds", False),
        ("2", notebook_form.VARIES, "12 ms", "7 ms", False),
        ("1", None, "12 ms", "7 ms", False),
    ],
)
def test_what_may_vary_is_kept(source: str, tag: str | None, before: str, after: str, kept: bool) -> None:
    """Running a notebook again changes no number that varies by nature, and every other output."""
    stored, new = notebook(code("1", stream(before), tag=tag)), notebook(code(source, stream(after), tag=tag))
    result = notebook_form.canonical(new, stored)
    assert result.cells[0].outputs[0].text == (before if kept else after)


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash while a notebook is written leaves the old file and nothing beside it."""
    path = tmp_path / "a.ipynb"
    assert notebook_form.write(path, notebook(code("1")))
    assert not notebook_form.write(path, notebook(code("1")))
    old = path.read_bytes()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        notebook_form.write(path, notebook(code("2")))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_run_names_its_cell_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that raises unplanned stops the run of its notebook, is named, and leaves the file alone."""
    path = tmp_path / "00-fails.ipynb"
    notebook_form.write(path, notebook(v4.new_code_cell("1", id="fine"), v4.new_code_cell("1 / 0", id="broken")))
    old = path.read_bytes()
    assert not rerun.handle(path, check=False, tidy=False)
    assert "cell 'broken' raised ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert path.read_bytes() == old
