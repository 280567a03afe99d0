"""The Vandermonde products as batched real matrix products.

With ``l = Q l1 + l2`` the exponential splits: ``exp(a l) = exp(a Q l1) exp(a l2)``. So two small tables of L/Q and Q
rows replace the L columns of the Vandermonde matrix, and the sum over m becomes a matrix product of real and imaginary
parts side by side. Exponentials and memory fall from ``H M L`` to ``H M (L/Q + Q)``.

The tables are powers of one exponential, multiplied in float64. A float32 phase ``Im(a) l`` would have an error of
``|Im(a)| l 2^-24``; for long kernels this dominates the error of the direct sum.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ssm_core.products import bmm


def vandermonde(c: Tensor, a: Tensor, L: int) -> Tensor:
    """Return ``K[c,h,l] = 2 Re sum_m c[c,h,m] exp(a[h,m] l)``."""
    return _Vandermonde.apply(c, a, L)


def vandermonde_transpose(u: Tensor, a: Tensor) -> Tensor:
    """Return ``X[b,h,m] = sum_l exp(a[h,m] (L-1-l)) u[b,h,l]``."""
    return _VandermondeTranspose.apply(u, a)


class _Vandermonde(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, c: Tensor, a: Tensor, L: int) -> Tensor:
        coarse, fine = _tables(a, L, c.shape[0])
        ctx.save_for_backward(c, coarse, fine)
        return _expand(2 * c, coarse, fine)[..., :L]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        c, coarse, fine = ctx.saved_tensors
        total, moment = _contract(grad, coarse, fine, ctx.needs_input_grad[1])
        return _conj(2 * total), None if moment is None else _conj(_cmul_sum(2 * c, moment)), None


class _VandermondeTranspose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, a: Tensor) -> Tensor:
        coarse, fine = _tables(a, u.shape[-1], u.shape[0])
        need_a = ctx.needs_input_grad[1]
        total, moment = _contract(u.flip(-1), coarse, fine, need_a)
        ctx.save_for_backward(coarse, fine, moment)
        ctx.length = u.shape[-1]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        coarse, fine, moment = ctx.saved_tensors
        grad_u = grad_a = None
        conj = _conj(grad)
        if ctx.needs_input_grad[0]:
            grad_u = _expand(conj, coarse, fine)[..., : ctx.length].flip(-1)
        if moment is not None:
            grad_a = _conj(_cmul_sum(conj, moment))
        return grad_u, grad_a


@torch.library.custom_op("ssm_core::vandermonde_tables", mutates_args=())
def _tables(a: Tensor, L: int, rows: int) -> tuple[Tensor, Tensor]:
    """Return ``exp(a Q l1)`` (H, L1, 2, M) and ``exp(a l2)`` (H, Q, 2, M) with ``L1 Q >= L``.

    This is one operator, because ``torch.compile`` would unroll the doublings.
    """
    Q = _fine_length(L, rows)
    real, imag = a.to(torch.float64).unbind(-1)
    modulus = real.exp()
    fine, (real, imag) = _powers(modulus * imag.cos(), modulus * imag.sin(), Q)
    coarse, _ = _powers(real, imag, -(-L // Q))
    return _by_feature(coarse, a.dtype), _by_feature(fine, a.dtype)


@_tables.register_fake
def _(a: Tensor, L: int, rows: int) -> tuple[Tensor, Tensor]:
    H, M, _ = a.shape
    Q = _fine_length(L, rows)
    return a.new_empty(H, -(-L // Q), 2, M), a.new_empty(H, Q, 2, M)


def _fine_length(L: int, rows: int) -> int:
    """Return Q, a power of two.

    Each row of c multiplies the coarse table once more, so more rows need a longer fine table.
    """
    return 2 ** round(math.log2(L * (1 + rows)) / 2)


def _powers(pr: Tensor, pi: Tensor, n: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return ``p^k`` (n, 2, H, M) for ``k = 0..n-1`` and p (H, M), by doubling.

    Return ``p^m`` too, for the least power of two m that is at least n.
    """
    table = pr.new_empty(n, 2, *pr.shape)
    real, imag = table.unbind(1)
    real[0], imag[0] = 1, 0
    k = 1
    while k < n:
        old, new = slice(0, min(k, n - k)), slice(k, 2 * k)
        torch.mul(real[old], pr, out=real[new]).addcmul_(imag[old], pi, value=-1)
        torch.mul(real[old], pi, out=imag[new]).addcmul_(imag[old], pr)
        pr, pi = pr * pr - pi * pi, 2 * pr * pi
        k *= 2
    return table, (pr, pi)


def _by_feature(table: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy (n, 2, H, M) to (H, n, 2, M) in a dtype, in one pass."""
    table = table.permute(2, 0, 1, 3)
    return torch.empty(table.shape, dtype=dtype, device=table.device).copy_(table)


def _expand(c: Tensor, coarse: Tensor, fine: Tensor) -> Tensor:
    """Return ``Re sum_m c exp(a l)`` for all L1 Q values of l, real (C, H, L1 Q)."""
    H, _, _, M = coarse.shape
    cr, ci = c.transpose(0, 1).unsqueeze(2).unbind(-1)  # (H, C, 1, M)
    er, ei = coarse.unsqueeze(1).unbind(-2)  # (H, 1, L1, M)
    rows = torch.cat((cr * er - ci * ei, -cr * ei - ci * er), -1)
    out = bmm(rows.view(H, -1, 2 * M), fine.flatten(2).transpose(1, 2))
    return out.view(H, c.shape[0], -1).transpose(0, 1)


def _contract(g: Tensor, coarse: Tensor, fine: Tensor, with_moment: bool) -> tuple[Tensor, Tensor | None]:
    """Return ``sum_l g exp(a l)`` for g (C, H, L), and ``sum_l l g exp(a l)``, which the gradient of a needs.

    Both are (C, H, M, 2). The second is None without ``with_moment``.
    """
    C, H, L = g.shape
    _, L1, _, M = coarse.shape
    Q = fine.shape[1]
    rows = g.transpose(0, 1)
    if with_moment:
        rows = torch.cat((rows, rows * torch.arange(L, dtype=g.dtype, device=g.device)), 1)
    rows = torch.nn.functional.pad(rows, (0, L1 * Q - L)).reshape(H, -1, Q)
    inner = bmm(rows, fine.flatten(2)).view(H, -1, L1, 2, M)
    sums = _cmul_sum_rows(coarse, inner)
    return (sums[:C], sums[C:]) if with_moment else (sums, None)


def _cmul_sum_rows(coarse: Tensor, inner: Tensor) -> Tensor:
    """Return ``sum_l1 coarse inner``, (C, H, M, 2), for (H, L1, 2, M) and (H, C, L1, 2, M)."""
    er, ei = coarse.unsqueeze(1).unbind(-2)
    xr, xi = inner.unbind(-2)
    real, imag = (er * xr - ei * xi).sum(2), (er * xi + ei * xr).sum(2)
    return torch.stack((real, imag), -1).transpose(0, 1)


def _cmul_sum(x: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_c x y``, (H, M, 2), for two tensors (C, H, M, 2)."""
    (xr, xi), (yr, yi) = x.unbind(-1), y.unbind(-1)
    return torch.stack(((xr * yr - xi * yi).sum(0), (xr * yi + xi * yr).sum(0)), -1)


def _conj(x: Tensor) -> Tensor:
    return torch.stack((x[..., 0], -x[..., 1]), -1)
