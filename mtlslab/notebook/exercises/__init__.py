"""The checkers of *Your turn*, a file for each notebook; each file's `__all__` is what its notebook uses.

A checker takes the reader's answer and says "Not attempted yet", "Not yet: <a hint>" or "Correct: <why>". It
never raises, whatever it is given.
"""

from mtlslab.notebook.exercises.judges import CHECKERS as CHECKERS
from mtlslab.notebook.exercises.judges import Feedback as Feedback
from mtlslab.notebook.exercises.page_00 import *  # noqa: F403
from mtlslab.notebook.exercises.page_01 import *  # noqa: F403
from mtlslab.notebook.exercises.page_02 import *  # noqa: F403
from mtlslab.notebook.exercises.page_03 import *  # noqa: F403
from mtlslab.notebook.exercises.page_04 import *  # noqa: F403
from mtlslab.notebook.exercises.page_05 import *  # noqa: F403
from mtlslab.notebook.exercises.page_06 import *  # noqa: F403
from mtlslab.notebook.exercises.page_07 import *  # noqa: F403
from mtlslab.notebook.exercises.page_08 import *  # noqa: F403
from mtlslab.notebook.exercises.page_09 import *  # noqa: F403
from mtlslab.notebook.exercises.page_10 import *  # noqa: F403
from mtlslab.notebook.exercises.page_11 import *  # noqa: F403
from mtlslab.notebook.exercises.page_12 import *  # noqa: F403
from mtlslab.notebook.exercises.progress import progress as progress
