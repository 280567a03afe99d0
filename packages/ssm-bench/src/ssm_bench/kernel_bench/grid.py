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

_SWEPT = ("vandermonde", "cauchy", "long_conv", "diagonal_scan", "s4d-layer", "s4-layer")


def sweep(device: str) -> tuple[Problem, ...]:
    """Problems of one size at growing length, as the pictures draw them: as much as a device of the type ("cpu",
    "cuda") does in about a minute with all back ends."""
    B, H, lengths = (4, 32, (256, 1024, 4096, 16384)) if device == "cpu" else (16, 256, (1024, 4096, 16384, 65536))
    problems = []
    for name in _SWEPT:
        # Layers hold the activations of a whole batch, and naive scans go sample by sample.
        longest = lengths[-2] if name in ("diagonal_scan", "s4d-layer", "s4-layer") else lengths[-1]
        batch = 0 if name in ("vandermonde", "cauchy") else B
        states = 0 if name == "long_conv" else 64
        problems += [Problem(name, batch, H, states, L) for L in lengths if longest >= L]
    return tuple(problems)


NAMES = tuple(dict.fromkeys(problem.name for problem in GRID))
