"""For pytest: how the notebooks' kernels are started."""

import kernels

kernels.use_in_nbval()
