"""What the README says is what the repository does."""

import re
from pathlib import Path

import pytest

import notebook_form

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
INSTALL = 'python3 -m venv .venv && .venv/bin/pip install -e ".[servers]" && '
COMMANDS = [
    INSTALL + ".venv/bin/jupyter lab --allow-root notebooks/00-start-here.ipynb",
    INSTALL + ".venv/bin/pytest --nbval",
]


def on_windows(command: str) -> str:
    """Return the same command for PowerShell, any version of it, and for cmd."""
    parts = [
        command.replace("python3 ", "py ").replace(".venv/bin/", ".venv\\Scripts\\").replace("/", "\\").replace('"', "")
    ]
    return f'cmd /c "{parts[0]}"'


@pytest.mark.parametrize("command", COMMANDS)
def test_the_two_commands_stand_alone_on_their_lines(command: str) -> None:
    """Each command can be copied as one line, once for POSIX and once for Windows."""
    lines = README.splitlines()
    assert lines.count(command) == 1
    assert lines.count(on_windows(command)) == 1


def test_github_runs_the_test_command() -> None:
    """The workflow types what the README tells a reader to type."""
    workflow = (REPOSITORY / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert f"run: {COMMANDS[1]}\n" in workflow
    assert f"run: {on_windows(COMMANDS[1]).replace('py -m', 'python -m')}\n" in workflow


def test_the_table_lists_every_notebook() -> None:
    """Every notebook is in the README's table, in order, with a sentence on what it teaches."""
    rows = re.findall(r"^\| \[(.+?)\]\(notebooks/(.+?)\.ipynb\) \| (\w.+) \|$", README, re.MULTILINE)
    assert [name for name, _, _ in rows] == [file for _, file, _ in rows]
    assert [file for _, file, _ in rows] == [path.stem for path in notebook_form.course()]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link of a page leads to a file of the repository, the others are https."""
    text = re.sub(
        r"^```.*?^```$|`[^`\n]+`",
        "",
        (REPOSITORY / page).read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        assert link.startswith("https://") or (REPOSITORY / link.partition("#")[0]).is_file(), link


def test_the_diagram_speaks() -> None:
    """The README's diagrams have a title and a description, its images an alt text."""
    diagrams = re.findall(r"^```mermaid\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert all("accTitle:" in diagram and "accDescr:" in diagram for diagram in diagrams)
    assert "![](" not in README
