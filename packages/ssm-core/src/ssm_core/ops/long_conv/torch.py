"""The long convolution by FFT, with a backward pass that keeps the spectra.

Each pass needs one FFT and one inverse FFT of the batch, because the spectrum of the input serves both the output and
the gradient of the kernel. On a CPU, samples and features are transformed in blocks that stay in the cache.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Number of real values that each thread transforms at once. They fit in the cache of one core.
_BLOCK = 2**17
#: Number of features in one cache line.
_LINE = 16
#: Padding of each row, in numbers. Without it, rows whose length is a power of two would share one cache set.
_ODD = 16


def long_conv(u: Tensor, k: Tensor, k_reverse: Tensor | None) -> Tensor:
    """Return ``y[l] = sum_j k[j] u[l-j] + sum_j k_reverse[j] u[l+1+j]``."""
    longest = k.shape[-1] - 1 if k_reverse is None else max(k.shape[-1] - 1, k_reverse.shape[-1])
    learns = torch.is_grad_enabled() and (k.requires_grad or (k_reverse is not None and k_reverse.requires_grad))
    return _LongConv.apply(u, k, k_reverse, fft_size(u.shape[1] + longest), learns)


class _LongConv(torch.autograd.Function):
    """The two sums as one circular convolution of period n of u (B, L, H) and a kernel (C, H, n)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, k: Tensor, k_reverse: Tensor | None, n: int, learns: bool) -> Tensor:
        k_spectrum = torch.fft.rfft(_periodic(k, k_reverse, n), n)  # (C, H, F)
        y = u.new_empty(*u.shape[:2], *k.shape[:2])
        blocks = _blocks(u, k.shape[0] * n)
        u_conj = _rooms(u, blocks, k_spectrum) if learns else []
        for i, (b, h) in enumerate(blocks):
            spectrum = _spectrum(u[b, :, h].transpose(1, 2), n)  # (b, h, F)
            if learns:
                torch.conj_physical(spectrum, out=u_conj[i])
            spectra = spectrum.unsqueeze(1)
            spectra = spectra.mul_(k_spectrum[:, h]) if len(k) == 1 else spectra * k_spectrum[:, h]
            y[b, ..., h] = _head(torch.fft.irfft(spectra, n), u.shape[1]).permute(0, 3, 1, 2)
        ctx.save_for_backward(k_spectrum, *u_conj)
        ctx.sizes = k.shape[-1], None if k_reverse is None else k_reverse.shape[-1], n
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        k_spectrum, *u_conj = ctx.saved_tensors
        K, K_reverse, n = ctx.sizes
        B, L, C, H = grad.shape
        k_conj = k_spectrum.conj_physical()
        grad_u = grad.new_empty(B, L, H) if ctx.needs_input_grad[0] else None
        k_total = torch.zeros_like(k_spectrum) if any(ctx.needs_input_grad[1:3]) else None
        for i, (b, h) in enumerate(_blocks(grad[:, :, 0], C * n)):
            g = _spectrum(grad[b, ..., h].permute(0, 2, 3, 1), n)  # (b, C, h, F)
            if k_total is not None:
                _accumulate(k_total[:, h], g, u_conj[i])
            if grad_u is not None:
                spectrum = g.mul_(k_conj[:, h])
                spectrum = spectrum.squeeze(1) if C == 1 else spectrum.sum(1)
                grad_u[b, :, h] = _head(torch.fft.irfft(spectrum, n), L).transpose(1, 2)
        if k_total is None:
            return grad_u, None, None, None, None
        grad_k = torch.fft.irfft(k_total, n)
        grad_reverse = None if K_reverse is None else grad_k[..., n - K_reverse :].flip(-1)
        return grad_u, grad_k[..., :K], grad_reverse, None, None


def _periodic(k: Tensor, k_reverse: Tensor | None, n: int) -> Tensor:
    """Return one period of both kernels; lag -(1 + j) is at index n - 1 - j."""
    if k_reverse is None:
        return k
    whole = k.new_zeros(*k.shape[:-1], n)
    whole[..., : k.shape[-1]] = k
    whole[..., n - k_reverse.shape[-1] :] = k_reverse.flip(-1)
    return whole


def _blocks(u: Tensor, size: int) -> list[tuple[slice, slice]]:
    """Return slices of samples and features that divide u (B, L, H) into blocks.

    On a CPU, a block has a bounded size; on a GPU there is one block.
    """
    B, _, H = u.shape
    samples, features = B, H
    if u.device.type == "cpu" and not torch.compiler.is_compiling():
        most = max(1, _BLOCK * torch.get_num_threads() // size)
        samples = max(1, most // H)
        features = H if most >= H else max(_LINE, most // _LINE * _LINE)
    return [
        (slice(b, min(B, b + samples)), slice(h, min(H, h + features)))
        for b in range(0, B, samples)
        for h in range(0, H, features)
    ]


def _rooms(u: Tensor, blocks: list[tuple[slice, slice]], k_spectrum: Tensor) -> list[Tensor]:
    """Allocate memory for the spectra of all blocks of u at once.

    Many small pieces of memory would go back to the operating system after every pass.
    """
    F = k_spectrum.shape[-1]
    sizes = [(b.stop - b.start, h.stop - h.start, F) for b, h in blocks]
    rooms = k_spectrum.new_empty(u.shape[0] * u.shape[2] * F).split([math.prod(size) for size in sizes])
    return [room.view(size) for room, size in zip(rooms, sizes, strict=True)]


def _spectrum(x: Tensor, n: int) -> Tensor:
    """Return the Fourier transform of x (..., L), padded with zeros to the length n."""
    padded = x.new_empty(*x.shape[:-1], n)
    padded[..., : x.shape[-1]] = x
    padded[..., x.shape[-1] :] = 0
    return torch.fft.rfft(padded)


def _head(x: Tensor, L: int) -> Tensor:
    """Return the first L numbers of each row; on a CPU, in padded rows for the transposed copy that follows."""
    if x.device.type != "cpu":
        return x[..., :L]
    return x.new_empty(*x.shape[:-1], L + _ODD)[..., :L].copy_(x[..., :L])


def _accumulate(total: Tensor, x: Tensor, y: Tensor) -> None:
    """Add ``sum_b x y`` of x (B, C, H, F) and y (B, H, F) to the total (C, H, F)."""
    if torch.compiler.is_compiling():  # the compiler would unroll the loop
        total += (x * y.unsqueeze(1)).sum(0)
    else:
        for x_one, y_one in zip(x, y, strict=True):  # the product of the whole batch would leave the cache
            total.addcmul_(x_one, y_one)


def fft_size(n: int) -> int:
    """Return the least even number that is at least n and has no prime factor above 5: a fast size of a real FFT."""
    best = 2 ** max(1, (n - 1).bit_length())
    five = 1
    while 2 * five < best:
        odd = five
        while 2 * odd < best:
            best = min(best, odd * 2 ** max(1, (-(-n // odd) - 1).bit_length()))
            odd *= 3
        five *= 5
    return best
