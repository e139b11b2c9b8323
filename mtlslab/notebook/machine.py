"""What the reader's machine has of what the course needs."""

from __future__ import annotations

import importlib.metadata
import shutil
import ssl
import sys

from mtlslab.display import Table, table

_NEEDED = ("cryptography", "httpx", "jupyterlab", "nbval")
_HANDY = ("openssl", "curl", "node")


def environment() -> Table:
    """Check what the course needs: Python, OpenSSL, four packages; and the programs that some pages also use.

    Each row says "ok" or the cure. Versions are left out where they are good enough.
    """
    rows = [
        ("Python 3.11 or newer", _ok(sys.version_info >= (3, 11), "install Python 3.11 or newer")),
        (
            "OpenSSL 3 inside Python",
            _ok(ssl.OPENSSL_VERSION_INFO >= (3, 0), "use a Python built with OpenSSL 3"),
        ),
        ("TLS 1.3", _ok(ssl.HAS_TLSv1_3, "use a Python whose OpenSSL speaks TLS 1.3")),
    ]
    rows += [(package, _ok(_installed(package), f"pip install {package}")) for package in _NEEDED]
    return table(("needed", "found"), rows)


def tools() -> Table:
    """Show which of openssl, curl and node are on the PATH. Only some pages use them."""
    return table(("program", "found"), [(tool, shutil.which(tool) is not None) for tool in _HANDY])


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _ok(good: bool, cure: str) -> str:
    return "ok" if good else cure
