"""The notebooks' kernels cannot lose their ports to another process."""

import os
import tempfile
from pathlib import Path

import nbval.kernel
import pytest

import kernels


@pytest.mark.skipif(os.name != "posix", reason="kernels listen on TCP ports here")
@pytest.mark.parametrize("kind", [kernels.PrivateKernelManager, kernels.PrivateAsyncKernelManager])
def test_a_kernel_listens_in_a_folder_of_its_own(
    kind: type[kernels.PrivateKernelManager | kernels.PrivateAsyncKernelManager],
) -> None:
    """A kernel's sockets are files that only its owner reaches, in a folder that goes when the kernel goes."""
    manager = kind(kernel_name="python3")
    folder = Path(manager.ip).parent
    assert manager.transport == "ipc"
    assert folder.stat().st_mode & 0o777 == 0o700
    del manager
    assert not folder.exists()


@pytest.mark.skipif(os.name != "posix", reason="kernels listen on TCP ports here")
def test_a_long_name_of_the_temporary_folder_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TMPDIR leaves no room for a socket's name, kernels meet elsewhere."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert len(kernels.PrivateKernelManager(kernel_name="python3").ip) < 90


def test_nbval_starts_such_kernels() -> None:
    """A bare `pytest --nbval` starts its kernels this way."""
    assert nbval.kernel.KernelManager is kernels.PrivateKernelManager
