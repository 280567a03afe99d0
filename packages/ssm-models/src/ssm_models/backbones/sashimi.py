"""SaShiMi: S4 layers at several time scales, all causal."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from ssm_models.backbones.stack import ResidualBlock, chain_stepper
from ssm_models.config import S4LayerConfig, SashimiConfig
from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.layers.feed_forward import FeedForward
from ssm_models.layers.s4 import S4Layer
from ssm_models.modules.activations import ACTIVATIONS
from ssm_models.modules.norms import LayerNorm
from ssm_models.modules.padding import mask_padding

#: A function that runs blocks over a chunk, as :func:`_chain` does. It takes the blocks, the input (B, L, H), the
#: states, lengths and skips, and returns the values before, between and after the blocks and their next states.
Chain = Callable[..., tuple[list[Tensor], State]]


class Scale(nn.Module):
    """The blocks of one time scale, and the maps to the next coarser one and back.

    Args:
        before: blocks before the map to the coarser scale.
        after: blocks after the map back.
        width: H of this scale; the coarser scale is ``config.expand`` times as wide.
        factor: number of samples of this scale that become one sample of the coarser scale.
        config: the options of the backbone.
    """

    def __init__(
        self, before: list[ResidualBlock], after: list[ResidualBlock], width: int, factor: int, config: SashimiConfig
    ) -> None:
        super().__init__()
        self.factor = factor
        self.activation = ACTIVATIONS[config.pool_act]
        self.before = nn.ModuleList(before)
        gated = 2 if config.pool_act == "glu" else 1
        self.down = nn.Linear(width * factor, width * config.expand * gated)
        self.up = nn.Linear(width * config.expand, width * factor * gated)
        if config.pool_weight_norm:
            self.down, self.up = weight_norm(self.down), weight_norm(self.up)
        self.after = nn.ModuleList(after)

    def coarsen(self, x: Tensor) -> Tensor:
        """Map (B, L, H) to (B, L / factor, expand H)."""
        return self.activation(self.down(x.unflatten(1, (-1, self.factor)).mT.flatten(-2)))

    def refine(self, x: Tensor) -> Tensor:
        """Map (B, L, expand H) to (B, factor L, H)."""
        return self.activation(self.up(x)).unflatten(-1, (-1, self.factor)).mT.flatten(1, 2)


class Sashimi(SequenceLayer):
    """Map the input to coarser time scales, run blocks at the coarsest scale, and map back with blocks at each scale.

    A sample of a coarser scale is computed from ``pool`` finer samples. Its output is added to the finer samples that
    follow these, so that the backbone is causal. The state of a scale is a tuple: the states of the blocks before the
    coarser scale, the fine samples since the last coarse one, the state of the coarser scale, the output that is added
    to the fine samples after the last coarse one, and the states of the blocks after the coarser scale.

    Source: "It's Raw! Audio Generation with State-Space Models" (arXiv:2202.09729), section 4.2. The U-Net follows the
    authors' code, without its interpolation of omitted samples, which uses the next sample.

    Args:
        config: the options.
    """

    def __init__(self, config: SashimiConfig) -> None:
        super().__init__()
        self.config = config
        self.d_output = config.d_model
        scales, width, shrink = [], config.d_model, 1
        for factor in config.pool:
            before = self._blocks(width, shrink, config.s4) if config.unet else []
            scales.append(Scale(before, self._blocks(width, shrink, config.s4), width, factor, config))
            width, shrink = width * config.expand, shrink * factor
        self.scales = nn.ModuleList(scales)
        self.center = nn.ModuleList(self._blocks(width, shrink, config.at_center()))
        self.norm = LayerNorm(config.d_model)

    def _blocks(self, width: int, shrink: int, layer: S4LayerConfig) -> list[ResidualBlock]:
        """Return the blocks of a scale.

        Args:
            width: H of the scale.
            shrink: number of input samples for each sample of the scale.
            layer: options of the S4 layers.
        """
        config = self.config
        layer = replace(layer, kernel=layer.kernel.for_scale(shrink))
        blocks = []
        for _ in range(config.n_layers):
            blocks.append(ResidualBlock(S4Layer(width, layer), width, config))
            if config.ff:
                network = FeedForward(width, config.ff, config.dropout, config.tie_dropout)
                blocks.append(ResidualBlock(network, width, config))
        return blocks

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        if state is not None and lengths is not None:
            raise ValueError("A carried state goes with unpadded chunks: give lengths or a state.")

        y, state = self._descend(0, u, state, lengths, partial(_chain, rate))
        return self.norm(y), state

    def initial_state(self, batch_size: int) -> State:
        def at_rest(blocks: nn.Module) -> State:
            return tuple(block.initial_state(batch_size) for block in cast(Any, blocks))

        state, width = at_rest(self.center), self.config.d_model * self.config.expand ** len(self.scales)
        for scale in cast(Any, reversed(self.scales)):
            width //= self.config.expand
            samples = self.norm.weight.new_zeros(batch_size, scale.factor, width)
            state = (at_rest(scale.before), samples[:, :0], state, samples, at_rest(scale.after))
        return state

    def stepper(self, rate: float = 1.0) -> Stepper:
        lists = [self.center, *(blocks for scale in cast(Any, self.scales) for blocks in (scale.before, scale.after))]
        steps = {blocks: chain_stepper(list(cast(Any, blocks)), rate) for blocks in lists}

        def chain(
            blocks: nn.Module, x: Tensor, states: State, lengths: Tensor | None, skips: Sequence[Tensor] = ()
        ) -> tuple[list[Tensor], State]:
            values, states = steps[blocks](x[:, 0], states, [each[:, 0] for each in skips])
            return [each[:, None] for each in values], states

        def step(u: Tensor, state: State) -> tuple[Tensor, State]:
            y, state = self._descend(0, u[:, None], state, None, chain)
            return self.norm(y[:, 0]), state

        return step

    def _descend(self, i: int, x: Tensor, state: State, lengths: Tensor | None, chain: Chain) -> tuple[Tensor, State]:
        """Map (B, L, H) to the same shape by scale i and all coarser scales; return the next state if one is given."""
        if i == len(self.scales):
            (*_, y), states = chain(self.center, x, state, lengths)
            return x + y, None if state is None else states
        scale = cast(Scale, self.scales[i])
        parts: State = state or (None,) * 5
        before, pending, coarse, block, after = parts
        (*skips, x), before = chain(scale.before, x, before, lengths)
        L, factor = x.shape[1], scale.factor
        if state is None:
            z = F.pad(mask_padding(x, lengths), (0, 0, 0, -L % factor))
            coarse_lengths = None if lengths is None else (lengths + factor - 1) // factor
            z, _ = self._descend(i + 1, scale.coarsen(z), None, coarse_lengths, chain)
            z = F.pad(scale.refine(z), (0, 0, factor, 0))[:, :L]
        else:
            phase = pending.shape[1]
            seen = torch.cat((pending, x), 1)
            full = seen.shape[1] // factor * factor
            z, pending = block, seen[:, full:]
            if full:
                said, coarse = self._descend(i + 1, scale.coarsen(seen[:, :full]), coarse, None, chain)
                z = torch.cat((block, scale.refine(said)), 1)
            z, block = z[:, phase : phase + L], z[:, -factor:]
        x = x + z
        (*_, y), after = chain(scale.after, x, after, lengths, skips)
        y = y if self.config.unet else x + y
        return y, None if state is None else (before, pending, coarse, block, after)


def _chain(
    rate: float, blocks: nn.Module, x: Tensor, states: State, lengths: Tensor | None, skips: Sequence[Tensor] = ()
) -> tuple[list[Tensor], State]:
    """Return the values before, between and after blocks, and the next states of the blocks.

    The last of ``skips`` is added to the output of the first block, and so on.
    """
    values, following, left = [x], [], list(skips)
    for block, state in zip(cast(Any, blocks), states or repeat(None), strict=False):
        x, state = block(values[-1], state, lengths=lengths, rate=rate)
        values.append(x + left.pop() if left else x)
        following.append(state)
    return values, tuple(following)
