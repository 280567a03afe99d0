"""Initial values of A, B, P and the step size of a state space model.

:func:`ssm` serves every named initialisation, for independent copies:

============================  ============================================================
``legs``, ``fourier``, ...    the measures of :mod:`ssm_core.hippo`, normal plus low rank
``diag-lin``                  S4D-Lin, ``A_n = -1/2 + i pi n``
``diag-inv``, ``diag-inv2``   S4D-Inv and a variant of it
``diag-quad``                 S4D-Quad
``diag-legs``                 S4D-LegS: A and B of LegS without its low-rank part
``diag-real``                 S4D-Real, ``A_n = -(n + 1)``
``diag-rand``                 log-normal imaginary part
``dplr-...``                  the same diagonals with a random low-rank part
``hippo``, ``diag``, ``all``  the copies are divided among several of these
============================  ============================================================

Source: "On the Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893), section 4. The
combinations come from "How to Train Your HiPPO" (arXiv:2206.12037).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssm_core.hippo import nplr

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "hippo": ("legs", "fourier"),
    "diag": ("diag-inv", "diag-lin"),
    "all": ("legs", "fourier", "diag-inv", "diag-lin"),
}
DIAGONALS = ("lin", "inv", "inv2", "quad", "legs", "real", "rand")
DIAGONAL_ALIASES = {
    "linear": "lin",
    "inverse": "inv",
    "inverse2": "inv2",
    "quadratic": "quad",
    "hippo": "legs",
    "random": "rand",
}


@dataclass(frozen=True)
class Initial:
    """Initial diagonal plus low-rank systems ``A - P P^*``, S copies, float64.

    Attributes:
        A: diagonal, complex (S, M, 2); real and imaginary parts are negative or zero.
        B: complex (S, M, 2).
        P: complex (R, S, M, 2); zero for ``diag-...``.
        V: the basis, complex (S, N, M, 2): the state with the coordinates x is ``2 Re V x``.
    """

    A: Tensor
    B: Tensor
    P: Tensor
    V: Tensor


def ssm(
    init: str,
    N: int,
    rank: int | None = 1,
    copies: int = 1,
    *,
    real_random: bool = False,
    real_scale: float = 1.0,
    imag_random: bool = False,
    imag_scale: float = 1.0,
    B_init: str | None = None,
    B_scale: float = 1.0,
    B_clip: float | None = 2.0,
    P_scale: float = 1.0,
    normalize: bool = False,
) -> Initial:
    """Return the systems of a named initialisation.

    Args:
        init: a name of the table above.
        N: state size, even.
        rank: R; None: the lowest rank that ``init`` allows, for callers that do not use P.
        copies: S; a multiple of the number of parts of a combination.
        real_random: draw the real parts at random. This option and those below, except B_clip, are for ``diag-``
            and ``dplr-`` only.
        real_scale: factor of the real part.
        imag_random: draw the grid of the imaginary part uniformly.
        imag_scale: factor of the imaginary part.
        B_init: ``constant``, ``random``, ``alternating``, ``unit-cw``, ``unit-ccw``, or ``hippo``, which is the B of
            LegS. None: ``hippo`` for ``diag-legs``, ``constant`` for the others.
        B_scale: factor of B.
        B_clip: bound of the imaginary part of the B of a HiPPO measure; None: no bound.
        P_scale: factor of the random P of ``dplr-``.
        normalize: scale B so that a stationary white input of unit variance gives a state of unit variance.

    Raises:
        ValueError: the name is unknown, N is odd, the rank is too small, or the copies cannot be divided.
    """
    parts = COMBINATIONS.get(init, (init,))
    if copies % len(parts):
        raise ValueError(f"init {init!r} needs a multiple of {len(parts)} copies (n_ssm), not {copies}.")
    each = copies // len(parts)
    systems = []
    for part in parts:
        family, _, diagonal = part.partition("-")
        if family in ("diag", "dplr"):
            system = _diagonal(
                DIAGONAL_ALIASES.get(diagonal, diagonal),
                N,
                rank or 1,
                each,
                real_random=real_random,
                real_scale=real_scale,
                imag_random=imag_random,
                imag_scale=imag_scale,
                B_init=B_init,
                B_scale=B_scale,
                P_scale=P_scale if family == "dplr" else 0.0,
                normalize=normalize,
            )
        else:
            h = nplr(part, N, rank, B_clip)
            system = (
                h.w.expand(each, -1),
                h.B.expand(each, -1),
                h.P[:, None].expand(-1, each, -1),
                h.V.expand(each, -1, -1),
            )
        systems.append(system)
    A, B, P, V = zip(*systems, strict=True)
    return Initial(
        A=torch.view_as_real(torch.cat(A)),
        B=torch.view_as_real(torch.cat(B)),
        P=torch.view_as_real(torch.cat(P, 1)),
        V=torch.view_as_real(torch.cat(V)),
    )


def step_sizes(shape: tuple[int, ...], dt_min: float, dt_max: float, *, deterministic: bool = False) -> Tensor:
    """Return step sizes that are log-uniform in [dt_min, dt_max], float64.

    Args:
        shape: (H, 1) for one step size for each feature, (H, M) for one for each feature and mode.
        dt_min: the smallest step size.
        dt_max: the largest step size.
        deterministic: space the logarithms evenly over the features instead of drawing them.
    """
    if deterministic:
        fraction = torch.linspace(0, 1, shape[0], dtype=torch.float64)[:, None].expand(shape)
    else:
        fraction = torch.rand(shape, dtype=torch.float64)
    return torch.exp(math.log(dt_min) + fraction * (math.log(dt_max) - math.log(dt_min)))


def _diagonal(
    name: str,
    N: int,
    rank: int,
    copies: int,
    *,
    real_random: bool,
    real_scale: float,
    imag_random: bool,
    imag_scale: float,
    B_init: str | None,
    B_scale: float,
    P_scale: float,
    normalize: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return A (S, M), B (S, M), P (R, S, M) and V (S, N, M), all complex."""
    if name not in DIAGONALS:
        raise ValueError(f"There is no diagonal initialisation {name!r}; there are {', '.join(DIAGONALS)}.")
    if N % 2:
        raise ValueError(f"A conjugate-pair form needs an even state size, not {N}.")
    M = N // 2
    grid = torch.arange(M, dtype=torch.float64).expand(copies, M)
    if imag_random:
        grid = M * torch.rand(copies, M, dtype=torch.float64)
    real = torch.full((copies, M), 0.5, dtype=torch.float64)
    if real_random:
        real = torch.rand(copies, M, dtype=torch.float64)

    if name == "real":
        real = M * real if real_random else 1 + torch.arange(M, dtype=torch.float64).expand(copies, M)
        imag = torch.zeros(copies, M, dtype=torch.float64)
    elif name == "lin":
        imag = math.pi * grid
    elif name == "inv":
        imag = N / math.pi * (N / (1 + 2 * grid) - 1)
    elif name == "inv2":
        imag = N / math.pi * (N / (1 + grid) - 1)
    elif name == "quad":
        imag = (1 + 2 * grid) ** 2 / math.pi
    elif name == "rand":
        imag = torch.randn(copies, M, dtype=torch.float64).exp()
    else:
        imag = -nplr("legs", N).w.imag.expand(copies, M)
    A = torch.complex(-real_scale * real, -imag_scale * imag)

    B = B_scale * _input_vector(B_init or ("hippo" if name == "legs" else "constant"), N, copies)
    if normalize:
        B = B / (2 * (B / A).abs().square().sum(-1, keepdim=True)).sqrt()
    P = P_scale * torch.randn(rank, copies, M, dtype=A.dtype)
    V = torch.eye(N, M, dtype=A.dtype).expand(copies, N, M)
    return A, B, P, V


def _input_vector(kind: str, N: int, copies: int) -> Tensor:
    """Return B, complex (S, M)."""
    M = N // 2
    if kind == "random":
        return torch.randn(copies, M, dtype=torch.complex128)
    if kind == "constant":
        B = torch.ones(M, dtype=torch.complex128)
    elif kind == "alternating":
        B = ((-1.0) ** torch.arange(M, dtype=torch.float64)).to(torch.complex128)
    elif kind in ("unit-cw", "unit-ccw"):
        angle = 2 * math.pi / N * torch.arange(M, dtype=torch.float64)
        B = torch.polar(torch.ones_like(angle), angle if kind == "unit-ccw" else -angle)
    elif kind == "hippo":
        B = nplr("legs", N).B  # the theory uses half of this vector; the published code uses all of it
    else:
        raise ValueError(
            f"There is no B_init {kind!r}; there are constant, random, alternating, unit-cw, unit-ccw and hippo."
        )
    return B.expand(copies, M)
