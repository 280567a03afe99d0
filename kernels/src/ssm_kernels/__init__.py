"""CUDA C++ kernels for state space models. NVRTC compiles them at run time: no toolchain and no setup step is needed.

:func:`available` says whether they can run here. ``vandermonde``, ``cauchy``, ``diagonal_scan`` and ``chunked_scan``,
which is the scan on tensor cores, are custom operators of torch with backward passes. Complex tensors are real
tensors whose last axis holds real and imaginary part.
"""

from ssm_kernels.ops.cauchy import cauchy
from ssm_kernels.ops.chunked_scan import chunked_scan
from ssm_kernels.ops.diagonal_scan import diagonal_scan
from ssm_kernels.ops.vandermonde import vandermonde
from ssm_kernels.runtime import available

__all__ = ["available", "cauchy", "chunked_scan", "diagonal_scan", "vandermonde"]
