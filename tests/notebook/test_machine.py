"""What the reader's machine lacks is named with its cure, by the name under which pages ask for it."""

import importlib.metadata
import shutil
import ssl
import sys

import pytest

from mtlslab import display


def test_a_good_environment_is_ok() -> None:
    """Where the tests run, all that the course needs is there."""
    rows = display.environment().rows
    assert {found for _, found in rows} == {"ok"}
    assert {"cryptography", "httpx", "jupyterlab", "nbval", "TLS 1.3"} <= {what for what, _ in rows}


@pytest.mark.parametrize("missing", ["cryptography", "httpx", "jupyterlab", "nbval"])
def test_a_missing_package_comes_with_its_cure(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the environment says what to type for what is missing, and for nothing else."""
    version = importlib.metadata.version

    def without(package: str) -> str:
        if package == missing:
            raise importlib.metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(importlib.metadata, "version", without)
    cures = {what: found for what, found in display.environment().rows if found != "ok"}
    assert cures == {missing: f"pip install {missing}"}


def test_an_old_python_comes_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python or OpenSSL that is too old is named with what to install."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (1, 1, 1, 0, 15))
    monkeypatch.setattr(ssl, "HAS_TLSv1_3", False)
    cures = [found for _, found in display.environment().rows if found != "ok"]
    assert [cure.split(" ")[0] for cure in cures] == ["install", "use", "use"]
    assert "3.11" in cures[0]


def test_programs_are_looked_for_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of programs says yes or no."""
    monkeypatch.setattr(shutil, "which", lambda tool: "/bin/curl" if tool == "curl" else None)
    assert {row[0]: row[1] for row in display.tools().rows} == {"openssl": "no", "curl": "yes", "node": "no"}
