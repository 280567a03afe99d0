"""Decoders: they map the output of the backbone (B, L, H) to one output for each example."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.modules.padding import mask_padding


def summarize(x: Tensor, mode: Literal["pool", "last"], lengths: Tensor | None) -> Tensor:
    """Return one vector for each sequence, real (B, H).

    Args:
        x: real (B, L, H); also (B, L1, ..., Ld, H) for the mean without lengths.
        mode: ``pool`` for the mean over the sequence, ``last`` for its last element.
        lengths: integers (B,), the length of each sequence; later positions are padding and are ignored. None: there
            is no padding.
    """
    if mode == "pool":
        if lengths is None:
            return x.flatten(1, -2).mean(1)
        return mask_padding(x, lengths).sum(1) / lengths[:, None].to(x.dtype)
    if lengths is None:
        return x[:, -1]
    return x[torch.arange(len(x), device=x.device), lengths - 1]


class SequenceDecoder(nn.Module):
    """Map (B, L, H) to (B, d_output): apply a linear map to the summary of each sequence.

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
    """Compare the two sequences of each pair: map (2B, L, H) to (B, d_output).

    The input holds the first sequences of all pairs, then the second sequences. The features are the ones that are
    common in natural language inference: both summaries, their difference and their product.

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
