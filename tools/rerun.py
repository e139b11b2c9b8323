"""Run the course's notebooks again and store their outputs in the one form the course keeps.

    .venv/bin/python tools/rerun.py                     every notebook
    .venv/bin/python tools/rerun.py notebooks/03-*      those named
    .venv/bin/python tools/rerun.py --check             write nothing, tell what would change
    .venv/bin/python tools/rerun.py --tidy              run nothing, undo what an editor added

Each notebook runs from top to bottom in a new kernel of this Python, in its own folder; two run at a time. A
file is replaced whole or not at all, and one whose notebook failed stays as it was. A notebook that needs a program
which is missing is left out, unless MTLSLAB_REQUIRE_TOOLS is set. Exit status 1 if a cell raised that is not
tagged ``raises-exception``, if one that is tagged did not, or if ``--check`` found a difference.
"""

import argparse
import difflib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

import glossary
import kernels
import needed_programs
import notebook_form

TIMEOUT = 60  # seconds for one cell, as in the tests


class CellFailed(Exception):
    """A cell did not do what its tags promise; the message names it."""


def run(notebook: NotebookNode, folder: Path) -> None:
    """Run every cell of ``notebook`` with ``folder`` as working directory; its outputs replace the old ones.

    Raises CellFailed at the first cell that raises untagged, that is tagged and does not raise, or that
    takes longer than TIMEOUT.
    """
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        kernel_manager_class=kernels.PrivateAsyncKernelManager,
        record_timing=False,
        allow_errors=True,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(folder)}},
    )
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except (CellTimeoutError, DeadKernelError) as error:
                raise CellFailed(f"cell {cell.id!r}: {str(error).strip().splitlines()[0]}") from error
            if cell.cell_type == "code":
                _check(cell)


def _check(cell: NotebookNode) -> None:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    planned = notebook_form.RAISES in notebook_form.tags(cell)
    if errors and not planned:
        trace = "\n".join(errors[0].traceback)
        raise CellFailed(f"cell {cell.id!r} raised {errors[0].ename}: {errors[0].evalue}\n{trace}")
    if planned and not errors:
        raise CellFailed(f"cell {cell.id!r} is tagged {notebook_form.RAISES}, and raised nothing")


def handle(path: Path, *, check: bool, tidy: bool) -> bool:
    """Do for one notebook what the command line asks, and say so. Returns whether all is well."""
    began = time.monotonic()
    if not tidy and (reason := needed_programs.why_to_skip(path)):
        print(f"{path.name}: left out, {reason}")
        return True
    stored = notebook_form.read(path)
    notebook = notebook_form.read(path)
    if not tidy:
        try:
            run(notebook, path.resolve().parent)
        except CellFailed as failure:
            print(f"{path.name}: {failure}", file=sys.stderr)
            return False
    result = notebook_form.canonical(notebook, stored)
    took = f"{time.monotonic() - began:.1f} s"
    if check:
        old, new = path.read_text(encoding="utf-8"), notebook_form.dump(result)
        lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
        difference = "".join(difflib.unified_diff(*lines, f"{path.name}, stored", "run again"))
        print(f"{difference}{path.name}: {'same' if old == new else 'DIFFERENT'}, {took}")
        return old == new
    changed = notebook_form.write(path, result)
    print(f"{path.name}: {'changed' if changed else 'same'}, {took}")
    return True


def main() -> int:
    """Read the command line, handle every notebook it names, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of the course")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file would change")
    parser.add_argument("--tidy", action="store_true", help="run nothing; put the files into form")
    arguments = parser.parse_args()
    paths = arguments.notebooks or notebook_form.course()
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"no such notebook: {', '.join(missing)}")
    if not paths:
        parser.error(f"no notebooks in {notebook_form.NOTEBOOKS}")
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(partial(handle, check=arguments.check, tidy=arguments.tidy), paths))
    if not arguments.check:
        glossary.write()
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
