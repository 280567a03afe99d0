"""CUDA C++ kernels for state space models, compiled at run time by NVRTC: no toolchain, no setup step.

``available()`` says whether they can run here; ``vandermonde`` and ``cauchy`` are torch custom operators with
backward passes. Complex tensors are real ones with a trailing 2.
"""

from ssm_kernels.ops import cauchy, vandermonde
from ssm_kernels.runtime import available

__all__ = ["available", "cauchy", "vandermonde"]
