"""Binder builds from binder/ what the course needs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BINDER = REPOSITORY / "binder"


@pytest.fixture(scope="module")
def dockerfile() -> str:
    """The Dockerfile that repo2docker would build."""
    builder = shutil.which("jupyter-repo2docker")
    if builder is None:
        pytest.skip("jupyter-repo2docker is not installed: pipx install jupyter-repo2docker")
    ran = subprocess.run(
        [builder, "--no-build", "--no-run", "--debug", "."],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Building conda environment for python=3.13" in ran.stderr
    return ran.stdout


def test_python_is_3_13(dockerfile: str) -> None:
    """Binder's Python is the one the course is tested on, not repo2docker's own default."""
    assert (BINDER / "runtime.txt").read_text() == "python-3.13\n"
    assert "python-3.13" in dockerfile or "py-2d3-2e13-2d" in dockerfile


def test_the_tools_of_the_article_are_installed(dockerfile: str) -> None:
    """The learner's terminal has the article's curl, openssl and node, and two proxies."""
    installed = re.search(r"^apt-get install --yes --no-install-recommends (.+) && ", dockerfile, re.MULTILINE)
    assert installed
    assert set(installed[1].split()) == {"curl", "haproxy", "nginx-light", "nodejs", "openssl"}


def test_the_package_is_installed_after_the_repository_is_copied(dockerfile: str) -> None:
    """Requirements come from the one list there is, and the package from the copied repository."""
    copied = dockerfile.index("COPY --chown=", dockerfile.index("# Copy stuff."))
    installed = dockerfile.index('pip install --no-cache-dir -r "binder/requirements.txt"')
    assert copied < installed
    lines = (BINDER / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "-r ../requirements.txt",
        "-r ../requirements-servers.txt",
        "-e .",
    ]


def test_the_notebooks_are_trusted_last(dockerfile: str) -> None:
    """The build ends by trusting the notebooks, so that stored outputs are seen, and stops if it cannot."""
    assert dockerfile.index("RUN ./binder/postBuild") > dockerfile.index("binder/requirements.txt")
    script = (BINDER / "postBuild").read_text().splitlines()
    assert script[:2] == ["#!/bin/bash", "set -e"]
    assert "jupyter trust notebooks/*.ipynb" in script


@pytest.mark.skipif(os.name != "posix", reason="files have no executable bit here")
def test_post_build_can_be_run() -> None:
    """The script is executable, as repo2docker wants it."""
    assert os.access(BINDER / "postBuild", os.X_OK)
