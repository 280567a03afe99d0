"""The problems that ``bench kernels`` measures. Does not import torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """An operator or layer at one size.

    Attributes:
        name: of the operator, or ``s4d-layer``, ``s4-layer``.
        B: batch, H: features, N: state size (N/2 conjugate pairs), L: length; 0 where a size has no meaning.
    """

    name: str
    B: int
    H: int
    N: int
    L: int


GRID = (
    *(Problem("vandermonde", 0, H, 64, L) for H, L in ((128, 1024), (256, 4096), (256, 16384))),
    Problem("vandermonde_transpose", 16, 128, 64, 1024),
    *(Problem("cauchy", 0, H, 64, L) for H, L in ((128, 1024), (256, 4096), (256, 16384))),
    *(Problem("long_conv", B, H, 0, L) for B, H, L in ((16, 128, 1024), (2, 256, 16384))),
    Problem("diagonal_scan", 16, 128, 64, 1024),
    Problem("ssm_step", 1, 64, 64, 1),
    Problem("s4d-layer", 16, 128, 64, 1024),
    Problem("s4-layer", 16, 128, 64, 1024),
)

NAMES = tuple(dict.fromkeys(problem.name for problem in GRID))
