"""The long convolution by FFT, with a backward pass that keeps the spectra.

Two transforms of the batch forward and two backward: the spectrum of the input serves both the output
and the gradient of the kernel.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def long_conv(u: Tensor, k: Tensor, k_reverse: Tensor | None) -> Tensor:
    """``y[l] = sum_j k[j] u[l-j] + sum_j k_reverse[j] u[l+1+j]``."""
    L, K = u.shape[1], k.shape[-1]
    if k_reverse is None:
        return _LongConv.apply(u, k, fft_size(L + K - 1))
    n = fft_size(L + max(K - 1, k_reverse.shape[-1]))
    # Lag -(1 + j) stands at index n - 1 - j of a periodic kernel.
    gap = n - K - k_reverse.shape[-1]
    return _LongConv.apply(u, torch.cat((torch.nn.functional.pad(k, (0, gap)), k_reverse.flip(-1)), -1), n)


class _LongConv(torch.autograd.Function):
    """Circular convolution of period n of u (B, L, H) and k (C, H, K); the first L samples (B, L, C, H)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, k: Tensor, n: int) -> Tensor:
        u_spectrum = torch.fft.rfft(u.transpose(1, 2), n)  # (B, H, F)
        k_spectrum = torch.fft.rfft(k, n)  # (C, H, F)
        y = torch.fft.irfft(u_spectrum.unsqueeze(1) * k_spectrum, n)
        ctx.save_for_backward(u_spectrum, k_spectrum)
        ctx.sizes = u.shape[1], k.shape[-1], n
        return y[..., : u.shape[1]].permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        u_spectrum, k_spectrum = ctx.saved_tensors
        L, K, n = ctx.sizes
        g = torch.fft.rfft(grad.permute(0, 2, 3, 1), n)  # (B, C, H, F)
        grad_u = grad_k = None
        if ctx.needs_input_grad[1]:
            grad_k = torch.fft.irfft(_correlate(g, u_spectrum), n)[..., :K]
        if ctx.needs_input_grad[0]:
            spectrum = g.mul_(k_spectrum.conj())
            spectrum = spectrum.squeeze(1) if spectrum.shape[1] == 1 else spectrum.sum(1)
            grad_u = torch.fft.irfft(spectrum, n)[..., :L].transpose(1, 2)
        return grad_u, grad_k, None


@torch.library.custom_op("ssm_core::correlate", mutates_args=())
def _correlate(g: Tensor, u: Tensor) -> Tensor:
    """``sum_b g u*`` of spectra g (B, C, H, F) and u (B, H, F); one operator, as ``torch.compile`` would unroll it."""
    total = torch.zeros_like(g[0])
    # Sample by sample: the product of the whole batch would leave the cache. The lazy conj() is not for the
    # inside of a custom operator: compiled code calls it where nothing resolves the conjugation.
    for g_one, u_one in zip(g, u, strict=True):
        total.addcmul_(g_one, u_one.conj_physical())
    return total


@_correlate.register_fake
def _(g: Tensor, u: Tensor) -> Tensor:
    return torch.empty_like(g[0])


def fft_size(n: int) -> int:
    """The least even number of at least n with no prime factor above 5: a fast size of a real FFT."""
    best = 2 ** max(1, (n - 1).bit_length())
    five = 1
    while 2 * five < best:
        odd = five
        while 2 * odd < best:
            best = min(best, odd * 2 ** max(1, (-(-n // odd) - 1).bit_length()))
            odd *= 3
        five *= 5
    return best
