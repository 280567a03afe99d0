"""CUDA C++ kernels for state space models, compiled at run time by NVRTC: no toolchain, no setup step.

``available()`` says whether they can run here; ``vandermonde``, ``cauchy`` and ``diagonal_scan`` are torch custom
operators with backward passes. Complex tensors are real ones with a trailing 2.
"""

from ssm_kernels.ops.cauchy import cauchy
from ssm_kernels.ops.diagonal_scan import diagonal_scan
from ssm_kernels.ops.vandermonde import vandermonde
from ssm_kernels.runtime import available

__all__ = ["available", "cauchy", "diagonal_scan", "vandermonde"]
