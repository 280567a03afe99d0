"""CUDA C++ kernels for state space models, compiled at run time by NVRTC: no toolchain, no setup step.

``available()`` says whether they can run here; ``vandermonde``, ``cauchy``, ``diagonal_scan`` and ``chunked_scan``, the
same on tensor cores, are torch custom operators with backward passes. Complex tensors are real ones with a trailing 2.
"""

from ssm_kernels.ops.cauchy import cauchy
from ssm_kernels.ops.chunked_scan import chunked_scan
from ssm_kernels.ops.diagonal_scan import diagonal_scan
from ssm_kernels.ops.vandermonde import vandermonde
from ssm_kernels.runtime import available

__all__ = ["available", "cauchy", "chunked_scan", "diagonal_scan", "vandermonde"]
