"""Write two copies of the course into a folder: for learners, and for who teaches them.

    .venv/bin/python tools/handout.py FOLDER

FOLDER/learner has neither solutions nor stored outputs, FOLDER/teacher has both. Both hold all of the repository that
git knows. Raises SystemExit, with the reason, where there is no git, or a copy in FOLDER already.
"""

import re
import shutil
import subprocess
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
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit("git does not know this folder: run this in a clone of the course") from None
    for copy in ("learner", "teacher"):
        if (folder / copy).exists():
            raise SystemExit(f"{folder / copy} is there already: delete it, or name another folder")
        for name in filter(None, listed.stdout.split("\0")):
            (folder / copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, folder / copy / name)
    for path in notebook_form.course(folder / "learner" / "notebooks"):
        without_solutions(path)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]))
