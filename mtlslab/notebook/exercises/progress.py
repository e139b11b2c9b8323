"""What a reader has solved so far."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from mtlslab.display import Table, table
from mtlslab.notebook.exercises.judges import CHECKERS, SOLVED


def progress(folder: str | Path = ".") -> Table:
    """Show which exercises of which page are solved, as the `lab-NN` in a folder (the notebooks') remember it.

    Deleting `lab-NN` forgets what was solved on that page.
    """
    rows = []
    pages: dict[str, list[str]] = {}
    for name, check in CHECKERS.items():
        if page := re.search(r"page_(\d\d)$", check.__module__):
            pages.setdefault(page[1], []).append(name)
    for number, names in sorted(pages.items()):
        solved: list[str] = []
        with suppress(OSError, ValueError):
            solved = json.loads((Path(folder) / f"lab-{number}" / SOLVED).read_text())
        done = [name for name in names if name in solved]
        left = [name for name in names if name not in solved]
        rows.append((number, f"{len(done)} of {len(names)}", ", ".join(done) or None, ", ".join(left) or None))
    return table(("page", "solved", "these", "still to do"), rows)
