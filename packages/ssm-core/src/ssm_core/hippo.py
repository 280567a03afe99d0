"""HiPPO: state matrices that memorise a signal as coefficients of a basis.

Every measure gives a system ``x' = A x + B u``. For some measures a low-rank P is known that makes ``A + P P^T``
normal; in the eigenbasis of that normal part, A is diagonal minus low rank.

All functions compute in float64 on the CPU, because they run once, at construction. Matrices in an eigenbasis have
complex dtypes here, and hold one entry of each conjugate pair.

Sources: "HiPPO: Recurrent Memory with Optimal Polynomial Projections" (arXiv:2008.07669), appendix D (LegS, LegT,
LagT); "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396), appendix C.1 (low-rank
corrections); "How to Train Your HiPPO" (arXiv:2206.12037), sections 3 and 4 (FouT, and the time scale of LegT).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MEASURES = (
    "legs",
    "legsd",
    "legt",
    "lmu",
    "lagt",
    "tlagt",
    "glagt",
    "fourier",
    "fourier_decay",
    "fourier_diag",
    "fourier2",
)
ALIASES = {"fout": "fourier", "foud": "fourier_diag"}


@dataclass(frozen=True)
class NormalPlusLowRank:
    """A HiPPO matrix ``A = V (diag(w) - P P^*) V^*`` in the eigenbasis of its normal part.

    Attributes:
        w: eigenvalues of the normal part, complex (M,); imaginary parts are negative or 0, the lowest first.
        P: low-rank factor, complex (R, M).
        B: input vector, complex (M,).
        V: eigenvectors, complex (N, M); the other half of the basis is its conjugate.
    """

    w: Tensor
    P: Tensor
    B: Tensor
    V: Tensor


def transition(measure: str, N: int) -> tuple[Tensor, Tensor]:
    """Return the system of a measure.

    Args:
        measure: one of :data:`MEASURES`, or ``fout`` (fourier) and ``foud`` (fourier_diag).
        N: state size; even for the Fourier measures.

    Returns:
        A, real (N, N), and B, real (N,).

    Raises:
        ValueError: there is no such measure, or N is odd for a Fourier measure.
    """
    return _system(measure)(N)


def low_rank(measure: str, N: int, rank: int | None) -> Tensor:
    """Return P, real (R, N), for which ``A + P^T P`` is normal.

    Args:
        measure: see :func:`transition`.
        N: state size.
        rank: R; rows beyond the rank of the measure are zero. None: the rank of the measure.

    Raises:
        ValueError: no correction is known for the measure, or ``rank`` is below the rank of the measure.
    """
    name = ALIASES.get(measure, measure)
    if name not in _CORRECTIONS:
        raise ValueError(
            f"No low-rank correction is known for the measure {measure!r}; there is one for "
            f"{', '.join(sorted(_CORRECTIONS))}."
        )
    P = _CORRECTIONS[name](N)
    if rank is None:
        return P
    if rank < len(P):
        raise ValueError(f"The measure {measure!r} needs rank {len(P)} or more, not {rank}.")
    return torch.cat((P, P.new_zeros(rank - len(P), N)))


def nplr(measure: str, N: int, rank: int | None = 1, B_clip: float | None = 2.0) -> NormalPlusLowRank:
    """Return the system of a measure in the eigenbasis of its normal part.

    The phase of an eigenvector is free. Here its first non-zero component is real and positive, so that the result does
    not depend on the linear algebra library.

    Args:
        measure: see :func:`low_rank`.
        N: state size, even.
        rank: R; ``legt`` needs 2. None: the rank of the measure.
        B_clip: bound of the imaginary part of B; None: no bound.

    Raises:
        ValueError: see :func:`low_rank`; or N is odd.
    """
    if N % 2:
        raise ValueError(f"A conjugate-pair form needs an even state size, not {N}.")
    A, B = transition(measure, N)
    P = low_rank(measure, N, rank)
    S = A + P.mT @ P
    # S is a multiple of the identity plus a skew-symmetric matrix: eigh gives an exact unitary basis.
    imag, V = torch.linalg.eigh(-0.5j * (S - S.mT))
    w = torch.complex(S.diagonal().mean().expand(N), imag)[: N // 2]
    V = V[:, : N // 2]
    if abs(imag[N // 2 - 1]) < 1e-4:
        # A zero frequency is a double eigenvalue, so its eigenvectors are not unique. The first two coordinates span
        # the plane of this eigenvalue for every measure that has one. Choose the eigenvector from them.
        V[:, -1] = 0
        V[0, -1], V[1, -1] = 2**-0.5, 2**-0.5 * 1j
    first = (V.abs() > 1e-8).int().argmax(0)
    lead = V.gather(0, first[None])[0]
    V = V * (lead.conj() / lead.abs())
    B, P = V.mH @ B.to(V), P.to(V) @ V.conj()
    if B_clip is not None:
        B = torch.complex(B.real, B.imag.clamp(-B_clip, B_clip))
    return NormalPlusLowRank(w=w, P=P, B=B, V=V)


def basis(measure: str, N: int, ages: Tensor) -> Tensor:
    """Return the basis functions of a measure. Its state holds their coefficients.

    Args:
        measure: ``legs``, ``legt``, ``lagt`` or ``fourier`` (``fout``).
        N: state size.
        ages: time before now, real (T,). For ``legs`` it is a fraction of the time since the start: 0 is now, 1 is the
            start. For the others it is in time units of the measure, from 0 to the length of the window. The window has
            length 2; that of ``lagt`` is infinite.

    Returns:
        Real (T, N), float64.

    Raises:
        ValueError: the basis of the measure is not known here.
    """
    name = ALIASES.get(measure, measure)
    ages = ages.double().unsqueeze(-1)
    n = _range(N)
    if name == "legs":
        return (2 * n + 1).sqrt() * torch.special.legendre_polynomial_p(1 - 2 * ages, n)
    if name == "legt":
        return (2 * n + 1).sqrt() * torch.special.legendre_polynomial_p(1 - ages, n)
    if name == "lagt":
        return torch.special.laguerre_polynomial_l(ages, n) * (-ages / 2).exp()
    if name == "fourier":
        phase = math.pi * (n // 2) * ages
        waves = torch.where(n % 2 == 0, phase.cos(), phase.sin())
        return torch.where(n == 0, 1.0, 2**0.5) * waves
    raise ValueError(f"The basis of {measure!r} is not known; the bases of legs, legt, lagt and fourier are known.")


def reconstruct(measure: str, state: Tensor, ages: Tensor) -> Tensor:
    """Return the signal that a state remembers.

    Args:
        measure: see :func:`basis`.
        state: a state of the system that :func:`transition` returns, real (..., N).
        ages: (T,), see :func:`basis`.

    Returns:
        Real (..., T), float64.
    """
    return state.double() @ basis(measure, state.shape[-1], ages).mT


def _system(measure: str) -> Callable[[int], tuple[Tensor, Tensor]]:
    name = ALIASES.get(measure, measure)
    if name not in _SYSTEMS:
        raise ValueError(f"There is no measure {measure!r}; there are {', '.join(MEASURES)}.")
    return _SYSTEMS[name]


def _range(N: int) -> Tensor:
    return torch.arange(N, dtype=torch.float64)


def _legs(N: int) -> tuple[Tensor, Tensor]:
    n = _range(N)
    B = (2 * n + 1).sqrt()
    return -torch.tril(B[:, None] * B, -1) - torch.diag(n + 1), B


def _legsd(N: int) -> tuple[Tensor, Tensor]:
    A, B = _legs(N)
    return A + 0.5 * B[:, None] * B, B / 2


def _legt(N: int) -> tuple[Tensor, Tensor]:
    n = _range(N)
    r = (2 * n + 1).sqrt()
    sign = torch.where(n[:, None] < n, (-1.0) ** (n[:, None] - n), 1.0)
    # Use half of the published matrix, so that the window has length 2, like the window of FouT.
    return -0.5 * r[:, None] * sign * r, 0.5 * r


def _lmu(N: int) -> tuple[Tensor, Tensor]:
    n = _range(N)
    r = 2 * n + 1
    sign = torch.where(n[:, None] < n, -1.0, (-1.0) ** (n[:, None] - n + 1))
    return sign * r[:, None], (-1.0) ** n * r


def _lagt(N: int) -> tuple[Tensor, Tensor]:
    ones = torch.ones(N, dtype=torch.float64)
    return 0.5 * torch.diag(ones) - torch.tril(ones.expand(N, N)), ones


def _tlagt(N: int) -> tuple[Tensor, Tensor]:
    """Return the tilted Laguerre system. Its tilt is 1, which means no tilt."""
    ones = torch.ones(N, dtype=torch.float64)
    return -torch.tril(ones.expand(N, N)), ones


def _glagt(N: int) -> tuple[Tensor, Tensor]:
    """Return the generalised Laguerre system for alpha = 0 and tilt beta = 0.01."""
    beta = 0.01
    ones = torch.ones(N, dtype=torch.float64)
    A = -0.5 * (1 + beta) * torch.diag(ones) - torch.tril(ones.expand(N, N), -1)
    return A, ones * beta**0.5


def _fourier_basis(N: int) -> tuple[Tensor, Tensor]:
    """Return the derivative of the basis (1, cos 2 pi t, sin 2 pi t, ...) on [0, 1], and its value at 0."""
    if N % 2:
        raise ValueError(f"A Fourier measure needs an even state size, not {N}.")
    pairs = torch.stack((torch.zeros(N // 2, dtype=torch.float64), _range(N // 2)), -1).flatten()[1:]
    rotation = 2 * math.pi * (torch.diag(pairs, -1) - torch.diag(pairs, 1))
    value = torch.zeros(N, dtype=torch.float64)
    value[0::2] = 2**0.5
    value[0] = 1
    return rotation, value


def _fourier(N: int) -> tuple[Tensor, Tensor]:
    rotation, B = _fourier_basis(N)
    return 0.5 * rotation - B[:, None] * B, B


def _fourier_decay(N: int) -> tuple[Tensor, Tensor]:
    rotation, B = _fourier_basis(N)
    return 0.5 * rotation - 0.5 * B[:, None] * B, 0.5 * B


def _fourier_diag(N: int) -> tuple[Tensor, Tensor]:
    rotation, B = _fourier_basis(N)
    return rotation - 0.5 * torch.eye(N, dtype=torch.float64), B


def _fourier2(N: int) -> tuple[Tensor, Tensor]:
    rotation, B = _fourier_basis(N)
    return rotation - 2 * B[:, None] * B, 2 * B


_SYSTEMS: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {
    "legs": _legs,
    "legsd": _legsd,
    "legt": _legt,
    "lmu": _lmu,
    "lagt": _lagt,
    "tlagt": _tlagt,
    "glagt": _glagt,
    "fourier": _fourier,
    "fourier_decay": _fourier_decay,
    "fourier_diag": _fourier_diag,
    "fourier2": _fourier2,
}


def _legt_correction(N: int) -> Tensor:
    r = (_range(N) + 0.5).sqrt()
    even = (_range(N) % 2 == 0).to(r)
    return torch.stack((r * (1 - even), r * even))


_CORRECTIONS: dict[str, Callable[[int], Tensor]] = {
    "legs": lambda N: (_range(N) + 0.5).sqrt()[None],
    "legsd": lambda N: torch.zeros(1, N, dtype=torch.float64),
    "legt": _legt_correction,
    "lagt": lambda N: torch.full((1, N), 0.5**0.5, dtype=torch.float64),
    "fourier": lambda N: _fourier_basis(N)[1][None],
    "fourier_decay": lambda N: 0.5**0.5 * _fourier_basis(N)[1][None],
    "fourier_diag": lambda N: torch.zeros(1, N, dtype=torch.float64),
    "fourier2": lambda N: 2**0.5 * _fourier_basis(N)[1][None],
}
