"""For pytest: how kernels are started, where fixtures are, and which tests need programs that may be missing."""

import gc
import sys
from pathlib import Path

import pytest

import kernels
import needed_programs

sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # builds a grammar that no notebook needs, for a second
pytest_plugins = ["nbval.plugin", "given"]

kernels.use_in_nbval()

RUNS_THE_NOTEBOOK = {"test_each_checker_accepts_the_folded_solution"}
"""The tests in tests/ that run a notebook's cells; each has the notebook's path as a parameter."""


def pytest_collection_finish() -> None:
    """Spare the garbage collector, at each of its rounds and at the end, what lives as long as the process."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what runs a notebook whose programs are missing, and say which."""
    if (notebook := _run_by(item)) and (reason := needed_programs.why_to_skip(notebook)):
        pytest.skip(reason)


def _run_by(item: pytest.Item) -> Path | None:
    if item.path.suffix == ".ipynb":
        return item.path
    if getattr(item, "originalname", None) in RUNS_THE_NOTEBOOK and isinstance(item, pytest.Function):
        path = item.callspec.params["path"]
        assert isinstance(path, Path)
        return path
    return None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call a long text by its parameter: it may be made anew in each process, and ids must be the same in all."""
    return argname if isinstance(val, str | bytes) and len(val) > 60 else None
