"""Normalisation layers for (..., H), each with a ``step`` for single samples."""

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn


class _Total(torch.autograd.Function):
    """The sum of a tensor over all ranks, with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        grad = grad.clone()
        distributed.all_reduce(grad)
        return grad


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over all leading axes of (..., H).

    Attributes:
        shared: whether training computes the statistics over the batches of all ranks of ``torch.distributed``,
            instead of the batch of this rank.
    """

    shared = False

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        y = self._shared_forward(flat) if self.shared and self.training else super().forward(flat)
        return y.view(x.shape)

    def _shared_forward(self, x: Tensor) -> Tensor:
        """Normalise (n, H) with the statistics of all ranks; ``nn.SyncBatchNorm`` does this only on GPUs."""
        dtype, x = x.dtype, x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        count = x.new_full((1,), len(x))
        sums = _Total.apply(torch.cat((x.sum(0), count)))
        mean, count = sums[:-1] / sums[-1], sums[-1].detach()
        x = x - mean
        variance = _Total.apply(x.square().sum(0)) / count
        with torch.no_grad():
            new = {"running_mean": mean, "running_var": variance * (count / (count - 1))}
            for name, value in new.items():
                self.get_buffer(name).lerp_(value, cast(float, self.momentum))
            self.get_buffer("num_batches_tracked").add_(1)
        return (x * torch.rsqrt(variance + self.eps) * self.weight + self.bias).to(dtype)

    def step(self, x: Tensor) -> Tensor:
        """Normalise one sample (B, H) with the running statistics, also in training."""
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias - mean * scale, x, scale).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the features."""

    def step(self, x: Tensor) -> Tensor:
        return self(x)


class ScalarNorm(nn.Module):
    """Layer norm over the features with one scale and one shift for all of them, as in the audio models of SaShiMi.

    Args:
        d_model: H; not needed, but all norms take it.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        # The published code divides by the standard deviation without an epsilon. This one matters only for constant x.
        scale = self.scale.expand(x.shape[-1])
        scaled, _, per_deviation = torch.native_layer_norm(x, x.shape[-1:], scale, None, 1e-12)
        return torch.addcmul(scaled, self.scale * self.shift, per_deviation)

    def step(self, x: Tensor) -> Tensor:
        return self(x)


class NoNorm(nn.Identity):
    """No normalisation.

    Args:
        d_model: H; not needed, but all norms take it.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def step(self, x: Tensor) -> Tensor:
        return x


Norm = BatchNorm | LayerNorm | ScalarNorm | NoNorm


def make_norm(kind: str, d_model: int) -> Norm:
    """Return a norm by its name.

    Args:
        kind: ``batch``, ``layer``, ``scalar`` or ``none``.
        d_model: H.
    """
    return {"batch": BatchNorm, "layer": LayerNorm, "scalar": ScalarNorm, "none": NoNorm}[kind](d_model)
