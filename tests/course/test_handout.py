"""A glossary that cannot drift, a copy for learners, and a note of what they have solved."""

import json
import re
from pathlib import Path

import pytest

import glossary
import handout
import notebook_form
from mtlslab.notebook import exercises
from notebook_rules import Notebook


def test_the_glossary_is_what_the_pages_make_of_it() -> None:
    """Whoever defines a term, or moves it, and does not run tools/rerun.py, is told so."""
    assert glossary.is_up_to_date(), "run tools/glossary.py"


def test_the_glossary_finds_terms_and_leaves_stress_out() -> None:
    """A term is bold in its sentence, or begins an item in lower case; a lead, a number and a table's cell are none."""
    prose = (
        "One. A **root** is on top. More.\n\n- **Names.** You will meet them.\n- **keyUsage** lists uses.\n"
        "- **Run a cell**: press it.\n\n| **row** | x |\n|---|---|\n\nCode **60** is **let in**, **now:** it."
    )
    assert list(glossary.terms(prose)) == [("root", "A **root** is on top."), ("keyUsage", "**keyUsage** lists uses.")]


def test_00_says_how_long_the_course_takes() -> None:
    """The hours that 00 names are the sum of what the pages say of themselves, to the half hour."""
    pages = [Notebook(path) for path in notebook_form.course()]
    minutes = sum(int(re.findall(r"about (\d+) minutes", page.cells[0].source)[0]) for page in pages)
    text = "\n".join(cell.source for cell in pages[0].markdown)
    hours = re.search(r"take about (\w+)( and a half)? hours", text)
    assert hours
    words = "zero one two three four five six seven eight nine ten".split()  # noqa: SIM905
    assert abs(words.index(hours[1]) * 60 + (30 if hours[2] else 0) - minutes) <= 15, minutes


def test_a_handout_has_no_solutions_and_the_teachers_has_all(tmp_path: Path) -> None:
    """The learner's copy holds every page without solution, output or count; the teacher's is the course itself."""
    handout.write(tmp_path)
    for path in notebook_form.course():
        learner, teacher = (tmp_path / copy / "notebooks" / path.name for copy in ("learner", "teacher"))
        assert teacher.read_bytes() == path.read_bytes()
        page = Notebook(learner)
        assert "<summary>Solution" not in page.text
        assert all(cell.outputs == [] and cell.count is None for cell in page.code)
        assert [cell.source for cell in page.code] == [cell.source for cell in Notebook(path).code]
    copied = {path.name for path in (tmp_path / "learner").iterdir()}
    assert copied >= {"mtlslab", "notebooks", "tests", "README.md", "requirements.txt", "binder"}
    assert not copied & {".git", ".venv"}
    assert not list((tmp_path / "learner").rglob("lab-*"))
    with pytest.raises(SystemExit, match="in the course itself"):
        handout.write(handout.REPOSITORY / "build")
    with pytest.raises(SystemExit, match="there already"):
        handout.write(tmp_path)


def test_progress_shows_what_is_solved(tmp_path: Path) -> None:
    """Each page has a row; what its folder remembers is solved, what it cannot know of or read is not."""
    assert {row[0] for row in exercises.progress(tmp_path).rows} >= {"00", "01", "02", "03", "04"}
    assert all(row[1].startswith("0 of ") for row in exercises.progress(tmp_path).rows)
    for lab, text in (("lab-00", json.dumps(["bag_for_alice", "gone"])), ("lab-01", "{")):
        (tmp_path / lab).mkdir()
        (tmp_path / lab / ".solved.json").write_text(text)
    rows = {row[0]: row[1:] for row in exercises.progress(tmp_path).rows}
    assert rows["00"] == ("1 of 2", "bag_for_alice", "refused_by_the_client")
    assert rows["01"][0] == "0 of 3"
