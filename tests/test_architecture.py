"""The house: a core that imports no wing, wings that import downwards only, and rooms of a size to be read."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mtlslab

PACKAGE = Path(mtlslab.__file__).parent
CORE = "errors profiles credentials authority contexts refusals connection server client display".split()  # noqa: SIM905
BELOW = ("pairs", "exchanges")
"""What the core rests on, and no notebook rebuilds: how two files are saved, and what a server hands on."""

WINGS = ("failures", "identity", "client_cert", "asgi", "handshake", "faults", "diagnosis", "probe", "notebook")
"""From the bottom up: a wing may import the core, itself and the wings before it."""

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))


def module(path: Path) -> str:
    return ".".join((PACKAGE.name, *path.with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module(path): path for path in FILES}


@cache
def imported(name: str) -> frozenset[str]:
    """Return the modules of the package that a module imports when it is run; imports for types alone do not count."""
    tree = ast.parse((PACKAGE / MODULES[name]).read_text(encoding="utf-8"))
    return frozenset(found for node in at_run_time(tree) for found in named(node))


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield node
            yield from at_run_time(node)


def named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE.name):
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else node.module


def storey(name: str) -> int:
    """Return how high a module lives: 0 for the core, then the wings; the façade and old names are above them all."""
    room = name.split(".")[1] if "." in name else ""
    return 0 if room in (*CORE, *BELOW) else WINGS.index(room) + 1 if room in WINGS else len(WINGS) + 1


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_downwards_only(name: str) -> None:
    """No module imports one from a storey above its own; the core imports no wing."""
    assert [other for other in imported(name) if storey(other) > storey(name) and other != PACKAGE.name] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_there_is_no_circle(name: str) -> None:
    """No module imports itself by way of others."""
    seen, waiting = set(), [other for other in imported(name) if other != PACKAGE.name]
    while waiting:
        if (other := waiting.pop()) not in seen:
            seen.add(other)
            waiting += [third for third in imported(other) if third != PACKAGE.name]
    assert name not in seen


def lines_of_code(path: Path) -> int:
    """Count the lines that are neither blank, nor comment, nor docstring."""
    text = path.read_text(encoding="utf-8")
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else []:
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
                words.update(range(one.lineno, (one.end_lineno or one.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in words
    )


def test_the_core_is_read_in_an_hour() -> None:
    """The core has at most 1,500 lines of code, the server and its connection at most 420 of them; 160 are below it."""
    sizes = {room: lines_of_code(PACKAGE / f"{room}.py") for room in (*CORE, *BELOW)}
    assert sum(sizes[room] for room in CORE) <= 1500, sizes
    assert sum(sizes[room] for room in BELOW) <= 160, sizes
    assert sizes["server"] + sizes["connection"] <= 420


@pytest.mark.parametrize("path", [*(PACKAGE / path for path in FILES), *TESTS], ids=lambda path: path.name)
def test_a_room_is_of_a_size_to_be_read(path: Path) -> None:
    """No file has more than 450 lines of code, no class more than 120 lines, no function more than 40."""
    if path.is_relative_to(PACKAGE):
        assert lines_of_code(path) <= 450
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= (120 if isinstance(node, ast.ClassDef) else 40), f"{node.name} has {length} lines"
