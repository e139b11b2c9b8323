"""Every rule for notebooks catches what it is there to catch, and lets a good notebook pass."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

import notebook_form
import notebook_rules as rules
from notebook_rules import Notebook, Rule
from solutions import Outcome, solve

v4: Any = nbformat.v4
copied: Any = nbformat.from_dict

OUTCOMES = "- watch a one-way TLS connection,\n- read a certificate\n  field by field,\n- say who knows whom."
DIAGRAM = "```mermaid\nsequenceDiagram\n  accTitle: Two\n  accDescr: One greets the other.\n  A->>B: hi\n```"
MINUTES = "about 5 minutes, and up to 20 for the exercises"
FAKE_PEM = "-----BEGIN {}-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END {}-----"
NAMES = ["00-first", "01-second", "02-third"]


def markdown(cell_id: str, source: str) -> NotebookNode:
    cell: NotebookNode = v4.new_markdown_cell(source, id=cell_id)
    return cell


def code(cell_id: str, source: str, shows: str | None = None, *tags: str) -> NotebookNode:
    cell: NotebookNode = v4.new_code_cell(source, id=cell_id)
    if tags:
        cell.metadata["tags"] = list(tags)
    if shows is not None:
        cell.outputs = [v4.new_output("execute_result", {"text/plain": shows}, execution_count=0)]
    return cell


def exercise(number: int) -> list[NotebookNode]:
    check = f"print(lab)\n'Correct: yes' if answer == {number} else 'Not attempted yet'"
    block = f"```python\nanswer = {number}\n{check}\n```"
    solution = f"<details><summary>Solution</summary>\n\n{block}\n\n</details>"
    return [
        code(f"exercise-{number}", f"answer = None  # a number\n{check}", "'Not attempted yet'"),
        markdown(f"solution-{number}", solution),
    ]


@cache
def good(place: int) -> NotebookNode:
    """Return a notebook that keeps every rule, for one place in a series of three."""
    links = [f"[{name}]({name}.ipynb)" for name in NAMES[max(place - 1, 0) : place + 2]]
    after = [f"Next: [on]({name}.ipynb)" for name in NAMES[place + 1 : place + 2]]
    cells = [
        markdown("title", f"# A title\n\nNotebook {place + 1} of 3 · {MINUTES} · {' · '.join(links)}"),
        markdown("outcomes", f"## You will\n\n{OUTCOMES}\n\n## You need\n\nNothing.\n\n{DIAGRAM}"),
        code("set-up", f"from pathlib import Path\n\nlab = Path('lab-0{place}')\nlab.name", f"'lab-0{place}'"),
        markdown(
            "first-round",
            f"## A claim\n\nA **mark-{place}** is what defines. See [above](#You-need) and [RFC](https://www.rfc-editor.org).",
        ),
        code("refusal", "{}['nothing']", None, notebook_form.RAISES),
        code("varying", "print(id(lab))", None, notebook_form.VARIES),
        code("asserted", "assert id(lab)\nlab.is_absolute()", "False"),
        markdown("prediction", "**Before you run the next cell:** yes or no?"),
        code("predicted", "print('was it so:')\nTrue", "True"),
        markdown("your-turn", "## Your turn\n\nNow you."),
        *exercise(1),
        *exercise(2),
        markdown("in-practice", "## In practice\n\n### Keys\n\nA server may set `CERT_NONE`."),
        markdown("summary", f"## You can now\n\n{OUTCOMES}\n\n{' '.join(after)}"),
    ]
    error = {"ename": "KeyError", "evalue": "'nothing'", "traceback": []}
    cells[4].outputs = [v4.new_output("error", **error)]
    cells[8].outputs.insert(0, v4.new_output("stream", name="stdout", text="was it so:\n"))
    notebook: NotebookNode = v4.new_notebook(cells=cells)
    for number, cell in enumerate([cell for cell in cells if cell.cell_type == "code"], 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    return notebook_form.canonical(notebook)


@cache
def good_text(place: int) -> str:
    """Return the text of such a notebook's file."""
    return notebook_form.dump(good(place))


def series(folder: Path, spoil: Callable[[NotebookNode], None] | None = None) -> Notebook:
    """Write a series of three good notebooks into ``folder``, the middle one spoilt, and return that one."""
    for place, name in enumerate(NAMES):
        text, file = good_text(place), folder / f"{name}.ipynb"
        if spoil and place == 1:
            spoilt = copied(good(place))
            spoil(spoilt)
            text = notebook_form.dump(spoilt)
        if place == 1 or not file.exists():
            file.write_bytes(text.encode())
    return Notebook(folder / f"{NAMES[1]}.ipynb")


def cell(notebook: NotebookNode, cell_id: str) -> NotebookNode:
    found: NotebookNode = next(cell for cell in notebook.cells if cell.id == cell_id)
    return found


def says(cell_id: str, text: str) -> Callable[[NotebookNode], None]:
    """Return a change that adds ``text`` to a cell's source."""

    def change(notebook: NotebookNode) -> None:
        cell(notebook, cell_id).source += f"\n{text}"

    return change


def replaces(cell_id: str, old: str, new: str) -> Callable[[NotebookNode], None]:
    """Return a change that replaces ``old`` in a cell's source by ``new``."""

    def change(notebook: NotebookNode) -> None:
        assert old in cell(notebook, cell_id).source
        cell(notebook, cell_id).source = cell(notebook, cell_id).source.replace(old, new)

    return change


def shows(cell_id: str, text: str) -> Callable[[NotebookNode], None]:
    """Return a change that makes a cell print ``text``."""

    def change(notebook: NotebookNode) -> None:
        cell(notebook, cell_id).outputs.append(v4.new_output("stream", name="stdout", text=text))

    return change


def draws(diagram: str) -> Callable[[NotebookNode], None]:
    """Return a change that makes a cell draw a live diagram without words."""

    def change(notebook: NotebookNode) -> None:
        output = v4.new_output("display_data", {"text/vnd.mermaid": diagram})
        cell(notebook, "asserted").outputs.append(output)

    return change


def sets(cell_id: str, **values: object) -> Callable[[NotebookNode], None]:
    """Return a change that sets fields of a cell."""

    def change(notebook: NotebookNode) -> None:
        for name, value in values.items():
            cell(notebook, cell_id)[name] = value

    return change


def drops(*cell_ids: str) -> Callable[[NotebookNode], None]:
    """Return a change that takes cells out."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells = [cell for cell in notebook.cells if cell.id not in cell_ids]

    return change


def many(changes: Iterable[Callable[[NotebookNode], None]]) -> Callable[[NotebookNode], None]:
    """Return a change that makes several."""
    changes = list(changes)

    def change(notebook: NotebookNode) -> None:
        for each in changes:
            each(notebook)

    return change


def runs_twice(notebook: NotebookNode) -> None:
    for node in notebook.cells:
        if node.cell_type == "code":
            node.execution_count += 10


def meets_an_editor(notebook: NotebookNode) -> None:
    notebook.metadata["language_info"]["version"] = "3.13.0"


def writes_to_stderr(notebook: NotebookNode) -> None:
    cell(notebook, "set-up").outputs.append(v4.new_output("stream", name="stderr", text="a warning"))


BROKEN: dict[Rule, list[Callable[[NotebookNode], None]]] = {
    rules.has_canonical_form: [meets_an_editor, sets("title", metadata={"editable": True})],
    rules.counts_run_from_one: [runs_twice, sets("set-up", execution_count=None), drops("refusal")],
    rules.ids_are_slugs: [sets("title", id=bad) for bad in ("1f2e3d4c", "Title", "set-up", "cell-3", "a_b")],
    rules.tags_are_known: [
        sets("set-up", metadata={"tags": ["nbval-skip"]}),
        says("set-up", "# NBVAL_IGNORE_OUTPUT"),
    ],
    rules.headings_are_ordered: [
        says("first-round", "# Another title"),
        says("first-round", "#### Too deep"),
        replaces("title", "# A title", "A title"),
    ],
    rules.sections_are_there: [
        replaces("in-practice", "## In practice", "## Practice"),
        replaces("title", "Notebook", "## Before\n\nNotebook"),
        drops("your-turn"),
    ],
    rules.outcomes_are_mirrored: [
        replaces("summary", "read a certificate", "read certificates"),
        replaces("summary", "- say who knows whom.", ""),
        replaces("outcomes", "- watch a one-way TLS connection,\n", ""),
    ],
    rules.says_where_it_stands: [
        replaces("title", "2 of 3", "2 of 7"),
        replaces("title", MINUTES, "fast"),
    ],
    rules.takes_as_long_as_it_says: [
        replaces("title", "about 5 minutes", "about 15 minutes"),
        replaces("title", "about 5 minutes", "about 6 minutes"),
        replaces("title", "up to 20", "up to 30"),
        replaces("title", MINUTES, "5 minutes"),
        says("first-round", "word " * 1500),
    ],
    rules.names_its_neighbours: [
        replaces("title", "00-first.ipynb", "01-second.ipynb"),
        replaces("summary", "Next: [on](02-third.ipynb)", "The end."),
    ],
    rules.links_resolve: [
        says("first-round", f"[there]({target})")
        for target in (
            "nowhere.ipynb",
            "#No-such-heading",
            "02-third.ipynb#Nor-this",
            "../README.md",
            "lab-01/ca.crt",
        )
    ]
    + [says("first-round", "[insecure](http://example.org)"), says("first-round", "![x](no.png)")],
    rules.diagrams_speak: [
        replaces("outcomes", "accTitle: Two", ""),
        replaces("outcomes", "accDescr: One greets the other.", ""),
        replaces("outcomes", "```mermaid", "```text"),
        draws("flowchart LR\n accTitle: A\n accDescr: B\n a --> b"),
    ],
    rules.terms_are_defined_once: [
        says("first-round", "\nA **mark-1**, once more."),
        says("first-round", "\nA **Mark 0** was on the page before."),
        says("first-round", "\n- **Mark-0**: it was there."),
    ],
    rules.images_speak: [says("title", "![](a.png)"), says("title", '<img src="a.png">')],
    rules.cells_are_short: [
        says("set-up", "lab\n" * 20),
        sets("set-up", source=""),
        many(says(name, "\n".join(["lab"] * 13)) for name in ("set-up", "varying", "asserted", "exercise-1")),
    ],
    rules.code_is_plain_python: [
        says("set-up", line) for line in ("%time", "!ls", "lab?", "await lab", "input('Who?')")
    ],
    rules.nothing_is_called_simple: [
        says("first-round", "It is Simply there."),
        says("title", "This is easy."),
    ],
    rules.works_in_its_own_folder: [says("set-up", "Path('lab-00/ca.crt')")],
    rules.outputs_hold_on_every_machine: [
        shows("set-up", text)
        for text in (
            "saved in /home/you/course",
            "C:\\Users\\you",
            "handshake failure (_ssl.c:1006)",
            "https://localhost:40123",
            "listening on port 40123",
            "('127.0.0.1', 40123)",
            "valid until 2027-11-23",
            "Nov 23 23:59:59 2027 GMT",
            "<Server object at 0x7f3a11c0>",
        )
    ]
    + [shows("varying", "saved in /tmp/x"), says("set-up", "Path('/etc/ssl')")],
    rules.only_the_articles_port_is_named: [
        says("title", "https://localhost:8443"),
        says("set-up", "'[::1]:3001'"),
        shows("varying", "at https://localhost:33361"),
    ],
    rules.verification_stays_on: [
        says("set-up", "httpx.get(url, verify=False)"),
        says("set-up", "context.check_hostname = False"),
        says("set-up", "subprocess.run(['curl', '-k', url])"),
        says("set-up", "context.verify_mode = ssl.CERT_NONE"),
        says("set-up", "client.verify_mode = ssl.CERT_NONE  # not the server's"),
        says("set-up", "c = ssl.create_default_context()\nserver(c)\nc.verify_mode = ssl.CERT_NONE"),
        says("first-round", "Some set `CERT_NONE`."),
        says("first-round", "Never type `curl -sk https://localhost:3000`."),
        says("first-round", "Never add `-k`."),
        says("first-round", "Nor `--insecure`."),
        shows("set-up", "try verify=False"),
    ],
    rules.certificates_have_begun: [
        says("set-up", "builder = builder.not_valid_before(now)"),
        says("first-round", "`.not_valid_before(datetime.now(UTC))`"),
    ],
    rules.no_secrets_are_stored: [
        shows("varying", FAKE_PEM.format("PRIVATE KEY", "PRIVATE KEY")),
        shows("varying", repr(FAKE_PEM.format("EC PRIVATE KEY", "EC PRIVATE KEY").encode())),
        says("first-round", FAKE_PEM.format("ENCRYPTED PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
        says("set-up", f"'''{FAKE_PEM.format('CERTIFICATE', 'CERTIFICATE')}'''"),
    ],
    rules.errors_are_planned: [
        sets("refusal", metadata={}),
        sets("refusal", outputs=[]),
        writes_to_stderr,
    ],
    rules.what_varies_is_asserted: [
        replaces("asserted", "assert id(lab)", "id(lab)"),
        many(sets(name, metadata={"tags": [notebook_form.VARIES]}) for name in ("set-up", "asserted")),
    ],
    rules.predictions_are_folded: [
        sets("predicted", metadata={}),
        sets("set-up", metadata={"jupyter": {"outputs_hidden": True}}),
        lambda notebook: cell(notebook, "predicted").outputs.pop(0),
        says("first-round", "**Before you run the next cell: what will it raise?"),
        says("your-turn", "**Before you run the next cell: what will it say?"),
        lambda notebook: notebook.cells.insert(8, markdown("between", "And so on.")),
    ],
    rules.exercises_have_solutions: [
        drops("exercise-1"),
        drops("solution-1"),
        replaces("solution-1", "```python", "```text"),
        replaces("solution-1", "'Not attempted yet'", "'Not yet'"),
        replaces("solution-1", "<details>", ""),
        replaces("exercise-1", "answer = None", "answer = 3; x = None"),
        sets("exercise-1", outputs=[]),
        replaces("your-turn", "Now you.", "## Somebody else's turn"),
        lambda notebook: notebook.cells.insert(0, notebook.cells.pop(10)),
    ],
}


def test_a_good_notebook_passes(tmp_path: Path) -> None:
    """No rule finds fault with a notebook that keeps them all."""
    notebook = series(tmp_path)
    assert {rule.__name__: found for rule in rules.RULES if (found := list(rule(notebook)))} == {}


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_a_rule_catches_what_breaks_it(rule: Rule, tmp_path: Path) -> None:
    """Each rule finds fault with each notebook that breaks it, and says so in words."""
    for number, spoil in enumerate(BROKEN[rule], 1):
        problems = list(rule(series(tmp_path, spoil)))
        assert problems, number
        assert all(problems), number


def test_every_rule_has_been_seen_to_fail() -> None:
    """There is no rule without a notebook that breaks it, and each says in its docstring what it is."""
    assert list(BROKEN) == rules.RULES
    assert all(rule.__doc__ for rule in rules.RULES)


def test_what_a_server_may_do_is_allowed(tmp_path: Path) -> None:
    """A server may ask for no certificate, and the rule against CERT_NONE lets it."""
    fine = "server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\nserver_context.verify_mode = ssl.CERT_NONE"
    assert not list(rules.verification_stays_on(series(tmp_path, says("set-up", fine))))


def test_solutions_are_run_in_place_of_the_question(tmp_path: Path) -> None:
    """Each exercise's cell runs with its solution, after what it builds on, however far above, and nothing else."""
    changes = [
        says("varying", "1 / 0"),
        replaces("asserted", "assert id(lab)\nlab.is_absolute()", "def name():\n    return lab.name"),
        *(replaces(f"solution-{number}", "print(lab)", "print(name())") for number in (1, 2)),
    ]
    assert solve(series(tmp_path, many(changes)), tmp_path) == [
        Outcome("exercise-1", "'Correct: yes'"),
        Outcome("exercise-2", "'Correct: yes'"),
    ]


def test_a_wrong_solution_is_not_correct(tmp_path: Path) -> None:
    """A solution that its checker does not accept is seen."""
    notebook = series(tmp_path, replaces("solution-2", "answer = 2", "answer = 3"))
    assert [outcome.said for outcome in solve(notebook, tmp_path)][1] == "'Not attempted yet'"
