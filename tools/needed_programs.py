"""Which notebooks run other programs, and what becomes of their tests where one is missing.

They are skipped, and say why. Where the variable MTLSLAB_REQUIRE_TOOLS is set, as in CI, nothing is skipped: what needs
a program that is missing fails.
"""

import os
from pathlib import Path

from mtlslab.notebook import programs, proxies, servers

NEEDED = {"09-openssl-node-and-curl": ("openssl", "curl", "node")}
PACKAGES = {"10-who-is-calling": tuple(servers.PACKAGES)}
PROXIES = {"11-behind-a-proxy": ("caddy",)}

REQUIRED = "MTLSLAB_REQUIRE_TOOLS"


def are_required() -> bool:
    """Whether a missing program is to fail the tests instead of skipping them."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


def why_to_skip(notebook: Path) -> str | None:
    """Return why this notebook cannot be run here, or None if it can, or must."""
    absent = (
        *programs.missing(*NEEDED.get(notebook.stem, ())),
        *servers.missing(*PACKAGES.get(notebook.stem, ())),
        *filter(None, map(proxies.missing, PROXIES.get(notebook.stem, ()))),
    )
    return None if are_required() else "; ".join(map(str, absent)) or None
