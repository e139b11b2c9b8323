"""Where `mtlslab.faults.wordings` was until November 2026; the old name still works."""

from mtlslab.faults.wordings import *  # noqa: F403
