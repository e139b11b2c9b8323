"""Where `mtlslab.notebook.programs` was until November 2026; the old name still works."""

from mtlslab.notebook.programs import *  # noqa: F403
