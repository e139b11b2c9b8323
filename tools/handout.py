"""Write two copies of the course into a folder: for learners, and for who teaches them.

    .venv/bin/python tools/handout.py FOLDER

FOLDER/learner has neither solutions nor stored outputs, FOLDER/teacher has both. Both hold all of the repository but
what git ignores. Raises SystemExit, with the reason, where FOLDER lies in the repository, or holds a copy already.
"""

import re
import shutil
import sys
from pathlib import Path

import notebook_form

REPOSITORY = Path(__file__).resolve().parent.parent


def without_solutions(path: Path) -> None:
    """Take solutions, stored outputs and counts out of a notebook's file."""
    node = notebook_form.read(path)
    node.cells = [cell for cell in node.cells if not re.match(r"<details>\s*<summary>Solution", cell.source)]
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook_form.write(path, notebook_form.canonical(node))


def write(folder: Path, repository: Path = REPOSITORY) -> None:
    """Write both copies of a repository."""
    if repository in folder.resolve().parents:
        raise SystemExit(f"{folder} lies in the course itself: name a folder outside of it")
    rules = (repository / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = [rule.rstrip("/").rpartition("/")[2] for rule in rules if rule and not rule.startswith("#")]
    for copy in ("learner", "teacher"):
        if (folder / copy).exists():
            raise SystemExit(f"{folder / copy} is there already: delete it, or name another folder")
        shutil.copytree(repository, folder / copy, ignore=shutil.ignore_patterns(".git", *ignored))
    for path in notebook_form.course(folder / "learner" / "notebooks"):
        without_solutions(path)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]))
