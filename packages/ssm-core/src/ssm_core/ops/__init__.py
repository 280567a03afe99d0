"""The operators of state space models.

Each operator is one public function and a folder of implementations. Its argument ``backend`` chooses the
implementation; see :mod:`ssm_core.backends`.
"""

from ssm_core.ops.cauchy import cauchy
from ssm_core.ops.diagonal_scan import diagonal_scan
from ssm_core.ops.long_conv import long_conv
from ssm_core.ops.step import ssm_step
from ssm_core.ops.vandermonde import vandermonde, vandermonde_transpose

__all__ = ["cauchy", "diagonal_scan", "long_conv", "ssm_step", "vandermonde", "vandermonde_transpose"]
