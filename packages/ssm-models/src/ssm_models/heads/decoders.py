"""Decoders: they map the output of the backbone (B, L, H) to one output for each example."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.modules.padding import mask_padding


def summarize(x: Tensor, mode: Literal["pool", "last"], lengths: Tensor | None) -> Tensor:
    """Return one vector for each sequence, real (B, H).

    Args:
        x: real (B, L, H); the mean without lengths takes (B, L1, ..., Ld, H) too.
        mode: ``pool`` for the mean over the sequence, ``last`` for its last element.
        lengths: integers (B,): positions from there on are padding and left out; None: there is none.
    """
    if mode == "pool":
        if lengths is None:
            return x.flatten(1, -2).mean(1)
        return mask_padding(x, lengths).sum(1) / lengths[:, None].to(x.dtype)
    if lengths is None:
        return x[:, -1]
    return x[torch.arange(len(x), device=x.device), lengths - 1]


class SequenceDecoder(nn.Module):
    """Map the summary of each sequence of (B, L, H) linearly to (B, d_output).

    Args:
        d_model: H.
        d_output: numbers for each example.
        mode: see :func:`summarize`.
    """

    def __init__(self, d_model: int, d_output: int, mode: Literal["pool", "last"]) -> None:
        super().__init__()
        self.mode: Literal["pool", "last"] = mode
        self.output_transform = nn.Linear(d_model, d_output)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.output_transform(summarize(x, self.mode, lengths))


class RetrievalDecoder(nn.Module):
    """Compare pairs of sequences: (2B, L, H), all first members before all second ones, to (B, d_output).

    The features are those of natural language inference: both summaries, their difference and their product.

    Args:
        d_model: H.
        d_output: numbers for each pair.
        mode: see :func:`summarize`.
    """

    def __init__(self, d_model: int, d_output: int, mode: Literal["pool", "last"]) -> None:
        super().__init__()
        self.mode: Literal["pool", "last"] = mode
        self.hidden = nn.Linear(4 * d_model, d_model)
        self.output_transform = nn.Linear(d_model, d_output)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if len(x) % 2:
            raise ValueError(f"Pairs are stacked on the batch axis, so it is even, not {len(x)}.")
        first, second = summarize(x, self.mode, lengths).chunk(2)
        features = torch.cat((first, second, first - second, first * second), -1)
        return self.output_transform(F.gelu(self.hidden(features)))
