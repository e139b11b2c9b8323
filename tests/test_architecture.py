"""The house: a core that imports no wing, wings that import downwards only, and rooms of a size to be read."""

import ast
import gc
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

MODULES = {
    ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TESTS = sorted(Path(__file__).parent.rglob("*.py"))


@pytest.fixture(autouse=True, scope="module")
def trees_are_kept() -> Iterator[None]:
    """Hold up the garbage collector meanwhile: it would look through half a million nodes, again and again."""
    gc.disable()
    yield
    parsed.cache_clear()
    gc.enable()


@cache
def parsed(path: Path) -> tuple[str, ast.Module]:
    """Return what stands in a file, as text and as a tree."""
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text)


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk through all statements, and into no expression."""
    for part in ("body", "handlers", "cases", "orelse", "finalbody"):
        for node in getattr(tree, part, ()):
            yield node
            yield from statements(node)


# --- who imports whom -----------------------------------------------------------------------------


@cache
def imported(name: str) -> frozenset[str]:
    """Return the modules of the package that a module imports when it is run; imports for types alone do not count."""
    tree = parsed(MODULES[name])[1]
    for_types = {
        id(inner)
        for node in statements(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in node.body
    }
    return frozenset(found for node in statements(tree) if id(node) not in for_types for found in named(node))


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


def test_imports_run_downwards_only() -> None:
    """No module imports one from a storey above its own; the core imports no wing."""
    pairs = [(name, other) for name in MODULES for other in imported(name) if other != PACKAGE.name]
    assert len(pairs) > len(MODULES)
    assert [f"{name} imports {other}" for name, other in pairs if storey(other) > storey(name)] == []


def test_there_is_no_circle() -> None:
    """No module imports itself by way of others."""

    def reached_from(name: str) -> set[str]:
        seen, waiting = set[str](), [name]
        while waiting:
            for other in imported(waiting.pop()) - seen - {PACKAGE.name}:
                seen.add(other)
                waiting.append(other)
        return seen

    assert [name for name in MODULES if name in reached_from(name)] == []


# --- how large they are ---------------------------------------------------------------------------


@cache
def lines_of_code(path: Path) -> int:
    """Count the lines that are neither blank, nor comment, nor docstring."""
    text, tree = parsed(path)
    words: set[int] = set()
    for node in statements(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            words.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
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


def test_a_room_is_of_a_size_to_be_read() -> None:
    """No file of the package has more than 450 lines of code."""
    assert [f"{name}: {size} lines" for name, path in MODULES.items() if (size := lines_of_code(path)) > 450] == []


def test_what_stands_in_a_room_is_of_a_size_to_be_read() -> None:
    """No class has more than 120 lines, no function more than 40, in the package and in its tests."""
    sizes = [
        (
            f"{path.name}: {node.name}",
            (node.end_lineno or node.lineno) - node.lineno + 1,
            isinstance(node, ast.ClassDef),
        )
        for path in (*MODULES.values(), *TESTS)
        for node in statements(parsed(path)[1])
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(sizes) > 1000
    assert [(name, size) for name, size, is_class in sizes if size > (120 if is_class else 40)] == []
