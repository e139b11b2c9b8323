"""The table of faults, a file for each family: it is what the gallery shows, and what `diagnose` knows."""

from __future__ import annotations

from collections.abc import Mapping

from mtlslab.faults.table import chain, files, name, protocol, purpose, revocation, time, trust
from mtlslab.faults.verdicts import Fault

_FAMILIES = (trust, time, name, purpose, chain, revocation, files, protocol)

FAULTS: Mapping[str, Fault] = {row.name: row for family in _FAMILIES for row in family.ROWS}
"""Every fault, by name."""
