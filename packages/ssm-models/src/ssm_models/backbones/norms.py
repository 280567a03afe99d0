"""Normalisation of (..., H), with a form for single samples."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over all leading axes; ``step`` always takes the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view(x.shape)

    def step(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class LayerNorm(nn.LayerNorm):
    """Layer norm over the features."""

    def step(self, x: Tensor) -> Tensor:
        return self(x)


class ScalarNorm(nn.Module):
    """Layer norm over the features whose scale and shift are one number each, as in the audio models of SaShiMi."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        # The published code divides by the plain deviation; the small number only serves a constant x.
        return self.scale * torch.rsqrt(variance + 1e-12) * (x - mean + self.shift)

    def step(self, x: Tensor) -> Tensor:
        return self(x)


class NoNorm(nn.Identity):
    """No normalisation; takes the width as the others do."""

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def step(self, x: Tensor) -> Tensor:
        return x


Norm = BatchNorm | LayerNorm | ScalarNorm | NoNorm


def make_norm(kind: str, d_model: int) -> Norm:
    """The norm of a name: ``batch``, ``layer``, ``scalar`` or ``none``."""
    return {"batch": BatchNorm, "layer": LayerNorm, "scalar": ScalarNorm, "none": NoNorm}[kind](d_model)
