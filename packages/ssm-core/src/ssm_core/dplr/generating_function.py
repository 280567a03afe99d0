"""The kernel of a DPLR system from its generating function at the roots of unity, computed in one of two ways.

With ``g = 2 (1 - z) / (1 + z)`` for a root of unity z, the generating function is ``2 / (1 + z) C (g - dt A)^-1 dt B``.
The resolvent of the diagonal part is a sum over the poles; the low-rank part is a correction by Woodbury's identity.
Near a pole, this correction cancels the leading digits. Source: "Efficiently Modeling Long Sequences with Structured
State Spaces" (arXiv:2111.00396), algorithm 1 and appendix C.3.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ssm_core.complex import conj
from ssm_core.dplr.system import DPLR
from ssm_core.ops import cauchy, vandermonde
from ssm_core.products import einsum
from ssm_core.real_form import low_rank, rotations, row


def dplr_kernel(s: DPLR, C: Tensor, length: int) -> Tensor:
    """Return the first taps of a system, real (C, H, length).

    On a CPU float64 is cheap, and it keeps enough digits unless a pole is extremely close to a node.

    Args:
        s: the system; its C is not used.
        C: ``C_tilde = C (I - A_bar^length)`` of the system, complex (C, H, M, 2).
        length: number of taps.
    """
    on_cpu = s.A.device.type == "cpu" and not torch.compiler.is_compiling()
    return _by_fft(s, C, length) if on_cpu and _float64_suffices(s, length) else _by_cauchy(s, C, length)


@torch.no_grad()
def _float64_suffices(s: DPLR, length: int) -> bool:
    """Return whether a result in float64 keeps the digits of the system's dtype after cancellation.

    If the distance of a pole from its node is 10^-k times the distance between two nodes, 2 k digits cancel.
    """
    w = torch.view_as_complex(s.A * s.dt)
    decay = -w.real / (1 - w / 2).abs().square()  # -log |a|, to first order
    closest = (decay.abs().min() * (length / (2 * math.pi))).double()
    return bool(closest.square() * torch.finfo(s.A.dtype).eps >= torch.finfo(torch.float64).eps)


def _by_fft(s: DPLR, C: Tensor, length: int) -> Tensor:
    """Compute the taps from all nodes together, in float64.

    For a pole ``w = dt Lambda`` and its image ``a = (1 + w/2) / (1 - w/2)`` under the bilinear rule, each term of the
    resolvent is a geometric series,

        2 / (1 + z) / (g - w) = 1 / (1 - w/2) / (1 - a z),    1 / (1 - a z) = sum_l a^l z^l / (1 - a^length),

    so that the resolvent at all nodes is the real FFT of a Vandermonde product.
    """
    dtype, s, C = C.dtype, s.double(), C.double()
    w = torch.view_as_complex(s.A * s.dt)
    shift = 1 - w / 2
    exponent = torch.log1p(w / shift)  # log a
    v = torch.view_as_complex(s.numerators(C)) / (shift * -torch.expm1(exponent * length))
    taps = vandermonde(torch.view_as_real(v).flatten(0, 1), torch.view_as_real(exponent), length)
    r = _RealFFT.apply(taps).unflatten(0, v.shape[:2])  # (1+R, C+R, H, F)
    angle = -2 * math.pi / length * torch.arange(r.shape[-1], dtype=torch.float64, device=r.device)
    z = torch.polar(torch.ones_like(angle), angle)
    return torch.fft.irfft(_correct(r, len(s.P), (1 + z) / 2)[0], n=length).to(dtype)


class _RealFFT(torch.autograd.Function):
    """``torch.fft.rfft`` over the last axis, with a gradient that is one real FFT too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.length = x.shape[-1]
        return torch.fft.rfft(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        n = ctx.length
        # The inverse transform counts each frequency twice, except zero and the Nyquist frequency.
        half = torch.full((grad.shape[-1],), 0.5, dtype=grad.real.dtype, device=grad.device)
        half[0] = 1
        if n % 2 == 0:
            half[-1] = 1
        return torch.fft.irfft(grad * half, n=n, norm="forward")


def _by_cauchy(s: DPLR, C: Tensor, length: int) -> Tensor:
    """Compute the taps from nodes in the dtype of the system.

    The nodes next to a pole, and the first node, are computed in float64.
    """
    mean = _mean_response(s, C).to(C.dtype).unsqueeze(-1)
    spectrum = torch.complex(mean, torch.zeros_like(mean))
    if length > 1:
        # On the unit circle the bilinear transform's nodes 2 (1 - omega) / (1 + omega) are imaginary.
        angle = math.pi / length * torch.arange(1, length // 2 + 1, dtype=torch.float64, device=C.device)
        y = 2 * torch.tan(angle)
        v, w = s.numerators(C), s.A * s.dt
        r = cauchy(v.flatten(0, 1), w, y.to(C.dtype)).unflatten(0, v.shape[:2])
        (nodes,) = _correct(torch.view_as_complex(r), len(s.P))
        if length > 2:
            nearest = torch.round(length / math.pi * torch.atan(w[..., 1].detach().double().abs() / 2))
            nearest = nearest.long().clamp(1, (length - 1) // 2) - 1  # (H, M)
            nodes = _replace(nodes, nearest, _near_poles(s, C, y[nearest]).to(nodes.dtype))
        # 2 / (1 + omega), the factor of the bilinear rule, is 1 + i y / 2.
        factor = torch.complex(torch.ones_like(y), y / 2).to(nodes.dtype)
        spectrum = torch.cat((spectrum, nodes * factor), -1)
    return torch.fft.irfft(spectrum, n=length)


def _mean_response(s: DPLR, C: Tensor) -> Tensor:
    """Return the generating function at frequency 0, ``-C A^-1 B``, real (C, H), float64.

    The poles of all slow modes lie next to this node, so the low-rank correction would cancel the leading digits. The
    whole A is far from singular, so one linear system with it is solved instead.
    """
    s = s.double()
    # solve_ex does not check for errors, so the CPU does not wait for the GPU.
    x, _ = torch.linalg.solve_ex(low_rank(s.P, conj(s.P)) - rotations(s.A), s.B.flatten(-2))
    return einsum("chn,hn->ch", row(C.double()), x)


def _near_poles(s: DPLR, C: Tensor, y: Tensor) -> Tensor:
    """Return the corrected resolvent at nodes that lie next to a pole, complex (C, H, J), in float64.

    At such a node the low-rank correction would cancel leading digits, and more of them the closer the pole is. So the
    sums leave out the nearest mode x of each node. The equation of that mode, ``delta x = dt (B - P q)`` with
    ``delta = i y - w`` and the unknowns q of the correction, is eliminated last, without a division by delta.

    Products with zeros and ones select the modes, because on a GPU the gradient of an indexed read adds in no fixed
    order.

    Args:
        s: the system.
        C: C_tilde, complex (C, H, M, 2).
        y: nodes on the imaginary axis, real (H, J).
    """
    s, C = s.double(), C.double()
    w = s.A * s.dt
    decay, frequency = -w[..., 0].unsqueeze(1), w[..., 1].abs().unsqueeze(1)  # (H, 1, M)
    y = y.unsqueeze(-1)
    near = ((y - frequency).square() + decay.square()).argmin(-1)  # (H, J)
    apart = torch.arange(w.shape[1], device=w.device) != near.unsqueeze(-1)  # (H, J, M)
    here = (~apart).to(w.dtype)
    # A conjugate pair of terms is (a + i y b) / (|w|^2 - y^2 - 2 i y Re w) with a = -2 Re v w^* and b = 2 Re v.
    v = s.numerators(C)
    ab = torch.stack((-2 * (v * w).sum(-1), 2 * v[..., 0])).permute(3, 0, 1, 2, 4)  # (H, 2, 1+R, C+R, M)
    real = torch.where(apart, decay.square() + (frequency - y) * (frequency + y), 1)
    imag = 2 * y * decay
    inverse = torch.stack((real, -imag)) * (apart / (real.square() + imag.square()))  # (2, H, J, M)
    product = einsum("hzom,rhjm->rzohj", ab.flatten(2, 3), inverse).unflatten(2, ab.shape[2:4])
    (a_real, b_real), (a_imag, b_imag) = product
    y, decay, frequency = y[..., 0], (decay * here).sum(-1), (frequency * here).sum(-1)
    r = torch.complex(a_real - y * b_imag, a_imag + y * b_real)  # (1+R, C+R, H, J)

    below = (w[..., 1] < 0).unsqueeze(-1)

    def at_the_mode(x: Tensor) -> Tensor:
        """Return the entries of x (K, H, M, 2) for the member of the pair at ``+ i frequency``, complex (K, H, J)."""
        return torch.complex(*einsum("khmz,hjm->zkhj", torch.where(below, conj(x), x), here))

    outputs = len(C)
    left_dt, right = at_the_mode(torch.cat((s.B[None], s.P)) * s.dt), at_the_mode(torch.cat((C, conj(s.P))))
    r = r + left_dt.conj()[:, None] * right.conj() / torch.complex(decay, y + frequency)  # the conjugate mode
    r = torch.cat((r[:, :outputs], left_dt[:, None], r[:, outputs:]), 1)
    row = torch.cat((-right[:outputs], torch.complex(decay, y - frequency)[None], -right[outputs:]))
    r = _correct(torch.cat((r[:1], row[None], r[1:])), len(s.P))
    return r[0, :-1] - r[0, -1] * (r[1, :-1] / r[1, -1])


def _replace(nodes: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Return ``nodes`` (C, H, F) with ``values`` (C, H, J) at ``index`` (H, J).

    If an index occurs more than once in a row, its values must be equal.
    """
    count = values.real.new_zeros(nodes.shape[1:]).scatter_add_(1, index, torch.ones_like(values.real[0]))
    kept = torch.where(count > 0, 0, nodes)
    return kept.scatter_add(2, index.expand(values.shape), values / count.gather(1, index))


def _correct(r: Tensor, R: int, factor: Tensor | float = 1.0) -> Tensor:
    """Apply the low-rank correction to resolvents.

    ``r[B, C] - r[B, P^*] (1 + r[P, P^*])^-1 r[P, C]`` is computed by elimination, for the resolvents ``factor r``. The
    result is then divided by the factor. No pivoting is needed: for a stable Lambda, ``r[P, P^*]`` has a positive
    Hermitian part on the imaginary axis.

    Args:
        r: complex (..+R, ..+R, H, F); the last R inputs and outputs are P and P^*.
        R: rank.
        factor: factor of the resolvents.

    Returns:
        Complex (.., .., H, F).
    """
    for _ in range(R):
        inputs, last = r.split((len(r) - 1, 1))
        (r, column), (row, corner) = (each.split((each.shape[1] - 1, 1), 1) for each in (inputs, last))
        r = r - column * (row * (factor / (1 + factor * corner)))
    return r
