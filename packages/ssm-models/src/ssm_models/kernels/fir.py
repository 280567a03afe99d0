"""The recurrent form of a kernel of finite length: its state is the window of the last inputs."""

import torch
from ssm_core.ops import long_conv
from ssm_core.products import einsum
from torch import Tensor
from torch.nn import functional as F

from ssm_models.contract import Stepper


def fir_scan(u: Tensor, window: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve a chunk with a finite kernel.

    Args:
        u: input, real (B, L, H).
        window: the inputs before the chunk, real (B, W, H); if W < K - 1, earlier inputs count as zero.
        k: kernel, real (C, H, K).

    Returns:
        Output (B, L, C, H) and the next window, whose length is the larger of W and K - 1.
    """
    size = max(window.shape[1], k.shape[-1] - 1)
    past = F.pad(window, (0, 0, size - window.shape[1], 0))
    whole = torch.cat((past.to(u.dtype), u), 1)
    return long_conv(whole, k)[:, size:], whole[:, u.shape[1] :].to(window.dtype)


def fir_stepper(k: Tensor) -> Stepper:
    """Return :func:`fir_scan` for one sample, as a function of ``u`` (B, H) and a window (B, W, H)."""
    taps = k.flip(-1).permute(2, 0, 1)  # (K, C, H), oldest first

    def step(u: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        whole = torch.cat((window, u.to(window.dtype)[:, None]), 1)
        if whole.shape[1] < len(taps):
            whole = F.pad(whole, (0, 0, len(taps) - whole.shape[1], 0))
        recent = whole[:, -len(taps) :]
        y = einsum("bkh,kch->bch", recent, taps.to(recent.dtype))
        return y.to(u.dtype), whole[:, 1:]

    return step
