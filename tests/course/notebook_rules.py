"""The rules that every notebook of the course keeps.

A rule is a function from a notebook to the ways in which it breaks the rule; its docstring is the rule.
``test_notebooks.py`` holds every notebook against every rule, ``test_notebook_rules.py`` holds every rule
against a notebook that breaks it.
"""

import ast
import json
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from nbformat import NotebookNode

import glossary
import notebook_form

SECTIONS = ["You will", "You need", "Your turn", "In practice", "You can now"]
LONGEST_CELL = 20
MEDIAN_CELL = 12
MOST_VARYING = 2
WORDS_A_MINUTE = 150
MINUTES_AN_EXERCISE = 10
ABSOLUTE_PATH = r"(?<![\w./~:-])/(?:home|root|tmp|usr|etc|var|opt|private|Users|work|srv|mnt)/\w|\b[A-Z]:\\(?!n)"


@dataclass(frozen=True)
class Heading:
    """A heading of a notebook or of a Markdown file."""

    level: int
    text: str

    @property
    def anchor(self) -> str:
        """The anchor that JupyterLab gives it."""
        return re.sub(r"[`*]", "", self.text).replace(" ", "-")

    @property
    def github_anchor(self) -> str:
        """The anchor that GitHub gives it in a Markdown file."""
        return re.sub(r"[^\w\- ]", "", self.text.lower()).replace(" ", "-")


class Cell:
    """A cell, read-only, with what the rules ask of it."""

    def __init__(self, node: NotebookNode) -> None:
        self.node = node
        self.id: str = node.get("id", "")
        self.source: str = node.source
        self.is_code: bool = node.cell_type == "code"
        self.is_markdown: bool = node.cell_type == "markdown"
        self.tags = notebook_form.tags(node)
        self.count: int | None = node.get("execution_count")
        self.outputs: list[Any] = list(node.get("outputs", []))

    def __str__(self) -> str:
        return f"cell {self.id!r}"

    @property
    def varies(self) -> bool:
        """Whether its output is not compared."""
        return notebook_form.VARIES in self.tags

    @cached_property
    def prose(self) -> str:
        """A Markdown cell's text without its blocks of code."""
        return re.sub(r"^( *)(```+|~~~+).*?^\1\2 *$", "", self.source, flags=re.MULTILINE | re.DOTALL)

    @cached_property
    def headings(self) -> list[Heading]:
        """A Markdown cell's headings in their order."""
        if not self.is_markdown:
            return []
        found = re.findall(r"^(#{1,6}) +(.+?) *#* *$", self.prose, re.MULTILINE)
        return [Heading(len(marks), text) for marks, text in found]

    def blocks(self, language: str) -> list[str]:
        """A Markdown cell's fenced blocks in ``language``."""
        if not self.is_markdown:
            return []
        return re.findall(rf"^ *```{language} *\n(.*?)^ *``` *$", self.source, re.MULTILINE | re.DOTALL)

    def data(self, kind: str) -> list[str]:
        """What its outputs hold of one MIME type."""
        return [str(output.data[kind]) for output in self.outputs if kind in output.get("data", {})]

    @cached_property
    def shown(self) -> str:
        """Everything its outputs say, in every form they say it."""
        parts: list[str] = []
        for output in self.outputs:
            parts += [output.get("text", ""), output.get("ename", ""), output.get("evalue", "")]
            parts += output.get("traceback", [])
            parts += [str(part) for kind, part in output.get("data", {}).items() if "image/" not in kind]
        return "\n".join(parts)

    @property
    def first_line(self) -> str:
        """The line of its outputs that JupyterLab shows of them when they are folded."""
        for output in self.outputs[:1]:
            data = output.get("data", {})
            forms = [output.get("text", "")] + [data.get(f"text/{kind}", "") for kind in ("html", "markdown", "plain")]
            forms.append("\n".join(output.get("traceback", [])))
            return next((line for form in forms for line in str(form).splitlines() if line), "")
        return ""

    @property
    def is_exercise(self) -> bool:
        """Whether a learner is to replace its ``answer = None``."""
        return self.is_code and bool(re.search(r"^answer\b.*= *None\b", self.source, re.MULTILINE))


class Notebook:
    """A notebook as it is on disk, among its neighbours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_bytes().decode()
        self.node, self.cells = _parsed(self.text)
        self.series = notebook_form.course(path.parent)

    @property
    def code(self) -> list[Cell]:
        """Its code cells."""
        return [cell for cell in self.cells if cell.is_code]

    @property
    def markdown(self) -> list[Cell]:
        """Its Markdown cells."""
        return [cell for cell in self.cells if cell.is_markdown]

    @property
    def place(self) -> int:
        """Its place in the series, from 0."""
        return self.series.index(self.path)

    @cached_property
    def headings(self) -> list[Heading]:
        """All its headings in their order."""
        return [heading for cell in self.cells for heading in cell.headings]

    def section(self, title: str) -> str:
        """The Markdown under the heading ``title``, up to the next heading; empty if there is none."""
        prose = "\n\n".join(cell.prose for cell in self.markdown)
        found = re.search(rf"^## +{re.escape(title)} *$(.*?)(?=^#|\Z)", prose, re.MULTILINE | re.DOTALL)
        return found[1] if found else ""

    def everything(self) -> Iterator[tuple[Cell, str]]:
        """Each cell with its source, then with what it shows."""
        for cell in self.cells:
            yield cell, cell.source
            yield cell, cell.shown


@cache
def _parsed(text: str) -> tuple[NotebookNode, list[Cell]]:
    node = notebook_form.parse(text)
    return node, [Cell(cell) for cell in node.cells]


Rule = Callable[[Notebook], Iterator[str]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Add a rule to RULES."""
    RULES.append(function)
    return function


# How it is stored


@rule
def has_canonical_form(notebook: Notebook) -> Iterator[str]:
    """The file is in the course's one form, so that a difference in git is a difference in the course."""
    if notebook.text != notebook_form.dump(notebook_form.canonical(notebook.node)):
        yield "tools/rerun.py would write it differently: run it, or tools/rerun.py --tidy"


@rule
def counts_run_from_one(notebook: Notebook) -> Iterator[str]:
    """Its code cells were run once, from the top, none left out: nbval compares no cell that was not run."""
    for number, cell in enumerate(notebook.code, 1):
        counts = {cell.count} | {output.execution_count for output in cell.outputs if "execution_count" in output}
        if counts != {number}:
            yield f"{cell} has the count {cell.count}, not {number}"


@rule
def ids_are_slugs(notebook: Notebook) -> Iterator[str]:
    """Each cell has an id of its own that a person can read, so that a failure names its cell."""
    ids = [cell.get("id", "") for cell in json.loads(notebook.text)["cells"]]  # as they are, unmended
    for cell_id in ids:
        made_up = re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{8}-[0-9a-f-]{27}|(cell|code|markdown)-?\d*", cell_id)
        if made_up or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cell_id):
            yield f"cell id {cell_id!r} is not a slug such as 'verify-the-chain'"
    yield from sorted({f"cell id {cell_id!r} is used twice" for cell_id in ids if ids.count(cell_id) > 1})


@rule
def tags_are_known(notebook: Notebook) -> Iterator[str]:
    """Its cells have no tags but the two that the course uses, and no comment takes one out of the tests."""
    for cell in notebook.cells:
        if unknown := set(cell.tags) - notebook_form.TAGS:
            yield f"{cell} has the tags {sorted(unknown)}"
        if re.search(r"^\s*#\s*(NBVAL|PYTEST)_", cell.source, re.MULTILINE):
            yield f"{cell} speaks to nbval in a comment"


# How it is built


@rule
def headings_are_ordered(notebook: Notebook) -> Iterator[str]:
    """It opens with its only first-level heading, and no heading skips a level."""
    levels = [heading.level for heading in notebook.headings]
    if levels.count(1) != 1:
        yield f"{levels.count(1)} headings of the first level"
    if not notebook.cells or not notebook.cells[0].source.startswith("# "):
        yield "its first cell does not begin with the title"
    for before, heading in zip(levels, notebook.headings[1:], strict=False):
        if heading.level > before + 1:
            yield f"{heading.text!r} jumps from level {before} to {heading.level}"


@rule
def sections_are_there(notebook: Notebook) -> Iterator[str]:
    """It has the sections that every notebook has, as second-level headings, in their order."""
    found = [heading.text for heading in notebook.headings if heading.level == 2 and heading.text in SECTIONS]
    if found != SECTIONS:
        yield f"its sections are {found}, not {SECTIONS}"
    if [heading.text for heading in notebook.headings if heading.level == 2][:1] != SECTIONS[:1]:
        yield f"its first section is not {SECTIONS[0]!r}"


@rule
def outcomes_are_mirrored(notebook: Notebook) -> Iterator[str]:
    """The three to five bullets under 'You will' stand under 'You can now' again, word for word."""
    promised, kept = (_bullets(notebook.section(title)) for title in ("You will", "You can now"))
    if not 3 <= len(promised) <= 5:
        yield f"'You will' has {len(promised)} bullets"
    if len(promised) != len(kept):
        yield f"{len(promised)} bullets under 'You will', {len(kept)} under 'You can now'"
    for one, other in zip(promised, kept, strict=False):
        if one != other:
            yield f"'You will' {one!r}, but 'You can now' {other!r}"


def _bullets(markdown: str) -> list[str]:
    items = re.findall(r"^[-*] +(.+(?:\n(?![-*] |\n).+)*)", markdown, re.MULTILINE)
    return [re.sub(r"\s+", " ", item).strip().rstrip(".,;") for item in items]


@rule
def says_where_it_stands(notebook: Notebook) -> Iterator[str]:
    """Its first cell says which notebook of how many it is and how many minutes it takes."""
    first = notebook.cells[0].source if notebook.cells else ""
    if not re.search(r"\b\d+ min", first):
        yield "its first cell does not say how many minutes it takes"
    place = re.search(r"\b(\d+) of (\d+)\b", first)
    count = len(notebook.series)
    right = {(notebook.place + 1, count), (notebook.place, count - 1)}
    if not place or (int(place[1]), int(place[2])) not in right:
        said = f"{place[0]!r}" if place else "nothing"
        yield f"its first cell should say '{notebook.place + 1} of {count}', and says {said}"


@rule
def takes_as_long_as_it_says(notebook: Notebook) -> Iterator[str]:
    """Its minutes are an estimate made as every page's is: 150 words of prose a minute, a minute for each cell and what
    it shows, up to ten for each exercise. Solutions and diagrams are not counted.
    """
    first = notebook.cells[0].source if notebook.cells else ""
    said = re.search(r"\babout (\d+) minutes, and up to (\d+) for the exercises", first)
    prose = (
        re.sub(r"<details>.*?</details>|```mermaid.*?```", "", c.source, flags=re.DOTALL) for c in notebook.markdown
    )
    exercises = sum(cell.is_exercise for cell in notebook.code)
    minutes = sum(len(text.split()) for text in prose) / WORDS_A_MINUTE + len(notebook.code) - exercises
    most = exercises * MINUTES_AN_EXERCISE
    if not said or int(said[1]) % 5 or abs(int(said[1]) - minutes) > 5 or int(said[2]) != most:
        yield f"its first cell should say 'about {5 * round(minutes / 5)} minutes, and up to {most} for the exercises'"


@rule
def names_its_neighbours(notebook: Notebook) -> Iterator[str]:
    """Its first cell links to the notebooks before and after it, and its last cell to the one after it."""
    neighbours = notebook.series[max(notebook.place - 1, 0) : notebook.place + 2]
    ends = [(notebook.cells[0], neighbours), (notebook.cells[-1], notebook.series[notebook.place + 1 :][:1])]
    for cell, targets in ends:
        links = {target.split("#")[0] for target in _links(cell)}
        for target in targets:
            if target != notebook.path and target.name not in links:
                yield f"{cell} has no link to {target.name}"


@rule
def links_resolve(notebook: Notebook) -> Iterator[str]:
    """Each relative link leads to a file beside it, each anchor to a heading; the others are https."""
    for cell in notebook.markdown:
        for target in _links(cell):
            if problem := _broken(notebook, target):
                yield f"{cell}: {target}: {problem}"


def _links(cell: Cell) -> list[str]:
    if not cell.is_markdown:
        return []
    text = re.sub(r"`[^`\n]*`", "", cell.prose)
    inline = re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text)
    named = re.findall(r"^ {0,3}\[[^\]]+\]: *(\S+)", text, re.MULTILINE)
    html = re.findall(r"\b(?:href|src)=[\"']([^\"']+)", text)
    return inline + named + html


def _broken(notebook: Notebook, target: str) -> str | None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None if parts.scheme == "https" and parts.netloc else "only https links leave the course"
    folder = notebook.path.parent.resolve()
    file = (folder / unquote(parts.path)).resolve() if parts.path else notebook.path.resolve()
    if not file.is_relative_to(folder):
        return "JupyterLab shows the notebooks' folder alone, so this link leads nowhere there"
    if not file.is_file() or any(part.startswith("lab-") for part in file.relative_to(folder).parts):
        return "no such file"
    if not parts.fragment:
        return None
    if file.suffix == ".ipynb":
        anchors = {heading.anchor for heading in Notebook(file).headings}
    else:
        text = re.findall(r"^(#{1,6}) +(.+?) *$", file.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {Heading(len(marks), title).github_anchor for marks, title in text}
    return None if unquote(parts.fragment) in anchors else "no such heading"


# What is on the page


@rule
def diagrams_speak(notebook: Notebook) -> Iterator[str]:
    """It has a Mermaid diagram, and each one has a title and a description for who cannot see it."""
    diagrams = [(cell, text) for cell in notebook.markdown for text in cell.blocks("mermaid")]
    for cell in notebook.code:
        for output in cell.outputs:
            if "text/vnd.mermaid" in output.get("data", {}):
                diagrams.append((cell, str(output.data["text/vnd.mermaid"])))
                if not output.data.get("text/plain", "").strip():
                    yield f"{cell}: a live diagram without its text/plain twin"
    if not diagrams:
        yield "no diagram"
    for cell, text in diagrams:
        for word in ("accTitle", "accDescr"):
            if not re.search(rf"^\s*{word}\s*[:{{]\s*\S", text, re.MULTILINE):
                yield f"{cell}: a diagram without {word}"


@rule
def terms_are_defined_once(notebook: Notebook) -> Iterator[str]:
    """A term is bold where it is defined, and no page defines it again: the others use it, or link to it."""
    defined: dict[str, str] = {}
    for path in notebook.series[: notebook.place + 1]:
        page = notebook if path == notebook.path else Notebook(path)
        for cell in page.markdown:
            terms = [term for term, _ in glossary.terms(cell.prose)]
            for term in re.findall(r"\*\*([^*]+)\*\*", cell.prose):
                key = re.sub(r"[\s-]", "", term.lower())
                if key not in defined and term in terms:
                    defined[key] = page.path.name
                elif key in defined and page is notebook:
                    yield f"{cell}: {term!r} is bold in {defined[key]} already"


@rule
def images_speak(notebook: Notebook) -> Iterator[str]:
    """Each image says in words what it shows."""
    for cell in notebook.markdown:
        for alt in re.findall(r"!\[([^\]]*)\]", cell.prose):
            if not alt.strip():
                yield f"{cell}: an image without alt text"
        for image in re.findall(r"<img\b[^>]*>", cell.prose):
            if not re.search(r"\balt=([\"'])\s*\S.*?\1", image):
                yield f"{cell}: an <img> without alt text"


@rule
def cells_are_short(notebook: Notebook) -> Iterator[str]:
    """No code cell is empty or longer than twenty lines, and half of them have at most twelve."""
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in notebook.code]
    for cell, length in zip(notebook.code, lengths, strict=True):
        if not 1 <= length <= LONGEST_CELL:
            yield f"{cell} has {length} lines"
    if lengths and statistics.median(lengths) > MEDIAN_CELL:
        yield f"the median cell has {statistics.median(lengths)} lines"


@rule
def code_is_plain_python(notebook: Notebook) -> Iterator[str]:
    """Its code is Python and nothing else: no magics, no shell lines, no question to whoever runs it."""
    for cell in notebook.code:
        try:
            compile(cell.source, cell.id, "exec", dont_inherit=True)
        except SyntaxError as error:
            yield f"{cell} is not Python: {error.msg}, line {error.lineno}"
        if re.search(r"\b(get_ipython|input|getpass)\(", cell.source):
            yield f"{cell} needs IPython or somebody at the keyboard"


@rule
def nothing_is_called_simple(notebook: Notebook) -> Iterator[str]:
    """Its prose never tells a learner that something is simple."""
    for cell in notebook.markdown:
        for word in re.findall(
            r"\b(simply|easy|easily|obvious|obviously|trivial|trivially)\b", cell.prose, re.IGNORECASE
        ):
            yield f"{cell} says {word!r}"


@rule
def works_in_its_own_folder(notebook: Notebook) -> Iterator[str]:
    """It needs no file that another notebook made: the only lab folder it names is its own."""
    own = f"lab-{notebook.path.name[:2]}"
    for cell in notebook.code:
        for lab in sorted(set(re.findall(r"\blab-\d+", cell.source)) - {own}):
            yield f"{cell} uses {lab}, and its own is {own}"


# What must never be on it


@rule
def outputs_hold_on_every_machine(notebook: Notebook) -> Iterator[str]:
    """Its compared outputs show no path, port, date or line number that another machine shows otherwise."""
    patterns = {
        "an absolute path": ABSOLUTE_PATH,
        "a line number of Python's ssl": r"_ssl\.c:\d",
        "a port": r"(?:localhost|127\.0\.0\.1|::1\]?|\b[Pp]ort)[ '\":,=]+\d{4,5}\b",
        "a date": r"(?<![\w.])20(?:2[4-9]|3\d)(?![\w.])",
        "an address in memory": r"\bat 0x[0-9a-f]{6,}",
    }
    for cell in notebook.code:
        for what, pattern in patterns.items():
            if (found := re.search(pattern, cell.shown)) and not cell.varies:
                yield f"{cell} shows {what}: {found[0]!r}"
        if cell.varies and (found := re.search(ABSOLUTE_PATH, cell.shown)):
            yield f"{cell} shows an absolute path: {found[0]!r}"
        if (found := re.search(ABSOLUTE_PATH, cell.source)) is not None:
            yield f"{cell} uses an absolute path: {found[0]!r}"


@rule
def only_the_articles_port_is_named(notebook: Notebook) -> Iterator[str]:
    """It names no port of this machine but the article's 3000 (and 0, any free one), in its outputs neither."""
    for cell in notebook.cells:
        for port in re.findall(r"(?:localhost|127\.0\.0\.1|\[::1\]):(\d+)", f"{cell.source}\n{cell.shown}"):
            if port not in ("3000", "0"):
                yield f"{cell} names port {port}"


@rule
def verification_stays_on(notebook: Notebook) -> Iterator[str]:
    """Nothing in it turns a client's verification off, not even as a warning example."""
    patterns = {
        "verify=False": r"\bverify\s*=\s*False\b",
        "an unverified context": r"_create_unverified_context|\bcheck_hostname\s*=\s*False\b",
        "curl without verification": r"\bcurl\b[^\n]*?[\s\"']-(?!-|\w*key)[a-zA-Z]{0,4}k[a-zA-Z]{0,3}\b|`-k`",
        "a command without verification": r"--(?:proxy-)?insecure\b",
        "a switched-off Node.js": r"NODE_TLS_REJECT_UNAUTHORIZED",
    }
    for cell, text in notebook.everything():
        for what, pattern in patterns.items():
            if re.search(pattern, text):
                yield f"{cell}: {what}"
        if "CERT_NONE" in text and not _is_about_servers(cell):
            yield f"{cell}: CERT_NONE where it is not plainly a server's"


def _is_about_servers(cell: Cell) -> bool:
    """Return whether a cell with CERT_NONE is about a server, which may ask for no certificate.

    Prose must say so in the same line. Code must speak of a server, and neither make a client's context nor
    set CERT_NONE on anything called a client.
    """
    if not cell.is_code:
        return all(re.search("server", line, re.IGNORECASE) for line in cell.source.splitlines() if "CERT_NONE" in line)
    makes_client = re.search(
        r"PROTOCOL_TLS_CLIENT|PROTOCOL_TLS\b|create_default_context\((?![^)]*CLIENT_AUTH)", cell.source
    )
    on_client = re.search(r"client\w*\.verify_mode\s*=\s*[\w.]*CERT_NONE", cell.source, re.IGNORECASE)
    return bool(re.search("server", cell.source, re.IGNORECASE)) and not makes_client and not on_client


@rule
def certificates_have_begun(notebook: Notebook) -> Iterator[str]:
    """No certificate begins this very moment: OpenSSL's clock may be a few milliseconds behind Python's."""
    for cell in notebook.cells:
        if re.search(r"not_valid_before\((?:now|datetime\.now\([\w.]*\))\)", cell.source):
            yield f"{cell}: a certificate that begins now may be refused as not yet valid; begin it earlier"


@rule
def no_secrets_are_stored(notebook: Notebook) -> Iterator[str]:
    """No private key is stored in it, and no certificate but those its cells have made."""
    begins = r"-----BEGIN (?:[A-Z0-9]+ )*{}-----\s*(?:[\w-]+: .*\s+)*[\"'\\n\s]*[A-Za-z0-9+/]{{16}}"
    for cell, text in notebook.everything():
        if re.search(begins.format("PRIVATE KEY"), text):
            yield f"{cell}: a private key"
    for cell in notebook.cells:
        if re.search(begins.format("(?:CERTIFICATE|CERTIFICATE REQUEST)"), cell.source):
            yield f"{cell}: a certificate in its source"


@rule
def errors_are_planned(notebook: Notebook) -> Iterator[str]:
    """A cell shows an error if and only if it is tagged raises-exception, and none writes to stderr."""
    for cell in notebook.code:
        kinds = [output.output_type for output in cell.outputs]
        if ("error" in kinds) != (notebook_form.RAISES in cell.tags):
            yield f"{cell} {'shows' if 'error' in kinds else 'is tagged for'} an error, without the other"
        if any(output.get("name") == "stderr" for output in cell.outputs):
            yield f"{cell} writes to stderr"


@rule
def what_varies_is_asserted(notebook: Notebook) -> Iterator[str]:
    """At most two cells have outputs that are not compared; each of them, or the next, asserts something."""
    varying = [place for place, cell in enumerate(notebook.code) if cell.varies]
    if len(varying) > MOST_VARYING:
        yield f"{len(varying)} cells are tagged {notebook_form.VARIES}, more than {MOST_VARYING}"
    for place in varying:
        if not any(re.search(r"^\s*assert\b", cell.source, re.MULTILINE) for cell in notebook.code[place : place + 2]):
            yield f"neither {notebook.code[place]} nor the next code cell asserts anything"


# Its exercises


@rule
def predictions_are_folded(notebook: Notebook) -> Iterator[str]:
    """What a reader is to predict is folded away, and the one line that the fold shows, the output's first, says
    nothing of it: it is a table's head, or ends with a colon.
    """
    for cell, before in zip(notebook.cells[1:], notebook.cells, strict=False):
        asked = before.is_markdown and notebook_form.PREDICTION in before.source
        if asked and not cell.is_code:
            yield f"{before} asks for a prediction, and {cell} comes before the code"
        if cell.is_code and asked != bool(cell.node.metadata.get("jupyter", {}).get("outputs_hidden")):
            yield f"{cell} is {'not folded, and is to be predicted' if asked else 'folded, and nobody is asked'}"
        if cell.is_code and asked and not re.match(r"\||.*:$", cell.first_line):
            yield f"{cell} is folded, and still shows {cell.first_line!r}"


@rule
def exercises_have_solutions(notebook: Notebook) -> Iterator[str]:
    """It has two or three exercises under 'Your turn', each unanswered, followed by its folded solution."""
    exercises = [place for place, cell in enumerate(notebook.cells) if cell.is_exercise]
    if not 2 <= len(exercises) <= 3:
        yield f"{len(exercises)} exercises"
    for place in exercises:
        cell, following = notebook.cells[place], notebook.cells[place + 1 : place + 2]
        before = [heading.text for other in notebook.cells[:place] for heading in other.headings if heading.level == 2]
        if before[-1:] != ["Your turn"]:
            yield f"{cell} is not under 'Your turn'"
        if not _is_unanswered(cell):
            yield f"{cell} does not end with a checker that says 'Not attempted yet'"
        if not following or not re.search(r"<details>\s*<summary>Solution</summary>", following[0].source):
            yield f"{cell} is not followed by <details><summary>Solution</summary>"
        elif len(following[0].blocks("python")) != 1:
            yield f"{following[0]} does not have exactly one ```python block"
        elif following[0].blocks("python")[0].splitlines()[-1] != cell.source.splitlines()[-1]:
            yield f"{following[0]} does not end its code with the checker's line, so pasting it gives no verdict"
        elif not following[0].source.rstrip().endswith("</details>"):
            yield f"{following[0]} does not end with </details>"


def _is_unanswered(cell: Cell) -> bool:
    try:
        statements = ast.parse(cell.source).body
    except SyntaxError:
        return False
    shown = cell.data("text/plain")
    return (
        isinstance(statements[-1], ast.Expr)
        and len(re.findall(r"^answer = None\b", cell.source, re.MULTILINE)) == 1
        and len(shown) == 1
        and shown[0].lstrip("'\"").startswith("Not attempted yet")
    )
