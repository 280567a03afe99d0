"""Typed, frozen configurations of the models: the one source of every default. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a task feeds to a model and wants back from it.

    tokens: the input is integers (B, L) below ``d_input``; otherwise it is real, (B, L, d_input).
    d_input: vocabulary size, or channels of a real signal.
    d_output: numbers the model gives for each example (classes).
    l_max: longest sequence.
    pair: two sequences an example (retrieval): the input is (2B, L), all first members before all second ones.
    """

    tokens: bool
    d_input: int
    d_output: int
    l_max: int
    pair: bool = False


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The residual stack around any layer, with its encoder and decoder."""

    n_layers: int = 4
    d_model: int = 128
    norm: Literal["layer", "batch", "none"] = "layer"
    prenorm: bool = False
    dropout: float = 0.0
    tie_dropout: bool = True
    decoder: Literal["pool", "last"] = "pool"

    def build(self, io: Interface) -> nn.Module:
        """The model: ``forward(x, lengths=None) -> (B, d_output)``."""
        raise TypeError("StackConfig has no layer; build one of its subclasses.")
