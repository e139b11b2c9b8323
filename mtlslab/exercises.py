"""Where `mtlslab.notebook.exercises` was until November 2026; the old name still works."""

from mtlslab.notebook.exercises import *  # noqa: F403
