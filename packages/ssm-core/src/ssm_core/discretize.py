"""Discretisation: from the system ``x' = A x + B u`` to the recurrence ``x[l] = A_bar x[l-1] + B_bar u[l]``.

For a diagonal A both rules give an exponent and a factor,

    A_bar = exp(exponent),    B_bar = factor * B,

so that one operator, ``vandermonde``, computes the kernel ``2 Re sum C B_bar exp(exponent * l)`` for both rules.
Sources:
"On the Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893), section 3.1;
"Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv:2111.00396), equation 3.
"""

import torch
from torch import Tensor

from ssm_core.complex import abs2, cexpm1_over, conj


def zoh(a: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Apply zero-order hold: ``exponent = dt a`` and ``factor = (exp(dt a) - 1) / a``.

    Args:
        a: diagonal of A, complex (..., M, 2); zero entries are allowed.
        dt: step sizes, real and positive, broadcastable to (..., M).

    Returns:
        Exponent and factor, complex (..., M, 2) each.
    """
    exponent = a * dt.unsqueeze(-1)
    return exponent, cexpm1_over(exponent) * dt.unsqueeze(-1)


def bilinear(a: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the bilinear rule: ``A_bar = (1 + dt a / 2) / (1 - dt a / 2)`` and ``factor = dt / (1 - dt a / 2)``.

    The exponent is the logarithm of A_bar, but A_bar is not formed. With ``z = dt a / 2`` it is
    ``log|A_bar| = log1p(4 Re z / |1 - z|^2) / 2`` and ``arg A_bar = atan2(2 Im z, 1 - |z|^2)``, which is accurate for
    small steps too. If ``|A_bar|`` is far below 1, its logarithm is computed directly.

    Args:
        a: diagonal of A, complex (..., M, 2).
        dt: step sizes, real and positive, broadcastable to (..., M).

    Returns:
        Exponent and factor, complex (..., M, 2) each.
    """
    z = a * (dt.unsqueeze(-1) / 2)
    real, imag = z.unbind(-1)
    one_minus_z = torch.stack((1 - real, -imag), -1)
    modulus = abs2(one_minus_z)
    ratio = 4 * real / modulus  # |A_bar|^2 - 1
    # Near A_bar = 0, at the real pole dt a = -2, the ratio keeps no digits of |A_bar|. The clamp avoids log(0).
    square = (((1 + real).square() + imag.square()) / modulus).clamp_min(torch.finfo(z.dtype).tiny)
    log_square = torch.where(ratio < -0.5, square.log(), ratio.clamp_min(-0.75).log1p())
    exponent = torch.stack((log_square / 2, torch.atan2(2 * imag, 1 - abs2(z))), -1)
    return exponent, conj(one_minus_z) * (dt / modulus).unsqueeze(-1)


def zoh_dense(A: Tensor, B: Tensor, dt: Tensor | float) -> tuple[Tensor, Tensor]:
    """Apply zero-order hold to dense matrices, by one exponential of the block matrix [[A, B], [0, 0]].

    No inverse of A is needed, so A may be singular.

    Args:
        A: real or complex dtype (..., N, N).
        B: (..., N) in the same dtype.
        dt: step size, a number or a tensor that broadcasts to (...).

    Returns:
        ``A_bar`` (..., N, N) and ``B_bar`` (..., N).
    """
    n = A.shape[-1]
    A, B = _scale(A, B, dt)
    block = torch.nn.functional.pad(torch.cat((A, B.unsqueeze(-1)), -1), (0, 0, 0, 1))
    block = torch.linalg.matrix_exp(block)
    return block[..., :n, :n], block[..., :n, n]


def bilinear_dense(A: Tensor, B: Tensor, dt: Tensor | float) -> tuple[Tensor, Tensor]:
    """Apply the bilinear rule to dense matrices: ``(I - dt A / 2)^-1`` times ``I + dt A / 2`` and ``dt B``.

    Args:
        A: real or complex dtype (..., N, N).
        B: (..., N) in the same dtype.
        dt: step size, a number or a tensor that broadcasts to (...).

    Returns:
        ``A_bar`` (..., N, N) and ``B_bar`` (..., N); they are not finite if ``2 / dt`` is an eigenvalue of A.
    """
    n = A.shape[-1]
    A, B = _scale(A, B, dt)
    identity = torch.eye(n, dtype=A.dtype, device=A.device)
    right = torch.cat((identity + A / 2, B.unsqueeze(-1)), -1)
    # solve_ex does not check for errors, so the CPU does not wait for the GPU.
    solution, _ = torch.linalg.solve_ex(identity - A / 2, right)
    return solution[..., :n], solution[..., n]


def _scale(A: Tensor, B: Tensor, dt: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return dt A and dt B with equal leading axes."""
    dt = torch.as_tensor(dt, dtype=A.real.dtype, device=A.device)
    A = A * dt[..., None, None]
    B = B * dt[..., None]
    batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-1])
    return A.expand(*batch, *A.shape[-2:]), B.expand(*batch, B.shape[-1])
