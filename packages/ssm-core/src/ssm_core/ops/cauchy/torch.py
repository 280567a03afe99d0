r"""The Cauchy product in real arithmetic, with one complex tensor for all numerators.

A conjugate pair has a numerator of degree one and a denominator of degree two,

    v / (i y - w) + v* / (i y - w*) = (p + i q y) / D,    p = -2 Re(v w*),  q = 2 Re v,
    D = |w|^2 - y^2 - 2 i y Re w,

so ``1 / D = t + i r`` (H, M, F) is shared by all numerators and the sums over m are matrix products:

    Re = p t - y q r,    Im = p r + y q t.

``|w|^2 - y^2`` is computed as ``Re(w)^2 - (y - Im w)(y + Im w)``, which keeps float32 accurate at a resonance.
For each node, y and the poles are divided by a power of two s near ``|y|``; this division does not round. So ``|D|^2``
does not overflow at the Nyquist frequency, where y may be 1e16, and does not vanish at zero.

The gradient of the poles needs sums of ``1 / D^2`` times 1, y and y^2; these sums are matrix products too. Blocks of
heads and nodes keep the working set in the cache of a CPU, and bound the memory on any device.

The forward and the backward pass are custom operators, because ``torch.compile`` would unroll the blocks.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ssm_core.products import bmm

#: Number of elements of t in a block, for each CPU thread. They fit in the cache of one core.
_BLOCK_CPU = 2**17
#: Number of elements of t in a block on a GPU: 64 MiB in float32.
_BLOCK_GPU = 2**24
#: Number of nodes that are summed in float32; a longer sum would lose digits. The sums of blocks are added in float64.
_NODES = 128
#: The smallest s. At y = 0 it keeps poles from 1e-9 to 1e6 in the range of float32.
_SMALLEST_SCALE = 2.0**-10


@torch.library.custom_op("ssm_core::cauchy", mutates_args=())
def cauchy(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_m v / (i y - w) + v* / (i y - w*)``."""
    K, H = v.shape[:2]
    p, q = _numerators(v, w)
    pq = torch.cat((p, q)).transpose(0, 1).contiguous()  # (H, 2K, M)
    node, shrink = _scaled(y)
    twice, once = shrink.square(), shrink * node  # factors that turn the scaled t into t and y t
    out = v.new_empty(K, H, y.shape[0], 2)
    for h, f in _blocks(w, y.shape[0], y.shape[0]):
        sums = bmm(pq[h], _inverse(w[h], node[f], shrink[f]).flatten(2)).unflatten(2, (2, -1))
        pt, pr = sums[:, :K].transpose(0, 1).unbind(2)
        qt, qr = sums[:, K:].transpose(0, 1).unbind(2)
        torch.sub(twice[f] * pt, once[f] * qr, out=out[:, h, f, 0])
        torch.add(twice[f] * pr, once[f] * qt, out=out[:, h, f, 1])
    return out


@torch.library.custom_op("ssm_core::cauchy_backward", mutates_args=())
def _cauchy_backward(grad: Tensor, v: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of v and w."""
    K, H, M, _ = v.shape
    node, shrink = _scaled(y)
    twice, once = shrink.square(), shrink * node
    # Sums over the nodes of the gradient times t + i r and times (t + i r)^2; the rows are ordered by the power of y.
    first = v.new_zeros(H, 2 * K, M, dtype=torch.float64)
    second = v.new_zeros(H, 3 * K, M, dtype=torch.float64)
    for h, f in _blocks(w, y.shape[0], _NODES):
        inverse = _inverse(w[h], node[f], shrink[f])
        gradient = grad[:, h, f].transpose(0, 1)  # (H, K, F, 2)
        rows = _rows(gradient, (twice[f], once[f]))
        first[h] += bmm(rows, inverse.flatten(2).transpose(1, 2))
        t, r = inverse.unbind(2)
        product = t * r
        t.square_().addcmul_(r, r, value=-1)
        torch.add(product, product, out=r)
        rows = _rows(gradient, (twice[f].square(), once[f] * twice[f], once[f].square()))
        # The sum has one large term among thousands of small terms: in float32 it would lose three bits.
        second[h] += bmm(rows.double(), inverse.flatten(2).double().transpose(1, 2))
    grad_p, grad_q = first.to(v.dtype).transpose(0, 1).unflatten(0, (2, K))
    z0, z1, z2 = second.to(v.dtype).transpose(0, 1).unflatten(0, (3, K))
    p, q = _numerators(v, w)
    (vr, vi), (wr, wi) = v.unbind(-1), w.unbind(-1)
    # D depends on w through |w|^2 and Re w.
    grad_modulus = -(p * z0 + q * z1).sum(0)
    grad_real = 2 * (p * z1 - q * z2).sum(0)
    grad_v = torch.stack((2 * grad_q - 2 * wr * grad_p, -2 * wi * grad_p), -1)
    grad_w = torch.stack(
        (
            2 * wr * grad_modulus + grad_real - 2 * (vr * grad_p).sum(0),
            2 * wi * grad_modulus - 2 * (vi * grad_p).sum(0),
        ),
        -1,
    )
    return grad_v, grad_w


@cauchy.register_fake
def _(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    return v.new_empty(*v.shape[:2], y.shape[0], 2)


@_cauchy_backward.register_fake
def _(grad: Tensor, v: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return v.new_empty(v.shape), w.new_empty(w.shape)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_cauchy_backward(grad, *ctx.saved_tensors), None


cauchy.register_autograd(_backward, setup_context=_keep)


def _numerators(v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return p and q, each (K, H, M)."""
    return -2 * (v * w).sum(-1), 2 * v[..., 0]


def _scaled(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``y / s`` and ``1 / s`` for a power of two s near ``|y|``."""
    _, exponent = torch.frexp(y.abs().clamp_min(_SMALLEST_SCALE))
    shrink = torch.ldexp(torch.ones_like(y), -exponent)
    return y * shrink, shrink


def _inverse(w: Tensor, node: Tensor, shrink: Tensor) -> Tensor:
    """Return ``s^2 / D`` as (H, M, 2, F)."""
    out = w.new_empty(*w.shape[:2], 2, node.shape[0])
    t, r = out.unbind(2)
    wr, wi = w.unsqueeze(-1).unbind(-2)
    below, above = torch.addcmul(node, wi, shrink, value=-1), torch.addcmul(node, wi, shrink)
    torch.mul(wr.square(), shrink.square(), out=t).addcmul_(below, above, value=-1)
    torch.mul(2 * wr, node * shrink, out=r)
    modulus = torch.mul(t, t, out=above).addcmul_(r, r).reciprocal_()
    t.mul_(modulus)
    r.mul_(modulus)
    return out


def _rows(gradient: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the gradient times each weight as rows, real (H, K len(weights), 2 F).

    A row, multiplied with a column of real and imaginary parts, gives ``Re sum weight (-i)^n gradient* x``.

    Args:
        gradient: complex (H, K, F, 2).
        weights: real (F,) each; every second weight is multiplied by -i.
    """
    H, K, F, _ = gradient.shape
    rows = gradient.new_empty(H, len(weights), K, 2, F)
    real, imag = gradient.unbind(-1)
    for n, weight in enumerate(weights):
        left, right, sign = (imag, real, -weight) if n % 2 else (real, imag, weight)
        torch.mul(left, weight, out=rows[:, n, :, 0])
        torch.mul(right, sign, out=rows[:, n, :, 1])
    return rows.view(H, -1, 2 * F)


def _blocks(w: Tensor, F: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Return slices of heads and of nodes, so that each block has a bounded size."""
    H, M, _ = w.shape
    size = _BLOCK_GPU if w.is_cuda else _BLOCK_CPU * torch.get_num_threads()
    nodes = max(1, min(F, most, size // M))
    heads = max(1, size // (M * nodes))
    for h in range(0, H, heads):
        for f in range(0, F, nodes):
            yield slice(h, h + heads), slice(f, f + nodes)
