"""For pytest: how the notebooks' kernels are started, and where the tests' fixtures are."""

import kernels

pytest_plugins = ["given"]

kernels.use_in_nbval()
