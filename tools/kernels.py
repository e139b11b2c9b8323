"""Kernels that no other process on the machine can get in the way of.

Jupyter picks five free TCP ports for a kernel, lets them go, and starts the kernel, which takes them half a second
later. Where another process has taken the one called iopub in between, the kernel lives and is never heard of: a test
run waits a minute for it and fails. Sockets in a folder of their own cannot be taken. Windows keeps to TCP.
"""

import os
import shutil
import tempfile
import weakref
from typing import Any

import nbval.kernel
from jupyter_client.manager import AsyncKernelManager, KernelManager


class PrivateKernelManager(KernelManager):
    """A KernelManager whose kernel listens on UNIX sockets, where there are any."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _make_private(self)


class PrivateAsyncKernelManager(AsyncKernelManager):
    """The same for nbclient, which waits for its kernels asynchronously."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _make_private(self)


def _make_private(manager: KernelManager) -> None:
    if os.name == "posix" and (room := _room_for_a_socket()):
        folder = tempfile.mkdtemp(prefix="kernel-", dir=room)
        weakref.finalize(manager, shutil.rmtree, folder, ignore_errors=True)
        manager.transport = "ipc"
        manager.ip = f"{folder}/socket"


def _room_for_a_socket() -> str | None:
    """Return a folder for temporary files whose path leaves room for a socket's name, which has 100 bytes or so."""
    rooms = (tempfile.gettempdir(), "/tmp")
    return next((room for room in rooms if len(os.fsencode(room)) <= 60 and os.access(room, os.W_OK)), None)


def use_in_nbval() -> None:
    """Let nbval, which has no setting for it, start its kernels through PrivateKernelManager."""
    nbval.kernel.KernelManager = PrivateKernelManager
